//! Decodes application events: events that are not commands and are relayed under their own name.

use bytes::Bytes;

use super::decode::{room_id, target_of};
use super::placeholders::{self, is_placeholder};
use super::sender::{Note, SenderFields};
use super::{NAME, relay_events::Relayed};
use crate::dialect::json::{self, Argument, Arguments, Members};
use crate::dialect::{DecodeError, message};
use crate::id::RoomId;
use crate::room::{Command, Signal, SignalKind, Target};

/// Keys that name a room in an application event. Applications use the other aliases for data of
/// their own.
const ROOM_KEYS: [&str; 3] = ["roomId", "room", "meetingId"];
const TARGET_KEYS: [&str; 4] = ["targetId", "targetUserId", "targetSocketId", "to"];
/// Values of `to` that mean all peers.
const EVERYONE: [&str; 2] = ["all", "everyone"];

/// One event of a client.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call<'a, 'm> {
    /// The name and the arguments.
    pub(super) arguments: &'a Arguments<'m>,
    /// The key that named the room when the connection joined it; it names a room in application
    /// events, too.
    pub(super) join_key: Option<&'static str>,
    /// The binary attachments.
    pub(super) attachments: &'a [Bytes],
}

/// Decodes an application event.
pub(super) fn command(
    call: Call<'_, '_>,
    Relayed { name, echo }: Relayed<'_>,
) -> Result<Command, DecodeError> {
    message::check_name("event", name)?;
    let (room, target) = match &call.arguments.first {
        Some(Argument::Object(members)) => (room(members, call.join_key)?, target(members)?),
        Some(Argument::Other(_)) | None => (None, None),
    };
    let signal = signal(call.arguments, name, echo, call.attachments.to_vec());
    let count = signal.attachments.len();
    if count > 0 && !placeholders::are_valid(&signal.body, count) {
        return Err(DecodeError::WrongType {
            field: "num",
            expected: "the number of an attachment",
        });
    }
    Ok(Command::Relay { room, target, signal })
}

/// Creates the signal of an application event: its arguments as a JSON array, the first without the
/// fields that the server writes.
fn signal(arguments: &Arguments<'_>, name: &str, echo: bool, attachments: Vec<Bytes>) -> Signal {
    let rest = arguments.rest;
    let (first, fields) = match &arguments.first {
        None => (String::new(), SenderFields::always()),
        Some(Argument::Other(value)) => (value.get().to_owned(), SenderFields::always()),
        Some(Argument::Object(members)) if !attachments.is_empty() && is_placeholder(members) => {
            (format!("{{{}}}", members.text_without(|_| false)), SenderFields::always())
        }
        Some(Argument::Object(members)) => {
            let fields = SenderFields::of(SignalKind::Message, members.keys());
            (format!("{{{}}}", members.text_without(|key| fields.contains(key))), fields)
        }
    };
    let mut body = String::with_capacity(first.len() + rest.len() + 3);
    body.push('[');
    body.push_str(&first);
    if !rest.is_empty() {
        body.push(',');
        body.push_str(rest);
    }
    body.push(']');
    let content = match (first.is_empty(), rest.is_empty()) {
        (true, _) => 0..0,
        (false, true) => 1..1 + first.len(),
        (false, false) => 0..body.len(),
    };
    let object = match &arguments.first {
        // An attachment is not an object of the application.
        Some(Argument::Object(members)) if attachments.is_empty() || !is_placeholder(members) => {
            first.len()
        }
        _ => 0,
    };
    let object = u32::try_from(object).expect("messages are shorter than 4 GiB");
    let note = Note { fields, object, ..Note::default() }.pack();
    let (kind, name) = (SignalKind::Message, Some(name.into()));
    Signal { kind, name, origin: NAME, body: body.into(), content, note, echo, attachments }
}

fn room(
    members: &Members<'_>,
    join_key: Option<&'static str>,
) -> Result<Option<RoomId>, DecodeError> {
    let joined = || members.get(join_key?);
    let named = members.first_of(&ROOM_KEYS).map(|(_, value)| value).or_else(joined);
    named.map(room_id).transpose()
}

fn target(members: &Members<'_>) -> Result<Option<Target>, DecodeError> {
    let is_everyone = |value| json::string(value).is_some_and(|to| EVERYONE.contains(&&*to));
    match members.first_of(&TARGET_KEYS) {
        Some(("to", value)) if is_everyone(value) => Ok(None),
        _ => target_of(members, &TARGET_KEYS),
    }
}
