//! What a client wants of a room, in words that no wire owns.

use std::sync::Arc;

use bytes::Bytes;

use crate::id::{ConnectionId, PeerId, RoomId};

/// One request of one connection.
#[derive(Debug, Clone)]
pub enum Command {
    /// Become a peer of a room; where one is in it already, get the list again.
    Join {
        /// The room; created if it does not exist and rooms are created by joining.
        room: RoomId,
        /// The name to be known by; without one, the connection's id.
        peer: Option<PeerId>,
        /// What the peer says about itself.
        metadata: Metadata,
        /// What kind of room it is to be.
        kind: RoomKind,
    },
    /// Be told the list again.
    Inspect {
        /// The room.
        room: RoomId,
    },
    /// Leave a room, or with `None` every room the connection is in.
    Leave {
        /// The room, or all of them.
        room: Option<RoomId>,
    },
    /// End a session for both of its sides; anywhere else, leave.
    HangUp {
        /// The room; `None` means the only one the connection is in.
        room: Option<RoomId>,
    },
    /// Change the sender's own metadata in a room. The other peers are told.
    Update {
        /// The room; `None` means the only one the connection is in.
        room: Option<RoomId>,
        /// The change.
        patch: MetadataPatch,
    },
    /// Send a signal to one peer of a room, or with no target to all others.
    Relay {
        /// The room; `None` means the only one the connection is in.
        room: Option<RoomId>,
        /// Whom it is for; `None` means everyone else.
        target: Option<Target>,
        /// What is sent.
        signal: Signal,
    },
}

impl Command {
    /// The room that it names.
    pub fn room(&self) -> Option<&RoomId> {
        match self {
            Self::Join { room, .. } | Self::Inspect { room } => Some(room),
            Self::Leave { room } | Self::HangUp { room } | Self::Update { room, .. } | Self::Relay { room, .. } => {
                room.as_ref()
            }
        }
    }

    /// The peer that it names as its target.
    pub fn target(&self) -> Option<&Target> {
        match self {
            Self::Relay { target, .. } => target.as_ref(),
            _ => None,
        }
    }
}

/// What kind of room a peer joins. The peer that creates the room decides its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RoomKind {
    /// A group of any size.
    #[default]
    Group,
    /// A pair session: a room for two peers that queues untargeted signals until the other peer joins. A pair session
    /// that has ended starts afresh.
    Pair,
    /// The same, but the join is refused if the pair session has ended.
    PairUnlessEnded,
}

/// How a client names another peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    id: PeerId,
    /// Whether the text can only be a connection id.
    is_connection: bool,
}

impl Target {
    /// A target that is looked up first as a connection id, then as a peer id.
    pub fn new(id: PeerId) -> Self {
        Self { id, is_connection: false }
    }

    /// A target that is looked up as a connection id only.
    pub fn connection(id: PeerId) -> Self {
        Self { id, is_connection: true }
    }

    /// The peer id that the target may be, unless it can only be a connection id.
    pub fn as_peer(&self) -> Option<&PeerId> {
        (!self.is_connection).then_some(&self.id)
    }

    /// The text of the id.
    pub fn as_str(&self) -> &str {
        self.id.as_str()
    }

    /// The connection id that the target may be.
    pub fn as_connection(&self) -> Option<ConnectionId> {
        ConnectionId::parse(self.id.as_str())
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.id.fmt(f)
    }
}

/// The kind of a signal: the three of RFC 8829 (JSEP) and RFC 8838 (trickle ICE), and application messages, which are
/// relayed by the same rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SignalKind {
    /// A session description that opens a negotiation.
    Offer,
    /// The session description that closes it.
    Answer,
    /// An ICE candidate, or the end of them.
    Candidate,
    /// An application message: a chat line, a raised hand. It has a [name](Signal::name).
    Message,
}

/// An offer, an answer, a candidate or an application message on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signal {
    /// Which of them.
    pub kind: SignalKind,
    /// The name of an application message, such as the event of a Socket.IO client; `None` for all other signals.
    pub name: Option<Box<str>>,
    /// The name of the dialect that it was sent in: only that one reads `body` and `note`.
    pub origin: &'static str,
    /// The sender's message as its dialect left it after taking the addressing off. Opaque to rooms.
    pub body: Box<str>,
    /// Range in `body` of the description or candidate, or of the data of an application message: one JSON value, for
    /// the other dialects. Empty if there is none.
    pub content: std::ops::Range<usize>,
    /// A note from a dialect's `decode` to its `encode`. Opaque to rooms.
    pub note: u64,
    /// Whether the sender gets it, too.
    pub echo: bool,
    /// Binary parts of an application message, to which `body` refers.
    pub attachments: Vec<Bytes>,
}

impl Signal {
    /// The bytes that it takes.
    pub fn bytes(&self) -> usize {
        self.body.len() + self.attachments.iter().map(Bytes::len).sum::<usize>()
    }
}

/// What a peer says about itself (a name, an avatar, a role): the members of a JSON object, as text without the braces.
/// Opaque to rooms; only its length counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metadata(Option<Arc<str>>);

impl Metadata {
    /// Returns metadata of `text`; empty text is no metadata.
    pub fn new(text: &str) -> Self {
        Self((!text.is_empty()).then(|| text.into()))
    }

    /// The text, empty where the peer said nothing.
    pub fn as_str(&self) -> &str {
        self.0.as_deref().unwrap_or_default()
    }
}

/// A change of a peer's metadata. Opaque to rooms.
#[derive(Debug, Clone)]
pub struct MetadataPatch {
    /// The change, as its dialect reads it.
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
