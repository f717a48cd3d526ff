//! The Socket.IO dialect: the events that Express + Socket.IO signaling servers have in common.
//!
//! - [`Client`] is the conversation with one client, over WebSocket or long-polling;
//! - [`packet`] decodes and encodes the packets of Engine.IO and Socket.IO;
//! - [`Request::read`] finds the name and the arguments of an event, [`Request::command`] checks them;
//! - [`session_id`] keeps the session id of a 2.x client out of what it sends;
//! - [`DIALECT`] writes events for clients, [`encode`] also their acknowledgements and errors;
//! - [`Numbering`] follows each event by its offset, for clients that can resume their session.
//!
//! A signal's body is the sender's object as it came, less the fields that name the sender: those the server writes.
//! Which of them is told by what the sender wrote ([`SenderFields`]), so that a frontend reads the names that it sends.

mod client;
pub mod decode;
pub mod encode;
pub mod packet;
pub mod profile;
pub mod session_id;

pub use client::{Client, Setup};
pub use decode::{ClientEvent, Request};

use std::time::Duration;

use self::packet::{Kind, ROOT, Revision, push_head, push_namespace};
use super::{Dialect, EXPIRED, Failure, Frame, Framing, Names, message};
use crate::id::ConnectionId;
use crate::room::Code;

/// Writes events for Socket.IO clients.
pub static DIALECT: Dialect = Dialect {
    name: NAME,
    encode: |event, _| encode::event(event),
    media: None,
    farewell: |message, _| Frame::Text(encode::error(ROOT, &Failure::new(Code::ShuttingDown, message), None, None)),
    expired: |_| vec![Frame::Text(encode::error(ROOT, &Failure::new(Code::Unauthorized, EXPIRED), None, None))],
    names: Names::Chosen,
    patience: Duration::from_secs(1),
    reserves: message::is_reserved,
    presence_is_vital: true,
};

const NAME: &str = "socketio";

/// What an official client keeps of the last event that it has seen, and gives back when it comes again.
///
/// It names the place, too: a client whose place was gone goes on with the offset of the old one until the new one tells
/// it an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offset {
    /// Whose events are numbered.
    pub connection: ConnectionId,
    /// The number of the event.
    pub number: u64,
}

impl Offset {
    fn tag(connection: ConnectionId) -> u32 {
        // Enough to tell two places of one client from each other.
        u32::try_from(connection.to_u128() & 0xff_ffff).expect("24 bits")
    }

    /// Up to which number a client has seen the events of a connection, by the offset that it gives back. `None` where
    /// that is no offset of ours.
    pub fn seen(connection: ConnectionId, offset: Option<&str>) -> Option<u64> {
        let Some(offset) = offset else { return Some(0) };
        let (tag, number) = offset.split_once('-')?;
        let (tag, number) = (u32::from_str_radix(tag, 16).ok()?, number.parse().ok()?);
        Some(if tag == Self::tag(connection) { number } else { 0 })
    }
}

impl std::fmt::Display for Offset {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:06x}-{}", Self::tag(self.connection), self.number)
    }
}

/// Addresses the events of one session to its namespace, and follows each by another whose only content is its offset.
/// Official clients take the offset from any event that ends with a string, so that listeners get the documented arguments
/// and nothing else.
#[derive(Debug)]
pub struct Numbering {
    /// `None` is the default namespace.
    namespace: Option<Box<str>>,
    connection: ConnectionId,
    revision: Revision,
}

impl Numbering {
    /// The numbering of a session in a namespace.
    pub fn new(namespace: &str, connection: ConnectionId, revision: Revision) -> Self {
        Self { namespace: (namespace != ROOT).then(|| namespace.into()), connection, revision }
    }
}

impl Framing for Numbering {
    fn complete(&self, frame: &mut String, _: u64) {
        let Some(namespace) = &self.namespace else { return };
        // Events are written for the default namespace, whose head is two characters.
        let mut address = String::with_capacity(namespace.len() + 1);
        push_namespace(&mut address, namespace);
        frame.insert_str(EVENT_HEAD, &address);
    }

    fn follower(&self, number: u64) -> Option<String> {
        let mut out = String::with_capacity(32);
        push_head(&mut out, Kind::Event, self.namespace.as_deref().unwrap_or(ROOT), None);
        out.push_str("[\"");
        out.push_str(&Offset { connection: self.connection, number }.to_string());
        out.push_str("\"]");
        Some(out)
    }

    fn is_numbered(&self) -> bool {
        self.revision == Revision::V4
    }
}

/// The length of the head of an event in the default namespace.
const EVENT_HEAD: usize = 2;

/// The sender fields that a relayed signal carries beside those that every one carries, as a set of bits: the note
/// that decoding leaves for encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct SenderFields(u16);

/// What a sender field says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Says {
    /// The sender, in the namespace in which the target was found.
    Reply,
    /// The sender's connection id.
    Connection,
    /// The sender's peer id.
    Peer,
    /// The room.
    Room,
}

/// A field that the server writes into a relayed signal, over whatever the client wrote there.
pub(crate) struct SenderField {
    /// Its name.
    pub(crate) name: &'static str,
    /// What it says.
    pub(crate) says: Says,
    /// Where the sender wrote this key the field is present; `None` means always.
    pub(crate) beside: Option<&'static str>,
}

/// All of them, in the order in which they are written.
pub(crate) const SENDER_FIELDS: [SenderField; 9] = [
    SenderField { name: "from", says: Says::Reply, beside: None },
    SenderField { name: "userId", says: Says::Peer, beside: None },
    SenderField { name: "socketId", says: Says::Connection, beside: None },
    SenderField { name: "roomId", says: Says::Room, beside: None },
    SenderField { name: "fromId", says: Says::Reply, beside: Some("targetId") },
    SenderField { name: "senderId", says: Says::Reply, beside: Some("targetId") },
    SenderField { name: "fromSocketId", says: Says::Connection, beside: Some("targetSocketId") },
    SenderField { name: "senderSocketId", says: Says::Connection, beside: Some("targetSocketId") },
    SenderField { name: "fromUserId", says: Says::Peer, beside: Some("targetUserId") },
];

impl SenderFields {
    /// The fields for a message, by whether it has a key. A field that the client forged is always written.
    fn wanted(has: impl Fn(&str) -> bool) -> Self {
        let mut bits = 0;
        for (index, field) in SENDER_FIELDS.iter().enumerate() {
            if field.beside.is_none_or(&has) || has(field.name) {
                bits |= 1 << index;
            }
        }
        Self(bits)
    }

    /// Those that every signal carries.
    fn always() -> Self {
        Self::wanted(|_| false)
    }

    fn iter(self) -> impl Iterator<Item = &'static SenderField> {
        SENDER_FIELDS.iter().enumerate().filter(move |(index, _)| self.0 & (1 << index) != 0).map(|(_, field)| field)
    }
}
