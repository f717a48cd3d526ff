//! Decodes envelopes to requests; all fields are checked before a request is executed.

use std::ops::Range;

use uuid::Uuid;

use super::checker::{Checker, Problem};
use super::style::Style;
use super::{NAME, media};
use crate::dialect::json::{Members, push_member, push_raw};
use crate::dialect::{merge_patch, message};
use crate::id::{PeerId, RoomId};
use crate::json::JsonText;
use crate::room::{Command, Metadata, RoomKind, Signal, SignalKind, Target};
use crate::sfu;

/// The data for the resumption of a session.
#[derive(Debug)]
pub struct Resumption {
    /// The resume token that the client received last.
    pub token: String,
    /// The number of the last envelope that the client has received.
    pub seen: u64,
}

/// Values of `auth:request` for each `room:join` that does not state its own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Defaults {
    /// The room to join.
    pub room: Option<RoomId>,
    /// The role to show to other peers.
    pub role: Option<String>,
}

/// A decoded request.
#[derive(Debug)]
pub enum EnvelopeRequest {
    /// `auth:request`
    Authenticate {
        /// The token.
        token: Option<String>,
        /// Defaults for each `room:join` of this connection.
        defaults: Defaults,
        /// The session to resume.
        resumption: Option<Resumption>,
    },
    /// `ping`, with its payload unchanged.
    Ping(String),
    /// A request to the media server, in a room if one is named.
    Media(Option<RoomId>, sfu::MediaRequest),
    /// A command for the rooms.
    Command(Command),
}

/// The result of reading a message.
#[derive(Debug)]
pub struct Read {
    /// The spelling of its type, if it can be determined.
    pub style: Option<Style>,
    /// The correlation id, if it is valid.
    pub correlation: Option<String>,
    /// The request, or the problems of the message.
    pub request: Result<EnvelopeRequest, Vec<Problem>>,
}

/// Fields of a relayed payload that the server writes; a client cannot set them.
const SENDER_FIELDS: [&str; 3] = ["fromUserId", "roomId", "sentAt"];

/// Reads a message.
pub fn read(text: &str, defaults: &Defaults) -> Read {
    let nothing = |problem: &str| Read {
        style: None,
        correlation: None,
        request: Err(vec![Problem { path: "".into(), problem: problem.to_owned() }]),
    };
    let Some(members) = Members::parse(text) else {
        return nothing(if JsonText::parse(text).is_some() {
            "must be an object"
        } else {
            "not JSON"
        });
    };
    let mut envelope = Checker::new(members);
    // Serializers of typed languages write null for absent fields.
    let is_given = |key| envelope.members.get(key).is_some_and(|value| !value.is_null());
    let (has_correlation, has_timestamp) = (is_given("correlationId"), is_given("timestamp"));
    let correlation = if has_correlation { envelope.text("correlationId") } else { None };
    let is_uuid = correlation.as_deref().is_none_or(|id| Uuid::try_parse(id).is_ok());
    let correlation = correlation.filter(|_| is_uuid);
    if !is_uuid {
        envelope.wrong("correlationId", "must be a UUID");
    }
    if has_timestamp && envelope.members.get("timestamp").is_some_and(|value| !value.is_number()) {
        envelope.wrong("timestamp", "must be a number");
    }
    if !envelope.members.has("type") {
        envelope.wrong("type", "missing");
    }
    let kind = envelope.text("type");
    let style = kind.as_deref().and_then(Style::of);
    let request = match kind {
        Some(kind) if envelope.problems.is_empty() => {
            request(&kind.replace('.', ":"), &envelope.members, defaults)
        }
        _ => Err(envelope.problems),
    };
    Read { style, correlation, request }
}

/// Requests to rooms and to the connection itself, without signals and requests to the media
/// server.
const REQUESTS: [&str; 6] =
    ["auth:request", "room:join", "room:leave", "room:state", "room:message", "room:update"];

fn request(
    kind: &str,
    envelope: &Members<'_>,
    defaults: &Defaults,
) -> Result<EnvelopeRequest, Vec<Problem>> {
    if kind == "ping" {
        let payload = envelope.get("payload").map_or("{}", JsonText::get);
        return Ok(EnvelopeRequest::Ping(payload.to_owned()));
    }
    let signal = match kind {
        "sdp:offer" => Some(SignalKind::Offer),
        "sdp:answer" => Some(SignalKind::Answer),
        "ice:candidate" => Some(SignalKind::Candidate),
        _ => None,
    };
    if signal.is_none() && !REQUESTS.contains(&kind) && !media::KINDS.contains(&kind) {
        return Err(vec![Problem { path: "type".into(), problem: "unknown".to_owned() }]);
    }
    let payload = match envelope.get("payload") {
        Some(value) => Members::read(value),
        None => Some(Members::default()),
    };
    let Some(payload) = payload else {
        return Err(vec![Problem {
            path: "payload".into(),
            problem: "must be an object".to_owned(),
        }]);
    };
    let mut payload = Checker::new(payload);
    if media::KINDS.contains(&kind) {
        return media::request(kind, payload)
            .map(|(room, request)| EnvelopeRequest::Media(room, request));
    }
    let timestamp = envelope.get("timestamp").filter(|value| !value.is_null());
    match (kind, signal) {
        (_, Some(signal)) => relay(signal, payload, timestamp),
        ("room:message", _) => application_message(payload, timestamp),
        ("room:update", _) => update(payload),
        ("auth:request", _) => {
            let token = payload.text("payload.token");
            let role = payload.text("payload.role");
            let room = payload.id("payload.roomId", RoomId::new);
            let last = payload.members.get("lastSequence").map(|value| value.get().parse());
            if last.as_ref().is_some_and(Result::is_err) {
                payload.wrong("payload.lastSequence", "must be a whole number");
            }
            // A client that names no number has received nothing.
            let seen = last.and_then(Result::ok).unwrap_or_default();
            let resumption =
                payload.text("payload.resumeToken").map(|token| Resumption { token, seen });
            payload.done(|| EnvelopeRequest::Authenticate {
                token,
                defaults: Defaults { room, role },
                resumption,
            })
        }
        ("room:join", _) => join(payload, defaults),
        ("room:leave", _) => {
            let room = payload.required("payload.roomId", RoomId::new);
            payload.done(|| EnvelopeRequest::Command(Command::Leave { room }))
        }
        _ => {
            let room = payload.required("payload.roomId", RoomId::new);
            let problems = payload.problems;
            match room {
                Some(room) if problems.is_empty() => {
                    Ok(EnvelopeRequest::Command(Command::Inspect { room }))
                }
                _ => Err(problems),
            }
        }
    }
}

fn join(mut payload: Checker<'_>, defaults: &Defaults) -> Result<EnvelopeRequest, Vec<Problem>> {
    let room = match &defaults.room {
        Some(room) if !payload.members.has("roomId") => Some(room.clone()),
        _ => payload.required("payload.roomId", RoomId::new),
    };
    let mut display_name = payload.text("payload.displayName");
    let given = payload.object("payload.metadata").unwrap_or_default();
    let mut peer = None;
    let mut role = None;
    if let Some(user) = payload.object("payload.user") {
        let mut user = Checker::new(user);
        peer = user.id("payload.user.id", PeerId::new);
        display_name = user.text("payload.user.displayName").or(display_name);
        role = user.text("payload.user.role");
        payload.problems.extend(user.problems);
    }
    if role.is_none() && !given.has("role") {
        role.clone_from(&defaults.role);
    }
    let mut metadata = String::from("{");
    metadata.push_str(&given.text_without(|key| {
        (display_name.is_some() && (key == "displayName" || key == "name"))
            || (role.is_some() && key == "role")
    }));
    if let Some(name) = &display_name {
        push_member(&mut metadata, "displayName", name);
        push_member(&mut metadata, "name", name);
    }
    if let Some(role) = &role {
        push_member(&mut metadata, "role", role);
    }
    let Some(room) = room.filter(|_| payload.problems.is_empty()) else {
        return Err(payload.problems);
    };
    let metadata = Metadata::new(&metadata[1..]);
    Ok(EnvelopeRequest::Command(Command::Join { room, peer, metadata, kind: RoomKind::Group }))
}

fn relay(
    kind: SignalKind,
    mut payload: Checker<'_>,
    timestamp: Option<JsonText<'_>>,
) -> Result<EnvelopeRequest, Vec<Problem>> {
    let room = payload.id("payload.roomId", RoomId::new);
    let target = payload.id("payload.targetUserId", PeerId::new).map(Target::new);
    let is_text_or_null = |value: JsonText<'_>| value.is_null() || value.is_string();
    if kind == SignalKind::Candidate {
        match payload.members.get("candidate") {
            None => payload.wrong("payload.candidate", "missing"),
            Some(value) if !is_text_or_null(value) => {
                payload.wrong("payload.candidate", "must be a string or null");
            }
            Some(_) => {}
        }
        if payload.members.get("sdpMid").is_some_and(|value| !is_text_or_null(value)) {
            payload.wrong("payload.sdpMid", "must be a string or null");
        }
        if payload
            .members
            .get("sdpMLineIndex")
            .is_some_and(|value| !value.is_null() && !value.is_number())
        {
            payload.wrong("payload.sdpMLineIndex", "must be a number or null");
        }
    } else {
        match payload.members.get("sdp") {
            None => payload.wrong("payload.sdp", "missing"),
            Some(value) if !value.is_string() || value.get() == "\"\"" => {
                payload.wrong("payload.sdp", "must be a string that is not empty");
            }
            Some(_) => {}
        }
        if payload.members.get("type").is_some_and(|value| !value.is_string()) {
            payload.wrong("payload.type", "must be a string");
        }
    }
    let (body, _) = relayed_payload(&payload.members, "", timestamp);
    let content = 0..body.len();
    let signal = Signal::new(kind, NAME, body, content);
    payload.done(|| EnvelopeRequest::Command(Command::Relay { room, target, signal }))
}

/// Returns the relayed form of a payload, and the range in it of the value of `key`.
fn relayed_payload(
    payload: &Members<'_>,
    key: &str,
    timestamp: Option<JsonText<'_>>,
) -> (Box<str>, Range<usize>) {
    let (object, range) = payload.object_without(|key| SENDER_FIELDS.contains(&key), key);
    let Some(timestamp) = timestamp else { return (object, range) };
    let mut body = String::from(object);
    body.pop();
    push_raw(&mut body, "sentAt", timestamp.get());
    body.push('}');
    (body.into(), range)
}

fn application_message(
    mut payload: Checker<'_>,
    timestamp: Option<JsonText<'_>>,
) -> Result<EnvelopeRequest, Vec<Problem>> {
    let room = payload.id("payload.roomId", RoomId::new);
    let target = payload.id("payload.targetUserId", PeerId::new).map(Target::new);
    for (path, key) in [("payload.topic", "topic"), ("payload.data", "data")] {
        if !payload.members.has(key) {
            payload.wrong(path, "missing");
        }
    }
    let topic = payload.text("payload.topic");
    if let Some(Err(error)) = topic.as_deref().map(|topic| message::check_name("", topic)) {
        payload.wrong_field("payload.topic", &error);
    }
    let (body, content) = relayed_payload(&payload.members, "data", timestamp);
    let name = topic.map(Into::into);
    let signal = Signal { name, ..Signal::new(SignalKind::Message, NAME, body, content) };
    payload.done(|| EnvelopeRequest::Command(Command::Relay { room, target, signal }))
}

fn update(mut payload: Checker<'_>) -> Result<EnvelopeRequest, Vec<Problem>> {
    let room = payload.id("payload.roomId", RoomId::new);
    let patch = match payload.members.get("metadata").map(|value| merge_patch::read("", value)) {
        Some(Ok(patch)) => Some(patch),
        Some(Err(error)) => {
            payload.wrong_field("payload.metadata", &error);
            None
        }
        None => {
            payload.wrong("payload.metadata", "missing");
            None
        }
    };
    match patch {
        Some(patch) if payload.problems.is_empty() => {
            Ok(EnvelopeRequest::Command(Command::Update { room, patch }))
        }
        _ => Err(payload.problems),
    }
}
