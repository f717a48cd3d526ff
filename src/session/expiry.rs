//! When connections end because their tokens do: one timer for all of them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::Hub;
use crate::id::ConnectionId;
use crate::lifecycle::Lifecycle;

/// The ends of all grants that are in force.
#[derive(Debug, Default)]
pub(super) struct Expiries {
    due: Mutex<BTreeSet<(SystemTime, ConnectionId)>>,
    sooner: Notify,
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
    fn pop(&self, now: SystemTime) -> Option<ConnectionId> {
        let mut due = self.due.lock();
        let is_over = due.first().is_some_and(|(at, _)| *at <= now);
        if is_over { due.pop_first().map(|(_, connection)| connection) } else { None }
    }

    /// The time until the next is over, `longest` at most.
    fn sleep(&self, now: SystemTime, longest: Duration) -> Duration {
        let next = self.due.lock().first().map(|(at, _)| at.duration_since(now).unwrap_or_default());
        next.unwrap_or(longest).min(longest)
    }
}

impl Hub {
    /// Ends each connection when its token does, until the server stops.
    pub async fn end_expired(self: Arc<Self>, lifecycle: Lifecycle) {
        let longest = self.timeouts().expiry_check_interval;
        loop {
            while let Some(connection) = self.expiries.pop(SystemTime::now()) {
                self.expire(connection);
            }
            tokio::select! {
                () = tokio::time::sleep(self.expiries.sleep(SystemTime::now(), longest)) => {}
                () = self.expiries.sooner.notified() => {}
                () = lifecycle.stopping() => return,
            }
        }
    }
}
