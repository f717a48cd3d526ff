//! Session moves: the steps of claims and departures, over all engines.

use std::collections::BTreeMap;
use std::sync::Arc;

use tracing::info;

use super::Nodes;
use crate::clock::Moment;
use crate::cluster::Resumed;
use crate::cluster::frame::{Body, Handover, MovedRoom};
use crate::cluster::moving::{Claim, Departure, DepartureStep, NodeAt};
use crate::cluster::node::MoveEvent;
use crate::cluster::record::Member;
use crate::id::{ConnectionId, RoomId};
use crate::room::{Delivery, Event, LeaveReason, Peer, Recipients};

impl Nodes {
    /// Carries out what is due of the session moves.
    pub(super) fn advance(&mut self, now: Moment) {
        loop {
            let next = self
                .on_engines
                .iter_mut()
                .enumerate()
                .find_map(|(engine, node)| Some((engine, node.next_move_event()?)));
            match next {
                Some((engine, event)) => self.handle(now, engine, event),
                None => break,
            }
        }
        self.ask_listed(now);
        for connection in self.departures.keys().copied().collect::<Vec<_>>() {
            self.step(now, connection);
        }
    }

    /// Sends the claims to nodes that are listed, and refuses those to nodes that are not in a list
    /// made since.
    fn ask_listed(&mut self, now: Moment) {
        for connection in self.unlisted.keys().copied().collect::<Vec<_>>() {
            let Some(claim) = self.claims.get(&connection) else {
                self.unlisted.remove(&connection);
                continue;
            };
            let NodeAt { engine, node: from } = claim.from();
            let node = &mut self.on_engines[engine];
            if node.is_living(from) {
                if let Some(request) = self.unlisted.remove(&connection) {
                    node.push(now, from, Body::Claim { connection, request });
                }
            } else if node.has_list_since(claim.since()) {
                self.unlisted.remove(&connection);
                self.refuse(now, connection);
            } else {
                node.list_again(now);
            }
        }
    }

    fn handle(&mut self, now: Moment, engine: usize, event: MoveEvent) {
        match event {
            MoveEvent::Claimed { from, connection, request } => {
                let to = NodeAt { engine, node: from };
                if self.may_depart(connection) && self.host.claimed(connection, &request) {
                    self.departures.insert(connection, Departure::new(now.instant, to));
                } else {
                    self.on_engines[engine].push(now, from, Body::Refused { connection });
                }
            }
            MoveEvent::Held { from, connection } => {
                if let Some(departure) = self.departures.get_mut(&connection) {
                    departure.holds(NodeAt { engine, node: from });
                }
            }
            MoveEvent::Refused { from, connection } => {
                if self.is_asked(connection, NodeAt { engine, node: from }) {
                    self.refuse(now, connection);
                }
            }
            MoveEvent::HandedOver { from, handover } => {
                if self.is_asked(handover.connection, NodeAt { engine, node: from }) {
                    self.take(now, *handover);
                }
            }
            MoveEvent::Taken { room, connection } => {
                if self.claims.get_mut(&connection).is_some_and(|claim| claim.take(&room)) {
                    self.arrive(now, connection);
                }
            }
            MoveEvent::NotTaken { connection } => self.refuse(now, connection),
            MoveEvent::Settled { room, connection } => {
                if self
                    .departures
                    .get_mut(&connection)
                    .is_some_and(|departure| departure.settle(&room))
                {
                    self.departures.remove(&connection);
                }
            }
            MoveEvent::Interrupted => self.give_up_on(now, engine),
            MoveEvent::Fenced => {
                self.give_up_on(now, engine);
                self.end_departures_on(engine);
            }
        }
    }

    /// Returns the rooms of a local session.
    pub(super) fn rooms_of(&self, connection: ConnectionId) -> Vec<RoomId> {
        let mut rooms = self.host.rooms().of(connection);
        rooms.retain(|room| self.node_of(room).is_local(room, connection));
        rooms
    }

    fn is_asked(&self, connection: ConnectionId, node: NodeAt) -> bool {
        self.claims.get(&connection).is_some_and(|claim| claim.is_asked(node))
    }

    /// Returns whether a session can leave this process now: it is in a room, no join of it waits,
    /// and the engines of its rooms answer.
    fn may_depart(&self, connection: ConnectionId) -> bool {
        let rooms = self.rooms_of(connection);
        !rooms.is_empty()
            && rooms.iter().all(|room| self.node_of(room).is_ready())
            && !self.departures.contains_key(&connection)
            && !self.claims.contains_key(&connection)
            && !self.on_engines.iter().any(|node| node.has_waiting_join(connection))
    }

    /// Takes the next step of a departure.
    fn step(&mut self, now: Moment, connection: ConnectionId) {
        let rooms = self.rooms_of(connection);
        let mut present: BTreeMap<NodeAt, Vec<RoomId>> = BTreeMap::new();
        // A room that it has just left must not follow it.
        let mut is_known = !self.on_engines.iter().any(|node| node.has_open_leave(connection));
        for room in &rooms {
            let engine = self.engine_of(room);
            is_known &= self.on_engines[engine].is_settled() && self.is_followed(room);
            for node in self.on_engines[engine].nodes_in(room) {
                present.entry(NodeAt { engine, node }).or_default().push(room.clone());
            }
        }
        let Some(departure) = self.departures.get_mut(&connection) else { return };
        let to = departure.to();
        if rooms.is_empty() && !departure.is_handed_over() {
            // The session has left its rooms meanwhile: nothing of it can be resumed.
            self.departures.remove(&connection);
            self.on_engines[to.engine].push(now, to.node, Body::Refused { connection });
            self.host.end(connection);
            return;
        }
        let nodes = is_known.then(|| present.keys().copied().collect());
        match departure.step(now.instant, nodes.as_ref()) {
            DepartureStep::Ask(nodes) => {
                for at in nodes {
                    let rooms = present.remove(&at).unwrap_or_default();
                    self.on_engines[at.engine].push(now, at.node, Body::Hold { connection, rooms });
                }
            }
            DepartureStep::HandOver => self.hand_over(now, connection, to, &rooms),
            DepartureStep::GiveUp => {
                self.departures.remove(&connection);
                self.on_engines[to.engine].push(now, to.node, Body::Refused { connection });
                self.host.end(connection);
            }
            DepartureStep::Wait => {}
            DepartureStep::Remove(rooms) => {
                for room in rooms {
                    let engine = self.engine_of(&room);
                    self.on_engines[engine].leave_departed(now, &room, connection);
                }
            }
        }
    }

    /// Returns whether the replica of a room has the members that the room of this node has: no
    /// leave is on its way to it.
    fn is_followed(&self, room: &RoomId) -> bool {
        let replica = self.node_of(room).replica(room);
        replica.is_some_and(|replica| replica.members.len() == self.host.rooms().size(room))
    }

    fn hand_over(&mut self, now: Moment, connection: ConnectionId, to: NodeAt, rooms: &[RoomId]) {
        let Some(session) = self.host.release(connection) else {
            self.departures.remove(&connection);
            self.on_engines[to.engine].push(now, to.node, Body::Refused { connection });
            return;
        };
        if let Some(departure) = self.departures.get_mut(&connection) {
            departure.hand_over(now.instant, rooms.iter().cloned().collect());
        }
        let (mut moved, mut unsent) = (Vec::new(), Vec::new());
        for room in rooms {
            let engine = self.engine_of(room);
            let (left, signals) = self.on_engines[engine].depart(now, room, connection);
            moved.extend(left);
            unsent.extend(signals);
        }
        info!(%connection, to = %to.node, "handing a session over to another node");
        let handover = Box::new(Handover { connection, session, rooms: moved, unsent });
        self.on_engines[to.engine].push(now, to.node, Body::Handover(handover));
    }

    /// Begins to take over a session that was handed over.
    fn take(&mut self, now: Moment, handover: Handover) {
        let connection = handover.connection;
        let is_ready = |room: &MovedRoom| self.node_of(room.known.room()).is_ready();
        let is_member = |room: &MovedRoom| room.known.member(connection).is_some();
        let can_take = !handover.rooms.is_empty()
            && handover.rooms.iter().all(|room| is_ready(room) && is_member(room));
        if !can_take {
            self.refuse(now, connection);
            return;
        }
        for room in &handover.rooms {
            let engine = self.engine_of(room.known.room());
            self.on_engines[engine].take(now, room, connection);
        }
        if let Some(claim) = self.claims.get_mut(&connection) {
            claim.hand_over(now.instant, handover);
        }
    }

    /// Ends a move after the log has given all rooms of the session to this process.
    fn arrive(&mut self, now: Moment, connection: ConnectionId) {
        let Some(handover) = self.claims.get(&connection).and_then(Claim::handover).cloned() else {
            return;
        };
        let is_here = |room: &MovedRoom| {
            self.node_of(room.known.room()).is_local(room.known.room(), connection)
        };
        let is_whole = handover.rooms.iter().all(is_here);
        self.on_engines.iter_mut().for_each(|node| node.take_out_left(now, connection));
        let resumed =
            if is_whole { self.host.resumed(connection, &handover.session) } else { Resumed::Lost };
        if resumed == Resumed::Lost {
            self.refuse(now, connection);
            return;
        }
        self.moves.arrived += 1;
        self.claims.remove(&connection);
        for MovedRoom { known, .. } in &handover.rooms {
            let present = self
                .node_of(known.room())
                .replica(known.room())
                .map(|replica| replica.members.values());
            let missed =
                missed(connection, known.room(), &known.members, present.into_iter().flatten());
            if let Some(applied) = self.host.rooms().moved_here(connection, known.room(), missed) {
                self.host.catch_up(&applied, now);
            }
        }
        for MovedRoom { known, transports, .. } in &handover.rooms {
            let engine = self.engine_of(known.room());
            let at = (known.room(), known.media);
            self.on_engines[engine].take_transports(connection, at, transports);
        }
        for signal in handover.unsent {
            let engine = self.engine_of(&signal.room);
            self.on_engines[engine].forward(now, signal);
        }
        self.end_holds(now, connection);
        for MovedRoom { known, .. } in
            handover.rooms.iter().filter(|_| resumed == Resumed::Connected)
        {
            if let Some(applied) = self.host.rooms().announce(connection, known.room(), false) {
                self.host.deliver(&applied, now);
            }
        }
        if resumed == Resumed::Connected {
            self.announce(now, connection, false);
        }
        self.host.arrived(connection);
    }

    /// Ends a claim without the session: its client joins afresh.
    pub(super) fn refuse(&mut self, now: Moment, connection: ConnectionId) {
        let Some(claim) = self.claims.remove(&connection) else { return };
        self.moves.refused += 1;
        for room in claim.into_handover().into_iter().flat_map(|handover| handover.rooms) {
            let engine = self.engine_of(room.known.room());
            self.on_engines[engine].give_up(now, room.known.room(), connection);
        }
        self.end_holds(now, connection);
        self.host.refused(connection);
    }

    /// Sends what was held for a session on its way, and processes what came for it.
    fn end_holds(&mut self, now: Moment, connection: ConnectionId) {
        for node in &mut self.on_engines {
            node.process_early(now, connection);
            node.release(now, connection);
        }
    }

    /// Refuses the claims that an engine cannot complete.
    fn give_up_on(&mut self, now: Moment, engine: usize) {
        let is_on = |room: &MovedRoom| self.engine_of(room.known.room()) == engine;
        let is_lost = |claim: &Claim| match claim.handover() {
            Some(handover) => handover.rooms.iter().any(is_on),
            None => claim.from().engine == engine,
        };
        let lost = self
            .claims
            .iter()
            .filter(|(_, claim)| is_lost(claim))
            .map(|(connection, _)| *connection);
        for connection in lost.collect::<Vec<_>>() {
            self.refuse(now, connection);
        }
    }

    /// Ends the sessions that were about to leave, of an engine that has declared this node dead.
    fn end_departures_on(&mut self, engine: usize) {
        let is_on = |connection: &ConnectionId| {
            self.rooms_of(*connection).iter().any(|room| self.engine_of(room) == engine)
        };
        let departing = self.departures.iter().filter(|(_, departure)| !departure.is_handed_over());
        let ended: Vec<ConnectionId> = departing
            .map(|(connection, _)| *connection)
            .filter(|connection| is_on(connection))
            .collect();
        for connection in ended {
            self.departures.remove(&connection);
            self.host.end(connection);
        }
    }
}

/// Returns what a peer has missed of a room, from the members that it knows and those that are
/// present.
fn missed<'a>(
    me: ConnectionId,
    room: &RoomId,
    known: &[Member],
    present: impl Iterator<Item = &'a Member>,
) -> Vec<Delivery> {
    let present: Vec<&Member> = present.collect();
    let peer = |member: &Member| -> Arc<Peer> { member.admitted().peer.into() };
    let mut events = Vec::new();
    for before in known.iter().filter(|before| before.connection() != me) {
        if !present.iter().any(|member| member.membership == before.membership) {
            let (room, reason) = (room.clone(), LeaveReason::Disconnected);
            events.push(Event::PeerLeft { room, peer: peer(before), reason });
        }
    }
    for member in present.into_iter().filter(|member| member.connection() != me) {
        let room = room.clone();
        match known.iter().find(|before| before.membership == member.membership) {
            None => events.push(Event::PeerJoined { room, peer: peer(member) }),
            Some(before) if before.metadata != member.metadata => {
                events.push(Event::PeerUpdated { room, peer: peer(member) });
            }
            Some(_) => {}
        }
    }
    events.into_iter().map(|event| Delivery { to: Recipients::One(me), event }).collect()
}
