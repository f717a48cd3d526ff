//! Throughput on one core and on two.
//!
//! Server and load share the same one or two cores, and both sleep when they have nothing to do. So
//! the machine doubles, and the figure includes what a second core costs: threads that wake each
//! other, data that moves between cores. Idle time is measured too: while threads wait for each
//! other, cores are idle.

use std::fs;
use std::time::Duration;

use anyhow::Context;

use super::relay::{CANDIDATE, Mode, Pairs};
use super::{Outcome, Window};
use crate::clients::{Clients, Waiting};
use crate::pinning::{Cores, stay_on};
use crate::server::{Contestant, Programs, Server};

pub(crate) struct Throughput {
    pub(crate) outcome: Outcome,
    /// Idle time of the server's cores.
    pub(crate) unused: Duration,
}

const PAIRS: usize = 50;

/// Relays candidates between pairs on these cores.
pub(crate) fn run(
    contestant: &Contestant,
    programs: &Programs,
    cores: Cores,
    used: &[usize],
    in_flight: usize,
    window: Window,
) -> anyhow::Result<Throughput> {
    stay_on(used)?;
    let measured = (|| {
        let server = Server::start(contestant, programs, used, &[])?;
        let mut clients = Clients::new(contestant.dialect, server.address, Waiting::Sleeps)?;
        let mut pairs = Pairs::join(&mut clients, PAIRS, CANDIDATE)?;
        // Warmed up first, so that idle time is that of the window only.
        pairs.relay(
            &mut clients,
            &server,
            in_flight,
            Mode::Closed(Window { length: window.warm_up, ..window }),
        )?;
        let before = idle(used)?;
        let window = Window { warm_up: Duration::ZERO, ..window };
        let outcome = pairs.relay(&mut clients, &server, in_flight, Mode::Closed(window))?;
        let unused = idle(used)?.saturating_sub(before);
        Ok(Throughput { outcome, unused })
    })();
    cores.apart()?;
    measured
}

/// Returns the idle time of these cores since boot, to a hundredth of a second.
fn idle(cores: &[usize]) -> anyhow::Result<Duration> {
    let figures = fs::read_to_string("/proc/stat")?;
    let mut idle = Duration::ZERO;
    for core in cores {
        let name = format!("cpu{core} ");
        let line = figures
            .lines()
            .find_map(|line| line.strip_prefix(&name))
            .context("every core has its line")?;
        // user nice system idle iowait …: proc_stat(5)
        for field in line.split_whitespace().skip(3).take(2) {
            idle += Duration::from_millis(field.parse::<u64>()? * 10);
        }
    }
    Ok(idle)
}
