//! Public keys, and the signature algorithm of each.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256,
    VerificationAlgorithm,
};
use jsonwebtoken::{Algorithm, DecodingKey};

/// A key and its signature algorithm.
#[derive(Debug, Clone)]
pub struct Key {
    pub(super) algorithm: Algorithm,
    pub(super) decoding: DecodingKey,
}

/// A public key in PEM form.
#[derive(Debug, Clone)]
pub struct PublicKey(pub(super) Key);

/// Why a public key or a key set cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read.
    #[error("a file or, for one key, PEM itself; the file cannot be read: {0}")]
    Unreadable(#[from] std::io::Error),
    /// A private key was given instead of a public one.
    #[error("a PEM public key; this is a private key, which belongs to the token issuer alone")]
    Private,
    /// The key is of an unsupported kind.
    #[error("a PEM public key: RSA of 2048 to 8192 bits, EC on the curve P-256, or Ed25519")]
    Unusable,
    /// The file holds no supported key.
    #[error(
        "a file with a JWK set (RFC 7517) that holds at least one public key: RSA, EC on P-256, or Ed25519"
    )]
    EmptySet,
    /// The file holds a symmetric key, with which everyone who can read the file could sign.
    #[error(
        "a file with public keys; one of these is a secret (kty oct), for which there is JWT_SECRET"
    )]
    SecretInSet,
}

impl PublicKey {
    /// Parses PEM, or reads the PEM file at a path. A literal `\n`, as in many `.env` files, is a
    /// line break.
    pub fn read(text: &str) -> Result<Self, KeyError> {
        let is_pem = text.trim_start().starts_with("-----BEGIN");
        let pem = if is_pem { text.replace("\\n", "\n") } else { std::fs::read_to_string(text)? };
        if pem.contains("PRIVATE KEY") {
            return Err(KeyError::Private);
        }
        let pem = pem.trim().as_bytes();
        let candidates = [
            (Algorithm::RS256, DecodingKey::from_rsa_pem(pem)),
            (Algorithm::ES256, DecodingKey::from_ec_pem(pem)),
            (Algorithm::EdDSA, DecodingKey::from_ed_pem(pem)),
        ];
        let keys =
            candidates.into_iter().filter_map(|(algorithm, key)| Key::new(algorithm, key.ok()?));
        keys.into_iter().next().map(Self).ok_or(KeyError::Unusable)
    }
}

impl Key {
    /// Returns the HS256 key of a secret.
    ///
    /// # Panics
    ///
    /// If the secret is empty.
    pub fn secret(secret: &str) -> Self {
        let decoding =
            DecodingKey::from_secret(secret.as_bytes()).expect("a secret setting is never empty");
        Self { algorithm: Algorithm::HS256, decoding }
    }

    /// Returns a public key for an algorithm, or `None` if the key does not fit it.
    pub(super) fn new(algorithm: Algorithm, decoding: DecodingKey) -> Option<Self> {
        // RSA components of a key set are checked when the first token is verified.
        if let Ok(bytes) = decoding.try_get_as_bytes() {
            let kind: &'static dyn VerificationAlgorithm = match algorithm {
                Algorithm::RS256 => &RSA_PKCS1_2048_8192_SHA256,
                Algorithm::ES256 => &ECDSA_P256_SHA256_FIXED,
                Algorithm::EdDSA => &ED25519,
                _ => return None,
            };
            ParsedPublicKey::new(kind, bytes).ok()?;
        }
        Some(Self { algorithm, decoding })
    }
}
