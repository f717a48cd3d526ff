//! The order of rooms: by age, and by the end of their time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use crate::id::RoomId;

/// The rooms in their order, beside the map: neither a page of them nor the search for those whose time is over need
/// look at all. Locked last, and for nothing but a look or an entry.
#[derive(Debug, Default)]
pub(super) struct Order {
    next_serial: u64,
    by_age: BTreeMap<u64, RoomId>,
    /// Rooms created ahead, by the end of their time. One that was used meanwhile stays until then.
    waiting: BTreeSet<(SystemTime, RoomId)>,
}

impl Order {
    /// Puts a room at the end. Where it was created ahead, its time is over then.
    pub(super) fn push(&mut self, id: RoomId, until: Option<SystemTime>) -> u64 {
        let serial = self.next_serial;
        self.next_serial += 1;
        if let Some(end) = until {
            self.waiting.insert((end, id.clone()));
        }
        self.by_age.insert(serial, id);
        serial
    }

    /// Takes out the next room whose time is over.
    pub(super) fn pop_waiting(&mut self, now: SystemTime) -> Option<RoomId> {
        let is_over = self.waiting.first().is_some_and(|(end, _)| *end <= now);
        if is_over { self.waiting.pop_first().map(|(_, id)| id) } else { None }
    }

    /// The newest that are older than a serial, so many of them, the newest first.
    pub(super) fn before(&self, serial: u64, limit: usize) -> Vec<RoomId> {
        self.by_age.range(..serial).rev().take(limit).map(|(_, id)| id.clone()).collect()
    }

    /// Takes a room out. Where it was created ahead, its time is still noted.
    pub(super) fn remove(&mut self, serial: u64) {
        self.by_age.remove(&serial);
    }
}
