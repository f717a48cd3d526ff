//! Kinds of messages, for metrics.

/// A group of messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrafficKind {
    /// Signals.
    Signal,
    /// Signals that return to their senders.
    Bounce,
    /// Peers that are away, or back.
    Presence,
    /// Moves of sessions.
    Move,
    /// Removals of peers, by operators or in favour of others.
    Kick,
    /// Peers whose send queues are filling, or are no longer.
    Congestion,
    /// Requests to the media servers of other nodes, with their answers and notices.
    Media,
    /// Requests for frames, and what replaces frames.
    Link,
    /// Messages of nodes to themselves.
    Echo,
    /// Log entries of rooms.
    Log,
    /// Messages of other versions.
    Other,
}

impl TrafficKind {
    /// All kinds, in the order of their numbers.
    pub const ALL: [Self; 11] = [
        Self::Signal,
        Self::Bounce,
        Self::Presence,
        Self::Move,
        Self::Kick,
        Self::Congestion,
        Self::Media,
        Self::Link,
        Self::Echo,
        Self::Log,
        Self::Other,
    ];

    /// Returns the kind of an encoded message.
    pub fn of(message: &[u8]) -> Self {
        match message.get(1) {
            Some(&super::SIGNAL) => Self::Signal,
            Some(&super::BOUNCE) => Self::Bounce,
            Some(&super::PRESENCE) => Self::Presence,
            Some(
                &(super::HOLD | super::HELD | super::CLAIM | super::REFUSED | super::HANDOVER),
            ) => Self::Move,
            Some(&(super::KICK | super::EVICT | super::DONE)) => Self::Kick,
            Some(&(super::CONGESTED | super::DRAINED)) => Self::Congestion,
            Some(&(super::MEDIA | super::MEDIA_ANSWER | super::MEDIA_NOTICE)) => Self::Media,
            Some(&(super::HAVE | super::GAP | super::WITHDRAWN)) => Self::Link,
            Some(&super::ECHO) => Self::Echo,
            // Scripts write them, frames are in lower case.
            Some(kind) if kind.is_ascii_uppercase() => Self::Log,
            _ => Self::Other,
        }
    }

    /// Returns the name in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Signal => "signal",
            Self::Bounce => "bounce",
            Self::Presence => "presence",
            Self::Move => "move",
            Self::Kick => "kick",
            Self::Congestion => "congestion",
            Self::Media => "media",
            Self::Link => "link",
            Self::Echo => "echo",
            Self::Log => "log",
            Self::Other => "other",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Body, LinkFrame, LogEntry, RoomChange, encode_entry, encode_frame};
    use super::*;
    use crate::cluster::record::Incarnation;
    use crate::id::{ConnectionId, RoomId};

    #[test]
    fn kind_of_an_encoded_message_is_that_of_its_contents() {
        let frame =
            |body| encode_frame(&LinkFrame { from: Incarnation(1), number: 2, processed: 0, body });
        let connection = ConnectionId::from_u128(3);
        let room = RoomId::new("r").unwrap();
        let change = RoomChange::Close;
        let entry = encode_entry(&LogEntry { room: room.clone(), serial: 1, version: 2, change });
        for (message, kind) in [
            (frame(Body::Echo), TrafficKind::Echo),
            (frame(Body::Have { next: 1, sent: 1 }), TrafficKind::Link),
            (frame(Body::Held { connection }), TrafficKind::Move),
            (frame(Body::Drained { connection }), TrafficKind::Congestion),
            (frame(Body::Kick { room, connection, id: 1 }), TrafficKind::Kick),
            (entry.into(), TrafficKind::Log),
            (vec![1, b'~'].into(), TrafficKind::Other),
            (vec![1].into(), TrafficKind::Other),
        ] {
            assert_eq!(TrafficKind::of(&message), kind, "{message:?}");
        }
        for (number, kind) in TrafficKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, number, "{kind:?}");
        }
    }
}
