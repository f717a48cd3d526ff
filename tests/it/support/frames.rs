//! Reads recorded frames, and describes commands in a line of text.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parlor::dialect::DecodeError;
use parlor::dialect::json::Arguments;
use parlor::dialect::socketio::choice::Choice;
use parlor::dialect::socketio::interpret::{Interpreted, interpret};
use parlor::id::ConnectionId;
use parlor::room::{Command, Metadata, RoomKind, SignalKind};

/// Returns the cases of a fixture: two lines each, marked with these characters.
pub(crate) fn cases(
    text: &'static str,
    first: &str,
    second: &str,
) -> Vec<(&'static str, &'static str)> {
    let lines: Vec<&str> =
        text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    let marked = |line: &'static str, mark: &str| {
        line.strip_prefix(mark).unwrap_or_else(|| panic!("{mark} expected: {line}"))
    };
    let case = |pair: &[&'static str]| (marked(pair[0], first), marked(pair[1], second));
    lines.chunks(2).map(case).collect()
}

/// The time of all messages in the fixtures.
pub(crate) fn when() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(1_767_323_045_678)
}

/// Decodes an event of a new Socket.IO client; `None` if the frame is not an event.
pub(crate) fn interpreted(text: &str) -> Option<Result<Interpreted, DecodeError>> {
    let choice = Choice::new(Arc::default(), ConnectionId::from_u128(1));
    let arguments = Arguments::read(text)?;
    Some(interpret(&choice, &arguments, text, &mut None, &[]))
}

/// Describes a command in a line.
pub(crate) fn line(command: Command) -> String {
    match command {
        Command::Join { room, peer, metadata, kind } => {
            let peer = peer.map(|peer| format!(" as {peer}")).unwrap_or_default();
            let saying = if metadata == Metadata::default() {
                String::new()
            } else {
                format!(" saying {}", metadata.as_str())
            };
            let unless =
                if kind == RoomKind::PairUnlessEnded { " unless it has ended" } else { "" };
            format!("join {room}{peer}{saying}{unless}")
        }
        Command::Leave { room } => {
            format!("leave {}", room.map_or("all".to_owned(), |room| room.to_string()))
        }
        Command::HangUp { room } => format!("hang up {}", room.expect("a session is named")),
        Command::Inspect { room } => format!("inspect {room}"),
        Command::Update { room, patch } => {
            let room = room.map(|room| format!(" in {room}")).unwrap_or_default();
            format!("update{room}: {}", patch.text)
        }
        Command::Relay { room, target, signal } => {
            let kind = match signal.kind {
                SignalKind::Offer => "offer",
                SignalKind::Answer => "answer",
                SignalKind::Candidate => "candidate",
                SignalKind::Message => {
                    signal.name.as_deref().expect("an application message has a name")
                }
            };
            let room = room.map(|room| format!(" in {room}")).unwrap_or_default();
            let target = target.map(|target| format!(" to {target}")).unwrap_or_default();
            format!("{kind}{room}{target}: {}", signal.body)
        }
    }
}
