//! Nodes of a cluster beside one server alone: what a signal within a node, a signal between nodes
//! and a join cost, and ten thousand rooms over three nodes.
//!
//! All nodes and the engine run on the core for servers, the load on the other; for the times of
//! joins all share both cores. CPU times are those of all nodes together; that of the engine is a
//! figure of its own.

use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

use crate::clients::{Clients, Waiting};
use crate::environment;
use crate::joining::disconnect_all;
use crate::pinning::{Cores, stay_on};
use crate::report::{number, table};
use crate::server::{PARLOR, Programs, Server, free_port, path};
use crate::work::joins;
use crate::work::many_rooms::ManyRooms;
use crate::work::relay::{CANDIDATE, Mode, Pairs};
use crate::work::{Outcome, Window};

/// Signals in flight of the one pair that is measured.
const IN_FLIGHT: [usize; 2] = [1, 8];

/// Maximum time until nodes have found each other.
const AGREEMENT: Duration = Duration::from_secs(30);

/// Pairs, and rooms of each, of the work over three nodes.
const MANY: (usize, usize) = (2500, 4);

/// The wanted ratios: a signal between nodes with one and with eight in flight, and a join.
const WANTED: ([f64; 2], f64) = ([3.5, 2.0], 5.0);

/// The figures of one round.
#[derive(Debug, Default, Clone)]
struct Round {
    alone: [Signal; 2],
    within: [Signal; 2],
    between: [Signal; 2],
    /// In microseconds.
    join_alone: f64,
    join_within: f64,
    join_between: f64,
    /// Time of a script of the engine while joins are measured, as it counts it.
    script: f64,
}

/// Costs of a signal, in microseconds.
#[derive(Debug, Default, Clone, Copy)]
struct Signal {
    cpu: f64,
    p50: f64,
    engine_cpu: f64,
    publishes: f64,
}

/// Measures everything, and returns the tables.
pub(crate) fn run(
    programs: &Programs,
    cores: Cores,
    rounds: usize,
    quick: bool,
) -> anyhow::Result<String> {
    let counts = if quick { [2_000, 8_000] } else { [30_000, 120_000] };
    let rooms = if quick { 100 } else { 1_000 };
    let load_before = load()?;
    let mut all = Vec::new();
    for round in 1..=rounds {
        eprintln!("bench: round {round} of {rounds}");
        all.push(measure(programs, cores, counts, rooms)?);
    }
    eprintln!("bench: many rooms over three nodes");
    let many = many_rooms(programs, cores, if quick { 200 } else { MANY.0 })?;
    let mut text = signals(&all);
    let script = number(median(all.iter().map(|round| round.script)));
    writeln!(text, "\nA join or leave is one script, which takes Redis {script} µs.\n\n{many}")?;
    writeln!(
        text,
        "Medians of {rounds} rounds, a ratio is computed within each round. Load of the machine (one minute) {load_before} before and {} after.\n",
        load()?
    )?;
    let environment = environment::all(programs, false)?;
    let rows = environment.into_iter().map(|(name, value)| vec![name, value]);
    text.push_str(&table(&["what", "which"], rows));
    Ok(text)
}

fn load() -> anyhow::Result<String> {
    Ok(fs::read_to_string("/proc/loadavg")?.split(' ').next().unwrap_or_default().to_owned())
}

fn measure(
    programs: &Programs,
    cores: Cores,
    counts: [u64; 2],
    rooms: usize,
) -> anyhow::Result<Round> {
    let mut round = Round::default();
    let own = &[cores.server];
    {
        let server = Server::start(&PARLOR, programs, own, &[])?;
        round.alone = relay(&server, &addresses(&server), None, counts)?;
        server.stop()?;
    }
    {
        let engine = Engine::start(own)?;
        let nodes = start_nodes(programs, own, &engine, 2)?;
        let one = Server::attach(nodes.address, nodes.id().as_raw());
        round.within = relay(&one, &addresses(&one), Some(&engine), counts)?;
        round.between = relay(&nodes, &addresses(&nodes), Some(&engine), counts)?;
        nodes.stop()?;
    }
    // With all on one core, a join would wait for a node that is not concerned.
    let both = &[cores.server, cores.load];
    stay_on(both)?;
    {
        let server = Server::start(&PARLOR, programs, both, &[])?;
        round.join_alone = join(addresses(&server), rooms)?;
        server.stop()?;
    }
    let engine = Engine::start(both)?;
    let nodes = start_nodes(programs, both, &engine, 2)?;
    round.join_within = join(vec![nodes.address], rooms)?;
    let before = engine.scripts()?;
    round.join_between = join(addresses(&nodes), rooms)?;
    let after = engine.scripts()?;
    round.script = (after.1 - before.1) as f64 / (after.0 - before.0) as f64;
    nodes.stop()?;
    cores.apart()?;
    Ok(round)
}

fn addresses(nodes: &Server) -> Vec<SocketAddr> {
    std::iter::once(nodes).chain(&nodes.others).map(|node| node.address).collect()
}

/// Relays signals of one pair, with one and with eight in flight.
fn relay(
    server: &Server,
    addresses: &[SocketAddr],
    engine: Option<&Engine>,
    counts: [u64; 2],
) -> anyhow::Result<[Signal; 2]> {
    let mut signals = [Signal::default(); 2];
    for ((signal, in_flight), count) in signals.iter_mut().zip(IN_FLIGHT).zip(counts) {
        let mut clients = Clients::over(PARLOR.dialect, addresses.to_vec(), Waiting::Spins)?;
        let mut pairs = Pairs::join(&mut clients, 1, CANDIDATE)?;
        // Warms up.
        pairs.relay(&mut clients, server, in_flight, Mode::Counted(count / 10))?;
        let before = engine.map(Engine::sample).transpose()?;
        let outcome = pairs.relay(&mut clients, server, in_flight, Mode::Counted(count))?;
        signal.cpu = outcome.cpu_micros();
        signal.p50 = outcome.latency_micros(0.5);
        if let (Some(engine), Some((publishes, cpu))) = (engine, before) {
            let (publishes_after, cpu_after) = engine.sample()?;
            signal.publishes = (publishes_after - publishes) as f64 / outcome.count as f64;
            let spent = cpu_after.saturating_sub(cpu);
            signal.engine_cpu = spent.as_secs_f64() * 1e6 / outcome.count as f64;
        }
        disconnect_all(&mut clients)?;
    }
    Ok(signals)
}

/// Returns the median time of a join, in microseconds.
fn join(addresses: Vec<SocketAddr>, rooms: usize) -> anyhow::Result<f64> {
    let mut clients = Clients::over(PARLOR.dialect, addresses, Waiting::Sleeps)?;
    let latency = joins::measure(&mut clients, rooms)?;
    disconnect_all(&mut clients)?;
    Ok(latency.value_at_quantile(0.5) as f64 / 1000.0)
}

/// Measures signals among many rooms, the two peers of each on different ones of three nodes.
fn many_rooms(programs: &Programs, cores: Cores, pairs: usize) -> anyhow::Result<String> {
    let own = &[cores.server];
    let engine = Engine::start(own)?;
    let nodes = start_nodes(programs, own, &engine, 3)?;
    let (memory, engine_memory) = (nodes.memory()?, engine.memory()?);
    let mut clients = Clients::over(PARLOR.dialect, addresses(&nodes), Waiting::Spins)?;
    let began = Instant::now();
    let mut many = ManyRooms::join(&mut clients, pairs, MANY.1, CANDIDATE)?;
    let joined = began.elapsed();
    let window = Window { warm_up: Duration::from_secs(1), length: Duration::from_secs(5) };
    let before = engine.sample()?;
    let outcome: Outcome = many.relay(&mut clients, &nodes, 64, window)?;
    let after = engine.sample()?;
    let rooms = pairs * MANY.1;
    let listed = engine.rooms()?;
    ensure!(listed == rooms, "{listed} rooms in the engine, not {rooms}");
    let (grown, engine_grown) = (nodes.memory()? - memory, engine.memory()? - engine_memory);
    disconnect_all(&mut clients)?;
    let until = Instant::now() + AGREEMENT;
    while engine.rooms()? > 0 {
        ensure!(Instant::now() < until, "rooms are left in the engine");
        std::thread::sleep(Duration::from_millis(50));
    }
    let text = format!(
        "{} rooms over three nodes, the two peers of each on different ones, {} connections: all joined after {} s ({} joins a second), {} KiB in all nodes and {:.2} KiB in the engine for each room. With 64 signals in flight in turn through all rooms {} µs of the nodes' CPU time for each signal, {} a second; the engine was busy for {} s of {} s. After the last client had left, no room was left.\n",
        number(rooms as f64),
        number(pairs as f64 * 2.0),
        number(joined.as_secs_f64()),
        number(rooms as f64 * 2.0 / joined.as_secs_f64()),
        number(grown as f64 / rooms as f64),
        engine_grown as f64 / 1024.0 / rooms as f64,
        number(outcome.cpu_micros()),
        number(outcome.per_second()),
        number(after.1.saturating_sub(before.1).as_secs_f64()),
        number(window.whole().as_secs_f64()),
    );
    nodes.stop()?;
    Ok(text)
}

/// Starts nodes, and waits until they are one cluster. The first has the others.
fn start_nodes(
    programs: &Programs,
    cores: &[usize],
    engine: &Engine,
    count: usize,
) -> anyhow::Result<Server> {
    let start = |index: usize| {
        let settings = [
            "env".to_owned(),
            format!("CLUSTER_URL=redis://{}", engine.address),
            format!("CLUSTER_NODE=node-{index}"),
        ];
        Server::start(&PARLOR, programs, cores, &settings)
    };
    let mut first = start(0)?;
    for index in 1..count {
        first.others.push(start(index)?);
    }
    let until = Instant::now() + AGREEMENT;
    for node in std::iter::once(&first).chain(&first.others) {
        let agreed = format!("\"nodes\":{count},\"engine\":\"connected\"");
        while !ask(node.address, "GET /health HTTP/1.0\r\n\r\n")?.replace(' ', "").contains(&agreed)
        {
            ensure!(Instant::now() < until, "the nodes do not agree");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    Ok(first)
}

/// Sends something, and returns all that is received until the end.
fn ask(address: SocketAddr, request: &str) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// A redis-server without persistence. It is killed when this is dropped.
struct Engine {
    child: Child,
    address: SocketAddr,
}

impl Engine {
    fn start(cores: &[usize]) -> anyhow::Result<Self> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
        let cores: Vec<_> = cores.iter().map(usize::to_string).collect();
        let mut child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "taskset", "-c", &cores.join(",")])
            .args(["redis-server", "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .args(["--port", &address.port().to_string()])
            .env_clear()
            .env("PATH", path())
            .current_dir(std::env::temp_dir())
            .stdout(Stdio::null())
            .spawn()
            .context("redis-server does not start")?;
        let until = Instant::now() + AGREEMENT;
        while TcpStream::connect(address).is_err() {
            if let Some(status) = child.try_wait()? {
                bail!("redis-server ended with {status}");
            }
            ensure!(Instant::now() < until, "redis-server does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(Self { child, address })
    }

    /// Returns the number of executed PUBLISH commands, and the CPU time.
    fn sample(&self) -> anyhow::Result<(u64, Duration)> {
        let stats = ask(self.address, "INFO commandstats\r\nQUIT\r\n")?;
        let calls = stats.lines().find_map(|line| line.strip_prefix("cmdstat_publish:calls="));
        let calls = calls.and_then(|rest| rest.split(',').next()).map_or(Ok(0), str::parse)?;
        let process = i32::try_from(self.child.id())?;
        Ok((calls, Server::attach(self.address, process).cpu()?))
    }

    /// Returns the number of executed scripts, and their time in microseconds.
    fn scripts(&self) -> anyhow::Result<(u64, u64)> {
        let stats = ask(self.address, "INFO commandstats\r\nQUIT\r\n")?;
        let line = stats.lines().find_map(|line| line.strip_prefix("cmdstat_evalsha:calls="));
        let (calls, rest) =
            line.and_then(|line| line.split_once(",usec=")).context("scripts ran")?;
        let micros = rest.split(',').next().unwrap_or_default();
        Ok((calls.parse()?, micros.parse()?))
    }

    /// Returns the memory in use, in bytes.
    fn memory(&self) -> anyhow::Result<u64> {
        let stats = ask(self.address, "INFO memory\r\nQUIT\r\n")?;
        let used = stats.lines().find_map(|line| line.strip_prefix("used_memory:"));
        Ok(used.context("the engine tells its memory")?.trim().parse()?)
    }

    fn rooms(&self) -> anyhow::Result<usize> {
        let reply = ask(self.address, "ZCARD parlor:1:rooms\r\nQUIT\r\n")?;
        let count = reply.strip_prefix(':').and_then(|rest| rest.lines().next());
        Ok(count.with_context(|| reply.clone())?.parse()?)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn signals(rounds: &[Round]) -> String {
    let of = |figure: &dyn Fn(&Round) -> f64| median(rounds.iter().map(figure));
    let mut rows = Vec::new();
    let mut row = |what: String,
                   alone: &dyn Fn(&Round) -> f64,
                   cluster: &dyn Fn(&Round) -> f64,
                   wanted: Option<f64>| {
        let ratio = median(rounds.iter().map(|round| cluster(round) / alone(round)));
        let verdict = match wanted {
            Some(wanted) if ratio <= wanted => format!("≤ {wanted:.1}: yes"),
            Some(wanted) => format!("≤ {wanted:.1}: **no**"),
            None => String::new(),
        };
        rows.push(vec![what, number(of(alone)), number(of(cluster)), number(ratio), verdict]);
    };
    for (index, in_flight) in IN_FLIGHT.into_iter().enumerate() {
        let alone = move |round: &Round| round.alone[index].cpu;
        row(
            format!("CPU µs, signal within a node, {in_flight} in flight"),
            &alone,
            &move |round| round.within[index].cpu,
            Some(1.1),
        );
        row(
            format!("CPU µs, signal between two nodes, {in_flight} in flight"),
            &alone,
            &move |round| round.between[index].cpu,
            Some(WANTED.0[index]),
        );
    }
    row(
        "p50 µs, signal between two nodes, 1 in flight".to_owned(),
        &|round| round.alone[0].p50,
        &|round| round.between[0].p50,
        None,
    );
    row(
        "p50 µs, join within a node".to_owned(),
        &|round| round.join_alone,
        &|round| round.join_within,
        None,
    );
    row(
        "p50 µs, join to a peer on another node".to_owned(),
        &|round| round.join_alone,
        &|round| round.join_between,
        Some(WANTED.1),
    );
    let mut text = table(&["what", "one server", "cluster", "ratio", "wanted"], rows);
    let engine = IN_FLIGHT.into_iter().enumerate().map(|(index, in_flight)| {
        vec![
            format!("signal between two nodes, {in_flight} in flight"),
            format!("{:.3}", of(&move |round| round.between[index].publishes)),
            number(of(&move |round| round.between[index].engine_cpu)),
            format!("{:.3}", of(&move |round| round.within[index].publishes)),
        ]
    });
    text.push('\n');
    text.push_str(&table(
        &[
            "",
            "publishes for each",
            "CPU µs of the engine",
            "publishes for each signal within a node",
        ],
        engine,
    ));
    text
}
