//! What counts towards the limits on connections, and what is evicted to make room.
//!
//! A pure structure: no clock, no socket, no lock. Every method changes the table and notes in [`Table::evicted`] which
//! entries it has removed; the caller closes what they stand for.
//!
//! - an HTTP connection counts from its first request that was admitted, or once it has been open for a while
//!   ([`Table::age`]); up to eight that belong to a polling session count as part of it;
//! - a session counts from its handshake until it is removed, away or not;
//! - at a limit an idle HTTP connection is evicted, else the oldest polling session that has sent no CONNECT. Else the
//!   entry is admitted *on credit* of an away session, since it may be about to resume that: [`Table::settle`] evicts the
//!   oldest away session if it did not.
//!
//! The guarantee that is easy to break: entries on credit never outnumber the away sessions that cover them, so that
//! each limit is exceeded by at most those, and only until they settle.

mod eviction;

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

use super::entry::{CLASSES, Cause, Class, Credit, Entry, EntryId, Holdings, Kind, Opening, PROXIES};
use super::{AdmissionError, Limits};

/// HTTP connections that count as part of one polling session.
const MAX_PARTS: usize = 8;

/// Every HTTP connection and session of the server.
#[derive(Debug, Default)]
pub(super) struct Table {
    limits: Limits,
    next: u64,
    entries: HashMap<EntryId, Entry>,
    networks: HashMap<IpAddr, Holdings>,
    /// Which network has most of a class; among equals, the one whose entry is the oldest.
    ranks: [BTreeSet<(usize, Reverse<u64>, IpAddr)>; CLASSES],
    /// The HTTP connections of each polling session.
    parts: HashMap<EntryId, Vec<EntryId>>,
    counted: usize,
    on_credit: usize,
    away: usize,
    /// What was evicted since the caller last took it, and for which limit.
    pub(super) evicted: Vec<(EntryId, Cause)>,
}

impl Table {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Adds an HTTP connection that was just accepted. It does not count yet.
    pub(super) fn accept(&mut self, network: IpAddr) -> EntryId {
        self.add(network, Kind::Http { is_admitted: false })
    }

    /// Counts an HTTP connection that has been open for a while without a request that was admitted, and evicts an idle
    /// one if that is one too many.
    pub(super) fn age(&mut self, id: EntryId) {
        let Some(network) = self.pending(id) else { return };
        self.change(id, |entry| entry.kind = Kind::Http { is_admitted: true });
        self.trim_idle(network);
    }

    /// Notes that a request begins on an HTTP connection.
    pub(super) fn begin_request(&mut self, id: EntryId) {
        self.change(id, |entry| entry.requests += 1);
    }

    /// Notes that a request has been answered. A connection of a trusted proxy counts for no client from its last answer
    /// until its next request.
    pub(super) fn end_request(&mut self, id: EntryId, is_of_proxy: bool) {
        self.change(id, |entry| {
            entry.requests = entry.requests.saturating_sub(1);
            if is_of_proxy && entry.requests == 0 && matches!(entry.kind, Kind::Http { .. } | Kind::Part(_)) {
                entry.network = PROXIES;
            }
        });
        if let Some(network) = self.entries.get(&id).map(|entry| entry.network) {
            self.trim_idle(network);
        }
    }

    /// Whether a request on an HTTP connection is within the limits without an eviction. Counts the connection if so.
    pub(super) fn fits(&mut self, id: EntryId, network: IpAddr) -> bool {
        match self.pending(id) {
            None => true,
            Some(_) if self.is_over_address(network, 1) || self.is_over_total(1) => false,
            Some(_) => {
                self.change(id, |entry| (entry.network, entry.kind) = (network, Kind::Http { is_admitted: true }));
                true
            }
        }
    }

    /// Admits a request on an HTTP connection that names no session, from a client's network.
    pub(super) fn admit(&mut self, id: EntryId, network: IpAddr) -> Result<(), AdmissionError> {
        match self.entries.get(&id).map(|entry| (entry.kind, entry.network)) {
            Some((Kind::Http { is_admitted }, counts_for)) if !is_admitted || counts_for != network => {}
            // It counts already. One that was evicted is being closed.
            _ => return Ok(()),
        }
        self.change(id, |entry| (entry.network, entry.kind) = (network, Kind::Http { is_admitted: false }));
        let credit = self.make_room(network)?;
        self.change(id, |entry| (entry.kind, entry.credit) = (Kind::Http { is_admitted: true }, credit));
        // An HTTP connection resumes nothing.
        self.settle(id);
        Ok(())
    }

    /// Opens a session for a handshake that came over an HTTP connection, which from here on is part of it.
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
        // The session takes over what counts for the connection.
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

    /// Has an HTTP connection count as part of a session that its request names. `false` if the session is gone, or has
    /// as many parts as it may.
    pub(super) fn join(&mut self, connection: EntryId, session: EntryId) -> bool {
        let is_session =
            self.entries.get(&session).is_some_and(|entry| matches!(entry.kind, Kind::Live | Kind::Unconnected));
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

    /// Notes that the client of a polling session has sent CONNECT. `false` if the session has been evicted.
    pub(super) fn connect(&mut self, session: EntryId) -> bool {
        self.is_open(session) && self.change(session, |entry| entry.kind = Kind::Live)
    }

    /// Whether a session was admitted on credit.
    pub(super) fn is_on_credit(&self, session: EntryId) -> bool {
        self.entries.get(&session).is_some_and(|entry| entry.credit != Credit::default())
    }

    /// Ends the credit of a session, and evicts the oldest away session if a limit is exceeded for want of it.
    pub(super) fn settle(&mut self, session: EntryId) {
        if self.is_on_credit(session) {
            let network = self.entries[&session].network;
            self.change(session, |entry| entry.credit = Credit::default());
            self.trim(network);
        }
    }

    /// Notes that the connection of a session was lost. Of more away sessions than `max`, the oldest of the network that
    /// has most of them is evicted.
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

    /// Evicts an HTTP connection, since there is no file descriptor left: an idle one, else one that has sent no request
    /// yet, of the network that has most. `false` if there is none.
    pub(super) fn evict_connection(&mut self) -> bool {
        self.evict_largest(Class::Idle, Cause::Descriptors) || self.evict_largest(Class::Pending, Cause::Descriptors)
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

    /// Whether a session has been neither evicted nor removed.
    pub(super) fn is_open(&self, session: EntryId) -> bool {
        self.entries.get(&session).is_some_and(|entry| entry.kind != Kind::Closing)
    }

    /// The network of an HTTP connection that does not count yet.
    fn pending(&self, id: EntryId) -> Option<IpAddr> {
        let entry = self.entries.get(&id)?;
        (entry.kind == Kind::Http { is_admitted: false }).then_some(entry.network)
    }

    /// Has the HTTP connections of a session count on their own.
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

    /// Changes an entry. `false` if it is gone.
    fn change(&mut self, id: EntryId, change: impl FnOnce(&mut Entry)) -> bool {
        if !self.entries.contains_key(&id) {
            return false;
        }
        self.unlist(id);
        change(self.entries.get_mut(&id).expect("it is there, by the look above"));
        self.list(id);
        true
    }

    /// Counts an entry, and puts it at the end of the queue of its class.
    fn list(&mut self, id: EntryId) {
        let position = self.next_number();
        let Some(entry) = self.entries.get_mut(&id) else { return };
        entry.position = position;
        let is_unconnected = entry.is_unconnected();
        let (network, class, counts, credit) = (entry.network, entry.class(), entry.counts(), entry.credit);
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

    /// Takes [`Self::list`] back.
    fn unlist(&mut self, id: EntryId) {
        let Some(entry) = self.entries.get(&id) else { return };
        let (network, class, counts, credit) = (entry.network, entry.class(), entry.counts(), entry.credit);
        let (position, is_unconnected) = (entry.position, entry.is_unconnected());
        if let Some(class) = class {
            self.change_queue(network, class, |queue| queue.remove(&(position, id)));
        }
        self.counted -= usize::from(counts);
        self.on_credit -= usize::from(credit.of_all);
        self.away -= usize::from(class == Some(Class::Away));
        let holdings = self.networks.get_mut(&network).expect("an entry is listed under its network");
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
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const ANN: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
    const BOB: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));

    fn limited(total: Option<usize>, per_address: Option<usize>) -> Table {
        Table::new(Limits { total, per_address, unconnected_per_address: None })
    }

    impl Table {
        /// A WebSocket over a connection of its own.
        fn websocket(&mut self, network: IpAddr) -> Result<EntryId, AdmissionError> {
            let connection = self.accept(network);
            let opened = self.open(Some(connection), network, Opening::WebSocket);
            self.remove(connection);
            opened
        }

        /// A session whose connection was lost.
        fn away(&mut self, network: IpAddr) -> EntryId {
            let session = self.websocket(network).unwrap();
            self.lose(session, usize::MAX);
            session
        }

        /// An HTTP connection between two requests.
        fn idle(&mut self, network: IpAddr) -> EntryId {
            let connection = self.accept(network);
            self.begin_request(connection);
            self.admit(connection, network).unwrap();
            self.end_request(connection, false);
            connection
        }

        fn polling(&mut self, network: IpAddr) -> EntryId {
            self.open(None, network, Opening::Polling).unwrap()
        }

        fn take_evicted(&mut self) -> Vec<EntryId> {
            std::mem::take(&mut self.evicted).into_iter().map(|(id, _)| id).collect()
        }
    }

    #[test]
    fn room_is_made_in_the_order_of_the_classes_and_the_oldest_first() {
        let mut table = limited(None, Some(4));
        let away = table.away(ANN);
        let polling = table.polling(ANN);
        let (older, newer) = (table.idle(ANN), table.idle(ANN));
        for (nth, evicted) in [vec![older], vec![newer], vec![polling], vec![]].into_iter().enumerate() {
            table.websocket(ANN).unwrap();
            assert_eq!(table.take_evicted(), evicted, "the {nth}th WebSocket");
        }
        // The fourth is admitted on credit of the away session, which is taken once; it may be resumed yet.
        assert!(table.is_open(away));
        assert_eq!(table.websocket(ANN), Err(AdmissionError::TooManyFromAddress { max: 4 }));
        assert_eq!(table.take_evicted(), []);
        assert!(table.websocket(BOB).is_ok());
    }

    #[test]
    fn session_on_credit_that_resumes_replaces_the_away_one() {
        let mut table = limited(Some(1), Some(1));
        let away = table.away(ANN);
        let returned = table.websocket(ANN).unwrap();
        table.remove(away);
        table.settle(returned);
        assert_eq!((table.take_evicted(), table.counted()), (vec![], 1));
        assert!(table.is_open(returned));
    }

    #[test]
    fn session_on_credit_that_does_not_resume_evicts_the_oldest_away_one() {
        let mut table = limited(None, Some(2));
        let (first, second) = (table.away(ANN), table.away(ANN));
        let (one, two) = (table.websocket(ANN).unwrap(), table.websocket(ANN).unwrap());
        assert!(table.websocket(ANN).is_err());
        table.settle(two);
        assert_eq!(table.take_evicted(), [first]);
        table.settle(one);
        assert_eq!(table.take_evicted(), [second]);
        assert_eq!(table.counted(), 2);
        table.settle(one);
        assert_eq!(table.take_evicted(), []);
    }

    #[test]
    fn credit_does_not_outlive_the_away_session() {
        let mut table = limited(None, Some(1));
        let away = table.away(ANN);
        let session = table.websocket(ANN).unwrap();
        table.remove(away);
        assert!(table.websocket(ANN).is_err(), "the one session is all that may be");
        table.remove(session);
        assert!(table.websocket(ANN).is_ok());
    }

    #[test]
    fn total_limit_evicts_from_the_network_that_has_most() {
        let mut table = limited(Some(5), None);
        let (anns, bobs) = (table.idle(ANN), table.idle(BOB));
        let second = table.idle(BOB);
        let (away, _) = (table.away(BOB), table.away(ANN));
        table.websocket(ANN).unwrap();
        assert_eq!(table.take_evicted(), [bobs]);
        table.websocket(ANN).unwrap();
        table.websocket(ANN).unwrap();
        assert_eq!(table.take_evicted(), [anns, second], "the oldest, where both have as many");
        let session = table.websocket(ANN).unwrap();
        table.settle(session);
        assert_eq!(table.take_evicted(), [away]);
        assert_eq!(table.counted(), 5);
    }

    #[test]
    fn connected_sessions_are_never_evicted() {
        let mut table = limited(Some(2), None);
        let polling = table.polling(ANN);
        assert!(table.connect(polling));
        table.websocket(BOB).unwrap();
        assert_eq!(table.websocket(BOB), Err(AdmissionError::TooMany { max: 2 }));
        assert_eq!(table.open(None, ANN, Opening::Polling), Err(AdmissionError::TooMany { max: 2 }));
        assert_eq!(table.take_evicted(), []);
        // Nor is a request under way.
        table.remove(polling);
        let busy = table.accept(ANN);
        table.begin_request(busy);
        table.admit(busy, ANN).unwrap();
        assert!(table.websocket(BOB).is_err());
        table.end_request(busy, false);
        assert!(table.websocket(BOB).is_ok());
        assert_eq!(table.take_evicted(), [busy]);
    }

    #[test]
    fn evicted_session_does_not_connect() {
        let mut table = limited(Some(1), None);
        let polling = table.polling(ANN);
        table.websocket(BOB).unwrap();
        assert_eq!(table.take_evicted(), [polling]);
        assert!(!table.connect(polling));
    }

    #[test]
    fn connections_of_a_polling_session_count_as_part_of_it_up_to_eight() {
        let mut table = limited(None, Some(1));
        let first = table.accept(ANN);
        let session = table.open(Some(first), ANN, Opening::Polling).unwrap();
        table.connect(session);
        assert_eq!(table.counted(), 1);
        let others: Vec<EntryId> = (1..MAX_PARTS).map(|_| table.accept(ANN)).collect();
        assert!(others.iter().all(|connection| table.join(*connection, session)));
        assert!(others.iter().all(|connection| table.join(*connection, session)), "again");
        let ninth = table.accept(ANN);
        assert!(!table.join(ninth, session));
        assert!(table.admit(ninth, ANN).is_err());
        table.remove(first);
        assert!(table.join(ninth, session), "there is room again");
        assert_eq!(table.counted(), 1);
        // They count on their own when it is gone, as far as there is room.
        table.remove(session);
        assert_eq!((table.counted(), table.take_evicted().len()), (1, MAX_PARTS - 1));
    }

    #[test]
    fn connections_of_a_lost_polling_session_count_on_their_own() {
        let mut table = limited(None, Some(2));
        let connection = table.accept(ANN);
        let session = table.open(Some(connection), ANN, Opening::Polling).unwrap();
        table.connect(session);
        table.lose(session, usize::MAX);
        assert_eq!(table.counted(), 2);
        assert!(!table.join(connection, session));
        table.websocket(ANN).unwrap();
        assert_eq!(table.take_evicted(), [connection]);
    }

    #[test]
    fn connection_that_opens_several_sessions_counts_once_for_each() {
        let mut table = limited(Some(3), None);
        let connection = table.accept(ANN);
        let sessions: Vec<EntryId> =
            (0..5).map(|_| table.open(Some(connection), ANN, Opening::Polling).unwrap()).collect();
        assert_eq!(table.counted(), 3);
        assert!(sessions[2..].iter().all(|session| table.is_open(*session)));
        assert!(table.websocket(BOB).is_ok());
    }

    #[test]
    fn polling_sessions_without_connect_are_limited_per_address() {
        let mut table = Table::new(Limits { unconnected_per_address: Some(2), ..Limits::default() });
        let first = table.polling(ANN);
        let connected = table.polling(ANN);
        table.connect(connected);
        let second = table.polling(ANN);
        table.polling(BOB);
        let refused = Err(AdmissionError::TooManyUnconnected { max: 2 });
        assert_eq!(table.open(None, ANN, Opening::Polling), refused);
        assert!(table.websocket(ANN).is_ok(), "it is a limit of polling");
        assert_eq!(table.take_evicted(), []);
        table.connect(second);
        table.polling(ANN);
        assert_eq!(table.open(None, ANN, Opening::Polling), refused);
        table.remove(first);
        table.polling(ANN);
    }

    #[test]
    fn evicted_polling_sessions_are_limited_until_they_are_gone() {
        let limits = Limits { total: Some(1), unconnected_per_address: Some(2), ..Limits::default() };
        let mut table = Table::new(limits);
        let (first, second) = (table.polling(ANN), table.polling(ANN));
        assert_eq!((table.take_evicted(), table.counted()), (vec![first], 1));
        assert!(table.open(None, ANN, Opening::Polling).is_err());
        assert!(table.open(None, BOB, Opening::Polling).is_ok());
        assert_eq!(table.take_evicted(), [second]);
        assert!(table.open(None, ANN, Opening::Polling).is_err());
        table.remove(first);
        assert!(table.open(None, ANN, Opening::Polling).is_ok());
    }

    #[test]
    fn connection_that_is_still_busy_does_not_evict_its_lost_session() {
        let mut table = limited(None, Some(1));
        let connection = table.accept(ANN);
        table.begin_request(connection);
        let session = table.open(Some(connection), ANN, Opening::Polling).unwrap();
        table.connect(session);
        table.lose(session, usize::MAX);
        assert_eq!(table.take_evicted(), []);
        table.end_request(connection, false);
        assert_eq!(table.take_evicted(), [connection]);
        assert!(table.is_open(session));
    }

    #[test]
    fn silent_connections_count_once_they_are_old() {
        let mut table = limited(None, Some(1));
        let (first, second) = (table.accept(ANN), table.accept(ANN));
        assert_eq!(table.counted(), 0);
        table.age(first);
        table.age(second);
        assert_eq!((table.take_evicted(), table.counted()), (vec![first], 1));
        // One of them is admitted in place of the other.
        table.websocket(ANN).unwrap();
        assert_eq!(table.take_evicted(), [second]);
    }

    #[test]
    fn requests_that_are_always_answered_evict_nothing() {
        let mut table = limited(None, Some(1));
        let idle = table.idle(ANN);
        let probe = table.accept(ANN);
        assert!(!table.fits(probe, ANN));
        assert_eq!((table.take_evicted(), table.counted()), (vec![], 1));
        table.remove(idle);
        assert!(table.fits(probe, ANN));
        assert_eq!(table.counted(), 1);
    }

    #[test]
    fn refused_handshake_leaves_its_connection_as_it_was() {
        let mut table = limited(None, Some(1));
        table.websocket(ANN).unwrap();
        let connection = table.accept(ANN);
        assert!(table.open(Some(connection), ANN, Opening::WebSocket).is_err());
        assert!(table.admit(connection, ANN).is_err());
        assert_eq!(table.counted(), 1);
        table.remove(connection);
        assert_eq!(table.counted(), 1);
    }

    #[test]
    fn connection_of_a_proxy_counts_for_the_client_of_its_request() {
        let mut table = limited(None, Some(1));
        let connection = table.accept(PROXIES);
        for client in [ANN, BOB, ANN] {
            table.begin_request(connection);
            table.admit(connection, client).unwrap();
            assert!(table.websocket(client).is_err(), "the request counts");
            table.end_request(connection, true);
        }
        // Idle, it counts for nobody.
        table.websocket(ANN).unwrap();
        table.websocket(BOB).unwrap();
        assert_eq!(table.take_evicted(), []);
        table.begin_request(connection);
        assert!(table.admit(connection, ANN).is_err());
    }

    #[test]
    fn full_table_of_away_sessions_evicts_from_the_network_that_has_most() {
        let mut table = limited(None, None);
        let anns = table.away(ANN);
        let bobs: Vec<EntryId> = (0..3).map(|_| table.away(BOB)).collect();
        let session = table.websocket(ANN).unwrap();
        table.lose(session, 4);
        assert_eq!(table.take_evicted(), [bobs[0]]);
        assert!(table.is_open(anns) && table.is_open(session));
    }

    #[test]
    fn descriptors_are_taken_from_idle_connections_first() {
        let mut table = limited(None, None);
        let pending = table.accept(ANN);
        let idle = table.idle(BOB);
        table.websocket(ANN).unwrap();
        assert!(table.evict_connection() && table.evict_connection());
        assert_eq!(table.take_evicted(), [idle, pending]);
        assert!(!table.evict_connection());
    }

    /// Whatever happens in whatever order: counts are right, limits hold, and nothing is left.
    #[test]
    fn counts_agree_with_the_entries_after_any_sequence() {
        let mut seed = 7_u64;
        let mut random = |below: usize| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(seed >> 33).unwrap() % below
        };
        let networks = [ANN, BOB, PROXIES];
        for round in 0..200 {
            let mut table = Table::new(Limits {
                total: (round % 3 > 0).then_some(6),
                per_address: (round % 2 > 0).then_some(3),
                unconnected_per_address: (round % 5 > 0).then_some(2),
            });
            let mut known: Vec<EntryId> = Vec::new();
            for _ in 0..200 {
                let network = networks[random(3)];
                let any = |random: &mut dyn FnMut(usize) -> usize, known: &[EntryId]| {
                    known.get(random(known.len().max(1))).copied().unwrap_or(EntryId(u64::MAX))
                };
                let (id, other) = (any(&mut random, &known), any(&mut random, &known));
                match random(13) {
                    0 => known.push(table.accept(network)),
                    1 => known.extend(table.open(Some(id), network, Opening::Polling)),
                    2 => known.extend(table.open(Some(id), network, Opening::WebSocket)),
                    3 => table.begin_request(id),
                    4 => table.end_request(id, random(2) > 0),
                    5 => _ = table.admit(id, network),
                    6 => _ = table.fits(id, network),
                    7 => _ = table.join(id, other),
                    8 => table.age(id),
                    9 => table.settle(id),
                    10 if table.entries.get(&id).is_some_and(|entry| entry.kind == Kind::Live) => table.lose(id, 2),
                    11 if table.entries.get(&id).is_some_and(|entry| entry.kind == Kind::Unconnected) => {
                        table.connect(id);
                    }
                    _ => table.remove(id),
                }
                check(&table);
            }
            for id in known {
                table.remove(id);
            }
            assert!(table.entries.is_empty() && table.networks.is_empty() && table.parts.is_empty());
            assert!(table.ranks.iter().all(BTreeSet::is_empty));
            assert_eq!((table.counted, table.on_credit, table.away), (0, 0, 0));
        }
    }

    fn check(table: &Table) {
        let entries = || table.entries.values();
        assert_eq!(table.counted, entries().filter(|entry| entry.counts()).count());
        assert_eq!(table.away, entries().filter(|entry| entry.kind == Kind::Away).count());
        assert_eq!(table.on_credit, entries().filter(|entry| entry.credit.of_all).count());
        for (network, holdings) in &table.networks {
            let of = || entries().filter(|entry| entry.network == *network);
            assert_eq!(holdings.counted, of().filter(|entry| entry.counts()).count());
            let away = of().filter(|entry| entry.kind == Kind::Away).count();
            assert_eq!(holdings.len(Class::Away), away);
            if let Some(max) = table.limits.unconnected_per_address {
                assert!(holdings.unconnected <= max);
            }
        }
        for parts in table.parts.values() {
            assert!(parts.len() <= MAX_PARTS);
        }
        for (id, entry) in &table.entries {
            if let Kind::Part(session) = entry.kind {
                assert!(table.parts[&session].contains(id) && table.entries.contains_key(&session));
            }
        }
    }
}
