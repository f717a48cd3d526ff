//! How much waits for one connection, and who waits for it to get less.
//!
//! A sender that finds the queue of its peer half full stops being read until the queue has emptied, so that a burst
//! is carried at the pace of the slower side instead of being refused. A peer that stays slow holds nobody up for long:
//! after [`PATIENCE`] its backlog counts as stuck, nobody pauses for it until it has emptied once, and what does not
//! fit its queue is refused to the sender.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use parking_lot::Mutex;

/// How long a sender pauses for a slow peer.
pub const PATIENCE: Duration = Duration::from_millis(100);

/// The fill of one outgoing queue.
///
/// An upper estimate: it counts what was queued since the queue was last seen empty.
#[derive(Debug)]
pub struct Backlog {
    waiting: AtomicUsize,
    high: usize,
    stuck: AtomicBool,
    waiters: Mutex<Vec<Waker>>,
}

impl Backlog {
    /// An empty backlog of a queue that holds `capacity` frames.
    pub fn new(capacity: usize) -> Arc<Self> {
        Arc::new(Self {
            waiting: AtomicUsize::new(0),
            high: (capacity / 2).max(1),
            stuck: AtomicBool::new(false),
            waiters: Mutex::new(Vec::new()),
        })
    }

    /// Counts a frame that was queued.
    pub fn queued(&self) {
        self.waiting.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes that all that was queued has been written, or that nothing will be any more.
    pub fn emptied(&self) {
        self.waiting.store(0, Ordering::Relaxed);
        self.stuck.store(false, Ordering::Relaxed);
        self.wake();
    }

    /// Whether senders should pause.
    pub fn is_high(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) >= self.high && !self.stuck.load(Ordering::Relaxed)
    }

    /// Lets nobody pause for this queue until it has emptied.
    pub fn give_up(&self) {
        self.stuck.store(true, Ordering::Relaxed);
        self.wake();
    }

    /// Ready when there is no reason to pause.
    pub fn poll_relief(&self, context: &mut Context<'_>) -> Poll<()> {
        if !self.is_high() {
            return Poll::Ready(());
        }
        let mut waiters = self.waiters.lock();
        // Looked at again under the lock: whoever empties the queue in between takes it to wake us.
        if !self.is_high() {
            return Poll::Ready(());
        }
        if !waiters.iter().any(|waker| waker.will_wake(context.waker())) {
            waiters.push(context.waker().clone());
        }
        Poll::Pending
    }

    fn wake(&self) {
        let waiters = std::mem::take(&mut *self.waiters.lock());
        for waker in waiters {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    #[test]
    fn a_sender_pauses_from_half_full_until_empty() {
        let backlog = Backlog::new(4);
        let mut context = Context::from_waker(Waker::noop());
        backlog.queued();
        assert!(backlog.poll_relief(&mut context).is_ready());
        backlog.queued();
        assert!(backlog.is_high());
        assert!(backlog.poll_relief(&mut context).is_pending());
        backlog.emptied();
        assert!(backlog.poll_relief(&mut context).is_ready());
        assert!(backlog.waiters.lock().is_empty());
    }

    #[test]
    fn nobody_pauses_for_a_queue_that_is_stuck() {
        let backlog = Backlog::new(2);
        backlog.queued();
        backlog.give_up();
        assert!(!backlog.is_high());
        backlog.emptied();
        backlog.queued();
        assert!(backlog.is_high());
    }
}
