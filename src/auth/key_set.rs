//! The issuer's public keys in a file, read again when it changes.
//!
//! So keys are rotated without a restart: publish the new one, sign with it, take the old one away. Replace the file as a
//! whole (write beside it, then rename). A file that cannot be read, or holds no key, changes nothing and is warned about.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use parking_lot::{Mutex, RwLock};
use serde::Deserialize;
use tracing::{info, warn};

use super::key::{Key, KeyError};
use crate::lifecycle::Lifecycle;

/// The keys of a file.
#[derive(Debug)]
pub struct KeySet {
    path: PathBuf,
    keys: RwLock<Arc<Vec<Listed>>>,
    /// What the file was like when it was last read, well or not.
    seen: Mutex<Option<Stamp>>,
}

#[derive(Debug)]
struct Listed {
    id: Option<String>,
    key: Key,
}

/// What changes when a file does.
type Stamp = (SystemTime, u64, u64);

/// A set, each key still unread: one that is of no use here must not spoil the others.
#[derive(Deserialize)]
struct Document {
    keys: Vec<serde_json::Value>,
}

impl KeySet {
    /// Reads a file.
    pub fn read(path: &Path) -> Result<Self, KeyError> {
        let seen = stamp(path);
        let keys = load(path)?;
        Ok(Self { path: path.to_owned(), keys: RwLock::new(Arc::new(keys)), seen: Mutex::new(seen) })
    }

    /// The key that a token means: the one it names, or the only one.
    pub(super) fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Option<Key> {
        let keys = Arc::clone(&self.keys.read());
        let listed = match id {
            Some(id) => keys.iter().find(|it| it.id.as_deref() == Some(id) && it.key.algorithm == algorithm),
            None if keys.len() == 1 => keys.first(),
            None => None,
        };
        listed.map(|listed| listed.key.clone())
    }

    /// Reads the file again, if it is not as it was.
    pub fn refresh(&self) {
        let stamp = stamp(&self.path);
        let mut seen = self.seen.lock();
        if *seen == stamp {
            return;
        }
        *seen = stamp;
        match load(&self.path) {
            Ok(keys) => {
                info!(keys = keys.len(), "JWT_JWKS: read again");
                *self.keys.write() = Arc::new(keys);
            }
            Err(error) => warn!("JWT_JWKS: what was read before stays in force; it takes {error}"),
        }
    }

    /// Checks the file for changes once in every `period`, until the server stops.
    pub async fn watch(self: Arc<Self>, period: Duration, lifecycle: Lifecycle) {
        let mut interval = tokio::time::interval(period);
        loop {
            tokio::select! {
                _ = interval.tick() => {}
                () = lifecycle.stopping() => return,
            }
            let set = Arc::clone(&self);
            // A file may be far away. A defect in reading it changes nothing: the next check follows.
            _ = tokio::task::spawn_blocking(move || set.refresh()).await;
        }
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    use std::os::unix::fs::MetadataExt;
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.ino(), metadata.len()))
}

fn load(path: &Path) -> Result<Vec<Listed>, KeyError> {
    let text = std::fs::read(path)?;
    let document: Document = serde_json::from_slice(&text).map_err(|_| KeyError::EmptySet)?;
    let mut keys = Vec::new();
    for value in document.keys {
        let Ok(jwk) = serde_json::from_value::<Jwk>(value) else { continue };
        if matches!(jwk.algorithm, AlgorithmParameters::OctetKey(_)) {
            return Err(KeyError::SecretInSet);
        }
        keys.extend(usable(&jwk).map(|key| Listed { id: jwk.common.key_id.clone(), key }));
    }
    if keys.is_empty() { Err(KeyError::EmptySet) } else { Ok(keys) }
}

/// The key, if it is one that signs in a way that we take.
fn usable(jwk: &Jwk) -> Option<Key> {
    let algorithm = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => Algorithm::RS256,
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => Algorithm::ES256,
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => Algorithm::EdDSA,
        _ => return None,
    };
    let is_for_this = jwk.common.key_algorithm.is_none_or(|named| named == algorithm.into());
    let signs = jwk.common.public_key_use.as_ref().is_none_or(|it| *it == PublicKeyUse::Signature);
    if !is_for_this || !signs {
        return None;
    }
    Key::new(algorithm, DecodingKey::from_jwk(jwk).ok()?)
}
