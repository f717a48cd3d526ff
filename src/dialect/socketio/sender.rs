//! The fields of a relayed event that name its sender. The server overwrites values that the client
//! has set.

use super::NAME;
use crate::dialect::json::push_member;
use crate::id::RoomId;
use crate::room::{FoundBy, Peer, Signal, SignalKind};

/// The sender fields of one signal, as a set of bits: bit `n` is the field `FIELDS[n]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct SenderFields(u16);

/// The value of a sender field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Value {
    /// The sender's id, of the kind by which the sender addressed its target.
    Reply,
    /// The sender's connection id.
    Connection,
    /// The sender's peer id.
    Peer,
    /// The room.
    Room,
}

/// All fields, in the order in which they are written.
const FIELDS: [(&str, Value); 15] = [
    ("from", Value::Reply),
    ("userId", Value::Peer),
    ("socketId", Value::Connection),
    ("roomId", Value::Room),
    ("fromId", Value::Reply),
    ("senderId", Value::Reply),
    ("fromSocketId", Value::Connection),
    ("senderSocketId", Value::Connection),
    ("fromUserId", Value::Peer),
    ("sender", Value::Reply),
    ("caller", Value::Reply),
    ("responder", Value::Reply),
    ("callerID", Value::Reply),
    ("callerId", Value::Reply),
    ("peerID", Value::Reply),
];

/// The fields of every signal.
const ALWAYS: u16 = 0b1111;
/// The number of fields that the server overwrites if a client wrote them. Applications use the
/// other names for data of their own.
const PROTECTED: usize = 9;

/// Returns the fields that a signal has because its sender wrote a key.
fn fields_for(key: &str, kind: SignalKind) -> u16 {
    let bit = |name: &str| {
        FIELDS.iter().position(|(field, _)| *field == name).map_or(0, |index| 1 << index)
    };
    match key {
        "targetId" => bit("fromId") | bit("senderId"),
        "receiverId" => bit("senderId"),
        "targetSocketId" => bit("fromSocketId") | bit("senderSocketId"),
        "targetUserId" => bit("fromUserId"),
        // The server overwrites the client's value.
        "fromId" | "senderId" | "fromSocketId" | "senderSocketId" | "fromUserId" => bit(key),
        // In application events these keys are data of the application.
        _ if kind == SignalKind::Message => 0,
        "target" if kind == SignalKind::Offer => bit("sender") | bit("caller"),
        "target" if kind == SignalKind::Answer => bit("sender") | bit("responder"),
        "target" => bit("sender"),
        "userToSignal" => bit("callerID"),
        "calleeId" => bit("callerId"),
        "peerID" => bit("peerID"),
        _ => 0,
    }
}

impl SenderFields {
    /// Returns the fields of a signal, by the keys that its sender wrote.
    pub(super) fn of<'a>(kind: SignalKind, keys: impl Iterator<Item = &'a str>) -> Self {
        Self(keys.fold(ALWAYS, |fields, key| fields | fields_for(key, kind)))
    }

    /// Returns the fields that every signal has.
    pub(super) fn always() -> Self {
        Self(ALWAYS)
    }

    /// Returns whether a key is one of the fields.
    pub(super) fn contains(self, key: &str) -> bool {
        self.iter().any(|(name, _)| name == key)
    }

    /// Returns the names of the fields that no client may write.
    pub(crate) fn protected_names() -> [&'static str; PROTECTED] {
        std::array::from_fn(|index| FIELDS[index].0)
    }

    /// Appends the fields to an open object.
    pub(super) fn push(self, out: &mut String, room: &RoomId, from: &Peer, found_by: FoundBy) {
        let connection = from.connection.to_string();
        let reply = match found_by {
            FoundBy::PeerId => from.id.as_str(),
            FoundBy::ConnectionId => &connection,
        };
        for (name, value) in self.iter() {
            let text = match value {
                Value::Reply => reply,
                Value::Connection => &connection,
                Value::Peer => from.id.as_str(),
                Value::Room => room.as_str(),
            };
            push_member(out, name, text);
        }
    }

    fn iter(self) -> impl Iterator<Item = (&'static str, Value)> {
        FIELDS
            .into_iter()
            .enumerate()
            .filter(move |(index, _)| self.0 & (1 << index) != 0)
            .map(|(_, field)| field)
    }
}

/// Data about a signal that decoding passes to encoding; a [`Signal::note`] in its unpacked form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Note {
    /// The sender fields.
    pub(super) fields: SenderFields,
    /// The candidate number of the sender's event profile, if it has one of its own.
    pub(super) profile: Option<u8>,
    /// Whether the sender's object has the form of that profile, so that other profiles can use
    /// only its content.
    pub(super) is_in_form_of_profile: bool,
    /// Length in bytes of the object that is the first argument of an application event; 0 if it is
    /// not an object.
    pub(super) object: u32,
}

impl Note {
    pub(super) fn pack(self) -> u64 {
        let profile = self.profile.map_or(0, |profile| u64::from(profile) + 1);
        u64::from(self.fields.0)
            | profile << 16
            | u64::from(self.is_in_form_of_profile) << 31
            | u64::from(self.object) << 32
    }

    /// Returns the note of a signal; a signal of another protocol has the note of a signal without
    /// keys.
    #[expect(clippy::cast_possible_truncation, reason = "each part is cut out of the whole")]
    pub(super) fn of(signal: &Signal) -> Self {
        if signal.origin != NAME {
            return Self { fields: SenderFields::always(), ..Self::default() };
        }
        let note = signal.note;
        Self {
            fields: SenderFields(note as u16),
            profile: ((note >> 16 & 0x7fff) as u16)
                .checked_sub(1)
                .and_then(|profile| profile.try_into().ok()),
            is_in_form_of_profile: note >> 31 & 1 == 1,
            object: (note >> 32) as u32,
        }
    }
}
