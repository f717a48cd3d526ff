//! Parlor's plain wires.

use anyhow::bail;

use super::{Dialect, Heard, Kind, Seat, excerpt, inner, json, text_of};

/// `/ws/{topic}`
pub(crate) struct Topic;

impl Dialect for Topic {
    fn path(&self, seat: &Seat) -> Option<String> {
        Some(format!("/ws/{}", seat.room))
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

    fn signal(&self, kind: Kind, _: &str, to: Option<&str>, body: &str) -> String {
        let kind = match kind {
            Kind::Offer => "offer",
            Kind::Answer => "answer",
            Kind::Candidate => "ice-candidate",
        };
        format!(r#"{{"type":"{kind}","to":"{}","payload":{body}}}"#, to.unwrap_or_default())
    }
}

/// `/signal`
pub(crate) struct Session;

impl Dialect for Session {
    fn path(&self, seat: &Seat) -> Option<String> {
        Some(format!("/signal?sessionId={}", seat.room))
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
            _ => bail!("not expected: {}", excerpt(text)),
        }
    }

    fn signal(&self, kind: Kind, room: &str, _: Option<&str>, body: &str) -> String {
        let (kind, key) = match kind {
            Kind::Offer => ("offer", "sdp"),
            Kind::Answer => ("answer", "sdp"),
            Kind::Candidate => ("candidate", "candidate"),
        };
        format!(r#"{{"type":"{kind}","sessionId":"{room}","{key}":{body}}}"#)
    }
}

/// `/ws`
pub(crate) struct Envelope;

impl Dialect for Envelope {
    fn path(&self, _: &Seat) -> Option<String> {
        Some("/ws".to_owned())
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
        let kind = match kind {
            Kind::Offer => "sdp:offer",
            Kind::Answer => "sdp:answer",
            Kind::Candidate => "ice:candidate",
        };
        let target = to.map(|id| format!(r#""targetUserId":"{id}","#)).unwrap_or_default();
        let body = inner(body);
        format!(r#"{{"type":"{kind}","timestamp":1765843200000,"payload":{{"roomId":"{room}",{target}{body}}}"#)
    }
}
