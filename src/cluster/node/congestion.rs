//! Backpressure between nodes: while the send queue of a peer is above its high-water mark, senders
//! on other nodes wait as those on its own node do.
//!
//! The node of the peer notifies the nodes whose signals filled the queue, and once more when the
//! queue is below the mark. The peers of a node that dies in between leave with it.

use std::collections::{BTreeMap, BTreeSet};

use super::{ConnectionId, Incarnation, Membership, Node, RoomId};
use crate::clock::Moment;
use crate::cluster::frame::Body;

/// The congested peers that this node knows of.
#[derive(Debug, Default)]
pub(super) struct Congestion {
    /// Peers of this node, with the nodes that were notified.
    notified: BTreeMap<ConnectionId, BTreeSet<Incarnation>>,
    /// Peers of other nodes, with their nodes, and a room of each.
    elsewhere: BTreeMap<ConnectionId, (Incarnation, RoomId)>,
}

impl Node {
    /// Notifies the node of a sender of the recipients that its signals congest.
    pub(super) fn notify_of_congestion(
        &mut self,
        now: Moment,
        node: Incarnation,
        room: &RoomId,
        to: &[Membership],
    ) {
        for connection in to.iter().map(|membership| membership.connection) {
            let is_known = self.congestion.notified.contains_key(&connection);
            if !is_known && !self.host.watch_congestion(connection) {
                continue;
            }
            if self.congestion.notified.entry(connection).or_default().insert(node) {
                self.push(now, node, Body::Congested { room: room.clone(), connection });
            }
        }
    }

    /// Reports that the queue of a local peer is below its high-water mark again, see
    /// [`Host::watch_congestion`](crate::cluster::Host::watch_congestion).
    pub fn drained(&mut self, now: Moment, connection: ConnectionId) {
        for node in self.congestion.notified.remove(&connection).unwrap_or_default() {
            // A node to which there is no link any more has no waiting senders.
            if self.outgoing.contains_key(&node) {
                self.push(now, node, Body::Drained { connection });
            }
        }
    }

    /// Takes note that a peer of another node is congested.
    pub(super) fn peer_congested(
        &mut self,
        node: Incarnation,
        room: RoomId,
        connection: ConnectionId,
    ) {
        if self.is_peer_of(node, &room, connection) {
            self.congestion.elsewhere.insert(connection, (node, room));
            self.host.peer_congested(connection, true);
        }
    }

    /// Takes note that a peer of another node is not congested any more.
    pub(super) fn peer_drained(&mut self, node: Incarnation, connection: ConnectionId) {
        if self.congestion.elsewhere.get(&connection).is_some_and(|(holder, _)| *holder == node) {
            self.congestion.elsewhere.remove(&connection);
            self.host.peer_congested(connection, false);
        }
    }

    /// Forgets congested peers that have left the room or the node.
    pub(super) fn prune_congestion(&mut self) {
        let known = self.congestion.elsewhere.iter();
        let gone =
            known.filter(|(connection, (node, room))| !self.is_peer_of(*node, room, **connection));
        for (connection, node) in gone.map(|(peer, (node, _))| (*peer, *node)).collect::<Vec<_>>() {
            self.peer_drained(node, connection);
        }
    }

    /// Forgets the state of an incarnation that was declared dead.
    pub(super) fn end_congestion(&mut self) {
        let Congestion { elsewhere, .. } = std::mem::take(&mut self.congestion);
        for connection in elsewhere.into_keys() {
            self.host.peer_congested(connection, false);
        }
    }

    fn is_peer_of(&self, node: Incarnation, room: &RoomId, connection: ConnectionId) -> bool {
        let member = self.replicas.get(room).and_then(|replica| replica.members.get(&connection));
        member.is_some_and(|member| member.holder == node)
    }
}
