//! Arbitrary profiles with arbitrary events: reading does not panic, and written messages are JSON
//! of bounded length.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use parlor::clock::Moment;
use parlor::dialect::json::Arguments;
use parlor::dialect::socketio::choice::{Choice, Profiles};
use parlor::dialect::socketio::interpret::{Interpreted, interpret};
use parlor::dialect::socketio::packet::Revision;
use parlor::dialect::socketio::profile::Profile;
use parlor::dialect::socketio::relay_events::RelayEvents;
use parlor::dialect::socketio::{Numbering, encode};
use parlor::dialect::{Form, Framing};
use parlor::id::{ConnectionId, PeerId, RoomId};
use parlor::room::limits::PairSessionLimits;
use parlor::room::state::{Capacity, Room};
use parlor::room::{
    Command, Event, FoundBy, LeaveReason, Metadata, Peer, RemovalReason, RoomKind, Snapshot,
};

/// Size of a packet apart from its event and profile: the ids and times of three peers.
const SLACK: usize = 4096;

/// Reads a profile as TOML, and after a zero byte some events, one per line.
pub(crate) fn check_input(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (rules, events) = text.split_once('\0').unwrap_or((text, ""));
    check(rules, &events.lines().collect::<Vec<_>>());
}

/// Reads a profile and some events, each a JSON array, and writes the events that a client of the
/// profile receives for them.
pub(crate) fn check(rules: &str, events: &[&str]) {
    let Ok(profile) = Profile::read("any.toml", rules) else { return };
    let profiles = Arc::new(Profiles::new(vec![Arc::new(profile)], RelayEvents::default()));
    let choice =
        |number| Arc::new(Choice::new(Arc::clone(&profiles), ConnectionId::from_u128(number)));
    let (sender, receiver) = (choice(1), Numbering::new("/", Revision::V4, choice(2)));
    for text in events {
        let Some(arguments) = Arguments::read(text) else { continue };
        let Ok(Interpreted::Command(command)) =
            interpret(&sender, &arguments, text, &mut None, &[])
        else {
            continue;
        };
        let bound = (rules.len() + 8) * (text.len() + SLACK);
        for event in events_of(command) {
            check_written(&receiver, &event, bound);
        }
    }
}

fn check_written(receiver: &Numbering, event: &Event, bound: usize) {
    let now = SystemTime::UNIX_EPOCH;
    let frame = match receiver.form(event) {
        Form::Dialect => encode::event(event),
        Form::Variant(_) | Form::Own => receiver.encode(event, &room(), now),
    };
    let packets = frame.map(parlor::dialect::Frame::into_texts).unwrap_or_default();
    for packet in &packets {
        let array = packet.strip_prefix("42").unwrap_or_else(|| panic!("no event: {packet}"));
        let array: serde_json::Result<Vec<&serde_json::value::RawValue>> =
            serde_json::from_str(array);
        assert!(array.is_ok_and(|array| !array.is_empty()), "{packet}");
    }
    let length: usize = packets.iter().map(String::len).sum();
    assert!(length <= bound, "{length} bytes for {event:?}");
}

/// Returns the events of a command in a room.
fn events_of(command: Command) -> Vec<Event> {
    let room = RoomId::new("r").expect("a good id");
    match command {
        Command::Join { metadata, .. } => {
            let peer = peer(1, &metadata);
            let snapshot = Snapshot {
                room: room.clone(),
                created_at: SystemTime::UNIX_EPOCH,
                capacity: 3,
                me: Arc::clone(&peer),
                peers: self::room().peers().cloned().chain([Arc::clone(&peer)]).collect(),
            };
            vec![
                Event::Joined(Arc::new(snapshot)),
                Event::PeerJoined { room: room.clone(), peer: Arc::clone(&peer) },
                Event::PeerAway { room: room.clone(), peer: Arc::clone(&peer) },
                Event::PeerBack { room: room.clone(), peer: Arc::clone(&peer) },
                Event::PeerLeft { room: room.clone(), peer, reason: LeaveReason::Left },
                Event::Removed { room, reason: RemovalReason::Closed },
            ]
        }
        Command::Relay { signal, .. } => {
            let from = peer(1, &Metadata::default());
            vec![Event::SignalRelayed {
                room,
                from,
                found_by: FoundBy::ConnectionId,
                signal: Arc::new(signal),
            }]
        }
        Command::Leave { .. }
        | Command::Inspect { .. }
        | Command::HangUp { .. }
        | Command::Update { .. } => Vec::new(),
    }
}

fn peer(number: u128, metadata: &Metadata) -> Arc<Peer> {
    let (id, connection) =
        (PeerId::new(&number.to_string()).expect("a good id"), ConnectionId::from_u128(number));
    Arc::new(Peer { id, connection, joined_at: SystemTime::UNIX_EPOCH, metadata: metadata.clone() })
}

/// Creates a room with two peers; the second one is the receiver.
fn room() -> Room {
    let capacity = Capacity { peers: 3, is_chosen: false };
    let mut room =
        Room::new(RoomId::new("r").expect("a good id"), SystemTime::UNIX_EPOCH, capacity, false);
    let limits =
        PairSessionLimits { messages: 1, bytes: 1, ttl: std::time::Duration::from_secs(1) };
    let now = Moment { instant: Instant::now(), time: SystemTime::UNIX_EPOCH };
    for number in [3, 2] {
        let metadata = Metadata::new(r#""name":"Ann""#);
        let joined = room.join(
            now,
            ConnectionId::from_u128(number),
            None,
            metadata,
            RoomKind::Group,
            &limits,
        );
        joined.expect("there is room");
    }
    room
}
