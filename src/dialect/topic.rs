//! The topic dialect, `/ws/{topic}`: peer discovery and relay, nothing else.
//!
//! A client joins by connecting and leaves by closing. The server names a peer by a ULID; its
//! metadata is the query parameter `metadata`. A signal's `payload` is relayed unchanged, with its
//! `msgId`; for other protocols it is a description or a candidate.

use std::ops::Range;
use std::time::{Duration, SystemTime};

use ulid::Ulid;

use super::json::{self, Members, push_member, push_raw, push_retry, push_string};
use super::{
    Conversation, DecodeError, Dialect, Failure, Frame, Hello, Names, RequestError, Step, content,
};
use crate::id::{PeerId, RoomId};
use crate::room::{
    Answer, Code, Command, Event, Metadata, Peer, RemovalReason, RoomKind, Signal, SignalKind,
    Snapshot, Target,
};

const NAME: &str = "topic";

/// Encodes events for topic clients. Presence is best effort: a slow consumer may miss joins and
/// leaves.
pub static DIALECT: Dialect = Dialect {
    name: NAME,
    encode: |event, _| encode(event),
    media: None,
    shutdown_frame: |_, _| Frame::Close(1012, "SHUTTING_DOWN"),
    failure: |failure, _, target, _| Some(failed(failure, target)),
    expired: |_| vec![Frame::Close(1008, "UNAUTHORIZED")],
    names: Names::Given,
    backpressure_limit: Duration::from_millis(100),
    reserves: |_| false,
    presence_is_vital: false,
};

/// The types of messages, the same in both directions.
const KINDS: [(&str, SignalKind); 4] = [
    ("offer", SignalKind::Offer),
    ("answer", SignalKind::Answer),
    ("ice-candidate", SignalKind::Candidate),
    (MESSAGE, SignalKind::Message),
];

/// The type of an application message, and its name for other protocols.
const MESSAGE: &str = "message";

/// One client of a topic.
pub struct Topic {
    room: RoomId,
    peer: PeerId,
    metadata: Metadata,
    /// The ICE servers for the client, as JSON.
    ice_servers: Option<String>,
    /// The `msgId` of the current message, as JSON.
    message: Option<String>,
}

/// Begins a conversation with the topic of the path and the metadata of the query.
pub fn begin(hello: &Hello<'_>) -> Result<Box<dyn Conversation>, DecodeError> {
    let bad = |problem| DecodeError::BadId { field: "topic", problem };
    let room = RoomId::new(hello.segment.unwrap_or_default()).map_err(bad)?;
    let metadata = hello.query("metadata").filter(|text| !text.is_empty()).unwrap_or("{}");
    let expected = DecodeError::WrongType { field: "metadata", expected: "a JSON object" };
    let metadata =
        Metadata::new(&Members::parse(metadata).ok_or(expected)?.text_without(|_| false));
    let peer = ulid(hello);
    let ice_servers = hello.ice_servers.map(|servers| servers.for_peer(&peer, hello.now));
    Ok(Box::new(Topic { room, peer, metadata, ice_servers, message: None }))
}

/// Creates a ULID from the time of the handshake and the random bits of the connection's id.
fn ulid(hello: &Hello<'_>) -> PeerId {
    let since_epoch = hello.now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let milliseconds = u64::try_from(since_epoch.as_millis()).unwrap_or_default();
    let ulid = Ulid::from_parts(milliseconds, hello.connection.to_u128());
    PeerId::new(&ulid.to_string()).expect("a ULID is 26 letters and digits")
}

impl Conversation for Topic {
    fn dialect(&self) -> &'static Dialect {
        &DIALECT
    }

    fn open(&mut self) -> Vec<Step> {
        let mut welcome = String::from(r#"{"type":"welcome""#);
        push_member(&mut welcome, "selfId", self.peer.as_str());
        if let Some(ice_servers) = self.ice_servers.take() {
            push_raw(&mut welcome, "iceServers", &ice_servers);
        }
        welcome.push('}');
        let (room, peer, metadata) =
            (self.room.clone(), Some(self.peer.clone()), self.metadata.clone());
        let join = Command::Join { room, peer, metadata, kind: RoomKind::Group };
        vec![Step::Tell(Frame::Text(welcome)), Step::Do(join)]
    }

    fn receive(&mut self, text: &str, _: SystemTime) -> Option<Step> {
        self.message = None;
        match self.decode(text) {
            Ok(command) => Some(Step::Do(command)),
            Err((code, message)) => {
                let code_sent = match code {
                    "target_not_found" => Code::TargetNotFound,
                    _ => Code::InvalidMessage,
                };
                Some(Step::Refuse(code_sent, self.error(code, message, None)))
            }
        }
    }

    fn refuse(&mut self, text: &str, error: RequestError, now: SystemTime) -> Option<Step> {
        let members = Members::parse(text);
        self.message = members.and_then(|members| Some(members.get("msgId")?.get().to_owned()));
        self.answer(Err(error), now)
    }

    fn answer(&mut self, result: Result<Answer, RequestError>, _: SystemTime) -> Option<Step> {
        let error = result.err()?;
        Some(match error.code() {
            Code::TargetNotFound => {
                Step::Tell(self.error("target_not_found", "peer not found", None))
            }
            Code::DeliveryFailed => {
                Step::Tell(self.error("dropped", "the peer's queue is full", None))
            }
            Code::RateLimited => {
                let failure = Failure::from(&error);
                Step::Tell(self.error("dropped", &failure.message, Some(&failure)))
            }
            // Any other error refuses the join, so that the connection is of no use.
            code => Step::Tell(Frame::Close(1008, code.as_str())),
        })
    }
}

impl Topic {
    fn decode(&mut self, text: &str) -> Result<Command, (&'static str, &'static str)> {
        const INVALID: (&str, &str) =
            ("invalid_type", "must be an object of type offer, answer, ice-candidate or message");
        let members = Members::parse(text).ok_or(INVALID)?;
        self.message = members.get("msgId").map(|value| value.get().to_owned());
        let name = members.get("type").and_then(json::string).ok_or(INVALID)?;
        let (_, kind) = *KINDS.iter().find(|(known, _)| *known == name).ok_or(INVALID)?;
        let target = match members.get("to") {
            None if kind == SignalKind::Message => None,
            Some(to) if kind == SignalKind::Message && to.is_null() => None,
            Some(to) if to.is_string() => {
                // A peer with an invalid id does not exist.
                let to = json::id("to", to, PeerId::new)
                    .map_err(|_| ("target_not_found", "peer not found"))?;
                Some(Target::new(to))
            }
            _ => return Err(("missing_target", "to: the id of a peer is required")),
        };
        let (body, content) = if members.has("payload") {
            members.object_without(|key| !["payload", "msgId"].contains(&key), "payload")
        } else {
            self.null_payload()
        };
        let name = (kind == SignalKind::Message).then(|| MESSAGE.into());
        let signal = Signal { name, ..Signal::new(kind, NAME, body, content) };
        Ok(Command::Relay { room: Some(self.room.clone()), target, signal })
    }

    /// Returns a body with a null payload, which clients of other protocols receive.
    fn null_payload(&self) -> (Box<str>, Range<usize>) {
        let mut body = String::from(r#"{"payload":null"#);
        let content = body.len() - "null".len()..body.len();
        if let Some(message) = &self.message {
            push_raw(&mut body, "msgId", message);
        }
        body.push('}');
        (body.into(), content)
    }

    fn error(&self, code: &str, message: &str, failure: Option<&Failure<'_>>) -> Frame {
        let mut out = String::from(r#"{"type":"error""#);
        push_member(&mut out, "code", code);
        push_member(&mut out, "message", message);
        if let Some(failure) = failure {
            push_retry(&mut out, failure);
        }
        if let Some(message) = &self.message {
            push_raw(&mut out, "msgId", message);
        }
        out.push('}');
        Frame::Text(out)
    }
}

/// Encodes the error of a signal that was not delivered. Any other error is of the connection's
/// only room, without which it is of no use.
fn failed(failure: &Failure<'_>, target: Option<&str>) -> Frame {
    let (code, message) = match failure.code {
        Code::TargetNotFound => ("target_not_found", "peer not found"),
        Code::DeliveryFailed => ("dropped", &*failure.message),
        code => return Frame::Close(1008, code.as_str()),
    };
    let mut out = String::from(r#"{"type":"error""#);
    push_member(&mut out, "code", code);
    push_member(&mut out, "message", message);
    if let Some(target) = target {
        push_member(&mut out, "target", target);
    }
    out.push('}');
    Frame::Text(out)
}

fn encode(event: &Event) -> Option<Frame> {
    let text = match event {
        Event::Joined(snapshot) => peer_list(snapshot),
        Event::PeerJoined { peer, .. } => peer_event("peer-joined", peer, true),
        Event::PeerLeft { peer, .. } => peer_event("peer-left", peer, false),
        Event::PeerAway { .. }
        | Event::PeerBack { .. }
        | Event::PeerUpdated { .. }
        | Event::HungUp { .. } => {
            return None;
        }
        // There is no encoding for binary attachments.
        Event::SignalRelayed { signal, .. } if !signal.attachments.is_empty() => return None,
        Event::SignalRelayed { from, signal, .. } => relayed(from, signal),
        // Membership of the topic is the purpose of the connection, so that a removed peer is
        // disconnected.
        Event::Removed { reason: RemovalReason::Kicked, .. } => {
            return Some(Frame::Close(1008, Code::Kicked.as_str()));
        }
        Event::Removed { .. } => return Some(Frame::Close(1008, Code::RoomClosed.as_str())),
    };
    Some(Frame::Text(text))
}

fn peer_list(snapshot: &Snapshot) -> String {
    let mut out = String::from(r#"{"type":"peer-list","peers":["#);
    for (index, peer) in snapshot.others().enumerate() {
        out.push_str(if index > 0 { ",{" } else { "{" });
        push_member(&mut out, "id", peer.id.as_str());
        push_metadata(&mut out, peer);
        out.push('}');
    }
    out.push_str("]}");
    out
}

fn peer_event(kind: &str, peer: &Peer, with_metadata: bool) -> String {
    let mut out = String::from(r#"{"type":"#);
    push_string(&mut out, kind);
    push_member(&mut out, "peerId", peer.id.as_str());
    if with_metadata {
        push_metadata(&mut out, peer);
    }
    out.push('}');
    out
}

fn push_metadata(out: &mut String, peer: &Peer) {
    out.push_str(r#","metadata":{"#);
    out.push_str(peer.metadata.as_str());
    out.push('}');
}

fn relayed(from: &Peer, signal: &Signal) -> String {
    let mut out = String::with_capacity(signal.body.len() + 128);
    out.push_str(r#"{"type":"#);
    let (name, _) =
        KINDS.iter().find(|(_, kind)| *kind == signal.kind).expect("each kind has a name");
    push_string(&mut out, name);
    push_member(&mut out, "from", from.id.as_str());
    if signal.origin == NAME {
        if signal.body.len() > 2 {
            out.push(',');
        }
        out.push_str(&signal.body[1..]);
    } else {
        let payload = match signal.kind {
            SignalKind::Offer | SignalKind::Answer => content::description(signal),
            SignalKind::Candidate => content::candidate(signal),
            SignalKind::Message => content::data(signal).into(),
        };
        push_raw(&mut out, "payload", &payload);
        out.push('}');
    }
    out
}
