//! Links: numbered frames from one node to another over a channel that loses what a reader misses.
//!
//! Pure: no clock and no socket. The sender keeps its frames until it learns that the reader has
//! processed them, or for some time; the reader delivers each number once and in order, and requests
//! those that it misses. Numbers never restart while either end may live.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;

/// How often a reader requests missing frames at most.
const REQUEST_INTERVAL: Duration = Duration::from_millis(50);

/// The sending end of a link.
#[derive(Debug)]
pub struct SendingLink {
    next: u64,
    /// Number of the first frame that was not given to the connection.
    unpublished: u64,
    /// Without holes: each frame has the number after that of the frame before it.
    kept: VecDeque<Kept>,
    bytes: usize,
}

/// A frame that the sender keeps.
#[derive(Debug)]
struct Kept {
    number: u64,
    frame: Bytes,
    /// When it was added, or when the engine has taken it.
    since: Instant,
    /// Whether the engine has taken it.
    is_confirmed: bool,
}

/// The frames that answer a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resent {
    /// Set if frames before this number are not kept any more.
    pub gap: Option<u64>,
    /// The frames with their numbers, in order.
    pub frames: Vec<(u64, Bytes)>,
}

impl Default for SendingLink {
    fn default() -> Self {
        Self { next: 1, unpublished: 1, kept: VecDeque::new(), bytes: 0 }
    }
}

impl SendingLink {
    /// Returns the number of the next frame.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Adds a frame, which is written with its number.
    pub fn push(&mut self, now: Instant, write: impl FnOnce(u64) -> Bytes) {
        let number = self.next;
        self.next += 1;
        let frame = write(number);
        self.bytes += frame.len();
        self.kept.push_back(Kept { number, frame, since: now, is_confirmed: false });
    }

    /// Takes the frames that wait, to publish them in order.
    pub fn publish(&mut self) -> impl Iterator<Item = (u64, Bytes)> {
        let start = self.index(self.unpublished);
        self.unpublished = self.next;
        self.kept.range(start..).map(|kept| (kept.number, kept.frame.clone()))
    }

    /// Notes that the engine has taken a frame. Its reader may still miss it, however long the frame
    /// has waited before.
    pub fn confirm(&mut self, now: Instant, number: u64) {
        let index = self.index(number);
        if let Some(kept) = self.kept.get_mut(index).filter(|kept| kept.number == number) {
            (kept.is_confirmed, kept.since) = (true, now);
        }
    }

    /// Notes that the connection is lost: what was not confirmed waits again.
    pub fn connection_lost(&mut self) {
        if let Some(kept) = self.kept.iter().find(|kept| !kept.is_confirmed) {
            self.unpublished = self.unpublished.min(kept.number);
        }
    }

    /// Returns the frames that the reader has not received. Frames that wait are left out, they are
    /// published anyway.
    pub fn resend(&mut self, next: u64) -> Resent {
        let first = self.kept.front().map_or(self.next, |kept| kept.number);
        let (start, end) = (self.index(next), self.index(self.unpublished));
        let missing = self.kept.range_mut(start.min(end)..end);
        let frames = missing.map(|kept| {
            kept.is_confirmed = false;
            (kept.number, kept.frame.clone())
        });
        Resent { frames: frames.collect(), gap: (first > next).then_some(first) }
    }

    /// Forgets frames that the engine took longer ago than `age`.
    pub fn prune(&mut self, now: Instant, age: Duration) {
        let is_old = |kept: &mut Kept| kept.is_confirmed && now.duration_since(kept.since) > age;
        while let Some(kept) = self.kept.pop_front_if(is_old) {
            self.bytes -= kept.frame.len();
        }
    }

    /// Returns since when the oldest frame is kept, if it may be forgotten.
    pub fn oldest(&self) -> Option<Instant> {
        self.kept.front().filter(|kept| kept.is_confirmed).map(|kept| kept.since)
    }

    /// Forgets the oldest frame to save memory. Returns its length.
    pub fn evict(&mut self) -> usize {
        let length = self.kept.pop_front().map_or(0, |kept| kept.frame.len());
        self.bytes -= length;
        length
    }

    /// Forgets the frames up to this one, which the reader has processed. Returns their length.
    pub fn processed(&mut self, number: u64) -> usize {
        let (before, unpublished) = (self.bytes, self.unpublished);
        let is_processed = |kept: &mut Kept| kept.number <= number && kept.number < unpublished;
        while let Some(kept) = self.kept.pop_front_if(is_processed) {
            self.bytes -= kept.frame.len();
        }
        before - self.bytes
    }

    /// Forgets all frames: the reader is dead. Numbers go on. Returns the frames that it is not known
    /// to have processed.
    pub fn forget(&mut self) -> Vec<Bytes> {
        let frames = self.kept.drain(..).map(|kept| kept.frame).collect();
        self.bytes = 0;
        self.unpublished = self.next;
        frames
    }

    /// Returns the number of frames that wait, and how long the oldest has waited.
    pub fn waiting(&self, now: Instant) -> (usize, Duration) {
        let index = self.index(self.unpublished);
        let oldest =
            self.kept.get(index).map_or(Duration::ZERO, |kept| now.duration_since(kept.since));
        (self.kept.len() - index, oldest)
    }

    /// Returns the bytes of all frames that are kept.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns the position of the first frame whose number is not smaller.
    fn index(&self, number: u64) -> usize {
        let first = self.kept.front().map_or(self.next, |kept| kept.number);
        usize::try_from(number.saturating_sub(first)).unwrap_or(usize::MAX).min(self.kept.len())
    }
}

/// The reading end of a link.
#[derive(Debug)]
pub struct ReceivingLink {
    next: u64,
    processed: u64,
    requested: Option<Instant>,
}

/// How to treat a frame that arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Receipt {
    /// Deliver it: it is the next one.
    Deliver,
    /// Drop it: it was delivered.
    Repeated,
    /// Drop it: frames before it are missing.
    Missing,
}

impl Default for ReceivingLink {
    fn default() -> Self {
        Self { next: 1, processed: 0, requested: None }
    }
}

impl ReceivingLink {
    /// Returns the number of the frame that is delivered next.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Notes that a frame arrived.
    pub fn receive(&mut self, number: u64) -> Receipt {
        if number > self.next {
            return Receipt::Missing;
        }
        if number < self.next {
            return Receipt::Repeated;
        }
        self.next += 1;
        Receipt::Deliver
    }

    /// Notes that a frame that was delivered is being processed, which may be later.
    pub fn process(&mut self, number: u64) {
        self.processed = number;
    }

    /// Returns the number of the last frame that was processed.
    pub fn processed(&self) -> u64 {
        self.processed
    }

    /// Returns whether to request the missing frames now.
    pub fn request(&mut self, now: Instant) -> bool {
        if self.requested.is_some_and(|requested| now.duration_since(requested) < REQUEST_INTERVAL)
        {
            return false;
        }
        self.requested = Some(now);
        true
    }

    /// Notes that frames before a number are lost for good. Returns whether this node misses any of
    /// them.
    pub fn skip_to(&mut self, first: u64) -> bool {
        let misses = first > self.next;
        self.next = self.next.max(first);
        misses
    }
}
