//! Notices of media servers: to the nodes of the peers concerned, and from the node with the media.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{ConnectionId, Incarnation, Member, Node, RoomId};
use crate::clock::Moment;
use crate::cluster::frame::{Body, MediaNotice, RemoteMediaNotice};

impl Node {
    /// Sends a notice of the media server of this node to peers of others.
    pub fn send_notice(&mut self, now: Moment, notice: &RemoteMediaNotice) {
        let RemoteMediaNotice { room, to, notice } = notice;
        let to_some = |to| RemoteMediaNotice { room: room.clone(), to, notice: Arc::clone(notice) };
        let mut nodes: BTreeMap<Incarnation, Vec<ConnectionId>> = BTreeMap::new();
        for connection in to {
            if self.moves.is_holding(*connection) {
                self.moves.hold_notice(to_some(vec![*connection]));
                continue;
            }
            let member =
                self.replicas.get(room).and_then(|replica| replica.members.get(connection));
            // A session that is just ending here gets nothing.
            if let Some(member) = member.filter(|member| member.holder != self.me)
                && self.has_capacity(now, member.holder)
            {
                nodes.entry(member.holder).or_default().push(*connection);
            }
        }
        for (node, to) in nodes {
            self.push(now, node, Body::MediaNotice(to_some(to)));
        }
    }

    /// Takes a notice of the media server of another node.
    pub(super) fn media_notice(&mut self, from: Incarnation, notice: &RemoteMediaNotice) {
        let RemoteMediaNotice { room, to, notice } = notice;
        for connection in to {
            let (room, to) = (room.clone(), vec![*connection]);
            let one = RemoteMediaNotice { room, to, notice: Arc::clone(notice) };
            let Some(RemoteMediaNotice { room, .. }) = self.moves.put_aside_notice(from, one)
            else {
                continue;
            };
            if !self.is_local(&room, *connection) {
                continue;
            }
            // The peer knows the failure already, since the log has moved the media to another node.
            let is_late = notice.failed.is_some()
                && self.replicas.get(&room).is_none_or(|replica| replica.media != Some(from));
            if is_late {
                continue;
            }
            if !notice.is_all_failed() {
                self.host.media_notice(*connection, notice);
                if let Some((transport, node)) = notice.created.clone() {
                    self.take_transport(*connection, (&room, node), transport);
                }
            } else if let Some(replica) = self.replicas.get_mut(&room)
                && let Some(transports) = replica.transports.remove(connection)
            {
                self.host.transports_failed(*connection, &transports);
            }
        }
    }

    /// Tells members of other nodes that this node has ended their media while it took them for
    /// members that have left.
    pub(super) fn tell_without_media(&mut self, now: Moment, room: &RoomId, back: &[Member]) {
        let Some(replica) = self.replicas.get_mut(room) else { return };
        let back = back.iter().map(|member| member.membership);
        let to: Vec<ConnectionId> = back
            .filter(|membership| replica.without_media.remove(membership).is_some())
            .map(|membership| membership.connection)
            .collect();
        if !to.is_empty() {
            let notice = Arc::new(MediaNotice::all_failed());
            self.send_notice(now, &RemoteMediaNotice { room: room.clone(), to, notice });
        }
    }
}
