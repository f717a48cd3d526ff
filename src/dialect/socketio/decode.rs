//! Decodes the events of `standard`, and those of profile rules that give no shape.

use std::borrow::Cow;

use super::NAME;
use super::sender::{Note, SenderFields};
use crate::dialect::json::{self, Argument, Arguments, Members};
use crate::dialect::{DecodeError, merge_patch};
use crate::id::{PeerId, RoomId};
use crate::json::JsonText;
use crate::room::{Command, Metadata, RoomKind, Signal, SignalKind, Target};

/// An event that is a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientEvent {
    /// `join-room`
    JoinRoom,
    /// `leave-room`
    LeaveRoom,
    /// `update-user`
    UpdateUser,
    /// `offer`, `answer` or `ice-candidate`
    Signal(SignalKind),
}

impl ClientEvent {
    pub(super) fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "join-room" => Self::JoinRoom,
            "leave-room" => Self::LeaveRoom,
            "update-user" => Self::UpdateUser,
            "offer" => Self::Signal(SignalKind::Offer),
            "answer" => Self::Signal(SignalKind::Answer),
            "ice-candidate" => Self::Signal(SignalKind::Candidate),
            _ => return None,
        })
    }

    /// Returns the name of the event.
    pub fn name(self) -> &'static str {
        match self {
            Self::JoinRoom => "join-room",
            Self::LeaveRoom => "leave-room",
            Self::UpdateUser => "update-user",
            Self::Signal(kind) => signal_name(kind),
        }
    }
}

/// Returns the event that carries a signal, the same in both directions. An application message has
/// a name of its own.
pub(super) fn signal_name(kind: SignalKind) -> &'static str {
    match kind {
        SignalKind::Offer => "offer",
        SignalKind::Answer => "answer",
        SignalKind::Candidate => "ice-candidate",
        SignalKind::Message => "message",
    }
}

/// Keys of the room; the first that is present counts.
pub(super) const ROOM_KEYS: [&str; 8] =
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
/// The fields of a peer that the server writes; a client cannot set them.
pub(super) const PEER_FIELDS: [&str; 6] =
    ["id", "userId", "socketId", "roomId", "joinedAt", "reason"];

/// Returns the keys that frontends use for the body of a signal. The first is the documented one;
/// the body is relayed under the key that the sender used.
fn body_keys(kind: SignalKind) -> &'static [&'static str] {
    match kind {
        SignalKind::Offer => {
            &["offer", "sdp", "description", "signal", "sessionDescription", "ans"]
        }
        SignalKind::Answer => {
            &["answer", "sdp", "description", "signal", "sessionDescription", "ans"]
        }
        SignalKind::Candidate => &["candidate", "iceCandidate", "ice", "signal"],
        SignalKind::Message => &[],
    }
}

/// Returns the token in the payload of a CONNECT packet, a JSON object.
pub fn token(auth: &str) -> Option<String> {
    let members = Members::parse(auth)?;
    json::string(members.get("token")?).map(Cow::into_owned).filter(|token| !token.is_empty())
}

/// The name of the event that carries a newer token.
pub const RENEWAL: &str = "auth";

/// Reads the token of the event `auth`.
pub(super) fn renewal(arguments: &Arguments<'_>) -> Result<String, DecodeError> {
    let first = arguments.first.as_ref().ok_or(DecodeError::Missing("token"))?;
    let token = json::string(object(first)?.get("token").ok_or(DecodeError::Missing("token"))?);
    token
        .map(Cow::into_owned)
        .ok_or(DecodeError::WrongType { field: "token", expected: "a string" })
}

/// A client's event that is a command; its arguments are not checked yet.
#[derive(Debug)]
pub struct EventRequest<'a> {
    /// The kind of event.
    pub event: ClientEvent,
    first: Option<&'a Argument<'a>>,
    second: Option<JsonText<'a>>,
}

impl<'a> EventRequest<'a> {
    /// Reads a standard event; `None` for any other event.
    pub fn read(arguments: &'a Arguments<'a>) -> Option<Self> {
        ClientEvent::from_name(&arguments.name).map(|event| Self::new(event, arguments))
    }

    /// Reads an event as a command of this kind, regardless of its name.
    pub fn new(event: ClientEvent, arguments: &'a Arguments<'a>) -> Self {
        // JavaScript clients send null for an undefined argument.
        let is_given =
            |first: &&Argument<'_>| !matches!(first, Argument::Other(value) if value.is_null());
        let first = arguments.first.as_ref().filter(is_given);
        Self { event, first, second: arguments.second.filter(|value| !value.is_null()) }
    }

    /// Returns the room that the request names, if its id is valid, for error messages.
    pub fn room(&self) -> Option<RoomId> {
        named_room(self.first?)
    }

    /// Returns the key under which the request names its room, if its first argument is an object.
    pub(super) fn room_key(&self) -> Option<&'static str> {
        match self.first? {
            Argument::Object(members) => members.first_of(&ROOM_KEYS).map(|(key, _)| key),
            Argument::Other(_) => None,
        }
    }

    /// Checks the arguments.
    pub fn command(&self) -> Result<Command, DecodeError> {
        match self.event {
            ClientEvent::JoinRoom => self.join(),
            ClientEvent::LeaveRoom => self.leave(),
            ClientEvent::UpdateUser => self.update(),
            ClientEvent::Signal(kind) => self.relay(kind),
        }
    }

    fn join(&self) -> Result<Command, DecodeError> {
        let members = match self.first.ok_or(DecodeError::Missing("roomId"))? {
            Argument::Object(members) => members,
            Argument::Other(room) => {
                let room = room_id(*room)?;
                let peer =
                    self.second.map(|value| json::id("userId", value, PeerId::new)).transpose()?;
                return Ok(Command::Join {
                    room,
                    peer,
                    metadata: Metadata::default(),
                    kind: RoomKind::Group,
                });
            }
        };
        let (room_key, room) =
            members.first_of(&ROOM_KEYS).ok_or(DecodeError::Missing("roomId"))?;
        let room = room_id(room)?;
        let peer = members.first_of(&PEER_KEYS);
        let peer_key = peer.map(|(key, _)| key);
        let peer = peer.map(|(_, value)| json::id("userId", value, PeerId::new)).transpose()?;
        let metadata = members.text_without(|key| {
            PEER_FIELDS.contains(&key) || key == room_key || Some(key) == peer_key
        });
        Ok(Command::Join { room, peer, metadata: Metadata::new(&metadata), kind: RoomKind::Group })
    }

    fn leave(&self) -> Result<Command, DecodeError> {
        let room = match self.first {
            None => None,
            Some(Argument::Object(members)) => room_of(members)?,
            Some(Argument::Other(room)) => Some(room_id(*room)?),
        };
        Ok(Command::Leave { room })
    }

    fn update(&self) -> Result<Command, DecodeError> {
        let members = object(self.first.ok_or(DecodeError::Missing("metadata"))?)?;
        let room = room_of(members)?;
        let metadata = members.get("metadata").ok_or(DecodeError::Missing("metadata"))?;
        Ok(Command::Update { room, patch: merge_patch::read("metadata", metadata)? })
    }

    fn relay(&self, kind: SignalKind) -> Result<Command, DecodeError> {
        let keys = body_keys(kind);
        let members = object(self.first.ok_or(DecodeError::Missing(keys[0]))?)?;
        let room = room_of(members)?;
        let target = target_of(members, &TARGET_KEYS)?;
        let (key, value) = members.first_of(keys).ok_or(DecodeError::Missing(keys[0]))?;
        let fields = SenderFields::of(kind, members.keys());
        let (body, mut content) = members.object_without(|key| fields.contains(key), key);
        // The fields of a candidate are members of the object itself.
        let is_flat = key == "candidate" && (members.has("sdpMid") || members.has("sdpMLineIndex"));
        if kind == SignalKind::Candidate && value.is_string() && is_flat {
            content = 0..body.len();
        }
        let note = Note { fields, ..Note::default() }.pack();
        let signal = Signal { note, ..Signal::new(kind, NAME, body, content) };
        Ok(Command::Relay { room, target, signal })
    }
}

/// Returns the target that an object names, by the first of some keys that is present.
pub(super) fn target_of(
    members: &Members<'_>,
    keys: &[&'static str],
) -> Result<Option<Target>, DecodeError> {
    let named = members.first_of(keys).map(|(key, value)| {
        let new = if key == "targetSocketId" { Target::connection } else { Target::new };
        json::id(key, value, PeerId::new).map(new)
    });
    named.transpose()
}

/// Returns the room that an event names, if its id is valid, for error messages.
pub(super) fn named_room(first: &Argument<'_>) -> Option<RoomId> {
    let value = match first {
        Argument::Object(members) => members.first_of(&ROOM_KEYS)?.1,
        Argument::Other(value) => *value,
    };
    room_id(value).ok()
}

fn object<'a, 'b>(argument: &'b Argument<'a>) -> Result<&'b Members<'a>, DecodeError> {
    match argument {
        Argument::Object(members) => Ok(members),
        Argument::Other(_) => {
            Err(DecodeError::WrongType { field: "the first argument", expected: "an object" })
        }
    }
}

fn room_of(members: &Members<'_>) -> Result<Option<RoomId>, DecodeError> {
    members.first_of(&ROOM_KEYS).map(|(_, value)| room_id(value)).transpose()
}

/// Reads the id of a room.
pub(super) fn room_id(value: JsonText<'_>) -> Result<RoomId, DecodeError> {
    json::id("roomId", value, RoomId::new)
}
