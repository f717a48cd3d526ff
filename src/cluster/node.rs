//! One node's part in the cluster, for one engine: joins, leaves and signals of its peers, and the
//! messages of the engine.
//!
//! - [`joins`]: joins, by the engine or by this node alone;
//! - [`repair`]: a new connection to the engine, from the first call until the node is ready;
//! - [`log`]: entries and snapshots, which change the replicas and the rooms of this node;
//! - [`frames`]: frames to and from other nodes, of which most are signals;
//! - [`links`]: the numbered links that carry frames;
//! - [`moves`]: sessions that arrive from other nodes, depart to them, or move between them;
//! - [`announcements`]: which peers of this node have been away or back, for nodes that learn of it
//!   late;
//! - [`evictions`]: joins to full pair sessions with a silent peer;
//! - [`congestion`]: backpressure for senders on other nodes;
//! - [`audit`]: comparisons of the replicas with the engine;
//! - [`media`] and [`media_notices`]: the node with the media of a room, requests to it, its notices;
//! - [`lost_signals`]: signals for nodes that have died, and for sessions that have left these before;
//! - [`lease`]: beats, the removal of dead nodes, and what this node does when it was declared dead
//!   itself.

mod announcements;
mod audit;
mod congestion;
mod evictions;
mod frames;
mod joins;
mod lease;
mod links;
mod log;
mod lost_signals;
mod media;
mod media_notices;
mod move_event;
mod moves;
mod repair;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use self::announcements::Announcements;
use self::audit::Audits;
use self::congestion::Congestion;
use self::evictions::Evictions;
pub use self::frames::OutgoingSignal;
use self::joins::Waiting;
pub use self::joins::{JoinRequest, PROVISIONAL};
use self::lease::Beat;
use self::media::MediaRequests;
pub use self::move_event::MoveEvent;
use self::moves::Moves;
use self::repair::Phase;
pub use self::repair::ReconnectReason;
use super::expiring_map::ExpiringMap;
use super::frame::{Body, LogEntry};
use super::link::{ReceivingLink, SendingLink};
use super::node_list::NodeList;
use super::record::{Incarnation, Member, Membership, Nonce};
use super::replica::Replica;
use super::script::{Call, CallId, Refusal, ScriptReply};
use super::{Engine, Host, Status};
use crate::clock::Moment;
use crate::id::{ConnectionId, RoomId};
use crate::room::{Answer, Applied, Command, Event, LeaveReason, Metadata, MetadataPatch};

/// How long signals may be on their way to a session that has departed.
const MOVED_ON_LIFETIME: Duration = Duration::from_secs(15);

/// Maximum number of departed sessions to remember.
const MAX_MOVED_ON: usize = 65_536;

/// The time limits of a node.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// A node whose last beat is older is dead.
    pub lease: Duration,
    /// Maximum size of the frames that are kept to be sent again, in bytes.
    pub kept_bytes: usize,
}

/// Events of a node since it started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Connections to the engine that were made.
    pub connects: u64,
    /// Those that replaced another, by the number of the reason.
    pub reconnects: [u64; ReconnectReason::ALL.len()],
    /// Times that this node was declared dead.
    pub fenced: u64,
    /// Dead nodes that this node began to remove.
    pub reaped: u64,
    /// Joins that this node admitted alone.
    pub provisional: u64,
    /// Frames that were published again.
    pub resent: u64,
    /// Frames that arrived again.
    pub repeated: u64,
    /// Gaps between frames that could not be filled.
    pub gaps: u64,
    /// Signals that were returned to their senders because the recipient was not in the room.
    pub not_found: u64,
    /// Signals that were returned to their senders because they could not be delivered in time.
    pub not_delivered: u64,
    /// Members that a new connection to the engine showed to be out of a room.
    pub repairs: u64,
    /// Replicas that an audit found to differ from the engine.
    pub differing: u64,
    /// Members of dead nodes that an audit found in rooms.
    pub ghosts: u64,
    /// Messages that could not be decoded.
    pub malformed: u64,
    /// Sessions that were handed over to other nodes.
    pub departed: u64,
}

/// A node, as one engine knows it.
pub struct Node {
    host: Arc<dyn Host>,
    engine: Box<dyn Engine>,
    settings: Settings,
    me: Incarnation,
    generation: u64,
    epoch: Option<u64>,
    phase: Phase,
    calls: BTreeMap<CallId, (Call, Instant)>,
    last_call: CallId,
    replicas: BTreeMap<RoomId, Replica>,
    joins: BTreeMap<(RoomId, ConnectionId), Waiting>,
    /// Rooms of which the engine may count a member that this node does not have: they are synced
    /// with the next connection.
    unsettled: BTreeSet<RoomId>,
    /// Leaves that the engine has not answered.
    leaves: BTreeSet<(RoomId, ConnectionId)>,
    outgoing: BTreeMap<Incarnation, SendingLink>,
    /// Bytes of the frames that all outgoing links keep.
    kept_bytes: usize,
    incoming: BTreeMap<Incarnation, ReceivingLink>,
    /// Log entries of rooms whose syncs are not answered yet.
    before_sync: BTreeMap<RoomId, Vec<LogEntry>>,
    /// Frames that were received while rooms were being synced. They count as received: they
    /// outlive a lost connection.
    aside: VecDeque<(Incarnation, u64, Body)>,
    moves: Moves,
    /// The members whose sessions have departed lately, and the nodes that they have moved to.
    moved_on: ExpiringMap<(RoomId, ConnectionId), Option<Incarnation>>,
    announcements: Announcements,
    congestion: Congestion,
    evictions: Evictions,
    audits: Audits,
    media: MediaRequests,
    members: NodeList,
    beat: Beat,
    /// When the last list of nodes was requested.
    listed: Option<Instant>,
    /// Since when the node has not been ready.
    away_since: Option<Instant>,
    counters: Counters,
}

impl Node {
    /// Creates a node that is not connected.
    pub fn new(host: Arc<dyn Host>, engine: Box<dyn Engine>, settings: Settings) -> Self {
        let me = Incarnation(host.random());
        Self {
            host,
            engine,
            settings,
            me,
            generation: 0,
            epoch: None,
            phase: Phase::Away { retry_at: None, attempts: 0, why: None },
            calls: BTreeMap::new(),
            last_call: 0,
            replicas: BTreeMap::new(),
            joins: BTreeMap::new(),
            unsettled: BTreeSet::new(),
            leaves: BTreeSet::new(),
            outgoing: BTreeMap::new(),
            kept_bytes: 0,
            incoming: BTreeMap::new(),
            before_sync: BTreeMap::new(),
            aside: VecDeque::new(),
            moves: Moves::default(),
            moved_on: ExpiringMap::new(MOVED_ON_LIFETIME, MAX_MOVED_ON),
            announcements: Announcements::default(),
            congestion: Congestion::default(),
            evictions: Evictions::new(),
            audits: Audits::default(),
            media: MediaRequests::default(),
            members: NodeList::default(),
            beat: Beat::default(),
            listed: None,
            away_since: None,
            counters: Counters::default(),
        }
    }

    /// Returns the present incarnation.
    pub fn incarnation(&self) -> Incarnation {
        self.me
    }

    /// Returns whether the repair procedure on the present connection is complete.
    pub fn is_ready(&self) -> bool {
        matches!(self.phase, Phase::Ready)
    }

    /// Returns what has happened to this node.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Returns the replica of a room.
    pub fn replica(&self, room: &RoomId) -> Option<&Replica> {
        self.replicas.get(room)
    }

    /// Returns the rooms of which this node has replicas.
    pub fn rooms(&self) -> impl Iterator<Item = &RoomId> {
        self.replicas.keys()
    }

    /// Returns whether a node has a lease, as far as this node knows.
    pub fn is_living(&self, node: Incarnation) -> bool {
        self.members.living().contains(&node)
    }

    /// Returns the number of sessions for which signals are held, because they are moving.
    pub fn holding(&self) -> usize {
        self.moves.holding()
    }

    /// Returns the number of joins that are not answered yet.
    pub fn waiting_joins(&self) -> usize {
        self.joins.len()
    }

    /// Returns whether no call and no join is unanswered.
    pub fn is_idle(&self) -> bool {
        let is_routine = |call: &Call| matches!(call, Call::Beat | Call::Audit(_));
        self.joins.is_empty() && self.calls.values().all(|(call, _)| is_routine(call))
    }

    /// Returns the state of the node.
    pub fn status(&self, now: Moment) -> Status {
        let since = self.away_since.filter(|_| !self.is_ready());
        Status {
            is_ready: self.is_ready(),
            away: since.map_or(Duration::ZERO, |since| now.instant.duration_since(since)),
            nodes: self.members.living().len(),
            alone: self.replicas.values().map(|replica| replica.provisional.len()).sum(),
            queued_bytes: self.engine.queued_bytes(),
            kept_bytes: self.kept_bytes,
            counters: self.counters,
        }
    }

    /// Tells the cluster that all peers of this node have left, but for those whose sessions were
    /// handed over: the nodes that claim these take them over, or they leave in time.
    pub fn leave_all(&mut self, now: Moment, reason: LeaveReason) {
        let me = self.me;
        let own = self.replicas.iter().flat_map(|(room, replica)| {
            replica
                .held_by(me)
                .map(|member| (room.clone(), member.connection()))
                .collect::<Vec<_>>()
        });
        let mut own: Vec<_> = own.collect();
        own.retain(|(room, connection)| !self.moves.has_departed(room, *connection));
        for (room, connection) in own {
            self.left(now, &room, connection, reason);
        }
        for room in self.media_rooms() {
            self.release_media(now, &room);
        }
    }

    /// Tells the cluster that a peer of this node has left a room. Does nothing for a peer that the
    /// cluster does not have.
    pub fn left(
        &mut self,
        now: Moment,
        room: &RoomId,
        connection: ConnectionId,
        reason: LeaveReason,
    ) {
        let is_waiting = self.joins.remove(&(room.clone(), connection)).is_some();
        let member = self.replicas.get(room).and_then(|replica| replica.members.get(&connection));
        if !is_waiting && member.is_none_or(|member| member.holder != self.me) {
            return;
        }
        // The session layer has applied it already, unless its join was answered in this moment.
        if let Some(applied) = self.host.rooms().leave(connection, room, reason) {
            self.host.deliver(&applied, now);
        }
        if let Some(replica) = self.replicas.get_mut(room)
            && replica.members.get(&connection).is_some_and(|member| member.holder == self.me)
        {
            replica.remove(connection);
            if reason == LeaveReason::HungUp && replica.spec.is_pair {
                // The session has ended for all, which its room knows.
                self.replicas.remove(room);
            }
        }
        self.tell_left(now, room, connection, reason);
    }

    /// Tells the engine that a peer has left, now or with the next connection.
    fn tell_left(
        &mut self,
        now: Moment,
        room: &RoomId,
        connection: ConnectionId,
        reason: LeaveReason,
    ) {
        self.leaves.insert((room.clone(), connection));
        if self.can_call() {
            self.call(now.instant, Call::Leave { room: room.clone(), connection, reason });
        } else {
            self.unsettled.insert(room.clone());
        }
        self.drop_unused(now, room);
    }

    /// Tells the cluster that a peer of this node has other metadata, which the session layer has
    /// applied already.
    pub fn updated(
        &mut self,
        now: Moment,
        room: &RoomId,
        connection: ConnectionId,
        metadata: Metadata,
    ) {
        let member =
            self.replicas.get_mut(room).and_then(|replica| replica.members.get_mut(&connection));
        let Some(member) = member.filter(|member| member.holder == self.me) else { return };
        member.metadata = metadata.clone();
        let membership = member.membership;
        // If the call is not possible now, the room is synced before it is: a sync carries the
        // metadata.
        if self.can_call() {
            self.call(now.instant, Call::Update { room: room.clone(), membership, metadata });
        }
    }

    /// Reports the result of a call.
    pub fn replied(&mut self, now: Moment, id: CallId, reply: ScriptReply) {
        let Some((call, called)) = self.calls.remove(&id) else { return };
        match (call, reply) {
            (_, ScriptReply::Fenced) => self.fence(now),
            (_, ScriptReply::Stale) => self.reconnect(now, ReconnectReason::Stale),
            (Call::Hello { .. }, ScriptReply::Welcome { epoch, living }) => {
                self.welcomed(now, epoch, living);
            }
            (Call::Beat, ScriptReply::Alive { living, expired }) => {
                self.beat_answered(now, called, living, &expired);
            }
            (Call::Join(join), ScriptReply::Denied(denial)) => self.denied(now, &join, denial),
            (Call::Join(join), ScriptReply::PairFull { capacity, nodes }) => {
                self.pair_is_full(now, join, capacity, nodes);
            }
            (Call::Sync(sync), ScriptReply::Synced { record, out }) => {
                self.synced(now, &sync, record.as_ref(), &out);
            }
            (Call::Reap { dead }, ScriptReply::Reaped { is_over: false }) => {
                self.call(now.instant, Call::Reap { dead });
            }
            (Call::Audit(audit), ScriptReply::Audited { differing, next, removed }) => {
                self.audited(audit, &differing, next, removed);
            }
            (Call::Move { room, membership, .. }, ScriptReply::Denied(_)) => {
                self.not_taken(room, membership.connection);
            }
            (Call::Leave { room, connection, .. }, _) => {
                self.drop_unused(now, &room);
                self.leaves.remove(&(room, connection));
            }
            _ => {}
        }
    }

    /// Does what is due. Call it several times a second.
    pub fn tick(&mut self, now: Moment) {
        self.away_since =
            if self.is_ready() { None } else { self.away_since.or(Some(now.instant)) };
        self.tend_connection(now);
        self.reap(now);
        self.admit_provisionally(now);
        self.expire_holds(now);
        self.settle_left(now);
        self.tend_audit(now);
        self.tend_media(now);
        self.announcements.prune(now.instant);
        self.moved_on.prune(now.instant);
        self.prune_congestion();
        self.prune_links(now.instant);
        self.expire_evictions(now);
        self.kept_bytes = self.outgoing.values().map(SendingLink::bytes).sum();
    }

    fn call(&mut self, now: Instant, call: Call) {
        self.last_call += 1;
        self.engine.call(self.last_call, &call);
        self.calls.insert(self.last_call, (call, now));
    }

    /// Drops the replica of a room that the engine counts no member of this node in, and no media,
    /// and with it the members of other nodes.
    fn drop_unused(&mut self, now: Moment, room: &RoomId) {
        let is_waiting = self.joins.range((room.clone(), ConnectionId::from_u128(0))..).next();
        let is_waiting = is_waiting.is_some_and(|((waiting, _), _)| waiting == room);
        let is_unused = self.replicas.get(room).is_some_and(|replica| {
            replica.held_by(self.me).next().is_none() && replica.media != Some(self.me)
        });
        if !is_unused || is_waiting || self.moves.is_arriving_in(room) {
            return;
        }
        let Some(replica) = self.replicas.remove(room) else { return };
        let leaving: Vec<_> = replica
            .members
            .keys()
            .map(|connection| (*connection, LeaveReason::Disconnected))
            .collect();
        let applied = self.host.rooms().adopt(now, &replica.spec, &leaving, Vec::new());
        self.host.deliver(&applied, now);
    }
}

/// Removes the members from a replica that a change of the room has removed.
fn follow_departures(replica: &mut Replica, applied: &Applied) {
    for delivery in &applied.deliveries {
        if let Event::PeerLeft { peer, .. } = &delivery.event {
            replica.remove(peer.connection);
        }
    }
}

/// Returns the change to metadata that another node has made.
fn replacement(metadata: &Metadata) -> MetadataPatch {
    MetadataPatch { text: metadata.as_str().into(), merge: |_, new| new.to_owned() }
}
