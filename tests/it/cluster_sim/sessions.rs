//! Sessions: their connections are lost, they are resumed on this node or another, and they end.

use std::collections::BTreeMap;
use std::time::Duration;

use parlor::cluster::node::OutgoingSignal;
use parlor::cluster::{Host, Membership};
use parlor::id::{ConnectionId, RoomId};
use parlor::room::{Event, LeaveReason};

use super::client::{Connection, Inside, Session, State};
use super::host::{Notice, Resuming, ToClient};
use super::world::{Happening, World, room_id, room_index};

/// How long a session may be away.
const RESUME: Duration = Duration::from_secs(12);

impl World {
    /// A client opens a session on a node that runs.
    pub(crate) fn connect(&mut self, client: usize) {
        let node = self.random.index(self.machines.len());
        let Some(process) =
            self.machines[node].process.as_ref().filter(|process| !process.is_stopped)
        else {
            return;
        };
        self.sessions += 1;
        let connection = ConnectionId::from_u128(self.sessions);
        let attachment = self.clients[client].attachment + 1;
        process.sessions.open(connection, client, attachment);
        let token = process.nodes.token_of(connection);
        let (state, rooms, open_since) = (Connection::Open, BTreeMap::new(), self.now);
        self.clients[client].attachment = attachment;
        self.clients[client].session =
            Some(Session { connection, node, token, state, open_since, seen: 0, rooms });
        self.note(|| format!("client {client} opens {connection} on node {node}"));
    }

    /// The connection of a client is lost: what is on its way is lost, and the node notices it some
    /// time.
    pub(crate) fn drop_connection(&mut self, client: usize) {
        let Some(session) = self.clients[client].session.as_mut() else { return };
        session.state = Connection::Lost;
        let (node, connection, attachment) =
            (session.node, session.connection, self.clients[client].attachment);
        self.note(|| format!("client {client} loses its connection to {connection}"));
        self.stats.drops += 1;
        self.clients[client].attachment += 1;
        self.lose(node, connection, attachment);
        let (delay, attachment) = (self.random.millis(20, 3000), self.clients[client].attachment);
        self.after(delay, Happening::Resume { client, attachment });
    }

    /// A node is to notice that a client is not there any more.
    fn lose(&mut self, node: usize, connection: ConnectionId, attachment: u64) {
        let (delay, life) = (self.random.millis(0, 1000), self.machines[node].life);
        self.after(delay, Happening::Lost { node, life, connection, attachment });
    }

    pub(crate) fn lost(
        &mut self,
        node: usize,
        life: u64,
        connection: ConnectionId,
        attachment: u64,
    ) {
        let Some(process) =
            self.machines[node].process.as_ref().filter(|_| self.machines[node].life == life)
        else {
            return;
        };
        if process.is_stopped {
            self.after(
                Duration::from_millis(100),
                Happening::Lost { node, life, connection, attachment },
            );
            return;
        }
        if process.sessions.detach(connection, attachment).is_some() {
            self.announce(node, connection, true);
            self.start_absence(node, connection);
        }
    }

    fn start_absence(&mut self, node: usize, connection: ConnectionId) {
        let life = self.machines[node].life;
        let process = self.machines[node].process.as_ref().unwrap();
        if let Some(absence) = process.sessions.absence(connection) {
            self.after(RESUME, Happening::AwayOver { node, life, connection, absence });
        }
    }

    pub(crate) fn away_over(
        &mut self,
        node: usize,
        life: u64,
        connection: ConnectionId,
        absence: u64,
    ) {
        let Some(process) =
            self.machines[node].process.as_ref().filter(|_| self.machines[node].life == life)
        else {
            return;
        };
        if process.is_stopped {
            self.after(
                Duration::from_millis(100),
                Happening::AwayOver { node, life, connection, absence },
            );
        } else if process.sessions.is_away(connection, absence) {
            self.end_session(node, connection, LeaveReason::TimedOut);
        }
    }

    /// Tells the peers of a session that it is away, or back.
    fn announce(&mut self, node: usize, connection: ConnectionId, is_away: bool) {
        let process = self.machines[node].process.as_ref().unwrap();
        for room in process.sessions.rooms().of(connection) {
            if let Some(applied) = process.sessions.rooms().announce(connection, &room, is_away) {
                process.sessions.queue(&applied.deliveries);
            }
        }
        self.with_node(node, |process, now| process.nodes.announce(now, connection, is_away));
    }

    /// A client resumes its session, on the node that has it or on another.
    pub(crate) fn resume(&mut self, client: usize, attachment: u64) {
        if self.clients[client].attachment != attachment {
            return;
        }
        let Some(session) = &self.clients[client].session else { return };
        let (connection, seen, token, former) =
            (session.connection, session.seen, session.token, session.node);
        let node =
            if self.random.percent(35) { former } else { self.random.index(self.machines.len()) };
        let resuming = Resuming { client, attachment, seen };
        let process = self.machines[node].process.as_ref().filter(|process| !process.is_stopped);
        let Some(process) = process else {
            self.after(Duration::from_millis(300), Happening::Resume { client, attachment });
            return;
        };
        let session = self.clients[client].session.as_mut().unwrap();
        (session.state, session.node) = (Connection::Resuming, node);
        let sessions = std::sync::Arc::clone(&process.sessions);
        self.note(|| format!("client {client} resumes {connection} on node {node}, {seen} seen"));
        if sessions.has(connection) {
            match sessions.resume(connection, resuming) {
                Some(true) => self.announce(node, connection, false),
                Some(false) => {}
                None => sessions.refuse(connection, resuming),
            }
            self.with_node(node, |_, _| ());
            return;
        }
        self.with_node(node, |process, now| {
            let request = bytes::Bytes::copy_from_slice(&client.to_be_bytes());
            if process.nodes.claim(now, connection, token, request) {
                process.sessions.await_resumption(connection, resuming);
            } else {
                process.sessions.refuse(connection, resuming);
            }
        });
    }

    /// Ends a session: it leaves its rooms.
    pub(crate) fn end_session(
        &mut self,
        node: usize,
        connection: ConnectionId,
        reason: LeaveReason,
    ) {
        let process = self.machines[node].process.as_ref().unwrap();
        let sessions = std::sync::Arc::clone(&process.sessions);
        let Some(joining) = sessions.close(connection) else { return };
        self.note(|| format!("{connection} ends on node {node}: {reason:?}"));
        let rooms = sessions.rooms().disconnect(connection);
        for room in &rooms {
            if let Some(applied) = sessions.rooms().leave(connection, room, reason) {
                sessions.queue(&applied.deliveries);
            }
        }
        self.with_node(node, |process, now| {
            for room in rooms.iter().chain(&joining) {
                process.nodes.left(now, room, connection, reason);
            }
        });
    }

    /// A process wants something.
    pub(crate) fn notice(&mut self, node: usize, notice: Notice) {
        match notice {
            Notice::Message { connection, client, attachment, number, message } => {
                if matches!(message, ToClient::Resumed)
                    && self.clients[client].attachment != attachment
                {
                    self.lose(node, connection, attachment);
                }
                let delay = self.random.micros(50, 20_000);
                let time = (self.now + delay).max(self.last_message[client]);
                self.last_message[client] = time;
                self.at(time, Happening::Message { client, attachment, number, message });
            }
            Notice::Left { room, connection, reason } => {
                self.with_node(node, |process, now| {
                    process.nodes.left(now, &room, connection, reason);
                });
            }
            Notice::Kicked { id, is_done } => self.kicked(id, is_done),
            Notice::Served(served) => {
                self.with_node(node, |process, now| process.nodes.served(now, served));
            }
            Notice::Media(notice) => {
                self.with_node(node, |process, now| process.nodes.send_notice(now, &notice));
            }
            Notice::MediaEnded { room } => {
                self.with_node(node, |process, now| process.nodes.settle_media(now, &room));
            }
            Notice::Released => self.crash_after_handover(node),
            Notice::Kept { connection } => self.start_absence(node, connection),
            Notice::End { .. } => unreachable!("sessions end last"),
        }
    }

    /// A message arrives at a client.
    pub(crate) fn message(
        &mut self,
        client: usize,
        attachment: u64,
        number: u64,
        message: ToClient,
    ) {
        if self.clients[client].attachment != attachment {
            return;
        }
        self.note(|| format!("client {client} receives {number}: {message:?}"));
        let Some(session) = self.clients[client].session.as_mut() else { return };
        if number > 0 {
            assert_eq!(
                number,
                session.seen + 1,
                "message {number} of client {client} follows {}",
                session.seen
            );
            session.seen = number;
        }
        match message {
            ToClient::Event(event) => self.event(client, &event),
            ToClient::JoinRefused { room } => {
                self.stats.refused += 1;
                self.out(client, room_index(&room));
            }
            ToClient::Removed { room } => self.out(client, room_index(&room)),
            ToClient::Left { room } => {
                let left = session.rooms.remove(&room_index(&room));
                assert!(matches!(left, Some(State::Leaving)), "the answer to a leave");
            }
            ToClient::Undelivered { number, to } => self.ledger.report(number, to),
            ToClient::Resumed => {
                let (node, connection) = (session.node, session.connection);
                (session.state, session.open_since) = (Connection::Open, self.now);
                self.stats.resumed += 1;
                if let Some(process) = &self.machines[node].process {
                    session.token = process.nodes.token_of(connection);
                }
            }
            ToClient::Refused | ToClient::Closed => {
                if matches!(message, ToClient::Refused) {
                    self.stats.resumes_refused += 1;
                }
                self.forget_session(client);
            }
        }
    }

    /// A client has no session any more.
    pub(crate) fn forget_session(&mut self, client: usize) {
        self.clients[client].attachment += 1;
        let Some(session) = self.clients[client].session.take() else { return };
        self.forget_media(session.connection, None);
        for state in session.rooms.into_values() {
            if let State::Inside(inside) = state {
                self.ledger.end(inside.join);
            }
        }
    }

    /// A client is out of a room.
    pub(crate) fn out(&mut self, client: usize, room: usize) {
        let Some(session) = self.clients[client].session.as_mut() else { return };
        if matches!(session.rooms.get(&room), Some(State::Leaving)) {
            return;
        }
        let (left, connection) = (session.rooms.remove(&room), session.connection);
        if let Some(State::Inside(inside)) = left {
            self.ledger.end(inside.join);
        }
        self.forget_media(connection, Some(&room_id(room)));
    }

    /// Returns whether the node of a client agrees with the engine of a room.
    fn is_ready_for(&self, client: usize, room: &RoomId) -> bool {
        let node = self.clients[client].session.as_ref().map(|session| session.node);
        let process = node.and_then(|node| self.machines[node].process.as_ref());
        process.is_some_and(|process| process.nodes.node_of(room).is_ready())
    }

    fn event(&mut self, client: usize, event: &Event) {
        let room = match event {
            Event::Joined(snapshot) => &snapshot.room,
            Event::PeerJoined { room, .. }
            | Event::PeerLeft { room, .. }
            | Event::PeerAway { room, .. }
            | Event::PeerBack { room, .. }
            | Event::PeerUpdated { room, .. }
            | Event::SignalRelayed { room, .. }
            | Event::HungUp { room }
            | Event::Removed { room, .. } => room,
        };
        let left = match event {
            // A join that one node has admitted alone replaces a peer there only. It may be gone before
            // the others learn of it.
            Event::PeerLeft { reason: LeaveReason::Replaced, .. }
                if !self.is_ready_for(client, room) =>
            {
                None
            }
            Event::PeerLeft { peer, .. } => Some((peer, self.membership(room, peer.connection))),
            _ => None,
        };
        let (id, room) = (room, room_index(room));
        let session = self.clients[client].session.as_mut().unwrap();
        let connection = session.connection;
        // A client that has left a room ignores what is still on its way.
        let Some(state) = session.rooms.get_mut(&room) else { return };
        if let (State::Joining { .. }, Event::Joined(snapshot)) = (&*state, event) {
            self.ledger.joins += 1;
            *state = State::Inside(Inside::new(self.ledger.number(), &snapshot.me));
        }
        if let State::Inside(inside) = state {
            self.ledger.open_since = session.open_since;
            if let Some((peer, had)) = left {
                self.ledger.lost_sight(id, peer, had);
            }
            // The nodes tell an engine that has lost its data of their peers one after the other.
            if let Event::PeerJoined { peer, .. } = event
                && self.has_lost_data
            {
                self.ledger.seen_again(id, peer);
            }
            if !inside.tell(&mut self.ledger, connection, event) {
                self.out(client, room);
            }
        }
    }

    /// Returns the membership of a peer as its own node has it, and the index of that.
    pub(crate) fn membership(
        &self,
        room: &RoomId,
        connection: ConnectionId,
    ) -> Option<(Membership, usize)> {
        self.machines.iter().enumerate().find_map(|(node, machine)| {
            let process = machine.process.as_ref()?;
            let replica = process.nodes.node_of(room).replica(room)?;
            let member = replica.members.get(&connection)?;
            process.sessions.has(connection).then_some((member.membership, node))
        })
    }

    /// Sends signals to peers on other nodes.
    pub(crate) fn send_elsewhere(
        &mut self,
        node: usize,
        elsewhere: Vec<(Event, Vec<ConnectionId>)>,
    ) {
        for (event, to) in elsewhere {
            let Event::SignalRelayed { room, from, found_by, signal } = event else { continue };
            let outgoing =
                OutgoingSignal { room, from: from.connection, to: to.into(), found_by, signal };
            self.with_node(node, |process, now| process.nodes.send(now, outgoing));
        }
    }

    /// The process of a node is gone, and its sessions with it. Its clients notice that, and try to
    /// resume.
    pub(crate) fn kill_node(&mut self, node: usize) {
        let machine = &mut self.machines[node];
        machine.process = None;
        machine.life += 1;
        machine.unread.clear();
        let connections: Vec<usize> =
            machine.connection.iter_mut().filter_map(Option::take).collect();
        for client in 0..self.clients.len() {
            if self.clients[client].session.as_ref().is_some_and(|session| session.node == node) {
                self.drop_connection(client);
            }
        }
        for connection in connections {
            self.connections[connection].is_open_at_node = false;
            let delay = self.random.millis(0, 5);
            self.after(delay + Duration::from_millis(1), Happening::Closed { connection });
        }
    }
}
