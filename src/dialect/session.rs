//! The session dialect, `/signal`: one-to-one calls over a shared link.
//!
//! A pair session is a two-peer room with a queue. Peers have no names: other protocols identify a
//! peer by its connection id, and messages of this protocol carry no ids. A message is relayed with
//! all its keys; for other protocols its `sdp` is a description (text or an object) and its
//! `candidate` a candidate.

mod language;

use std::time::{Duration, SystemTime};

use self::language::Language;
use super::json::{self, Members, push_failure, push_member, push_raw, push_string};
use super::{
    Conversation, DecodeError, Dialect, Failure, Frame, Hello, Names, RequestError, Step, content,
};
use crate::id::RoomId;
use crate::room::{
    Answer, Code, Command, Event, LeaveReason, Metadata, RemovalReason, RoomError, RoomKind,
    Signal, SignalKind,
};

const NAME: &str = "session";

/// Encodes events for session clients.
pub static DIALECT: Dialect = Dialect {
    name: NAME,
    encode: |event, _| encode(event),
    media: None,
    shutdown_frame: |_, _| Frame::Close(1012, "SHUTTING_DOWN"),
    failure: |failure, room, _, _| Some(Frame::Text(error_text(Some(room), failure))),
    expired: |_| vec![Frame::Close(1008, "UNAUTHORIZED")],
    names: Names::Unspoken,
    backpressure_limit: Duration::from_secs(1),
    reserves: |_| false,
    presence_is_vital: true,
};

/// One client of a pair session.
pub struct SignalClient {
    language: Language,
    /// The session that the client is in, or was in last.
    current: Option<RoomId>,
    is_settled: bool,
    /// The session that the current message names.
    named: Option<RoomId>,
    /// The first signal, which is relayed once the client has joined.
    first: Option<Command>,
}

/// Begins a conversation; the client joins the session of the query, if there is one.
pub fn begin(hello: &Hello<'_>) -> Result<Box<dyn Conversation>, DecodeError> {
    let bad = |problem| DecodeError::BadId { field: "sessionId", problem };
    let named = hello.query("sessionId").map(RoomId::new).transpose().map_err(bad)?;
    let language = Language::preferred(hello.languages.unwrap_or_default());
    Ok(Box::new(SignalClient {
        language,
        current: None,
        is_settled: named.is_some(),
        named,
        first: None,
    }))
}

impl Conversation for SignalClient {
    fn dialect(&self) -> &'static Dialect {
        &DIALECT
    }

    fn open(&mut self) -> Vec<Step> {
        self.named.clone().map(|session| join(session, RoomKind::Pair)).into_iter().collect()
    }

    fn receive(&mut self, text: &str, _: SystemTime) -> Option<Step> {
        self.named = None;
        match self.decode(text) {
            Ok(step) => {
                self.is_settled = true;
                Some(step)
            }
            Err(error) => {
                let failure = Failure::from(&RequestError::Decode(error));
                Some(Step::Refuse(failure.code, self.error(&failure)))
            }
        }
    }

    fn refuse(&mut self, text: &str, error: RequestError, now: SystemTime) -> Option<Step> {
        let members = Members::parse(text);
        self.named = members
            .and_then(|members| json::id("sessionId", members.get("sessionId")?, RoomId::new).ok());
        self.answer(Err(error), now)
    }

    fn answer(&mut self, result: Result<Answer, RequestError>, _: SystemTime) -> Option<Step> {
        match result {
            Ok(Answer::Joined(snapshot)) => {
                self.current = Some(snapshot.room.clone());
                self.first.take().map(Step::Do)
            }
            Ok(_) => None,
            Err(RequestError::Room(error @ RoomError::RoomFull { .. })) => {
                self.first = None;
                // The error, followed by the close frame.
                Some(Step::Last(
                    self.error_text(&Failure::from(&RequestError::Room(error))),
                    1008,
                    "ROOM_FULL",
                ))
            }
            Err(error) => {
                self.first = None;
                let code = match error.code() {
                    // A session that this connection has never joined.
                    Code::SessionEnded if self.current.is_some() && self.current != self.named => {
                        Code::SessionNotFound
                    }
                    code => code,
                };
                Some(Step::Tell(match code {
                    Code::SessionEnded => {
                        self.error(&Failure::new(code, self.language.session_ended()))
                    }
                    Code::SessionNotFound => {
                        self.error(&Failure::new(code, self.language.session_not_found()))
                    }
                    _ => self.error(&Failure::from(&error)),
                }))
            }
        }
    }

    fn is_settled(&self) -> bool {
        self.is_settled
    }
}

fn join(room: RoomId, kind: RoomKind) -> Step {
    Step::Do(Command::Join { room, peer: None, metadata: Metadata::default(), kind })
}

impl SignalClient {
    fn decode(&mut self, text: &str) -> Result<Step, DecodeError> {
        const NOT_AN_OBJECT: DecodeError =
            DecodeError::WrongType { field: "the message", expected: "a JSON object" };
        let members = Members::parse(text).ok_or(NOT_AN_OBJECT)?;
        let kind = members.get("type").ok_or(DecodeError::Missing("type"))?;
        let kind = json::string(kind)
            .ok_or(DecodeError::WrongType { field: "type", expected: "a string" })?;
        let session = members.get("sessionId").ok_or(DecodeError::Missing("sessionId"))?;
        let session = json::id("sessionId", session, RoomId::new)?;
        self.named = Some(session.clone());
        let kind = match &*kind {
            "join" => return Ok(join(session, RoomKind::Pair)),
            "leave" => return Ok(Step::Do(Command::Leave { room: Some(session) })),
            "hangup" => return Ok(Step::Do(Command::HangUp { room: Some(session) })),
            "offer" => SignalKind::Offer,
            "answer" => SignalKind::Answer,
            "candidate" => SignalKind::Candidate,
            _ => {
                let expected = "join, leave, offer, answer, candidate or hangup";
                return Err(DecodeError::WrongType { field: "type", expected });
            }
        };
        let relay = Command::Relay {
            room: Some(session.clone()),
            target: None,
            signal: signal(kind, &members)?,
        };
        if self.current.is_some() {
            return Ok(Step::Do(relay));
        }
        // The first signal also joins, unless its session has ended.
        self.first = Some(relay);
        Ok(join(session, RoomKind::PairUnlessEnded))
    }

    fn error_text(&self, failure: &Failure<'_>) -> String {
        error_text(self.named.as_ref(), failure)
    }

    fn error(&self, failure: &Failure<'_>) -> Frame {
        Frame::Text(self.error_text(failure))
    }
}

fn error_text(session: Option<&RoomId>, failure: &Failure<'_>) -> String {
    let mut out = String::from(r#"{"type":"error""#);
    if let Some(session) = session {
        push_member(&mut out, "sessionId", session.as_str());
    }
    push_failure(&mut out, failure);
    out.push('}');
    out
}

fn signal(kind: SignalKind, members: &Members<'_>) -> Result<Signal, DecodeError> {
    let key = if kind == SignalKind::Candidate { "candidate" } else { "sdp" };
    let value = members.get(key).ok_or(DecodeError::Missing(key))?;
    let is_text = value.is_string();
    match kind {
        SignalKind::Candidate if is_text || value.is_object() || value.is_null() => {}
        SignalKind::Candidate => {
            return Err(DecodeError::WrongType {
                field: key,
                expected: "a string, an object or null",
            });
        }
        SignalKind::Offer | SignalKind::Answer | SignalKind::Message => {
            if !is_text && !value.is_object() {
                return Err(DecodeError::WrongType {
                    field: key,
                    expected: "a string or {type, sdp}",
                });
            }
            let text = if is_text {
                Some(value)
            } else {
                Members::read(value).and_then(|object| object.get("sdp"))
            };
            if text.is_none_or(|text| !text.is_string() || text.get() == "\"\"") {
                return Err(DecodeError::WrongType {
                    field: key,
                    expected: "a session description that is not empty",
                });
            }
        }
    }
    let (body, content) = members.object_without(|key| key == "type" || key == "sessionId", key);
    Ok(Signal::new(kind, NAME, body, content))
}

fn encode(event: &Event) -> Option<Frame> {
    let mut out = String::new();
    match event {
        // A hang-up has an event of its own.
        Event::Joined(_)
        | Event::PeerLeft { reason: LeaveReason::HungUp, .. }
        | Event::PeerAway { .. }
        | Event::PeerBack { .. }
        | Event::PeerUpdated { .. } => return None,
        Event::PeerJoined { room, .. } => begin_message(&mut out, "peer-joined", room),
        Event::PeerLeft { room, .. } => begin_message(&mut out, "peer-left", room),
        Event::SignalRelayed { room, signal, .. } => {
            out.reserve(signal.body.len() + 64);
            begin_message(&mut out, kind_name(signal.kind)?, room);
            if signal.origin == NAME {
                out.push(',');
                out.push_str(&signal.body[1..]);
                return Some(Frame::Text(out));
            }
            match signal.kind {
                SignalKind::Offer | SignalKind::Answer => {
                    push_raw(&mut out, "sdp", &content::description(signal));
                }
                SignalKind::Candidate => {
                    push_raw(&mut out, "candidate", &content::candidate(signal));
                }
                SignalKind::Message => return None,
            }
        }
        Event::HungUp { room } | Event::Removed { room, reason: RemovalReason::HungUp } => {
            begin_message(&mut out, "hangup", room);
        }
        Event::Removed { reason: RemovalReason::Replaced, .. } => {
            return Some(Frame::Close(1008, "REPLACED"));
        }
        Event::Removed { reason: RemovalReason::Kicked, .. } => {
            return Some(Frame::Close(1008, "KICKED"));
        }
        Event::Removed { reason: RemovalReason::Closed, .. } => {
            return Some(Frame::Close(1008, "ROOM_CLOSED"));
        }
    }
    out.push('}');
    Some(Frame::Text(out))
}

fn begin_message(out: &mut String, kind: &str, session: &RoomId) {
    out.push_str(r#"{"type":"#);
    push_string(out, kind);
    push_member(out, "sessionId", session.as_str());
}

/// Returns the type of a signal; `None` for application messages, which this protocol does not
/// have.
fn kind_name(kind: SignalKind) -> Option<&'static str> {
    match kind {
        SignalKind::Offer => Some("offer"),
        SignalKind::Answer => Some("answer"),
        SignalKind::Candidate => Some("candidate"),
        SignalKind::Message => None,
    }
}
