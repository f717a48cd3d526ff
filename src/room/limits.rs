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
    /// The most rooms that one connection is in at a time.
    pub rooms_per_connection: usize,
    /// The most bytes that a peer may say of itself.
    pub profile_bytes: usize,
    /// How long a room that was created ahead waits for its first peer.
    pub empty_room_ttl: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            auto_create: true,
            room_size: 50,
            rooms: Some(100_000),
            rooms_per_connection: 8,
            profile_bytes: 4096,
            empty_room_ttl: Duration::from_secs(300),
        }
    }
}
