//! The actions of clients, and the events for their sessions.

use std::time::Duration;

use parlor::cluster::Host;
use parlor::cluster::node::{JoinRequest, OutgoingSignal};
use parlor::id::ConnectionId;
use parlor::room::{
    Command, Delivery, Event, JoinBounds, LeaveReason, Metadata, MetadataPatch, RoomKind, Signal, SignalKind, Target,
};

use super::client::{Inside, Sent, Session, State};
use super::host::Notice;
use super::world::{Happening, ROOMS, World, room_id};

impl World {
    /// A client does something, or nothing.
    pub(crate) fn client_acts(&mut self, client: usize) {
        if self.is_quiet() {
            return;
        }
        let next = self.random.millis(5, 300);
        self.after(next, Happening::Client { client });
        let Some(session) = &self.clients[client].session else {
            self.connect(client);
            return;
        };
        // A stopped process reads nothing from its clients.
        if self.machines[session.node].process.as_ref().is_none_or(|process| process.is_stopped) {
            return;
        }
        let chance = self.random.below(1000);
        match &session.state {
            State::Outside => self.join(client),
            State::Joining { .. } if chance < 20 => self.leave(client),
            State::Joining { .. } => {}
            State::Inside(_) if chance < 30 => self.leave(client),
            State::Inside(_) if chance < 40 => self.end_session(client),
            State::Inside(_) if chance < 70 => self.update(client),
            State::Inside(_) => self.signal(client),
        }
    }

    fn connect(&mut self, client: usize) {
        let node = self.random.index(self.machines.len());
        let Some(process) = &self.machines[node].process else { return };
        self.sessions += 1;
        let connection = ConnectionId::from_u128(self.sessions);
        process.sessions.rooms().connect(connection);
        self.clients[client].session = Some(Session { node, connection, state: State::Outside });
    }

    fn join(&mut self, client: usize) {
        let room = self.random.index(ROOMS);
        let peer = self.clients[client].name.clone();
        let session = self.clients[client].session.as_mut().unwrap();
        session.state = State::Joining { room };
        let (node, connection) = (session.node, session.connection);
        self.note(|| format!("client {client} ({connection}) joins room {room} on node {node}"));
        let request = JoinRequest {
            room: room_id(room),
            connection,
            peer,
            metadata: Metadata::default(),
            kind: RoomKind::Group,
            bounds: JoinBounds::default(),
        };
        self.with_node(node, |process, now| process.node.join(now, request));
    }

    fn leave(&mut self, client: usize) {
        let session = self.clients[client].session.as_mut().unwrap();
        let (node, connection) = (session.node, session.connection);
        let room = match &session.state {
            State::Joining { room } => *room,
            State::Inside(inside) => inside.room,
            State::Outside => return,
        };
        session.state = State::Outside;
        self.note(|| format!("client {client} ({connection}) leaves room {room} on node {node}"));
        let id = room_id(room);
        let process = self.machines[node].process.as_ref().unwrap();
        let applied = process.sessions.rooms().leave(connection, &id, LeaveReason::Left);
        let deliveries = applied.map(|applied| applied.deliveries.clone()).unwrap_or_default();
        self.deliver(node, &deliveries);
        self.with_node(node, |process, now| process.node.left(now, &id, connection, LeaveReason::Left));
    }

    /// A session ends: the client disconnects, or is disconnected.
    fn end_session(&mut self, client: usize) {
        self.leave(client);
        let session = self.clients[client].session.take().unwrap();
        let process = self.machines[session.node].process.as_ref().unwrap();
        process.sessions.rooms().disconnect(session.connection);
    }

    fn update(&mut self, client: usize) {
        let text = format!("\"n\":{}", self.random.below(1000));
        let session = self.clients[client].session.as_ref().unwrap();
        let State::Inside(inside) = &session.state else { return };
        let (node, connection, id) = (session.node, session.connection, room_id(inside.room));
        let patch = MetadataPatch { text: text.as_str().into(), merge: |_, new| new.to_owned() };
        let command = Command::Update { room: Some(id.clone()), patch };
        let process = self.machines[node].process.as_ref().unwrap();
        let applied = process.sessions.rooms().apply(self.moment(), connection, command).unwrap();
        let deliveries = applied.deliveries.clone();
        drop(applied);
        self.deliver(node, &deliveries);
        self.with_node(node, |process, now| process.node.updated(now, &id, connection, Metadata::new(&text)));
    }

    /// A client sends a signal to a peer that it sees.
    fn signal(&mut self, client: usize) {
        let session = self.clients[client].session.as_ref().unwrap();
        let State::Inside(inside) = &session.state else { return };
        if inside.view.is_empty() {
            return;
        }
        let choice = self.random.index(inside.view.len());
        let (to, announcement) = inside.view.iter().nth(choice).map(|(to, announcement)| (*to, *announcement)).unwrap();
        let (node, connection, id, join) = (session.node, session.connection, room_id(inside.room), inside.join);
        let sent = Sent { number: self.ledger.number(), join };
        self.ledger.sent(sent, to, announcement);
        let body = sent.body();
        let signal = Signal {
            kind: SignalKind::Offer,
            name: None,
            origin: "test",
            content: 0..body.len(),
            body: body.into(),
            note: sent.number,
            echo: false,
            attachments: Vec::new(),
        };
        let target = Some(Target::connection(to.into()));
        let command = Command::Relay { room: Some(id), target, signal };
        let process = self.machines[node].process.as_ref().unwrap();
        let applied =
            process.sessions.rooms().apply(self.moment(), connection, command).expect("a peer that is seen is there");
        let deliveries = applied.deliveries.clone();
        drop(applied);
        self.deliver(node, &deliveries);
    }

    /// Delivers events to the clients of a node; signals to others leave through the node.
    fn deliver(&mut self, node: usize, deliveries: &[Delivery]) {
        for Delivery { to, event } in deliveries {
            let mut remote = Vec::new();
            for connection in to.as_slice() {
                match self.client_of(node, *connection) {
                    Some(client) => self.tell(client, event),
                    None => remote.push(*connection),
                }
            }
            if let Event::SignalRelayed { room, from, found_by, signal } = event
                && !remote.is_empty()
            {
                let (room, from, found_by, signal) = (room.clone(), from.connection, *found_by, signal.clone());
                let outgoing = OutgoingSignal { room, from, to: remote, found_by, signal };
                self.with_node(node, |process, now| process.node.send(now, &outgoing));
            }
        }
    }

    fn client_of(&self, node: usize, connection: ConnectionId) -> Option<usize> {
        self.clients.iter().position(|client| {
            client.session.as_ref().is_some_and(|session| session.node == node && session.connection == connection)
        })
    }

    fn tell(&mut self, client: usize, event: &Event) {
        self.note(|| format!("client {client} receives {event:?}"));
        let session = self.clients[client].session.as_mut().unwrap();
        if let (State::Joining { room }, Event::Joined(_)) = (&session.state, event) {
            self.ledger.joins += 1;
            session.state = State::Inside(Inside::new(*room, self.ledger.number()));
        }
        let connection = session.connection;
        if let State::Inside(inside) = &mut session.state
            && !self.ledger.tell(inside, connection, event)
        {
            session.state = State::Outside;
        }
    }

    /// A node tells its sessions something.
    pub(crate) fn notice(&mut self, node: usize, notice: Notice) {
        match notice {
            Notice::Deliveries(deliveries) => self.deliver(node, &deliveries),
            Notice::Joined { connection, outcome: Ok(deliveries), .. } => {
                assert!(self.client_of(node, connection).is_some(), "{connection} joins, which has ended");
                self.deliver(node, &deliveries);
            }
            Notice::Joined { connection, outcome: Err(why), .. } => {
                self.stats.refused += 1;
                self.note(|| format!("{connection} is refused: {why:?}"));
                if let Some(client) = self.client_of(node, connection) {
                    self.clients[client].session.as_mut().unwrap().state = State::Outside;
                }
            }
            Notice::Removed { connection } => {
                if let Some(client) = self.client_of(node, connection) {
                    self.clients[client].session.as_mut().unwrap().state = State::Outside;
                }
            }
            Notice::Undelivered(signal) => {
                self.note(|| format!("{signal:?}"));
                self.ledger.report(signal.note);
            }
            Notice::End { .. } => unreachable!("sessions end last"),
        }
    }

    /// The cluster has ended a session.
    pub(crate) fn is_ended(&mut self, node: usize, connection: ConnectionId) {
        self.stats.ended += 1;
        if let Some(client) = self.client_of(node, connection) {
            self.end_session(client);
        }
    }

    /// The process of a node is gone, and its sessions with it.
    pub(crate) fn kill_node(&mut self, node: usize) {
        let machine = &mut self.machines[node];
        machine.process = None;
        machine.life += 1;
        machine.unread.clear();
        let connection = machine.connection.take();
        for client in &mut self.clients {
            if client.session.as_ref().is_some_and(|session| session.node == node) {
                client.session = None;
            }
        }
        if let Some(connection) = connection {
            self.connections[connection].is_open_at_node = false;
            let delay = self.random.millis(0, 5);
            self.after(delay + Duration::from_millis(1), Happening::Closed { connection });
        }
    }
}
