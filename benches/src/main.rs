//! What Parlor costs, beside others that do the same: `make bench`, and `docs/performance.md` for what came of it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::{Parser, Subcommand};

use crate::clients::{Clients, Waiting};
use crate::dialect::Kind;
use crate::server::{Programs, Server};
use crate::work::relay::{Mode, Pairs, Window};

mod clients;
mod dialect;
mod gathering;
mod server;
mod wire;
mod work;

/// Measures Parlor and its peers
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: What,
    /// Parlor's program [default: target/release/parlor]
    #[arg(long, global = true)]
    parlor: Option<PathBuf>,
    /// The program of `matchbox_server` [default: target/matchbox/bin/matchbox_server]
    #[arg(long, global = true)]
    matchbox: Option<PathBuf>,
    /// The core that servers run on
    #[arg(long, global = true, default_value = "0")]
    server_core: usize,
    /// The core that the load runs on
    #[arg(long, global = true, default_value = "1")]
    load_core: usize,
}

#[derive(Subcommand)]
enum What {
    /// Has pairs relay signals through one server, for a profiler
    Relay(Relay),
}

#[derive(clap::Args)]
struct Relay {
    /// Which server and wire
    #[arg(default_value = "parlor")]
    server: String,
    #[arg(long, default_value = "50")]
    pairs: usize,
    #[arg(long, default_value = "1")]
    in_flight: usize,
    /// Bytes of an offer; a candidate of 200 bytes, if not told
    #[arg(long)]
    offer: Option<usize>,
    #[arg(long, default_value = "5")]
    seconds: f64,
    /// Signals a second [default: as many as go]
    #[arg(long)]
    rate: Option<f64>,
    /// A server that runs already, and its process
    #[arg(long, num_args = 2, value_names = ["ADDRESS", "PID"])]
    attach: Option<Vec<String>>,
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> anyhow::Result<()> {
    let target = server::root().join("target");
    let programs = Programs {
        parlor: arguments.parlor.unwrap_or_else(|| target.join("release/parlor")),
        matchbox: arguments.matchbox.unwrap_or_else(|| target.join("matchbox/bin/matchbox_server")),
    };
    stay_on(arguments.load_core)?;
    let server_core = arguments.server_core.to_string();
    match arguments.command {
        What::Relay(relay) => {
            let contestant = server::find(&relay.server)?;
            let server = match relay.attach.as_deref() {
                Some([address, process]) => Server::attach(address.parse::<SocketAddr>()?, process.parse()?),
                _ => Server::start(&contestant, &programs, &server_core, &[])?,
            };
            let mut clients = Clients::new(contestant.dialect, server.address, Waiting::Spins)?;
            let (kind, bytes) = relay.offer.map_or((Kind::Candidate, 200), |bytes| (Kind::Offer, bytes));
            let mut pairs = Pairs::gather(&mut clients, relay.pairs, kind, bytes)?;
            let mode = relay.rate.map_or(Mode::Closed, Mode::Paced);
            let window =
                Window::Time { warm_up: Duration::from_millis(500), length: Duration::from_secs_f64(relay.seconds) };
            let outcome = pairs.relay(&mut clients, &server, mode, relay.in_flight, window)?;
            let micros = |quantile| outcome.latency.value_at_quantile(quantile) as f64 / 1000.0;
            println!(
                "{}: {:.2} µs CPU a signal, {:.0} signals/s, p50 {:.0} p99 {:.0} p99.9 {:.0} µs, server {:.0} % busy, load {:.0} % busy",
                contestant.key,
                outcome.cpu.as_secs_f64() * 1e6 / outcome.signals as f64,
                outcome.signals as f64 / outcome.time.as_secs_f64(),
                micros(0.5),
                micros(0.99),
                micros(0.999),
                outcome.cpu.as_secs_f64() / outcome.time.as_secs_f64() * 100.0,
                outcome.load_busy * 100.0,
            );
            drop(clients);
            server.stop()
        }
    }
}

/// Keeps this process to one core.
fn stay_on(core: usize) -> anyhow::Result<()> {
    let mut cores = nix::sched::CpuSet::new();
    cores.set(core)?;
    nix::sched::sched_setaffinity(nix::unistd::Pid::from_raw(0), &cores)
        .with_context(|| format!("there is no core {core}"))
}
