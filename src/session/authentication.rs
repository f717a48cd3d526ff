//! Authenticates handshakes, and open connections that send a token later.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tracing::debug;

use super::handle::Session;
use super::hub::Hub;
use crate::auth::{Denial, Grant, TokenError};
use crate::dialect::RequestError;
use crate::ice::IceServers;
use crate::metrics::Limit;
use crate::room::Command;

impl Hub {
    /// Returns whether every connection needs a token.
    pub fn requires_tokens(&self) -> bool {
        self.access.verifier.is_some()
    }

    /// Returns the ICE servers that clients are given.
    pub fn ice_servers(&self) -> Option<&Arc<IceServers>> {
        self.access.ice_servers.as_ref()
    }

    /// Returns how long an address must wait before its tokens are verified again, if it has sent
    /// too many invalid ones. Also counts the limit.
    pub fn token_wait(&self, address: IpAddr) -> Option<Duration> {
        self.access.verifier.as_ref()?;
        let wait = self.invalid_tokens.wait(address, Instant::now())?;
        self.limit_hit(
            Limit::InvalidTokensPerIp,
            "too many invalid tokens from one address, refusing its tokens",
        );
        Some(wait)
    }

    /// Verifies a client's token; returns `Ok(None)` if none is required. The reason for a denial
    /// is only logged.
    pub fn identify(&self, address: IpAddr, token: Option<&str>) -> Result<Option<Grant>, Denial> {
        let Some(verifier) = &self.access.verifier else { return Ok(None) };
        if token.is_some() && self.token_wait(address).is_some() {
            return Err(Denial::TooManyInvalid);
        }
        let grant = token
            .ok_or(TokenError::Missing)
            .and_then(|token| verifier.verify(token, SystemTime::now()));
        grant.map(Some).map_err(|reason| {
            debug!(%reason, "token refused");
            if reason != TokenError::Missing {
                self.invalid_tokens.record(address, Instant::now());
            }
            Denial::Unauthorized
        })
    }
}

impl Session {
    /// Returns the grant of the session's token, if it has one.
    pub fn grant(&self) -> Option<Arc<Grant>> {
        self.state.identity.grant()
    }

    /// Sets the session's grant, which must have the same subject as the previous one. The
    /// connection ends when the grant expires.
    pub fn accept(&self, grant: Grant) -> Result<(), Denial> {
        let expires_at = grant.expires_at;
        let older = self.state.identity.accept(grant)?;
        if let Some(older) = older {
            self.hub.expiries.remove(older.expires_at, self.state.id);
        }
        self.hub.expiries.insert(expires_at, self.state.id);
        if self.state.has_ended() {
            self.hub.expiries.remove(expires_at, self.state.id);
        }
        Ok(())
    }

    /// Verifies a token that an open connection sends. Without a token, the current grant remains.
    /// Returns `Ok(None)` if no token is required.
    pub fn authenticate(&self, token: Option<&str>) -> Result<Option<Arc<Grant>>, RequestError> {
        if let (None, Some(held)) = (token, self.state.identity.grant()) {
            return Ok(Some(held));
        }
        let address = self.state.address();
        if let (Some(_), Some(retry_after)) = (token, self.hub.token_wait(address)) {
            return Err(RequestError::RateLimited { retry_after });
        }
        let Some(grant) = self.hub.identify(address, token)? else { return Ok(None) };
        self.accept(grant)?;
        Ok(self.state.identity.grant())
    }

    /// Applies the session's grant to a command, and returns the command with the room size that
    /// the grant allows.
    pub(super) fn authorize(
        &self,
        command: Command,
        now: SystemTime,
    ) -> Result<(Command, Option<usize>), Denial> {
        if !self.hub.requires_tokens() {
            return Ok((command, None));
        }
        self.state.identity.authorize(command, self.state.dialect.names, now)
    }
}
