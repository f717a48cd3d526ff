//! A protocol from the view of one connection: messages in, actions out.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::Dialect;
use super::error::{DecodeError, RequestError};
use super::frame::Frame;
use super::framing::{Framing, Unframed};
use crate::auth::{Denial, Grant};
use crate::ice::IceServers;
use crate::id::{ConnectionId, RoomId};
use crate::room::{Answer, Code, Command, Snapshot};
use crate::sfu;

/// How a dead connection is detected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heartbeat {
    /// The server sends WebSocket pings, at the configured interval.
    Frames,
    /// The server sends a message after each interval, and expects any message from the client
    /// within the timeout.
    Server {
        /// The message.
        ping: &'static str,
        /// Time before it is sent.
        interval: Duration,
        /// Time for the response.
        timeout: Duration,
    },
    /// The client sends heartbeats, and is disconnected if it sends nothing for this time.
    Client {
        /// Maximum time between two messages of the client.
        limit: Duration,
    },
}

/// A session that was opened or resumed for a client.
#[derive(Clone, Copy)]
pub struct Connected<'a> {
    /// The id by which other peers know its connection.
    pub connection: ConnectionId,
    /// The secret with which the client may resume it; `None` if it cannot.
    pub resume_token: Option<&'a str>,
    /// How its frames are completed.
    pub framing: &'a dyn Framing,
}

/// The data of a handshake.
#[derive(Debug)]
pub struct Hello<'a> {
    /// The connection's id.
    pub connection: ConnectionId,
    /// The path segment after the endpoint, decoded, if there is one.
    pub segment: Option<&'a str>,
    /// The pairs of the query, decoded.
    pub query: &'a [(String, String)],
    /// The languages that the client prefers: its `Accept-Language` header.
    pub languages: Option<&'a str>,
    /// When the handshake was received.
    pub now: SystemTime,
    /// Time between two heartbeats, as configured.
    pub heartbeat: Duration,
    /// Whether the client has to authenticate before it may do anything.
    pub needs_token: bool,
    /// The ICE servers for a joining peer.
    pub ice_servers: Option<&'a Arc<IceServers>>,
}

impl Hello<'_> {
    /// Returns the first value of a key of the query.
    pub fn query(&self, key: &str) -> Option<&str> {
        self.query.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }
}

/// An action that a conversation requests from its connection.
#[derive(Debug)]
pub enum Step {
    /// Execute this command. [`Conversation::answer`] receives the result.
    Do(Command),
    /// Execute this request to the media server, as a member of a room. The encoder that [`Conversation::media`] returns encodes the result.
    Media(MediaMessage),
    /// Verify this token. [`Conversation::authenticated`] receives the result.
    Authenticate(Option<String>),
    /// Send this to the client.
    Tell(Frame),
    /// Resume a session. [`Conversation::resumed`] encodes the result.
    Resume {
        /// The secret of the session.
        resume_token: String,
        /// The number of the last frame that the client has received.
        seen: u64,
    },
    /// Send this error to the client: its message is invalid.
    Refuse(Code, Frame),
    /// Send this to the client, and then close with this code and reason.
    Last(String, u16, &'static str),
    /// Queue this response unchanged. It is not numbered, and not replayed after a resumption.
    Answer(String),
    /// Open a session in the current channel, or resume one. [`Conversation::connected`] receives
    /// the result.
    Connect {
        /// The token, if the client sent one.
        token: Option<String>,
        /// The session to resume: its secret, and the number of the last frame that the client has
        /// received.
        resume: Option<(String, u64)>,
    },
    /// End the session of the current channel: its client leaves.
    Disconnect,
    /// Refuse the request as invalid. [`Conversation::answer`] receives the error.
    Reject(DecodeError),
    /// Count an unknown request. It gets this response, if it requested one.
    Ignore(Option<String>),
    /// End the connection.
    End(Ending),
}

/// The reason why a conversation ends its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The client closed the transport, and may resume.
    Closed,
    /// The client violated the protocol.
    Violation,
    /// The client sent more CONNECT packets than one connection may.
    TooManyConnects,
}

/// The server's side of one connection in its protocol, without the socket.
///
/// A connection has one session, or several that [`channel`](Conversation::channel) distinguishes.
pub trait Conversation: Send {
    /// Returns the dialect of a new session.
    fn dialect(&self) -> &'static Dialect;

    /// Returns the dialect after the messages so far: the first one may choose a variant of it.
    fn current_dialect(&self) -> &'static Dialect {
        self.dialect()
    }

    /// Returns the actions for a new connection.
    fn open(&mut self) -> Vec<Step>;

    /// Returns whether a text frame counts as a message for the rate limit, not as a frame of a
    /// lower protocol.
    fn is_message(&self, _text: &str) -> bool {
        true
    }

    /// Decodes a message.
    fn receive(&mut self, text: &str, now: SystemTime) -> Option<Step>;

    /// Responds to a message that is refused without being executed; only its correlation id is
    /// read.
    fn refuse(&mut self, text: &str, error: RequestError, now: SystemTime) -> Option<Step>;

    /// Encodes the first message to a joining peer, in place of the event; called while the room is
    /// locked.
    fn welcome(&self, _: &Snapshot, _: SystemTime) -> Option<Frame> {
        None
    }

    /// Returns the encoder of the first message to a joining peer, for a join that is answered
    /// later.
    fn welcome_later(&self) -> WelcomeLater {
        Box::new(|_, _| None)
    }

    /// Decodes a binary message.
    fn receive_binary(&mut self, _: &[u8], _: SystemTime) -> Option<Step> {
        Some(Step::Tell(Frame::Close(1003, "binary messages are not accepted")))
    }

    /// Returns the number of the session to which the last message belongs.
    fn channel(&self) -> usize {
        0
    }

    /// Returns whether sessions are opened by [`Step::Connect`] rather than with the connection.
    fn connects_later(&self) -> bool {
        false
    }

    /// Encodes the response to a request for a session.
    fn connected(&mut self, _: Result<Connected<'_>, Denial>) -> String {
        String::new()
    }

    /// Returns the framing of the current channel's session, whose connection has this id.
    fn framing(&self, _: ConnectionId) -> Box<dyn Framing> {
        Box::new(Unframed)
    }

    /// Returns how a dead connection is detected.
    fn heartbeat(&self) -> Heartbeat {
        Heartbeat::Frames
    }

    /// Returns whether a close of the WebSocket without a status code ends the session.
    fn bare_close_is_leave(&self) -> bool {
        true
    }

    /// Encodes the result of the last command.
    fn answer(&mut self, result: Result<Answer, RequestError>, now: SystemTime) -> Option<Step>;

    /// Stores the secret of the session, to be sent to the client; `None` if it cannot resume.
    fn keep(&mut self, _key: Option<String>) {}

    /// Encodes the result of a resumption: the id of the resumed connection, or `None`.
    fn resumed(&mut self, _connection: Option<ConnectionId>, _now: SystemTime) -> Frame {
        Frame::Close(1011, "this protocol has no such request")
    }

    /// Returns the correlation id of the last request, if it has one.
    fn correlation(&self) -> Option<&str> {
        None
    }

    /// Returns the encoder for the response to the last media request; `None` if this protocol has
    /// none.
    fn media(&self) -> Option<MediaAnswer> {
        None
    }

    /// Handles the verification of a token: its grant, or `None` where no tokens are required.
    fn authenticated(
        &mut self,
        _: Result<Option<&Grant>, RequestError>,
        _: SystemTime,
    ) -> Option<Step> {
        None
    }

    /// Returns whether the client may send its token after the handshake.
    fn takes_tokens(&self) -> bool {
        false
    }

    /// Returns whether the client has connected to a session, and no message is incomplete.
    fn is_settled(&self) -> bool {
        true
    }
}

/// A message to the media server.
#[derive(Debug, Clone)]
pub struct MediaMessage {
    /// The room; `None` means the only room of the connection.
    pub room: Option<RoomId>,
    /// The request.
    pub request: sfu::MediaRequest,
    /// The message itself, for the node of a cluster that has the media of the room.
    pub text: Box<str>,
    /// The form of messages to the client: the index of its dialect in
    /// [`MEDIA_DIALECTS`](super::MEDIA_DIALECTS).
    pub form: usize,
}

/// Encodes the response of the media server to one request.
pub type MediaAnswer =
    Box<dyn FnOnce(Result<sfu::MediaResponse, RequestError>, SystemTime) -> Frame + Send>;

/// Encodes the first message to a joining peer, in place of the event; called while the room is
/// locked.
pub type WelcomeLater = Box<dyn FnOnce(&Snapshot, SystemTime) -> Option<Frame> + Send + Sync>;

/// Begins a conversation, or refuses the handshake.
pub type Begin = fn(&Hello<'_>) -> Result<Box<dyn Conversation>, DecodeError>;
