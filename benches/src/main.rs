//! Measures the costs of Parlor and of comparable servers: `make bench`, with results in
//! `docs/performance.md`.

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::ensure;
use clap::{Parser, Subcommand};

use crate::campaign::{Campaign, Plan, WORKS};
use crate::pinning::Cores;
use crate::results::Results;
use crate::server::Programs;
use crate::single::Single;

mod campaign;
mod clients;
mod cluster;
mod conference;
mod dialect;
mod environment;
mod frame;
mod instructions;
mod janus;
mod joining;
mod lane;
mod pinning;
mod report;
mod results;
mod server;
mod single;
mod work;

/// Measures Parlor and comparable servers
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Action,
    /// The Parlor binary [default: target/release/parlor]
    #[arg(long, global = true)]
    parlor: Option<PathBuf>,
    /// The matchbox server binary [default: the one that `make bench` installs]
    #[arg(long, global = true)]
    matchbox: Option<PathBuf>,
    /// The core for servers [default: the first]
    #[arg(long, global = true)]
    server_core: Option<usize>,
    /// The core for the load [default: the second]
    #[arg(long, global = true)]
    load_core: Option<usize>,
}

#[derive(Subcommand)]
enum Action {
    /// Runs all works on all servers, in rounds, and writes a results file
    Run {
        /// Runs one short round
        #[arg(long)]
        quick: bool,
        /// Works to run
        #[arg(long, value_delimiter = ',', default_values = WORKS)]
        works: Vec<String>,
        /// Number of rounds [default: depends on the work]
        #[arg(long)]
        rounds: Option<usize>,
        /// The results file
        #[arg(long, default_value = "target/bench.json")]
        results: PathBuf,
    },
    /// Updates the tables and plots in docs/performance.md and README.md
    Report {
        /// The results file
        #[arg(long, default_value = "target/bench.json")]
        results: PathBuf,
    },
    /// Prints the performance targets, and whether the results meet them
    Targets {
        /// The results file
        #[arg(long, default_value = "target/bench.json")]
        results: PathBuf,
    },
    /// Measures nodes of a cluster beside one server alone, and writes docs/performance.md
    Cluster {
        /// Runs one short round and writes nothing
        #[arg(long)]
        quick: bool,
        /// Number of rounds
        #[arg(long, default_value = "5")]
        rounds: usize,
    },
    /// Counts the instructions per signal
    Instructions {
        /// Records the counts for later comparison
        #[arg(long)]
        record: bool,
    },
    #[command(flatten)]
    Single(Single),
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
    let cores = Cores::choose(arguments.server_core, arguments.load_core)?;
    match arguments.command {
        Action::Run { quick, works, rounds, results: path } => {
            let mut plan = if quick { Plan::QUICK } else { Plan::FULL };
            plan.rounds = rounds.unwrap_or(plan.rounds);
            ensure!(plan.rounds > 0, "at least one round");
            cores.apart()?;
            let has_peers = works.iter().any(|work| work != "media");
            let matchbox = &programs.matchbox;
            ensure!(
                !has_peers || matchbox.exists(),
                "{} is missing: `make bench` installs it",
                matchbox.display()
            );
            let mut results = Results {
                environment: environment::all(&programs, has_peers)?,
                records: Vec::new(),
            };
            let (paces, results_of) = (HashMap::new(), &mut results);
            Campaign { plan, programs: &programs, cores, results: results_of, paces, round: 0 }
                .run(&works)?;
            results.write(&path)
        }
        Action::Report { results } => report::write(&Results::read(&results)?, server::root()),
        Action::Targets { results } => {
            print!("{}", report::targets(&Results::read(&results)?));
            Ok(())
        }
        Action::Cluster { quick, rounds } => {
            cores.apart()?;
            let rounds = if quick { 1 } else { rounds };
            let text = cluster::run(&programs, cores, rounds, quick)?;
            println!("{text}");
            if quick { Ok(()) } else { report::cluster(text, server::root()) }
        }
        Action::Instructions { record } => instructions::run(&programs, cores, record),
        Action::Single(single) => {
            cores.apart()?;
            single.run(&programs, cores)
        }
    }
}
