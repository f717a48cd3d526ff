//! Flags of `parlor profile record` and `parlor profile infer`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand};

use super::Invalid;
use super::values::port;

/// Learns an event profile from a call or a trace.
#[derive(Debug, Clone, Parser)]
#[command(name = "parlor profile", max_term_width = 110, disable_help_subcommand = true)]
struct Command {
    #[command(subcommand)]
    order: Order,
}

/// A command that learns an event profile.
#[derive(Debug, Clone, Subcommand)]
pub enum Order {
    /// Learn an event profile by watching one call through an existing Socket.IO server
    Record(Record),
    /// Learn an event profile from a trace that `record --save-trace` wrote
    Infer(Infer),
}

/// Flags of `parlor profile record`.
#[derive(Debug, Clone, Args)]
pub struct Record {
    /// The existing server, http://HOST:PORT or https://HOST:PORT
    #[arg(long, value_name = "URL")]
    pub upstream: String,
    /// Port to listen on, on this machine only; 0 takes a free one
    #[arg(long, value_name = "PORT", default_value = "4000", value_parser = port)]
    pub port: u16,
    /// File for the profile
    #[arg(long, value_name = "FILE", default_value = "profile.toml")]
    pub out: PathBuf,
    /// Accept any certificate of an https server, such as a self-signed one
    #[arg(long)]
    pub insecure: bool,
    /// File for the trace, with bodies, tokens, names and addresses replaced by placeholders
    #[arg(long, value_name = "FILE")]
    pub save_trace: Option<PathBuf>,
}

/// Flags of `parlor profile infer`.
#[derive(Debug, Clone, Args)]
pub struct Infer {
    /// Trace file
    #[arg(value_name = "FILE")]
    pub trace: PathBuf,
    /// File for the profile; without it, the profile is printed
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

impl Order {
    /// Parses the arguments of this process; returns `None` if they name another command.
    pub fn load() -> Option<Result<Self, Invalid>> {
        Self::load_from(std::env::args_os().skip(1))
    }

    fn load_from(flags: impl IntoIterator<Item = OsString>) -> Option<Result<Self, Invalid>> {
        let flags: Vec<OsString> = flags.into_iter().collect();
        let is_ours = matches!(&flags[..], [profile, order, ..] if profile == "profile" && (order == "record" || order == "infer"));
        is_ours.then(|| match Command::try_parse_from(flags) {
            Ok(command) => Ok(command.order),
            Err(error) if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {
                Err(Invalid { message: error.to_string(), exit_code: 0 })
            }
            Err(error) => {
                let text = error.to_string();
                let text: Vec<&str> = text.lines().map(str::trim).take_while(|line| !line.is_empty()).collect();
                let text = text.join(" ");
                let message = format!("parlor: {}", text.trim_start_matches("error: "));
                Err(Invalid { message, exit_code: 2 })
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(line: &str) -> Option<Result<Order, Invalid>> {
        Order::load_from(line.split_whitespace().map(Into::into))
    }

    #[test]
    fn other_commands_are_left_to_the_settings() {
        for line in ["", "serve", "profile", "profile list", "record"] {
            assert!(order(line).is_none(), "{line}");
        }
    }

    #[test]
    fn flags_are_parsed_and_invalid_ones_explained_in_one_line() {
        let Some(Ok(Order::Record(record))) = order("profile record --upstream http://localhost:3001 --insecure")
        else {
            panic!("not a record");
        };
        assert_eq!((record.port, record.insecure, record.out), (4000, true, PathBuf::from("profile.toml")));
        let error = |line| order(line).unwrap().unwrap_err();
        assert!(error("profile record").message.contains("--upstream <URL>"), "{}", error("profile record").message);
        assert!(!error("profile record").message.contains('\n'));
        assert!(error("profile infer x --port 1").message.contains("--port"));
        assert_eq!(error("profile record --help").exit_code, 0);
    }
}
