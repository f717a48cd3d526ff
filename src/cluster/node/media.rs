//! The media of the rooms of one engine: which node has it, requests to that, and its notices.
//!
//! The replica of a room states the node with its media. A request that finds none, and that
//! creates a transport, asks the engine to make this node the one, and waits for the log to say
//! which it is.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{ConnectionId, Incarnation, Membership, Node, PROVISIONAL, Replica, RoomId};
use crate::clock::Moment;
use crate::cluster::frame::{
    Body, MediaAnswered, MediaNotice, MediaOutcome, RemoteMediaAnswer, RemoteMediaNotice,
    RemoteMediaRequest,
};
use crate::cluster::media::{MediaRole, PeerMediaRequest, ServedMedia};
use crate::cluster::script::Call;

/// How long a request waits for the log to say which node has the media, or for the connection to
/// the engine. Longer than [`PROVISIONAL`], after which this node decides alone.
const UNPINNED_TIMEOUT: Duration = Duration::from_millis(2500);

/// How many transports of a session in a room are remembered. It has far fewer at a time, but this
/// node does not learn of the end of all.
const MAX_TRANSPORTS: usize = 32;

/// The media requests of local peers, and those that the media server of this node is serving.
#[derive(Debug, Default)]
pub(super) struct MediaRequests {
    waiting: BTreeMap<u64, Waiting>,
    /// Number of requests that the media server of this node has, of each room.
    serving: BTreeMap<RoomId, usize>,
}

/// A request of a local peer that is not answered.
#[derive(Debug)]
struct Waiting {
    request: PeerMediaRequest,
    /// The membership of the peer. Its media ends with it.
    member: Option<Membership>,
    since: Instant,
    /// The node that it was forwarded to.
    asked: Option<Incarnation>,
    /// A node that does not have the media any more.
    refused_by: Option<Incarnation>,
}

impl Node {
    /// Takes a request of a local peer to the media server of its room, on whichever node that is.
    pub fn request_media(&mut self, now: Moment, request: PeerMediaRequest) {
        let id = request.id;
        let replica = self.replicas.get(&request.room);
        let member = replica.and_then(|replica| replica.members.get(&request.connection));
        let member = member.map(|member| member.membership);
        let since = now.instant;
        let waiting = Waiting { request, member, since, asked: None, refused_by: None };
        self.media.waiting.insert(id, waiting);
        self.advance_media(now, id);
    }

    /// Returns the rooms whose media is on this node.
    pub fn media_rooms(&self) -> Vec<RoomId> {
        let has_media = |(_, replica): &(&RoomId, &Replica)| replica.media == Some(self.me);
        self.replicas.iter().filter(has_media).map(|(room, _)| room.clone()).collect()
    }

    /// Takes the next step of a request that is not forwarded.
    fn advance_media(&mut self, now: Moment, id: u64) {
        let Some(waiting) = self.media.waiting.get(&id).filter(|waiting| waiting.asked.is_none())
        else {
            return;
        };
        let PeerMediaRequest { room, connection, creates, .. } = &waiting.request;
        let (room, creates, refused_by) = (room.clone(), *creates, waiting.refused_by);
        let since = waiting.since;
        let is_local = self.is_local(&room, *connection);
        let Some(replica) = self.replicas.get(&room).filter(|_| is_local) else {
            self.fail_media(id);
            return;
        };
        match (replica.media, self.host.media_role()) {
            (Some(node), _) if node == self.me => self.serve_own(&room, id),
            (Some(node), _) if refused_by == Some(node) => {}
            // It waits for the connection, for some time.
            (Some(_), _) if !self.is_ready() => {}
            (Some(node), _) if !self.has_capacity(now, node) => self.fail_media(id),
            // It has just started, or is dead.
            (Some(node), _) if !self.is_living(node) => {
                if self.has_list_since(since) {
                    self.pin(now, &room);
                } else {
                    self.list_again(now);
                }
            }
            (Some(node), _) => self.forward_media(now, node, id),
            (None, MediaRole::Off) => self.serve_own(&room, id),
            (None, _) if !creates => self.serve_own(&room, id),
            (None, MediaRole::Draining) => {}
            (None, MediaRole::Serving) if self.is_ready() => self.pin(now, &room),
            (None, MediaRole::Serving) => {
                let is_away = |since: Instant| now.instant.duration_since(since) >= PROVISIONAL;
                if self.away_since.is_some_and(is_away) {
                    self.set_media(now, &room, Some(self.me));
                }
            }
        }
    }

    fn pin(&mut self, now: Moment, room: &RoomId) {
        let is_pin = |call: &Call| matches!(call, Call::Pin { room: pinning } if pinning == room);
        if self.is_ready() && !self.calls.values().any(|(call, _)| is_pin(call)) {
            self.call(now.instant, Call::Pin { room: room.clone() });
        }
    }

    /// Passes a request to the media server of this node.
    fn serve_own(&mut self, room: &RoomId, id: u64) {
        self.media.waiting.remove(&id);
        *self.media.serving.entry(room.clone()).or_default() += 1;
        self.host.serve_media(id);
    }

    fn forward_media(&mut self, now: Moment, node: Incarnation, id: u64) {
        let Some(waiting) = self.media.waiting.get_mut(&id) else { return };
        (waiting.asked, waiting.since) = (Some(node), now.instant);
        let PeerMediaRequest { room, connection, id, form, text, .. } = waiting.request.clone();
        self.push(now, node, Body::Media(RemoteMediaRequest { room, connection, id, form, text }));
    }

    fn fail_media(&mut self, id: u64) {
        self.media.waiting.remove(&id);
        self.host.media_failed(id);
    }

    /// Takes a request that another node has forwarded.
    pub(super) fn serve_media(
        &mut self,
        now: Moment,
        from: Incarnation,
        request: RemoteMediaRequest,
    ) {
        let replica = self.replicas.get(&request.room);
        let member = replica.and_then(|replica| replica.members.get(&request.connection));
        let outcome = if replica.is_none_or(|replica| replica.media != Some(self.me)) {
            // If the engine says otherwise, its data is old.
            self.call_unpin(now, &request.room);
            MediaOutcome::Elsewhere
        } else if member.is_none_or(|member| member.holder != from) {
            MediaOutcome::Failed
        } else {
            *self.media.serving.entry(request.room.clone()).or_default() += 1;
            self.host.serve_forwarded(from, &request);
            return;
        };
        let RemoteMediaRequest { room, connection, id, .. } = request;
        let answer = RemoteMediaAnswer { room, connection, id, outcome };
        self.push(now, from, Body::MediaAnswer(answer));
    }

    /// Reports that the media server of this node has answered a request.
    pub fn served(&mut self, now: Moment, served: ServedMedia) {
        let ServedMedia { room, connection, asked_by, answer } = served;
        if let Some(serving) = self.media.serving.get_mut(&room) {
            *serving -= 1;
            if *serving == 0 {
                self.media.serving.remove(&room);
            }
        }
        match (asked_by, answer) {
            (Some((node, id)), answer) => {
                let outcome = answer.map_or(MediaOutcome::Failed, MediaOutcome::Answered);
                let room = room.clone();
                let answer = RemoteMediaAnswer { room, connection, id, outcome };
                self.push(now, node, Body::MediaAnswer(answer));
            }
            (None, Some(answer)) => self.note_answer(now, &room, connection, self.me, answer),
            (None, None) => {}
        }
        self.settle_media(now, &room);
    }

    /// Notes what a request of a session has changed at the node with the media. Sends the answer
    /// after a session that has moved meanwhile.
    fn note_answer(
        &mut self,
        now: Moment,
        room: &RoomId,
        connection: ConnectionId,
        node: Incarnation,
        answer: MediaAnswered,
    ) {
        let MediaAnswered { text, mut created, closed } = answer;
        if self.is_local(room, connection)
            && let Some(replica) = self.replicas.get_mut(room)
        {
            let transports = replica.transports.entry(connection).or_default();
            transports.retain(|known| Some(known) != closed.as_ref());
            transports.extend(created.take());
            let excess = transports.len().saturating_sub(MAX_TRANSPORTS);
            transports.drain(..excess);
        }
        // The session may have moved after it got its answer.
        if !text.is_empty() || created.is_some() {
            let texts = if text.is_empty() { Vec::new() } else { vec![text] };
            let created = created.map(|transport| (transport, node));
            let notice = MediaNotice { texts, is_vital: true, failed: None, created };
            let (room, notice) = (room.clone(), Arc::new(notice));
            self.send_notice(now, &RemoteMediaNotice { room, to: vec![connection], notice });
        }
    }

    /// Takes the answer of another node.
    pub(super) fn media_answered(
        &mut self,
        now: Moment,
        from: Incarnation,
        answer: RemoteMediaAnswer,
    ) {
        let RemoteMediaAnswer { id, outcome, .. } = answer;
        let is_it = |waiting: &&mut Waiting| waiting.asked == Some(from);
        let Some(waiting) = self.media.waiting.get_mut(&id).filter(is_it) else { return };
        match outcome {
            // The peer has left meanwhile, and perhaps joined again: the log has ended its media.
            _ if has_left(&self.replicas, waiting) => self.fail_media(id),
            MediaOutcome::Answered(mut answered) => {
                let PeerMediaRequest { room, connection, .. } = waiting.request.clone();
                self.media.waiting.remove(&id);
                if self.host.media_answered(id, &answered.text) {
                    answered.text = Box::default();
                }
                self.note_answer(now, &room, connection, from, answered);
            }
            MediaOutcome::Elsewhere => {
                (waiting.asked, waiting.refused_by) = (None, Some(from));
                self.advance_media(now, id);
            }
            MediaOutcome::Failed => self.fail_media(id),
        }
    }

    /// Notes which node has the media of a room. Transports at another node than that have failed.
    pub(super) fn set_media(&mut self, now: Moment, room: &RoomId, media: Option<Incarnation>) {
        let Some(replica) = self.replicas.get_mut(room) else { return };
        let former = std::mem::replace(&mut replica.media, media);
        if former == media {
            return;
        }
        let transports = std::mem::take(&mut replica.transports);
        // All nodes tell their peers of this change.
        replica.without_media.clear();
        if former == Some(self.me) {
            self.host.end_media(room);
        } else {
            for (connection, transports) in transports {
                self.host.transports_failed(connection, &transports);
            }
        }
        let waiting = self.media.waiting.iter_mut();
        let of_room = waiting.filter(|(_, waiting)| waiting.request.room == *room);
        let mut ids = Vec::new();
        for (id, waiting) in of_room {
            // Its answer would be about a transport that has failed.
            if waiting.asked.is_some() {
                (waiting.asked, waiting.since) = (None, now.instant);
            }
            ids.push(*id);
        }
        for id in ids {
            self.advance_media(now, id);
        }
        self.settle_media(now, room);
    }

    /// Ends the pin of a room that has no transport any more at this node, and the transports of a
    /// room that is not pinned to it.
    pub fn settle_media(&mut self, now: Moment, room: &RoomId) {
        let is_pinned =
            self.replicas.get(room).is_some_and(|replica| replica.media == Some(self.me));
        let has_media = self.host.has_media(room);
        if !is_pinned && has_media {
            self.host.end_media(room);
        } else if is_pinned && !has_media && !self.media.serving.contains_key(room) {
            self.unpin(now, room);
        }
    }

    /// Ends the media of a room on this node: its transports fail, and the next one decides on
    /// another node.
    pub fn release_media(&mut self, now: Moment, room: &RoomId) {
        if self.replicas.get(room).is_some_and(|replica| replica.media == Some(self.me)) {
            self.unpin(now, room);
            self.host.end_media(room);
        }
    }

    fn unpin(&mut self, now: Moment, room: &RoomId) {
        if let Some(replica) = self.replicas.get_mut(room) {
            replica.media = None;
            replica.transports.clear();
            replica.without_media.clear();
        }
        self.call_unpin(now, room);
        self.drop_unused(now, room);
    }

    /// Tells the engine that this node does not have the media of a room.
    pub(super) fn call_unpin(&mut self, now: Moment, room: &RoomId) {
        if self.can_call() {
            self.call(now.instant, Call::Unpin { room: room.clone() });
        } else {
            // The sync of the next connection says so.
            self.unsettled.insert(room.clone());
        }
    }

    /// Notes the transports of a session that has moved here. Those at a node that does not have
    /// the media any more have failed meanwhile.
    pub(in crate::cluster) fn take_transports(
        &mut self,
        connection: ConnectionId,
        (room, media): (&RoomId, Option<Incarnation>),
        transports: &[Box<str>],
    ) {
        let Some(replica) = self.replicas.get_mut(room).filter(|_| !transports.is_empty()) else {
            return;
        };
        if replica.media == media {
            replica.transports.insert(connection, transports.to_vec());
        } else {
            self.host.transports_failed(connection, transports);
        }
    }

    /// Notes a transport that a local session has learned of after it has moved here, or tells it
    /// that the transport has failed meanwhile.
    pub(super) fn take_transport(
        &mut self,
        connection: ConnectionId,
        (room, node): (&RoomId, Incarnation),
        transport: Box<str>,
    ) {
        let replica = self.replicas.get_mut(room).filter(|replica| replica.media == Some(node));
        if let Some(replica) = replica {
            replica.transports.entry(connection).or_default().push(transport);
        } else {
            self.host.transports_failed(connection, &[transport]);
        }
    }

    /// Takes the next step of requests that wait, and refuses those of peers that have left, and
    /// those that have waited too long.
    pub(super) fn tend_media(&mut self, now: Moment) {
        let (is_ready, lease) = (self.is_ready(), self.settings.lease);
        let is_over = |waiting: &Waiting| {
            let limit = if is_ready && waiting.asked.is_some() { lease } else { UNPINNED_TIMEOUT };
            now.instant.duration_since(waiting.since) >= limit || has_left(&self.replicas, waiting)
        };
        let ids: Vec<(u64, bool)> =
            self.media.waiting.iter().map(|(id, waiting)| (*id, is_over(waiting))).collect();
        for (id, is_over) in ids {
            self.advance_media(now, id);
            if is_over && self.media.waiting.contains_key(&id) {
                self.fail_media(id);
            }
        }
    }
}

/// Returns whether the peer of a request has left its room since, even if it has joined again. A peer
/// whose session has moved has not.
fn has_left(replicas: &BTreeMap<RoomId, Replica>, waiting: &Waiting) -> bool {
    let member = |membership| replicas.get(&waiting.request.room)?.member(membership);
    waiting.member.and_then(member).is_none()
}
