//! What Parlor costs, beside others that do the same: `make bench`, and `docs/performance.md` for what came of it.

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
mod conference;
mod dialect;
mod frame;
mod gathering;
mod instructions;
mod lane;
mod pinning;
mod report;
mod results;
mod server;
mod single;
mod surroundings;
mod work;

/// Measures Parlor and its peers
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: What,
    /// Parlor's program [default: target/release/parlor]
    #[arg(long, global = true)]
    parlor: Option<PathBuf>,
    /// The other server from crates.io [default: the one that `make bench` installs]
    #[arg(long, global = true)]
    matchbox: Option<PathBuf>,
    /// The core that servers run on [default: the first]
    #[arg(long, global = true)]
    server_core: Option<usize>,
    /// The core that the load runs on [default: the second]
    #[arg(long, global = true)]
    load_core: Option<usize>,
}

#[derive(Subcommand)]
enum What {
    /// All servers at all works, in rounds: the results go into a file
    Run {
        /// One short round
        #[arg(long)]
        quick: bool,
        /// Of all works only these
        #[arg(long, value_delimiter = ',', default_values = WORKS)]
        works: Vec<String>,
        /// How often each server has its turn [default: as the plan has it]
        #[arg(long)]
        rounds: Option<usize>,
        /// Where the results go
        #[arg(long, default_value = "target/bench.json")]
        results: PathBuf,
    },
    /// Writes what was measured into docs/performance.md and README.md; the rest of them stays
    Report {
        /// Where the results are
        #[arg(long, default_value = "target/bench.json")]
        results: PathBuf,
    },
    /// Prints where Parlor must get, and whether it does
    Targets {
        /// Where the results are
        #[arg(long, default_value = "target/bench.json")]
        results: PathBuf,
    },
    /// Counts the instructions that a signal takes
    Instructions {
        /// Keeps them, to be compared with later
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
        What::Run { quick, works, rounds, results: path } => {
            let mut plan = if quick { Plan::QUICK } else { Plan::FULL };
            plan.rounds = rounds.unwrap_or(plan.rounds);
            ensure!(plan.rounds > 0, "at least one round");
            cores.apart()?;
            let has_peers = works.iter().any(|work| work != "media");
            let mut results = Results { surroundings: surroundings::all(&programs, has_peers)?, records: Vec::new() };
            let (paces, results_of) = (HashMap::new(), &mut results);
            Campaign { plan, programs: &programs, cores, results: results_of, paces, round: 0 }.run(&works)?;
            results.write(&path)
        }
        What::Report { results } => report::write(&Results::read(&results)?, server::root()),
        What::Targets { results } => {
            print!("{}", report::targets(&Results::read(&results)?));
            Ok(())
        }
        What::Instructions { record } => instructions::run(&programs, cores, record),
        What::Single(single) => {
            cores.apart()?;
            single.run(&programs, cores)
        }
    }
}
