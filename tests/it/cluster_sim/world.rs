//! The simulated world: time, processes, clients and the engine. Everything that happens is decided
//! by the seed.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::time::{Duration, Instant, SystemTime};

use parlor::clock::Moment;
use parlor::cluster::node::Settings;
use parlor::id::{ConnectionId, PeerId, RoomId};
use parlor::room::{LeaveReason, RoomLimits};

use super::checks::{Kicks, Watch};
use super::client::Client;
use super::costs::Costs;
use super::host::{Notice, Process, ToClient, Vault};
use super::ledger::Ledger;
use super::media::Believed;
use super::model::Model;
use super::network::{Connection, EngineState, Packet};
use super::random::Random;
use super::stats::Stats;

pub(crate) const NODES: usize = 4;
pub(crate) const CLIENTS: usize = 14;
pub(crate) const ROOMS: usize = 3;
pub(crate) const CAPACITY: usize = 5;
pub(crate) const LEASE: Duration = Duration::from_secs(10);

/// How long faults happen, and how long the cluster has to heal after the last.
const FAULTS: Duration = Duration::from_secs(64);
const HEALING: Duration = Duration::from_secs(56);

/// How long clients do nothing at the end, so that nothing is in flight, and while only audits show
/// what is wrong; and how long before the
/// end their connections stay, so that all sessions without a client have ended.
const QUIET: Duration = Duration::from_secs(4);
const LONG_QUIET: Duration = Duration::from_secs(50);
const STABLE: Duration = Duration::from_secs(20);

/// How long the last faults last.
const LAST_FAULT: Duration = Duration::from_secs(14);

/// From when on the cluster has healed.
const HEALED: Duration = Duration::from_secs(25);

/// Something that happens at a time.
#[derive(Debug)]
pub(crate) enum Happening {
    /// A packet arrives at the engine.
    AtEngine {
        connection: usize,
        packet: Packet,
    },
    /// A packet arrives at a node.
    AtNode {
        connection: usize,
        packet: Packet,
    },
    /// A node notices that its connection is closed.
    Closed {
        connection: usize,
    },
    Tick {
        node: usize,
        life: u64,
    },
    Client {
        client: usize,
    },
    /// A message arrives at a client.
    Message {
        client: usize,
        attachment: u64,
        number: u64,
        message: ToClient,
    },
    /// A client tries to resume its session.
    Resume {
        client: usize,
        attachment: u64,
    },
    /// A node notices that the connection of a client is lost.
    Lost {
        node: usize,
        life: u64,
        connection: ConnectionId,
        attachment: u64,
    },
    /// A session has been away for too long.
    AwayOver {
        node: usize,
        life: u64,
        connection: ConnectionId,
        absence: u64,
    },
    /// An operator removes a peer from a room.
    Kick,
    Watch,
    Fault,
    LastFault,
    EndOfFault(Fault),
    /// A node dies.
    Crash {
        node: usize,
        life: u64,
    },
    Snapshot,
    /// Rooms of an engine change without an entry in their logs.
    SilentChange {
        adds_member: bool,
    },
}

/// A fault that lasts.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fault {
    NodeStopped { node: usize, life: u64 },
    NodeDead { node: usize },
    NodeCutOff { node: usize },
    EngineStopped { engine: usize },
    EngineSlow { engine: usize },
    EngineDead { engine: usize },
}

/// A node of the simulation over all its lives.
pub(crate) struct Machine {
    pub(crate) process: Option<Process>,
    /// Number of starts.
    pub(crate) life: u64,
    /// Index of the present connection to each engine.
    pub(crate) connection: Vec<Option<usize>>,
    pub(crate) is_cut_off: bool,
    is_busy: bool,
    /// When the process last went on after it was stopped.
    pub(crate) continued_at: Duration,
    /// Packets that arrived while the process was stopped.
    pub(crate) unread: VecDeque<(usize, Option<Packet>)>,
}

/// The simulated world.
pub(crate) struct World {
    pub(crate) random: Random,
    pub(crate) now: Duration,
    start: Moment,
    happenings: BinaryHeap<Reverse<(Duration, u64)>>,
    contents: BTreeMap<u64, Happening>,
    count: u64,
    pub(crate) machines: Vec<Machine>,
    pub(crate) connections: Vec<Connection>,
    pub(crate) engines: Vec<EngineState>,
    pub(crate) clients: Vec<Client>,
    pub(crate) ledger: Ledger,
    pub(crate) sessions: u128,
    pub(crate) vault: Vault,
    pub(crate) believed: Believed,
    pub(crate) kicks: Kicks,
    pub(crate) watch: Watch,
    /// Sends messages to each client in order.
    pub(crate) last_message: Vec<Duration>,
    /// How much each node keeps for retransmission.
    kept_bytes: usize,
    /// Whether an engine has lost all data, so that rooms may exceed their capacity.
    pub(crate) has_lost_data: bool,
    /// Whether an engine came back with old data, so that peers may be seen leaving that have just
    /// joined.
    pub(crate) has_old_data: bool,
    pub(crate) has_faults: bool,
    /// How long clients do nothing at the end.
    quiet: Duration,
    /// The last lines of the log.
    pub(crate) log: VecDeque<String>,
    log_lines: usize,
    pub(crate) stats: Stats,
    pub(crate) costs: Costs,
}

impl World {
    pub(crate) fn new(seed: u64, log_lines: usize) -> Self {
        let mut random = Random(seed);
        let engines = if random.percent(40) { 2 } else { 1 };
        let epochs = (0..engines).map(|_| random.next()).collect();
        // In some runs so little that frames are missing.
        let kept_bytes = if random.percent(20) { 3_000 } else { 16 << 20 };
        Self::with(random, NODES, epochs, kept_bytes, log_lines)
    }

    /// Creates a world of so many nodes over one engine, to count what they cost it.
    pub(crate) fn of_nodes(nodes: usize) -> Self {
        Self::with(Random(1), nodes, vec![1], 16 << 20, 0)
    }

    fn with(
        random: Random,
        nodes: usize,
        epochs: Vec<u64>,
        kept_bytes: usize,
        log_lines: usize,
    ) -> Self {
        let name = |index: usize| {
            PeerId::new(&format!("client {}", if index < 4 { index / 2 } else { index })).unwrap()
        };
        let client = |index| Client {
            name: name(index),
            is_steady: index % 2 == 1,
            session: None,
            attachment: 0,
        };
        let clients = (0..CLIENTS).map(client).collect();
        let engines = epochs.len();
        let machine = |_| Machine {
            process: None,
            life: 0,
            connection: vec![None; engines],
            is_cut_off: false,
            is_busy: false,
            continued_at: Duration::ZERO,
            unread: VecDeque::new(),
        };
        let engine_states =
            epochs.into_iter().map(|epoch| EngineState::new(Model::new(epoch))).collect();
        let start = Moment {
            instant: Instant::now(),
            time: SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000),
        };
        let mut world = Self {
            random,
            now: Duration::ZERO,
            start,
            happenings: BinaryHeap::new(),
            contents: BTreeMap::new(),
            count: 0,
            machines: (0..nodes).map(machine).collect(),
            connections: Vec::new(),
            engines: engine_states,
            clients,
            ledger: Ledger::default(),
            sessions: 0,
            vault: Vault::default(),
            believed: Believed::default(),
            kicks: Kicks::default(),
            watch: Watch::default(),
            last_message: vec![Duration::ZERO; CLIENTS],
            kept_bytes,
            has_lost_data: false,
            has_old_data: false,
            has_faults: false,
            quiet: QUIET,
            log: VecDeque::new(),
            log_lines,
            stats: Stats::default(),
            costs: Costs::default(),
        };
        for node in 0..nodes {
            world.start_node(node);
        }
        for client in 0..CLIENTS {
            let soon = world.random.millis(0, 2000);
            world.after(soon, Happening::Client { client });
        }
        world.after(Duration::ZERO, Happening::Snapshot);
        world.after(Duration::from_secs(5), Happening::Kick);
        world.after(Duration::from_secs(1), Happening::Watch);
        world
    }

    /// Runs to the end with faults; panics if something is wrong.
    pub(crate) fn run_with_faults(&mut self) {
        self.has_faults = true;
        self.ledger.calm_since = FAULTS + HEALED;
        self.after(Duration::from_secs(3), Happening::Fault);
        self.after(FAULTS + HEALED, Happening::LastFault);
        self.run();
    }

    /// Runs to the end without faults, but for changes that no log entry shows, while clients do
    /// nothing.
    pub(crate) fn run_with_silent_changes(&mut self) {
        self.quiet = LONG_QUIET;
        let quiet_since = (FAULTS + HEALING).saturating_sub(LONG_QUIET);
        for (delay, adds_member) in [(4, false), (28, true)] {
            let time = quiet_since + Duration::from_secs(delay);
            self.at(time, Happening::SilentChange { adds_member });
        }
        self.run();
    }

    /// Runs to the end; panics if something is wrong.
    pub(crate) fn run(&mut self) {
        while let Some(Reverse((time, number))) = self.happenings.pop() {
            if time > FAULTS + HEALING {
                break;
            }
            self.now = time;
            self.ledger.now = time;
            let happening = self.contents.remove(&number).unwrap();
            self.happen(happening);
        }
        self.finish();
    }

    /// Runs for a time, in which clients act.
    pub(crate) fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(Reverse((time, number))) = self.happenings.pop() {
            if time > end {
                self.happenings.push(Reverse((time, number)));
                break;
            }
            self.now = time;
            self.ledger.now = time;
            let happening = self.contents.remove(&number).unwrap();
            self.happen(happening);
        }
        self.now = end;
    }

    /// Whether clients keep their connections from now on.
    pub(crate) fn is_stable(&self) -> bool {
        self.now + STABLE >= FAULTS + HEALING
    }

    pub(crate) fn are_faults_over(&self) -> bool {
        self.now >= FAULTS
    }

    /// Returns how long a fault may last that begins now.
    pub(crate) fn time_for_faults(&self) -> Duration {
        (FAULTS + LAST_FAULT).saturating_sub(self.now)
    }

    /// Whether clients do nothing any more.
    pub(crate) fn is_quiet(&self) -> bool {
        self.now + self.quiet >= FAULTS + HEALING
    }

    /// Adds something that happens after a time.
    pub(crate) fn after(&mut self, delay: Duration, happening: Happening) {
        self.at(self.now + delay, happening);
    }

    pub(crate) fn at(&mut self, time: Duration, happening: Happening) {
        self.count += 1;
        self.happenings.push(Reverse((time, self.count)));
        self.contents.insert(self.count, happening);
    }

    pub(crate) fn moment(&self) -> Moment {
        self.start + self.now
    }

    /// Returns the system time, in milliseconds.
    pub(crate) fn millis(&self) -> u64 {
        let since_epoch = self.moment().time.duration_since(SystemTime::UNIX_EPOCH).unwrap();
        u64::try_from(since_epoch.as_millis()).unwrap()
    }

    pub(crate) fn note(&mut self, text: impl FnOnce() -> String) {
        if self.log_lines == 0 {
            return;
        }
        self.log.push_back(format!("{:>12.6} {}", self.now.as_secs_f64(), text()));
        if self.log.len() > self.log_lines {
            self.log.pop_front();
        }
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::AtEngine { connection, packet } => self.at_engine(connection, packet),
            Happening::AtNode { connection, packet } => self.at_node(connection, Some(packet)),
            Happening::Closed { connection } => self.at_node(connection, None),
            Happening::Tick { node, life } => {
                let machine = &mut self.machines[node];
                if machine.life != life {
                    return;
                }
                self.after(Duration::from_millis(100), Happening::Tick { node, life });
                if !self.machines[node].process.as_ref().unwrap().is_stopped {
                    self.with_node(node, |process, now| process.nodes.tick(now));
                }
            }
            Happening::Client { client } => self.client_acts(client),
            Happening::Message { client, attachment, number, message } => {
                self.message(client, attachment, number, message);
            }
            Happening::Resume { client, attachment } => self.resume(client, attachment),
            Happening::Lost { node, life, connection, attachment } => {
                self.lost(node, life, connection, attachment);
            }
            Happening::AwayOver { node, life, connection, absence } => {
                self.away_over(node, life, connection, absence);
            }
            Happening::SilentChange { adds_member } => {
                self.engines.iter_mut().for_each(|engine| engine.data.change_silently(adds_member));
            }
            Happening::Kick => self.kick(),
            Happening::Watch => self.observe(),
            Happening::Fault => self.fault(),
            Happening::LastFault => self.last_fault(),
            Happening::EndOfFault(fault) => self.end_fault(fault),
            Happening::Crash { node, life } => {
                if self.machines[node].life == life {
                    self.crash_node(node, None);
                }
            }
            Happening::Snapshot => {
                self.engines.iter_mut().for_each(EngineState::remember);
                self.after(Duration::from_millis(500), Happening::Snapshot);
            }
        }
    }

    pub(crate) fn start_node(&mut self, node: usize) {
        let settings = Settings { lease: LEASE, kept_bytes: self.kept_bytes };
        let limits =
            RoomLimits { room_size: CAPACITY, rooms_per_connection: 8, ..RoomLimits::default() };
        let random = self.random.next();
        let machine = &mut self.machines[node];
        machine.life += 1;
        let life = machine.life;
        let engines = machine.connection.len();
        let (vault, believed) = (&self.vault, &self.believed);
        machine.process = Some(Process::start(engines, settings, limits, random, vault, believed));
        self.note(|| format!("node {node} starts"));
        self.after(Duration::ZERO, Happening::Tick { node, life });
    }

    /// Does something with a process, then what results from it: requests to the engine, and
    /// notices to its sessions, in order. Sessions that are to end do so last, as they end by
    /// actions of their own.
    pub(crate) fn with_node(&mut self, node: usize, act: impl FnOnce(&mut Process, Moment)) {
        let now = self.moment();
        let machine = &mut self.machines[node];
        let Some(process) = machine.process.as_mut() else { return };
        act(process, now);
        process.announce_losses(now);
        process.nodes.proceed_with_departures(now);
        process.nodes.settle_arrivals();
        if process.nodes.decide_claims(now) {
            process.announce_losses(now);
            process.nodes.proceed_with_departures(now);
        }
        if std::mem::replace(&mut machine.is_busy, true) {
            return;
        }
        let (mut notices, mut ending) = (VecDeque::new(), VecDeque::new());
        loop {
            let process = self.machines[node].process.as_mut().expect("a process that acts runs");
            notices.extend(process.sessions.take());
            for (engine, request) in process.take_requests() {
                self.request(node, engine, request);
            }
            match notices.pop_front() {
                Some(Notice::End { connection }) => ending.push_back(connection),
                Some(notice) => self.notice(node, notice),
                None => match ending.pop_front() {
                    Some(connection) => {
                        self.stats.ended += 1;
                        self.end_session(node, connection, LeaveReason::Disconnected);
                    }
                    None => break,
                },
            }
        }
        self.machines[node].is_busy = false;
    }
}

/// Returns the id of a room.
pub(crate) fn room_id(room: usize) -> RoomId {
    RoomId::new(&format!("room {room}")).unwrap()
}

/// Returns the number of a room.
pub(crate) fn room_index(room: &RoomId) -> usize {
    (0..ROOMS).find(|index| room_id(*index) == *room).unwrap()
}
