//! The `parlor` program: settings in, a server until a signal comes.

use std::io::Write;
use std::process::ExitCode;

use parlor::config::{self, Action, Loaded};
use parlor::server::Server;
use parlor::{health, lifecycle, telemetry};
use tokio::signal::unix::{SignalKind, signal};

fn main() -> ExitCode {
    let loaded = match config::load() {
        Ok(loaded) => loaded,
        Err(invalid) if invalid.exit_code == 0 => {
            print(&invalid.message);
            return ExitCode::SUCCESS;
        }
        Err(invalid) => {
            _ = writeln!(std::io::stderr(), "{}", invalid.message);
            return invalid.exit_code.into();
        }
    };
    let done = match loaded.config.action {
        Action::Serve => run(loaded),
        Action::Check => {
            print(&loaded.to_string());
            Ok(())
        }
        Action::Token => loaded.config.token().map(|token| print(&token)).map_err(anyhow::Error::new),
        Action::Health => health::check(&loaded.config).map_err(anyhow::Error::new),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            _ = writeln!(std::io::stderr(), "parlor: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn run(Loaded { config, warnings, .. }: Loaded) -> anyhow::Result<()> {
    let _log = telemetry::init(&config);
    telemetry::log_panics();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let server = Server::bind(config.clone())?;
    telemetry::announce(&config, server.local_addr(), &warnings);
    lifecycle::raise_open_files();
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tokio::select! {
        _ = server.shutdown() => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

/// To the standard output, if anybody still reads it.
fn print(text: &str) {
    _ = writeln!(std::io::stdout(), "{}", text.trim_end());
}
