//! Graceful shutdown: refuses new sessions, and closes existing ones one after the other.
//!
//! Invariant: the client of every open session is notified, even if the session opens while the
//! drain begins: [`Hub::open`] checks for a drain after adding the session to the directory from
//! which [`Hub::drain`] takes it.
//!
//! Other peers see a peer that the server disconnects as away rather than left, since its client is
//! about to join the next process, and media between two peers continues meanwhile. In a cluster
//! the sessions themselves stay, for their clients to resume them on other nodes.
//!
//! A handshake that is already answered is admitted and then closed, not refused: official
//! Socket.IO clients give up after a refused CONNECT, but reconnect after a lost transport.

use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, sleep_until};

use super::directory::Entry;
use super::hub::Hub;
use crate::id::ConnectionId;
use crate::room::LeaveReason;

/// Message for clients.
const SHUTDOWN_MESSAGE: &str = "the server is shutting down";

impl Hub {
    /// Returns whether new sessions are refused.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }

    /// Refuses new sessions from now on.
    pub fn begin_drain(&self) {
        self.draining.store(true, Ordering::SeqCst);
    }

    /// Asks every client to disconnect, evenly spread over `period`, so that they do not all
    /// reconnect at once. The order is random, so that a room or an address is not disconnected as
    /// a whole.
    pub async fn drain(&self, period: Duration) {
        let mut sessions = self.directory.ids();
        // Ids are random, and so is their order.
        sessions.sort_unstable();
        let started = Instant::now();
        let count = u32::try_from(sessions.len()).unwrap_or(u32::MAX).max(1);
        for (id, nth) in sessions.into_iter().zip(0..) {
            sleep_until(started + period * nth / count).await;
            self.drain_one(id);
        }
        if self.cluster().is_none() {
            // No away session will be resumed any more.
            self.end_away_sessions();
        }
    }

    /// Waits until the sessions of this node have moved to other nodes or ended, at most until
    /// `deadline`, while `may_wait`. Then ends those that are left.
    pub async fn hand_over(&self, deadline: Instant, may_wait: impl Fn() -> bool) {
        while self.resumable.has_any() && may_wait() && Instant::now() < deadline {
            sleep_until(deadline.min(Instant::now() + self.timeouts.sweep_interval)).await;
        }
        self.end_away_sessions();
    }

    /// Asks one client to disconnect. In a cluster, away sessions stay: their clients resume them on
    /// other nodes.
    pub fn drain_one(&self, id: ConnectionId) {
        let Some(Entry { dialect, mailbox }) = self.directory.get(id) else { return };
        self.release_media_of(id);
        let connection = mailbox.connection();
        if connection.is_none() && self.cluster().is_some() {
            return;
        }
        // A client whose queue is full is disconnected without a message.
        _ = mailbox.send((dialect.shutdown_frame)(SHUTDOWN_MESSAGE, SystemTime::now()));
        match connection {
            Some(connection) => connection.close(),
            None => mailbox.close(),
        };
    }

    /// Returns whether other peers see a peer that ends for this reason as away instead of left:
    /// while the server drains, every peer that did not leave by itself.
    pub(super) fn shows_as_away(&self, reason: LeaveReason) -> bool {
        self.is_draining() && !matches!(reason, LeaveReason::Left | LeaveReason::HungUp)
    }

    /// Returns whether sessions that end for this reason may be resumed on other nodes.
    pub(super) fn hands_over(&self, reason: LeaveReason) -> bool {
        self.shows_as_away(reason) && self.cluster().is_some()
    }

    /// Returns whether sessions can be resumed on other nodes only, because this one drains.
    pub fn resumes_elsewhere(&self) -> bool {
        self.is_draining() && self.cluster().is_some()
    }

    /// Completes when no connection is open.
    pub async fn emptied(&self) {
        self.directory.emptied().await;
    }
}
