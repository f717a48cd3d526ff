//! The server's certificate: read at the start, and again when told to or when its files change.
//!
//! - [`Tls::load`] reads the files of `TLS_CERT` and `TLS_KEY`, or says what is wrong with them;
//! - [`Tls::accept`] takes a connection through its handshake with what was read last;
//! - [`Tls::watch`] checks the files for changes once a second, [`Tls::reload`] reads them at an operator's word (SIGHUP);
//! - [`local_client`] is the other side, for `parlor health`.
//!
//! The guarantee that is easy to break: files that cannot be used change nothing. The certificate and key of one
//! reading replace those of the one before together, or not at all; connections that are open stay as they are.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use rustls::client::verify_server_name;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::ParsedCertificate;
use rustls::version::{TLS12, TLS13};
use rustls::{InconsistentKeys, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::MissedTickBehavior;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tracing::{info, warn};

use crate::lifecycle::Lifecycle;

mod client;

pub use client::local_client;

/// HTTP/2 as TLS names it (RFC 9113, section 3.1).
pub const HTTP_2: &[u8] = b"h2";

/// HTTP/1.1 as TLS names it (RFC 7301, section 6). A browser asks for it alone where it wants a WebSocket.
const HTTP_1: &[u8] = b"http/1.1";

/// Where certificate and key are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// The certificate, and the chain that leads to its authority, in PEM form.
    pub certificate: PathBuf,
    /// Its private key, in PEM form, without a passphrase.
    pub key: PathBuf,
}

/// Why certificate and key cannot be used. Nothing of a file's content is in it.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {setting}={path}")]
    Unreadable {
        /// Which of the two.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file holds something else.
    #[error("{setting}={path} holds no {wanted} in PEM form")]
    NotThere {
        /// Which of the two.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// What should be in it.
        wanted: &'static str,
    },
    /// The two do not belong together.
    #[error("TLS_KEY={key} is not the key of TLS_CERT={certificate}")]
    Mismatch {
        /// The file of the certificate.
        certificate: PathBuf,
        /// The file of the key.
        key: PathBuf,
    },
    /// They are of a kind that is not understood.
    #[error("TLS_CERT={certificate} with TLS_KEY={key} cannot be used")]
    Unusable {
        /// The file of the certificate.
        certificate: PathBuf,
        /// The file of the key.
        key: PathBuf,
        /// Why not.
        source: rustls::Error,
    },
}

/// What tells a file from the one that was there before.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    length: u64,
    modified: (i64, i64),
}

impl Stamp {
    /// Of the file itself, where the path is a link, as those of ACME clients are.
    fn of(path: &Path) -> Option<Self> {
        let file = std::fs::metadata(path).ok()?;
        Some(Self { inode: file.ino(), length: file.size(), modified: (file.mtime(), file.mtime_nsec()) })
    }
}

/// Of certificate and key; `None` for a file that is not there.
type Stamps = [Option<Stamp>; 2];

impl Files {
    fn stamps(&self) -> Stamps {
        [Stamp::of(&self.certificate), Stamp::of(&self.key)]
    }

    /// What a handshake is made with.
    fn read(&self) -> Result<Read, TlsError> {
        let Self { certificate, key } = self.clone();
        let chain = read_pem(&certificate, "TLS_CERT", "certificate", |bytes| {
            CertificateDer::pem_slice_iter(bytes).collect::<Result<Vec<_>, _>>()
        })?;
        if chain.is_empty() {
            return Err(TlsError::NotThere { setting: "TLS_CERT", path: certificate, wanted: "certificate" });
        }
        let private = read_pem(&key, "TLS_KEY", "private key without a passphrase", PrivateKeyDer::from_pem_slice)?;
        let unusable = |source| match source {
            rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                TlsError::Mismatch { certificate: certificate.clone(), key: key.clone() }
            }
            source => TlsError::Unusable { certificate: certificate.clone(), key: key.clone(), source },
        };
        let leaf = chain[0].clone();
        let builder = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13, &TLS12])
            .map_err(unusable)?;
        let mut config = builder.with_no_client_auth().with_single_cert(chain, private).map_err(unusable)?;
        config.alpn_protocols = vec![HTTP_2.to_vec(), HTTP_1.to_vec()];
        // Of its own for each reading: what was begun with an old certificate is not resumed under a new one.
        config.ticketer = aws_lc_rs::Ticketer::new().map_err(unusable)?;
        Ok(Read { config: Arc::new(config), leaf })
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// Reads a file and what is wanted of it. The library's own words for what is wrong may hold parts of the file.
fn read_pem<T>(
    path: &Path,
    setting: &'static str,
    wanted: &'static str,
    parse: impl FnOnce(&[u8]) -> Result<T, pem::Error>,
) -> Result<T, TlsError> {
    let bytes = std::fs::read(path).map_err(|source| TlsError::Unreadable { setting, path: path.into(), source })?;
    parse(&bytes).map_err(|_| TlsError::NotThere { setting, path: path.into(), wanted })
}

/// A certificate that was read.
#[derive(Clone)]
struct Read {
    config: Arc<ServerConfig>,
    /// The server's own certificate, without the chain.
    leaf: CertificateDer<'static>,
}

/// The certificate in use.
pub struct Tls {
    files: Files,
    current: RwLock<Read>,
    /// What the files were when they were last read, whatever came of it.
    read: Mutex<Stamps>,
}

impl Tls {
    /// Reads certificate and key.
    pub fn load(files: Files) -> Result<Self, TlsError> {
        // Before the reading: what changes meanwhile is then seen to have changed.
        let stamps = files.stamps();
        let current = RwLock::new(files.read()?);
        Ok(Self { files, current, read: Mutex::new(stamps) })
    }

    /// Takes a connection through its handshake.
    pub async fn accept<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: S) -> io::Result<TlsStream<S>> {
        let config = Arc::clone(&self.current.read().config);
        TlsAcceptor::from(config).accept(stream).await
    }

    /// Whether a host is a name in the certificate.
    pub fn covers(&self, host: &str) -> bool {
        let leaf = self.current.read().leaf.clone();
        let (Ok(certificate), Ok(name)) = (ParsedCertificate::try_from(&leaf), ServerName::try_from(host)) else {
            return false;
        };
        verify_server_name(&certificate, &name).is_ok()
    }

    /// Reads certificate and key again, for handshakes from now on. Files that cannot be used are warned about, and
    /// change nothing. Blocks for as long as the reading takes.
    pub fn reload(&self) {
        *self.read.lock() = self.files.stamps();
        match self.files.read() {
            Ok(read) => {
                *self.current.write() = read;
                info!("certificate read again; new handshakes use it");
            }
            Err(error) => {
                warn!(
                    error = &error as &dyn std::error::Error,
                    "the new certificate cannot be used; the old one stays"
                );
            }
        }
    }

    /// Reads the files again whenever they have changed, until the server stops. Checks them once in every `period`.
    pub async fn watch(self: Arc<Self>, period: Duration, lifecycle: Lifecycle) {
        let mut interval = tokio::time::interval(period);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut before = self.read.lock().clone();
        loop {
            tokio::select! {
                _ = interval.tick() => {}
                () = lifecycle.stopping() => return,
            }
            let tls = Arc::clone(&self);
            let look = tokio::task::spawn_blocking(move || {
                let now = tls.files.stamps();
                let has_changed = now != *tls.read.lock();
                // Only once they rest: the two are replaced one after the other, and are of no use in between.
                if has_changed && now == before {
                    tls.reload();
                }
                now
            });
            // It ends early only with the runtime.
            let Ok(now) = look.await else { return };
            before = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_key_is_told() {
        let folder = std::env::temp_dir().join(format!("parlor-tls-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let key = folder.join("key.pem");
        std::fs::write(&key, "-----BEGIN PRIVATE KEY hunter2-----\n").unwrap();
        let wanted = "private key without a passphrase";
        let error = read_pem(&key, "TLS_KEY", wanted, PrivateKeyDer::from_pem_slice).unwrap_err();
        std::fs::remove_dir_all(&folder).unwrap();
        assert!(matches!(&error, TlsError::NotThere { setting: "TLS_KEY", .. }), "{error}");
        assert!(!format!("{error} {error:?}").contains("hunter2"));
    }

    #[test]
    fn a_host_is_covered_by_the_names_of_the_certificate() {
        let folder = std::env::temp_dir().join(format!("parlor-names-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let names = ["parlor.example", "*.calls.example"].map(str::to_owned);
        let issued = rcgen::generate_simple_self_signed(names).unwrap();
        let files = Files { certificate: folder.join("certificate.pem"), key: folder.join("key.pem") };
        std::fs::write(&files.certificate, issued.cert.pem()).unwrap();
        std::fs::write(&files.key, issued.signing_key.serialize_pem()).unwrap();
        let tls = Tls::load(files).unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
        for (host, is_covered) in [
            ("parlor.example", true),
            ("eu.calls.example", true),
            ("calls.example", false),
            ("a.eu.calls.example", false),
            ("evil.example", false),
            ("parlor.example.evil.example", false),
            ("", false),
            ("[::1]", false),
        ] {
            assert_eq!(tls.covers(host), is_covered, "{host}");
        }
    }
}
