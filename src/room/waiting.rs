//! The queue of a pair session, for signals that are sent while the other peer is absent.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use super::command::Signal;
use super::error::RoomError;
use super::event::Peer;
use super::limits::PairSessionLimits;

/// Signals in the order in which they were sent, limited in number, bytes and age.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    signals: VecDeque<QueuedSignal>,
    bytes: usize,
    /// Time at which [`Rooms::expire`](super::Rooms::expire) handles this queue next, if that is
    /// scheduled.
    scheduled: Option<Instant>,
}

#[derive(Debug)]
struct QueuedSignal {
    since: Instant,
    from: Arc<Peer>,
    signal: Arc<Signal>,
}

impl Waiting {
    /// Adds a signal if it fits; signals that are already queued are never dropped for it.
    pub(super) fn push(
        &mut self,
        now: Instant,
        from: Arc<Peer>,
        signal: Arc<Signal>,
        limits: &PairSessionLimits,
    ) -> Result<(), RoomError> {
        self.expire(now, limits);
        let bytes = self.bytes.saturating_add(signal.bytes());
        if self.signals.len() >= limits.messages || bytes > limits.bytes {
            return Err(RoomError::SessionQueueFull);
        }
        self.bytes = bytes;
        self.signals.push_back(QueuedSignal { since: now, from, signal });
        Ok(())
    }

    /// Takes all signals that have not expired.
    pub(super) fn take(
        &mut self,
        now: Instant,
        limits: &PairSessionLimits,
    ) -> Vec<(Arc<Peer>, Arc<Signal>)> {
        self.expire(now, limits);
        self.bytes = 0;
        std::mem::take(&mut self.signals)
            .into_iter()
            .map(|queued| (queued.from, queued.signal))
            .collect()
    }

    /// Returns the number of bytes of all queued signals.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Drops expired signals.
    pub(super) fn expire(&mut self, now: Instant, limits: &PairSessionLimits) {
        let is_old = |queued: &QueuedSignal| now.duration_since(queued.since) > limits.ttl;
        while let Some(queued) = self.signals.pop_front_if(|queued| is_old(queued)) {
            self.bytes -= queued.signal.bytes();
        }
        if self.signals.is_empty() {
            self.signals = VecDeque::new();
        }
    }

    /// Returns when the oldest signal expires, unless that is already scheduled.
    pub(super) fn schedule(&mut self, limits: &PairSessionLimits) -> Option<Instant> {
        if self.scheduled.is_some() {
            return None;
        }
        self.scheduled = self.signals.front().map(|queued| queued.since + limits.ttl);
        self.scheduled
    }

    /// Reverts [`Waiting::schedule`], and returns the scheduled time.
    pub(super) fn unschedule(&mut self) -> Option<Instant> {
        self.scheduled.take()
    }
}
