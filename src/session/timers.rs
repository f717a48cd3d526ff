//! Deadlines of sessions: ends of absences, and pruning of replay buffers.

use std::collections::VecDeque;
use std::time::Instant;

use parking_lot::Mutex;

use super::replay_buffer::ResumeLimits;
use crate::id::ConnectionId;

/// Deadlines of all sessions that can be resumed, executed by [`Hub::sweep`](super::Hub::sweep).
#[derive(Debug, Default)]
pub(super) struct Timers {
    /// Limits on session resumption; `None` if sessions cannot be resumed.
    pub(super) limits: Option<ResumeLimits>,
    /// Deadlines of away sessions.
    pub(super) away: Timeline,
    /// Away sessions that must end soon.
    pub(super) ending: Timeline,
    /// Times at which replay buffers are pruned.
    pub(super) replay_buffers: Timeline,
}

impl Timers {
    /// Schedules the pruning of a replay buffer that has received its first frame.
    pub(super) fn start_pruning(&self, id: ConnectionId, now: Instant) {
        if let Some(limits) = self.limits {
            self.replay_buffers.push(now + limits.time, id);
        }
    }

    /// Ends an away session soon, because frames for it do not fit the replay buffer.
    pub(super) fn end_soon(&self, id: ConnectionId) {
        self.ending.push(Instant::now(), id);
    }
}

/// Sessions by their deadline. All have the same waiting time, so the first added is the first due.
#[derive(Debug, Default)]
pub(super) struct Timeline(Mutex<VecDeque<(Instant, ConnectionId)>>);

impl Timeline {
    pub(super) fn push(&self, due: Instant, id: ConnectionId) {
        self.0.lock().push_back((due, id));
    }

    /// Removes and returns the next session that is due.
    pub(super) fn pop(&self, now: Instant) -> Option<ConnectionId> {
        let mut waiting = self.0.lock();
        let is_due = waiting.front().is_some_and(|(due, _)| *due <= now);
        let next = is_due.then(|| waiting.pop_front().map(|(_, id)| id))?;
        if waiting.is_empty() {
            // Frees the capacity of a connection spike.
            *waiting = VecDeque::new();
        }
        next
    }
}
