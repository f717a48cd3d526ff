//! Media requests, to the node of the engine that has their room.

use super::Nodes;
use crate::clock::Moment;
use crate::cluster::Node;
use crate::cluster::frame::RemoteMediaNotice;
use crate::cluster::media::{PeerMediaRequest, ServedMedia};
use crate::id::RoomId;

impl Nodes {
    /// Calls [`Node::request_media`] on the engine of the room.
    pub fn request_media(&mut self, now: Moment, request: PeerMediaRequest) {
        self.on_engine_of(&request.room.clone()).request_media(now, request);
    }

    /// Calls [`Node::served`] on the engine of the room.
    pub fn served(&mut self, now: Moment, served: ServedMedia) {
        self.on_engine_of(&served.room.clone()).served(now, served);
    }

    /// Calls [`Node::send_notice`] on the engine of the room.
    pub fn send_notice(&mut self, now: Moment, notice: &RemoteMediaNotice) {
        self.on_engine_of(&notice.room).send_notice(now, notice);
    }

    /// Calls [`Node::settle_media`] on the engine of the room.
    pub fn settle_media(&mut self, now: Moment, room: &RoomId) {
        self.on_engine_of(room).settle_media(now, room);
    }

    /// Calls [`Node::release_media`] on the engine of the room.
    pub fn release_media(&mut self, now: Moment, room: &RoomId) {
        self.on_engine_of(room).release_media(now, room);
    }

    /// Returns the rooms whose media is on this node.
    pub fn media_rooms(&self) -> Vec<RoomId> {
        self.on_engines.iter().flat_map(Node::media_rooms).collect()
    }

    fn on_engine_of(&mut self, room: &RoomId) -> &mut Node {
        let engine = self.engine_of(room);
        &mut self.on_engines[engine]
    }
}
