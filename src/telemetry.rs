//! Logs, and what is said at the start.

use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;

use tracing::{error, info, warn};
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;

use crate::config::{Config, LogFormat};

mod fields;

/// How many lines wait for a standard output that is read slowly. What comes on top of them is lost: a log that nobody
/// reads must not stop the server.
const WAITING_LINES: usize = 16_384;

/// Libraries that would tell credentials and addresses of clients, whatever the level is.
const QUIET: [&str; 2] = ["str0m=error", "is=error"];

/// Starts logging to the standard output, by a thread of its own. What waits is written when the guard is dropped.
///
/// # Panics
///
/// If logging was started before.
#[must_use = "the last lines are written when this is dropped"]
pub fn init(config: &Config) -> WorkerGuard {
    let (output, guard) =
        NonBlockingBuilder::default().buffered_lines_limit(WAITING_LINES).lossy(true).finish(io::stdout());
    let mut filter = EnvFilter::try_new(&config.log.log_level).expect("the filter was checked with the settings");
    for quiet in QUIET {
        filter = filter.add_directive(quiet.parse().expect("it is a directive"));
    }
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(output);
    match config.log_format() {
        LogFormat::Pretty => {
            builder.with_target(false).with_ansi(io::stdout().is_terminal()).fmt_fields(fields::Fields).init();
        }
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
    guard
}

/// Has defects logged like everything else, by the place in the code alone: what a panic says may hold parts of a message.
pub fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        error!(place, "panic");
    }));
}

/// Says where the server is, who may use it, and what an operator should look at.
///
/// `media` is where clients are told to take their media. The address is printed whatever the log level: with `PORT=0` there is no other way to learn it.
pub fn announce(config: &Config, address: SocketAddr, media: &[SocketAddr], warnings: &[String]) {
    let version = env!("CARGO_PKG_VERSION");
    let origins = config.http.client_url();
    let scheme = if config.has_tls() { "https" } else { "http" };
    let demo = demo(config, scheme, address);
    let banner = match config.log_format() {
        LogFormat::Pretty => format!(
            "parlor {version} listening on {scheme}://{address}\n  demo             {demo}\n  allowed origins  {origins}, and this server's own"
        ),
        LogFormat::Json => {
            let timestamp = humantime::format_rfc3339_millis(std::time::SystemTime::now()).to_string();
            let line = serde_json::json!({
                "timestamp": timestamp, "level": "INFO", "message": format!("listening on {scheme}://{address}"),
                "version": version, "address": address.to_string(), "demo": demo, "allowed_origins": origins.to_string(),
            });
            line.to_string()
        }
    };
    // Nobody may be reading any more; the server serves all the same.
    _ = writeln!(io::stdout(), "{banner}");
    for warning in warnings.iter().chain(&config.exposures()) {
        warn!("{warning}");
    }
    info!(
        max_room_size = config.limits.max_room_size,
        max_message_bytes = config.limits.max_message_bytes,
        room_auto_create = config.rooms.room_auto_create,
        ?media,
        "ready"
    );
}

/// Where the demo page is, or why it is not.
fn demo(config: &Config, scheme: &str, address: SocketAddr) -> String {
    if !config.http.demo() {
        return "not served (DEMO=true serves it)".to_owned();
    }
    if crate::http::demo::folder().is_none() {
        return "not served (there is no folder client-demo here, nor beside the program)".to_owned();
    }
    // Browsers give camera and microphone to pages on localhost, and to no other without TLS.
    if address.ip().is_unspecified() || address.ip().is_loopback() {
        format!("{scheme}://localhost:{}/", address.port())
    } else if config.has_tls() {
        format!("{scheme}://{address}/")
    } else {
        format!("http://{address}/ (for camera and microphone, browsers want localhost or TLS)")
    }
}
