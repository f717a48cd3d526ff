//! Events in the form of a profile: the packets of its `[[out]]` rules, and those of `standard`
//! where no rule replaces them.

use std::cell::OnceCell;
use std::sync::Arc;
use std::time::SystemTime;

use super::{Context, On, Profile};
use crate::dialect::socketio::{decode::signal_name, encode};
use crate::dialect::{Failure, Frame};
use crate::id::{ConnectionId, RoomId};
use crate::room::state::Room;
use crate::room::{Event, Peer, RemovalReason, SignalKind, Snapshot};

/// The form of an event for the clients of a profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::dialect::socketio) enum Form {
    /// As for clients of `standard`.
    Standard,
    /// One form for all clients of the profile.
    Shared,
    /// For each client in a form of its own.
    Personal,
}

const JOINED: [On; 3] = [On::Joined, On::UsersChanged, On::Full];

/// Returns the words of `on` for an event; the first decides whether the standard event is sent.
fn words(event: &Event) -> &'static [On] {
    match event {
        Event::Joined(_) => &JOINED,
        Event::PeerJoined { .. } => &[On::PeerJoined, On::UsersChanged, On::Full],
        Event::PeerLeft { .. } => &[On::PeerLeft, On::UsersChanged],
        Event::PeerAway { .. } => &[On::PeerAway],
        Event::PeerBack { .. } => &[On::PeerBack],
        Event::SignalRelayed { signal, .. } => match signal.kind {
            SignalKind::Offer => &[On::Offer],
            SignalKind::Answer => &[On::Answer],
            SignalKind::Candidate => &[On::Candidate],
            SignalKind::Message => &[On::Relay],
        },
        Event::Removed { .. } => &[On::Removed],
        Event::PeerUpdated { .. } | Event::HungUp { .. } => &[],
    }
}

impl Profile {
    /// Returns how an event is written.
    pub(in crate::dialect::socketio) fn form(&self, event: &Event) -> Form {
        let mut rules = words(event).iter().flat_map(|on| self.rules(*on)).peekable();
        if rules.peek().is_none() {
            Form::Standard
        } else if rules.any(super::OutRule::is_personal) {
            Form::Personal
        } else {
            Form::Shared
        }
    }

    /// Writes an event for one client; `room` is as it is after the event.
    pub(in crate::dialect::socketio) fn write(
        &self,
        event: &Event,
        receiver: ConnectionId,
        room: &Room,
        now: SystemTime,
    ) -> Option<Frame> {
        let list = OnceCell::new();
        let context = Context {
            room: Some(room.id()),
            me: room.peer(receiver).map(Arc::as_ref),
            ..Context::new(now, &list)
        };
        let (words, standard) = (words(event), || encode::event(event));
        match event {
            Event::Joined(snapshot) => Some(self.welcome(snapshot, None, now)),
            Event::PeerJoined { peer, .. }
            | Event::PeerAway { peer, .. }
            | Event::PeerBack { peer, .. } => {
                let peers: Vec<Arc<Peer>> = room.peers().cloned().collect();
                self.packets(
                    words,
                    standard,
                    &Context { peer: Some(peer), peers: &peers, ..context },
                )
            }
            Event::PeerLeft { peer, reason, .. } => {
                let peers: Vec<Arc<Peer>> = room.peers().cloned().collect();
                let reason = Some(reason.as_str());
                self.packets(
                    words,
                    standard,
                    &Context { peer: Some(peer), peers: &peers, reason, ..context },
                )
            }
            Event::SignalRelayed { room, from, found_by, signal } => {
                let name = signal.name.as_deref().unwrap_or(signal_name(signal.kind));
                if signal.kind == SignalKind::Message && self.reserves(name) {
                    return None;
                }
                if !signal.attachments.is_empty() {
                    // Its arguments refer to the attachments by their order.
                    return standard();
                }
                let on = words[0];
                let body = encode::body(signal);
                let data = self.needs_data(on).then(|| encode::data(room, from, *found_by, signal));
                let mut arguments = String::new();
                if signal.kind == SignalKind::Message {
                    encode::push_arguments(&mut arguments, room, from, *found_by, signal);
                }
                let context = Context {
                    from: Some(from),
                    body: Some(&body),
                    data: data.as_deref().filter(|data| !data.is_empty()),
                    arguments: arguments.strip_prefix(','),
                    event: Some(name),
                    ..context
                };
                self.packets(words, standard, &context)
            }
            Event::Removed { reason, .. } => {
                let failure = encode::removal(*reason);
                let reason = match reason {
                    RemovalReason::Replaced => "replaced",
                    RemovalReason::Kicked => "kicked",
                    RemovalReason::Closed | RemovalReason::HungUp => "closed",
                };
                let (code, message) = (Some(failure.code.as_str()), Some(&*failure.message));
                let context = Context { code, message, reason: Some(reason), ..context };
                self.packets(words, standard, &context)
            }
            Event::PeerUpdated { .. } | Event::HungUp { .. } => standard(),
        }
    }

    /// Writes the answer to a join.
    pub(in crate::dialect::socketio) fn welcome(
        &self,
        snapshot: &Snapshot,
        ice_servers: Option<&str>,
        now: SystemTime,
    ) -> Frame {
        let list = OnceCell::new();
        let context = Context {
            room: Some(&snapshot.room),
            me: Some(&snapshot.me),
            peers: &snapshot.peers,
            ..Context::new(now, &list)
        };
        let packets =
            self.packets(&JOINED, || Some(encode::joined(snapshot, ice_servers)), &context);
        packets.unwrap_or(Frame::Several(Vec::new()))
    }

    /// Writes the refusal of a request; `None` if that is the standard event.
    pub(in crate::dialect::socketio) fn error(
        &self,
        failure: &Failure<'_>,
        event: Option<&str>,
        room: Option<&RoomId>,
        now: SystemTime,
    ) -> Option<Vec<String>> {
        let list = OnceCell::new();
        let (code, message) = (Some(failure.code.as_str()), Some(&*failure.message));
        let context = Context { room, event, code, message, ..Context::new(now, &list) };
        self.expand(On::Error, &context).map(|(packets, _)| packets)
    }

    fn packets(
        &self,
        words: &[On],
        standard: impl FnOnce() -> Option<Frame>,
        context: &Context<'_>,
    ) -> Option<Frame> {
        let mut own = Vec::new();
        let mut keeps = true;
        for (index, on) in words.iter().enumerate() {
            if let Some((packets, keep)) = self.expand(*on, context) {
                own.extend(packets);
                keeps = if index == 0 { keep } else { keeps };
            }
        }
        let kept = if keeps { standard() } else { None };
        let packets: Vec<String> =
            kept.into_iter().flat_map(Frame::into_texts).chain(own).collect();
        (!packets.is_empty()).then_some(Frame::Several(packets))
    }
}
