//! Label values: kinds of messages, and limits. All are known in advance, since no client may
//! choose one.

use crate::room::SignalKind;

/// The kind of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageKind {
    /// A join.
    Join,
    /// A leave.
    Leave,
    /// A request for the members of a room.
    Inspect,
    /// The end of a session.
    HangUp,
    /// A change of the sender's metadata.
    Update,
    /// A signal.
    Signal(SignalKind),
    /// Any other valid message: a `ping`, an authentication.
    Other,
    /// A message of an unknown kind, which is ignored.
    Unknown,
    /// Refused before it reached a room: invalid, too large, or too many.
    Refused,
    /// Not a message: a ping, a pong, an acknowledgement, a CONNECT packet, an attachment.
    Control,
}

impl MessageKind {
    /// Values of the label, each at the index of its kind.
    pub(super) const NAMES: [&'static str; 13] = [
        "join",
        "leave",
        "inspect",
        "hangup",
        "offer",
        "answer",
        "candidate",
        "relay",
        "update",
        "other",
        "unknown",
        "refused",
        "control",
    ];

    /// Returns the value of the label, and the name in the log.
    pub fn as_str(self) -> &'static str {
        Self::NAMES[self.index()]
    }

    pub(super) fn index(self) -> usize {
        match self {
            Self::Join => 0,
            Self::Leave => 1,
            Self::Inspect => 2,
            Self::HangUp => 3,
            Self::Signal(kind) => 4 + signal_index(kind),
            Self::Update => 8,
            Self::Other => 9,
            Self::Unknown => 10,
            Self::Refused => 11,
            Self::Control => 12,
        }
    }
}

/// Values of the label for signals, each at its index.
pub(super) const SIGNALS: [&str; 4] = ["offer", "answer", "candidate", "relay"];

pub(super) fn signal_index(kind: SignalKind) -> usize {
    match kind {
        SignalKind::Offer => 0,
        SignalKind::Answer => 1,
        SignalKind::Candidate => 2,
        SignalKind::Message => 3,
    }
}

/// A limit of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is named after its setting; docs/operators.md explains them")]
pub enum Limit {
    Connections,
    ConnectionsPerIp,
    UnconnectedPerIp,
    AwaySessions,
    InvalidTokensPerIp,
    /// Resume tokens that name no node of the cluster.
    UnknownNodesPerIp,
    MessageBytes,
    MetadataBytes,
    MessageRate,
    /// Too many messages for too long: the connection is closed.
    Flood,
    Rooms,
    RoomsPerConnection,
    RoomSize,
    SessionQueue,
    /// A send queue that stays full: the connection is closed.
    SendQueue,
    /// A head, a body, an upgrade or a first message that takes too long.
    HandshakeTime,
    /// A write that makes no progress.
    WriteTime,
    /// Open files, as the system limits them.
    OpenFiles,
    /// CONNECT packets of one connection.
    ConnectPackets,
}

impl Limit {
    /// All limits: their series exist from the start, so that the first hit is visible as an
    /// increase.
    pub(super) const ALL: [Self; 19] = [
        Self::Connections,
        Self::ConnectionsPerIp,
        Self::UnconnectedPerIp,
        Self::AwaySessions,
        Self::InvalidTokensPerIp,
        Self::UnknownNodesPerIp,
        Self::MessageBytes,
        Self::MetadataBytes,
        Self::MessageRate,
        Self::Flood,
        Self::Rooms,
        Self::RoomsPerConnection,
        Self::RoomSize,
        Self::SessionQueue,
        Self::SendQueue,
        Self::HandshakeTime,
        Self::WriteTime,
        Self::OpenFiles,
        Self::ConnectPackets,
    ];

    /// Returns the value of the label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::ConnectionsPerIp => "connections_per_ip",
            Self::UnconnectedPerIp => "unconnected_per_ip",
            Self::AwaySessions => "away_sessions",
            Self::InvalidTokensPerIp => "invalid_tokens_per_ip",
            Self::UnknownNodesPerIp => "unknown_nodes_per_ip",
            Self::MessageBytes => "message_bytes",
            Self::MetadataBytes => "metadata_bytes",
            Self::MessageRate => "message_rate",
            Self::Flood => "flood",
            Self::Rooms => "rooms",
            Self::RoomsPerConnection => "rooms_per_connection",
            Self::RoomSize => "room_size",
            Self::SessionQueue => "session_queue",
            Self::SendQueue => "send_queue",
            Self::HandshakeTime => "handshake_time",
            Self::WriteTime => "write_time",
            Self::OpenFiles => "open_files",
            Self::ConnectPackets => "connect_packets",
        }
    }
}
