//! The protocols of the measured servers: joining a room, sending signals, recognizing received
//! messages.
//!
//! - [`Dialect`]: one per protocol, without state.
//! - [`Seat`]: the room and name of a client.
//! - [`Received`]: the meaning of a received message. Signals are recognized by their first bytes,
//!   since a load reads a hundred thousand of them per second; others are decoded as JSON. The
//!   decoder of the shared test client would parse each.
//! - [`Kind`], [`body`]: the signals. Each holds a [`MARK`], a number that identifies it.

use anyhow::Context;
use serde_json::Value;

mod parlor;
mod peers;
mod socketio;

pub(crate) use parlor::{Envelope, Session, Topic};
pub(crate) use peers::{Copying, Matchbox, PeerJs, Ws};
pub(crate) use socketio::SocketIo;

/// The room of a client, and its name if the protocol has names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seat {
    pub(crate) room: String,
    pub(crate) name: String,
}

/// A received message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Received {
    /// An offer, answer or candidate.
    Signal,
    /// The client has joined its room with this id.
    Joined { id: String },
    /// The client has an id, and must send `join` to join its room.
    Id { id: String, join: String },
    /// The client has joined the requested room.
    JoinedRoom,
    /// Another client has joined.
    PeerJoined,
    /// Another client has left.
    PeerLeft,
    /// The server expects this reply: a heartbeat, or the next step of joining.
    Expects(String),
    /// A message without meaning for loads.
    Other,
}

pub(crate) use parlor_testing::protocol::SignalKind as Kind;

pub(crate) trait Dialect: Sync {
    /// Returns the path of the WebSocket; `None` for servers without WebSocket.
    fn path(&self, seat: &Seat) -> Option<String>;

    /// Returns the first message of a client.
    fn first_message(&self, _seat: &Seat) -> Option<String> {
        None
    }

    /// Returns whether an open connection has joined its room without a confirmation.
    fn joins_on_connect(&self) -> bool {
        false
    }

    /// Returns whether joins and leaves are announced.
    fn announces_peers(&self) -> bool {
        true
    }

    /// Decodes a received text.
    fn decode(&self, seat: &Seat, text: &[u8]) -> anyhow::Result<Received>;

    /// Returns the message to join a further room, if the protocol allows it.
    fn join(&self, _room: &str) -> Option<String> {
        None
    }

    /// Returns the message to leave a room.
    fn leave(&self, _room: &str, _other: Option<&str>) -> Option<String> {
        None
    }

    /// Returns the last message before a client closes its connection.
    fn last_message(&self) -> Option<String> {
        None
    }

    /// Returns a signal with this body to one peer or, if the protocol allows it, to all others in
    /// the room.
    fn signal(&self, kind: Kind, room: &str, to: Option<&str>, body: &str) -> String;
}

/// Placeholder for a signal's number. Its digits are replaced in the encoded frame.
pub(crate) const MARK: &str = "#0000000000";

/// Returns a JSON body of `bytes` bytes.
pub(crate) fn body(kind: Kind, bytes: usize) -> String {
    let (begin, line, end) = match kind {
        Kind::Offer | Kind::Answer => (
            format!(
                r#"{{"type":"{}","sdp":"v=0\r\ns={MARK}\r\n"#,
                if kind == Kind::Offer { "offer" } else { "answer" }
            ),
            r"a=rtcp-fb:96 goog-remb transport-cc\r\na=fmtp:96 level-asymmetry-allowed=1;packetization-mode=1\r\n",
            r#""}"#,
        ),
        Kind::Candidate => (
            format!(
                r#"{{"candidate":"candidate:{MARK} 1 udp 1677729535 203.0.113.7 54400 typ srflx "#
            ),
            "raddr 192.0.2.17 rport 61665 generation 0 ufrag EsAw network-id 1 network-cost 10 ",
            r#"","sdpMid":"0","sdpMLineIndex":0,"usernameFragment":"EsAw"}"#,
        ),
    };
    let mut body = begin;
    let room = bytes.checked_sub(body.len() + end.len()).expect("a body has room for its fields");
    body.push_str(&line.repeat(room / line.len()));
    body.push_str(&"x".repeat(room % line.len()));
    body.push_str(end);
    body
}

fn json(text: &[u8]) -> anyhow::Result<Value> {
    serde_json::from_slice(text).with_context(|| format!("no JSON: {}", excerpt(text)))
}

fn text_of(value: &Value) -> anyhow::Result<String> {
    value.as_str().map(str::to_owned).context("a text is missing")
}

/// Returns the beginning of a text, for error messages.
pub(crate) fn excerpt(text: &[u8]) -> String {
    String::from_utf8_lossy(&text[..text.len().min(200)]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_json_of_the_wanted_length_with_one_mark() {
        for (kind, bytes) in [(Kind::Candidate, 200), (Kind::Offer, 4096), (Kind::Answer, 4096)] {
            let body = body(kind, bytes);
            assert_eq!(body.len(), bytes);
            assert!(serde_json::from_str::<Value>(&body).unwrap().is_object());
            assert_eq!(body.matches(MARK).count(), 1);
        }
    }

    #[test]
    fn every_signal_is_json_with_the_room_the_target_and_the_body() {
        let dialects: [&dyn Dialect; 7] =
            [&SocketIo, &Topic, &Session, &Envelope, &Ws, &PeerJs, &Matchbox];
        for dialect in dialects {
            for kind in [Kind::Offer, Kind::Answer, Kind::Candidate] {
                let signal = dialect.signal(kind, "some-room", Some("some-peer"), &body(kind, 400));
                let begin = signal.find(['{', '[']).unwrap();
                assert!(serde_json::from_str::<Value>(&signal[begin..]).is_ok(), "{signal}");
                assert!(signal.contains("some-peer") || signal.contains("some-room"), "{signal}");
                assert_eq!(signal.matches(MARK).count(), 1, "{signal}");
            }
        }
    }
}
