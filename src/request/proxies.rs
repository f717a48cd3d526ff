//! Proxies whose word is believed.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::{Extensions, HeaderMap};
use ipnet::IpNet;

use super::error::ApiError;

/// The address at the other end of a request's connection.
#[derive(Debug, Clone, Copy)]
pub struct PeerAddress(pub SocketAddr);

/// Marks requests whose connection to this server is TLS.
#[derive(Debug, Clone, Copy)]
pub struct OverTls;

/// The address that a request comes from: that at the other end of its connection, or behind trusted proxies the one
/// that they tell.
#[derive(Debug, Clone, Copy)]
struct ClientAddress(IpAddr);

/// Where a request comes from, as [`find_client`] found it.
pub fn client_address<B>(request: &http::Request<B>) -> IpAddr {
    // Requests that did not pass there are none from the network.
    request.extensions().get().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |ClientAddress(address)| *address)
}

/// The networks of `TRUSTED_PROXIES`.
#[derive(Debug)]
pub struct Proxies(Vec<IpNet>);

impl Proxies {
    /// Those of the setting.
    pub fn new(networks: &[IpNet]) -> Self {
        Self(networks.to_vec())
    }

    /// Whether a peer is a trusted proxy.
    pub fn trusts(&self, address: IpAddr) -> bool {
        // A socket that serves both versions sees IPv4 in its IPv6 form.
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// The nearest address on a request's way that no trusted proxy has. Each proxy appends whom it was connected by, so
    /// the list is read from its end: what stands before an address that nobody vouches for, its owner may have made up.
    fn client(&self, request: &Request) -> Option<IpAddr> {
        let mut nearest = request.extensions().get::<PeerAddress>()?.0.ip().to_canonical();
        let told = request.headers().get_all("x-forwarded-for");
        for list in told.into_iter().rev() {
            for address in list.to_str().unwrap_or("?").rsplit(',') {
                if !self.trusts(nearest) {
                    return Some(nearest);
                }
                match parse_address(address.trim()) {
                    Some(address) => nearest = address,
                    // The proxy's own word, and no address: more is not known than the proxy itself.
                    None => return Some(nearest),
                }
            }
        }
        Some(nearest)
    }

    /// Whether the request came over TLS: to here, or by the word of a trusted proxy. Where several have written theirs,
    /// that of the nearest counts: what is before it anyone may have written.
    fn came_over_tls(&self, request: &Request) -> bool {
        if request.extensions().get::<OverTls>().is_some() {
            return true;
        }
        let peer = request.extensions().get::<PeerAddress>();
        let said =
            request.headers().get_all("x-forwarded-proto").iter().next_back().and_then(|value| value.to_str().ok());
        peer.is_some_and(|peer| self.trusts(peer.0.ip()))
            && said
                .and_then(|said| said.rsplit(',').next())
                .is_some_and(|said| said.trim().eq_ignore_ascii_case("https"))
    }
}

impl Proxies {
    /// The `X-Forwarded-Host` and `X-Forwarded-Port` of the nearest proxy, if it is trusted.
    pub fn forwarded_host(&self, headers: &HeaderMap, extensions: &Extensions) -> (Option<String>, Option<u16>) {
        if !extensions.get::<PeerAddress>().is_some_and(|peer| self.trusts(peer.0.ip())) {
            return (None, None);
        }
        let last = |name| {
            let value = headers.get_all(name).iter().next_back()?.to_str().ok()?;
            value.rsplit(',').next().map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
        };
        (last("x-forwarded-host"), last("x-forwarded-port").and_then(|port| port.parse().ok()))
    }
}

/// An address as proxies write it: with or without a port, IPv6 with or without brackets and zone.
fn parse_address(text: &str) -> Option<IpAddr> {
    let socket_address = || text.parse::<SocketAddr>().map(|address| address.ip());
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let without_zone = || bare.split_once('%').map_or(bare, |(address, _)| address).parse();
    let address: Result<IpAddr, _> = text.parse().or_else(|_| socket_address()).or_else(|_| without_zone());
    address.ok().map(|address| address.to_canonical())
}

/// Finds out where requests come from, for [`client_address`].
pub async fn find_client(State(proxies): State<Arc<Proxies>>, mut request: Request, next: Next) -> Response {
    if let Some(address) = proxies.client(&request) {
        request.extensions_mut().insert(ClientAddress(address));
    }
    next.run(request).await
}

/// Refuses what did not come over TLS.
pub async fn require_tls(
    State(proxies): State<Arc<Proxies>>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    if proxies.came_over_tls(&request) { Ok(next.run(request).await) } else { Err(ApiError::TlsRequired) }
}
