//! Authentication: of handshakes by the hub, and of open connections that bring a token later.

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
}

impl Session {
    /// What the connection's token allows, where it has brought one.
    pub fn grant(&self) -> Option<Arc<Grant>> {
        self.state.identity.grant()
    }

    /// Takes a grant from now on, in place of the one before, which must be of the same person. The connection ends when
    /// the grant does.
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

    /// Takes the token that an open connection brings; one that brings none stays what it is. `None` where none are
    /// required.
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

    /// The command as the connection may have it carried out.
    pub(super) fn authorize(&self, command: Command, now: SystemTime) -> Result<(Command, Option<usize>), Denial> {
        if !self.hub.requires_tokens() {
            return Ok((command, None));
        }
        self.state.identity.authorize(command, self.state.dialect.names, now)
    }
}
