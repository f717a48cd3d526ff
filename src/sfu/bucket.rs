//! Token buckets, counted by the caller's clock.

use std::time::{Duration, Instant};

/// A sustained rate, and what may come at once after a rest.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rate {
    pub(super) per_second: f64,
    pub(super) burst: f64,
}

/// A token bucket: full at the start, refilled at its rate.
#[derive(Debug)]
pub(super) struct Bucket {
    rate: Rate,
    left: f64,
    at: Instant,
}

impl Bucket {
    pub(super) fn new(rate: Rate, now: Instant) -> Self {
        Self { rate, left: rate.burst, at: now }
    }

    /// Takes an amount, if it is there.
    pub(super) fn take(&mut self, now: Instant, amount: f64) -> bool {
        let has_enough = self.has(now, amount);
        if has_enough {
            self.left -= amount;
        }
        has_enough
    }

    /// Whether an amount is there.
    pub(super) fn has(&mut self, now: Instant, amount: f64) -> bool {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.at = self.at.max(now);
        self.left = (self.left + passed * self.rate.per_second).min(self.rate.burst);
        self.left >= amount
    }

    pub(super) fn is_full(&mut self, now: Instant) -> bool {
        self.has(now, self.rate.burst)
    }

    /// How long it takes until an amount is there.
    pub(super) fn wait(&mut self, now: Instant, amount: f64) -> Duration {
        let missing = if self.has(now, amount) { 0.0 } else { amount - self.left };
        // Rounded up, so that it is there after this time.
        Duration::from_secs_f64(missing / self.rate.per_second) + Duration::from_micros(1)
    }

    /// Changes the rate; what is left stays.
    pub(super) fn set_rate(&mut self, rate: Rate) {
        self.rate = rate;
        self.left = self.left.min(rate.burst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_empties_and_refills_at_its_rate() {
        let start = Instant::now();
        let mut bucket = Bucket::new(Rate { per_second: 10.0, burst: 5.0 }, start);
        assert_eq!((0..9).filter(|_| bucket.take(start, 1.0)).count(), 5);
        let wait = bucket.wait(start, 1.0);
        assert!(wait.as_millis().abs_diff(100) <= 1, "{wait:?}");
        assert!(!bucket.has(start + wait / 2, 1.0) && bucket.take(start + wait, 1.0));
        assert!(!bucket.is_full(start + Duration::from_millis(400)) && bucket.is_full(start + Duration::from_secs(2)));
    }
}
