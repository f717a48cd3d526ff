//! One simulated process: a node of the product, the sessions that it would have, and its connection to the engine.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use parlor::clock::Moment;
use parlor::cluster::node::Settings;
use parlor::cluster::{Call, CallId, Engine, Host, Incarnation, Node, Refusal, SignalFailure, Undelivered};
use parlor::id::{ConnectionId, RoomId};
use parlor::room::{Applied, Delivery, RoomLimits, Rooms};

use super::random::Random;

/// A request of the node to its engine.
#[derive(Debug)]
pub(crate) enum Request {
    Connect { me: Incarnation, generation: u64 },
    Call { id: CallId, call: Call },
    Publish { to: Incarnation, number: Option<u64>, message: Bytes },
}

/// A notice of the node to its sessions.
#[derive(Debug)]
pub(crate) enum Notice {
    Deliveries(Vec<Delivery>),
    Joined { connection: ConnectionId, outcome: Result<Vec<Delivery>, Refusal> },
    Removed { connection: ConnectionId },
    Undelivered(Undelivered),
    End { connection: ConnectionId },
}

/// The engine's side of a node: requests are kept until the simulation takes them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Requests(Arc<Mutex<Vec<Request>>>);

impl Requests {
    pub(crate) fn take(&self) -> Vec<Request> {
        std::mem::take(&mut self.0.lock())
    }
}

impl Engine for Requests {
    fn connect(&mut self, me: Incarnation, generation: u64) {
        self.0.lock().push(Request::Connect { me, generation });
    }

    fn call(&mut self, id: CallId, call: &Call) {
        self.0.lock().push(Request::Call { id, call: call.clone() });
    }

    fn publish(&mut self, to: Incarnation, number: Option<u64>, message: Bytes) {
        self.0.lock().push(Request::Publish { to, number, message });
    }
}

/// The sessions' side of a node: notices are kept until the simulation takes them.
pub(crate) struct Sessions {
    rooms: Rooms,
    random: Mutex<Random>,
    notices: Mutex<Vec<Notice>>,
}

impl Sessions {
    pub(crate) fn take(&self) -> Vec<Notice> {
        std::mem::take(&mut self.notices.lock())
    }

    fn note(&self, notice: Notice) {
        self.notices.lock().push(notice);
    }
}

impl Host for Sessions {
    fn rooms(&self) -> &Rooms {
        &self.rooms
    }

    fn random(&self) -> u64 {
        self.random.lock().next()
    }

    fn deliver(&self, applied: &Applied, _: Moment) -> Option<SignalFailure> {
        self.note(Notice::Deliveries(applied.deliveries.clone()));
        None
    }

    fn joined(&self, _: &RoomId, connection: ConnectionId, outcome: Result<Applied, Refusal>, _: Moment) {
        let outcome = outcome.map(|applied| applied.deliveries.clone());
        self.note(Notice::Joined { connection, outcome });
    }

    fn removed(&self, _: &RoomId, connection: ConnectionId, _: Refusal) {
        self.note(Notice::Removed { connection });
    }

    fn undelivered(&self, signal: &Undelivered) {
        self.note(Notice::Undelivered(signal.clone()));
    }

    fn end(&self, connection: ConnectionId) {
        self.note(Notice::End { connection });
    }

    fn dialect(&self, name: &str) -> Option<&'static str> {
        (name == "test").then_some("test")
    }
}

/// A process: it may be stopped, which delays everything that it would do.
pub(crate) struct Process {
    pub(crate) node: Node,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) requests: Requests,
    pub(crate) is_stopped: bool,
}

impl Process {
    pub(crate) fn start(settings: Settings, limits: RoomLimits, random: u64) -> Self {
        let sessions = Arc::new(Sessions {
            rooms: Rooms::new(limits),
            random: Mutex::new(Random(random)),
            notices: Mutex::default(),
        });
        let requests = Requests::default();
        let node = Node::new(Arc::clone(&sessions) as Arc<dyn Host>, Box::new(requests.clone()), settings);
        Self { node, sessions, requests, is_stopped: false }
    }
}
