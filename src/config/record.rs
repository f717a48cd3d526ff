//! Flags of `parlor profile record` and `parlor profile infer`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::values::port;

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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::commands::{self, CommandLine, ProfileCommand};
    use super::super::load_from;
    use super::*;

    fn order(line: &str) -> Option<Order> {
        match commands::parse(line.split_whitespace().map(Into::into).collect()) {
            Ok(CommandLine::Profile(ProfileCommand::Learn(order))) => Some(order),
            _ => None,
        }
    }

    #[test]
    fn other_commands_are_not_recorder_commands() {
        for line in ["", "serve", "profile", "profile list", "profile show add-peer", "record"] {
            assert!(order(line).is_none(), "{line}");
        }
    }

    #[test]
    fn flags_are_parsed_and_invalid_ones_explained_in_one_line() {
        let Some(Order::Record(record)) =
            order("profile record --upstream http://localhost:3001 --insecure")
        else {
            panic!("not a record");
        };
        assert_eq!(
            (record.port, record.insecure, record.out),
            (4000, true, PathBuf::from("profile.toml"))
        );
        let error = |line: &str| {
            let flags = line.split_whitespace().map(Into::into);
            load_from(flags, BTreeMap::new(), BTreeMap::new()).unwrap_err()
        };
        assert_eq!(error("profile record").message, "parlor: missing --upstream <URL>");
        assert!(error("profile infer x --port 1").message.contains("--port"));
        assert_eq!(error("profile record --help").exit_code, 0);
    }
}
