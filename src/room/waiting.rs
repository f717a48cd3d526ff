//! The queue of a pair session: signals sent while the other peer was absent.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use super::command::Signal;
use super::error::RoomError;
use super::event::Peer;
use super::limits::SessionLimits;

/// Signals in the order they were sent, bounded in count, bytes and age.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    signals: VecDeque<Held>,
    bytes: usize,
    /// When [`Rooms::expire`](super::Rooms::expire) looks at this queue next, if that is arranged.
    scheduled: Option<Instant>,
}

#[derive(Debug)]
struct Held {
    since: Instant,
    from: Arc<Peer>,
    signal: Arc<Signal>,
}

impl Waiting {
    /// Adds a signal if it fits; a signal that is already queued is never displaced.
    pub(super) fn push(
        &mut self,
        now: Instant,
        from: Arc<Peer>,
        signal: Arc<Signal>,
        limits: &SessionLimits,
    ) -> Result<(), RoomError> {
        self.expire(now, limits);
        let bytes = self.bytes.saturating_add(signal.bytes());
        if self.signals.len() >= limits.messages || bytes > limits.bytes {
            return Err(RoomError::SessionQueueFull);
        }
        self.bytes = bytes;
        self.signals.push_back(Held { since: now, from, signal });
        Ok(())
    }

    /// Takes every signal that has not expired.
    pub(super) fn take(&mut self, now: Instant, limits: &SessionLimits) -> Vec<(Arc<Peer>, Arc<Signal>)> {
        self.expire(now, limits);
        self.bytes = 0;
        std::mem::take(&mut self.signals).into_iter().map(|held| (held.from, held.signal)).collect()
    }

    /// The bytes of all queued signals.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Drops the signals whose time is over.
    pub(super) fn expire(&mut self, now: Instant, limits: &SessionLimits) {
        let is_old = |held: &Held| now.duration_since(held.since) > limits.ttl;
        while let Some(held) = self.signals.pop_front_if(|held| is_old(held)) {
            self.bytes -= held.signal.bytes();
        }
        if self.signals.is_empty() {
            self.signals = VecDeque::new();
        }
    }

    /// Returns when the oldest signal expires, if nobody has arranged yet to look at the queue then.
    pub(super) fn schedule(&mut self, limits: &SessionLimits) -> Option<Instant> {
        if self.scheduled.is_some() {
            return None;
        }
        self.scheduled = self.signals.front().map(|held| held.since + limits.ttl);
        self.scheduled
    }

    /// Cancels what [`Waiting::schedule`] has arranged, and returns it.
    pub(super) fn unschedule(&mut self) -> Option<Instant> {
        self.scheduled.take()
    }
}
