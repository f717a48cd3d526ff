//! What is said and told on each wire, in the same words for all of them.

use anyhow::{Context, bail};
use serde_json::{Value, json};

/// How a client reaches the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wire {
    /// Socket.IO by WebSocket from the start.
    WebSocket,
    /// Socket.IO by polling to the end.
    Polling,
    /// Socket.IO that begins with polling and goes on by WebSocket.
    Upgrade,
    Envelope,
    Topic,
    Session,
}

impl Wire {
    pub(crate) const ALL: [Self; 6] =
        [Self::WebSocket, Self::Polling, Self::Upgrade, Self::Envelope, Self::Topic, Self::Session];

    /// Those that rooms of more than two may have, and that tell of peers.
    pub(crate) const GROUP: [Self; 5] = [Self::WebSocket, Self::Polling, Self::Upgrade, Self::Envelope, Self::Topic];

    /// Those that are a WebSocket and no Socket.IO.
    pub(crate) const PLAIN: [Self; 3] = [Self::Envelope, Self::Topic, Self::Session];

    pub(crate) fn is_socketio(self) -> bool {
        matches!(self, Self::WebSocket | Self::Polling | Self::Upgrade)
    }

    /// Whether its clients are told who is there, who comes and who goes.
    pub(crate) fn speaks_of_peers(self) -> bool {
        self != Self::Session
    }

    /// Whether its clients may come back after a drop, and are told when others drop and come back.
    pub(crate) fn comes_back(self) -> bool {
        self.is_socketio() || self == Self::Envelope
    }

    pub(crate) fn begins_with_polling(self) -> bool {
        matches!(self, Self::Polling | Self::Upgrade)
    }

    /// Whether its clients choose the id by which others know them.
    pub(crate) fn names_itself(self) -> bool {
        self.is_socketio() || self == Self::Envelope
    }

    /// Whether its clients can say something to everyone in a room of many.
    pub(crate) fn says_to_all(self) -> bool {
        self.names_itself()
    }

    /// The path of a WebSocket that enters a room. Socket.IO clients and those of envelopes say later which.
    pub(crate) fn path(self, room: &str) -> String {
        match self {
            Self::WebSocket | Self::Polling | Self::Upgrade => "/socket.io/?EIO=4&transport=websocket".to_owned(),
            Self::Envelope => "/ws".to_owned(),
            Self::Topic => format!("/ws/{room}"),
            Self::Session => format!("/signal?sessionId={room}"),
        }
    }

    pub(crate) fn signal(self, room: &str, to: Option<&str>, kind: Kind, text: &str) -> String {
        let name = kind.name();
        let body = match kind {
            Kind::Candidate => json!({ "candidate": text, "sdpMid": "0", "sdpMLineIndex": 0 }),
            Kind::Offer | Kind::Answer => json!({ "type": name, "sdp": text }),
        };
        match self {
            Self::WebSocket | Self::Polling | Self::Upgrade => {
                let key = if kind == Kind::Candidate { "candidate" } else { name };
                let mut argument = json!({ "roomId": room, key: body });
                if let Some(to) = to {
                    argument["targetId"] = json!(to);
                }
                format!("42{}", json!([name, argument]))
            }
            Self::Envelope => {
                let mut payload = body;
                payload["roomId"] = json!(room);
                if let Some(to) = to {
                    payload["targetUserId"] = json!(to);
                }
                let kind = if kind == Kind::Candidate { "ice:candidate".to_owned() } else { format!("sdp:{name}") };
                json!({ "type": kind, "payload": payload }).to_string()
            }
            Self::Topic => json!({ "type": name, "to": to, "payload": body }).to_string(),
            Self::Session if kind == Kind::Candidate => {
                json!({ "type": "candidate", "sessionId": room, "candidate": body }).to_string()
            }
            Self::Session => json!({ "type": name, "sessionId": room, "sdp": text }).to_string(),
        }
    }

    /// The word by which one leaves a room and stays connected, where there is one.
    pub(crate) fn leave(self, room: &str) -> Option<String> {
        match self {
            Self::WebSocket | Self::Polling | Self::Upgrade => Some(format!("42{}", json!(["leave-room", room]))),
            Self::Envelope => Some(json!({ "type": "room:leave", "payload": { "roomId": room } }).to_string()),
            Self::Session => Some(json!({ "type": "leave", "sessionId": room }).to_string()),
            Self::Topic => None,
        }
    }

    /// The number of what was told, where it has one.
    pub(crate) fn number(self, text: &str) -> anyhow::Result<Option<Number>> {
        if self == Self::Envelope {
            let message: Value = serde_json::from_str(text)?;
            let value = message["sequence"].as_u64().with_context(|| format!("no number in {text}"))?;
            return Ok(Some(Number { value, text: None }));
        }
        let Some(event) = text.strip_prefix("42").filter(|_| self.is_socketio()) else { return Ok(None) };
        let event: Vec<Value> = serde_json::from_str(event)?;
        let Some(offset) = event.last().and_then(Value::as_str) else { return Ok(None) };
        let (_, value) = offset.rsplit_once('-').with_context(|| format!("{offset} is no offset"))?;
        Ok(Some(Number { value: value.parse()?, text: Some(offset.to_owned()) }))
    }

    /// Reads what was told; `None` where it is of no interest.
    pub(crate) fn hear(self, text: &str) -> anyhow::Result<Option<Heard>> {
        let heard = match self {
            Self::WebSocket | Self::Polling | Self::Upgrade => hear_socketio(text),
            Self::Envelope => hear_envelope(text),
            Self::Topic => hear_topic(text),
            Self::Session => hear_session(text),
        };
        heard.with_context(|| format!("{self:?} was told {text}"))
    }
}

/// The number of a message, and how a client gives it back that does not say the number itself.
#[derive(Debug, Clone, Default)]
pub(crate) struct Number {
    pub(crate) value: u64,
    pub(crate) text: Option<String>,
}

/// The kinds of signals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Offer,
    Answer,
    Candidate,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Offer => "offer",
            Self::Answer => "answer",
            Self::Candidate => "ice-candidate",
        }
    }
}

/// What a client is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Heard {
    Joined(String),
    Left(String),
    /// Its connection dropped, and may come back.
    Away(String),
    /// It did.
    Back(String),
    /// `from` is empty where the wire names nobody.
    Signal {
        kind: Kind,
        from: String,
        text: String,
    },
    /// An error, by its code.
    Refused(String),
    Ended(Ended),
    /// Something that the wire has no such words for.
    Garbled(String),
}

/// How the server ended a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// By a close frame with this code, or by Engine.IO's close packet (0).
    Closed(u16),
    /// Without a word.
    Lost,
}

fn text(value: &Value) -> anyhow::Result<String> {
    value.as_str().map(str::to_owned).with_context(|| format!("a string, not {value}"))
}

/// What stands in a description: text, or an object around it.
fn sdp(value: &Value) -> anyhow::Result<String> {
    if value.is_string() { text(value) } else { text(&value["sdp"]) }
}

fn candidate(value: &Value) -> anyhow::Result<String> {
    if value.is_string() { text(value) } else { text(&value["candidate"]) }
}

fn signal(kind: Kind, from: &Value, content: anyhow::Result<String>) -> anyhow::Result<Option<Heard>> {
    Ok(Some(Heard::Signal { kind, from: text(from)?, text: content? }))
}

fn hear_socketio(said: &str) -> anyhow::Result<Option<Heard>> {
    let Some(event) = said.strip_prefix("42") else { return Ok(None) };
    let event: Value = serde_json::from_str(event)?;
    let (name, body) = (event[0].as_str().context("an event has a name")?, &event[1]);
    Ok(Some(match name {
        "user-joined" => Heard::Joined(text(&body["userId"])?),
        "user-left" => Heard::Left(text(&body["userId"])?),
        "user-away" => Heard::Away(text(&body["userId"])?),
        "user-back" => Heard::Back(text(&body["userId"])?),
        "offer" => return signal(Kind::Offer, &body["from"], sdp(&body["offer"])),
        "answer" => return signal(Kind::Answer, &body["from"], sdp(&body["answer"])),
        "ice-candidate" => return signal(Kind::Candidate, &body["from"], candidate(&body["candidate"])),
        "error" => Heard::Refused(text(&body["code"])?),
        other => bail!("the event {other} is not expected"),
    }))
}

fn hear_envelope(said: &str) -> anyhow::Result<Option<Heard>> {
    let message: Value = serde_json::from_str(said)?;
    let (kind, payload) = (message["type"].as_str().context("an envelope has a type")?, &message["payload"]);
    let from = &payload["fromUserId"];
    Ok(Some(match kind {
        "room:participant-joined" => Heard::Joined(text(&payload["participant"]["userId"])?),
        "room:participant-left" => Heard::Left(text(&payload["userId"])?),
        "room:participant-away" => Heard::Away(text(&payload["userId"])?),
        "room:participant-back" => Heard::Back(text(&payload["userId"])?),
        "sdp:offer" => return signal(Kind::Offer, from, text(&payload["sdp"])),
        "sdp:answer" => return signal(Kind::Answer, from, text(&payload["sdp"])),
        "ice:candidate" => return signal(Kind::Candidate, from, candidate(&payload["candidate"])),
        "error" => Heard::Refused(text(&payload["code"])?),
        "room:state" | "connection:ack" => return Ok(None),
        other => bail!("the type {other} is not expected"),
    }))
}

fn hear_topic(said: &str) -> anyhow::Result<Option<Heard>> {
    let message: Value = serde_json::from_str(said)?;
    let (from, payload) = (&message["from"], &message["payload"]);
    Ok(Some(match message["type"].as_str().context("a message has a type")? {
        "peer-joined" => Heard::Joined(text(&message["peerId"])?),
        "peer-left" => Heard::Left(text(&message["peerId"])?),
        "offer" => return signal(Kind::Offer, from, sdp(payload)),
        "answer" => return signal(Kind::Answer, from, sdp(payload)),
        "ice-candidate" => return signal(Kind::Candidate, from, candidate(payload)),
        "error" => Heard::Refused(text(&message["code"])?),
        other => bail!("the type {other} is not expected"),
    }))
}

fn hear_session(said: &str) -> anyhow::Result<Option<Heard>> {
    let message: Value = serde_json::from_str(said)?;
    let nobody = json!("");
    match message["type"].as_str().context("a message has a type")? {
        "offer" => signal(Kind::Offer, &nobody, sdp(&message["sdp"])),
        "answer" => signal(Kind::Answer, &nobody, sdp(&message["sdp"])),
        "candidate" => signal(Kind::Candidate, &nobody, candidate(&message["candidate"])),
        "error" => Ok(Some(Heard::Refused(text(&message["code"])?))),
        other => bail!("the type {other} is not expected"),
    }
}
