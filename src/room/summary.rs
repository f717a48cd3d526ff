//! Descriptions of rooms for operators.

use std::time::SystemTime;

use super::state::Room;
use crate::id::{PeerId, RoomId};

/// Numbers of rooms and peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Rooms, including those that wait for a first peer.
    pub rooms: usize,
    /// Peers in all rooms.
    pub peers: usize,
}

/// A position in the list of rooms, by age. It stays valid when its room is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor(pub u64);

/// A page of the list of rooms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Rooms, newest first.
    pub rooms: Vec<Summary>,
    /// Cursor of the next page, if there are more rooms.
    pub next: Option<Cursor>,
}

/// A room, as operators see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Id of the room.
    pub id: RoomId,
    /// Peers in the order in which they joined.
    pub peers: Vec<PeerId>,
    /// Maximum number of peers.
    pub capacity: usize,
    /// Time at which the room was created.
    pub created_at: SystemTime,
}

impl From<&Room> for Summary {
    fn from(room: &Room) -> Self {
        Self {
            id: room.id().clone(),
            peers: room.peers().map(|peer| peer.id.clone()).collect(),
            capacity: room.capacity(),
            created_at: room.created_at(),
        }
    }
}
