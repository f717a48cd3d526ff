//! Signing of tokens for testing: `parlor token`.

use std::time::{Duration, SystemTime};

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::Serialize;

use crate::id::{PeerId, RoomId};

/// The contents of a token to sign.
#[derive(Debug, Clone)]
pub struct TokenRequest<'a> {
    /// The `sub`.
    pub subject: &'a PeerId,
    /// The rooms it grants; empty means all.
    pub rooms: &'a [RoomId],
    /// The display name of the peer.
    pub name: Option<&'a str>,
    /// How long the token is valid.
    pub ttl: Duration,
    /// The `iss`, as configured for this server.
    pub issuer: Option<&'a str>,
    /// The `aud`, as configured for this server.
    pub audience: &'a [String],
}

/// Why a token cannot be signed.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// No secret is configured.
    #[error("JWT_SECRET is not set, cannot sign a token")]
    NoSecret,
    /// No subject was given.
    #[error("--sub <ID> is missing: a token needs a subject")]
    NoSubject,
    /// Signing failed.
    #[error("cannot sign the token")]
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
pub fn sign(
    request: &TokenRequest<'_>,
    secret: &str,
    now: SystemTime,
) -> Result<String, IssueError> {
    let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let claims = Claims {
        sub: request.subject.as_str(),
        iat: now,
        exp: now.saturating_add(request.ttl.as_secs()),
        rooms: request.rooms.iter().map(RoomId::as_str).collect(),
        name: request.name,
        iss: request.issuer,
        aud: request.audience,
    };
    Ok(jsonwebtoken::encode(
        &Header::new(Algorithm::HS256),
        &claims,
        &EncodingKey::from_secret(secret.as_bytes())?,
    )?)
}
