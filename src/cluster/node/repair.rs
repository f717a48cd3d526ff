//! A new connection to the engine. Before anything else is sent, this node and the engine agree
//! about every room that this node has, or may be counted in.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use tracing::warn;

use super::{Member, Node, Waiting};
use crate::clock::Moment;
use crate::cluster::frame::{Body, RoomChange};
use crate::cluster::record::{Incarnation, RoomRecord};
use crate::cluster::script::{Call, Listed, Sync};
use crate::id::RoomId;

/// The delay before the second attempt to connect; it doubles with each attempt.
const FIRST_DELAY: Duration = Duration::from_millis(100);
const MAX_DELAY: Duration = Duration::from_secs(2);

/// Why a connection is made in place of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReconnectReason {
    /// It was closed, or could not be made.
    Lost,
    /// The engine did not answer.
    Silent,
    /// Log entries were missing.
    Gap,
    /// Another connection of this node has a later generation.
    Stale,
    /// This node was declared dead.
    Fenced,
}

impl ReconnectReason {
    /// All reasons, in the order of their numbers.
    pub const ALL: [Self; 5] = [Self::Lost, Self::Silent, Self::Gap, Self::Stale, Self::Fenced];

    /// Returns the name in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::Silent => "silent",
            Self::Gap => "gap",
            Self::Stale => "stale",
            Self::Fenced => "fenced",
        }
    }
}

/// How far the connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Not connected.
    Away {
        /// When to connect; `None` is at once.
        retry_at: Option<Instant>,
        /// Attempts since the node was ready.
        attempts: u32,
        /// Why there is no connection; `None` at the start.
        why: Option<ReconnectReason>,
    },
    /// The connection was requested.
    Connecting { since: Instant, attempts: u32 },
    /// Connected, and not greeted yet.
    Greeting { since: Instant, attempts: u32 },
    /// Rooms are being synced.
    Repairing { attempts: u32 },
    /// Repaired.
    Ready,
}

impl Node {
    /// Reports that the connection is open and subscribed.
    pub fn connected(&mut self, now: Moment) {
        let Phase::Connecting { attempts, .. } = self.phase else { return };
        self.phase = Phase::Greeting { since: now.instant, attempts };
        self.call(now.instant, Call::Hello { known_epoch: self.epoch });
    }

    /// Reports that the connection is lost, or could not be made.
    pub fn disconnected(&mut self, now: Moment) {
        let attempts = match self.phase {
            Phase::Away { .. } => return,
            Phase::Connecting { attempts, .. }
            | Phase::Greeting { attempts, .. }
            | Phase::Repairing { attempts } => attempts + 1,
            Phase::Ready => 0,
        };
        // Exponential backoff with jitter, so that not all nodes connect at once.
        let delay = FIRST_DELAY.saturating_mul(1 << attempts.min(5)).min(MAX_DELAY);
        let part = u32::try_from(self.host.random() % 1000).unwrap_or_default();
        let retry_at = Some(now.instant + delay * part / 1000);
        self.phase = Phase::Away { retry_at, attempts, why: Some(ReconnectReason::Lost) };
        // A call that was not answered was executed or not.
        let rooms = self.calls.values().filter_map(|(call, _)| call.room().cloned());
        self.unsettled.extend(rooms);
        self.calls.clear();
        self.before_sync.clear();
        // Their joins are repeated with the next connection.
        self.evictions.clear();
        self.beat = super::Beat::default();
        self.moves.interrupt();
        self.members.connection_lost();
        self.replicas.values_mut().for_each(|replica| replica.is_synced = false);
        self.outgoing.values_mut().for_each(super::SendingLink::connection_lost);
    }

    /// Closes the connection and makes a new one.
    pub(super) fn reconnect(&mut self, now: Moment, reason: ReconnectReason) {
        self.disconnected(now);
        if let Phase::Away { retry_at, why, .. } = &mut self.phase {
            (*retry_at, *why) = (None, Some(reason));
        }
        self.connect(now);
    }

    fn connect(&mut self, now: Moment) {
        let Phase::Away { attempts, why, .. } = self.phase else { return };
        self.generation += 1;
        self.counters.connects += 1;
        if let Some(why) = why {
            self.counters.reconnects[why as usize] += 1;
        }
        self.phase = Phase::Connecting { since: now.instant, attempts };
        self.engine.connect(self.me, self.generation);
    }

    /// Returns whether calls about rooms may be sent: the syncs have been, so that a later call
    /// applies to their result.
    pub(super) fn can_call(&self) -> bool {
        matches!(self.phase, Phase::Repairing { .. } | Phase::Ready)
    }

    /// Returns whether replicas are those of the engine, so that frames may be processed.
    pub(in crate::cluster) fn is_settled(&self) -> bool {
        self.is_ready() && !self.is_syncing()
    }

    fn is_syncing(&self) -> bool {
        self.calls.values().any(|(call, _)| matches!(call, Call::Sync(_)))
    }

    /// Connects when it is time to, and gives a connection up that does not answer.
    pub(super) fn tend_connection(&mut self, now: Moment) {
        let limit = self.settings.lease / 2;
        match self.phase {
            Phase::Away { retry_at, .. } if retry_at.is_none_or(|at| now.instant >= at) => {
                self.connect(now);
            }
            Phase::Connecting { since, .. } | Phase::Greeting { since, .. }
                if now.instant.duration_since(since) >= limit =>
            {
                self.reconnect(now, ReconnectReason::Silent);
            }
            Phase::Repairing { .. } | Phase::Ready => self.tend_beat(now),
            _ => {}
        }
    }

    /// Requests missing frames and syncs all rooms, once the engine has greeted this node.
    pub(super) fn welcomed(&mut self, now: Moment, epoch: u64, living: Vec<Incarnation>) {
        let Phase::Greeting { attempts, .. } = self.phase else { return };
        self.epoch = Some(epoch);
        self.phase = Phase::Repairing { attempts };
        self.members.list(living);
        let nodes =
            self.members.living().iter().chain(self.incoming.keys()).chain(self.outgoing.keys());
        let nodes: BTreeSet<Incarnation> = nodes.copied().filter(|node| *node != self.me).collect();
        for node in nodes {
            self.request_frames(node);
        }
        self.tend_beat(now);
        let waiting = self.joins.keys().map(|(room, _)| room);
        let rooms = self.replicas.keys().chain(&self.unsettled).chain(waiting);
        let rooms: BTreeSet<RoomId> = rooms.cloned().collect();
        self.unsettled.clear();
        for room in &rooms {
            self.sync(now, room);
        }
        self.settle(now);
    }

    pub(super) fn is_being_synced(&self, room: &RoomId) -> bool {
        let is_it = |call: &Call| matches!(call, Call::Sync(sync) if sync.spec.room == *room);
        self.calls.values().any(|(call, _)| is_it(call))
    }

    /// Applies the entries that have arrived before the answer to the sync of their room, although the
    /// engine wrote them after it: answers take another way than what is published.
    pub(super) fn apply_later_entries(
        &mut self,
        now: Moment,
        room: &RoomId,
        record: Option<&RoomRecord>,
    ) {
        if self.is_being_synced(room) {
            return;
        }
        for entry in self.before_sync.remove(room).unwrap_or_default() {
            let is_later = match record {
                Some(record) => (entry.serial, entry.version) > (record.serial, record.version),
                // Peers of this node may have entered the room since.
                None => matches!(entry.change, RoomChange::Snapshot(_)),
            };
            if is_later {
                self.entry(now, entry);
            }
        }
    }

    /// Sends what this node knows of a room to the engine.
    pub(super) fn sync(&mut self, now: Moment, room: &RoomId) {
        let replica = self.replicas.get(room);
        let waiting: Vec<&Waiting> = self
            .joins
            .iter()
            .filter(|((waiting, _), _)| waiting == room)
            .map(|(_, waiting)| waiting)
            .collect();
        let spec = match (replica, waiting.first()) {
            (Some(replica), _) => replica.spec.clone(),
            (None, Some(waiting)) => self.spec_of(waiting),
            // The engine has a member that this node does not have: nothing is created.
            (None, None) => self.spec_of_none(now, room),
        };
        let mut members = Vec::new();
        for member in replica.into_iter().flat_map(|replica| replica.held_by(self.me)) {
            let is_provisional =
                replica.is_some_and(|replica| replica.provisional.contains(&member.membership));
            let (member, is_admitted) = (member.clone(), !is_provisional);
            members.push(Listed { member, is_admitted, is_arriving: false });
        }
        for waiting in waiting {
            members.push(Listed {
                member: self.member_of(waiting),
                is_admitted: false,
                is_arriving: false,
            });
        }
        let arriving =
            self.moves.arriving_in(room).filter(|member| !self.is_local(room, member.connection()));
        members.extend(arriving.map(|member| {
            let member = Member { holder: self.me, ..member.clone() };
            Listed { member, is_admitted: true, is_arriving: true }
        }));
        members.sort_by_key(|listed| (!listed.is_admitted, listed.member.joined_at));
        let (serial, version) = replica.map_or((0, 0), |replica| (replica.serial, replica.version));
        let media = replica.and_then(|replica| replica.media);
        let may_create = self.host.rooms().limits().auto_create;
        if let Some(replica) = self.replicas.get_mut(room) {
            replica.is_synced = false;
        }
        let sync = Sync { spec, may_create, serial, version, members, media };
        self.call(now.instant, Call::Sync(sync));
    }

    fn spec_of_none(&self, now: Moment, room: &RoomId) -> crate::room::RoomSpec {
        let capacity = self.host.rooms().capacity(None);
        crate::room::RoomSpec { room: room.clone(), created_at: now.time, capacity, is_pair: false }
    }

    /// Continues once all syncs are answered: with rooms that were opened meanwhile, or as ready.
    pub(super) fn settle(&mut self, now: Moment) {
        if !self.can_call() || self.is_syncing() {
            return;
        }
        let unsynced =
            self.replicas.iter().filter(|(_, replica)| !replica.is_synced).map(|(room, _)| room);
        let unsynced: BTreeSet<RoomId> = unsynced.chain(&self.unsettled).cloned().collect();
        self.unsettled.clear();
        if !unsynced.is_empty() {
            for room in &unsynced {
                self.sync(now, room);
            }
            return;
        }
        if !self.is_ready() {
            self.phase = Phase::Ready;
            self.members.ready(now.instant);
            let nodes: Vec<Incarnation> = self.outgoing.keys().copied().collect();
            for node in nodes {
                self.publish_frames(node);
            }
            self.repeat_joins(now);
            self.repeat_skipped_announcements(now);
        }
        self.process_aside(now);
    }

    /// Sends the joins that no call asks for.
    fn repeat_joins(&mut self, now: Moment) {
        let asked = self.calls.values().filter_map(|(call, _)| match call {
            Call::Join(join) => Some(join.member.membership),
            _ => None,
        });
        let asked: BTreeSet<_> = asked.collect();
        let due = self.joins.values().map(|waiting| self.join_call(waiting));
        let due: Vec<_> = due.filter(|join| !asked.contains(&join.member.membership)).collect();
        for join in due {
            self.call(now.instant, Call::Join(join));
        }
    }

    /// Asks a node for the frames that this node misses, and tells it which number it gives next.
    pub(super) fn request_frames(&mut self, node: Incarnation) {
        let next = self.incoming.entry(node).or_default().next();
        let sent = self.outgoing.get(&node).map_or(1, super::SendingLink::next);
        self.publish_unnumbered(node, Body::Have { next, sent });
    }

    /// Makes a new connection, because this one has lost messages without closing.
    pub(super) fn lost_messages(&mut self, now: Moment, room: &RoomId) {
        warn!(%room, "log entries are missing, reconnecting to the engine");
        self.reconnect(now, ReconnectReason::Gap);
    }
}
