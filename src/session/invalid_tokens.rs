//! Limits invalid tokens per address. Verifying a signature takes CPU time, so an address that
//! sends too many is refused before its next token is verified.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use dashmap::DashMap;

use super::admission::network;
use crate::shrink;

/// Maximum number of recorded addresses. Further addresses are not limited.
const MAX_ADDRESSES: usize = 65_536;

/// Invalid tokens per address, as a token bucket that refills within a minute.
#[derive(Debug, Default)]
pub(super) struct InvalidTokens {
    per_minute: Option<NonZeroU32>,
    by_address: DashMap<IpAddr, Spent>,
}

/// How much of its limit an address has used, at a moment.
#[derive(Debug, Clone, Copy)]
struct Spent {
    tokens: f64,
    since: Instant,
}

impl InvalidTokens {
    /// Creates a limit of `per_minute`; `None` means no limit.
    pub(super) fn new(per_minute: Option<NonZeroU32>) -> Self {
        Self { per_minute, by_address: DashMap::new() }
    }

    /// Returns how long an address must wait until its tokens are verified again; `None` if it need
    /// not.
    pub(super) fn wait(&self, address: IpAddr, now: Instant) -> Option<Duration> {
        let max = f64::from(self.per_minute?.get());
        let spent = self.by_address.get(&network(address))?.at(now, max);
        let excess = spent.tokens + 1.0 - max;
        (excess > 0.0).then(|| Duration::from_secs_f64(excess * 60.0 / max))
    }

    /// Records an invalid token of an address.
    pub(super) fn record(&self, address: IpAddr, now: Instant) {
        let Some(max) = self.per_minute else { return };
        let network = network(address);
        if self.by_address.len() >= MAX_ADDRESSES && !self.by_address.contains_key(&network) {
            return;
        }
        let mut spent = self.by_address.entry(network).or_insert(Spent { tokens: 0.0, since: now });
        *spent = spent.at(now, f64::from(max.get()));
        spent.tokens += 1.0;
    }

    /// Removes addresses whose limit is fully available again.
    pub(super) fn shrink(&self, now: Instant) {
        if let Some(max) = self.per_minute {
            self.by_address.retain(|_, spent| spent.at(now, f64::from(max.get())).tokens > 0.0);
            shrink::shrink_map(&self.by_address);
        }
    }
}

impl Spent {
    /// Returns the used amount at a later moment.
    fn at(self, now: Instant, per_minute: f64) -> Self {
        let regained = now.saturating_duration_since(self.since).as_secs_f64() * per_minute / 60.0;
        Self { tokens: (self.tokens - regained).max(0.0), since: now }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_waits_after_too_many_invalid_tokens() {
        let tokens = InvalidTokens::new(NonZeroU32::new(60));
        let (ann, bob): (IpAddr, IpAddr) =
            ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
        let mut now = Instant::now();
        for _ in 0..60 {
            assert_eq!(tokens.wait(ann, now), None);
            tokens.record(ann, now);
        }
        assert_eq!(tokens.wait(ann, now), Some(Duration::from_secs(1)));
        assert_eq!(tokens.wait(bob, now), None);
        now += Duration::from_secs(1);
        assert_eq!(tokens.wait(ann, now), None);
        tokens.record(ann, now);
        assert!(tokens.wait(ann, now).is_some());
        tokens.shrink(now);
        assert!(tokens.wait(ann, now).is_some());
        tokens.shrink(now + Duration::from_mins(1));
        assert!(tokens.by_address.is_empty());
    }

    #[test]
    fn disabled_limit_keeps_no_state() {
        let tokens = InvalidTokens::new(None);
        let (address, now) = ("10.0.0.1".parse().unwrap(), Instant::now());
        tokens.record(address, now);
        assert!(tokens.wait(address, now).is_none() && tokens.by_address.is_empty());
    }
}
