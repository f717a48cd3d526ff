//! The boundary between protocols and rooms.
//!
//! A dialect is pure: text in, [`Command`](crate::room::Command) out (`decode`); [`Event`] in, text
//! out (`encode`). It does no I/O and keeps no state, so that recorded frames test it completely.
//!
//! - `decode` checks everything that can be checked without a room; a [`DecodeError`] names the
//!   wrong field;
//! - the bodies of signals stay the text that was received, and are never parsed into a tree;
//! - a transport registers its connection with the [`Dialect`] of its client, and executes the
//!   steps of a [`Conversation`].
//!
//! Invariant: no input makes `decode` panic.

use std::time::{Duration, SystemTime};

use crate::id::RoomId;
use crate::room::Event;
use crate::sfu::{MediaEvent, MediaRequest};

pub mod content;
mod conversation;
pub mod envelope;
mod error;
mod frame;
mod framing;
pub mod json;
pub mod merge_patch;
pub mod message;
pub mod session;
pub mod socketio;
pub mod topic;

pub use self::conversation::{
    Begin, Connected, Conversation, Ending, Heartbeat, Hello, MediaAnswer, MediaMessage, Step,
    WelcomeLater,
};
pub use self::error::{DecodeError, Failure, RequestError};
pub use self::frame::{Frame, TokenMessage};
pub use self::framing::{Form, Framing, Unframed};

/// How events are encoded for one kind of client, and the properties of its protocol.
#[derive(Debug)]
pub struct Dialect {
    /// The name in logs and metrics; also [`Signal::origin`](crate::room::Signal::origin).
    pub name: &'static str,
    /// Encodes an event; `None` if this protocol has no message for it. The time is for protocols
    /// with timestamps.
    pub encode: fn(&Event, SystemTime) -> Option<Frame>,
    /// Encodes an event of the media server; `None` if this protocol has no messages for them.
    pub media: Option<fn(&MediaEvent, SystemTime) -> Frame>,
    /// Encodes the last message of a server that shuts down.
    pub shutdown_frame: fn(&str, SystemTime) -> Frame,
    /// Encodes an error that does not answer a current request: for an earlier signal that was not
    /// delivered, or for a membership that was revoked. `None` if this protocol has no message for
    /// it.
    pub failure: fn(&Failure<'_>, &RoomId, Option<&str>, SystemTime) -> Option<Frame>,
    /// Encodes the last messages to a connection whose token has expired.
    pub expired: fn(SystemTime) -> Vec<Frame>,
    /// Source of peer ids.
    pub names: Names,
    /// Maximum time for which backpressure stops reading from a client.
    pub backpressure_limit: Duration,
    /// Whether an application message of this name is withheld from a client, since the name is one
    /// of the server's own.
    pub reserves: fn(&str) -> bool,
    /// Whether a client that cannot receive a presence event is disconnected, since its view of the
    /// room would be wrong.
    pub presence_is_vital: bool,
}

impl Dialect {
    /// Returns whether clients of this protocol join pair sessions instead of groups.
    pub fn has_pair_sessions(&self) -> bool {
        self.names == Names::Unspoken
    }
}

/// The names of all dialects.
pub const NAMES: [&str; 4] =
    [socketio::DIALECT.name, session::DIALECT.name, envelope::DIALECT.name, topic::DIALECT.name];

/// The dialects with messages of the media server, in an order that is the same on all nodes of a
/// cluster. A later version may add others at the end.
pub static MEDIA_DIALECTS: [&Dialect; 2] = [&envelope::DIALECT, &envelope::WITH_DOTS];

/// Decodes a message to the media server that another node has forwarded, of a client of one of
/// [`MEDIA_DIALECTS`]. Returns `None` if it is none.
pub fn forwarded_media(form: usize, text: &str) -> Option<(MediaRequest, MediaAnswer)> {
    envelope::forwarded_media(form, text)
}

/// Source of peer ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Names {
    /// The client, or the token where tokens are required.
    Chosen,
    /// The server; where tokens are required, the subject is reported as well.
    Given,
    /// The protocol has no peer ids.
    Unspoken,
}

/// The message to a connection whose token has expired, in protocols with error messages.
const EXPIRED: &str = "the token has expired";
