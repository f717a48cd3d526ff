//! Assembles a server from its configuration, and shuts it down.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::time::{timeout, timeout_at};
use tracing::{info, warn};

use crate::auth::Verifier;
use crate::config::{Config, HostAndPort};
use crate::http::{self, Shared};
use crate::lifecycle::Lifecycle;
pub use crate::metrics::Held;
use crate::metrics::Metrics;
use crate::request::proxies::Proxies;
use crate::room::Rooms;
use crate::session::Hub;
use crate::sfu::{MediaServer, Signaling};
use crate::timeouts::Timeouts;
use crate::tls::Tls;
use crate::transport::bind;
use crate::transport::listener::{Acceptor, Handover};
use crate::transport::socketio::SocketIoEndpoint;
use crate::transport::websocket::WebSocketEndpoint;

mod cluster;
mod error;
pub mod profiles;
mod settings;

pub use cluster::ClusterError;
pub use error::{BindError, StartError};
pub use settings::SettingError;

/// A running server. Dropping it does not stop it; call [`Server::shutdown`].
pub struct Server {
    hub: Arc<Hub>,
    socketio: SocketIoEndpoint,
    lifecycle: Lifecycle,
    address: SocketAddr,
    media: Vec<SocketAddr>,
    metrics_address: Option<SocketAddr>,
    shutdown_limit: Duration,
    tls: Option<Arc<Tls>>,
    handover: Handover,
    /// Whether the listening socket belongs to a service manager, which keeps it open for the next
    /// process.
    is_inherited: bool,
    /// The cluster that it is a node of, if it is.
    membership: Option<cluster::Membership>,
}

/// Validates the files that the settings name, for `parlor check`.
pub fn check(config: &Config) -> Result<(), StartError> {
    settings::access_policy(config)?;
    settings::tls(config)?;
    profiles::profiles(config)?;
    cluster::targets(config)?;
    Ok(())
}

impl Server {
    /// Binds the ports and starts serving.
    pub fn bind(config: Config) -> Result<Self, StartError> {
        Self::start(config, None, Timeouts::default())
    }

    /// Starts serving on an inherited listening socket, if there is one, instead of `HOST` and
    /// `PORT`, and with the given time limits.
    pub fn start(
        config: Config,
        inherited: Option<std::net::TcpListener>,
        timeouts: Timeouts,
    ) -> Result<Self, StartError> {
        let access = settings::access_policy(&config)?;
        let tls = settings::tls(&config)?.map(Arc::new);
        let event_profiles = profiles::profiles(&config)?;
        let targets = cluster::targets(&config)?;
        let is_inherited = inherited.is_some();
        let ((listener, address), metrics) = listen(&config, inherited)?;
        let (metrics_listener, metrics_address) = metrics.unzip();
        let lifecycle = Lifecycle::default();
        let metrics = Arc::new(Metrics::new());
        let rooms = Rooms::new(settings::room_limits(&config));
        let keys = access.verifier.as_ref().and_then(Verifier::key_set).cloned();
        let counting = Arc::clone(&metrics);
        let event_profiles =
            event_profiles.with_count(move |profile| counting.profile_chosen(profile));
        let hub =
            Arc::new(Hub::new(rooms, settings::session_limits(&config), timeouts, metrics, access));
        let websocket = WebSocketEndpoint::new(
            Arc::clone(&hub),
            lifecycle.clone(),
            settings::websocket(&config),
        );
        let socketio_settings = settings::socketio(&config, event_profiles);
        let socketio = SocketIoEndpoint::new(
            Arc::clone(&hub),
            lifecycle.clone(),
            socketio_settings,
            websocket.clone(),
        );
        let (header_timeout, shutdown_limit) =
            (config.times.handshake_timeout_seconds, config.times.shutdown_seconds);
        let media = if config.media.sfu {
            start_media(&config, address, &hub, &lifecycle)?
        } else {
            Vec::new()
        };
        let now = {
            let (hub, socketio, lifecycle) =
                (Arc::clone(&hub), socketio.clone(), lifecycle.clone());
            Arc::new(move || held(&hub, &socketio, &lifecycle))
        };
        let membership =
            targets.map(|targets| cluster::start(&config, targets, address, &hub, &lifecycle));
        let engines = membership.as_ref().map(|membership| Arc::clone(membership.engines()));
        let proxies = Arc::new(Proxies::new(&config.http.trusted_proxies));
        if let Some(membership) = &membership {
            membership.forward_polling(&socketio, &proxies, &hub, &lifecycle);
        }
        let shared = Shared {
            hub: Arc::clone(&hub),
            config: Arc::new(config),
            started: Instant::now(),
            now,
            engines,
        };
        let handover = Handover::default();
        let acceptor = |router, tls, handover, proxies| {
            let (lifecycle, hub) = (lifecycle.clone(), Arc::clone(&hub));
            Acceptor { router, lifecycle, hub, header_timeout, tls, handover, proxies }
        };
        if let Some(listener) = metrics_listener {
            let router = http::metrics_router(shared.clone());
            lifecycle
                .spawn_lasting(acceptor(router, None, Handover::default(), None).serve(listener));
        }
        let router =
            http::router(shared, socketio.clone(), websocket, Arc::clone(&proxies), tls.clone());
        let acceptor = acceptor(router, tls.clone(), handover.clone(), Some(proxies));
        let ready = membership.as_ref().map(cluster::Membership::ready);
        lifecycle.spawn_lasting(serve_after(ready, acceptor, listener, lifecycle.clone()));
        lifecycle.spawn_lasting(sweep(Arc::clone(&hub), socketio.clone(), lifecycle.clone()));
        if hub.requires_tokens() {
            lifecycle.spawn_lasting(Arc::clone(&hub).end_expired(lifecycle.clone()));
        }
        if let Some(keys) = keys {
            lifecycle.spawn_lasting(keys.watch(timeouts.file_check_interval, lifecycle.clone()));
        }
        if let Some(tls) = &tls {
            lifecycle.spawn_lasting(
                Arc::clone(tls).watch(timeouts.file_check_interval, lifecycle.clone()),
            );
        }
        Ok(Self {
            hub,
            socketio,
            lifecycle,
            address,
            media,
            metrics_address,
            shutdown_limit,
            tls,
            handover,
            is_inherited,
            membership,
        })
    }

    /// Resolves with the reason when this server may not be a node of its cluster: it is to be shut
    /// down.
    pub async fn refused(&mut self) -> String {
        match &mut self.membership {
            Some(membership) => membership.refused().await,
            None => std::future::pending().await,
        }
    }

    /// Returns the address of the main port.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Returns the addresses of the media server that clients are given; empty without a media
    /// server.
    pub fn media_addrs(&self) -> &[SocketAddr] {
        &self.media
    }

    /// Returns the address of the separate `/metrics` listener, if there is one.
    pub fn metrics_addr(&self) -> Option<SocketAddr> {
        self.metrics_address
    }

    /// Returns the hub with all rooms and connections, for programs that embed the server.
    pub fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }

    /// Returns the current numbers of rooms, peers, sessions and tasks.
    pub fn held(&self) -> Held {
        held(&self.hub, &self.socketio, &self.lifecycle)
    }

    /// Reloads the TLS certificate.
    pub async fn reload(&self) {
        let Some(tls) = self.tls.clone() else {
            info!("TLS is not configured, ignoring SIGHUP");
            return;
        };
        // Only fails when the runtime shuts down.
        _ = tokio::task::spawn_blocking(move || tls.reload()).await;
    }

    /// Shuts down gracefully: refuses new sessions, closes every connection with a close frame, and
    /// waits for all tasks, at most for `SHUTDOWN_SECONDS`. Returns whether everything ended in
    /// time.
    ///
    /// The port stays open until the end, so that clients that connect meanwhile get an error
    /// instead of a refused connection. A socket of a service manager is left to the next process
    /// at once: new connections wait there, and none is refused.
    pub async fn shutdown(self) -> bool {
        info!(connections = self.hub.open_connections(), "shutting down");
        let deadline = tokio::time::Instant::now() + self.shutdown_limit;
        if self.is_inherited {
            // Polling clients fetch their queued frames over new connections, which must reach this
            // process.
            let limit = self.shutdown_limit / 4;
            let begun = &self.handover.begun;
            _ = timeout(limit, self.socketio.drain_polling(begun.clone())).await;
            begun.cancel();
            self.handover.pending.close();
            _ = timeout(limit.min(self.hub.timeouts().handover), self.handover.pending.wait())
                .await;
        }
        self.hub.begin_drain();
        let connections = u32::try_from(self.hub.open_connections()).unwrap_or(u32::MAX);
        let spread = self
            .hub
            .timeouts()
            .drain_interval
            .saturating_mul(connections)
            .min(self.shutdown_limit / 2);
        self.hub.release_media(spread / 4).await;
        self.hub.drain(spread).await;
        _ = timeout_at(deadline, self.hub.emptied()).await;
        // Polling clients may open new connections for the rest: the port stays open until they
        // have fetched it.
        _ = timeout_at(deadline - self.shutdown_limit / 10, self.socketio.fetched()).await;
        if let Some(membership) = self.membership {
            // The rest of the time is for leaving the cluster.
            let moved = deadline - (self.shutdown_limit / 10).min(Duration::from_secs(1));
            self.hub.hand_over(moved, || membership.engines().is_connected()).await;
            membership.leave(deadline).await;
        }
        let rest = deadline.saturating_duration_since(tokio::time::Instant::now());
        let is_clean = self.lifecycle.shut_down(rest).await;
        if !is_clean {
            warn!(tasks = self.lifecycle.running(), "shutdown timed out with open connections");
        }
        is_clean
    }
}

/// Accepts connections after `ready` has completed.
async fn serve_after(
    ready: Option<impl Future<Output = ()>>,
    acceptor: Acceptor,
    listener: TcpListener,
    lifecycle: Lifecycle,
) {
    if let Some(ready) = ready {
        tokio::select! {
            () = ready => {}
            () = lifecycle.stopping() => {}
        }
    }
    acceptor.serve(listener).await;
}

/// Converts an inherited socket to a Tokio listener.
fn into_listener(listener: std::net::TcpListener) -> io::Result<TcpListener> {
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

type Bound = (TcpListener, SocketAddr);

/// Listens on the main port, or on an inherited socket, and on the port for metrics, if it is set.
fn listen(
    config: &Config,
    inherited: Option<std::net::TcpListener>,
) -> Result<(Bound, Option<Bound>), BindError> {
    let (host, port) = (config.network.host.as_str(), config.network.port);
    let main = match inherited {
        Some(listener) => {
            let name = "the inherited socket for HOST:PORT";
            listening_on(name, host, port, into_listener(listener))?
        }
        None => listening_on("HOST:PORT", host, port, bind::bind(host, port))?,
    };
    let metrics = config.http.metrics_addr.as_ref().map(|HostAndPort { host, port }| {
        listening_on("METRICS_ADDR", host, *port, bind::bind(host, *port))
    });
    Ok((main, metrics.transpose()?))
}

fn listening_on(
    setting: &'static str,
    host: &str,
    port: u16,
    listener: io::Result<TcpListener>,
) -> Result<Bound, BindError> {
    let bound = listener.and_then(|listener| {
        let address = listener.local_addr()?;
        Ok((listener, address))
    });
    bound.map_err(|source| BindError { setting, host: host.to_owned(), port, source })
}

/// Starts the media server, and a task that stops it with the server. Returns its announced
/// addresses.
fn start_media(
    config: &Config,
    main: SocketAddr,
    hub: &Arc<Hub>,
    lifecycle: &Lifecycle,
) -> Result<Vec<SocketAddr>, StartError> {
    let host = config.media.sfu_host.as_deref().unwrap_or(&config.network.host);
    // If the main port is chosen by the system, the media port is, too.
    let default = if config.network.port == 0 { 0 } else { main.port() };
    let port = config.media.sfu_port.unwrap_or(default);
    let bound = UdpSocket::bind((host, port)).and_then(|socket| Ok((socket.local_addr()?, socket)));
    let (address, socket) = bound.map_err(|source| BindError {
        setting: "SFU_HOST:SFU_PORT",
        host: host.to_owned(),
        port,
        source,
    })?;
    if let Some(warning) = config.media.unreachable(address) {
        warn!("{warning}");
    }
    let settings = settings::media(config, address, hub.timeouts().media_connect);
    let announced = settings.announced.clone();
    let (media, running) =
        MediaServer::start(socket, settings, Arc::clone(hub) as Arc<dyn Signaling>)?;
    hub.set_media(media);
    let stopping = lifecycle.clone();
    lifecycle.spawn_lasting(async move {
        stopping.stopping().await;
        // Only fails when the runtime shuts down.
        _ = tokio::task::spawn_blocking(move || running.stop()).await;
    });
    Ok(announced)
}

fn held(hub: &Hub, socketio: &SocketIoEndpoint, lifecycle: &Lifecycle) -> Held {
    let counts = hub.rooms().counts();
    Held {
        rooms: counts.rooms,
        peers: counts.peers,
        sessions: hub.open_connections(),
        away: hub.away(),
        polling: socketio.polling_count(),
        transports: hub.media_stats().transports,
        tasks: lifecycle.running(),
    }
}

/// Removes rooms whose first peer never joined and sessions that were not resumed in time, and
/// shrinks collections.
async fn sweep(hub: Arc<Hub>, socketio: SocketIoEndpoint, lifecycle: Lifecycle) {
    let mut interval = tokio::time::interval(hub.timeouts().sweep_interval);
    let mut shrink = tokio::time::interval(hub.timeouts().shrink_interval);
    loop {
        tokio::select! {
            _ = interval.tick() => {}
            _ = shrink.tick() => {
                hub.shrink();
                socketio.shrink();
                continue;
            }
            () = lifecycle.stopping() => return,
        }
        hub.sweep(Instant::now());
        let expired = hub.rooms().expire(Instant::now());
        if expired > 0 {
            info!(rooms = expired, "removed rooms that no peer joined");
        }
    }
}
