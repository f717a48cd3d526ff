//! One core, or two: how throughput grows.
//!
//! On two cores in all, a server that has both shares them with the load. What the load takes is measured, and so is what
//! nobody takes: while a server's threads wait for each other, a core has nothing to do. What is left is what the server
//! would do with two cores of its own, as long as a signal costs it what it did here.

use std::fs;
use std::time::Duration;

use anyhow::Context;

use super::relay::{CANDIDATE, Mode, Pairs};
use super::{Outcome, Window};
use crate::clients::{Clients, Waiting};
use crate::pinning::Cores;
use crate::server::{Contestant, Programs, Server};

pub(crate) struct Throughput {
    pub(crate) outcome: Outcome,
    /// The time in which a core of those that the server may use did nothing.
    pub(crate) unused: Duration,
}

const PAIRS: usize = 50;

/// Pairs relay candidates through a server that has one core, and the load the other; or both have both.
pub(crate) fn run(
    contestant: &Contestant,
    programs: &Programs,
    cores: Cores,
    are_shared: bool,
    in_flight: usize,
    window: Window,
) -> anyhow::Result<Throughput> {
    let (names, used, waiting) = if are_shared {
        cores.together()?;
        (cores.both(), vec![cores.server, cores.load], Waiting::Sleeps)
    } else {
        (cores.server.to_string(), vec![cores.server], Waiting::Spins)
    };
    let measured = (|| {
        let server = Server::start(contestant, programs, &names, &[])?;
        let mut clients = Clients::new(contestant.dialect, server.address, waiting)?;
        let mut pairs = Pairs::gather(&mut clients, PAIRS, CANDIDATE)?;
        // Warmed up first, so that idle time is that of the window.
        pairs.relay(&mut clients, &server, in_flight, Mode::Closed(Window { length: window.warm_up, ..window }))?;
        let before = idle(&used)?;
        let window = Window { warm_up: Duration::ZERO, ..window };
        let outcome = pairs.relay(&mut clients, &server, in_flight, Mode::Closed(window))?;
        let unused = idle(&used)?.saturating_sub(before);
        Ok(Throughput { outcome, unused })
    })();
    cores.apart()?;
    measured
}

/// How long these cores have done nothing, since the machine began: to a hundredth of a second.
fn idle(cores: &[usize]) -> anyhow::Result<Duration> {
    let figures = fs::read_to_string("/proc/stat")?;
    let mut idle = Duration::ZERO;
    for core in cores {
        let name = format!("cpu{core} ");
        let line = figures.lines().find_map(|line| line.strip_prefix(&name)).context("every core has its line")?;
        // user nice system idle iowait …: proc_stat(5)
        for field in line.split_whitespace().skip(3).take(2) {
            idle += Duration::from_millis(field.parse::<u64>()? * 10);
        }
    }
    Ok(idle)
}
