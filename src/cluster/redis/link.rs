//! The queue of requests between a node and the task of its connection.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use redis::Value;
use tokio::sync::{Notify, mpsc, oneshot};

use super::codec::{Pack, decode_reply, decode_rooms, encode};
use super::node_table::{NodeLoad, NodeTable, SECRET_BYTES, decode_nodes};
use super::sources::Script;
use super::{EngineTarget, NodeIdentity};
use crate::cluster::Engine;
use crate::cluster::frame::TrafficKind;
use crate::cluster::record::{Incarnation, RoomRecord};
use crate::cluster::script::{Call, CallId, Refusal, ScriptReply};
use crate::id::RoomId;
use crate::room::RoomSpec;

/// Number of kinds of messages.
const KINDS: usize = TrafficKind::ALL.len();

/// How many requests are written together at most.
const BATCH: usize = 512;

/// A request that waits to be written.
pub(super) enum Request {
    Call { id: CallId, script: Script, arguments: Vec<u8> },
    Publish { to: Incarnation, number: Option<u64>, message: Bytes },
    Ask { script: Script, arguments: Vec<u8>, answer: oneshot::Sender<Value> },
}

impl Request {
    fn length(&self) -> usize {
        match self {
            Self::Call { arguments, .. } | Self::Ask { arguments, .. } => arguments.len(),
            Self::Publish { message, .. } => message.len(),
        }
    }
}

/// The connection that the node has asked for last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) me: Incarnation,
    pub(super) generation: u64,
    /// Rises with each connection, also between incarnations.
    pub(super) number: u64,
}

#[derive(Default)]
struct Queue {
    wanted: Option<Wanted>,
    /// Whether the supervisor has yet to open the connection.
    is_new: bool,
    requests: VecDeque<Request>,
}

/// The queue of requests, and the state of the connection.
pub struct Link {
    pub(super) identity: NodeIdentity,
    pub(super) target: EngineTarget,
    queue: Mutex<Queue>,
    /// Length of the requests in the queue. Changes only while it is locked.
    queued_bytes: AtomicUsize,
    /// Requests wait.
    pub(super) wake: Notify,
    /// The node wants another connection.
    pub(super) renewed: Notify,
    pub(super) connection: AtomicU64,
    pub(super) is_connected: AtomicBool,
    pub(super) was_welcome: AtomicBool,
    pub(super) refused: mpsc::Sender<String>,
    /// Messages published and received, of each kind.
    messages: [[AtomicU64; KINDS]; 2],
    /// Bytes of the messages that were published, and of those received.
    bytes: [AtomicU64; 2],
    /// Returns what this node carries.
    load: OnceLock<Box<dyn Fn() -> NodeLoad + Send + Sync>>,
}

/// Figures of a connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Messages that were published, by the number of their kind.
    pub sent: [u64; KINDS],
    /// Messages that were received.
    pub received: [u64; KINDS],
    /// Bytes of those that were published.
    pub sent_bytes: u64,
    /// Bytes of those that were received.
    pub received_bytes: u64,
}

/// The side of the engine that a node calls.
pub struct RedisEngine(Arc<Link>);

impl RedisEngine {
    /// Creates an engine, and the link that [`serve::run`](super::serve::run) serves. If the engine
    /// refuses this node for good, the reason is sent to `refused`.
    pub fn new(
        identity: NodeIdentity,
        target: EngineTarget,
        refused: mpsc::Sender<String>,
    ) -> (Self, Arc<Link>) {
        let link = Arc::new(Link {
            identity,
            target,
            queue: Mutex::default(),
            queued_bytes: AtomicUsize::new(0),
            wake: Notify::new(),
            renewed: Notify::new(),
            connection: AtomicU64::new(0),
            is_connected: AtomicBool::new(false),
            was_welcome: AtomicBool::new(false),
            refused,
            messages: Default::default(),
            bytes: Default::default(),
            load: OnceLock::new(),
        });
        (Self(Arc::clone(&link)), link)
    }
}

impl Engine for RedisEngine {
    fn connect(&mut self, me: Incarnation, generation: u64) {
        let number = self.0.connection.fetch_add(1, Ordering::SeqCst) + 1;
        let former = {
            let mut queue = self.0.queue.lock();
            (queue.wanted, queue.is_new) = (Some(Wanted { me, generation, number }), true);
            self.0.queued_bytes.store(0, Ordering::Relaxed);
            std::mem::take(&mut queue.requests)
        };
        // Dropping the requests notifies their callers of the failure.
        drop(former);
        self.0.renewed.notify_one();
    }

    fn call(&mut self, id: CallId, call: &Call) {
        let load = self.0.load.get().map(|load| load()).unwrap_or_default();
        let (script, arguments) = encode(call, &self.0.identity, rand(), load);
        self.0.push(Request::Call { id, script, arguments });
    }

    fn publish(&mut self, to: Incarnation, number: Option<u64>, message: Bytes) {
        self.0.push(Request::Publish { to, number, message });
    }

    fn queued_bytes(&self) -> usize {
        self.0.queued_bytes.load(Ordering::Relaxed)
    }
}

/// Returns 64 random bits.
fn rand() -> u64 {
    getrandom::u64().unwrap_or_default()
}

/// Why a question was not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// The engine does not answer.
    #[error("the cluster's engine does not answer")]
    Away,
    /// It refuses.
    #[error("refused by the cluster")]
    Refused(Refusal),
}

impl Link {
    fn push(&self, request: Request) {
        let is_first = {
            let mut queue = self.queue.lock();
            self.note_queued(|bytes| bytes + request.length());
            queue.requests.push_back(request);
            queue.requests.len() == 1
        };
        // The task takes requests until none is left.
        if is_first {
            self.wake.notify_one();
        }
    }

    /// Changes the length of all requests. The queue is locked.
    fn note_queued(&self, change: impl FnOnce(usize) -> usize) {
        let bytes = self.queued_bytes.load(Ordering::Relaxed);
        self.queued_bytes.store(change(bytes), Ordering::Relaxed);
    }

    /// Sets how to find out what this node carries, which it tells with each beat.
    pub fn set_load(&self, load: impl Fn() -> NodeLoad + Send + Sync + 'static) {
        // Once is enough.
        _ = self.load.set(Box::new(load));
    }

    /// Lists the living nodes.
    pub async fn nodes(&self) -> Result<NodeTable, AskError> {
        let mut secret = [0; SECRET_BYTES];
        getrandom::fill(&mut secret).map_err(|_| AskError::Away)?;
        let mut pack = Pack::map(1);
        pack.bytes("secret", &secret);
        decode_nodes(self.ask(Script::Nodes, pack.finish()).await?).map_err(|_| AskError::Away)
    }

    /// Has the task look for requests.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// Returns whether a connection is open.
    pub fn is_connected(&self) -> bool {
        self.is_connected.load(Ordering::Relaxed)
    }

    /// Returns the figures of all connections so far.
    pub fn traffic(&self) -> Traffic {
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let [sent, received] = [0, 1].map(|direction: usize| {
            std::array::from_fn(|kind| count(&self.messages[direction][kind]))
        });
        let [sent_bytes, received_bytes] =
            [0, 1].map(|direction: usize| count(&self.bytes[direction]));
        Traffic { sent, received, sent_bytes, received_bytes }
    }

    /// Counts a message that is published (0) or was received (1). Called by one task only.
    pub(super) fn count(&self, direction: usize, message: &[u8]) {
        let add = |count: &AtomicU64, more: u64| {
            count.store(count.load(Ordering::Relaxed) + more, Ordering::Relaxed);
        };
        add(&self.messages[direction][TrafficKind::of(message) as usize], 1);
        add(&self.bytes[direction], u64::try_from(message.len()).unwrap_or(u64::MAX));
    }

    async fn ask(&self, script: Script, arguments: Vec<u8>) -> Result<Value, AskError> {
        if !self.is_connected() {
            return Err(AskError::Away);
        }
        let (answer, answered) = oneshot::channel();
        self.push(Request::Ask { script, arguments, answer });
        let limit = self.identity.lease / 2;
        tokio::time::timeout(limit, answered).await.ok().and_then(Result::ok).ok_or(AskError::Away)
    }

    async fn change(&self, script: Script, arguments: Vec<u8>) -> Result<(), AskError> {
        match self.ask(script, arguments).await.map(decode_reply)? {
            Ok(ScriptReply::Denied(refusal)) => Err(AskError::Refused(refusal)),
            Ok(ScriptReply::Done) => Ok(()),
            _ => Err(AskError::Away),
        }
    }

    /// Closes a room for all nodes.
    pub async fn close(&self, room: &RoomId) -> Result<(), AskError> {
        let mut pack = Pack::map(1);
        pack.bytes("room", room.as_str().as_bytes());
        self.change(Script::Close, pack.finish()).await
    }

    /// Creates a room that waits for its first member for some time.
    pub async fn create(&self, spec: &RoomSpec, wait: Duration) -> Result<(), AskError> {
        let mut pack = Pack::map(3);
        pack.bytes("room", spec.room.as_str().as_bytes()).spec(spec);
        pack.number("wait", u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
        self.change(Script::Create, pack.finish()).await
    }

    /// Reads rooms by their ids. Returns the number of all rooms as well.
    pub async fn rooms(&self, rooms: &[RoomId]) -> Result<(u64, Vec<RoomRecord>), AskError> {
        let mut pack = Pack::map(1);
        pack.texts("rooms", rooms.iter().map(RoomId::as_str));
        let reply = self.ask(Script::Rooms, pack.finish()).await?;
        decode_rooms(reply).map_err(|_| AskError::Away)
    }

    /// Reads rooms that were created before a time in milliseconds, the newest first.
    pub async fn page(
        &self,
        before: u64,
        limit: usize,
    ) -> Result<(u64, Vec<RoomRecord>), AskError> {
        let mut pack = Pack::map(2);
        pack.number("before", before).number("limit", u64::try_from(limit).unwrap_or(u64::MAX));
        let reply = self.ask(Script::Rooms, pack.finish()).await?;
        decode_rooms(reply).map_err(|_| AskError::Away)
    }

    /// Removes rooms that have waited for their first member for too long.
    pub async fn sweep(&self) -> Result<(), AskError> {
        self.change(Script::Sweep, Pack::map(0).finish()).await
    }

    /// Takes this node, which has no members any more, out of the list of nodes.
    pub async fn bye(&self) -> Result<(), AskError> {
        self.change(Script::Bye, Pack::map(0).finish()).await
    }

    /// Returns the connection that the node wants, if it is yet to be opened.
    pub(super) fn take_wanted(&self) -> Option<Wanted> {
        let mut queue = self.queue.lock();
        let wanted = queue.wanted.filter(|_| queue.is_new);
        queue.is_new = false;
        wanted
    }

    /// Takes requests of a connection.
    pub(super) fn take(&self, connection: Wanted) -> Vec<Request> {
        let mut queue = self.queue.lock();
        if queue.wanted != Some(connection) {
            return Vec::new();
        }
        let count = queue.requests.len().min(BATCH);
        let batch: Vec<Request> = queue.requests.drain(..count).collect();
        self.note_queued(|bytes| bytes - batch.iter().map(Request::length).sum::<usize>());
        batch
    }

    pub(super) fn inbox(&self, node: Incarnation) -> String {
        format!("{}i:{node}", self.identity.keys())
    }
}
