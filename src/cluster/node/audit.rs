//! Audits: this node compares its replicas with the engine, and looks for members of dead nodes
//! that were not removed. Where nothing failed, they find nothing.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::time::{Duration, Instant};

use tracing::warn;

use super::Node;
use crate::clock::Moment;
use crate::cluster::script::{Audit, AuditedRoom, Call};
use crate::id::RoomId;

/// Time between two audits.
const INTERVAL: Duration = Duration::from_secs(10);

/// Maximum number of replicas that one audit compares.
const REPLICAS: usize = 500;

/// How far the audits are.
#[derive(Debug, Default)]
pub(super) struct Audits {
    /// When the next one is due, while the node is ready.
    due: Option<Instant>,
    /// The last replica that was compared.
    last: Option<RoomId>,
    /// The position in the engine's list of rooms from which on members are examined.
    position: u64,
    /// Replicas that differed from the engine in the last audit, with their serial and version. An
    /// entry may have been on its way; those that are the same in the next audit are wrong.
    suspects: BTreeMap<RoomId, (u64, u64)>,
}

impl Node {
    /// Begins an audit when it is time to.
    pub(super) fn tend_audit(&mut self, now: Moment) {
        if !self.is_ready() {
            // All rooms are synced before the node is ready again.
            self.audits.due = None;
            self.audits.suspects.clear();
            return;
        }
        let due = *self.audits.due.get_or_insert(now.instant + INTERVAL);
        if now.instant < due || self.calls.values().any(|(call, _)| matches!(call, Call::Audit(_)))
        {
            return;
        }
        self.audits.due = Some(now.instant + INTERVAL);
        self.sync_suspects(now);
        let after = self.audits.last.take().map_or(Bound::Unbounded, Bound::Excluded);
        let next = self.replicas.range((after, Bound::Unbounded)).take(REPLICAS);
        let next: Vec<_> = next
            .map(|(room, replica)| {
                let (serial, version) = (replica.serial, replica.version);
                (AuditedRoom { room: room.clone(), serial, version }, replica.is_synced)
            })
            .collect();
        // After the last one, it begins again.
        if next.len() == REPLICAS {
            self.audits.last = next.last().map(|(audited, _)| audited.room.clone());
        }
        let rooms = next.into_iter().filter_map(|(room, is_synced)| is_synced.then_some(room));
        let position = self.audits.position;
        self.call(now.instant, Call::Audit(Audit { rooms: rooms.collect(), position }));
    }

    /// Syncs the replicas that still differ.
    fn sync_suspects(&mut self, now: Moment) {
        for (room, state) in std::mem::take(&mut self.audits.suspects) {
            let replica = self.replicas.get(&room).filter(|replica| replica.is_synced);
            if replica.is_some_and(|replica| (replica.serial, replica.version) == state) {
                warn!(%room, "a room differs from the engine's, repairing it");
                self.counters.differing += 1;
                self.sync(now, &room);
            }
        }
    }

    /// Notes the result of an audit.
    pub(super) fn audited(&mut self, audit: Audit, differing: &[RoomId], next: u64, removed: u64) {
        self.audits.position = next;
        if removed > 0 {
            warn!(removed, "removed peers of dead nodes that were left in rooms");
            self.counters.ghosts += removed;
        }
        let suspects = audit.rooms.into_iter().filter(|audited| differing.contains(&audited.room));
        self.audits.suspects = suspects
            .map(|AuditedRoom { room, serial, version }| (room, (serial, version)))
            .collect();
    }
}
