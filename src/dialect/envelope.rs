//! The envelope dialect, `/ws`: typed JSON envelopes with request/response correlation.
//!
//! `{ "type", "payload", "timestamp", "correlationId"? }`. A request with a correlation id gets
//! exactly one response, which carries the same id. Types are written with colons; a client whose
//! first message uses dots gets responses with dots. A signal's payload is relayed unchanged except
//! for the sender's fields; for other protocols the payload itself is the description or the
//! candidate.

pub mod checker;
pub mod decode;
pub mod encode;
mod media;
mod shape;
pub mod style;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use self::checker::Problem;
use self::decode::{Defaults, EnvelopeRequest, Resumption};
use self::encode::{Envelope, Identity};
use self::style::Style;
use super::{
    Conversation, DecodeError, Dialect, EXPIRED, Failure, Frame, Framing, Hello, MediaAnswer,
    MediaMessage, Names, RequestError, Step, WelcomeLater,
};
use crate::auth::{Denial, Grant};
use crate::ice::IceServers;
use crate::id::{ConnectionId, PeerId, RoomId};
use crate::room::{Answer, Code, Command, Snapshot};
use crate::sfu::MediaRequest;

const NAME: &str = "envelope";

/// Encodes events for envelope clients.
pub static DIALECT: Dialect = dialect(Style::Colons);
/// Encodes events for clients that write types with dots.
pub static WITH_DOTS: Dialect = dialect(Style::Dots);

const fn dialect(style: Style) -> Dialect {
    Dialect {
        name: NAME,
        encode: match style {
            Style::Colons => |event, now| encode::event(Style::Colons, event, now),
            Style::Dots => |event, now| encode::event(Style::Dots, event, now),
        },
        media: match style {
            Style::Colons => Some(|event, now| media::event(Style::Colons, event, now)),
            Style::Dots => Some(|event, now| media::event(Style::Dots, event, now)),
        },
        shutdown_frame: |_, _| Frame::Close(1012, "SHUTTING_DOWN"),
        failure: match style {
            Style::Colons => {
                |failure, room, target, now| Some(failed(Style::Colons, failure, room, target, now))
            }
            Style::Dots => {
                |failure, room, target, now| Some(failed(Style::Dots, failure, room, target, now))
            }
        },
        expired: match style {
            Style::Colons => |now| expired(Style::Colons, now),
            Style::Dots => |now| expired(Style::Dots, now),
        },
        names: Names::Chosen,
        backpressure_limit: Duration::from_secs(1),
        reserves: |_| false,
        presence_is_vital: true,
    }
}

/// The styles, in the order of [`MEDIA_DIALECTS`](super::MEDIA_DIALECTS).
const FORMS: [Style; 2] = [Style::Colons, Style::Dots];

/// Decodes a message to the media server that another node has forwarded; see
/// [`forwarded_media`](super::forwarded_media).
pub(super) fn forwarded_media(form: usize, text: &str) -> Option<(MediaRequest, MediaAnswer)> {
    let style = *FORMS.get(form)?;
    let decode::Read { correlation, request, .. } = decode::read(text, &Defaults::default());
    let Ok(EnvelopeRequest::Media(_, request)) = request else { return None };
    Some((request, media_answer(style, correlation)))
}

/// Returns the encoder for the response to a request to the media server.
fn media_answer(style: Style, correlation: Option<String>) -> MediaAnswer {
    Box::new(move |result, now| {
        let correlation = correlation.as_deref();
        Frame::Text(match result {
            Ok(answer) => {
                let (kind, payload) = media::answer(&answer);
                Envelope { style, kind, now, correlation }.with(|out| out.push_str(&payload))
            }
            Err(error) => {
                let envelope = Envelope { style, kind: "error", now, correlation };
                envelope.with(|out| encode::error(out, &Failure::from(&error), None, &[]))
            }
        })
    })
}

fn failed(
    style: Style,
    failure: &Failure<'_>,
    room: &RoomId,
    target: Option<&str>,
    now: SystemTime,
) -> Frame {
    let envelope = Envelope { style, kind: "error", now, correlation: None };
    Frame::Text(envelope.with(|out| encode::failure(out, failure, room, target)))
}

fn expired(style: Style, now: SystemTime) -> Vec<Frame> {
    let failure = Failure::new(Code::Unauthorized, EXPIRED);
    let envelope = Envelope { style, kind: "error", now, correlation: None };
    let error = envelope.with(|out| encode::error(out, &failure, None, &[]));
    vec![Frame::Text(error), Frame::Close(1008, Code::Unauthorized.as_str())]
}

/// Numbers every envelope.
#[derive(Debug, Clone, Copy)]
pub struct Sequence;

impl Framing for Sequence {
    fn complete(&self, frame: &mut String, number: u64) {
        encode::number(frame, number);
    }

    fn is_numbered(&self) -> bool {
        true
    }
}

/// One client of `/ws`.
pub struct Typed {
    connection: ConnectionId,
    heartbeat: Duration,
    now: SystemTime,
    /// `None` until the first message.
    style: Option<Style>,
    is_settled: bool,
    /// Whether the client must authenticate first.
    needs_token: bool,
    /// Defaults for joins in the current `auth:request`.
    requested: Defaults,
    /// Defaults for joins in the last successful `auth:request`.
    defaults: Defaults,
    /// The session that the current request resumes.
    resumption: Option<Resumption>,
    /// The subject of the client's token; `None` without one.
    user: Option<PeerId>,
    /// When the token expires.
    expires_at: Option<SystemTime>,
    ice_servers: Option<Arc<IceServers>>,
    /// The correlation id of the current request.
    correlation: Option<String>,
    /// The token with which the client may resume its session.
    resume_token: Option<String>,
    /// Whether a `room:state` has carried the resume token.
    is_token_sent: bool,
    /// The room that the current request leaves.
    leaving: Option<RoomId>,
}

/// Begins a conversation.
pub fn begin(hello: &Hello<'_>) -> Result<Box<dyn Conversation>, DecodeError> {
    Ok(Box::new(Typed {
        connection: hello.connection,
        heartbeat: hello.heartbeat,
        now: hello.now,
        style: None,
        is_settled: false,
        needs_token: hello.needs_token,
        requested: Defaults::default(),
        defaults: Defaults::default(),
        resumption: None,
        user: None,
        expires_at: None,
        ice_servers: hello.ice_servers.cloned(),
        correlation: None,
        resume_token: None,
        is_token_sent: false,
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
            Ok(EnvelopeRequest::Authenticate { token, defaults, resumption }) => {
                (self.requested, self.resumption) = (defaults, resumption);
                Some(Step::Authenticate(token))
            }
            Ok(EnvelopeRequest::Ping(payload)) => {
                Some(self.tell("pong", |out| out.push_str(&payload)))
            }
            Ok(EnvelopeRequest::Media(..)) if self.needs_token => {
                let failure = Failure::from(&RequestError::Denied(Denial::Unauthorized));
                Some(Step::Refuse(failure.code, self.error(&failure, &[])))
            }
            Ok(EnvelopeRequest::Media(room, request)) => {
                let form = FORMS.iter().position(|form| *form == self.style()).unwrap_or_default();
                Some(Step::Media(MediaMessage { room, request, text: text.into(), form }))
            }
            Ok(EnvelopeRequest::Command(command)) => {
                self.is_settled |= matches!(command, Command::Join { .. }) && !self.needs_token;
                if let Command::Leave { room } = &command {
                    self.leaving.clone_from(room);
                }
                Some(Step::Do(command))
            }
        }
    }

    fn refuse(&mut self, text: &str, error: RequestError, now: SystemTime) -> Option<Step> {
        // Only the correlation id is used.
        _ = self.read(text, now);
        self.answer(Err(error), now)
    }

    fn current_dialect(&self) -> &'static Dialect {
        match self.style() {
            Style::Colons => &DIALECT,
            Style::Dots => &WITH_DOTS,
        }
    }

    fn keep(&mut self, resume_token: Option<String>) {
        self.resume_token = resume_token;
    }

    fn resumed(&mut self, resumed: Option<ConnectionId>, now: SystemTime) -> Frame {
        self.now = now;
        self.connection = resumed.unwrap_or(self.connection);
        let identity = Identity {
            role: None,
            expires_at: self.expires_at,
            recovered: Some(resumed.is_some()),
        };
        self.identified(&identity)
    }

    fn framing(&self, _: ConnectionId) -> Box<dyn Framing> {
        Box::new(Sequence)
    }

    fn welcome(&self, snapshot: &Snapshot, now: SystemTime) -> Option<Frame> {
        let token = self.resume_token.as_deref().filter(|_| !self.is_token_sent);
        Some(self.envelope("room:state", now).with_token(token, |out| {
            let ice_servers =
                self.ice_servers.as_ref().map(|servers| servers.for_peer(&snapshot.me.id, now));
            encode::room_state(out, snapshot, ice_servers.as_deref());
        }))
    }

    fn welcome_later(&self) -> WelcomeLater {
        let token = self.resume_token.clone().filter(|_| !self.is_token_sent);
        let (style, correlation, servers) =
            (self.style(), self.correlation.clone(), self.ice_servers.clone());
        Box::new(move |snapshot, now| {
            let envelope =
                Envelope { style, kind: "room:state", now, correlation: correlation.as_deref() };
            Some(envelope.with_token(token.as_deref(), |out| {
                let servers = servers.map(|servers| servers.for_peer(&snapshot.me.id, now));
                encode::room_state(out, snapshot, servers.as_deref());
            }))
        })
    }

    fn answer(&mut self, result: Result<Answer, RequestError>, now: SystemTime) -> Option<Step> {
        self.now = now;
        match result {
            // Sent before all other events of the room: see `welcome`.
            Ok(Answer::Joined(_)) => {
                self.is_token_sent = true;
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

    fn correlation(&self) -> Option<&str> {
        self.correlation.as_deref()
    }

    fn media(&self) -> Option<MediaAnswer> {
        Some(media_answer(self.style(), self.correlation.clone()))
    }

    fn authenticated(
        &mut self,
        result: Result<Option<&Grant>, RequestError>,
        now: SystemTime,
    ) -> Option<Step> {
        self.now = now;
        let requested = std::mem::take(&mut self.requested);
        match result {
            Ok(grant) => {
                let Defaults { room, role } = requested;
                self.defaults = Defaults {
                    room: room.or(self.defaults.room.take()),
                    role: role.or(self.defaults.role.take()),
                };
                (self.is_settled, self.needs_token) = (true, false);
                self.user = grant.map(|grant| grant.subject.clone());
                self.expires_at = grant.map(|grant| grant.expires_at);
                if let Some(Resumption { token, seen }) = self.resumption.take() {
                    return Some(Step::Resume { resume_token: token, seen });
                }
                let role = self.defaults.role.clone();
                let identity = Identity { role, expires_at: self.expires_at, recovered: None };
                Some(Step::Tell(self.identified(&identity)))
            }
            Err(error) => {
                let failure = Failure::from(&error);
                Some(self.tell("auth:response", |out| encode::not_authenticated(out, &failure)))
            }
        }
    }

    fn takes_tokens(&self) -> bool {
        true
    }

    fn is_settled(&self) -> bool {
        self.is_settled
    }
}

impl Typed {
    /// Reads a message, and stores the data for its response.
    fn read(&mut self, text: &str, now: SystemTime) -> Result<EnvelopeRequest, Vec<Problem>> {
        let decode::Read { style, correlation, request } = decode::read(text, &self.defaults);
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

    fn identified(&self, identity: &Identity) -> Frame {
        let connection = PeerId::from(self.connection);
        let (user, token) =
            (self.user.as_ref().unwrap_or(&connection), self.resume_token.as_deref());
        let envelope = self.envelope("auth:response", self.now);
        envelope.with_token(token, |out| encode::authenticated(out, user, identity))
    }

    fn error(&self, failure: &Failure<'_>, problems: &[Problem]) -> Frame {
        Frame::Text(
            self.envelope("error", self.now)
                .with(|out| encode::error(out, failure, None, problems)),
        )
    }

    fn invalid(&self, problems: &[Problem]) -> Step {
        let message = problems.first().map(ToString::to_string).unwrap_or_default();
        let failure = Failure::new(Code::InvalidMessage, &message);
        Step::Refuse(failure.code, self.error(&failure, problems))
    }
}
