//! What is to be done about sessions at a certain time: an absence ends, a replay buffer is pruned.

use std::collections::VecDeque;
use std::time::Instant;

use parking_lot::Mutex;

use super::history::ResumeLimits;
use crate::id::ConnectionId;

/// The timers of all sessions that can be resumed. [`Hub::sweep`](super::Hub::sweep) does what is due.
#[derive(Debug, Default)]
pub(super) struct Timers {
    /// What is kept for a client whose connection drops; `None` where sessions are not resumed.
    pub(super) limits: Option<ResumeLimits>,
    /// When away sessions end.
    pub(super) absences: Timeline,
    /// Away sessions that end at once.
    pub(super) given_up: Timeline,
    /// When replay buffers are pruned.
    pub(super) histories: Timeline,
}

impl Timers {
    /// Has a replay buffer pruned in time, into which the first frame is put.
    pub(super) fn start_history(&self, id: ConnectionId, now: Instant) {
        if let Some(limits) = self.limits {
            self.histories.push(now + limits.time, id);
        }
    }

    /// Ends an away session soon which cannot be told everything.
    pub(super) fn give_up(&self, id: ConnectionId) {
        self.given_up.push(Instant::now(), id);
    }
}

/// Sessions by the time at which something is to be done about them. All wait equally long, so the first in is the first
/// due.
#[derive(Debug, Default)]
pub(super) struct Timeline(Mutex<VecDeque<(Instant, ConnectionId)>>);

impl Timeline {
    pub(super) fn push(&self, due: Instant, id: ConnectionId) {
        self.0.lock().push_back((due, id));
    }

    /// The next that is due.
    pub(super) fn pop(&self, now: Instant) -> Option<ConnectionId> {
        let mut waiting = self.0.lock();
        let is_due = waiting.front().is_some_and(|(due, _)| *due <= now);
        let next = is_due.then(|| waiting.pop_front().map(|(_, id)| id))?;
        if waiting.is_empty() {
            // Gives back the capacity of a connection spike.
            *waiting = VecDeque::new();
        }
        next
    }
}
