//! Commands from `[[in]]` rules: an event, with the values that its arguments have bound.

use super::{Bindings, Does, InRule};
use crate::dialect::DecodeError;
use crate::dialect::json::{self, Argument, Arguments, Members, push_string};
use crate::dialect::socketio::NAME;
use crate::dialect::socketio::application::{self, Call};
use crate::dialect::socketio::decode::{ClientEvent, EventRequest, PEER_FIELDS, room_id};
use crate::dialect::socketio::relay_events::Relayed;
use crate::dialect::socketio::sender::{Note, SenderFields};
use crate::id::PeerId;
use crate::json::JsonText;
use crate::room::{Command, Metadata, RoomKind, Signal, SignalKind, Target};

/// Returns the command of an event that a rule has matched; `None` if the rule ignores it.
pub(in crate::dialect::socketio) fn command(
    rule: &InRule,
    bindings: &Bindings<'_>,
    call: Call<'_, '_>,
) -> Result<Option<Command>, DecodeError> {
    let arguments = call.arguments;
    if rule.does == Does::Ignore {
        return Ok(None);
    }
    if rule.does == Does::Relay {
        return relay(rule, bindings, call).map(Some);
    }
    if !call.attachments.is_empty() {
        return Err(DecodeError::Binary);
    }
    if rule.args.is_none() && rule.room.is_none() {
        return EventRequest::new(standard_event(rule.does, arguments), arguments)
            .command()
            .map(Some);
    }
    let room = match (bindings.room, &rule.room) {
        (Some(value), _) => Some(room_id(value)?),
        (None, room) => room.clone(),
    };
    Ok(Some(match rule.does {
        Does::Join => {
            let peer =
                bindings.user.map(|value| json::id("userId", value, PeerId::new)).transpose()?;
            let room = room.ok_or(DecodeError::Missing("room"))?;
            Command::Join { room, peer, metadata: metadata(bindings), kind: RoomKind::Group }
        }
        Does::Leave => Command::Leave { room },
        does => {
            let body = bindings.body.ok_or(DecodeError::Missing("body"))?;
            let signal = signal(kind_of(does, body), body, arguments);
            Command::Relay { room, target: target(bindings)?, signal }
        }
    }))
}

/// Returns the standard event with the same effect.
fn standard_event(does: Does, arguments: &Arguments<'_>) -> ClientEvent {
    match does {
        Does::Join => ClientEvent::JoinRoom,
        Does::Leave => ClientEvent::LeaveRoom,
        does => {
            let body = match &arguments.first {
                Some(Argument::Object(members)) => {
                    members.first_of(&BODY_KEYS).map(|(_, value)| value)
                }
                Some(Argument::Other(_)) | None => None,
            };
            ClientEvent::Signal(body.map_or(SignalKind::Offer, |body| kind_of(does, body)))
        }
    }
}

/// Keys of the body of a signal whose kind follows from the body.
const BODY_KEYS: [&str; 8] = [
    "signal",
    "offer",
    "answer",
    "candidate",
    "sdp",
    "description",
    "sessionDescription",
    "iceCandidate",
];

/// Returns the kind of a signal: an SDP says its type, anything else is a candidate.
fn kind_of(does: Does, body: JsonText<'_>) -> SignalKind {
    match does {
        Does::Offer => SignalKind::Offer,
        Does::Answer => SignalKind::Answer,
        Does::Candidate => SignalKind::Candidate,
        _ => {
            let members = Members::read(body).unwrap_or_default();
            match members.get("type").and_then(json::string).as_deref() {
                Some("offer") => SignalKind::Offer,
                Some("answer" | "pranswer") => SignalKind::Answer,
                _ => SignalKind::Candidate,
            }
        }
    }
}

fn target(bindings: &Bindings<'_>) -> Result<Option<Target>, DecodeError> {
    bindings.target.map(|value| json::id("target", value, PeerId::new).map(Target::new)).transpose()
}

fn metadata(bindings: &Bindings<'_>) -> Metadata {
    let mut text = String::new();
    for (key, value) in bindings.meta.iter().filter(|(key, _)| !PEER_FIELDS.contains(&&**key)) {
        if !text.is_empty() {
            text.push(',');
        }
        push_string(&mut text, key);
        text.push(':');
        text.push_str(value.get());
    }
    Metadata::new(&text)
}

/// Returns a signal in the form of a profile: the sender's object, or the body alone where the
/// arguments are positions.
fn signal(kind: SignalKind, body: JsonText<'_>, arguments: &Arguments<'_>) -> Signal {
    let (text, content, fields) = match &arguments.first {
        Some(Argument::Object(members)) if holder(members, body).is_some() => {
            let (key, value) = holder(members, body).expect("just found");
            let fields = SenderFields::of(kind, members.keys());
            let (text, found) =
                members.object_without(|name| fields.contains(name) && name != key, key);
            let start = found.start + offset(value, body).unwrap_or_default();
            (text, start..start + body.get().len(), fields)
        }
        _ => (body.get().into(), 0..body.get().len(), SenderFields::always()),
    };
    let is_object = content.len() < text.len();
    let object = if is_object {
        u32::try_from(text.len()).expect("messages are shorter than 4 GiB")
    } else {
        0
    };
    let note = Note { fields, is_in_form_of_profile: true, object, ..Note::default() };
    Signal {
        name: Some((*arguments.name).into()),
        note: note.pack(),
        ..Signal::new(kind, NAME, text, content)
    }
}

/// Returns the member of an object whose value contains the body.
fn holder<'a, 'b>(members: &'b Members<'a>, body: JsonText<'_>) -> Option<(&'b str, JsonText<'a>)> {
    members.iter().find(|(_, value)| offset(*value, body).is_some())
}

/// Returns the range of the body's text in that of a value.
fn offset(value: JsonText<'_>, body: JsonText<'_>) -> Option<usize> {
    let (value, body) =
        (value.get().as_bytes().as_ptr_range(), body.get().as_bytes().as_ptr_range());
    (value.start <= body.start && body.end <= value.end)
        .then(|| body.start as usize - value.start as usize)
}

fn relay(
    rule: &InRule,
    bindings: &Bindings<'_>,
    call: Call<'_, '_>,
) -> Result<Command, DecodeError> {
    let name = rule.rename.as_deref().unwrap_or(&call.arguments.name);
    let mut command = application::command(call, Relayed { name, echo: false })?;
    if let Command::Relay { room, target: to, .. } = &mut command {
        *room = bindings.room.map(room_id).transpose()?.or_else(|| room.take());
        *to = target(bindings)?.or_else(|| to.take());
    }
    Ok(command)
}
