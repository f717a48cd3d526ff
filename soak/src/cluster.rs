//! The soak over a cluster: three nodes, a Redis and a load balancer. A rolling restart of all
//! nodes begins every minute; no call may notice, and nothing may be left of it.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep, timeout};

use crate::balancer::Balancer;
use crate::server::{Held, Server};
use crate::tally::Count;
use crate::world::{Phase, World};
use crate::{actors, verdict};

const NODES: [&str; 3] = ["one", "two", "three"];

/// Time between the beginnings of two rolling restarts.
const INTERVAL: Duration = Duration::from_mins(1);

/// Maximum length of a rolling restart: the rest of a phase must be as long.
const RESTART: Duration = Duration::from_secs(30);

/// Maximum time until all nodes are one cluster.
const AGREEMENT: Duration = Duration::from_secs(30);

/// The share of the run before the first restart, and its minimum length.
const WARM_UP: f64 = 0.2;
const SHORTEST_WARM_UP: Duration = Duration::from_secs(30);

/// Maximum growth of the engine's memory between two idle moments, in bytes: more than that of its
/// client buffers.
const ENGINE_GROWTH: u64 = 1 << 20;

/// Growth of a node's memory that is tolerated, in KiB: the nodes have restarted, so that those
/// that are compared have not served the same calls.
const NODE_GROWTH: u64 = 4 << 10;

const EXERCISED: [Count; 6] = [
    Count::Calls,
    Count::Delivered,
    Count::Drops,
    Count::Resumed,
    Count::Restarts,
    Count::Rejoined,
];

/// Runs everything; returns whether there were no violations.
pub(crate) async fn run(
    program: &Path,
    length: Duration,
    seed: u64,
    logs: Option<PathBuf>,
) -> anyhow::Result<bool> {
    // Its requests are for the nodes, not for the load balancer.
    let probe = World::new(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), seed)?;
    let redis = Redis::start().await?;
    let mut nodes = Nodes::start(program, &redis, logs)?;
    nodes.agree(&probe).await?;
    let balancer = Balancer::start(&nodes.addresses(), &probe.http).await?;
    let world = Arc::new(World::new(balancer.address, seed)?);
    println!(
        "soak: {:.1} minutes of three nodes of {} behind {}, --seed {seed}",
        length.as_secs_f64() / 60.0,
        program.display(),
        world.address
    );

    let start = Moment::sample(&world, &nodes, &redis).await?;
    let warm_up = length.mul_f64(WARM_UP).max(SHORTEST_WARM_UP);
    actors::on_cluster(&world, &Phase::begin("warm-up", warm_up)).await;
    let warm = Moment::settled(&world, &nodes, &redis, &start).await?;
    warm.compare(&world, "after the warm-up", &start);
    println!("soak: warmed up, {}", warm.memory());

    let phase = Phase::begin("main part", length.saturating_sub(warm_up));
    let traffic = actors::on_cluster(&world, &phase);
    let (restarted, ()) = tokio::join!(nodes.restart_during(&world, &phase), traffic);
    restarted.context("a rolling restart")?;
    let end = Moment::settled(&world, &nodes, &redis, &start).await?;
    end.compare(&world, "at the end", &start);
    verdict::memory(&world.tally, warm.largest(), end.largest(), NODE_GROWTH);
    if end.keys != warm.keys {
        let (now, then) = (end.keys, warm.keys);
        world.tally.violation(format!("{now} keys in the engine, {then} after the warm-up"));
    }
    if end.engine > warm.engine + ENGINE_GROWTH {
        let grown = format!("from {} to {} bytes", warm.engine, end.engine);
        world.tally.violation(format!("the engine's memory has grown {grown}"));
    }
    verdict::exercised(&world.tally, &EXERCISED);
    nodes.stop_all(&world).await?;

    print!("{}", world.tally.report());
    println!("  memory                {}, at the end {}", warm.memory(), end.memory());
    Ok(world.tally.violated() == 0)
}

/// Contents of the cluster at an idle moment.
struct Moment {
    held: Vec<Held>,
    /// Resident memory of each node, in KiB.
    resident: Vec<u64>,
    /// Memory that the engine uses, in bytes.
    engine: u64,
    /// Number of keys in the engine.
    keys: u64,
}

impl Moment {
    async fn sample(world: &World, nodes: &Nodes<'_>, redis: &Redis) -> anyhow::Result<Self> {
        let mut held = Vec::new();
        for node in &nodes.running {
            held.push(Held::ask(world, node).await?);
        }
        Self::with(held, nodes, redis).await
    }

    async fn with(held: Vec<Held>, nodes: &Nodes<'_>, redis: &Redis) -> anyhow::Result<Self> {
        let mut resident = Vec::new();
        for node in &nodes.running {
            resident.push(node.memory().await?);
        }
        let info = redis.ask("INFO memory").await?;
        let used = info.lines().find_map(|line| line.strip_prefix("used_memory:"));
        let engine = used.context("the engine tells its memory")?.trim().parse()?;
        let keys = redis.ask("DBSIZE").await?.trim().trim_start_matches(':').parse()?;
        Ok(Self { held, resident, engine, keys })
    }

    /// Waits until each node holds as little as at the start, and samples.
    async fn settled(
        world: &World,
        nodes: &Nodes<'_>,
        redis: &Redis,
        start: &Self,
    ) -> anyhow::Result<Self> {
        let mut held = Vec::new();
        for (node, start) in nodes.running.iter().zip(&start.held) {
            held.push(node.settled(world, start).await?);
        }
        Self::with(held, nodes, redis).await
    }

    fn compare(&self, world: &World, when: &str, start: &Self) {
        for ((name, held), start) in NODES.iter().zip(&self.held).zip(&start.held) {
            for difference in held.differences(start) {
                world.tally.violation(format!("{when}: node {name}: {difference}"));
            }
            match held.metrics.sum("parlor_panics_total", "") {
                Some(0.0) => {}
                panics => world
                    .tally
                    .violation(format!("{when}: node {name}: parlor_panics_total is {panics:?}")),
            }
            for gauge in ["gaps", "fenced", "repairs"] {
                let counter = format!("parlor_cluster_{gauge}_total");
                if held.metrics.sum(&counter, "") != Some(0.0) {
                    world.tally.violation(format!("{when}: node {name}: {counter} is not 0"));
                }
            }
        }
    }

    fn largest(&self) -> u64 {
        self.resident.iter().copied().max().unwrap_or_default()
    }

    fn memory(&self) -> String {
        format!("nodes {:?} KiB, engine {} KiB", self.resident, self.engine / 1024)
    }
}

/// The nodes, which keep their addresses.
struct Nodes<'a> {
    program: &'a Path,
    engine: String,
    logs: Option<PathBuf>,
    running: Vec<Server>,
}

impl<'a> Nodes<'a> {
    fn start(program: &'a Path, redis: &Redis, logs: Option<PathBuf>) -> anyhow::Result<Self> {
        let engine = format!("--cluster-url=redis://127.0.0.1:{}", redis.port);
        if let Some(folder) = &logs {
            std::fs::create_dir_all(folder)?;
        }
        let mut nodes = Self { program, engine, logs, running: Vec::new() };
        for name in NODES {
            nodes.running.push(nodes.start_one(name, 0)?);
        }
        Ok(nodes)
    }

    fn start_one(&self, name: &str, port: u16) -> anyhow::Result<Server> {
        let log = self.logs.as_ref().map(|folder| folder.join(format!("{name}.log")));
        let own = [
            self.engine.clone(),
            format!("--cluster-node={name}"),
            format!("--port={port}"),
            "--resume-seconds=10".to_owned(),
            "--shutdown-seconds=15".to_owned(),
        ];
        Server::start(self.program, &own, log.as_deref())
    }

    fn addresses(&self) -> Vec<SocketAddr> {
        self.running.iter().map(|node| node.address).collect()
    }

    /// Waits until all are one cluster.
    async fn agree(&self, world: &World) -> anyhow::Result<()> {
        let until = Instant::now() + AGREEMENT;
        for node in &self.running {
            loop {
                let health = node.health(&world.http).await?;
                let cluster = &health["cluster"];
                if cluster["nodes"] == NODES.len() && cluster["engine"] == "connected" {
                    break;
                }
                ensure!(Instant::now() < until, "the nodes do not agree: {health}");
                sleep(Duration::from_millis(20)).await;
            }
        }
        Ok(())
    }

    /// Restarts all nodes, one after the other, again and again.
    async fn restart_during(&mut self, world: &World, phase: &Phase) -> anyhow::Result<()> {
        let mut next = Instant::now();
        while phase.has_time_for(RESTART) {
            for (index, name) in NODES.into_iter().enumerate() {
                let node = self.running.remove(index);
                let address = node.address;
                stop(node, name, world).await?;
                self.running.insert(index, self.start_one(name, address.port())?);
                self.agree(world).await?;
                world.tally.add(Count::Restarts);
            }
            next += INTERVAL;
            if !phase.has_time_for(next.saturating_duration_since(Instant::now()) + RESTART) {
                break;
            }
            tokio::time::sleep_until(next).await;
        }
        Ok(())
    }

    async fn stop_all(&mut self, world: &World) -> anyhow::Result<()> {
        for (node, name) in self.running.drain(..).zip(NODES) {
            stop(node, name, world).await?;
        }
        Ok(())
    }
}

/// Stops a node like a service manager. It must end with code 0, without errors in its log.
async fn stop(node: Server, name: &str, world: &World) -> anyhow::Result<()> {
    let (status, errors) = tokio::task::spawn_blocking(|| node.stop()).await??;
    if status.code() != Some(0) {
        world.tally.violation(format!("node {name} ended with {status}"));
    }
    for error in errors {
        world.tally.violation(format!("node {name} logged {error}"));
    }
    Ok(())
}

/// A redis-server without persistence. It is killed when this is dropped.
struct Redis {
    child: Child,
    port: u16,
}

impl Redis {
    async fn start() -> anyhow::Result<Self> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?.local_addr()?.port();
        let child = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
            .args(["--save", "", "--appendonly", "no"])
            .current_dir(std::env::temp_dir())
            .stdout(Stdio::null())
            .spawn()
            .context("redis-server is installed: apt-get install redis-server")?;
        let redis = Self { child, port };
        let listens = async {
            while redis.ask("PING").await.is_err() {
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(AGREEMENT, listens).await.context("redis-server does not listen")?;
        Ok(redis)
    }

    /// Executes a command and returns its reply, of at most 64 KiB, unmodified.
    async fn ask(&self, command: &str) -> anyhow::Result<String> {
        let mut connection = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).await?;
        // The engine closes the connection after the second reply.
        connection.write_all(format!("{command}\r\nQUIT\r\n").as_bytes()).await?;
        let mut reply = String::new();
        connection.take(1 << 16).read_to_string(&mut reply).await?;
        let reply = reply.strip_suffix("+OK\r\n").context("the reply to QUIT")?;
        ensure!(!reply.starts_with('-'), "{command}: {reply}");
        Ok(reply.to_owned())
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
