//! Limits on the rooms of a node.

use std::time::Duration;

/// Limits on rooms and their peers. The defaults are those of the settings.
#[derive(Debug, Clone)]
pub struct RoomLimits {
    /// Whether joining an unknown room creates it.
    pub auto_create: bool,
    /// Maximum number of peers in a room, unless it was created with fewer.
    pub room_size: usize,
    /// Maximum number of rooms on this node; `None` means no limit.
    pub rooms: Option<usize>,
    /// Maximum number of rooms that a transport connection is in, over all its sessions.
    pub rooms_per_connection: usize,
    /// Maximum size of a peer's metadata, in bytes.
    pub metadata_bytes: usize,
    /// How long a room created in advance waits for its first peer.
    pub empty_room_ttl: Duration,
    /// Limits on the queue of a pair session.
    pub session: PairSessionLimits,
}

/// Limits on the signals that a pair session queues for an absent peer.
#[derive(Debug, Clone)]
pub struct PairSessionLimits {
    /// Maximum number of signals.
    pub messages: usize,
    /// Maximum number of bytes of all their bodies.
    pub bytes: usize,
    /// Time after which a signal expires.
    pub ttl: Duration,
}

impl Default for PairSessionLimits {
    fn default() -> Self {
        Self { messages: 256, bytes: 262_144, ttl: Duration::from_mins(2) }
    }
}

impl Default for RoomLimits {
    fn default() -> Self {
        Self {
            auto_create: true,
            room_size: 50,
            rooms: Some(100_000),
            rooms_per_connection: 8,
            metadata_bytes: 4096,
            empty_room_ttl: Duration::from_mins(5),
            session: PairSessionLimits::default(),
        }
    }
}
