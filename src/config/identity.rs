//! The settings of tokens and of ICE servers, and of `parlor token`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::values::{Secret, seconds};
use crate::ice;
use crate::id::{PeerId, RoomId};

/// The flags of `parlor token`, which are no settings.
pub(super) const FLAGS_OF_TOKEN: [&str; 4] = ["sub", "room", "ttl", "name"];

/// Tokens: with a secret, a key or a key set, every connection needs one.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Tokens")]
pub struct Tokens {
    /// Secret that tokens are signed with (HS256); with it every connection needs a token
    #[arg(long, value_name = "SECRET", allow_hyphen_values = true)]
    pub jwt_secret: Option<Secret>,
    /// Public key that tokens are signed for, as PEM or the path of a file: RSA (RS256), EC P-256 (ES256), Ed25519 (`EdDSA`)
    #[arg(long, value_name = "PEM", allow_hyphen_values = true)]
    pub jwt_public_key: Option<Secret>,
    /// File with a set of public keys (JWKS), read again when it changes
    #[arg(long, value_name = "FILE")]
    pub jwt_jwks: Option<PathBuf>,
    /// The `iss` that a token must have
    #[arg(long, value_name = "ISSUER")]
    pub jwt_issuer: Option<String>,
    /// The `aud` of which a token must have one, comma-separated
    #[arg(long, value_name = "AUDIENCE", value_delimiter = ',')]
    pub jwt_audience: Vec<String>,
}

/// Where the media of peers may meet.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "ICE servers")]
pub struct Ice {
    /// Servers given to clients as they are: a JSON array as for `RTCPeerConnection`
    #[arg(long, value_name = "JSON", value_parser = ice_servers)]
    pub ice_servers: Option<Secret>,
    /// TURN servers that share `TURN_SECRET`, comma-separated
    #[arg(long, value_name = "URLS", value_delimiter = ',', value_parser = ice::turn_url)]
    pub turn_urls: Vec<String>,
    /// Secret of the TURN servers (`static-auth-secret` of coturn); it stays here
    #[arg(long, value_name = "SECRET", allow_hyphen_values = true)]
    pub turn_secret: Option<Secret>,
    /// How long TURN credentials are good for
    #[arg(long, value_name = "SECONDS", default_value = "3600", value_parser = seconds::<1>)]
    pub turn_ttl_seconds: Duration,
}

/// What `parlor token` is to print.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "parlor token")]
pub struct TokenOrder {
    /// Whom the token is for: the peer id
    #[arg(long, value_name = "ID", value_parser = peer_id)]
    pub sub: Option<PeerId>,
    /// Rooms that it allows, comma-separated [default: all]
    #[arg(long, value_name = "IDS", value_delimiter = ',', value_parser = room_id)]
    pub room: Vec<RoomId>,
    /// For how many seconds it is good [default: 3600]
    #[arg(long, value_name = "SECONDS", value_parser = seconds::<1>)]
    pub ttl: Option<Duration>,
    /// What the others call the peer
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
}

/// As secret as what it may hold.
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
