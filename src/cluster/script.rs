//! Requests to the engine. Each is one script, which the engine runs as one step, and which begins
//! by checking the caller's incarnation and generation.

use std::collections::BTreeSet;

use super::record::{Incarnation, Member, Membership, Nonce, RoomRecord};
use crate::id::{ConnectionId, RoomId};
use crate::room::{LeaveReason, Metadata, RoomSpec};

/// Number of a call, to match its reply.
pub type CallId = u64;

/// A script and its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// Registers this incarnation with its generation; always the first call of a connection.
    Hello {
        /// The epoch of the engine that this node was connected to last.
        known_epoch: Option<u64>,
    },
    /// Renews the lease.
    Beat,
    /// Admits a member, unless the room is full.
    Join(Join),
    /// Removes a member of this node.
    Leave {
        /// The room.
        room: RoomId,
        /// The member.
        connection: ConnectionId,
        /// The reason for the other peers.
        reason: LeaveReason,
    },
    /// Replaces the metadata of a member of this node.
    Update {
        /// The room.
        room: RoomId,
        /// The member.
        membership: Membership,
        /// The metadata.
        metadata: Metadata,
    },
    /// Takes over a member of another node, whose session has moved to this one.
    Move {
        /// The room.
        room: RoomId,
        /// The member.
        membership: Membership,
        /// The node that had it.
        from: Incarnation,
    },
    /// Makes this node the one with the media of a room, unless a living node is.
    Pin {
        /// The room. This node has a member in it.
        room: RoomId,
    },
    /// Ends that, if it is so.
    Unpin {
        /// The room.
        room: RoomId,
    },
    /// Makes the engine's record of a room and this node's replica agree.
    Sync(Sync),
    /// Removes the members of a dead incarnation, some rooms at a time. Does nothing if it is not
    /// dead, which the script decides as for [`ScriptReply::Alive`].
    Reap {
        /// The incarnation.
        dead: Incarnation,
    },
    /// Compares replicas with the engine's rooms, and removes members and media of incarnations
    /// without a lease from some rooms.
    Audit(Audit),
}

impl Call {
    /// Returns the room that the call may change.
    pub fn room(&self) -> Option<&RoomId> {
        match self {
            Self::Join(join) => Some(&join.spec.room),
            Self::Leave { room, .. }
            | Self::Update { room, .. }
            | Self::Move { room, .. }
            | Self::Pin { room }
            | Self::Unpin { room } => Some(room),
            Self::Sync(sync) => Some(&sync.spec.room),
            Self::Hello { .. } | Self::Beat | Self::Reap { .. } | Self::Audit(_) => None,
        }
    }
}

/// A join.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Join {
    /// The room, and its properties if this join creates it.
    pub spec: RoomSpec,
    /// Whether the room may be created.
    pub may_create: bool,
    /// Whether the join is refused if the pair session has ended.
    pub unless_ended: bool,
    /// The member; `since` is filled in by the script.
    pub member: Member,
}

/// One member of this node in a [`Call::Sync`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The member.
    pub member: Member,
    /// Whether the cluster has admitted it. A join that waits and a provisional one are admitted by
    /// the script.
    pub is_admitted: bool,
    /// Whether its session is just moving to this node. It is kept if this node has taken it over
    /// already; otherwise the script neither adds nor changes it.
    pub is_arriving: bool,
}

/// This node's view of a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sync {
    /// The room, and its properties if the engine does not have it.
    pub spec: RoomSpec,
    /// Whether a join that waits may create the room.
    pub may_create: bool,
    /// The serial of the replica, 0 if there is none or the room is only provisional.
    pub serial: u64,
    /// The version of the replica.
    pub version: u64,
    /// The members of this node: admitted members first, then by the time of the join.
    pub members: Vec<Listed>,
    /// The node with the media of the room, as this one knows. If it is another node, it counts
    /// where the engine has an older record than this node, or none.
    pub media: Option<Incarnation>,
}

/// The replicas that an audit compares, and where it looks for members of dead nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audit {
    /// The replicas.
    pub rooms: Vec<AuditedRoom>,
    /// Position in the engine's list of rooms, 100 of which are examined.
    pub position: u64,
}

/// The state of a replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditedRoom {
    /// The room.
    pub room: RoomId,
    /// Serial of the replica.
    pub serial: u64,
    /// Version of the replica.
    pub version: u64,
}

/// Why a member is refused or removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusal {
    /// The room is full.
    Full {
        /// Maximum number of peers.
        capacity: usize,
    },
    /// The room does not exist and joining does not create it.
    NotFound,
    /// The pair session has ended.
    Ended,
    /// The room takes no peers over `/signal`.
    NotForPairs,
    /// The room was closed.
    Closed,
    /// A later join has the same peer id.
    Replaced,
    /// The member that was to be taken over is not that node's any more.
    NotMember,
}

/// The result of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ScriptReply {
    /// The incarnation was declared dead.
    Fenced,
    /// Another connection of this incarnation has a later generation.
    Stale,
    /// To [`Call::Hello`].
    Welcome {
        /// Identifies the engine's data: another one after it was wiped.
        epoch: u64,
        /// All incarnations with a lease.
        living: Vec<Incarnation>,
    },
    /// To [`Call::Beat`].
    Alive {
        /// All incarnations with a lease.
        living: Vec<Incarnation>,
        /// Those that may be dead: their lease is over, or they have been silent for three seconds
        /// and no connection subscribes to their inbox.
        expired: Vec<Incarnation>,
    },
    /// To calls whose effect arrives as a log entry.
    Done,
    /// To [`Call::Join`], [`Call::Move`] and [`Call::Pin`]: nothing has changed.
    Denied(Refusal),
    /// To [`Call::Join`] of a pair session: nothing has changed.
    PairFull {
        /// Maximum number of peers.
        capacity: usize,
        /// The nodes of its peers.
        nodes: BTreeSet<Incarnation>,
    },
    /// To [`Call::Sync`].
    Synced {
        /// The room as it is now; `None` if no member is left.
        record: Option<RoomRecord>,
        /// The members of this node that are not in it.
        out: Vec<(ConnectionId, Nonce, Refusal)>,
    },
    /// To [`Call::Reap`].
    Reaped {
        /// Whether nothing of the incarnation is left.
        is_over: bool,
    },
    /// To [`Call::Audit`].
    Audited {
        /// The rooms that are not as in the replicas.
        differing: Vec<RoomId>,
        /// The position of the next audit, 0 after the last room.
        next: u64,
        /// Number of members that were removed.
        removed: u64,
    },
}
