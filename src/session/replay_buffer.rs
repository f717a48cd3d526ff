//! The replay buffer: recently sent frames of one session, numbered, in order and bounded, for a
//! client that resumes it.
//!
//! It has neither clock nor I/O, and does not depend on the type of the frames.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::queue_depth::QueueFull;

/// Limits on session resumption.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResumeLimits {
    /// How long a session may be away, and how long sent frames are kept.
    pub time: Duration,
    /// Maximum number of kept frames.
    pub messages: usize,
    /// Maximum number of their bytes.
    pub bytes: usize,
}

/// Reasons why missed frames cannot be replayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// Some of them are no longer in the buffer, or were never sent.
    #[error("missed frames are no longer available")]
    Gone,
    /// The client has confirmed later frames since: the request comes from an older connection.
    #[error("the client has confirmed later frames")]
    Late,
}

/// The replay buffer of one session. Its first frame has number 1.
#[derive(Debug)]
pub struct ReplayBuffer<T> {
    limits: ResumeLimits,
    next: u64,
    held: VecDeque<Held<T>>,
    bytes: usize,
    /// While the client is away, no frame is removed.
    is_away: bool,
    /// Number of the last frame that the client has confirmed.
    seen: u64,
}

#[derive(Debug)]
struct Held<T> {
    sent: Instant,
    bytes: usize,
    frame: T,
}

impl<T> ReplayBuffer<T> {
    /// Creates an empty buffer.
    pub fn new(limits: ResumeLimits) -> Self {
        Self { limits, next: 1, held: VecDeque::new(), bytes: 0, is_away: false, seen: 0 }
    }

    /// Creates the buffer of an away session whose client has received all frames up to `seen`,
    /// with those after that, each with its length in bytes.
    pub fn restored(
        limits: ResumeLimits,
        next: u64,
        seen: u64,
        now: Instant,
        frames: Vec<(usize, T)>,
    ) -> Self {
        let bytes = frames.iter().map(|(bytes, _)| bytes).sum();
        let held =
            frames.into_iter().map(|(bytes, frame)| Held { sent: now, bytes, frame }).collect();
        Self { limits, next, held, bytes, is_away: true, seen }
    }

    /// Returns the number of the next frame.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Returns whether the buffer is empty.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Checks whether a frame of `bytes` may be sent. While the client is away it must fit the
    /// buffer.
    pub fn takes(&self, bytes: usize) -> Result<(), QueueFull> {
        let fits =
            self.held.len() < self.limits.messages && self.bytes + bytes <= self.limits.bytes;
        if self.is_away && !fits { Err(QueueFull) } else { Ok(()) }
    }

    /// Adds a frame that was sent.
    pub fn push(&mut self, now: Instant, bytes: usize, frame: T) {
        self.next += 1;
        self.bytes += bytes;
        if self.held.len() == self.held.capacity() {
            // Grows by half instead of doubling: the buffer is a good part of an idle connection's
            // memory.
            self.held.reserve_exact(self.held.len() / 2 + 2);
        }
        self.held.push_back(Held { sent: now, bytes, frame });
        self.prune(now);
    }

    /// Removes frames that are too old or exceed the limits, and frees the memory of an empty
    /// buffer.
    pub fn prune(&mut self, now: Instant) {
        if self.is_away {
            return;
        }
        let ResumeLimits { time, messages, bytes } = self.limits;
        while let Some(first) = self.held.front()
            && (self.held.len() > messages
                || self.bytes > bytes
                || now.duration_since(first.sent) > time)
        {
            self.pop();
        }
        if self.held.is_empty() {
            self.held = VecDeque::new();
        }
    }

    fn pop(&mut self) {
        if let Some(first) = self.held.pop_front() {
            self.bytes -= first.bytes;
        }
    }

    /// Keeps all frames until the client is back.
    pub fn set_away(&mut self) {
        self.is_away = true;
    }

    /// Records that the client is back and has received all frames up to `seen`. Later ones are
    /// replayed now, so they are kept as if they were new, because they may be lost again.
    pub fn set_back(&mut self, now: Instant, seen: u64) {
        self.is_away = false;
        self.seen = seen;
        while self.first() <= seen && !self.held.is_empty() {
            self.pop();
        }
        for held in &mut self.held {
            held.sent = now;
        }
    }

    /// Returns the number of the first kept frame.
    fn first(&self) -> u64 {
        self.next - self.held.len() as u64
    }

    /// Checks that all frames after a number are kept. Fails for numbers of frames that were never
    /// sent.
    pub fn holds_after(&self, number: u64) -> Result<(), ReplayError> {
        match number {
            number if number < self.seen => Err(ReplayError::Late),
            number if number < self.next && number + 1 >= self.first() => Ok(()),
            _ => Err(ReplayError::Gone),
        }
    }

    /// Returns the kept frames after a number, in order, each with its length in bytes.
    pub fn after(&self, number: u64) -> impl Iterator<Item = (usize, &T)> {
        let skipped = usize::try_from(number.saturating_add(1).saturating_sub(self.first()))
            .unwrap_or(usize::MAX);
        self.held.iter().skip(skipped).map(|held| (held.bytes, &held.frame))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GONE: Result<(), ReplayError> = Err(ReplayError::Gone);
    const LIMITS: ResumeLimits =
        ResumeLimits { time: Duration::from_secs(10), messages: 4, bytes: 100 };

    fn after(buffer: &ReplayBuffer<u64>, number: u64) -> Vec<u64> {
        buffer.after(number).map(|(_, frame)| *frame).collect()
    }

    #[test]
    fn impossible_number_is_refused() {
        let mut buffer = ReplayBuffer::new(LIMITS);
        buffer.push(Instant::now(), 10, 1);
        for number in [u64::MAX, u64::MAX - 1] {
            assert!(after(&buffer, number).is_empty());
            assert_eq!(buffer.holds_after(number), GONE);
        }
    }

    #[test]
    fn missed_frames_are_replayed_and_no_others() {
        let (now, mut buffer) = (Instant::now(), ReplayBuffer::new(LIMITS));
        assert_eq!((buffer.holds_after(0), buffer.holds_after(1)), (Ok(()), GONE));
        for number in 1..=3 {
            assert_eq!(buffer.next(), number);
            buffer.push(now, 10, number);
        }
        assert_eq!(after(&buffer, 0), [1, 2, 3]);
        assert_eq!(after(&buffer, 2), [3]);
        assert_eq!(buffer.holds_after(3), Ok(()));
        assert!(after(&buffer, 3).is_empty());
        assert_eq!(buffer.holds_after(4), GONE, "that frame was never sent");
        assert_eq!(buffer.holds_after(u64::MAX), GONE);
    }

    #[test]
    fn oldest_frames_are_removed_while_the_client_is_connected() {
        let (now, mut buffer) = (Instant::now(), ReplayBuffer::new(LIMITS));
        (1..=6).for_each(|number| buffer.push(now, 10, number));
        assert_eq!((buffer.holds_after(1), buffer.holds_after(2)), (GONE, Ok(())));
        assert_eq!(after(&buffer, 2), [3, 4, 5, 6]);
        buffer.push(now, 90, 7);
        assert_eq!(after(&buffer, 5), [6, 7]);
        buffer.prune(now + Duration::from_secs(11));
        assert!(buffer.is_empty());
        assert_eq!((buffer.holds_after(6), buffer.holds_after(7)), (GONE, Ok(())));
    }

    #[test]
    fn frames_are_kept_while_the_client_is_away_and_refused_beyond_the_limits() {
        let (now, mut buffer) = (Instant::now(), ReplayBuffer::new(LIMITS));
        buffer.push(now, 10, 1);
        buffer.set_away();
        buffer.prune(now + 2 * LIMITS.time);
        (2..=4).for_each(|number| {
            assert_eq!(buffer.takes(10), Ok(()));
            buffer.push(now, 10, number);
        });
        assert_eq!(buffer.takes(10), Err(QueueFull));
        assert_eq!(after(&buffer, 0), [1, 2, 3, 4]);
        let back = now + 2 * LIMITS.time;
        buffer.set_back(back, 2);
        assert_eq!(buffer.takes(1_000), Ok(()));
        buffer.prune(back + LIMITS.time);
        assert_eq!(after(&buffer, 2), [3, 4], "the connection may drop again before they are read");
        assert_eq!(
            (buffer.holds_after(1), buffer.holds_after(2)),
            (Err(ReplayError::Late), Ok(()))
        );
        buffer.prune(back + LIMITS.time + Duration::from_secs(1));
        assert!(buffer.is_empty());
    }

    #[test]
    fn bytes_are_limited() {
        let (now, mut buffer) = (Instant::now(), ReplayBuffer::new(LIMITS));
        buffer.set_away();
        buffer.push(now, 95, 1);
        assert_eq!(buffer.takes(6), Err(QueueFull));
        assert_eq!(buffer.takes(5), Ok(()));
    }
}
