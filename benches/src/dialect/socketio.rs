//! Socket.IO over WebSocket, with the events of existing Express servers, which both Parlor and
//! Express use.
//!
//! Signals are emitted without requesting an acknowledgement, as frontends do.

use anyhow::{Context, bail};
use parlor_testing::protocol::{Protocol, is_beside};

use super::{Dialect, Kind, Received, Seat, excerpt, json, text_of};

pub(crate) struct SocketIo;

impl Dialect for SocketIo {
    fn path(&self, seat: &Seat) -> Option<String> {
        Some(Protocol::SocketIo.path(&seat.room))
    }

    fn decode(&self, seat: &Seat, text: &[u8]) -> anyhow::Result<Received> {
        let Some(event) = text.strip_prefix(b"42[\"") else {
            return match text {
                b"2" => Ok(Received::Expects("3".to_owned())),
                [b'0', b'{', ..] => Ok(Received::Expects("40".to_owned())),
                [b'4', b'0', connected @ ..] => {
                    let id = text_of(&json(connected)?["sid"]).context("CONNECT has the id")?;
                    let join = self.join(&seat.room).context("a room can be joined")?;
                    Ok(Received::Id { id, join })
                }
                _ => bail!("not expected: {}", excerpt(text)),
            };
        };
        Ok(match event {
            [b'o', b'f', ..] | [b'a', b'n', ..] | [b'i', b'c', ..] => Received::Signal,
            event if event.starts_with(b"room-users\"") => Received::JoinedRoom,
            event if event.starts_with(b"room-joined\"") => Received::Other,
            event if event.starts_with(b"user-joined\"") => Received::PeerJoined,
            event if event.starts_with(b"user-left\"") => Received::PeerLeft,
            event if is_extra(event) || is_offset(event) => Received::Other,
            _ => bail!("not expected: {}", excerpt(text)),
        })
    }

    fn join(&self, room: &str) -> Option<String> {
        Some(format!(r#"42["join-room",{{"roomId":"{room}"}}]"#))
    }

    fn leave(&self, room: &str, _: Option<&str>) -> Option<String> {
        Some(format!(r#"42["leave-room",{{"roomId":"{room}"}}]"#))
    }

    fn last_message(&self) -> Option<String> {
        Some("41".to_owned())
    }

    fn signal(&self, kind: Kind, room: &str, to: Option<&str>, body: &str) -> String {
        Protocol::SocketIo.signal_with(kind, room, to, body)
    }
}

/// Returns whether Parlor sends this event for other families of frontends.
fn is_extra(event: &[u8]) -> bool {
    let name = event.split(|byte| *byte == b'"').next();
    name.and_then(|name| std::str::from_utf8(name).ok()).is_some_and(is_beside)
}

/// Returns whether this is the recovery offset of the preceding event, an event without arguments:
/// `0f3a2b-1"]`.
fn is_offset(event: &[u8]) -> bool {
    let name = event.strip_suffix(b"\"]");
    name.is_some_and(|name| name.iter().all(|byte| byte.is_ascii_hexdigit() || *byte == b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_decoded() {
        let seat = Seat { room: "r".to_owned(), name: "n".to_owned() };
        for (text, message) in [
            (r#"0{"sid":"secret"}"#, Received::Expects("40".to_owned())),
            (
                r#"40{"sid":"a","pid":"p"}"#,
                Received::Id {
                    id: "a".to_owned(),
                    join: r#"42["join-room",{"roomId":"r"}]"#.to_owned(),
                },
            ),
            (r#"42["room-users",[]]"#, Received::JoinedRoom),
            (r#"42["room-joined",{"roomId":"r"}]"#, Received::Other),
            (r#"42["all-users",[]]"#, Received::Other),
            (r#"42["user-connected","b"]"#, Received::Other),
            (r#"42["0f3a2b-1"]"#, Received::Other),
            (r#"42["user-joined",{"id":"b"}]"#, Received::PeerJoined),
            (r#"42["user-left",{"id":"b"}]"#, Received::PeerLeft),
            (r#"42["ice-candidate",{}]"#, Received::Signal),
            (r#"42["offer",{}]"#, Received::Signal),
            (r#"42["answer",{}]"#, Received::Signal),
            ("2", Received::Expects("3".to_owned())),
        ] {
            assert_eq!(SocketIo.decode(&seat, text.as_bytes()).unwrap(), message, "{text}");
        }
        assert!(SocketIo.decode(&seat, br#"42["error",{"code":"RATE_LIMITED"}]"#).is_err());
    }
}
