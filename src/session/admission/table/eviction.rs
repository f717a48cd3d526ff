//! Makes room at a limit, by evicting an entry or on credit of an away session.

use std::net::IpAddr;

use super::Table;
use crate::session::admission::AdmissionError;
use crate::session::admission::entry::{Cause, Class, Credit, Holdings, Kind, PROXIES};

impl Table {
    /// Makes room for one more entry of a network, and returns the credit on which it is admitted.
    pub(super) fn make_room(&mut self, network: IpAddr) -> Result<Credit, AdmissionError> {
        let mut credit = Credit::default();
        while self.is_over_address(network, 1) && !credit.of_network {
            let is_evicted = self.evict_oldest(network, Class::Idle, Cause::PerAddress)
                || self.evict_oldest(network, Class::Unconnected, Cause::PerAddress);
            if !is_evicted {
                let holdings = self.networks.get(&network);
                credit.of_network = holdings.is_some_and(|of| of.len(Class::Away) > of.on_credit);
                if !credit.of_network {
                    let max = self.limits.per_address.unwrap_or(usize::MAX);
                    return Err(AdmissionError::TooManyFromAddress { max });
                }
            }
        }
        while self.is_over_total(1) && !credit.of_all {
            let is_evicted = self.evict_largest(Class::Idle, Cause::Total)
                || self.evict_largest(Class::Unconnected, Cause::Total);
            if !is_evicted {
                credit.of_all = self.away > self.on_credit;
                if !credit.of_all {
                    return Err(AdmissionError::TooMany {
                        max: self.limits.total.unwrap_or(usize::MAX),
                    });
                }
            }
        }
        Ok(credit)
    }

    /// Evicts idle HTTP connections that exceed the limits.
    pub(super) fn trim_idle(&mut self, network: IpAddr) {
        while self.is_over_address(network, 0)
            && self.evict_oldest(network, Class::Idle, Cause::PerAddress)
        {}
        while self.is_over_total(0) && self.evict_largest(Class::Idle, Cause::Total) {}
    }

    /// Evicts entries that exceed the limits, as far as any can be evicted.
    pub(super) fn trim(&mut self, network: IpAddr) {
        while self.is_over_address(network, 0)
            && (self.evict_oldest(network, Class::Idle, Cause::PerAddress)
                || self.evict_oldest(network, Class::Unconnected, Cause::PerAddress)
                || self.evict_oldest(network, Class::Away, Cause::PerAddress))
        {}
        while self.is_over_total(0)
            && (self.evict_largest(Class::Idle, Cause::Total)
                || self.evict_largest(Class::Unconnected, Cause::Total)
                || self.evict_largest(Class::Away, Cause::Total))
        {}
    }

    pub(super) fn is_over_address(&self, network: IpAddr, more: usize) -> bool {
        let due = self.networks.get(&network).map_or(0, Holdings::due);
        network != PROXIES && self.limits.per_address.is_some_and(|max| due + more > max)
    }

    pub(super) fn is_over_total(&self, more: usize) -> bool {
        let due = self.counted - self.on_credit.min(self.away);
        self.limits.total.is_some_and(|max| due + more > max)
    }

    pub(super) fn evict_largest(&mut self, class: Class, cause: Cause) -> bool {
        let largest = self.ranks[class as usize].last().map(|(.., network)| *network);
        largest.is_some_and(|network| self.evict_oldest(network, class, cause))
    }

    fn evict_oldest(&mut self, network: IpAddr, class: Class, cause: Cause) -> bool {
        let oldest = self.networks.get(&network).and_then(|of| of.queues[class as usize].first());
        let Some((_, id)) = oldest.copied() else { return false };
        self.evicted.push((id, cause));
        if class == Class::Unconnected {
            // The library keeps the session for a while, so it still counts as one without CONNECT.
            self.change(id, |entry| {
                (entry.kind, entry.credit) = (Kind::Closing, Credit::default());
            });
            self.release_parts(id);
        } else {
            self.remove(id);
        }
        true
    }
}
