//! The seam between wires and rooms.
//!
//! A dialect is pure: text in, [`Command`](crate::room::Command) out (`decode`); [`Event`] in, text out (`encode`). It
//! does no I/O, looks nothing up and keeps no state, so that recorded frames test it whole.
//!
//! - `decode` checks everything that can be checked without a room, and says in a [`DecodeError`] which field is wrong;
//! - bodies of signals are carried as the text they came in, and never parsed into a tree;
//! - a transport registers its connection with the [`Dialect`] that its client speaks.
//!
//! The guarantee that is easy to break: no input makes `decode` panic.

use crate::id::IdError;
use crate::room::{Code, Event};

pub mod json;
pub mod socketio;

/// How events are written for one kind of client.
#[derive(Debug)]
pub struct Dialect {
    /// The name in logs and metrics.
    pub name: &'static str,
    /// Writes one event.
    pub encode: fn(&Event) -> String,
    /// Writes an error that answers no request, such as the last word of a server that is going.
    pub farewell: fn(Code, &str) -> String,
}

/// What is wrong with a message, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// A field that must be there is not.
    #[error("{0}: missing")]
    Missing(&'static str),
    /// A field has a type that it must not have.
    #[error("{field}: must be {expected}")]
    WrongType {
        /// The field's name.
        field: &'static str,
        /// What is accepted.
        expected: &'static str,
    },
    /// A field is an id out of bounds.
    #[error("{field}: {problem}")]
    BadId {
        /// The field's name.
        field: &'static str,
        /// Which bound.
        problem: IdError,
    },
    /// The message came with binary attachments, which no signal has.
    #[error("binary attachments are not accepted")]
    Binary,
    /// The message is over the size limit.
    #[error("the message is too large, at most {max} bytes")]
    TooLarge {
        /// The most bytes.
        max: usize,
    },
}

impl DecodeError {
    /// The contract's code.
    pub fn code(&self) -> Code {
        match self {
            Self::TooLarge { .. } => Code::PayloadTooLarge,
            Self::Missing(_) | Self::WrongType { .. } | Self::BadId { .. } | Self::Binary => Code::InvalidMessage,
        }
    }
}
