//! Compares the replay buffer with a naive model, with a client that loses connections and resumes,
//! and must receive everything once and in order.
//!
//! A scenario is derived from arbitrary bytes of the fuzz target or a property test.

use std::time::{Duration, Instant};

use arbitrary::{Arbitrary, Unstructured};
use parlor::session::{QueueFull, ReplayBuffer, ReplayError, Replayed, ResumeLimits};

/// Unit of time.
const QUARTER: Duration = Duration::from_millis(250);

/// A step of a scenario.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Step {
    /// A message of this size is sent to the peer.
    Send(u8),
    /// Quarters of a second pass.
    Wait(u8),
    /// Old frames are pruned.
    Prune,
    /// The connection is lost with this number of messages.
    Drop(u8),
    /// The client resumes.
    Resume,
    /// The client resumes with a number that exceeds the last received one by this much.
    ResumeFrom(u64),
}

/// Mostly messages, since a loss needs messages.
impl<'a> Arbitrary<'a> for Step {
    fn arbitrary(u: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        Ok(match u.int_in_range(0..=15_u8)? {
            0..=8 => Self::Send(u.int_in_range(0..=63)?),
            9 | 10 => Self::Wait(u.int_in_range(0..=15)?),
            11 => Self::Prune,
            12 | 13 => Self::Drop(u.int_in_range(0..=7)?),
            14 => Self::Resume,
            _ => Self::ResumeFrom(u.int_in_range(0..=7)?),
        })
    }
}

/// Low limits, and the steps.
#[derive(Debug)]
pub(crate) struct Scenario {
    limits: ResumeLimits,
    steps: Vec<Step>,
}

/// As many steps as the bytes suffice for.
impl<'a> Arbitrary<'a> for Scenario {
    fn arbitrary(u: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        let limits = ResumeLimits {
            time: Duration::from_secs(u.int_in_range(1..=4)?),
            messages: u.int_in_range(1..=8)?,
            bytes: u.int_in_range(1..=256)?,
        };
        let mut steps = Vec::new();
        while !u.is_empty() {
            steps.push(u.arbitrary()?);
        }
        Ok(Self { limits, steps })
    }
}

/// Derives the scenario of these bytes, as the fuzz target does.
pub(crate) fn scenario(data: &[u8]) -> Option<Scenario> {
    Scenario::arbitrary(&mut Unstructured::new(data)).ok()
}

/// Plays a scenario; panics if buffer and model differ.
pub(crate) fn play(scenario: &Scenario) {
    let mut run = Run::new(scenario.limits, Instant::now());
    for step in &scenario.steps {
        run.step(*step);
        run.compare();
    }
    run.resume(run.seen);
    run.compare();
}

/// A sent message.
#[derive(Debug, Clone, Copy)]
struct Sent {
    at: Instant,
    bytes: usize,
    is_held: bool,
}

/// Returns a text that tells a frame from others.
fn text_of(number: u64, bytes: usize) -> String {
    let letter = char::from(b'a' + u8::try_from(number % 26).expect("a letter"));
    std::iter::repeat_n(letter, bytes).collect()
}

/// Buffer and model, and their client.
struct Run {
    limits: ResumeLimits,
    now: Instant,
    /// Texts are frames with an odd number.
    buffer: ReplayBuffer<u64>,
    /// All sent messages: the first has number 1.
    sent: Vec<Sent>,
    is_away: bool,
    /// Number of the last message that the client received, each once and in order.
    seen: u64,
    /// Number of the last message that the client has confirmed.
    confirmed: u64,
}

impl Run {
    fn new(limits: ResumeLimits, now: Instant) -> Self {
        Self {
            limits,
            now,
            buffer: ReplayBuffer::new(limits),
            sent: Vec::new(),
            is_away: false,
            seen: 0,
            confirmed: 0,
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Send(bytes) => self.send(usize::from(bytes)),
            Step::Wait(quarters) => self.now += QUARTER * u32::from(quarters),
            Step::Prune => {
                self.buffer.prune(self.now);
                self.prune();
            }
            Step::Drop(lost) => {
                self.is_away = true;
                self.buffer.set_away();
                self.seen = self.seen.saturating_sub(u64::from(lost)).max(self.confirmed);
            }
            Step::Resume => self.resume(self.seen),
            Step::ResumeFrom(further) => self.resume(self.seen.saturating_add(further)),
        }
    }

    fn send(&mut self, bytes: usize) {
        let (count, held) = self.kept();
        let fits = count < self.limits.messages && held + bytes <= self.limits.bytes;
        let expected = if self.is_away && !fits { Err(QueueFull) } else { Ok(()) };
        assert_eq!(
            self.buffer.takes(bytes),
            expected,
            "{count} messages of {held} bytes, and {bytes} more"
        );
        if expected.is_err() {
            return;
        }
        self.sent.push(Sent { at: self.now, bytes, is_held: true });
        if self.last() % 2 == 1 {
            self.buffer.push_text(self.now, &text_of(self.last(), bytes));
        } else {
            self.buffer.push(self.now, bytes, self.last());
        }
        self.buffer.remove_excess(self.now);
        self.prune();
        if !self.is_away {
            self.next_event(self.last());
        }
    }

    /// Delivers a frame to the client.
    fn next_event(&mut self, number: u64) {
        assert_eq!(number, self.seen + 1, "nothing is lost, or comes twice, or out of order");
        self.seen = number;
    }

    /// Resumes the session, in which case the missed frames are replayed, or opens a new one.
    fn resume(&mut self, seen: u64) {
        if self.buffer.holds_after(seen).is_err() {
            *self = Self::new(self.limits, self.now);
            return;
        }
        // Confirmed frames are not replayed.
        (self.seen, self.confirmed, self.is_away) = (seen, seen, false);
        self.buffer.set_back(self.now, seen);
        for (number, sent) in (1..).zip(&mut self.sent) {
            sent.is_held &= number > seen;
            sent.at = self.now;
        }
        for number in seen + 1..=seen + self.buffer.after(seen).count() as u64 {
            self.next_event(number);
        }
        assert_eq!(self.seen, self.last(), "all frames arrived");
    }

    fn last(&self) -> u64 {
        self.sent.len() as u64
    }

    fn kept(&self) -> (usize, usize) {
        let held = self.sent.iter().filter(|sent| sent.is_held);
        (held.clone().count(), held.map(|sent| sent.bytes).sum())
    }

    /// Removes the oldest messages beyond the limits of size and age; none while the peer is away.
    fn prune(&mut self) {
        while !self.is_away {
            let (count, bytes) = self.kept();
            let Some(oldest) = self.sent.iter_mut().find(|sent| sent.is_held) else { return };
            let is_old = self.now - oldest.at > self.limits.time;
            if count <= self.limits.messages && bytes <= self.limits.bytes && !is_old {
                return;
            }
            oldest.is_held = false;
        }
    }

    /// Compares the results of all queries.
    fn compare(&self) {
        let (count, bytes) = self.kept();
        assert!(
            count <= self.limits.messages && bytes <= self.limits.bytes,
            "{count} messages of {bytes} bytes"
        );
        assert_eq!(self.buffer.is_empty(), count == 0);
        assert_eq!(self.buffer.next(), self.last() + 1);
        for seen in (0..=self.last() + 2).chain([u64::MAX - 1, u64::MAX]) {
            let missed = usize::try_from(seen).ok().and_then(|seen| self.sent.get(seen..));
            let is_held = missed.is_some_and(|missed| missed.iter().all(|sent| sent.is_held));
            let expected = match is_held {
                _ if seen < self.confirmed => Err(ReplayError::Late),
                true => Ok(()),
                false => Err(ReplayError::Gone),
            };
            assert_eq!(self.buffer.holds_after(seen), expected, "after {seen} of {}", self.last());
            if expected.is_ok() {
                let missed = missed.unwrap_or_default();
                assert_eq!(self.buffer.after(seen).count(), missed.len(), "after {seen}");
                for ((number, sent), (bytes, frame)) in
                    (seen + 1..).zip(missed).zip(self.buffer.after(seen))
                {
                    let is_it = match frame {
                        Replayed::Text(text) => text == text_of(number, bytes),
                        Replayed::Other(other) => *other == number,
                    };
                    assert!(is_it && bytes == sent.bytes, "frame {number} after {seen}");
                }
            }
        }
    }
}
