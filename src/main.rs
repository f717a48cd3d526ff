//! The `parlor` program: loads the settings and serves until it receives a signal.

mod learn;
mod profile;

use std::io::Write;
use std::net::TcpListener;
use std::process::ExitCode;

use parlor::config::record::Order;
use parlor::config::{self, Action, Loaded};
use parlor::server::{self, Server, StartError};
use parlor::timeouts::Timeouts;
use parlor::transport::bind;
use parlor::{health, lifecycle, telemetry, token};
use tokio::signal::unix::{SignalKind, signal};

/// Returns freed memory to the system, which the C library's allocator mostly keeps.
#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Prints help to standard output, or an invalid setting to standard error, and returns the exit
/// code.
fn report(invalid: &config::Invalid) -> ExitCode {
    if invalid.exit_code == 0 {
        print(&invalid.message);
    } else {
        _ = writeln!(std::io::stderr(), "{}", invalid.message);
    }
    invalid.exit_code.into()
}

fn main() -> ExitCode {
    if let Some(order) = Order::load() {
        return learn::run(order);
    }
    let loaded = match config::load() {
        Ok(loaded) => loaded,
        Err(invalid) => return report(&invalid),
    };
    let done = match loaded.config.action {
        // Called before any thread starts.
        Action::Serve => match bind::inherited() {
            Ok(inherited) => run(loaded, inherited),
            Err(error) => Err(anyhow::Error::new(error).context("cannot use the inherited socket")),
        },
        Action::Profile => profile::run(&loaded.config.arguments).map(|text| print(&text)),
        Action::Check => {
            print(&loaded.to_string());
            server::check(&loaded.config).map_err(anyhow::Error::new)
        }
        Action::Token => token::issue(&loaded.config).map(|token| print(&token)).map_err(anyhow::Error::new),
        Action::Health => health::check(&loaded.config).map_err(anyhow::Error::new),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            _ = writeln!(std::io::stderr(), "parlor: {error:#}");
            // The exit code of an invalid setting.
            let is_setting = matches!(error.downcast_ref(), Some(StartError::Setting(_) | StartError::Profiles(_)));
            if is_setting { ExitCode::from(2) } else { ExitCode::FAILURE }
        }
    }
}

#[tokio::main]
async fn run(Loaded { config, warnings, .. }: Loaded, inherited: Option<TcpListener>) -> anyhow::Result<()> {
    let _log = telemetry::init(&config);
    telemetry::log_panics();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let server = Server::start(config.clone(), inherited, Timeouts::default())?;
    telemetry::announce(&config, server.local_addr(), server.media_addrs(), &warnings);
    lifecycle::raise_open_files();
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => server.reload().await,
        }
    }
    tokio::select! {
        _ = server.shutdown() => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

/// Prints to standard output, ignoring a closed pipe.
fn print(text: &str) {
    _ = writeln!(std::io::stdout(), "{}", text.trim_end());
}
