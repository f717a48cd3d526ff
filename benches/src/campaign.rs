//! The whole benchmark: every server with every work, in rounds.
//!
//! One server runs at a time, on a core of its own. In each round all servers take turns, so that
//! other activity of the machine affects all of them; each turn starts a fresh process and warms it
//! up.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use anyhow::Context;

use crate::clients::{Clients, Waiting};
use crate::janus;
use crate::joining::disconnect_all;
use crate::pinning::Cores;
use crate::results::{Record, Results};
use crate::server::{
    BUN, Contestant, ENVELOPE, EXPRESS, FLOOR, JANUS, MATCHBOX, PARLOR, PARLOR_FORWARDING,
    PARLOR_WITHOUT_RECOVERY, PEERJS, Programs, SESSION, Server, TOPIC, WS,
};
use crate::work::call;
use crate::work::cores;
use crate::work::forwarding;
use crate::work::idle::Idle;
use crate::work::many_rooms::ManyRooms;
use crate::work::media::{self, MEETINGS, TURNS};
use crate::work::relay::{self, CANDIDATE, OFFER, Pairs, Payload};
use crate::work::rooms::{Rooms, Work};
use crate::work::{Outcome, Window};

/// The extent of a run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) rounds: usize,
    relay: Window,
    /// Long: the kernel splits CPU time into user and system time by samples, 100 a second.
    user: Window,
    call: Window,
    rooms: Window,
    many_rooms: Window,
    /// Numbers of pairs of the work `many-rooms`.
    pub(crate) room_pairs: &'static [usize],
    cores: Window,
    media: Window,
    forwarding: Window,
    beside: Window,
    connections: usize,
    /// Length of the idle phase for the servers compared closely.
    rest: Duration,
    /// Time between the last close and reading the memory.
    settling: Duration,
}

const fn window(warm_up: u64, length: u64) -> Window {
    Window { warm_up: Duration::from_millis(warm_up), length: Duration::from_millis(length) }
}

impl Plan {
    pub(crate) const FULL: Self = Self {
        rounds: 3,
        relay: window(150, 600),
        user: window(1000, 20_000),
        call: window(700, 2000),
        rooms: window(200, 600),
        many_rooms: window(300, 1000),
        room_pairs: &[50, 500, 5000],
        cores: window(300, 1500),
        media: window(1000, 3000),
        forwarding: window(2000, 8000),
        beside: window(500, 3000),
        connections: 15_000,
        rest: Duration::from_secs(26),
        // Maps shrink every ten seconds, and the allocator's decay takes ten more.
        settling: Duration::from_secs(30),
    };

    /// Enough to see that everything works, and large regressions.
    pub(crate) const QUICK: Self = Self {
        rounds: 1,
        relay: window(100, 150),
        user: window(100, 500),
        call: window(300, 400),
        rooms: window(100, 150),
        many_rooms: window(100, 300),
        room_pairs: &[50, 500],
        cores: window(150, 400),
        media: window(500, 1000),
        forwarding: window(500, 1000),
        beside: window(200, 1000),
        connections: 2000,
        rest: Duration::from_secs(1),
        settling: Duration::from_secs(1),
    };
}

/// Pairs and signals in flight of each, as relays are measured.
pub(crate) const RELAYS: [(usize, usize); 4] = [(1, 1), (1, 8), (50, 1), (50, 8)];

/// Rooms per pair of the work `many-rooms`.
pub(crate) const ROOMS_EACH: usize = 20;

/// Room sizes, and the number of rooms of each.
pub(crate) const ROOMS: [(usize, usize); 3] = [(2, 250), (50, 10), (500, 1)];

/// Signals in flight of the work `many-rooms`, and concurrent calls.
const MANY_ROOMS_IN_FLIGHT: usize = 50;
const CALLS: usize = 16;

/// Signals in flight per pair when throughput on several cores is measured.
pub(crate) const CORES_IN_FLIGHT: [usize; 2] = [1, 32];

/// Signals in flight, and number of cores.
pub(crate) const CORES: [(usize, usize); 4] = [
    (CORES_IN_FLIGHT[0], 1),
    (CORES_IN_FLIGHT[0], 2),
    (CORES_IN_FLIGHT[1], 1),
    (CORES_IN_FLIGHT[1], 2),
];

/// Servers that relay everything, and those that relay only candidates of fifty pairs. The first
/// sets the pace.
const RELAYING: [Contestant; 6] = [EXPRESS, BUN, PARLOR, WS, PEERJS, FLOOR];
const RELAYING_CANDIDATES: [Contestant; 5] =
    [PARLOR_WITHOUT_RECOVERY, TOPIC, SESSION, ENVELOPE, MATCHBOX];
const CALLING: [Contestant; 7] = [EXPRESS, BUN, PARLOR, WS, PEERJS, TOPIC, MATCHBOX];
const WITH_ROOMS: [Contestant; 4] = [EXPRESS, BUN, PARLOR, WS];
const WITH_MANY_ROOMS: [Contestant; 4] = [EXPRESS, BUN, PARLOR, FLOOR];
const IDLE_WITH_REST: [Contestant; 3] = [EXPRESS, BUN, PARLOR];
const IDLE: [Contestant; 7] =
    [PARLOR_WITHOUT_RECOVERY, WS, PEERJS, TOPIC, SESSION, ENVELOPE, MATCHBOX];

/// Servers whose throughput is measured on one core and on two.
pub(crate) const SCALING: [Contestant; 2] = [PARLOR, FLOOR];

pub(crate) const WORKS: [&str; 8] =
    ["relay", "user", "call", "rooms", "many-rooms", "cores", "idle", "media"];

pub(crate) struct Campaign<'a> {
    pub(crate) plan: Plan,
    pub(crate) programs: &'a Programs,
    pub(crate) cores: Cores,
    pub(crate) results: &'a mut Results,
    /// Rate of the paced work of each case, per second.
    pub(crate) paces: HashMap<String, f64>,
    pub(crate) round: usize,
}

impl Campaign<'_> {
    /// Runs all rounds of these works.
    pub(crate) fn run(&mut self, works: &[String]) -> anyhow::Result<()> {
        for round in 0..self.plan.rounds {
            self.round = round;
            for work in works {
                let began = Instant::now();
                self.work(work).with_context(|| format!("{work}, round {}", round + 1))?;
                eprintln!(
                    "bench: round {} of {}: {work}, {:.0?}",
                    round + 1,
                    self.plan.rounds,
                    began.elapsed()
                );
            }
        }
        Ok(())
    }

    fn work(&mut self, work: &str) -> anyhow::Result<()> {
        match work {
            "relay" => {
                self.each(&RELAYING, |this, contestant, server| {
                    this.relay(contestant, server, &[CANDIDATE, OFFER], 1)
                })?;
                self.each(&RELAYING_CANDIDATES, |this, contestant, server| {
                    this.relay(contestant, server, &[CANDIDATE], 50)
                })
            }
            // Only once, since each takes twenty seconds.
            "user" if self.round > 0 => Ok(()),
            "user" => self.each(&[EXPRESS, BUN, PARLOR, ENVELOPE], Self::user),
            "call" => self.each(&CALLING, Self::calls),
            "rooms" => self.each(&WITH_ROOMS, Self::rooms),
            "many-rooms" => self.plan.room_pairs.iter().try_for_each(|pairs| {
                self.each(&WITH_MANY_ROOMS, |this, contestant, server| {
                    this.many_rooms(contestant, server, *pairs)
                })
            }),
            "cores" => self.cores(),
            "idle" => {
                // Memory is the same from round to round, and heartbeats take their time.
                let rest = if self.round == 0 { self.plan.rest } else { Duration::ZERO };
                self.each(&IDLE_WITH_REST, |this, contestant, server| {
                    this.idle(contestant, server, rest)
                })?;
                if self.round > 0 {
                    return Ok(());
                }
                self.each(&IDLE, |this, contestant, server| {
                    this.idle(contestant, server, Duration::ZERO)
                })
            }
            "media" => self.media(),
            other => anyhow::bail!("no work is called {other}; there are {}", WORKS.join(", ")),
        }
    }

    /// Runs a work with each server.
    fn each(
        &mut self,
        contestants: &[Contestant],
        work: impl Fn(&mut Self, &Contestant, &Server) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        for contestant in contestants {
            let server = Server::start(contestant, self.programs, &[self.cores.server], &[])?;
            work(self, contestant, &server).with_context(|| contestant.key)?;
        }
        Ok(())
    }

    fn clients(contestant: &Contestant, server: &Server) -> anyhow::Result<Clients> {
        Clients::new(contestant.dialect, server.address, Waiting::Spins)
    }

    fn note(&mut self, work: &str, case: &str, contestant: &Contestant, figures: &[(&str, f64)]) {
        let figures: BTreeMap<String, f64> =
            figures.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
        let (work, case, server) = (work.to_owned(), case.to_owned(), contestant.key.to_owned());
        self.results.records.push(Record { work, case, server, round: self.round, figures });
    }

    /// Returns the rate at which the first server was half busy in the first round, which applies
    /// to all.
    fn pace(&mut self, case: &str, closed: &Outcome) -> f64 {
        *self.paces.entry(case.to_owned()).or_insert(0.5e6 / closed.cpu_micros())
    }

    fn relay(
        &mut self,
        contestant: &Contestant,
        server: &Server,
        payloads: &[Payload],
        least_pairs: usize,
    ) -> anyhow::Result<()> {
        // Gives JIT compilers time to compile.
        let mut clients = Self::clients(contestant, server)?;
        let warm_up = Window { length: self.plan.call.warm_up, ..self.plan.relay };
        Pairs::join(&mut clients, 50, CANDIDATE)?.relay(
            &mut clients,
            server,
            1,
            relay::Mode::Closed(warm_up),
        )?;
        disconnect_all(&mut clients)?;
        for payload in payloads {
            for (pairs, in_flight) in RELAYS {
                if pairs < least_pairs {
                    continue;
                }
                let case = relay_case(*payload, pairs, in_flight);
                let mut clients = Self::clients(contestant, server)?;
                let mut pairs = Pairs::join(&mut clients, pairs, *payload)?;
                let closed = pairs.relay(
                    &mut clients,
                    server,
                    in_flight,
                    relay::Mode::Closed(self.plan.relay),
                )?;
                let pace = self.pace(&case, &closed);
                let mode = relay::Mode::Paced(self.plan.relay, pace);
                let paced = pairs.relay(&mut clients, server, in_flight, mode)?;
                disconnect_all(&mut clients)?;
                self.note("relay", &case, contestant, &figures(&closed, &paced, pace));
            }
        }
        Ok(())
    }

    fn user(&mut self, contestant: &Contestant, server: &Server) -> anyhow::Result<()> {
        let mut clients = Self::clients(contestant, server)?;
        let mut pairs = Pairs::join(&mut clients, 50, CANDIDATE)?;
        let outcome = pairs.relay(&mut clients, server, 1, relay::Mode::Closed(self.plan.user))?;
        disconnect_all(&mut clients)?;
        let user = outcome.span.user.as_secs_f64() * 1e6 / outcome.count as f64;
        self.note(
            "user",
            &relay_case(CANDIDATE, 50, 1),
            contestant,
            &[("user_us", user), ("cpu_us", outcome.cpu_micros())],
        );
        Ok(())
    }

    fn calls(&mut self, contestant: &Contestant, server: &Server) -> anyhow::Result<()> {
        let mut clients = Self::clients(contestant, server)?;
        let closed = call::run(&mut clients, server, call::Mode::Closed(CALLS), self.plan.call)?;
        let pace = self.pace("call", &closed);
        let paced = call::run(&mut clients, server, call::Mode::Paced(pace), self.plan.call)?;
        self.note("call", "whole", contestant, &figures(&closed, &paced, pace));
        Ok(())
    }

    fn rooms(&mut self, contestant: &Contestant, server: &Server) -> anyhow::Result<()> {
        for (size, rooms) in ROOMS {
            let mut clients = Self::clients(contestant, server)?;
            let rooms = Rooms::join(&mut clients, rooms, size)?;
            for (name, work) in [("join", Work::Join), ("broadcast", Work::Broadcast)] {
                let outcome = rooms.run(&mut clients, server, work, self.plan.rooms)?;
                let figures =
                    [("cpu_us", outcome.cpu_micros()), ("per_second", outcome.per_second())];
                self.note("rooms", &format!("{name}/{size}"), contestant, &figures);
            }
            disconnect_all(&mut clients)?;
        }
        Ok(())
    }

    fn many_rooms(
        &mut self,
        contestant: &Contestant,
        server: &Server,
        pairs: usize,
    ) -> anyhow::Result<()> {
        let mut clients = Self::clients(contestant, server)?;
        let mut many_rooms =
            ManyRooms::join(&mut clients, pairs, rooms_each(contestant), CANDIDATE)?;
        let outcome =
            many_rooms.relay(&mut clients, server, MANY_ROOMS_IN_FLIGHT, self.plan.many_rooms)?;
        let figures = [("cpu_us", outcome.cpu_micros()), ("per_second", outcome.per_second())];
        self.note("many-rooms", &pairs.to_string(), contestant, &figures);
        Ok(())
    }

    fn cores(&mut self) -> anyhow::Result<()> {
        let both = [self.cores.server, self.cores.load];
        for contestant in SCALING {
            for (in_flight, used) in CORES {
                let throughput = cores::run(
                    &contestant,
                    self.programs,
                    self.cores,
                    &both[..used],
                    in_flight,
                    self.plan.cores,
                )?;
                let outcome = &throughput.outcome;
                let figures = [
                    ("cpu_us", outcome.cpu_micros()),
                    (
                        "load_cpu_us",
                        outcome.span.load_cpu.as_secs_f64() * 1e6 / outcome.count as f64,
                    ),
                    ("per_second", outcome.per_second()),
                    ("unused", throughput.unused.as_secs_f64() / outcome.span.time.as_secs_f64()),
                ];
                self.note("cores", &cores_case(in_flight, used), &contestant, &figures);
            }
        }
        Ok(())
    }

    fn media(&mut self) -> anyhow::Result<()> {
        self.forwarding()?;
        for meeting in MEETINGS {
            self.each(&[ENVELOPE], |this, contestant, server| {
                let outcome = media::meet(meeting, server, this.plan.media)?;
                let figures = [
                    ("cpu_us", outcome.cpu_micros),
                    ("per_second", outcome.per_second),
                    ("server_busy", outcome.server_busy),
                    ("connected_kib", outcome.connected_kib),
                    ("spoken_kib", outcome.spoken_kib),
                ];
                this.note("media", &meeting.name(), contestant, &figures);
                Ok(())
            })?;
        }
        self.each(&[PARLOR], |this, contestant, server| {
            let round = this.round;
            for (turn, (silent, forwarding)) in
                media::beside(contestant, server, this.plan.beside)?.iter().enumerate()
            {
                this.round = round * TURNS + turn;
                for (case, outcome) in [("silent", silent), ("forwarding", forwarding)] {
                    let figures = [
                        ("p50_us", outcome.latency_micros(0.5)),
                        ("p99_us", outcome.latency_micros(0.99)),
                    ];
                    this.note("media", case, contestant, &figures);
                }
            }
            this.round = round;
            Ok(())
        })
    }

    /// Compares forwarding with Janus, where that is installed.
    fn forwarding(&mut self) -> anyhow::Result<()> {
        let is_compared = janus::is_installed();
        if !is_compared && self.round == 0 {
            eprintln!("bench: Janus is not installed: forwarding is not compared with it");
        }
        let peers = [PARLOR_FORWARDING, JANUS];
        for case in forwarding::CASES {
            self.each(&peers[..=usize::from(is_compared)], |this, contestant, server| {
                let outcome = forwarding::forward(case, contestant, server, this.plan.forwarding)?;
                let figures = [
                    ("cpu_us", outcome.cpu_micros),
                    ("server_busy", outcome.server_busy),
                    ("idle_busy", outcome.idle_busy),
                ];
                this.note("forwarding", &case.name(), contestant, &figures);
                Ok(())
            })?;
        }
        Ok(())
    }

    fn idle(
        &mut self,
        contestant: &Contestant,
        server: &Server,
        rest: Duration,
    ) -> anyhow::Result<()> {
        let mut clients = Self::clients(contestant, server)?;
        let idle = Idle { connections: self.plan.connections, rest, settling: self.plan.settling };
        let outcome = idle.run(&mut clients, server)?;
        let connections = outcome.connections as f64;
        let mut figures = vec![
            ("before_kib", outcome.before as f64),
            ("all_kib", outcome.with_all as f64),
            ("after_kib", outcome.after as f64),
            ("each_kib", (outcome.with_all as f64 - outcome.before as f64) / connections),
            ("after_ratio", outcome.after as f64 / outcome.before as f64),
            ("entrance_us", outcome.join_cpu.as_secs_f64() * 1e6 / connections),
            ("rush_s", outcome.rush.as_secs_f64()),
        ];
        if !rest.is_zero() {
            let seconds = connections * outcome.rest.as_secs_f64();
            figures.push(("idle_us", outcome.rest_cpu.as_secs_f64() * 1e6 / seconds));
        }
        self.note("idle", "all", contestant, &figures);
        Ok(())
    }
}

/// Returns the rooms per pair of the work `many-rooms`: the floor has no rooms.
pub(crate) fn rooms_each(contestant: &Contestant) -> usize {
    if contestant.dialect.join("").is_some() { ROOMS_EACH } else { 1 }
}

pub(crate) fn cores_case(in_flight: usize, cores: usize) -> String {
    format!("{in_flight}/{cores}")
}

pub(crate) fn relay_case(payload: Payload, pairs: usize, in_flight: usize) -> String {
    let name = if payload == CANDIDATE { "candidate" } else { "offer" };
    format!("{name}/{pairs}/{in_flight}")
}

fn figures(closed: &Outcome, paced: &Outcome, pace: f64) -> [(&'static str, f64); 9] {
    let busy = closed.span.cpu.as_secs_f64() / closed.span.time.as_secs_f64();
    [
        ("cpu_us", closed.cpu_micros()),
        ("per_second", closed.per_second()),
        ("server_busy", busy),
        ("load_busy", closed.span.load_busy),
        ("pace", pace),
        ("paced_cpu_us", paced.cpu_micros()),
        ("p50_us", paced.latency_micros(0.5)),
        ("p99_us", paced.latency_micros(0.99)),
        ("p999_us", paced.latency_micros(0.999)),
    ]
}
