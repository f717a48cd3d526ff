//! Parlor's plain protocols.

use anyhow::bail;
use parlor_testing::protocol::Protocol;

use super::{Dialect, Heard, Kind, Seat, excerpt, json, text_of};

/// `/ws/{topic}`
pub(crate) struct Topic;

impl Dialect for Topic {
    fn path(&self, seat: &Seat) -> Option<String> {
        Some(Protocol::Topic.path(&seat.room))
    }

    fn hear(&self, _: &Seat, text: &[u8]) -> anyhow::Result<Heard> {
        let Some(kind) = text.strip_prefix(b"{\"type\":\"") else { bail!("not expected: {}", excerpt(text)) };
        Ok(match kind {
            [b'o' | b'a' | b'i', ..] => Heard::Signal,
            [b'w', ..] => Heard::Joined { id: text_of(&json(text)?["selfId"])? },
            kind if kind.starts_with(b"peer-list\"") => Heard::Other,
            kind if kind.starts_with(b"peer-joined\"") => Heard::Came,
            kind if kind.starts_with(b"peer-left\"") => Heard::Went,
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

    fn is_in_once_open(&self) -> bool {
        true
    }

    fn tells_who_comes(&self) -> bool {
        false
    }

    fn hear(&self, _: &Seat, text: &[u8]) -> anyhow::Result<Heard> {
        match text.strip_prefix(b"{\"type\":\"") {
            Some([b'o' | b'a' | b'c', ..]) => Ok(Heard::Signal),
            // `peer-joined` and `peer-left`
            Some([b'p', ..]) => Ok(Heard::Other),
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

    fn greeting(&self, seat: &Seat) -> Option<String> {
        let Seat { room, name } = seat;
        Some(format!(r#"{{"type":"room:join","payload":{{"roomId":"{room}","user":{{"id":"{name}"}}}}}}"#))
    }

    fn hear(&self, seat: &Seat, text: &[u8]) -> anyhow::Result<Heard> {
        let Some(kind) = text.strip_prefix(b"{\"type\":\"") else { bail!("not expected: {}", excerpt(text)) };
        Ok(match kind {
            [b's', b'd', ..] | [b'i', b'c', ..] => Heard::Signal,
            [b'c', b'o', ..] => Heard::Other,
            kind if kind.starts_with(b"room:state\"") => Heard::Joined { id: seat.name.clone() },
            kind if kind.starts_with(b"room:participant-joined\"") => Heard::Came,
            kind if kind.starts_with(b"room:participant-left\"") => Heard::Went,
            _ => bail!("not expected: {}", excerpt(text)),
        })
    }

    fn signal(&self, kind: Kind, room: &str, to: Option<&str>, body: &str) -> String {
        // Clients of this protocol stamp their messages.
        let signal = Protocol::Envelope.signal_with(kind, room, to, body);
        signal.replacen(r#","payload":"#, r#","timestamp":1765843200000,"payload":"#, 1)
    }
}
