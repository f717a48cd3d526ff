//! One simulated process: the nodes of the product, the sessions that it would have, and its
//! connections to the engines.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use parlor::clock::Moment;
use parlor::cluster::frame::RemoteMediaNotice;
use parlor::cluster::media::ServedMedia;
use parlor::cluster::node::Settings;
use parlor::cluster::{
    Call, CallId, Engine, Host, Incarnation, Nodes, Queued, Refusal, Released, Resumed, Undelivered,
};
use parlor::id::{ConnectionId, RoomId};
use parlor::room::{Applied, Delivery, Event, LeaveReason, RoomLimits, Rooms};

use super::media::{Believed, Media};
use super::random::Random;

/// A request of a node to its engine.
#[derive(Debug)]
pub(crate) enum Request {
    Connect { me: Incarnation, generation: u64 },
    Call { id: CallId, call: Call },
    Publish { to: Incarnation, number: Option<u64>, message: Bytes },
}

type Queue = Arc<Mutex<Vec<(usize, Request)>>>;

/// A node's connection to one engine: requests are kept until the simulation takes them.
#[derive(Debug)]
struct Requests {
    engine: usize,
    queue: Queue,
}

impl Engine for Requests {
    fn connect(&mut self, me: Incarnation, generation: u64) {
        self.queue.lock().push((self.engine, Request::Connect { me, generation }));
    }

    fn call(&mut self, id: CallId, call: &Call) {
        self.queue.lock().push((self.engine, Request::Call { id, call: call.clone() }));
    }

    fn publish(&mut self, to: Incarnation, number: Option<u64>, message: Bytes) {
        self.queue.lock().push((self.engine, Request::Publish { to, number, message }));
    }
}

/// A message to a client. Those of a session are numbered.
#[derive(Debug, Clone)]
pub(crate) enum ToClient {
    Event(Event),
    JoinRefused {
        room: RoomId,
    },
    Removed {
        room: RoomId,
    },
    /// The client has left a room: nothing of it follows.
    Left {
        room: RoomId,
    },
    Undelivered {
        number: u64,
        to: ConnectionId,
    },
    /// Not numbered: the session was resumed, with another token.
    Resumed,
    /// Not numbered: there is no session to resume.
    Refused,
    /// Not numbered: the server has closed the connection, and ended the session.
    Closed,
}

/// A request of a process to the world.
#[derive(Debug)]
pub(crate) enum Notice {
    Message {
        connection: ConnectionId,
        client: usize,
        attachment: u64,
        number: u64,
        message: ToClient,
    },
    /// A session that was claimed stays, without a connection.
    Kept {
        connection: ConnectionId,
    },
    /// A session is to end.
    End {
        connection: ConnectionId,
    },
    /// A peer was removed from a room.
    Left {
        room: RoomId,
        connection: ConnectionId,
        reason: LeaveReason,
    },
    Kicked {
        id: u64,
        is_done: bool,
    },
    /// The media server has answered a request.
    Served(ServedMedia),
    /// The media server has a notice for a peer of another node.
    Media(RemoteMediaNotice),
    /// The last transport of a room is closed.
    MediaEnded {
        room: RoomId,
    },
    /// A session was handed over to another node.
    Released,
}

/// A session on its node.
#[derive(Debug)]
pub(crate) struct ServerSession {
    connection: ConnectionId,
    client: usize,
    /// The connection of the client; `None` while it is away.
    attachment: Option<u64>,
    /// Number of the absence.
    pub(crate) absence: u64,
    is_departing: bool,
    /// Whether it is about to end: nothing is sent to it any more.
    is_ending: bool,
    /// Whether it has left the vault.
    is_taken: bool,
    next: u64,
    /// The replay buffer.
    kept: Vec<(u64, ToClient)>,
    /// The rooms of joins that are not answered yet.
    pub(crate) joining: BTreeSet<RoomId>,
}

/// Sessions on their way between processes.
pub(crate) type Vault = Arc<Mutex<BTreeMap<u64, ServerSession>>>;

/// A client that resumes a session of another process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Resuming {
    pub(crate) client: usize,
    pub(crate) attachment: u64,
    pub(crate) seen: u64,
}

#[derive(Default)]
struct Inner {
    sessions: BTreeMap<ConnectionId, ServerSession>,
    resuming: BTreeMap<ConnectionId, Resuming>,
    /// Sessions that have lost their connection to a claim, and are to be announced as away.
    losing: Vec<ConnectionId>,
    notices: Vec<Notice>,
}

/// The sessions of a process.
pub(crate) struct Sessions {
    rooms: Rooms,
    random: Mutex<Random>,
    vault: Vault,
    inner: Mutex<Inner>,
    pub(super) media: Mutex<Media>,
}

impl Inner {
    /// Sends a message to a client, or keeps it.
    fn send(&mut self, connection: ConnectionId, message: ToClient) {
        let Some(session) = self.sessions.get_mut(&connection) else { return };
        if session.is_ending {
            return;
        }
        let number = session.next;
        session.next += 1;
        session.kept.push((number, message.clone()));
        if let Some(attachment) = session.attachment {
            let client = session.client;
            self.notices.push(Notice::Message { connection, client, attachment, number, message });
        }
    }

    /// Connects a client to a session: it is sent what it has missed.
    fn attach(
        &mut self,
        connection: ConnectionId,
        Resuming { client, attachment, seen }: Resuming,
    ) {
        let session = self.sessions.get_mut(&connection).unwrap();
        session.attachment = Some(attachment);
        session.kept.retain(|(number, _)| *number > seen);
        let message = ToClient::Resumed;
        self.notices.push(Notice::Message { connection, client, attachment, number: 0, message });
        for (number, message) in session.kept.clone() {
            self.notices.push(Notice::Message { connection, client, attachment, number, message });
        }
    }
}

impl Sessions {
    pub(crate) fn take(&self) -> Vec<Notice> {
        std::mem::take(&mut self.inner.lock().notices)
    }

    /// Announces the sessions that have lost their connection to a claim, here. Returns them.
    pub(crate) fn announce_losses(&self) -> Vec<ConnectionId> {
        let losing = std::mem::take(&mut self.inner.lock().losing);
        for connection in &losing {
            for room in self.rooms.of(*connection) {
                if let Some(applied) = self.rooms.announce(*connection, &room, true) {
                    self.queue(&applied.deliveries);
                }
            }
        }
        losing
    }

    pub(crate) fn notify(&self, notice: Notice) {
        self.inner.lock().notices.push(notice);
    }

    pub(crate) fn connections(&self) -> Vec<ConnectionId> {
        self.inner.lock().sessions.keys().copied().collect()
    }

    pub(crate) fn has(&self, connection: ConnectionId) -> bool {
        self.inner.lock().sessions.contains_key(&connection)
    }

    /// Opens a session.
    pub(crate) fn open(&self, connection: ConnectionId, client: usize, attachment: u64) {
        self.rooms.connect(connection);
        let session = ServerSession {
            connection,
            client,
            attachment: Some(attachment),
            absence: 0,
            is_departing: false,
            is_ending: false,
            is_taken: false,
            next: 1,
            kept: Vec::new(),
            joining: BTreeSet::new(),
        };
        self.inner.lock().sessions.insert(connection, session);
    }

    /// Forgets a session, and tells its client. Returns the rooms of its joins that are not
    /// answered yet.
    pub(crate) fn close(&self, connection: ConnectionId) -> Option<BTreeSet<RoomId>> {
        let mut inner = self.inner.lock();
        let session = inner.sessions.remove(&connection)?;
        if let Some(attachment) = session.attachment {
            let (client, message) = (session.client, ToClient::Closed);
            inner.notices.push(Notice::Message {
                connection,
                client,
                attachment,
                number: 0,
                message,
            });
        }
        Some(session.joining)
    }

    /// Sends a message to the client of a session.
    pub(crate) fn send(&self, connection: ConnectionId, message: ToClient) {
        self.inner.lock().send(connection, message);
    }

    pub(crate) fn joins(&self, connection: ConnectionId, room: &RoomId, is_joining: bool) {
        let mut inner = self.inner.lock();
        let Some(session) = inner.sessions.get_mut(&connection) else { return };
        if is_joining {
            session.joining.insert(room.clone());
        } else {
            session.joining.remove(room);
        }
    }

    /// The connection of a client is lost. Returns the number of the absence, unless the session
    /// has another connection.
    pub(crate) fn detach(&self, connection: ConnectionId, attachment: u64) -> Option<u64> {
        let mut inner = self.inner.lock();
        let session = inner
            .sessions
            .get_mut(&connection)
            .filter(|session| session.attachment == Some(attachment))?;
        session.attachment = None;
        session.absence += 1;
        Some(session.absence)
    }

    /// Resumes a session of this process. Returns whether it was away, or `None` if it cannot be
    /// resumed.
    pub(crate) fn resume(&self, connection: ConnectionId, resuming: Resuming) -> Option<bool> {
        let mut inner = self.inner.lock();
        let session = inner.sessions.get(&connection).filter(|session| !session.is_departing)?;
        let was_away = session.attachment.is_none();
        inner.attach(connection, resuming);
        Some(was_away)
    }

    /// Returns whether a session has been away since.
    pub(crate) fn is_away(&self, connection: ConnectionId, absence: u64) -> bool {
        let inner = self.inner.lock();
        let session = inner.sessions.get(&connection);
        session.is_some_and(|session| session.attachment.is_none() && session.absence == absence)
    }

    /// Returns the number of the present absence.
    pub(crate) fn absence(&self, connection: ConnectionId) -> Option<u64> {
        self.inner.lock().sessions.get(&connection).map(|session| session.absence)
    }

    pub(crate) fn await_resumption(&self, connection: ConnectionId, resuming: Resuming) {
        self.inner.lock().resuming.insert(connection, resuming);
    }

    pub(crate) fn refuse(
        &self,
        connection: ConnectionId,
        Resuming { client, attachment, .. }: Resuming,
    ) {
        let message = ToClient::Refused;
        self.inner.lock().notices.push(Notice::Message {
            connection,
            client,
            attachment,
            number: 0,
            message,
        });
    }

    /// Queues deliveries for the sessions of this process. Returns the recipients of signals that
    /// are elsewhere.
    pub(crate) fn queue(&self, deliveries: &[Delivery]) -> Vec<(Event, Vec<ConnectionId>)> {
        for delivery in deliveries {
            self.remove_media(&delivery.event);
        }
        let mut inner = self.inner.lock();
        let mut elsewhere = Vec::new();
        for Delivery { to, event } in deliveries {
            let (here, remote): (Vec<ConnectionId>, Vec<ConnectionId>) = to
                .as_slice()
                .iter()
                .partition(|connection| inner.sessions.contains_key(*connection));
            for connection in here {
                inner.send(connection, ToClient::Event(event.clone()));
            }
            if matches!(event, Event::SignalRelayed { .. }) && !remote.is_empty() {
                elsewhere.push((event.clone(), remote));
            }
        }
        elsewhere
    }
}

impl Host for Sessions {
    fn rooms(&self) -> &Rooms {
        &self.rooms
    }

    fn random(&self) -> u64 {
        self.random.lock().next()
    }

    fn deliver(&self, applied: &Applied, _: Moment) -> Queued {
        self.queue(&applied.deliveries);
        Queued::default()
    }

    fn joined(
        &self,
        room: &RoomId,
        connection: ConnectionId,
        outcome: Result<Applied, Refusal>,
        _: Moment,
    ) {
        assert!(self.has(connection), "{connection} joins, which has ended");
        self.joins(connection, room, false);
        match outcome {
            Ok(applied) => _ = self.queue(&applied.deliveries),
            Err(_) => {
                self.inner.lock().send(connection, ToClient::JoinRefused { room: room.clone() });
            }
        }
    }

    fn removed(&self, room: &RoomId, connection: ConnectionId, _: Refusal) {
        self.inner.lock().send(connection, ToClient::Removed { room: room.clone() });
    }

    fn undelivered(&self, signal: &Undelivered) {
        let (number, to) = (signal.note, signal.to);
        self.inner.lock().send(signal.from, ToClient::Undelivered { number, to });
    }

    fn end(&self, connection: ConnectionId) {
        let mut inner = self.inner.lock();
        if let Some(session) = inner.sessions.get_mut(&connection) {
            session.is_ending = true;
        }
        inner.notices.push(Notice::End { connection });
    }

    fn dialect(&self, name: &str) -> Option<&'static str> {
        (name == "test").then_some("test")
    }

    fn claimed(&self, connection: ConnectionId, request: &[u8]) -> bool {
        let mut inner = self.inner.lock();
        let Some(session) = inner.sessions.get_mut(&connection) else { return false };
        if session.client.to_be_bytes() != request {
            return false;
        }
        let was_connected = session.attachment.take().is_some();
        session.absence += 1;
        let is_granted = !std::mem::replace(&mut session.is_departing, true);
        if was_connected {
            inner.losing.push(connection);
        }
        is_granted
    }

    fn kept(&self, connection: ConnectionId) {
        let mut inner = self.inner.lock();
        if let Some(session) = inner.sessions.get_mut(&connection) {
            session.is_departing = false;
            inner.notices.push(Notice::Kept { connection });
        }
    }

    fn release(&self, connection: ConnectionId) -> Option<Released> {
        let session = self.inner.lock().sessions.remove(&connection)?;
        self.notify(Notice::Released);
        let rooms = self.rooms.moved_away(connection);
        let mut vault = self.vault.lock();
        let key = vault.len() as u64;
        vault.insert(key, session);
        Some(Released { session: Bytes::copy_from_slice(&key.to_be_bytes()), rooms })
    }

    fn resumed(&self, connection: ConnectionId, session: &[u8]) -> Resumed {
        let key = u64::from_be_bytes(session.try_into().unwrap());
        let session = self.vault.lock().get_mut(&key).map(ServerSession::take);
        let session = session.expect("a session that was released");
        self.rooms.connect(connection);
        let mut inner = self.inner.lock();
        inner.sessions.insert(
            connection,
            ServerSession { is_departing: false, is_ending: false, attachment: None, ..session },
        );
        if let Some(resuming) = inner.resuming.remove(&connection) {
            inner.attach(connection, resuming);
        }
        // If its client is not there any more, its connection is lost at once.
        Resumed::Connected
    }

    fn refused(&self, connection: ConnectionId) {
        let resuming = self.inner.lock().resuming.remove(&connection);
        self.refuse(connection, resuming.expect("a client waits for the outcome"));
    }

    fn kick(&self, room: &RoomId, connection: ConnectionId) -> bool {
        let Some(applied) = self.rooms.leave(connection, room, LeaveReason::Kicked) else {
            return false;
        };
        self.queue(&applied.deliveries);
        let mut inner = self.inner.lock();
        inner.send(connection, ToClient::Removed { room: room.clone() });
        let (room, reason) = (room.clone(), LeaveReason::Kicked);
        inner.notices.push(Notice::Left { room, connection, reason });
        true
    }

    fn kicked(&self, id: u64, is_done: bool) {
        self.inner.lock().notices.push(Notice::Kicked { id, is_done });
    }
}

impl ServerSession {
    /// Returns the connection of a session that no node has.
    pub(crate) fn moving(&self) -> Option<ConnectionId> {
        (!self.is_taken).then_some(self.connection)
    }

    fn take(&mut self) -> Self {
        assert!(!std::mem::replace(&mut self.is_taken, true), "a session moves once");
        let (kept, joining) = (std::mem::take(&mut self.kept), std::mem::take(&mut self.joining));
        Self { kept, joining, is_taken: false, ..*self }
    }
}

/// A process: it may be stopped, which delays everything that it would do.
pub(crate) struct Process {
    pub(crate) nodes: Nodes,
    pub(crate) sessions: Arc<Sessions>,
    requests: Queue,
    pub(crate) is_stopped: bool,
}

impl Process {
    /// Announces the sessions that have lost their connection to a claim.
    pub(crate) fn announce_losses(&mut self, now: Moment) {
        for connection in self.sessions.announce_losses() {
            self.nodes.announce(now, connection, true);
        }
    }

    pub(crate) fn start(
        engines: usize,
        settings: Settings,
        limits: RoomLimits,
        random: u64,
        vault: &Vault,
        believed: &Believed,
    ) -> Self {
        let sessions = Arc::new(Sessions {
            rooms: Rooms::new(limits),
            random: Mutex::new(Random(random)),
            vault: Arc::clone(vault),
            inner: Mutex::default(),
            media: Mutex::new(Media::new(believed)),
        });
        let requests = Queue::default();
        let engine = |engine| -> Box<dyn Engine> {
            Box::new(Requests { engine, queue: Arc::clone(&requests) })
        };
        let host = Arc::clone(&sessions) as Arc<dyn Host>;
        let nodes = Nodes::new(&host, (0..engines).map(engine).collect(), settings);
        Self { nodes, sessions, requests, is_stopped: false }
    }

    pub(crate) fn take_requests(&self) -> Vec<(usize, Request)> {
        std::mem::take(&mut self.requests.lock())
    }
}
