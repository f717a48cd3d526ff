//! The seam between wires and rooms.
//!
//! A dialect is pure: text in, [`Command`] out (`decode`); [`Event`] in, text out (`encode`). It
//! does no I/O, looks nothing up and keeps no state, so that recorded frames test it whole.
//!
//! - `decode` checks everything that can be checked without a room, and says in a [`DecodeError`] which field is wrong;
//! - bodies of signals are carried as the text they came in, and never parsed into a tree;
//! - a transport registers its connection with the [`Dialect`] that its client speaks.
//!
//! The guarantee that is easy to break: no input makes `decode` panic.

use std::any::Any;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use crate::auth::{Denial, Grant};
use crate::ice::IceServers;
use crate::id::{ConnectionId, IdError, RoomId};
use crate::room::state::Room;
use crate::room::{Answer, Code, Command, Event, RoomError, Snapshot};
use crate::sfu::{self, ErrorScope, MediaEvent, SfuError};

pub mod content;
pub mod envelope;
pub mod json;
pub mod merge_patch;
pub mod message;
pub mod session;
pub mod socketio;
pub mod topic;

/// How events are written for one kind of client, and what it can bear.
#[derive(Debug)]
pub struct Dialect {
    /// The name in logs and metrics; also [`Signal::origin`](crate::room::Signal::origin).
    pub name: &'static str,
    /// Writes one event; `None` where this wire has no word for it. The time is for wires that stamp what they send.
    pub encode: fn(&Event, SystemTime) -> Option<Frame>,
    /// Writes what the media server tells; `None` on wires that have no words for it.
    pub media: Option<fn(&MediaEvent, SystemTime) -> Frame>,
    /// Writes the last word of a server that is going.
    pub farewell: fn(&str, SystemTime) -> Frame,
    /// Writes the last words to a connection whose token has expired.
    pub expired: fn(SystemTime) -> Vec<Frame>,
    /// Who names the peers.
    pub names: Names,
    /// How long a client pauses for a peer whose queue is filling up.
    pub patience: Duration,
    /// Whether an application message of this name is withheld from a client, since the name is one of the server's own.
    pub reserves: fn(&str) -> bool,
    /// Whether a client that cannot be told who came or went must go itself, since it believes that it knows.
    pub presence_is_vital: bool,
}

impl Dialect {
    /// Whether its clients meet in pair sessions, not in rooms.
    pub fn has_pair_sessions(&self) -> bool {
        self.names == Names::Unspoken
    }
}

/// Who says what a peer is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Names {
    /// Its client does, and where tokens are required the token.
    Chosen,
    /// The server does; where tokens are required, the token's person is told beside that.
    Given,
    /// Nobody is spoken of.
    Unspoken,
}

/// What a connection is told whose token has expired, on wires that have words for it.
const EXPIRED: &str = "the token has expired";

/// What is written to a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// A message.
    Text(String),
    /// Several messages, in this order.
    Several(Vec<String>),
    /// A message and the binary messages that belong to it.
    WithAttachments(String, Vec<Bytes>),
    /// A message that carries the resume token of its session.
    WithToken(TokenMessage),
    /// The end of the connection, with a code of RFC 6455, section 7.4, and a reason.
    Close(u16, &'static str),
}

/// A message that carries the resume token of its session. In parts, since a token works once: a replay of the message
/// carries the token that is valid by then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenMessage {
    /// The message up to the token.
    pub before: String,
    /// The token, which needs no escaping.
    pub token: String,
    /// The message after the token.
    pub after: String,
}

impl TokenMessage {
    /// The bytes of the whole message.
    pub fn length(&self) -> usize {
        self.before.len() + self.token.len() + self.after.len()
    }

    /// The whole message.
    pub fn text(&self) -> String {
        [self.before.as_str(), &self.token, &self.after].concat()
    }
}

impl Frame {
    /// The bytes of its messages.
    pub fn length(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::WithAttachments(text, attachments) => text.len() + attachments.iter().map(Bytes::len).sum::<usize>(),
            Self::WithToken(message) => message.length(),
            Self::Several(texts) => texts.iter().map(String::len).sum(),
            Self::Close(..) => 0,
        }
    }

    /// Its text messages.
    pub fn into_texts(self) -> Vec<String> {
        match self {
            Self::Text(text) | Self::WithAttachments(text, _) => vec![text],
            Self::Several(texts) => texts,
            Self::WithToken(message) => vec![message.text()],
            Self::Close(..) => Vec::new(),
        }
    }
}

/// Completes the frames of one session before they are queued: numbers them, so that a client can tell what it missed, or
/// addresses them within their connection.
pub trait Framing: Any + Send + Sync {
    /// Completes the frame with this number.
    fn complete(&self, _frame: &mut String, _number: u64) {}

    /// The message to send directly after the frame with this number, if any.
    fn follower(&self, _number: u64) -> Option<String> {
        None
    }

    /// A binary message as the client reads it.
    fn attachment(&self, data: Bytes) -> Bytes {
        data
    }

    /// Whether a client learns the numbers of its frames, so that it can resume its session.
    fn is_numbered(&self) -> bool {
        false
    }

    /// How an event is written for this session.
    fn form(&self, _event: &Event) -> Form {
        Form::Dialect
    }

    /// Writes an event that has a form of its own; `room` is as it is after the event.
    fn encode(&self, _event: &Event, _room: &Room, _now: SystemTime) -> Option<Frame> {
        None
    }

    /// Whether an application message of this name is withheld from this session, beside those that its dialect withholds.
    fn reserves(&self, _name: &str) -> bool {
        false
    }
}

/// How an event is written for a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// As for all sessions of its dialect.
    Dialect,
    /// The same for all sessions of its dialect that have this number.
    Variant(u8),
    /// In a form of its own.
    Own,
}

/// Leaves frames as they are.
#[derive(Debug, Clone, Copy)]
pub struct Unframed;

impl Framing for Unframed {}

/// How a connection that falls silent is told from one that is idle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heartbeat {
    /// The server sends WebSocket pings, as often as it is configured to.
    Frames,
    /// The server sends a message after each interval, and expects to hear from the client within the timeout.
    Server {
        /// The message.
        ping: &'static str,
        /// The time before it is sent.
        interval: Duration,
        /// The time for the answer.
        timeout: Duration,
    },
    /// The client sends heartbeats by itself, and is to be heard from within this time.
    Client {
        /// The most time between two messages of the client.
        limit: Duration,
    },
}

/// A session that was opened or resumed for a client.
#[derive(Clone, Copy)]
pub struct Connected<'a> {
    /// The id by which other peers know its connection.
    pub connection: ConnectionId,
    /// The secret with which the client may resume it; `None` where it cannot.
    pub key: Option<&'a str>,
    /// How its frames are completed.
    pub framing: &'a dyn Framing,
}

/// What a handshake says.
#[derive(Debug)]
pub struct Hello<'a> {
    /// The connection's id.
    pub connection: ConnectionId,
    /// What follows the endpoint in the path, decoded, where something does.
    pub segment: Option<&'a str>,
    /// The pairs of the query, decoded.
    pub query: &'a [(String, String)],
    /// The languages that the client prefers: its `Accept-Language` header.
    pub languages: Option<&'a str>,
    /// When it came.
    pub now: SystemTime,
    /// Time between two heartbeats.
    pub heartbeat: Duration,
    /// Whether the client has yet to bring a token before it may do anything.
    pub needs_token: bool,
    /// What a joiner is told of ICE servers.
    pub ice_servers: Option<&'a Arc<IceServers>>,
}

impl Hello<'_> {
    /// The first value of a key of the query.
    pub fn query(&self, key: &str) -> Option<&str> {
        self.query.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }
}

/// Something that a conversation wants done. What comes of a command is told to [`Conversation::answer`].
#[derive(Debug)]
pub enum Step {
    /// Take this to the rooms.
    Do(Command),
    /// Take this to the media server, as a member of a room; `None` means the only one the connection is in. What comes of
    /// it is written by [`Conversation::media`].
    Media(Option<RoomId>, sfu::MediaRequest),
    /// Check this token. [`Conversation::authenticated`] receives the result.
    Authenticate(Option<String>),
    /// Tell the client this.
    Tell(Frame),
    /// Take the place of a connection that was lost. What comes of it is written by [`Conversation::resumed`].
    Resume {
        /// What the client was told of that place.
        key: String,
        /// The number of the last frame that it has seen.
        seen: u64,
    },
    /// Tell the client this: its message was not understood.
    Refuse(Code, Frame),
    /// Tell the client this, and then close with this code and reason.
    Last(String, u16, &'static str),
    /// Queue this answer as it is. It is not numbered, and not repeated after a resumption.
    Answer(String),
    /// Open a session in the current channel, or resume one. [`Conversation::connected`] receives the result.
    Connect {
        /// The token, where the client brought one.
        token: Option<String>,
        /// The session to resume: its secret, and the number of the last frame that the client has seen.
        resume: Option<(String, u64)>,
    },
    /// End the session of the current channel: its client leaves.
    Disconnect,
    /// Refuse the request: it was not understood. [`Conversation::answer`] is told.
    Reject(DecodeError),
    /// Count a request that is not known. It gets this answer, if it asked for one.
    Ignore(Option<String>),
    /// End the connection.
    End(Ending),
}

/// Why a conversation ends its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The client closed the transport, and may come back.
    Closed,
    /// The client violated the protocol.
    Violation,
    /// The client sent more CONNECT packets than one connection may.
    TooManyConnects,
}

/// An error as every wire tells it.
#[derive(Debug)]
pub struct Failure<'a> {
    /// The contract's code.
    pub code: Code,
    /// For people.
    pub message: std::borrow::Cow<'a, str>,
    /// After how many milliseconds to try again, where that is known.
    pub retry_after_ms: Option<u128>,
}

impl<'a> Failure<'a> {
    /// An error of which no more is known.
    pub fn new(code: Code, message: &'a str) -> Self {
        Self { code, message: message.into(), retry_after_ms: None }
    }
}

impl From<&RequestError> for Failure<'_> {
    fn from(error: &RequestError) -> Self {
        Self { code: error.code(), message: error.to_string().into(), retry_after_ms: error.retry_after_ms() }
    }
}

/// The server's side of one connection, without the socket: what is said, and what is answered.
///
/// A connection has one session, or several that are told apart by [`channel`](Conversation::channel).
pub trait Conversation: Send {
    /// How events are written at first.
    fn dialect(&self) -> &'static Dialect;

    /// How events are written by now: another manner of the same wire, perhaps, that its first message chose.
    fn speaks(&self) -> &'static Dialect {
        self.dialect()
    }

    /// What to do as soon as the connection is open.
    fn open(&mut self) -> Vec<Step>;

    /// Whether a text frame is a message, for the limit on their rate. Others count as frames of the protocol beneath.
    fn is_message(&self, _text: &str) -> bool {
        true
    }

    /// What to do about a message.
    fn receive(&mut self, text: &str, now: SystemTime) -> Option<Step>;

    /// What to answer to a message that is refused unread: nothing of it but what names the request counts.
    fn refuse(&mut self, text: &str, error: RequestError, now: SystemTime) -> Option<Step>;

    /// What to tell a joiner before anything else of the room, in place of the event; called while the room is locked.
    fn welcome(&self, _: &Snapshot, _: SystemTime) -> Option<Frame> {
        None
    }

    /// What to do about a binary message.
    fn receive_binary(&mut self, _: &[u8], _: SystemTime) -> Option<Step> {
        Some(Step::Tell(Frame::Close(1003, "binary messages are not accepted")))
    }

    /// The number of the session that the last message concerns.
    fn channel(&self) -> usize {
        0
    }

    /// Whether sessions are opened by [`Step::Connect`] rather than with the connection.
    fn connects_later(&self) -> bool {
        false
    }

    /// What to answer to a client that asked for a session: it has one, or it was denied.
    fn connected(&mut self, _: Result<Connected<'_>, Denial>) -> String {
        String::new()
    }

    /// How the frames of the current channel's session are completed, if its connection has this id.
    fn framing(&self, _: ConnectionId) -> Box<dyn Framing> {
        Box::new(Unframed)
    }

    /// How a silent client is detected.
    fn heartbeat(&self) -> Heartbeat {
        Heartbeat::Frames
    }

    /// Whether a client that closes its WebSocket without a status code has left for good.
    fn bare_close_is_leave(&self) -> bool {
        true
    }

    /// What to do about what came of the last command.
    fn answer(&mut self, result: Result<Answer, RequestError>, now: SystemTime) -> Option<Step>;

    /// Takes what the client must know to come back after a drop, to tell it; `None` where it cannot.
    fn keep(&mut self, _key: Option<String>) {}

    /// What to tell a client that wanted to take the place of a connection: whose it has now, or `None`.
    fn resumed(&mut self, _place: Option<ConnectionId>, _now: SystemTime) -> Frame {
        Frame::Close(1011, "this wire has no such request")
    }

    /// What the client calls the last request, if anything.
    fn correlation(&self) -> Option<&str> {
        None
    }

    /// How to write what comes of the last request to the media server; `None` where this wire has none.
    fn media(&self) -> Option<MediaAnswer> {
        None
    }

    /// What to do about what came of a token: the person that the connection is now, or `None` where none are required.
    fn authenticated(&mut self, _: Result<Option<&Grant>, RequestError>, _: SystemTime) -> Option<Step> {
        None
    }

    /// Whether the client may bring its token later than in the handshake.
    fn takes_tokens(&self) -> bool {
        false
    }

    /// Whether the client has said what it is here for, and nothing is half said.
    fn is_settled(&self) -> bool {
        true
    }
}

/// Writes the answer of the media server to one request.
pub type MediaAnswer = Box<dyn FnOnce(Result<sfu::MediaResponse, RequestError>, SystemTime) -> Frame + Send>;

/// Begins a conversation, or refuses the handshake.
pub type Begin = fn(&Hello<'_>) -> Result<Box<dyn Conversation>, DecodeError>;

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
    /// The arguments have none of the shapes that the client's event profile accepts.
    #[error("the arguments must be {shapes}")]
    NoMatch {
        /// The shapes, as in the profile.
        shapes: String,
    },
    /// The event is no command, and such events are not relayed.
    #[error("unknown event; this server does not relay it")]
    NotRelayed,
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
            Self::Missing(_)
            | Self::WrongType { .. }
            | Self::BadId { .. }
            | Self::NoMatch { .. }
            | Self::NotRelayed
            | Self::Binary => Code::InvalidMessage,
        }
    }
}

/// Why a request came to nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// It could not be understood.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// A room refused it.
    #[error(transparent)]
    Room(#[from] RoomError),
    /// The queue of a recipient was full.
    #[error("not delivered to {failed} of {recipients}: too much waits for them already")]
    DeliveryFailed {
        /// For how many it was lost.
        failed: usize,
        /// For how many it was meant.
        recipients: usize,
    },
    /// An application message has a name that every recipient reserves for the server.
    #[error("the name is reserved by the recipients")]
    ReservedName,
    /// No recipient's protocol has a form for an application message.
    #[error("no peer in the room can receive this message")]
    NoReceiver,
    /// The client sends too much.
    #[error("too many messages")]
    RateLimited {
        /// When the next may come.
        retry_after: Duration,
    },
    /// The media server refused it.
    #[error(transparent)]
    Media(#[from] SfuError),
    /// The connection's token does not allow it, or there is none.
    #[error(transparent)]
    Denied(#[from] Denial),
    /// A defect of ours.
    #[error("internal error")]
    Internal,
}

impl RequestError {
    /// The contract's code.
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

    /// The milliseconds after which to try again, at least one, where that is known.
    pub fn retry_after_ms(&self) -> Option<u128> {
        match self {
            Self::RateLimited { retry_after } => Some(retry_after.as_micros().div_ceil(1000).max(1)),
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
