//! The times at which grants expire.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::id::ConnectionId;

/// The ends of all grants that are in force.
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

    /// Takes out a connection whose time is over.
    pub(super) fn pop(&self, now: SystemTime) -> Option<ConnectionId> {
        let mut due = self.due.lock();
        let is_over = due.first().is_some_and(|(at, _)| *at <= now);
        if is_over { due.pop_first().map(|(_, connection)| connection) } else { None }
    }

    /// The time until the next is over, `longest` at most.
    pub(super) fn sleep(&self, now: SystemTime, longest: Duration) -> Duration {
        let next = self.due.lock().first().map(|(at, _)| at.duration_since(now).unwrap_or_default());
        next.unwrap_or(longest).min(longest)
    }
}
