//! All rooms of a node: finds, creates, locks and removes them, and records which connection is in
//! which.
//!
//! Locks are taken in this order: first that of a room, then, briefly, a shard of one of the two
//! maps or the order of rooms. Two rooms are never locked at once.

mod joining;
mod lifetime;
mod order;
mod queries;
mod replica;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use dashmap::DashMap;
use indexmap::IndexSet;
use parking_lot::{ArcMutexGuard, Mutex, RawMutex};
use rustc_hash::FxBuildHasher;

pub use self::joining::JoinBounds;
use self::joining::Joiner;
use self::order::Order;
pub use self::replica::{Admitted, RoomSpec, ShownRoom};
use super::command::{Command, MetadataPatch, Signal, Target};
use super::error::RoomError;
use super::event::{Answer, Delivery, LeaveReason};
use super::limits::RoomLimits;
use super::state::Room;
use crate::clock::Moment;
use crate::id::{ConnectionId, RoomId};

/// All rooms of this node.
#[derive(Debug)]
pub struct Rooms {
    limits: RoomLimits,
    by_id: DashMap<RoomId, Listed>,
    order: Mutex<Order>,
    /// The rooms of each open connection. An entry exists from [`Rooms::connect`] to
    /// [`Rooms::disconnect`], and only changes while the room in question is locked.
    memberships: DashMap<ConnectionId, Vec<RoomId>, FxBuildHasher>,
    room_count: AtomicUsize,
    /// Peers of all nodes, in the rooms of this one.
    peer_count: AtomicUsize,
    /// Peers of other nodes.
    remote_count: AtomicUsize,
    /// The pair sessions that ended last, oldest first, so that a client that still sends to one
    /// gets the right error.
    ended: Mutex<IndexSet<RoomId>>,
}

/// Minimum number of ended pair sessions that are kept; the maximum is twice that.
const ENDED_SESSIONS: usize = 4096;

/// A room's entry in the map.
#[derive(Debug, Clone)]
struct Listed {
    /// Incremented for each created room; determines the order of listings.
    serial: u64,
    room: Arc<Mutex<Kept>>,
}

/// A room with the state of its entry in the map.
#[derive(Debug)]
struct Kept {
    room: Room,
    serial: u64,
    keep: Keep,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keep {
    /// As long as a peer is in it.
    WhileInUse,
    /// Created in advance; waits for its first peer until this time.
    Until(Instant),
    /// Removed from the map: a caller that still has the room must look it up again.
    Removed,
}

impl Keep {
    /// Returns the time until which an empty room is kept, if it was created in advance.
    fn until(self) -> Option<Instant> {
        match self {
            Self::Until(end) => Some(end),
            Self::WhileInUse | Self::Removed => None,
        }
    }
}

type RoomGuard = ArcMutexGuard<RawMutex, Kept>;

/// The result of a command.
///
/// The room stays locked until this is dropped: queue the deliveries first, and never await in
/// between.
#[must_use = "the deliveries must be queued"]
pub struct Applied {
    /// Events with their recipients, in order.
    pub deliveries: Vec<Delivery>,
    /// The reply to the sender of the command.
    pub answer: Answer,
    room: RoomGuard,
}

impl Applied {
    /// Returns the room as it is after the command.
    pub fn room(&self) -> &Room {
        &self.room.room
    }
}

impl Rooms {
    /// Creates an empty registry.
    pub fn new(limits: RoomLimits) -> Self {
        Self {
            limits,
            by_id: DashMap::new(),
            order: Mutex::default(),
            memberships: DashMap::default(),
            room_count: AtomicUsize::new(0),
            peer_count: AtomicUsize::new(0),
            remote_count: AtomicUsize::new(0),
            ended: Mutex::new(IndexSet::new()),
        }
    }

    /// Returns the limits of the node.
    pub fn limits(&self) -> &RoomLimits {
        &self.limits
    }

    /// Registers a connection, which can join rooms from then on.
    pub fn connect(&self, connection: ConnectionId) {
        self.memberships.insert(connection, Vec::new());
    }

    /// Unregisters a connection, which can no longer join rooms. Returns the rooms that it is still
    /// in; the caller must leave each with [`Rooms::leave`].
    pub fn disconnect(&self, connection: ConnectionId) -> Vec<RoomId> {
        self.memberships.remove(&connection).map(|(_, rooms)| rooms).unwrap_or_default()
    }

    /// Returns the number of rooms that a connection is in.
    pub fn count_of(&self, connection: ConnectionId) -> usize {
        self.memberships.get(&connection).map_or(0, |rooms| rooms.len())
    }

    /// Returns the rooms that a connection is in, in the order in which it joined them.
    pub fn of(&self, connection: ConnectionId) -> Vec<RoomId> {
        self.memberships.get(&connection).map(|rooms| rooms.clone()).unwrap_or_default()
    }

    /// Executes a command of a connection.
    ///
    /// [`Command::Leave`] without a room leaves the only room of the connection. A connection in
    /// several rooms must leave them one by one ([`Rooms::of`]), since two rooms are never locked
    /// at once.
    pub fn apply(
        &self,
        now: Moment,
        connection: ConnectionId,
        command: Command,
    ) -> Result<Applied, RoomError> {
        self.apply_bounded(now, connection, command, JoinBounds::default())
    }

    /// Executes a command with additional limits for a join.
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
                self.join(
                    now,
                    connection,
                    &room,
                    Joiner { peer, metadata, kind, capacity, other_rooms },
                )
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
            Command::Relay { room, target, signal } => {
                self.relay(now, connection, room, target.as_ref(), signal)
            }
        }
    }

    /// Removes a connection from a room; returns `None` if it is not in it.
    pub fn leave(
        &self,
        connection: ConnectionId,
        id: &RoomId,
        reason: LeaveReason,
    ) -> Option<Applied> {
        let mut kept = self.lock(id)?;
        let remote = kept.room.remote_count();
        let left = kept.room.remove(connection, reason)?;
        self.note_remote(remote, &kept.room);
        self.peer_count.fetch_sub(1, Ordering::Relaxed);
        self.remove_membership(connection, id);
        self.settle(&mut kept);
        Some(Applied { deliveries: vec![left], answer: Answer::Left, room: kept })
    }

    /// Notifies the other peers that a peer is away, or back. Returns `None` if they know that
    /// already, or it is not in the room.
    pub fn announce(
        &self,
        connection: ConnectionId,
        id: &RoomId,
        is_away: bool,
    ) -> Option<Applied> {
        let mut kept = self.lock(id)?;
        let announced = kept.room.announce(connection, is_away)?;
        Some(Applied { deliveries: vec![announced], answer: Answer::Left, room: kept })
    }

    fn hang_up(
        &self,
        connection: ConnectionId,
        room: Option<RoomId>,
    ) -> Result<Applied, RoomError> {
        let id = self.resolve(connection, room)?;
        let mut kept = self.lock(&id).ok_or_else(|| self.missing_room(&id))?;
        let members: Vec<ConnectionId> = kept.room.peers().map(|peer| peer.connection).collect();
        if !members.contains(&connection) {
            return Err(RoomError::NotInRoom);
        }
        let remote = kept.room.remote_count();
        let deliveries = kept.room.hang_up(connection);
        self.note_remote(remote, &kept.room);
        for member in members.into_iter().filter(|member| !kept.room.contains(*member)) {
            self.peer_count.fetch_sub(1, Ordering::Relaxed);
            self.remove_membership(member, &id);
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
        let mut kept = self.lock(&id).ok_or_else(|| self.missing_room(&id))?;
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
        let mut kept = self.lock(&room).ok_or_else(|| self.missing_room(&room))?;
        let delivery = kept.room.relay(now, connection, target, signal, &self.limits.session)?;
        if delivery.is_none() {
            self.schedule_queue(&mut kept);
        }
        Ok(Applied {
            deliveries: delivery.into_iter().collect(),
            answer: Answer::Relayed,
            room: kept,
        })
    }

    /// Counts the peers of other nodes that have joined or left a room, which had so many before.
    fn note_remote(&self, before: usize, room: &Room) {
        let after = room.remote_count();
        if after > before {
            self.remote_count.fetch_add(after - before, Ordering::Relaxed);
        } else if before > after {
            self.remote_count.fetch_sub(before - after, Ordering::Relaxed);
        }
    }

    /// Returns the error for a room that does not exist.
    fn missing_room(&self, id: &RoomId) -> RoomError {
        if self.ended.lock().contains(id) { RoomError::SessionEnded } else { RoomError::NotInRoom }
    }

    fn lock(&self, id: &RoomId) -> Option<RoomGuard> {
        let listed = self.by_id.get(id)?.clone();
        let kept = listed.room.lock_arc();
        (kept.keep != Keep::Removed).then_some(kept)
    }

    fn remove_membership(&self, connection: ConnectionId, room: &RoomId) {
        if let Some(mut rooms) = self.memberships.get_mut(&connection) {
            rooms.retain(|id| id != room);
        }
    }
}
