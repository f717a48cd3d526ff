//! Media of the simulated rooms: the media server of each process, and the transports that clients
//! were given and that they believe to exist.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use parlor::cluster::frame::{MediaAnswered, MediaNotice, RemoteMediaNotice, RemoteMediaRequest};
use parlor::cluster::media::{MediaRole, PeerMediaRequest, ServedMedia};
use parlor::cluster::{Host, Incarnation, MediaHost};
use parlor::id::{ConnectionId, RoomId};
use parlor::room::Event;

use super::client::Connection;
use super::host::{Notice, Process, Sessions};
use super::world::{ROOMS, World, room_id};

/// How many transports a client has in a room at most.
const MAX_TRANSPORTS: usize = 3;

/// The transports that clients believe to exist: their room and connection.
pub(crate) type Believed = Arc<Mutex<BTreeMap<u64, (RoomId, ConnectionId)>>>;

/// The media server of a process.
#[derive(Debug, Default)]
pub(crate) struct Media {
    rooms: BTreeMap<RoomId, BTreeMap<ConnectionId, BTreeSet<u64>>>,
    /// Requests of local peers that are not answered.
    asked: BTreeMap<u64, PeerMediaRequest>,
    believed: Believed,
}

impl Media {
    pub(crate) fn new(believed: &Believed) -> Self {
        Self { believed: Arc::clone(believed), ..Self::default() }
    }

    fn has(&self, room: &RoomId, connection: ConnectionId, transport: u64) -> bool {
        let own = self.rooms.get(room).and_then(|peers| peers.get(&connection));
        own.is_some_and(|own| own.contains(&transport))
    }

    /// Executes a request: without a text it creates a transport of this number, else it closes the
    /// one that the text names.
    fn serve(
        &mut self,
        room: &RoomId,
        connection: ConnectionId,
        text: &str,
        number: u64,
    ) -> MediaAnswered {
        let peers = self.rooms.entry(room.clone()).or_default();
        let own = peers.entry(connection).or_default();
        let answer = if text.is_empty() {
            own.insert(number);
            let name: Box<str> = number.to_string().into();
            let text = format!("{name} {room}").into();
            MediaAnswered { text, created: Some(name), closed: None }
        } else {
            own.remove(&text.parse().unwrap());
            MediaAnswered { text: "closed".into(), created: None, closed: Some(text.into()) }
        };
        self.remove_empty(room);
        answer
    }

    fn remove_empty(&mut self, room: &RoomId) {
        if let Some(peers) = self.rooms.get_mut(room) {
            peers.retain(|_, own| !own.is_empty());
            if peers.is_empty() {
                self.rooms.remove(room);
            }
        }
    }

    /// Removes the transports of a peer that has left. Returns whether they were the last.
    fn remove(&mut self, room: &RoomId, connection: ConnectionId) -> bool {
        let Some(peers) = self.rooms.get_mut(room) else { return false };
        peers.remove(&connection);
        self.remove_empty(room);
        !self.rooms.contains_key(room)
    }
}

/// The client of a session gets an answer.
fn answer(believed: &Believed, connection: ConnectionId, text: &str) {
    if let Some((created, room)) = text.split_once(' ') {
        let room = RoomId::new(room).unwrap();
        believed.lock().insert(created.parse().unwrap(), (room, connection));
    }
}

impl Sessions {
    /// Ends the media of peers that have left.
    pub(crate) fn remove_media(&self, event: &Event) {
        if let Event::PeerLeft { room, peer, .. } = event
            && self.media.lock().remove(room, peer.connection)
        {
            self.notify(Notice::MediaEnded { room: room.clone() });
        }
    }

    fn fail(&self, transport: u64) {
        self.media.lock().believed.lock().remove(&transport);
    }
}

impl MediaHost for Sessions {
    fn media_role(&self) -> MediaRole {
        MediaRole::Serving
    }

    fn has_media(&self, room: &RoomId) -> bool {
        self.media.lock().rooms.contains_key(room)
    }

    fn end_media(&self, room: &RoomId) {
        let peers = self.media.lock().rooms.remove(room).unwrap_or_default();
        for (connection, transports) in peers {
            for transport in transports {
                if self.has(connection) {
                    self.fail(transport);
                    continue;
                }
                let failed = Some(transport.to_string().into());
                let notice =
                    Arc::new(MediaNotice { is_vital: true, failed, ..MediaNotice::default() });
                let (room, to) = (room.clone(), vec![connection]);
                self.notify(Notice::Media(RemoteMediaNotice { room, to, notice }));
            }
        }
        self.notify(Notice::MediaEnded { room: room.clone() });
    }

    fn serve_media(&self, id: u64) {
        let number = self.random();
        let mut media = self.media.lock();
        let PeerMediaRequest { room, connection, text, .. } = media.asked.remove(&id).unwrap();
        let mut answered = media.serve(&room, connection, &text, number);
        if self.has(connection) {
            answer(&media.believed, connection, &answered.text);
            answered.text = Box::default();
        }
        drop(media);
        let answer = Some(answered);
        self.notify(Notice::Served(ServedMedia { room, connection, asked_by: None, answer }));
    }

    fn serve_forwarded(&self, from: Incarnation, request: &RemoteMediaRequest) {
        let RemoteMediaRequest { room, connection, id, text, .. } = request;
        let number = self.random();
        let answer = Some(self.media.lock().serve(room, *connection, text, number));
        let (room, connection) = (room.clone(), *connection);
        let asked_by = Some((from, *id));
        self.notify(Notice::Served(ServedMedia { room, connection, asked_by, answer }));
    }

    fn media_answered(&self, id: u64, text: &str) -> bool {
        let mut media = self.media.lock();
        let PeerMediaRequest { connection, .. } = media.asked.remove(&id).unwrap();
        if !self.has(connection) {
            return false;
        }
        answer(&media.believed, connection, text);
        true
    }

    fn media_failed(&self, id: u64) {
        self.media.lock().asked.remove(&id).unwrap();
    }

    fn media_notice(&self, to: ConnectionId, notice: &MediaNotice) {
        assert!(self.has(to), "a notice for {to}, which is not here");
        if let Some(failed) = &notice.failed {
            self.fail(failed.parse().unwrap());
        }
        notice.texts.iter().for_each(|text| answer(&self.media.lock().believed, to, text));
    }

    fn transports_failed(&self, connection: ConnectionId, transports: &[Box<str>]) {
        if self.has(connection) {
            for transport in transports {
                self.fail(transport.parse().unwrap());
            }
        }
    }
}

impl World {
    /// A client creates a transport in a room, or closes one.
    pub(crate) fn ask_media(&mut self, client: usize, room: usize) {
        let session = self.clients[client].session.as_ref().unwrap();
        let (node, connection, room) = (session.node, session.connection, room_id(room));
        let mut believed = self.believed.lock();
        let own = believed.iter().filter(|(_, (of, owner))| *of == room && *owner == connection);
        let own: Vec<u64> = own.map(|(transport, _)| *transport).collect();
        let creates = own.is_empty() || own.len() < MAX_TRANSPORTS && self.random.percent(40);
        let text: Box<str> = if creates {
            Box::default()
        } else {
            // Whatever the answer, the client does not use it any more.
            let closed = own[self.random.index(own.len())];
            believed.remove(&closed);
            closed.to_string().into()
        };
        drop(believed);
        let id = self.ledger.number();
        self.note(|| format!("client {client} ({connection}) asks for media in {room}: {text}"));
        self.stats.media += 1;
        let request = PeerMediaRequest { room, connection, id, form: 0, text, creates };
        self.with_node(node, |process, now| {
            process.sessions.media.lock().asked.insert(id, request.clone());
            process.nodes.request_media(now, request);
        });
    }

    /// Forgets the transports of a client that is out of a room, or of all rooms.
    pub(crate) fn forget_media(&self, connection: ConnectionId, room: Option<&RoomId>) {
        let is_out = |of: &RoomId| room.is_none_or(|room| room == of);
        self.believed.lock().retain(|_, (of, owner)| *owner != connection || !is_out(of));
    }

    /// Returns the transports that the clients of running nodes believe in, and that do not exist or
    /// are on a node that hangs: since now, with the time in which a client is to learn of it.
    pub(crate) fn lost_transports(
        &self,
        gone: Duration,
        hanging: Duration,
    ) -> BTreeMap<u64, (Duration, Duration)> {
        let processes = || self.machines.iter().filter_map(|machine| machine.process.as_ref());
        let is_served = |connection: ConnectionId| {
            processes().any(|process| !process.is_stopped && process.sessions.has(connection))
        };
        // A client that is not connected learns of it when it is.
        let sessions = self.clients.iter().filter_map(|client| client.session.as_ref());
        let connected = sessions.filter(|session| session.state == Connection::Open);
        let connected: BTreeSet<ConnectionId> =
            connected.map(|session| session.connection).collect();
        let mut believed = self.believed();
        believed.retain(|_, (_, connection)| connected.contains(connection));
        let lost = believed.into_iter().filter_map(|(transport, (room, connection))| {
            let has = |process: &&Process| {
                process.sessions.media.lock().has(&room, connection, transport)
            };
            let limit = match processes().find(has) {
                Some(process) if !process.is_stopped => return None,
                Some(_) => hanging,
                None => gone,
            };
            is_served(connection).then_some((transport, (self.now, limit)))
        });
        lost.collect()
    }

    /// Returns the transports that the clients believe in. The answer to a request of a session
    /// that its client has given up is not one.
    fn believed(&self) -> BTreeMap<u64, (RoomId, ConnectionId)> {
        let sessions = self.clients.iter().filter_map(|client| client.session.as_ref());
        let own: BTreeSet<ConnectionId> = sessions.map(|session| session.connection).collect();
        let mut believed = self.believed.lock().clone();
        believed.retain(|_, (_, connection)| own.contains(connection));
        believed
    }

    /// Checks that the media of each room is on one node, which all nodes know, and that no client
    /// has a transport that does not exist.
    pub(crate) fn check_media(&self) {
        let processes = || self.machines.iter().filter_map(|machine| machine.process.as_ref());
        for id in (0..ROOMS).map(room_id) {
            let engine = self.machines[0].process.as_ref().unwrap().nodes.engine_of(&id);
            let media = self.engines[engine].data.rooms.get(&id).and_then(|record| record.media);
            for process in processes() {
                let node = process.nodes.node_of(&id);
                let is_media_node = media == Some(node.incarnation());
                assert_eq!(process.sessions.has_media(&id), is_media_node, "the media of {id}");
                if let Some(replica) = node.replica(&id) {
                    assert_eq!(replica.media, media, "the media of {id}, as a replica has it");
                }
            }
            let pinned =
                processes().find(|process| media == Some(process.nodes.node_of(&id).incarnation()));
            // An engine that has lost data may learn of a node that has died meanwhile.
            let may_be_dead = self.has_lost_data || self.has_old_data;
            assert!(
                media.is_none() || pinned.is_some() || may_be_dead,
                "the media of {id} is on a dead node"
            );
            for (transport, (of, connection)) in self.believed() {
                let exists = pinned.is_some_and(|process| {
                    process.sessions.media.lock().has(&id, connection, transport)
                });
                assert!(of != id || exists, "transport {transport} of {connection} in {id}");
            }
        }
    }
}
