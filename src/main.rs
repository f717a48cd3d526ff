//! The `parlor` program: loads the settings and serves until it receives a signal.

mod profile;

use std::io::Write;
use std::net::TcpListener;
use std::process::ExitCode;

use parlor::config::{self, Action, Loaded, Request};
use parlor::server::{self, Server, StartError};
use parlor::timeouts::Timeouts;
use parlor::transport::bind;
use parlor::{health, lifecycle, sfu, telemetry, token};
use tokio::signal::unix::{SignalKind, signal};

/// Returns the memory of closed connections to the system, which the C library's allocator keeps.
#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Exit code of an invalid setting.
const INVALID_SETTING: u8 = 2;

fn main() -> ExitCode {
    let done = match config::load() {
        Ok(Request::Print(text)) => {
            print(&text);
            Ok(())
        }
        Ok(Request::Profile(command)) => profile::run(command).map(|text| print(&text)),
        Ok(Request::WithSettings(loaded)) => carry_out(*loaded),
        Err(invalid) if invalid.exit_code == 0 => {
            print(&invalid.message);
            Ok(())
        }
        Err(invalid) => {
            _ = writeln!(std::io::stderr(), "{}", invalid.message);
            return invalid.exit_code.into();
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            _ = writeln!(std::io::stderr(), "parlor: {error:#}");
            let is_setting = error.is::<Unreachable>()
                || error.is::<ClusterRefused>()
                || matches!(
                    error.downcast_ref(),
                    Some(StartError::Setting(_) | StartError::Profiles(_) | StartError::Cluster(_))
                );
            if is_setting { INVALID_SETTING.into() } else { ExitCode::FAILURE }
        }
    }
}

/// Settings that cannot work in production.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Unreachable(String);

/// Carries out a command that needs the settings.
fn carry_out(mut loaded: Loaded) -> anyhow::Result<()> {
    if matches!(loaded.config.action, Action::Serve | Action::Check)
        && let Some(warning) = loaded.config.local_media()
    {
        if loaded.config.is_production() {
            return Err(Unreachable(warning).into());
        }
        loaded.warnings.push(warning);
    }
    match loaded.config.action {
        // Called before any thread starts.
        Action::Serve => match bind::inherited() {
            Ok(inherited) => run(loaded, inherited),
            Err(error) => Err(anyhow::Error::new(error).context("cannot use the inherited socket")),
        },
        Action::Check => {
            print(&loaded.to_string());
            server::check(&loaded.config).map_err(anyhow::Error::new)
        }
        Action::Token => {
            token::issue(&loaded.config).map(|token| print(&token)).map_err(anyhow::Error::new)
        }
        Action::Health => health::check(&loaded.config).map_err(anyhow::Error::new),
    }
}

/// This process may not be a node of the cluster.
#[derive(Debug, thiserror::Error)]
#[error("CLUSTER_URL: {0}")]
struct ClusterRefused(String);

#[tokio::main]
async fn run(
    Loaded { config, warnings, .. }: Loaded,
    inherited: Option<TcpListener>,
) -> anyhow::Result<()> {
    let _log = telemetry::init(&config);
    telemetry::log_panics();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let mut server = Server::start(config.clone(), inherited, Timeouts::default())?;
    let reachable = sfu::detect_addresses(server.local_addr());
    telemetry::announce(&config, server.local_addr(), &reachable, server.media_addrs(), &warnings);
    lifecycle::raise_open_files();
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => server.reload().await,
            why = server.refused() => {
                server.shutdown().await;
                return Err(ClusterRefused(why).into());
            }
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
