//! Limits events per address, such as invalid tokens: verifying a signature takes CPU time, so an
//! address that sends too many is refused before its next token is verified.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use dashmap::DashMap;

use super::admission::network;
use crate::shrink;

/// Maximum number of recorded addresses. Further addresses are not limited.
const MAX_ADDRESSES: usize = 65_536;

/// Events per address, as a bucket that empties within a minute.
#[derive(Debug, Default)]
pub(super) struct AddressLimit {
    per_minute: Option<NonZeroU32>,
    by_address: DashMap<IpAddr, Spent>,
}

/// How much of its limit an address has used, at a moment.
#[derive(Debug, Clone, Copy)]
struct Spent {
    events: f64,
    since: Instant,
}

impl AddressLimit {
    /// Creates a limit of `per_minute`; `None` means no limit.
    pub(super) fn new(per_minute: Option<NonZeroU32>) -> Self {
        Self { per_minute, by_address: DashMap::new() }
    }

    /// Returns how long an address must wait until another event is permitted; `None` if it need
    /// not.
    pub(super) fn wait(&self, address: IpAddr, now: Instant) -> Option<Duration> {
        let max = f64::from(self.per_minute?.get());
        let spent = self.by_address.get(&network(address))?.at(now, max);
        let excess = spent.events + 1.0 - max;
        (excess > 0.0).then(|| Duration::from_secs_f64(excess * 60.0 / max))
    }

    /// Records an event of an address.
    pub(super) fn record(&self, address: IpAddr, now: Instant) {
        let Some(max) = self.per_minute else { return };
        let network = network(address);
        if self.by_address.len() >= MAX_ADDRESSES && !self.by_address.contains_key(&network) {
            return;
        }
        let mut spent = self.by_address.entry(network).or_insert(Spent { events: 0.0, since: now });
        *spent = spent.at(now, f64::from(max.get()));
        spent.events += 1.0;
    }

    /// Removes addresses whose limit is fully available again.
    pub(super) fn shrink(&self, now: Instant) {
        if let Some(max) = self.per_minute {
            self.by_address.retain(|_, spent| spent.at(now, f64::from(max.get())).events > 0.0);
            shrink::shrink_map(&self.by_address);
        }
    }
}

impl Spent {
    /// Returns the used amount at a later moment.
    fn at(self, now: Instant, per_minute: f64) -> Self {
        let regained = now.saturating_duration_since(self.since).as_secs_f64() * per_minute / 60.0;
        Self { events: (self.events - regained).max(0.0), since: now }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_waits_after_too_many_events() {
        let limit = AddressLimit::new(NonZeroU32::new(60));
        let (ann, bob): (IpAddr, IpAddr) =
            ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
        let mut now = Instant::now();
        for _ in 0..60 {
            assert_eq!(limit.wait(ann, now), None);
            limit.record(ann, now);
        }
        assert_eq!(limit.wait(ann, now), Some(Duration::from_secs(1)));
        assert_eq!(limit.wait(bob, now), None);
        now += Duration::from_secs(1);
        assert_eq!(limit.wait(ann, now), None);
        limit.record(ann, now);
        assert!(limit.wait(ann, now).is_some());
        limit.shrink(now);
        assert!(limit.wait(ann, now).is_some());
        limit.shrink(now + Duration::from_mins(1));
        assert!(limit.by_address.is_empty());
    }

    #[test]
    fn disabled_limit_keeps_no_state() {
        let limit = AddressLimit::new(None);
        let (address, now) = ("10.0.0.1".parse().unwrap(), Instant::now());
        limit.record(address, now);
        assert!(limit.wait(address, now).is_none() && limit.by_address.is_empty());
    }
}
