//! The access policy: token verification at the handshake, and what a joiner is told of ICE servers.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tracing::{debug, info};

use super::hub::{Connection, Hub};
use crate::auth::{Denial, Grant, TokenError, Verifier};
use crate::ice::IceServers;
use crate::id::ConnectionId;
use crate::metrics::Limit;

/// Who may connect, and what clients are told of ICE servers.
#[derive(Debug, Default)]
pub struct AccessPolicy {
    /// Verifies tokens; without it, none are required.
    pub verifier: Option<Verifier>,
    /// The ICE servers that clients are told.
    pub ice_servers: Option<Arc<IceServers>>,
}

impl Hub {
    /// Whether every connection needs a token.
    pub fn requires_tokens(&self) -> bool {
        self.access.verifier.is_some()
    }

    /// The ICE servers that clients are told.
    pub fn ice_servers(&self) -> Option<&Arc<IceServers>> {
        self.access.ice_servers.as_ref()
    }

    /// How long an address has to wait before a token of it is verified, since it has sent too many invalid ones; `None`
    /// if it need not. Counts the limit if so.
    pub fn token_wait(&self, address: IpAddr) -> Option<Duration> {
        self.access.verifier.as_ref()?;
        let wait = self.invalid_tokens.wait(address, Instant::now())?;
        self.limit_hit(Limit::InvalidTokensPerIp, "too many invalid tokens from one address, refusing its tokens");
        Some(wait)
    }

    /// Verifies the token that a client at an address brings; `None` where none are required. What is wrong with it is
    /// only logged.
    pub fn identify(&self, address: IpAddr, token: Option<&str>) -> Result<Option<Grant>, Denial> {
        let Some(verifier) = &self.access.verifier else { return Ok(None) };
        if token.is_some() && self.token_wait(address).is_some() {
            return Err(Denial::TooManyInvalid);
        }
        let grant = token.ok_or(TokenError::Missing).and_then(|token| verifier.verify(token, SystemTime::now()));
        grant.map(Some).map_err(|reason| {
            debug!(%reason, "token refused");
            if reason != TokenError::Missing {
                self.invalid_tokens.note(address, Instant::now());
            }
            Denial::Unauthorized
        })
    }

    /// Ends a connection whose token has expired.
    pub(super) fn expire(&self, connection: ConnectionId) {
        let Some(Connection { dialect, mailbox }) = self.connections.get(&connection).map(|entry| entry.clone()) else {
            return;
        };
        info!(%connection, "closing: its token has expired");
        self.metrics.error(Denial::Unauthorized.code());
        for frame in (dialect.expired)(SystemTime::now()) {
            // It is leaving either way.
            _ = mailbox.send(frame);
        }
        mailbox.close();
    }
}
