//! `parlor token`: a token for trying out.

use std::time::{Duration, SystemTime};

use crate::auth::issue::{IssueError, Order, sign};
use crate::config::{Config, TokenOrder};

/// Signs the token that the flags describe.
pub fn issue(config: &Config) -> Result<String, IssueError> {
    let TokenOrder { sub, room, ttl, name } = &config.token;
    let secret = config.tokens.jwt_secret.as_ref().ok_or(IssueError::NoSecret)?;
    let order = Order {
        subject: sub.as_ref().ok_or(IssueError::NoSubject)?,
        rooms: room,
        name: name.as_deref(),
        ttl: ttl.unwrap_or(Duration::from_hours(1)),
        issuer: config.tokens.jwt_issuer.as_deref(),
        audience: &config.tokens.jwt_audience,
    };
    sign(&order, secret.as_str(), SystemTime::now())
}
