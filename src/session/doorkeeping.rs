//! Who is let in by what token, and what a joiner is given to find its peers with.

use std::sync::Arc;
use std::time::SystemTime;

use tracing::{debug, info};

use super::hub::{Connection, Hub};
use crate::auth::{Denial, Grant, TokenError, Verifier};
use crate::ice::IceServers;
use crate::id::ConnectionId;

/// Who is let in, and what a joiner is given.
#[derive(Debug, Default)]
pub struct Doorkeeping {
    /// What checks tokens; where there is nothing, none are required.
    pub verifier: Option<Verifier>,
    /// What clients are told of ICE servers.
    pub ice_servers: Option<Arc<IceServers>>,
}

impl Hub {
    /// Whether every connection needs a token.
    pub fn requires_tokens(&self) -> bool {
        self.doorkeeping.verifier.is_some()
    }

    /// What clients are told of ICE servers.
    pub fn ice_servers(&self) -> Option<&Arc<IceServers>> {
        self.doorkeeping.ice_servers.as_ref()
    }

    /// Checks the token that a newcomer brings; `None` where none are required. What is wrong with it is told to the log
    /// alone.
    pub fn identify(&self, token: Option<&str>) -> Result<Option<Grant>, Denial> {
        let Some(verifier) = &self.doorkeeping.verifier else { return Ok(None) };
        let grant = token.ok_or(TokenError::Missing).and_then(|token| verifier.verify(token, SystemTime::now()));
        grant.map(Some).map_err(|reason| {
            debug!(%reason, "token refused");
            Denial::Unauthorized
        })
    }

    /// Ends a connection whose token has expired.
    pub(super) fn expire(&self, connection: ConnectionId) {
        let Some(Connection { dialect, outbox }) = self.connections.get(&connection).map(|entry| entry.clone()) else {
            return;
        };
        info!(%connection, "closing: its token has expired");
        self.metrics.error(Denial::Unauthorized.code());
        for frame in (dialect.expired)(SystemTime::now()) {
            // It is leaving either way.
            _ = outbox.send(frame);
        }
        outbox.close();
    }
}
