//! The actions of clients and of an operator.

use std::sync::Arc;
use std::time::Duration;

use parlor::cluster::Host;
use parlor::cluster::node::JoinRequest;
use parlor::id::{ConnectionId, PeerId, RoomId};
use parlor::room::{
    Command, Delivery, Event, JoinBounds, LeaveReason, Metadata, MetadataPatch, RoomKind, Target,
};

use super::client::{Connection, State};
use super::host::ToClient;
use super::ledger::{Missed, Sent};
use super::world::{Happening, LEASE, ROOMS, World, room_id};

/// How many rooms a client is in at most.
const MAX_ROOMS: usize = 2;

impl World {
    /// A client does something, or nothing.
    pub(crate) fn client_acts(&mut self, client: usize) {
        if self.is_quiet() {
            return;
        }
        let next = self.random.millis(5, 300);
        self.after(next, Happening::Client { client });
        let is_steady = self.clients[client].is_steady;
        let Some(session) = &self.clients[client].session else {
            self.connect(client);
            return;
        };
        // A stopped process reads nothing from its clients.
        let process =
            self.machines[session.node].process.as_ref().filter(|process| !process.is_stopped);
        // Or its session has ended, as its client is about to learn.
        let can_act = process.is_some_and(|process| process.sessions.has(session.connection));
        if !can_act || session.state != Connection::Open {
            return;
        }
        let chance = self.random.below(1000);
        let churn = if is_steady { 1 } else { 25 };
        let count = session.rooms.len();
        let choice = self.random.index(count.max(1));
        let session = self.clients[client].session.as_ref().unwrap();
        let Some((room, state)) = session.rooms.iter().nth(choice) else {
            self.join(client);
            return;
        };
        let room = *room;
        match state {
            _ if chance < 12 && !self.is_stable() => self.drop_connection(client),
            _ if chance < 16 && count < MAX_ROOMS => self.join(client),
            State::Leaving => {}
            _ if chance < 16 + churn => self.leave(client, room),
            State::Joining { .. } => {}
            State::Inside(_) if chance < 16 + 2 * churn => self.close(client),
            State::Inside(_) if chance < 120 => self.update(client, room),
            State::Inside(_) if chance < 160 => self.ask_media(client, room),
            State::Inside(_) => self.signal(client, room),
        }
    }

    fn join(&mut self, client: usize) {
        let room = self.random.index(ROOMS);
        let metadata = Metadata::new(&format!("\"n\":{}", self.random.below(1000)));
        let (peer, since) = (self.clients[client].name.clone(), self.now);
        let session = self.clients[client].session.as_mut().unwrap();
        if session.rooms.contains_key(&room) {
            return;
        }
        session.rooms.insert(room, State::Joining { since });
        let (node, connection) = (session.node, session.connection);
        self.note(|| format!("client {client} ({connection}) joins room {room} on node {node}"));
        let request = JoinRequest {
            room: room_id(room),
            connection,
            peer,
            metadata,
            kind: RoomKind::Group,
            bounds: JoinBounds::default(),
        };
        self.with_node(node, |process, now| {
            process.sessions.joins(connection, &request.room, true);
            process.nodes.join(now, request);
        });
    }

    fn leave(&mut self, client: usize, room: usize) {
        let session = self.clients[client].session.as_mut().unwrap();
        let (node, connection) = (session.node, session.connection);
        if let Some(State::Inside(inside)) = session.rooms.insert(room, State::Leaving) {
            self.check_presence(connection, room, &inside);
            self.ledger.end(inside.join);
        }
        self.note(|| format!("client {client} ({connection}) leaves room {room} on node {node}"));
        let id = room_id(room);
        self.forget_media(connection, Some(&id));
        self.with_node(node, |process, now| {
            if let Some(applied) =
                process.sessions.rooms().leave(connection, &id, LeaveReason::Left)
            {
                process.sessions.queue(&applied.deliveries);
            }
            process.sessions.joins(connection, &id, false);
            process.sessions.send(connection, ToClient::Left { room: id.clone() });
            process.nodes.left(now, &id, connection, LeaveReason::Left);
        });
    }

    /// A client ends its session.
    fn close(&mut self, client: usize) {
        let session = self.clients[client].session.as_ref().unwrap();
        let (node, connection) = (session.node, session.connection);
        self.forget_session(client);
        self.end_session(node, connection, LeaveReason::Left);
    }

    fn update(&mut self, client: usize, room: usize) {
        let text = format!("\"n\":{}", self.random.below(1000));
        let session = self.clients[client].session.as_mut().unwrap();
        let Some(State::Inside(inside)) = session.rooms.get_mut(&room) else { return };
        inside.metadata = Metadata::new(&text);
        let (node, connection, id) = (session.node, session.connection, room_id(room));
        let patch = MetadataPatch { text: text.as_str().into(), merge: |_, new| new.to_owned() };
        let command = Command::Update { room: Some(id.clone()), patch };
        self.with_node(node, |process, now| {
            // The server may have removed the peer, which its client is about to learn.
            if let Ok(applied) = process.sessions.rooms().apply(now, connection, command) {
                process.sessions.queue(&applied.deliveries);
                drop(applied);
                process.nodes.updated(now, &id, connection, Metadata::new(&text));
            }
        });
    }

    /// A client sends a signal to a peer that it sees, by its connection or its peer id, or to all.
    fn signal(&mut self, client: usize, room: usize) {
        let session = self.clients[client].session.as_ref().unwrap();
        let Some(inside) = session.inside(room).filter(|inside| !inside.view.is_empty()) else {
            return;
        };
        let (node, connection, id, join) =
            (session.node, session.connection, room_id(room), inside.join);
        let choice = self.random.index(inside.view.len());
        let (to, seen) = inside.view.iter().nth(choice).unwrap();
        let to = *to;
        let target = match self.random.below(10) {
            0 => None,
            1 => Some(Target::new(seen.peer.clone())),
            _ => Some(Target::connection(PeerId::new(&to.to_string()).unwrap())),
        };
        let sent = Sent { number: self.ledger.number(), join };
        let is_to_one = target.as_ref().is_some_and(|target| target.as_peer().is_none());
        let command = Command::Relay { room: Some(id), target, signal: sent.signal() };
        let sessions = Arc::clone(&self.machines[node].process.as_ref().unwrap().sessions);
        let applied = sessions.rooms().apply(self.moment(), connection, command);
        let Ok(applied) = applied else {
            // The server knows already that the peer has left, or this one.
            if is_to_one {
                self.record(client, room, sent, to);
                self.ledger.report(sent.number, to);
            }
            return;
        };
        let deliveries: Vec<Delivery> = applied.deliveries.clone();
        for Delivery { to, event } in &deliveries {
            assert!(matches!(event, Event::SignalRelayed { .. }));
            to.as_slice().iter().for_each(|to| self.record(client, room, sent, *to));
        }
        let elsewhere = sessions.queue(&deliveries);
        drop(applied);
        self.send_elsewhere(node, elsewhere);
        self.with_node(node, |_, _| ());
    }

    fn record(&mut self, client: usize, room: usize, sent: Sent, to: ConnectionId) {
        let inside = self.clients[client].session.as_ref().and_then(|session| session.inside(room));
        let announcement =
            inside.and_then(|inside| inside.view.get(&to)).map_or(0, |seen| seen.announcement);
        self.ledger.sent(sent, to, announcement);
    }

    /// An operator removes a peer from a room, by a request to some node.
    pub(crate) fn kick(&mut self) {
        if self.is_stable() || self.is_quiet() {
            return;
        }
        let next = self.random.millis(2000, 6000);
        self.after(next, Happening::Kick);
        let (node, room) = (self.random.index(self.machines.len()), self.random.index(ROOMS));
        let id = room_id(room);
        let Some(process) =
            self.machines[node].process.as_ref().filter(|process| !process.is_stopped)
        else {
            return;
        };
        let engine = process.nodes.engine_of(&id);
        let members = self.engines[engine]
            .data
            .rooms
            .get(&id)
            .map(|record| record.members.clone())
            .unwrap_or_default();
        if members.is_empty() || !process.nodes.nodes()[engine].is_ready() {
            return;
        }
        let member = &members[self.random.index(members.len())];
        let (holder, connection) = (member.holder, member.connection());
        if holder == process.nodes.nodes()[engine].incarnation() {
            return;
        }
        let number = self.kicks.begin(self.now);
        self.note(|| format!("node {node} asks {holder} to remove {connection} from room {room}"));
        self.with_node(node, |process, now| {
            process.nodes.kick(now, holder, id, connection, number);
        });
    }

    /// An operator's request is answered.
    pub(crate) fn kicked(&mut self, id: u64, is_done: bool) {
        self.kicks.end(id);
        self.stats.kicked += u64::from(is_done);
    }

    /// Checks that a peer that is still in a room was not seen leaving it.
    pub(crate) fn check_presence(
        &self,
        connection: ConnectionId,
        room: usize,
        inside: &super::client::Inside,
    ) {
        if self.has_old_data {
            return;
        }
        let id = room_id(room);
        let missed = self.ledger.was_missed(connection, id.clone(), inside.joined_at);
        let missed = missed.filter(|missed| !self.may_return(&id, connection, missed));
        let is_long_ago =
            missed.is_some_and(|m| self.now.saturating_sub(m.when) > Duration::from_secs(40));
        assert!(
            !is_long_ago,
            "{connection} was seen leaving room {room} at {missed:?}, and is still there"
        );
    }
    /// Returns whether a peer that was seen leaving may be there nevertheless.
    fn may_return(&self, room: &RoomId, connection: ConnectionId, missed: &Missed) -> bool {
        let Some((membership, node)) = missed.had else { return false };
        // A node that was declared dead renews the members of rooms that it had alone: peers that
        // have joined meanwhile see them leave, and join anew.
        if self.membership(room, connection).is_some_and(|(now, _)| now != membership) {
            return true;
        }
        let process = self.machines.iter().find_map(|machine| machine.process.as_ref());
        let engine = process.map(|process| process.nodes.engine_of(room));
        let losses = engine.map_or(&[][..], |engine| &self.engines[engine].losses);
        losses.iter().any(|loss| {
            if missed.when >= loss.at {
                // The nodes tell an empty engine of their peers one after the other.
                return missed.when <= loss.at + LEASE;
            }
            // It does not know any more which nodes were declared dead: one that returns only then
            // is not fenced.
            loss.served.get(&node).is_none_or(|served| *served <= missed.when)
        })
    }
}
