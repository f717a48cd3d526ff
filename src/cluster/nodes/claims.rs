//! Claims: the nodes that are asked for a session whose client resumes it here, and the claims of
//! other nodes.

use bytes::Bytes;

use super::Nodes;
use crate::clock::Moment;
use crate::cluster::frame::{Body, MovedRoom};
use crate::cluster::moving::{Claim, ClaimStep, Departure, NodeAt};
use crate::id::ConnectionId;

impl Nodes {
    /// Sends the claims to nodes that are listed. A session of a node that is not in a list made
    /// since, or that does not answer, may have moved to any other before: all are asked once.
    pub(super) fn ask_listed(&mut self, now: Moment) {
        if self.unlisted.is_empty() {
            return;
        }
        for (connection, at) in self.unlisted.clone() {
            let Some(claim) = self.claims.get_mut(&connection) else {
                self.unlisted.remove(&connection);
                continue;
            };
            let node = &mut self.on_engines[at.engine];
            if node.is_living(at.node) {
                self.unlisted.remove(&connection);
                self.ask(now, connection, at);
            } else if node.has_list_since(claim.since()) {
                self.unlisted.remove(&connection);
                claim.forget(at);
                if claim.asks_all(now.instant, true) {
                    self.ask_all(now, connection, at.engine);
                } else if !claim.has_asked() && claim.handover().is_none() {
                    self.refuse(now, connection);
                }
            } else {
                node.list_again(now);
            }
        }
    }

    /// Asks a node for a session.
    pub(super) fn ask(&mut self, now: Moment, connection: ConnectionId, at: NodeAt) {
        let Some(claim) = self.claims.get_mut(&connection) else { return };
        claim.ask([at]);
        let request = claim.request().clone();
        self.on_engines[at.engine].push(now, at.node, Body::Claim { connection, request });
    }

    /// Asks all nodes for sessions that a node was asked for that does not answer.
    pub(super) fn ask_others(&mut self, now: Moment) {
        let slow = self.claims.iter_mut().filter_map(|(connection, claim)| {
            claim.asks_all(now.instant, false).then_some(*connection)
        });
        for connection in slow.collect::<Vec<_>>() {
            self.ask_all(now, connection, self.home_of(connection));
        }
    }

    fn ask_all(&mut self, now: Moment, connection: ConnectionId, engine: usize) {
        let others = self.on_engines[engine].other_nodes();
        let is_asked = self.claims.get(&connection).is_some_and(Claim::has_asked);
        if others.is_empty() || !self.host.may_ask_all(connection) {
            // A node that was asked may still answer.
            if !is_asked {
                self.refuse(now, connection);
            }
            return;
        }
        for node in others {
            let at = NodeAt { engine, node };
            if self.claims.get(&connection).is_some_and(|claim| !claim.is_asked(at)) {
                self.ask(now, connection, at);
            }
        }
        if let Some((searching, _)) = self.claimed.get(&connection) {
            self.searches_too(now, connection, *searching);
        }
    }

    /// Notes that a node that was asked for a session is looking for it, too: it does not have it. If
    /// both waited for each other, the client of neither would be answered in time.
    pub(super) fn searches_too(&mut self, now: Moment, connection: ConnectionId, node: NodeAt) {
        let claim = self.claims.get_mut(&connection).filter(|claim| claim.is_searching());
        let step = claim.map(|claim| claim.refused(now.instant, node, None));
        if step == Some(ClaimStep::GiveUp) {
            self.refuse(now, connection);
        }
    }

    /// Returns the node that a session has moved to, or is moving to, from this one.
    pub fn moved_to(&self, connection: ConnectionId) -> Option<NodeAt> {
        let departure = self.departures.get(&connection);
        departure.map(Departure::to).or_else(|| self.moved.get(&connection).copied())
    }

    /// Grants or refuses the claim of another node.
    pub(super) fn claimed(
        &mut self,
        now: Moment,
        connection: ConnectionId,
        to: NodeAt,
        request: &Bytes,
    ) {
        if self.may_depart(connection) && self.host.claimed(connection, request) {
            self.departures.insert(connection, Departure::new(now.instant, to));
            return;
        }
        if self
            .departures
            .get(&connection)
            .is_some_and(|departure| departure.to() == to && !departure.is_handed_over())
        {
            // It has asked before, and is about to get it.
            return;
        }
        let holder = self.moved_to(connection).filter(|holder| holder.engine == to.engine);
        self.refuse_claim(now, connection, to, holder);
    }

    pub(super) fn refuse_claim(
        &mut self,
        now: Moment,
        connection: ConnectionId,
        to: NodeAt,
        holder: Option<NodeAt>,
    ) {
        let holder = holder.map(|holder| holder.node).filter(|holder| *holder != to.node);
        self.on_engines[to.engine].push(now, to.node, Body::Refused { connection, holder });
    }

    /// Decides about claims of other nodes that have waited for a session to arrive here. Returns
    /// whether there was one.
    pub fn decide_claims(&mut self, now: Moment) -> bool {
        if self.claimed.is_empty() {
            return false;
        }
        let is_decided = |connection: &ConnectionId| {
            !self.claims.contains_key(connection) && !self.arrivals.contains(connection)
        };
        let decided: Vec<ConnectionId> = self.claimed.keys().copied().filter(is_decided).collect();
        for connection in &decided {
            if let Some((to, request)) = self.claimed.remove(connection) {
                self.claimed(now, *connection, to, &request);
            }
        }
        !decided.is_empty()
    }

    pub(super) fn is_asked(&self, connection: ConnectionId, node: NodeAt) -> bool {
        self.claims.get(&connection).is_some_and(|claim| claim.is_asked(node))
    }

    /// Ends a claim without the session: its client joins afresh.
    pub(super) fn refuse(&mut self, now: Moment, connection: ConnectionId) {
        if self.end_claim(now, connection) {
            self.host.refused(connection);
        }
    }

    /// Ends a claim of a session that other connections of its client claim again and again.
    pub(super) fn lose_sight(&mut self, now: Moment, connection: ConnectionId) {
        if self.end_claim(now, connection) {
            self.host.moves_on(connection);
        }
    }

    fn end_claim(&mut self, now: Moment, connection: ConnectionId) -> bool {
        let Some(claim) = self.claims.remove(&connection) else { return false };
        self.moves.refused += 1;
        for room in claim.into_handover().into_iter().flat_map(|handover| handover.rooms) {
            let engine = self.engine_of(room.known.room());
            self.on_engines[engine].give_up(now, room.known.room(), connection);
        }
        self.end_holds(now, connection);
        true
    }

    /// Refuses the claims that an engine cannot complete.
    pub(super) fn give_up_on(&mut self, now: Moment, engine: usize) {
        let is_on = |room: &MovedRoom| self.engine_of(room.known.room()) == engine;
        let is_lost = |(connection, claim): &(&ConnectionId, &Claim)| match claim.handover() {
            Some(handover) => handover.rooms.iter().any(is_on),
            None => self.home_of(**connection) == engine,
        };
        let lost = self.claims.iter().filter(is_lost).map(|(connection, _)| *connection);
        for connection in lost.collect::<Vec<_>>() {
            self.refuse(now, connection);
        }
    }
}
