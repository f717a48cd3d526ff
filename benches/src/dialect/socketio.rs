//! Socket.IO over WebSocket, with the events of the Express servers in the field: what Parlor and Express both speak.
//!
//! Signals are emitted without asking for an acknowledgement, as frontends do.

use anyhow::{Context, bail};
use parlor_testing::protocol::{Protocol, is_beside};

use super::{Dialect, Heard, Kind, Seat, excerpt, json, text_of};

pub(crate) struct SocketIo;

impl Dialect for SocketIo {
    fn path(&self, seat: &Seat) -> Option<String> {
        Some(Protocol::SocketIo.path(&seat.room))
    }

    fn hear(&self, seat: &Seat, text: &[u8]) -> anyhow::Result<Heard> {
        let Some(event) = text.strip_prefix(b"42[\"") else {
            return match text {
                b"2" => Ok(Heard::Wants("3".to_owned())),
                [b'0', b'{', ..] => Ok(Heard::Wants("40".to_owned())),
                [b'4', b'0', connected @ ..] => {
                    let id = text_of(&json(connected)?["sid"]).context("CONNECT tells the id")?;
                    let say = self.join(&seat.room).context("a room can be joined")?;
                    Ok(Heard::Id { id, say })
                }
                _ => bail!("not expected: {}", excerpt(text)),
            };
        };
        Ok(match event {
            [b'o', b'f', ..] | [b'a', b'n', ..] | [b'i', b'c', ..] => Heard::Signal,
            event if event.starts_with(b"room-users\"") => Heard::Entered,
            event if event.starts_with(b"room-joined\"") => Heard::Other,
            event if event.starts_with(b"user-joined\"") => Heard::Came,
            event if event.starts_with(b"user-left\"") => Heard::Went,
            event if is_extra(event) || is_offset(event) => Heard::Other,
            _ => bail!("not expected: {}", excerpt(text)),
        })
    }

    fn join(&self, room: &str) -> Option<String> {
        Some(format!(r#"42["join-room",{{"roomId":"{room}"}}]"#))
    }

    fn leave(&self, room: &str, _: Option<&str>) -> Option<String> {
        Some(format!(r#"42["leave-room",{{"roomId":"{room}"}}]"#))
    }

    fn goodbye(&self) -> Option<String> {
        Some("41".to_owned())
    }

    fn signal(&self, kind: Kind, room: &str, to: Option<&str>, body: &str) -> String {
        Protocol::SocketIo.signal_with(kind, room, to, body)
    }
}

/// Whether this is an event that Parlor sends for other families of frontends.
fn is_extra(event: &[u8]) -> bool {
    let name = event.split(|byte| *byte == b'"').next();
    name.and_then(|name| std::str::from_utf8(name).ok()).is_some_and(is_beside)
}

/// Whether this is the recovery offset of the event before, an event without arguments: `0f3a2b-1"]`.
fn is_offset(event: &[u8]) -> bool {
    let name = event.strip_suffix(b"\"]");
    name.is_some_and(|name| name.iter().all(|byte| byte.is_ascii_hexdigit() || *byte == b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_understood() {
        let seat = Seat { room: "r".to_owned(), name: "n".to_owned() };
        for (text, heard) in [
            (r#"0{"sid":"secret"}"#, Heard::Wants("40".to_owned())),
            (
                r#"40{"sid":"a","pid":"p"}"#,
                Heard::Id { id: "a".to_owned(), say: r#"42["join-room",{"roomId":"r"}]"#.to_owned() },
            ),
            (r#"42["room-users",[]]"#, Heard::Entered),
            (r#"42["room-joined",{"roomId":"r"}]"#, Heard::Other),
            (r#"42["all-users",[]]"#, Heard::Other),
            (r#"42["user-connected","b"]"#, Heard::Other),
            (r#"42["0f3a2b-1"]"#, Heard::Other),
            (r#"42["user-joined",{"id":"b"}]"#, Heard::Came),
            (r#"42["user-left",{"id":"b"}]"#, Heard::Went),
            (r#"42["ice-candidate",{}]"#, Heard::Signal),
            (r#"42["offer",{}]"#, Heard::Signal),
            (r#"42["answer",{}]"#, Heard::Signal),
            ("2", Heard::Wants("3".to_owned())),
        ] {
            assert_eq!(SocketIo.hear(&seat, text.as_bytes()).unwrap(), heard, "{text}");
        }
        assert!(SocketIo.hear(&seat, br#"42["error",{"code":"RATE_LIMITED"}]"#).is_err());
    }
}
