//! The addresses of a client: where its datagrams come from, and where to send datagrams for it.
//!
//! A binding request proves that its sender knows the transport's password, but not that its source
//! address is genuine: a forged one would direct media at a third party. An address is validated by
//! a datagram that was encrypted with the client's keys. Until then the previous validated address
//! gets everything, and the new one gets copies up to three times the bytes received from it, as in
//! QUIC (RFC 9000, section 8.1).
//!
//! Invariant: a replayed packet validates nothing. str0m drops replayed RTP but not SRTCP, so its
//! index must exceed all earlier ones here. Feedback that is skipped while bandwidth is not
//! estimated is not authenticated either, and may be replayed later: its index is kept as well. A
//! forged one with a high index only delays validation until the client sends anything else.

use std::net::SocketAddr;

/// Maximum number of addresses of one client between ICE restarts.
const MAX_ADDRESSES: usize = 32;

/// Bytes that may be sent to an unvalidated address per byte received from it.
const AMPLIFICATION: usize = 3;

#[derive(Debug)]
struct Address {
    at: SocketAddr,
    is_validated: bool,
    /// Bytes that may still be sent there while it is not validated.
    credit: usize,
}

/// The destinations of a datagram. Without any, it is dropped.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Route {
    /// A validated address.
    pub(super) main: Option<SocketAddr>,
    /// An address that is not validated yet.
    pub(super) copy: Option<SocketAddr>,
}

/// The addresses of one client, in the order in which they were accepted.
#[derive(Debug, Default)]
pub(in crate::sfu) struct Addresses {
    all: Vec<Address>,
    /// The validated address that was last sent to.
    current: Option<SocketAddr>,
    /// The highest SRTCP index received.
    index: Option<u32>,
    /// The highest SRTCP index of skipped feedback.
    skipped: Option<u32>,
}

impl Addresses {
    /// Adds the address of a verified binding request. Returns `false` if there are too many.
    pub(in crate::sfu) fn accept(&mut self, at: SocketAddr) -> bool {
        let is_known = self.find(at).is_some();
        if !is_known && self.all.len() < MAX_ADDRESSES {
            self.all.push(Address { at, is_validated: false, credit: 0 });
            return true;
        }
        is_known
    }

    /// Records a received datagram of `bytes` bytes.
    pub(super) fn datagram_arrived(&mut self, from: SocketAddr, bytes: usize) {
        if let Some(address) = self.find(from).filter(|address| !address.is_validated) {
            address.credit = address.credit.saturating_add(AMPLIFICATION * bytes);
        }
    }

    /// Records a datagram that was encrypted with the client's keys, with its index if it is SRTCP.
    pub(super) fn encrypted_datagram_arrived(&mut self, from: SocketAddr, index: Option<u32>) {
        let is_new = index.is_none_or(|index| self.index.is_none_or(|last| index > last));
        self.index = self.index.max(index);
        if let Some(address) = self.find(from).filter(|_| is_new) {
            address.is_validated = true;
            self.current.get_or_insert(from);
        }
    }

    /// Records the SRTCP index of transport-wide feedback that is skipped.
    pub(super) fn feedback_skipped(&mut self, index: Option<u32>) {
        self.skipped = self.skipped.max(index);
    }

    /// Returns whether transport-wide feedback with this SRTCP index may have been skipped before.
    pub(super) fn may_have_been_skipped(&self, index: Option<u32>) -> bool {
        index.is_some_and(|index| self.skipped.is_some_and(|skipped| index <= skipped))
    }

    /// Returns the destinations of a datagram of `bytes` bytes to an address.
    pub(super) fn route(&mut self, to: SocketAddr, bytes: usize) -> Route {
        let mut copy = None;
        if let Some(address) = self.find(to) {
            if address.is_validated {
                self.current = Some(to);
            } else if address.credit >= bytes {
                address.credit -= bytes;
                copy = Some(to);
            }
        }
        Route { main: self.current, copy }
    }

    /// Handles an ICE restart: removes and returns all addresses but the one in use, or the latest
    /// if none is validated.
    pub(in crate::sfu) fn restart(&mut self) -> Vec<SocketAddr> {
        let kept = self.current.or_else(|| self.all.last().map(|address| address.at));
        self.all
            .extract_if(.., |address| Some(address.at) != kept)
            .map(|address| address.at)
            .collect()
    }

    /// Removes an address that another transport has taken over.
    pub(in crate::sfu) fn remove(&mut self, at: SocketAddr) {
        self.all.retain(|address| address.at != at);
        self.current = self.current.filter(|current| *current != at);
    }

    pub(super) fn is_validated(&self, at: SocketAddr) -> bool {
        self.all.iter().any(|address| address.at == at && address.is_validated)
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
    fn unvalidated_address_gets_three_times_its_received_bytes() {
        let mut addresses = Addresses::default();
        let (old, new) = (address(1), address(2));
        assert!(addresses.accept(old) && addresses.accept(new));
        let route = |main, copy| Route { main, copy };
        assert_eq!(addresses.route(old, 1), route(None, None));
        addresses.datagram_arrived(old, 100);
        assert_eq!(addresses.route(old, 300), route(None, Some(old)));
        assert_eq!(addresses.route(old, 1), route(None, None));
        addresses.encrypted_datagram_arrived(old, None);
        assert_eq!(addresses.route(old, 10_000), route(Some(old), None));
        addresses.datagram_arrived(new, 10);
        assert_eq!(addresses.route(new, 30), route(Some(old), Some(new)));
        assert_eq!(addresses.route(new, 30), route(Some(old), None));
        addresses.encrypted_datagram_arrived(new, None);
        assert_eq!(addresses.route(new, 1200), route(Some(new), None));
        assert_eq!(
            addresses.route(address(3), 30),
            route(Some(new), None),
            "address was never accepted"
        );
    }

    #[test]
    fn replayed_srtcp_does_not_validate() {
        let mut addresses = Addresses::default();
        let (own, other) = (address(1), address(2));
        assert!(addresses.accept(own) && addresses.accept(other));
        addresses.encrypted_datagram_arrived(own, Some(7));
        addresses.encrypted_datagram_arrived(other, Some(7));
        addresses.encrypted_datagram_arrived(other, Some(6));
        assert_eq!(addresses.route(other, 100).main, Some(own));
        addresses.encrypted_datagram_arrived(other, Some(8));
        assert_eq!(addresses.route(other, 100).main, Some(other));
    }

    #[test]
    fn replayed_feedback_that_was_skipped_is_recognized() {
        let mut addresses = Addresses::default();
        assert!(!addresses.may_have_been_skipped(Some(7)));
        addresses.feedback_skipped(Some(7));
        addresses.feedback_skipped(Some(6));
        assert!(
            addresses.may_have_been_skipped(Some(7)) && addresses.may_have_been_skipped(Some(1))
        );
        assert!(
            !addresses.may_have_been_skipped(Some(8)) && !addresses.may_have_been_skipped(None)
        );
    }

    #[test]
    fn ice_restart_keeps_address_in_use() {
        let mut addresses = Addresses::default();
        for number in 0..40 {
            assert_eq!(addresses.accept(address(number)), number < 32);
        }
        addresses.encrypted_datagram_arrived(address(3), None);
        let removed = addresses.restart();
        assert_eq!((removed.len(), addresses.iter().collect::<Vec<_>>()), (31, vec![address(3)]));
        assert!(addresses.accept(address(50)));
        addresses.remove(address(3));
        assert_eq!(addresses.route(address(3), 1).main, None);
        assert_eq!(addresses.restart(), [], "the latest address is kept");
    }
}
