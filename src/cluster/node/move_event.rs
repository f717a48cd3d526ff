//! The steps of session moves that a node does not decide alone.

use super::{ConnectionId, Incarnation, RoomId};
use crate::cluster::frame::Handover;

/// A step of a session move, for [`Nodes`](crate::cluster::Nodes).
#[derive(Debug)]
pub enum MoveEvent {
    /// A node claims a session of this one.
    Claimed {
        /// The node.
        from: Incarnation,
        /// The session.
        connection: ConnectionId,
        /// Contents that the session layer checks.
        request: bytes::Bytes,
    },
    /// A node holds signals to a session.
    Held {
        /// The node.
        from: Incarnation,
        /// The session.
        connection: ConnectionId,
    },
    /// A node refuses a claim of this one.
    Refused {
        /// The node.
        from: Incarnation,
        /// The session.
        connection: ConnectionId,
        /// The node that the session has moved to, if that one knows.
        holder: Option<Incarnation>,
    },
    /// A node hands a session over.
    HandedOver {
        /// The node.
        from: Incarnation,
        /// The session.
        handover: Box<Handover>,
    },
    /// The log has given a member to this node.
    Taken {
        /// The room.
        room: RoomId,
        /// The member.
        connection: ConnectionId,
    },
    /// The engine has refused to give a member to this node.
    NotTaken {
        /// The member.
        connection: ConnectionId,
    },
    /// A member whose session was handed over is on another node, or has left.
    Settled {
        /// The room.
        room: RoomId,
        /// The member.
        connection: ConnectionId,
    },
    /// The connection to the engine is lost.
    Interrupted,
    /// This node was declared dead.
    Fenced,
}
