//! The server's certificate, which is reloaded when its files change.
//!
//! - [`Tls::load`] reads the files of `TLS_CERT` and `TLS_KEY`; [`Tls::self_signed`] makes a
//!   certificate (`DEV_TLS`);
//! - [`Tls::accept`] performs the TLS handshake of a connection with the current certificate;
//! - [`Tls::watch`] checks the files for changes once a second; [`Tls::reload`] reads them at once
//!   (SIGHUP);
//! - [`local_client`] is the client side, for `parlor health`; [`remote_connector`] is that for
//!   other servers, [`authority_connector`] that for the engines of a cluster.
//!
//! Invariant: files that cannot be used change nothing. Certificate and key are replaced together
//! or not at all. Open connections keep theirs.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use rustls::client::verify_server_name;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::server::ParsedCertificate;
use rustls::version::{TLS12, TLS13};
use rustls::{InconsistentKeys, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tracing::{info, warn};

use crate::file_watch::{self, FileStamp};
use crate::lifecycle::Lifecycle;

mod client;

pub(crate) use client::{
    Connection, Connector, authority_connector, local_client, open, remote_connector,
};

/// ALPN id of HTTP/2 (RFC 9113, section 3.1).
pub(crate) const HTTP_2: &[u8] = b"h2";

/// ALPN id of HTTP/1.1 (RFC 7301, section 6). Browsers offer it alone for a WebSocket.
const HTTP_1: &[u8] = b"http/1.1";

/// The paths of certificate and key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// The certificate and its chain, in PEM form.
    pub certificate: PathBuf,
    /// The private key, in PEM form, without a passphrase.
    pub key: PathBuf,
}

/// Why certificate and key cannot be used. Never contains the contents of a file.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {setting}={path}")]
    Unreadable {
        /// The name of the setting.
        setting: &'static str,
        /// The path of the file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A file does not hold what it should.
    #[error("{setting}={path} holds no {wanted} in PEM form")]
    Missing {
        /// The name of the setting.
        setting: &'static str,
        /// The path of the file.
        path: PathBuf,
        /// The expected content.
        wanted: &'static str,
    },
    /// The key does not belong to the certificate.
    #[error("TLS_KEY={key} is not the key of TLS_CERT={certificate}")]
    Mismatch {
        /// The file of the certificate.
        certificate: PathBuf,
        /// The file of the key.
        key: PathBuf,
    },
    /// Certificate or key are of an unsupported kind.
    #[error("TLS_CERT={certificate} with TLS_KEY={key} cannot be used")]
    Unusable {
        /// The file of the certificate.
        certificate: PathBuf,
        /// The file of the key.
        key: PathBuf,
        /// The cause.
        source: rustls::Error,
    },
}

/// Why no self-signed certificate can be made.
#[derive(Debug, thiserror::Error)]
pub enum SelfSignedError {
    /// The certificate cannot be signed.
    #[error("cannot make a self-signed certificate")]
    Certificate(#[from] rcgen::Error),
    /// The certificate cannot be used.
    #[error("cannot use the self-signed certificate")]
    Unusable(#[from] rustls::Error),
}

/// The stamps of certificate and key; `None` for a missing file.
type Stamps = [Option<FileStamp>; 2];

impl Files {
    fn stamps(&self) -> Stamps {
        [FileStamp::of(&self.certificate), FileStamp::of(&self.key)]
    }

    /// Reads certificate and key, and builds the configuration for handshakes.
    fn read(&self) -> Result<LoadedCertificate, TlsError> {
        let Self { certificate, key } = self.clone();
        let chain = read_pem(&certificate, "TLS_CERT", "certificate", |bytes| {
            CertificateDer::pem_slice_iter(bytes).collect::<Result<Vec<_>, _>>()
        })?;
        if chain.is_empty() {
            return Err(TlsError::Missing {
                setting: "TLS_CERT",
                path: certificate,
                wanted: "certificate",
            });
        }
        let private = read_pem(
            &key,
            "TLS_KEY",
            "private key without a passphrase",
            PrivateKeyDer::from_pem_slice,
        )?;
        let unusable = |source| match source {
            rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                TlsError::Mismatch { certificate: certificate.clone(), key: key.clone() }
            }
            source => {
                TlsError::Unusable { certificate: certificate.clone(), key: key.clone(), source }
            }
        };
        LoadedCertificate::new(chain, private).map_err(unusable)
    }
}

impl LoadedCertificate {
    /// Builds the configuration for handshakes. The chain is not empty.
    fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, rustls::Error> {
        let leaf = chain[0].clone();
        let builder = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13, &TLS12])?;
        let mut config = builder.with_no_client_auth().with_single_cert(chain, key)?;
        config.alpn_protocols = vec![HTTP_2.to_vec(), HTTP_1.to_vec()];
        // A new ticketer per certificate, so that sessions of an old certificate are not resumed.
        config.ticketer = aws_lc_rs::Ticketer::new()?;
        Ok(Self { config: Arc::new(config), leaf })
    }
}

/// Has libraries that take the cryptography of the process use ours.
pub(crate) fn install_provider() {
    // Fails if it was installed before.
    _ = aws_lc_rs::default_provider().install_default();
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// Reads and parses a PEM file. Drops the parser's error, which may hold parts of the file.
fn read_pem<T>(
    path: &Path,
    setting: &'static str,
    wanted: &'static str,
    parse: impl FnOnce(&[u8]) -> Result<T, pem::Error>,
) -> Result<T, TlsError> {
    let bytes = std::fs::read(path).map_err(|source| TlsError::Unreadable {
        setting,
        path: path.into(),
        source,
    })?;
    parse(&bytes).map_err(|_| TlsError::Missing { setting, path: path.into(), wanted })
}

/// A certificate that is ready for handshakes.
#[derive(Clone)]
struct LoadedCertificate {
    config: Arc<ServerConfig>,
    /// The server's own certificate, without the chain.
    leaf: CertificateDer<'static>,
}

/// The current certificate.
pub struct Tls {
    /// `None` for a self-signed certificate, which has no files.
    files: Option<Files>,
    current: RwLock<LoadedCertificate>,
    /// The stamps of the files at the last attempt to load them.
    attempted: Mutex<Stamps>,
}

impl Tls {
    /// Loads certificate and key.
    pub fn load(files: Files) -> Result<Self, TlsError> {
        // Taken before reading, so that a change during the read is detected later.
        let stamps = files.stamps();
        let current = RwLock::new(files.read()?);
        Ok(Self { files: Some(files), current, attempted: Mutex::new(stamps) })
    }

    /// Makes a self-signed certificate for these host names and addresses, for development.
    pub fn self_signed(names: Vec<String>) -> Result<Self, SelfSignedError> {
        let issued = rcgen::generate_simple_self_signed(names)?;
        let key = PrivatePkcs8KeyDer::from(issued.signing_key.serialize_der());
        let current = LoadedCertificate::new(vec![issued.cert.der().clone()], key.into())?;
        Ok(Self { files: None, current: RwLock::new(current), attempted: Mutex::default() })
    }

    /// Performs the TLS handshake of a connection.
    pub async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
    ) -> io::Result<TlsStream<S>> {
        let config = Arc::clone(&self.current.read().config);
        TlsAcceptor::from(config).accept(stream).await
    }

    /// Returns whether the certificate is valid for a host name.
    pub fn covers(&self, host: &str) -> bool {
        let leaf = self.current.read().leaf.clone();
        let (Ok(certificate), Ok(name)) =
            (ParsedCertificate::try_from(&leaf), ServerName::try_from(host))
        else {
            return false;
        };
        verify_server_name(&certificate, &name).is_ok()
    }

    /// Reloads certificate and key for new handshakes. If the files cannot be used, logs a warning
    /// and keeps the current certificate. Blocks while it reads the files.
    pub fn reload(&self) {
        let Some(files) = &self.files else {
            info!("the certificate is self-signed, ignoring SIGHUP");
            return;
        };
        *self.attempted.lock() = files.stamps();
        match files.read() {
            Ok(read) => {
                *self.current.write() = read;
                info!("certificate reloaded");
            }
            Err(error) => {
                warn!(
                    error = &error as &dyn std::error::Error,
                    "cannot reload certificate, keeping the current one"
                );
            }
        }
    }

    /// Reloads the files whenever they have changed, until the server stops. Checks them once per
    /// `period`.
    pub async fn watch(self: Arc<Self>, period: Duration, lifecycle: Lifecycle) {
        let previous = Mutex::new(self.attempted.lock().clone());
        let check = move || {
            let now = self.files.as_ref().map(Files::stamps).unwrap_or_default();
            let has_changed = now != *self.attempted.lock();
            let is_stable = std::mem::replace(&mut *previous.lock(), now.clone()) == now;
            // Waits until both files are stable: they are replaced one after the other and do not
            // match in between.
            if has_changed && is_stable {
                self.reload();
            }
        };
        file_watch::watch(period, lifecycle, check).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_never_contain_the_key() {
        let folder = std::env::temp_dir().join(format!("parlor-tls-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let key = folder.join("key.pem");
        std::fs::write(&key, "-----BEGIN PRIVATE KEY hunter2-----\n").unwrap();
        let wanted = "private key without a passphrase";
        let error = read_pem(&key, "TLS_KEY", wanted, PrivateKeyDer::from_pem_slice).unwrap_err();
        std::fs::remove_dir_all(&folder).unwrap();
        assert!(matches!(&error, TlsError::Missing { setting: "TLS_KEY", .. }), "{error}");
        assert!(!format!("{error} {error:?}").contains("hunter2"));
    }

    #[test]
    fn host_is_covered_by_names_of_certificate() {
        let folder = std::env::temp_dir().join(format!("parlor-names-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let names = ["parlor.example", "*.calls.example"].map(str::to_owned);
        let issued = rcgen::generate_simple_self_signed(names).unwrap();
        let files =
            Files { certificate: folder.join("certificate.pem"), key: folder.join("key.pem") };
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
