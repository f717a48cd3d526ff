//! Settings of Socket.IO: event profiles, application events, namespaces and paths.

use std::collections::BTreeSet;

use clap::Args;

use super::values::{AUTO_PROFILES, namespace, profile, socketio_path};
use crate::dialect::socketio::relay_events::RelayEvents;

/// Support for Socket.IO frontends.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Socket.IO")]
pub struct SocketIo {
    /// Event profiles in order of preference, comma-separated: `auto` (all built-in ones), names,
    /// paths of files (.toml)
    #[arg(long, value_name = "PROFILES", default_value = "auto", value_delimiter = ',', value_parser = profile)]
    pub socketio_profiles: Vec<String>,
    /// Application events that are relayed: `all`, `none`, or names, comma-separated; `name>other`
    /// renames an event, `name!` also sends it to its sender
    #[arg(long, value_name = "EVENTS", default_value = "all")]
    pub relay_events: RelayEvents,
    /// Namespaces that clients may connect to, comma-separated; `*` is any
    #[arg(long, value_name = "NAMESPACES", default_value = "*", value_delimiter = ',', value_parser = namespace)]
    pub socketio_namespaces: Vec<String>,
    /// Paths at which Socket.IO is served, comma-separated
    #[arg(long, value_name = "PATHS", default_value = "/socket.io/", value_delimiter = ',', value_parser = socketio_path)]
    pub socketio_paths: Vec<String>,
}

/// Name that denotes all built-in profiles.
pub const AUTO: &str = AUTO_PROFILES;

impl SocketIo {
    /// Returns the paths at which Socket.IO is served, without duplicates.
    pub fn paths(&self) -> BTreeSet<&str> {
        self.socketio_paths.iter().map(String::as_str).collect()
    }
}
