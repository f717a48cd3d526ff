//! The cluster as sessions call it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::Node;
use super::node::{Counters, JoinRequest, OutgoingSignal};
use crate::clock::Moment;
use crate::id::{ConnectionId, RoomId};
use crate::room::{FoundBy, LeaveReason, Metadata, Signal};

/// Actions of local peers that other nodes are to learn of, in order.
enum Outgoing {
    Join(JoinRequest),
    Left {
        room: RoomId,
        connection: ConnectionId,
        reason: LeaveReason,
    },
    /// The peer that leaves next has hung up.
    HungUp {
        room: RoomId,
    },
    Updated {
        room: RoomId,
        connection: ConnectionId,
        metadata: Metadata,
    },
    Signal(OutgoingSignal),
    Presence {
        room: RoomId,
        connection: ConnectionId,
        is_away: bool,
    },
}

/// The node of one engine.
///
/// Locks, in the order in which they are taken: the node, then rooms, then `outgoing`. What is done under a room's lock only
/// adds to `outgoing`, which every call to the node empties first.
struct Slot {
    node: Mutex<Option<Node>>,
    outgoing: Mutex<VecDeque<Outgoing>>,
    /// Wakes the task of the engine, which empties `outgoing`.
    wake: Box<dyn Fn() + Send + Sync>,
}

/// This process as a part of the cluster: a node for each engine. Rooms are spread over the engines by their ids.
pub struct Cluster {
    slots: Vec<Slot>,
    clock: fn() -> Moment,
}

/// The state of the node of one engine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Status {
    /// Whether it is connected, and agrees with the engine about all rooms.
    pub is_ready: bool,
    /// How long it has not been.
    pub away: Duration,
    /// Number of living nodes, with this one, as the engine last listed them.
    pub nodes: usize,
    /// Peers that this node has admitted alone.
    pub alone: usize,
    /// Bytes that wait to be written.
    pub queued_bytes: usize,
    /// Bytes of frames that are kept to be sent again.
    pub kept_bytes: usize,
    /// Events since the start.
    pub counters: Counters,
}

impl Cluster {
    /// Creates the cluster of nodes, one for each engine in the order of the settings, each with a function that wakes the
    /// task of its engine.
    pub fn new(nodes: Vec<(Node, Box<dyn Fn() + Send + Sync>)>, clock: fn() -> Moment) -> Arc<Self> {
        let slot = |(node, wake)| Slot { node: Mutex::new(Some(node)), outgoing: Mutex::default(), wake };
        Arc::new(Self { slots: nodes.into_iter().map(slot).collect(), clock })
    }

    /// Returns the number of engines.
    pub fn engines(&self) -> usize {
        self.slots.len()
    }

    /// Returns the number of the engine that has a room.
    pub fn engine_of(&self, room: &RoomId) -> usize {
        let hash = room
            .as_str()
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        let count = u64::try_from(self.slots.len()).unwrap_or(1);
        usize::try_from(hash % count).unwrap_or_default()
    }

    /// Reports something to the node of an engine.
    pub fn report(&self, engine: usize, report: impl FnOnce(&mut Node, Moment)) {
        let slot = &self.slots[engine];
        let mut node = slot.node.lock();
        let Some(node) = node.as_mut() else {
            slot.outgoing.lock().clear();
            return;
        };
        let now = (self.clock)();
        slot.empty(node, now);
        report(node, now);
        // What a report delivers may be for other nodes: signals that waited for a peer of another node.
        slot.empty(node, now);
        node.refuse_claims(now);
    }

    /// Sends the queued actions in `outgoing`.
    pub fn flush(&self, engine: usize) {
        if !self.slots[engine].outgoing.lock().is_empty() {
            self.report(engine, |_, _| {});
        }
    }

    /// Executes the actions that are due.
    pub fn tick(&self, engine: usize) {
        self.report(engine, Node::tick);
    }

    fn add(&self, room: &RoomId, outgoing: Outgoing) {
        let slot = &self.slots[self.engine_of(room)];
        slot.outgoing.lock().push_back(outgoing);
        (slot.wake)();
    }

    /// Requests the join of a peer; see [`Node::join`].
    pub fn join(&self, request: JoinRequest) {
        self.add(&request.room.clone(), Outgoing::Join(request));
    }

    /// Reports that a peer has left a room of this node. Peers of other nodes are ignored.
    pub fn left(&self, room: &RoomId, connection: ConnectionId, mut reason: LeaveReason) {
        let slot = &self.slots[self.engine_of(room)];
        {
            let mut outgoing = slot.outgoing.lock();
            if outgoing.pop_back_if(|last| matches!(last, Outgoing::HungUp { room: last } if last == room)).is_some() {
                reason = LeaveReason::HungUp;
            }
            outgoing.push_back(Outgoing::Left { room: room.clone(), connection, reason });
        }
        (slot.wake)();
    }

    /// Reports that the peer that leaves a room next has hung up. The room is locked.
    pub fn hung_up(&self, room: &RoomId) {
        self.slots[self.engine_of(room)].outgoing.lock().push_back(Outgoing::HungUp { room: room.clone() });
    }

    /// Reports changed metadata of a peer of this node.
    pub fn updated(&self, room: &RoomId, connection: ConnectionId, metadata: &Metadata) {
        self.add(room, Outgoing::Updated { room: room.clone(), connection, metadata: metadata.clone() });
    }

    /// Sends a signal to a peer of another node. The room may be locked.
    pub fn send(&self, room: &RoomId, from: ConnectionId, to: ConnectionId, found_by: FoundBy, signal: &Arc<Signal>) {
        let slot = &self.slots[self.engine_of(room)];
        {
            let mut outgoing = slot.outgoing.lock();
            if let Some(Outgoing::Signal(last)) = outgoing.back_mut()
                && Arc::ptr_eq(&last.signal, signal)
            {
                last.to.push(to);
                return;
            }
            let (room, signal) = (room.clone(), Arc::clone(signal));
            outgoing.push_back(Outgoing::Signal(OutgoingSignal { room, from, to: vec![to], found_by, signal }));
        }
        (slot.wake)();
    }

    /// Tells the other nodes that a peer of this node is away, or back. The room may be locked.
    pub fn announce(&self, room: &RoomId, connection: ConnectionId, is_away: bool) {
        self.add(room, Outgoing::Presence { room: room.clone(), connection, is_away });
    }

    /// Tells the cluster that all peers of this node have left.
    pub fn leave_all(&self, reason: LeaveReason) {
        for engine in 0..self.slots.len() {
            self.report(engine, |node, now| node.leave_all(now, reason));
        }
    }

    /// Returns whether nothing that this node has asked of its engines is unanswered.
    pub fn is_idle(&self) -> bool {
        self.slots.iter().all(|slot| slot.node.lock().as_ref().is_none_or(Node::is_idle))
    }

    /// Drops the nodes: nothing is reported to them any more.
    pub fn close(&self) {
        for slot in &self.slots {
            let node = slot.node.lock().take();
            drop(node);
            slot.outgoing.lock().clear();
        }
    }

    /// Returns the state of the node of an engine.
    pub fn status(&self, engine: usize) -> Status {
        let now = (self.clock)();
        let node = self.slots[engine].node.lock();
        node.as_ref().map(|node| node.status(now)).unwrap_or_default()
    }
}

impl Slot {
    fn empty(&self, node: &mut Node, now: Moment) {
        loop {
            // A statement of its own releases the queue before the node locks rooms, under which actions are queued.
            let next = self.outgoing.lock().pop_front();
            match next {
                Some(Outgoing::Join(request)) => node.join(now, request),
                Some(Outgoing::Left { room, connection, reason }) => node.left(now, &room, connection, reason),
                // Its peer was one of another node.
                Some(Outgoing::HungUp { .. }) => {}
                Some(Outgoing::Updated { room, connection, metadata }) => {
                    node.updated(now, &room, connection, metadata);
                }
                Some(Outgoing::Signal(signal)) => node.send(now, &signal),
                Some(Outgoing::Presence { room, connection, is_away }) => {
                    node.announce(now, &room, connection, is_away);
                }
                None => return,
            }
        }
    }
}
