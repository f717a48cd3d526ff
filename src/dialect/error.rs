//! Errors of requests, from decoding to delivery, with their error codes.

use std::borrow::Cow;
use std::time::Duration;

use crate::auth::Denial;
use crate::id::IdError;
use crate::room::{Code, RoomError};
use crate::sfu::{ErrorScope, SfuError, SfuErrorKind};

/// Milliseconds until the next attempt to reach a media server of another node.
const UNREACHABLE_RETRY_MS: u128 = 1000;

/// An error as all protocols report it.
#[derive(Debug)]
pub struct Failure<'a> {
    /// The error code that clients receive.
    pub code: Code,
    /// The message for people.
    pub message: Cow<'a, str>,
    /// Milliseconds until the next attempt, if known.
    pub retry_after_ms: Option<u128>,
}

impl<'a> Failure<'a> {
    /// Creates an error without further fields.
    pub fn new(code: Code, message: &'a str) -> Self {
        Self { code, message: message.into(), retry_after_ms: None }
    }
}

impl From<&RequestError> for Failure<'_> {
    fn from(error: &RequestError) -> Self {
        Self {
            code: error.code(),
            message: error.to_string().into(),
            retry_after_ms: error.retry_after_ms(),
        }
    }
}

/// The first problem of a message, and its field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// A required field is missing.
    #[error("{0}: missing")]
    Missing(&'static str),
    /// A field has the wrong type.
    #[error("{field}: must be {expected}")]
    WrongType {
        /// The field's name.
        field: &'static str,
        /// The accepted types.
        expected: &'static str,
    },
    /// A field is an id out of bounds.
    #[error("{field}: {problem}")]
    BadId {
        /// The field's name.
        field: &'static str,
        /// The violated bound.
        problem: IdError,
    },
    /// The arguments have none of the shapes that the client's event profile accepts.
    #[error("the arguments must be {shapes}")]
    NoMatch {
        /// The shapes, as in the profile.
        shapes: String,
    },
    /// The event is not a command, and application events are not relayed.
    #[error("unknown event; this server does not relay it")]
    NotRelayed,
    /// The message has binary attachments, which no signal may have.
    #[error("binary attachments are not accepted")]
    Binary,
    /// The message exceeds the size limit.
    #[error("the message is too large, at most {max} bytes")]
    TooLarge {
        /// The maximum in bytes.
        max: usize,
    },
}

impl DecodeError {
    /// Returns the error code that clients receive.
    pub fn code(&self) -> Code {
        match self {
            Self::TooLarge { .. } => Code::PayloadTooLarge,
            Self::Missing(_)
            | Self::WrongType { .. }
            | Self::BadId { .. }
            | Self::NoMatch { .. }
            | Self::NotRelayed
            | Self::Binary => Code::InvalidMessage,
        }
    }
}

/// Why a request failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// It is invalid.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// A room refused it.
    #[error(transparent)]
    Room(#[from] RoomError),
    /// The send queues of recipients were full.
    #[error("not delivered to {failed} of {recipients} recipients: send queue full")]
    DeliveryFailed {
        /// Number of recipients that do not get it.
        failed: usize,
        /// Number of all recipients.
        recipients: usize,
    },
    /// An application message has a name that every recipient reserves for the server.
    #[error("the name is reserved by the recipients")]
    ReservedName,
    /// No recipient's protocol has a form for an application message.
    #[error("no peer in the room can receive this message")]
    NoReceiver,
    /// The client exceeds its message rate.
    #[error("too many messages")]
    RateLimited {
        /// Time until the next message is accepted.
        retry_after: Duration,
    },
    /// The media server refused it.
    #[error(transparent)]
    Media(#[from] SfuError),
    /// The connection's token does not permit it, or there is none.
    #[error(transparent)]
    Denied(#[from] Denial),
    /// A bug of the server.
    #[error("internal error")]
    Internal,
}

impl RequestError {
    /// Returns the error code that clients receive.
    pub fn code(&self) -> Code {
        match self {
            Self::Decode(error) => error.code(),
            Self::Room(error) => error.code(),
            Self::DeliveryFailed { .. } => Code::DeliveryFailed,
            Self::ReservedName => Code::InvalidMessage,
            Self::NoReceiver => Code::TargetNotFound,
            Self::RateLimited { .. } => Code::RateLimited,
            Self::Media(error) => match error.scope {
                ErrorScope::Transport => Code::TransportError,
                ErrorScope::Produce => Code::ProduceError,
                ErrorScope::Consume => Code::ConsumeError,
            },
            Self::Denied(denial) => denial.code(),
            Self::Internal => Code::Internal,
        }
    }

    /// Returns the milliseconds until the next attempt, at least one, if known.
    pub fn retry_after_ms(&self) -> Option<u128> {
        match self {
            Self::RateLimited { retry_after } => {
                Some(retry_after.as_micros().div_ceil(1000).max(1))
            }
            Self::Media(SfuError { kind: SfuErrorKind::Unreachable, .. }) => {
                Some(UNREACHABLE_RETRY_MS)
            }
            Self::Decode(_)
            | Self::Room(_)
            | Self::DeliveryFailed { .. }
            | Self::ReservedName
            | Self::NoReceiver
            | Self::Media(_)
            | Self::Denied(_)
            | Self::Internal => None,
        }
    }
}
