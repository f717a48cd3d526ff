//! The one place that wires everything: configuration in, a running server out.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tracing::{info, warn};

use crate::config::Config;
use crate::http::{self, Shared};
use crate::lifecycle::Lifecycle;
use crate::room::Rooms;
use crate::session::Hub;
use crate::transport::{listener, socketio, websocket};

/// How often rooms that wait for a first peer are looked at.
const SWEEP: Duration = Duration::from_secs(1);

/// A running server. Dropping it does not stop it: [`Server::shutdown`] does.
pub struct Server {
    hub: Arc<Hub>,
    socketio: socketio::Endpoint,
    lifecycle: Lifecycle,
    address: SocketAddr,
    shutdown_limit: Duration,
}

/// What a server still holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// Rooms.
    pub rooms: usize,
    /// Peers in them.
    pub peers: usize,
    /// Open sessions.
    pub sessions: usize,
    /// Engine.IO connections known by their session id.
    pub links: usize,
    /// Running tasks of ours, those that serve for as long as the server runs left out.
    pub tasks: usize,
}

impl Held {
    /// Nothing at all.
    pub const NOTHING: Self = Self { rooms: 0, peers: 0, sessions: 0, links: 0, tasks: 0 };
}

impl Server {
    /// Tasks that run for as long as the server: the accept loop and the sweep.
    const LASTING_TASKS: usize = 2;

    /// Binds the port and serves.
    pub fn bind(config: Config) -> io::Result<Self> {
        let listener = listener::bind(&config.network.host, config.network.port)?;
        let address = listener.local_addr()?;
        let lifecycle = Lifecycle::default();
        let hub = Arc::new(Hub::new(Rooms::new(config.room_limits())));
        let socketio = socketio::Endpoint::new(Arc::clone(&hub), lifecycle.clone(), socketio_settings(&config));
        let (header_timeout, shutdown_limit) = (config.times.handshake_timeout_seconds, config.times.shutdown_seconds);
        let websocket_settings = websocket_settings(&config);
        let shared = Shared { hub: Arc::clone(&hub), config: Arc::new(config), started: Instant::now() };
        let websocket = websocket::Endpoint::new(Arc::clone(&hub), lifecycle.clone(), websocket_settings);
        let router = http::router(shared, socketio.clone(), websocket);
        lifecycle.spawn(listener::serve(listener, router, lifecycle.clone(), header_timeout));
        lifecycle.spawn(sweep(Arc::clone(&hub), lifecycle.clone()));
        Ok(Self { hub, socketio, lifecycle, address, shutdown_limit })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// What it holds now.
    pub fn held(&self) -> Held {
        let counts = self.hub.rooms().counts();
        Held {
            rooms: counts.rooms,
            peers: counts.peers,
            sessions: self.hub.open_connections(),
            links: self.socketio.open_links(),
            tasks: self.lifecycle.running().saturating_sub(Self::LASTING_TASKS),
        }
    }

    /// Refuses newcomers, tells every client, closes every connection, and waits for all tasks, at most for
    /// `SHUTDOWN_SECONDS`. `true` if nothing is left.
    pub async fn shutdown(self) -> bool {
        info!("shutting down");
        self.hub.drain("the server is shutting down");
        let is_clean = self.lifecycle.shut_down(self.shutdown_limit).await;
        if !is_clean {
            warn!(tasks = self.lifecycle.running(), "some connections did not end in time");
        }
        is_clean
    }
}

fn socketio_settings(config: &Config) -> socketio::Settings {
    socketio::Settings {
        max_message_bytes: config.limits.max_message_bytes,
        send_queue: config.limits.send_queue,
        ping_interval: config.times.ping_interval_ms,
        ping_timeout: config.times.ping_timeout_ms,
        handshake_timeout: config.times.handshake_timeout_seconds,
    }
}

fn websocket_settings(config: &Config) -> websocket::Settings {
    websocket::Settings {
        max_message_bytes: config.limits.max_message_bytes,
        send_queue: config.limits.send_queue,
        heartbeat: config.times.ws_ping_seconds,
        handshake_timeout: config.times.handshake_timeout_seconds,
    }
}

/// Forgets rooms whose first peer never came.
async fn sweep(hub: Arc<Hub>, lifecycle: Lifecycle) {
    let mut interval = tokio::time::interval(SWEEP);
    loop {
        tokio::select! {
            _ = interval.tick() => {}
            () = lifecycle.stopping() => return,
        }
        let expired = hub.rooms().expire(SystemTime::now());
        if expired > 0 {
            info!(rooms = expired, "rooms forgotten: nobody came");
        }
    }
}
