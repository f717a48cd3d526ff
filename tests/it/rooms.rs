//! Rules of rooms, as transcripts of commands and events, without runtime or protocol.

mod messages;
mod replica;

use std::time::{Duration, SystemTime};

use parlor::clock::Moment;
use parlor::id::{ConnectionId, PeerId, RoomId};
use parlor::room::limits::PairSessionLimits;
use parlor::room::{
    Applied, Command, Event, FoundBy, JoinBounds, LeaveReason, Metadata, Recipients, RemovalReason,
    RoomError, RoomKind, RoomLimits, Rooms, Signal, SignalKind, Target,
};

/// A node with connections 1, 2, 3 …
struct Node {
    rooms: Rooms,
    now: Moment,
}

fn connection(number: u128) -> ConnectionId {
    ConnectionId::from_u128(number)
}

fn signal(kind: SignalKind) -> Signal {
    Signal {
        kind,
        name: None,
        origin: "test",
        body: "sdp".into(),
        content: 0..3,
        note: 7,
        echo: false,
        attachments: Vec::new(),
    }
}

fn room(id: &str) -> RoomId {
    RoomId::new(id).unwrap()
}

impl Node {
    fn new() -> Self {
        Self::with(RoomLimits::default())
    }

    fn with(limits: RoomLimits) -> Self {
        let rooms = Rooms::new(limits);
        for number in 1..=9 {
            rooms.connect(connection(number));
        }
        Self { rooms, now: Moment { time: SystemTime::UNIX_EPOCH, ..Moment::now() } }
    }

    fn apply(&self, who: u128, command: Command) -> Result<String, RoomError> {
        self.rooms.apply(self.now, connection(who), command).map(|applied| deliveries(&applied))
    }

    fn join(&self, who: u128, id: &str, name: &str) -> Result<String, RoomError> {
        let peer = (!name.is_empty()).then(|| PeerId::new(name).unwrap());
        self.apply(
            who,
            Command::Join {
                room: room(id),
                peer,
                metadata: Metadata::default(),
                kind: RoomKind::Group,
            },
        )
    }

    fn call(&self, who: u128, id: &str, kind: RoomKind) -> Result<String, RoomError> {
        self.apply(
            who,
            Command::Join { room: room(id), peer: None, metadata: Metadata::default(), kind },
        )
    }

    fn hang_up(&self, who: u128, id: &str) -> Result<String, RoomError> {
        self.apply(who, Command::HangUp { room: Some(room(id)) })
    }

    fn leave(&self, who: u128, id: &str) -> Result<String, RoomError> {
        self.apply(who, Command::Leave { room: Some(room(id)) })
    }

    fn offer(&self, who: u128, id: Option<&str>, target: &str) -> Result<String, RoomError> {
        let target = (!target.is_empty()).then(|| Target::new(PeerId::new(target).unwrap()));
        let signal = signal(SignalKind::Offer);
        self.apply(who, Command::Relay { room: id.map(room), target, signal })
    }

    /// Ends a connection, and returns the events of its rooms.
    fn end(&self, who: u128, reason: LeaveReason) -> String {
        let rooms = self.rooms.disconnect(connection(who));
        let left = rooms.iter().filter_map(|id| self.rooms.leave(connection(who), id, reason));
        left.map(|applied| deliveries(&applied)).collect::<Vec<_>>().join(" | ")
    }

    fn counts(&self) -> (usize, usize) {
        let counts = self.rooms.counts();
        (counts.rooms, counts.peers)
    }
}

/// Describes each delivery in one clause: its recipients, then its event.
fn deliveries(applied: &Applied) -> String {
    let clause = |delivery: &parlor::room::Delivery| {
        let to: Vec<String> = delivery
            .to
            .as_slice()
            .iter()
            .map(|id| u128::from_str_radix(&id.to_string(), 16).unwrap().to_string())
            .collect();
        let what = match &delivery.event {
            Event::Joined(snapshot) => {
                let others: Vec<&str> = snapshot.others().map(|peer| peer.id.as_str()).collect();
                format!(
                    "you are {} in {} with [{}]",
                    snapshot.me.id,
                    snapshot.room,
                    others.join(" ")
                )
            }
            Event::PeerJoined { peer, .. } => format!("{} joined", peer.id),
            Event::PeerLeft { peer, reason, .. } => format!("{} {}", peer.id, reason.as_str()),
            Event::HungUp { .. } => "peer hung up".to_owned(),
            Event::PeerAway { peer, .. } => format!("{} away", peer.id),
            Event::PeerBack { peer, .. } => format!("{} back", peer.id),
            Event::PeerUpdated { peer, .. } => format!("{} is {}", peer.id, peer.metadata.as_str()),
            Event::SignalRelayed { from, found_by, signal, .. } => {
                let by = if *found_by == FoundBy::ConnectionId { " by connection" } else { "" };
                let what = signal.name.as_deref().unwrap_or("offer");
                format!("{what} of {}{by}", from.id)
            }
            Event::Removed { reason: RemovalReason::Replaced, .. } => "you are replaced".to_owned(),
            Event::Removed { reason: RemovalReason::Closed, .. } => "the room is closed".to_owned(),
            Event::Removed { reason: RemovalReason::HungUp, .. } => "the call is over".to_owned(),
            Event::Removed { reason: RemovalReason::Kicked, .. } => "you are kicked".to_owned(),
        };
        format!("{}: {what}", to.join(" "))
    };
    applied.deliveries.iter().map(clause).collect::<Vec<_>>().join("; ")
}

#[expect(clippy::unnecessary_wraps, reason = "reads as what it is compared with")]
fn ok(text: &str) -> Result<String, RoomError> {
    Ok(text.to_owned())
}

#[test]
fn call_follows_its_transcript() {
    let node = Node::new();
    assert_eq!(node.join(1, "r", "ann"), ok("1: you are ann in r with []; : ann joined"));
    assert_eq!(node.join(2, "r", "bob"), ok("2: you are bob in r with [ann]; 1: bob joined"));
    assert_eq!(node.join(3, "r", "cid"), ok("3: you are cid in r with [ann bob]; 1 2: cid joined"));
    assert_eq!(node.offer(3, Some("r"), "ann"), ok("1: offer of cid"));
    assert_eq!(node.offer(1, None, "bob"), ok("2: offer of ann"));
    assert_eq!(node.offer(2, None, ""), ok("1 3: offer of bob"));
    assert_eq!(node.leave(2, "r"), ok("1 3: bob left"));
    assert_eq!(node.end(1, LeaveReason::Disconnected), "3: ann disconnected");
    assert_eq!(node.end(3, LeaveReason::TimedOut), ": cid timeout");
    assert_eq!(node.counts(), (0, 0));
}

#[test]
fn repeated_join_notifies_only_its_sender() {
    let node = Node::new();
    node.join(1, "r", "ann").unwrap();
    node.join(2, "r", "bob").unwrap();
    assert_eq!(node.join(1, "r", "ann"), ok("1: you are ann in r with [bob]"));
    // Also with another name: the other peers get no event.
    assert_eq!(node.join(1, "r", "eve"), ok("1: you are ann in r with [bob]"));
    assert_eq!(node.counts(), (1, 2));
}

#[test]
fn newer_connection_replaces_the_older() {
    let node = Node::new();
    node.join(1, "r", "ann").unwrap();
    node.join(2, "r", "bob").unwrap();
    assert_eq!(
        node.join(3, "r", "ann"),
        ok("1: you are replaced; 2: ann replaced; 3: you are ann in r with [bob]; 2: ann joined")
    );
    assert_eq!(node.offer(1, Some("r"), "bob"), Err(RoomError::NotInRoom));
    assert_eq!(node.offer(1, None, "bob"), Err(RoomError::NotInAnyRoom));
    assert_eq!(node.offer(2, None, "ann"), ok("3: offer of bob"));
    assert_eq!(
        node.end(1, LeaveReason::Disconnected),
        "",
        "the end of a replaced connection has no events"
    );
    assert_eq!(node.counts(), (1, 2));
}

#[test]
fn full_room_admits_only_its_members() {
    let node = Node::with(RoomLimits { room_size: 2, ..RoomLimits::default() });
    node.join(1, "r", "ann").unwrap();
    node.join(2, "r", "bob").unwrap();
    assert_eq!(node.join(3, "r", "cid"), Err(RoomError::RoomFull { capacity: 2 }));
    assert_eq!(node.join(2, "r", "bob"), ok("2: you are bob in r with [ann]"));
    assert!(node.join(3, "r", "bob").is_ok(), "a replacing peer needs no capacity");
    assert_eq!(node.end(2, LeaveReason::Disconnected), "");
    node.leave(1, "r").unwrap();
    assert!(node.join(4, "r", "cid").is_ok());
    assert_eq!(node.offer(9, Some("r"), "cid"), Err(RoomError::NotInRoom));
}

#[test]
fn default_peer_id_is_the_connection_id() {
    let node = Node::new();
    node.join(1, "r", "").unwrap();
    node.join(2, "r", "bob").unwrap();
    let (one, two) = (connection(1).to_string(), connection(2).to_string());
    assert_eq!(node.offer(2, None, &one), ok("1: offer of bob by connection"));
    assert_eq!(node.offer(1, None, &two), ok(&format!("2: offer of {one} by connection")));
    assert_eq!(node.offer(1, None, "missing"), Err(RoomError::TargetNotFound));
}

#[test]
fn target_is_looked_up_in_the_room_of_the_sender_only() {
    let node = Node::new();
    node.join(1, "r", "ann").unwrap();
    node.join(2, "s", "bob").unwrap();
    assert_eq!(node.offer(1, Some("r"), "bob"), Err(RoomError::TargetNotFound));
    assert_eq!(
        node.offer(1, Some("r"), &connection(2).to_string()),
        Err(RoomError::TargetNotFound)
    );
    assert_eq!(node.offer(1, Some("s"), "bob"), Err(RoomError::NotInRoom));
    assert_eq!(node.offer(1, Some("nowhere"), "bob"), Err(RoomError::NotInRoom));
    assert_eq!(node.counts(), (2, 2), "a signal creates no room");
}

#[test]
fn in_several_rooms_a_signal_must_name_one() {
    let node = Node::new();
    assert_eq!(node.offer(1, None, "bob"), Err(RoomError::NotInAnyRoom));
    node.join(1, "r", "ann").unwrap();
    node.join(1, "s", "ann").unwrap();
    node.join(2, "s", "bob").unwrap();
    assert_eq!(node.offer(1, None, "bob"), Err(RoomError::AmbiguousRoom));
    assert_eq!(node.offer(1, Some("s"), "bob"), ok("2: offer of ann"));
    assert_eq!(node.rooms.of(connection(1)), [room("r"), room("s")]);
    assert_eq!(node.end(1, LeaveReason::Disconnected), ": ann disconnected | 2: ann disconnected");
}

#[test]
fn rooms_per_connection_are_limited() {
    let node = Node::with(RoomLimits { rooms_per_connection: 2, ..RoomLimits::default() });
    node.join(1, "r", "ann").unwrap();
    node.join(1, "s", "ann").unwrap();
    assert_eq!(node.join(1, "t", "ann"), Err(RoomError::TooManyRoomsPerConnection { max: 2 }));
    assert!(node.join(1, "s", "ann").is_ok(), "a room that the connection is in counts once");
    assert_eq!(node.counts(), (2, 2), "a refused join leaves no empty room");
    node.leave(1, "r").unwrap();
    assert!(node.join(1, "t", "ann").is_ok());
}

#[test]
fn rooms_per_node_are_limited() {
    let node = Node::with(RoomLimits { rooms: Some(1), ..RoomLimits::default() });
    node.join(1, "r", "ann").unwrap();
    assert_eq!(node.join(2, "s", "bob"), Err(RoomError::TooManyRooms { max: 1 }));
    assert_eq!(node.rooms.create(node.now, None, None), Err(RoomError::TooManyRooms { max: 1 }));
    assert!(node.join(2, "r", "bob").is_ok());
    node.leave(1, "r").unwrap();
    node.leave(2, "r").unwrap();
    assert!(node.join(2, "s", "bob").is_ok());
}

#[test]
fn empty_room_is_removed_and_joining_creates_it_again() {
    let mut node = Node::new();
    node.join(1, "r", "ann").unwrap();
    assert_eq!(node.rooms.summary(&room("r")).unwrap().created_at, SystemTime::UNIX_EPOCH);
    node.leave(1, "r").unwrap();
    assert_eq!(node.rooms.summary(&room("r")), None);
    node.now += Duration::from_secs(5);
    node.join(1, "r", "ann").unwrap();
    assert_eq!(node.rooms.summary(&room("r")).unwrap().created_at, node.now.time);
    assert_eq!(node.leave(1, "s"), Err(RoomError::NotInRoom));
    assert_eq!(node.leave(2, "r"), Err(RoomError::NotInRoom));
}

#[test]
fn rooms_must_be_created_if_joining_does_not() {
    let node = Node::with(RoomLimits { auto_create: false, ..RoomLimits::default() });
    assert_eq!(node.join(1, "r", "ann"), Err(RoomError::RoomNotFound));
    node.rooms.create(node.now, Some(room("r")), Some(1)).unwrap();
    assert_eq!(node.rooms.create(node.now, Some(room("r")), None), Err(RoomError::RoomExists));
    node.join(1, "r", "ann").unwrap();
    assert_eq!(node.join(2, "r", "bob"), Err(RoomError::RoomFull { capacity: 1 }));
    node.leave(1, "r").unwrap();
    assert_eq!(
        node.join(1, "r", "ann"),
        Err(RoomError::RoomNotFound),
        "an empty room is removed after its first peer"
    );
}

#[test]
fn unused_room_expires() {
    let node = Node::with(RoomLimits {
        empty_room_ttl: Duration::from_mins(5),
        rooms_per_connection: 1,
        ..RoomLimits::default()
    });
    node.rooms.create(node.now, Some(room("r")), None).unwrap();
    node.rooms.create(node.now, Some(room("s")), None).unwrap();
    node.join(1, "s", "ann").unwrap();
    assert!(node.join(1, "r", "ann").is_err(), "a refused join");
    assert_eq!(
        node.rooms.expire((node.now + Duration::from_secs(299)).instant),
        0,
        "does not end the wait for the first peer"
    );
    assert_eq!(node.rooms.expire((node.now + Duration::from_mins(5)).instant), 1);
    assert_eq!(node.counts(), (1, 1));
}

#[test]
fn closed_room_notifies_its_peers_and_is_removed() {
    let node = Node::new();
    node.join(1, "r", "ann").unwrap();
    node.join(2, "r", "bob").unwrap();
    node.join(2, "s", "bob").unwrap();
    let applied = node.rooms.close(&room("r")).unwrap();
    assert_eq!(deliveries(&applied), "1 2: the room is closed; : ann closed; : bob closed");
    drop(applied);
    assert!(node.rooms.close(&room("r")).is_none());
    assert_eq!(node.counts(), (1, 1));
    assert_eq!(node.rooms.of(connection(2)), [room("s")]);
    assert_eq!(node.offer(1, None, "bob"), Err(RoomError::NotInAnyRoom));
}

#[test]
fn ended_session_cannot_join() {
    let node = Node::new();
    node.end(1, LeaveReason::Disconnected);
    assert_eq!(node.join(1, "r", "ann"), Err(RoomError::ConnectionEnded));
    assert_eq!(node.counts(), (0, 0));
}

#[test]
fn peer_metadata_is_limited() {
    let node = Node::with(RoomLimits { metadata_bytes: 10, ..RoomLimits::default() });
    let join = |text: &str| Command::Join {
        room: room("r"),
        peer: None,
        metadata: Metadata::new(text),
        kind: RoomKind::Group,
    };
    assert_eq!(node.apply(1, join("01234567890")), Err(RoomError::MetadataTooLarge { max: 10 }));
    assert!(node.apply(1, join("0123456789")).is_ok());
}

#[test]
fn rooms_are_listed_newest_first_a_page_at_a_time() {
    let node = Node::new();
    for id in ["a", "b", "c", "d"] {
        node.rooms.create(node.now, Some(room(id)), None).unwrap();
    }
    let page = |after: Option<&str>, limit| {
        let cursor = match after {
            Some(after) => Some(node.rooms.cursor(&room(after))?),
            None => None,
        };
        Some(
            node.rooms
                .page(cursor, limit)
                .rooms
                .iter()
                .map(|room| room.id.to_string())
                .collect::<String>(),
        )
    };
    assert_eq!(page(None, 3).as_deref(), Some("dcb"));
    assert_eq!(page(Some("b"), 3).as_deref(), Some("a"));
    assert_eq!(page(Some("a"), 3).as_deref(), Some(""));
    assert_eq!(page(Some("nowhere"), 3), None);
}

#[test]
fn cursor_of_a_page_outlives_its_room() {
    let node = Node::new();
    for id in ["a", "b", "c"] {
        node.rooms.create(node.now, Some(room(id)), None).unwrap();
    }
    let first = node.rooms.page(None, 2);
    assert_eq!(first.rooms.last().unwrap().id, room("b"));
    drop(node.rooms.close(&room("b")));
    let second = node.rooms.page(first.next, 2);
    assert_eq!(second.rooms.iter().map(|room| room.id.as_str()).collect::<Vec<_>>(), ["a"]);
    assert_eq!(second.next, None);
}

#[test]
fn signal_has_one_recipient_without_a_list() {
    let node = Node::new();
    node.join(1, "r", "ann").unwrap();
    node.join(2, "r", "bob").unwrap();
    let signal = signal(SignalKind::Answer);
    let target = Some(Target::new(PeerId::new("bob").unwrap()));
    let command = Command::Relay { room: None, target, signal: signal.clone() };
    let applied = node.rooms.apply(node.now, connection(1), command).unwrap();
    assert_eq!(applied.deliveries[0].to, Recipients::One(connection(2)));
    let Event::SignalRelayed { signal: relayed, .. } = &applied.deliveries[0].event else {
        panic!()
    };
    assert_eq!(**relayed, signal, "untouched");
}

/// Returns the name of a connection; a generated one is shortened.
fn short(received: Result<String, RoomError>) -> Result<String, RoomError> {
    received.map(|received| {
        (1..=9).fold(received, |received, number| {
            received.replace(&connection(number).to_string(), &format!("#{number}"))
        })
    })
}

#[test]
fn pair_session_queues_signals_for_the_other_peer() {
    let node = Node::new();
    assert_eq!(
        short(node.call(1, "s", RoomKind::Pair)),
        ok("1: you are #1 in s with []; : #1 joined")
    );
    assert_eq!(node.offer(1, Some("s"), ""), ok(""), "no recipient yet");
    assert_eq!(node.offer(1, Some("s"), ""), ok(""));
    assert_eq!(
        short(node.call(2, "s", RoomKind::Pair)),
        ok("2: you are #2 in s with [#1]; 1: #2 joined; 2: offer of #1; 2: offer of #1")
    );
    assert_eq!(node.end(2, LeaveReason::Disconnected).split(':').next(), Some("1"));
    assert_eq!(node.offer(1, Some("s"), ""), ok(""), "a second peer has joined");
    assert_eq!(
        short(node.join(3, "s", "bob")),
        ok("3: you are bob in s with [#1]; 1: bob joined; 3: offer of #1")
    );
    assert_eq!(node.leave(3, "s"), ok("1: bob left"));
    assert_eq!(
        node.join(3, "s", "bob").map(|received| received.contains("offer")),
        Ok(false),
        "a delivered signal is not queued any more"
    );
}

#[test]
fn pair_session_takes_two_peers_of_any_protocol() {
    let node = Node::new();
    node.call(1, "s", RoomKind::Pair).unwrap();
    node.join(2, "s", "bob").unwrap();
    assert_eq!(node.call(3, "s", RoomKind::Pair), Err(RoomError::RoomFull { capacity: 2 }));
    assert_eq!(node.join(3, "s", "cid"), Err(RoomError::RoomFull { capacity: 2 }));
    node.join(4, "g", "dan").unwrap();
    node.join(5, "g", "eve").unwrap();
    assert_eq!(node.call(6, "g", RoomKind::Pair), Err(RoomError::RoomFull { capacity: 2 }));
    assert!(node.join(6, "g", "fay").is_ok(), "a refused join changes nothing");
}

#[test]
fn hanging_up_ends_a_session_for_both() {
    let node = Node::new();
    node.call(1, "s", RoomKind::Pair).unwrap();
    node.call(2, "s", RoomKind::Pair).unwrap();
    assert_eq!(short(node.hang_up(1, "s")), ok("2: #1 left; 1 2: the call is over; : #2 left"));
    assert_eq!(node.counts(), (0, 0));
    assert_eq!(node.offer(2, Some("s"), ""), Err(RoomError::SessionEnded));
    assert_eq!(node.hang_up(2, "s"), Err(RoomError::SessionEnded));
    assert_eq!(node.offer(2, Some("never"), ""), Err(RoomError::NotInRoom));
    assert_eq!(node.call(3, "s", RoomKind::PairUnlessEnded), Err(RoomError::SessionEnded));
    assert!(node.call(3, "s", RoomKind::Pair).is_ok(), "a join creates a new session");
    assert!(node.call(4, "s", RoomKind::PairUnlessEnded).is_ok());
}

#[test]
fn pair_session_ends_with_its_last_peer_and_drops_its_queue() {
    let node = Node::new();
    node.call(1, "s", RoomKind::Pair).unwrap();
    node.offer(1, Some("s"), "").unwrap();
    node.leave(1, "s").unwrap();
    assert_eq!(node.offer(1, Some("s"), ""), Err(RoomError::SessionEnded));
    let received = node.call(2, "s", RoomKind::Pair).unwrap();
    assert!(!received.contains("offer"), "{received}");
}

#[test]
fn hanging_up_in_a_group_is_leaving_it() {
    let node = Node::new();
    node.join(1, "g", "ann").unwrap();
    node.join(2, "g", "bob").unwrap();
    assert_eq!(node.hang_up(1, "g"), ok("2: peer hung up; 2: ann left"));
    assert_eq!(node.hang_up(1, "g"), Err(RoomError::NotInRoom));
    assert_eq!(node.counts(), (1, 1));
}

#[test]
fn queued_signals_are_limited_in_count_bytes_and_age() {
    let session = PairSessionLimits { messages: 2, bytes: 7, ttl: Duration::from_mins(2) };
    let mut node = Node::with(RoomLimits { session, ..RoomLimits::default() });
    node.call(1, "s", RoomKind::Pair).unwrap();
    assert_eq!(node.offer(1, None, ""), ok(""));
    assert_eq!(node.offer(1, None, ""), ok(""));
    assert_eq!(node.offer(1, None, ""), Err(RoomError::SessionQueueFull));
    node.now += Duration::from_secs(121);
    assert_eq!(node.offer(1, None, ""), ok(""), "old signals have expired");
    let received = node.call(2, "s", RoomKind::Pair).unwrap();
    assert_eq!(received.matches("offer").count(), 1, "{received}");
}

#[test]
fn peer_gets_the_list_of_its_own_room_only() {
    let node = Node::new();
    node.join(1, "r", "ann").unwrap();
    let inspect = |who| node.apply(who, Command::Inspect { room: room("r") });
    assert_eq!(inspect(1), ok(""));
    assert_eq!(inspect(2), Err(RoomError::NotInRoom));
}

#[test]
fn group_holds_two_only_while_a_signal_peer_is_in_it() {
    let node = Node::new();
    node.join(1, "g", "ann").unwrap();
    node.call(2, "g", RoomKind::Pair).unwrap();
    assert_eq!(node.join(3, "g", "bob"), Err(RoomError::RoomFull { capacity: 2 }));
    assert_eq!(
        short(node.hang_up(2, "g")),
        ok("1: peer hung up; 1: #2 left"),
        "does not end the session of the other peer"
    );
    assert_eq!(node.rooms.summary(&room("g")).unwrap().capacity, RoomLimits::default().room_size);
    node.join(3, "g", "bob").unwrap();
    node.join(4, "g", "cid").unwrap();
    assert_eq!(node.counts(), (1, 3));
}

#[test]
fn group_with_a_signal_peer_does_not_end_as_a_pair_session() {
    let node = Node::new();
    node.join(1, "g", "ann").unwrap();
    node.call(2, "g", RoomKind::Pair).unwrap();
    node.leave(1, "g").unwrap();
    assert_eq!(node.offer(2, None, ""), ok(""), "queued while there is no other peer");
    assert!(node.join(3, "g", "bob").unwrap().contains("3: offer of"));
    node.leave(3, "g").unwrap();
    node.hang_up(2, "g").unwrap();
    assert_eq!(node.offer(2, Some("g"), ""), Err(RoomError::NotInRoom));
    assert!(node.call(3, "g", RoomKind::PairUnlessEnded).is_ok());
}

#[test]
fn room_with_its_own_capacity_takes_no_signal_peer() {
    let node = Node::new();
    node.rooms.create(node.now, Some(room("made")), Some(10)).unwrap();
    assert_eq!(node.call(1, "made", RoomKind::Pair), Err(RoomError::NotForPairs));
    let join = Command::Join {
        room: room("sized"),
        peer: None,
        metadata: Metadata::default(),
        kind: RoomKind::Group,
    };
    drop(
        node.rooms
            .apply_bounded(
                node.now,
                connection(1),
                join,
                JoinBounds { size: Some(4), other_rooms: 0 },
            )
            .unwrap(),
    );
    assert_eq!(node.call(2, "sized", RoomKind::PairUnlessEnded), Err(RoomError::NotForPairs));
    assert_eq!(RoomError::NotForPairs.code(), parlor::room::Code::Forbidden);
    assert_eq!(node.rooms.summary(&room("made")).unwrap().capacity, 10);
}

#[test]
fn refused_first_join_ends_no_pair_session() {
    let node = Node::with(RoomLimits { rooms_per_connection: 1, ..RoomLimits::default() });
    node.join(1, "g", "ann").unwrap();
    node.call(1, "s", RoomKind::Pair).unwrap_err();
    assert!(node.call(2, "s", RoomKind::PairUnlessEnded).is_ok());
}

#[test]
fn connection_id_of_another_is_refused_as_a_peer_id() {
    let node = Node::new();
    let id = |number| connection(number).to_string();
    node.join(1, "r", "bob").unwrap();
    assert_eq!(
        node.join(2, "r", &id(1)),
        Err(RoomError::ForeignConnectionId),
        "of a peer in the room"
    );
    assert_eq!(
        node.join(2, "r", &id(9)),
        Err(RoomError::ForeignConnectionId),
        "of a connection in no room"
    );
    assert_eq!(RoomError::ForeignConnectionId.code(), parlor::room::Code::Forbidden);
    node.join(2, "r", &id(2)).unwrap();
    node.join(3, "r", &id(77)).unwrap();
    let _ = node.end(1, LeaveReason::Disconnected);
    node.join(4, "r", &id(1)).unwrap();
}

#[test]
fn target_is_looked_up_as_connection_before_peer() {
    let node = Node::new();
    // A peer may have the id of a later connection; then the id denotes the connection.
    node.rooms.disconnect(connection(2));
    node.join(3, "r", &connection(2).to_string()).unwrap();
    node.rooms.connect(connection(2));
    node.join(1, "r", "ann").unwrap();
    assert!(
        node.offer(1, None, &connection(2).to_string()).unwrap().starts_with("3: offer of ann")
    );
    node.join(2, "r", "bob").unwrap();
    assert_eq!(
        node.offer(1, None, &connection(2).to_string()),
        ok("2: offer of ann by connection")
    );
    let only = |text: &str| {
        let target = Some(Target::connection(PeerId::new(text).unwrap()));
        node.apply(1, Command::Relay { room: None, target, signal: signal(SignalKind::Offer) })
    };
    assert_eq!(only(&connection(2).to_string()), ok("2: offer of ann by connection"));
    assert_eq!(only("bob"), Err(RoomError::TargetNotFound), "a peer id is not a connection id");
}

#[test]
fn queued_signals_are_released_by_the_sweep() {
    let ttl = Duration::from_mins(2);
    let mut node = Node::with(RoomLimits {
        session: PairSessionLimits { ttl, ..PairSessionLimits::default() },
        ..RoomLimits::default()
    });
    node.call(1, "s", RoomKind::Pair).unwrap();
    let queue = |node: &Node| node.offer(1, None, "");
    queue(&node).unwrap();
    node.now += ttl / 2;
    queue(&node).unwrap();
    let bytes = |node: &Node| node.rooms.queued_bytes(&room("s"));
    assert_eq!(bytes(&node), Some(6));
    node.rooms.expire((node.now + ttl / 2).instant);
    assert_eq!(bytes(&node), Some(6), "not before it expires");
    node.rooms.expire((node.now + ttl / 2 + Duration::from_millis(1)).instant);
    assert_eq!(bytes(&node), Some(3), "each when it expires, while the sender stays");
    node.rooms.expire((node.now + ttl + Duration::from_millis(1)).instant);
    assert_eq!(bytes(&node), Some(0));
    node.now += 2 * ttl;
    queue(&node).unwrap();
    node.rooms.expire((node.now + ttl + Duration::from_millis(1)).instant);
    assert_eq!(bytes(&node), Some(0), "again, each time the queue is full");
}

#[test]
fn changes_of_the_system_clock_affect_no_expiry() {
    let ttl = RoomLimits::default().session.ttl;
    let mut node = Node::new();
    node.call(1, "s", RoomKind::Pair).unwrap();
    node.offer(1, None, "").unwrap();
    node.rooms.create(node.now, Some(room("r")), None).unwrap();
    node.now.time += Duration::from_hours(1);
    node.rooms.expire(node.now.instant);
    assert_eq!(node.counts(), (2, 1), "the room still exists");
    assert!(
        node.call(2, "s", RoomKind::Pair).unwrap().contains("offer"),
        "the signal is still queued"
    );
    node.leave(2, "s").unwrap();
    node.offer(1, None, "").unwrap();
    node.now.time -= Duration::from_hours(2);
    node.now.instant += ttl + RoomLimits::default().empty_room_ttl;
    assert_eq!(node.rooms.expire(node.now.instant), 1);
    assert!(!node.call(2, "s", RoomKind::Pair).unwrap().contains("offer"));
}
