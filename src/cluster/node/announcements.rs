//! The peers of this node that were announced as away or back, for nodes that have not learned of
//! it: one to which a session moves meanwhile, and those that could not be reached.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::{ConnectionId, Node, RoomId};
use crate::clock::Moment;
use crate::cluster::expiring_map::ExpiringMap;
use crate::cluster::frame::Body;
use crate::cluster::record::Member;

/// How long an announcement may be missed by a session that is moving: longer than any move takes.
const LIFETIME: Duration = Duration::from_secs(15);

/// The peers that were announced.
#[derive(Debug)]
pub(super) struct Announcements {
    recent: ExpiringMap<(RoomId, ConnectionId), ()>,
    /// Peers of which some node was not notified.
    skipped: BTreeSet<(RoomId, ConnectionId)>,
}

impl Default for Announcements {
    fn default() -> Self {
        // As many as there are peers: each of them may lose its connection at once.
        Self { recent: ExpiringMap::new(LIFETIME, usize::MAX), skipped: BTreeSet::new() }
    }
}

impl Announcements {
    /// Notes that a peer was announced.
    pub(super) fn add(&mut self, now: Instant, room: &RoomId, connection: ConnectionId) {
        self.recent.insert(now, (room.clone(), connection), ());
    }

    /// Notes that a node was not notified of a peer.
    pub(super) fn skip(&mut self, room: &RoomId, connection: ConnectionId) {
        self.skipped.insert((room.clone(), connection));
    }

    /// Returns the peers of a room that were announced lately.
    fn recent_in<'a>(&'a self, room: &'a RoomId) -> impl Iterator<Item = ConnectionId> + 'a {
        let later = self.recent.keys_from((room.clone(), ConnectionId::from_u128(0))..);
        later.take_while(move |(of, _)| of == room).map(|(_, connection)| *connection)
    }

    /// Forgets announcements that no session misses any more.
    pub(super) fn prune(&mut self, now: Instant) {
        self.recent.prune(now);
    }
}

impl Node {
    /// Tells the node to which a session has moved which peers of this node in a room were away or
    /// back meanwhile: its former node may have learned of it too late to tell the client.
    pub(super) fn repeat_announcements(
        &mut self,
        now: Moment,
        room: &RoomId,
        connection: ConnectionId,
    ) {
        let Some(replica) = self.replicas.get(room) else { return };
        let Some(holder) = replica.members.get(&connection).map(|member| member.holder) else {
            return;
        };
        if holder == self.me {
            return;
        }
        let own = |peer: ConnectionId| {
            replica.members.get(&peer).filter(|member| member.holder == self.me)
        };
        let recent = self.announcements.recent_in(room).filter_map(own);
        for from in recent.map(|member| member.membership).collect::<Vec<_>>() {
            let is_away = self.host.rooms().is_away(from.connection, room);
            self.push(now, holder, Body::Presence { room: room.clone(), from, is_away });
        }
    }

    /// Tells the other nodes which peers of this node in a room are away: they may have learned only
    /// now that these are in it.
    pub(super) fn announce_away(&mut self, now: Moment, room: &RoomId) {
        let own = self.replicas.get(room).into_iter().flat_map(|replica| replica.held_by(self.me));
        let own: Vec<ConnectionId> = own.map(Member::connection).collect();
        for connection in own {
            if self.host.rooms().is_away(connection, room) {
                self.announce(now, room, connection, true);
            }
        }
    }

    /// Repeats the announcements for which there was no space.
    pub(super) fn repeat_skipped_announcements(&mut self, now: Moment) {
        for (room, connection) in std::mem::take(&mut self.announcements.skipped) {
            let is_away = self.host.rooms().is_away(connection, &room);
            self.announce(now, &room, connection, is_away);
        }
    }
}
