//! Checks settings against each other: contradictions prevent the start, exposures cause warnings.

use super::identity::{TokenClaims, Tokens};
use super::values::Secret;
use super::{Action, Config};

/// Minimum length of an HS256 key in bytes, which is the length of its hash (RFC 7518, section
/// 3.2).
const MIN_SECRET_BYTES: usize = 32;

impl Tokens {
    fn is_required(&self) -> bool {
        self.jwt_secret.is_some() || self.jwt_public_key.is_some() || self.jwt_jwks.is_some()
    }
}

impl Config {
    /// Returns a description of settings that contradict each other, in one line.
    pub(super) fn contradiction(&self) -> Option<&'static str> {
        let Tokens { jwt_secret, jwt_public_key, jwt_jwks, jwt_issuer, jwt_audience } = &self.tokens;
        let is_empty = |secret: &Option<Secret>| secret.as_ref().is_some_and(|secret| secret.as_str().is_empty());
        if is_empty(jwt_secret) || is_empty(&self.ice.turn_secret) {
            return Some("JWT_SECRET and TURN_SECRET must not be empty if they are set");
        }
        let kinds = [jwt_secret.is_some(), jwt_public_key.is_some(), jwt_jwks.is_some()];
        if kinds.into_iter().filter(|is_set| *is_set).count() > 1 {
            return Some(
                "only one way to verify tokens can be used: set one of JWT_SECRET, JWT_PUBLIC_KEY and JWT_JWKS",
            );
        }
        if !self.tokens.is_required() && (jwt_issuer.is_some() || !jwt_audience.is_empty()) {
            return Some("JWT_ISSUER and JWT_AUDIENCE need one of JWT_SECRET, JWT_PUBLIC_KEY and JWT_JWKS");
        }
        if self.ice.turn_secret.is_some() == self.ice.turn_urls.is_empty() {
            return Some("TURN_URLS and TURN_SECRET go together: set both or neither");
        }
        let TokenClaims { sub, room, ttl, name } = &self.token;
        let has_token_flags = sub.is_some() || !room.is_empty() || ttl.is_some() || name.is_some();
        if has_token_flags && self.action != Action::Token {
            return Some("--sub, --room, --ttl and --name are for the command token");
        }
        None
    }

    /// Returns warnings about token settings that expose the server.
    pub(super) fn identity_exposures(&self) -> impl Iterator<Item = String> {
        let secret = self.tokens.jwt_secret.as_ref().filter(|secret| secret.as_str().len() < MIN_SECRET_BYTES);
        let short = secret.map(|_| {
            format!("JWT_SECRET has less than {MIN_SECRET_BYTES} bytes: anyone who sees a token can guess it and forge others")
        });
        let is_public_turn = self.is_production() && self.ice.turn_secret.is_some() && !self.tokens.is_required();
        let turn = is_public_turn.then(|| {
            "TURN_SECRET is set and tokens are not required: anyone can get credentials for the TURN servers".to_owned()
        });
        short.into_iter().chain(turn)
    }
}
