//! The order of rooms: by age, and by the end of their time.

use std::collections::BTreeMap;
use std::time::SystemTime;

use crate::id::RoomId;

/// The rooms in order, beside the map: neither a page of the list nor the search for expired rooms scans all rooms.
/// Locked last, and only for one lookup or entry.
#[derive(Debug, Default)]
pub(super) struct Order {
    next_serial: u64,
    by_age: BTreeMap<u64, Ordered>,
    /// Rooms created ahead, by the end of their time. A room that was joined meanwhile stays until then, or until it is
    /// removed.
    waiting: BTreeMap<(SystemTime, u64), RoomId>,
}

#[derive(Debug)]
struct Ordered {
    id: RoomId,
    /// The end of its time, where it was created ahead.
    until: Option<SystemTime>,
}

impl Order {
    /// Appends a room. If it was created ahead, it expires at `until`.
    pub(super) fn push(&mut self, id: RoomId, until: Option<SystemTime>) -> u64 {
        let serial = self.next_serial;
        self.next_serial += 1;
        if let Some(end) = until {
            self.waiting.insert((end, serial), id.clone());
        }
        self.by_age.insert(serial, Ordered { id, until });
        serial
    }

    /// Removes the next expired room from those that wait, and returns it.
    pub(super) fn pop_waiting(&mut self, now: SystemTime) -> Option<RoomId> {
        let first = self.waiting.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }

    /// Up to `limit` rooms created before a serial, the newest first, each with its serial.
    pub(super) fn before(&self, serial: u64, limit: usize) -> Vec<(u64, RoomId)> {
        let older = self.by_age.range(..serial).rev().take(limit);
        older.map(|(serial, room)| (*serial, room.id.clone())).collect()
    }

    /// Removes a room, and the end of its time.
    pub(super) fn remove(&mut self, serial: u64) {
        if let Some(Ordered { until: Some(end), .. }) = self.by_age.remove(&serial) {
            self.waiting.remove(&(end, serial));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn removed_rooms_leave_nothing_behind() {
        let mut order = Order::default();
        let id = RoomId::new("r").unwrap();
        let end = UNIX_EPOCH + Duration::from_mins(1);
        // Created twice within one tick of the clock: removing the first must not take the second's end.
        let first = order.push(id.clone(), Some(end));
        let second = order.push(id.clone(), Some(end));
        order.remove(first);
        assert_eq!(order.pop_waiting(end), Some(id.clone()));
        order.remove(second);
        let third = order.push(id, Some(end));
        order.remove(third);
        assert_eq!(order.pop_waiting(end), None);
        assert!(order.by_age.is_empty() && order.waiting.is_empty());
    }
}
