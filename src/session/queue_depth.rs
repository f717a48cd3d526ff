//! The fill level of a send queue, and the senders that wait for it to drop.
//!
//! Backpressure: a sender that finds its recipient's queue above the high-water mark (half full) is
//! not read until the queue is below it, so that a burst is relayed at the speed of the slower side
//! instead of being refused. A slow consumer does not hold senders up for long: after the sender's
//! [limit](crate::dialect::Dialect::backpressure_limit) its queue counts as stuck. Until something
//! of a stuck queue is written, no sender waits for it, and signals that do not fit are refused.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::time::timeout;

/// The error for a frame that does not fit the send queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the queue is full")]
pub struct QueueFull;

/// Fill level of one send queue: frames that are queued and not written yet.
#[derive(Debug)]
pub struct QueueDepth {
    waiting: AtomicUsize,
    max_frames: usize,
    bytes: AtomicUsize,
    max_bytes: usize,
    stuck: AtomicBool,
    watch: Mutex<Watch>,
}

#[derive(Debug, Default)]
struct Watch {
    /// Senders that wait.
    waiters: Vec<Waker>,
    /// Since when frames do not fit, until the queue is below its high-water mark.
    full_since: Option<Instant>,
}

impl QueueDepth {
    /// Creates the level of an empty queue of at most `max_frames`, with at most `max_bytes` in
    /// total. A single frame may be larger.
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

    /// Creates the level of a queue of another node that is above its high-water mark, until
    /// [`QueueDepth::close`].
    pub fn full() -> Arc<Self> {
        let depth = Self::new(1, 0);
        depth.waiting.store(1, Ordering::Relaxed);
        depth
    }

    /// Queues a frame with `queue`, and counts it if that succeeds.
    pub fn queue(
        &self,
        bytes: usize,
        queue: impl FnOnce() -> Result<(), QueueFull>,
    ) -> Result<(), QueueFull> {
        // Counted first, because the frame may be written before `queue` returns.
        let is_full = self.waiting.fetch_add(1, Ordering::Relaxed) >= self.max_frames;
        let before = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let fits = before == 0 || before.saturating_add(bytes) <= self.max_bytes;
        let queued = if fits && !is_full { queue() } else { Err(QueueFull) };
        queued.inspect_err(|_| self.subtract(1, bytes))
    }

    /// Queues a promised frame with `queue`, even if the queue is full.
    pub fn queue_promised(
        &self,
        bytes: usize,
        queue: impl FnOnce() -> Result<(), QueueFull>,
    ) -> Result<(), QueueFull> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        queue().inspect_err(|_| self.subtract(1, bytes))
    }

    /// Returns the number of queued frames.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Records that frames were written.
    pub fn written(&self, frames: usize, bytes: usize) {
        self.subtract(frames, bytes);
        self.stuck.store(false, Ordering::Relaxed);
        if !self.is_high() {
            self.wake(|watch| watch.full_since = None);
        }
    }

    /// Records that nothing is written any more, which ends backpressure.
    pub fn close(&self) {
        self.written(usize::MAX, usize::MAX);
    }

    /// Returns whether the queue is above its high-water mark, so that its senders should wait.
    pub fn is_high(&self) -> bool {
        let is_high = self.waiting() >= (self.max_frames / 2).max(1)
            || self.bytes.load(Ordering::Relaxed) > self.max_bytes / 2;
        is_high && !self.stuck.load(Ordering::Relaxed)
    }

    /// Ends backpressure for this queue until something of it was written.
    pub fn set_stuck(&self) {
        self.stuck.store(true, Ordering::Relaxed);
        self.wake(|_| {});
    }

    /// Records that a frame did not fit, and returns whether frames have not fit for `limit`.
    pub fn stays_full(&self, now: Instant, limit: Duration) -> bool {
        let since = *self.watch.lock().full_since.get_or_insert(now);
        now.duration_since(since) >= limit
    }

    /// Completes when the queue is below its high-water mark.
    pub fn poll_below_high_water(&self, context: &mut Context<'_>) -> Poll<()> {
        if !self.is_high() {
            return Poll::Ready(());
        }
        let waiters = &mut self.watch.lock().waiters;
        // Checked again under the lock, which the writer takes to wake senders.
        if !self.is_high() {
            return Poll::Ready(());
        }
        if !waiters.iter().any(|waker| waker.will_wake(context.waker())) {
            waiters.push(context.waker().clone());
        }
        Poll::Pending
    }

    /// Waits until the queue is below its high-water mark, for at most `limit`. Returns whether it
    /// is.
    pub async fn below_high_water(&self, limit: Duration) -> bool {
        timeout(limit, poll_fn(|context| self.poll_below_high_water(context))).await.is_ok()
    }

    /// Subtracts without going below zero, since the library also writes frames of its own.
    fn subtract(&self, frames: usize, bytes: usize) {
        for (count, removed) in [(&self.waiting, frames), (&self.bytes, bytes)] {
            // The closure always returns a value.
            _ = count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| {
                Some(count.saturating_sub(removed))
            });
        }
    }

    fn wake(&self, change: impl FnOnce(&mut Watch)) {
        let mut watch = self.watch.lock();
        change(&mut watch);
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

    fn queue_one(depth: &QueueDepth) {
        depth.queue(1, || Ok(())).unwrap();
    }

    #[test]
    fn sender_waits_while_the_queue_is_half_full() {
        let depth = QueueDepth::new(4, 1000);
        let mut context = Context::from_waker(Waker::noop());
        queue_one(&depth);
        assert!(depth.poll_below_high_water(&mut context).is_ready());
        queue_one(&depth);
        assert!(depth.is_high());
        assert!(depth.poll_below_high_water(&mut context).is_pending());
        queue_one(&depth);
        depth.written(2, 2);
        assert!(depth.poll_below_high_water(&mut context).is_ready());
        assert!(depth.watch.lock().waiters.is_empty());
    }

    #[test]
    fn queue_that_stays_full_is_detected() {
        let depth = QueueDepth::new(4, 1000);
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        let stays_full = |now| depth.stays_full(now, Duration::from_secs(10));
        (0..4).for_each(|_| queue_one(&depth));
        assert!(!stays_full(at(0)));
        assert!(!stays_full(at(9)));
        assert!(stays_full(at(10)));
        // Less than half of it was read.
        depth.written(2, 2);
        assert!(stays_full(at(11)));
        depth.written(1, 1);
        assert!(!stays_full(at(12)));
    }

    #[test]
    fn queue_is_limited_in_bytes_except_for_a_single_frame() {
        let depth = QueueDepth::new(100, 10);
        assert_eq!(depth.queue(50, || Ok(())), Ok(()), "a single frame");
        assert!(depth.is_high());
        assert_eq!(depth.queue(1, || panic!("must not be called")), Err(QueueFull));
        depth.written(1, 50);
        assert_eq!(depth.queue(5, || Ok(())), Ok(()));
        assert!(!depth.is_high());
        assert_eq!(depth.queue(5, || Ok(())), Ok(()));
        assert!(depth.is_high());
        assert_eq!(depth.queue(1, || Ok(())), Err(QueueFull));
        assert_eq!(depth.waiting(), 2);
    }

    #[test]
    fn stuck_queue_causes_no_backpressure() {
        let depth = QueueDepth::new(2, 1000);
        queue_one(&depth);
        depth.set_stuck();
        assert!(!depth.is_high());
        depth.written(1, 1);
        queue_one(&depth);
        assert!(depth.is_high());
        depth.close();
        assert!(!depth.is_high());
    }
}
