//! How the frames of a session are completed: numbers, namespaces, forms of events.

use std::any::Any;
use std::time::SystemTime;

use bytes::Bytes;

use super::frame::Frame;
use crate::room::Event;
use crate::room::state::Room;

/// Completes the frames of one session before they are queued: numbers them, so that a client can
/// request those it missed, or adds the namespace.
pub trait Framing: Any + Send + Sync {
    /// Completes the frame with this number.
    fn complete(&self, _frame: &mut String, _number: u64) {}

    /// Appends the message to send directly after the frame with this number, if any.
    fn push_follower(&self, _number: u64, _out: &mut String) {}

    /// Encodes a binary message for the client's protocol.
    fn attachment(&self, data: Bytes) -> Bytes {
        data
    }

    /// Returns whether the client receives the numbers of its frames, so that it can resume its
    /// session.
    fn is_numbered(&self) -> bool {
        false
    }

    /// Returns what it remembers of the session beyond its parameters, for [`recall`](Self::recall)
    /// on another node.
    fn memory(&self) -> String {
        String::new()
    }

    /// Remembers what the framing of the session on another node did. Ignores what it does not
    /// know.
    fn recall(&self, _memory: &str) {}

    /// Returns how an event is encoded for this session.
    fn form(&self, _event: &Event) -> Form {
        Form::Dialect
    }

    /// Encodes an event that has a form of its own; `room` is the room after the event.
    fn encode(&self, _event: &Event, _room: &Room, _now: SystemTime) -> Option<Frame> {
        None
    }

    /// Returns whether an application message of this name is withheld from this session, in
    /// addition to those that its dialect withholds.
    fn reserves(&self, _name: &str) -> bool {
        false
    }
}

/// How an event is encoded for a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// The default form of its dialect.
    Dialect,
    /// A form that all sessions of its dialect with this number share.
    Variant(u8),
    /// A form of this session only.
    Own,
}

/// Leaves frames unchanged.
#[derive(Debug, Clone, Copy)]
pub struct Unframed;

impl Framing for Unframed {}
