//! The rate limiter of one connection.
//!
//! Every message, packet and frame of a client passes it:
//!
//! - [`RateLimiter::admit`] admits a message, or returns the time to wait, for the error reply;
//! - [`RateLimiter::admit_frame`] counts frames without a reply: pongs, acknowledgements, CONNECT
//!   packets. They have the same limit as messages, but a separate count;
//! - [`RateLimiter::delay`] returns how long the connection must not be read. Refused messages and
//!   other frames are read at most at the rate of messages, so that both stay cheap;
//! - [`RateLimiter::charge`] makes a request with a large reply cost more.
//!
//! Invariant: a flood is determined by the share of time in which the limit is exceeded, not by an
//! uninterrupted period, so that a client cannot evade it with pauses.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::notices::{Notices, limit_hit};
use crate::metrics::{Limit, Metrics};

/// Message rate of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageRate {
    /// Sustained messages per second.
    pub per_second: NonZeroU32,
    /// Messages in a burst.
    pub burst: NonZeroU32,
}

/// Number of slots of [`ExceededSlots`] in which the limit may be exceeded before the connection is
/// closed.
const FLOOD_SLOTS: u32 = 10;

/// Minimum burst of frames that are not messages, so that handshake and heartbeats pass even at low
/// message rates.
const FRAME_BURST: u32 = 32;

/// Size of a reply that one message pays for, in bytes.
const REPLY_BYTES: usize = 4096;

/// An exceeded limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Excess {
    /// The next message is admitted after this time.
    Wait(Duration),
    /// The limit was exceeded for too long: the connection must be closed.
    Flood(Duration),
}

/// Limits the messages, packets and frames of one connection.
pub struct RateLimiter {
    /// The limit on messages; `None` for no limit.
    quota: Option<Quota>,
    /// The limit on refused messages and other frames.
    overhead: Option<Quota>,
    /// Length of a slot.
    slot: Duration,
    metrics: Arc<Metrics>,
    notices: Arc<Notices>,
    state: Mutex<State>,
}

struct State {
    /// Admitted messages.
    admitted: Bucket,
    /// Refused messages and other frames.
    overhead: Bucket,
    /// Whether `overhead` exceeded its limit when it was last checked. A connection within its
    /// limits need not read the clock whenever it is polled.
    is_delayed: bool,
    exceeded: ExceededSlots,
}

/// A rate, expressed as times.
#[derive(Debug, Clone, Copy)]
struct Quota {
    /// Average time between two messages.
    interval: Duration,
    /// How far a client may be ahead of that.
    tolerance: Duration,
    burst: u32,
}

/// The state of the generic cell rate algorithm (GCRA).
#[derive(Debug, Clone, Copy)]
struct Bucket {
    /// Time at which the next message is due at the sustained rate.
    due: Instant,
}

impl Bucket {
    /// Returns the time until another message conforms.
    fn wait(self, quota: Quota, now: Instant) -> Duration {
        self.wait_within(quota, quota.tolerance, now)
    }

    /// Returns the time until another message conforms to a different tolerance.
    fn wait_within(self, quota: Quota, tolerance: Duration, now: Instant) -> Duration {
        (self.due.saturating_duration_since(now) + quota.interval).saturating_sub(tolerance)
    }

    fn take(&mut self, quota: Quota, now: Instant, messages: u32) {
        self.due = self.due.max(now) + quota.interval * messages;
    }
}

impl State {
    /// Takes a frame or refused message; returns the time until another one conforms.
    fn take_overhead(&mut self, quota: Quota, now: Instant) -> Duration {
        self.overhead.take(quota, now, 1);
        let wait = self.overhead.wait(quota, now);
        self.is_delayed = !wait.is_zero();
        wait
    }
}

/// The slots of time, of the last 64, in which the limit was exceeded.
#[derive(Debug, Clone, Copy)]
struct ExceededSlots {
    /// One bit per slot, the newest lowest.
    exceeded: u64,
    /// Start of the newest slot.
    start: Instant,
}

impl ExceededSlots {
    /// Records that the limit is exceeded; returns true if that was so for too much of the time.
    fn exceed(&mut self, slot: Duration, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.start).as_nanos() / slot.as_nanos().max(1);
        let passed = u32::try_from(passed).unwrap_or(u32::MAX);
        self.exceeded = self.exceeded.checked_shl(passed).unwrap_or_default();
        // The first slot starts at the first excess.
        self.start = if self.exceeded == 0 { now } else { self.start + slot * passed };
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
    /// Creates a limiter. Without a rate it admits everything. The limit may be exceeded for
    /// `flood` within the last 6.4 times as long.
    pub(super) fn new(
        rate: Option<MessageRate>,
        flood: Duration,
        metrics: Arc<Metrics>,
        notices: Arc<Notices>,
    ) -> Self {
        let quota = |min_burst: u32| {
            let MessageRate { per_second, burst } = rate?;
            let (interval, burst) =
                (Duration::from_secs(1) / per_second.get(), burst.get().max(min_burst));
            Some(Quota { interval, tolerance: interval * burst, burst })
        };
        let (quota, overhead) = (quota(1), quota(FRAME_BURST));
        let now = Instant::now();
        let (bucket, exceeded) = (Bucket { due: now }, ExceededSlots { exceeded: 0, start: now });
        Self {
            quota,
            overhead,
            slot: flood / FLOOD_SLOTS,
            metrics,
            notices,
            state: Mutex::new(State {
                admitted: bucket,
                overhead: bucket,
                is_delayed: false,
                exceeded,
            }),
        }
    }

    /// Admits a message, or returns by how much it exceeds the limit.
    pub fn admit(&self) -> Result<(), Excess> {
        self.admit_message(|| 0)
    }

    /// Admits a message with a burst that is larger by `more`, which is only called if the burst is
    /// used up. A client that joins a large room sends messages to every peer.
    pub fn admit_message(&self, more: impl FnOnce() -> u32) -> Result<(), Excess> {
        self.count(self.admit_at(Instant::now(), more))
    }

    /// Counts a frame or packet that is not a message. It exceeds the limit if no other may follow
    /// at once; the connection is then not read for a while: see [`RateLimiter::delay`].
    pub fn admit_frame(&self) -> Result<(), Excess> {
        self.count(self.admit_frame_at(Instant::now()))
    }

    fn count(&self, admitted: Result<(), Excess>) -> Result<(), Excess> {
        admitted.inspect_err(|excess| {
            let (limit, notice) = match excess {
                Excess::Wait(_) => (Limit::MessageRate, "rate limit exceeded, refusing messages"),
                Excess::Flood(_) => {
                    (Limit::Flood, "rate limit exceeded for too long, closing the connection")
                }
            };
            limit_hit(&self.metrics, &self.notices, limit, notice);
        })
    }

    fn admit_frame_at(&self, now: Instant) -> Result<(), Excess> {
        let Some(quota) = self.overhead else { return Ok(()) };
        let mut state = self.state.lock();
        // The connection is not read from here on, so a later frame would never exceed the limit.
        let wait = state.take_overhead(quota, now);
        if wait.is_zero() {
            return Ok(());
        }
        Err(if state.exceeded.exceed(self.slot, now) {
            Excess::Flood(wait)
        } else {
            Excess::Wait(wait)
        })
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
        state.take_overhead(overhead, now);
        Err(if state.exceeded.exceed(self.slot, now) {
            Excess::Flood(wait)
        } else {
            Excess::Wait(wait)
        })
    }

    /// Charges for a reply: one message for every [`REPLY_BYTES`] beyond the first, at most a
    /// burst.
    pub fn charge(&self, reply_bytes: usize) {
        let Some(quota) = self.quota else { return };
        let messages =
            u32::try_from(reply_bytes / REPLY_BYTES).unwrap_or(u32::MAX).min(quota.burst);
        if messages > 0 {
            self.state.lock().admitted.take(quota, Instant::now(), messages);
        }
    }

    /// Returns how long the connection must not be read, if it exceeds twice the limit.
    pub fn delay(&self) -> Option<Duration> {
        self.delay_at(Instant::now)
    }

    fn delay_at(&self, now: impl FnOnce() -> Instant) -> Option<Duration> {
        let mut state = self.state.lock();
        if !state.is_delayed {
            return None;
        }
        let wait = state.overhead.wait(self.overhead?, now());
        state.is_delayed = !wait.is_zero();
        state.is_delayed.then_some(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLOOD: Duration = Duration::from_secs(10);
    const SLOT: Duration = Duration::from_secs(1);

    fn limiter(per_second: u32, burst: u32) -> RateLimiter {
        let rate = MessageRate {
            per_second: NonZeroU32::new(per_second).unwrap(),
            burst: NonZeroU32::new(burst).unwrap(),
        };
        RateLimiter::new(Some(rate), FLOOD, Arc::new(Metrics::new()), Arc::default())
    }

    #[test]
    fn burst_passes_and_excess_waits() {
        let (limiter, now) = (limiter(1, 3), Instant::now());
        for _ in 0..3 {
            assert_eq!(limiter.admit_at(now, || 0), Ok(()));
        }
        let Err(Excess::Wait(wait)) = limiter.admit_at(now, || 0) else {
            panic!("the fourth is over the limit")
        };
        assert!(wait > Duration::from_millis(500) && wait <= Duration::from_secs(1), "{wait:?}");
        assert_eq!(limiter.admit_at(now + wait, || 0), Ok(()));
        assert_eq!(
            RateLimiter::new(None, FLOOD, Arc::new(Metrics::new()), Arc::default())
                .admit_at(now, || 0),
            Ok(())
        );
    }

    #[test]
    fn larger_burst_does_not_increase_the_rate() {
        let (limiter, now) = (limiter(10, 3), Instant::now());
        let admitted =
            |now, more| std::iter::from_fn(|| limiter.admit_at(now, || more).ok()).count();
        assert_eq!(admitted(now, 0), 3);
        assert_eq!(admitted(now, 5), 5, "the burst grows");
        assert_eq!(admitted(now, 0), 0);
        assert_eq!(admitted(now, 5), 0, "shrinking and growing does not refill it");
        assert_eq!(admitted(now + Duration::from_millis(210), 5), 2, "refilled at the rate");
    }

    #[test]
    fn connection_is_not_read_beyond_twice_the_limit() {
        let (limiter, now) = (limiter(100, 50), Instant::now());
        let mut sent = 0;
        while limiter.delay_at(|| now).is_none() {
            _ = limiter.admit_at(now, || 0);
            sent += 1;
        }
        assert_eq!(sent, 100);
        let delay = limiter.delay_at(|| now).unwrap();
        assert!(delay <= Duration::from_millis(10), "{delay:?}");
        assert_eq!(limiter.delay_at(|| now + delay), None);
    }

    #[test]
    fn frames_do_not_count_towards_the_message_rate() {
        let (limiter, now) = (limiter(1, 2), Instant::now());
        for _ in 1..FRAME_BURST {
            assert_eq!(limiter.admit_frame_at(now), Ok(()));
        }
        assert!(matches!(limiter.admit_frame_at(now), Err(Excess::Wait(_))));
        assert!(limiter.delay_at(|| now).is_some());
        assert_eq!(limiter.admit_at(now, || 0), Ok(()));
    }

    #[test]
    fn large_reply_costs_messages() {
        let limiter = limiter(1, 10);
        let left = |limiter: &RateLimiter| std::iter::from_fn(|| limiter.admit().ok()).count();
        limiter.charge(REPLY_BYTES - 1);
        limiter.charge(REPLY_BYTES * 4);
        assert_eq!(left(&limiter), 6);
        limiter.charge(usize::MAX);
        let Err(Excess::Wait(wait)) = limiter.admit() else { panic!("over the limit") };
        assert!(wait <= Duration::from_secs(11), "{wait:?}");
    }

    #[test]
    fn flood_is_detected_by_the_share_of_time() {
        let begin = Instant::now();
        let at = |seconds: u64| begin + Duration::from_secs(seconds);
        let mut exceeded = ExceededSlots { exceeded: 0, start: begin };
        assert!((0..10).all(|second| !exceeded.exceed(SLOT, at(second))));
        assert!(exceeded.exceed(SLOT, at(10)));
        // A pause does not reset it.
        let mut exceeded = ExceededSlots { exceeded: 0, start: begin };
        assert!((0..8).all(|second| !exceeded.exceed(SLOT, at(second))));
        assert!((12..14).all(|second| !exceeded.exceed(SLOT, at(second))));
        assert!(exceeded.exceed(SLOT, at(14)));
        // Ten seconds per minute are tolerated.
        let mut exceeded = ExceededSlots { exceeded: 0, start: begin };
        for second in (0..600).filter(|second| second % 64 < 10) {
            assert!(!exceeded.exceed(SLOT, at(second)), "{second}");
        }
    }
}
