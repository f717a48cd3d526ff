//! Signals to and from other nodes.

use std::sync::Arc;

use smallvec::{SmallVec, smallvec};
use tracing::warn;

use super::{ConnectionId, Incarnation, Member, Membership, Node, Replica, RoomId};
use crate::clock::Moment;
use crate::cluster::frame::{Body, Bounce, InboxMessage, RemoteSignal, decode};
use crate::cluster::{Queued, SignalFailure, Undelivered};
use crate::room::{FoundBy, Signal};

/// A signal of a local peer to peers on other nodes.
#[derive(Debug, Clone)]
pub struct OutgoingSignal {
    /// The room.
    pub room: RoomId,
    /// The sender.
    pub from: ConnectionId,
    /// The recipients.
    pub to: SmallVec<[ConnectionId; 1]>,
    /// How the sender named the recipient.
    pub found_by: FoundBy,
    /// The signal.
    pub signal: Arc<Signal>,
}

impl Node {
    /// Sends a signal to other nodes. Recipients that it cannot be sent to are reported by
    /// [`Host::undelivered`](crate::cluster::Host::undelivered).
    pub fn send(&mut self, now: Moment, outgoing: OutgoingSignal) {
        let OutgoingSignal { room, from, to, found_by, signal } = outgoing;
        let Some(Replica { members, .. }) = self.replicas.get(&room) else { return };
        let member = |connection: &ConnectionId| members.get(connection);
        let Some(sender) = member(&from).map(|member| member.membership) else { return };
        let mut nodes: SmallVec<[(Incarnation, SmallVec<[Membership; 1]>); 1]> = SmallVec::new();
        let mut failed = Vec::new();
        let (mut held, mut here) = (Vec::new(), Vec::new());
        for connection in to {
            match member(&connection) {
                Some(Member { membership, .. }) if self.moves.is_holding(connection) => {
                    held.push(*membership);
                }
                // This node does not know yet on which node the session is.
                Some(_) if self.moves.has_departed(&room, connection) => {
                    failed.push((connection, SignalFailure::NotDelivered));
                }
                // Its session has arrived in this moment, or is just ending here.
                Some(Member { holder, membership, .. }) if *holder == self.me => {
                    here.push(*membership);
                }
                Some(Member { holder, membership, .. }) if self.has_capacity(now, *holder) => {
                    match nodes.iter_mut().find(|(node, _)| node == holder) {
                        Some((_, to)) => to.push(*membership),
                        None => nodes.push((*holder, smallvec![*membership])),
                    }
                }
                Some(_) => failed.push((connection, SignalFailure::NotDelivered)),
                None => failed.push((connection, SignalFailure::TargetNotFound)),
            }
        }
        let Signal { kind, name, origin, body, content, note, attachments, .. } =
            Arc::unwrap_or_clone(signal);
        let whole = RemoteSignal {
            room,
            from: sender,
            to: SmallVec::new(),
            found_by,
            kind,
            name,
            origin: origin.into(),
            body,
            content,
            note,
            attachments,
        };
        let remote = |to| RemoteSignal { to, ..whole.clone() };
        for membership in held {
            if !self.moves.hold(remote(smallvec![membership])) {
                failed.push((membership.connection, SignalFailure::NotDelivered));
            }
        }
        for membership in here {
            let queued = self.deliver_here(now, &mut remote(smallvec![membership]), &[membership]);
            if let Some(failure) = queued.and_then(|queued| queued.failure) {
                failed.push((membership.connection, failure));
            }
        }
        for (connection, failure) in failed {
            let room = whole.room.clone();
            self.host.undelivered(&Undelivered { room, from, to: connection, failure, note });
        }
        // Mostly to one node: the signal is not copied.
        let last = nodes.pop();
        for (node, to) in nodes {
            self.push(now, node, Body::Signal(remote(to)));
        }
        if let Some((node, to)) = last {
            self.push(now, node, Body::Signal(RemoteSignal { to, ..whole }));
        }
    }

    /// Tells the other nodes with members in a room, or with its media, that a peer of this node is
    /// away, or back. A session that arrives at the node with the media is shown what that knows.
    pub fn announce(
        &mut self,
        now: Moment,
        room: &RoomId,
        connection: ConnectionId,
        is_away: bool,
    ) {
        let Some(replica) = self.replicas.get(room) else { return };
        let own = replica.members.get(&connection).filter(|member| member.holder == self.me);
        let Some(from) = own.map(|member| member.membership) else { return };
        self.announcements.add(now.instant, room, connection);
        for node in self.nodes_in(room) {
            if self.has_capacity(now, node) {
                self.push(now, node, Body::Presence { room: room.clone(), from, is_away });
            } else {
                self.announcements.skip(room, connection);
            }
        }
    }

    /// Reports a message in the inbox.
    pub fn received(&mut self, now: Moment, message: &[u8]) {
        match decode(message) {
            Ok(Some(InboxMessage::Entry(entry))) => self.entry(now, entry),
            Ok(Some(InboxMessage::Frame(frame))) => self.frame(now, frame),
            Ok(None) => {}
            Err(malformed) => {
                self.counters.malformed += 1;
                warn!(%malformed, bytes = message.len(), "ignoring a message from the engine");
            }
        }
    }

    pub(super) fn process(&mut self, now: Moment, from: Incarnation, body: Body) {
        match body {
            Body::Signal(signal) => self.deliver(now, from, signal),
            Body::Bounce(bounce) => self.bounced(now, from, bounce),
            Body::Presence { room, from: peer, is_away } => {
                self.show_presence(now, from, &room, peer, is_away);
            }
            Body::Kick { room, connection, id } => {
                let is_done = self.is_local(&room, connection) && self.host.kick(&room, connection);
                self.push(now, from, Body::Done { id, is_done });
            }
            Body::Evict { room, id } => {
                let is_done = self.evict_here(now, &room);
                self.push(now, from, Body::Done { id, is_done });
            }
            Body::Done { id, is_done } => {
                if !self.evicted(now, from, id, is_done) {
                    self.host.kicked(id, is_done);
                }
            }
            Body::Media(request) => self.serve_media(now, from, request),
            Body::MediaAnswer(answer) => self.media_answered(now, from, answer),
            Body::MediaNotice(notice) => self.media_notice(from, &notice),
            Body::Congested { room, connection } => self.peer_congested(from, room, connection),
            Body::Drained { connection } => self.peer_drained(from, connection),
            body => self.move_frame(now, from, body),
        }
    }

    /// Delivers a signal to local peers; for those that are not here, it bounces.
    fn deliver(&mut self, now: Moment, node: Incarnation, mut remote: RemoteSignal) {
        let refused = self.moves.put_aside_early(node, &mut remote);
        let mut replica = self.replicas.get_mut(&remote.room);
        let knows_sender = replica.as_ref().is_some_and(|it| it.member(remote.from).is_some());
        let is_late =
            replica.as_mut().is_some_and(|it| !it.accept_signal(remote.from.connection, node));
        let is_here = |to: &Membership| {
            let member = replica.as_ref().and_then(|replica| replica.member(*to));
            knows_sender
                && member.is_some_and(|member| member.holder == self.me)
                && !self.moves.has_departed(&remote.room, to.connection)
        };
        let (mut here, elsewhere): (SmallVec<[Membership; 1]>, SmallVec<[Membership; 1]>) =
            remote.to.iter().copied().partition(|to| is_here(to));
        let mut failed: Vec<_> =
            refused.into_iter().map(|to| (to, SignalFailure::NotDelivered)).collect();
        if is_late {
            warn!(room = %remote.room, %node, "a signal of a session that has moved is late, refusing it");
            failed.extend(here.drain(..).map(|to| (to, SignalFailure::NotDelivered)));
        }
        for to in elsewhere {
            // The recipient is in the room, but its session was handed over, or has moved: the
            // sender does not know yet where it is now.
            let is_member = replica.as_ref().is_some_and(|it| it.member(to).is_some());
            let is_elsewhere = (knows_sender && is_member)
                || self.moves.has_departed(&remote.room, to.connection)
                || self.moved_on.get(&(remote.room.clone(), to.connection)).is_some();
            let failure = if is_elsewhere {
                SignalFailure::NotDelivered
            } else {
                SignalFailure::TargetNotFound
            };
            failed.push((to, failure));
        }
        if !here.is_empty() {
            match self.deliver_here(now, &mut remote, &here) {
                Some(Queued { failure, is_congested }) => {
                    if is_congested {
                        self.notify_of_congestion(now, node, &remote.room, &here);
                    }
                    // One report for all recipients: it is about the signal, not about each of them.
                    failed.extend(here.first().and_then(|to| Some((*to, failure?))));
                }
                None => failed.extend(here.into_iter().map(|to| (to, SignalFailure::NotDelivered))),
            }
        }
        for (to, failure) in failed {
            match failure {
                SignalFailure::TargetNotFound => self.counters.not_found += 1,
                SignalFailure::NotDelivered => self.counters.not_delivered += 1,
            }
            let RemoteSignal { from, note, .. } = remote;
            let bounce = Bounce { room: remote.room.clone(), from, to, failure, note };
            self.push(now, node, Body::Bounce(bounce));
        }
    }

    /// Delivers a signal, which is taken out, to peers of this node. Returns `None` if it could not
    /// be.
    pub(super) fn deliver_here(
        &self,
        now: Moment,
        remote: &mut RemoteSignal,
        to: &[Membership],
    ) -> Option<Queued> {
        let origin = self.host.dialect(&remote.origin)?;
        let to: SmallVec<[ConnectionId; 1]> =
            to.iter().map(|membership| membership.connection).collect();
        let signal = remote.take(origin);
        let RemoteSignal { room, from, found_by, .. } = remote;
        let applied =
            self.host.rooms().deliver_signal(room, from.connection, &to, *found_by, signal)?;
        Some(self.host.deliver(&applied, now))
    }

    /// Shows the local peers of a room that a peer is away, or back, if its node says so.
    fn show_presence(
        &self,
        now: Moment,
        node: Incarnation,
        room: &RoomId,
        from: Membership,
        is_away: bool,
    ) {
        let Some(member) = self.replicas.get(room).and_then(|replica| replica.member(from)) else {
            return;
        };
        if member.holder == node
            && let Some(applied) = self.host.rooms().announce(from.connection, room, is_away)
        {
            self.host.deliver(&applied, now);
        }
    }

    /// Tells the sender of a signal that it was not delivered.
    pub(super) fn bounced(&mut self, now: Moment, node: Incarnation, bounce: Bounce) {
        let Some(bounce) = self.moves.put_aside_bounce(node, bounce) else { return };
        let sender =
            self.replicas.get(&bounce.room).and_then(|replica| replica.member(bounce.from));
        // This node may not be part of the room any more, since the sender has moved.
        let moved_to = || {
            let key = (bounce.room.clone(), bounce.from.connection);
            self.moved_on.get(&key).copied().flatten().filter(|holder| *holder != self.me)
        };
        match sender.map_or_else(moved_to, |sender| Some(sender.holder)) {
            Some(holder) if holder == self.me => {
                let Bounce { room, from, to, failure, note, .. } = bounce;
                let (from, to) = (from.connection, to.connection);
                self.host.undelivered(&Undelivered { room, from, to, failure, note });
            }
            // The session of the sender has moved.
            Some(holder) => self.push(now, holder, Body::Bounce(bounce)),
            None => {}
        }
    }

    /// Returns whether a connection is a member of a room whose session is on this node.
    pub(in crate::cluster) fn is_local(&self, room: &RoomId, connection: ConnectionId) -> bool {
        self.replicas
            .get(room)
            .is_some_and(|replica| self.moves.is_local(self.me, replica, connection))
    }

    /// Asks the node of a peer to remove it from a room. The answer is reported by
    /// [`Host::kicked`](crate::cluster::Host::kicked), unless that node dies.
    pub fn kick(
        &mut self,
        now: Moment,
        holder: Incarnation,
        room: RoomId,
        connection: ConnectionId,
        id: u64,
    ) {
        self.push(now, holder, Body::Kick { room, connection, id });
    }
}
