//! Joining: the checks of a join, the limits on rooms of a connection, and the creation of the
//! room.

use std::sync::atomic::Ordering;

use super::{Applied, Keep, Rooms};
use crate::clock::Moment;
use crate::id::{ConnectionId, PeerId, RoomId};
use crate::room::command::{Metadata, RoomKind};
use crate::room::error::RoomError;
use crate::room::event::Answer;
use crate::room::state::{Capacity, Change, Room};

/// Limits of one join in addition to the [`RoomLimits`](crate::room::RoomLimits) of the node.
#[derive(Debug, Clone, Copy, Default)]
pub struct JoinBounds {
    /// Maximum number of peers of a room that the join creates.
    pub size: Option<usize>,
    /// Number of rooms that the other sessions of the same transport connection are in, which count
    /// towards its limit.
    pub other_rooms: usize,
}

/// The joining peer, and the properties of the room if the join creates it.
pub(super) struct Joiner {
    pub(super) peer: Option<PeerId>,
    pub(super) metadata: Metadata,
    pub(super) kind: RoomKind,
    pub(super) capacity: Capacity,
    pub(super) other_rooms: usize,
}

impl Rooms {
    /// Adds a peer to a room, which is created if it does not exist.
    pub(super) fn join(
        &self,
        now: Moment,
        connection: ConnectionId,
        id: &RoomId,
        Joiner { peer, metadata, kind, capacity, other_rooms }: Joiner,
    ) -> Result<Applied, RoomError> {
        self.check_identity(connection, peer.as_ref(), &metadata)?;
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
            if kept.keep != Keep::Removed {
                break kept;
            }
        };
        // The room may be new and empty from here on; every error path removes it then.
        let limits = &self.limits.session;
        let remote = kept.room.remote_count();
        let joined = self
            .reserve(connection, other_rooms, &kept.room)
            .and_then(|()| kept.room.join(now, connection, peer, metadata, kind, limits));
        self.note_remote(remote, &kept.room);
        let joined = match joined {
            Ok(joined) => joined,
            Err(error) => {
                self.withdraw(connection, &kept.room);
                // A room that was created for this join does not count as an ended pair session.
                self.remove_if_empty(&mut kept);
                return Err(error);
            }
        };
        kept.keep = Keep::WhileInUse;
        self.ended.lock().shift_remove(id);
        match joined.change {
            Change::None => {}
            Change::Added => _ = self.peer_count.fetch_add(1, Ordering::Relaxed),
            Change::Replaced(older) => self.remove_membership(older, id),
        }
        Ok(Applied {
            deliveries: joined.deliveries,
            answer: Answer::Joined(joined.snapshot),
            room: kept,
        })
    }

    /// Checks a join that the cluster is to admit, as far as this node alone can. Returns whether
    /// the connection is in the room already.
    pub fn check_join(
        &self,
        connection: ConnectionId,
        id: &RoomId,
        peer: Option<&PeerId>,
        metadata: &Metadata,
        other_rooms: usize,
    ) -> Result<bool, RoomError> {
        self.check_identity(connection, peer, metadata)?;
        let kept = self.lock(id);
        if kept.as_ref().is_some_and(|kept| kept.room.contains(connection)) {
            return Ok(true);
        }
        let max = self.limits.rooms.unwrap_or(usize::MAX);
        if kept.is_none() && self.room_count.load(Ordering::Relaxed) >= max {
            return Err(RoomError::TooManyRooms { max });
        }
        let max = self.limits.rooms_per_connection;
        if self.count_of(connection) + other_rooms >= max {
            return Err(RoomError::TooManyRoomsPerConnection { max });
        }
        Ok(false)
    }

    /// Checks the size of the metadata, and that the peer id is not the id of another connection.
    fn check_identity(
        &self,
        connection: ConnectionId,
        peer: Option<&PeerId>,
        metadata: &Metadata,
    ) -> Result<(), RoomError> {
        let max = self.limits.metadata_bytes;
        if metadata.as_str().len() > max {
            return Err(RoomError::MetadataTooLarge { max });
        }
        let claimed = peer.and_then(|peer| ConnectionId::parse(peer.as_str()));
        if claimed
            .is_some_and(|claimed| claimed != connection && self.memberships.contains_key(&claimed))
        {
            return Err(RoomError::ForeignConnectionId);
        }
        Ok(())
    }

    /// Adds the room to those of the connection, if that is still open and within its limit.
    fn reserve(
        &self,
        connection: ConnectionId,
        other_rooms: usize,
        room: &Room,
    ) -> Result<(), RoomError> {
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

    /// Reverts [`Self::reserve`] after a refused join.
    fn withdraw(&self, connection: ConnectionId, room: &Room) {
        if !room.contains(connection) {
            self.remove_membership(connection, room.id());
        }
    }
}
