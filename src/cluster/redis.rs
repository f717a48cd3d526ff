//! One engine over the network: the only place that names the `redis` crate.
//!
//! - [`link`]: what a [`Node`](super::Node) calls only puts requests into a queue;
//! - [`serve`]: one connection at a time, which takes the queue in batches and reports replies and
//!   messages to the node; [`resp`]: its protocol;
//! - [`codec`] turns calls and replies into values of the engine; [`sources`] are the scripts, in the
//!   `.lua` files beside it;
//! - [`target`] finds the engine; [`connect`] opens a connection, and checks that the engine is one
//!   that can be used; [`lent`]: the connection while the library authenticates on it;
//! - [`node_table`]: the living nodes with their names, addresses and loads;
//! - [`engines`]: all engines together, for requests that concern no session.
//!
//! The guarantee that is easy to break: nothing is sent on a new connection that the node did not
//! ask for since it asked for that connection, and nothing that an old connection still reports
//! reaches the node.

mod codec;
mod connect;
mod engines;
mod lent;
mod link;
mod node_table;
mod resp;
mod scripts;
mod serve;
mod sources;
mod target;

use std::fmt;
use std::time::Duration;

use self::codec::BadReply;
pub use self::engines::Engines;
pub use self::link::{AskError, Link, RedisEngine, Traffic};
pub use self::node_table::{ListedNode, NodeLoad, NodeTable};
pub use self::scripts::Scripts;
pub use self::serve::run;
pub use self::target::{EngineTarget, TargetError};
use super::frame;

/// Schema of the keys.
const SCHEMA: u32 = 1;

/// A node, as it presents itself to the cluster.
#[derive(Debug, Clone)]
pub struct NodeIdentity {
    /// Prefix of all keys and channels.
    pub prefix: String,
    /// Name of the node.
    pub name: String,
    /// URL of the port of this node for other nodes.
    pub address: String,
    /// The hosts of all engines, in their order.
    pub engines: String,
    /// A node that is silent for this long is dead.
    pub lease: Duration,
}

impl NodeIdentity {
    fn info(&self) -> String {
        // Names and addresses need no escapes: the settings take none that would.
        format!(
            r#"{{"name":"{}","address":"{}","version":"{}","proto":{}}}"#,
            self.name,
            self.address,
            env!("CARGO_PKG_VERSION"),
            frame::PROTOCOL,
        )
    }

    fn keys(&self) -> String {
        format!("{}:{SCHEMA}:", self.prefix)
    }
}

/// Why a connection ended.
#[derive(Debug)]
enum Problem {
    /// The node wants another one.
    Superseded,
    Lost(String),
    /// It cannot be used, whatever is tried again.
    Refused(String),
    /// Another node has the name of this one.
    NameInUse,
}

impl From<redis::RedisError> for Problem {
    fn from(error: redis::RedisError) -> Self {
        Self::Lost(error.to_string())
    }
}

impl From<std::io::Error> for Problem {
    fn from(error: std::io::Error) -> Self {
        Self::Lost(if error.kind() == std::io::ErrorKind::UnexpectedEof {
            "the engine closed the connection".to_owned()
        } else {
            error.to_string()
        })
    }
}

impl From<BadReply> for Problem {
    fn from(error: BadReply) -> Self {
        match error {
            BadReply::Engines(_) => Self::Refused(error.to_string()),
            BadReply::Name => Self::NameInUse,
            BadReply::Error(_) | BadReply::Malformed => Self::Lost(error.to_string()),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Superseded => f.write_str("another connection takes its place"),
            Self::Lost(why) | Self::Refused(why) => f.write_str(why),
            Self::NameInUse => f.write_str("another node of this name is alive"),
        }
    }
}
