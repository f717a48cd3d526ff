//! A deterministic simulation of a cluster: real nodes, with their rooms, links and replicas, under
//! simulated time, over a model of the engine. Clients join, leave and send signals while nodes,
//! connections and the engine fail.
//!
//! A seed is a run. The seeds are 1 to 10 and those that have failed once, or those that the
//! environment asks for:
//!
//! - `PARLOR_SIM_SEED=n`: this seed alone, with a log of everything that happens;
//! - `PARLOR_SIM_SEEDS=n`: so many random seeds, or with `PARLOR_SIM_FIRST=m` those from `m` on; and
//!   those that have failed once;
//! - `PARLOR_SIM_SECONDS=n`: random seeds for so many seconds.
//!
//! `PARLOR_SIM_NODES=n` counts what so many nodes cost the engine, in place of 10 and 100.
//!
//! A seed that fails does not stop the others. At the end the first of them is run again with its
//! log, of which the end is printed, and all of them are listed.

mod actions;
mod checks;
mod client;
mod costs;
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
use std::time::{Duration, Instant, UNIX_EPOCH};

use parking_lot::Mutex;
use parlor::cluster::frame::TrafficKind;
use parlor::cluster::node::Counters;

use self::random::Random;
use self::stats::Stats;
use self::world::{CAPACITY, NODES, World};

/// Seeds that have failed once. What happens in them has changed with the simulation since.
const FAILED: [u64; 19] = [
    3,
    10,
    18,
    30,
    48,
    75,
    249,
    271,
    294,
    362,
    509,
    813,
    1072,
    1222,
    1250,
    1369,
    1561,
    2_488_761_386_363_761_826,
    7_711_790_329_758_956_082,
];

/// A seed that has failed, and why.
#[derive(Debug)]
struct Failure {
    seed: u64,
    reason: String,
}

/// Runs a seed.
fn run(seed: u64) -> Result<Stats, Failure> {
    let mut world = World::new(seed, 0);
    match catch_unwind(AssertUnwindSafe(|| world.run_with_faults())) {
        Ok(()) => Ok(world.stats),
        Err(panic) => {
            let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
            let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
            let reason = text.unwrap_or_default();
            println!("seed {seed} failed: {reason}");
            Err(Failure { seed, reason })
        }
    }
}

/// Runs a seed, and prints the last lines of its log. Returns whether it passed.
fn print_log(seed: u64, lines: usize) -> bool {
    let mut world = World::new(seed, lines);
    let outcome = catch_unwind(AssertUnwindSafe(|| world.run_with_faults()));
    for line in &world.log {
        println!("{line}");
    }
    println!("seed {seed}: {:?}, passed: {}", world.stats, outcome.is_ok());
    outcome.is_ok()
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
        let range = first..first + count;
        let others = FAILED.into_iter().filter({
            let range = range.clone();
            move |failed| !range.contains(failed)
        });
        return Box::new(range.chain(others));
    }
    match (count, number_of("PARLOR_SIM_SECONDS")) {
        (Some(count), _) => {
            Box::new(FAILED.into_iter().chain(seeds.take(usize::try_from(count).unwrap())))
        }
        (None, Some(limit)) => {
            Box::new(seeds.take_while(move |_| start.elapsed().as_secs() < limit))
        }
        (None, None) => Box::new((1..=10).chain(FAILED.into_iter().filter(|failed| *failed > 10))),
    }
}

/// Runs seeds on as many threads as there are processors. Fails if any of them does, after all.
fn run_all(seeds: impl Iterator<Item = u64> + Send) -> (u64, Stats) {
    let seeds = Mutex::new(seeds);
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let work = || {
        let (mut count, mut sum, mut failures) = (0, Stats::default(), Vec::new());
        loop {
            let Some(seed) = seeds.lock().next() else { return (count, sum, failures) };
            match run(seed) {
                Ok(stats) => sum.add(&stats),
                Err(failure) => failures.push(failure),
            }
            count += 1;
        }
    };
    let (mut count, mut sum, mut failures) = (0, Stats::default(), Vec::new());
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        for thread in threads {
            let (runs, stats, failed) = thread.join().expect("failures of seeds are caught");
            count += runs;
            sum.add(&stats);
            failures.extend(failed);
        }
    });
    failures.sort_by_key(|failure| failure.seed);
    if let Some(first) = failures.first() {
        print_log(first.seed, 4_000);
        println!("{count} seeds, without those that failed: {sum:?}");
        for Failure { seed, reason } in &failures {
            println!("seed {seed} failed: {reason}");
        }
        let list: Vec<u64> = failures.iter().map(|failure| failure.seed).collect();
        panic!("{} of {count} seeds failed, run each with PARLOR_SIM_SEED: {list:?}", list.len());
    }
    (count, sum)
}

#[test]
fn cluster_heals_after_faults() {
    if let Some(seed) = number_of("PARLOR_SIM_SEED") {
        assert!(print_log(seed, usize::MAX), "seed {seed} failed");
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

/// Runs a cluster of so many nodes, then restarts its engine. Prints what that costs the engine, and
/// checks that nothing grows with the number of nodes but the beats, and the requests after the
/// restart.
fn count_costs(nodes: usize) {
    let mut world = World::of_nodes(nodes);
    let time = Duration::from_secs(20);
    world.run_for(time);
    let costs = std::mem::take(&mut world.costs);
    let signals = u64::try_from(world.ledger.signals()).unwrap();
    world.restart_engine_at_once();
    world.run_for(Duration::from_secs(4));
    let requests = world.costs.frames(TrafficKind::Link);
    let (syncs, audits) = (world.costs.script("sync").0, world.costs.script("audit").0);
    let count = |count: u64| f64::from(u32::try_from(count).unwrap());
    let per = |(calls, entries): (u64, u64)| count(entries) / count(calls);
    let members = ["join", "leave"].map(|name| costs.script(name));
    let (joins, leaves) = (members[0].0, members[1].0);
    let published = costs.frames(TrafficKind::Signal);
    println!(
        "{nodes} nodes, {signals} signals, {joins} joins, {leaves} leaves: \
         {:.2} publishes per signal, {:.2} entries per join, {:.2} per leave, {:.0} beats/s; \
         after a restart of the engine {requests} requests for frames, {syncs} syncs, {audits} audits",
        count(published) / count(signals),
        per(members[0]),
        per(members[1]),
        count(costs.script("beat").0) / time.as_secs_f64(),
    );
    println!("{costs:?}");
    assert!(published <= signals, "one publish per signal at most");
    // A room has members on so many nodes at most, and its media on another.
    let concerned = count(u64::try_from(nodes.min(CAPACITY + 1)).unwrap());
    assert!(members.into_iter().all(|counts| per(counts) <= concerned), "entries go to no others");
    let nodes = u64::try_from(nodes).unwrap();
    assert!(costs.script("beat").0 <= nodes * (time.as_secs() / 2 + 1), "a beat every two seconds");
    assert!(requests >= nodes * (nodes - 1), "each node asks each other for what it has missed");
    assert!(requests <= 2 * nodes * (nodes - 1));
}

#[test]
fn costs_of_a_cluster_do_not_grow_with_its_nodes() {
    match number_of("PARLOR_SIM_NODES") {
        Some(nodes) => count_costs(usize::try_from(nodes).unwrap()),
        None => [10, 100].into_iter().for_each(count_costs),
    }
}
