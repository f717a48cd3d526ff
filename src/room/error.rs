//! What a room refuses, and the stable code of each refusal.

/// The contract's error codes: what clients branch on, the same on every wire.
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
    ShuttingDown,
    Internal,
    TransportError,
    ProduceError,
    ConsumeError,
    /// REST only: a room of that id exists.
    RoomExists,
    /// REST only: no such path.
    NotFound,
    /// REST only: the path does not take this method.
    MethodNotAllowed,
}

impl Code {
    /// The code as it is written on every wire.
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
            Self::ShuttingDown => "SHUTTING_DOWN",
            Self::Internal => "INTERNAL",
            Self::TransportError => "TRANSPORT_ERROR",
            Self::ProduceError => "PRODUCE_ERROR",
            Self::ConsumeError => "CONSUME_ERROR",
            Self::RoomExists => "ROOM_EXISTS",
            Self::NotFound => "NOT_FOUND",
            Self::MethodNotAllowed => "METHOD_NOT_ALLOWED",
        }
    }
}

/// Why a command came to nothing. Nothing has changed where one of these is returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RoomError {
    /// The room does not exist and joining does not create it.
    #[error("the room does not exist")]
    RoomNotFound,
    /// A room of that id exists already.
    #[error("the room exists already")]
    RoomExists,
    /// The room is at its capacity.
    #[error("the room is full, it holds {capacity}")]
    RoomFull {
        /// The most peers it holds.
        capacity: usize,
    },
    /// The connection is not in the room it names, or in none.
    #[error("not in a room of that id")]
    NotInRoom,
    /// The peer id is the id of another connection.
    #[error("userId: is the id of another connection")]
    ForeignConnectionId,
    /// The room takes no peers over `/signal`: its capacity was chosen by an operator or a token.
    #[error("the room is not open to /signal")]
    NotForPairs,
    /// No room was named, and the connection is in none.
    #[error("not in a room; join one first")]
    NotInAnyRoom,
    /// No room was named, and the connection is in more than one.
    #[error("roomId: required, since this connection is in several rooms")]
    AmbiguousRoom,
    /// No such peer in the sender's room.
    #[error("no peer of that id in the room")]
    TargetNotFound,
    /// The queue of a pair session is full.
    #[error("the other peer is absent, and the queue for it is full")]
    SessionQueueFull,
    /// The pair session has ended.
    #[error("session ended")]
    SessionEnded,
    /// The socket is not in the pair session it names.
    #[error("session not found")]
    SessionNotFound,
    /// The node holds as many rooms as it may.
    #[error("too many rooms on this server, it holds {max}")]
    TooManyRooms {
        /// The most rooms.
        max: usize,
    },
    /// The connection is in as many rooms as it may be.
    #[error("too many rooms for this connection, it may be in {max}")]
    TooManyRoomsPerConnection {
        /// The most rooms of one connection.
        max: usize,
    },
    /// The peer's metadata exceeds its limit.
    #[error("peer metadata exceeds {max} bytes")]
    MetadataTooLarge {
        /// The most bytes.
        max: usize,
    },
    /// The connection has ended meanwhile; nobody is there to be told.
    #[error("the connection has ended")]
    ConnectionEnded,
}

impl RoomError {
    /// Returns the error as a protocol names it, which has pair sessions in place of rooms or not.
    #[must_use]
    pub fn in_terms_of(self, has_pair_sessions: bool) -> Self {
        match (self, has_pair_sessions) {
            (Self::NotInRoom | Self::NotInAnyRoom, true) => Self::SessionNotFound,
            (Self::SessionEnded, false) => Self::NotInRoom,
            (error, _) => error,
        }
    }

    /// The contract's code.
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
            Self::TooManyRooms { .. } | Self::TooManyRoomsPerConnection { .. } => Code::LimitReached,
            Self::MetadataTooLarge { .. } => Code::PayloadTooLarge,
            Self::ConnectionEnded => Code::Internal,
        }
    }
}
