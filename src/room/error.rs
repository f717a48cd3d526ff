//! Errors of rooms, with their stable codes.

/// Error codes, which are the same in every protocol. Clients decide by them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each is explained where the README lists the codes")]
pub enum Code {
    InvalidMessage,
    Unauthorized,
    Forbidden,
    RoomNotFound,
    RoomFull,
    NotInRoom,
    TargetNotFound,
    SessionEnded,
    SessionNotFound,
    DeliveryFailed,
    RateLimited,
    LimitReached,
    PayloadTooLarge,
    Replaced,
    RoomClosed,
    Kicked,
    ShuttingDown,
    Internal,
    TransportError,
    ProduceError,
    ConsumeError,
    /// REST only: a room with this id exists.
    RoomExists,
    /// REST only: the engine of the cluster does not answer.
    Unavailable,
    /// REST only: the node of the peer does not answer.
    NoAnswer,
    /// REST only: the path does not exist.
    NotFound,
    /// REST only: the path does not support the method.
    MethodNotAllowed,
}

impl Code {
    /// Returns the code as it is written in every protocol.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidMessage => "INVALID_MESSAGE",
            Self::Unauthorized => "UNAUTHORIZED",
            Self::Forbidden => "FORBIDDEN",
            Self::RoomNotFound => "ROOM_NOT_FOUND",
            Self::RoomFull => "ROOM_FULL",
            Self::NotInRoom => "NOT_IN_ROOM",
            Self::TargetNotFound => "TARGET_NOT_FOUND",
            Self::SessionEnded => "SESSION_ENDED",
            Self::SessionNotFound => "SESSION_NOT_FOUND",
            Self::DeliveryFailed => "DELIVERY_FAILED",
            Self::RateLimited => "RATE_LIMITED",
            Self::LimitReached => "LIMIT_REACHED",
            Self::PayloadTooLarge => "PAYLOAD_TOO_LARGE",
            Self::Replaced => "REPLACED",
            Self::RoomClosed => "ROOM_CLOSED",
            Self::Kicked => "KICKED",
            Self::ShuttingDown => "SHUTTING_DOWN",
            Self::Internal => "INTERNAL",
            Self::TransportError => "TRANSPORT_ERROR",
            Self::ProduceError => "PRODUCE_ERROR",
            Self::ConsumeError => "CONSUME_ERROR",
            Self::RoomExists => "ROOM_EXISTS",
            Self::Unavailable | Self::NoAnswer => "UNAVAILABLE",
            Self::NotFound => "NOT_FOUND",
            Self::MethodNotAllowed => "METHOD_NOT_ALLOWED",
        }
    }
}

/// Reasons why a command is refused. A refused command changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RoomError {
    /// The room does not exist and joining does not create it.
    #[error("the room does not exist")]
    RoomNotFound,
    /// A room with this id already exists.
    #[error("the room exists already")]
    RoomExists,
    /// The room is at its capacity.
    #[error("the room is full, it holds {capacity}")]
    RoomFull {
        /// Value of the limit.
        capacity: usize,
    },
    /// The connection is not in the room that the command names.
    #[error("not in a room of that id")]
    NotInRoom,
    /// The peer id is the connection id of another connection.
    #[error("userId: is the id of another connection")]
    ForeignConnectionId,
    /// The room does not admit peers over `/signal`, because an operator or a token determined its
    /// capacity.
    #[error("the room is not open to /signal")]
    NotForPairs,
    /// The command names no room, and the connection is in none.
    #[error("not in a room; join one first")]
    NotInAnyRoom,
    /// The command names no room, and the connection is in several.
    #[error("roomId: required, since this connection is in several rooms")]
    AmbiguousRoom,
    /// There is no such peer in the sender's room.
    #[error("no peer of that id in the room")]
    TargetNotFound,
    /// The queue of a pair session is full.
    #[error("the other peer is absent, and the queue for it is full")]
    SessionQueueFull,
    /// The pair session has ended.
    #[error("session ended")]
    SessionEnded,
    /// The connection is not in the pair session that it names.
    #[error("session not found")]
    SessionNotFound,
    /// The node has reached its limit of rooms.
    #[error("too many rooms on this server, it holds {max}")]
    TooManyRooms {
        /// Value of the limit.
        max: usize,
    },
    /// The connection has reached its limit of rooms.
    #[error("too many rooms for this connection, it may be in {max}")]
    TooManyRoomsPerConnection {
        /// Value of the limit.
        max: usize,
    },
    /// The peer's metadata exceeds its limit.
    #[error("peer metadata exceeds {max} bytes")]
    MetadataTooLarge {
        /// Value of the limit in bytes.
        max: usize,
    },
    /// A later connection of the same peer id has joined before this one was admitted.
    #[error("the same user joined from a newer connection")]
    Replaced,
    /// The connection has ended in the meantime, so there is no client to notify.
    #[error("the connection has ended")]
    ConnectionEnded,
}

impl RoomError {
    /// Returns the error in the terms of a protocol, which may have pair sessions instead of rooms.
    #[must_use]
    pub fn for_protocol(self, has_pair_sessions: bool) -> Self {
        match (self, has_pair_sessions) {
            (Self::NotInRoom | Self::NotInAnyRoom, true) => Self::SessionNotFound,
            (Self::SessionEnded, false) => Self::NotInRoom,
            (error, _) => error,
        }
    }

    /// Returns the error code.
    pub fn code(&self) -> Code {
        match self {
            Self::RoomNotFound => Code::RoomNotFound,
            Self::SessionEnded => Code::SessionEnded,
            Self::SessionNotFound => Code::SessionNotFound,
            Self::SessionQueueFull => Code::DeliveryFailed,
            Self::RoomExists => Code::RoomExists,
            Self::RoomFull { .. } => Code::RoomFull,
            Self::NotInRoom | Self::NotInAnyRoom => Code::NotInRoom,
            Self::ForeignConnectionId | Self::NotForPairs => Code::Forbidden,
            Self::AmbiguousRoom => Code::InvalidMessage,
            Self::TargetNotFound => Code::TargetNotFound,
            Self::TooManyRooms { .. } | Self::TooManyRoomsPerConnection { .. } => {
                Code::LimitReached
            }
            Self::MetadataTooLarge { .. } => Code::PayloadTooLarge,
            Self::Replaced => Code::Replaced,
            Self::ConnectionEnded => Code::Internal,
        }
    }
}
