//! Parlor's plain protocols.

use anyhow::bail;
use parlor_testing::protocol::Protocol;

use super::{Dialect, Kind, Received, Seat, excerpt, json, text_of};

/// `/ws/{topic}`
pub(crate) struct Topic;

impl Dialect for Topic {
    fn path(&self, seat: &Seat) -> Option<String> {
        Some(Protocol::Topic.path(&seat.room))
    }

    fn decode(&self, _: &Seat, text: &[u8]) -> anyhow::Result<Received> {
        let Some(kind) = text.strip_prefix(b"{\"type\":\"") else {
            bail!("not expected: {}", excerpt(text))
        };
        Ok(match kind {
            [b'o' | b'a' | b'i', ..] => Received::Signal,
            [b'w', ..] => Received::Joined { id: text_of(&json(text)?["selfId"])? },
            kind if kind.starts_with(b"peer-list\"") => Received::Other,
            kind if kind.starts_with(b"peer-joined\"") => Received::PeerJoined,
            kind if kind.starts_with(b"peer-left\"") => Received::PeerLeft,
            _ => bail!("not expected: {}", excerpt(text)),
        })
    }

    fn signal(&self, kind: Kind, room: &str, to: Option<&str>, body: &str) -> String {
        Protocol::Topic.signal_with(kind, room, to, body)
    }
}

/// `/signal`
pub(crate) struct Session;

impl Dialect for Session {
    fn path(&self, seat: &Seat) -> Option<String> {
        Some(Protocol::Session.path(&seat.room))
    }

    fn joins_on_connect(&self) -> bool {
        true
    }

    fn announces_peers(&self) -> bool {
        false
    }

    fn decode(&self, _: &Seat, text: &[u8]) -> anyhow::Result<Received> {
        match text.strip_prefix(b"{\"type\":\"") {
            Some([b'o' | b'a' | b'c', ..]) => Ok(Received::Signal),
            // `peer-joined` and `peer-left`
            Some([b'p', ..]) => Ok(Received::Other),
            _ => bail!("not expected: {}", excerpt(text)),
        }
    }

    fn signal(&self, kind: Kind, room: &str, to: Option<&str>, body: &str) -> String {
        Protocol::Session.signal_with(kind, room, to, body)
    }
}

/// `/ws`
pub(crate) struct Envelope;

impl Dialect for Envelope {
    fn path(&self, seat: &Seat) -> Option<String> {
        Some(Protocol::Envelope.path(&seat.room))
    }

    fn first_message(&self, seat: &Seat) -> Option<String> {
        let Seat { room, name } = seat;
        Some(format!(
            r#"{{"type":"room:join","payload":{{"roomId":"{room}","user":{{"id":"{name}"}}}}}}"#
        ))
    }

    fn decode(&self, seat: &Seat, text: &[u8]) -> anyhow::Result<Received> {
        let Some(kind) = text.strip_prefix(b"{\"type\":\"") else {
            bail!("not expected: {}", excerpt(text))
        };
        Ok(match kind {
            [b's', b'd', ..] | [b'i', b'c', ..] => Received::Signal,
            [b'c', b'o', ..] => Received::Other,
            kind if kind.starts_with(b"room:state\"") => Received::Joined { id: seat.name.clone() },
            kind if kind.starts_with(b"room:participant-joined\"") => Received::PeerJoined,
            kind if kind.starts_with(b"room:participant-left\"") => Received::PeerLeft,
            _ => bail!("not expected: {}", excerpt(text)),
        })
    }

    fn signal(&self, kind: Kind, room: &str, to: Option<&str>, body: &str) -> String {
        // Clients of this protocol add timestamps.
        let signal = Protocol::Envelope.signal_with(kind, room, to, body);
        signal.replacen(r#","payload":"#, r#","timestamp":1765843200000,"payload":"#, 1)
    }
}
