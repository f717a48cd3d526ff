//! This node's part in session moves, for one engine: what it holds, what arrives, and what has
//! departed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use smallvec::smallvec;

use super::move_event::MoveEvent;
use super::{ConnectionId, Incarnation, LeaveReason, Member, Membership, Node, Replica, RoomId};
use crate::clock::Moment;
use crate::cluster::frame::{Body, Bounce, MovedRoom, RemoteMediaNotice, RemoteSignal};
use crate::cluster::moving::{Hold, MAX_HELD};
use crate::cluster::record::RoomRecord;
use crate::cluster::script::Call;
use crate::cluster::{SignalFailure, Undelivered};
use crate::room::ShownRoom;

/// The sessions that move.
#[derive(Debug, Default)]
pub(super) struct Moves {
    holds: BTreeMap<ConnectionId, Hold>,
    /// The members that this node has asked the engine for.
    arriving: BTreeMap<(RoomId, ConnectionId), Member>,
    /// Frames for sessions that are arriving, until they are complete.
    early: BTreeMap<ConnectionId, Vec<(Incarnation, Body)>>,
    /// The members whose sessions were handed over, until the log says so; with bounces that follow
    /// them.
    departed: BTreeMap<(RoomId, ConnectionId), Vec<Bounce>>,
    events: VecDeque<MoveEvent>,
}

impl Moves {
    pub(super) fn holding(&self) -> usize {
        self.holds.len()
    }

    pub(super) fn is_holding(&self, connection: ConnectionId) -> bool {
        self.holds.contains_key(&connection)
    }

    /// Holds a signal with one recipient. Returns whether there was space for it.
    pub(super) fn hold(&mut self, signal: RemoteSignal) -> bool {
        let connection = signal.to.first().map(|to| to.connection);
        connection.and_then(|to| self.holds.get_mut(&to)).is_some_and(|hold| hold.push(signal))
    }

    /// Holds a notice of the media server with one recipient.
    pub(super) fn hold_notice(&mut self, notice: RemoteMediaNotice) {
        let hold = notice.to.first().and_then(|to| self.holds.get_mut(to));
        if let Some(hold) = hold {
            hold.push_notice(notice);
        }
    }

    /// Puts a notice with one recipient aside whose session is not complete here yet. Returns it if
    /// it is.
    pub(super) fn put_aside_notice(
        &mut self,
        from: Incarnation,
        notice: RemoteMediaNotice,
    ) -> Option<RemoteMediaNotice> {
        let Some(early) = notice.to.first().and_then(|to| self.early.get_mut(to)) else {
            return Some(notice);
        };
        if early.len() < MAX_HELD {
            early.push((from, Body::MediaNotice(notice)));
        }
        None
    }

    pub(super) fn has_departed(&self, room: &RoomId, connection: ConnectionId) -> bool {
        !self.departed.is_empty() && self.departed.contains_key(&(room.clone(), connection))
    }

    /// Returns whether a member of a replica has its session on this node.
    pub(super) fn is_local(
        &self,
        me: Incarnation,
        replica: &Replica,
        connection: ConnectionId,
    ) -> bool {
        let member = replica.members.get(&connection);
        member.is_some_and(|member| member.holder == me)
            && !self.has_departed(&replica.spec.room, connection)
    }

    pub(super) fn arriving_in<'a>(&'a self, room: &'a RoomId) -> impl Iterator<Item = &'a Member> {
        self.arriving
            .iter()
            .filter(move |((arriving, _), _)| arriving == room)
            .map(|(_, member)| member)
    }

    pub(super) fn is_arriving_in(&self, room: &RoomId) -> bool {
        self.arriving_in(room).next().is_some()
    }

    pub(super) fn is_arriving(&self, room: &RoomId, membership: Membership) -> bool {
        let member = self.arriving.get(&(room.clone(), membership.connection));
        member.is_some_and(|member| member.membership == membership)
    }

    /// Takes the recipients out of a signal whose sessions are not complete here yet: they get it
    /// when they are. Returns those for whom too many wait.
    pub(super) fn put_aside_early(
        &mut self,
        from: Incarnation,
        remote: &mut RemoteSignal,
    ) -> Vec<Membership> {
        let mut refused = Vec::new();
        if self.early.is_empty() {
            return refused;
        }
        for to in remote.to.clone() {
            let Some(early) = self.early.get_mut(&to.connection) else { continue };
            remote.to.retain(|other| *other != to);
            if early.len() < MAX_HELD {
                let signal = RemoteSignal { to: smallvec![to], ..remote.clone() };
                early.push((from, Body::Signal(signal)));
            } else {
                refused.push(to);
            }
        }
        refused
    }

    /// Puts a bounce aside whose sender is moving. Returns it if it is not.
    pub(super) fn put_aside_bounce(&mut self, from: Incarnation, bounce: Bounce) -> Option<Bounce> {
        let connection = bounce.from.connection;
        if let Some(early) = self.early.get_mut(&connection) {
            early.push((from, Body::Bounce(bounce)));
            return None;
        }
        match self.departed.get_mut(&(bounce.room.clone(), connection)) {
            Some(bounces) => {
                bounces.push(bounce);
                None
            }
            None => Some(bounce),
        }
    }

    /// Notes that the connection to the engine is lost.
    pub(super) fn interrupt(&mut self) {
        self.events.push_back(MoveEvent::Interrupted);
    }
}

impl Node {
    /// Returns the next step of a session move that this node does not decide alone.
    pub(in crate::cluster) fn next_move_event(&mut self) -> Option<MoveEvent> {
        self.moves.events.pop_front()
    }

    /// Processes a frame of a session move.
    pub(super) fn move_frame(&mut self, now: Moment, from: Incarnation, body: Body) {
        let event = match body {
            Body::Hold { connection, mut rooms } => {
                // It may have been sent before the session moved, to a node that has just entered.
                rooms.retain(|room| {
                    let replica = self.replicas.get(room);
                    let member = replica.and_then(|replica| replica.members.get(&connection));
                    member.is_some_and(|member| member.holder == from)
                });
                if rooms.is_empty() && !self.moves.is_holding(connection) {
                    self.push(now, from, Body::Held { connection });
                    return;
                }
                let hold =
                    self.moves.holds.entry(connection).or_insert_with(|| Hold::new(now.instant));
                hold.renew(now.instant, rooms);
                self.push(now, from, Body::Held { connection });
                return;
            }
            Body::Held { connection } => MoveEvent::Held { from, connection },
            Body::Claim { connection, request } => MoveEvent::Claimed { from, connection, request },
            Body::Refused { connection, holder } => MoveEvent::Refused { from, connection, holder },
            Body::Handover(handover) => MoveEvent::HandedOver { from, handover },
            _ => return,
        };
        self.moves.events.push_back(event);
    }

    /// Holds signals to a session that this node claims.
    pub(in crate::cluster) fn hold_for_claim(&mut self, now: Moment, connection: ConnectionId) {
        self.moves.holds.entry(connection).or_insert_with(|| Hold::new(now.instant)).is_claim =
            true;
    }

    /// Returns the living nodes other than this one.
    pub(in crate::cluster) fn other_nodes(&self) -> Vec<Incarnation> {
        self.members.living().iter().copied().filter(|node| *node != self.me).collect()
    }

    /// Returns the other nodes with peers in a room, or with its media.
    pub(in crate::cluster) fn nodes_in(&self, room: &RoomId) -> BTreeSet<Incarnation> {
        let Some(replica) = self.replicas.get(room) else { return BTreeSet::new() };
        let holders = replica.members.values().map(|member| member.holder).chain(replica.media);
        holders.filter(|holder| *holder != self.me).collect()
    }

    /// Takes a session that has just arrived out of rooms that it has left on its former node,
    /// which this node, not having been connected, has not learned yet.
    pub(in crate::cluster) fn take_out_left(&mut self, now: Moment, connection: ConnectionId) {
        if self.is_settled() {
            return;
        }
        let has_left = |replica: &&Replica| {
            replica.members.get(&connection).is_some_and(|member| member.holder != self.me)
        };
        let left: Vec<RoomId> = self
            .replicas
            .values()
            .filter(has_left)
            .map(|replica| replica.spec.room.clone())
            .collect();
        for room in left {
            self.take_out(now, &room, &[(connection, LeaveReason::Left)]);
        }
    }

    /// Notes that a session is handed over, with a room. Returns the room as its client knows it,
    /// and the signals of the client that are held for others. The member stays this node's until
    /// the log says otherwise.
    pub fn depart(
        &mut self,
        now: Moment,
        ShownRoom { room, peers: shown, away }: &ShownRoom,
        connection: ConnectionId,
    ) -> (Option<MovedRoom>, Vec<RemoteSignal>) {
        // A peer that has left in this moment is still in the replica, but the client has been
        // notified.
        let moved = self.replicas.get(room).map(|replica| {
            let members =
                replica.members.values().filter(|member| shown.contains(&member.connection()));
            let members = members.cloned().collect();
            let (spec, serial, version) = (replica.spec.clone(), replica.serial, replica.version);
            let known = RoomRecord { spec, serial, version, members, media: replica.media };
            let transports = replica.transports.get(&connection).cloned().unwrap_or_default();
            MovedRoom { from: self.me, known, away: away.clone(), transports }
        });
        if moved.is_some() {
            self.counters.departed += 1;
            self.moves.departed.insert((room.clone(), connection), Vec::new());
            let hold = self.moves.holds.entry(connection).or_insert_with(|| Hold::new(now.instant));
            hold.renew(now.instant, [room.clone()]);
        }
        let unsent =
            self.moves.holds.values_mut().flat_map(|hold| hold.take_from(connection)).collect();
        (moved, unsent)
    }

    /// Asks the engine for a member whose session was handed over to this node.
    pub(in crate::cluster) fn take(
        &mut self,
        now: Moment,
        moved: &MovedRoom,
        connection: ConnectionId,
    ) {
        let room = moved.known.room().clone();
        let Some(member) = moved.known.member(connection) else { return };
        let (membership, from) = (member.membership, moved.from);
        self.moves.arriving.insert((room.clone(), connection), member.clone());
        self.moves.early.entry(connection).or_default();
        self.call(now.instant, Call::Move { room, membership, from });
    }

    /// Reports that the engine does not give a member to this node.
    pub(super) fn not_taken(&mut self, room: RoomId, connection: ConnectionId) {
        if self.moves.arriving.contains_key(&(room, connection)) {
            self.moves.events.push_back(MoveEvent::NotTaken { connection });
        }
    }

    /// Ends the arrival of a session in a room, which it leaves if this node has it there already.
    pub(in crate::cluster) fn give_up(
        &mut self,
        now: Moment,
        room: &RoomId,
        connection: ConnectionId,
    ) {
        self.moves.arriving.remove(&(room.clone(), connection));
        if self.is_local(room, connection) {
            self.take_out(now, room, &[(connection, LeaveReason::Disconnected)]);
        }
        self.tell_left(now, room, connection, LeaveReason::Disconnected);
    }

    /// Processes the frames for a session that were put aside while it arrived, or was given up.
    pub(in crate::cluster) fn process_early(&mut self, now: Moment, connection: ConnectionId) {
        for (from, body) in self.moves.early.remove(&connection).unwrap_or_default() {
            self.process(now, from, body);
        }
    }

    /// Removes a member whose session was handed over and not taken. The log decides whether it was
    /// taken just now.
    pub(in crate::cluster) fn leave_departed(
        &mut self,
        now: Moment,
        room: &RoomId,
        connection: ConnectionId,
    ) {
        if self.is_ready() && self.moves.has_departed(room, connection) {
            let reason = LeaveReason::Disconnected;
            self.call(now.instant, Call::Leave { room: room.clone(), connection, reason });
        }
    }

    /// Notes that the log has given a member to this node.
    pub(super) fn taken(&mut self, room: &RoomId, connection: ConnectionId) {
        let key = (room.clone(), connection);
        self.moves.arriving.remove(&key);
        self.moved_on.remove(&key);
        self.moves.events.push_back(MoveEvent::Taken { room: room.clone(), connection });
    }

    /// Notes that the log says where a member is whose session was handed over.
    pub(super) fn settle_departed(&mut self, now: Moment, room: &RoomId, connection: ConnectionId) {
        let Some(bounces) = self.moves.departed.remove(&(room.clone(), connection)) else { return };
        self.moves.events.push_back(MoveEvent::Settled { room: room.clone(), connection });
        let member = self.replicas.get(room).and_then(|replica| replica.members.get(&connection));
        let holder = member.map(|member| member.holder);
        self.moved_on.insert(now.instant, (room.clone(), connection), holder);
        if let Some(holder) = holder {
            for bounce in bounces {
                self.push(now, holder, Body::Bounce(bounce));
            }
        }
    }

    /// Settles the members whose sessions were handed over and that have left otherwise, such as by
    /// a join of the same peer.
    pub(super) fn settle_left(&mut self, now: Moment) {
        let is_held =
            |(room, connection): &(RoomId, ConnectionId)| self.is_held_here(room, *connection);
        let left: Vec<_> =
            self.moves.departed.keys().filter(|key| !is_held(key)).cloned().collect();
        for (room, connection) in left {
            self.settle_departed(now, &room, connection);
        }
    }

    /// Releases the signals to a session that has moved, once it has in all rooms that this node
    /// shares with it.
    pub(super) fn release_moved(&mut self, now: Moment, room: &RoomId, connection: ConnectionId) {
        self.repeat_announcements(now, room, connection);
        if self.moves.holds.get_mut(&connection).is_some_and(|hold| hold.settle(room)) {
            self.release(now, connection);
        }
    }

    /// Ends a hold: its signals go to where the replicas say that the session is.
    pub(in crate::cluster) fn release(&mut self, now: Moment, connection: ConnectionId) {
        let Some(mut hold) = self.moves.holds.remove(&connection) else { return };
        for notice in hold.take_notices() {
            self.send_notice(now, &notice);
        }
        for signal in hold.release() {
            self.forward(now, signal);
        }
    }

    /// Sends a signal of a local peer that was held. If its recipient is moving again, it is held
    /// again.
    pub(in crate::cluster) fn forward(&mut self, now: Moment, mut signal: RemoteSignal) {
        let Some(to) = signal.to.first().copied() else { return };
        let replica = self.replicas.get(&signal.room);
        let has_sender = replica.is_some_and(|replica| replica.member(signal.from).is_some());
        if !has_sender || !self.is_local(&signal.room, signal.from.connection) {
            return;
        }
        let holder = replica.and_then(|replica| replica.member(to)).map(|member| member.holder);
        let (room, from, note) = (signal.room.clone(), signal.from.connection, signal.note);
        let failure = match holder {
            None => SignalFailure::TargetNotFound,
            Some(_) if self.moves.is_holding(to.connection) => {
                if self.moves.hold(signal) {
                    return;
                }
                SignalFailure::NotDelivered
            }
            Some(holder) if holder == self.me => {
                let delivered = self
                    .is_local(&room, to.connection)
                    .then(|| self.deliver_here(now, &mut signal, &[to]));
                match delivered.flatten().map(|queued| queued.failure) {
                    Some(None) => return,
                    Some(Some(failure)) => failure,
                    None => SignalFailure::NotDelivered,
                }
            }
            Some(holder) if self.has_capacity(now, holder) => {
                self.push(now, holder, Body::Signal(signal));
                return;
            }
            Some(_) => SignalFailure::NotDelivered,
        };
        self.host.undelivered(&Undelivered { room, from, to: to.connection, failure, note });
    }

    /// Releases holds of sessions that have taken too long to move.
    pub(super) fn expire_holds(&mut self, now: Moment) {
        let over = self.moves.holds.iter().filter(|(_, hold)| hold.is_over(now.instant));
        let over: Vec<ConnectionId> = over.map(|(connection, _)| *connection).collect();
        for connection in over {
            self.release(now, connection);
        }
    }

    /// Ends all moves: this node was declared dead. Sessions that were handed over have left.
    pub(super) fn end_moves(&mut self, now: Moment) {
        for (room, connection) in std::mem::take(&mut self.moves.departed).into_keys() {
            self.take_out(now, &room, &[(connection, LeaveReason::Disconnected)]);
            self.moves.events.push_back(MoveEvent::Settled { room, connection });
        }
        self.moves.arriving.clear();
        self.moves.early.clear();
        for (to, hold) in std::mem::take(&mut self.moves.holds) {
            for RemoteSignal { room, from, note, .. } in hold.release() {
                let (from, failure) = (from.connection, SignalFailure::NotDelivered);
                self.host.undelivered(&Undelivered { room, from, to, failure, note });
            }
        }
        self.moves.events.push_back(MoveEvent::Fenced);
    }
}
