//! The recorded server: its address, and connections to it.

use std::io;
use std::time::Duration;

use http::Uri;
use http::uri::Scheme;
use tokio::time::timeout;

use crate::tls::{self, Connection};

/// Time limit for opening a connection to the server.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// An error in the address of an upstream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{url:?} is not the address of a server; it takes http://HOST:PORT or https://HOST:PORT, without a path"
)]
pub(super) struct InvalidUrl {
    url: String,
}

/// The server that is recorded.
#[derive(Clone)]
pub(super) struct Upstream {
    host: String,
    port: u16,
    /// Host and port, as in the `Host` header.
    pub(super) authority: String,
    /// Scheme, host and port, as in the `Origin` header.
    pub(super) origin: String,
    tls: Option<tls::Connector>,
}

impl Upstream {
    /// Reads the address; certificates are not verified if `is_insecure`.
    pub(super) fn parse(url: &str, is_insecure: bool) -> Result<Self, InvalidUrl> {
        let invalid = || InvalidUrl { url: url.to_owned() };
        let uri: Uri = url.parse().map_err(|_| invalid())?;
        let is_tls = uri.scheme() == Some(&Scheme::HTTPS);
        if !(is_tls || uri.scheme() == Some(&Scheme::HTTP))
            || !matches!(uri.path(), "" | "/")
            || uri.query().is_some()
        {
            return Err(invalid());
        }
        let authority = uri
            .authority()
            .filter(|authority| !authority.as_str().contains('@'))
            .ok_or_else(invalid)?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = authority.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let scheme = if is_tls { "https" } else { "http" };
        let tls = if is_tls {
            Some(tls::remote_connector(is_insecure).map_err(|_| invalid())?)
        } else {
            None
        };
        let authority = authority.to_string();
        Ok(Self { host, port, origin: format!("{scheme}://{authority}"), authority, tls })
    }

    /// Opens a connection.
    pub(super) async fn connect(&self) -> io::Result<Box<dyn Connection>> {
        let connecting = tls::open(&self.host, self.port, self.tls.as_ref());
        timeout(CONNECT_LIMIT, connecting)
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_name_scheme_host_and_port() {
        let upstream = |url| Upstream::parse(url, false);
        let local = upstream("http://localhost:3001/").ok().unwrap();
        assert_eq!(
            (local.host.as_str(), local.port, local.tls.is_none()),
            ("localhost", 3001, true)
        );
        let remote = upstream("https://[::1]").ok().unwrap();
        assert_eq!(
            (remote.host.as_str(), remote.port, remote.origin.as_str()),
            ("::1", 443, "https://[::1]")
        );
        for url in [
            "localhost:3001",
            "ws://localhost",
            "http://localhost/app",
            "http://a:b@localhost",
            "",
            "http://",
        ] {
            let error = upstream(url).err().unwrap().to_string();
            assert!(
                error.contains("it takes http://HOST:PORT") && !error.contains('\n'),
                "{error}"
            );
        }
    }
}
