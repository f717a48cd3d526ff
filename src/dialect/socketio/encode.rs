//! Encodes events, acknowledgements and errors as packets for a Socket.IO client.
//!
//! Events are encoded for the default namespace; [`Numbering`](super::Numbering) addresses them to
//! another.

use std::borrow::Cow;

use humantime::format_rfc3339_millis;

use super::NAME;
use super::decode::{PEER_FIELDS, signal_name};
use super::packet::{PacketKind, ROOT, push_head};
use super::sender::{Note, SenderFields};
use crate::dialect::json::{push_failure, push_member, push_raw, push_retry, push_string, without};
use crate::dialect::{Failure, Frame, content, message};
use crate::id::RoomId;
use crate::json::JsonText;
use crate::room::{
    Code, Event, FoundBy, LeaveReason, Peer, RemovalReason, Signal, SignalKind, Snapshot,
};

/// Capacity for frames other than signals, in bytes: most fit into it.
const SMALL: usize = 512;

/// Maximum length of a list of peers, in bytes, that `room-joined` repeats under every name that
/// frontends read.
const MAX_REPEATED: usize = 16 * 1024;

/// The event that an acknowledgement answers.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The namespace of the event.
    pub namespace: &'a str,
    /// The acknowledgement id.
    pub id: u64,
}

/// Encodes an event as packets of the default namespace; `None` for an event that clients do not
/// receive.
pub fn event(event: &Event) -> Option<Frame> {
    Some(Frame::Text(match event {
        // A leave follows.
        Event::HungUp { .. } => return None,
        Event::Joined(snapshot) => return Some(joined(snapshot, None)),
        Event::PeerJoined { room, peer } => peer_event("user-joined", room, peer, None),
        Event::PeerLeft { room, peer, reason } => {
            peer_event("user-left", room, peer, Some(*reason))
        }
        Event::PeerAway { room, peer } => peer_event("user-away", room, peer, None),
        Event::PeerBack { room, peer } => peer_event("user-back", room, peer, None),
        Event::PeerUpdated { room, peer } => peer_event("user-updated", room, peer, None),
        Event::SignalRelayed { room, from, found_by, signal } => {
            match (signal.kind, signal.name.as_deref()) {
                (SignalKind::Message, Some(name)) if message::is_reserved(name) => return None,
                (SignalKind::Message, Some(name)) => {
                    let event = application_event(name, room, from, *found_by, signal);
                    if !signal.attachments.is_empty() {
                        return Some(Frame::WithAttachments(event, signal.attachments.clone()));
                    }
                    event
                }
                _ => relayed(room, from, *found_by, signal),
            }
        }
        Event::Removed { room, reason } => error(ROOT, &removal(*reason), None, Some(room)),
    }))
}

/// Returns the error for a peer that was removed from a room.
pub(super) fn removal(reason: RemovalReason) -> Failure<'static> {
    let (code, message) = match reason {
        RemovalReason::Replaced => (Code::Replaced, "the same user joined from a newer connection"),
        RemovalReason::Closed => (Code::RoomClosed, "the room was closed"),
        RemovalReason::HungUp => (Code::RoomClosed, "the call was ended"),
        RemovalReason::Kicked => (Code::Kicked, "an operator removed you"),
    };
    Failure::new(code, message)
}

/// Encodes the `error` event; `event` is the request that failed.
pub fn error(
    namespace: &str,
    failure: &Failure<'_>,
    event: Option<&str>,
    room: Option<&RoomId>,
) -> String {
    let mut out = String::with_capacity(SMALL);
    push_head(&mut out, PacketKind::Event, namespace, None);
    out.push_str(r#"["error",{"#);
    push_failure(&mut out, failure);
    if let Some(event) = event {
        push_member(&mut out, "event", event);
    }
    if let Some(room) = room {
        push_member(&mut out, "roomId", room.as_str());
    }
    out.push_str("}]");
    out
}

/// Encodes the `error` event of a signal that was not delivered to its target, or of a place in a
/// room.
pub fn failure(failure: &Failure<'_>, room: &RoomId, target: Option<&str>) -> String {
    let mut out = error(ROOT, failure, None, Some(room));
    if let Some(target) = target {
        out.truncate(out.len() - "}]".len());
        push_member(&mut out, "target", target);
        out.push_str("}]");
    }
    out
}

fn begin_ack(asked: Asked<'_>, capacity: usize) -> String {
    let mut out = String::with_capacity(capacity);
    push_head(&mut out, PacketKind::Ack, asked.namespace, Some(asked.id));
    out
}

/// Encodes the acknowledgement of a request that failed.
pub fn ack_error(asked: Asked<'_>, failure: &Failure<'_>) -> String {
    let mut out = begin_ack(asked, SMALL);
    out.push_str(r#"[{"ok":false,"success":false"#);
    push_member(&mut out, "error", &failure.message);
    push_member(&mut out, "code", failure.code.as_str());
    push_retry(&mut out, failure);
    out.push_str("}]");
    out
}

/// Encodes the acknowledgement of a request that succeeded without a result.
pub fn ack(asked: Asked<'_>) -> String {
    let mut out = begin_ack(asked, 64);
    out.push_str(r#"[{"ok":true,"success":true}]"#);
    out
}

/// Encodes the acknowledgement of a join, with the ICE servers as JSON.
pub fn ack_joined(asked: Asked<'_>, snapshot: &Snapshot, ice_servers: Option<&str>) -> String {
    let mut out = begin_ack(asked, SMALL * snapshot.peers.len());
    out.push_str(r#"[{"ok":true,"success":true"#);
    push_me(&mut out, snapshot);
    out.push_str(r#","users":"#);
    push_peers(&mut out, snapshot);
    push_ice_servers(&mut out, ice_servers);
    out.push_str("}]");
    out
}

/// Encodes the events `room-users` and `room-joined`, with the ICE servers as JSON.
pub fn joined(snapshot: &Snapshot, ice_servers: Option<&str>) -> Frame {
    let mut users = String::with_capacity(SMALL * snapshot.peers.len());
    push_head(&mut users, PacketKind::Event, ROOT, None);
    users.push_str(r#"["room-users","#);
    let start = users.len();
    push_peers(&mut users, snapshot);
    let list = &users[start..];
    let mut joined = String::with_capacity(SMALL + 4 * list.len().min(MAX_REPEATED));
    push_head(&mut joined, PacketKind::Event, ROOT, None);
    joined.push_str(r#"["room-joined",{"#);
    push_me(&mut joined, snapshot);
    push_member(&mut joined, "createdAt", &format_rfc3339_millis(snapshot.created_at).to_string());
    let names: &[&'static str] =
        if list.len() > MAX_REPEATED { &LIST_NAMES[..1] } else { &LIST_NAMES };
    for name in names {
        push_raw(&mut joined, name, list);
    }
    push_ice_servers(&mut joined, ice_servers);
    joined.push_str("}]");
    users.push(']');
    Frame::Several(vec![users, joined])
}

/// The names under which frontends read the list of peers; the first is the documented one.
const LIST_NAMES: [&str; 4] = ["users", "participants", "existingUsers", "peers"];

fn push_me(out: &mut String, snapshot: &Snapshot) {
    push_member(out, "roomId", snapshot.room.as_str());
    push_member(out, "userId", snapshot.me.id.as_str());
    push_member(out, "socketId", &snapshot.me.connection.to_string());
}

fn push_ice_servers(out: &mut String, ice_servers: Option<&str>) {
    if let Some(ice_servers) = ice_servers {
        push_raw(out, "iceServers", ice_servers);
    }
}

fn push_peers(out: &mut String, snapshot: &Snapshot) {
    out.push('[');
    for (index, peer) in snapshot.others().enumerate() {
        if index > 0 {
            out.push(',');
        }
        push_peer(out, &snapshot.room, peer, None);
    }
    out.push(']');
}

fn begin_event(out: &mut String, name: &str) {
    push_head(out, PacketKind::Event, ROOT, None);
    out.push_str("[\"");
    out.push_str(name);
    out.push_str("\",");
}

fn peer_event(name: &str, room: &RoomId, peer: &Peer, reason: Option<LeaveReason>) -> String {
    let mut out = String::with_capacity(SMALL);
    begin_event(&mut out, name);
    push_peer(&mut out, room, peer, reason);
    out.push(']');
    out
}

pub(super) fn push_peer(out: &mut String, room: &RoomId, peer: &Peer, reason: Option<LeaveReason>) {
    out.push('{');
    push_member(out, "id", peer.id.as_str());
    push_member(out, "userId", peer.id.as_str());
    push_member(out, "socketId", &peer.connection.to_string());
    push_member(out, "roomId", room.as_str());
    push_member(out, "joinedAt", &format_rfc3339_millis(peer.joined_at).to_string());
    if let Some(reason) = reason {
        push_member(out, "reason", reason.as_str());
    }
    // In other protocols clients may use any key in their metadata, but here these keys are the
    // server's.
    let metadata = without(peer.metadata.as_str(), &PEER_FIELDS);
    if !metadata.is_empty() {
        out.push(',');
        out.push_str(&metadata);
    }
    out.push('}');
}

/// Encodes an application message as the event of its name. If the first argument is an object, the
/// sender's fields are added.
fn application_event(
    name: &str,
    room: &RoomId,
    from: &Peer,
    found_by: FoundBy,
    signal: &Signal,
) -> String {
    let mut out = String::with_capacity(signal.body.len() + SMALL);
    match signal.attachments.len() {
        0 => push_head(&mut out, PacketKind::Event, ROOT, None),
        attachments => {
            out.push_str("45");
            out.push_str(&attachments.to_string());
            out.push('-');
        }
    }
    out.push('[');
    push_string(&mut out, name);
    push_arguments(&mut out, room, from, found_by, signal);
    out.push(']');
    out
}

/// Appends the arguments of an application message, each with a comma before it.
pub(super) fn push_arguments(
    out: &mut String,
    room: &RoomId,
    from: &Peer,
    found_by: FoundBy,
    signal: &Signal,
) {
    if signal.origin == NAME {
        let Note { fields, object, .. } = Note::of(signal);
        let arguments = signal
            .body
            .strip_prefix('[')
            .and_then(|body| body.strip_suffix(']'))
            .unwrap_or_default();
        if !arguments.is_empty() {
            out.push(',');
        }
        let (open, rest) = arguments.split_at((object as usize).saturating_sub(1));
        out.push_str(open);
        if object > 0 {
            fields.push(out, room, from, found_by);
        }
        out.push_str(rest);
        return;
    }
    out.push(',');
    let data = content::data(signal);
    match data.strip_prefix('{').and_then(|data| data.strip_suffix('}')) {
        Some(members) => {
            out.push('{');
            out.push_str(&without(members, &SenderFields::protected_names()));
            SenderFields::always().push(out, room, from, found_by);
            out.push('}');
        }
        None => out.push_str(data),
    }
}

fn relayed(room: &RoomId, from: &Peer, found_by: FoundBy, signal: &Signal) -> String {
    let mut out = String::with_capacity(signal.body.len() + SMALL);
    begin_event(&mut out, signal_name(signal.kind));
    push_signal(&mut out, room, from, found_by, signal);
    out.push(']');
    out
}

/// Appends a signal as the object of the standard events: the sender's object, or one with the body
/// alone.
fn push_signal(out: &mut String, room: &RoomId, from: &Peer, found_by: FoundBy, signal: &Signal) {
    let note = Note::of(signal);
    let fields = if signal.origin == NAME && !note.is_in_form_of_profile {
        out.push_str(&signal.body[..signal.body.len() - 1]);
        note.fields
    } else {
        out.push('{');
        let key = match signal.kind {
            SignalKind::Offer => "offer",
            SignalKind::Answer => "answer",
            SignalKind::Candidate | SignalKind::Message => "candidate",
        };
        push_raw(out, key, &body(signal));
        SenderFields::always()
    };
    fields.push(out, room, from, found_by);
    out.push('}');
}

/// Returns the body of a signal: unchanged within Socket.IO, and in the form of browsers for
/// signals from other protocols.
pub(super) fn body(signal: &Signal) -> Cow<'_, str> {
    match signal.kind {
        _ if signal.origin == NAME => {
            signal.body.get(signal.content.clone()).unwrap_or("null").into()
        }
        SignalKind::Offer | SignalKind::Answer => content::description(signal),
        SignalKind::Candidate | SignalKind::Message => content::candidate(signal),
    }
}

/// Returns the sender's object with the server's fields set, as JSON.
pub(super) fn data(room: &RoomId, from: &Peer, found_by: FoundBy, signal: &Signal) -> String {
    let mut out = String::with_capacity(signal.body.len() + SMALL);
    let note = Note::of(signal);
    if signal.kind == SignalKind::Message {
        // The first argument, if it is an object.
        push_arguments(&mut out, room, from, found_by, signal);
        let arguments = out.strip_prefix(',').unwrap_or_default();
        return JsonText::first(arguments).map(|first| first.get().to_owned()).unwrap_or_default();
    }
    if note.is_in_form_of_profile && note.object > 0 {
        out.push_str(&signal.body[..signal.body.len() - 1]);
        note.fields.push(&mut out, room, from, found_by);
        out.push('}');
    } else {
        push_signal(&mut out, room, from, found_by, signal);
    }
    out
}
