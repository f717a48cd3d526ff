//! Joins of this node's peers: by the engine, or by this node alone while the engine does not
//! answer.

use std::time::Duration;

use super::{Member, Membership, Node, Nonce, Replica, follow_departures};
use crate::clock::Moment;
use crate::cluster::record::milliseconds;
use crate::cluster::script::{Call, Join, Refusal};
use crate::id::{ConnectionId, PeerId, RoomId};
use crate::room::{Applied, Command, JoinBounds, Metadata, RoomError, RoomKind, RoomSpec};

/// How long a join waits for the engine before this node admits it alone.
pub const PROVISIONAL: Duration = Duration::from_secs(2);

/// A request to join a shared room.
#[derive(Debug, Clone)]
pub struct JoinRequest {
    /// The room.
    pub room: RoomId,
    /// The connection that joins.
    pub connection: ConnectionId,
    /// The peer id.
    pub peer: PeerId,
    /// The metadata of the peer.
    pub metadata: Metadata,
    /// The kind of room.
    pub kind: RoomKind,
    /// Bounds that the session adds.
    pub bounds: JoinBounds,
}

/// A join that is not answered yet.
#[derive(Debug)]
pub(super) struct Waiting {
    request: JoinRequest,
    pub(super) nonce: Nonce,
    since: Moment,
    /// Whether silent peers were evicted for it, or looked for.
    pub(super) has_evicted: bool,
}

impl Node {
    /// Requests a join. The outcome is reported by [`Host::joined`](crate::cluster::Host::joined).
    pub fn join(&mut self, now: Moment, request: JoinRequest) {
        let key = (request.room.clone(), request.connection);
        let nonce = Nonce(self.host.random());
        let waiting = Waiting { request, nonce, since: now, has_evicted: false };
        if self.is_ready() {
            let call = Call::Join(self.join_call(&waiting));
            self.call(now.instant, call);
        }
        self.joins.insert(key, waiting);
    }

    /// Returns the member that a join is to become.
    pub(super) fn member_of(&self, Waiting { request, nonce, since, .. }: &Waiting) -> Member {
        Member {
            membership: Membership { connection: request.connection, nonce: *nonce },
            holder: self.me,
            since: 0,
            joined_at: milliseconds(since.time),
            is_paired: request.kind != RoomKind::Group,
            peer: request.peer.clone(),
            metadata: request.metadata.clone(),
        }
    }

    pub(super) fn join_call(&self, waiting: &Waiting) -> Join {
        Join {
            spec: self.spec_of(waiting),
            may_create: self.host.rooms().limits().auto_create,
            unless_ended: waiting.request.kind == RoomKind::PairUnlessEnded,
            member: self.member_of(waiting),
        }
    }

    /// Returns the properties of a room that a join creates.
    pub(super) fn spec_of(&self, waiting: &Waiting) -> RoomSpec {
        let JoinRequest { room, kind, bounds, .. } = &waiting.request;
        RoomSpec {
            room: room.clone(),
            created_at: waiting.since.time,
            capacity: self.host.rooms().capacity(bounds.size),
            is_pair: *kind != RoomKind::Group,
        }
    }

    /// Returns whether a join waits: it was neither answered nor withdrawn.
    pub(super) fn is_waiting(&self, room: &RoomId, membership: Membership) -> bool {
        let waiting = self.joins.get(&(room.clone(), membership.connection));
        waiting.is_some_and(|waiting| waiting.nonce == membership.nonce)
    }

    pub(super) fn denied(&mut self, now: Moment, join: &Join, denial: Refusal) {
        if self.is_waiting(&join.spec.room, join.member.membership) {
            let key = (join.spec.room.clone(), join.member.connection());
            self.joins.remove(&key);
            self.host.joined(&key.0, key.1, Err(denial), now);
            self.drop_unused(now, &key.0);
        }
    }

    /// Admits joins that have waited too long for an engine that does not answer.
    pub(super) fn admit_provisionally(&mut self, now: Moment) {
        if self.is_ready() {
            return;
        }
        let is_due =
            |waiting: &Waiting| now.instant.duration_since(waiting.since.instant) >= PROVISIONAL;
        let due: Vec<_> = self
            .joins
            .iter()
            .filter(|(_, waiting)| is_due(waiting))
            .map(|(key, _)| key.clone())
            .collect();
        for (room, connection) in due {
            let Some(waiting) = self.joins.remove(&(room.clone(), connection)) else { continue };
            let JoinRequest { peer, metadata, kind, bounds, .. } = waiting.request.clone();
            let command = Command::Join { room: room.clone(), peer: Some(peer), metadata, kind };
            let again = command.clone();
            let mut admitted = self.host.rooms().apply_bounded(now, connection, command, bounds);
            if matches!(admitted, Err(RoomError::RoomFull { .. }))
                && kind != RoomKind::Group
                && self.evict_here(now, &room)
            {
                admitted = self.host.rooms().apply_bounded(now, connection, again, bounds);
            }
            match admitted {
                Ok(applied) => self.admitted_provisionally(now, &room, &waiting, applied),
                Err(error) => {
                    // Whatever became of the call, the next sync says that there is no such member.
                    self.unsettled.insert(room.clone());
                    self.host.joined(&room, connection, Err(denial_of(error)), now);
                    self.drop_unused(now, &room);
                }
            }
        }
    }

    fn admitted_provisionally(
        &mut self,
        now: Moment,
        room: &RoomId,
        waiting: &Waiting,
        applied: Applied,
    ) {
        self.counters.provisional += 1;
        let member = self.member_of(waiting);
        let spec = self.spec_of(waiting);
        let replica = self.replicas.entry(room.clone()).or_insert_with(|| Replica::new(spec));
        follow_departures(replica, &applied);
        replica.is_synced = false;
        replica.provisional.insert(member.membership);
        replica.members.insert(member.connection(), member);
        self.host.joined(room, waiting.request.connection, Ok(applied), now);
    }

    /// Returns whether a join of this connection is not answered yet.
    pub(in crate::cluster) fn has_waiting_join(&self, connection: ConnectionId) -> bool {
        self.joins.keys().any(|(_, waiting)| *waiting == connection)
    }

    /// Returns whether the engine may still count a connection in a room that it has left.
    pub(in crate::cluster) fn has_open_leave(&self, connection: ConnectionId) -> bool {
        self.leaves.iter().any(|(_, leaving)| *leaving == connection)
    }
}

fn denial_of(error: RoomError) -> Refusal {
    match error {
        RoomError::RoomFull { capacity } => Refusal::Full { capacity },
        RoomError::SessionEnded => Refusal::Ended,
        RoomError::NotForPairs => Refusal::NotForPairs,
        RoomError::RoomNotFound => Refusal::NotFound,
        _ => Refusal::Closed,
    }
}
