//! Rooms as operators see them.

use std::time::SystemTime;

use super::state::Room;
use crate::id::{PeerId, RoomId};

/// How much there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Rooms, those that wait for a first peer included.
    pub rooms: usize,
    /// Peers over all rooms.
    pub peers: usize,
}

/// A position in the list of rooms, by age. Stays valid when the room it was taken from is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor(pub u64);

/// A part of the list of rooms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The rooms, the newest first.
    pub rooms: Vec<Summary>,
    /// Where the next page begins, if there are more rooms.
    pub next: Option<Cursor>,
}

/// A room as operators see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Its id.
    pub id: RoomId,
    /// Its peers, in the order they joined.
    pub peers: Vec<PeerId>,
    /// The most peers it holds.
    pub capacity: usize,
    /// When it was created.
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
