//! The messages of the four protocols, as text: what a client sends, and what it receives in common
//! terms.

use anyhow::{Context, bail};
use serde_json::{Value, json};

/// A protocol that clients speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Socket.IO.
    SocketIo,
    /// `/ws`
    Envelope,
    /// `/ws/{topic}`
    Topic,
    /// `/signal`
    Session,
}

/// The kind of a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignalKind {
    /// An SDP offer.
    Offer,
    /// An SDP answer.
    Answer,
    /// An ICE candidate.
    Candidate,
}

/// An event that a client receives, in the same terms for every protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A peer joined.
    Joined(String),
    /// A peer left.
    Left(String),
    /// A peer lost its connection and may resume.
    Away(String),
    /// A peer resumed.
    Back(String),
    /// An SDP offer. `from` is [`UNNAMED`] if the protocol does not name the sender.
    Offer {
        /// The sender's id.
        from: String,
        /// The session description.
        sdp: String,
    },
    /// An SDP answer.
    Answer {
        /// The sender's id.
        from: String,
        /// The session description.
        sdp: String,
    },
    /// An ICE candidate.
    Candidate {
        /// The sender's id.
        from: String,
        /// `None` at the end of candidates.
        candidate: Option<String>,
    },
    /// An error, by its code.
    Error(String),
    /// The connection ended with this close code: [`LOST`] without a close frame, [`ENGINE_CLOSE`]
    /// by a packet of Engine.IO.
    Closed(u16),
    /// A message that is not one of the protocol's, and why not.
    Invalid(String),
}

/// The close code of a connection that ended without a close frame.
pub const LOST: u16 = 1006;

/// The close code of a connection that ended by a CLOSE packet of Engine.IO.
pub const ENGINE_CLOSE: u16 = 0;

/// The id of the other peer where the protocol has no ids.
pub const UNNAMED: &str = "";

/// The sequence number of a message.
#[derive(Debug, Clone, Default)]
pub struct Sequence {
    /// The number, one more than that of the message before.
    pub number: u64,
    /// The offset that a Socket.IO client sends back in place of the number.
    pub offset: Option<String>,
}

impl SignalKind {
    /// The name of Socket.IO events and topic messages.
    fn event(self) -> &'static str {
        match self {
            Self::Offer => "offer",
            Self::Answer => "answer",
            Self::Candidate => "ice-candidate",
        }
    }

    /// The name of the field with the content.
    fn name(self) -> &'static str {
        match self {
            Self::Offer => "offer",
            Self::Answer => "answer",
            Self::Candidate => "candidate",
        }
    }

    /// Returns what browsers signal: an `RTCSessionDescriptionInit` or `RTCIceCandidateInit`;
    /// `null` is the end of candidates.
    fn body(self, content: Option<&str>) -> Value {
        match (self, content) {
            (Self::Candidate, None) => Value::Null,
            (Self::Candidate, Some(text)) => {
                json!({ "candidate": text, "sdpMid": "0", "sdpMLineIndex": 0 })
            }
            (Self::Offer | Self::Answer, content) => json!({ "type": self.name(), "sdp": content }),
        }
    }
}

impl Protocol {
    /// All protocols.
    pub const ALL: [Self; 4] = [Self::SocketIo, Self::Envelope, Self::Topic, Self::Session];

    /// Whether the server announces other peers: present ones, and those that join and leave.
    pub fn announces_peers(self) -> bool {
        self != Self::Session
    }

    /// Whether a client may resume its session, and the server announces peers that are away or
    /// back.
    pub fn resumes(self) -> bool {
        matches!(self, Self::SocketIo | Self::Envelope)
    }

    /// Whether a client can signal all others in a room of more than two.
    pub fn broadcasts(self) -> bool {
        matches!(self, Self::SocketIo | Self::Envelope)
    }

    /// The path of the WebSocket. Topic and session clients join the room by it.
    pub fn path(self, room: &str) -> String {
        match self {
            Self::SocketIo => "/socket.io/?EIO=4&transport=websocket".to_owned(),
            Self::Envelope => "/ws".to_owned(),
            Self::Topic => format!("/ws/{room}"),
            Self::Session => format!("/signal?sessionId={room}"),
        }
    }

    /// Returns the path for a client with a name, which topic clients send as metadata.
    pub fn join_path(self, room: &str, name: &str) -> String {
        let path = self.path(room);
        if self == Self::Topic {
            format!("{path}?metadata=%7B%22name%22%3A%22{name}%22%7D")
        } else {
            path
        }
    }

    /// The message that joins a room, unless the path does.
    pub fn join(self, room: &str, name: &str) -> Option<String> {
        match self {
            Self::SocketIo => {
                let join = json!(["join-room", { "roomId": room, "userId": name, "name": name }]);
                Some(format!("42{join}"))
            }
            Self::Envelope => {
                let payload =
                    json!({ "roomId": room, "user": { "id": name, "displayName": name } });
                Some(json!({ "type": "room:join", "payload": payload }).to_string())
            }
            Self::Topic | Self::Session => None,
        }
    }

    /// The message that leaves a room and keeps the connection, if the protocol has one.
    pub fn leave(self, room: &str) -> Option<String> {
        match self {
            Self::SocketIo => Some(format!("42{}", json!(["leave-room", room]))),
            Self::Envelope => {
                Some(json!({ "type": "room:leave", "payload": { "roomId": room } }).to_string())
            }
            Self::Session => Some(json!({ "type": "leave", "sessionId": room }).to_string()),
            Self::Topic => None,
        }
    }

    /// A signal as browsers send it, to one peer or to all others. `content` is the SDP or the
    /// candidate; `None` is the end of candidates.
    pub fn signal(
        self,
        kind: SignalKind,
        room: &str,
        to: Option<&str>,
        content: Option<&str>,
    ) -> String {
        // A session client sends the SDP alone.
        let is_text = self == Self::Session && kind != SignalKind::Candidate;
        let body = if is_text { json!(content) } else { kind.body(content) };
        self.signal_with(kind, room, to, &body.to_string())
    }

    /// A signal with any JSON as its body. An envelope takes the fields of an object; `null`
    /// becomes a null candidate.
    pub fn signal_with(self, kind: SignalKind, room: &str, to: Option<&str>, body: &str) -> String {
        let (event, name) = (kind.event(), kind.name());
        let quoted = |text: &str| Value::from(text).to_string();
        let target =
            |key: &str| to.map(|id| format!(r#""{key}":{},"#, quoted(id))).unwrap_or_default();
        let room = quoted(room);
        match self {
            Self::SocketIo => {
                format!(
                    r#"42["{event}",{{"roomId":{room},{}"{name}":{body}}}]"#,
                    target("targetId")
                )
            }
            Self::Envelope => {
                let kind = if kind == SignalKind::Candidate {
                    "ice:candidate".to_owned()
                } else {
                    format!("sdp:{name}")
                };
                let fields = body.strip_prefix('{').unwrap_or(r#""candidate":null}"#);
                let target = target("targetUserId");
                format!(r#"{{"type":"{kind}","payload":{{"roomId":{room},{target}{fields}}}"#)
            }
            Self::Topic => format!(r#"{{"type":"{event}",{}"payload":{body}}}"#, target("to")),
            Self::Session => {
                let key = if kind == SignalKind::Candidate { "candidate" } else { "sdp" };
                format!(r#"{{"type":"{name}","sessionId":{room},"{key}":{body}}}"#)
            }
        }
    }

    /// Returns the sequence number of a received message, if it has one.
    pub fn sequence(self, text: &str) -> anyhow::Result<Option<Sequence>> {
        if self == Self::Envelope {
            let message: Value = serde_json::from_str(text)?;
            let number = message["sequence"]
                .as_u64()
                .with_context(|| format!("no sequence number in {text}"))?;
            return Ok(Some(Sequence { number, offset: None }));
        }
        let Some(event) = text.strip_prefix("42").filter(|_| self == Self::SocketIo) else {
            return Ok(None);
        };
        let event: Value = serde_json::from_str(event)?;
        let Some(offset) = offset_of(&event) else { return Ok(None) };
        let (_, number) =
            offset.rsplit_once('-').with_context(|| format!("invalid offset {offset}"))?;
        Ok(Some(Sequence { number: number.parse()?, offset: Some(offset.to_owned()) }))
    }

    /// Decodes a received message; `None` for those that are not events.
    pub fn decode(self, text: &str) -> anyhow::Result<Option<Event>> {
        let event = match self {
            Self::SocketIo => decode_socketio(text),
            Self::Envelope => decode_envelope(text),
            Self::Topic => decode_topic(text).map(Some),
            Self::Session => decode_session(text),
        };
        event.with_context(|| format!("{self:?} received {text}"))
    }
}

impl Event {
    /// Returns the kind, the sender and the content of a signal.
    pub fn signal(&self) -> Option<(SignalKind, &str, &str)> {
        match self {
            Self::Offer { from, sdp } => Some((SignalKind::Offer, from, sdp)),
            Self::Answer { from, sdp } => Some((SignalKind::Answer, from, sdp)),
            Self::Candidate { from, candidate } => {
                Some((SignalKind::Candidate, from, candidate.as_deref().unwrap_or_default()))
            }
            _ => None,
        }
    }
}

fn string(value: &Value) -> anyhow::Result<String> {
    value.as_str().map(str::to_owned).with_context(|| format!("expected a string, not {value}"))
}

/// Reads an SDP that is a string or in an object.
fn sdp(value: &Value) -> anyhow::Result<String> {
    if value.is_string() { string(value) } else { string(&value["sdp"]) }
}

fn candidate(value: &Value) -> anyhow::Result<Option<String>> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text.clone())),
        init => string(&init["candidate"]).map(Some),
    }
}

/// Returns whether Socket.IO clients get an event of this name beside the documented ones.
pub fn is_beside(name: &str) -> bool {
    BESIDE.contains(&name)
}

const BESIDE: [&str; 7] = [
    "user-connected",
    "user-disconnected",
    "existing-peers",
    "existing-users",
    "all-users",
    "existing-participants",
    "participants-list",
];

fn decode_socketio(text: &str) -> anyhow::Result<Option<Event>> {
    let Some(event) = text.strip_prefix("42") else { return Ok(None) };
    let event: Value = serde_json::from_str(event)?;
    if offset_of(&event).is_some() {
        return Ok(None);
    }
    let (name, body) = (event[0].as_str().context("an event has a name")?, &event[1]);
    let (user, from) = (|| string(&body["userId"]), || string(&body["from"]));
    Ok(Some(match name {
        "user-joined" => Event::Joined(user()?),
        "user-left" => Event::Left(user()?),
        "user-away" => Event::Away(user()?),
        "user-back" => Event::Back(user()?),
        "offer" => Event::Offer { from: from()?, sdp: sdp(&body["offer"])? },
        "answer" => Event::Answer { from: from()?, sdp: sdp(&body["answer"])? },
        "ice-candidate" => {
            Event::Candidate { from: from()?, candidate: candidate(&body["candidate"])? }
        }
        "error" => Event::Error(string(&body["code"])?),
        "room-joined" => return Ok(None),
        name if is_beside(name) => return Ok(None),
        other => bail!("unexpected event {other}"),
    }))
}

/// Returns the offset that an event consists of, if it is one that numbers the event before it.
pub fn offset_of(event: &Value) -> Option<&str> {
    let [Value::String(only)] = &event.as_array()?[..] else { return None };
    let (tag, number) = only.split_once('-')?;
    (tag.len() == 6 && number.parse::<u64>().is_ok()).then_some(only)
}

fn decode_envelope(text: &str) -> anyhow::Result<Option<Event>> {
    let message: Value = serde_json::from_str(text)?;
    let (kind, payload) =
        (message["type"].as_str().context("an envelope has a type")?, &message["payload"]);
    let (user, from) = (|| string(&payload["userId"]), || string(&payload["fromUserId"]));
    Ok(Some(match kind {
        "room:participant-joined" => Event::Joined(string(&payload["participant"]["userId"])?),
        "room:participant-left" => Event::Left(user()?),
        "room:participant-away" => Event::Away(user()?),
        "room:participant-back" => Event::Back(user()?),
        "sdp:offer" => Event::Offer { from: from()?, sdp: string(&payload["sdp"])? },
        "sdp:answer" => Event::Answer { from: from()?, sdp: string(&payload["sdp"])? },
        "ice:candidate" => {
            Event::Candidate { from: from()?, candidate: candidate(&payload["candidate"])? }
        }
        "error" => Event::Error(string(&payload["code"])?),
        "room:state" => return Ok(None),
        other => bail!("unexpected type {other}"),
    }))
}

fn decode_topic(text: &str) -> anyhow::Result<Event> {
    let message: Value = serde_json::from_str(text)?;
    let (peer, from, payload) =
        (|| string(&message["peerId"]), || string(&message["from"]), &message["payload"]);
    Ok(match message["type"].as_str().context("a message has a type")? {
        "peer-joined" => Event::Joined(peer()?),
        "peer-left" => Event::Left(peer()?),
        "offer" => Event::Offer { from: from()?, sdp: sdp(payload)? },
        "answer" => Event::Answer { from: from()?, sdp: sdp(payload)? },
        "ice-candidate" => Event::Candidate { from: from()?, candidate: candidate(payload)? },
        "error" => Event::Error(string(&message["code"])?),
        other => bail!("unexpected type {other}"),
    })
}

fn decode_session(text: &str) -> anyhow::Result<Option<Event>> {
    let message: Value = serde_json::from_str(text)?;
    let from = UNNAMED.to_owned();
    Ok(Some(match message["type"].as_str().context("a message has a type")? {
        "offer" => Event::Offer { from, sdp: sdp(&message["sdp"])? },
        "answer" => Event::Answer { from, sdp: sdp(&message["sdp"])? },
        "candidate" => Event::Candidate { from, candidate: candidate(&message["candidate"])? },
        "error" => Event::Error(string(&message["code"])?),
        // The other peer has no name to announce.
        "peer-joined" | "peer-left" => return Ok(None),
        other => bail!("unexpected type {other}"),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_signal_is_valid_json_with_its_content() {
        for protocol in Protocol::ALL {
            for (kind, content) in [
                (SignalKind::Offer, Some("v=0 \"x\"")),
                (SignalKind::Answer, Some("v=0 \"x\"")),
                (SignalKind::Candidate, Some("candidate:1 \"x\"")),
                (SignalKind::Candidate, None),
            ] {
                let text = protocol.signal(kind, "a \"room\"", Some("a \"peer\""), content);
                let json = text.strip_prefix("42").unwrap_or(&text);
                let message: Value =
                    serde_json::from_str(json).unwrap_or_else(|error| panic!("{error}: {text}"));
                let fields = if protocol == Protocol::SocketIo { &message[1] } else { &message };
                let payload =
                    if protocol == Protocol::Envelope { &fields["payload"] } else { fields };
                if protocol == Protocol::Topic {
                    assert_eq!(payload["to"], "a \"peer\"", "{text}");
                } else {
                    let key = if protocol == Protocol::Session { "sessionId" } else { "roomId" };
                    assert_eq!(payload[key], "a \"room\"", "{text}");
                }
                assert_eq!(text.contains(r#" \"x\""#), content.is_some(), "{text}");
            }
        }
    }
}
