//! The media of a room is on one node: that of the first peer that creates a transport.
//!
//! - The engine has the name of that node in its record of the room ([`Call::Pin`]), and the log of
//!   the room tells all nodes with members in it.
//! - A [`PeerMediaRequest`] of a peer on another node is forwarded to it as the text of the client, and
//!   its answer returns as the text for the client.
//! - What the media server tells peers on other nodes is a [`MediaNotice`].
//! - The pin ends with the last transport ([`Call::Unpin`]). If it ends otherwise, because the node
//!   has died or drains, each node tells its own peers that their transports have failed.
//!
//! [`Call::Pin`]: super::Call::Pin
//! [`Call::Unpin`]: super::Call::Unpin

use super::frame::{MediaAnswered, MediaNotice, RemoteMediaRequest};
use super::record::Incarnation;
use crate::id::{ConnectionId, RoomId};

/// A request of a local peer to the media server of its room.
#[derive(Debug, Clone)]
pub struct PeerMediaRequest {
    /// The room.
    pub room: RoomId,
    /// The peer.
    pub connection: ConnectionId,
    /// Identifies the request.
    pub id: u64,
    /// The form of messages to the client, see [`MediaNotice::texts`].
    pub form: u64,
    /// The message of the client.
    pub text: Box<str>,
    /// Whether it creates a transport.
    pub creates: bool,
}

/// A request that the media server of this node has answered, or dropped.
#[derive(Debug, Clone)]
pub struct ServedMedia {
    /// The room.
    pub room: RoomId,
    /// The peer.
    pub connection: ConnectionId,
    /// The node that has forwarded the request, and its id; `None` if the peer is a local one.
    pub asked_by: Option<(Incarnation, u64)>,
    /// The answer; `None` if the request was dropped. A local peer has its text already if that is
    /// empty.
    pub answer: Option<MediaAnswered>,
}

/// The role of a node in the media of rooms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MediaRole {
    /// No media server.
    Off,
    /// A media server that serves its present transports only.
    Draining,
    /// A media server.
    Serving,
}

/// The media server of a node, and the peers that use it, as the cluster needs them.
/// Implementations must not call the [`Node`](super::Node) back.
pub trait MediaHost {
    /// Returns the role of this node in the media of rooms.
    fn media_role(&self) -> MediaRole {
        MediaRole::Off
    }

    /// Returns whether a transport of a room exists at the media server of this node.
    fn has_media(&self, room: &RoomId) -> bool {
        _ = room;
        false
    }

    /// Closes all transports of a room at the media server of this node, as failed.
    fn end_media(&self, room: &RoomId) {
        _ = room;
    }

    /// Passes a request of a local peer to the media server of this node. Followed by
    /// [`Cluster::served`](super::Cluster::served).
    fn serve_media(&self, id: u64) {
        _ = id;
    }

    /// Passes a request of a peer of another node to the media server of this one. Followed by
    /// [`Cluster::served`](super::Cluster::served).
    fn serve_forwarded(&self, from: Incarnation, request: &RemoteMediaRequest) {
        _ = (from, request);
    }

    /// Sends the answer of another node to the local peer that has made a request. Returns `false`
    /// if its session is not here any more.
    fn media_answered(&self, id: u64, text: &str) -> bool {
        _ = (id, text);
        false
    }

    /// Refuses a request of a local peer: no media server can be reached.
    fn media_failed(&self, id: u64) {
        _ = id;
    }

    /// Sends a notice of the media server of another node to a local peer.
    fn media_notice(&self, to: ConnectionId, notice: &MediaNotice) {
        _ = (to, notice);
    }

    /// Tells a local peer that its transports at another node have failed.
    fn transports_failed(&self, connection: ConnectionId, transports: &[Box<str>]) {
        _ = (connection, transports);
    }
}
