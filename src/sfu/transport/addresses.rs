//! The addresses that a client comes from, and where to send what is for it.
//!
//! A binding request proves that its sender knows the transport's password. It does not prove that its source is its sender's:
//! that may be forged, so that somebody else gets the media. An address is valid once something has come from there that was
//! encrypted with the client's keys. Until then the valid address that was used before gets everything, and the new one copies:
//! three times what came from it, as in QUIC (RFC 9000, section 8.1).
//!
//! The guarantee that is easy to break: an overheard packet validates nothing. The library drops RTP that it has seen, and
//! does not drop SRTCP: here its index must be higher than all before.

use std::net::SocketAddr;

/// Maximum number of addresses of one client until it restarts ICE.
const MAX_ADDRESSES: usize = 32;

/// Bytes that may be sent to an address that is not valid, for each that came from it.
const AMPLIFICATION: usize = 3;

#[derive(Debug)]
struct Address {
    at: SocketAddr,
    is_valid: bool,
    /// Bytes that may be sent there while it is not valid.
    credit: usize,
}

/// Where to send a datagram; it is lost where there is neither.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Route {
    /// A valid address.
    pub(super) main: Option<SocketAddr>,
    /// One that is not valid yet.
    pub(super) copy: Option<SocketAddr>,
}

/// The addresses of one transport's client, in the order in which they were accepted.
#[derive(Debug, Default)]
pub(in crate::sfu) struct Addresses {
    all: Vec<Address>,
    /// Where the latest datagram went that was for a valid address.
    current: Option<SocketAddr>,
    /// The highest index of SRTCP.
    index: Option<u32>,
}

impl Addresses {
    /// Adds an address whose binding request was verified; `false` where there are too many.
    pub(in crate::sfu) fn accept(&mut self, at: SocketAddr) -> bool {
        let is_known = self.find(at).is_some();
        if !is_known && self.all.len() < MAX_ADDRESSES {
            self.all.push(Address { at, is_valid: false, credit: 0 });
            return true;
        }
        is_known
    }

    /// A datagram of so many bytes has come.
    pub(super) fn received(&mut self, from: SocketAddr, bytes: usize) {
        if let Some(address) = self.find(from).filter(|address| !address.is_valid) {
            address.credit = address.credit.saturating_add(AMPLIFICATION * bytes);
        }
    }

    /// Something has come that was encrypted with the client's keys: for SRTCP with its index.
    pub(super) fn encrypted_came(&mut self, from: SocketAddr, index: Option<u32>) {
        let is_new = index.is_none_or(|index| self.index.is_none_or(|last| index > last));
        self.index = self.index.max(index);
        if let Some(address) = self.find(from).filter(|_| is_new) {
            address.is_valid = true;
            self.current.get_or_insert(from);
        }
    }

    /// Returns where to send a datagram of so many bytes that is for an address.
    pub(super) fn route(&mut self, to: SocketAddr, bytes: usize) -> Route {
        let mut copy = None;
        if let Some(address) = self.find(to) {
            if address.is_valid {
                self.current = Some(to);
            } else if address.credit >= bytes {
                address.credit -= bytes;
                copy = Some(to);
            }
        }
        Route { main: self.current, copy }
    }

    /// ICE restarts: forgets all addresses but the one in use, or the latest where none is valid. Returns the forgotten.
    pub(in crate::sfu) fn restart(&mut self) -> Vec<SocketAddr> {
        let kept = self.current.or_else(|| self.all.last().map(|address| address.at));
        self.all.extract_if(.., |address| Some(address.at) != kept).map(|address| address.at).collect()
    }

    /// Another transport has taken over an address.
    pub(in crate::sfu) fn remove(&mut self, at: SocketAddr) {
        self.all.retain(|address| address.at != at);
        self.current = self.current.filter(|current| *current != at);
    }

    pub(super) fn is_valid(&self, at: SocketAddr) -> bool {
        self.all.iter().any(|address| address.at == at && address.is_valid)
    }

    pub(in crate::sfu) fn iter(&self) -> impl Iterator<Item = SocketAddr> {
        self.all.iter().map(|address| address.at)
    }

    fn find(&mut self, at: SocketAddr) -> Option<&mut Address> {
        self.all.iter_mut().find(|address| address.at == at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(number: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], number))
    }

    #[test]
    fn an_address_gets_three_times_what_came_from_it_until_it_is_valid() {
        let mut addresses = Addresses::default();
        let (old, new) = (address(1), address(2));
        assert!(addresses.accept(old) && addresses.accept(new));
        let route = |main, copy| Route { main, copy };
        assert_eq!(addresses.route(old, 1), route(None, None));
        addresses.received(old, 100);
        assert_eq!(addresses.route(old, 300), route(None, Some(old)));
        assert_eq!(addresses.route(old, 1), route(None, None));
        addresses.encrypted_came(old, None);
        assert_eq!(addresses.route(old, 10_000), route(Some(old), None));
        addresses.received(new, 10);
        assert_eq!(addresses.route(new, 30), route(Some(old), Some(new)));
        assert_eq!(addresses.route(new, 30), route(Some(old), None));
        addresses.encrypted_came(new, None);
        assert_eq!(addresses.route(new, 1200), route(Some(new), None));
        assert_eq!(addresses.route(address(3), 30), route(Some(new), None), "an address that was never accepted");
    }

    #[test]
    fn overheard_srtcp_validates_nothing() {
        let mut addresses = Addresses::default();
        let (own, foreign) = (address(1), address(2));
        assert!(addresses.accept(own) && addresses.accept(foreign));
        addresses.encrypted_came(own, Some(7));
        addresses.encrypted_came(foreign, Some(7));
        addresses.encrypted_came(foreign, Some(6));
        assert_eq!(addresses.route(foreign, 100).main, Some(own));
        addresses.encrypted_came(foreign, Some(8));
        assert_eq!(addresses.route(foreign, 100).main, Some(foreign));
    }

    #[test]
    fn a_restart_keeps_the_address_in_use() {
        let mut addresses = Addresses::default();
        for number in 0..40 {
            assert_eq!(addresses.accept(address(number)), number < 32);
        }
        addresses.encrypted_came(address(3), None);
        let forgotten = addresses.restart();
        assert_eq!((forgotten.len(), addresses.iter().collect::<Vec<_>>()), (31, vec![address(3)]));
        assert!(addresses.accept(address(50)));
        addresses.remove(address(3));
        assert_eq!(addresses.route(address(3), 1).main, None);
        assert_eq!(addresses.restart(), [], "the latest stays");
    }
}
