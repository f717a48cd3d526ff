//! Connections between nodes and the engine, and the engine itself.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use parlor::cluster::frame::encode_entry;
use parlor::cluster::{Call, CallId, Incarnation, ScriptReply};

use super::host::Request;
use super::model::{Caller, Clock, Model};
use super::world::{CAPACITY, Happening, LEASE, Machine, World};

/// A message on a connection.
#[derive(Debug, Clone)]
pub(crate) enum Packet {
    Open,
    Opened,
    Call { id: CallId, call: Call },
    Reply { id: CallId, reply: ScriptReply },
    Publish { to: Incarnation, number: Option<u64>, message: Bytes },
    Published { to: Incarnation, number: u64 },
    Message(Bytes),
}

/// A connection of a node to the engine.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) node: usize,
    engine: usize,
    opened: Duration,
    life: u64,
    caller: Caller,
    /// Whether each side believes that it is open. What is in flight to a side that is closed is
    /// lost.
    pub(crate) is_open_at_engine: bool,
    pub(crate) is_open_at_node: bool,
    is_subscribed: bool,
    last_to_engine: Duration,
    last_to_node: Duration,
    last_reply: Duration,
}

impl Connection {
    /// Whether the engine publishes to it.
    fn is_reader(&self) -> bool {
        self.is_subscribed && self.is_open_at_engine
    }
}

/// The engine as a process.
pub(crate) struct EngineState {
    pub(crate) data: Model,
    pub(crate) is_dead: bool,
    pub(crate) is_stopped: bool,
    pub(crate) delay: Duration,
    unread: VecDeque<(usize, Packet)>,
    /// The data of the last five seconds.
    history: VecDeque<Model>,
    /// When it last ran a script for each node, by their indexes.
    served: BTreeMap<usize, Duration>,
    /// When it lost all of its data.
    pub(crate) losses: Vec<Loss>,
}

/// An engine lost all of its data.
#[derive(Debug)]
pub(crate) struct Loss {
    pub(crate) at: Duration,
    /// When the engine had last run a script for each node.
    pub(crate) served: BTreeMap<usize, Duration>,
}

impl EngineState {
    pub(crate) fn new(data: Model) -> Self {
        Self {
            data,
            is_dead: false,
            is_stopped: false,
            delay: Duration::ZERO,
            unread: VecDeque::new(),
            history: VecDeque::new(),
            served: BTreeMap::new(),
            losses: Vec::new(),
        }
    }

    /// Starts again without data.
    pub(crate) fn wipe(&mut self, now: Duration, epoch: u64) {
        self.losses.push(Loss { at: now, served: self.served.clone() });
        self.data = Model::new(epoch);
    }

    pub(crate) fn remember(&mut self) {
        self.history.push_back(self.data.clone());
        if self.history.len() > 10 {
            self.history.pop_front();
        }
    }

    /// Returns the data that an engine had some seconds ago.
    pub(crate) fn old(&self, age: usize) -> Model {
        self.history[age % self.history.len()].clone()
    }
}

impl World {
    /// A node asks something of its engine.
    pub(crate) fn request(&mut self, node: usize, engine: usize, request: Request) {
        match request {
            Request::Connect { me, generation } => {
                self.open(node, engine, Caller { me, generation });
            }
            Request::Call { id, call } => {
                self.send_to_engine(node, engine, Packet::Call { id, call });
            }
            Request::Publish { to, number, message } => {
                self.send_to_engine(node, engine, Packet::Publish { to, number, message });
            }
        }
    }

    fn open(&mut self, node: usize, engine: usize, caller: Caller) {
        if let Some(former) = self.machines[node].connection[engine].take() {
            self.connections[former].is_open_at_node = false;
            // The engine learns of it some time, and still reads what was sent.
            let delay =
                if self.random.percent(50) { Duration::ZERO } else { self.random.millis(0, 4000) };
            self.after(delay, Happening::Closed { connection: former });
        }
        let connection = self.connections.len();
        let life = self.machines[node].life;
        self.connections.push(Connection {
            node,
            engine,
            opened: self.now,
            life,
            caller,
            is_open_at_engine: true,
            is_open_at_node: true,
            is_subscribed: false,
            last_to_engine: self.now,
            last_to_node: self.now,
            last_reply: self.now,
        });
        self.machines[node].connection[engine] = Some(connection);
        self.note(|| {
            format!("node {node} connects to engine {engine}: connection {connection}, {caller:?}")
        });
        if self.machines[node].is_cut_off {
            self.connections[connection].is_open_at_engine = false;
            if self.random.percent(50) {
                self.after(Duration::from_millis(1), Happening::Closed { connection });
            }
            return;
        }
        self.send_to_engine(node, engine, Packet::Open);
    }

    fn send_to_engine(&mut self, node: usize, engine: usize, packet: Packet) {
        let Some(connection) = self.machines[node].connection[engine] else { return };
        let delay = self.random.micros(50, 2000) + self.engines[engine].delay;
        let open = &mut self.connections[connection];
        if !open.is_open_at_engine {
            return;
        }
        open.last_to_engine = open.last_to_engine.max(self.now + delay);
        let time = open.last_to_engine;
        self.at(time, Happening::AtEngine { connection, packet });
    }

    fn send_to_node(&mut self, connection: usize, packet: Packet) {
        let delay = self.random.micros(50, 2000);
        let lag =
            if self.random.percent(70) { Duration::ZERO } else { self.random.micros(50, 2000) };
        let open = &mut self.connections[connection];
        open.last_to_node = open.last_to_node.max(self.now + delay);
        let time = if matches!(packet, Packet::Reply { .. } | Packet::Published { .. }) {
            // Another task processes them, after messages that arrive later.
            open.last_reply = open.last_reply.max(open.last_to_node + lag);
            open.last_reply
        } else {
            open.last_to_node
        };
        self.at(time, Happening::AtNode { connection, packet });
    }

    /// A packet arrives at the engine.
    pub(crate) fn at_engine(&mut self, connection: usize, packet: Packet) {
        let engine = self.connections[connection].engine;
        if self.engines[engine].is_dead {
            // A connection that was closed by the death was closed then; a new one is refused.
            if matches!(packet, Packet::Open) {
                self.connections[connection].is_open_at_engine = false;
                self.after(Duration::from_millis(1), Happening::Closed { connection });
            }
            return;
        }
        if self.engines[engine].is_stopped {
            self.engines[engine].unread.push_back((connection, packet));
            return;
        }
        if self.connections[connection].is_open_at_engine {
            self.execute(connection, packet);
        }
    }

    fn execute(&mut self, connection: usize, packet: Packet) {
        let engine = self.connections[connection].engine;
        match packet {
            Packet::Open => {
                self.connections[connection].is_subscribed = true;
                self.send_to_node(connection, Packet::Opened);
            }
            Packet::Call { id, call } => {
                let caller = self.connections[connection].caller;
                let lease = u64::try_from(LEASE.as_millis()).unwrap();
                let now = self.millis();
                let subscribed = self
                    .connections
                    .iter()
                    .filter(|open| open.engine == engine && open.is_reader());
                let subscribed = subscribed.map(|open| open.caller.me).collect();
                let well = self.is_served_well(engine, &call);
                let clock = Clock { now, lease, subscribed };
                let (reply, published) = self.engines[engine].data.run(&clock, caller, &call);
                assert!(
                    !well || !self.engines[engine].data.is_removed(&call),
                    "a living node is removed: {call:?}"
                );
                if !matches!(reply, ScriptReply::Fenced | ScriptReply::Stale) {
                    let node = self.connections[connection].node;
                    self.engines[engine].served.insert(node, self.now);
                }
                self.engines[engine].data.check(&call, CAPACITY);
                self.costs.call(&call, published.len());
                self.note(|| format!("engine {engine}: {:?} {call:?} -> {reply:?}", caller.me));
                // Some versions answer the caller before its subscriptions get what the script
                // published.
                let is_reply_first = self.random.percent(50);
                if is_reply_first {
                    self.send_to_node(connection, Packet::Reply { id, reply: reply.clone() });
                }
                for (to, entry) in published {
                    self.publish(engine, to, &encode_entry(&entry).into());
                }
                if !is_reply_first {
                    self.send_to_node(connection, Packet::Reply { id, reply });
                }
            }
            Packet::Publish { to, number, message } => {
                self.costs.publish(&message);
                self.publish(engine, to, &message);
                if let Some(number) = number {
                    self.send_to_node(connection, Packet::Published { to, number });
                }
            }
            Packet::Opened
            | Packet::Reply { .. }
            | Packet::Published { .. }
            | Packet::Message(_) => unreachable!(),
        }
    }

    /// Returns how many connections nodes have made: their first ones, and those that replaced others.
    pub(crate) fn connects(&self) -> usize {
        self.connections.len()
    }

    /// Returns whether the engines reach all nodes that run: a node does not notice at once that a
    /// connection is cut, and misses what the engine publishes meanwhile.
    pub(crate) fn are_connected(&self) -> bool {
        let is_running = |machine: &&Machine| {
            machine.process.as_ref().is_some_and(|process| !process.is_stopped)
        };
        let mut connections =
            self.machines.iter().filter(is_running).flat_map(|machine| &machine.connection);
        connections.all(|open| open.is_some_and(|open| self.connections[open].is_reader()))
    }

    /// Whether a call is to remove a node that runs and has been connected for a lease.
    fn is_served_well(&self, engine: usize, call: &Call) -> bool {
        let Call::Reap { dead } = call else { return false };
        let is_it = |open: &Connection| {
            let machine = &self.machines[open.node];
            let is_running = machine.process.as_ref().is_some_and(|process| !process.is_stopped);
            let is_recent =
                self.now < machine.continued_at + LEASE || self.now < open.opened + LEASE;
            open.engine == engine
                && open.caller.me == *dead
                && open.is_reader()
                && open.is_open_at_node
                && is_running
                && !is_recent
        };
        self.connections.iter().any(is_it)
    }

    fn publish(&mut self, engine: usize, to: Incarnation, message: &Bytes) {
        let is_reader =
            |open: &Connection| open.engine == engine && open.is_reader() && open.caller.me == to;
        let readers =
            (0..self.connections.len()).filter(|index| is_reader(&self.connections[*index]));
        for reader in readers.collect::<Vec<_>>() {
            self.send_to_node(reader, Packet::Message(message.clone()));
        }
    }

    /// A packet, or the end of the connection, arrives at a node.
    pub(crate) fn at_node(&mut self, connection: usize, packet: Option<Packet>) {
        let open = &mut self.connections[connection];
        let (node, engine, life) = (open.node, open.engine, open.life);
        if packet.is_none() {
            open.is_open_at_engine = false;
        }
        let machine = &mut self.machines[node];
        let Some(process) = machine.process.as_ref().filter(|_| machine.life == life) else {
            return;
        };
        if process.is_stopped {
            machine.unread.push_back((connection, packet));
            return;
        }
        if !self.connections[connection].is_open_at_node {
            return;
        }
        if packet.is_none() {
            self.connections[connection].is_open_at_node = false;
            machine.connection[engine] = None;
            self.note(|| format!("node {node} loses connection {connection}"));
        }
        self.with_node(node, |process, now| match packet {
            None => process.nodes.disconnected(now, engine),
            Some(Packet::Opened) => process.nodes.connected(now, engine),
            Some(Packet::Reply { id, reply }) => process.nodes.replied(now, engine, id, reply),
            Some(Packet::Published { to, number }) => {
                process.nodes.published(now, engine, to, number);
            }
            Some(Packet::Message(message)) => process.nodes.received(now, engine, &message),
            Some(Packet::Open | Packet::Call { .. } | Packet::Publish { .. }) => unreachable!(),
        });
    }

    /// Closes the present connection of a node. What is on its way to the engine is still executed,
    /// or not; the node notices at once, or after some time.
    pub(crate) fn cut(&mut self, node: usize, engine: usize, is_noticed: bool) {
        let Some(connection) = self.machines[node].connection[engine] else { return };
        self.stats.cuts += 1;
        self.note(|| {
            format!("connection {connection} of node {node} is cut, noticed: {is_noticed}")
        });
        let delay = if is_noticed { self.random.millis(0, 2) } else { self.random.millis(0, 4000) };
        self.connections[connection].is_subscribed = false;
        if self.random.percent(50) {
            self.connections[connection].is_open_at_engine = false;
        }
        self.after(delay, Happening::Closed { connection });
    }

    /// The engine reads what arrived while it was stopped.
    pub(crate) fn continue_engine(&mut self, engine: usize) {
        self.engines[engine].is_stopped = false;
        for (connection, packet) in std::mem::take(&mut self.engines[engine].unread) {
            self.at_engine(connection, packet);
        }
    }

    /// The engine dies: all connections close, and what it had not read is lost.
    pub(crate) fn kill_engine(&mut self, engine: usize) {
        self.engines[engine].is_dead = true;
        self.engines[engine].is_stopped = false;
        self.engines[engine].unread.clear();
        for connection in 0..self.connections.len() {
            if self.connections[connection].engine == engine
                && self.connections[connection].is_open_at_engine
            {
                self.connections[connection].is_open_at_engine = false;
                let delay = self.random.millis(0, 10);
                self.after(delay, Happening::Closed { connection });
            }
        }
    }
}
