//! The envelope dialect, `/ws`: typed JSON envelopes with request/response correlation.
//!
//! `{ "type", "payload", "timestamp", "correlationId"? }`. Where a request carries a correlation id, exactly one answer
//! carries it back. Types are written with colons; a client that begins with dots is answered with dots. A signal's
//! payload passes as it came, less the sender's fields; read as a signal of another wire, the payload itself is the
//! description or the candidate.

pub mod decode;
pub mod encode;

use std::time::{Duration, SystemTime};

use self::decode::{Problem, Request};
use self::encode::{Envelope, Identity, Style};
use super::{Conversation, DecodeError, Dialect, Failure, Frame, Hello, RequestError, Step};
use crate::id::{ConnectionId, RoomId};
use crate::room::{Answer, Code, Command, Snapshot};

const NAME: &str = "envelope";

/// How events are written for envelope clients.
pub static DIALECT: Dialect = dialect(Style::Colons);
/// The same, for those that began with dots.
static WITH_DOTS: Dialect = dialect(Style::Dots);

const fn dialect(style: Style) -> Dialect {
    Dialect {
        name: NAME,
        encode: match style {
            Style::Colons => |event, now| encode::event(Style::Colons, event, now),
            Style::Dots => |event, now| encode::event(Style::Dots, event, now),
        },
        number: Some(|text, number, _| encode::number(text, number)),
        farewell: |_, _| Frame::Close(1001, "SHUTTING_DOWN"),
        patience: Duration::from_secs(1),
        presence_is_vital: true,
    }
}

/// One client of `/ws`.
pub struct Typed {
    connection: ConnectionId,
    heartbeat: Duration,
    now: SystemTime,
    /// Unknown until the first message.
    style: Option<Style>,
    is_settled: bool,
    /// The correlation id of the request in hand.
    correlation: Option<String>,
    /// What the client must know to come back after a drop.
    resume_token: Option<String>,
    /// Whether a `room:state` has told it already.
    has_told_token: bool,
    /// The room that the request in hand leaves.
    leaving: Option<RoomId>,
}

/// Begins.
pub fn begin(hello: &Hello<'_>) -> Result<Box<dyn Conversation>, DecodeError> {
    Ok(Box::new(Typed {
        connection: hello.connection,
        heartbeat: hello.heartbeat,
        now: hello.now,
        style: None,
        is_settled: false,
        correlation: None,
        resume_token: None,
        has_told_token: false,
        leaving: None,
    }))
}

impl Conversation for Typed {
    fn dialect(&self) -> &'static Dialect {
        &DIALECT
    }

    fn open(&mut self) -> Vec<Step> {
        vec![Step::Tell(encode::acknowledged(self.connection, self.heartbeat, self.now))]
    }

    fn receive(&mut self, text: &str, now: SystemTime) -> Option<Step> {
        match self.read(text, now) {
            Err(problems) => Some(self.invalid(&problems)),
            Ok(Request::Authenticate { role }) => {
                self.is_settled = true;
                Some(Step::Tell(self.authenticated(role.as_deref(), None)))
            }
            Ok(Request::Resume { token, last_sequence }) => {
                self.is_settled = true;
                Some(Step::Resume { key: token, seen: last_sequence })
            }
            Ok(Request::Ping(payload)) => Some(self.tell("pong", |out| out.push_str(&payload))),
            Ok(Request::Sfu) => {
                let failure = Failure::new(Code::TransportError, "no media server configured");
                Some(Step::Refuse(failure.code, self.error(&failure, &[])))
            }
            Ok(Request::Command(command)) => {
                self.is_settled |= matches!(command, Command::Join { .. });
                if let Command::Leave { room } = &command {
                    self.leaving.clone_from(room);
                }
                Some(Step::Do(command))
            }
        }
    }

    fn refuse(&mut self, text: &str, error: RequestError, now: SystemTime) -> Option<Step> {
        // Read for its correlation id alone.
        _ = self.read(text, now);
        self.answer(Err(error), now)
    }

    fn speaks(&self) -> &'static Dialect {
        match self.style() {
            Style::Colons => &DIALECT,
            Style::Dots => &WITH_DOTS,
        }
    }

    fn keep(&mut self, key: Option<String>) {
        self.resume_token = key;
    }

    fn resumed(&mut self, place: Option<ConnectionId>, now: SystemTime) -> Frame {
        self.now = now;
        self.connection = place.unwrap_or(self.connection);
        self.authenticated(None, Some(place.is_some()))
    }

    fn welcome(&self, snapshot: &Snapshot, now: SystemTime) -> Option<String> {
        let token = self.resume_token.as_deref().filter(|_| !self.has_told_token);
        Some(self.envelope("room:state", now).with(|out| encode::room_state(out, snapshot, token)))
    }

    fn answer(&mut self, result: Result<Answer, RequestError>, now: SystemTime) -> Option<Step> {
        self.now = now;
        match result {
            // Told already, before anything else of the room: see `welcome`.
            Ok(Answer::Joined(_)) => {
                self.has_told_token = true;
                None
            }
            Ok(Answer::Inspected(snapshot)) => {
                Some(self.tell("room:state", |out| encode::room_state(out, &snapshot, None)))
            }
            Ok(Answer::Left) => {
                let room = self.leaving.take()?;
                Some(self.tell("room:state", |out| encode::room_left(out, &room)))
            }
            Ok(Answer::Relayed) => {
                self.correlation.as_ref()?;
                Some(self.tell("ok", |out| out.push_str("{}")))
            }
            Err(error) => Some(Step::Tell(self.error(&Failure::from(&error), &[]))),
        }
    }

    fn is_settled(&self) -> bool {
        self.is_settled
    }
}

impl Typed {
    /// Reads a message, and keeps what its answer needs.
    fn read(&mut self, text: &str, now: SystemTime) -> Result<Request, Vec<Problem>> {
        let decode::Read { style, correlation, request } = decode::read(text);
        self.style = self.style.or(style);
        (self.correlation, self.leaving, self.now) = (correlation, None, now);
        request
    }

    fn style(&self) -> Style {
        self.style.unwrap_or(Style::Colons)
    }

    fn envelope<'a>(&'a self, kind: &'a str, now: SystemTime) -> Envelope<'a> {
        Envelope { style: self.style(), kind, now, correlation: self.correlation.as_deref() }
    }

    fn tell(&self, kind: &str, payload: impl FnOnce(&mut String)) -> Step {
        Step::Tell(Frame::Text(self.envelope(kind, self.now).with(payload)))
    }

    fn authenticated(&self, role: Option<&str>, recovered: Option<bool>) -> Frame {
        let identity = Identity { connection: self.connection, role, recovered, token: self.resume_token.as_deref() };
        Frame::Text(self.envelope("auth:response", self.now).with(|out| encode::authenticated(out, &identity)))
    }

    fn error(&self, failure: &Failure<'_>, problems: &[Problem]) -> Frame {
        Frame::Text(self.envelope("error", self.now).with(|out| encode::error(out, failure, None, problems)))
    }

    fn invalid(&self, problems: &[Problem]) -> Step {
        let message = problems.first().map(ToString::to_string).unwrap_or_default();
        let failure = Failure::new(Code::InvalidMessage, &message);
        Step::Refuse(failure.code, self.error(&failure, problems))
    }
}
