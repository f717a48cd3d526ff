//! The one place that wires everything: configuration in, a running server out.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::net::TcpListener;
use tracing::{info, warn};

use crate::config::{Config, HostAndPort};
use crate::http::{self, Shared};
use crate::lifecycle::Lifecycle;
pub use crate::metrics::Held;
use crate::metrics::Metrics;
use crate::room::Rooms;
use crate::session::Hub;
use crate::transport::listener::{self, Acceptor};
use crate::transport::{socketio, websocket};

/// How often what waits for a time to be over is looked at.
const SWEEP: Duration = Duration::from_millis(250);

/// A running server. Dropping it does not stop it: [`Server::shutdown`] does.
pub struct Server {
    hub: Arc<Hub>,
    socketio: socketio::Endpoint,
    lifecycle: Lifecycle,
    address: SocketAddr,
    metrics_address: Option<SocketAddr>,
    shutdown_limit: Duration,
}

/// A port that cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {setting}={host}:{port}")]
pub struct BindError {
    setting: &'static str,
    host: String,
    port: u16,
    source: io::Error,
}

impl Server {
    /// Binds the ports and serves.
    pub fn bind(config: Config) -> Result<Self, BindError> {
        let (listener, address) = bind("HOST:PORT", &config.network.host, config.network.port)?;
        let metrics = config.http.metrics_addr.as_ref();
        let metrics = metrics.map(|HostAndPort { host, port }| bind("METRICS_ADDR", host, *port)).transpose()?;
        let (metrics_listener, metrics_address) = metrics.unzip();
        let lifecycle = Lifecycle::default();
        let metrics = Arc::new(Metrics::new());
        let rooms = Rooms::new(config.room_limits());
        let hub = Arc::new(Hub::new(rooms, config.session_limits(), metrics));
        let socketio = socketio::Endpoint::new(Arc::clone(&hub), lifecycle.clone(), socketio_settings(&config));
        let (header_timeout, shutdown_limit) = (config.times.handshake_timeout_seconds, config.times.shutdown_seconds);
        let websocket_settings = websocket_settings(&config);
        let now = {
            let (hub, socketio, lifecycle) = (Arc::clone(&hub), socketio.clone(), lifecycle.clone());
            Arc::new(move || held(&hub, &socketio, &lifecycle))
        };
        let shared = Shared { hub: Arc::clone(&hub), config: Arc::new(config), started: Instant::now(), now };
        let websocket = websocket::Endpoint::new(Arc::clone(&hub), lifecycle.clone(), websocket_settings);
        let listening = |listener, router| {
            let acceptor = Acceptor { router, lifecycle: lifecycle.clone(), hub: Arc::clone(&hub), header_timeout };
            lifecycle.spawn_lasting(acceptor.serve(listener));
        };
        if let Some(listener) = metrics_listener {
            listening(listener, http::metrics_router(shared.clone()));
        }
        listening(listener, http::router(shared, socketio.clone(), websocket));
        lifecycle.spawn_lasting(sweep(Arc::clone(&hub), lifecycle.clone()));
        Ok(Self { hub, socketio, lifecycle, address, metrics_address, shutdown_limit })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Where `/metrics` has a listener of its own.
    pub fn metrics_addr(&self) -> Option<SocketAddr> {
        self.metrics_address
    }

    /// Its rooms and connections: for programs that have more to say to them than comes over the network.
    pub fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }

    /// What it holds now.
    pub fn held(&self) -> Held {
        held(&self.hub, &self.socketio, &self.lifecycle)
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

fn bind(setting: &'static str, host: &str, port: u16) -> Result<(TcpListener, SocketAddr), BindError> {
    let bound = listener::bind(host, port).and_then(|listener| {
        let address = listener.local_addr()?;
        Ok((listener, address))
    });
    bound.map_err(|source| BindError { setting, host: host.to_owned(), port, source })
}

fn held(hub: &Hub, socketio: &socketio::Endpoint, lifecycle: &Lifecycle) -> Held {
    let counts = hub.rooms().counts();
    Held {
        rooms: counts.rooms,
        peers: counts.peers,
        sessions: hub.open_connections(),
        away: hub.away(),
        links: socketio.open_links(),
        tasks: lifecycle.running(),
    }
}

fn socketio_settings(config: &Config) -> socketio::Settings {
    socketio::Settings {
        max_message_bytes: config.limits.max_message_bytes,
        send_queue: config.limits.send_queue,
        send_queue_bytes: config.send_queue_bytes(),
        promised: config.limits.session_queue_messages.max(config.limits.resume_messages),
        ping_interval: config.times.ping_interval_ms,
        ping_timeout: config.times.ping_timeout_ms,
        handshake_timeout: config.times.handshake_timeout_seconds,
    }
}

fn websocket_settings(config: &Config) -> websocket::Settings {
    websocket::Settings {
        max_message_bytes: config.limits.max_message_bytes,
        send_queue: config.limits.send_queue,
        send_queue_bytes: config.send_queue_bytes(),
        promised: config.limits.session_queue_messages,
        heartbeat: config.times.ws_ping_seconds,
        handshake_timeout: config.times.handshake_timeout_seconds,
    }
}

/// Forgets rooms whose first peer never came, and peers that never came back.
async fn sweep(hub: Arc<Hub>, lifecycle: Lifecycle) {
    let mut interval = tokio::time::interval(SWEEP);
    loop {
        tokio::select! {
            _ = interval.tick() => {}
            () = lifecycle.stopping() => return,
        }
        hub.sweep(Instant::now());
        let expired = hub.rooms().expire(SystemTime::now());
        if expired > 0 {
            info!(rooms = expired, "rooms forgotten: nobody came");
        }
    }
}
