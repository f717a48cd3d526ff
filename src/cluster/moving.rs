//! The state of session moves. A client may resume its session on any node, and the session moves
//! there:
//!
//! 1. The node that the client has reached *claims* the session from the node that has it
//!    ([`Claim`]).
//! 2. That node asks every node with a peer in the rooms of the session to *hold* signals to it
//!    ([`Departure`], [`Hold`]).
//! 3. When all of them hold, no signal to the session is on its way any more, and its replay buffer
//!    is complete. The node hands the session over, and has no such connection any more.
//! 4. The claiming node takes over the membership of each room. The log of the rooms tells all
//!    nodes, which release what they hold to the new node.
//!
//! Pure: no clock and no socket. [`Nodes`](super::Nodes) carries the steps out.
//!
//! Every wait is bounded. If the node that has the session does not answer, the claim is refused
//! and the client joins afresh; if the claiming node does not take a session that was handed over,
//! the node that had it removes its peer.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::frame::{Handover, RemoteMediaNotice, RemoteSignal};
use super::record::Incarnation;
use crate::id::{ConnectionId, RoomId};

/// How long a client waits for the node that has its session.
const CLAIM_TIMEOUT: Duration = Duration::from_secs(2);

/// How long the node that a claim names may take before all other nodes are asked, too: if it is
/// gone, the session may have moved on before.
const ASK_ALL_AFTER: Duration = Duration::from_secs(1);

/// How many nodes are asked for a session one after the other, each named by the one before.
const MAX_REDIRECTS: u32 = 6;

/// How long the node that has a session waits until all nodes hold. Shorter than [`CLAIM_TIMEOUT`],
/// so that no session is handed over to a node that has just given up.
const HOLD_TIMEOUT: Duration = Duration::from_millis(1500);

/// How long the claiming node waits for the log, after the handover.
const TAKE_TIMEOUT: Duration = Duration::from_secs(4);

/// How long a handed over session may remain untaken before its peer is removed.
const UNTAKEN_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a node holds signals without learning where the session is.
const HOLD_LIFETIME: Duration = Duration::from_secs(4);

/// Maximum number of signals that are held for one connection.
pub const MAX_HELD: usize = 256;

/// A node, on one of the engines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct NodeAt {
    /// Index of the engine.
    pub engine: usize,
    /// The node, as this engine knows it.
    pub node: Incarnation,
}

/// Signals of local peers, and notices of the media server, to a connection whose session is moving.
#[derive(Debug)]
pub struct Hold {
    since: Instant,
    /// The rooms whose logs do not state yet where the session is.
    rooms: BTreeSet<RoomId>,
    /// Whether the session is claimed by this node. Such a hold ends with the claim.
    pub is_claim: bool,
    signals: Vec<RemoteSignal>,
    notices: Vec<RemoteMediaNotice>,
}

impl Hold {
    /// Begins to hold signals.
    pub fn new(now: Instant) -> Self {
        Self {
            since: now,
            rooms: BTreeSet::new(),
            is_claim: false,
            signals: Vec::new(),
            notices: Vec::new(),
        }
    }

    /// Notes that the session is about to move, with some rooms.
    pub fn renew(&mut self, now: Instant, rooms: impl IntoIterator<Item = RoomId>) {
        self.since = now;
        self.rooms.extend(rooms);
    }

    /// Notes that the log says where the session is in a room. Returns whether the logs of all
    /// rooms do, so that the hold is over.
    pub fn settle(&mut self, room: &RoomId) -> bool {
        self.rooms.remove(room);
        self.rooms.is_empty() && !self.is_claim
    }

    /// Holds a signal, which has one recipient. Returns whether there was space for it.
    pub fn push(&mut self, signal: RemoteSignal) -> bool {
        let has_space = self.signals.len() < MAX_HELD;
        if has_space {
            self.signals.push(signal);
        }
        has_space
    }

    /// Holds a notice of the media server, which has one recipient. Beyond the limit it is dropped.
    pub fn push_notice(&mut self, notice: RemoteMediaNotice) {
        if self.notices.len() < MAX_HELD {
            self.notices.push(notice);
        }
    }

    /// Takes out the notices, in the order in which they were sent.
    pub fn take_notices(&mut self) -> Vec<RemoteMediaNotice> {
        std::mem::take(&mut self.notices)
    }

    /// Takes out the signals of a sender, whose own session is moving.
    pub fn take_from(&mut self, sender: ConnectionId) -> Vec<RemoteSignal> {
        let (taken, kept) = std::mem::take(&mut self.signals)
            .into_iter()
            .partition(|s| s.from.connection == sender);
        self.signals = kept;
        taken
    }

    /// Returns whether the session has taken too long to move.
    pub fn is_over(&self, now: Instant) -> bool {
        !self.is_claim && now.duration_since(self.since) >= HOLD_LIFETIME
    }

    /// Ends the hold, and returns the signals in the order in which they were sent.
    pub fn release(self) -> Vec<RemoteSignal> {
        self.signals
    }
}

/// A session that is leaving this node.
#[derive(Debug)]
pub struct Departure {
    to: NodeAt,
    since: Instant,
    asked: BTreeSet<NodeAt>,
    holding: BTreeSet<NodeAt>,
    handed_over: Option<HandedOver>,
}

#[derive(Debug)]
struct HandedOver {
    since: Instant,
    /// The rooms that the claiming node has not taken over yet.
    rooms: BTreeSet<RoomId>,
}

/// The next step of a departure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DepartureStep {
    /// Wait, having asked these nodes to hold.
    Ask(Vec<NodeAt>),
    /// Hand the session over: all nodes hold.
    HandOver,
    /// Refuse the claim and keep the session: a node has not answered in time.
    GiveUp,
    /// Wait for the log.
    Wait,
    /// Remove the peer of the session from these rooms: it was not taken over in time.
    Remove(Vec<RoomId>),
}

impl Departure {
    /// Begins a departure to a node.
    pub fn new(now: Instant, to: NodeAt) -> Self {
        Self { to, since: now, asked: BTreeSet::new(), holding: BTreeSet::new(), handed_over: None }
    }

    /// Returns the node that claims the session.
    pub fn to(&self) -> NodeAt {
        self.to
    }

    /// Returns whether the session was handed over.
    pub fn is_handed_over(&self) -> bool {
        self.handed_over.is_some()
    }

    /// Notes that a node holds.
    pub fn holds(&mut self, node: NodeAt) {
        if self.asked.contains(&node) {
            self.holding.insert(node);
        }
    }

    /// Returns what to do now, with the nodes that have peers in the rooms of the session now, or
    /// `None` if this node does not know. Nodes that enter a room meanwhile are asked, too.
    pub fn step(&mut self, now: Instant, present: Option<&BTreeSet<NodeAt>>) -> DepartureStep {
        if let Some(handed_over) = &mut self.handed_over {
            if now.duration_since(handed_over.since) >= UNTAKEN_TIMEOUT {
                handed_over.since = now;
                return DepartureStep::Remove(handed_over.rooms.iter().cloned().collect());
            }
            // Signals of a node that enters a room now are refused here: it is to hold them.
            let new = self.ask(present);
            return if new.is_empty() { DepartureStep::Wait } else { DepartureStep::Ask(new) };
        }
        if present.is_some_and(|present| present.is_subset(&self.holding)) {
            return DepartureStep::HandOver;
        }
        if now.duration_since(self.since) >= HOLD_TIMEOUT {
            return DepartureStep::GiveUp;
        }
        DepartureStep::Ask(self.ask(present))
    }

    /// Returns the nodes that were not asked yet, which are now.
    fn ask(&mut self, present: Option<&BTreeSet<NodeAt>>) -> Vec<NodeAt> {
        let new: Vec<NodeAt> =
            present.into_iter().flatten().filter(|at| !self.asked.contains(at)).copied().collect();
        self.asked.extend(&new);
        new
    }

    /// Returns the rooms that the claiming node has not taken over yet, if the session was handed
    /// over.
    pub fn untaken(&self) -> Option<&BTreeSet<RoomId>> {
        self.handed_over.as_ref().map(|handed_over| &handed_over.rooms)
    }

    /// Notes that the session was handed over, with its rooms.
    pub fn hand_over(&mut self, now: Instant, rooms: BTreeSet<RoomId>) {
        self.handed_over = Some(HandedOver { since: now, rooms });
    }

    /// Notes that the log says where the peer of a room is now. Returns whether this was the last
    /// room.
    pub fn settle(&mut self, room: &RoomId) -> bool {
        self.handed_over.as_mut().is_some_and(|handed_over| {
            handed_over.rooms.remove(room);
            handed_over.rooms.is_empty()
        })
    }
}

/// A session that this node claims for a client.
#[derive(Debug)]
pub struct Claim {
    /// Contents that the node with the session checks.
    request: Bytes,
    /// The nodes that have not answered.
    asked: BTreeSet<NodeAt>,
    has_asked_all: bool,
    redirects: u32,
    since: Instant,
    taking: Option<Taking>,
}

/// The next step of a claim that a node has refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClaimStep {
    /// Ask this node.
    Ask(NodeAt),
    /// Wait for another node.
    Wait,
    /// No node has the session.
    GiveUp,
    /// The session has moved on too often while it was followed.
    MovesOn,
}

#[derive(Debug)]
struct Taking {
    /// The rooms that the log has not given to this node yet.
    rooms: BTreeSet<RoomId>,
    handover: Handover,
}

impl Claim {
    /// Begins a claim of a session, with a request that the node that has it checks.
    pub fn new(now: Instant, request: Bytes) -> Self {
        Self {
            request,
            asked: BTreeSet::new(),
            has_asked_all: false,
            redirects: 0,
            since: now,
            taking: None,
        }
    }

    /// Returns the request.
    pub fn request(&self) -> &Bytes {
        &self.request
    }

    /// Notes that these nodes are asked.
    pub fn ask(&mut self, nodes: impl IntoIterator<Item = NodeAt>) {
        self.asked.extend(nodes);
    }

    /// Awaits no answer of a node, which is gone.
    pub fn forget(&mut self, node: NodeAt) {
        self.asked.remove(&node);
    }

    /// Returns whether all nodes were asked, and none has handed the session over.
    pub fn is_searching(&self) -> bool {
        self.has_asked_all && self.taking.is_none()
    }

    /// Returns whether a node was asked that has not answered.
    pub fn has_asked(&self) -> bool {
        !self.asked.is_empty()
    }

    /// Returns whether to ask all nodes, now that none has answered for some time, or if `is_gone`
    /// at once. Returns true once.
    pub fn asks_all(&mut self, now: Instant, is_gone: bool) -> bool {
        let is_slow = now.duration_since(self.since) >= ASK_ALL_AFTER;
        let asks = (is_gone || is_slow) && self.taking.is_none() && !self.has_asked_all;
        self.has_asked_all |= asks;
        asks
    }

    /// Returns whether an answer of this node counts: it was asked, and no node has handed the
    /// session over.
    pub fn is_asked(&self, node: NodeAt) -> bool {
        self.asked.contains(&node) && self.taking.is_none()
    }

    /// Notes that a node does not have the session, and knows perhaps which node has it.
    pub fn refused(&mut self, now: Instant, node: NodeAt, holder: Option<NodeAt>) -> ClaimStep {
        if !self.is_asked(node) {
            return ClaimStep::Wait;
        }
        self.asked.remove(&node);
        let holder = holder.filter(|holder| !self.asked.contains(holder));
        if let Some(holder) = holder.filter(|_| self.redirects < MAX_REDIRECTS) {
            self.redirects += 1;
            self.since = now;
            self.asked.insert(holder);
            return ClaimStep::Ask(holder);
        }
        match holder {
            _ if !self.asked.is_empty() => ClaimStep::Wait,
            Some(_) => ClaimStep::MovesOn,
            None => ClaimStep::GiveUp,
        }
    }

    /// Returns when the present step began.
    pub fn since(&self) -> Instant {
        self.since
    }

    /// Notes that the session was handed over.
    pub fn hand_over(&mut self, now: Instant, handover: Handover) {
        self.since = now;
        let rooms = handover.rooms.iter().map(|room| room.known.room().clone()).collect();
        self.taking = Some(Taking { rooms, handover });
    }

    /// Notes that the log has given a room to this node. Returns whether it has given all.
    pub fn take(&mut self, room: &RoomId) -> bool {
        self.taking.as_mut().is_some_and(|taking| {
            taking.rooms.remove(room);
            taking.rooms.is_empty()
        })
    }

    /// Returns whether the other node, or the log, has not answered in time.
    pub fn is_overdue(&self, now: Instant) -> bool {
        // A session that has moved may be just arriving at the node that is asked.
        let is_arriving = self.taking.is_some() || self.redirects > 0;
        let limit = if is_arriving { TAKE_TIMEOUT } else { CLAIM_TIMEOUT };
        now.duration_since(self.since) >= limit
    }

    /// Returns the session that was handed over.
    pub fn handover(&self) -> Option<&Handover> {
        self.taking.as_ref().map(|taking| &taking.handover)
    }

    /// Ends the claim, and returns the session that was handed over.
    pub fn into_handover(self) -> Option<Handover> {
        self.taking.map(|taking| taking.handover)
    }
}
