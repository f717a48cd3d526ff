//! The order of rooms: by age, and by the times at which something of them expires.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::id::RoomId;

/// The rooms in order, beside the map: neither a page of the list nor the search for expired rooms scans all rooms.
/// Locked last, and only for one lookup or entry.
#[derive(Debug, Default)]
pub(super) struct Order {
    next_serial: u64,
    by_age: BTreeMap<u64, Ordered>,
    /// Rooms created ahead, by the end of their time. A room that was joined meanwhile stays until then, or until it is
    /// removed.
    waiting: BTreeMap<(Instant, u64), RoomId>,
    /// Rooms with queued signals, by the time at which the oldest signal expires.
    queues: BTreeMap<(Instant, u64), RoomId>,
}

#[derive(Debug)]
struct Ordered {
    id: RoomId,
    /// The end of its time, where it was created ahead.
    until: Option<Instant>,
}

impl Order {
    /// Appends a room. If it was created ahead, it expires at `until`.
    pub(super) fn push(&mut self, id: RoomId, until: Option<Instant>) -> u64 {
        let serial = self.next_serial;
        self.next_serial += 1;
        if let Some(end) = until {
            self.waiting.insert((end, serial), id.clone());
        }
        self.by_age.insert(serial, Ordered { id, until });
        serial
    }

    /// Removes the next expired room from those that wait, and returns it.
    pub(super) fn pop_waiting(&mut self, now: Instant) -> Option<RoomId> {
        let first = self.waiting.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }

    /// Up to `limit` rooms created before a serial, the newest first, each with its serial.
    pub(super) fn before(&self, serial: u64, limit: usize) -> Vec<(u64, RoomId)> {
        let older = self.by_age.range(..serial).rev().take(limit);
        older.map(|(serial, room)| (*serial, room.id.clone())).collect()
    }

    /// Notes when a queued signal of a room expires.
    pub(super) fn push_queue(&mut self, due: Instant, serial: u64, id: RoomId) {
        self.queues.insert((due, serial), id);
    }

    /// Removes the next room with an expired signal from those noted, and returns it.
    pub(super) fn pop_queue(&mut self, now: Instant) -> Option<RoomId> {
        let first = self.queues.first_entry()?;
        (first.key().0 < now).then(|| first.remove())
    }

    /// Removes a room, the end of its time, and the time at which its queue was to be looked at.
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
    fn removed_rooms_leave_nothing_behind() {
        let mut order = Order::default();
        let id = RoomId::new("r").unwrap();
        let end = Instant::now() + Duration::from_mins(1);
        // Created twice within one tick of the clock: removing the first must not take the second's end.
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
