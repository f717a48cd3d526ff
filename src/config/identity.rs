//! The settings of tokens and of ICE servers, and of `parlor token`.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use clap::Args;

use super::values::{Secret, seconds};
use super::{Action, Config};
use crate::auth::issue::{IssueError, Order, sign};
use crate::auth::{Key, KeySet, Keys, PublicKey, Verifier};
use crate::ice::{self, IceServers, Turn};
use crate::id::{PeerId, RoomId};

/// The flags of `parlor token`, which are no settings.
pub(super) const FLAGS_OF_TOKEN: [&str; 4] = ["sub", "room", "ttl", "name"];

/// RFC 7518, section 3.2: a key of HS256 has at least as many bits as its hash.
const SECRET_BYTES: usize = 32;

/// Tokens: with a secret, a key or a key set, every connection needs one.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Tokens")]
pub struct Tokens {
    /// Secret that tokens are signed with (HS256); with it every connection needs a token
    #[arg(long, value_name = "SECRET", allow_hyphen_values = true)]
    pub jwt_secret: Option<Secret>,
    /// Public key that tokens are signed for, as PEM or the path of a file: RSA (RS256), EC P-256 (ES256), Ed25519 (`EdDSA`)
    #[arg(long, value_name = "PEM", allow_hyphen_values = true, value_parser = public_key)]
    pub jwt_public_key: Option<PublicKey>,
    /// File with a set of public keys (JWKS), read again when it changes
    #[arg(long, value_name = "FILE", value_parser = key_set)]
    pub jwt_jwks: Option<Arc<KeySet>>,
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
    sub: Option<PeerId>,
    /// Rooms that it allows, comma-separated [default: all]
    #[arg(long, value_name = "IDS", value_delimiter = ',', value_parser = room_id)]
    room: Vec<RoomId>,
    /// For how many seconds it is good [default: 3600]
    #[arg(long, value_name = "SECONDS", value_parser = seconds::<1>)]
    ttl: Option<Duration>,
    /// What the others call the peer
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
}

/// As secret as what it may hold.
fn ice_servers(text: &str) -> Result<Secret, String> {
    let Ok(list) = ice::list(text)?.parse();
    Ok(list)
}

fn public_key(text: &str) -> Result<PublicKey, String> {
    PublicKey::read(text).map_err(|error| error.to_string())
}

fn key_set(path: &str) -> Result<Arc<KeySet>, String> {
    KeySet::read(path).map(Arc::new).map_err(|error| error.to_string())
}

fn peer_id(text: &str) -> Result<PeerId, String> {
    PeerId::new(text).map_err(|error| format!("an id, which {error}"))
}

fn room_id(text: &str) -> Result<RoomId, String> {
    RoomId::new(text).map_err(|error| format!("ids, comma-separated; each {error}"))
}

impl Tokens {
    /// What checks tokens, where they are required.
    pub fn verifier(&self) -> Option<Verifier> {
        let secret = self.jwt_secret.as_ref().map(|secret| Keys::Secret(Key::secret(secret.as_str())));
        let public = || self.jwt_public_key.clone().map(Keys::Public);
        let set = || self.jwt_jwks.clone().map(Keys::Set);
        let keys = secret.or_else(public).or_else(set)?;
        Some(Verifier::new(keys, self.jwt_issuer.clone(), self.jwt_audience.clone()))
    }

    fn is_required(&self) -> bool {
        self.jwt_secret.is_some() || self.jwt_public_key.is_some() || self.jwt_jwks.is_some()
    }
}

impl Ice {
    /// What clients are told, if there is anything.
    pub fn servers(&self) -> Option<IceServers> {
        let turn = self.turn_secret.as_ref().filter(|_| !self.turn_urls.is_empty());
        let turn = turn.map(|secret| Turn::new(&self.turn_urls, secret.as_str(), self.turn_ttl_seconds));
        IceServers::new(self.ice_servers.as_ref().map(Secret::as_str), turn)
    }
}

impl Config {
    /// The token that `parlor token` prints.
    pub fn token(&self) -> Result<String, IssueError> {
        let TokenOrder { sub, room, ttl, name } = &self.token;
        let secret = self.tokens.jwt_secret.as_ref().ok_or(IssueError::NoSecret)?;
        let order = Order {
            subject: sub.as_ref().ok_or(IssueError::NoSubject)?,
            rooms: room,
            name: name.as_deref(),
            ttl: ttl.unwrap_or(Duration::from_hours(1)),
            issuer: self.tokens.jwt_issuer.as_deref(),
            audience: &self.tokens.jwt_audience,
        };
        sign(&order, secret.as_str(), SystemTime::now())
    }

    /// What does not go together, in a line.
    pub(super) fn contradiction(&self) -> Option<&'static str> {
        let Tokens { jwt_secret, jwt_public_key, jwt_jwks, jwt_issuer, jwt_audience } = &self.tokens;
        let is_empty = |secret: &Option<Secret>| secret.as_ref().is_some_and(|secret| secret.as_str().is_empty());
        if is_empty(jwt_secret) || is_empty(&self.ice.turn_secret) {
            return Some("JWT_SECRET and TURN_SECRET must not be empty where they are given");
        }
        let kinds = [jwt_secret.is_some(), jwt_public_key.is_some(), jwt_jwks.is_some()];
        if kinds.into_iter().filter(|is_set| *is_set).count() > 1 {
            return Some("tokens are checked in one way: set one of JWT_SECRET, JWT_PUBLIC_KEY and JWT_JWKS");
        }
        if !self.tokens.is_required() && (jwt_issuer.is_some() || !jwt_audience.is_empty()) {
            return Some("JWT_ISSUER and JWT_AUDIENCE need one of JWT_SECRET, JWT_PUBLIC_KEY and JWT_JWKS");
        }
        if self.ice.turn_secret.is_some() == self.ice.turn_urls.is_empty() {
            return Some("TURN_URLS and TURN_SECRET go together: set both or neither");
        }
        let TokenOrder { sub, room, ttl, name } = &self.token;
        let has_order = sub.is_some() || !room.is_empty() || ttl.is_some() || name.is_some();
        if has_order && self.action != Action::Token {
            return Some("--sub, --room, --ttl and --name are for the command token");
        }
        None
    }

    /// What an operator should know of tokens.
    pub(super) fn identity_exposures(&self) -> impl Iterator<Item = String> {
        let secret = self.tokens.jwt_secret.as_ref().filter(|secret| secret.as_str().len() < SECRET_BYTES);
        let short = secret.map(|_| {
            format!("JWT_SECRET has less than {SECRET_BYTES} bytes: whoever sees a token can guess it and make others")
        });
        let gives_away = self.is_production() && self.ice.turn_secret.is_some() && !self.tokens.is_required();
        let turn = gives_away.then(|| {
            "TURN_SECRET is set and tokens are not required: anyone can get credentials for the TURN servers".to_owned()
        });
        short.into_iter().chain(turn)
    }
}
