//! Rooms that several nodes share. A node applies the room's log to its copy; the log has already
//! decided, so nothing is refused here.

use std::sync::atomic::Ordering;
use std::time::SystemTime;

use super::{Keep, RoomGuard, Rooms};
use crate::clock::Moment;
use crate::id::{ConnectionId, RoomId};
use crate::room::command::{RoomKind, Signal};
use crate::room::event::{Answer, Delivery, Event, FoundBy, LeaveReason, Peer, Recipients};
use crate::room::registry::Applied;
use crate::room::state::{Capacity, Change, Joined, Room};

/// Properties of a shared room, which its first join determined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomSpec {
    /// Id of the room.
    pub room: RoomId,
    /// Time at which the room was created.
    pub created_at: SystemTime,
    /// Maximum number of peers.
    pub capacity: Capacity,
    /// Whether it is a pair session.
    pub is_pair: bool,
}

/// A peer admitted by the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admitted {
    /// The admitted peer.
    pub peer: Peer,
    /// Whether the peer joined over `/signal`.
    pub is_paired: bool,
}

/// A room as a peer of it knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownRoom {
    /// Id of the room.
    pub room: RoomId,
    /// Peers of the room.
    pub peers: Vec<ConnectionId>,
    /// Peers that are away.
    pub away: Vec<ConnectionId>,
}

impl Rooms {
    /// Adds a peer to a shared room, which is created if this node has no copy. Neither the
    /// capacity of the room nor the limits of this node are checked. A peer that is already a
    /// member gets the snapshot.
    pub fn admit(&self, now: Moment, spec: &RoomSpec, admitted: Admitted) -> Applied {
        let mut kept = self.lock_or_create(spec);
        let remote = kept.room.remote_count();
        let joined = self.admit_to(now, &mut kept, admitted);
        self.note_remote(remote, &kept.room);
        Applied {
            deliveries: joined.deliveries,
            answer: Answer::Joined(joined.snapshot),
            room: kept,
        }
    }

    /// Changes a shared room to another state: removes peers, then admits others. A room that is
    /// empty then is removed; it has not ended, since other nodes may still have it.
    pub fn adopt(
        &self,
        now: Moment,
        spec: &RoomSpec,
        leaving: &[(ConnectionId, LeaveReason)],
        admitted: Vec<Admitted>,
    ) -> Applied {
        let mut kept = self.lock_or_create(spec);
        let remote = kept.room.remote_count();
        let mut deliveries = Vec::new();
        for (connection, reason) in leaving {
            if let Some(left) = kept.room.remove(*connection, *reason) {
                self.peer_count.fetch_sub(1, Ordering::Relaxed);
                self.remove_membership(*connection, &spec.room);
                deliveries.push(left);
            }
        }
        for admitted in admitted {
            deliveries.extend(self.admit_to(now, &mut kept, admitted).deliveries);
        }
        self.note_remote(remote, &kept.room);
        self.remove_if_empty(&mut kept);
        Applied { deliveries, answer: Answer::Left, room: kept }
    }

    /// Delivers a signal within a shared room, as the sender's node has addressed it. Returns
    /// `None` if the sender is not in the room. Recipients that are not in it are left out.
    pub fn deliver_signal(
        &self,
        room: &RoomId,
        from: ConnectionId,
        to: &[ConnectionId],
        found_by: FoundBy,
        signal: Signal,
    ) -> Option<Applied> {
        let kept = self.lock(room)?;
        let from = kept.room.peer(from)?.clone();
        let to = match *to {
            [one] if kept.room.contains(one) => Recipients::One(one),
            _ => {
                let present = to.iter().copied().filter(|to| kept.room.contains(*to));
                Recipients::Many(present.collect())
            }
        };
        let event =
            Event::SignalRelayed { room: room.clone(), from, found_by, signal: signal.into() };
        let deliveries = vec![Delivery { to, event }];
        Some(Applied { deliveries, answer: Answer::Relayed, room: kept })
    }

    /// Notes that the session of a peer of a shared room is on this node now, after
    /// [`Rooms::connect`]. `missed` returns what the peer missed of the room, which is locked: all
    /// later events of it are delivered to the session. Returns `None` if it is not in the room.
    pub fn moved_here(
        &self,
        connection: ConnectionId,
        room: &RoomId,
        missed: impl FnOnce(&mut Room) -> Vec<Delivery>,
    ) -> Option<Applied> {
        let mut kept = self.lock(room)?;
        kept.room.peer(connection)?;
        let mut rooms = self.memberships.get_mut(&connection)?;
        if !rooms.contains(room) {
            rooms.push(room.clone());
        }
        drop(rooms);
        let remote = kept.room.remote_count();
        kept.room.set_local(connection);
        self.note_remote(remote, &kept.room);
        let deliveries = missed(&mut kept.room);
        Some(Applied { deliveries, answer: Answer::Left, room: kept })
    }

    /// Records that the session of a connection is moving to another node: its peers stay in their
    /// rooms, as those of another node. Returns the rooms as their last events have shown them to
    /// the session, once no delivery to it is in progress.
    pub fn moved_away(&self, connection: ConnectionId) -> Vec<ShownRoom> {
        let mut shown = Vec::new();
        for room in self.disconnect(connection) {
            let Some(mut kept) = self.lock(&room) else { continue };
            let remote = kept.room.remote_count();
            if kept.room.peer(connection).is_some() {
                kept.room.set_remote(connection);
                let peers: Vec<_> = kept.room.peers().map(|peer| peer.connection).collect();
                let is_away = |peer: &ConnectionId| kept.room.presence(*peer) == Some(true);
                let away = peers.iter().copied().filter(is_away).collect();
                shown.push(ShownRoom { room, peers, away });
            }
            self.note_remote(remote, &kept.room);
        }
        shown
    }

    fn admit_to(
        &self,
        now: Moment,
        kept: &mut RoomGuard,
        Admitted { peer, is_paired }: Admitted,
    ) -> Joined {
        let connection = peer.connection;
        if let Some(me) = kept.room.peer(connection) {
            return kept.room.welcome_again(me.clone());
        }
        let id = kept.room.id().clone();
        // This node has no membership list for connections of other nodes.
        let is_local =
            self.memberships.get_mut(&connection).map(|mut rooms| rooms.push(id.clone())).is_some();
        let joined = kept.room.admit(now.instant, peer, is_paired, &self.limits.session);
        if !is_local {
            kept.room.set_remote(connection);
        }
        match joined.change {
            Change::None => {}
            Change::Added => _ = self.peer_count.fetch_add(1, Ordering::Relaxed),
            Change::Replaced(older) => self.remove_membership(older, &id),
        }
        kept.keep = Keep::WhileInUse;
        joined
    }

    fn lock_or_create(
        &self,
        RoomSpec { room, created_at, capacity, is_pair }: &RoomSpec,
    ) -> RoomGuard {
        let kind = if *is_pair { RoomKind::Pair } else { RoomKind::Group };
        self.ended.lock().shift_remove(room);
        loop {
            let listed =
                self.list(*created_at, room.clone(), *capacity, kind, Keep::WhileInUse, usize::MAX);
            let kept = listed.expect("there is no limit").0.room.lock_arc();
            if kept.keep != Keep::Removed {
                return kept;
            }
        }
    }
}
