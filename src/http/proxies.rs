//! Proxies whose word is believed.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use ipnet::IpNet;

use super::error::ApiError;

/// The address at the other end of a request's connection.
#[derive(Debug, Clone, Copy)]
pub struct PeerAddress(pub SocketAddr);

/// The networks of `TRUSTED_PROXIES`.
#[derive(Debug)]
pub struct Proxies(Vec<IpNet>);

impl Proxies {
    /// Those of the setting.
    pub fn new(networks: &[IpNet]) -> Self {
        Self(networks.to_vec())
    }

    fn trusts(&self, address: IpAddr) -> bool {
        // A socket that serves both versions sees IPv4 in its IPv6 form.
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// Whether the request came over TLS, by the word of a trusted proxy. Where several have written theirs, that of the
    /// nearest counts: what is before it anyone may have written.
    fn came_over_tls(&self, request: &Request) -> bool {
        let peer = request.extensions().get::<PeerAddress>();
        let said =
            request.headers().get_all("x-forwarded-proto").iter().next_back().and_then(|value| value.to_str().ok());
        peer.is_some_and(|peer| self.trusts(peer.0.ip()))
            && said
                .and_then(|said| said.rsplit(',').next())
                .is_some_and(|said| said.trim().eq_ignore_ascii_case("https"))
    }
}

/// Refuses what did not come over TLS.
pub async fn require_tls(
    State(proxies): State<Arc<Proxies>>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    if proxies.came_over_tls(&request) { Ok(next.run(request).await) } else { Err(ApiError::TlsRequired) }
}
