//! Settings: one struct per topic, each field a command-line flag and an environment variable.
//!
//! `--max-room-size` is also `MAX_ROOM_SIZE`. Flags take precedence over the environment, the
//! environment over a `.env` file in the working directory, that over a settings file, and that
//! over the default.
//!
//! - [`commands`] has the commands of the program, [`file`](mod@file) reads the settings file;
//! - [`layers`] reads the sources and reports an invalid setting in one line;
//! - [`values`] has the types and parsers of setting values;
//! - [`Loaded`] is the result: valid settings, with warnings.
//!
//! No other module reads the environment.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, ValueEnum};
use ipnet::IpNet;

mod checks;
mod cluster;
mod commands;
mod file;
mod identity;
mod layers;
mod media;
mod names;
pub mod origin;
pub mod record;
pub mod socketio;
mod values;

pub use cluster::{ClusterSettings, EngineUrls};
pub use commands::{Action, ProfileCommand};
pub use identity::{Ice, TokenClaims, Tokens};
pub use layers::{Invalid, Loaded, Request, load, load_from};
pub use media::Media;
pub use origin::ClientUrl;
pub use socketio::SocketIo;
pub use values::{Announced, HostAndPort, Secret};

use origin::client_url;
use values::{
    count, flag, host_and_port, log_level, megabytes, milliseconds, network, port, queue, rate,
    seconds,
};

/// A signaling server for WebRTC. Every setting is a flag and an environment variable. Flags take
/// precedence over the environment, the environment over a .env file in the working directory, and
/// that over a settings file. Lists are comma-separated.
#[derive(Debug, Clone, Parser)]
#[command(name = "parlor", version, args_override_self = true, max_term_width = 110)]
pub struct Config {
    /// Settings file (TOML) [default: parlor.toml in the working directory, if there is one]
    #[arg(id = "config", long = "config", value_name = "FILE")]
    settings_file: Option<PathBuf>,
    /// The command.
    #[arg(skip)]
    pub action: Action,
    /// Listening sockets and TLS.
    #[command(flatten)]
    pub network: Network,
    /// HTTP pages, the REST API, and allowed origins.
    #[command(flatten)]
    pub http: Http,
    /// Support for Socket.IO frontends.
    #[command(flatten)]
    pub socketio: SocketIo,
    /// Access tokens.
    #[command(flatten)]
    pub tokens: Tokens,
    /// ICE servers.
    #[command(flatten)]
    pub ice: Ice,
    /// The media server.
    #[command(flatten)]
    pub media: Media,
    /// Several nodes as one.
    #[command(flatten)]
    pub cluster: ClusterSettings,
    /// Creation and number of rooms.
    #[command(flatten)]
    pub rooms: RoomSettings,
    /// Limits on connections, rooms and messages.
    #[command(flatten)]
    pub limits: LimitSettings,
    /// Heartbeats and timeouts.
    #[command(flatten)]
    pub times: Times,
    /// Log level and format.
    #[command(flatten)]
    pub log: Log,
    /// Flags of `parlor token`.
    #[arg(skip)]
    pub token: TokenClaims,
}

/// Listening sockets and TLS.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Where to listen")]
pub struct Network {
    /// Address or host name to listen on; `::` serves IPv6 and IPv4. `WS_HOST` is used if it is not
    /// set
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0")]
    pub host: String,
    /// Port to listen on; 0 uses a free port, which is printed. `WS_PORT` is used if it is not set
    #[arg(long, value_name = "PORT", default_value = "4000", value_parser = port)]
    pub port: u16,
    /// Certificate file with its chain (PEM): the port then serves TLS only. Reloaded when it
    /// changes, and on SIGHUP
    #[arg(long, value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,
    /// Private key file of the certificate (PEM, without a passphrase)
    #[arg(long, value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
    /// Serve TLS with a self-signed certificate, made at each start: for trying out from other
    /// machines
    #[arg(long, value_name = "BOOL", default_value = "false", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = flag)]
    pub dev_tls: bool,
}

/// HTTP pages, the REST API, and allowed origins.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Pages and REST")]
pub struct Http {
    /// Origins whose pages may connect, comma-separated: exact, or with `*` for a label or the
    /// port; `*` alone allows all [default: every origin on this machine; in production
    /// `http://localhost:3000`]
    #[arg(long, value_name = "ORIGINS", value_parser = client_url)]
    pub client_url: Option<ClientUrl>,
    /// `production`: JSON logs, no demo page, no changes of rooms over REST without a token
    #[arg(long, value_name = "WHICH", default_value = "development")]
    pub node_env: NodeEnv,
    /// Serve the demo page at `/` [default: unless in production]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = flag)]
    pub demo: Option<bool>,
    /// Refuse `/signal` handshakes without TLS, at this server or at a trusted proxy that reports
    /// it [default: in production]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = flag)]
    pub require_tls: Option<bool>,
    /// Networks (CIDR) whose `X-Forwarded-For`, `-Proto`, `-Host` and `-Port` are trusted,
    /// comma-separated
    #[arg(long, value_name = "NETWORKS", value_delimiter = ',', value_parser = network)]
    pub trusted_proxies: Vec<IpNet>,
    /// Token that protects everything under `/api/`, as `Authorization: Bearer <token>`
    #[arg(long, value_name = "SECRET")]
    pub api_token: Option<Secret>,
    /// Serve `/metrics` on a separate address, without a token; otherwise it is on the main port,
    /// protected by `API_TOKEN`
    #[arg(long, value_name = "HOST:PORT", value_parser = host_and_port)]
    pub metrics_addr: Option<HostAndPort>,
}

/// Creation and number of rooms.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Rooms")]
pub struct RoomSettings {
    /// Whether joining an unknown room creates it; if not, rooms are created with `POST /api/rooms`
    #[arg(long, value_name = "BOOL", default_value = "true", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = flag)]
    pub room_auto_create: bool,
    /// Maximum number of rooms on this server; 0 = no limit
    #[arg(long, value_name = "COUNT", default_value = "100000", value_parser = count::<0>)]
    pub max_rooms: usize,
    /// Maximum number of rooms of a connection
    #[arg(long, value_name = "COUNT", default_value = "8", value_parser = count::<1>)]
    pub max_rooms_per_connection: usize,
    /// How long a room created over REST waits for its first peer
    #[arg(long, value_name = "SECONDS", default_value = "300", value_parser = seconds::<1>)]
    pub empty_room_ttl_seconds: Duration,
}

/// Limits on connections, rooms and messages.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Limits")]
pub struct LimitSettings {
    /// Maximum number of connections; 0 = as many as the system allows
    #[arg(long, value_name = "COUNT", default_value = "0", value_parser = count::<0>)]
    pub max_connections: usize,
    /// Maximum number of connections of an address (an IPv6 /64); behind trusted proxies, of a
    /// client's address; 0 = no limit
    #[arg(long, value_name = "COUNT", default_value = "0", value_parser = count::<0>)]
    pub max_connections_per_ip: usize,
    /// Maximum number of polling sessions of an address that have sent no CONNECT; 0 = no limit
    #[arg(long, value_name = "COUNT", default_value = "500", value_parser = count::<0>)]
    pub max_unconnected_per_ip: usize,
    /// Invalid tokens of an address per minute, after which its tokens are refused without
    /// verification; 0 = no limit
    #[arg(long, value_name = "COUNT", default_value = "3000", value_parser = rate)]
    pub invalid_tokens_per_minute: u32,
    /// Messages per second of a connection; 0 = no limit
    #[arg(long, value_name = "COUNT", default_value = "100", value_parser = rate)]
    pub messages_per_second: u32,
    /// Messages of a connection in a burst; 0 = no limit
    #[arg(long, value_name = "COUNT", default_value = "200", value_parser = rate)]
    pub message_burst: u32,
    /// Maximum number of peers in a room
    #[arg(long, value_name = "COUNT", default_value = "50", value_parser = count::<1>)]
    pub max_room_size: usize,
    /// Maximum size of a message in bytes, on every transport
    #[arg(long, value_name = "BYTES", default_value = "65536", value_parser = megabytes::<16>)]
    pub max_message_bytes: usize,
    /// Maximum size of a peer's metadata in bytes, at its join and after each update
    #[arg(long, value_name = "BYTES", default_value = "4096", value_parser = megabytes::<1>)]
    pub max_metadata_bytes: usize,
    /// Signals queued in a pair session of `/signal` for the peer that is away
    #[arg(long, value_name = "COUNT", default_value = "256", value_parser = count::<1>)]
    pub session_queue_messages: usize,
    /// Bytes queued in a pair session
    #[arg(long, value_name = "BYTES", default_value = "262144", value_parser = megabytes::<16>)]
    pub session_queue_bytes: usize,
    /// How long a signal stays queued in a pair session
    #[arg(long, value_name = "SECONDS", default_value = "120", value_parser = seconds::<1>)]
    pub session_queue_ttl_seconds: Duration,
    /// Messages in the replay buffer of a session, for a client that may resume it
    #[arg(long, value_name = "COUNT", default_value = "256", value_parser = queue)]
    pub resume_messages: usize,
    /// Bytes in the replay buffer of a session
    #[arg(long, value_name = "BYTES", default_value = "262144", value_parser = megabytes::<16>)]
    pub resume_bytes: usize,
    /// Messages in the send queue of a connection, in all at most 16 times `MAX_MESSAGE_BYTES` (or
    /// 1 MiB)
    #[arg(long, value_name = "COUNT", default_value = "128", value_parser = queue)]
    pub send_queue: usize,
}

/// Heartbeats and timeouts.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Times")]
pub struct Times {
    /// Time between two Socket.IO heartbeats
    #[arg(long, value_name = "MS", default_value = "25000", value_parser = milliseconds)]
    pub ping_interval_ms: Duration,
    /// Time for the response to a Socket.IO heartbeat
    #[arg(long, value_name = "MS", default_value = "20000", value_parser = milliseconds)]
    pub ping_timeout_ms: Duration,
    /// Time between two pings of a plain WebSocket; a connection that misses two is closed
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds::<1>)]
    pub ws_ping_seconds: Duration,
    /// Time for a TLS handshake, a request's headers and body, an upgrade, and the first message
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds::<1>)]
    pub handshake_timeout_seconds: Duration,
    /// How long a session can be resumed after its connection was lost; 0 = never
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds::<0>)]
    pub resume_seconds: Duration,
    /// How long a graceful shutdown may take; connections are closed one after the other over its
    /// first half
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds::<0>)]
    pub shutdown_seconds: Duration,
}

/// Log level and format.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Logs")]
pub struct Log {
    /// `error`, `warn`, `info`, `debug`, `trace`, or a filter such as `info,parlor::room=debug`
    #[arg(long, value_name = "LEVEL", default_value = "info", value_parser = log_level)]
    pub log_level: String,
    /// `pretty` or `json` [default: `json` in production, else `pretty`]
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
}

/// The environment that the server runs in, which determines some defaults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum NodeEnv {
    /// A developer's machine.
    Development,
    /// As development; set by the test runners of frontends.
    Test,
    /// A public server.
    Production,
}

/// The format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Readable text.
    Pretty,
    /// One JSON object per line.
    Json,
}

impl Config {
    /// Returns whether `NODE_ENV` is `production`.
    pub fn is_production(&self) -> bool {
        self.http.node_env == NodeEnv::Production
    }

    /// Returns the effective log format.
    pub fn log_format(&self) -> LogFormat {
        self.log.log_format.unwrap_or(if self.is_production() {
            LogFormat::Json
        } else {
            LogFormat::Pretty
        })
    }

    /// Returns whether the main port serves TLS.
    pub fn has_tls(&self) -> bool {
        self.network.tls_cert.is_some() || self.network.dev_tls
    }

    /// Returns warnings about settings that expose the server, one line each.
    pub fn exposures(&self) -> Vec<String> {
        let mut exposures = Vec::new();
        let is_local = self.network.host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback());
        if self.is_production() {
            match self.http.client_url() {
                ClientUrl::Any => {
                    exposures.push("CLIENT_URL=*: pages of every origin may connect".to_owned());
                }
                list if list.is_local() => {
                    exposures.push(
                        "CLIENT_URL allows pages on localhost only: no other page can connect"
                            .to_owned(),
                    );
                }
                ClientUrl::List(_) => {}
            }
            if self.http.api_token.is_none() {
                exposures.push(
                    "API_TOKEN is not set: anyone can list the rooms; changes are refused"
                        .to_owned(),
                );
            }
            if self.http.api_token.is_none() && self.http.metrics_addr.is_none() {
                exposures
                    .push("anyone can read /metrics: set METRICS_ADDR or API_TOKEN".to_owned());
            }
        } else if !is_local && self.http.api_token.is_none() {
            exposures.push(
                "API_TOKEN is not set: anyone who reaches this port can list, create and close rooms (NODE_ENV=production refuses the latter)"
                    .to_owned(),
            );
        }
        exposures.extend(self.identity_exposures());
        exposures
    }
}

impl Http {
    /// Returns the effective origins whose pages may connect.
    pub fn client_url(&self) -> ClientUrl {
        let default = || ClientUrl::default_for(self.node_env == NodeEnv::Production);
        self.client_url.clone().unwrap_or_else(default)
    }

    /// Returns whether `/signal` handshakes require TLS.
    pub fn require_tls(&self) -> bool {
        self.require_tls.unwrap_or(self.node_env == NodeEnv::Production)
    }

    /// Returns whether the demo page is served.
    pub fn demo(&self) -> bool {
        self.demo.unwrap_or(self.node_env != NodeEnv::Production)
    }
}
