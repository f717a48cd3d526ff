//! Properties of arbitrary messages, shared by the fuzz targets and by the test that replays their
//! corpus.
//!
//! Each function takes one input, runs it through a dialect as the server would, and panics if a
//! property does not hold. They parse JSON with serde alone, never with the server's parser:
//!
//! - ids are within their bounds, and are what the client wrote;
//! - relayed messages are JSON on every protocol, and contain the server's sender fields once;
//! - within a dialect, the sender's other keys arrive byte by byte; between dialects, the
//!   description or candidate does;
//! - replies are JSON, in the form of the protocol.

// The fuzz targets include this file by its path, so modules need explicit paths.
#[path = "properties/conversation.rs"]
mod conversation;
#[path = "properties/encoded.rs"]
mod encoded;
#[path = "properties/meaning.rs"]
mod meaning;
#[path = "properties/object.rs"]
mod object;
#[path = "properties/peers.rs"]
mod peers;

use parlor::dialect::Failure;
use parlor::dialect::json::Arguments;
use parlor::dialect::socketio::encode::Asked;
use parlor::dialect::socketio::{EventRequest, encode};
use parlor::id::{MAX_ID_CHARS, PeerId};
use parlor::room::{Command, Metadata, RoomKind, SignalKind, Target};

use self::encoded::{Scene, check_code};
use self::meaning::Sent;
use self::object::{Object, is_json, raw_string};

/// The protocol of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    SocketIo,
    Session,
    Envelope,
    Topic,
}

impl Protocol {
    /// Checks one input of this protocol.
    pub(crate) fn check(self, data: &[u8]) {
        // Text frames are valid UTF-8, which the WebSocket library has checked.
        let Ok(text) = std::str::from_utf8(data) else { return };
        match self {
            Self::SocketIo => socketio(text),
            Self::Session | Self::Envelope | Self::Topic => conversation::check(self, text),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::SocketIo => "socketio",
            Self::Session => "session",
            Self::Envelope => "envelope",
            Self::Topic => "topic",
        }
    }
}

const ROOM_KEYS: [&str; 8] =
    ["roomId", "room", "meetingId", "roomCode", "code", "room_id", "roomName", "roomToken"];
const PEER_KEYS: [&str; 3] = ["userId", "peerId", "participantId"];
const TARGET_KEYS: [&str; 9] = [
    "targetId",
    "target",
    "to",
    "targetUserId",
    "targetSocketId",
    "receiverId",
    "userToSignal",
    "calleeId",
    "peerID",
];

/// Checks one event of a Socket.IO client: the JSON array of its name and its arguments.
fn socketio(text: &str) {
    let Some(arguments) = Arguments::read(text) else { return };
    let Some(request) = EventRequest::read(&arguments) else { return };
    let room = request.room();
    if let Some(room) = &room {
        check_id(room.as_str());
    }
    let command = match request.command() {
        Ok(command) => command,
        Err(error) => {
            let (code, message) = (error.code(), error.to_string());
            let failure = Failure::new(code, &message);
            let event = encode::error("/", &failure, Some(request.event.name()), room.as_ref());
            let event = event.strip_prefix("42").expect("an event");
            check_code(&Object::of_event(event, "error"), "message", code);
            let ack = encode::ack_error(Asked { namespace: "/", id: 7 }, &failure);
            let ack = ack.strip_prefix("437").expect("an acknowledgement");
            check_code(
                &Object::read(object::array(ack)[0].get()).expect("an object"),
                "error",
                code,
            );
            return;
        }
    };
    let mut arguments = object::array(text).into_iter().skip(1).map(|value| value.get().to_owned());
    let first = arguments.next().filter(|value| value != "null");
    let object = first.as_deref().and_then(Object::read);
    let second = arguments.next().filter(|value| value != "null");
    check_ids(&command);
    let named_room = object.as_ref().map_or(first.as_deref(), |object| object.first_of(&ROOM_KEYS));
    match command {
        Command::Join { room, peer, metadata, kind } => {
            assert_eq!(kind, RoomKind::Group);
            assert_eq!(Some(room.as_str()), named_room.map(id_text).as_deref());
            let named =
                object.as_ref().map_or(second.as_deref(), |object| object.first_of(&PEER_KEYS));
            assert_eq!(peer.as_ref().map(PeerId::as_str), named.map(id_text).as_deref());
            check_metadata(object.as_ref(), &metadata);
            peers::check(&metadata);
        }
        Command::Leave { room } => {
            assert_eq!(room.map(|room| room.to_string()), named_room.map(id_text));
        }
        Command::Relay { room, target, signal } => {
            assert_eq!(room.map(|room| room.to_string()), named_room.map(id_text));
            let object = object.expect("a signal is an object");
            let named = object.first_of(&TARGET_KEYS);
            assert_eq!(target.map(|target| target.to_string()), named.map(id_text));
            let sent = Sent::new(Protocol::SocketIo, signal.kind, object, None);
            Scene::new(Protocol::SocketIo).check_signal(&sent, &signal);
        }
        Command::Update { room, .. } => {
            assert_eq!(room.map(|room| room.to_string()), named_room.map(id_text));
        }
        Command::Inspect { .. } | Command::HangUp { .. } => {
            panic!("no event of this protocol means {command:?}")
        }
    }
}

/// Asserts that the metadata of a Socket.IO peer is what it sent, without names and ids.
fn check_metadata(object: Option<&Object>, metadata: &Metadata) {
    let Some(object) = object else { return assert_eq!(metadata.as_str(), "") };
    let room = ROOM_KEYS.into_iter().find(|key| object.has(key));
    let peer = PEER_KEYS.into_iter().find(|key| object.has(key));
    let expected = object
        .less(|key| encoded::PEER_FIELDS.contains(&key) || Some(key) == room || Some(key) == peer);
    assert_eq!(Object::of_members(metadata.as_str()), expected);
}

/// Returns an id in the form of the contract: the text without surrounding white space, or the text
/// of a number.
fn id_text(raw: &str) -> String {
    raw_string(raw).map_or_else(|| raw.to_owned(), |text| text.trim().to_owned())
}

fn check_id(id: &str) {
    assert!((1..=MAX_ID_CHARS).contains(&id.chars().count()), "{id:?}");
    assert_eq!(id, id.trim());
    assert!(!id.chars().any(char::is_control), "{id:?}");
}

/// Checks the bounds of all values of a command.
fn check_ids(command: &Command) {
    let (room, name) = match command {
        Command::Join { room, peer, metadata, .. } => {
            assert!(is_json(&format!("{{{}}}", metadata.as_str())), "{metadata:?}");
            (Some(room), peer.as_ref().map(PeerId::to_string))
        }
        Command::Inspect { room } => (Some(room), None),
        Command::Leave { room } | Command::HangUp { room } => (room.as_ref(), None),
        Command::Update { room, patch } => {
            assert!(is_json(&format!("{{{}}}", patch.text)), "{}", patch.text);
            let once = patch.apply(&Metadata::default());
            assert_eq!(
                patch.apply(&once),
                once,
                "a patch that is applied twice changes nothing more"
            );
            (room.as_ref(), None)
        }
        Command::Relay { room, target, signal } => {
            assert!(Object::read(&signal.body).is_some(), "{}", signal.body);
            let content = signal.body.get(signal.content.clone()).expect("within the body");
            assert!(is_json(content), "{content}");
            (room.as_ref(), target.as_ref().map(Target::to_string))
        }
    };
    if let Some(room) = room {
        check_id(room.as_str());
    }
    if let Some(name) = name {
        check_id(&name);
    }
}

/// Returns the keyword of a signal on all protocols except `/ws`.
fn word(kind: SignalKind, candidate: &'static str) -> &'static str {
    match kind {
        SignalKind::Offer => "offer",
        SignalKind::Answer => "answer",
        SignalKind::Candidate => candidate,
        SignalKind::Message => "message",
    }
}
