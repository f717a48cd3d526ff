//! What was said in a session while the other side was away.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::SystemTime;

use super::command::Signal;
use super::error::RoomError;
use super::event::Peer;
use super::limits::SessionLimits;

/// Signals in the order they were sent, bounded in count, bytes and age.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    signals: VecDeque<Held>,
    bytes: usize,
}

#[derive(Debug)]
struct Held {
    since: SystemTime,
    from: Arc<Peer>,
    signal: Arc<Signal>,
}

impl Waiting {
    /// Adds a signal, if there is room for it; what is there already is never pushed out.
    pub(super) fn push(
        &mut self,
        now: SystemTime,
        from: Arc<Peer>,
        signal: Arc<Signal>,
        limits: &SessionLimits,
    ) -> Result<(), RoomError> {
        self.expire(now, limits);
        let bytes = self.bytes.saturating_add(signal.body.len());
        if self.signals.len() >= limits.messages || bytes > limits.bytes {
            return Err(RoomError::SessionQueueFull);
        }
        self.bytes = bytes;
        self.signals.push_back(Held { since: now, from, signal });
        Ok(())
    }

    /// Takes everything that has not waited too long.
    pub(super) fn take(&mut self, now: SystemTime, limits: &SessionLimits) -> Vec<(Arc<Peer>, Arc<Signal>)> {
        self.expire(now, limits);
        self.bytes = 0;
        self.signals.drain(..).map(|held| (held.from, held.signal)).collect()
    }

    fn expire(&mut self, now: SystemTime, limits: &SessionLimits) {
        let is_old = |held: &Held| now.duration_since(held.since).is_ok_and(|age| age > limits.ttl);
        while let Some(held) = self.signals.pop_front_if(|held| is_old(held)) {
            self.bytes -= held.signal.body.len();
        }
    }
}
