//! Commands of clients to rooms, independent of any protocol.

use std::sync::Arc;

use bytes::Bytes;

use crate::id::{ConnectionId, PeerId, RoomId};

/// A command of one connection.
#[derive(Debug, Clone)]
pub enum Command {
    /// Join a room, or get its members again if the connection is already in it.
    Join {
        /// The room, which is created if it does not exist and joining creates rooms.
        room: RoomId,
        /// The peer id; `None` uses the connection's id.
        peer: Option<PeerId>,
        /// The peer's metadata.
        metadata: Metadata,
        /// The kind of room to join.
        kind: RoomKind,
    },
    /// Get the members of a room again.
    Inspect {
        /// The room.
        room: RoomId,
    },
    /// Leave a room, or all rooms of the connection.
    Leave {
        /// The room; `None` for all of them.
        room: Option<RoomId>,
    },
    /// End a pair session for both peers; in any other room, leave.
    HangUp {
        /// The room; `None` for the only room of the connection.
        room: Option<RoomId>,
    },
    /// Change the sender's metadata in a room. The other peers are notified.
    Update {
        /// The room; `None` for the only room of the connection.
        room: Option<RoomId>,
        /// The change.
        patch: MetadataPatch,
    },
    /// Relay a signal to one peer, or broadcast it to all others in the room.
    Relay {
        /// The room; `None` for the only room of the connection.
        room: Option<RoomId>,
        /// The recipient; `None` for all other peers.
        target: Option<Target>,
        /// The signal.
        signal: Signal,
    },
}

impl Command {
    /// Returns the room that the command names.
    pub fn room(&self) -> Option<&RoomId> {
        match self {
            Self::Join { room, .. } | Self::Inspect { room } => Some(room),
            Self::Leave { room }
            | Self::HangUp { room }
            | Self::Update { room, .. }
            | Self::Relay { room, .. } => room.as_ref(),
        }
    }

    /// Returns the target that the command names.
    pub fn target(&self) -> Option<&Target> {
        match self {
            Self::Relay { target, .. } => target.as_ref(),
            _ => None,
        }
    }
}

/// The kind of room that a peer joins. The peer that creates the room determines its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RoomKind {
    /// A group of any size.
    #[default]
    Group,
    /// A pair session: a room for two peers that queues untargeted signals until the other peer
    /// joins. A pair session that has ended starts afresh.
    Pair,
    /// A pair session, unless that has ended, in which case the join is refused.
    PairUnlessEnded,
}

/// The recipient of a signal, as its sender names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    id: PeerId,
    /// Whether the text is only looked up as a connection id.
    is_connection: bool,
}

impl Target {
    /// Returns a target that is looked up first as a connection id, then as a peer id.
    pub fn new(id: PeerId) -> Self {
        Self { id, is_connection: false }
    }

    /// Returns a target that is only looked up as a connection id.
    pub fn connection(id: PeerId) -> Self {
        Self { id, is_connection: true }
    }

    /// Returns the peer id that the target may be, unless it can only be a connection id.
    pub fn as_peer(&self) -> Option<&PeerId> {
        (!self.is_connection).then_some(&self.id)
    }

    /// Returns the text of the id.
    pub fn as_str(&self) -> &str {
        self.id.as_str()
    }

    /// Returns the connection id that the target may be.
    pub fn as_connection(&self) -> Option<ConnectionId> {
        ConnectionId::parse(self.id.as_str())
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.id.fmt(f)
    }
}

/// The kind of a signal: the three of RFC 8829 (JSEP) and RFC 8838 (trickle ICE), and application
/// messages, which are relayed by the same rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SignalKind {
    /// A session description that starts a negotiation.
    Offer,
    /// A session description that completes a negotiation.
    Answer,
    /// An ICE candidate, or the end of candidates.
    Candidate,
    /// An application message: a chat line, a raised hand. It has a [name](Signal::name).
    Message,
}

/// An offer, an answer, a candidate or an application message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signal {
    /// The kind of signal.
    pub kind: SignalKind,
    /// The name of an application message, such as the event of a Socket.IO client; `None` for all
    /// other signals.
    pub name: Option<Box<str>>,
    /// Name of the dialect of its sender: only that dialect reads `body` and `note`.
    pub origin: &'static str,
    /// The sender's message without its addressing. Opaque to rooms.
    pub body: Box<str>,
    /// Range in `body` of the description or candidate, or of the data of an application message:
    /// one JSON value, for the other dialects. Empty if there is none.
    pub content: std::ops::Range<usize>,
    /// A note from a dialect's `decode` to its `encode`. Opaque to rooms.
    pub note: u64,
    /// Whether the sender receives it, too.
    pub echo: bool,
    /// Binary parts of an application message, to which `body` refers.
    pub attachments: Vec<Bytes>,
}

impl Signal {
    /// Creates a signal without a name, a note, an echo and attachments.
    pub fn new(
        kind: SignalKind,
        origin: &'static str,
        body: Box<str>,
        content: std::ops::Range<usize>,
    ) -> Self {
        Self {
            kind,
            name: None,
            origin,
            body,
            content,
            note: 0,
            echo: false,
            attachments: Vec::new(),
        }
    }

    /// Returns the size of the signal in bytes.
    pub fn bytes(&self) -> usize {
        self.body.len() + self.attachments.iter().map(Bytes::len).sum::<usize>()
    }
}

/// Metadata of a peer (such as a name, an avatar or a role): the members of a JSON object, as text
/// without braces. Opaque to rooms, which only limit its length.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metadata(Option<Arc<str>>);

impl Metadata {
    /// Returns metadata of `text`; empty text is no metadata.
    pub fn new(text: &str) -> Self {
        Self((!text.is_empty()).then(|| text.into()))
    }

    /// Returns the text, which is empty without metadata.
    pub fn as_str(&self) -> &str {
        self.0.as_deref().unwrap_or_default()
    }
}

/// A change of a peer's metadata. Opaque to rooms.
#[derive(Debug, Clone)]
pub struct MetadataPatch {
    /// The change, in the form of its dialect.
    pub text: Box<str>,
    /// Computes the metadata that results, from the metadata before and `text`.
    pub merge: fn(&str, &str) -> String,
}

impl MetadataPatch {
    /// Returns the metadata that results from this change.
    pub fn apply(&self, metadata: &Metadata) -> Metadata {
        Metadata::new(&(self.merge)(metadata.as_str(), &self.text))
    }
}
