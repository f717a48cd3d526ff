//! The cluster as sessions call it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};
use smallvec::smallvec;

use super::Nodes;
use super::frame::{MediaNotice, RemoteMediaNotice};
use super::media::{PeerMediaRequest, ServedMedia};
use super::node::{Counters, JoinRequest, OutgoingSignal};
use super::nodes::{MoveCounts, choose};
use super::record::Incarnation;
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
    Served(ServedMedia),
    Notice(RemoteMediaNotice),
    /// The last transport of a room is closed at the media server of this node.
    MediaEnded {
        room: RoomId,
    },
}

impl Outgoing {
    fn carry_out(self, nodes: &mut Nodes, now: Moment) {
        match self {
            Self::Join(request) => nodes.join(now, request),
            Self::Left { room, connection, reason } => nodes.left(now, &room, connection, reason),
            // Its peer was one of another node.
            Self::HungUp { .. } => {}
            Self::Updated { room, connection, metadata } => {
                nodes.updated(now, &room, connection, metadata);
            }
            Self::Signal(signal) => nodes.send(now, signal),
            Self::Presence { room, connection, is_away } => {
                nodes.announce_in(now, &room, connection, is_away);
            }
            Self::Served(served) => nodes.served(now, served),
            Self::Notice(notice) => nodes.send_notice(now, &notice),
            Self::MediaEnded { room } => nodes.settle_media(now, &room),
        }
    }
}

/// This process as a part of the cluster: a node on each engine. Rooms are spread over the engines
/// by their ids.
///
/// Locks, in the order in which they are taken: the nodes, then sessions and rooms, then
/// `outgoing`. What is done under the lock of a session or a room only adds to `outgoing`, which
/// every call to the nodes empties first.
pub struct Cluster {
    nodes: Mutex<Option<Nodes>>,
    outgoing: Mutex<VecDeque<Outgoing>>,
    /// Whether `outgoing` is to be emptied, for which the task of an engine was woken. A note of
    /// [`Cluster::hung_up`] alone waits for the leave that follows, or for the next tick. Changes
    /// only while `outgoing` is locked.
    is_pending: AtomicBool,
    /// Have the task of each engine empty `outgoing` soon.
    wakes: Vec<Box<dyn Fn() + Send + Sync>>,
    /// The incarnation of the node on each engine.
    incarnations: Vec<AtomicU64>,
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
    /// Creates the cluster of a process, with a function for each engine that wakes the task of it.
    pub fn new(
        nodes: Nodes,
        wakes: Vec<Box<dyn Fn() + Send + Sync>>,
        clock: fn() -> Moment,
    ) -> Arc<Self> {
        let incarnations =
            nodes.nodes().iter().map(|node| AtomicU64::new(node.incarnation().0)).collect();
        Arc::new(Self {
            nodes: Mutex::new(Some(nodes)),
            outgoing: Mutex::default(),
            is_pending: AtomicBool::new(false),
            wakes,
            incarnations,
            clock,
        })
    }

    /// Returns the number of engines.
    pub fn engines(&self) -> usize {
        self.wakes.len()
    }

    /// Returns the number of the engine that has a room.
    pub fn engine_of(&self, room: &RoomId) -> usize {
        choose(room.as_str().as_bytes(), self.engines())
    }

    /// Returns the incarnation that belongs into the resume token of a session of this process.
    pub fn token_of(&self, connection: ConnectionId) -> Incarnation {
        let home = choose(&connection.to_u128().to_be_bytes(), self.engines());
        Incarnation(self.incarnations[home].load(Ordering::Relaxed))
    }

    /// Reports something to the nodes.
    pub fn report<T>(&self, report: impl FnOnce(&mut Nodes, Moment) -> T) -> Option<T> {
        self.report_at(self.now(), report)
    }

    /// Returns the current time.
    pub fn now(&self) -> Moment {
        (self.clock)()
    }

    /// Reports something that was received at a time, which is shared by all that was received
    /// together.
    pub fn report_at<T>(
        &self,
        now: Moment,
        report: impl FnOnce(&mut Nodes, Moment) -> T,
    ) -> Option<T> {
        let mut nodes = self.nodes.lock();
        let Some(nodes) = nodes.as_mut() else {
            self.clear();
            return None;
        };
        self.empty(nodes, now);
        let reported = report(nodes, now);
        // A report may deliver queued signals to peers of other nodes, and a session may have sent
        // signals until it was claimed.
        self.empty(nodes, now);
        nodes.proceed_with_departures(now);
        self.settle_arrivals(nodes, now);
        if nodes.decide_claims(now) {
            self.empty(nodes, now);
            nodes.proceed_with_departures(now);
        }
        for (incarnation, node) in self.incarnations.iter().zip(nodes.nodes()) {
            incarnation.store(node.incarnation().0, Ordering::Relaxed);
        }
        Some(reported)
    }

    /// Sends what waits in `outgoing`.
    pub fn flush(&self) {
        if self.is_pending.load(Ordering::Acquire) {
            self.report(|_, _| {});
        }
    }

    /// Does what is due.
    pub fn tick(&self) {
        {
            // Also a note that no leave has followed: it must not be taken for one of a later leave.
            let outgoing = self.outgoing.lock();
            self.is_pending.store(!outgoing.is_empty(), Ordering::Release);
        }
        self.report(Nodes::tick);
    }

    fn add(&self, room: &RoomId, added: Outgoing) {
        self.push(room, self.outgoing.lock(), added);
    }

    /// Adds to the queue, and has it emptied soon.
    fn push(
        &self,
        room: &RoomId,
        mut outgoing: MutexGuard<'_, VecDeque<Outgoing>>,
        added: Outgoing,
    ) {
        outgoing.push_back(added);
        let was_pending = self.is_pending.load(Ordering::Relaxed);
        self.is_pending.store(true, Ordering::Release);
        drop(outgoing);
        // The task that was woken may be without a connection, if it is not the only one.
        if !was_pending || self.engines() > 1 {
            (self.wakes[self.engine_of(room)])();
        }
    }

    fn clear(&self) {
        let mut outgoing = self.outgoing.lock();
        outgoing.clear();
        self.is_pending.store(false, Ordering::Release);
    }

    /// Asks for a place in a room; see [`Nodes::join`].
    pub fn join(&self, request: JoinRequest) {
        self.add(&request.room.clone(), Outgoing::Join(request));
    }

    /// Claims the session of another node; see [`Nodes::claim`].
    pub fn claim(&self, connection: ConnectionId, from: Incarnation, request: Bytes) -> bool {
        self.report(|nodes, now| nodes.claim(now, connection, from, request)).unwrap_or_default()
    }

    /// Returns whether a session has moved on from this node.
    pub fn has_moved_on(&self, connection: ConnectionId) -> bool {
        self.report(|nodes, _| nodes.moved_to(connection).is_some()).unwrap_or_default()
    }

    /// Asks another node to remove a peer of it; see [`Nodes::kick`].
    pub fn kick(&self, holder: Incarnation, room: &RoomId, connection: ConnectionId, id: u64) {
        self.report(|nodes, now| nodes.kick(now, holder, room.clone(), connection, id));
    }

    /// Tells that the send queue of a local peer is below its high-water mark again; see
    /// [`Host::watch_congestion`](super::Host::watch_congestion).
    pub fn drained(&self, connection: ConnectionId) {
        self.report(|nodes, now| nodes.drained(now, connection));
    }

    /// Returns whether an incarnation is that of this process, on the engine of a room.
    pub fn is_own(&self, holder: Incarnation, room: &RoomId) -> bool {
        self.incarnations[self.engine_of(room)].load(Ordering::Relaxed) == holder.0
    }

    /// Tells that a peer has left a room, which the rooms of this node know already. Peers of other
    /// nodes are ignored.
    pub fn left(&self, room: &RoomId, connection: ConnectionId, mut reason: LeaveReason) {
        let mut outgoing = self.outgoing.lock();
        let has_hung_up =
            |last: &mut Outgoing| matches!(last, Outgoing::HungUp { room: last } if last == room);
        if outgoing.pop_back_if(has_hung_up).is_some() {
            reason = LeaveReason::HungUp;
        }
        self.push(room, outgoing, Outgoing::Left { room: room.clone(), connection, reason });
    }

    /// Tells that the peer that leaves a room next has hung up. The room is locked.
    pub fn hung_up(&self, room: &RoomId) {
        self.outgoing.lock().push_back(Outgoing::HungUp { room: room.clone() });
    }

    /// Tells that a peer has other metadata, which the rooms of this node know already.
    pub fn updated(&self, room: &RoomId, connection: ConnectionId, metadata: &Metadata) {
        self.add(
            room,
            Outgoing::Updated { room: room.clone(), connection, metadata: metadata.clone() },
        );
    }

    /// Sends a signal to a peer of another node. The room may be locked. If `find` finds the session
    /// of the peer, which has moved to this node in this moment, nothing is sent, and it is returned.
    pub fn send<T>(
        &self,
        room: &RoomId,
        from: ConnectionId,
        to: ConnectionId,
        found_by: FoundBy,
        signal: &Arc<Signal>,
        find: impl FnOnce() -> Option<T>,
    ) -> Option<T> {
        let mut outgoing = self.outgoing.lock();
        let found = find();
        if found.is_some() {
            return found;
        }
        if let Some(Outgoing::Signal(last)) = outgoing.back_mut()
            && Arc::ptr_eq(&last.signal, signal)
        {
            last.to.push(to);
            return None;
        }
        let (to, signal) = (smallvec![to], Arc::clone(signal));
        let sent = OutgoingSignal { room: room.clone(), from, to, found_by, signal };
        self.push(room, outgoing, Outgoing::Signal(sent));
        None
    }

    /// Tells the other nodes that a peer of this node is away, or back. The room may be locked.
    pub fn announce(&self, room: &RoomId, connection: ConnectionId, is_away: bool) {
        self.add(room, Outgoing::Presence { room: room.clone(), connection, is_away });
    }

    /// Takes a request of a local peer to the media server of its room; see
    /// [`Nodes::request_media`]. Returns `false` if this process has left the cluster.
    pub fn request_media(&self, request: PeerMediaRequest) -> bool {
        self.report(|nodes, now| nodes.request_media(now, request)).is_some()
    }

    /// Tells that the media server of this node has answered a request, or dropped it.
    pub fn served(&self, served: ServedMedia) {
        self.add(&served.room.clone(), Outgoing::Served(served));
    }

    /// Sends a notice of the media server of this node to a peer of another one. The room may be
    /// locked.
    pub fn notify(&self, room: &RoomId, to: ConnectionId, notice: &Arc<MediaNotice>) {
        let mut outgoing = self.outgoing.lock();
        if let Some(Outgoing::Notice(last)) = outgoing.back_mut()
            && Arc::ptr_eq(&last.notice, notice)
        {
            last.to.push(to);
            return;
        }
        let notice = RemoteMediaNotice { room: room.clone(), to: vec![to], notice: notice.clone() };
        self.push(room, outgoing, Outgoing::Notice(notice));
    }

    /// Tells that no transport of a room is left at the media server of this node.
    pub fn media_ended(&self, room: &RoomId) {
        self.add(room, Outgoing::MediaEnded { room: room.clone() });
    }

    /// Returns the rooms whose media is on this node.
    pub fn media_rooms(&self) -> Vec<RoomId> {
        self.report(|nodes, _| nodes.media_rooms()).unwrap_or_default()
    }

    /// Ends the media of a room on this node; see [`Nodes::release_media`].
    pub fn release_media(&self, room: &RoomId) {
        self.report(|nodes, now| nodes.release_media(now, room));
    }

    /// Tells the cluster that all peers of this node have left.
    pub fn leave_all(&self, reason: LeaveReason) {
        self.report(|nodes, now| nodes.leave_all(now, reason));
    }

    /// Returns whether nothing that this node has asked of its engines is unanswered.
    pub fn is_idle(&self) -> bool {
        !self.is_pending.load(Ordering::Acquire)
            && self.nodes.lock().as_ref().is_none_or(Nodes::is_idle)
    }

    /// Drops the nodes: nothing is reported to them any more.
    pub fn close(&self) {
        let nodes = self.nodes.lock().take();
        drop(nodes);
        self.clear();
    }

    /// Returns the state of the node of an engine.
    pub fn status(&self, engine: usize) -> Status {
        let now = (self.clock)();
        let nodes = self.nodes.lock();
        nodes.as_ref().map(|nodes| nodes.nodes()[engine].status(now)).unwrap_or_default()
    }

    /// Returns how session moves to this process ended.
    pub fn move_counts(&self) -> MoveCounts {
        self.nodes.lock().as_ref().map(Nodes::move_counts).unwrap_or_default()
    }

    /// Ends the arrivals of sessions that have moved to this process, at a moment at which no signal
    /// to them waits in `outgoing`: later ones are delivered directly, and must not overtake it.
    fn settle_arrivals(&self, nodes: &mut Nodes, now: Moment) {
        while nodes.has_arrivals() {
            self.empty(nodes, now);
            let _outgoing = self.outgoing.lock();
            if !self.is_pending.load(Ordering::Relaxed) {
                nodes.settle_arrivals();
            }
        }
    }

    fn empty(&self, nodes: &mut Nodes, now: Moment) {
        if !self.is_pending.load(Ordering::Acquire) {
            return;
        }
        let mut batch = VecDeque::new();
        loop {
            {
                let mut outgoing = self.outgoing.lock();
                if !self.is_pending.load(Ordering::Relaxed) {
                    if outgoing.is_empty() {
                        // Keeps its capacity.
                        *outgoing = batch;
                    }
                    return;
                }
                self.is_pending.store(false, Ordering::Release);
                std::mem::swap(&mut *outgoing, &mut batch);
            }
            // Not locked: the nodes lock rooms, under which others add to the queue.
            batch.drain(..).for_each(|next| next.carry_out(nodes, now));
        }
    }
}
