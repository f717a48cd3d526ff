//! How many connections there may be: on this node, and from one address.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;

use crate::spare;

/// Why a newcomer is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AdmissionError {
    /// The node holds as many as it may.
    #[error("too many connections on this server, it holds {max}")]
    TooMany {
        /// The most connections.
        max: usize,
    },
    /// As many come from this address as may.
    #[error("too many connections from this address, at most {max}")]
    TooManyFromAddress {
        /// The most connections of one address.
        max: usize,
    },
}

/// Counts connections from the first word of their handshake to their end.
#[derive(Debug)]
pub struct Admission {
    max: usize,
    max_per_address: Option<usize>,
    open: AtomicUsize,
    /// Empty where addresses are not counted.
    by_address: DashMap<IpAddr, usize>,
}

impl Admission {
    /// Limits; `None` is none.
    pub fn new(max: Option<usize>, max_per_address: Option<usize>) -> Arc<Self> {
        let max = max.unwrap_or(usize::MAX);
        Arc::new(Self { max, max_per_address, open: AtomicUsize::new(0), by_address: DashMap::new() })
    }

    /// Gives back memory that many addresses needed that are gone.
    pub fn give_back(&self) {
        spare::give_back(&self.by_address);
    }

    /// A permit for one more, if there is a place.
    pub fn admit(self: &Arc<Self>, address: IpAddr) -> Result<Permit, AdmissionError> {
        let more = |open: usize| (open < self.max).then_some(open + 1);
        self.open
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
            .map_err(|_| AdmissionError::TooMany { max: self.max })?;
        // From here on the place is given back when the permit is dropped.
        let mut permit = Permit { admission: Arc::clone(self), counted_as: None };
        if let Some(max) = self.max_per_address {
            let network = network(address);
            let mut open = self.by_address.entry(network).or_insert(0);
            if *open >= max {
                return Err(AdmissionError::TooManyFromAddress { max });
            }
            *open += 1;
            permit.counted_as = Some(network);
        }
        Ok(permit)
    }
}

/// An address as it is counted. A household or a server has a whole /64 of IPv6 addresses to choose from (RFC 6177), so
/// those count as one.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
    }
}

/// The right to one connection. Given back when it is dropped.
#[derive(Debug)]
pub struct Permit {
    admission: Arc<Admission>,
    counted_as: Option<IpAddr>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.admission.open.fetch_sub(1, Ordering::Relaxed);
        if let Some(network) = self.counted_as
            && let Entry::Occupied(mut entry) = self.admission.by_address.entry(network)
        {
            if *entry.get() > 1 {
                *entry.get_mut() -= 1;
            } else {
                entry.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn places_are_given_back() {
        let admission = Admission::new(Some(2), Some(1));
        let first = admission.admit(ip("10.0.0.1")).unwrap();
        assert_eq!(admission.admit(ip("10.0.0.1")).unwrap_err(), AdmissionError::TooManyFromAddress { max: 1 });
        // One that was refused holds nothing.
        let second = admission.admit(ip("10.0.0.2")).unwrap();
        assert_eq!(admission.admit(ip("10.0.0.3")).unwrap_err(), AdmissionError::TooMany { max: 2 });
        drop(first);
        let third = admission.admit(ip("10.0.0.1")).unwrap();
        drop((second, third));
        assert_eq!(admission.open.load(Ordering::Relaxed), 0);
        assert!(admission.by_address.is_empty());
    }

    #[test]
    fn addresses_are_counted_as_their_owners_have_them() {
        assert_eq!(network(ip("::ffff:10.0.0.1")), ip("10.0.0.1"));
        assert_eq!(network(ip("2001:db8:1:2:3:4:5:6")), ip("2001:db8:1:2::"));
        assert_ne!(network(ip("2001:db8:1:2::1")), network(ip("2001:db8:1:3::1")));
    }
}
