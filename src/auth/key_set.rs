//! The issuer's public keys in a file, which is reloaded when it changes.
//!
//! This allows rotating keys without a restart: publish the new key, sign with it, then remove the
//! old one. Replace the file atomically (write another file, then rename it). A file that cannot be
//! read, or that holds no key, changes nothing; a warning is logged.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use parking_lot::{Mutex, RwLock};
use serde::Deserialize;
use tracing::{info, warn};

use super::key::{Key, KeyError};
use crate::file_watch::{self, FileStamp};
use crate::lifecycle::Lifecycle;

/// The public keys of a JWK set file.
#[derive(Debug)]
pub struct KeySet {
    path: PathBuf,
    keys: RwLock<Arc<Vec<ListedKey>>>,
    /// The stamp of the file at the last attempt to load it.
    attempted: Mutex<Option<FileStamp>>,
}

#[derive(Debug)]
struct ListedKey {
    id: Option<String>,
    key: Key,
}

/// A JWK set whose keys are not parsed yet, so that unsupported keys do not affect others.
#[derive(Deserialize)]
struct Document {
    keys: Vec<serde_json::Value>,
}

impl KeySet {
    /// Reads a JWK set file.
    pub fn read(path: &Path) -> Result<Self, KeyError> {
        let attempted = FileStamp::of(path);
        let keys = load(path)?;
        Ok(Self {
            path: path.to_owned(),
            keys: RwLock::new(Arc::new(keys)),
            attempted: Mutex::new(attempted),
        })
    }

    /// Returns the key for a token: the one with its `kid`, or the only one if it has none.
    pub(super) fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Option<Key> {
        let keys = Arc::clone(&self.keys.read());
        let listed = match id {
            Some(id) => {
                keys.iter().find(|it| it.id.as_deref() == Some(id) && it.key.algorithm == algorithm)
            }
            None if keys.len() == 1 => keys.first(),
            None => None,
        };
        listed.map(|listed| listed.key.clone())
    }

    /// Reloads the file if it has changed.
    pub fn refresh(&self) {
        let stamp = FileStamp::of(&self.path);
        let mut attempted = self.attempted.lock();
        if *attempted == stamp {
            return;
        }
        *attempted = stamp;
        match load(&self.path) {
            Ok(keys) => {
                info!(keys = keys.len(), "JWT_JWKS reloaded");
                *self.keys.write() = Arc::new(keys);
            }
            Err(error) => {
                warn!("cannot reload JWT_JWKS, keeping the current keys: expected {error}");
            }
        }
    }

    /// Reloads the file when it has changed, until the server stops. Checks it once per `period`.
    pub async fn watch(self: Arc<Self>, period: Duration, lifecycle: Lifecycle) {
        file_watch::watch(period, lifecycle, move || self.refresh()).await;
    }
}

fn load(path: &Path) -> Result<Vec<ListedKey>, KeyError> {
    let text = std::fs::read(path)?;
    let document: Document = serde_json::from_slice(&text).map_err(|_| KeyError::EmptySet)?;
    let mut keys = Vec::new();
    for value in document.keys {
        let Ok(jwk) = serde_json::from_value::<Jwk>(value) else { continue };
        if matches!(jwk.algorithm, AlgorithmParameters::OctetKey(_)) {
            return Err(KeyError::SecretInSet);
        }
        keys.extend(supported(&jwk).map(|key| ListedKey { id: jwk.common.key_id.clone(), key }));
    }
    if keys.is_empty() { Err(KeyError::EmptySet) } else { Ok(keys) }
}

/// Returns the key of a JWK if its algorithm and use are supported.
fn supported(jwk: &Jwk) -> Option<Key> {
    let algorithm = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => Algorithm::RS256,
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => {
            Algorithm::ES256
        }
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
            Algorithm::EdDSA
        }
        _ => return None,
    };
    let is_for_algorithm = jwk.common.key_algorithm.is_none_or(|named| named == algorithm.into());
    let signs = jwk.common.public_key_use.as_ref().is_none_or(|it| *it == PublicKeyUse::Signature);
    if !is_for_algorithm || !signs {
        return None;
    }
    Key::new(algorithm, DecodingKey::from_jwk(jwk).ok()?)
}
