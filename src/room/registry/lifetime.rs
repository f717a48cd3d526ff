//! The lifetime of rooms: creation, expiry, closing and removal.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Instant, SystemTime};

use dashmap::mapref::entry::Entry;
use parking_lot::Mutex;

use super::{Applied, ENDED_SESSIONS, Keep, Kept, Listed, RoomGuard, Rooms};
use crate::clock::Moment;
use crate::id::{ConnectionId, RoomId};
use crate::room::command::RoomKind;
use crate::room::error::RoomError;
use crate::room::event::Answer;
use crate::room::state::{Capacity, Room};
use crate::room::summary::Summary;
use crate::shrink;

impl Rooms {
    /// Creates a room in advance of its first peer; without an id, one that cannot be guessed.
    pub fn create(
        &self,
        now: Moment,
        id: Option<RoomId>,
        capacity: Option<usize>,
    ) -> Result<Summary, RoomError> {
        let capacity =
            Capacity { peers: capacity.unwrap_or(self.limits.room_size), is_chosen: true };
        let id = id.unwrap_or_else(RoomId::random);
        let keep = Keep::Until(now.instant + self.limits.empty_room_ttl);
        let (listed, is_new) = self.insert(now, id.clone(), capacity, RoomKind::Group, keep)?;
        if !is_new {
            return Err(RoomError::RoomExists);
        }
        self.ended.lock().shift_remove(&id);
        Ok(Summary::from(&listed.room.lock().room))
    }

    /// Closes a room and removes all its peers. Returns `None` if there is no such room.
    pub fn close(&self, id: &RoomId) -> Option<Applied> {
        let mut kept = self.lock(id)?;
        let members: Vec<ConnectionId> = kept.room.peers().map(|peer| peer.connection).collect();
        let remote = kept.room.remote_count();
        let deliveries = kept.room.close();
        self.note_remote(remote, &kept.room);
        self.peer_count.fetch_sub(members.len(), Ordering::Relaxed);
        for member in members {
            self.remove_membership(member, id);
        }
        kept.keep = Keep::WhileInUse;
        self.settle(&mut kept);
        Some(Applied { deliveries, answer: Answer::Left, room: kept })
    }

    /// Removes a peer from a room for an operator. Returns `None` if it is not in the room.
    pub fn kick(&self, connection: ConnectionId, id: &RoomId) -> Option<Applied> {
        let mut kept = self.lock(id)?;
        let remote = kept.room.remote_count();
        let deliveries = kept.room.kick(connection)?;
        self.note_remote(remote, &kept.room);
        self.peer_count.fetch_sub(1, Ordering::Relaxed);
        self.remove_membership(connection, id);
        self.settle(&mut kept);
        Some(Applied { deliveries, answer: Answer::Left, room: kept })
    }

    /// Removes rooms whose first peer never joined, and expired queued signals. Returns the number
    /// of removed rooms.
    pub fn expire(&self, now: Instant) -> usize {
        loop {
            let Some(id) = self.order.lock().pop_queue(now) else { break };
            let Some(mut kept) = self.lock(&id) else { continue };
            kept.room.expire_queue(now, &self.limits.session);
            self.schedule_queue(&mut kept);
        }
        let mut expired = 0;
        loop {
            // In a separate step, so that the order is not locked while a room is.
            let Some(id) = self.order.lock().pop_waiting(now) else { return expired };
            let Some(mut kept) = self.lock(&id) else { continue };
            if matches!(kept.keep, Keep::Until(end) if end <= now) {
                kept.keep = Keep::WhileInUse;
                self.settle(&mut kept);
                expired += 1;
            }
        }
    }

    /// Shrinks internal maps after a connection spike.
    pub fn shrink(&self) {
        shrink::shrink_map(&self.by_id);
        shrink::shrink_map(&self.memberships);
    }

    /// Schedules the expiry of a room's queued signals by [`Rooms::expire`].
    pub(super) fn schedule_queue(&self, kept: &mut RoomGuard) {
        if let Some(due) = kept.room.schedule_queue(&self.limits.session) {
            self.order.lock().push_queue(due, kept.serial, kept.room.id().clone());
        }
    }

    /// Adds a room to the map, or finds the existing one. Returns whether it is new.
    pub(super) fn insert(
        &self,
        now: Moment,
        id: RoomId,
        capacity: Capacity,
        kind: RoomKind,
        keep: Keep,
    ) -> Result<(Listed, bool), RoomError> {
        self.list(now.time, id, capacity, kind, keep, self.limits.rooms.unwrap_or(usize::MAX))
    }

    /// Adds a room to the map if there are fewer than `max`, or finds the existing one. Returns
    /// whether it is new.
    pub(super) fn list(
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
                    .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| {
                        (count < max).then_some(count + 1)
                    })
                    .map_err(|_| RoomError::TooManyRooms { max })?;
                let room =
                    Room::new(entry.key().clone(), created_at, capacity, kind != RoomKind::Group);
                let serial = self.order.lock().push(entry.key().clone(), keep.until());
                let listed =
                    Listed { serial, room: Arc::new(Mutex::new(Kept { room, serial, keep })) };
                entry.insert(listed.clone());
                Ok((listed, true))
            }
        }
    }

    /// Removes the room if it is empty and not waiting for its first peer. A removed pair session
    /// has ended.
    pub(super) fn settle(&self, kept: &mut RoomGuard) {
        if self.remove_if_empty(kept) && kept.room.is_pair() {
            let mut ended = self.ended.lock();
            ended.insert(kept.room.id().clone());
            if ended.len() > 2 * ENDED_SESSIONS {
                ended.drain(..ENDED_SESSIONS);
            }
        }
    }

    /// Removes the room if it is empty and not waiting for its first peer. Returns whether it was
    /// removed.
    pub(super) fn remove_if_empty(&self, kept: &mut RoomGuard) -> bool {
        let is_over = kept.keep == Keep::WhileInUse && kept.room.peers().len() == 0;
        if is_over {
            kept.keep = Keep::Removed;
            self.by_id.remove(kept.room.id());
            let queue = kept.room.unschedule_queue();
            self.order.lock().remove(kept.serial, queue);
            self.room_count.fetch_sub(1, Ordering::Relaxed);
        }
        is_over
    }
}
