//! What bounds the rooms of a node.

use std::time::Duration;

/// The limits that the rooms themselves keep. Defaults are the contract's.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Whether joining an unknown room creates it.
    pub auto_create: bool,
    /// The most peers in a room, unless the room was created with fewer.
    pub room_size: usize,
    /// The most rooms on this node; `None` is no limit.
    pub rooms: Option<usize>,
    /// The maximum number of rooms that one transport connection is in at a time, in all its sessions.
    pub rooms_per_connection: usize,
    /// Maximum size of a peer's metadata, in bytes.
    pub metadata_bytes: usize,
    /// How long a room that was created ahead waits for its first peer.
    pub empty_room_ttl: Duration,
    /// What waits in a session for the side that is away.
    pub session: SessionLimits,
}

/// The bounds of what waits in a session.
#[derive(Debug, Clone)]
pub struct SessionLimits {
    /// The most signals.
    pub messages: usize,
    /// The most bytes of all their bodies.
    pub bytes: usize,
    /// How long one waits.
    pub ttl: Duration,
}

impl Default for SessionLimits {
    fn default() -> Self {
        Self { messages: 256, bytes: 262_144, ttl: Duration::from_mins(2) }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            auto_create: true,
            room_size: 50,
            rooms: Some(100_000),
            rooms_per_connection: 8,
            metadata_bytes: 4096,
            empty_room_ttl: Duration::from_mins(5),
            session: SessionLimits::default(),
        }
    }
}
