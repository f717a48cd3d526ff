//! The replay buffer: recently sent frames of one session, numbered, in order and bounded, for a
//! client that resumes it.
//!
//! It has neither clock nor I/O. Texts are copied into a ring of bytes: one allocation for all of
//! them, which is written from front to back, where a buffer of separate allocations would touch as
//! many cold cache lines to free the oldest frame as to add one.

use std::collections::VecDeque;
use std::ops::Range;
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

/// The replay buffer of one session: texts, and frames of type `T`. The first frame has number 1.
#[derive(Debug)]
pub struct ReplayBuffer<T> {
    limits: ResumeLimits,
    next: u64,
    held: VecDeque<Held<T>>,
    /// The held texts, one after the other.
    texts: VecDeque<u8>,
    /// Number of bytes of all held frames.
    bytes: usize,
    /// The time that `Held::sent` counts from.
    epoch: Instant,
    /// While the client is away, no frame is removed.
    is_away: bool,
    /// Number of the last frame that the client has confirmed.
    seen: u64,
}

/// A frame in the buffer.
#[derive(Debug)]
struct Held<T> {
    /// When it was sent, in milliseconds since `ReplayBuffer::epoch`.
    sent: u32,
    bytes: u32,
    /// `None` is a text.
    other: Option<Box<T>>,
}

/// A frame that is replayed.
#[derive(Debug, PartialEq, Eq)]
pub enum Replayed<'a, T> {
    /// A text, copied from the buffer.
    Text(String),
    /// A frame of another kind.
    Other(&'a T),
}

impl<T> ReplayBuffer<T> {
    /// Creates an empty buffer.
    pub fn new(limits: ResumeLimits) -> Self {
        Self {
            limits,
            next: 1,
            held: VecDeque::new(),
            texts: VecDeque::new(),
            bytes: 0,
            epoch: Instant::now(),
            is_away: false,
            seen: 0,
        }
    }

    /// Creates the buffer of an away session whose client has received all frames up to `seen`. The
    /// frames after that are added one by one.
    pub fn restored(limits: ResumeLimits, seen: u64) -> Self {
        Self { next: seen + 1, is_away: true, seen, ..Self::new(limits) }
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

    /// Adds a text that is about to be sent. It is followed by [`Self::remove_excess`], or by
    /// [`Self::remove_last`] if it could not be sent.
    pub fn push_text(&mut self, now: Instant, text: &str) {
        if self.texts.len() + text.len() > self.texts.capacity() {
            self.texts.reserve_exact(text.len().max(self.texts.len() / 2));
        }
        self.texts.extend(text.as_bytes());
        self.hold(now, text.len(), None);
    }

    /// Adds a frame of `bytes`, as [`Self::push_text`] does.
    pub fn push(&mut self, now: Instant, bytes: usize, frame: T) {
        self.hold(now, bytes, Some(Box::new(frame)));
    }

    fn hold(&mut self, now: Instant, bytes: usize, other: Option<Box<T>>) {
        let sent = self.sent_at(now);
        self.next += 1;
        self.bytes += bytes;
        if self.held.len() == self.held.capacity() {
            // Grows by half instead of doubling: the buffer is a good part of an idle connection's
            // memory.
            self.held.reserve_exact(self.held.len() / 2 + 2);
        }
        let bytes = u32::try_from(bytes).expect("frames are far smaller than 4 GiB");
        self.held.push_back(Held { sent, bytes, other });
    }

    /// Returns a time relative to the epoch, which it moves first if the time is too far from it.
    fn sent_at(&mut self, now: Instant) -> u32 {
        if self.held.is_empty() {
            self.epoch = now;
        }
        if let Ok(sent) = u32::try_from(now.saturating_duration_since(self.epoch).as_millis()) {
            return sent;
        }
        // After 49 days in which the buffer was never empty.
        let first = self.held.front().map_or(0, |held| held.sent);
        self.held.iter_mut().for_each(|held| held.sent -= first);
        self.epoch += Duration::from_millis(first.into());
        u32::try_from(now.saturating_duration_since(self.epoch).as_millis()).unwrap_or(u32::MAX)
    }

    /// Removes the last frame, which could not be sent.
    pub fn remove_last(&mut self) {
        let Some(last) = self.held.pop_back() else { return };
        self.next -= 1;
        self.bytes -= last.bytes as usize;
        if last.other.is_none() {
            self.texts.truncate(self.texts.len() - last.bytes as usize);
        }
    }

    /// Removes frames that are too old or exceed the limits.
    pub fn remove_excess(&mut self, now: Instant) {
        if self.is_away {
            return;
        }
        let ResumeLimits { time, messages, bytes } = self.limits;
        while let Some(first) = self.held.front()
            && (self.held.len() > messages
                || self.bytes > bytes
                || now.saturating_duration_since(self.epoch)
                    > time + Duration::from_millis(first.sent.into()))
        {
            self.remove_first();
        }
    }

    /// Removes frames that are too old or exceed the limits, and frees memory that they needed.
    pub fn prune(&mut self, now: Instant) {
        self.remove_excess(now);
        if self.held.is_empty() {
            self.held = VecDeque::new();
            self.texts = VecDeque::new();
        } else if self.texts.capacity() > 2 * self.texts.len() {
            self.texts.shrink_to_fit();
        }
    }

    fn remove_first(&mut self) {
        let Some(first) = self.held.pop_front() else { return };
        self.bytes -= first.bytes as usize;
        if first.other.is_none() {
            self.texts.drain(..first.bytes as usize);
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
            self.remove_first();
        }
        self.epoch = now;
        for held in &mut self.held {
            held.sent = 0;
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
    pub fn after(&self, number: u64) -> impl Iterator<Item = (usize, Replayed<'_, T>)> {
        let skipped = usize::try_from(number.saturating_add(1).saturating_sub(self.first()))
            .unwrap_or(usize::MAX);
        let mut start = 0;
        let frames = self.held.iter().map(move |held| {
            let bytes = held.bytes as usize;
            let text = start..start + if held.other.is_none() { bytes } else { 0 };
            start = text.end;
            (bytes, text, held.other.as_deref())
        });
        frames.skip(skipped).map(|(bytes, text, other)| {
            (bytes, other.map_or_else(|| Replayed::Text(self.text(text)), Replayed::Other))
        })
    }

    /// Copies a text out of the ring.
    fn text(&self, range: Range<usize>) -> String {
        let (front, back) = self.texts.as_slices();
        let part = |bytes: &[u8], start: usize| {
            let clamp = |position: usize| position.saturating_sub(start).min(bytes.len());
            bytes[clamp(range.start)..clamp(range.end)].to_vec()
        };
        let bytes = [part(front, 0), part(back, front.len())].concat();
        String::from_utf8(bytes).expect("each text was a string")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GONE: Result<(), ReplayError> = Err(ReplayError::Gone);
    const LIMITS: ResumeLimits =
        ResumeLimits { time: Duration::from_secs(10), messages: 4, bytes: 100 };

    /// Adds a frame that was sent: a text if its number is odd.
    fn push(buffer: &mut ReplayBuffer<u64>, now: Instant, bytes: usize, number: u64) {
        if number % 2 == 1 {
            buffer.push_text(now, &format!("{number:0>bytes$}"));
        } else {
            buffer.push(now, bytes, number);
        }
        buffer.remove_excess(now);
    }

    fn after(buffer: &ReplayBuffer<u64>, number: u64) -> Vec<u64> {
        let frames = buffer.after(number).map(|(_, frame)| match frame {
            Replayed::Text(text) => text.parse().unwrap(),
            Replayed::Other(number) => *number,
        });
        frames.collect()
    }

    #[test]
    fn impossible_number_is_refused() {
        let mut buffer = ReplayBuffer::new(LIMITS);
        push(&mut buffer, Instant::now(), 10, 1);
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
            push(&mut buffer, now, 10, number);
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
        (1..=6).for_each(|number| push(&mut buffer, now, 10, number));
        assert_eq!((buffer.holds_after(1), buffer.holds_after(2)), (GONE, Ok(())));
        assert_eq!(after(&buffer, 2), [3, 4, 5, 6]);
        push(&mut buffer, now, 90, 7);
        assert_eq!(after(&buffer, 5), [6, 7]);
        buffer.prune(now + Duration::from_secs(11));
        assert!(buffer.is_empty());
        assert_eq!((buffer.holds_after(6), buffer.holds_after(7)), (GONE, Ok(())));
    }

    #[test]
    fn frames_are_kept_while_the_client_is_away_and_refused_beyond_the_limits() {
        let (now, mut buffer) = (Instant::now(), ReplayBuffer::new(LIMITS));
        push(&mut buffer, now, 10, 1);
        buffer.set_away();
        buffer.prune(now + 2 * LIMITS.time);
        (2..=4).for_each(|number| {
            assert_eq!(buffer.takes(10), Ok(()));
            push(&mut buffer, now, 10, number);
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
        push(&mut buffer, now, 95, 1);
        assert_eq!(buffer.takes(6), Err(QueueFull));
        assert_eq!(buffer.takes(5), Ok(()));
    }

    #[test]
    fn frame_that_could_not_be_sent_is_removed_again() {
        let (now, mut buffer) = (Instant::now(), ReplayBuffer::new(LIMITS));
        (1..=4).for_each(|number| push(&mut buffer, now, 10, number));
        buffer.push_text(now, "5");
        buffer.remove_last();
        buffer.push(now, 10, 5);
        buffer.remove_last();
        assert_eq!((buffer.next(), after(&buffer, 0)), (5, vec![1, 2, 3, 4]));
        push(&mut buffer, now, 10, 5);
        assert_eq!((buffer.next(), after(&buffer, 1)), (6, vec![2, 3, 4, 5]));
    }

    #[test]
    fn texts_are_copied_from_both_ends_of_the_ring() {
        let (now, mut buffer) = (Instant::now(), ReplayBuffer::<()>::new(LIMITS));
        for number in 0..100_u64 {
            buffer.push_text(now, &number.to_string().repeat(7));
            buffer.remove_excess(now);
            let texts: Vec<_> =
                buffer.after(number.saturating_sub(3)).map(|(_, text)| text).collect();
            let expected =
                (number.saturating_sub(3)..=number).map(|number| number.to_string().repeat(7));
            assert_eq!(texts, expected.map(Replayed::Text).collect::<Vec<_>>());
        }
    }

    #[test]
    fn frames_are_removed_in_time_after_months() {
        let (start, mut buffer) = (Instant::now(), ReplayBuffer::new(LIMITS));
        // Never empty: one frame in each period.
        for days in 0..60 {
            let now = start + Duration::from_hours(24 * days);
            push(&mut buffer, now, 10, 1);
            push(&mut buffer, now + LIMITS.time, 10, 2);
            buffer.prune(now + LIMITS.time + Duration::from_millis(1));
            assert_eq!(buffer.held.len(), 1, "day {days}");
        }
    }
}
