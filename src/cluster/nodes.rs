//! This process as a node of the cluster, on each of the engines among which rooms are spread.
//!
//! A room is on one engine, which its id decides. Engines know nothing of each other; only a
//! session that moves may have rooms on several of them, see [`moves`]. It is claimed on the engine
//! that the id of its connection decides, and leaves and arrives on all.

mod claims;
mod media;
mod moves;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::expiring_map::ExpiringMap;
use super::moving::{Claim, Departure, NodeAt};
use super::node::{JoinRequest, OutgoingSignal, Settings};
use super::record::Incarnation;
use super::script::{CallId, ScriptReply};
use super::{Engine, Host, Node};
use crate::clock::Moment;
use crate::id::{ConnectionId, RoomId};
use crate::room::{LeaveReason, Metadata};

/// How long a node knows where a session has moved to. Its client may resume with the token
/// that it had before.
const REDIRECT_LIFETIME: Duration = Duration::from_mins(5);

/// Number of moved sessions of which a node knows that.
const MAX_MOVED: usize = 65_536;

/// One process, with a [`Node`] for each engine.
pub struct Nodes {
    host: Arc<dyn Host>,
    on_engines: Vec<Node>,
    /// The sessions that this process claims.
    claims: BTreeMap<ConnectionId, Claim>,
    /// The nodes that are to be asked for sessions, if they are listed: they may have just started.
    unlisted: BTreeMap<ConnectionId, NodeAt>,
    /// The claims of other nodes that wait for a session to arrive here, with their requests.
    claimed: BTreeMap<ConnectionId, (NodeAt, Bytes)>,
    /// The sessions that have left this process, with the nodes that they have moved to.
    moved: ExpiringMap<ConnectionId, NodeAt>,
    /// The sessions that leave this process.
    departures: BTreeMap<ConnectionId, Departure>,
    /// The sessions that have arrived, while local peers still send signals to them by way of
    /// [`Nodes::send`].
    arrivals: BTreeSet<ConnectionId>,
    moves: MoveCounts,
}

/// How session moves to this process ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MoveCounts {
    /// The session is here.
    pub arrived: u64,
    /// It was refused, or could not be taken over in time.
    pub refused: u64,
}

impl Nodes {
    /// Creates a process that is not connected to its engines, of which there is at least one.
    /// Their order is the same on all nodes.
    pub fn new(host: &Arc<dyn Host>, engines: Vec<Box<dyn Engine>>, settings: Settings) -> Self {
        let node = |engine| Node::new(Arc::clone(host), engine, settings);
        Self {
            host: Arc::clone(host),
            on_engines: engines.into_iter().map(node).collect(),
            claims: BTreeMap::new(),
            unlisted: BTreeMap::new(),
            claimed: BTreeMap::new(),
            moved: ExpiringMap::new(REDIRECT_LIFETIME, MAX_MOVED),
            departures: BTreeMap::new(),
            arrivals: BTreeSet::new(),
            moves: MoveCounts::default(),
        }
    }

    /// Returns the node of each engine.
    pub fn nodes(&self) -> &[Node] {
        &self.on_engines
    }

    /// Returns the node of a room.
    pub fn node_of(&self, room: &RoomId) -> &Node {
        &self.on_engines[self.engine_of(room)]
    }

    /// Returns the index of the engine that a room is on.
    pub fn engine_of(&self, room: &RoomId) -> usize {
        choose(room.as_str().as_bytes(), self.on_engines.len())
    }

    /// Returns the index of the engine on which the session of a connection is claimed.
    pub fn home_of(&self, connection: ConnectionId) -> usize {
        choose(&connection.to_u128().to_be_bytes(), self.on_engines.len())
    }

    /// Returns the incarnation that belongs into the resume token of a session of this process.
    pub fn token_of(&self, connection: ConnectionId) -> Incarnation {
        self.on_engines[self.home_of(connection)].incarnation()
    }

    /// Returns how session moves to this process ended.
    pub fn move_counts(&self) -> MoveCounts {
        self.moves
    }

    /// Returns the number of sessions that are arriving or departing.
    pub fn moving(&self) -> usize {
        self.claims.len() + self.departures.len()
    }

    /// Returns whether a session has arrived, for [`Nodes::settle_arrivals`].
    pub fn has_arrivals(&self) -> bool {
        !self.arrivals.is_empty()
    }

    /// Reports the sessions that have arrived by [`Host::arrived`]. No signal to them may wait to be
    /// sent.
    pub fn settle_arrivals(&mut self) {
        for connection in std::mem::take(&mut self.arrivals) {
            self.host.arrived(connection);
        }
    }

    /// Calls [`Node::join`] on the engine of the room.
    pub fn join(&mut self, now: Moment, request: JoinRequest) {
        let engine = self.engine_of(&request.room);
        self.on_engines[engine].join(now, request);
        self.advance(now);
    }

    /// Calls [`Node::left`] on the engine of the room.
    pub fn left(
        &mut self,
        now: Moment,
        room: &RoomId,
        connection: ConnectionId,
        reason: LeaveReason,
    ) {
        let engine = self.engine_of(room);
        self.on_engines[engine].left(now, room, connection, reason);
        self.advance(now);
    }

    /// Calls [`Node::updated`] on the engine of the room.
    pub fn updated(
        &mut self,
        now: Moment,
        room: &RoomId,
        connection: ConnectionId,
        metadata: Metadata,
    ) {
        let engine = self.engine_of(room);
        self.on_engines[engine].updated(now, room, connection, metadata);
    }

    /// Calls [`Node::send`] on the engine of the room.
    pub fn send(&mut self, now: Moment, outgoing: OutgoingSignal) {
        let engine = self.engine_of(&outgoing.room);
        self.on_engines[engine].send(now, outgoing);
    }

    /// Tells the other nodes that a local session has lost its connection, or has one again.
    pub fn announce(&mut self, now: Moment, connection: ConnectionId, is_away: bool) {
        for room in self.rooms_of(connection) {
            let engine = self.engine_of(&room);
            self.on_engines[engine].announce(now, &room, connection, is_away);
        }
    }

    /// Tells the other nodes that a local peer of a room is away, or back.
    pub fn announce_in(
        &mut self,
        now: Moment,
        room: &RoomId,
        connection: ConnectionId,
        is_away: bool,
    ) {
        let engine = self.engine_of(room);
        self.on_engines[engine].announce(now, room, connection, is_away);
    }

    /// Calls [`Node::leave_all`] on all engines.
    pub fn leave_all(&mut self, now: Moment, reason: LeaveReason) {
        self.on_engines.iter_mut().for_each(|node| node.leave_all(now, reason));
        self.advance(now);
    }

    /// Returns whether no call and no join is unanswered.
    pub fn is_idle(&self) -> bool {
        self.departures.is_empty() && self.on_engines.iter().all(Node::is_idle)
    }

    /// Calls [`Node::drained`] on all engines.
    pub fn drained(&mut self, now: Moment, connection: ConnectionId) {
        self.on_engines.iter_mut().for_each(|node| node.drained(now, connection));
    }

    /// Calls [`Node::kick`] on the engine of the room.
    pub fn kick(
        &mut self,
        now: Moment,
        holder: Incarnation,
        room: RoomId,
        connection: ConnectionId,
        id: u64,
    ) {
        let engine = self.engine_of(&room);
        self.on_engines[engine].kick(now, holder, room, connection, id);
    }

    /// Calls [`Node::connected`] on one engine.
    pub fn connected(&mut self, now: Moment, engine: usize) {
        self.on_engines[engine].connected(now);
        self.advance(now);
    }

    /// Calls [`Node::disconnected`] on one engine.
    pub fn disconnected(&mut self, now: Moment, engine: usize) {
        self.on_engines[engine].disconnected(now);
        self.advance(now);
    }

    /// Calls [`Node::replied`] on one engine.
    pub fn replied(&mut self, now: Moment, engine: usize, id: CallId, reply: ScriptReply) {
        self.on_engines[engine].replied(now, id, reply);
        self.advance(now);
    }

    /// Calls [`Node::published`] on one engine.
    pub fn published(&mut self, now: Moment, engine: usize, to: Incarnation, number: u64) {
        self.on_engines[engine].published(now, to, number);
    }

    /// Calls [`Node::received`] on one engine.
    pub fn received(&mut self, now: Moment, engine: usize, message: &[u8]) {
        self.on_engines[engine].received(now, message);
        self.advance(now);
    }

    /// Calls [`Node::tick`] on all engines, and refuses claims that are overdue.
    pub fn tick(&mut self, now: Moment) {
        self.on_engines.iter_mut().for_each(|node| node.tick(now));
        self.moved.prune(now.instant);
        let is_overdue = |claim: &Claim| claim.is_overdue(now.instant);
        let overdue = self
            .claims
            .iter()
            .filter(|(_, claim)| is_overdue(claim))
            .map(|(connection, _)| *connection);
        for connection in overdue.collect::<Vec<_>>() {
            self.refuse(now, connection);
        }
        self.ask_others(now);
        self.advance(now);
    }

    /// Claims the session of another node for a client that resumes it here. `from` is that of its
    /// resume token, and `request` is what [`Host::claimed`] of that node checks. Reported by
    /// [`Host::resumed`] or [`Host::refused`]; returns `false` if the claim is refused at once.
    pub fn claim(
        &mut self,
        now: Moment,
        connection: ConnectionId,
        from: Incarnation,
        request: Bytes,
    ) -> bool {
        let engine = self.home_of(connection);
        let node = &self.on_engines[engine];
        // It may have moved on from this node since the client got its resume token.
        let from = self.moved_to(connection).unwrap_or(NodeAt { engine, node: from });
        if from.node == node.incarnation() {
            return false;
        }
        if from.engine != engine || !node.is_ready() || self.claims.contains_key(&connection) {
            self.moves.refused += 1;
            return false;
        }
        self.on_engines.iter_mut().for_each(|node| node.hold_for_claim(now, connection));
        self.claims.insert(connection, Claim::new(now.instant, request));
        self.unlisted.insert(connection, from);
        self.advance(now);
        true
    }
}

/// Chooses one of some engines by a hash (FNV-1a), the same on all nodes and in all versions.
pub(super) fn choose(bytes: &[u8], count: usize) -> usize {
    if count < 2 {
        return 0;
    }
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    usize::try_from(hash % u64::try_from(count).unwrap_or(1)).unwrap_or_default()
}
