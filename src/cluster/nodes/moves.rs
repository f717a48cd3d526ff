//! Session moves: the steps of claims and departures, over all engines.

use std::collections::BTreeMap;
use std::sync::Arc;

use tracing::info;

use super::Nodes;
use crate::clock::Moment;
use crate::cluster::frame::{Body, Handover, MovedRoom};
use crate::cluster::moving::{Claim, ClaimStep, Departure, DepartureStep, NodeAt};
use crate::cluster::node::MoveEvent;
use crate::cluster::record::Member;
use crate::cluster::{Released, Resumed};
use crate::id::{ConnectionId, RoomId};
use crate::room::state::Room;
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
    }

    /// Carries out what is due of the departures, after everything that their sessions have sent is
    /// on its way.
    pub fn proceed_with_departures(&mut self, now: Moment) {
        if self.departures.is_empty() {
            return;
        }
        for connection in self.departures.keys().copied().collect::<Vec<_>>() {
            self.step(now, connection);
        }
    }

    fn handle(&mut self, now: Moment, engine: usize, event: MoveEvent) {
        match event {
            MoveEvent::Claimed { from, connection, request } => {
                let to = NodeAt { engine, node: from };
                if self.claims.contains_key(&connection) {
                    // It may be about to arrive here, for a client that has reached another node
                    // since.
                    if let Some((former, _)) = self.claimed.insert(connection, (to, request)) {
                        self.refuse_claim(now, connection, former, Some(to));
                    }
                    self.searches_too(now, connection, to);
                } else {
                    self.claimed(now, connection, to, &request);
                }
            }
            MoveEvent::Held { from, connection } => {
                if let Some(departure) = self.departures.get_mut(&connection) {
                    departure.holds(NodeAt { engine, node: from });
                }
            }
            MoveEvent::Refused { from, connection, holder } => {
                let holder = holder.map(|node| NodeAt { engine, node });
                // The client may have reached this node again meanwhile.
                let me = self.on_engines[engine].incarnation();
                let holder = holder.filter(|holder| holder.node != me);
                let Some(claim) = self.claims.get_mut(&connection) else { return };
                match claim.refused(now.instant, NodeAt { engine, node: from }, holder) {
                    // It may be gone by now.
                    ClaimStep::Ask(at) => _ = self.unlisted.insert(connection, at),
                    ClaimStep::Wait => {}
                    ClaimStep::GiveUp => self.refuse(now, connection),
                    ClaimStep::MovesOn => self.lose_sight(now, connection),
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

    /// Returns whether a session can leave this process now: it is in a room, no join of it waits,
    /// and the engines of its rooms answer.
    pub(super) fn may_depart(&self, connection: ConnectionId) -> bool {
        let rooms = self.rooms_of(connection);
        !rooms.is_empty()
            && rooms.iter().all(|room| self.node_of(room).is_ready())
            && !self.departures.contains_key(&connection)
            && !self.claims.contains_key(&connection)
            && !self.on_engines.iter().any(|node| node.has_waiting_join(connection))
    }

    /// Takes the next step of a departure.
    fn step(&mut self, now: Moment, connection: ConnectionId) {
        let untaken = self.departures.get(&connection).and_then(Departure::untaken);
        let rooms = match untaken {
            Some(rooms) => rooms.iter().cloned().collect(),
            None => self.rooms_of(connection),
        };
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
            self.refuse_claim(now, connection, to, None);
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
            DepartureStep::HandOver => self.hand_over(now, connection, to),
            DepartureStep::GiveUp => {
                self.departures.remove(&connection);
                // Asked again, since the node that is silent may be about to be declared dead.
                self.host.kept(connection);
                let node = self.on_engines[to.engine].incarnation();
                self.refuse_claim(now, connection, to, Some(NodeAt { engine: to.engine, node }));
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

    fn hand_over(&mut self, now: Moment, connection: ConnectionId, to: NodeAt) {
        let Some(Released { session, rooms: shown }) = self.host.release(connection) else {
            self.departures.remove(&connection);
            self.refuse_claim(now, connection, to, None);
            return;
        };
        let (mut moved, mut unsent) = (Vec::new(), Vec::new());
        for room in shown {
            let engine = self.engine_of(&room.room);
            let (left, signals) = self.on_engines[engine].depart(now, &room, connection);
            moved.extend(left);
            unsent.extend(signals);
        }
        if let Some(departure) = self.departures.get_mut(&connection) {
            let rooms = moved.iter().map(|room: &MovedRoom| room.known.room().clone());
            departure.hand_over(now.instant, rooms.collect());
        }
        self.moved.insert(now.instant, connection, to);
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
        self.moved.remove(&connection);
        self.claims.remove(&connection);
        for moved @ MovedRoom { known, .. } in &handover.rooms {
            let replica = self.node_of(known.room()).replica(known.room());
            let present = replica.into_iter().flat_map(|replica| replica.members.values());
            let missed = |room: &mut Room| missed(connection, room, moved, present);
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
        self.arrivals.insert(connection);
    }

    /// Sends what was held for a session on its way, and processes what came for it.
    pub(super) fn end_holds(&mut self, now: Moment, connection: ConnectionId) {
        for node in &mut self.on_engines {
            node.process_early(now, connection);
            node.release(now, connection);
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

/// Returns what a peer has missed of a room, from what it knows and the members that the log says
/// are present. Peers of this node may have left since.
fn missed<'a>(
    me: ConnectionId,
    room: &mut Room,
    MovedRoom { known, away, .. }: &MovedRoom,
    present: impl Iterator<Item = &'a Member>,
) -> Vec<Delivery> {
    let others = present.filter(|member| member.connection() != me);
    let peer = |member: &Member| room.peer(member.connection()).cloned();
    let present: Vec<(&Member, Arc<Peer>)> =
        others.filter_map(|member| Some((member, peer(member)?))).collect();
    let (id, mut events) = (room.id().clone(), Vec::new());
    for before in known.members.iter().filter(|before| before.connection() != me) {
        if !present.iter().any(|(member, _)| member.membership == before.membership) {
            let (room, peer) = (id.clone(), Arc::new(before.admitted().peer));
            events.push(Event::PeerLeft { room, peer, reason: LeaveReason::Disconnected });
        }
    }
    for (member, peer) in present {
        let connection = member.connection();
        let before = known.members.iter().find(|before| before.membership == member.membership);
        let was_away = before.is_some() && away.contains(&connection);
        match before {
            None => events.push(Event::PeerJoined { room: id.clone(), peer: Arc::clone(&peer) }),
            Some(before) if before.metadata != peer.metadata => {
                events.push(Event::PeerUpdated { room: id.clone(), peer: Arc::clone(&peer) });
            }
            Some(_) => {}
        }
        let room_id = id.clone();
        match room.presence(connection) {
            // This node has not received an announcement of it.
            None => room.set_presence(connection, was_away),
            Some(true) if !was_away => events.push(Event::PeerAway { room: room_id, peer }),
            Some(false) if was_away => events.push(Event::PeerBack { room: room_id, peer }),
            Some(_) => {}
        }
    }
    if room.presence(me).is_none() {
        room.set_presence(me, away.contains(&me));
    }
    events.into_iter().map(|event| Delivery { to: Recipients::One(me), event }).collect()
}
