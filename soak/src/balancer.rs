//! A load balancer: connections go to the healthy nodes in turn.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::sleep;

/// Time between two health checks.
const CHECK: Duration = Duration::from_millis(100);

struct Node {
    address: SocketAddr,
    is_healthy: AtomicBool,
}

/// A running load balancer. It ends when this is dropped.
pub(crate) struct Balancer {
    pub(crate) address: SocketAddr,
    _tasks: JoinSet<()>,
}

impl Balancer {
    pub(crate) async fn start(
        nodes: &[SocketAddr],
        http: &reqwest::Client,
    ) -> anyhow::Result<Self> {
        let nodes: Arc<[Node]> = nodes
            .iter()
            .map(|&address| Node { address, is_healthy: AtomicBool::new(true) })
            .collect();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let mut tasks = JoinSet::new();
        for index in 0..nodes.len() {
            tasks.spawn(check(Arc::clone(&nodes), index, http.clone()));
        }
        tasks.spawn(serve(listener, nodes));
        Ok(Self { address, _tasks: tasks })
    }
}

async fn check(nodes: Arc<[Node]>, index: usize, http: reqwest::Client) {
    let node = &nodes[index];
    let url = format!("http://{}/healthz", node.address);
    loop {
        let answer = http.get(&url).send().await;
        let is_healthy = answer.is_ok_and(|answer| answer.status() == 200);
        node.is_healthy.store(is_healthy, Ordering::Relaxed);
        sleep(CHECK).await;
    }
}

async fn serve(listener: TcpListener, nodes: Arc<[Node]>) {
    let turn = AtomicUsize::new(0);
    // They end with this task.
    let mut connections = JoinSet::new();
    while let Ok((mut near, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        let first = turn.fetch_add(1, Ordering::Relaxed);
        let nodes = Arc::clone(&nodes);
        connections.spawn(async move {
            let in_turn = nodes.iter().cycle().skip(first % nodes.len()).take(nodes.len());
            for node in in_turn.filter(|node| node.is_healthy.load(Ordering::Relaxed)) {
                if let Ok(mut far) = TcpStream::connect(node.address).await {
                    near.set_nodelay(true).ok();
                    far.set_nodelay(true).ok();
                    // An error on one side closes the other.
                    copy_bidirectional(&mut near, &mut far).await.ok();
                    return;
                }
            }
        });
    }
}
