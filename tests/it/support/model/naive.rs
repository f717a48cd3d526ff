//! A naive model of rooms, with lists that are searched linearly: slow, and short enough to be
//! verified by reading.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use parlor::clock::Moment;
use parlor::id::{ConnectionId, PeerId, RoomId};
use parlor::room::{
    Answer, Command, Counts, Event, FoundBy, LeaveReason, Metadata, MetadataPatch, Peer,
    RemovalReason, RoomError, RoomKind, RoomLimits, Signal, Snapshot, Summary, Target,
};

/// Maximum number of peers of a pair session.
const SESSION_SIZE: usize = 2;

/// The result of a command: the events of each recipient in order, and the peers that left, with
/// the reason.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Delivered {
    pub(crate) inbox: Vec<(ConnectionId, Event)>,
    pub(crate) left: Vec<(RoomId, Arc<Peer>, LeaveReason)>,
}

impl Delivered {
    fn deliver(&mut self, to: &[ConnectionId], event: &Event) {
        self.inbox.extend(to.iter().map(|to| (*to, event.clone())));
    }
}

/// A result, or every reason for which the contract permits a refusal: any of them is accepted.
pub(crate) type Outcome<T> = Result<T, Vec<RoomError>>;

/// A room.
struct Room {
    id: RoomId,
    created_at: SystemTime,
    /// Capacity of the room, and whether an operator chose it.
    own_capacity: usize,
    is_chosen: bool,
    is_pair: bool,
    /// The peers that joined over `/signal`.
    paired: Vec<ConnectionId>,
    /// Created by an operator: exists without peers until this time, or until its first peer has
    /// joined.
    waits_until: Option<Instant>,
    /// In the order they joined.
    peers: Vec<Arc<Peer>>,
    /// Untargeted signals without a recipient, and the time of the first one.
    waiting: Vec<(Instant, Arc<Peer>, Arc<Signal>)>,
}

impl Room {
    /// Returns whether the room is limited to two peers at present.
    fn is_for_two(&self) -> bool {
        self.is_pair || !self.paired.is_empty()
    }

    fn capacity(&self) -> usize {
        if self.is_for_two() { self.own_capacity.min(SESSION_SIZE) } else { self.own_capacity }
    }

    fn peer(&self, connection: ConnectionId) -> Option<Arc<Peer>> {
        self.peers.iter().find(|peer| peer.connection == connection).cloned()
    }

    fn all_but(&self, connection: ConnectionId) -> Vec<ConnectionId> {
        self.peers.iter().map(|peer| peer.connection).filter(|other| *other != connection).collect()
    }

    fn snapshot(&self, me: Arc<Peer>) -> Arc<Snapshot> {
        let (room, peers) = (self.id.clone(), self.peers.clone());
        Arc::new(Snapshot {
            room,
            created_at: self.created_at,
            capacity: self.capacity(),
            me,
            peers,
        })
    }

    fn summary(&self) -> Summary {
        let peers = self.peers.iter().map(|peer| peer.id.clone()).collect();
        Summary {
            id: self.id.clone(),
            peers,
            capacity: self.capacity(),
            created_at: self.created_at,
        }
    }
}

/// All rooms.
pub(crate) struct Naive {
    pub(crate) now: Moment,
    limits: RoomLimits,
    /// Open connections.
    open: Vec<ConnectionId>,
    /// In the order of their creation.
    rooms: Vec<Room>,
    /// Memberships in the order of their joins.
    joins: Vec<(ConnectionId, RoomId)>,
    /// Ended sessions, whose ids no later room has used.
    ended: Vec<RoomId>,
}

impl Naive {
    pub(crate) fn new(limits: RoomLimits, now: Moment) -> Self {
        Self {
            now,
            limits,
            open: Vec::new(),
            rooms: Vec::new(),
            joins: Vec::new(),
            ended: Vec::new(),
        }
    }

    pub(crate) fn connect(&mut self, connection: ConnectionId) {
        self.open.push(connection);
    }

    /// Ends a connection: it can no longer join; returns the rooms that it must leave.
    pub(crate) fn disconnect(&mut self, connection: ConnectionId) -> Vec<RoomId> {
        let rooms = self.of(connection);
        self.open.retain(|open| *open != connection);
        rooms
    }

    /// The rooms of an open connection, in the order it joined them.
    pub(crate) fn of(&self, connection: ConnectionId) -> Vec<RoomId> {
        let joins =
            self.joins.iter().filter(|(who, _)| *who == connection && self.open.contains(who));
        joins.map(|(_, room)| room.clone()).collect()
    }

    pub(crate) fn connections_in(&self, id: &RoomId) -> Vec<ConnectionId> {
        self.room(id)
            .map(|room| room.peers.iter().map(|peer| peer.connection).collect())
            .unwrap_or_default()
    }

    pub(crate) fn counts(&self) -> Counts {
        Counts {
            rooms: self.rooms.len(),
            peers: self.rooms.iter().map(|room| room.peers.len()).sum(),
        }
    }

    /// The newest first.
    pub(crate) fn list(&self) -> Vec<Summary> {
        self.rooms.iter().rev().map(Room::summary).collect()
    }

    fn room(&self, id: &RoomId) -> Option<&Room> {
        self.rooms.iter().find(|room| room.id == *id)
    }

    fn position(&self, id: &RoomId) -> Option<usize> {
        self.rooms.iter().position(|room| room.id == *id)
    }

    pub(crate) fn apply(
        &mut self,
        who: ConnectionId,
        command: Command,
        received: &mut Delivered,
    ) -> Outcome<Answer> {
        match command {
            Command::Join { room, peer, metadata, kind } => {
                self.join(who, &room, peer, metadata, kind, received)
            }
            Command::Inspect { room } => {
                let room = self.room(&room).ok_or(vec![RoomError::NotInRoom])?;
                let me = room.peer(who).ok_or(vec![RoomError::NotInRoom])?;
                Ok(Answer::Inspected(room.snapshot(me)))
            }
            Command::Leave { room } => {
                let room = self.named_room(who, room)?;
                if !self.leave(who, &room, LeaveReason::Left, received) {
                    return Err(vec![RoomError::NotInRoom]);
                }
                Ok(Answer::Left)
            }
            Command::HangUp { room } => self.hang_up(who, room, received),
            Command::Update { room, patch } => self.update(who, room, &patch, received),
            Command::Relay { room, target, signal } => {
                self.relay(who, room, target.as_ref(), signal, received)
            }
        }
    }

    /// Returns the room that a command names, or the only room of the connection.
    fn named_room(&self, who: ConnectionId, named: Option<RoomId>) -> Outcome<RoomId> {
        match (named, self.of(who).as_slice()) {
            (Some(room), _) => Ok(room),
            (None, _) if !self.open.contains(&who) => Err(vec![RoomError::ConnectionEnded]),
            (None, [room]) => Ok(room.clone()),
            (None, []) => Err(vec![RoomError::NotInAnyRoom]),
            (None, _) => Err(vec![RoomError::AmbiguousRoom]),
        }
    }

    /// Returns the named room if the connection is in it.
    fn joined_room(&self, who: ConnectionId, named: Option<RoomId>) -> Outcome<usize> {
        let id = self.named_room(who, named)?;
        match self.position(&id) {
            Some(index) if self.rooms[index].peer(who).is_some() => Ok(index),
            None if self.ended.contains(&id) => Err(vec![RoomError::SessionEnded]),
            _ => Err(vec![RoomError::NotInRoom]),
        }
    }

    /// Returns the reasons for which a join must be refused.
    fn refusals(
        &self,
        who: ConnectionId,
        id: &RoomId,
        peer: &PeerId,
        reply: &Metadata,
        kind: RoomKind,
    ) -> Vec<RoomError> {
        let limits = &self.limits;
        let room = self.room(id);
        let is_in = room.is_some_and(|room| room.peer(who).is_some());
        let joins_pair = kind != RoomKind::Group;
        let capacity = room.map_or(limits.room_size, Room::capacity);
        let capacity = if joins_pair { capacity.min(SESSION_SIZE) } else { capacity };
        let is_closed_to_pairs = room.is_some_and(|room| !room.is_pair && room.is_chosen);
        let is_foreign =
            self.open.iter().any(|other| *other != who && PeerId::from(*other) == *peer);
        // A replacing peer needs no capacity.
        let others =
            room.map_or(0, |room| room.peers.iter().filter(|other| other.id != *peer).count());
        let (max_rooms, max_mine) =
            (limits.rooms.unwrap_or(usize::MAX), limits.rooms_per_connection);
        let all = [
            (
                reply.as_str().len() > limits.metadata_bytes,
                RoomError::MetadataTooLarge { max: limits.metadata_bytes },
            ),
            (is_foreign, RoomError::ForeignConnectionId),
            (!is_in && joins_pair && is_closed_to_pairs, RoomError::NotForPairs),
            (kind == RoomKind::PairUnlessEnded && self.ended.contains(id), RoomError::SessionEnded),
            (!self.open.contains(&who), RoomError::ConnectionEnded),
            (room.is_none() && !limits.auto_create, RoomError::RoomNotFound),
            (
                room.is_none() && self.rooms.len() >= max_rooms,
                RoomError::TooManyRooms { max: max_rooms },
            ),
            (
                !is_in && self.of(who).len() >= max_mine,
                RoomError::TooManyRoomsPerConnection { max: max_mine },
            ),
            (!is_in && others >= capacity, RoomError::RoomFull { capacity }),
        ];
        all.into_iter().filter(|(is_so, _)| *is_so).map(|(_, error)| error).collect()
    }

    fn join(
        &mut self,
        who: ConnectionId,
        id: &RoomId,
        peer: Option<PeerId>,
        metadata: Metadata,
        kind: RoomKind,
        received: &mut Delivered,
    ) -> Outcome<Answer> {
        // The default peer id is the connection id.
        let peer = peer.unwrap_or_else(|| who.into());
        let refusals = self.refusals(who, id, &peer, &metadata, kind);
        if !refusals.is_empty() {
            return Err(refusals);
        }
        let index =
            self.position(id).unwrap_or_else(|| self.create_room(id.clone(), None, kind, None));
        let room = &self.rooms[index];
        if let Some(me) = room.peer(who) {
            // A repeated join returns the list; other peers get no event.
            let snapshot = room.snapshot(me);
            received.deliver(&[who], &Event::Joined(Arc::clone(&snapshot)));
            return Ok(Answer::Joined(snapshot));
        }
        // The newer of two peers with the same id replaces the older.
        if let Some(older) =
            room.peers.iter().find(|other| other.id == peer).map(|older| older.connection)
        {
            received.deliver(
                &[older],
                &Event::Removed { room: id.clone(), reason: RemovalReason::Replaced },
            );
            self.remove_peer(index, older, LeaveReason::Replaced, received);
        }
        let me = Arc::new(Peer { id: peer, connection: who, joined_at: self.now.time, metadata });
        self.joins.push((who, id.clone()));
        let (now, ttl) = (self.now.instant, self.limits.session.ttl);
        let room = &mut self.rooms[index];
        room.waits_until = None;
        if kind != RoomKind::Group {
            room.paired.push(who);
        }
        room.peers.push(Arc::clone(&me));
        let snapshot = room.snapshot(Arc::clone(&me));
        received.deliver(&[who], &Event::Joined(Arc::clone(&snapshot)));
        received.deliver(&room.all_but(who), &Event::PeerJoined { room: id.clone(), peer: me });
        for (since, from, signal) in room.waiting.drain(..) {
            if now <= since + ttl {
                let found_by = FoundBy::PeerId;
                received.deliver(
                    &[who],
                    &Event::SignalRelayed { room: id.clone(), from, found_by, signal },
                );
            }
        }
        Ok(Answer::Joined(snapshot))
    }

    /// Creates a room; an ended session with its id is forgotten.
    fn create_room(
        &mut self,
        id: RoomId,
        chosen: Option<usize>,
        kind: RoomKind,
        waits_until: Option<Instant>,
    ) -> usize {
        self.ended.retain(|ended| *ended != id);
        self.rooms.push(Room {
            id,
            created_at: self.now.time,
            own_capacity: chosen.unwrap_or(self.limits.room_size),
            is_chosen: chosen.is_some(),
            is_pair: kind != RoomKind::Group,
            paired: Vec::new(),
            waits_until,
            peers: Vec::new(),
            waiting: Vec::new(),
        });
        self.rooms.len() - 1
    }

    /// Removes a peer, and notifies the others.
    fn remove_peer(
        &mut self,
        index: usize,
        who: ConnectionId,
        reason: LeaveReason,
        received: &mut Delivered,
    ) {
        let room = &mut self.rooms[index];
        let (id, peer) = (room.id.clone(), room.peer(who).expect("in the room"));
        room.peers.retain(|peer| peer.connection != who);
        room.paired.retain(|paired| *paired != who);
        self.joins.retain(|(connection, joined)| *connection != who || *joined != id);
        received.deliver(
            &room.all_but(who),
            &Event::PeerLeft { room: id.clone(), peer: Arc::clone(&peer), reason },
        );
        received.left.push((id, peer, reason));
    }

    /// Removes a room that is empty and not waiting for a first peer.
    fn forget_if_empty(&mut self, index: usize) {
        let room = &self.rooms[index];
        if room.peers.is_empty() && room.waits_until.is_none() {
            let room = self.rooms.remove(index);
            if room.is_pair {
                self.ended.push(room.id);
            }
        }
    }

    /// Removes a peer, and returns whether it was in the room.
    pub(crate) fn leave(
        &mut self,
        who: ConnectionId,
        id: &RoomId,
        reason: LeaveReason,
        received: &mut Delivered,
    ) -> bool {
        let Some(index) = self.position(id).filter(|index| self.rooms[*index].peer(who).is_some())
        else {
            return false;
        };
        self.remove_peer(index, who, reason, received);
        self.forget_if_empty(index);
        true
    }

    fn hang_up(
        &mut self,
        who: ConnectionId,
        room: Option<RoomId>,
        received: &mut Delivered,
    ) -> Outcome<Answer> {
        let index = self.joined_room(who, room)?;
        if self.rooms[index].is_pair {
            // The other peer is notified of the leave, then both of the end.
            let both = self.connections_in(&self.rooms[index].id);
            self.remove_peer(index, who, LeaveReason::HungUp, received);
            self.end(index, &both, RemovalReason::HungUp, LeaveReason::HungUp, received);
        } else {
            let room = &self.rooms[index];
            received.deliver(&room.all_but(who), &Event::HungUp { room: room.id.clone() });
            self.remove_peer(index, who, LeaveReason::Left, received);
        }
        self.forget_if_empty(index);
        Ok(Answer::Left)
    }

    /// Ends a room: notifies its peers, and removes the rest without further events.
    fn end(
        &mut self,
        index: usize,
        all: &[ConnectionId],
        why: RemovalReason,
        reason: LeaveReason,
        received: &mut Delivered,
    ) {
        let room = self.rooms[index].id.clone();
        received.deliver(all, &Event::Removed { room, reason: why });
        let mut silent = Delivered::default();
        while let Some(peer) = self.rooms[index].peers.first().cloned() {
            self.remove_peer(index, peer.connection, reason, &mut silent);
        }
        received.left.append(&mut silent.left);
    }

    fn update(
        &mut self,
        who: ConnectionId,
        room: Option<RoomId>,
        patch: &MetadataPatch,
        received: &mut Delivered,
    ) -> Outcome<Answer> {
        let index = self.joined_room(who, room)?;
        let max = self.limits.metadata_bytes;
        let room = &mut self.rooms[index];
        let others = room.all_but(who);
        let peer = room.peers.iter_mut().find(|peer| peer.connection == who).expect("in the room");
        let metadata = patch.apply(&peer.metadata);
        if metadata.as_str().len() > max {
            return Err(vec![RoomError::MetadataTooLarge { max }]);
        }
        let has_changed = metadata != peer.metadata;
        *peer = Arc::new(Peer { id: peer.id.clone(), metadata, ..**peer });
        let peer = Arc::clone(peer);
        if has_changed {
            received.deliver(
                &others,
                &Event::PeerUpdated { room: room.id.clone(), peer: Arc::clone(&peer) },
            );
        }
        Ok(Answer::Inspected(room.snapshot(peer)))
    }

    fn relay(
        &mut self,
        who: ConnectionId,
        room: Option<RoomId>,
        target: Option<&Target>,
        signal: Signal,
        received: &mut Delivered,
    ) -> Outcome<Answer> {
        let index = self.joined_room(who, room)?;
        let (now, limits) = (self.now.instant, &self.limits.session);
        let room = &mut self.rooms[index];
        let from = room.peer(who).expect("in the room");
        let signal = Arc::new(signal);
        let (to, found_by) = match target {
            None => (room.all_but(who), FoundBy::PeerId),
            Some(target) => {
                let name = target.to_string();
                let by_id = room
                    .peers
                    .iter()
                    .find(|peer| target.as_peer().is_some() && peer.id.as_str() == name);
                let by_connection =
                    room.peers.iter().find(|peer| peer.connection.to_string() == name);
                match (by_connection, by_id) {
                    (Some(peer), _) => (vec![peer.connection], FoundBy::ConnectionId),
                    (None, Some(peer)) => (vec![peer.connection], FoundBy::PeerId),
                    (None, None) => return Err(vec![RoomError::TargetNotFound]),
                }
            }
        };
        if to.is_empty() && target.is_none() && room.is_for_two() {
            room.waiting.retain(|(since, ..)| now <= *since + limits.ttl);
            let bytes: usize = room.waiting.iter().map(|(_, _, waiting)| waiting.body.len()).sum();
            if room.waiting.len() >= limits.messages || bytes + signal.body.len() > limits.bytes {
                return Err(vec![RoomError::SessionQueueFull]);
            }
            room.waiting.push((now, from, signal));
        } else {
            let room = room.id.clone();
            received.deliver(&to, &Event::SignalRelayed { room, from, found_by, signal });
        }
        Ok(Answer::Relayed)
    }

    pub(crate) fn create(&mut self, id: &RoomId, capacity: Option<usize>) -> Outcome<Summary> {
        let max = self.limits.rooms.unwrap_or(usize::MAX);
        let (exists, full) = (self.room(id).is_some(), self.rooms.len() >= max);
        let all =
            [(exists, RoomError::RoomExists), (full && !exists, RoomError::TooManyRooms { max })];
        let refusals: Vec<RoomError> =
            all.into_iter().filter(|(is_so, _)| *is_so).map(|(_, error)| error).collect();
        if !refusals.is_empty() {
            return Err(refusals);
        }
        let until = self.now.instant + self.limits.empty_room_ttl;
        let capacity = capacity.unwrap_or(self.limits.room_size);
        let index = self.create_room(id.clone(), Some(capacity), RoomKind::Group, Some(until));
        Ok(self.rooms[index].summary())
    }

    /// Closes a room; returns whether it existed.
    pub(crate) fn close(&mut self, id: &RoomId, received: &mut Delivered) -> bool {
        let Some(index) = self.position(id) else { return false };
        let all = self.connections_in(id);
        self.rooms[index].waits_until = None;
        self.end(index, &all, RemovalReason::Closed, LeaveReason::Closed, received);
        self.forget_if_empty(index);
        true
    }

    /// Removes expired rooms without peers.
    pub(crate) fn expire(&mut self) -> usize {
        let before = self.rooms.len();
        let now = self.now.instant;
        self.rooms.retain(|room| room.waits_until.is_none_or(|until| now < until));
        before - self.rooms.len()
    }
}
