//! The expiry times of all grants, in order.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::id::ConnectionId;

/// Expiry times of all grants that are in use.
#[derive(Debug, Default)]
pub(super) struct Expiries {
    due: Mutex<BTreeSet<(SystemTime, ConnectionId)>>,
    pub(super) sooner: Notify,
}

impl Expiries {
    pub(super) fn insert(&self, at: SystemTime, connection: ConnectionId) {
        let mut due = self.due.lock();
        due.insert((at, connection));
        if due.first().is_some_and(|(_, first)| *first == connection) {
            self.sooner.notify_one();
        }
    }

    pub(super) fn remove(&self, at: SystemTime, connection: ConnectionId) {
        self.due.lock().remove(&(at, connection));
    }

    /// Removes and returns a connection whose grant has expired.
    pub(super) fn pop(&self, now: SystemTime) -> Option<ConnectionId> {
        let mut due = self.due.lock();
        let is_over = due.first().is_some_and(|(at, _)| *at <= now);
        if is_over { due.pop_first().map(|(_, connection)| connection) } else { None }
    }

    /// Returns the time until the next expiry, at most `max`.
    pub(super) fn sleep(&self, now: SystemTime, max: Duration) -> Duration {
        let next =
            self.due.lock().first().map(|(at, _)| at.duration_since(now).unwrap_or_default());
        next.unwrap_or(max).min(max)
    }
}
