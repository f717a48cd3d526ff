//! A TCP proxy between nodes and their engine, which delays, holds, cuts or refuses connections.
//!
//! All nodes have to name the same address of the engine, so the user in their URLs identifies
//! them, which each connection sends first.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

/// The state of the network between a node and the engine.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Network {
    /// How much later each byte arrives, in either direction.
    pub(crate) delay: Duration,
    /// Whether what the node sends does not arrive for now.
    pub(crate) holds_requests: bool,
    /// Whether what the engine sends does not arrive for now.
    pub(crate) holds_replies: bool,
    /// Whether connections are closed, and new ones as well.
    pub(crate) is_down: bool,
}

/// A network, and how often its connections were closed.
#[derive(Debug, Clone, Copy, Default)]
struct State {
    network: Network,
    cuts: u32,
}

impl Network {
    fn holds(self, direction: Direction) -> bool {
        match direction {
            Direction::ToEngine => self.holds_requests,
            Direction::ToNode => self.holds_replies,
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Direction {
    ToEngine,
    ToNode,
}

type Networks = BTreeMap<String, (watch::Sender<State>, AtomicUsize)>;

/// A proxy that ends with its test.
pub(crate) struct Proxy {
    address: SocketAddr,
    networks: Arc<Networks>,
}

impl Proxy {
    /// Starts a proxy to an engine for the nodes of these users.
    pub(crate) async fn start(engine: SocketAddr, users: &[&str]) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let network = |user: &&str| {
            ((*user).to_owned(), (watch::Sender::new(State::default()), AtomicUsize::new(0)))
        };
        let networks: Arc<Networks> = Arc::new(users.iter().map(network).collect());
        let accepting = Arc::clone(&networks);
        tokio::spawn(async move {
            while let Ok((node, _)) = listener.accept().await {
                let networks = Arc::clone(&accepting);
                tokio::spawn(async move { serve(node, engine, &networks).await });
            }
        });
        Self { address, networks }
    }

    /// Returns the URL of the engine for the node of a user.
    pub(crate) fn url(&self, user: &str) -> String {
        format!("redis://{user}:password@{}", self.address)
    }

    /// Changes the network of a node.
    pub(crate) fn set(&self, user: &str, network: Network) {
        self.networks[user].0.send_modify(|state| state.network = network);
    }

    /// Closes the connections of a node, which may connect again at once.
    pub(crate) fn cut(&self, user: &str) {
        self.networks[user].0.send_modify(|state| state.cuts += 1);
    }

    /// Returns how many connections of a node were passed on.
    pub(crate) fn connections(&self, user: &str) -> usize {
        self.networks[user].1.load(Ordering::Relaxed)
    }
}

async fn serve(mut node: TcpStream, engine: SocketAddr, networks: &Networks) {
    let mut first = vec![0; 4096];
    let Ok(length @ 1..) = node.read(&mut first).await else { return };
    first.truncate(length);
    let names = |user: &str| {
        let argument = format!("\r\n{user}\r\n");
        first.windows(argument.len()).any(|window| window == argument.as_bytes())
    };
    let (_, (state, count)) = networks
        .iter()
        .find(|(user, _)| names(user))
        .expect("a connection begins with the user of a node");
    let mut state = state.subscribe();
    let State { network, cuts } = *state.borrow();
    if network.is_down {
        return;
    }
    let Ok(engine) = TcpStream::connect(engine).await else { return };
    count.fetch_add(1, Ordering::Relaxed);
    for stream in [&node, &engine] {
        stream.set_nodelay(true).unwrap();
    }
    let (from_node, to_node) = node.into_split();
    let (from_engine, to_engine) = engine.into_split();
    let (up, down) = (state.clone(), state.clone());
    tokio::select! {
        () = pass(first, from_node, to_engine, up, Direction::ToEngine) => {}
        () = pass(Vec::new(), from_engine, to_node, down, Direction::ToNode) => {}
        _ = state.wait_for(|state| state.network.is_down || state.cuts > cuts) => {}
    }
}

/// Passes bytes on until the sender has closed, or the receiver.
async fn pass(
    first: Vec<u8>,
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut state: watch::Receiver<State>,
    direction: Direction,
) {
    let delay = state.clone();
    let (queue, mut queued) = mpsc::channel(1024);
    let reading = async move {
        let mut chunk = first;
        loop {
            let due = Instant::now() + delay.borrow().network.delay;
            if queue.send((due, std::mem::take(&mut chunk))).await.is_err() {
                return;
            }
            chunk.resize(16 * 1024, 0);
            let Ok(length @ 1..) = from.read(&mut chunk).await else { return };
            chunk.truncate(length);
        }
    };
    let writing = async move {
        while let Some((due, chunk)) = queued.recv().await {
            sleep_until(due).await;
            _ = state.wait_for(|state| !state.network.holds(direction)).await;
            if to.write_all(&chunk).await.is_err() {
                return;
            }
        }
    };
    tokio::join!(reading, writing);
}
