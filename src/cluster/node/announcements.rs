//! The peers of this node that were announced as away or back, for nodes that have not learned of
//! it: one to which a session moves meanwhile, and those that could not be reached.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use super::{ConnectionId, Node, RoomId};
use crate::clock::Moment;
use crate::cluster::frame::Body;
use crate::cluster::record::Member;

/// How long an announcement may be missed by a session that is moving: longer than any move takes.
const LIFETIME: Duration = Duration::from_secs(15);

/// The peers that were announced.
#[derive(Debug, Default)]
pub(super) struct Announcements {
    /// With the time of the last announcement.
    recent: BTreeMap<(RoomId, ConnectionId), Instant>,
    /// In the order of the announcements.
    order: VecDeque<(Instant, RoomId, ConnectionId)>,
    /// Peers of which some node was not notified.
    skipped: BTreeSet<(RoomId, ConnectionId)>,
}

impl Announcements {
    /// Notes that a peer was announced.
    pub(super) fn add(&mut self, now: Instant, room: &RoomId, connection: ConnectionId) {
        self.recent.insert((room.clone(), connection), now);
        self.order.push_back((now, room.clone(), connection));
    }

    /// Notes that a node was not notified of a peer.
    pub(super) fn skip(&mut self, room: &RoomId, connection: ConnectionId) {
        self.skipped.insert((room.clone(), connection));
    }

    /// Returns the peers of a room that were announced lately.
    fn recent_in<'a>(&'a self, room: &'a RoomId) -> impl Iterator<Item = ConnectionId> + 'a {
        let from = (room.clone(), ConnectionId::from_u128(0));
        let later = self.recent.range(from..).map(|((of, connection), _)| (of, *connection));
        later.take_while(move |(of, _)| *of == room).map(|(_, connection)| connection)
    }

    /// Forgets announcements that no session misses any more.
    pub(super) fn prune(&mut self, now: Instant) {
        while let Some((at, room, connection)) =
            self.order.pop_front_if(|(at, ..)| now.duration_since(*at) >= LIFETIME)
        {
            let key = (room, connection);
            if self.recent.get(&key) == Some(&at) {
                self.recent.remove(&key);
            }
        }
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
