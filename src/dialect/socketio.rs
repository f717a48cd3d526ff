//! The Socket.IO dialect: the events that Express + Socket.IO signaling servers have in common.
//!
//! - [`Client`] is the conversation with one client, over WebSocket or long-polling;
//! - [`packet`] decodes and encodes the packets of Engine.IO and Socket.IO;
//! - [`EventRequest::read`] finds the name and the arguments of an event, [`EventRequest::command`]
//!   checks them;
//! - [`session_id`] keeps the session id of a 2.x client out of what it sends;
//! - [`DIALECT`] encodes events for clients, [`encode`] also acknowledgements and errors;
//! - [`Numbering`] sends the offset of each event after it, for clients that can resume their
//!   session.
//!
//! A signal's body is the sender's object, unchanged except for the fields that name the sender,
//! which the server writes. The fields are those that the sender's own keys suggest (`sender`), so
//! that a frontend receives the names that it sends.

mod application;
pub mod choice;
mod client;
pub mod decode;
pub mod encode;
pub mod interpret;
mod namespaces;
pub mod packet;
mod partial;
mod placeholders;
pub mod profile;
pub mod relay_events;
pub(crate) mod sender;
pub mod session_id;
#[cfg(test)]
mod tests;

pub use client::{Client, Setup};
pub use decode::{ClientEvent, EventRequest};

use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use self::choice::Choice;
use self::packet::{PacketKind, ROOT, Revision, push_head, push_namespace};
use self::profile::Profile;
use self::sender::Note;
use super::{Dialect, EXPIRED, Failure, Form, Frame, Framing, Names, message};
use crate::id::ConnectionId;
use crate::room::state::Room;
use crate::room::{Code, Event, SignalKind};

/// Encodes events for Socket.IO clients.
pub static DIALECT: Dialect = Dialect {
    name: NAME,
    encode: |event, _| encode::event(event),
    media: None,
    shutdown_frame: |message, _| {
        Frame::Text(encode::error(ROOT, &Failure::new(Code::ShuttingDown, message), None, None))
    },
    failure: |failure, room, target, _| Some(Frame::Text(encode::failure(failure, room, target))),
    expired: |_| {
        vec![Frame::Text(encode::error(
            ROOT,
            &Failure::new(Code::Unauthorized, EXPIRED),
            None,
            None,
        ))]
    },
    names: Names::Chosen,
    backpressure_limit: Duration::from_secs(1),
    reserves: message::is_reserved,
    presence_is_vital: true,
};

const NAME: &str = "socketio";

/// Maximum length of the number of an offset and of what follows it, in bytes.
const MAX_OFFSET_TAIL: usize = 22;

/// The offset of the last event that an official client has received, which it sends when it
/// reconnects.
///
/// The offset identifies the session as well: after a failed resumption, a client keeps the offset
/// of the former session until the new one sends it an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offset {
    /// The connection whose events are numbered.
    pub connection: ConnectionId,
    /// The number of the event.
    pub number: u64,
}

impl Offset {
    fn tag(connection: ConnectionId) -> u32 {
        // Long enough to tell the sessions of one client apart.
        u32::try_from(connection.to_u128() & 0xff_ffff).expect("24 bits")
    }

    /// Returns the number of the last event of a connection that a client has received, by the
    /// offset that the client sends. `None` if the offset is not one of this server.
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

/// Addresses the events of one session to its namespace, and sends after each event another whose
/// only content is the offset. Official clients take the offset from any event that ends with a
/// string, so that listeners get the documented arguments and nothing else.
#[derive(Debug)]
pub struct Numbering {
    /// `None` is the default namespace.
    namespace: Option<Box<str>>,
    connection: ConnectionId,
    /// The packet with an offset, up to its number.
    offset_head: Box<str>,
    revision: Revision,
    choice: Arc<Choice>,
}

impl Numbering {
    /// Creates the numbering of a session in a namespace.
    pub fn new(namespace: &str, revision: Revision, choice: Arc<Choice>) -> Self {
        let connection = choice.connection();
        let mut offset_head = String::new();
        push_head(&mut offset_head, PacketKind::Event, namespace, None);
        write!(offset_head, "[\"{:06x}-", Offset::tag(connection)).expect("a string has room");
        Self {
            namespace: (namespace != ROOT).then(|| namespace.into()),
            connection,
            offset_head: offset_head.into(),
            revision,
            choice,
        }
    }

    /// Returns the event profile of the session.
    pub fn choice(&self) -> &Arc<Choice> {
        &self.choice
    }
}

impl Framing for Numbering {
    fn complete(&self, frame: &mut String, _: u64) {
        let Some(namespace) = &self.namespace else { return };
        // Events are encoded for the default namespace, whose head is two characters.
        let mut address = String::with_capacity(namespace.len() + 1);
        push_namespace(&mut address, namespace);
        // The number of attachments is part of the head.
        let head = if frame.starts_with("45") {
            frame.find('-').map_or(EVENT_HEAD, |dash| dash + 1)
        } else {
            EVENT_HEAD
        };
        frame.insert_str(head, &address);
    }

    fn push_follower(&self, number: u64, out: &mut String) {
        out.reserve(self.offset_head.len() + MAX_OFFSET_TAIL);
        out.push_str(&self.offset_head);
        out.push_str(itoa::Buffer::new().format(number));
        out.push_str("\"]");
    }

    fn attachment(&self, data: Bytes) -> Bytes {
        match self.revision {
            // A binary frame is a packet, with its type as a byte.
            Revision::V3 => [&[4], &*data].concat().into(),
            Revision::V4 => data,
        }
    }

    fn is_numbered(&self) -> bool {
        self.revision == Revision::V4
    }

    fn form(&self, event: &Event) -> Form {
        if let Event::SignalRelayed { signal, .. } = event
            && signal.kind != SignalKind::Message
        {
            self.choice.adopt(Note::of(signal).profile);
        }
        match self.choice.profile().form(event) {
            _ if is_withheld(event, self.choice.profile()) => Form::Own,
            profile::event::Form::Standard => Form::Dialect,
            profile::event::Form::Shared => {
                Form::Variant(self.choice.chosen().map_or(0, |chosen| chosen + 1))
            }
            profile::event::Form::Personal => Form::Own,
        }
    }

    fn encode(&self, event: &Event, room: &Room, now: SystemTime) -> Option<Frame> {
        self.choice.profile().write(event, self.connection, room, now)
    }

    fn memory(&self) -> String {
        self.choice.memory()
    }

    fn recall(&self, memory: &str) {
        self.choice.recall(memory);
    }

    fn reserves(&self, name: &str) -> bool {
        self.choice.profile().reserves(name)
    }
}

/// Returns whether an application event has a name that clients of a profile take for the server's.
fn is_withheld(event: &Event, profile: &Profile) -> bool {
    match event {
        Event::SignalRelayed { signal, .. } if signal.kind == SignalKind::Message => {
            signal.name.as_deref().is_some_and(|name| profile.reserves(name))
        }
        _ => false,
    }
}

/// Length of the head of an event in the default namespace.
const EVENT_HEAD: usize = 2;
