//! The state at the end of a run: all nodes, the engine and the clients agree.

use std::collections::BTreeSet;

use parlor::cluster::{Host, Member};

use super::client::{State, members};
use super::world::{CAPACITY, NODES, ROOMS, World, room_id};

impl World {
    /// Checks that all nodes, the engine and the clients agree.
    pub(crate) fn finish(&mut self) {
        for node in 0..NODES {
            let process = self.machines[node].process.as_ref().expect("all nodes run at the end");
            assert!(process.node.is_ready(), "node {node} is not ready");
            assert_eq!(process.node.waiting_joins(), 0, "joins of node {node} are not answered");
        }
        for room in 0..ROOMS {
            self.check_room(room);
        }
        self.ledger.finish(&self.clients);
        self.stats.signals = self.ledger.signals() as u64;
        self.stats.delivered = self.ledger.delivered;
        self.stats.reported = self.ledger.reported;
        self.stats.joins = self.ledger.joins;
        for process in self.machines.iter().flat_map(|machine| &machine.process) {
            self.stats.add_counters(process.node.counters());
        }
    }

    fn check_room(&self, room: usize) {
        let members = members(&self.clients, room);
        let id = room_id(room);
        let record = self.engine.data.rooms.get(&id);
        let stored: BTreeSet<_> =
            record.into_iter().flat_map(|record| record.members.iter().map(Member::connection)).collect();
        assert_eq!(stored, members, "room {room}: the engine and the clients differ");
        if let Some(record) = record {
            let mut peers: Vec<_> = record.members.iter().map(|member| member.peer.clone()).collect();
            peers.sort();
            peers.dedup();
            assert_eq!(peers.len(), record.members.len(), "room {room}: a peer id twice");
            assert!(self.has_lost_data || record.members.len() <= CAPACITY, "room {room} exceeds its capacity");
        }
        for (node, machine) in self.machines.iter().enumerate() {
            let process = machine.process.as_ref().unwrap();
            let local = self.clients.iter().filter_map(|client| client.session.as_ref());
            let mut local = local.filter(|session| session.node == node && members.contains(&session.connection));
            let mut here: Vec<_> = process.sessions.rooms().connections_in(&id);
            here.sort();
            if local.next().is_none() {
                assert!(here.is_empty(), "room {room}: node {node} keeps a replica that it does not need");
                continue;
            }
            assert_eq!(
                here,
                members.iter().copied().collect::<Vec<_>>(),
                "room {room}: the rooms of node {node} differ"
            );
            let replica = process.node.replica(&id).expect("a node with members has a replica");
            let mut replicated: Vec<_> = replica.members.values().cloned().collect();
            replicated.sort_by_key(|member| member.membership);
            let mut stored = record.unwrap().members.clone();
            stored.sort_by_key(|member| member.membership);
            assert_eq!(replicated, stored, "room {room}: the replica of node {node} differs");
        }
        for client in &self.clients {
            let Some(session) = &client.session else { continue };
            if let State::Inside(inside) = &session.state
                && inside.room == room
            {
                let mut view: Vec<_> = inside.view.keys().copied().collect();
                view.push(session.connection);
                view.sort();
                let all: Vec<_> = members.iter().copied().collect();
                assert_eq!(view, all, "room {room}: the view of {} differs", client.name);
            }
        }
    }
}
