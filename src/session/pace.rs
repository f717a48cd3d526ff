//! How fast a client may talk, and when it has talked too fast for too long.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota};
use parking_lot::Mutex;

use crate::timeouts::Timeouts;

/// How many messages a connection may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageRate {
    /// For as long as it likes.
    pub per_second: NonZeroU32,
    /// At once, after a rest.
    pub burst: NonZeroU32,
}

/// A message too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Excess {
    /// The next may come after this time.
    Wait(Duration),
    /// Messages were refused for as long as [`Timeouts::flood`]: the connection is to end.
    Flood(Duration),
}

/// The pace of one connection.
#[derive(Debug)]
pub(super) struct Pace {
    /// The generic cell rate algorithm: one atomic number. `None` where there is no limit.
    limiter: Option<DefaultDirectRateLimiter>,
    flood: Mutex<Flood>,
}

/// When messages were refused.
#[derive(Debug, Default, Clone, Copy)]
struct Flood(Option<(Instant, Instant)>);

impl Pace {
    pub(super) fn new(rate: Option<MessageRate>) -> Self {
        let quota = rate.map(|rate| Quota::per_second(rate.per_second).allow_burst(rate.burst));
        Self { limiter: quota.map(DefaultDirectRateLimiter::direct), flood: Mutex::default() }
    }

    /// Lets a message pass, or says what is wrong.
    pub(super) fn admit(&self, timeouts: &Timeouts) -> Result<(), Excess> {
        let Some(limiter) = &self.limiter else { return Ok(()) };
        limiter.check().map_err(|excess| {
            let now = DefaultClock::default().now();
            let wait = excess.wait_time_from(now);
            if self.flood.lock().goes_on(now, timeouts) { Excess::Flood(wait) } else { Excess::Wait(wait) }
        })
    }
}

impl Flood {
    /// Notes a message that was refused; whether they have been for too long.
    fn goes_on(&mut self, now: Instant, timeouts: &Timeouts) -> bool {
        let since = match self.0 {
            Some((since, last)) if now.duration_since(last) < timeouts.flood_pause => since,
            _ => now,
        };
        self.0 = Some((since, now));
        now.duration_since(since) >= timeouts.flood
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_what_is_over_it_waits() {
        let (one, timeouts) = (NonZeroU32::MIN, Timeouts::default());
        let pace = Pace::new(Some(MessageRate { per_second: one, burst: NonZeroU32::new(3).unwrap() }));
        for _ in 0..3 {
            assert_eq!(pace.admit(&timeouts), Ok(()));
        }
        let Err(Excess::Wait(wait)) = pace.admit(&timeouts) else { panic!("the fourth is too many") };
        assert!(wait > Duration::from_millis(500) && wait <= Duration::from_secs(1), "{wait:?}");
        assert_eq!(Pace::new(None).admit(&timeouts), Ok(()));
    }

    #[test]
    fn a_flood_is_what_goes_on_without_a_rest() {
        let begin = Instant::now();
        let at = |seconds: u64| begin + Duration::from_secs(seconds);
        let timeouts = Timeouts::default();
        let mut flood = Flood::default();
        assert!((0..10).all(|second| !flood.goes_on(at(second), &timeouts)));
        assert!(flood.goes_on(at(10), &timeouts));
        // A rest ends it.
        let mut flood = Flood::default();
        assert!((0..9).all(|second| !flood.goes_on(at(second), &timeouts)));
        assert!((11..20).all(|second| !flood.goes_on(at(second), &timeouts)));
    }
}
