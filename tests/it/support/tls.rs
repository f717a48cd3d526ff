//! A certificate authority for tests, certificates from it, and clients that trust only it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use http_body_util::BodyExt;
use hyper::client::conn::{http1, http2};
use hyper::{Method, Request, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};

pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, as files.
pub(crate) struct Identity {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "an authority of a test");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Writes the certificate of the authority into a folder.
    pub(crate) fn write(&self, folder: &Path) -> PathBuf {
        let path = folder.join("authority.pem");
        std::fs::create_dir_all(folder).unwrap();
        replace(&path, &self.0.pem());
        path
    }

    /// Writes a certificate for this machine, and its key, into files of a folder; replaces
    /// existing ones.
    pub(crate) fn issue(&self, folder: &Path) -> Identity {
        let names = ["localhost", "127.0.0.1"].map(str::to_owned);
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new(names).unwrap().signed_by(&key, &self.0).unwrap();
        let identity =
            Identity { certificate: folder.join("certificate.pem"), key: folder.join("key.pem") };
        std::fs::create_dir_all(folder).unwrap();
        replace(&identity.certificate, &leaf.pem());
        replace(&identity.key, &key.serialize_pem());
        identity
    }

    /// Returns a client that trusts this authority, with these versions of TLS.
    pub(crate) fn client(&self, versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth()
    }
}

/// An HTTP connection over TLS.
pub(crate) enum Https {
    One(tokio::sync::Mutex<http1::SendRequest<String>>),
    Two(http2::SendRequest<String>),
}

impl Https {
    /// Connects with HTTP/2 or HTTP/1.1 only.
    pub(crate) async fn connect(
        address: SocketAddr,
        mut tls: ClientConfig,
        is_http2: bool,
    ) -> Self {
        tls.alpn_protocols = vec![if is_http2 { b"h2".to_vec() } else { b"http/1.1".to_vec() }];
        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let connector = tokio_rustls::TlsConnector::from(Arc::new(tls));
        let stream = connector.connect(ServerName::from(address.ip()), stream).await.unwrap();
        assert_eq!(
            stream.get_ref().1.alpn_protocol(),
            Some(if is_http2 { &b"h2"[..] } else { b"http/1.1" })
        );
        if is_http2 {
            let (requests, connection) =
                http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
            tokio::spawn(connection);
            Self::Two(requests)
        } else {
            let (requests, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
            tokio::spawn(connection);
            Self::One(tokio::sync::Mutex::new(requests))
        }
    }

    /// Returns status and body of the response, which must use the version of the connection.
    pub(crate) async fn ask(
        &self,
        method: Method,
        url: &str,
        origin: Option<&str>,
        body: &str,
    ) -> (u16, String) {
        let mut request = Request::builder().method(method).uri(url);
        if let Some(origin) = origin {
            request = request.header("origin", origin);
        }
        let (version, answer) = match self {
            Self::One(requests) => {
                let host = url.split('/').nth(2).unwrap();
                let path = url.split_once(host).unwrap().1;
                let request = request.uri(path).header("host", host).body(body.to_owned()).unwrap();
                (Version::HTTP_11, requests.lock().await.send_request(request).await.unwrap())
            }
            Self::Two(requests) => {
                let request = request.version(Version::HTTP_2).body(body.to_owned()).unwrap();
                (Version::HTTP_2, requests.clone().send_request(request).await.unwrap())
            }
        };
        assert_eq!(answer.version(), version);
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.into()).unwrap())
    }

    pub(crate) async fn get(&self, url: &str) -> (u16, String) {
        self.ask(Method::GET, url, None, "").await
    }

    pub(crate) async fn post(&self, url: &str, body: &str) -> (u16, String) {
        self.ask(Method::POST, url, None, body).await
    }
}

/// Replaces a file atomically, as ACME clients do.
pub(crate) fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    std::fs::write(&new, text).unwrap();
    std::fs::rename(new, path).unwrap();
}

impl Identity {
    /// Returns the flags of the server.
    pub(crate) fn flags(&self) -> [String; 2] {
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        [
            format!("--tls-cert={}", text(&self.certificate)),
            format!("--tls-key={}", text(&self.key)),
        ]
    }
}

/// Returns an empty folder for the files of one test.
pub(crate) fn folder(of: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(of);
    std::fs::remove_dir_all(&folder).ok();
    std::fs::create_dir_all(&folder).unwrap();
    folder
}
