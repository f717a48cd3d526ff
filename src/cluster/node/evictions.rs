//! Joins to full pair sessions: a peer that has fallen silent makes way, whichever node it is on.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::{Incarnation, Node};
use crate::clock::Moment;
use crate::cluster::frame::Body;
use crate::cluster::script::{Call, Join, Refusal};
use crate::id::RoomId;
use crate::room::LeaveReason;

/// How long a join waits for the nodes of the peers.
const LIMIT: Duration = Duration::from_millis(500);

/// The requests to other nodes to evict silent peers, by their ids.
pub(super) type Evictions = BTreeMap<u64, Eviction>;

/// A join that waits for nodes which look for a silent peer.
#[derive(Debug)]
pub(super) struct Eviction {
    join: Join,
    capacity: usize,
    /// The nodes that have not answered.
    nodes: BTreeSet<Incarnation>,
    since: Instant,
}

impl Node {
    /// Takes the reply that a pair session is full, with peers on these nodes. The join is tried
    /// once more if one of them evicts a silent peer.
    pub(super) fn pair_is_full(
        &mut self,
        now: Moment,
        join: Join,
        capacity: usize,
        mut nodes: BTreeSet<Incarnation>,
    ) {
        let room = join.spec.room.clone();
        let key = (room.clone(), join.member.connection());
        let is_first = self.is_waiting(&room, join.member.membership)
            && self
                .joins
                .get_mut(&key)
                .is_some_and(|it| !std::mem::replace(&mut it.has_evicted, true));
        if !is_first {
            return self.denied(now, &join, Refusal::Full { capacity });
        }
        if nodes.remove(&self.me) && self.evict_here(now, &room) {
            return self.try_again(now, join);
        }
        if nodes.is_empty() {
            return self.denied(now, &join, Refusal::Full { capacity });
        }
        let id = self.host.random();
        for node in &nodes {
            self.push(now, *node, Body::Evict { room: room.clone(), id });
        }
        self.evictions.insert(id, Eviction { join, capacity, nodes, since: now.instant });
    }

    /// Evicts a silent peer of this node from a pair session. Returns whether there was one.
    pub(super) fn evict_here(&mut self, now: Moment, room: &RoomId) -> bool {
        let Some(connection) = self.host.evict_silent(room) else { return false };
        // Before anything else is sent: the join that follows finds its place.
        self.left(now, room, connection, LeaveReason::TimedOut);
        true
    }

    /// Takes the answer to [`Body::Evict`]. Returns `false` if the request is none of these.
    pub(super) fn evicted(
        &mut self,
        now: Moment,
        node: Incarnation,
        id: u64,
        is_done: bool,
    ) -> bool {
        let Some(eviction) = self.evictions.get_mut(&id) else { return false };
        let is_expected = eviction.nodes.remove(&node);
        if is_expected
            && (is_done || eviction.nodes.is_empty())
            && let Some(Eviction { join, capacity, .. }) = self.evictions.remove(&id)
        {
            if is_done {
                self.try_again(now, join);
            } else {
                self.denied(now, &join, Refusal::Full { capacity });
            }
        }
        true
    }

    /// Refuses the joins whose nodes do not answer in time.
    pub(super) fn expire_evictions(&mut self, now: Moment) {
        let is_over =
            |_: &u64, eviction: &mut Eviction| now.instant.duration_since(eviction.since) >= LIMIT;
        let overdue: Vec<_> = self.evictions.extract_if(.., is_over).collect();
        for (_, Eviction { join, capacity, .. }) in overdue {
            self.denied(now, &join, Refusal::Full { capacity });
        }
    }

    fn try_again(&mut self, now: Moment, join: Join) {
        // Without a connection, the next one repeats it.
        if self.is_waiting(&join.spec.room, join.member.membership) && self.is_ready() {
            self.call(now.instant, Call::Join(join));
        }
    }
}
