//! Graceful shutdown: new sessions are refused, and clients are told to disconnect, one after the other.
//!
//! The guarantee that is easy to break: the client of every open session is told. A session that is opened while the drain
//! begins is told by the one or by the other: [`Hub::open`] looks whether the server drains after it has put the session
//! where [`Hub::dismiss`] looks for it.
//!
//! The other peers see a peer that the server disconnects as away, not as left: its client joins the next process in a
//! moment, and media between two peers goes on meanwhile.
//!
//! A handshake that was answered already is admitted and told, not refused: to official Socket.IO clients a refusal of
//! CONNECT is final, while they come back by themselves after a lost transport.

use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, sleep_until};

use super::directory::Entry;
use super::hub::Hub;
use crate::id::ConnectionId;
use crate::room::LeaveReason;

/// What a client is told.
const FAREWELL: &str = "the server is shutting down";

impl Hub {
    /// Whether new sessions are refused.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }

    /// Refuses new sessions from now on.
    pub fn begin_drain(&self) {
        self.draining.store(true, Ordering::SeqCst);
    }

    /// Tells every client to disconnect, evenly over a time, so that they do not all reconnect at once. The order is random,
    /// so that a room or an address is not disconnected as a whole.
    pub async fn dismiss(&self, over: Duration) {
        let mut here = self.directory.ids();
        // Ids are random, and their order with them.
        here.sort_unstable();
        let began = Instant::now();
        let count = u32::try_from(here.len()).unwrap_or(u32::MAX).max(1);
        for (id, nth) in here.into_iter().zip(0..) {
            sleep_until(began + over * nth / count).await;
            self.dismiss_one(id);
        }
        // No session is resumed any more.
        self.end_absences();
    }

    /// Tells one client to disconnect.
    pub fn dismiss_one(&self, id: ConnectionId) {
        let Some(Entry { dialect, mailbox }) = self.directory.get(id) else { return };
        // One whose queue is full is disconnected without a message.
        _ = mailbox.send((dialect.farewell)(FAREWELL, SystemTime::now()));
        mailbox.close();
    }

    /// Returns whether the other peers see a peer that ends for this reason as away instead of left: while the server
    /// drains, every peer that did not leave by itself.
    pub(super) fn shows_as_away(&self, reason: LeaveReason) -> bool {
        self.is_draining() && !matches!(reason, LeaveReason::Left | LeaveReason::HungUp)
    }

    /// Resolves when no connection is open.
    pub async fn emptied(&self) {
        self.directory.emptied().await;
    }
}
