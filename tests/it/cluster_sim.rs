//! A deterministic simulation of a cluster: real nodes, with their rooms, links and replicas, under
//! simulated time, over a model of the engine. Clients join, leave and send signals while nodes,
//! connections and the engine fail.
//!
//! A seed is a run. The seeds are 1 to 10, or those that the environment asks for:
//!
//! - `PARLOR_SIM_SEED=n`: this seed alone, with a log of everything that happens;
//! - `PARLOR_SIM_SEEDS=n`: so many random seeds, or with `PARLOR_SIM_FIRST=m` those from `m` on;
//! - `PARLOR_SIM_SECONDS=n`: random seeds for so many seconds.
//!
//! A seed that fails is run again with its log, of which the end is printed.

mod actions;
mod checks;
mod client;
mod faults;
mod host;
mod ledger;
mod media;
pub(crate) mod model;
mod network;
pub(crate) mod random;
mod sessions;
mod stats;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Instant, UNIX_EPOCH};

use parking_lot::Mutex;
use parlor::cluster::node::Counters;

use self::random::Random;
use self::stats::Stats;
use self::world::{NODES, World};

/// Runs a seed. If it fails, runs it again to print the log.
fn run(seed: u64) -> Stats {
    let mut world = World::new(seed, 0);
    if catch_unwind(AssertUnwindSafe(|| world.run_with_faults())).is_ok() {
        return world.stats;
    }
    print_log(seed, 4_000);
    panic!("seed {seed} failed: run it alone with PARLOR_SIM_SEED={seed}");
}

/// Runs a seed, and prints the last lines of its log.
fn print_log(seed: u64, lines: usize) {
    let mut world = World::new(seed, lines);
    let outcome = catch_unwind(AssertUnwindSafe(|| world.run_with_faults()));
    for line in &world.log {
        println!("{line}");
    }
    println!("seed {seed}: {:?}, passed: {}", world.stats, outcome.is_ok());
}

fn number_of(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is a number")))
}

fn seeds() -> Box<dyn Iterator<Item = u64> + Send> {
    let start = Instant::now();
    let mut random = Random(u64::try_from(UNIX_EPOCH.elapsed().unwrap().as_nanos()).unwrap());
    let seeds = std::iter::repeat_with(move || random.next());
    let count = number_of("PARLOR_SIM_SEEDS");
    if let (Some(first), Some(count)) = (number_of("PARLOR_SIM_FIRST"), count) {
        return Box::new(first..first + count);
    }
    match (count, number_of("PARLOR_SIM_SECONDS")) {
        (Some(count), _) => Box::new(seeds.take(usize::try_from(count).unwrap())),
        (None, Some(limit)) => {
            Box::new(seeds.take_while(move |_| start.elapsed().as_secs() < limit))
        }
        (None, None) => Box::new(1..=10),
    }
}

/// Runs seeds on as many threads as there are processors.
fn run_all(seeds: impl Iterator<Item = u64> + Send) -> (u64, Stats) {
    let seeds = Mutex::new(seeds);
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let work = || {
        let (mut count, mut sum) = (0, Stats::default());
        loop {
            let Some(seed) = seeds.lock().next() else { return (count, sum) };
            sum.add(&run(seed));
            count += 1;
        }
    };
    let (mut count, mut sum) = (0, Stats::default());
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        for thread in threads {
            let (runs, stats) = thread.join().expect("all seeds pass");
            count += runs;
            sum.add(&stats);
        }
    });
    (count, sum)
}

#[test]
fn cluster_heals_after_faults() {
    if let Some(seed) = number_of("PARLOR_SIM_SEED") {
        print_log(seed, usize::MAX);
        return;
    }
    let (count, sum) = run_all(seeds());
    println!("{count} seeds: {sum:?}");
    // The faults are there, and so is what heals them.
    let Stats { arrived, kicked, media, counters, .. } = sum;
    let Counters { provisional, resent, reaped, .. } = counters;
    assert!(
        [arrived, kicked, media, provisional, resent, reaped].iter().all(|count| *count > 0),
        "{sum:?}"
    );
}

#[test]
fn without_faults_nothing_is_repaired() {
    for seed in 1..=3 {
        let mut world = World::new(seed, 0);
        world.run();
        let Stats { signals, delivered, counters, .. } = world.stats;
        let Counters { connects, not_found, not_delivered, departed, .. } = counters;
        assert!(
            connects == NODES as u64 || connects == 2 * NODES as u64,
            "seed {seed}: {counters:?}"
        );
        assert_eq!(
            counters,
            Counters { connects, not_found, not_delivered, departed, ..Counters::default() },
            "seed {seed}"
        );
        // The others were sent to peers that were just leaving.
        assert!(
            signals > 5_000 && delivered * 100 > signals * 95,
            "seed {seed}: {delivered} of {signals}"
        );
    }
}

#[test]
fn audits_repair_what_no_log_entry_shows() {
    for seed in 1..=3 {
        let mut world = World::new(seed, 0);
        world.run_with_silent_changes();
        let Counters { differing, ghosts, reaped, .. } = world.stats.counters;
        assert!(differing > 0 && ghosts > 0 && reaped == 0, "seed {seed}: {:?}", world.stats);
    }
}
