//! The admission table: which connections and sessions count towards the limits, and which are
//! evicted.
//!
//! A pure data structure without clock, sockets or locks. Methods record evicted entries in
//! [`Table::evicted`]; the caller closes the connections or sessions that these stand for.
//!
//! - An HTTP connection counts from its first admitted request, or once it has been open for a
//!   while ([`Table::age`]). Up to eight connections of a polling session count as part of that.
//! - A session counts from its handshake until it is removed, including while it is away.
//! - At a limit, an idle HTTP connection is evicted, or else the oldest polling session without
//!   CONNECT. Otherwise the new entry is admitted *on credit* of an away session, since it may be
//!   about to resume that one. If it does not, [`Table::settle`] evicts the oldest away session.
//!
//! Invariant: entries on credit never outnumber the away sessions that cover them, so a limit is
//! exceeded by at most the number of those, and only until the entries settle.

mod eviction;

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

use super::entry::{
    CLASSES, Cause, Class, Credit, Entry, EntryId, Holdings, Kind, Opening, PROXIES,
};
use super::{AdmissionError, AdmissionLimits};

/// Maximum number of HTTP connections that count as part of one polling session.
const MAX_PARTS: usize = 8;

/// All HTTP connections and sessions of the server.
#[derive(Debug, Default)]
pub(super) struct Table {
    limits: AdmissionLimits,
    next: u64,
    entries: HashMap<EntryId, Entry>,
    networks: HashMap<IpAddr, Holdings>,
    /// Networks by the number of their entries of a class; among equals, the one with the oldest
    /// entry comes last.
    ranks: [BTreeSet<(usize, Reverse<u64>, IpAddr)>; CLASSES],
    /// HTTP connections of each polling session.
    parts: HashMap<EntryId, Vec<EntryId>>,
    counted: usize,
    on_credit: usize,
    away: usize,
    /// Entries evicted since the caller last took them, with the cause.
    pub(super) evicted: Vec<(EntryId, Cause)>,
}

impl Table {
    pub(super) fn new(limits: AdmissionLimits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Adds an accepted HTTP connection, which does not count yet.
    pub(super) fn accept(&mut self, network: IpAddr) -> EntryId {
        self.add(network, Kind::Http { is_admitted: false })
    }

    /// Counts an HTTP connection that has been open for a while without an admitted request, and
    /// evicts idle ones beyond the limits.
    pub(super) fn age(&mut self, id: EntryId) {
        let Some(network) = self.pending(id) else { return };
        self.change(id, |entry| entry.kind = Kind::Http { is_admitted: true });
        self.trim_idle(network);
    }

    /// Records the start of a request on an HTTP connection.
    pub(super) fn begin_request(&mut self, id: EntryId) {
        self.change(id, |entry| entry.requests += 1);
    }

    /// Records the end of a request. A connection of a trusted proxy counts for no client until its
    /// next request.
    pub(super) fn end_request(&mut self, id: EntryId, is_from_proxy: bool) {
        self.change(id, |entry| {
            entry.requests = entry.requests.saturating_sub(1);
            if is_from_proxy
                && entry.requests == 0
                && matches!(entry.kind, Kind::Http { .. } | Kind::Part(_))
            {
                entry.network = PROXIES;
            }
        });
        if let Some(network) = self.entries.get(&id).map(|entry| entry.network) {
            self.trim_idle(network);
        }
    }

    /// Returns whether a request on an HTTP connection is within the limits without an eviction; if
    /// so, counts the connection.
    pub(super) fn fits(&mut self, id: EntryId, network: IpAddr) -> bool {
        match self.pending(id) {
            None => true,
            Some(_) if self.is_over_address(network, 1) || self.is_over_total(1) => false,
            Some(_) => {
                self.change(id, |entry| {
                    (entry.network, entry.kind) = (network, Kind::Http { is_admitted: true });
                });
                true
            }
        }
    }

    /// Admits a request that names no session, from a client's network.
    pub(super) fn admit(&mut self, id: EntryId, network: IpAddr) -> Result<(), AdmissionError> {
        match self.entries.get(&id).map(|entry| (entry.kind, entry.network)) {
            Some((Kind::Http { is_admitted }, counts_for))
                if !is_admitted || counts_for != network => {}
            // The connection already counts, or was evicted and is closing.
            _ => return Ok(()),
        }
        self.change(id, |entry| {
            (entry.network, entry.kind) = (network, Kind::Http { is_admitted: false });
        });
        let credit = self.make_room(network)?;
        self.change(id, |entry| {
            (entry.kind, entry.credit) = (Kind::Http { is_admitted: true }, credit);
        });
        // An HTTP connection does not resume a session.
        self.settle(id);
        Ok(())
    }

    /// Opens a session for a handshake over an HTTP connection, which becomes part of the session.
    pub(super) fn open(
        &mut self,
        connection: Option<EntryId>,
        network: IpAddr,
        opening: Opening,
    ) -> Result<EntryId, AdmissionError> {
        if opening == Opening::Polling
            && let Some(max) = self.limits.unconnected_per_address
            && self.networks.get(&network).is_some_and(|holdings| holdings.unconnected >= max)
        {
            return Err(AdmissionError::TooManyUnconnected { max });
        }
        let before = connection.and_then(|id| match self.entries.get(&id)?.kind {
            Kind::Http { is_admitted } => Some((id, is_admitted)),
            _ => None,
        });
        // The session takes the place of the connection in the count.
        if let Some((id, _)) = before {
            self.change(id, |entry| entry.kind = Kind::Http { is_admitted: false });
        }
        let credit = match self.make_room(network) {
            Ok(credit) => credit,
            Err(error) => {
                if let Some((id, is_admitted)) = before {
                    self.change(id, |entry| entry.kind = Kind::Http { is_admitted });
                }
                return Err(error);
            }
        };
        let kind = match opening {
            Opening::WebSocket => Kind::Live,
            Opening::Polling => Kind::Unconnected,
        };
        let session = self.add(network, kind);
        self.change(session, |entry| entry.credit = credit);
        if let Some((id, _)) = before {
            self.join(id, session);
        }
        Ok(session)
    }

    /// Counts an HTTP connection as part of the session that its request names. Returns false if
    /// the session is gone or has too many parts.
    pub(super) fn join(&mut self, connection: EntryId, session: EntryId) -> bool {
        let is_session = self
            .entries
            .get(&session)
            .is_some_and(|entry| matches!(entry.kind, Kind::Live | Kind::Unconnected));
        let kind = self.entries.get(&connection).map(|entry| entry.kind);
        if !is_session || kind == Some(Kind::Part(session)) {
            return is_session;
        }
        if !matches!(kind, Some(Kind::Http { .. } | Kind::Part(_))) {
            return false;
        }
        let parts = self.parts.entry(session).or_default();
        if parts.len() >= MAX_PARTS {
            return false;
        }
        parts.push(connection);
        if let Some(Kind::Part(older)) = kind {
            self.forget_part(older, connection);
        }
        self.change(connection, |entry| entry.kind = Kind::Part(session));
        true
    }

    /// Records that a polling client has sent CONNECT. Returns false if its session was evicted.
    pub(super) fn connect(&mut self, session: EntryId) -> bool {
        self.is_open(session) && self.change(session, |entry| entry.kind = Kind::Live)
    }

    /// Returns whether a session is on credit.
    pub(super) fn is_on_credit(&self, session: EntryId) -> bool {
        self.entries.get(&session).is_some_and(|entry| entry.credit != Credit::default())
    }

    /// Ends the credit of a session, and evicts the oldest away session if that exceeds a limit.
    pub(super) fn settle(&mut self, session: EntryId) {
        if self.is_on_credit(session) {
            let network = self.entries[&session].network;
            self.change(session, |entry| entry.credit = Credit::default());
            self.trim(network);
        }
    }

    /// Records that a session's connection was lost. If there are more than `max` away sessions,
    /// the oldest one of the network with most of them is evicted.
    pub(super) fn lose(&mut self, session: EntryId, max: usize) {
        if !self.change(session, |entry| entry.kind = Kind::Away) {
            return;
        }
        self.settle(session);
        self.release_parts(session);
        while self.away > max && self.evict_largest(Class::Away, Cause::Away) {}
    }

    /// Removes an entry. The HTTP connections of a session count on their own again.
    pub(super) fn remove(&mut self, id: EntryId) {
        let Some(entry) = self.entries.get(&id) else { return };
        let kind = entry.kind;
        self.unlist(id);
        self.entries.remove(&id);
        if let Kind::Part(session) = kind {
            self.forget_part(session, id);
        }
        self.release_parts(id);
    }

    /// Evicts an HTTP connection to free a file descriptor: an idle one, or else one without a
    /// request, of the network with most of them. Returns false if there is none.
    pub(super) fn evict_connection(&mut self) -> bool {
        self.evict_largest(Class::Idle, Cause::Descriptors)
            || self.evict_largest(Class::Pending, Cause::Descriptors)
    }

    /// Shrinks the maps after a connection spike.
    pub(super) fn shrink(&mut self) {
        if self.entries.len() < self.entries.capacity() / 8 {
            self.entries.shrink_to(1024);
            self.networks.shrink_to(1024);
            self.parts.shrink_to(1024);
        }
    }

    #[cfg(test)]
    pub(super) fn counted(&self) -> usize {
        self.counted
    }

    /// Returns whether a session was neither evicted nor removed.
    pub(super) fn is_open(&self, session: EntryId) -> bool {
        self.entries.get(&session).is_some_and(|entry| entry.kind != Kind::Closing)
    }

    /// Returns the network of an HTTP connection that does not count yet.
    fn pending(&self, id: EntryId) -> Option<IpAddr> {
        let entry = self.entries.get(&id)?;
        (entry.kind == Kind::Http { is_admitted: false }).then_some(entry.network)
    }

    /// Counts the HTTP connections of a session on their own.
    fn release_parts(&mut self, session: EntryId) {
        for part in self.parts.remove(&session).unwrap_or_default() {
            self.change(part, |entry| entry.kind = Kind::Http { is_admitted: true });
            if let Some(network) = self.entries.get(&part).map(|entry| entry.network) {
                self.trim_idle(network);
            }
        }
    }

    fn forget_part(&mut self, session: EntryId, connection: EntryId) {
        if let Some(parts) = self.parts.get_mut(&session) {
            parts.retain(|part| *part != connection);
            if parts.is_empty() {
                self.parts.remove(&session);
            }
        }
    }

    fn add(&mut self, network: IpAddr, kind: Kind) -> EntryId {
        let id = EntryId(self.next_number());
        let entry = Entry { network, kind, requests: 0, position: 0, credit: Credit::default() };
        self.entries.insert(id, entry);
        self.list(id);
        id
    }

    fn next_number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Changes an entry. Returns false if it does not exist.
    fn change(&mut self, id: EntryId, change: impl FnOnce(&mut Entry)) -> bool {
        if !self.entries.contains_key(&id) {
            return false;
        }
        self.unlist(id);
        change(self.entries.get_mut(&id).expect("checked above"));
        self.list(id);
        true
    }

    /// Counts an entry, and appends it to the queue of its class.
    fn list(&mut self, id: EntryId) {
        let position = self.next_number();
        let Some(entry) = self.entries.get_mut(&id) else { return };
        entry.position = position;
        let is_unconnected = entry.is_unconnected();
        let (network, class, counts, credit) =
            (entry.network, entry.class(), entry.counts(), entry.credit);
        let holdings = self.networks.entry(network).or_default();
        holdings.entries += 1;
        holdings.counted += usize::from(counts);
        holdings.on_credit += usize::from(credit.of_network);
        holdings.unconnected += usize::from(is_unconnected);
        self.counted += usize::from(counts);
        self.on_credit += usize::from(credit.of_all);
        self.away += usize::from(class == Some(Class::Away));
        if let Some(class) = class {
            self.change_queue(network, class, |queue| queue.insert((position, id)));
        }
    }

    /// Reverts [`Self::list`].
    fn unlist(&mut self, id: EntryId) {
        let Some(entry) = self.entries.get(&id) else { return };
        let (network, class, counts, credit) =
            (entry.network, entry.class(), entry.counts(), entry.credit);
        let (position, is_unconnected) = (entry.position, entry.is_unconnected());
        if let Some(class) = class {
            self.change_queue(network, class, |queue| queue.remove(&(position, id)));
        }
        self.counted -= usize::from(counts);
        self.on_credit -= usize::from(credit.of_all);
        self.away -= usize::from(class == Some(Class::Away));
        let holdings =
            self.networks.get_mut(&network).expect("an entry is listed under its network");
        holdings.entries -= 1;
        holdings.counted -= usize::from(counts);
        holdings.on_credit -= usize::from(credit.of_network);
        holdings.unconnected -= usize::from(is_unconnected);
        if holdings.entries == 0 {
            self.networks.remove(&network);
        }
    }

    fn change_queue(
        &mut self,
        network: IpAddr,
        class: Class,
        change: impl FnOnce(&mut BTreeSet<(u64, EntryId)>) -> bool,
    ) {
        let queue = &mut self.networks.entry(network).or_default().queues[class as usize];
        let rank = |queue: &BTreeSet<(u64, EntryId)>| {
            queue.first().map(|(position, _)| (queue.len(), Reverse(*position), network))
        };
        let before = rank(queue);
        change(queue);
        let after = rank(queue);
        if let Some(before) = before {
            self.ranks[class as usize].remove(&before);
        }
        self.ranks[class as usize].extend(after);
    }
}

#[cfg(test)]
mod tests;
