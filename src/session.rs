//! One connection's life, whatever its wire: let in, served, and ended exactly once.
//!
//! - [`Hub::open`] lets a connection in and gives its [`Session`];
//! - [`Session::handle`] carries a command to the rooms and queues what comes of it, in order, at every connection
//!   that it concerns;
//! - [`Session::end`], or dropping the session, takes the connection out of all its rooms. The first end counts.
//!
//! The guarantee that is easy to break: deliveries are queued while the room they come from is still locked. What
//! queues them must therefore neither wait nor come back here: an [`Outbox`] only puts into a queue, or sets a flag.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::SystemTime;

use dashmap::DashMap;
use tracing::{debug, info};

use crate::dialect::{Dialect, Frame, RequestError};
use crate::id::{ConnectionId, RoomId};
use crate::room::{
    Answer, Applied, Command, Delivery, Event, LeaveReason, RemovalReason, RoomError, RoomKind, Rooms, Snapshot,
};

pub mod backlog;

pub use backlog::Backlog;

/// Where what is told to one connection waits to be written.
pub trait Outbox: Send + Sync + 'static {
    /// Puts a frame at the end of the queue, without waiting.
    fn send(&self, frame: Frame) -> Result<(), QueueFull>;

    /// Asks for the connection to be closed. Must only ask: rooms may be locked.
    fn close(&self);

    /// How much waits.
    fn backlog(&self) -> &Arc<Backlog>;

    /// Whether the client owes the answer to a heartbeat.
    fn is_overdue(&self) -> bool {
        false
    }
}

/// The frame was not queued, since as many wait as may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the queue is full")]
pub struct QueueFull;

/// Everything that sessions share: the rooms of this node and its open connections.
pub struct Hub {
    rooms: Rooms,
    connections: DashMap<ConnectionId, Connection>,
    open: AtomicUsize,
    ignored: AtomicU64,
    draining: AtomicBool,
}

#[derive(Clone)]
struct Connection {
    dialect: &'static Dialect,
    outbox: Arc<dyn Outbox>,
}

impl Hub {
    /// A hub over rooms.
    pub fn new(rooms: Rooms) -> Self {
        Self {
            rooms,
            connections: DashMap::new(),
            open: AtomicUsize::new(0),
            ignored: AtomicU64::new(0),
            draining: AtomicBool::new(false),
        }
    }

    /// The rooms.
    pub fn rooms(&self) -> &Rooms {
        &self.rooms
    }

    /// How many sessions are open.
    pub fn open_connections(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// How many messages of no known kind were ignored since the start.
    pub fn ignored_messages(&self) -> u64 {
        self.ignored.load(Ordering::Relaxed)
    }

    /// Counts a message of no known kind.
    pub fn ignore(&self, connection: ConnectionId) {
        self.ignored.fetch_add(1, Ordering::Relaxed);
        debug!(%connection, "unknown event ignored");
    }

    /// Whether newcomers are refused.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Lets a connection in; `None` while draining.
    pub fn open(
        self: &Arc<Self>,
        id: ConnectionId,
        dialect: &'static Dialect,
        outbox: Arc<dyn Outbox>,
    ) -> Option<Session> {
        if self.is_draining() {
            return None;
        }
        self.rooms.connect(id);
        self.connections.insert(id, Connection { dialect, outbox });
        self.open.fetch_add(1, Ordering::Relaxed);
        info!(connection = %id, dialect = dialect.name, "connected");
        Some(Session { hub: Arc::clone(self), id, dialect, ended: AtomicBool::new(false) })
    }

    /// Refuses newcomers from now on, and asks every open connection to close after one last word.
    pub fn drain(&self, farewell: &str) {
        self.draining.store(true, Ordering::Relaxed);
        let connections: Vec<Connection> = self.connections.iter().map(|entry| entry.value().clone()).collect();
        for Connection { dialect, outbox } in connections {
            // It is leaving either way: one whose queue is full goes without a word.
            _ = outbox.send((dialect.farewell)(farewell, SystemTime::now()));
            outbox.close();
        }
    }

    /// Closes a room at an operator's word; `false` where there is none of that id.
    pub fn close_room(&self, id: &RoomId) -> bool {
        let Some(applied) = self.rooms.close(id) else {
            return false;
        };
        self.deliver(&applied, None);
        info!(room = %id, "room closed");
        true
    }

    /// Makes a place in a session that is full, if one of its sides owes the answer to a heartbeat: the one that joined
    /// first gives way. `false` where none does.
    fn make_way(&self, room: &RoomId) -> bool {
        let overdue = |id: &ConnectionId| self.connections.get(id).is_some_and(|entry| entry.outbox.is_overdue());
        let Some(stale) = self.rooms.connections_in(room).into_iter().find(overdue) else {
            return false;
        };
        if let Some(applied) = self.rooms.leave(stale, room, LeaveReason::TimedOut) {
            self.deliver(&applied, None);
        }
        if let Some(Connection { dialect, outbox }) = self.connections.get(&stale).map(|entry| entry.clone()) {
            let event = Event::Removed { room: room.clone(), reason: RemovalReason::Replaced };
            if let Some(frame) = (dialect.encode)(&event, SystemTime::now()) {
                // It most likely reads no more; if it does, it learns why.
                _ = outbox.send(frame);
            }
            outbox.close();
        }
        true
    }

    /// Queues what came of a command, in order; `applied` keeps the room locked meanwhile. `welcome` is
    /// what a joiner is told in place of the event.
    fn deliver(&self, applied: &Applied, mut welcome: Option<String>) -> Delivered {
        let mut delivered = Delivered::default();
        let now = SystemTime::now();
        for delivery in &applied.deliveries {
            log(&delivery.event);
            let frame = match delivery.event {
                Event::Joined(_) => welcome.take(),
                _ => None,
            };
            self.deliver_one(delivery, frame, now, &mut delivered);
        }
        delivered
    }

    fn deliver_one(
        &self,
        Delivery { to, event }: &Delivery,
        mut written: Option<String>,
        now: SystemTime,
        delivered: &mut Delivered,
    ) {
        let is_signal = matches!(event, Event::SignalRelayed { .. });
        let mut encoded: Option<(&'static Dialect, Option<Frame>)> = None;
        let recipients = to.as_slice();
        for (index, recipient) in recipients.iter().enumerate() {
            // A connection that is just ending; its rooms hear of that next.
            let Some(Connection { dialect, outbox }) = self.connections.get(recipient).map(|entry| entry.clone())
            else {
                continue;
            };
            let frame = match (written.take(), encoded.take()) {
                (Some(written), _) => Some(Frame::Text(written)),
                (None, Some((written_for, frame))) if std::ptr::eq(written_for, dialect) => frame,
                (None, _) => (dialect.encode)(event, now),
            };
            if index + 1 < recipients.len() {
                encoded = Some((dialect, frame.clone()));
            }
            let Some(frame) = frame else { continue };
            let sent = outbox.send(frame);
            if outbox.backlog().is_high() {
                delivered.congested = Some(Arc::clone(outbox.backlog()));
            }
            match sent {
                Ok(()) => {}
                Err(QueueFull) if is_signal => delivered.failed += 1,
                Err(QueueFull) if !dialect.presence_is_vital => {}
                Err(QueueFull) => {
                    // Without this event its picture of the room would be wrong from here on, and nothing would tell
                    // it. It can join again.
                    info!(connection = %recipient, "closing: too slow to be told who is in the room");
                    outbox.close();
                }
            }
        }
        if is_signal {
            delivered.recipients += recipients.len();
        }
    }
}

/// How the delivery of one command went.
#[derive(Default)]
struct Delivered {
    recipients: usize,
    failed: usize,
    congested: Option<Arc<Backlog>>,
}

/// One line per join and leave.
fn log(event: &Event) {
    match event {
        Event::PeerJoined { room, peer } => {
            info!(connection = %peer.connection, room = %room, peer = %peer.id, "joined");
        }
        Event::PeerLeft { room, peer, reason } => {
            info!(connection = %peer.connection, room = %room, peer = %peer.id, reason = reason.as_str(), "left");
        }
        Event::Joined(_) | Event::SignalRelayed { .. } | Event::Removed { .. } => {}
    }
}

/// What came of a request, and whether its sender should pause.
#[derive(Debug)]
pub struct Handled {
    /// What to answer.
    pub result: Result<Answer, RequestError>,
    /// A queue that this request found filling up. A transport that can should read no more of the sender until it has
    /// emptied: so a fast sender is slowed to the pace of its peers, and nothing is lost.
    pub congested: Option<Arc<Backlog>>,
}

/// An open connection. Ends when it is dropped, if not before.
pub struct Session {
    hub: Arc<Hub>,
    id: ConnectionId,
    dialect: &'static Dialect,
    ended: AtomicBool,
}

impl Session {
    /// The connection's id.
    pub fn id(&self) -> ConnectionId {
        self.id
    }

    /// How long this client pauses for a peer whose queue fills up.
    pub fn patience(&self) -> std::time::Duration {
        self.dialect.patience
    }

    /// Has events written in another manner from now on.
    pub fn speak(&self, dialect: &'static Dialect) {
        if let Some(mut connection) = self.hub.connections.get_mut(&self.id)
            && !std::ptr::eq(connection.dialect, dialect)
        {
            connection.dialect = dialect;
        }
    }

    /// Carries out a command. `welcome` writes what a joiner is told in place of the event.
    pub fn handle(&self, command: Command, welcome: impl Fn(&Snapshot) -> Option<String>) -> Handled {
        let rooms = self.hub.rooms();
        if let Command::Leave { room: None } = command {
            let congested = self.leave_all(&rooms.of(self.id), LeaveReason::Left);
            return Handled { result: Ok(Answer::Left), congested };
        }
        // Only a session's joiner may have to try twice.
        let again = match &command {
            Command::Join { room, kind, .. } if *kind != RoomKind::Group => Some((room.clone(), command.clone())),
            _ => None,
        };
        let mut applied = rooms.apply(SystemTime::now(), self.id, command);
        if let (Err(RoomError::RoomFull { .. }), Some((room, command))) = (&applied, again)
            && self.hub.make_way(&room)
        {
            applied = rooms.apply(SystemTime::now(), self.id, command);
        }
        let applied = match applied {
            Ok(applied) => applied,
            Err(error) => return Handled { result: Err(error.into()), congested: None },
        };
        let welcome = match &applied.answer {
            Answer::Joined(snapshot) => welcome(snapshot),
            Answer::Inspected(_) | Answer::Left | Answer::Relayed => None,
        };
        let Delivered { recipients, failed, congested } = self.hub.deliver(&applied, welcome);
        let result = match failed {
            0 => Ok(applied.answer),
            failed => Err(RequestError::DeliveryFailed { failed, recipients }),
        };
        Handled { result, congested }
    }

    /// Ends the connection's part in every room. Only the first call does anything: a late end is silent.
    pub fn end(&self, reason: LeaveReason) {
        if self.ended.swap(true, Ordering::AcqRel) {
            return;
        }
        self.hub.connections.remove(&self.id);
        self.leave_all(&self.hub.rooms.disconnect(self.id), reason);
        self.hub.open.fetch_sub(1, Ordering::Relaxed);
        info!(connection = %self.id, dialect = self.dialect.name, reason = reason.as_str(), "disconnected");
    }

    /// One room after the other, since two are never locked at once.
    fn leave_all(&self, rooms: &[RoomId], reason: LeaveReason) -> Option<Arc<Backlog>> {
        let mut congested = None;
        for room in rooms {
            if let Some(applied) = self.hub.rooms.leave(self.id, room, reason) {
                congested = self.hub.deliver(&applied, None).congested.or(congested);
            }
        }
        congested
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.end(LeaveReason::Disconnected);
    }
}
