//! The end of all connections: newcomers are refused, and those who are here are asked to go, one after the other.
//!
//! The guarantee that is easy to break: whoever was let in is told. A connection that is let in while the drain begins
//! is seen by the one or by the other: [`Hub::open`] looks whether newcomers are refused after it has put the connection
//! where [`Hub::dismiss`] looks for it.
//!
//! A handshake that was answered already is let in and told, not refused: to official Socket.IO clients a refusal of
//! CONNECT is final, while they come back by themselves after a lost transport.

use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, sleep_until};

use super::directory::Entry;
use super::hub::Hub;
use crate::id::ConnectionId;

/// What a client is told.
const FAREWELL: &str = "the server is shutting down";

impl Hub {
    /// Whether newcomers are refused.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }

    /// Refuses newcomers from now on.
    pub fn refuse_newcomers(&self) {
        self.draining.store(true, Ordering::SeqCst);
    }

    /// Asks every open connection to go after one last word, evenly over a time, so that they do not all come back at
    /// once. Who goes when is up to chance, so that a room or an address does not go as a whole.
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
        // Nobody comes back any more.
        self.end_absences();
    }

    /// Asks one connection to go.
    pub fn dismiss_one(&self, id: ConnectionId) {
        let Some(Entry { dialect, mailbox }) = self.directory.get(id) else { return };
        // It is leaving either way: one whose queue is full goes without a word.
        _ = mailbox.send((dialect.farewell)(FAREWELL, SystemTime::now()));
        mailbox.close();
    }

    /// Resolves when no connection is open.
    pub async fn emptied(&self) {
        self.directory.emptied().await;
    }
}
