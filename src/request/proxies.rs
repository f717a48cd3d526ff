//! Trusted proxies, and what they forward about a client.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::SystemTime;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::header::Entry;
use http::{Extensions, HeaderMap};
use ipnet::IpNet;
use parking_lot::RwLock;

use super::error::ApiError;
use super::hop::{HOP, HopKey, Hopped};

/// The remote address of a request's connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PeerAddress(pub SocketAddr);

/// Marks requests whose connection to this server is TLS.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OverTls;

/// Marks requests of clients that speak TLS: to this server, to a trusted proxy, or to the node
/// that has forwarded them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ClientOverTls;

/// Marks requests that another node of the cluster has forwarded.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Forwarded;

/// The client's address: the remote address of the connection, or the one that trusted proxies
/// forward.
#[derive(Debug, Clone, Copy)]
struct ClientAddress(IpAddr);

/// Returns the client's address, as determined by [`find_client`].
pub(crate) fn client_address<B>(request: &http::Request<B>) -> IpAddr {
    // Requests that did not pass `find_client` do not come from the network.
    request
        .extensions()
        .get()
        .map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |ClientAddress(address)| *address)
}

/// The networks of `TRUSTED_PROXIES`, and the other nodes of the cluster.
#[derive(Debug)]
pub struct Proxies {
    networks: Vec<IpNet>,
    /// Addresses of the nodes of the cluster, whose connections count for the clients of their
    /// requests.
    nodes: RwLock<HashSet<IpAddr>>,
    /// The key with which nodes sign forwarded requests.
    key: Arc<HopKey>,
}

impl Proxies {
    /// Creates the list of trusted networks.
    pub fn new(networks: &[IpNet]) -> Self {
        Self { networks: networks.to_vec(), nodes: RwLock::default(), key: Arc::default() }
    }

    /// Returns whether an address is that of a trusted proxy.
    pub fn trusts(&self, address: IpAddr) -> bool {
        // A dual-stack socket reports IPv4 addresses in mapped form.
        let address = address.to_canonical();
        self.networks.iter().any(|network| network.contains(&address))
    }

    /// Returns the key with which nodes of the cluster sign forwarded requests.
    pub fn hop_key(&self) -> &Arc<HopKey> {
        &self.key
    }

    /// Sets the addresses of the nodes of the cluster.
    pub fn set_nodes(&self, nodes: HashSet<IpAddr>) {
        *self.nodes.write() = nodes;
    }

    /// Returns whether connections of an address are those of a proxy or of another node, and count
    /// for their clients.
    pub fn forwards(&self, address: IpAddr) -> bool {
        self.trusts(address) || self.nodes.read().contains(&address.to_canonical())
    }

    /// Takes the header of a request that another node has forwarded. Returns the client that it
    /// names.
    fn take_hop(&self, request: &mut Request) -> Option<Hopped> {
        match request.headers_mut().entry(HOP) {
            Entry::Occupied(header) => self.key.verify(&header.remove(), SystemTime::now()),
            Entry::Vacant(_) => None,
        }
    }

    /// Returns the nearest address on the request's path that is not a trusted proxy. Each proxy
    /// appends its remote address to `X-Forwarded-For`, so the list is read from its end: entries
    /// before an untrusted address may be forged.
    fn client(&self, request: &Request) -> Option<IpAddr> {
        let mut nearest = request.extensions().get::<PeerAddress>()?.0.ip().to_canonical();
        let forwarded = request.headers().get_all("x-forwarded-for");
        for list in forwarded.into_iter().rev() {
            for address in list.to_str().unwrap_or("?").rsplit(',') {
                if !self.trusts(nearest) {
                    return Some(nearest);
                }
                match parse_address(address.trim()) {
                    Some(address) => nearest = address,
                    // A trusted proxy forwarded no valid address, so its own is the last one known.
                    None => return Some(nearest),
                }
            }
        }
        Some(nearest)
    }

    /// Returns whether the request came over TLS: to this server, or to a trusted proxy. Of several
    /// forwarded values the last one counts, which the nearest proxy has appended; others may be
    /// forged.
    fn came_over_tls(&self, request: &Request) -> bool {
        if request.extensions().get::<OverTls>().is_some() {
            return true;
        }
        let peer = request.extensions().get::<PeerAddress>();
        let scheme = request
            .headers()
            .get_all("x-forwarded-proto")
            .iter()
            .next_back()
            .and_then(|value| value.to_str().ok());
        peer.is_some_and(|peer| self.trusts(peer.0.ip()))
            && scheme
                .and_then(|scheme| scheme.rsplit(',').next())
                .is_some_and(|scheme| scheme.trim().eq_ignore_ascii_case("https"))
    }
}

impl Proxies {
    /// Returns the `X-Forwarded-Host` and `X-Forwarded-Port` of the nearest proxy, if it is
    /// trusted.
    pub fn forwarded_host(
        &self,
        headers: &HeaderMap,
        extensions: &Extensions,
    ) -> (Option<String>, Option<u16>) {
        if !extensions.get::<PeerAddress>().is_some_and(|peer| self.trusts(peer.0.ip())) {
            return (None, None);
        }
        let last = |name| {
            let value = headers.get_all(name).iter().next_back()?.to_str().ok()?;
            value
                .rsplit(',')
                .next()
                .map(|value| value.trim().to_owned())
                .filter(|value| !value.is_empty())
        };
        (last("x-forwarded-host"), last("x-forwarded-port").and_then(|port| port.parse().ok()))
    }
}

/// Parses a forwarded address: with or without a port, IPv6 with or without brackets and zone.
fn parse_address(text: &str) -> Option<IpAddr> {
    let socket_address = || text.parse::<SocketAddr>().map(|address| address.ip());
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let without_zone = || bare.split_once('%').map_or(bare, |(address, _)| address).parse();
    let address: Result<IpAddr, _> =
        text.parse().or_else(|_| socket_address()).or_else(|_| without_zone());
    address.ok().map(|address| address.to_canonical())
}

/// Determines the address of clients, for [`client_address`].
pub(crate) async fn find_client(
    State(proxies): State<Arc<Proxies>>,
    mut request: Request,
    next: Next,
) -> Response {
    let hopped = proxies.take_hop(&mut request);
    let address = hopped.map(|hopped| hopped.address).or_else(|| proxies.client(&request));
    if let Some(address) = address {
        request.extensions_mut().insert(ClientAddress(address));
    }
    let is_tls = hopped.map_or_else(|| proxies.came_over_tls(&request), |hopped| hopped.is_tls);
    if is_tls {
        request.extensions_mut().insert(ClientOverTls);
    }
    if hopped.is_some() {
        request.extensions_mut().insert(Forwarded);
    }
    next.run(request).await
}

/// Refuses requests that did not come over TLS.
pub(crate) async fn require_tls(
    State(proxies): State<Arc<Proxies>>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    if proxies.came_over_tls(&request) {
        Ok(next.run(request).await)
    } else {
        Err(ApiError::TlsRequired)
    }
}
