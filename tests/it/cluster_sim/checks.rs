//! Invariants during a run, and at the end of it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use parlor::cluster::{Host, Member};
use parlor::id::ConnectionId;

use super::client::{Connection, State};
use super::world::{CAPACITY, Happening, LEASE, ROOMS, World, room_id};

/// How long a join may wait: until a broken connection is noticed, and then alone.
const LONGEST_JOIN: Duration = Duration::from_millis(9_500);

/// How long the peers of a process that is gone may remain, and of one that hangs: three seconds,
/// or a lease, with a beat of two seconds, and the time to carry it out.
const GONE: Duration = Duration::from_secs(6);
const HANGING: Duration = Duration::from_secs(13);

/// The requests of operators that are not answered yet.
#[derive(Debug, Default)]
pub(crate) struct Kicks {
    count: u64,
    open: BTreeMap<u64, Duration>,
}

impl Kicks {
    pub(crate) fn begin(&mut self, now: Duration) -> u64 {
        self.count += 1;
        self.open.insert(self.count, now);
        self.count
    }

    pub(crate) fn end(&mut self, id: u64) {
        self.open.remove(&id);
    }
}

/// Observations over time.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    /// Since when all nodes that run are ready, on the same connections.
    ready_since: Option<Duration>,
    connects: usize,
    /// Since when nodes still list peers whose sessions are gone, or hang.
    ghosts: BTreeMap<(usize, usize, ConnectionId), (Duration, Duration)>,
    /// Since when clients believe in transports that do not exist, or whose node hangs.
    lost_transports: BTreeMap<u64, (Duration, Duration)>,
}

impl World {
    /// Checks what must hold all the time.
    pub(crate) fn observe(&mut self) {
        self.after(Duration::from_millis(250), Happening::Watch);
        let running = || {
            self.machines
                .iter()
                .filter_map(|machine| machine.process.as_ref())
                .filter(|p| !p.is_stopped)
        };
        let is_ready = running()
            .flat_map(|process| process.nodes.nodes())
            .all(parlor::cluster::Node::is_ready)
            && self.are_connected()
            && self
                .engines
                .iter()
                .all(|engine| !engine.is_dead && !engine.is_stopped && engine.delay.is_zero());
        // A node that has connected must be answered for a whole lease before it removes any.
        let connects = self.connects();
        let before = std::mem::replace(&mut self.watch.connects, connects);
        let since = self.watch.ready_since.filter(|_| before == connects);
        self.watch.ready_since = is_ready.then(|| since.unwrap_or(self.now));
        self.ledger.note_calm(self.watch.ready_since);
        let is_stopped = |process: &super::host::Process| process.is_stopped;
        let hangs = self.machines.iter().flat_map(|machine| &machine.process).any(is_stopped);
        let continued_at = self.machines.iter().map(|machine| machine.continued_at).max();
        self.ledger.connected_since = self
            .watch
            .ready_since
            .filter(|_| !hangs)
            .max(continued_at.filter(|_| !hangs && is_ready));
        self.note_hanging();
        self.check_joins();
        self.check_ghosts();
        self.check_lost_transports();
    }

    /// Checks that clients learn in time that transports have ended.
    fn check_lost_transports(&mut self) {
        let mut lost = self.lost_transports(GONE, HANGING);
        for (transport, (since, limit)) in &mut lost {
            let known = self.watch.lost_transports.get(transport);
            *since =
                known.filter(|(_, before)| before == limit).map_or(*since, |(since, _)| *since);
        }
        self.watch.lost_transports = lost;
        let Some(ready_since) = self.watch.ready_since else { return };
        for (transport, (since, limit)) in &self.watch.lost_transports {
            let age = self.now.saturating_sub((*since).max(ready_since + LEASE));
            assert!(
                age < *limit,
                "transport {transport} ended {age:?} ago, which its client does not know: {:?}",
                self.believed.lock().get(transport)
            );
        }
    }

    /// Notes the joins whose nodes hang.
    fn note_hanging(&mut self) {
        for session in self.clients.iter().filter_map(|client| client.session.as_ref()) {
            let process = self.machines[session.node].process.as_ref();
            if process.is_some_and(|process| process.is_stopped) {
                for state in session.rooms.values() {
                    if let State::Inside(inside) = state {
                        self.ledger.hang(inside.join);
                    }
                }
            }
        }
    }

    fn check_joins(&self) {
        for client in &self.clients {
            let Some(session) = client.session.as_ref().filter(|s| s.state == Connection::Open)
            else {
                continue;
            };
            let machine = &self.machines[session.node];
            let is_stopped = machine.process.as_ref().is_none_or(|process| process.is_stopped);
            for (room, state) in &session.rooms {
                if let State::Joining { since } = state
                    && !is_stopped
                {
                    let since = (*since).max(machine.continued_at).max(session.open_since);
                    let waited = self.now.saturating_sub(since);
                    assert!(
                        waited < LONGEST_JOIN,
                        "{} has waited {waited:?} for room {room}",
                        client.name
                    );
                }
            }
        }
    }

    /// Checks that peers whose process is gone, or hangs, are removed in time.
    fn check_ghosts(&mut self) {
        let mut alive: BTreeMap<ConnectionId, Option<Duration>> = BTreeMap::new();
        for process in self.machines.iter().filter_map(|machine| machine.process.as_ref()) {
            let hanging = process.is_stopped.then_some(HANGING);
            alive.extend(
                process.sessions.connections().into_iter().map(|connection| (connection, hanging)),
            );
        }
        alive.extend(
            self.vault
                .lock()
                .values()
                .filter_map(super::host::ServerSession::moving)
                .map(|moving| (moving, None)),
        );
        let mut ghosts = BTreeMap::new();
        for (node, machine) in self.machines.iter().enumerate() {
            let Some(process) = machine.process.as_ref().filter(|process| !process.is_stopped)
            else {
                continue;
            };
            for room in 0..ROOMS {
                for connection in process.sessions.rooms().connections_in(&room_id(room)) {
                    let limit = alive.get(&connection).copied().unwrap_or(Some(GONE));
                    if let Some(limit) = limit {
                        let key = (node, room, connection);
                        let known =
                            self.watch.ghosts.get(&key).filter(|(_, before)| *before == limit);
                        ghosts.insert(key, (known.map_or(self.now, |(since, _)| *since), limit));
                    }
                }
            }
        }
        self.watch.ghosts = ghosts;
        let Some(ready_since) = self.watch.ready_since else { return };
        for ((node, room, connection), (since, limit)) in &self.watch.ghosts {
            let since = (*since).max(ready_since + LEASE);
            let age = self.now.saturating_sub(since);
            assert!(
                age < *limit,
                "node {node} lists {connection} in room {room}, which is gone, for {age:?}"
            );
        }
    }

    /// Checks that all nodes, the engines and the clients agree.
    pub(crate) fn finish(&mut self) {
        for (node, machine) in self.machines.iter().enumerate() {
            let process = machine.process.as_ref().expect("all nodes run at the end");
            assert_eq!(process.nodes.moving(), 0, "sessions of node {node} are moving");
            for engine in process.nodes.nodes() {
                assert!(engine.is_ready(), "node {node} is not ready");
                assert_eq!(engine.waiting_joins(), 0, "joins of node {node} are not answered");
                assert_eq!(engine.holding(), 0, "node {node} holds signals");
            }
        }
        let own: BTreeSet<ConnectionId> = self
            .clients
            .iter()
            .filter_map(|client| client.session.as_ref())
            .map(|session| session.connection)
            .collect();
        let sessions = self
            .machines
            .iter()
            .flat_map(|machine| &machine.process)
            .flat_map(|p| p.sessions.connections());
        assert_eq!(
            sessions.collect::<BTreeSet<_>>(),
            own,
            "the sessions of the nodes and the clients differ"
        );
        for room in 0..ROOMS {
            self.check_room(room);
        }
        self.check_media();
        self.ledger.finish(&self.clients);
        assert!(
            self.has_lost_data || self.has_old_data || self.ledger.overfull.is_empty(),
            "a view exceeds the capacity: {:?}",
            self.ledger.overfull
        );
        self.stats.signals = self.ledger.signals() as u64;
        self.stats.delivered = self.ledger.delivered;
        self.stats.reported = self.ledger.reported;
        self.stats.joins = self.ledger.joins;
        for process in self.machines.iter().flat_map(|machine| &machine.process) {
            let moves = process.nodes.move_counts();
            self.stats.arrived += moves.arrived;
            self.stats.moves_refused += moves.refused;
            for node in process.nodes.nodes() {
                self.stats.add_counters(node.counters());
            }
        }
    }

    fn check_room(&self, room: usize) {
        let id = room_id(room);
        let sessions = || self.clients.iter().filter_map(|client| client.session.as_ref());
        let members: BTreeSet<ConnectionId> = sessions()
            .filter(|session| session.inside(room).is_some())
            .map(|session| session.connection)
            .collect();
        let engine = self.machines[0].process.as_ref().unwrap().nodes.engine_of(&id);
        let record = self.engines[engine].data.rooms.get(&id);
        let stored: BTreeSet<_> = record
            .into_iter()
            .flat_map(|record| record.members.iter().map(Member::connection))
            .collect();
        assert_eq!(stored, members, "room {room}: the engine and the clients differ");
        if let Some(record) = record {
            let peers: BTreeSet<_> = record.members.iter().map(|member| &member.peer).collect();
            assert_eq!(peers.len(), record.members.len(), "room {room}: a peer id twice");
            let may_exceed = self.has_lost_data || self.has_old_data;
            assert!(
                may_exceed || record.members.len() <= CAPACITY,
                "room {room} exceeds its capacity"
            );
        }
        for (node, machine) in self.machines.iter().enumerate() {
            let process = machine.process.as_ref().unwrap();
            let mut local =
                sessions().filter(|s| s.node == node && members.contains(&s.connection));
            let mut here: Vec<_> = process.sessions.rooms().connections_in(&id);
            here.sort();
            let media = record.and_then(|record| record.media);
            let is_media_node = media == Some(process.nodes.node_of(&id).incarnation());
            if local.next().is_none() && !is_media_node {
                assert!(
                    here.is_empty(),
                    "room {room}: node {node} keeps a replica that it does not need"
                );
                continue;
            }
            let all: Vec<_> = members.iter().copied().collect();
            assert_eq!(here, all, "room {room}: the rooms of node {node} differ");
            let replica =
                process.nodes.node_of(&id).replica(&id).expect("a node with members has a replica");
            let mut replicated: Vec<_> = replica.members.values().cloned().collect();
            replicated.sort_by_key(|member| member.membership);
            let mut stored = record.unwrap().members.clone();
            stored.sort_by_key(|member| member.membership);
            assert_eq!(replicated, stored, "room {room}: the replica of node {node} differs");
            let holder = process.nodes.node_of(&id).incarnation();
            let held =
                stored.iter().filter(|member| member.holder == holder).map(Member::connection);
            let local = sessions().filter(|s| s.node == node && members.contains(&s.connection));
            let local: BTreeSet<_> = local.map(|session| session.connection).collect();
            assert_eq!(
                held.collect::<BTreeSet<_>>(),
                local,
                "room {room}: the members of node {node} differ"
            );
        }
        for session in sessions() {
            let Some(inside) = session.inside(room) else { continue };
            let mut view: Vec<_> = inside.view.keys().copied().collect();
            view.push(session.connection);
            view.sort();
            let all: Vec<_> = members.iter().copied().collect();
            assert_eq!(view, all, "room {room}: the view of {} differs", session.connection);
            for (peer, seen) in &inside.view {
                assert_ne!(
                    seen.is_away,
                    Some(true),
                    "room {room}: {peer} is shown as away to {}",
                    session.connection
                );
                let theirs = sessions()
                    .find(|other| other.connection == *peer)
                    .and_then(|other| other.inside(room));
                let metadata = &theirs.expect("a peer in a view is there").metadata;
                assert_eq!(&seen.metadata, metadata, "room {room}: the metadata of {peer} differs");
            }
            self.check_presence(session.connection, room, inside);
        }
    }

    /// The last fault, long after all others: a node dies, or hangs, while nothing else is wrong.
    pub(crate) fn last_fault(&mut self) {
        let node = self.random.index(self.machines.len());
        if self.random.percent(50) {
            self.crash_node(node, Some(Duration::from_secs(9)));
        } else {
            self.stop_node(node, Some(Duration::from_secs(14)));
        }
    }
}
