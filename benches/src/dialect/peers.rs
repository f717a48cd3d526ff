//! What the servers speak that Parlor is measured against, Express and Socket.IO apart.

use anyhow::bail;

use super::{Dialect, Heard, Kind, Seat, excerpt, json, text_of};

/// `peers/ws.js`
pub(crate) struct Ws;

impl Dialect for Ws {
    fn path(&self, _: &Seat) -> Option<String> {
        Some("/".to_owned())
    }

    fn greeting(&self, seat: &Seat) -> Option<String> {
        self.join(&seat.room)
    }

    fn hear(&self, _: &Seat, text: &[u8]) -> anyhow::Result<Heard> {
        let Some(kind) = text.strip_prefix(b"{\"type\":\"") else { bail!("not expected: {}", excerpt(text)) };
        Ok(match kind {
            [b'o' | b'a' | b'c', ..] => Heard::Signal,
            [b'r', ..] => Heard::Joined { id: text_of(&json(text)?["id"])? },
            kind if kind.starts_with(b"user-joined\"") => Heard::Came,
            kind if kind.starts_with(b"user-left\"") => Heard::Went,
            _ => bail!("not expected: {}", excerpt(text)),
        })
    }

    fn join(&self, room: &str) -> Option<String> {
        Some(format!(r#"{{"type":"join","roomId":"{room}"}}"#))
    }

    fn leave(&self, _: &str, _: Option<&str>) -> Option<String> {
        Some(r#"{"type":"leave"}"#.to_owned())
    }

    fn signal(&self, kind: Kind, _: &str, to: Option<&str>, body: &str) -> String {
        let (kind, key) = match kind {
            Kind::Offer => ("offer", "sdp"),
            Kind::Answer => ("answer", "sdp"),
            Kind::Candidate => ("candidate", "candidate"),
        };
        let target = to.map(|id| format!(r#""targetId":"{id}","#)).unwrap_or_default();
        format!(r#"{{"type":"{kind}",{target}"{key}":{body}}}"#)
    }
}

/// The server of `PeerJS`: it knows no rooms, and clients give themselves their ids.
pub(crate) struct PeerJs;

impl Dialect for PeerJs {
    fn path(&self, Seat { room, name }: &Seat) -> Option<String> {
        Some(format!("/peerjs?key=peerjs&id={room}-{name}&token=secret&version=1.5.4"))
    }

    fn tells_who_comes(&self) -> bool {
        false
    }

    fn hear(&self, seat: &Seat, text: &[u8]) -> anyhow::Result<Heard> {
        let Some(kind) = text.strip_prefix(b"{\"type\":\"") else { bail!("not expected: {}", excerpt(text)) };
        Ok(match kind {
            [b'O', b'F', ..] | [b'A' | b'C', ..] => Heard::Signal,
            [b'O', b'P', ..] => Heard::Joined { id: format!("{}-{}", seat.room, seat.name) },
            [b'L', ..] => Heard::Went,
            _ => bail!("not expected: {}", excerpt(text)),
        })
    }

    fn leave(&self, _: &str, other: Option<&str>) -> Option<String> {
        other.map(|other| format!(r#"{{"type":"LEAVE","dst":"{other}"}}"#))
    }

    fn signal(&self, kind: Kind, _: &str, to: Option<&str>, body: &str) -> String {
        let kind = match kind {
            Kind::Offer => "OFFER",
            Kind::Answer => "ANSWER",
            Kind::Candidate => "CANDIDATE",
        };
        format!(r#"{{"type":"{kind}","payload":{body},"dst":"{}"}}"#, to.unwrap_or_default())
    }
}

/// `matchbox_server`
pub(crate) struct Matchbox;

impl Dialect for Matchbox {
    fn path(&self, seat: &Seat) -> Option<String> {
        Some(format!("/{}", seat.room))
    }

    fn hear(&self, _: &Seat, text: &[u8]) -> anyhow::Result<Heard> {
        let Some(event) = text.strip_prefix(b"{\"") else { bail!("not expected: {}", excerpt(text)) };
        Ok(match event {
            [b'S', ..] => Heard::Signal,
            [b'I', ..] => Heard::Joined { id: text_of(&json(text)?["IdAssigned"])? },
            [b'N', ..] => Heard::Came,
            [b'P', ..] => Heard::Went,
            _ => bail!("not expected: {}", excerpt(text)),
        })
    }

    fn signal(&self, kind: Kind, _: &str, to: Option<&str>, body: &str) -> String {
        let key = match kind {
            Kind::Offer => "Offer",
            Kind::Answer => "Answer",
            Kind::Candidate => "IceCandidate",
        };
        format!(r#"{{"Signal":{{"receiver":"{}","data":{{"{key}":{body}}}}}}}"#, to.unwrap_or_default())
    }
}

/// The floor: the first text names the pair, and then bytes are copied from one to the other.
pub(crate) struct Copying;

impl Dialect for Copying {
    fn path(&self, _: &Seat) -> Option<String> {
        None
    }

    fn greeting(&self, seat: &Seat) -> Option<String> {
        Some(seat.room.clone())
    }

    fn is_in_once_open(&self) -> bool {
        true
    }

    fn tells_who_comes(&self) -> bool {
        false
    }

    fn hear(&self, _: &Seat, _: &[u8]) -> anyhow::Result<Heard> {
        Ok(Heard::Signal)
    }

    /// As long as what a Socket.IO client sends, so that the same bytes are copied.
    fn signal(&self, kind: Kind, room: &str, _: Option<&str>, body: &str) -> String {
        super::SocketIo.signal(kind, room, Some("0123456789abcdefghij"), body)
    }
}
