//! Members and rooms as the engine stores them.

use std::fmt;
use std::time::{Duration, SystemTime};

use crate::id::{ConnectionId, PeerId, RoomId};
use crate::room::{Admitted, Capacity, Metadata, Peer, RoomSpec};

/// One life of a node as the cluster knows it: random, drawn at the start and again after the node
/// was declared dead.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Incarnation(pub u64);

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A random number drawn for each join, so that leaving and joining again is never mistaken for
/// staying.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Nonce(pub u64);

/// Identifies a member of a room: a connection, and which of its joins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Membership {
    /// The connection.
    pub connection: ConnectionId,
    /// The join.
    pub nonce: Nonce,
}

/// A member of a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Identifies it.
    pub membership: Membership,
    /// The node that has its session.
    pub holder: Incarnation,
    /// The room's version when the holder took it, by a join or a move. Of two records of one
    /// member the later is right.
    pub since: u64,
    /// When it joined, in milliseconds since 1970.
    pub joined_at: u64,
    /// Whether it joined over `/signal`.
    pub is_paired: bool,
    /// Unique in the room.
    pub peer: PeerId,
    /// The metadata of the peer.
    pub metadata: Metadata,
}

impl Member {
    /// Returns the connection.
    pub fn connection(&self) -> ConnectionId {
        self.membership.connection
    }

    /// Returns the member as rooms admit it.
    pub fn admitted(&self) -> Admitted {
        let peer = Peer {
            id: self.peer.clone(),
            connection: self.connection(),
            joined_at: time(self.joined_at),
            metadata: self.metadata.clone(),
        };
        Admitted { peer, is_paired: self.is_paired }
    }
}

/// A room at one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomRecord {
    /// The properties that its first join decided.
    pub spec: RoomSpec,
    /// Which of the rooms of this name it is: numbers rise.
    pub serial: u64,
    /// Number of changes.
    pub version: u64,
    /// The members, in the order they joined.
    pub members: Vec<Member>,
    /// The node that has the media of the room.
    pub media: Option<Incarnation>,
}

impl RoomRecord {
    /// Returns the room.
    pub fn room(&self) -> &RoomId {
        &self.spec.room
    }

    /// Returns the maximum number of peers for one that joins over `/signal`, or not.
    pub fn capacity(&self, joins_pair: bool) -> usize {
        let is_for_two =
            joins_pair || self.spec.is_pair || self.members.iter().any(|member| member.is_paired);
        let Capacity { peers, .. } = self.spec.capacity;
        if is_for_two { peers.min(2) } else { peers }
    }

    /// Finds a member by its connection.
    pub fn member(&self, connection: ConnectionId) -> Option<&Member> {
        self.members.iter().find(|member| member.connection() == connection)
    }
}

/// Returns a time in milliseconds since 1970.
pub fn milliseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Returns the time of a number of milliseconds since 1970; a time that cannot be represented is
/// 1970.
pub fn time(milliseconds: u64) -> SystemTime {
    let since = Duration::from_millis(milliseconds);
    SystemTime::UNIX_EPOCH.checked_add(since).unwrap_or(SystemTime::UNIX_EPOCH)
}
