//! The sessions of a node that is part of a cluster: joins that the cluster answers, and events of
//! other nodes for its peers.
//!
//! Invariant: the callbacks of [`Host`] run while the node is locked, and most of them while a room
//! is locked. They put frames into queues and answers into channels, and never call the cluster.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tracing::info;

use super::directory::Entry;
use super::fanout::Delivered;
use super::handle::{Handled, Session};
use super::hub::Hub;
use super::pending_join::{JoinAnswer, Joined, PendingJoin};
use super::state::SessionState;
use crate::clock::Moment;
use crate::cluster::node::JoinRequest;
use crate::cluster::{
    Cluster, Host, Incarnation, Queued, Refusal, Released, Resumed, SignalFailure, Undelivered,
};
use crate::dialect::{self, Failure, Frame, RequestError, WelcomeLater};
use crate::id::{ConnectionId, PeerId, RoomId};
use crate::lifecycle::Lifecycle;
use crate::metrics::MessageKind;
use crate::room::state::Room;
use crate::room::{
    Answer, Applied, Code, Command, Event, JoinBounds, LeaveReason, RemovalReason, RoomError,
    Rooms, Snapshot,
};

/// The outcome of a join.
pub enum Joining {
    /// It was answered at once.
    Now(Handled),
    /// The cluster will answer it.
    Later(Pin<Box<dyn Future<Output = Handled> + Send>>),
}

impl Session {
    /// Executes a join in a cluster; see [`Session::handle`].
    pub fn join(
        &self,
        received: Moment,
        command: Command,
        other_rooms: usize,
        welcome: WelcomeLater,
        welcome_now: impl Fn(&Snapshot) -> Option<Frame>,
    ) -> Joining {
        self.state.metrics.received(MessageKind::Join);
        self.state.settle();
        let Some(_ownership) = self.owner() else {
            return Joining::Now(Handled::refused(RoomError::ConnectionEnded.into()));
        };
        let (request, is_member) = match self.join_request(received, command.clone(), other_rooms) {
            Ok(request) => request,
            Err(error) => return Joining::Now(Handled::refused(error)),
        };
        if is_member {
            return Joining::Now(self.execute(received, command, other_rooms, welcome_now));
        }
        *self.state.joining.lock() = Some(request.room.clone());
        let (hub, state) = (Arc::clone(&self.hub), Arc::clone(&self.state));
        let answered = hub.ask_cluster(&state, request, welcome);
        Joining::Later(Box::pin(async move {
            match answered.await {
                Ok(Ok(Joined { answer, welcome_bytes, congested })) => {
                    Handled { result: Ok(answer), reached: 0, welcome_bytes, congested }
                }
                Ok(Err(refusal)) => {
                    let error = error_of(refusal).for_protocol(state.dialect.has_pair_sessions());
                    Handled::refused(error.into())
                }
                // The session has ended.
                Err(_) => Handled::refused(RoomError::ConnectionEnded.into()),
            }
        }))
    }

    /// Checks what needs no cluster. Returns whether the connection is a member already.
    fn join_request(
        &self,
        received: Moment,
        command: Command,
        other_rooms: usize,
    ) -> Result<(JoinRequest, bool), RequestError> {
        let connection = self.id();
        let (command, size) = self.authorize(command, received.time)?;
        let Command::Join { room, peer, metadata, kind } = command else {
            return Err(RequestError::Internal);
        };
        let rooms = self.hub.rooms();
        let is_member =
            rooms.check_join(connection, &room, peer.as_ref(), &metadata, other_rooms)?;
        let peer = peer.unwrap_or_else(|| PeerId::from(connection));
        let bounds = JoinBounds { size, other_rooms };
        Ok((JoinRequest { room, connection, peer, metadata, kind, bounds }, is_member))
    }
}

impl Hub {
    /// Makes this node part of a cluster, for which it spawns tasks of this server.
    pub fn set_cluster(&self, cluster: Arc<Cluster>, lifecycle: Lifecycle) {
        // One is enough.
        _ = self.lifecycle.set(lifecycle);
        _ = self.cluster.set(cluster);
    }

    /// Returns the cluster, if this node is part of one.
    pub fn cluster(&self) -> Option<&Arc<Cluster>> {
        self.cluster.get()
    }

    /// Calls the cluster, if this node is part of one.
    pub(super) fn tell_cluster(&self, tell: impl FnOnce(&Cluster)) {
        if let Some(cluster) = self.cluster() {
            tell(cluster);
        }
    }

    /// Asks the node that has the session of a peer to remove it from a room for an operator.
    /// Resolves with whether the peer was there; `None` if that node does not answer within
    /// `limit`.
    pub async fn kick_elsewhere(
        &self,
        holder: Incarnation,
        room: &RoomId,
        connection: ConnectionId,
        limit: Duration,
    ) -> Option<bool> {
        let (id, (answer, answered)) = (Host::random(self), oneshot::channel());
        self.kicks.insert(id, answer);
        self.cluster()?.kick(holder, room, connection, id);
        let answer = tokio::time::timeout(limit, answered).await;
        self.kicks.remove(&id);
        answer.ok().and_then(Result::ok)
    }

    /// Asks the cluster for a place in a room.
    fn ask_cluster(
        &self,
        state: &Arc<SessionState>,
        request: JoinRequest,
        welcome: WelcomeLater,
    ) -> oneshot::Receiver<JoinAnswer> {
        let (answer, answered) = oneshot::channel();
        if let Some(cluster) = self.cluster() {
            let key = (request.room.clone(), request.connection);
            self.joins.insert(
                key,
                PendingJoin { state: Arc::clone(state), welcome, answer, since: Instant::now() },
            );
            cluster.join(request);
        }
        answered
    }

    /// Returns whether a join of a session is not answered yet.
    pub(super) fn is_joining(&self, state: &SessionState) -> bool {
        let joining = state.joining.lock().clone();
        joining.is_some_and(|room| self.joins.contains_key(&(room, state.id)))
    }

    /// Takes the join back that a session may wait for, or that was answered just now.
    pub(super) fn withdraw_join(&self, state: &SessionState, reason: LeaveReason) {
        let Some(room) = state.joining.lock().take() else { return };
        self.joins.remove(&(room.clone(), state.id));
        self.tell_cluster(|cluster| cluster.left(&room, state.id, reason));
    }

    /// Delivers an event to a peer whose session is on another node, or is arriving from one. A
    /// signal is sent to the node of the peer, which sends it all other events itself. Returns the
    /// session to which this node is to deliver the event after all.
    #[cold]
    pub(super) fn deliver_elsewhere(
        &self,
        event: &Event,
        to: ConnectionId,
        room: &Room,
        is_by_cluster: bool,
    ) -> Option<Entry> {
        let cluster = self.cluster()?;
        // Else the session is arriving, or just ending.
        let is_remote = room.is_remote(to);
        match event {
            Event::SignalRelayed { room, from, found_by, signal }
                if is_remote || !is_by_cluster =>
            {
                // A signal of another node is for peers of this one.
                let from = from.connection;
                if is_by_cluster && !self.directory.contains(from) {
                    return None;
                }
                cluster.send(room, from, to, *found_by, signal, || self.directory.settled(to))
            }
            // An arriving session is notified of it once it is in the room.
            _ if is_remote => None,
            _ => self.directory.get(to),
        }
    }

    /// Sends a local peer an error that does not answer a current request.
    fn tell_failure(
        &self,
        connection: ConnectionId,
        failure: &Failure<'_>,
        room: &RoomId,
        target: Option<&str>,
    ) {
        self.metrics().error(failure.code);
        let Some(entry) = self.directory.get(connection) else { return };
        let frame = (entry.dialect.failure)(failure, room, target, std::time::SystemTime::now());
        if let Some(frame) = frame {
            self.contain(connection, || {
                _ = self.queue(connection, entry.dialect, &entry.mailbox, frame, false);
            });
        }
    }
}

impl Host for Hub {
    fn rooms(&self) -> &Rooms {
        Self::rooms(self)
    }

    fn random(&self) -> u64 {
        getrandom::u64().unwrap_or_else(|_| u64::from_ne_bytes(half(ConnectionId::random())))
    }

    fn deliver(&self, applied: &Applied, now: Moment) -> Queued {
        let delivered = self.deliver_as(applied, None, now.time, true);
        let failure = delivered.failure().map(|failure| match failure.code() {
            Code::DeliveryFailed => SignalFailure::NotDelivered,
            _ => SignalFailure::TargetNotFound,
        });
        Queued { failure, is_congested: delivered.congested.is_some() }
    }

    fn joined(
        &self,
        room: &RoomId,
        connection: ConnectionId,
        outcome: Result<Applied, Refusal>,
        now: Moment,
    ) {
        let pending = self.joins.remove(&(room.clone(), connection)).map(|(_, pending)| pending);
        if let Some(pending) = &pending {
            self.metrics.cluster().join_took(pending.since.elapsed());
        }
        match (outcome, pending) {
            (Ok(applied), pending) => {
                let (mut welcome, mut answer) = (None, None);
                if let Some(PendingJoin { state, welcome: write, answer: waiting, .. }) = pending {
                    state.has_joined.store(true, Ordering::Relaxed);
                    if let Answer::Joined(snapshot) = &applied.answer {
                        welcome = self.contain(connection, || write(snapshot, now.time)).flatten();
                    }
                    answer = Some(waiting);
                }
                let Delivered { welcome_bytes, congested, .. } =
                    self.deliver_as(&applied, welcome, now.time, true);
                if let Some(answer) = answer {
                    // A connection that has ended meanwhile leaves the room.
                    _ = answer.send(Ok(Joined {
                        answer: applied.answer.clone(),
                        welcome_bytes,
                        congested,
                    }));
                }
            }
            (Err(refusal), Some(PendingJoin { answer, .. })) => _ = answer.send(Err(refusal)),
            (Err(_), None) => {}
        }
    }

    fn removed(&self, room: &RoomId, connection: ConnectionId, why: Refusal) {
        info!(%connection, %room, ?why, "the cluster has no place for this peer");
        let reason = match why {
            Refusal::Replaced => RemovalReason::Replaced,
            Refusal::Closed | Refusal::Ended => RemovalReason::Closed,
            Refusal::Full { .. }
            | Refusal::NotFound
            | Refusal::NotForPairs
            | Refusal::NotMember => {
                let error = RequestError::from(error_of(why));
                self.tell_failure(connection, &Failure::from(&error), room, None);
                return;
            }
        };
        let Some(entry) = self.directory.get(connection) else { return };
        let event = Event::Removed { room: room.clone(), reason };
        if let Some(frame) = (entry.dialect.encode)(&event, std::time::SystemTime::now()) {
            self.contain(connection, || {
                _ = self.queue(connection, entry.dialect, &entry.mailbox, frame, true);
            });
        }
    }

    fn undelivered(&self, signal: &Undelivered) {
        let Undelivered { room, from, to, failure, .. } = signal;
        let (code, message) = match failure {
            SignalFailure::TargetNotFound => {
                (Code::TargetNotFound, "no peer of that id in the room")
            }
            SignalFailure::NotDelivered => (Code::DeliveryFailed, "the signal was not delivered"),
        };
        let target = self.rooms().peer(*to, room).unwrap_or_else(|| PeerId::from(*to));
        self.tell_failure(*from, &Failure::new(code, message), room, Some(target.as_str()));
    }

    fn claimed(&self, connection: ConnectionId, request: &[u8]) -> bool {
        self.grant_claim(connection, request)
    }

    fn release(&self, connection: ConnectionId) -> Option<Released> {
        self.release_session(connection)
    }

    fn resumed(&self, connection: ConnectionId, session: &[u8]) -> Resumed {
        self.restore(connection, session).map_or(Resumed::Lost, |()| Resumed::Away)
    }

    fn catch_up(&self, applied: &Applied, now: Moment) {
        self.deliver_missed(applied, now.time);
    }

    fn arrived(&self, connection: ConnectionId) {
        self.directory.settle(connection);
        self.decide_claim(connection);
    }

    fn moves_on(&self, connection: ConnectionId) {
        if let Some((_, pending)) = self.claims.remove(&connection) {
            for answer in pending.answers {
                // The connection may have ended.
                _ = answer.send(());
            }
        }
    }

    fn kept(&self, connection: ConnectionId) {
        self.keep_claimed(connection);
    }

    fn may_ask_all(&self, connection: ConnectionId) -> bool {
        self.may_search(connection)
    }

    fn refused(&self, connection: ConnectionId) {
        self.decide_claim(connection);
    }

    fn watch_congestion(&self, connection: ConnectionId) -> bool {
        self.watch_congestion_of(connection)
    }

    fn peer_congested(&self, connection: ConnectionId, is_congested: bool) {
        self.set_congestion_elsewhere(connection, is_congested);
    }

    fn echoed(&self, after: Duration) {
        self.metrics.cluster().echo_took(after);
    }

    fn kick(&self, room: &RoomId, connection: ConnectionId) -> bool {
        self.kick_peer(room, connection)
    }

    fn evict_silent(&self, room: &RoomId) -> Option<ConnectionId> {
        self.evict_overdue_peer(room)
    }

    fn kicked(&self, id: u64, is_done: bool) {
        if let Some((_, answer)) = self.kicks.remove(&id) {
            // The caller may have given up.
            _ = answer.send(is_done);
        }
    }

    fn end(&self, connection: ConnectionId) {
        if self.end_claimed(connection) {
            return;
        }
        if let Some(entry) = self.directory.get(connection) {
            entry.mailbox.close();
        }
    }

    fn dialect(&self, name: &str) -> Option<&'static str> {
        dialect::NAMES.into_iter().find(|known| *known == name)
    }
}

fn half(id: ConnectionId) -> [u8; 8] {
    let mut half = [0; 8];
    half.copy_from_slice(&id.to_u128().to_ne_bytes()[..8]);
    half
}

fn error_of(refusal: Refusal) -> RoomError {
    match refusal {
        Refusal::Full { capacity } => RoomError::RoomFull { capacity },
        Refusal::NotFound | Refusal::NotMember | Refusal::Closed => RoomError::RoomNotFound,
        Refusal::Ended => RoomError::SessionEnded,
        Refusal::NotForPairs => RoomError::NotForPairs,
        Refusal::Replaced => RoomError::Replaced,
    }
}
