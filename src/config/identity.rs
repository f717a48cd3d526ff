//! Settings of access tokens and ICE servers, and the flags of `parlor token`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::values::{Secret, seconds};
use crate::ice;
use crate::id::{PeerId, RoomId};

/// Flags of `parlor token`, which are not settings.
pub(super) const TOKEN_FLAGS: [&str; 4] = ["sub", "room", "ttl", "name"];

/// Access tokens: with a secret, a key or a key set, every connection needs one.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Tokens")]
pub struct Tokens {
    /// Secret that tokens are signed with (HS256); if it is set, every connection needs a token
    #[arg(long, value_name = "SECRET", allow_hyphen_values = true)]
    pub jwt_secret: Option<Secret>,
    /// Public key that verifies tokens, as PEM or the path of a file: RSA (RS256), EC P-256
    /// (ES256), Ed25519 (`EdDSA`)
    #[arg(long, value_name = "PEM", allow_hyphen_values = true)]
    pub jwt_public_key: Option<Secret>,
    /// File with a set of public keys (JWKS), reloaded when it changes
    #[arg(long, value_name = "FILE")]
    pub jwt_jwks: Option<PathBuf>,
    /// Required `iss` of tokens
    #[arg(long, value_name = "ISSUER")]
    pub jwt_issuer: Option<String>,
    /// Accepted `aud` of tokens, comma-separated
    #[arg(long, value_name = "AUDIENCE", value_delimiter = ',')]
    pub jwt_audience: Vec<String>,
}

/// ICE servers for clients.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "ICE servers")]
pub struct Ice {
    /// Servers given to clients unchanged: a JSON array as for `RTCPeerConnection`
    #[arg(long, value_name = "JSON", value_parser = ice_servers)]
    pub ice_servers: Option<Secret>,
    /// TURN servers that share `TURN_SECRET`, comma-separated
    #[arg(long, value_name = "URLS", value_delimiter = ',', value_parser = ice::turn_url)]
    pub turn_urls: Vec<String>,
    /// Secret of the TURN servers (`static-auth-secret` of coturn); never sent to clients
    #[arg(long, value_name = "SECRET", allow_hyphen_values = true)]
    pub turn_secret: Option<Secret>,
    /// Lifetime of TURN credentials
    #[arg(long, value_name = "SECONDS", default_value = "3600", value_parser = seconds::<1>)]
    pub turn_ttl_seconds: Duration,
}

/// The claims of the token that `parlor token` prints.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Token")]
pub struct TokenClaims {
    /// Peer id that the token is for
    #[arg(long, value_name = "ID", value_parser = peer_id)]
    pub sub: Option<PeerId>,
    /// Rooms that the token allows, comma-separated [default: all]
    #[arg(long, value_name = "IDS", value_delimiter = ',', value_parser = room_id)]
    pub room: Vec<RoomId>,
    /// Lifetime of the token in seconds [default: 3600]
    #[arg(long, value_name = "SECONDS", value_parser = seconds::<1>)]
    pub ttl: Option<Duration>,
    /// Display name of the peer
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
}

/// Parses the list of ICE servers, which may contain passwords.
fn ice_servers(text: &str) -> Result<Secret, String> {
    let Ok(list) = ice::list(text)?.parse();
    Ok(list)
}

fn peer_id(text: &str) -> Result<PeerId, String> {
    PeerId::new(text).map_err(|error| format!("an id, which {error}"))
}

fn room_id(text: &str) -> Result<RoomId, String> {
    RoomId::new(text).map_err(|error| format!("ids, comma-separated; each {error}"))
}
