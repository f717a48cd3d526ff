//! Several nodes as one server: shared rooms, and signals from node to node, over an engine (Redis or Valkey).
//!
//! The code here has no socket and no clock, except for [`redis`]. A [`Node`] receives events (a join, a reply, a message, the time) and calls
//! two traits: [`Engine`], the connection to the engine, and [`Host`], the sessions of this node.
//!
//! - [`record`]: members and rooms as the engine stores them;
//! - [`script`]: the requests to the engine, each of them one atomic script, and its replies;
//! - [`frame`]: messages between nodes and log entries of rooms, to bytes and back;
//! - [`link`]: numbered frames from one node to another, none lost, none repeated;
//! - [`replica`]: this node's copy of a room, which follows the log of the room;
//! - [`node_list`]: which nodes live, and which is to be removed;
//! - [`node`]: joins, leaves and signals of this node, and the repair procedure of each new connection to the engine;
//! - [`Cluster`]: the nodes of this process, one for each engine, as sessions call them;
//! - [`redis`]: the connection to an engine, the only part with a socket and a clock.
//!
//! Invariant: all changes of a shared room reach this node through its inbox, in the order of the
//! room's log, and a signal is delivered only to a replica that has its sender.

use bytes::Bytes;

use crate::clock::Moment;
use crate::id::{ConnectionId, RoomId};
use crate::room::{Applied, Rooms};

pub mod frame;
mod handle;
pub mod link;
pub mod node;
pub mod node_list;
pub mod record;
pub mod redis;
pub mod replica;
pub mod script;

pub use handle::{Cluster, Status};
pub use node::Node;
pub use record::{Incarnation, Member, Membership, Nonce, RoomRecord};
pub use script::{Call, CallId, Refusal, ScriptReply};

/// The connection to one engine. Calls return at once; results are reported to the [`Node`], those of one connection in the
/// order of the calls.
pub trait Engine: Send {
    /// Closes the connection, if there is one, opens another, and subscribes to the inbox of `me`. All calls that follow carry
    /// `me` and `generation`. Reported by [`Node::connected`] or [`Node::disconnected`].
    fn connect(&mut self, me: Incarnation, generation: u64);

    /// Runs a script. Reported by [`Node::replied`], unless the connection is lost.
    fn call(&mut self, id: CallId, call: &Call);

    /// Publishes a message to an inbox. With a number, [`Node::published`] reports how many connections received it.
    fn publish(&mut self, to: Incarnation, number: Option<u64>, message: Bytes);

    /// Returns the bytes that wait to be written.
    fn queued_bytes(&self) -> usize {
        0
    }
}

/// The sessions of a node, as the cluster needs them. Implementations must not call the [`Node`] back.
pub trait Host: Send + Sync {
    /// Returns the rooms of this node.
    fn rooms(&self) -> &Rooms;

    /// Returns 64 random bits.
    fn random(&self) -> u64;

    /// Queues the deliveries of a change that another node made. Recipients on other nodes get nothing from it. Returns why a
    /// signal among them was not delivered to all its recipients here.
    fn deliver(&self, applied: &Applied, now: Moment) -> Option<SignalFailure>;

    /// Answers a join: with the room, whose deliveries are to be queued, or with the reason of its refusal.
    fn joined(&self, room: &RoomId, connection: ConnectionId, outcome: Result<Applied, Refusal>, now: Moment);

    /// Tells a local peer that it is no member of a room any more, because the cluster has no place for it.
    fn removed(&self, room: &RoomId, connection: ConnectionId, why: Refusal);

    /// Tells a local peer that a signal of it was not delivered.
    fn undelivered(&self, signal: &Undelivered);

    /// Ends the session of a connection: its client reconnects, and joins as a new peer.
    fn end(&self, connection: ConnectionId);

    /// Returns the name of a dialect that this node knows, for a name that another node has sent.
    fn dialect(&self, name: &str) -> Option<&'static str>;
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
