//! The order of rooms: by age, and by the times at which they or their queues expire.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::id::RoomId;

/// Rooms in order, in addition to the map, so that neither a page of the list nor the search for
/// expired rooms scans all rooms. Locked last, and only for a single operation.
#[derive(Debug, Default)]
pub(super) struct Order {
    next_serial: u64,
    by_age: BTreeMap<u64, Ordered>,
    /// Rooms created in advance, by their expiry. A room that was joined stays until that time, or
    /// until it is removed.
    waiting: BTreeMap<(Instant, u64), RoomId>,
    /// Rooms with queued signals, by the expiry of the oldest signal.
    queues: BTreeMap<(Instant, u64), RoomId>,
}

#[derive(Debug)]
struct Ordered {
    id: RoomId,
    /// Expiry of a room that was created in advance.
    until: Option<Instant>,
}

impl Order {
    /// Appends a room, and returns its serial number. A room created in advance expires at `until`.
    pub(super) fn push(&mut self, id: RoomId, until: Option<Instant>) -> u64 {
        let serial = self.next_serial;
        self.next_serial += 1;
        if let Some(end) = until {
            self.waiting.insert((end, serial), id.clone());
        }
        self.by_age.insert(serial, Ordered { id, until });
        serial
    }

    /// Removes and returns the next expired room of those that wait for a first peer.
    pub(super) fn pop_waiting(&mut self, now: Instant) -> Option<RoomId> {
        let first = self.waiting.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }

    /// Returns up to `limit` rooms created before a serial number, newest first, with their serial
    /// numbers.
    pub(super) fn before(&self, serial: u64, limit: usize) -> Vec<(u64, RoomId)> {
        let older = self.by_age.range(..serial).rev().take(limit);
        older.map(|(serial, room)| (*serial, room.id.clone())).collect()
    }

    /// Records when a queued signal of a room expires.
    pub(super) fn push_queue(&mut self, due: Instant, serial: u64, id: RoomId) {
        self.queues.insert((due, serial), id);
    }

    /// Removes and returns the next room with an expired signal.
    pub(super) fn pop_queue(&mut self, now: Instant) -> Option<RoomId> {
        let first = self.queues.first_entry()?;
        (first.key().0 < now).then(|| first.remove())
    }

    /// Removes a room with its expiry, and the time at which its queue is scheduled.
    pub(super) fn remove(&mut self, serial: u64, queue: Option<Instant>) {
        if let Some(due) = queue {
            self.queues.remove(&(due, serial));
        }
        if let Some(Ordered { until: Some(end), .. }) = self.by_age.remove(&serial) {
            self.waiting.remove(&(end, serial));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn removed_rooms_leave_no_state() {
        let mut order = Order::default();
        let id = RoomId::new("r").unwrap();
        let end = Instant::now() + Duration::from_mins(1);
        // Created twice within one tick of the clock: removing the first must not remove the
        // second's expiry.
        let first = order.push(id.clone(), Some(end));
        let second = order.push(id.clone(), Some(end));
        order.remove(first, None);
        assert_eq!(order.pop_waiting(end), Some(id.clone()));
        order.remove(second, None);
        let third = order.push(id, Some(end));
        order.push_queue(end, third, RoomId::new("r").unwrap());
        order.remove(third, Some(end));
        assert_eq!(order.pop_waiting(end), None);
        assert!(order.by_age.is_empty() && order.waiting.is_empty() && order.queues.is_empty());
    }
}
