//! The one place that wires everything: configuration in, a running server out.

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
use crate::sfu::{MediaServer, MediaStartError, Signaling};
use crate::timeouts::Timeouts;
use crate::tls::{Tls, TlsError};
use crate::transport::bind;
use crate::transport::listener::{Acceptor, Handover};
use crate::transport::{socketio, websocket};

pub mod profiles;
mod settings;

pub use settings::SettingError;

/// A running server. Dropping it does not stop it: [`Server::shutdown`] does.
pub struct Server {
    hub: Arc<Hub>,
    socketio: socketio::Endpoint,
    lifecycle: Lifecycle,
    address: SocketAddr,
    media: Vec<SocketAddr>,
    metrics_address: Option<SocketAddr>,
    shutdown_limit: Duration,
    tls: Option<Arc<Tls>>,
    handover: Handover,
    /// Whether the listening socket is another's, who keeps it for the process that follows this one.
    is_inherited: bool,
}

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A port cannot be had.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// A file that a setting names cannot be used.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// The certificate cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// An event profile cannot be used.
    #[error("SOCKETIO_PROFILES")]
    Profiles(#[from] profiles::ProfilesError),
    /// There is no media server.
    #[error("the media server cannot be started (SFU=off does without)")]
    Media(#[from] MediaStartError),
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

/// Reads the files that the settings name: `parlor check`.
pub fn check(config: &Config) -> Result<(), StartError> {
    settings::access_policy(config)?;
    settings::tls(config)?;
    profiles::profiles(config)?;
    Ok(())
}

impl Server {
    /// Binds the ports and serves.
    pub fn bind(config: Config) -> Result<Self, StartError> {
        Self::start(config, None, Timeouts::default())
    }

    /// The same, on an open listening socket in place of `HOST` and `PORT` where there is one, and with time limits of
    /// the caller's choice.
    pub fn start(
        config: Config,
        inherited: Option<std::net::TcpListener>,
        timeouts: Timeouts,
    ) -> Result<Self, StartError> {
        let access = settings::access_policy(&config)?;
        let tls = settings::tls(&config)?.map(Arc::new);
        let event_profiles = profiles::profiles(&config)?;
        let (host, port) = (config.network.host.as_str(), config.network.port);
        let is_inherited = inherited.is_some();
        let (listener, address) = match inherited {
            Some(listener) => listening_on("the inherited socket for HOST:PORT", host, port, adopt(listener))?,
            None => listening_on("HOST:PORT", host, port, bind::bind(host, port))?,
        };
        let metrics = config.http.metrics_addr.as_ref();
        let metrics = metrics
            .map(|HostAndPort { host, port }| listening_on("METRICS_ADDR", host, *port, bind::bind(host, *port)))
            .transpose()?;
        let (metrics_listener, metrics_address) = metrics.unzip();
        let lifecycle = Lifecycle::default();
        let metrics = Arc::new(Metrics::new());
        let rooms = Rooms::new(settings::room_limits(&config));
        let keys = access.verifier.as_ref().and_then(Verifier::key_set).cloned();
        let counting = Arc::clone(&metrics);
        let event_profiles = event_profiles.with_count(move |profile| counting.profile_chosen(profile));
        let hub = Arc::new(Hub::new(rooms, settings::session_limits(&config), timeouts, metrics, access));
        let websocket = websocket::Endpoint::new(Arc::clone(&hub), lifecycle.clone(), settings::websocket(&config));
        let socketio_settings = settings::socketio(&config, event_profiles);
        let socketio =
            socketio::Endpoint::new(Arc::clone(&hub), lifecycle.clone(), socketio_settings, websocket.clone());
        let (header_timeout, shutdown_limit) = (config.times.handshake_timeout_seconds, config.times.shutdown_seconds);
        let media = if config.media.sfu { start_media(&config, address, &hub, &lifecycle)? } else { Vec::new() };
        let now = {
            let (hub, socketio, lifecycle) = (Arc::clone(&hub), socketio.clone(), lifecycle.clone());
            Arc::new(move || held(&hub, &socketio, &lifecycle))
        };
        let proxies = Arc::new(Proxies::new(&config.http.trusted_proxies));
        let shared = Shared { hub: Arc::clone(&hub), config: Arc::new(config), started: Instant::now(), now };
        let handover = Handover::default();
        let acceptor = |router, tls, handover, proxies| {
            let (lifecycle, hub) = (lifecycle.clone(), Arc::clone(&hub));
            Acceptor { router, lifecycle, hub, header_timeout, tls, handover, proxies }
        };
        if let Some(listener) = metrics_listener {
            let router = http::metrics_router(shared.clone());
            lifecycle.spawn_lasting(acceptor(router, None, Handover::default(), None).serve(listener));
        }
        let router = http::router(shared, socketio.clone(), websocket, Arc::clone(&proxies), tls.clone());
        lifecycle.spawn_lasting(acceptor(router, tls.clone(), handover.clone(), Some(proxies)).serve(listener));
        lifecycle.spawn_lasting(sweep(Arc::clone(&hub), socketio.clone(), lifecycle.clone()));
        if hub.requires_tokens() {
            lifecycle.spawn_lasting(Arc::clone(&hub).end_expired(lifecycle.clone()));
        }
        if let Some(keys) = keys {
            lifecycle.spawn_lasting(keys.watch(timeouts.file_check_interval, lifecycle.clone()));
        }
        if let Some(tls) = &tls {
            lifecycle.spawn_lasting(Arc::clone(tls).watch(timeouts.file_check_interval, lifecycle.clone()));
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
        })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Where clients are told that the media server is; nowhere if there is none.
    pub fn media_addrs(&self) -> &[SocketAddr] {
        &self.media
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

    /// Reads again what can change while the server runs: the certificate.
    pub async fn reload(&self) {
        let Some(tls) = self.tls.clone() else {
            info!("TLS is not configured, ignoring SIGHUP");
            return;
        };
        // It ends early only with the runtime.
        _ = tokio::task::spawn_blocking(move || tls.reload()).await;
    }

    /// Refuses new sessions, tells every client, closes every connection, and waits for all tasks, at most for
    /// `SHUTDOWN_SECONDS`. `true` if nothing is left.
    ///
    /// The port is open until the end, so that whoever asks hears that the server is going. A socket that another keeps
    /// is left to the next process at once: new connections wait there, and none is refused.
    pub async fn shutdown(self) -> bool {
        info!(connections = self.hub.open_connections(), "shutting down");
        let deadline = tokio::time::Instant::now() + self.shutdown_limit;
        if self.is_inherited {
            // Who polls comes in again and again for what waits, and is to find this process.
            let limit = self.shutdown_limit / 4;
            _ = timeout(limit, self.socketio.dismiss_polling()).await;
            self.handover.begun.cancel();
            self.handover.pending.close();
            _ = timeout(limit.min(self.hub.timeouts().handover), self.handover.pending.wait()).await;
        }
        self.hub.begin_drain();
        let connections = u32::try_from(self.hub.open_connections()).unwrap_or(u32::MAX);
        let spread = self.hub.timeouts().farewell_interval.saturating_mul(connections).min(self.shutdown_limit / 2);
        self.hub.dismiss(spread).await;
        _ = timeout_at(deadline, self.hub.emptied()).await;
        // Who polls may come over a new connection for the rest: the port is open until it has.
        _ = timeout_at(deadline - self.shutdown_limit / 10, self.socketio.fetched()).await;
        let rest = deadline.saturating_duration_since(tokio::time::Instant::now());
        let is_clean = self.lifecycle.shut_down(rest).await;
        if !is_clean {
            warn!(tasks = self.lifecycle.running(), "some connections did not end in time");
        }
        is_clean
    }
}

/// A socket that is to be served, of whatever origin.
fn adopt(listener: std::net::TcpListener) -> io::Result<TcpListener> {
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

fn listening_on(
    setting: &'static str,
    host: &str,
    port: u16,
    listener: io::Result<TcpListener>,
) -> Result<(TcpListener, SocketAddr), BindError> {
    let bound = listener.and_then(|listener| {
        let address = listener.local_addr()?;
        Ok((listener, address))
    });
    bound.map_err(|source| BindError { setting, host: host.to_owned(), port, source })
}

/// Starts the media server, and has it stopped with all else. Returns where clients are told that it is.
fn start_media(
    config: &Config,
    main: SocketAddr,
    hub: &Arc<Hub>,
    lifecycle: &Lifecycle,
) -> Result<Vec<SocketAddr>, StartError> {
    let host = config.media.sfu_host.as_deref().unwrap_or(&config.network.host);
    // Where any port would do for the one, any does for the other.
    let default = if config.network.port == 0 { 0 } else { main.port() };
    let port = config.media.sfu_port.unwrap_or(default);
    let bound = UdpSocket::bind((host, port)).and_then(|socket| Ok((socket.local_addr()?, socket)));
    let (address, socket) =
        bound.map_err(|source| BindError { setting: "SFU_HOST:SFU_PORT", host: host.to_owned(), port, source })?;
    if let Some(warning) = config.media.unreachable(address) {
        warn!("{warning}");
    }
    let settings = settings::media(config, address, hub.timeouts().media_connect);
    let announced = settings.announced.clone();
    let (media, running) = MediaServer::start(socket, settings, Arc::clone(hub) as Arc<dyn Signaling>)?;
    hub.set_media(media);
    let stopping = lifecycle.clone();
    lifecycle.spawn_lasting(async move {
        stopping.stopping().await;
        // It ends early only with the runtime.
        _ = tokio::task::spawn_blocking(move || running.stop()).await;
    });
    Ok(announced)
}

fn held(hub: &Hub, socketio: &socketio::Endpoint, lifecycle: &Lifecycle) -> Held {
    let counts = hub.rooms().counts();
    Held {
        rooms: counts.rooms,
        peers: counts.peers,
        sessions: hub.open_connections(),
        away: hub.away(),
        links: socketio.open_links(),
        transports: hub.media_stats().transports,
        tasks: lifecycle.running(),
    }
}

/// Forgets rooms whose first peer never came, and peers that never came back; gives back memory that is not needed.
async fn sweep(hub: Arc<Hub>, socketio: socketio::Endpoint, lifecycle: Lifecycle) {
    let mut interval = tokio::time::interval(hub.timeouts().sweep_interval);
    let mut give_back = tokio::time::interval(hub.timeouts().shrink_interval);
    loop {
        tokio::select! {
            _ = interval.tick() => {}
            _ = give_back.tick() => {
                hub.shrink();
                socketio.give_back();
                continue;
            }
            () = lifecycle.stopping() => return,
        }
        hub.sweep(Instant::now());
        let expired = hub.rooms().expire(Instant::now());
        if expired > 0 {
            info!(rooms = expired, "rooms forgotten: nobody came");
        }
    }
}
