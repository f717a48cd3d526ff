//! Queries: rooms as operators see them, and lookups for sessions.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Rooms;
use crate::id::{ConnectionId, PeerId, RoomId};
use crate::room::error::RoomError;
use crate::room::event::Peer;
use crate::room::state::Capacity;
use crate::room::summary::{Counts, Cursor, Page, Summary};

impl Rooms {
    /// Returns a room as operators see it.
    pub fn summary(&self, id: &RoomId) -> Option<Summary> {
        self.lock(id).map(|kept| Summary::from(&kept.room))
    }

    /// Returns the peers of a room, in the order in which they joined; none if there is no such
    /// room.
    pub fn peers(&self, id: &RoomId) -> Vec<Arc<Peer>> {
        self.lock(id).map(|kept| kept.room.peers().cloned().collect()).unwrap_or_default()
    }

    /// Returns up to `limit` rooms, newest first, that were created before `cursor`, if one is
    /// given.
    pub fn page(&self, cursor: Option<Cursor>, limit: usize) -> Page {
        let Cursor(before) = cursor.unwrap_or(Cursor(u64::MAX));
        // One more, to find out whether there is a next page.
        let mut found = self.order.lock().before(before, limit.saturating_add(1));
        let has_more = found.len() > limit;
        found.truncate(limit);
        let next = found.last().filter(|_| has_more).map(|(serial, _)| Cursor(*serial));
        // Rooms that were closed in the meantime are left out.
        Page { rooms: found.iter().filter_map(|(_, id)| self.summary(id)).collect(), next }
    }

    /// Returns the cursor of the page after a room; `None` if there is no such room.
    pub fn cursor(&self, id: &RoomId) -> Option<Cursor> {
        Some(Cursor(self.by_id.get(id)?.serial))
    }

    /// Returns the number of rooms and peers.
    pub fn counts(&self) -> Counts {
        let (all, remote) =
            (self.peer_count.load(Ordering::Relaxed), self.remote_count.load(Ordering::Relaxed));
        Counts { rooms: self.room_count.load(Ordering::Relaxed), peers: all.saturating_sub(remote) }
    }

    /// Returns the number of peers in a room.
    pub fn size(&self, id: &RoomId) -> usize {
        self.lock(id).map_or(0, |kept| kept.room.peers().len())
    }

    /// Returns whether a peer of a room is away, as the others were last notified.
    pub fn is_away(&self, connection: ConnectionId, id: &RoomId) -> bool {
        self.lock(id).is_some_and(|kept| kept.room.presence(connection).unwrap_or_default())
    }

    /// Returns the connections in a room, in the order in which they joined.
    pub fn connections_in(&self, id: &RoomId) -> Vec<ConnectionId> {
        self.lock(id)
            .map(|kept| kept.room.peers().map(|peer| peer.connection).collect())
            .unwrap_or_default()
    }

    /// Returns the number of bytes queued in a room; `None` if there is no such room.
    pub fn queued_bytes(&self, id: &RoomId) -> Option<usize> {
        self.lock(id).map(|kept| kept.room.queued_bytes())
    }

    /// Returns the connections that joined a room over `/signal`, in the order in which they
    /// joined.
    pub fn paired_in(&self, id: &RoomId) -> Vec<ConnectionId> {
        self.lock(id).map(|kept| kept.room.paired().to_vec()).unwrap_or_default()
    }

    /// Returns the capacity of a room that a join creates, given the maximum that its token allows,
    /// if any.
    pub fn capacity(&self, chosen: Option<usize>) -> Capacity {
        let max = self.limits.room_size;
        Capacity {
            peers: chosen.map_or(max, |chosen| chosen.min(max)),
            is_chosen: chosen.is_some(),
        }
    }

    /// Returns the peer id of a connection in a room; `None` if it is not in it.
    pub fn peer(&self, connection: ConnectionId, id: &RoomId) -> Option<PeerId> {
        let kept = self.lock(id)?;
        kept.room.peers().find(|peer| peer.connection == connection).map(|peer| peer.id.clone())
    }

    /// Returns the connection of a peer in a room; `None` if there is no such peer.
    pub fn find(&self, peer: &PeerId, id: &RoomId) -> Option<ConnectionId> {
        let kept = self.lock(id)?;
        kept.room.peers().find(|known| known.id == *peer).map(|known| known.connection)
    }

    /// Returns the room that a command means.
    pub fn resolve(
        &self,
        connection: ConnectionId,
        named: Option<RoomId>,
    ) -> Result<RoomId, RoomError> {
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
}
