//! Makes this server a node of a cluster.

use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout, timeout_at};
use tracing::{info, warn};

use crate::clock::Moment;
use crate::cluster::node::Settings;
use crate::cluster::redis::{
    self, EngineTarget, Engines, NodeIdentity, NodeLoad, RedisEngine, TargetError,
};
use crate::cluster::{Cluster, Engine, Host, Nodes};
use crate::config::Config;
use crate::lifecycle::Lifecycle;
use crate::request::proxies::Proxies;
use crate::room::LeaveReason;
use crate::session::Hub;
use crate::tls;
use crate::transport::hop::{FindNode, Hop};
use crate::transport::socketio::SocketIoEndpoint;

/// Maximum size of all frames that a node keeps to send them again.
const KEPT_BYTES: usize = 16 << 20;

/// How often a node does what is due.
const TICK: Duration = Duration::from_millis(50);

/// How long a node waits for its engines before it accepts connections, and how often it checks.
const READY: Duration = Duration::from_secs(2);
const READY_CHECK: Duration = Duration::from_millis(5);

/// How often rooms are removed that wait for their first peer for too long.
const SWEEP: Duration = Duration::from_secs(10);

/// How often the nodes are listed.
const LIST_INTERVAL: Duration = Duration::from_secs(30);

/// How often that is tried until the engine answers for the first time.
const FIRST_LIST: Duration = Duration::from_millis(20);

/// A setting of the cluster that is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// `CLUSTER_URL` names no engine.
    #[error("CLUSTER_URL: {0}")]
    Url(TargetError),
    /// The file of `CLUSTER_CA` cannot be read, or holds no certificates.
    #[error("CLUSTER_CA: {0}")]
    Authority(io::Error),
}

/// A cluster of which this server is a part.
pub(super) struct Membership {
    engines: Arc<Engines>,
    refused: mpsc::Receiver<String>,
}

/// Reads the settings of a cluster; `None` without `CLUSTER_URL`.
pub(super) fn targets(config: &Config) -> Result<Option<Vec<EngineTarget>>, ClusterError> {
    let settings = &config.cluster;
    let Some(engines) = &settings.cluster_url else { return Ok(None) };
    let authority =
        settings.cluster_ca.as_ref().map(fs::read).transpose().map_err(ClusterError::Authority)?;
    let targets = engines.urls().iter().map(|url| EngineTarget::new(url, authority.clone()));
    let targets = targets.collect::<Result<_, _>>().map_err(|error| match error {
        TargetError::Authority(error) => ClusterError::Authority(error),
        url @ TargetError::Url(_) => ClusterError::Url(url),
    })?;
    Ok(Some(targets))
}

/// Joins the cluster of these engines.
pub(super) fn start(
    config: &Config,
    targets: Vec<EngineTarget>,
    bound: SocketAddr,
    hub: &Arc<Hub>,
    lifecycle: &Lifecycle,
) -> Membership {
    tls::install_provider();
    let settings = &config.cluster;
    let lease = settings.cluster_lease_seconds;
    let name = settings.cluster_node.clone().unwrap_or_else(|| default_name(bound.port()));
    let all: Vec<&str> = targets.iter().map(EngineTarget::host).collect();
    let all = all.join(",");
    let scheme = if config.has_tls() { "https" } else { "http" };
    let (refuse, refused) = mpsc::channel(1);
    let (mut connections, mut wakes, mut links) = (Vec::new(), Vec::new(), Vec::new());
    for target in targets {
        let identity = NodeIdentity {
            prefix: settings.cluster_prefix.clone(),
            name: name.clone(),
            address: settings
                .cluster_address
                .clone()
                .unwrap_or_else(|| format!("{scheme}://{}", local(&target, bound))),
            engines: all.clone(),
            lease,
        };
        info!(
            node = identity.name,
            address = identity.address,
            engine = target.host(),
            "joining the cluster"
        );
        let (engine, link) = RedisEngine::new(identity, target, refuse.clone());
        let waking = Arc::clone(&link);
        connections.push(Box::new(engine) as Box<dyn Engine>);
        wakes.push(Box::new(move || waking.wake()) as Box<dyn Fn() + Send + Sync>);
        links.push(link);
    }
    let host = Arc::clone(hub) as Arc<dyn Host>;
    let nodes = Nodes::new(&host, connections, Settings { lease, kept_bytes: KEPT_BYTES });
    let cluster = Cluster::new(nodes, wakes, Moment::now);
    hub.set_cluster(Arc::clone(&cluster), lifecycle.clone());
    for (index, link) in links.iter().enumerate() {
        let stopping = lifecycle.clone();
        let serving = redis::run(Arc::clone(&cluster), index, Arc::clone(link), async move {
            stopping.stopping().await;
        });
        lifecycle.spawn_lasting(serving);
    }
    lifecycle.spawn_lasting(tick(Arc::clone(&cluster), lifecycle.clone()));
    for link in &links {
        let hub = Arc::downgrade(hub);
        link.set_load(move || hub.upgrade().map(|hub| load(&hub)).unwrap_or_default());
    }
    let engines = Arc::new(Engines::new(cluster, links, name));
    lifecycle.spawn_lasting(sweep(Arc::clone(&engines), lifecycle.clone()));
    Membership { engines, refused }
}

fn load(hub: &Hub) -> NodeLoad {
    let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    let (participants, connections) =
        (count(hub.rooms().counts().peers), count(hub.open_connections()));
    NodeLoad { participants, connections, is_draining: hub.is_draining() }
}

/// Lists the nodes of the cluster from time to time: the key of their requests to each other, and
/// their addresses.
async fn watch_nodes(engines: Arc<Engines>, proxies: Arc<Proxies>, lifecycle: Lifecycle) {
    loop {
        // Soon, until the engine answers for the first time.
        let delay = if engines.known_nodes().is_some() { LIST_INTERVAL } else { FIRST_LIST };
        tokio::select! {
            () = tokio::time::sleep(delay) => {}
            () = lifecycle.stopping() => return,
        }
        let Ok(table) = engines.list_nodes().await else { continue };
        proxies.hop_key().set(&table.secret);
        let hosts = table.nodes.iter().filter_map(|node| node.address.parse::<Uri>().ok());
        let addresses = hosts.filter_map(|uri| {
            let host = uri.host()?.trim_start_matches('[').trim_end_matches(']');
            // Nodes that are named by a host name count as clients.
            host.parse::<IpAddr>().ok().map(|address| address.to_canonical())
        });
        proxies.set_nodes(addresses.collect());
    }
}

/// Has the node do what is due.
async fn tick(cluster: Arc<Cluster>, lifecycle: Lifecycle) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => cluster.tick(),
            () = lifecycle.stopping() => return,
        }
    }
}

async fn sweep(engines: Arc<Engines>, lifecycle: Lifecycle) {
    let mut ticks = interval(SWEEP);
    loop {
        tokio::select! {
            _ = ticks.tick() => engines.sweep().await,
            () = lifecycle.stopping() => return,
        }
    }
}

impl Membership {
    pub(super) fn engines(&self) -> &Arc<Engines> {
        &self.engines
    }

    /// Forwards requests of polling clients to the nodes that have their sessions.
    pub(super) fn forward_polling(
        &self,
        endpoint: &SocketIoEndpoint,
        proxies: &Arc<Proxies>,
        hub: &Arc<Hub>,
        lifecycle: &Lifecycle,
    ) {
        let (engines, keys) = (Arc::clone(&self.engines), Arc::clone(proxies.hop_key()));
        let find: FindNode = Box::new(move |name, is_fresh| {
            let (engines, keys, name) = (Arc::clone(&engines), Arc::clone(&keys), name.to_owned());
            Box::pin(async move {
                let table = engines.nodes_with(&name, is_fresh).await?;
                keys.set(&table.secret);
                Some(table.nodes.iter().find(|node| node.name == name)?.address.clone())
            })
        });
        let (name, key) = (self.engines.name().to_owned(), Arc::clone(proxies.hop_key()));
        match Hop::new(name, find, key, Arc::clone(hub), lifecycle.clone()) {
            Ok(hop) => endpoint.set_hop(hop),
            Err(error) => warn!(%error, "cannot forward requests to other nodes"),
        }
        let watching =
            watch_nodes(Arc::clone(&self.engines), Arc::clone(proxies), lifecycle.clone());
        lifecycle.spawn_lasting(watching);
    }

    /// Returns a future that completes when this node is ready to take over sessions of other nodes:
    /// a client that reaches it before would lose its session. Completes at the latest after
    /// [`READY`], since without an engine a node serves its own clients.
    pub(super) fn ready(&self) -> impl Future<Output = ()> + use<> {
        let engines = Arc::clone(&self.engines);
        async move {
            let mut ticks = interval(READY_CHECK);
            let ready = async {
                while !engines.is_ready() {
                    ticks.tick().await;
                }
            };
            if timeout(READY, ready).await.is_err() {
                warn!("the cluster's engine does not answer, serving without it");
            }
        }
    }

    /// Resolves with the reason when this node may not be part of the cluster.
    pub(super) async fn refused(&mut self) -> String {
        match self.refused.recv().await {
            Some(why) => why,
            None => std::future::pending().await,
        }
    }

    /// Takes the peers that are left out of the cluster, and then this node, if the engines answer.
    pub(super) async fn leave(self, deadline: Instant) {
        let cluster = self.engines.cluster();
        cluster.leave_all(LeaveReason::TimedOut);
        let mut ticks = interval(Duration::from_millis(10));
        let left = timeout_at(deadline, async {
            while !cluster.is_idle() && self.engines.is_connected() {
                ticks.tick().await;
            }
            self.engines.bye().await;
        });
        if left.await.is_err() {
            warn!("cannot leave the cluster in time, it removes this node after its lease");
        }
        cluster.close();
    }
}

/// Returns the host name, with the port if that is not the default.
fn default_name(port: u16) -> String {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let mut name: String =
        host.trim().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    name.truncate(57);
    if name.is_empty() {
        name.push_str("parlor");
    }
    if port == 4000 { name } else { format!("{name}-{port}") }
}

/// Returns the local address by which an engine is reached, and the port of this server.
fn local(target: &EngineTarget, bound: SocketAddr) -> SocketAddr {
    if !bound.ip().is_unspecified() {
        return bound;
    }
    let reached = target.address().and_then(|address| {
        let any = if bound.is_ipv6() { "[::]:0" } else { "0.0.0.0:0" };
        let socket = UdpSocket::bind(any).ok()?;
        // No packet is sent: the system chooses the address.
        socket.connect(address).ok()?;
        socket.local_addr().ok()
    });
    SocketAddr::new(reached.map_or(bound.ip(), |reached| reached.ip()), bound.port())
}
