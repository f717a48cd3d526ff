//! Token buckets. The caller provides the time.

use std::time::{Duration, Instant};

/// A sustained rate and the capacity for bursts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rate {
    pub(super) per_second: f64,
    pub(super) burst: f64,
}

/// A token bucket: starts full, and refills at its rate.
#[derive(Debug)]
pub(super) struct TokenBucket {
    rate: Rate,
    tokens: f64,
    updated_at: Instant,
}

impl TokenBucket {
    pub(super) fn new(rate: Rate, now: Instant) -> Self {
        Self { rate, tokens: rate.burst, updated_at: now }
    }

    /// Takes `amount` tokens if the bucket holds as many, and returns whether it did.
    pub(super) fn take(&mut self, now: Instant, amount: f64) -> bool {
        let has_enough = self.has(now, amount);
        if has_enough {
            self.tokens -= amount;
        }
        has_enough
    }

    /// Returns whether the bucket holds `amount` tokens.
    pub(super) fn has(&mut self, now: Instant, amount: f64) -> bool {
        let passed = now.saturating_duration_since(self.updated_at).as_secs_f64();
        self.updated_at = self.updated_at.max(now);
        self.tokens = (self.tokens + passed * self.rate.per_second).min(self.rate.burst);
        self.tokens >= amount
    }

    pub(super) fn is_full(&mut self, now: Instant) -> bool {
        self.has(now, self.rate.burst)
    }

    /// Returns the time until the bucket holds `amount` tokens.
    pub(super) fn time_until(&mut self, now: Instant, amount: f64) -> Duration {
        let missing = if self.has(now, amount) { 0.0 } else { amount - self.tokens };
        // Rounded up, so that the bucket holds them after this time.
        Duration::from_secs_f64(missing / self.rate.per_second) + Duration::from_micros(1)
    }

    /// Changes the rate and keeps the tokens, up to the new capacity.
    pub(super) fn set_rate(&mut self, rate: Rate) {
        self.rate = rate;
        self.tokens = self.tokens.min(rate.burst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bucket_empties_and_refills_at_its_rate() {
        let start = Instant::now();
        let mut bucket = TokenBucket::new(Rate { per_second: 10.0, burst: 5.0 }, start);
        assert_eq!((0..9).filter(|_| bucket.take(start, 1.0)).count(), 5);
        let wait = bucket.time_until(start, 1.0);
        assert!(wait.as_millis().abs_diff(100) <= 1, "{wait:?}");
        assert!(!bucket.has(start + wait / 2, 1.0) && bucket.take(start + wait, 1.0));
        assert!(
            !bucket.is_full(start + Duration::from_millis(400))
                && bucket.is_full(start + Duration::from_secs(2))
        );
    }
}
