//! Access policy: verification of tokens, and what they grant.
//!
//! A token is a JWT (RFC 7519) issued by the application. Parlor only verifies it.
//!
//! - [`key`] parses public keys, [`key_set`] a set of them that may change while the server runs;
//! - [`Verifier::verify`] turns a token into a [`Grant`];
//! - `session::identity` checks every command of a connection against its grant;
//! - [`issue`] signs tokens for testing.
//!
//! Invariant: the signature algorithm is that of the configured key, whatever the token's header
//! says. Clients do not learn what is wrong with a token: [`Denial::Unauthorized`] has one text.

use std::time::{Duration, SystemTime};

use jsonwebtoken::Validation;

use crate::room::Code;

pub mod grant;
pub mod issue;
pub mod key;
pub mod key_set;

pub use grant::Grant;
pub use key::{Key, KeyError, PublicKey};
pub use key_set::KeySet;

use grant::Claims;

/// Maximum difference between the issuer's clock and the server's.
pub const LEEWAY: Duration = Duration::from_secs(30);

/// Why access is denied, as reported to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denial {
    /// The token is missing or invalid. The reason is not reported, since it would help to forge
    /// tokens.
    #[error("a valid token is required")]
    Unauthorized,
    /// The requested peer id is not the token's `sub`.
    #[error("the token is for another user")]
    OtherPerson,
    /// The token does not grant the room.
    #[error("the token does not allow this room")]
    OtherRoom,
    /// The client's address has sent too many invalid tokens.
    #[error("too many invalid tokens from this address")]
    TooManyInvalid,
}

impl Denial {
    /// Returns the error code.
    pub fn code(self) -> Code {
        match self {
            Self::Unauthorized => Code::Unauthorized,
            Self::OtherPerson | Self::OtherRoom => Code::Forbidden,
            Self::TooManyInvalid => Code::RateLimited,
        }
    }
}

/// Why a token is invalid, for logs and metrics. Never contains anything from the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// No token was sent.
    #[error("no token")]
    Missing,
    /// The token is not a JWT, or a claim is malformed.
    #[error("malformed")]
    Malformed,
    /// The algorithm in the header is not that of the key.
    #[error("wrong algorithm")]
    Algorithm,
    /// The `kid` is not in the key set.
    #[error("unknown key")]
    UnknownKey,
    /// The signature does not verify.
    #[error("wrong signature")]
    Signature,
    /// A required claim is missing.
    #[error("a required claim is missing")]
    Claim,
    /// The `iss` is not the configured issuer.
    #[error("wrong issuer")]
    Issuer,
    /// The `aud` is not the configured audience.
    #[error("wrong audience")]
    Audience,
    /// The token has expired.
    #[error("expired")]
    Expired,
    /// The token is not valid yet.
    #[error("early")]
    Early,
}

/// The keys that tokens are verified with.
#[derive(Debug, Clone)]
pub enum Keys {
    /// A secret shared with the issuer: HS256.
    Secret(Key),
    /// The issuer's public key: RS256, ES256 or `EdDSA`, depending on the key.
    Public(PublicKey),
    /// The issuer's public keys, selected by a token's `kid`.
    Set(std::sync::Arc<KeySet>),
}

/// Verifies tokens.
#[derive(Debug, Clone)]
pub struct Verifier {
    keys: Keys,
    issuer: Option<String>,
    audience: Vec<String>,
}

impl Verifier {
    /// Creates a verifier for tokens of the issuer, if one is given, and for one of the audiences.
    /// Without an audience, tokens with an `aud` are rejected (RFC 7519, section 4.1.3).
    pub fn new(keys: Keys, issuer: Option<String>, audience: Vec<String>) -> Self {
        Self { keys, issuer, audience }
    }

    /// Returns the key set, if keys come from one.
    pub fn key_set(&self) -> Option<&std::sync::Arc<KeySet>> {
        match &self.keys {
            Keys::Set(set) => Some(set),
            Keys::Secret(_) | Keys::Public(_) => None,
        }
    }

    /// Verifies a token.
    pub fn verify(&self, token: &str, now: SystemTime) -> Result<Grant, TokenError> {
        let header = jsonwebtoken::decode_header(token).map_err(|error| token_error(&error))?;
        if header.crit.is_some() {
            // `crit` lists extensions that must be understood, and none is supported (RFC 7515,
            // section 4.1.11).
            return Err(TokenError::Malformed);
        }
        let key = match &self.keys {
            Keys::Secret(key) | Keys::Public(PublicKey(key)) => key.clone(),
            Keys::Set(set) => {
                set.find(header.kid.as_deref(), header.alg).ok_or(TokenError::UnknownKey)?
            }
        };
        // The library compares the token's algorithm with this one before it verifies the
        // signature.
        let mut validation = Validation::new(key.algorithm);
        let mut required = vec!["sub", "exp"];
        if let Some(issuer) = &self.issuer {
            validation.set_issuer(&[issuer]);
            required.push("iss");
        }
        if !self.audience.is_empty() {
            validation.set_audience(&self.audience);
            required.push("aud");
        }
        validation.set_required_spec_claims(&required);
        // `exp`, `nbf` and `iat` are checked against `now` in `Claims::grant`.
        validation.validate_exp = false;
        let token = jsonwebtoken::decode::<Claims>(token, &key.decoding, &validation);
        token.map_err(|error| token_error(&error))?.claims.grant(now)
    }
}

fn token_error(error: &jsonwebtoken::errors::Error) -> TokenError {
    use jsonwebtoken::errors::ErrorKind;
    match error.kind() {
        ErrorKind::InvalidSignature => TokenError::Signature,
        ErrorKind::InvalidAlgorithm | ErrorKind::InvalidAlgorithmName => TokenError::Algorithm,
        ErrorKind::InvalidIssuer => TokenError::Issuer,
        ErrorKind::InvalidAudience => TokenError::Audience,
        ErrorKind::MissingRequiredClaim(_) => TokenError::Claim,
        // Other errors may hold parts of the token.
        _ => TokenError::Malformed,
    }
}
