//! Invalid tokens of each address: verifying a signature takes time, so an address that sends too many is refused before
//! its next token is looked at.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use dashmap::DashMap;

use super::admission::network;
use crate::shrink;

/// How many addresses are remembered. While there are more, further ones are not limited.
const MAX_ADDRESSES: usize = 65_536;

/// The invalid tokens of each address, as a token bucket that fills up within a minute.
#[derive(Debug, Default)]
pub(super) struct InvalidTokens {
    per_minute: Option<NonZeroU32>,
    by_address: DashMap<IpAddr, Spent>,
}

/// What an address has used of its limit, by now.
#[derive(Debug, Clone, Copy)]
struct Spent {
    tokens: f64,
    at: Instant,
}

impl InvalidTokens {
    /// At most so many a minute; `None` is no limit.
    pub(super) fn new(per_minute: Option<NonZeroU32>) -> Self {
        Self { per_minute, by_address: DashMap::new() }
    }

    /// How long an address has to wait before a token of it is verified; `None` if it need not.
    pub(super) fn wait(&self, address: IpAddr, now: Instant) -> Option<Duration> {
        let max = f64::from(self.per_minute?.get());
        let spent = self.by_address.get(&network(address))?.by(now, max);
        let excess = spent.tokens + 1.0 - max;
        (excess > 0.0).then(|| Duration::from_secs_f64(excess * 60.0 / max))
    }

    /// Notes that a token of an address was invalid.
    pub(super) fn note(&self, address: IpAddr, now: Instant) {
        let Some(max) = self.per_minute else { return };
        let network = network(address);
        if self.by_address.len() >= MAX_ADDRESSES && !self.by_address.contains_key(&network) {
            return;
        }
        let mut spent = self.by_address.entry(network).or_insert(Spent { tokens: 0.0, at: now });
        *spent = spent.by(now, f64::from(max.get()));
        spent.tokens += 1.0;
    }

    /// Forgets addresses that have sent no invalid token for so long that they may send as many as any other.
    pub(super) fn shrink(&self, now: Instant) {
        if let Some(max) = self.per_minute {
            self.by_address.retain(|_, spent| spent.by(now, f64::from(max.get())).tokens > 0.0);
            shrink::shrink_map(&self.by_address);
        }
    }
}

impl Spent {
    /// What is left of it at a later time.
    fn by(self, now: Instant, per_minute: f64) -> Self {
        let regained = now.saturating_duration_since(self.at).as_secs_f64() * per_minute / 60.0;
        Self { tokens: (self.tokens - regained).max(0.0), at: now }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_waits_after_too_many_and_regains_its_share() {
        let tokens = InvalidTokens::new(NonZeroU32::new(60));
        let (ann, bob): (IpAddr, IpAddr) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
        let mut now = Instant::now();
        for _ in 0..60 {
            assert_eq!(tokens.wait(ann, now), None);
            tokens.note(ann, now);
        }
        assert_eq!(tokens.wait(ann, now), Some(Duration::from_secs(1)));
        assert_eq!(tokens.wait(bob, now), None);
        now += Duration::from_secs(1);
        assert_eq!(tokens.wait(ann, now), None);
        tokens.note(ann, now);
        assert!(tokens.wait(ann, now).is_some());
        tokens.shrink(now);
        assert!(tokens.wait(ann, now).is_some());
        tokens.shrink(now + Duration::from_mins(1));
        assert!(tokens.by_address.is_empty());
    }

    #[test]
    fn no_limit_remembers_nothing() {
        let tokens = InvalidTokens::new(None);
        let (address, now) = ("10.0.0.1".parse().unwrap(), Instant::now());
        tokens.note(address, now);
        assert!(tokens.wait(address, now).is_none() && tokens.by_address.is_empty());
    }
}
