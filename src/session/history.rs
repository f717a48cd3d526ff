//! What was sent to one peer, kept for a while in case its connection drops: numbered, in order, bounded.
//!
//! A structure without a clock and without a socket, whatever the frames are.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::backlog::QueueFull;

/// What is held for a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResumeLimits {
    /// How long a peer may be away, and how far back what was sent to it is held.
    pub time: Duration,
    /// The most frames held.
    pub messages: usize,
    /// The most bytes of them.
    pub bytes: usize,
}

/// Why what a client has missed cannot be replayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotHeld {
    /// Part of it is not in the replay buffer any more, or never was.
    #[error("not held any more")]
    Gone,
    /// The client has seen more by now: an abandoned connection asks late.
    #[error("the peer has seen more since")]
    Late,
}

/// The last frames of one peer. The first that is ever sent has number 1.
#[derive(Debug)]
pub struct History<T> {
    limits: ResumeLimits,
    next: u64,
    held: VecDeque<Held<T>>,
    bytes: usize,
    /// Nothing that is held may go while its recipient is away.
    is_away: bool,
    /// Up to which number the recipient has said that it has seen all.
    seen: u64,
}

#[derive(Debug)]
struct Held<T> {
    sent: Instant,
    bytes: usize,
    frame: T,
}

impl<T> History<T> {
    /// Nothing sent yet.
    pub fn new(limits: ResumeLimits) -> Self {
        Self { limits, next: 1, held: VecDeque::new(), bytes: 0, is_away: false, seen: 0 }
    }

    /// The number of the next frame.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Whether a frame of so many bytes may be sent: always while the recipient is there; while it is away, if there
    /// is room for it.
    pub fn takes(&self, bytes: usize) -> Result<(), QueueFull> {
        let fits = self.held.len() < self.limits.messages && self.bytes + bytes <= self.limits.bytes;
        if self.is_away && !fits { Err(QueueFull) } else { Ok(()) }
    }

    /// Notes a frame that was sent.
    pub fn push(&mut self, now: Instant, bytes: usize, frame: T) {
        self.next += 1;
        self.bytes += bytes;
        if self.held.len() == self.held.capacity() {
            // Half as much more, not twice as much: of an idle connection's memory this is a good part.
            self.held.reserve_exact(self.held.len() / 2 + 4);
        }
        self.held.push_back(Held { sent: now, bytes, frame });
        self.prune(now);
    }

    /// Lets go of what is too old or too much. The memory of one that is empty is given back.
    pub fn prune(&mut self, now: Instant) {
        if self.is_away {
            return;
        }
        let ResumeLimits { time, messages, bytes } = self.limits;
        while let Some(first) = self.held.front()
            && (self.held.len() > messages || self.bytes > bytes || now.duration_since(first.sent) > time)
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

    /// Holds everything until the recipient is back.
    pub fn set_away(&mut self) {
        self.is_away = true;
    }

    /// The recipient is back, and has seen all up to a number. What it missed is told to it now; that may be lost as well,
    /// and so is held for as long as if it were new.
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

    /// The number of the first frame that is held.
    fn first(&self) -> u64 {
        self.next - self.held.len() as u64
    }

    /// Whether all that was sent after a number is held. Numbers of frames that were never sent are nobody's.
    pub fn holds_after(&self, number: u64) -> Result<(), NotHeld> {
        match number {
            number if number < self.seen => Err(NotHeld::Late),
            number if number < self.next && number + 1 >= self.first() => Ok(()),
            _ => Err(NotHeld::Gone),
        }
    }

    /// The frames after a number, in order, each with its length; those that are not held any more left out.
    pub fn after(&self, number: u64) -> impl Iterator<Item = (usize, &T)> {
        let skipped = usize::try_from(number.saturating_add(1).saturating_sub(self.first())).unwrap_or(usize::MAX);
        self.held.iter().skip(skipped).map(|held| (held.bytes, &held.frame))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GONE: Result<(), NotHeld> = Err(NotHeld::Gone);
    const LIMITS: ResumeLimits = ResumeLimits { time: Duration::from_secs(10), messages: 4, bytes: 100 };

    fn after(history: &History<u64>, number: u64) -> Vec<u64> {
        history.after(number).map(|(_, frame)| *frame).collect()
    }

    #[test]
    fn number_that_no_frame_can_have_is_not_held() {
        let mut history = History::new(LIMITS);
        history.push(Instant::now(), 10, 1);
        for number in [u64::MAX, u64::MAX - 1] {
            assert!(after(&history, number).is_empty());
            assert_eq!(history.holds_after(number), GONE);
        }
    }

    #[test]
    fn what_was_missed_comes_again_and_nothing_else() {
        let (now, mut history) = (Instant::now(), History::new(LIMITS));
        assert_eq!((history.holds_after(0), history.holds_after(1)), (Ok(()), GONE));
        for number in 1..=3 {
            assert_eq!(history.next(), number);
            history.push(now, 10, number);
        }
        assert_eq!(after(&history, 0), [1, 2, 3]);
        assert_eq!(after(&history, 2), [3]);
        assert_eq!(history.holds_after(3), Ok(()));
        assert!(after(&history, 3).is_empty());
        assert_eq!(history.holds_after(4), GONE, "nobody can have seen what was not sent");
        assert_eq!(history.holds_after(u64::MAX), GONE);
    }

    #[test]
    fn while_the_recipient_is_there_the_oldest_goes() {
        let (now, mut history) = (Instant::now(), History::new(LIMITS));
        (1..=6).for_each(|number| history.push(now, 10, number));
        assert_eq!((history.holds_after(1), history.holds_after(2)), (GONE, Ok(())));
        assert_eq!(after(&history, 2), [3, 4, 5, 6]);
        history.push(now, 90, 7);
        assert_eq!(after(&history, 5), [6, 7]);
        history.prune(now + Duration::from_secs(11));
        assert!(history.is_empty());
        assert_eq!((history.holds_after(6), history.holds_after(7)), (GONE, Ok(())));
    }

    #[test]
    fn while_it_is_away_nothing_goes_and_what_does_not_fit_is_refused() {
        let (now, mut history) = (Instant::now(), History::new(LIMITS));
        history.push(now, 10, 1);
        history.set_away();
        history.prune(now + 2 * LIMITS.time);
        (2..=4).for_each(|number| {
            assert_eq!(history.takes(10), Ok(()));
            history.push(now, 10, number);
        });
        assert_eq!(history.takes(10), Err(QueueFull));
        assert_eq!(after(&history, 0), [1, 2, 3, 4]);
        let back = now + 2 * LIMITS.time;
        history.set_back(back, 2);
        assert_eq!(history.takes(1_000), Ok(()));
        history.prune(back + LIMITS.time);
        assert_eq!(after(&history, 2), [3, 4], "the line may drop again before they are read");
        assert_eq!((history.holds_after(1), history.holds_after(2)), (Err(NotHeld::Late), Ok(())));
        history.prune(back + LIMITS.time + Duration::from_secs(1));
        assert!(history.is_empty());
    }

    #[test]
    fn bytes_are_bounded_too() {
        let (now, mut history) = (Instant::now(), History::new(LIMITS));
        history.set_away();
        history.push(now, 95, 1);
        assert_eq!(history.takes(6), Err(QueueFull));
        assert_eq!(history.takes(5), Ok(()));
    }
}
