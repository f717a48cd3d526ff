//! The rules of a single room.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use indexmap::IndexMap;
use rustc_hash::{FxBuildHasher, FxHashMap, FxHashSet};

use super::command::{Metadata, MetadataPatch, RoomKind, Signal, Target};
use super::error::RoomError;
use super::event::{
    Delivery, Event, FoundBy, LeaveReason, Peer, Recipients, RemovalReason, Snapshot,
};
use super::limits::PairSessionLimits;
use super::waiting::Waiting;
use crate::clock::Moment;
use crate::id::{ConnectionId, PeerId, RoomId};

/// A room: its peers in the order in which they joined, found by connection or peer id.
#[derive(Debug)]
pub struct Room {
    id: RoomId,
    created_at: SystemTime,
    capacity: Capacity,
    is_pair: bool,
    peers: IndexMap<ConnectionId, Arc<Peer>, FxBuildHasher>,
    connections: HashMap<PeerId, ConnectionId>,
    /// Peers that joined over `/signal`.
    paired: Vec<ConnectionId>,
    /// The peers of other nodes.
    remote: FxHashSet<ConnectionId>,
    /// Whether peers are away, of those that the others were notified about.
    presence: FxHashMap<ConnectionId, bool>,
    /// Untargeted signals that wait for the other peer while there is none.
    waiting: Option<Box<Waiting>>,
}

/// Maximum number of peers in a room, and its origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// Maximum number of peers.
    pub peers: usize,
    /// Whether an operator or a token determined it for this room.
    pub is_chosen: bool,
}

/// Maximum number of peers in a pair session, and in any room while a `/signal` peer is in it.
const PAIR: usize = 2;

/// The result of a join.
#[derive(Debug)]
pub struct Joined {
    /// The state of the room for the joining peer.
    pub snapshot: Arc<Snapshot>,
    /// Events in the order in which they must be queued: the joining peer gets the snapshot before
    /// any other event.
    pub deliveries: Vec<Delivery>,
    /// The change of the membership.
    pub change: Change,
}

/// The change of a room's membership by a join.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// None: the connection was already in the room.
    None,
    /// One more peer.
    Added,
    /// The joining peer replaced this connection.
    Replaced(ConnectionId),
}

impl Room {
    /// Creates an empty room: a pair session or a group.
    pub fn new(id: RoomId, created_at: SystemTime, capacity: Capacity, is_pair: bool) -> Self {
        let (peers, connections, paired) = (IndexMap::default(), HashMap::new(), Vec::new());
        let (remote, presence) = (FxHashSet::default(), FxHashMap::default());
        Self {
            id,
            created_at,
            capacity,
            is_pair,
            peers,
            connections,
            paired,
            remote,
            presence,
            waiting: None,
        }
    }

    /// Returns the room's id.
    pub fn id(&self) -> &RoomId {
        &self.id
    }

    /// Returns the time at which the room was created.
    pub fn created_at(&self) -> SystemTime {
        self.created_at
    }

    /// Returns the current maximum number of peers.
    pub fn capacity(&self) -> usize {
        if self.is_for_two() { self.capacity.peers.min(PAIR) } else { self.capacity.peers }
    }

    /// Returns whether the room is a pair session, which was created over `/signal`.
    pub fn is_pair(&self) -> bool {
        self.is_pair
    }

    /// Returns whether the room currently admits two peers, and queues untargeted signals until the
    /// other peer joins.
    fn is_for_two(&self) -> bool {
        self.is_pair || !self.paired.is_empty()
    }

    /// Returns the peers that joined over `/signal`, in the order in which they joined.
    pub fn paired(&self) -> &[ConnectionId] {
        &self.paired
    }

    /// Notes that a peer is one of another node.
    pub(super) fn set_remote(&mut self, connection: ConnectionId) {
        self.remote.insert(connection);
    }

    /// Notes that a peer is one of this node.
    pub(super) fn set_local(&mut self, connection: ConnectionId) {
        self.remote.remove(&connection);
    }

    /// Returns whether a connection is that of a peer of another node.
    pub fn is_remote(&self, connection: ConnectionId) -> bool {
        self.remote.contains(&connection)
    }

    /// Returns whether a peer is away, or `None` if the other peers were not notified about it.
    pub fn presence(&self, connection: ConnectionId) -> Option<bool> {
        self.presence.get(&connection).copied()
    }

    /// Notes whether a peer is away, without notifying the others.
    pub fn set_presence(&mut self, connection: ConnectionId, is_away: bool) {
        if self.peers.contains_key(&connection) {
            self.presence.insert(connection, is_away);
        }
    }

    /// Returns the number of peers of other nodes.
    pub(super) fn remote_count(&self) -> usize {
        self.remote.len()
    }

    /// Returns the peers in the order in which they joined.
    pub fn peers(&self) -> impl ExactSizeIterator<Item = &Arc<Peer>> {
        self.peers.values()
    }

    /// Returns the peer of a connection.
    pub fn peer(&self, connection: ConnectionId) -> Option<&Arc<Peer>> {
        self.peers.get(&connection)
    }

    /// Returns whether a connection is in the room.
    pub fn contains(&self, connection: ConnectionId) -> bool {
        self.peers.contains_key(&connection)
    }

    /// Adds a peer for `connection`.
    ///
    /// If it is already in the room, nothing changes, and only it gets the snapshot again. If
    /// another connection has the same peer id, the newer one replaces it.
    pub fn join(
        &mut self,
        now: Moment,
        connection: ConnectionId,
        peer: Option<PeerId>,
        metadata: Metadata,
        kind: RoomKind,
        limits: &PairSessionLimits,
    ) -> Result<Joined, RoomError> {
        if let Some(me) = self.peers.get(&connection) {
            return Ok(self.welcome_again(Arc::clone(me)));
        }
        let peer = peer.unwrap_or_else(|| connection.into());
        let holder = self.connections.get(&peer).copied();
        let joins_pair = kind != RoomKind::Group;
        if joins_pair && !self.is_pair && self.capacity.is_chosen {
            return Err(RoomError::NotForPairs);
        }
        let capacity = if joins_pair { self.capacity.peers.min(PAIR) } else { self.capacity() };
        // A peer that replaces another takes no additional capacity.
        if self.peers.len() - usize::from(holder.is_some()) >= capacity {
            return Err(RoomError::RoomFull { capacity });
        }

        let me = Peer { id: peer, connection, joined_at: now.time, metadata };
        Ok(self.admit(now.instant, me, joins_pair, limits))
    }

    /// Returns the snapshot for a peer that is already in the room.
    pub fn welcome_again(&self, me: Arc<Peer>) -> Joined {
        let snapshot = self.snapshot(me);
        let deliveries = vec![Self::welcome(&snapshot)];
        Joined { snapshot, deliveries, change: Change::None }
    }

    /// Adds a peer that was admitted, here or by the cluster, without checking limits. A peer with
    /// the same peer id is removed first.
    pub fn admit(
        &mut self,
        now: Instant,
        peer: Peer,
        joins_pair: bool,
        limits: &PairSessionLimits,
    ) -> Joined {
        let connection = peer.connection;
        let holder = self.connections.get(&peer.id).copied();
        let mut deliveries = Vec::with_capacity(4);
        if let Some(older) = holder {
            let event = Event::Removed { room: self.id.clone(), reason: RemovalReason::Replaced };
            deliveries.push(Delivery { to: Recipients::One(older), event });
            deliveries.extend(self.remove(older, LeaveReason::Replaced));
        }
        let me = Arc::new(peer);
        let others = self.all();
        self.connections.insert(me.id.clone(), connection);
        self.peers.insert(connection, Arc::clone(&me));
        if joins_pair {
            self.paired.push(connection);
        }
        let snapshot = self.snapshot(Arc::clone(&me));
        deliveries.push(Self::welcome(&snapshot));
        deliveries.push(Delivery {
            to: others,
            event: Event::PeerJoined { room: self.id.clone(), peer: me },
        });
        let waited =
            self.waiting.as_mut().map(|waiting| waiting.take(now, limits)).unwrap_or_default();
        deliveries.extend(waited.into_iter().map(|(from, signal)| Delivery {
            to: Recipients::One(connection),
            event: Event::SignalRelayed {
                room: self.id.clone(),
                from,
                found_by: FoundBy::PeerId,
                signal,
            },
        }));
        Joined { snapshot, deliveries, change: holder.map_or(Change::Added, Change::Replaced) }
    }

    /// Removes a peer. This is the only code that does so. Returns `None` if the connection is not
    /// in the room, so that the late end of a replaced connection has no effect.
    pub fn remove(&mut self, connection: ConnectionId, reason: LeaveReason) -> Option<Delivery> {
        let peer = self.peers.shift_remove(&connection)?;
        self.connections.remove(&peer.id);
        self.paired.retain(|paired| *paired != connection);
        self.remote.remove(&connection);
        self.presence.remove(&connection);
        let event = Event::PeerLeft { room: self.id.clone(), peer, reason };
        Some(Delivery { to: self.all(), event })
    }

    /// Notifies the other peers that a peer is away, or back. It remains in the room all the time.
    /// Returns `None` if they know that already, or it is not in the room.
    pub fn announce(&mut self, connection: ConnectionId, is_away: bool) -> Option<Delivery> {
        let (room, peer) = (self.id.clone(), Arc::clone(self.peers.get(&connection)?));
        if self.presence.insert(connection, is_away).unwrap_or_default() == is_away {
            return None;
        }
        let event =
            if is_away { Event::PeerAway { room, peer } } else { Event::PeerBack { room, peer } };
        Some(Delivery { to: self.others(connection), event })
    }

    /// Changes a peer's metadata and notifies the other peers. Returns `None` if the metadata stays
    /// the same.
    pub fn update(
        &mut self,
        connection: ConnectionId,
        patch: &MetadataPatch,
        max: usize,
    ) -> Result<Option<Delivery>, RoomError> {
        let peer = self.peers.get_mut(&connection).ok_or(RoomError::NotInRoom)?;
        let metadata = patch.apply(&peer.metadata);
        if metadata.as_str().len() > max {
            return Err(RoomError::MetadataTooLarge { max });
        }
        if metadata == peer.metadata {
            return Ok(None);
        }
        // A copy, because queued events still refer to the peer before the change.
        *peer = Arc::new(Peer { metadata, ..Peer::clone(peer) });
        let event = Event::PeerUpdated { room: self.id.clone(), peer: Arc::clone(peer) };
        Ok(Some(Delivery { to: self.others(connection), event }))
    }

    /// Ends a pair session for both peers. In any other room the sender leaves, and the others are
    /// notified of both the hang-up and the leave.
    pub fn hang_up(&mut self, connection: ConnectionId) -> Vec<Delivery> {
        if !self.is_pair {
            let hung_up = Event::HungUp { room: self.id.clone() };
            let hung_up = Delivery { to: self.others(connection), event: hung_up };
            let left = self.remove(connection, LeaveReason::Left);
            return left.map(|left| vec![hung_up, left]).unwrap_or_default();
        }
        let ended = Event::Removed { room: self.id.clone(), reason: RemovalReason::HungUp };
        let all = self.all();
        let mut deliveries: Vec<Delivery> =
            self.remove(connection, LeaveReason::HungUp).into_iter().collect();
        deliveries.push(Delivery { to: all, event: ended });
        deliveries.extend(self.remove_all(LeaveReason::HungUp));
        deliveries
    }

    /// Returns the state of the room for one of its peers.
    pub fn inspect(&self, connection: ConnectionId) -> Result<Arc<Snapshot>, RoomError> {
        let me = self.peers.get(&connection).ok_or(RoomError::NotInRoom)?;
        Ok(self.snapshot(Arc::clone(me)))
    }

    /// Closes the room: notifies each peer of the removal, but not of the others' leaves.
    pub fn close(&mut self) -> Vec<Delivery> {
        let event = Event::Removed { room: self.id.clone(), reason: RemovalReason::Closed };
        let mut deliveries = vec![Delivery { to: self.all(), event }];
        deliveries.extend(self.remove_all(LeaveReason::Closed));
        deliveries
    }

    /// Removes a peer for an operator. Returns `None` if the connection is not in the room.
    pub fn kick(&mut self, connection: ConnectionId) -> Option<Vec<Delivery>> {
        let left = self.remove(connection, LeaveReason::Kicked)?;
        let event = Event::Removed { room: self.id.clone(), reason: RemovalReason::Kicked };
        Some(vec![Delivery { to: Recipients::One(connection), event }, left])
    }

    /// Removes all peers, without notifying them of each other's leaves.
    fn remove_all(&mut self, reason: LeaveReason) -> Vec<Delivery> {
        let members: Vec<ConnectionId> = self.peers.keys().copied().collect();
        let left = members.into_iter().filter_map(|member| self.remove(member, reason));
        left.map(|left| Delivery { to: Recipients::Many(Vec::new()), ..left }).collect()
    }

    /// Relays a signal to its target, or broadcasts it. A pair session without another peer queues
    /// it and returns `None`.
    pub fn relay(
        &mut self,
        now: Moment,
        connection: ConnectionId,
        target: Option<&Target>,
        signal: Signal,
        limits: &PairSessionLimits,
    ) -> Result<Option<Delivery>, RoomError> {
        let from = Arc::clone(self.peers.get(&connection).ok_or(RoomError::NotInRoom)?);
        let (to, found_by) = match target {
            Some(target) => {
                let (to, found_by) = self.find(target).ok_or(RoomError::TargetNotFound)?;
                (Recipients::One(to), found_by)
            }
            None => (self.others(connection), FoundBy::PeerId),
        };
        let to = if signal.echo { to.and(connection) } else { to };
        let signal = Arc::new(signal);
        if self.is_for_two() && target.is_none() && to.as_slice().is_empty() {
            self.waiting.get_or_insert_default().push(now.instant, from, signal, limits)?;
            return Ok(None);
        }
        let event = Event::SignalRelayed { room: self.id.clone(), from, found_by, signal };
        Ok(Some(Delivery { to, event }))
    }

    /// Returns the number of bytes of all queued signals.
    pub fn queued_bytes(&self) -> usize {
        self.waiting.as_ref().map_or(0, |waiting| waiting.bytes())
    }

    /// Drops expired queued signals.
    pub fn expire_queue(&mut self, now: Instant, limits: &PairSessionLimits) {
        if let Some(waiting) = &mut self.waiting {
            waiting.unschedule();
            waiting.expire(now, limits);
        }
    }

    /// Returns when the oldest queued signal expires, unless that is already scheduled.
    pub fn schedule_queue(&mut self, limits: &PairSessionLimits) -> Option<Instant> {
        self.waiting.as_mut()?.schedule(limits)
    }

    /// Reverts [`Room::schedule_queue`].
    pub fn unschedule_queue(&mut self) -> Option<Instant> {
        self.waiting.as_mut()?.unschedule()
    }

    /// Finds the connection of a target, first by connection id, then by peer id.
    fn find(&self, target: &Target) -> Option<(ConnectionId, FoundBy)> {
        if let Some(connection) =
            target.as_connection().filter(|connection| self.contains(*connection))
        {
            return Some((connection, FoundBy::ConnectionId));
        }
        let connection = self.connections.get(target.as_peer()?)?;
        Some((*connection, FoundBy::PeerId))
    }

    fn welcome(snapshot: &Arc<Snapshot>) -> Delivery {
        Delivery {
            to: Recipients::One(snapshot.me.connection),
            event: Event::Joined(Arc::clone(snapshot)),
        }
    }

    fn snapshot(&self, me: Arc<Peer>) -> Arc<Snapshot> {
        Arc::new(Snapshot {
            room: self.id.clone(),
            created_at: self.created_at,
            capacity: self.capacity(),
            peers: self.peers.values().cloned().collect(),
            me,
        })
    }

    fn all(&self) -> Recipients {
        Recipients::Many(self.peers.keys().copied().collect())
    }

    fn others(&self, me: ConnectionId) -> Recipients {
        Recipients::Many(
            self.peers.keys().copied().filter(|connection| *connection != me).collect(),
        )
    }
}
