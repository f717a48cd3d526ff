//! Several nodes as one server: shared rooms, and signals from node to node, over an engine (Redis
//! or Valkey).
//!
//! The code here has no socket and no clock, except for [`redis`]. A [`Node`] receives events (a
//! join, a reply, a message, the time) and calls two traits: [`Engine`], the connection to the
//! engine, and [`Host`], the sessions of this node.
//!
//! - [`record`]: members and rooms as the engine stores them;
//! - [`script`]: the requests to the engine, each of them one atomic script, and its replies;
//! - [`frame`]: messages between nodes and log entries of rooms, to bytes and back;
//! - [`link`]: numbered frames from one node to another, none lost, none repeated;
//! - [`replica`]: this node's copy of a room, which follows the log of the room;
//! - [`expiring_map`]: a map whose entries expire in order;
//! - [`node_list`]: which nodes live, and which is to be removed;
//! - [`node`]: joins, leaves and signals of this node, and the repair procedure of each new
//!   connection to the engine;
//! - [`moving`]: the state of a session move, when a client resumes its session on another node;
//! - [`nodes`]: this process on all engines among which rooms are spread, and the session moves
//!   that concern several of them;
//! - [`media`]: the media of a room is on one node, which serves the peers of all others;
//! - [`Cluster`]: the nodes of this process, one for each engine, as sessions call them;
//! - [`redis`]: the connection to an engine, the only part with a socket and a clock.
//!
//! Invariant: all changes of a shared room reach this node through its inbox, in the order of the
//! room's log, and a signal is delivered only to a replica that has its sender.

use std::time::Duration;

use bytes::Bytes;

use crate::clock::Moment;
use crate::id::{ConnectionId, RoomId};
use crate::room::{Applied, Rooms, ShownRoom};

pub mod expiring_map;
pub mod frame;
mod handle;
pub mod link;
pub mod media;
pub mod moving;
pub mod node;
pub mod node_list;
pub mod nodes;
pub mod record;
pub mod redis;
pub mod replica;
pub mod script;

pub use handle::{Cluster, Status};
pub use media::MediaHost;
pub use node::Node;
pub use nodes::Nodes;
pub use record::{Incarnation, Member, Membership, Nonce, RoomRecord};
pub use script::{Call, CallId, Refusal, ScriptReply};

/// The connection to one engine. Calls return at once; results are reported to the [`Node`], those
/// of one connection in the order of the calls.
pub trait Engine: Send {
    /// Closes the connection, if there is one, opens another, and subscribes to the inbox of `me`.
    /// All calls that follow carry `me` and `generation`. Reported by [`Node::connected`] or
    /// [`Node::disconnected`].
    fn connect(&mut self, me: Incarnation, generation: u64);

    /// Runs a script. Reported by [`Node::replied`], unless the connection is lost.
    fn call(&mut self, id: CallId, call: &Call);

    /// Publishes a message to an inbox. With a number, [`Node::published`] reports that the engine has
    /// taken it, perhaps some time later.
    fn publish(&mut self, to: Incarnation, number: Option<u64>, message: Bytes);

    /// Returns the bytes that wait to be written.
    fn queued_bytes(&self) -> usize {
        0
    }
}

/// The outcome of deliveries to local peers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Queued {
    /// Why a signal among them was not delivered to all its recipients here.
    pub failure: Option<SignalFailure>,
    /// Whether the send queue of a recipient is above its high-water mark.
    pub is_congested: bool,
}

/// The sessions of a node, as the cluster needs them. Implementations must not call the [`Node`]
/// back.
pub trait Host: MediaHost + Send + Sync {
    /// Returns the rooms of this node.
    fn rooms(&self) -> &Rooms;

    /// Returns 64 random bits.
    fn random(&self) -> u64;

    /// Queues the deliveries of a change that another node made. Recipients on other nodes get
    /// nothing from it.
    fn deliver(&self, applied: &Applied, now: Moment) -> Queued;

    /// Answers a join: with the room, whose deliveries are to be queued, or with the reason of its
    /// refusal.
    fn joined(
        &self,
        room: &RoomId,
        connection: ConnectionId,
        outcome: Result<Applied, Refusal>,
        now: Moment,
    );

    /// Tells a local peer that it is no member of a room any more, because the cluster has no place
    /// for it.
    fn removed(&self, room: &RoomId, connection: ConnectionId, why: Refusal);

    /// Tells a local peer that a signal of it was not delivered.
    fn undelivered(&self, signal: &Undelivered);

    /// Ends the session of a connection: its client reconnects, and joins as a new peer.
    fn end(&self, connection: ConnectionId);

    /// Returns the name of a dialect that this node knows, for a name that another node has sent.
    fn dialect(&self, name: &str) -> Option<&'static str>;

    /// Checks the request of a client that resumes a local session on another node. If it is
    /// granted, closes the connection that the session may still have, and keeps what is sent to it
    /// from then on; [`Host::release`] or [`Host::end`] follows. A session whose replay buffer
    /// lacks a frame that the client has missed ends, and the request is refused. By default all
    /// are refused.
    fn claimed(&self, connection: ConnectionId, request: &[u8]) -> bool {
        _ = (connection, request);
        false
    }

    /// Takes a session out of this node, without leaving its rooms, and returns it for
    /// [`Host::resumed`] on another node.
    fn release(&self, connection: ConnectionId) -> Option<Released> {
        _ = connection;
        None
    }

    /// Takes over a session that has moved to this node: connects it to the rooms of this node
    /// ([`Rooms::connect`]), and sends the client the frames that it has missed. Deliveries for it
    /// follow, and then [`Host::arrived`].
    fn resumed(&self, connection: ConnectionId, session: &[u8]) -> Resumed {
        _ = (connection, session);
        Resumed::Lost
    }

    /// Tells a session that has moved to this node what it has missed of a room, as the deliveries
    /// of `applied`.
    fn catch_up(&self, applied: &Applied, now: Moment) {
        _ = self.deliver(applied, now);
    }

    /// Notes that a session that [`Host::resumed`] has taken over has got everything that it has
    /// missed: from now on signals of local peers are delivered to it directly.
    fn arrived(&self, connection: ConnectionId) {
        _ = connection;
    }

    /// Tells a client that the session that it resumes moves from node to node for other connections of
    /// the client: it tries again.
    fn moves_on(&self, connection: ConnectionId) {
        self.refused(connection);
    }

    /// Notes that a session that [`Host::claimed`] has granted stays here after all: a node with a peer
    /// in its rooms does not answer. Its client may resume it.
    fn kept(&self, connection: ConnectionId) {
        _ = connection;
    }

    /// Returns whether all nodes may be asked for a session that a client resumes here, because the
    /// node that its resume token names is unknown or does not answer.
    fn may_ask_all(&self, connection: ConnectionId) -> bool {
        _ = connection;
        true
    }

    /// Tells a client that the session that it resumes is lost: it joins afresh.
    fn refused(&self, connection: ConnectionId) {
        _ = connection;
    }

    /// Returns whether the send queue of a local peer is above its high-water mark. If so,
    /// [`Cluster::drained`] follows, once. By default no queue ever is.
    fn watch_congestion(&self, connection: ConnectionId) -> bool {
        _ = connection;
        false
    }

    /// Notes that the send queue of a peer of another node is above its high-water mark, or is no
    /// longer: local senders wait for it as for the queue of a local peer.
    fn peer_congested(&self, connection: ConnectionId, is_congested: bool) {
        _ = (connection, is_congested);
    }

    /// Reports the time from a beat to its echo.
    fn echoed(&self, after: Duration) {
        _ = after;
    }

    /// Removes a local peer from a room, as an operator asked another node to. Returns whether it
    /// was there.
    fn kick(&self, room: &RoomId, connection: ConnectionId) -> bool {
        _ = (room, connection);
        false
    }

    /// Evicts a local peer of a pair session that has fallen silent, and returns it. By default no
    /// peer ever is silent.
    fn evict_silent(&self, room: &RoomId) -> Option<ConnectionId> {
        _ = room;
        None
    }

    /// Reports the answer to [`Nodes::kick`].
    fn kicked(&self, id: u64, is_done: bool) {
        _ = (id, is_done);
    }
}

/// A session that was taken out of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Released {
    /// The session, for [`Host::resumed`] on another node.
    pub session: Bytes,
    /// The rooms of the session, as its client knows them.
    pub rooms: Vec<ShownRoom>,
}

/// The outcome of a session move, on the node to which it moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resumed {
    /// The client is connected.
    Connected,
    /// The session has no connection; its client may resume it here.
    Away,
    /// It could not be read.
    Lost,
}

/// A signal that could not be delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undelivered {
    /// The room.
    pub room: RoomId,
    /// The sender.
    pub from: ConnectionId,
    /// The recipient.
    pub to: ConnectionId,
    /// Why it was not delivered.
    pub failure: SignalFailure,
    /// A number that identifies the signal to its sender, or 0.
    pub note: u64,
}

/// Why a signal was not delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignalFailure {
    /// The recipient is not in the room any more.
    TargetNotFound,
    /// It could not be delivered in time.
    NotDelivered,
}
