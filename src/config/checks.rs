//! Checks of settings against each other: contradictions stop the start, exposures are warned about.

use super::identity::{TokenOrder, Tokens};
use super::values::Secret;
use super::{Action, Config};

/// RFC 7518, section 3.2: a key of HS256 has at least as many bits as its hash.
const SECRET_BYTES: usize = 32;

impl Tokens {
    fn is_required(&self) -> bool {
        self.jwt_secret.is_some() || self.jwt_public_key.is_some() || self.jwt_jwks.is_some()
    }
}

impl Config {
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
