//! Socket.IO events in, commands out.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::{NAME, SENDER_FIELDS, SenderFields};
use crate::dialect::DecodeError;
use crate::dialect::json::{self, Argument, Arguments, Members};
use crate::id::{PeerId, RoomId};
use crate::room::{Command, Metadata, RoomKind, Signal, SignalKind, Target};

/// An event that clients send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientEvent {
    /// `join-room`
    JoinRoom,
    /// `leave-room`
    LeaveRoom,
    /// `offer`, `answer` or `ice-candidate`
    Signal(SignalKind),
}

impl ClientEvent {
    fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "join-room" => Self::JoinRoom,
            "leave-room" => Self::LeaveRoom,
            "offer" => Self::Signal(SignalKind::Offer),
            "answer" => Self::Signal(SignalKind::Answer),
            "ice-candidate" => Self::Signal(SignalKind::Candidate),
            _ => return None,
        })
    }

    /// Its name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::JoinRoom => "join-room",
            Self::LeaveRoom => "leave-room",
            Self::Signal(kind) => signal_name(kind),
        }
    }
}

/// The event that carries a signal, the same in both directions. An application message has a name of its own.
pub(super) fn signal_name(kind: SignalKind) -> &'static str {
    match kind {
        SignalKind::Offer => "offer",
        SignalKind::Answer => "answer",
        SignalKind::Candidate => "ice-candidate",
        SignalKind::Message => "message",
    }
}

const ROOM_KEYS: [&str; 2] = ["roomId", "room"];
const PEER_KEYS: [&str; 2] = ["userId", "peerId"];
const TARGET_KEYS: [&str; 5] = ["targetId", "target", "to", "targetUserId", "targetSocketId"];
/// What the server says of a peer: a client cannot say it of itself.
pub(super) const PEER_FIELDS: [&str; 6] = ["id", "userId", "socketId", "roomId", "joinedAt", "reason"];

/// The keys under which frontends send the body of a signal. The first is the contract's; the others let pages work
/// that name it differently, since the body is relayed under the key that it came with.
fn body_keys(kind: SignalKind) -> &'static [&'static str] {
    match kind {
        SignalKind::Offer => &["offer", "sdp", "description", "signal"],
        SignalKind::Answer => &["answer", "sdp", "description", "signal"],
        SignalKind::Candidate => &["candidate", "iceCandidate", "ice", "signal"],
        SignalKind::Message => &[],
    }
}

/// The token in what a client brings along with its CONNECT packet, a JSON object.
pub fn token(auth: &str) -> Option<String> {
    let members: Members<'_> = serde_json::from_str(auth).ok()?;
    json::string(members.get("token")?).map(Cow::into_owned).filter(|token| !token.is_empty())
}

/// The event `auth`, with a newer token; `None` for any other.
pub fn renewal(text: &str) -> Option<Result<String, DecodeError>> {
    let Arguments { name, first, .. } = Arguments::read(text)?;
    (name == RENEWAL).then(|| {
        let token = object(&first.ok_or(DecodeError::Missing("token"))?)?.get("token");
        let token = json::string(token.ok_or(DecodeError::Missing("token"))?);
        token.map(Cow::into_owned).ok_or(DecodeError::WrongType { field: "token", expected: "a string" })
    })
}

/// The name of that event.
pub const RENEWAL: &str = "auth";

/// One event of a client, its arguments still unchecked.
#[derive(Debug)]
pub struct Request<'a> {
    /// Which event.
    pub event: ClientEvent,
    first: Option<Argument<'a>>,
    second: Option<&'a RawValue>,
}

impl<'a> Request<'a> {
    /// Reads the JSON array of an event; `None` for events that Parlor does not know, and for anything else.
    pub fn read(text: &'a str) -> Option<Self> {
        let Arguments { name, first, second } = Arguments::read(text)?;
        let event = ClientEvent::from_name(&name)?;
        // A JavaScript client writes an argument that it left undefined as null.
        let first = first.filter(|first| !matches!(first, Argument::Other(value) if json::is_null(value)));
        Some(Self { event, first, second: second.filter(|value| !json::is_null(value)) })
    }

    /// The room that the request names, if it names one well: for error messages.
    pub fn room(&self) -> Option<RoomId> {
        let value = match self.first.as_ref()? {
            Argument::Object(members) => members.first_of(&ROOM_KEYS)?.1,
            Argument::Other(value) => value,
        };
        json::id("roomId", value, RoomId::new).ok()
    }

    /// Checks the arguments.
    pub fn command(&self) -> Result<Command, DecodeError> {
        match self.event {
            ClientEvent::JoinRoom => self.join(),
            ClientEvent::LeaveRoom => self.leave(),
            ClientEvent::Signal(kind) => self.relay(kind),
        }
    }

    fn join(&self) -> Result<Command, DecodeError> {
        let members = match self.first.as_ref().ok_or(DecodeError::Missing("roomId"))? {
            Argument::Object(members) => members,
            Argument::Other(room) => {
                let room = room_id(room)?;
                let peer = self.second.map(|value| json::id("userId", value, PeerId::new)).transpose()?;
                return Ok(Command::Join { room, peer, metadata: Metadata::default(), kind: RoomKind::Group });
            }
        };
        let (room_key, room) = members.first_of(&ROOM_KEYS).ok_or(DecodeError::Missing("roomId"))?;
        let room = room_id(room)?;
        let peer = members.first_of(&PEER_KEYS);
        let peer_key = peer.map(|(key, _)| key);
        let peer = peer.map(|(_, value)| json::id("userId", value, PeerId::new)).transpose()?;
        let metadata =
            members.text_without(|key| PEER_FIELDS.contains(&key) || key == room_key || Some(key) == peer_key);
        Ok(Command::Join { room, peer, metadata: Metadata::new(&metadata), kind: RoomKind::Group })
    }

    fn leave(&self) -> Result<Command, DecodeError> {
        let room = match &self.first {
            None => None,
            Some(Argument::Object(members)) => room_of(members)?,
            Some(Argument::Other(room)) => Some(room_id(room)?),
        };
        Ok(Command::Leave { room })
    }

    fn relay(&self, kind: SignalKind) -> Result<Command, DecodeError> {
        let keys = body_keys(kind);
        let members = object(self.first.as_ref().ok_or(DecodeError::Missing(keys[0]))?)?;
        let room = room_of(members)?;
        let target = members
            .first_of(&TARGET_KEYS)
            .map(|(key, value)| {
                let new = if key == "targetSocketId" { Target::connection } else { Target::new };
                json::id(key, value, PeerId::new).map(new)
            })
            .transpose()?;
        let (key, value) = members.first_of(keys).ok_or(DecodeError::Missing(keys[0]))?;
        let is_sender_field = |key: &str| SENDER_FIELDS.iter().any(|field| field.name == key);
        let (body, mut content) = members.object_without(is_sender_field, key);
        // The fields of a candidate sent beside each other: the object itself is the candidate.
        let is_flat = key == "candidate" && (members.has("sdpMid") || members.has("sdpMLineIndex"));
        if kind == SignalKind::Candidate && json::is_string(value) && is_flat {
            content = 0..body.len();
        }
        let note = SenderFields::wanted(|key| members.has(key)).0;
        Ok(Command::Relay { room, target, signal: Signal { kind, name: None, origin: NAME, body, content, note } })
    }
}

fn object<'a, 'b>(argument: &'b Argument<'a>) -> Result<&'b Members<'a>, DecodeError> {
    match argument {
        Argument::Object(members) => Ok(members),
        Argument::Other(_) => Err(DecodeError::WrongType { field: "the first argument", expected: "an object" }),
    }
}

fn room_of(members: &Members<'_>) -> Result<Option<RoomId>, DecodeError> {
    members.first_of(&ROOM_KEYS).map(|(_, value)| room_id(value)).transpose()
}

fn room_id(value: &RawValue) -> Result<RoomId, DecodeError> {
    json::id("roomId", value, RoomId::new)
}
