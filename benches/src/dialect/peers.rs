//! The protocols of the servers other than Parlor, except for Express with Socket.IO.

use anyhow::bail;

use super::{Dialect, Kind, Received, Seat, excerpt, json, text_of};

/// `peers/ws.js`
pub(crate) struct Ws;

impl Dialect for Ws {
    fn path(&self, _: &Seat) -> Option<String> {
        Some("/".to_owned())
    }

    fn first_message(&self, seat: &Seat) -> Option<String> {
        self.join(&seat.room)
    }

    fn decode(&self, _: &Seat, text: &[u8]) -> anyhow::Result<Received> {
        let Some(kind) = text.strip_prefix(b"{\"type\":\"") else {
            bail!("not expected: {}", excerpt(text))
        };
        Ok(match kind {
            [b'o' | b'a' | b'c', ..] => Received::Signal,
            [b'r', ..] => Received::Joined { id: text_of(&json(text)?["id"])? },
            kind if kind.starts_with(b"user-joined\"") => Received::PeerJoined,
            kind if kind.starts_with(b"user-left\"") => Received::PeerLeft,
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

/// The `PeerJS` server: it has no rooms, and clients choose their ids.
pub(crate) struct PeerJs;

impl Dialect for PeerJs {
    fn path(&self, Seat { room, name }: &Seat) -> Option<String> {
        Some(format!("/peerjs?key=peerjs&id={room}-{name}&token=secret&version=1.5.4"))
    }

    fn announces_peers(&self) -> bool {
        false
    }

    fn decode(&self, seat: &Seat, text: &[u8]) -> anyhow::Result<Received> {
        let Some(kind) = text.strip_prefix(b"{\"type\":\"") else {
            bail!("not expected: {}", excerpt(text))
        };
        Ok(match kind {
            [b'O', b'F', ..] | [b'A' | b'C', ..] => Received::Signal,
            [b'O', b'P', ..] => Received::Joined { id: format!("{}-{}", seat.room, seat.name) },
            [b'L', ..] => Received::PeerLeft,
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

    fn decode(&self, _: &Seat, text: &[u8]) -> anyhow::Result<Received> {
        let Some(event) = text.strip_prefix(b"{\"") else {
            bail!("not expected: {}", excerpt(text))
        };
        Ok(match event {
            [b'S', ..] => Received::Signal,
            [b'I', ..] => Received::Joined { id: text_of(&json(text)?["IdAssigned"])? },
            [b'N', ..] => Received::PeerJoined,
            [b'P', ..] => Received::PeerLeft,
            _ => bail!("not expected: {}", excerpt(text)),
        })
    }

    fn signal(&self, kind: Kind, _: &str, to: Option<&str>, body: &str) -> String {
        let key = match kind {
            Kind::Offer => "Offer",
            Kind::Answer => "Answer",
            Kind::Candidate => "IceCandidate",
        };
        format!(
            r#"{{"Signal":{{"receiver":"{}","data":{{"{key}":{body}}}}}}}"#,
            to.unwrap_or_default()
        )
    }
}

/// The floor: the first text names the pair; all bytes after it are copied from one client to the
/// other.
pub(crate) struct Copying;

impl Dialect for Copying {
    fn path(&self, _: &Seat) -> Option<String> {
        None
    }

    fn first_message(&self, seat: &Seat) -> Option<String> {
        Some(seat.room.clone())
    }

    fn joins_on_connect(&self) -> bool {
        true
    }

    fn announces_peers(&self) -> bool {
        false
    }

    fn decode(&self, _: &Seat, _: &[u8]) -> anyhow::Result<Received> {
        Ok(Received::Signal)
    }

    /// As long as the message of a Socket.IO client, so that the same number of bytes is copied.
    fn signal(&self, kind: Kind, room: &str, _: Option<&str>, body: &str) -> String {
        super::SocketIo.signal(kind, room, Some("0123456789abcdefghij"), body)
    }
}
