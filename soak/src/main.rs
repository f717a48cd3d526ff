//! The soak test: mixed traffic against a real server for minutes or hours, then a check for leaks.
//!
//! `cargo run --release -p parlor-soak -- --minutes 20`. The server is a process of its own, so
//! that its memory and open files are its alone. All [`actors`] run at once: calls over every route
//! that end in every way, group rooms, conferences through the media server, clients that drop and
//! resume, slow consumers, floods, invalid input, REST, and well-behaved bystanders that must not
//! notice. Violations are collected in the [`tally`]; the exit code is 1 if there are any.
//!
//! `--cluster` runs three nodes instead, with a Redis, under calls of clients that resume on whatever
//! node: see [`cluster`].
//!
//! Memory: the warm-up ends with an idle phase without clients. The server's memory then is the
//! baseline for the end of the run: an allocator keeps pages that were used once, so a server that
//! was never under load is not comparable.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;

use crate::server::{ALONE, Held, Server};
use crate::world::{Phase, World};

mod actors;
mod balancer;
mod call;
mod client;
mod cluster;
mod server;
mod tally;
mod verdict;
mod world;

/// The warm-up's share of the run, and its minimum length: memory peaks with stalls and floods, so
/// that each kind should complete in it.
const WARM_UP: f64 = 0.2;
const SHORTEST_WARM_UP: Duration = Duration::from_secs(30);

/// Runs mixed traffic against a Parlor server and checks that it leaks nothing.
#[derive(Parser)]
struct Arguments {
    /// Length of the run, including the warm-up
    #[arg(long, default_value = "1")]
    minutes: f64,
    /// Seed of an earlier run, to repeat its choices [default: random]
    #[arg(long)]
    seed: Option<u64>,
    /// Run three nodes and a Redis, with a rolling restart every minute
    #[arg(long)]
    cluster: bool,
    /// Folder for the logs of the nodes, with a line for each message
    #[arg(long, requires = "cluster")]
    logs: Option<PathBuf>,
    /// The program to run [default: `parlor` in the directory of this one]
    #[arg(long)]
    server: Option<PathBuf>,
}

/// Resident memory in KiB.
struct Memory {
    start: u64,
    plateau: u64,
    end: u64,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("soak: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs everything; returns whether there were no violations.
async fn run(arguments: Arguments) -> anyhow::Result<bool> {
    let seed = arguments.seed.unwrap_or_else(new_seed);
    let program = match arguments.server {
        Some(program) => program,
        None => beside_this_one()?,
    };
    let length = Duration::try_from_secs_f64(arguments.minutes * 60.0)?;
    if arguments.cluster {
        return cluster::run(&program, length, seed, arguments.logs).await;
    }
    let server = Server::start(&program, ALONE, None)?;
    println!(
        "soak: {} minutes of {} at {}, --seed {seed}",
        arguments.minutes,
        program.display(),
        server.address
    );
    let world = Arc::new(World::new(server.address, seed)?);

    let start = Held::ask(&world, &server).await?;
    let start_memory = server.memory().await?;
    let warm_up = length.mul_f64(WARM_UP).max(SHORTEST_WARM_UP);
    let after_warm_up = traffic(&world, &server, &start, Phase::begin("warm-up", warm_up)).await?;
    verdict::nothing_held(&world.tally, "after the warm-up", &start, &after_warm_up);
    let plateau = server.memory().await?;
    println!("soak: warmed up, {plateau} KiB");
    let end =
        traffic(&world, &server, &start, Phase::begin("main part", length.saturating_sub(warm_up)))
            .await?;
    verdict::nothing_held(&world.tally, "at the end", &start, &end);
    verdict::noted(&world.tally, &end);
    let memory = Memory { start: start_memory, plateau, end: server.memory().await? };
    verdict::memory(&world.tally, memory.plateau, memory.end, 0);
    verdict::exercised(&world.tally, &verdict::EXERCISED);

    let (status, errors) = server.stop()?;
    if status.code() != Some(0) {
        world.tally.violation(format!("the server ended with {status}"));
    }
    for error in errors {
        world.tally.violation(format!("the server logged {error}"));
    }
    let Memory { start: first, plateau, end: last } = memory;
    println!("soak: {} minutes, --seed {seed}", arguments.minutes);
    print!("{}", world.tally.report());
    println!(
        "  memory                {first} KiB at the start, {plateau} KiB warmed up, {last} KiB at the end"
    );
    println!("  open files            {} at the start, {} at the end", start.files, end.files);
    Ok(world.tally.violated() == 0)
}

/// Runs one phase and waits until the server is idle; returns what it still holds.
async fn traffic(
    world: &Arc<World>,
    server: &Server,
    start: &Held,
    phase: Phase,
) -> anyhow::Result<Held> {
    actors::all(world, &phase).await;
    server.settled(world, start).await.with_context(|| format!("after the {}", phase.name))
}

fn new_seed() -> u64 {
    // Any number that differs from run to run.
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    since.as_secs() ^ u64::from(std::process::id())
}

/// Returns the path where Cargo puts the server: the directory of this program.
fn beside_this_one() -> anyhow::Result<PathBuf> {
    let this = std::env::current_exe()?;
    Ok(this.parent().context("this program is in a directory")?.join("parlor"))
}
