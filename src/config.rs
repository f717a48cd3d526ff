//! The settings: one struct per concern, each field a flag and an environment variable of the same name.
//!
//! `--max-room-size` is `MAX_ROOM_SIZE`. Flags win over the environment, the environment over a `.env` file in the
//! working directory, that over the default.
//!
//! - [`layers`] reads the sources and turns what is wrong into one line;
//! - [`values`] holds the types that a setting's text is read into;
//! - [`Loaded`] is the outcome: settings that are valid, and warnings.
//!
//! This is the only place that reads the environment.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args, Parser, ValueEnum};
use ipnet::IpNet;

mod checks;
mod identity;
mod layers;
mod media;
pub mod origin;
pub mod record;
pub mod socketio;
mod values;

pub use identity::{Ice, TokenOrder, Tokens};
pub use layers::{Invalid, Loaded, load, load_from};
pub use media::Media;
pub use origin::ClientUrl;
pub use socketio::SocketIo;
pub use values::{Announced, HostAndPort, Secret};

use origin::client_url;
use values::{count, flag, host_and_port, log_level, megabytes, milliseconds, network, port, queue, rate, seconds};

/// What the program is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Action {
    /// Serve until a signal comes.
    Serve,
    /// Check the settings, print those in force, and end.
    Check,
    /// Ask a running server for its health; the exit code tells.
    Health,
    /// Print a token, signed with `JWT_SECRET`, for trying out.
    Token,
    /// List, show, check or learn event profiles.
    Profile,
}

/// The signaling server for WebRTC. Every setting is a flag and an environment variable. Flags win over the environment,
/// the environment over a .env file in the working directory. Lists are comma-separated.
#[derive(Debug, Clone, Parser)]
#[command(name = "parlor", version, args_override_self = true, max_term_width = 110, disable_help_flag = true)]
pub struct Config {
    /// Print this
    #[arg(short, long, action = ArgAction::HelpShort)]
    help: Option<bool>,
    /// serve (the default); check the settings and print those in force; ask a running server for its health; print a
    /// token for trying out; or profile: list, show NAME, check FILE, record --upstream URL (learns an event profile from a
    /// call through an existing server), infer FILE (from a saved trace)
    #[arg(value_enum, value_name = "COMMAND", default_value = "serve", hide_default_value = true)]
    pub action: Action,
    /// The arguments of `profile`: list, show NAME or check FILE
    #[arg(value_name = "ARGUMENT", hide = true)]
    pub arguments: Vec<String>,
    /// Where to listen.
    #[command(flatten)]
    pub network: Network,
    /// Pages, REST and who may use them.
    #[command(flatten)]
    pub http: Http,
    /// Socket.IO frontends.
    #[command(flatten)]
    pub socketio: SocketIo,
    /// Who may connect.
    #[command(flatten)]
    pub tokens: Tokens,
    /// Where media may meet.
    #[command(flatten)]
    pub ice: Ice,
    /// Media for large rooms.
    #[command(flatten)]
    pub media: Media,
    /// Rooms.
    #[command(flatten)]
    pub rooms: Rooms,
    /// What bounds a connection.
    #[command(flatten)]
    pub limits: Limits,
    /// Times.
    #[command(flatten)]
    pub times: Times,
    /// Logs.
    #[command(flatten)]
    pub log: Log,
    /// What `parlor token` is to print.
    #[command(flatten)]
    pub token: TokenOrder,
}

/// Where to listen.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Where to listen")]
pub struct Network {
    /// Address or host name to listen on; `::` serves IPv6 and IPv4. Where it is not set, `WS_HOST` is read
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0")]
    pub host: String,
    /// Port to listen on; 0 takes a free one, and the address is printed. Where it is not set, `WS_PORT` is read
    #[arg(long, value_name = "PORT", default_value = "4000", value_parser = port)]
    pub port: u16,
    /// File of the certificate and its chain (PEM): with it the port speaks TLS, and nothing else. Read again when it
    /// changes, and on SIGHUP
    #[arg(long, value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,
    /// File of the certificate's private key (PEM, without a passphrase)
    #[arg(long, value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
}

/// Pages, REST and who may use them.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Pages and REST")]
pub struct Http {
    /// Origins whose pages may connect, comma-separated: exact, or with `*` for a label or the port; `*` alone allows all
    /// [default: every origin of this machine; in production `http://localhost:3000`]
    #[arg(long, value_name = "ORIGINS", value_parser = client_url)]
    pub client_url: Option<ClientUrl>,
    /// `production`: JSON logs, no demo page, rooms are not changed by REST without a token
    #[arg(long, value_name = "WHICH", default_value = "development")]
    pub node_env: NodeEnv,
    /// Serve the demo page at `/` [default: unless in production]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = flag)]
    pub demo: Option<bool>,
    /// Refuse `/signal` handshakes without TLS, at this server or at a trusted proxy that says so [default: in production]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = flag)]
    pub require_tls: Option<bool>,
    /// Networks (CIDR) whose `X-Forwarded-For`, `-Proto`, `-Host` and `-Port` are believed, comma-separated
    #[arg(long, value_name = "NETWORKS", value_delimiter = ',', value_parser = network)]
    pub trusted_proxies: Vec<IpNet>,
    /// Token that guards everything under `/api/`, as `Authorization: Bearer <token>`
    #[arg(long, value_name = "SECRET")]
    pub api_token: Option<Secret>,
    /// Serve `/metrics` on an address of its own, without a token; else it is on the main port, guarded by `API_TOKEN`
    #[arg(long, value_name = "HOST:PORT", value_parser = host_and_port)]
    pub metrics_addr: Option<HostAndPort>,
}

/// Rooms.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Rooms")]
pub struct Rooms {
    /// Whether joining an unknown room creates it; if not, rooms come from `POST /api/rooms`
    #[arg(long, value_name = "BOOL", default_value = "true", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = flag)]
    pub room_auto_create: bool,
    /// Rooms on this server; 0 = no limit
    #[arg(long, value_name = "COUNT", default_value = "100000", value_parser = count::<0>)]
    pub max_rooms: usize,
    /// Rooms that one connection may be in
    #[arg(long, value_name = "COUNT", default_value = "8", value_parser = count::<1>)]
    pub max_rooms_per_connection: usize,
    /// How long a room made by REST waits for its first peer
    #[arg(long, value_name = "SECONDS", default_value = "300", value_parser = seconds::<1>)]
    pub empty_room_ttl_seconds: Duration,
}

/// What bounds a room, a connection and a message.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Limits")]
pub struct Limits {
    /// Connections to this server; 0 = as many as the system allows
    #[arg(long, value_name = "COUNT", default_value = "0", value_parser = count::<0>)]
    pub max_connections: usize,
    /// Connections from one address (of IPv6, one /64); behind trusted proxies the client's; 0 = no limit
    #[arg(long, value_name = "COUNT", default_value = "0", value_parser = count::<0>)]
    pub max_connections_per_ip: usize,
    /// Polling sessions of one address that have sent no CONNECT; 0 = no limit
    #[arg(long, value_name = "COUNT", default_value = "500", value_parser = count::<0>)]
    pub max_unconnected_per_ip: usize,
    /// Invalid tokens that one address may send in a minute before its tokens are refused unread; 0 = no limit
    #[arg(long, value_name = "COUNT", default_value = "3000", value_parser = rate)]
    pub invalid_tokens_per_minute: u32,
    /// Messages that one connection may send for as long as it likes; 0 = no limit
    #[arg(long, value_name = "COUNT", default_value = "100", value_parser = rate)]
    pub messages_per_second: u32,
    /// Messages that one connection may send at once; 0 = no limit
    #[arg(long, value_name = "COUNT", default_value = "200", value_parser = rate)]
    pub message_burst: u32,
    /// Peers in a room
    #[arg(long, value_name = "COUNT", default_value = "50", value_parser = count::<1>)]
    pub max_room_size: usize,
    /// Bytes of one message, on every transport
    #[arg(long, value_name = "BYTES", default_value = "65536", value_parser = megabytes::<16>)]
    pub max_message_bytes: usize,
    /// Bytes of a peer's metadata, at its join and after each update
    #[arg(long, value_name = "BYTES", default_value = "4096", value_parser = megabytes::<1>)]
    pub max_metadata_bytes: usize,
    /// Signals that wait in a session of `/signal` for the side that is away
    #[arg(long, value_name = "COUNT", default_value = "256", value_parser = count::<1>)]
    pub session_queue_messages: usize,
    /// Bytes of all that wait in a session
    #[arg(long, value_name = "BYTES", default_value = "262144", value_parser = megabytes::<16>)]
    pub session_queue_bytes: usize,
    /// How long a signal waits in a session
    #[arg(long, value_name = "SECONDS", default_value = "120", value_parser = seconds::<1>)]
    pub session_queue_ttl_seconds: Duration,
    /// Messages held for a peer whose connection dropped, for the time that it may come back
    #[arg(long, value_name = "COUNT", default_value = "256", value_parser = queue)]
    pub resume_messages: usize,
    /// Bytes of those messages
    #[arg(long, value_name = "BYTES", default_value = "262144", value_parser = megabytes::<16>)]
    pub resume_bytes: usize,
    /// Messages that wait for one slow connection, at most 16 times `MAX_MESSAGE_BYTES` in all (or 1 MiB)
    #[arg(long, value_name = "COUNT", default_value = "128", value_parser = queue)]
    pub send_queue: usize,
}

/// Heartbeats and how long things may take.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Times")]
pub struct Times {
    /// Time between two Socket.IO heartbeats
    #[arg(long, value_name = "MS", default_value = "25000", value_parser = milliseconds)]
    pub ping_interval_ms: Duration,
    /// Time for the answer to a Socket.IO heartbeat
    #[arg(long, value_name = "MS", default_value = "20000", value_parser = milliseconds)]
    pub ping_timeout_ms: Duration,
    /// Time between two heartbeats of a plain WebSocket; one that misses two is closed
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds::<1>)]
    pub ws_ping_seconds: Duration,
    /// Time for a TLS handshake, a request's headers and body, an upgrade, and the first message
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds::<1>)]
    pub handshake_timeout_seconds: Duration,
    /// How long a peer whose connection dropped may come back and be as if it had not; 0 = never
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds::<0>)]
    pub resume_seconds: Duration,
    /// How long a shutdown may take; connections are ended over its first half, one after the other
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds::<0>)]
    pub shutdown_seconds: Duration,
}

/// Logs.
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

/// How strict the server is with its surroundings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum NodeEnv {
    /// At home on one's own machine.
    Development,
    /// Like development; frontends' test runners set it.
    Test,
    /// On the open internet.
    Production,
}

/// What a line of the log looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Pretty,
    /// For machines: one JSON object a line.
    Json,
}

impl Config {
    /// Whether `NODE_ENV` is `production`.
    pub fn is_production(&self) -> bool {
        self.http.node_env == NodeEnv::Production
    }

    /// The log format in force.
    pub fn log_format(&self) -> LogFormat {
        self.log.log_format.unwrap_or(if self.is_production() { LogFormat::Json } else { LogFormat::Pretty })
    }

    /// Whether the main port speaks TLS.
    pub fn has_tls(&self) -> bool {
        self.network.tls_cert.is_some()
    }

    /// What an operator should know before this faces the internet, a line each.
    pub fn exposures(&self) -> Vec<String> {
        let mut exposures = Vec::new();
        let is_local = self.network.host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback());
        if self.is_production() {
            match self.http.client_url() {
                ClientUrl::Any => exposures.push("CLIENT_URL=*: pages of every origin may connect".to_owned()),
                list if list.is_local() => {
                    exposures.push("CLIENT_URL allows pages on localhost only: no other page can connect".to_owned());
                }
                ClientUrl::List(_) => {}
            }
            if self.http.api_token.is_none() {
                exposures.push("API_TOKEN is not set: anyone can list the rooms; changing them is refused".to_owned());
            }
            if self.http.api_token.is_none() && self.http.metrics_addr.is_none() {
                exposures.push("anyone can read /metrics: set METRICS_ADDR, or API_TOKEN".to_owned());
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
    /// The origins whose pages may connect.
    pub fn client_url(&self) -> ClientUrl {
        let default = || ClientUrl::default_for(self.node_env == NodeEnv::Production);
        self.client_url.clone().unwrap_or_else(default)
    }

    /// Whether `/signal` handshakes need TLS.
    pub fn require_tls(&self) -> bool {
        self.require_tls.unwrap_or(self.node_env == NodeEnv::Production)
    }

    /// Whether the demo page is served.
    pub fn demo(&self) -> bool {
        self.demo.unwrap_or(self.node_env != NodeEnv::Production)
    }
}
