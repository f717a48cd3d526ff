//! The rate limiter of one connection.
//!
//! Every message, packet and frame of a client passes it, whatever its kind:
//!
//! - [`RateLimiter::admit`] admits a message, or says after how long the next is admitted, to be answered with that time;
//! - [`RateLimiter::admit_frame`] counts what has no answer: a pong, an acknowledgement, a CONNECT packet. As many of them may
//!   come as of messages, whose rate they leave alone;
//! - [`RateLimiter::delay`] is how long the connection is not to be read: refused messages and other frames are read at most
//!   as fast as messages are admitted, so that both stay cheap;
//! - [`RateLimiter::charge`] makes a request cost more if its answer is large.
//!
//! The guarantee that is easy to break: a flood is judged by the share of time in which the limit was exceeded, not by an
//! unbroken run, so that a client cannot evade the limit by pausing.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::notices::{Notices, limit_hit};
use crate::metrics::{Limit, Metrics};

/// How many messages a connection may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageRate {
    /// Sustained.
    pub per_second: NonZeroU32,
    /// At once, after a pause.
    pub burst: NonZeroU32,
}

/// In how many slots of a [`History`] the limit may be exceeded before the connection ends.
const FLOOD_SLOTS: u32 = 10;

/// The smallest burst of frames that are no messages: the handshake and heartbeats must pass however few messages may.
const FRAME_BURST: u32 = 32;

/// The bytes of an answer that one message pays for.
const ANSWER_BYTES: usize = 4096;

/// A message over the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Excess {
    /// The next message is admitted after this time.
    Wait(Duration),
    /// The limit was exceeded for too much of the time: the connection is to end.
    Flood(Duration),
}

/// Limits the messages, packets and frames of one connection.
pub struct RateLimiter {
    /// `None` where there is no limit.
    quota: Option<Quota>,
    /// The same for refused messages and other frames.
    overhead: Option<Quota>,
    /// How long a slot of the history lasts.
    slot: Duration,
    metrics: Arc<Metrics>,
    notices: Arc<Notices>,
    state: Mutex<State>,
}

struct State {
    /// Messages that were admitted.
    admitted: Bucket,
    /// Messages that were refused, and other frames.
    overhead: Bucket,
    history: History,
}

/// A rate as times.
#[derive(Debug, Clone, Copy)]
struct Quota {
    /// Between two messages, sustained.
    interval: Duration,
    /// How far ahead of that a client may be.
    tolerance: Duration,
    burst: u32,
}

/// The generic cell rate algorithm.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    /// When the next message would come if all had come at the sustained rate.
    due: Instant,
}

impl Bucket {
    /// How long until there is room for one message.
    fn wait(self, quota: Quota, now: Instant) -> Duration {
        self.wait_within(quota, quota.tolerance, now)
    }

    /// The same for a client that may be further ahead than the quota says.
    fn wait_within(self, quota: Quota, tolerance: Duration, now: Instant) -> Duration {
        (self.due.saturating_duration_since(now) + quota.interval).saturating_sub(tolerance)
    }

    fn take(&mut self, quota: Quota, now: Instant, messages: u32) {
        self.due = self.due.max(now) + quota.interval * messages;
    }
}

/// In which of the last 64 slots of time the limit was exceeded.
#[derive(Debug, Clone, Copy)]
struct History {
    /// The newest slot is the lowest bit.
    exceeded: u64,
    /// When the newest slot began.
    began: Instant,
}

impl History {
    /// Notes that the limit is exceeded; `true` if that has been so for too much of the time.
    fn exceed(&mut self, slot: Duration, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.began).as_nanos() / slot.as_nanos().max(1);
        let passed = u32::try_from(passed).unwrap_or(u32::MAX);
        self.exceeded = self.exceeded.checked_shl(passed).unwrap_or_default();
        // The first slot begins with the excess, not when the clock would have it begin.
        self.began = if self.exceeded == 0 { now } else { self.began + slot * passed };
        self.exceeded |= 1;
        self.exceeded.count_ones() > FLOOD_SLOTS
    }
}

impl std::fmt::Debug for RateLimiter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RateLimiter").field("quota", &self.quota).finish_non_exhaustive()
    }
}

impl RateLimiter {
    /// A limiter of a connection that has sent nothing yet; without a rate it admits everything. The limit may be exceeded
    /// for the time of `flood` of the last 6.4 times as long.
    pub(super) fn new(
        rate: Option<MessageRate>,
        flood: Duration,
        metrics: Arc<Metrics>,
        notices: Arc<Notices>,
    ) -> Self {
        let quota = |least: u32| {
            let MessageRate { per_second, burst } = rate?;
            let (interval, burst) = (Duration::from_secs(1) / per_second.get(), burst.get().max(least));
            Some(Quota { interval, tolerance: interval * burst, burst })
        };
        let (quota, overhead) = (quota(1), quota(FRAME_BURST));
        let now = Instant::now();
        let (bucket, history) = (Bucket { due: now }, History { exceeded: 0, began: now });
        Self {
            quota,
            overhead,
            slot: flood / FLOOD_SLOTS,
            metrics,
            notices,
            state: Mutex::new(State { admitted: bucket, overhead: bucket, history }),
        }
    }

    /// Admits a message, or says that it is over the limit.
    pub fn admit(&self) -> Result<(), Excess> {
        self.admit_message(|| 0)
    }

    /// The same for a message, of which `more` may come at once than the burst: a client that joins a large room has
    /// something to say to every peer. It is asked only when the burst is used up.
    pub fn admit_message(&self, more: impl FnOnce() -> u32) -> Result<(), Excess> {
        self.counted(self.admit_at(Instant::now(), more))
    }

    /// Counts a frame or a packet that is no message. It is over the limit if none may follow it, and the connection is
    /// then not read for a while: see [`RateLimiter::delay`].
    pub fn admit_frame(&self) -> Result<(), Excess> {
        self.counted(self.admit_frame_at(Instant::now()))
    }

    fn counted(&self, admitted: Result<(), Excess>) -> Result<(), Excess> {
        admitted.inspect_err(|excess| {
            let (limit, notice) = match excess {
                Excess::Wait(_) => (Limit::MessageRate, "rate limit exceeded, refusing messages"),
                Excess::Flood(_) => (Limit::Flood, "rate limit exceeded for too long, closing the connection"),
            };
            limit_hit(&self.metrics, &self.notices, limit, notice);
        })
    }

    fn admit_frame_at(&self, now: Instant) -> Result<(), Excess> {
        let Some(quota) = self.overhead else { return Ok(()) };
        let mut state = self.state.lock();
        state.overhead.take(quota, now, 1);
        // From here on the connection is not read, so that no frame would ever be seen to come too early.
        let wait = state.overhead.wait(quota, now);
        if wait.is_zero() {
            return Ok(());
        }
        Err(if state.history.exceed(self.slot, now) { Excess::Flood(wait) } else { Excess::Wait(wait) })
    }

    fn admit_at(&self, now: Instant, more: impl FnOnce() -> u32) -> Result<(), Excess> {
        let Some((quota, overhead)) = self.quota.zip(self.overhead) else { return Ok(()) };
        let mut wait = self.state.lock().admitted.wait(quota, now);
        let more = if wait.is_zero() { 0 } else { more() };
        let mut state = self.state.lock();
        if more > 0 {
            wait = state.admitted.wait_within(quota, quota.tolerance + quota.interval * more, now);
        }
        if wait.is_zero() {
            state.admitted.take(quota, now, 1);
            return Ok(());
        }
        state.overhead.take(overhead, now, 1);
        Err(if state.history.exceed(self.slot, now) { Excess::Flood(wait) } else { Excess::Wait(wait) })
    }

    /// Charges for an answer: a message for every [`ANSWER_BYTES`] beyond the first, at most a burst.
    pub fn charge(&self, answer_bytes: usize) {
        let Some(quota) = self.quota else { return };
        let messages = u32::try_from(answer_bytes / ANSWER_BYTES).unwrap_or(u32::MAX).min(quota.burst);
        if messages > 0 {
            self.state.lock().admitted.take(quota, Instant::now(), messages);
        }
    }

    /// How long the connection is not to be read, if it is over twice the limit.
    pub fn delay(&self) -> Option<Duration> {
        self.delay_at(Instant::now())
    }

    fn delay_at(&self, now: Instant) -> Option<Duration> {
        let wait = self.state.lock().overhead.wait(self.overhead?, now);
        (!wait.is_zero()).then_some(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLOOD: Duration = Duration::from_secs(10);
    const SLOT: Duration = Duration::from_secs(1);

    fn limiter(per_second: u32, burst: u32) -> RateLimiter {
        let rate =
            MessageRate { per_second: NonZeroU32::new(per_second).unwrap(), burst: NonZeroU32::new(burst).unwrap() };
        RateLimiter::new(Some(rate), FLOOD, Arc::new(Metrics::new()), Arc::default())
    }

    #[test]
    fn burst_passes_and_excess_waits() {
        let (limiter, now) = (limiter(1, 3), Instant::now());
        for _ in 0..3 {
            assert_eq!(limiter.admit_at(now, || 0), Ok(()));
        }
        let Err(Excess::Wait(wait)) = limiter.admit_at(now, || 0) else { panic!("the fourth is over the limit") };
        assert!(wait > Duration::from_millis(500) && wait <= Duration::from_secs(1), "{wait:?}");
        assert_eq!(limiter.admit_at(now + wait, || 0), Ok(()));
        assert_eq!(RateLimiter::new(None, FLOOD, Arc::new(Metrics::new()), Arc::default()).admit_at(now, || 0), Ok(()));
    }

    #[test]
    fn larger_burst_is_no_larger_rate() {
        let (limiter, now) = (limiter(10, 3), Instant::now());
        let admitted = |now, more| std::iter::from_fn(|| limiter.admit_at(now, || more).ok()).count();
        assert_eq!(admitted(now, 0), 3);
        assert_eq!(admitted(now, 5), 5, "the burst grows");
        assert_eq!(admitted(now, 0), 0);
        assert_eq!(admitted(now, 5), 0, "and is not refilled by shrinking and growing");
        assert_eq!(admitted(now + Duration::from_millis(210), 5), 2, "but at the rate");
    }

    #[test]
    fn connection_is_not_read_beyond_twice_the_limit() {
        let (limiter, now) = (limiter(100, 50), Instant::now());
        let mut sent = 0;
        while limiter.delay_at(now).is_none() {
            _ = limiter.admit_at(now, || 0);
            sent += 1;
        }
        assert_eq!(sent, 100);
        let delay = limiter.delay_at(now).unwrap();
        assert!(delay <= Duration::from_millis(10), "{delay:?}");
        assert_eq!(limiter.delay_at(now + delay), None);
    }

    #[test]
    fn frames_leave_the_rate_of_messages_alone() {
        let (limiter, now) = (limiter(1, 2), Instant::now());
        for _ in 1..FRAME_BURST {
            assert_eq!(limiter.admit_frame_at(now), Ok(()));
        }
        assert!(matches!(limiter.admit_frame_at(now), Err(Excess::Wait(_))));
        assert!(limiter.delay_at(now).is_some());
        assert_eq!(limiter.admit_at(now, || 0), Ok(()));
    }

    #[test]
    fn large_answer_costs_messages() {
        let limiter = limiter(1, 10);
        let left = |limiter: &RateLimiter| std::iter::from_fn(|| limiter.admit().ok()).count();
        limiter.charge(ANSWER_BYTES - 1);
        limiter.charge(ANSWER_BYTES * 4);
        assert_eq!(left(&limiter), 6);
        limiter.charge(usize::MAX);
        let Err(Excess::Wait(wait)) = limiter.admit() else { panic!("over the limit") };
        assert!(wait <= Duration::from_secs(11), "{wait:?}");
    }

    #[test]
    fn flood_is_a_share_of_time() {
        let begin = Instant::now();
        let at = |seconds: u64| begin + Duration::from_secs(seconds);
        let mut history = History { exceeded: 0, began: begin };
        assert!((0..10).all(|second| !history.exceed(SLOT, at(second))));
        assert!(history.exceed(SLOT, at(10)));
        // A pause does not end it.
        let mut history = History { exceeded: 0, began: begin };
        assert!((0..8).all(|second| !history.exceed(SLOT, at(second))));
        assert!((12..14).all(|second| !history.exceed(SLOT, at(second))));
        assert!(history.exceed(SLOT, at(14)));
        // Ten seconds of every minute are borne.
        let mut history = History { exceeded: 0, began: begin };
        for second in (0..600).filter(|second| second % 64 < 10) {
            assert!(!history.exceed(SLOT, at(second)), "{second}");
        }
    }
}
