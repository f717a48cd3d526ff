//! The rules of one room.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use indexmap::IndexMap;

use super::command::{Metadata, MetadataPatch, RoomKind, Signal, Target};
use super::error::RoomError;
use super::event::{Delivery, Event, FoundBy, LeaveReason, Peer, Recipients, RemovalReason, Snapshot};
use super::limits::SessionLimits;
use super::waiting::Waiting;
use crate::clock::Moment;
use crate::id::{ConnectionId, PeerId, RoomId};

/// One room: its peers in the order they joined, found by connection or by peer id.
#[derive(Debug)]
pub struct Room {
    id: RoomId,
    created_at: SystemTime,
    capacity: Capacity,
    is_pair: bool,
    peers: IndexMap<ConnectionId, Arc<Peer>>,
    connections: HashMap<PeerId, ConnectionId>,
    /// The peers that joined over `/signal`.
    paired: Vec<ConnectionId>,
    /// Untargeted signals that wait for the other peer, while there is none.
    waiting: Option<Box<Waiting>>,
}

/// Maximum number of peers in a room, and who chose it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// The number.
    pub peers: usize,
    /// Whether an operator or a token chose it for this room.
    pub is_chosen: bool,
}

/// Maximum number of peers in a pair session, and in any room while a `/signal` peer is in it.
const PAIR: usize = 2;

/// What came of a join.
#[derive(Debug)]
pub struct Joined {
    /// The room as the joiner finds it.
    pub snapshot: Arc<Snapshot>,
    /// In the order in which they must be queued: the joiner hears of the room before anything else of it.
    pub deliveries: Vec<Delivery>,
    /// What it changed.
    pub change: Change,
}

/// What a join changed in the membership of its room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Nothing: the connection was in the room already.
    None,
    /// One peer more.
    Added,
    /// As many peers as before: this connection lost its place to the joiner.
    Replaced(ConnectionId),
}

impl Room {
    /// Returns an empty room: a pair session or a group.
    pub fn new(id: RoomId, created_at: SystemTime, capacity: Capacity, is_pair: bool) -> Self {
        let (peers, connections, paired) = (IndexMap::new(), HashMap::new(), Vec::new());
        Self { id, created_at, capacity, is_pair, peers, connections, paired, waiting: None }
    }

    /// Its id.
    pub fn id(&self) -> &RoomId {
        &self.id
    }

    /// When it was created.
    pub fn created_at(&self) -> SystemTime {
        self.created_at
    }

    /// Maximum number of peers at present.
    pub fn capacity(&self) -> usize {
        if self.is_for_two() { self.capacity.peers.min(PAIR) } else { self.capacity.peers }
    }

    /// Whether it is a pair session: it was created over `/signal`.
    pub fn is_pair(&self) -> bool {
        self.is_pair
    }

    /// Whether it takes two peers at present, and queues untargeted signals until the other peer joins.
    fn is_for_two(&self) -> bool {
        self.is_pair || !self.paired.is_empty()
    }

    /// The peers that joined over `/signal`, in the order they joined.
    pub fn paired(&self) -> &[ConnectionId] {
        &self.paired
    }

    /// Its peers, in the order they joined.
    pub fn peers(&self) -> impl ExactSizeIterator<Item = &Arc<Peer>> {
        self.peers.values()
    }

    /// The peer of a connection.
    pub fn peer(&self, connection: ConnectionId) -> Option<&Arc<Peer>> {
        self.peers.get(&connection)
    }

    /// Whether a connection is in it.
    pub fn contains(&self, connection: ConnectionId) -> bool {
        self.peers.contains_key(&connection)
    }

    /// Makes `connection` a peer.
    ///
    /// Where it is one already, nothing changes and it alone is told the list again. Where another connection holds
    /// the same peer id, the newer one wins: the older is removed first.
    pub fn join(
        &mut self,
        now: Moment,
        connection: ConnectionId,
        peer: Option<PeerId>,
        metadata: Metadata,
        kind: RoomKind,
        limits: &SessionLimits,
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
        // A peer that replaces another needs no room of its own.
        if self.peers.len() - usize::from(holder.is_some()) >= capacity {
            return Err(RoomError::RoomFull { capacity });
        }

        let me = Peer { id: peer, connection, joined_at: now.time, metadata };
        Ok(self.admit(now.instant, me, joins_pair, limits))
    }

    /// Shows the room to a peer that is in it already.
    pub fn welcome_again(&self, me: Arc<Peer>) -> Joined {
        let snapshot = self.snapshot(me);
        let deliveries = vec![Self::welcome(&snapshot)];
        Joined { snapshot, deliveries, change: Change::None }
    }

    /// Makes a peer a member without asking whether it fits: a join that was admitted, here or by the cluster. A peer with
    /// the same peer id is removed first.
    pub fn admit(&mut self, now: Instant, peer: Peer, joins_pair: bool, limits: &SessionLimits) -> Joined {
        let connection = peer.connection;
        let holder = self.connections.get(&peer.id).copied();
        let mut deliveries = Vec::with_capacity(4);
        if let Some(older) = holder {
            let event = Event::Removed { room: self.id.clone(), reason: RemovalReason::Replaced };
            deliveries.push(Delivery { to: Recipients::One(older), event });
            deliveries.extend(self.remove(older, LeaveReason::Replaced));
        }
        let me = Arc::new(peer);
        let others = self.everyone();
        self.connections.insert(me.id.clone(), connection);
        self.peers.insert(connection, Arc::clone(&me));
        if joins_pair {
            self.paired.push(connection);
        }
        let snapshot = self.snapshot(Arc::clone(&me));
        deliveries.push(Self::welcome(&snapshot));
        deliveries.push(Delivery { to: others, event: Event::PeerJoined { room: self.id.clone(), peer: me } });
        let waited = self.waiting.as_mut().map(|waiting| waiting.take(now, limits)).unwrap_or_default();
        deliveries.extend(waited.into_iter().map(|(from, signal)| Delivery {
            to: Recipients::One(connection),
            event: Event::SignalRelayed { room: self.id.clone(), from, found_by: FoundBy::PeerId, signal },
        }));
        Joined { snapshot, deliveries, change: holder.map_or(Change::Added, Change::Replaced) }
    }

    /// Takes a peer out: the one path by which that happens. `None` where the connection is not in the room, so that
    /// the late end of a connection that was replaced is silent.
    pub fn remove(&mut self, connection: ConnectionId, reason: LeaveReason) -> Option<Delivery> {
        let peer = self.peers.shift_remove(&connection)?;
        self.connections.remove(&peer.id);
        self.paired.retain(|paired| *paired != connection);
        let event = Event::PeerLeft { room: self.id.clone(), peer, reason };
        Some(Delivery { to: self.everyone(), event })
    }

    /// Tells the others that a peer is away, or back. It is in the room all the while.
    pub fn announce(&self, connection: ConnectionId, is_away: bool) -> Option<Delivery> {
        let (room, peer) = (self.id.clone(), Arc::clone(self.peers.get(&connection)?));
        let event = if is_away { Event::PeerAway { room, peer } } else { Event::PeerBack { room, peer } };
        Some(Delivery { to: self.others(connection), event })
    }

    /// Changes a peer's metadata, and tells the others. Returns `None` if the change changes nothing.
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
        // A copy: events that are queued or being encoded hold the peer as it was.
        *peer = Arc::new(Peer { metadata, ..Peer::clone(peer) });
        let event = Event::PeerUpdated { room: self.id.clone(), peer: Arc::clone(peer) };
        Ok(Some(Delivery { to: self.others(connection), event }))
    }

    /// Ends a pair session for both peers. In any other room the sender leaves, and the others are told of both.
    pub fn hang_up(&mut self, connection: ConnectionId) -> Vec<Delivery> {
        if !self.is_pair {
            let hung_up = Event::HungUp { room: self.id.clone() };
            let hung_up = Delivery { to: self.others(connection), event: hung_up };
            let left = self.remove(connection, LeaveReason::Left);
            return left.map(|left| vec![hung_up, left]).unwrap_or_default();
        }
        let ended = Event::Removed { room: self.id.clone(), reason: RemovalReason::HungUp };
        let everyone = self.everyone();
        let mut deliveries: Vec<Delivery> = self.remove(connection, LeaveReason::HungUp).into_iter().collect();
        deliveries.push(Delivery { to: everyone, event: ended });
        deliveries.extend(self.remove_all(LeaveReason::HungUp));
        deliveries
    }

    /// The room as one of its peers finds it.
    pub fn inspect(&self, connection: ConnectionId) -> Result<Arc<Snapshot>, RoomError> {
        let me = self.peers.get(&connection).ok_or(RoomError::NotInRoom)?;
        Ok(self.snapshot(Arc::clone(me)))
    }

    /// Empties the room at an operator's word: each peer is told, and none hears of the others' going.
    pub fn close(&mut self) -> Vec<Delivery> {
        let event = Event::Removed { room: self.id.clone(), reason: RemovalReason::Closed };
        let mut deliveries = vec![Delivery { to: self.everyone(), event }];
        deliveries.extend(self.remove_all(LeaveReason::Closed));
        deliveries
    }

    /// Takes everyone out, and tells nobody of the others.
    fn remove_all(&mut self, reason: LeaveReason) -> Vec<Delivery> {
        let members: Vec<ConnectionId> = self.peers.keys().copied().collect();
        let left = members.into_iter().filter_map(|member| self.remove(member, reason));
        left.map(|left| Delivery { to: Recipients::Many(Vec::new()), ..left }).collect()
    }

    /// Relays a signal to a target, or without one broadcasts it. A room for two queues it while there is no other peer,
    /// and returns `None`.
    pub fn relay(
        &mut self,
        now: Moment,
        connection: ConnectionId,
        target: Option<&Target>,
        signal: Signal,
        limits: &SessionLimits,
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

    /// The bytes of all queued signals.
    pub fn queued_bytes(&self) -> usize {
        self.waiting.as_ref().map_or(0, |waiting| waiting.bytes())
    }

    /// Drops the queued signals whose time is over.
    pub fn expire_queue(&mut self, now: Instant, limits: &SessionLimits) {
        if let Some(waiting) = &mut self.waiting {
            waiting.unschedule();
            waiting.expire(now, limits);
        }
    }

    /// Returns when the oldest queued signal expires, unless that was returned before.
    pub fn schedule_queue(&mut self, limits: &SessionLimits) -> Option<Instant> {
        self.waiting.as_mut()?.schedule(limits)
    }

    /// Takes back what [`Room::schedule_queue`] has returned.
    pub fn unschedule_queue(&mut self) -> Option<Instant> {
        self.waiting.as_mut()?.unschedule()
    }

    /// Looks a target up, first as a connection id, then as a peer id.
    fn find(&self, target: &Target) -> Option<(ConnectionId, FoundBy)> {
        if let Some(connection) = target.as_connection().filter(|connection| self.contains(*connection)) {
            return Some((connection, FoundBy::ConnectionId));
        }
        let connection = self.connections.get(target.as_peer()?)?;
        Some((*connection, FoundBy::PeerId))
    }

    fn welcome(snapshot: &Arc<Snapshot>) -> Delivery {
        Delivery { to: Recipients::One(snapshot.me.connection), event: Event::Joined(Arc::clone(snapshot)) }
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

    fn everyone(&self) -> Recipients {
        Recipients::Many(self.peers.keys().copied().collect())
    }

    fn others(&self, me: ConnectionId) -> Recipients {
        Recipients::Many(self.peers.keys().copied().filter(|connection| *connection != me).collect())
    }
}
