//! `parlor token`: signs a token for testing.

use std::time::{Duration, SystemTime};

use crate::auth::issue::{IssueError, TokenRequest, sign};
use crate::config::{Config, TokenClaims};

/// Signs the token that the flags describe.
pub fn issue(config: &Config) -> Result<String, IssueError> {
    let TokenClaims { sub, room, ttl, name } = &config.token;
    let secret = config.tokens.jwt_secret.as_ref().ok_or(IssueError::NoSecret)?;
    let request = TokenRequest {
        subject: sub.as_ref().ok_or(IssueError::NoSubject)?,
        rooms: room,
        name: name.as_deref(),
        ttl: ttl.unwrap_or(Duration::from_hours(1)),
        issuer: config.tokens.jwt_issuer.as_deref(),
        audience: &config.tokens.jwt_audience,
    };
    sign(&request, secret.as_str(), SystemTime::now())
}
