//! One connection's life, whatever its wire: let in, served, and ended exactly once.
//!
//! - [`Hub::open`] lets a connection in and gives its [`Session`];
//! - [`Session::handle`] carries a command to the rooms and queues what comes of it, in order, at every connection
//!   that it concerns;
//! - [`Session::end`], or dropping the session, takes the connection out of all its rooms. The first end counts.
//!
//! The guarantee that is easy to break: deliveries are queued while the room they come from is still locked. What
//! queues them must therefore neither wait nor come back here: an [`Outbox`] only puts into a queue, or sets a flag.

use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use dashmap::DashMap;
use tokio::sync::Notify;
use tracing::{error, info};

use crate::dialect::{DecodeError, Dialect, Frame, RequestError};
use crate::id::{ConnectionId, RoomId};
use crate::metrics::{DialectMetrics, Kind, Limit, Metrics};
use crate::room::{
    Answer, Applied, Command, Delivery, Event, LeaveReason, RemovalReason, RoomError, RoomKind, Rooms, Snapshot,
};

pub mod admission;
pub mod backlog;
mod doorkeeping;
pub mod drain;
mod expiry;
mod identity;
pub mod pace;

pub use admission::{Admission, AdmissionError, Place};
pub use backlog::Backlog;
pub use doorkeeping::Doorkeeping;
pub use pace::{Excess, MessageRate};

use expiry::Expiries;
use identity::Identity;
use pace::Pace;

/// Where what is told to one connection waits to be written.
pub trait Outbox: Send + Sync + 'static {
    /// Puts a frame at the end of the queue, without waiting.
    fn send(&self, frame: Frame) -> Result<(), QueueFull>;

    /// The same for a frame that was accepted when its recipient was not there. There is a place for as many of those
    /// as a session holds.
    fn send_promised(&self, frame: Frame) -> Result<(), QueueFull>;

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
    draining: AtomicBool,
    ended: Notify,
    limits: Limits,
    admission: Arc<Admission>,
    metrics: Arc<Metrics>,
    doorkeeping: Doorkeeping,
    expiries: Expiries,
}

/// What bounds connections.
#[derive(Debug, Clone, Copy, Default)]
pub struct Limits {
    /// Connections on this node, from their handshake on; `None` is no limit.
    pub connections: Option<usize>,
    /// Connections from one address.
    pub connections_per_address: Option<usize>,
    /// Messages of one connection.
    pub message_rate: Option<MessageRate>,
}

#[derive(Clone)]
struct Connection {
    dialect: &'static Dialect,
    outbox: Arc<dyn Outbox>,
}

impl Hub {
    /// A hub over rooms.
    pub fn new(rooms: Rooms, limits: Limits, metrics: Arc<Metrics>, doorkeeping: Doorkeeping) -> Self {
        Self {
            rooms,
            connections: DashMap::new(),
            open: AtomicUsize::new(0),
            draining: AtomicBool::new(false),
            ended: Notify::new(),
            limits,
            admission: Admission::new(limits.connections, limits.connections_per_address),
            metrics,
            doorkeeping,
            expiries: Expiries::default(),
        }
    }

    /// What is counted.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// A place for a newcomer from an address, to be held until its connection ends.
    pub fn admit(&self, address: IpAddr) -> Result<Place, AdmissionError> {
        self.admission.admit(address).inspect_err(|refused| {
            self.metrics.limit(match refused {
                AdmissionError::TooMany { .. } => Limit::Connections,
                AdmissionError::TooManyFromAddress { .. } => Limit::ConnectionsPerIp,
            });
        })
    }

    /// Does something that concerns a connection so that a defect in it, a panic, goes no further: it is logged with the
    /// connection's id and counted. `None` where there was one; the connection is then to end.
    pub fn contain<T>(&self, connection: ConnectionId, work: impl FnOnce() -> T) -> Option<T> {
        // What it may have left half done is the connection's own, and goes with it: rooms are changed in steps that
        // cannot fail half-way.
        let done = catch_unwind(AssertUnwindSafe(work));
        if done.is_err() {
            self.metrics.panic();
            error!(%connection, "a defect; closing the connection that it concerns");
        }
        done.ok()
    }

    /// The rooms.
    pub fn rooms(&self) -> &Rooms {
        &self.rooms
    }

    /// How many sessions are open.
    pub fn open_connections(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Lets a connection in. One that comes while newcomers are refused, since its handshake was answered before, is
    /// asked to go at once.
    pub fn open(self: &Arc<Self>, id: ConnectionId, dialect: &'static Dialect, outbox: Arc<dyn Outbox>) -> Session {
        self.rooms.connect(id);
        self.connections.insert(id, Connection { dialect, outbox });
        self.open.fetch_add(1, Ordering::Relaxed);
        if self.is_draining() {
            self.dismiss_one(id);
        }
        let metrics = self.metrics.dialect(dialect.name);
        metrics.opened();
        info!(connection = %id, dialect = dialect.name, "connected");
        let pace = Pace::new(self.limits.message_rate);
        Session {
            hub: Arc::clone(self),
            id,
            dialect,
            metrics,
            pace,
            identity: Identity::default(),
            ended: AtomicBool::new(false),
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
        // Signals that a join brings have waited for the joiner.
        let mut delivered =
            Delivered { are_promised: matches!(applied.answer, Answer::Joined(_)), ..Delivered::default() };
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
        delivery: &Delivery,
        mut written: Option<String>,
        now: SystemTime,
        delivered: &mut Delivered,
    ) {
        let is_signal = matches!(delivery.event, Event::SignalRelayed { .. });
        let mut encoded: Option<(&'static Dialect, Option<Frame>)> = None;
        let recipients = delivery.to.as_slice();
        for (index, recipient) in recipients.iter().enumerate() {
            // A connection that is just ending; its rooms hear of that next.
            let Some(Connection { dialect, outbox }) = self.connections.get(recipient).map(|entry| entry.clone())
            else {
                continue;
            };
            // A defect in telling one must not keep it from the others.
            let told = self.contain(*recipient, || {
                let frame = match (written.take(), encoded.take()) {
                    (Some(written), _) => Some(Frame::Text(written)),
                    (None, Some((written_for, frame))) if std::ptr::eq(written_for, dialect) => frame,
                    (None, _) => (dialect.encode)(&delivery.event, now),
                };
                if index + 1 < recipients.len() {
                    encoded = Some((dialect, frame.clone()));
                }
                let sent = frame.map(|frame| {
                    if is_signal && delivered.are_promised {
                        return outbox.send_promised(frame);
                    }
                    self.queue(*recipient, dialect, &*outbox, frame, is_signal)
                });
                (sent, outbox.backlog().is_high())
            });
            let Some((sent, is_high)) = told else {
                delivered.failed += usize::from(is_signal);
                outbox.close();
                continue;
            };
            delivered.failed += usize::from(is_signal && sent == Some(Err(QueueFull)));
            if sent.is_some() && is_high {
                delivered.congested = Some(Arc::clone(outbox.backlog()));
            }
        }
        if is_signal {
            delivered.recipients += recipients.len();
        }
    }

    /// Queues a frame for one connection. Where that is full, decides what becomes of it.
    fn queue(
        &self,
        recipient: ConnectionId,
        dialect: &Dialect,
        outbox: &dyn Outbox,
        frame: Frame,
        is_signal: bool,
    ) -> Result<(), QueueFull> {
        let sent = outbox.send(frame);
        if sent.is_err() {
            self.metrics.dialect(dialect.name).queue_full();
            if outbox.backlog().stays_full(Instant::now()) {
                info!(connection = %recipient, "closing: its queue stays full");
                self.metrics.limit(Limit::SendQueue);
                outbox.close();
            } else if !is_signal && dialect.presence_is_vital {
                // Without this event its picture of the room would be wrong from here on, and nothing would tell it.
                // It can join again.
                info!(connection = %recipient, "closing: too slow to be told who is in the room");
                self.metrics.limit(Limit::SendQueue);
                outbox.close();
            }
        }
        sent
    }
}

/// How the delivery of one command went.
#[derive(Default)]
struct Delivered {
    /// Whether signals among it were accepted earlier.
    are_promised: bool,
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
    /// For how many recipients a signal was queued.
    pub reached: usize,
    /// A queue that this request found filling up. A transport that can should read no more of the sender until it has
    /// emptied: so a fast sender is slowed to the pace of its peers, and nothing is lost.
    pub congested: Option<Arc<Backlog>>,
}

impl Handled {
    /// Nothing came of it.
    pub fn refused(error: RequestError) -> Self {
        Self { result: Err(error), reached: 0, congested: None }
    }
}

fn kind_of(command: &Command) -> Kind {
    match command {
        Command::Join { .. } => Kind::Join,
        Command::Inspect { .. } => Kind::Inspect,
        Command::Leave { .. } => Kind::Leave,
        Command::HangUp { .. } => Kind::HangUp,
        Command::Relay { signal, .. } => Kind::Signal(signal.kind),
    }
}

/// The limit that a request was refused by, if it was one.
fn limit_of(error: &RequestError) -> Option<Limit> {
    match error {
        RequestError::Decode(DecodeError::TooLarge { .. }) => Some(Limit::MessageBytes),
        RequestError::Room(RoomError::RoomFull { .. }) => Some(Limit::RoomSize),
        RequestError::Room(RoomError::SessionQueueFull) => Some(Limit::SessionQueue),
        RequestError::Room(RoomError::TooManyRooms { .. }) => Some(Limit::Rooms),
        RequestError::Room(RoomError::TooManyRoomsPerConnection { .. }) => Some(Limit::RoomsPerConnection),
        RequestError::Room(RoomError::ProfileTooLarge { .. }) => Some(Limit::MetadataBytes),
        // Counted where they arise, or no limits.
        RequestError::Decode(_)
        | RequestError::Room(_)
        | RequestError::DeliveryFailed { .. }
        | RequestError::RateLimited { .. }
        | RequestError::Denied(_)
        | RequestError::Internal => None,
    }
}

/// An open connection. Ends when it is dropped, if not before.
pub struct Session {
    hub: Arc<Hub>,
    id: ConnectionId,
    dialect: &'static Dialect,
    metrics: Arc<DialectMetrics>,
    pace: Pace,
    identity: Identity,
    ended: AtomicBool,
}

impl Session {
    /// The connection's id.
    pub fn id(&self) -> ConnectionId {
        self.id
    }

    /// How long this client pauses for a peer whose queue fills up.
    pub fn patience(&self) -> Duration {
        self.dialect.patience
    }

    /// Lets a message of the client pass, or says that it has sent too many.
    pub fn admit(&self) -> Result<(), Excess> {
        self.pace.admit().inspect_err(|excess| {
            self.hub.metrics.limit(match excess {
                Excess::Wait(_) => Limit::MessageRate,
                Excess::Flood(_) => Limit::Flood,
            });
        })
    }

    /// Counts a message that is no command.
    pub fn received(&self, kind: Kind) {
        self.metrics.received(kind);
    }

    /// Counts an error that the client is told.
    pub fn refused(&self, error: &RequestError) {
        self.hub.metrics.error(error.code());
        if let Some(limit) = limit_of(error) {
            self.hub.metrics.limit(limit);
        }
    }

    /// Has events written in another manner from now on.
    pub fn speak(&self, dialect: &'static Dialect) {
        if let Some(mut connection) = self.hub.connections.get_mut(&self.id) {
            connection.dialect = dialect;
        }
    }

    /// Carries out a command that was received at an instant. `welcome` writes what a joiner is told in place of the
    /// event.
    pub fn handle(
        &self,
        received: Instant,
        command: Command,
        welcome: impl Fn(&Snapshot) -> Option<String>,
    ) -> Handled {
        let kind = kind_of(&command);
        self.metrics.received(kind);
        let handled = self.carry_out(command, welcome);
        if let Kind::Signal(kind) = kind {
            self.hub.metrics.relay_took(received.elapsed());
            self.metrics.relayed(kind, handled.reached);
        }
        handled
    }

    fn carry_out(&self, command: Command, welcome: impl Fn(&Snapshot) -> Option<String>) -> Handled {
        let (rooms, now) = (self.hub.rooms(), SystemTime::now());
        let (command, size) = match self.authorize(command, now) {
            Ok(authorized) => authorized,
            Err(denial) => return Handled::refused(denial.into()),
        };
        if let Command::Leave { room: None } = command {
            let congested = self.leave_all(&rooms.of(self.id), LeaveReason::Left);
            return Handled { result: Ok(Answer::Left), reached: 0, congested };
        }
        // Only a session's joiner may have to try twice.
        let again = match &command {
            Command::Join { room, kind, .. } if *kind != RoomKind::Group => Some((room.clone(), command.clone())),
            _ => None,
        };
        let mut applied = rooms.apply_sized(now, self.id, command, size);
        if let (Err(RoomError::RoomFull { .. }), Some((room, command))) = (&applied, again)
            && self.hub.make_way(&room)
        {
            applied = rooms.apply_sized(now, self.id, command, size);
        }
        let applied = match applied {
            Ok(applied) => applied,
            Err(error) => return Handled::refused(error.into()),
        };
        let welcome = match &applied.answer {
            Answer::Joined(snapshot) => welcome(snapshot),
            Answer::Inspected(_) | Answer::Left | Answer::Relayed => None,
        };
        let Delivered { recipients, failed, congested, .. } = self.hub.deliver(&applied, welcome);
        let result = match failed {
            0 => Ok(applied.answer),
            failed => Err(RequestError::DeliveryFailed { failed, recipients }),
        };
        Handled { result, reached: recipients - failed, congested }
    }

    /// Ends the connection's part in every room. Only the first call does anything: a late end is silent.
    pub fn end(&self, reason: LeaveReason) {
        if self.ended.swap(true, Ordering::AcqRel) {
            return;
        }
        self.hub.connections.remove(&self.id);
        if let Some(grant) = self.identity.forget() {
            self.hub.expiries.remove(grant.expires_at, self.id);
        }
        self.leave_all(&self.hub.rooms.disconnect(self.id), reason);
        self.hub.open.fetch_sub(1, Ordering::Relaxed);
        self.hub.ended.notify_waiters();
        self.metrics.closed(reason.as_str());
        info!(connection = %self.id, dialect = self.dialect.name, reason = reason.as_str(), "disconnected");
    }

    /// One room after the other, since two are never locked at once.
    fn leave_all(&self, rooms: &[RoomId], reason: LeaveReason) -> Option<Arc<Backlog>> {
        let mut congested = None;
        for room in rooms {
            // A defect in one must not leave a ghost in the next.
            let left = self.hub.contain(self.id, || {
                let applied = self.hub.rooms.leave(self.id, room, reason)?;
                self.hub.deliver(&applied, None).congested
            });
            congested = left.flatten().or(congested);
        }
        congested
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.end(LeaveReason::Disconnected);
    }
}
