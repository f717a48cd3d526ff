//! What the servers speak: how a client comes into a room, how it sends a signal, what it is told.
//!
//! - [`Dialect`]: one per protocol, without state.
//! - [`Seat`]: which room a client is for, and what it calls itself there.
//! - [`Heard`]: what a text means to a load. Signals are recognized by their first bytes, since a load reads a hundred
//!   thousand of them per second; the rest is decoded as JSON. The decoder of the shared test client would parse each.
//! - [`Kind`], [`body`]: the signals. Each holds a [`MARK`], a number in a place of its own, by which a load knows what
//!   arrived.

use anyhow::Context;
use serde_json::Value;

mod parlor;
mod peers;
mod socketio;

pub(crate) use parlor::{Envelope, Session, Topic};
pub(crate) use peers::{Copying, Matchbox, PeerJs, Ws};
pub(crate) use socketio::SocketIo;

/// A client's place: its room, and its own name where a client may have one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seat {
    pub(crate) room: String,
    pub(crate) name: String,
}

/// What a client is told.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// An offer, an answer or a candidate of another.
    Signal,
    /// It is in its room, by this id. Others send to it there.
    Joined { id: String },
    /// It has an id, and is to say this to come into its room.
    Id { id: String, say: String },
    /// It is in the room that it asked for.
    Entered,
    /// Another came into its room.
    Came,
    /// Another went.
    Went,
    /// The server wants to hear this: a heartbeat, or the next step on the way in.
    Wants(String),
    /// Nothing that a load minds.
    Other,
}

pub(crate) use parlor_testing::protocol::SignalKind as Kind;

pub(crate) trait Dialect: Sync {
    /// Where its WebSocket is; `None` for what is no WebSocket server.
    fn path(&self, seat: &Seat) -> Option<String>;

    /// What a client says as soon as its connection is open.
    fn greeting(&self, _seat: &Seat) -> Option<String> {
        None
    }

    /// Whether an open connection is in its room, and nobody says so.
    fn is_in_once_open(&self) -> bool {
        false
    }

    /// Whether those in a room are told who comes and goes.
    fn tells_who_comes(&self) -> bool {
        true
    }

    /// What is meant by a text.
    fn hear(&self, seat: &Seat, text: &[u8]) -> anyhow::Result<Heard>;

    /// How a client that is connected already comes into a further room, where it can.
    fn join(&self, _room: &str) -> Option<String> {
        None
    }

    /// How a client leaves a room, before its connection ends.
    fn leave(&self, _room: &str, _other: Option<&str>) -> Option<String> {
        None
    }

    /// The last word of a client that closes its connection.
    fn goodbye(&self) -> Option<String> {
        None
    }

    /// A signal with this body, to one or, where the dialect can, to everybody else in the room.
    fn signal(&self, kind: Kind, room: &str, to: Option<&str>, body: &str) -> String;
}

/// The number in a body, before it is given one. Its digits are replaced in the finished frame.
pub(crate) const MARK: &str = "#0000000000";

/// A body of a kind that is so many bytes of JSON.
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
            format!(r#"{{"candidate":"candidate:{MARK} 1 udp 1677729535 203.0.113.7 54400 typ srflx "#),
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

/// The beginning of a text, for a message to people.
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
        let dialects: [&dyn Dialect; 7] = [&SocketIo, &Topic, &Session, &Envelope, &Ws, &PeerJs, &Matchbox];
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
