//! One server with one work, for any time, such as for profiling.

use std::net::SocketAddr;
use std::time::Duration;

use clap::{Args, Subcommand};

use crate::campaign::{relay_case, rooms_each};
use crate::clients::{Clients, Waiting};
use crate::conference::Meeting;
use crate::dialect::Kind;
use crate::joining::disconnect_all;
use crate::pinning::Cores;
use crate::server::{self, Contestant, JANUS, PARLOR_FORWARDING, Programs, Server};
use crate::work::forwarding::{self, Case};
use crate::work::idle::Idle;
use crate::work::many_rooms::ManyRooms;
use crate::work::media;
use crate::work::relay::{self, CANDIDATE, Pairs, Payload};
use crate::work::rooms::{Rooms, Work};
use crate::work::{Outcome, Window, call};

#[derive(Subcommand)]
pub(crate) enum Single {
    /// Pairs of clients relay signals
    Relay {
        #[command(flatten)]
        target: Target,
        #[arg(long, default_value = "50")]
        pairs: usize,
        #[arg(long, default_value = "1")]
        in_flight: usize,
        /// Size of an offer in bytes [default: a candidate of 200 bytes instead of an offer]
        #[arg(long)]
        offer: Option<usize>,
    },
    /// Whole calls
    Call {
        #[command(flatten)]
        target: Target,
        /// Number of concurrent calls
        #[arg(long, default_value = "16")]
        at_a_time: usize,
    },
    /// Large rooms in which a member rejoins or broadcasts
    Rooms {
        #[command(flatten)]
        target: Target,
        #[arg(long, default_value = "50")]
        size: usize,
        #[arg(long, default_value = "10")]
        rooms: usize,
        #[arg(long)]
        broadcast: bool,
    },
    /// Candidates among many rooms
    ManyRooms {
        #[command(flatten)]
        target: Target,
        #[arg(long, default_value = "500")]
        pairs: usize,
    },
    /// Conferences through the media server
    Meeting {
        #[command(flatten)]
        target: Target,
        #[arg(long, default_value = "1")]
        rooms: usize,
        #[arg(long, default_value = "51")]
        people: usize,
        /// Number of senders in each room
        #[arg(long, default_value = "1")]
        speakers: usize,
    },
    /// One sender and many receivers, of Parlor or Janus
    Forwarding {
        #[command(flatten)]
        target: Target,
        #[arg(long, default_value = "50")]
        receivers: usize,
    },
    /// Idle connections
    Idle {
        #[command(flatten)]
        target: Target,
        #[arg(long, default_value = "15000")]
        connections: usize,
    },
}

/// The target and the duration of a measurement.
#[derive(Args)]
pub(crate) struct Target {
    /// The server and its protocol
    #[arg(default_value = "parlor")]
    server: String,
    /// Duration in seconds, after a second of warm-up
    #[arg(long, default_value = "5")]
    seconds: f64,
    /// Rate per second, on a schedule [default: as fast as possible]
    #[arg(long)]
    rate: Option<f64>,
    /// The address and process id of a running server
    #[arg(long, num_args = 2, value_names = ["ADDRESS", "PID"])]
    attach: Option<Vec<String>>,
}

impl Target {
    fn window(&self) -> Window {
        Window { warm_up: Duration::from_secs(1), length: Duration::from_secs_f64(self.seconds) }
    }

    fn start(
        &self,
        programs: &Programs,
        cores: Cores,
    ) -> anyhow::Result<(Contestant, Server, Clients)> {
        let contestant = server::find(&self.server)?;
        let server = match self.attach.as_deref() {
            Some([address, process]) => {
                Server::attach(address.parse::<SocketAddr>()?, process.parse()?)
            }
            _ => Server::start(&contestant, programs, &[cores.server], &[])?,
        };
        let clients = Clients::new(contestant.dialect, server.address, Waiting::Spins)?;
        Ok((contestant, server, clients))
    }

    fn forward(&self, receivers: usize, programs: &Programs, cores: Cores) -> anyhow::Result<()> {
        let contestant = if self.server == JANUS.key { JANUS } else { PARLOR_FORWARDING };
        let server = Server::start(&contestant, programs, &[cores.server], &[])?;
        let case = Case { receivers, rate: self.rate.unwrap_or(500.0) };
        let figures = forwarding::forward(case, &contestant, &server, self.window())?;
        println!(
            "{}: {}: {:.2} µs CPU a packet, server {:.1} % busy, {:.1} % while idle",
            contestant.key,
            case.name(),
            figures.cpu_micros,
            figures.server_busy * 100.0,
            figures.idle_busy * 100.0,
        );
        server.stop()
    }
}

impl Single {
    pub(crate) fn run(&self, programs: &Programs, cores: Cores) -> anyhow::Result<()> {
        let (Self::Relay { target, .. }
        | Self::Call { target, .. }
        | Self::Rooms { target, .. }
        | Self::ManyRooms { target, .. }
        | Self::Meeting { target, .. }
        | Self::Forwarding { target, .. }
        | Self::Idle { target, .. }) = self;
        let window = target.window();
        if let Self::Forwarding { receivers, .. } = self {
            return target.forward(*receivers, programs, cores);
        }
        let (contestant, server, mut clients) = target.start(programs, cores)?;
        match self {
            Self::Relay { pairs, in_flight, offer, .. } => {
                let payload = offer.map_or(CANDIDATE, |bytes| Payload { kind: Kind::Offer, bytes });
                let mode = target
                    .rate
                    .map_or(relay::Mode::Closed(window), |rate| relay::Mode::Paced(window, rate));
                let case = relay_case(payload, *pairs, *in_flight);
                let mut pairs = Pairs::join(&mut clients, *pairs, payload)?;
                tell(&contestant, &case, &pairs.relay(&mut clients, &server, *in_flight, mode)?);
            }
            Self::Call { at_a_time, .. } => {
                let mode = target.rate.map_or(call::Mode::Closed(*at_a_time), call::Mode::Paced);
                tell(&contestant, "whole calls", &call::run(&mut clients, &server, mode, window)?);
            }
            Self::Rooms { size, rooms, broadcast, .. } => {
                let work = if *broadcast { Work::Broadcast } else { Work::Join };
                let rooms = Rooms::join(&mut clients, *rooms, *size)?;
                tell(&contestant, "deliveries", &rooms.run(&mut clients, &server, work, window)?);
            }
            Self::ManyRooms { pairs, .. } => {
                let mut many_rooms =
                    ManyRooms::join(&mut clients, *pairs, rooms_each(&contestant), CANDIDATE)?;
                tell(
                    &contestant,
                    "candidates",
                    &many_rooms.relay(&mut clients, &server, 50, window)?,
                );
            }
            Self::Meeting { rooms, people, speakers, .. } => {
                let meeting = Meeting { rooms: *rooms, people: *people, speakers: *speakers };
                let figures = media::meet(meeting, &server, window)?;
                println!(
                    "{}: {:.2} µs CPU a packet, {:.0} packets a second, server {:.0} % busy, \
                     {:.0} KiB a transport, {:.0} after media was sent",
                    meeting.name(),
                    figures.cpu_micros,
                    figures.per_second,
                    figures.server_busy * 100.0,
                    figures.connected_kib,
                    figures.spoken_kib,
                );
            }
            Self::Forwarding { .. } => unreachable!("has returned"),
            Self::Idle { connections, .. } => {
                let idle = Idle {
                    connections: *connections,
                    rest: window.length,
                    settling: Duration::from_secs(12),
                };
                let outcome = idle.run(&mut clients, &server)?;
                let each =
                    (outcome.with_all as f64 - outcome.before as f64) / outcome.connections as f64;
                println!(
                    "{}: {each:.1} KiB a connection; {} KiB before, {} with all, {} after; \
                     {:.1} µs CPU per join, {:.2} µs a second while idle; {:.2} s to join all at once",
                    contestant.key,
                    outcome.before,
                    outcome.with_all,
                    outcome.after,
                    outcome.join_cpu.as_secs_f64() * 1e6 / outcome.connections as f64,
                    outcome.rest_cpu.as_secs_f64() * 1e6
                        / outcome.rest.as_secs_f64()
                        / outcome.connections as f64,
                    outcome.rush.as_secs_f64(),
                );
            }
        }
        disconnect_all(&mut clients)?;
        server.stop()
    }
}

fn tell(contestant: &Contestant, what: &str, outcome: &Outcome) {
    println!(
        "{}: {what}: {:.2} µs CPU each, {:.0} a second, p50 {:.0} p99 {:.0} p99.9 {:.0} µs, server {:.0} % busy, load {:.0} % busy",
        contestant.key,
        outcome.cpu_micros(),
        outcome.per_second(),
        outcome.latency_micros(0.5),
        outcome.latency_micros(0.99),
        outcome.latency_micros(0.999),
        outcome.span.cpu.as_secs_f64() / outcome.span.time.as_secs_f64() * 100.0,
        outcome.span.load_busy * 100.0,
    );
}
