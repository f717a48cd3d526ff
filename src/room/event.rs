//! Events of rooms, and their recipients.

use std::sync::Arc;
use std::time::SystemTime;

use super::command::{Metadata, Signal};
use crate::id::{ConnectionId, PeerId, RoomId};

/// A member of a room, as other peers see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Peer id, unique within the room.
    pub id: PeerId,
    /// Id of the peer's connection.
    pub connection: ConnectionId,
    /// Time of the join.
    pub joined_at: SystemTime,
    /// The peer's metadata.
    pub metadata: Metadata,
}

/// The state of a room, as one of its peers sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Id of the room.
    pub room: RoomId,
    /// Time at which the room was created.
    pub created_at: SystemTime,
    /// Maximum number of peers.
    pub capacity: usize,
    /// The peer that receives this snapshot.
    pub me: Arc<Peer>,
    /// All peers, including the receiver, in the order in which they joined.
    pub peers: Vec<Arc<Peer>>,
}

impl Snapshot {
    /// Returns all peers except the receiver.
    pub fn others(&self) -> impl Iterator<Item = &Arc<Peer>> {
        self.peers.iter().filter(|peer| peer.connection != self.me.connection)
    }
}

/// An event in a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The recipient has joined, or was already in the room when it joined again.
    Joined(Arc<Snapshot>),
    /// Another peer has joined.
    PeerJoined {
        /// The room.
        room: RoomId,
        /// The peer.
        peer: Arc<Peer>,
    },
    /// Another peer has left.
    PeerLeft {
        /// The room.
        room: RoomId,
        /// The peer, with its last connection.
        peer: Arc<Peer>,
        /// Reason why it left.
        reason: LeaveReason,
    },
    /// Another peer's connection was lost, and the peer may be back.
    PeerAway {
        /// The room.
        room: RoomId,
        /// The peer.
        peer: Arc<Peer>,
    },
    /// Another peer has resumed its session.
    PeerBack {
        /// The room.
        room: RoomId,
        /// The peer.
        peer: Arc<Peer>,
    },
    /// Another peer has changed its metadata.
    PeerUpdated {
        /// The room.
        room: RoomId,
        /// The peer, with its new metadata.
        peer: Arc<Peer>,
    },
    /// A signal for the recipient.
    SignalRelayed {
        /// The room.
        room: RoomId,
        /// The sender.
        from: Arc<Peer>,
        /// How the sender addressed the recipient, which is how it expects to be addressed in
        /// reply.
        found_by: FoundBy,
        /// The signal.
        signal: Arc<Signal>,
    },
    /// Another peer has hung up. It leaves with a separate event.
    HungUp {
        /// The room.
        room: RoomId,
    },
    /// The recipient was removed from the room.
    Removed {
        /// The room.
        room: RoomId,
        /// Reason of the removal.
        reason: RemovalReason,
    },
}

/// Reasons why a peer left a room, as other peers see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LeaveReason {
    /// The peer left by its own request.
    Left,
    /// The connection ended.
    Disconnected,
    /// The client did not answer heartbeats.
    TimedOut,
    /// A newer connection joined as this peer.
    Replaced,
    /// The server closed the connection.
    Kicked,
    /// The room was closed.
    Closed,
    /// The peer hung up, which ends the call for both peers.
    HungUp,
}

impl LeaveReason {
    /// Returns the reason as it is written in every protocol.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Left | Self::HungUp => "left",
            Self::Disconnected => "disconnected",
            Self::TimedOut => "timeout",
            Self::Replaced => "replaced",
            Self::Kicked => "kicked",
            Self::Closed => "closed",
        }
    }
}

/// Reasons why the server removes a connection from a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RemovalReason {
    /// A newer connection joined as this peer.
    Replaced,
    /// An operator closed the room.
    Closed,
    /// One of the two peers hung up.
    HungUp,
    /// An operator removed this peer.
    Kicked,
}

/// The kind of id by which a target was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FoundBy {
    /// A peer id, or no target at all.
    PeerId,
    /// A connection id.
    ConnectionId,
}

/// An event with its recipients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Recipients in the order in which they joined; may be empty.
    pub to: Recipients,
    /// The event.
    pub event: Event,
}

/// Recipients of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recipients {
    /// A single connection, without an allocation, as for most signals.
    One(ConnectionId),
    /// Any number of connections.
    Many(Vec<ConnectionId>),
}

impl Recipients {
    /// Adds a recipient.
    #[must_use]
    pub fn and(self, connection: ConnectionId) -> Self {
        let mut all = match self {
            Self::One(one) => vec![one],
            Self::Many(many) => many,
        };
        all.push(connection);
        Self::Many(all)
    }

    /// Returns the recipients.
    pub fn as_slice(&self) -> &[ConnectionId] {
        match self {
            Self::One(connection) => std::slice::from_ref(connection),
            Self::Many(connections) => connections,
        }
    }
}

/// The reply to the sender of a command. Events are in the deliveries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The sender is in the room.
    Joined(Arc<Snapshot>),
    /// The state of the room, in reply to a request or an update.
    Inspected(Arc<Snapshot>),
    /// The sender has left the room.
    Left,
    /// The signal was relayed.
    Relayed,
}
