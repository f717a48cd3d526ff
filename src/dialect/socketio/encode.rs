//! Events, acknowledgements and errors out, as the JSON array of a Socket.IO packet.

use humantime::format_rfc3339_millis;

use super::decode::{PEER_FIELDS, signal_name};
use super::{NAME, Says, SenderFields};
use crate::dialect::json::{push_failure, push_member, push_raw, push_retry, without};
use crate::dialect::{Failure, content};
use crate::id::RoomId;
use crate::room::{Code, Event, FoundBy, LeaveReason, Peer, RemovalReason, Signal, SignalKind, Snapshot};

/// What most frames other than signals fit into, in bytes.
const SMALL: usize = 512;

/// Writes an event as `["name",…]`; `None` for an event that Socket.IO clients are not told of.
pub fn event(event: &Event) -> Option<String> {
    Some(match event {
        // A leave follows it.
        Event::HungUp { .. } => return None,
        Event::Joined(snapshot) => room_users(snapshot, None),
        Event::PeerJoined { room, peer } => peer_event("user-joined", room, peer, None),
        Event::PeerLeft { room, peer, reason } => peer_event("user-left", room, peer, Some(*reason)),
        Event::PeerAway { room, peer } => peer_event("user-away", room, peer, None),
        Event::PeerBack { room, peer } => peer_event("user-back", room, peer, None),
        Event::SignalRelayed { room, from, found_by, signal } => relayed(room, from, *found_by, signal),
        Event::Removed { room, reason } => {
            let (code, message) = match reason {
                RemovalReason::Replaced => (Code::Replaced, "the same user joined from a newer connection"),
                RemovalReason::Closed => (Code::RoomClosed, "the room was closed"),
                RemovalReason::HungUp => (Code::RoomClosed, "the call was ended"),
            };
            error(&Failure::new(code, message), None, Some(room))
        }
    })
}

/// The `error` event; `event` is the request that went wrong.
pub fn error(failure: &Failure<'_>, event: Option<&str>, room: Option<&RoomId>) -> String {
    let mut out = String::with_capacity(SMALL);
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

/// The acknowledgement of a request that failed.
pub fn ack_error(failure: &Failure<'_>) -> String {
    let mut out = String::with_capacity(SMALL);
    out.push_str(r#"[{"ok":false,"success":false"#);
    push_member(&mut out, "error", &failure.message);
    push_member(&mut out, "code", failure.code.as_str());
    push_retry(&mut out, failure);
    out.push_str("}]");
    out
}

/// The acknowledgement of a request that succeeded and has nothing to tell.
pub fn ack() -> String {
    r#"[{"ok":true,"success":true}]"#.to_owned()
}

/// The acknowledgement of a join, with the ICE servers as JSON.
pub fn ack_joined(snapshot: &Snapshot, ice_servers: Option<&str>) -> String {
    let mut out = String::with_capacity(SMALL * snapshot.peers.len());
    out.push_str(r#"[{"ok":true,"success":true"#);
    push_member(&mut out, "roomId", snapshot.room.as_str());
    push_member(&mut out, "userId", snapshot.me.id.as_str());
    push_member(&mut out, "socketId", &snapshot.me.connection.to_string());
    out.push_str(r#","users":"#);
    push_peers(&mut out, snapshot);
    push_ice_servers(&mut out, ice_servers);
    out.push_str("}]");
    out
}

/// The event `room-users`, with the ICE servers as JSON.
pub fn room_users(snapshot: &Snapshot, ice_servers: Option<&str>) -> String {
    let mut out = String::with_capacity(SMALL * snapshot.peers.len());
    out.push_str(r#"["room-users","#);
    push_peers(&mut out, snapshot);
    out.push_str(",{");
    push_member(&mut out, "roomId", snapshot.room.as_str());
    push_member(&mut out, "userId", snapshot.me.id.as_str());
    push_member(&mut out, "socketId", &snapshot.me.connection.to_string());
    push_member(&mut out, "createdAt", &format_rfc3339_millis(snapshot.created_at).to_string());
    push_ice_servers(&mut out, ice_servers);
    out.push_str("}]");
    out
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

fn peer_event(name: &str, room: &RoomId, peer: &Peer, reason: Option<LeaveReason>) -> String {
    let mut out = String::with_capacity(SMALL);
    out.push_str("[\"");
    out.push_str(name);
    out.push_str("\",");
    push_peer(&mut out, room, peer, reason);
    out.push(']');
    out
}

fn push_peer(out: &mut String, room: &RoomId, peer: &Peer, reason: Option<LeaveReason>) {
    out.push('{');
    push_member(out, "id", peer.id.as_str());
    push_member(out, "userId", peer.id.as_str());
    push_member(out, "socketId", &peer.connection.to_string());
    push_member(out, "roomId", room.as_str());
    push_member(out, "joinedAt", &format_rfc3339_millis(peer.joined_at).to_string());
    if let Some(reason) = reason {
        push_member(out, "reason", reason.as_str());
    }
    // Other wires let their clients say anything of themselves, but here these names are the server's.
    let profile = without(peer.profile.as_str(), &PEER_FIELDS);
    if !profile.is_empty() {
        out.push(',');
        out.push_str(&profile);
    }
    out.push('}');
}

fn relayed(room: &RoomId, from: &Peer, found_by: FoundBy, signal: &Signal) -> String {
    let connection = from.connection.to_string();
    let reply = match found_by {
        FoundBy::PeerId => from.id.as_str(),
        FoundBy::ConnectionId => &connection,
    };
    let mut out = String::with_capacity(signal.body.len() + SMALL);
    out.push_str("[\"");
    out.push_str(signal_name(signal.kind));
    out.push_str("\",");
    let fields = if signal.origin == NAME {
        out.push_str(&signal.body[..signal.body.len() - 1]);
        SenderFields(signal.note)
    } else {
        out.push('{');
        match signal.kind {
            SignalKind::Offer => push_raw(&mut out, "offer", &content::description(signal)),
            SignalKind::Answer => push_raw(&mut out, "answer", &content::description(signal)),
            SignalKind::Candidate => push_raw(&mut out, "candidate", &content::candidate(signal)),
        }
        SenderFields::always()
    };
    for field in fields.iter() {
        let text = match field.says {
            Says::Reply => reply,
            Says::Connection => &connection,
            Says::Peer => from.id.as_str(),
            Says::Room => room.as_str(),
        };
        push_member(&mut out, field.name, text);
    }
    out.push_str("}]");

    out
}
