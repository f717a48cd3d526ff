//! When connections end because their tokens do: one timer for all of them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::Hub;
use crate::id::ConnectionId;
use crate::lifecycle::Lifecycle;

/// How long the timer sleeps at most: the clock that tokens go by may be set meanwhile.
const LONGEST: Duration = Duration::from_secs(30);

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

    /// Until the next is over.
    fn sleep(&self, now: SystemTime) -> Duration {
        let next = self.due.lock().first().map(|(at, _)| at.duration_since(now).unwrap_or_default());
        next.unwrap_or(LONGEST).min(LONGEST)
    }
}

impl Hub {
    /// Ends each connection when its token does, until the server stops.
    pub async fn end_expired(self: Arc<Self>, lifecycle: Lifecycle) {
        loop {
            while let Some(connection) = self.expiries.pop(SystemTime::now()) {
                self.expire(connection);
            }
            tokio::select! {
                () = tokio::time::sleep(self.expiries.sleep(SystemTime::now())) => {}
                () = self.expiries.sooner.notified() => {}
                () = lifecycle.stopping() => return,
            }
        }
    }
}
