//! Logging, and the banner at startup.

use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;

use tracing::{error, info, warn};
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;

use crate::config::{Config, LogFormat};
use crate::http::assets::Assets;

mod fields;

/// Maximum number of log lines queued for a slow standard output. Further lines are dropped: an
/// unread log must not stop the server.
const MAX_QUEUED_LINES: usize = 16_384;

/// Directives for libraries that would log credentials and client addresses at lower levels.
const QUIET: [&str; 2] = ["str0m=error", "is=error"];

/// Starts logging to the standard output from a separate thread. Dropping the guard flushes queued
/// lines.
///
/// # Panics
///
/// Panics if logging was already started.
#[must_use = "dropping the guard flushes the last lines"]
pub fn init(config: &Config) -> WorkerGuard {
    let (output, guard) = NonBlockingBuilder::default()
        .buffered_lines_limit(MAX_QUEUED_LINES)
        .lossy(true)
        .finish(io::stdout());
    let mut filter =
        EnvFilter::try_new(&config.log.log_level).expect("the configuration validates the filter");
    for quiet in QUIET {
        filter = filter.add_directive(quiet.parse().expect("valid directive"));
    }
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(output);
    match config.log_format() {
        LogFormat::Pretty => {
            builder
                .with_target(false)
                .with_ansi(io::stdout().is_terminal())
                .fmt_fields(fields::Fields)
                .init();
        }
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
    guard
}

/// Logs panics with their location only, since a panic message may hold parts of a client's
/// message.
pub fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let location = panic.location().map(ToString::to_string).unwrap_or_default();
        error!(location, "panic");
    }));
}

/// Prints the address and the allowed origins, and logs warnings about the configuration.
///
/// `reachable` holds the addresses at which this machine reaches the server, and `media` the
/// announced media addresses. The banner is printed at any log level: with `PORT=0` there is no
/// other way to learn the port.
pub fn announce(
    config: &Config,
    address: SocketAddr,
    reachable: &[SocketAddr],
    media: &[SocketAddr],
    warnings: &[String],
) {
    let version = env!("CARGO_PKG_VERSION");
    let origins = config.http.client_url();
    let scheme = if config.has_tls() { "https" } else { "http" };
    let demo = demo(config, scheme, address);
    let banner = match config.log_format() {
        LogFormat::Pretty => {
            let mut lines = vec![format!("parlor {version} listening on {scheme}://{address}")];
            lines.extend(open_lines(config, scheme, address, reachable));
            lines.push(format!("  allowed origins  {origins}, and this server's own"));
            lines.join("\n")
        }
        LogFormat::Json => {
            let timestamp =
                humantime::format_rfc3339_millis(std::time::SystemTime::now()).to_string();
            let line = serde_json::json!({
                "timestamp": timestamp, "level": "INFO", "message": format!("listening on {scheme}://{address}"),
                "version": version, "address": address.to_string(), "demo": demo, "allowed_origins": origins.to_string(),
            });
            line.to_string()
        }
    };
    // Standard output may be closed, which must not stop the server.
    _ = writeln!(io::stdout(), "{banner}");
    for warning in warnings.iter().chain(&config.exposures()) {
        warn!("{warning}");
    }
    for bundle in Assets::find().missing_bundles() {
        warn!(
            "this build lacks {bundle}, and the demo needs it: run make vendor (with Node), then build again"
        );
    }
    info!(
        max_room_size = config.limits.max_room_size,
        max_message_bytes = config.limits.max_message_bytes,
        room_auto_create = config.rooms.room_auto_create,
        ?media,
        "ready"
    );
}

/// Returns the lines of the banner that say where to open the demo: on this machine, and on others
/// in the same network.
fn open_lines(
    config: &Config,
    scheme: &str,
    address: SocketAddr,
    reachable: &[SocketAddr],
) -> Vec<String> {
    if !config.http.demo() {
        return vec![format!("  documentation    {}docs/", demo_url(scheme, address))];
    }
    let mut lines = vec![format!("  open             {}?room=try", demo_url(scheme, address))];
    let others =
        reachable.iter().find(|other| address.ip().is_unspecified() && !other.ip().is_loopback());
    if let Some(other) = others {
        let camera = if config.has_tls() { "" } else { " (camera needs TLS: parlor --dev-tls)" };
        lines.push(format!("  other machines   {scheme}://{other}/?room=try{camera}"));
    }
    lines
}

/// Returns the URL of the demo page, or why it is not served.
fn demo(config: &Config, scheme: &str, address: SocketAddr) -> String {
    if !config.http.demo() {
        return "not served (DEMO=true serves it)".to_owned();
    }
    // Without TLS, browsers allow camera and microphone only to pages on localhost.
    let is_secure = config.has_tls() || address.ip().is_unspecified() || address.ip().is_loopback();
    let note = if is_secure {
        ""
    } else {
        " (browsers require localhost or TLS for camera and microphone)"
    };
    format!("{}{note}", demo_url(scheme, address))
}

/// Returns the URL of the demo page on this machine.
fn demo_url(scheme: &str, address: SocketAddr) -> String {
    if address.ip().is_unspecified() || address.ip().is_loopback() {
        format!("{scheme}://localhost:{}/", address.port())
    } else {
        format!("{scheme}://{address}/")
    }
}
