//! All rooms of a node: finding, creating, locking and forgetting them, and which connection is in which.
//!
//! Locks, in the order in which they are taken: a room's own, then (briefly, never the other way round) a shard of one
//! of the two maps or their order. Two rooms are never locked at once.

mod order;
mod replica;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Instant, SystemTime};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use indexmap::IndexSet;
use parking_lot::{ArcMutexGuard, Mutex, RawMutex};

use self::order::Order;
pub use self::replica::{Admitted, Founding};
use super::command::{Command, Metadata, MetadataPatch, RoomKind, Signal, Target};
use super::error::RoomError;
use super::event::{Answer, Delivery, LeaveReason};
use super::limits::Limits;
use super::state::{Capacity, Change, Room};
use super::summary::{Counts, Cursor, Page, Summary};
use crate::clock::Moment;
use crate::id::{ConnectionId, PeerId, RoomId};
use crate::shrink;

/// Every room of this node.
#[derive(Debug)]
pub struct Rooms {
    limits: Limits,
    by_id: DashMap<RoomId, Listed>,
    order: Mutex<Order>,
    /// The rooms of each open connection. An entry exists from [`Rooms::connect`] to [`Rooms::disconnect`], and it is
    /// changed only while the room concerned is locked.
    memberships: DashMap<ConnectionId, Vec<RoomId>>,
    room_count: AtomicUsize,
    peer_count: AtomicUsize,
    /// The pair sessions that ended last, the oldest first: a client that still sends to one is told so.
    ended: Mutex<IndexSet<RoomId>>,
}

/// Minimum number of ended pair sessions that are remembered; the maximum is twice that.
const ENDED_SESSIONS: usize = 4096;

/// A room as the map lists it.
#[derive(Debug, Clone)]
struct Listed {
    /// Rises with each room created: its place in listings.
    serial: u64,
    room: Arc<Mutex<Kept>>,
}

/// A room and whether it is still in the map.
#[derive(Debug)]
struct Kept {
    room: Room,
    serial: u64,
    keep: Keep,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keep {
    /// While someone is in it.
    WhileInUse,
    /// Created ahead; waits for its first peer until then.
    Until(Instant),
    /// Out of the map: whoever still holds it must look again.
    Forgotten,
}

impl Keep {
    /// The end of its time, where it has one.
    fn until(self) -> Option<Instant> {
        match self {
            Self::Until(end) => Some(end),
            Self::WhileInUse | Self::Forgotten => None,
        }
    }
}

/// Bounds of one join beyond the [`Limits`] of the node.
#[derive(Debug, Clone, Copy, Default)]
pub struct JoinBounds {
    /// The maximum number of peers of a room that the join creates.
    pub size: Option<usize>,
    /// How many rooms the other sessions of the same transport connection are in: they count as rooms of the connection.
    pub other_rooms: usize,
}

/// The peer that joins, and what the room is to be like if that creates it.
struct Joiner {
    peer: Option<PeerId>,
    metadata: Metadata,
    kind: RoomKind,
    capacity: Capacity,
    other_rooms: usize,
}

type RoomGuard = ArcMutexGuard<RawMutex, Kept>;

/// What came of a command.
///
/// The room stays locked until this is dropped: queue the deliveries first, and never await in between.
#[must_use = "the deliveries are to be queued"]
pub struct Applied {
    /// What to tell whom, in this order.
    pub deliveries: Vec<Delivery>,
    /// What the one who asked is answered.
    pub answer: Answer,
    room: RoomGuard,
}

impl Applied {
    /// The room, as it is after the command.
    pub fn room(&self) -> &Room {
        &self.room.room
    }
}

impl Rooms {
    /// No rooms yet.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            by_id: DashMap::new(),
            order: Mutex::default(),
            memberships: DashMap::new(),
            room_count: AtomicUsize::new(0),
            peer_count: AtomicUsize::new(0),
            ended: Mutex::new(IndexSet::new()),
        }
    }

    /// The limits in force.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Lets a connection in; before this it can join nothing.
    pub fn connect(&self, connection: ConnectionId) {
        self.memberships.insert(connection, Vec::new());
    }

    /// Lets a connection go. From here on it can join nothing; the rooms that it is still in are returned, and each is
    /// to be left with [`Rooms::leave`].
    pub fn disconnect(&self, connection: ConnectionId) -> Vec<RoomId> {
        self.memberships.remove(&connection).map(|(_, rooms)| rooms).unwrap_or_default()
    }

    /// How many rooms a connection is in.
    pub fn count_of(&self, connection: ConnectionId) -> usize {
        self.memberships.get(&connection).map_or(0, |rooms| rooms.len())
    }

    /// The rooms a connection is in, in the order it joined them.
    pub fn of(&self, connection: ConnectionId) -> Vec<RoomId> {
        self.memberships.get(&connection).map(|rooms| rooms.clone()).unwrap_or_default()
    }

    /// Carries out one command of one connection.
    ///
    /// [`Command::Leave`] without a room leaves the only room of the connection. Where it is in several the caller
    /// leaves them one by one ([`Rooms::of`]), since two rooms are never locked at once.
    pub fn apply(&self, now: Moment, connection: ConnectionId, command: Command) -> Result<Applied, RoomError> {
        self.apply_bounded(now, connection, command, JoinBounds::default())
    }

    /// The same, with bounds for a join.
    pub fn apply_bounded(
        &self,
        now: Moment,
        connection: ConnectionId,
        command: Command,
        bounds: JoinBounds,
    ) -> Result<Applied, RoomError> {
        match command {
            Command::Join { room, peer, metadata, kind } => {
                let JoinBounds { size, other_rooms } = bounds;
                let capacity = self.capacity(size);
                self.join(now, connection, &room, Joiner { peer, metadata, kind, capacity, other_rooms })
            }
            Command::Inspect { room } => {
                let kept = self.lock(&room).ok_or(RoomError::NotInRoom)?;
                let answer = Answer::Inspected(kept.room.inspect(connection)?);
                Ok(Applied { deliveries: Vec::new(), answer, room: kept })
            }
            Command::HangUp { room } => self.hang_up(connection, room),
            Command::Update { room, patch } => self.update(connection, room, &patch),
            Command::Leave { room } => {
                let room = self.resolve(connection, room)?;
                self.leave(connection, &room, LeaveReason::Left).ok_or(RoomError::NotInRoom)
            }
            Command::Relay { room, target, signal } => self.relay(now, connection, room, target.as_ref(), signal),
        }
    }

    fn join(
        &self,
        now: Moment,
        connection: ConnectionId,
        id: &RoomId,
        Joiner { peer, metadata, kind, capacity, other_rooms }: Joiner,
    ) -> Result<Applied, RoomError> {
        let max = self.limits.metadata_bytes;
        if metadata.as_str().len() > max {
            return Err(RoomError::MetadataTooLarge { max });
        }
        let claimed = peer.as_ref().and_then(|peer| ConnectionId::parse(peer.as_str()));
        if claimed.is_some_and(|claimed| claimed != connection && self.memberships.contains_key(&claimed)) {
            return Err(RoomError::ForeignConnectionId);
        }
        if kind == RoomKind::PairUnlessEnded && self.ended.lock().contains(id) {
            return Err(RoomError::SessionEnded);
        }
        let mut kept = loop {
            let listed = match self.by_id.get(id) {
                Some(listed) => listed.clone(),
                None if !self.limits.auto_create => return Err(RoomError::RoomNotFound),
                None => self.insert(now, id.clone(), capacity, kind, Keep::WhileInUse)?.0,
            };
            let kept = listed.room.lock_arc();
            if kept.keep != Keep::Forgotten {
                break kept;
            }
        };
        // From here on the room may be new and empty: every way out removes it then.
        let limits = &self.limits.session;
        let joined = self
            .reserve(connection, other_rooms, &kept.room)
            .and_then(|()| kept.room.join(now, connection, peer, metadata, kind, limits));
        let joined = match joined {
            Ok(joined) => joined,
            Err(error) => {
                self.withdraw(connection, &kept.room);
                // A room that was created for this join alone never was: nothing of it has ended.
                self.remove_if_empty(&mut kept);
                return Err(error);
            }
        };
        kept.keep = Keep::WhileInUse;
        self.ended.lock().shift_remove(id);
        match joined.change {
            Change::None => {}
            Change::Added => _ = self.peer_count.fetch_add(1, Ordering::Relaxed),
            Change::Replaced(older) => self.forget_membership(older, id),
        }
        Ok(Applied { deliveries: joined.deliveries, answer: Answer::Joined(joined.snapshot), room: kept })
    }

    /// Takes a connection out of a room. `None` where it is not in it (any more).
    pub fn leave(&self, connection: ConnectionId, id: &RoomId, reason: LeaveReason) -> Option<Applied> {
        let mut kept = self.lock(id)?;
        let left = kept.room.remove(connection, reason)?;
        self.peer_count.fetch_sub(1, Ordering::Relaxed);
        self.forget_membership(connection, id);
        self.settle(&mut kept);
        Some(Applied { deliveries: vec![left], answer: Answer::Left, room: kept })
    }

    /// Has the others in a room told that a peer is away, or back. `None` where it is not in it.
    pub fn announce(&self, connection: ConnectionId, id: &RoomId, is_away: bool) -> Option<Applied> {
        let kept = self.lock(id)?;
        let told = kept.room.announce(connection, is_away)?;
        Some(Applied { deliveries: vec![told], answer: Answer::Left, room: kept })
    }

    fn hang_up(&self, connection: ConnectionId, room: Option<RoomId>) -> Result<Applied, RoomError> {
        let id = self.resolve(connection, room)?;
        let mut kept = self.lock(&id).ok_or_else(|| self.not_there(&id))?;
        let members: Vec<ConnectionId> = kept.room.peers().map(|peer| peer.connection).collect();
        if !members.contains(&connection) {
            return Err(RoomError::NotInRoom);
        }
        let deliveries = kept.room.hang_up(connection);
        for member in members.into_iter().filter(|member| !kept.room.contains(*member)) {
            self.peer_count.fetch_sub(1, Ordering::Relaxed);
            self.forget_membership(member, &id);
        }
        self.settle(&mut kept);
        Ok(Applied { deliveries, answer: Answer::Left, room: kept })
    }

    fn update(
        &self,
        connection: ConnectionId,
        room: Option<RoomId>,
        patch: &MetadataPatch,
    ) -> Result<Applied, RoomError> {
        let id = self.resolve(connection, room)?;
        let mut kept = self.lock(&id).ok_or_else(|| self.not_there(&id))?;
        let updated = kept.room.update(connection, patch, self.limits.metadata_bytes)?;
        let answer = Answer::Inspected(kept.room.inspect(connection)?);
        Ok(Applied { deliveries: updated.into_iter().collect(), answer, room: kept })
    }

    fn relay(
        &self,
        now: Moment,
        connection: ConnectionId,
        room: Option<RoomId>,
        target: Option<&Target>,
        signal: Signal,
    ) -> Result<Applied, RoomError> {
        let room = self.resolve(connection, room)?;
        let mut kept = self.lock(&room).ok_or_else(|| self.not_there(&room))?;
        let delivery = kept.room.relay(now, connection, target, signal, &self.limits.session)?;
        if delivery.is_none() {
            self.schedule_queue(&mut kept);
        }
        Ok(Applied { deliveries: delivery.into_iter().collect(), answer: Answer::Relayed, room: kept })
    }

    /// Creates a room ahead of its first peer; without an id, one that nobody can guess.
    pub fn create(&self, now: Moment, id: Option<RoomId>, capacity: Option<usize>) -> Result<Summary, RoomError> {
        let capacity = Capacity { peers: capacity.unwrap_or(self.limits.room_size), is_chosen: true };
        let id = id.unwrap_or_else(RoomId::random);
        let keep = Keep::Until(now.instant + self.limits.empty_room_ttl);
        let (listed, is_new) = self.insert(now, id.clone(), capacity, RoomKind::Group, keep)?;
        if !is_new {
            return Err(RoomError::RoomExists);
        }
        self.ended.lock().shift_remove(&id);
        Ok(Summary::from(&listed.room.lock().room))
    }

    /// Closes a room: everyone in it is told and out. `None` where there is none of that id.
    pub fn close(&self, id: &RoomId) -> Option<Applied> {
        let mut kept = self.lock(id)?;
        let members: Vec<ConnectionId> = kept.room.peers().map(|peer| peer.connection).collect();
        let deliveries = kept.room.close();
        self.peer_count.fetch_sub(members.len(), Ordering::Relaxed);
        for member in members {
            self.forget_membership(member, id);
        }
        kept.keep = Keep::WhileInUse;
        self.settle(&mut kept);
        Some(Applied { deliveries, answer: Answer::Left, room: kept })
    }

    /// Removes the rooms whose first peer never came, and the queued signals whose time is over. Returns how many rooms.
    pub fn expire(&self, now: Instant) -> usize {
        loop {
            let Some(id) = self.order.lock().pop_queue(now) else { break };
            let Some(mut kept) = self.lock(&id) else { continue };
            kept.room.expire_queue(now, &self.limits.session);
            self.schedule_queue(&mut kept);
        }
        let mut expired = 0;
        loop {
            // A step of its own: the lock is not held while a room is.
            let Some(id) = self.order.lock().pop_waiting(now) else { return expired };
            let Some(mut kept) = self.lock(&id) else { continue };
            if matches!(kept.keep, Keep::Until(end) if end <= now) {
                kept.keep = Keep::WhileInUse;
                self.settle(&mut kept);
                expired += 1;
            }
        }
    }

    /// Gives back memory that many rooms needed that are gone.
    pub fn give_back(&self) {
        shrink::shrink_map(&self.by_id);
        shrink::shrink_map(&self.memberships);
    }

    /// One room.
    pub fn summary(&self, id: &RoomId) -> Option<Summary> {
        self.lock(id).map(|kept| Summary::from(&kept.room))
    }

    /// Returns the peers of a room, in the order they joined; none if there is no such room.
    pub fn peers(&self, id: &RoomId) -> Vec<Arc<super::Peer>> {
        self.lock(id).map(|kept| kept.room.peers().cloned().collect()).unwrap_or_default()
    }

    /// Up to `limit` rooms, the newest first: those created before `cursor`, where one is given.
    pub fn page(&self, cursor: Option<Cursor>, limit: usize) -> Page {
        let Cursor(before) = cursor.unwrap_or(Cursor(u64::MAX));
        // One more, to know whether there is a next page.
        let mut found = self.order.lock().before(before, limit.saturating_add(1));
        let has_more = found.len() > limit;
        found.truncate(limit);
        let next = found.last().filter(|_| has_more).map(|(serial, _)| Cursor(*serial));
        // Rooms that were closed meanwhile are left out.
        Page { rooms: found.iter().filter_map(|(_, id)| self.summary(id)).collect(), next }
    }

    /// The cursor of the page after a room. `None` where there is no room of that id.
    pub fn cursor(&self, id: &RoomId) -> Option<Cursor> {
        Some(Cursor(self.by_id.get(id)?.serial))
    }

    /// How many rooms and peers there are.
    pub fn counts(&self) -> Counts {
        Counts { rooms: self.room_count.load(Ordering::Relaxed), peers: self.peer_count.load(Ordering::Relaxed) }
    }

    /// The number of peers in a room.
    pub fn size(&self, id: &RoomId) -> usize {
        self.lock(id).map_or(0, |kept| kept.room.peers().len())
    }

    /// The connections in a room, in the order they joined.
    pub fn connections_in(&self, id: &RoomId) -> Vec<ConnectionId> {
        self.lock(id).map(|kept| kept.room.peers().map(|peer| peer.connection).collect()).unwrap_or_default()
    }

    /// The bytes that are queued in a room. `None` where there is none of that id.
    pub fn queued_bytes(&self, id: &RoomId) -> Option<usize> {
        self.lock(id).map(|kept| kept.room.queued_bytes())
    }

    /// The connections that joined a room over `/signal`, in the order they joined.
    pub fn paired_in(&self, id: &RoomId) -> Vec<ConnectionId> {
        self.lock(id).map(|kept| kept.room.paired().to_vec()).unwrap_or_default()
    }

    /// Returns the capacity of a room that a join creates, with a maximum of its own or without one.
    pub fn capacity(&self, chosen: Option<usize>) -> Capacity {
        let most = self.limits.room_size;
        Capacity { peers: chosen.map_or(most, |chosen| chosen.min(most)), is_chosen: chosen.is_some() }
    }

    /// Has [`Rooms::expire`] look at a room's queue in time.
    fn schedule_queue(&self, kept: &mut RoomGuard) {
        if let Some(due) = kept.room.schedule_queue(&self.limits.session) {
            self.order.lock().push_queue(due, kept.serial, kept.room.id().clone());
        }
    }

    /// Why a room that is not there cannot be spoken in.
    fn not_there(&self, id: &RoomId) -> RoomError {
        if self.ended.lock().contains(id) { RoomError::SessionEnded } else { RoomError::NotInRoom }
    }

    /// What a connection's peer is called in a room. `None` where it is not in it.
    pub fn peer(&self, connection: ConnectionId, id: &RoomId) -> Option<PeerId> {
        let kept = self.lock(id)?;
        kept.room.peers().find(|peer| peer.connection == connection).map(|peer| peer.id.clone())
    }

    /// The room a command means.
    pub fn resolve(&self, connection: ConnectionId, named: Option<RoomId>) -> Result<RoomId, RoomError> {
        if let Some(room) = named {
            return Ok(room);
        }
        let rooms = self.memberships.get(&connection).ok_or(RoomError::ConnectionEnded)?;
        match rooms.as_slice() {
            [] => Err(RoomError::NotInAnyRoom),
            [room] => Ok(room.clone()),
            _ => Err(RoomError::AmbiguousRoom),
        }
    }

    fn lock(&self, id: &RoomId) -> Option<RoomGuard> {
        let listed = self.by_id.get(id)?.clone();
        let kept = listed.room.lock_arc();
        (kept.keep != Keep::Forgotten).then_some(kept)
    }

    /// Puts a room into the map, or finds the one that is there.
    fn insert(
        &self,
        now: Moment,
        id: RoomId,
        capacity: Capacity,
        kind: RoomKind,
        keep: Keep,
    ) -> Result<(Listed, bool), RoomError> {
        self.list(now.time, id, capacity, kind, keep, self.limits.rooms.unwrap_or(usize::MAX))
    }

    /// Puts a room into the map if there are fewer than `max`, or finds the one that is there.
    fn list(
        &self,
        created_at: SystemTime,
        id: RoomId,
        capacity: Capacity,
        kind: RoomKind,
        keep: Keep,
        max: usize,
    ) -> Result<(Listed, bool), RoomError> {
        match self.by_id.entry(id) {
            Entry::Occupied(entry) => Ok((entry.get().clone(), false)),
            Entry::Vacant(entry) => {
                self.room_count
                    .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| (count < max).then_some(count + 1))
                    .map_err(|_| RoomError::TooManyRooms { max })?;
                let room = Room::new(entry.key().clone(), created_at, capacity, kind != RoomKind::Group);
                let serial = self.order.lock().push(entry.key().clone(), keep.until());
                let listed = Listed { serial, room: Arc::new(Mutex::new(Kept { room, serial, keep })) };
                entry.insert(listed.clone());
                Ok((listed, true))
            }
        }
    }

    /// Notes that the connection is in the room, if it is still open and within its limit.
    fn reserve(&self, connection: ConnectionId, other_rooms: usize, room: &Room) -> Result<(), RoomError> {
        let mut rooms = self.memberships.get_mut(&connection).ok_or(RoomError::ConnectionEnded)?;
        if room.contains(connection) {
            return Ok(());
        }
        let max = self.limits.rooms_per_connection;
        if rooms.len() + other_rooms >= max {
            return Err(RoomError::TooManyRoomsPerConnection { max });
        }
        rooms.push(room.id().clone());
        Ok(())
    }

    /// Takes [`Self::reserve`] back after a join that was refused.
    fn withdraw(&self, connection: ConnectionId, room: &Room) {
        if !room.contains(connection) {
            self.forget_membership(connection, room.id());
        }
    }

    fn forget_membership(&self, connection: ConnectionId, room: &RoomId) {
        if let Some(mut rooms) = self.memberships.get_mut(&connection) {
            rooms.retain(|id| id != room);
        }
    }

    /// Removes the room if it is empty and waits for nobody. A pair session has ended then.
    fn settle(&self, kept: &mut RoomGuard) {
        if self.remove_if_empty(kept) && kept.room.is_pair() {
            let mut ended = self.ended.lock();
            ended.insert(kept.room.id().clone());
            if ended.len() > 2 * ENDED_SESSIONS {
                ended.drain(..ENDED_SESSIONS);
            }
        }
    }

    /// Removes the room if it is empty and waits for nobody. Returns whether it was.
    fn remove_if_empty(&self, kept: &mut RoomGuard) -> bool {
        let is_over = kept.keep == Keep::WhileInUse && kept.room.peers().len() == 0;
        if is_over {
            kept.keep = Keep::Forgotten;
            self.by_id.remove(kept.room.id());
            let queue = kept.room.unschedule_queue();
            self.order.lock().remove(kept.serial, queue);
            self.room_count.fetch_sub(1, Ordering::Relaxed);
        }
        is_over
    }
}
