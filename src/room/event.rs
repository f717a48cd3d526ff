//! What the server tells, in the past tense, and whom.

use std::sync::Arc;
use std::time::SystemTime;

use super::command::{Metadata, Signal};
use crate::id::{ConnectionId, PeerId, RoomId};

/// A member of a room as the others see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Unique in the room.
    pub id: PeerId,
    /// The connection it speaks through.
    pub connection: ConnectionId,
    /// When it joined.
    pub joined_at: SystemTime,
    /// What it says about itself.
    pub metadata: Metadata,
}

/// A room as a joiner finds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The room.
    pub room: RoomId,
    /// When the room was created.
    pub created_at: SystemTime,
    /// The most peers it holds.
    pub capacity: usize,
    /// The joiner.
    pub me: Arc<Peer>,
    /// Everyone, the joiner included, in the order they joined.
    pub peers: Vec<Arc<Peer>>,
}

impl Snapshot {
    /// Everyone but the joiner.
    pub fn others(&self) -> impl Iterator<Item = &Arc<Peer>> {
        self.peers.iter().filter(|peer| peer.connection != self.me.connection)
    }
}

/// Something that happened in a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// You are in; also the answer to joining where one is already.
    Joined(Arc<Snapshot>),
    /// Another peer is in.
    PeerJoined {
        /// Where.
        room: RoomId,
        /// Who.
        peer: Arc<Peer>,
    },
    /// Another peer is out.
    PeerLeft {
        /// Where.
        room: RoomId,
        /// Who, with the connection it had.
        peer: Arc<Peer>,
        /// Why.
        reason: LeaveReason,
    },
    /// Another peer's connection was lost, and may come back.
    PeerAway {
        /// Where.
        room: RoomId,
        /// Who.
        peer: Arc<Peer>,
    },
    /// It has.
    PeerBack {
        /// Where.
        room: RoomId,
        /// Who.
        peer: Arc<Peer>,
    },
    /// Another peer has changed its metadata.
    PeerUpdated {
        /// Where.
        room: RoomId,
        /// The peer, with its new metadata.
        peer: Arc<Peer>,
    },
    /// A signal for you.
    SignalRelayed {
        /// Where.
        room: RoomId,
        /// The sender.
        from: Arc<Peer>,
        /// How the sender named you, which is how it wants to be named in reply.
        found_by: FoundBy,
        /// What was sent.
        signal: Arc<Signal>,
    },
    /// Another peer has hung up. That it leaves is told beside this, and ends nothing for you.
    HungUp {
        /// Where.
        room: RoomId,
    },
    /// You are out, and it was not you who left.
    Removed {
        /// Of which room.
        room: RoomId,
        /// Why.
        reason: RemovalReason,
    },
}

/// Why a peer is no longer in a room, as the others are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LeaveReason {
    /// It asked to leave.
    Left,
    /// Its connection ended.
    Disconnected,
    /// Its connection fell silent.
    TimedOut,
    /// The same peer joined from a newer connection.
    Replaced,
    /// The server ended its connection.
    Kicked,
    /// The room was closed.
    Closed,
    /// It hung up: the call is over, not just its part in it.
    HungUp,
}

impl LeaveReason {
    /// The contract's word for it.
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

/// Why a connection finds itself outside a room that it did not leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RemovalReason {
    /// The same peer joined from a newer connection.
    Replaced,
    /// An operator closed the room.
    Closed,
    /// One side of the session hung up: this one, or the other.
    HungUp,
}

/// The namespace in which a target was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FoundBy {
    /// As a peer id; also where no target was named.
    PeerId,
    /// As a connection id.
    ConnectionId,
}

/// An event and whom it is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The connections, in the order their peers joined; may be nobody.
    pub to: Recipients,
    /// What they are told.
    pub event: Event,
}

/// One connection or several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recipients {
    /// Exactly one, without an allocation: this is where signals go.
    One(ConnectionId),
    /// Any number.
    Many(Vec<ConnectionId>),
}

impl Recipients {
    /// Adds a connection.
    #[must_use]
    pub fn and(self, connection: ConnectionId) -> Self {
        let mut all = match self {
            Self::One(one) => vec![one],
            Self::Many(many) => many,
        };
        all.push(connection);
        Self::Many(all)
    }

    /// The connections.
    pub fn as_slice(&self) -> &[ConnectionId] {
        match self {
            Self::One(connection) => std::slice::from_ref(connection),
            Self::Many(connections) => connections,
        }
    }
}

/// What the one who asked is answered; the deliveries hold what the others, and it, are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// In the room now.
    Joined(Arc<Snapshot>),
    /// The list that was asked for, or with which an update is answered.
    Inspected(Arc<Snapshot>),
    /// Out of the room now.
    Left,
    /// On its way.
    Relayed,
}
