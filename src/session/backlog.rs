//! How much waits for one connection, and who waits for it to get less.
//!
//! A sender that finds the queue of its peer half full stops being read until the queue has shrunk, so that a burst is
//! carried at the pace of the slower side instead of being refused. A peer that stays slow holds nobody up for long:
//! after the sender's [patience](crate::dialect::Dialect::patience) its backlog counts as stuck, nobody pauses for it until it has emptied once, and what does not
//! fit its queue is refused to the sender.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// The send queue of a connection holds as much as it may: the frame was not queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the queue is full")]
pub struct QueueFull;

/// The fill of one outgoing queue: what was queued and has not been seen written.
#[derive(Debug)]
pub struct Backlog {
    waiting: AtomicUsize,
    max_frames: usize,
    bytes: AtomicUsize,
    max_bytes: usize,
    stuck: AtomicBool,
    watch: Mutex<Watch>,
}

#[derive(Debug, Default)]
struct Watch {
    /// Who pauses.
    waiters: Vec<Waker>,
    /// Since when what came found no place, until the queue shrinks to less than half.
    full_since: Option<Instant>,
}

impl Backlog {
    /// An empty backlog of a queue that holds so many frames, and so many bytes in them unless it is one alone.
    pub fn new(max_frames: usize, max_bytes: usize) -> Arc<Self> {
        Arc::new(Self {
            waiting: AtomicUsize::new(0),
            max_frames,
            bytes: AtomicUsize::new(0),
            max_bytes,
            stuck: AtomicBool::new(false),
            watch: Mutex::default(),
        })
    }

    /// Queues a frame of so many bytes by `queue`, and counts it if that succeeds.
    pub fn queue(&self, bytes: usize, queue: impl FnOnce() -> Result<(), QueueFull>) -> Result<(), QueueFull> {
        // Counted first: it may have been written by the time that `queue` returns.
        let is_full = self.waiting.fetch_add(1, Ordering::Relaxed) >= self.max_frames;
        let before = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let fits = before == 0 || before.saturating_add(bytes) <= self.max_bytes;
        let queued = if fits && !is_full { queue() } else { Err(QueueFull) };
        queued.inspect_err(|_| self.less(1, bytes))
    }

    /// Queues by `queue` what was promised before, whatever waits already.
    pub fn queue_promised(&self, bytes: usize, queue: impl FnOnce() -> Result<(), QueueFull>) -> Result<(), QueueFull> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        queue().inspect_err(|_| self.less(1, bytes))
    }

    /// How many frames wait.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Notes that so many frames, and so many bytes of them, have been written.
    pub fn written(&self, frames: usize, bytes: usize) {
        self.less(frames, bytes);
        self.stuck.store(false, Ordering::Relaxed);
        if !self.is_high() {
            self.wake(|watch| watch.full_since = None);
        }
    }

    /// Notes that nothing will be written any more, so that nobody need pause.
    pub fn close(&self) {
        self.written(usize::MAX, usize::MAX);
    }

    /// Whether senders should pause.
    pub fn is_high(&self) -> bool {
        let is_high =
            self.waiting() >= (self.max_frames / 2).max(1) || self.bytes.load(Ordering::Relaxed) > self.max_bytes / 2;
        is_high && !self.stuck.load(Ordering::Relaxed)
    }

    /// Lets nobody pause for this queue until something of it was written.
    pub fn give_up(&self) {
        self.stuck.store(true, Ordering::Relaxed);
        self.wake(|_| {});
    }

    /// Notes that a frame did not fit the queue; whether that has been so for `limit`. Nobody can be expected to wait any
    /// longer for a client that reads so little.
    pub fn stays_full(&self, now: Instant, limit: Duration) -> bool {
        let since = *self.watch.lock().full_since.get_or_insert(now);
        now.duration_since(since) >= limit
    }

    /// Ready when there is no reason to pause.
    pub fn poll_relief(&self, context: &mut Context<'_>) -> Poll<()> {
        if !self.is_high() {
            return Poll::Ready(());
        }
        let waiters = &mut self.watch.lock().waiters;
        // Looked at again under the lock: whoever empties the queue in between takes it to wake us.
        if !self.is_high() {
            return Poll::Ready(());
        }
        if !waiters.iter().any(|waker| waker.will_wake(context.waker())) {
            waiters.push(context.waker().clone());
        }
        Poll::Pending
    }

    /// Never below zero: the library writes frames of its own, too.
    fn less(&self, frames: usize, bytes: usize) {
        for (count, less) in [(&self.waiting, frames), (&self.bytes, bytes)] {
            // The closure always gives a value.
            _ = count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| Some(count.saturating_sub(less)));
        }
    }

    fn wake(&self, note: impl FnOnce(&mut Watch)) {
        let mut watch = self.watch.lock();
        note(&mut watch);
        let waiters = std::mem::take(&mut watch.waiters);
        drop(watch);
        for waker in waiters {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    fn queue_one(backlog: &Backlog) {
        backlog.queue(1, || Ok(())).unwrap();
    }

    #[test]
    fn a_sender_pauses_while_it_is_half_full() {
        let backlog = Backlog::new(4, 1000);
        let mut context = Context::from_waker(Waker::noop());
        queue_one(&backlog);
        assert!(backlog.poll_relief(&mut context).is_ready());
        queue_one(&backlog);
        assert!(backlog.is_high());
        assert!(backlog.poll_relief(&mut context).is_pending());
        queue_one(&backlog);
        backlog.written(2, 2);
        assert!(backlog.poll_relief(&mut context).is_ready());
        assert!(backlog.watch.lock().waiters.is_empty());
    }

    #[test]
    fn a_queue_that_stays_full_is_told_from_one_that_was_full() {
        let backlog = Backlog::new(4, 1000);
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        let stays_full = |now| backlog.stays_full(now, Duration::from_secs(10));
        (0..4).for_each(|_| queue_one(&backlog));
        assert!(!stays_full(at(0)));
        assert!(!stays_full(at(9)));
        assert!(stays_full(at(10)));
        // Not half of it was read.
        backlog.written(2, 2);
        assert!(stays_full(at(11)));
        backlog.written(1, 1);
        assert!(!stays_full(at(12)));
    }

    #[test]
    fn a_queue_holds_so_many_bytes_or_one_frame() {
        let backlog = Backlog::new(100, 10);
        assert_eq!(backlog.queue(50, || Ok(())), Ok(()), "alone");
        assert!(backlog.is_high());
        assert_eq!(backlog.queue(1, || panic!("not even tried")), Err(QueueFull));
        backlog.written(1, 50);
        assert_eq!(backlog.queue(5, || Ok(())), Ok(()));
        assert!(!backlog.is_high());
        assert_eq!(backlog.queue(5, || Ok(())), Ok(()));
        assert!(backlog.is_high());
        assert_eq!(backlog.queue(1, || Ok(())), Err(QueueFull));
        assert_eq!(backlog.waiting(), 2);
    }

    #[test]
    fn nobody_pauses_for_a_queue_that_is_stuck() {
        let backlog = Backlog::new(2, 1000);
        queue_one(&backlog);
        backlog.give_up();
        assert!(!backlog.is_high());
        backlog.written(1, 1);
        queue_one(&backlog);
        assert!(backlog.is_high());
        backlog.close();
        assert!(!backlog.is_high());
    }
}
