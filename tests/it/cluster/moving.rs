//! Session moves: the steps of claims, departures and holds, and their time limits.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parlor::cluster::Incarnation;
use parlor::cluster::frame::{Handover, MovedRoom, RemoteSignal};
use parlor::cluster::moving::{Claim, ClaimStep, Departure, DepartureStep, Hold, MAX_HELD, NodeAt};
use parlor::id::{ConnectionId, RoomId};
use parlor::room::{FoundBy, SignalKind};

use super::{member, membership, record, room};

fn node(node: u64) -> NodeAt {
    NodeAt { engine: 0, node: Incarnation(node) }
}

fn nodes(all: &[u64]) -> BTreeSet<NodeAt> {
    all.iter().map(|number| node(*number)).collect()
}

fn signal(from: u128, to: u128, body: &str) -> RemoteSignal {
    RemoteSignal {
        room: room(),
        from: membership(from, 1),
        to: vec![membership(to, 1)].into(),
        found_by: FoundBy::PeerId,
        kind: SignalKind::Offer,
        name: None,
        origin: "socketio".into(),
        body: body.into(),
        content: 0..0,
        note: 0,
        attachments: Vec::new(),
    }
}

fn handover(rooms: &[&str]) -> Handover {
    let moved = |name: &&str| {
        let mut known = record(3, &[member(7, 1, 1, 1)]);
        known.spec.room = RoomId::new(name).unwrap();
        MovedRoom { from: Incarnation(1), known, away: Vec::new(), transports: Vec::new() }
    };
    let (connection, session) = (ConnectionId::from_u128(7), Bytes::from_static(b"session"));
    Handover { connection, session, rooms: rooms.iter().map(moved).collect(), unsent: Vec::new() }
}

#[test]
fn session_is_handed_over_once_all_nodes_hold() {
    let now = Instant::now();
    let mut departure = Departure::new(now, node(9));
    assert_eq!(
        departure.step(now, Some(&nodes(&[2, 3]))),
        DepartureStep::Ask(vec![node(2), node(3)])
    );
    assert_eq!(
        departure.step(now, Some(&nodes(&[2, 3]))),
        DepartureStep::Ask(vec![]),
        "each is asked once"
    );
    departure.holds(node(2));
    departure.holds(node(4));
    assert_eq!(departure.step(now, Some(&nodes(&[2, 3]))), DepartureStep::Ask(vec![]));
    departure.holds(node(3));
    assert_eq!(departure.step(now, Some(&nodes(&[2, 3]))), DepartureStep::HandOver);
}

#[test]
fn node_that_enters_meanwhile_is_asked_and_one_that_left_is_not_waited_for() {
    let now = Instant::now();
    let mut departure = Departure::new(now, node(9));
    departure.step(now, Some(&nodes(&[2, 3])));
    departure.holds(node(2));
    assert_eq!(departure.step(now, Some(&nodes(&[2, 4]))), DepartureStep::Ask(vec![node(4)]));
    departure.holds(node(4));
    assert_eq!(departure.step(now, Some(&nodes(&[2, 4]))), DepartureStep::HandOver);
}

#[test]
fn session_stays_while_its_rooms_are_being_synced() {
    let now = Instant::now();
    let mut departure = Departure::new(now, node(9));
    assert_eq!(departure.step(now, None), DepartureStep::Ask(vec![]));
    assert_eq!(departure.step(now + Duration::from_millis(1500), None), DepartureStep::GiveUp);
}

#[test]
fn answer_of_a_node_that_was_not_asked_does_not_count() {
    let now = Instant::now();
    let mut departure = Departure::new(now, node(9));
    departure.holds(node(2));
    assert_eq!(departure.step(now, Some(&nodes(&[2]))), DepartureStep::Ask(vec![node(2)]));
}

#[test]
fn session_without_peers_elsewhere_is_handed_over_at_once() {
    let now = Instant::now();
    assert_eq!(Departure::new(now, node(9)).step(now, Some(&nodes(&[]))), DepartureStep::HandOver);
}

#[test]
fn slow_node_ends_the_departure_before_the_claim_is_overdue() {
    let now = Instant::now();
    let (mut departure, claim) = (Departure::new(now, node(9)), Claim::new(now, Bytes::new()));
    departure.step(now, Some(&nodes(&[2])));
    let (soon, late) = (now + Duration::from_millis(1499), now + Duration::from_millis(1500));
    assert_eq!(departure.step(soon, Some(&nodes(&[2]))), DepartureStep::Ask(vec![]));
    assert_eq!(departure.step(late, Some(&nodes(&[2]))), DepartureStep::GiveUp);
    assert!(!claim.is_overdue(late));
    assert!(claim.is_overdue(now + Duration::from_secs(2)));
}

#[test]
fn session_that_is_not_taken_is_removed_until_the_log_says_so() {
    let now = Instant::now();
    let mut departure = Departure::new(now, node(9));
    let rooms = ["a", "b"].map(|name| RoomId::new(name).unwrap());
    departure.hand_over(now, rooms.iter().cloned().collect());
    assert!(departure.is_handed_over());
    assert_eq!(departure.step(now, Some(&nodes(&[]))), DepartureStep::Wait);
    assert_eq!(
        departure.step(now, Some(&nodes(&[3]))),
        DepartureStep::Ask(vec![node(3)]),
        "a node that enters a room now is to hold"
    );
    assert_eq!(departure.step(now, Some(&nodes(&[3]))), DepartureStep::Wait);
    assert!(!departure.settle(&rooms[0]));
    let late = now + Duration::from_secs(2);
    assert_eq!(
        departure.step(late, Some(&nodes(&[]))),
        DepartureStep::Remove(vec![rooms[1].clone()])
    );
    assert_eq!(
        departure.step(late, Some(&nodes(&[]))),
        DepartureStep::Wait,
        "the engine has two seconds to answer"
    );
    assert!(departure.settle(&rooms[1]));
}

#[test]
fn claim_waits_for_the_log_of_every_room() {
    let now = Instant::now();
    let mut claim = Claim::new(now, Bytes::new());
    claim.ask([node(1)]);
    assert!(claim.is_asked(node(1)) && !claim.is_asked(node(2)));
    assert!(!claim.take(&RoomId::new("a").unwrap()), "nothing was handed over");
    let handed_over = now + Duration::from_secs(1);
    claim.hand_over(handed_over, handover(&["a", "b"]));
    assert!(!claim.is_asked(node(1)), "a second handover or a late refusal does not count");
    assert!(!claim.take(&RoomId::new("a").unwrap()));
    assert!(!claim.is_overdue(handed_over + Duration::from_millis(3999)));
    assert!(claim.is_overdue(handed_over + Duration::from_secs(4)));
    assert!(claim.take(&RoomId::new("b").unwrap()));
    assert_eq!(claim.into_handover().unwrap().session, "session");
}

#[test]
fn claim_follows_a_session_that_has_moved_on() {
    let now = Instant::now();
    let mut claim = Claim::new(now, Bytes::new());
    claim.ask([node(1)]);
    let later = now + Duration::from_secs(1);
    assert_eq!(claim.refused(later, node(2), None), ClaimStep::Wait, "it was not asked");
    assert_eq!(claim.refused(later, node(1), Some(node(2))), ClaimStep::Ask(node(2)));
    assert!(!claim.is_asked(node(1)) && claim.is_asked(node(2)));
    assert!(!claim.is_overdue(now + Duration::from_secs(4)), "it begins anew");
    assert_eq!(claim.refused(later, node(2), Some(node(1))), ClaimStep::Ask(node(1)));
    assert_eq!(claim.refused(later, node(1), None), ClaimStep::GiveUp);
}

#[test]
fn claim_does_not_follow_redirects_for_ever() {
    let now = Instant::now();
    let mut claim = Claim::new(now, Bytes::new());
    claim.ask([node(0)]);
    let mut last = 0;
    while let ClaimStep::Ask(next) = claim.refused(now, node(last), Some(node(last + 1))) {
        last = next.node.0;
    }
    assert_eq!(last, 6);
}

#[test]
fn claim_of_all_nodes_waits_for_the_last() {
    let now = Instant::now();
    let mut claim = Claim::new(now, Bytes::new());
    claim.ask([node(1), node(2), node(3)]);
    assert_eq!(claim.refused(now, node(1), None), ClaimStep::Wait);
    assert_eq!(claim.refused(now, node(2), Some(node(3))), ClaimStep::Wait, "it was asked");
    assert_eq!(claim.refused(now, node(3), None), ClaimStep::GiveUp);
}

#[test]
fn hold_keeps_the_order_and_gives_up_signals_of_a_peer_that_moves() {
    let mut hold = Hold::new(Instant::now());
    for (from, body) in [(1, "a"), (2, "b"), (1, "c"), (2, "d")] {
        assert!(hold.push(signal(from, 7, body)));
    }
    let bodies = |signals: Vec<RemoteSignal>| {
        signals.iter().map(|signal| signal.body.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(bodies(hold.take_from(ConnectionId::from_u128(1))), ["a", "c"]);
    assert_eq!(bodies(hold.release()), ["b", "d"]);
}

#[test]
fn hold_is_bounded_in_signals_and_time() {
    let now = Instant::now();
    let mut hold = Hold::new(now);
    assert!((0..MAX_HELD).all(|_| hold.push(signal(1, 7, ""))));
    assert!(!hold.push(signal(1, 7, "")));
    assert!(!hold.is_over(now + Duration::from_millis(3999)));
    assert!(hold.is_over(now + Duration::from_secs(4)));
    hold.is_claim = true;
    assert!(!hold.is_over(now + Duration::from_secs(4)), "it ends with the claim");
}

#[test]
fn hold_is_over_when_the_log_has_spoken_of_all_rooms() {
    let now = Instant::now();
    let rooms = ["a", "b"].map(|name| RoomId::new(name).unwrap());
    let mut hold = Hold::new(now);
    hold.renew(now, rooms.iter().cloned());
    assert!(!hold.settle(&rooms[0]));
    assert!(hold.settle(&rooms[1]));
    hold.is_claim = true;
    assert!(!hold.settle(&rooms[1]));
}
