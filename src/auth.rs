//! Tokens: who a connection is, where it may go, and until when.
//!
//! A token is a JWT (RFC 7519), signed by whoever runs the application. Parlor only checks it.
//!
//! - [`key`] reads a public key and tells what it signs, [`key_set`] a set of them that may change while the server runs;
//! - [`Verifier::verify`] makes a [`Grant`] of a token;
//! - `session::identity` holds every command of a connection against its grant;
//! - [`issue`] signs a token for trying out.
//!
//! The guarantee that is easy to break: the kind of signature is that of the configured key, whatever a token says of
//! itself. And nobody outside learns what is wrong with a token: [`Denial::Unauthorized`] has one text.

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

/// By how much the issuer's clock may differ from ours when a token is checked.
pub const LEEWAY: Duration = Duration::from_secs(30);

/// What a token does not allow, as the client is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denial {
    /// There is no token, or it is not good. Why is not told: it would help only those who make tokens up.
    #[error("a valid token is required")]
    Unauthorized,
    /// The name that a client asks for is not the token's `sub`.
    #[error("the token is for another user")]
    OtherPerson,
    /// The room is not among the token's.
    #[error("the token does not allow this room")]
    OtherRoom,
    /// The address of the client has sent too many invalid tokens lately.
    #[error("too many invalid tokens from this address")]
    TooManyInvalid,
}

impl Denial {
    /// The contract's code.
    pub fn code(self) -> Code {
        match self {
            Self::Unauthorized => Code::Unauthorized,
            Self::OtherPerson | Self::OtherRoom => Code::Forbidden,
            Self::TooManyInvalid => Code::RateLimited,
        }
    }
}

/// What is wrong with a token: for the log, and never with anything that the token says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// There is none.
    #[error("no token")]
    Missing,
    /// It is no JWT, or a claim has a form that it must not have.
    #[error("malformed")]
    Malformed,
    /// It names another kind of signature than the key's, or none.
    #[error("wrong algorithm")]
    Algorithm,
    /// It names no key of the set.
    #[error("unknown key")]
    UnknownKey,
    /// It was not signed by the key, or was changed since.
    #[error("wrong signature")]
    Signature,
    /// A claim is missing that must be there.
    #[error("a required claim is missing")]
    Claim,
    /// It comes from someone else.
    #[error("wrong issuer")]
    Issuer,
    /// It is meant for someone else.
    #[error("wrong audience")]
    Audience,
    /// Its time is over.
    #[error("expired")]
    Expired,
    /// Its time has not come.
    #[error("early")]
    Early,
}

/// What tokens are checked with: one of three, and nothing else passes.
#[derive(Debug, Clone)]
pub enum Keys {
    /// A secret shared with the issuer: HS256.
    Secret(Key),
    /// The issuer's public key: RS256, ES256 or `EdDSA`, by the kind of the key.
    Public(PublicKey),
    /// The issuer's public keys; a token's `kid` says which.
    Set(std::sync::Arc<KeySet>),
}

/// Checks tokens.
#[derive(Debug, Clone)]
pub struct Verifier {
    keys: Keys,
    issuer: Option<String>,
    audience: Vec<String>,
}

impl Verifier {
    /// One that takes tokens of these keys: from the issuer, if one is named, and for one of the audience. Without an
    /// audience, a token that names one is meant for someone else (RFC 7519, section 4.1.3).
    pub fn new(keys: Keys, issuer: Option<String>, audience: Vec<String>) -> Self {
        Self { keys, issuer, audience }
    }

    /// The keys, where they may change.
    pub fn key_set(&self) -> Option<&std::sync::Arc<KeySet>> {
        match &self.keys {
            Keys::Set(set) => Some(set),
            Keys::Secret(_) | Keys::Public(_) => None,
        }
    }

    /// Checks a token at the door.
    pub fn verify(&self, token: &str, now: SystemTime) -> Result<Grant, TokenError> {
        let header = jsonwebtoken::decode_header(token).map_err(|error| reason(&error))?;
        if header.crit.is_some() {
            // It says that it must not be taken without understanding extensions, and we know none (RFC 7515, 4.1.11).
            return Err(TokenError::Malformed);
        }
        let key = match &self.keys {
            Keys::Secret(key) | Keys::Public(PublicKey(key)) => key.clone(),
            Keys::Set(set) => set.find(header.kid.as_deref(), header.alg).ok_or(TokenError::UnknownKey)?,
        };
        // The library compares the token's algorithm with this one before it looks at the signature.
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
        // Times are ours to check, against one clock, `iat` too.
        validation.validate_exp = false;
        let token = jsonwebtoken::decode::<Claims>(token, &key.decoding, &validation);
        token.map_err(|error| reason(&error))?.claims.grant(now)
    }
}

fn reason(error: &jsonwebtoken::errors::Error) -> TokenError {
    use jsonwebtoken::errors::ErrorKind;
    match error.kind() {
        ErrorKind::InvalidSignature => TokenError::Signature,
        ErrorKind::InvalidAlgorithm | ErrorKind::InvalidAlgorithmName => TokenError::Algorithm,
        ErrorKind::InvalidIssuer => TokenError::Issuer,
        ErrorKind::InvalidAudience => TokenError::Audience,
        ErrorKind::MissingRequiredClaim(_) => TokenError::Claim,
        // What the others say may hold parts of the token.
        _ => TokenError::Malformed,
    }
}
