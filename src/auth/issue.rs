//! A token for trying out: `parlor token`.

use std::time::{Duration, SystemTime};

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::Serialize;

use crate::id::{PeerId, RoomId};

/// What a token is to say.
#[derive(Debug, Clone)]
pub struct Order<'a> {
    /// Whom it is for.
    pub subject: &'a PeerId,
    /// The rooms; none is all.
    pub rooms: &'a [RoomId],
    /// What the others call the peer.
    pub name: Option<&'a str>,
    /// For how long it is good.
    pub ttl: Duration,
    /// As this server expects them.
    pub issuer: Option<&'a str>,
    /// The same.
    pub audience: &'a [String],
}

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// There is nothing to sign it with.
    #[error("a token is signed with JWT_SECRET, which is not set")]
    NoSecret,
    /// It must be somebody's.
    #[error("a token is for somebody: --sub <ID> is missing")]
    NoSubject,
    /// The library cannot sign it.
    #[error("the token cannot be signed")]
    Signing(#[from] jsonwebtoken::errors::Error),
}

#[derive(Serialize)]
struct Claims<'a> {
    sub: &'a str,
    iat: u64,
    exp: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    rooms: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<&'a str>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    aud: &'a [String],
}

/// Signs a token with HS256.
pub fn sign(order: &Order<'_>, secret: &str, now: SystemTime) -> Result<String, IssueError> {
    let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let claims = Claims {
        sub: order.subject.as_str(),
        iat: now,
        exp: now.saturating_add(order.ttl.as_secs()),
        rooms: order.rooms.iter().map(RoomId::as_str).collect(),
        name: order.name,
        iss: order.issuer,
        aud: order.audience,
    };
    Ok(jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &EncodingKey::from_secret(secret.as_bytes())?)?)
}
