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

use crate::dialect::{DecodeError, Dialect};
use crate::id::{ConnectionId, RoomId};
use crate::room::{Answer, Applied, Code, Command, Delivery, Event, LeaveReason, RoomError, Rooms};

pub mod backlog;

pub use backlog::Backlog;

/// Where what is told to one connection waits to be written.
pub trait Outbox: Send + Sync + 'static {
    /// Puts a frame at the end of the queue, without waiting.
    fn send(&self, frame: String) -> Result<(), QueueFull>;

    /// Asks for the connection to be closed. Must only ask: rooms may be locked.
    fn close(&self);

    /// How much waits.
    fn backlog(&self) -> &Arc<Backlog>;
}

/// The frame was not queued, since as many wait as may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the queue is full")]
pub struct QueueFull;

/// Why a request came to nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// It could not be understood.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// A room refused it.
    #[error(transparent)]
    Room(#[from] RoomError),
    /// The queue of a recipient was full.
    #[error("not delivered to {failed} of {recipients}: too much waits for them already")]
    DeliveryFailed {
        /// For how many it was lost.
        failed: usize,
        /// For how many it was meant.
        recipients: usize,
    },
    /// A defect of ours.
    #[error("internal error")]
    Internal,
}

impl RequestError {
    /// The contract's code.
    pub fn code(&self) -> Code {
        match self {
            Self::Decode(error) => error.code(),
            Self::Room(error) => error.code(),
            Self::DeliveryFailed { .. } => Code::DeliveryFailed,
            Self::Internal => Code::Internal,
        }
    }
}

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

    /// Refuses newcomers from now on, and asks every open connection to close after one last frame that `farewell`
    /// writes.
    pub fn drain(&self, farewell: impl Fn(&'static Dialect) -> String) {
        self.draining.store(true, Ordering::Relaxed);
        let connections: Vec<Connection> = self.connections.iter().map(|entry| entry.value().clone()).collect();
        for Connection { dialect, outbox } in connections {
            // It is leaving either way: one whose queue is full goes without a word.
            let _ = outbox.send(farewell(dialect));
            outbox.close();
        }
    }

    /// Closes a room at an operator's word; `false` where there is none of that id.
    pub fn close_room(&self, id: &RoomId) -> bool {
        let Some(applied) = self.rooms.close(id) else {
            return false;
        };
        self.deliver(&applied);
        info!(room = %id, "room closed");
        true
    }

    /// Queues what came of a command, in order. Consumes no lock: `applied` keeps the room locked for as long.
    fn deliver(&self, applied: &Applied) -> Delivered {
        let mut delivered = Delivered::default();
        for delivery in &applied.deliveries {
            log(&delivery.event);
            self.deliver_one(delivery, &mut delivered);
        }
        delivered
    }

    fn deliver_one(&self, Delivery { to, event }: &Delivery, delivered: &mut Delivered) {
        let is_signal = matches!(event, Event::SignalRelayed { .. });
        let mut encoded: Option<(&'static Dialect, String)> = None;
        let recipients = to.as_slice();
        for (index, recipient) in recipients.iter().enumerate() {
            // A connection that is just ending; its rooms hear of that next.
            let Some(Connection { dialect, outbox }) = self.connections.get(recipient).map(|entry| entry.clone())
            else {
                continue;
            };
            let frame = match encoded.take() {
                Some((written_for, frame)) if std::ptr::eq(written_for, dialect) => frame,
                _ => (dialect.encode)(event),
            };
            if index + 1 < recipients.len() {
                encoded = Some((dialect, frame.clone()));
            }
            let sent = outbox.send(frame);
            if outbox.backlog().is_high() {
                delivered.congested = Some(Arc::clone(outbox.backlog()));
            }
            match sent {
                Ok(()) => {}
                Err(QueueFull) if is_signal => delivered.failed += 1,
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

    /// Carries out a command.
    pub fn handle(&self, command: Command) -> Handled {
        let rooms = self.hub.rooms();
        if let Command::Leave { room: None } = command {
            let congested = self.leave_all(&rooms.of(self.id), LeaveReason::Left);
            return Handled { result: Ok(Answer::Left), congested };
        }
        let applied = match rooms.apply(SystemTime::now(), self.id, command) {
            Ok(applied) => applied,
            Err(error) => return Handled { result: Err(error.into()), congested: None },
        };
        let Delivered { recipients, failed, congested } = self.hub.deliver(&applied);
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
                congested = self.hub.deliver(&applied).congested.or(congested);
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
