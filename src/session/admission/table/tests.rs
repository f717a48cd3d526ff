//! Tests of the admission table.

use std::net::Ipv4Addr;

use super::*;

const ANN: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
const BOB: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));

fn limited(total: Option<usize>, per_address: Option<usize>) -> Table {
    Table::new(AdmissionLimits { total, per_address, unconnected_per_address: None })
}

impl Table {
    /// Opens a WebSocket session over its own connection.
    fn websocket(&mut self, network: IpAddr) -> Result<EntryId, AdmissionError> {
        let connection = self.accept(network);
        let opened = self.open(Some(connection), network, Opening::WebSocket);
        self.remove(connection);
        opened
    }

    /// Opens a session and loses its connection.
    fn away(&mut self, network: IpAddr) -> EntryId {
        let session = self.websocket(network).unwrap();
        self.lose(session, usize::MAX);
        session
    }

    /// Adds an HTTP connection between two requests.
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
fn eviction_is_in_the_order_of_classes_and_oldest_first() {
    let mut table = limited(None, Some(4));
    let away = table.away(ANN);
    let polling = table.polling(ANN);
    let (older, newer) = (table.idle(ANN), table.idle(ANN));
    for (nth, evicted) in [vec![older], vec![newer], vec![polling], vec![]].into_iter().enumerate()
    {
        table.websocket(ANN).unwrap();
        assert_eq!(table.take_evicted(), evicted, "the {nth}th WebSocket");
    }
    // The fourth is admitted on credit of the away session, which may still be resumed. That
    // credit is used up then.
    assert!(table.is_open(away));
    assert_eq!(table.websocket(ANN), Err(AdmissionError::TooManyFromAddress { max: 4 }));
    assert_eq!(table.take_evicted(), []);
    assert!(table.websocket(BOB).is_ok());
}

#[test]
fn resuming_session_on_credit_replaces_the_away_one() {
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
    assert!(table.websocket(ANN).is_err(), "the session alone reaches the limit");
    table.remove(session);
    assert!(table.websocket(ANN).is_ok());
}

#[test]
fn total_limit_evicts_from_the_network_with_most_entries() {
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
    // A connection with a pending request is not evicted either.
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
    // They count on their own when it is gone, within the limit.
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
    let mut table = Table::new(AdmissionLimits {
        unconnected_per_address: Some(2),
        ..AdmissionLimits::default()
    });
    let first = table.polling(ANN);
    let connected = table.polling(ANN);
    table.connect(connected);
    let second = table.polling(ANN);
    table.polling(BOB);
    let refused = Err(AdmissionError::TooManyUnconnected { max: 2 });
    assert_eq!(table.open(None, ANN, Opening::Polling), refused);
    assert!(table.websocket(ANN).is_ok(), "the limit is for polling only");
    assert_eq!(table.take_evicted(), []);
    table.connect(second);
    table.polling(ANN);
    assert_eq!(table.open(None, ANN, Opening::Polling), refused);
    table.remove(first);
    table.polling(ANN);
}

#[test]
fn evicted_polling_sessions_are_limited_until_they_are_gone() {
    let limits = AdmissionLimits {
        total: Some(1),
        unconnected_per_address: Some(2),
        ..AdmissionLimits::default()
    };
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
    // A WebSocket is admitted instead of the idle connection.
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
fn refused_handshake_does_not_change_its_connection() {
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
    // While idle, it counts for no client.
    table.websocket(ANN).unwrap();
    table.websocket(BOB).unwrap();
    assert_eq!(table.take_evicted(), []);
    table.begin_request(connection);
    assert!(table.admit(connection, ANN).is_err());
}

#[test]
fn away_limit_evicts_from_the_network_with_most_away_sessions() {
    let mut table = limited(None, None);
    let anns = table.away(ANN);
    let bobs: Vec<EntryId> = (0..3).map(|_| table.away(BOB)).collect();
    let session = table.websocket(ANN).unwrap();
    table.lose(session, 4);
    assert_eq!(table.take_evicted(), [bobs[0]]);
    assert!(table.is_open(anns) && table.is_open(session));
}

#[test]
fn idle_connections_are_evicted_first_for_descriptors() {
    let mut table = limited(None, None);
    let pending = table.accept(ANN);
    let idle = table.idle(BOB);
    table.websocket(ANN).unwrap();
    assert!(table.evict_connection() && table.evict_connection());
    assert_eq!(table.take_evicted(), [idle, pending]);
    assert!(!table.evict_connection());
}

/// Checks that counts are correct and limits hold after any sequence of operations, and that
/// nothing is left at the end.
#[test]
fn counts_agree_with_the_entries_after_any_sequence() {
    let mut seed = 7_u64;
    let mut random = |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(seed >> 33).unwrap() % below
    };
    let networks = [ANN, BOB, PROXIES];
    for round in 0..200 {
        let mut table = Table::new(AdmissionLimits {
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
                10 if table.entries.get(&id).is_some_and(|entry| entry.kind == Kind::Live) => {
                    table.lose(id, 2);
                }
                11 if table
                    .entries
                    .get(&id)
                    .is_some_and(|entry| entry.kind == Kind::Unconnected) =>
                {
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
