//! Encodes events and responses as envelopes.

use std::time::{Duration, SystemTime};

use humantime::format_rfc3339_millis;

use super::NAME;
use super::checker::Problem;
use super::style::Style;
use crate::dialect::json::{self, Members, push_failure, push_member, push_raw, push_string};
use crate::dialect::{Failure, Frame, TokenMessage, content};
use crate::id::{ConnectionId, PeerId, RoomId};
use crate::room::{Code, Event, Peer, RemovalReason, Signal, SignalKind, Snapshot};

/// The head of an envelope.
#[derive(Debug)]
pub struct Envelope<'a> {
    /// The spelling of the type.
    pub style: Style,
    /// The type, with colons.
    pub kind: &'a str,
    /// The time of sending.
    pub now: SystemTime,
    /// The correlation id of the request that it answers.
    pub correlation: Option<&'a str>,
}

impl Envelope<'_> {
    /// Encodes the envelope with a payload.
    pub fn with(&self, payload: impl FnOnce(&mut String)) -> String {
        let mut out = String::with_capacity(256);
        out.push_str(r#"{"type":"#);
        match self.style {
            Style::Colons => push_string(&mut out, self.kind),
            Style::Dots => push_string(&mut out, &self.kind.replace(':', ".")),
        }
        out.push_str(r#","payload":"#);
        payload(&mut out);
        let since_epoch = self.now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        push_raw(&mut out, "timestamp", &since_epoch.as_millis().to_string());
        if let Some(correlation) = self.correlation {
            push_member(&mut out, "correlationId", correlation);
        }
        out.push('}');
        out
    }

    /// Encodes the envelope with a payload, an object, to which the session's resume token is
    /// appended, if there is one.
    pub fn with_token(&self, token: Option<&str>, payload: impl FnOnce(&mut String)) -> Frame {
        let Some(token) = token else { return Frame::Text(self.with(payload)) };
        let mut end_of_before = 0;
        let mut before = self.with(|out| {
            payload(out);
            out.pop();
            push_member(out, "resumeToken", "");
            end_of_before = out.len() - 1;
            out.push('}');
        });
        let after = before.split_off(end_of_before);
        Frame::WithToken(TokenMessage { before, token: token.to_owned(), after })
    }
}

/// Writes the number of a frame into its envelope.
pub fn number(text: &mut String, number: u64) {
    text.pop();
    push_raw(text, "sequence", &number.to_string());
    text.push('}');
}

/// Encodes `connection:ack`, the first message of the server.
pub fn acknowledged(connection: ConnectionId, heartbeat: Duration, now: SystemTime) -> Frame {
    let envelope =
        Envelope { style: Style::Colons, kind: "connection:ack", now, correlation: None };
    Frame::Text(envelope.with(|out| {
        out.push('{');
        push_member(out, "connectionId", &connection.to_string());
        push_raw(out, "heartbeatSeconds", &heartbeat.as_secs().to_string());
        out.push('}');
    }))
}

/// The identity of a client, as the response to `auth:request` reports it.
#[derive(Debug, Default)]
pub struct Identity {
    /// The role that the client has chosen.
    pub role: Option<String>,
    /// When the client's token expires.
    pub expires_at: Option<SystemTime>,
    /// Whether the session was resumed; `None` if the client did not request it.
    pub recovered: Option<bool>,
}

/// Appends the payload of a successful `auth:response`.
pub fn authenticated(out: &mut String, user: &PeerId, identity: &Identity) {
    out.push_str(r#"{"success":true"#);
    push_member(out, "userId", user.as_str());
    if let Some(role) = &identity.role {
        push_member(out, "role", role);
    }
    if let Some(expires_at) = identity.expires_at {
        push_member(out, "expiresAt", &format_rfc3339_millis(expires_at).to_string());
    }
    if let Some(recovered) = identity.recovered {
        push_raw(out, "recovered", if recovered { "true" } else { "false" });
    }
    out.push('}');
}

/// Appends the payload of a failed `auth:response`.
pub fn not_authenticated(out: &mut String, failure: &Failure<'_>) {
    out.push_str(r#"{"success":false,"error":{"#);
    push_failure(out, failure);
    out.push_str("}}");
}

/// Appends the payload of an `error`; `room` is for errors that do not answer a request.
pub fn error(out: &mut String, failure: &Failure<'_>, room: Option<&RoomId>, problems: &[Problem]) {
    out.push('{');
    push_failure(out, failure);
    if let Some(room) = room {
        push_member(out, "roomId", room.as_str());
    }
    if !problems.is_empty() {
        out.push_str(r#","details":["#);
        for (index, Problem { path, problem }) in problems.iter().enumerate() {
            out.push_str(if index > 0 { ",{" } else { "{" });
            push_member(out, "path", path);
            push_member(out, "problem", problem);
            out.push('}');
        }
        out.push(']');
    }
    out.push('}');
}

/// Appends the payload of the `error` for an undelivered signal, or for a membership that was
/// revoked.
pub fn failure(out: &mut String, failure: &Failure<'_>, room: &RoomId, target: Option<&str>) {
    error(out, failure, Some(room), &[]);
    if let Some(target) = target {
        out.pop();
        push_member(out, "target", target);
        out.push('}');
    }
}

/// Appends the payload of a `room:state`; for a joining peer with the ICE servers, as JSON.
pub fn room_state(out: &mut String, snapshot: &Snapshot, ice_servers: Option<&str>) {
    out.push('{');
    push_member(out, "roomId", snapshot.room.as_str());
    out.push_str(r#","participants":["#);
    for (index, peer) in snapshot.peers.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        participant(out, peer);
    }
    out.push_str(r#"],"roomConfig":{"#);
    push_raw(out, "capacity", &snapshot.capacity.to_string());
    push_member(out, "createdAt", &format_rfc3339_millis(snapshot.created_at).to_string());
    out.push('}');
    if let Some(ice_servers) = ice_servers {
        push_raw(out, "iceServers", ice_servers);
    }
    out.push('}');
}

/// Appends the payload of the `room:state` for a peer that has left.
pub fn room_left(out: &mut String, room: &RoomId) {
    out.push('{');
    push_member(out, "roomId", room.as_str());
    out.push_str(r#","participants":[]}"#);
}

/// Appends a participant. The display name defaults to the peer's id, the role to `participant`.
fn participant(out: &mut String, peer: &Peer) {
    let metadata = format!("{{{}}}", peer.metadata.as_str());
    let members = Members::parse(&metadata).unwrap_or_default();
    let text = |key| members.get(key).and_then(json::string);
    let name = text("displayName").or_else(|| text("name")).unwrap_or(peer.id.as_str().into());
    out.push('{');
    push_member(out, "userId", peer.id.as_str());
    push_member(out, "displayName", &name);
    push_member(out, "role", &text("role").unwrap_or("participant".into()));
    push_member(out, "joinedAt", &format_rfc3339_millis(peer.joined_at).to_string());
    push_raw(out, "metadata", &metadata);
    out.push('}');
}

/// Encodes an event.
pub fn event(style: Style, event: &Event, now: SystemTime) -> Option<Frame> {
    let write = |kind, payload: &dyn Fn(&mut String)| {
        Some(Frame::Text(Envelope { style, kind, now, correlation: None }.with(payload)))
    };
    match event {
        Event::Joined(snapshot) => write("room:state", &|out| room_state(out, snapshot, None)),
        Event::PeerJoined { room, peer } => {
            write("room:participant-joined", &|out| room_and_participant(out, room, peer))
        }
        Event::PeerLeft { room, peer, reason } => write("room:participant-left", &|out| {
            out.push('{');
            push_member(out, "roomId", room.as_str());
            push_member(out, "userId", peer.id.as_str());
            push_member(out, "reason", reason.as_str());
            out.push('}');
        }),
        Event::HungUp { .. } => None,
        Event::PeerAway { room, peer } => {
            write("room:participant-away", &|out| room_and_user(out, room, peer))
        }
        Event::PeerBack { room, peer } => {
            write("room:participant-back", &|out| room_and_user(out, room, peer))
        }
        Event::PeerUpdated { room, peer } => {
            write("room:participant-updated", &|out| room_and_participant(out, room, peer))
        }
        // There is no encoding for binary attachments.
        Event::SignalRelayed { signal, .. } if !signal.attachments.is_empty() => None,
        Event::SignalRelayed { room, from, signal, .. } => {
            let kind = match signal.kind {
                SignalKind::Offer => "sdp:offer",
                SignalKind::Answer => "sdp:answer",
                SignalKind::Candidate => "ice:candidate",
                SignalKind::Message => "room:message",
            };
            write(kind, &|out| relayed(out, room, from, signal))
        }
        Event::Removed { room, reason } => {
            let (code, message) = match reason {
                RemovalReason::Replaced => {
                    (Code::Replaced, "the same user joined from a newer connection")
                }
                RemovalReason::Closed => (Code::RoomClosed, "the room was closed"),
                RemovalReason::HungUp => (Code::RoomClosed, "the call was ended"),
                RemovalReason::Kicked => (Code::Kicked, "an operator removed you"),
            };
            write("error", &|out| error(out, &Failure::new(code, message), Some(room), &[]))
        }
    }
}

fn room_and_participant(out: &mut String, room: &RoomId, peer: &Peer) {
    out.push('{');
    push_member(out, "roomId", room.as_str());
    out.push_str(r#","participant":"#);
    participant(out, peer);
    out.push('}');
}

fn room_and_user(out: &mut String, room: &RoomId, peer: &Peer) {
    out.push('{');
    push_member(out, "roomId", room.as_str());
    push_member(out, "userId", peer.id.as_str());
    out.push('}');
}

fn relayed(out: &mut String, room: &RoomId, from: &Peer, signal: &Signal) {
    if signal.origin == NAME {
        out.push_str(&signal.body[..signal.body.len() - 1]);
    } else {
        out.push('{');
        match signal.kind {
            SignalKind::Candidate => {
                for (key, value) in content::candidate_members(signal) {
                    push_raw(out, key, &value);
                }
            }
            SignalKind::Offer | SignalKind::Answer => {
                let (sdp, kind) = content::sdp(signal);
                push_raw(out, "sdp", &sdp);
                push_raw(out, "type", &kind);
            }
            SignalKind::Message => {
                push_member(out, "topic", signal.name.as_deref().unwrap_or_default());
                push_raw(out, "data", content::data(signal));
            }
        }
    }
    push_member(out, "fromUserId", from.id.as_str());
    push_member(out, "roomId", room.as_str());
    out.push('}');
}
