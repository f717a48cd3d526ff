//! Forwards requests of polling sessions to the node of the cluster that has the session, which the
//! session id names.
//!
//! Bodies are streamed; the bytes of a WebSocket pass in both directions until one side ends.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use http::{StatusCode, Uri, Version, header};
use hyper_util::rt::TokioIo;
use tokio::io::copy_bidirectional;
use tokio::time::timeout;
use tracing::debug;

use crate::lifecycle::Lifecycle;
use crate::request::hop::{HOP, HopKey, Hopped};
use crate::request::proxies::{ClientOverTls, client_address};
use crate::session::Hub;
use crate::tls::{self, Connection};

/// Time for a connection to another node.
const CONNECT_LIMIT: Duration = Duration::from_secs(3);

/// Time for the response of another node. A poll is answered sooner, at the latest by a heartbeat.
const RESPONSE_LIMIT: Duration = Duration::from_mins(1);

/// Returns the address of a node, such as `http://10.0.0.7:4000`, by its name; from a new list of
/// the nodes, if that is wanted.
pub(crate) type FindNode =
    Box<dyn Fn(&str, bool) -> Pin<Box<dyn Future<Output = Option<String>> + Send>> + Send + Sync>;

/// Forwards requests to other nodes.
pub(crate) struct Hop {
    /// Name of this node.
    name: String,
    find: FindNode,
    key: Arc<HopKey>,
    hub: Arc<Hub>,
    lifecycle: Lifecycle,
}

impl Hop {
    /// Creates the forwarder of the node with this name.
    pub(crate) fn new(
        name: String,
        find: FindNode,
        key: Arc<HopKey>,
        hub: Arc<Hub>,
        lifecycle: Lifecycle,
    ) -> Self {
        Self { name, find, key, hub, lifecycle }
    }

    /// Returns the name of this node.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Connects to a node, which may have another address since the nodes were listed.
    async fn reach(&self, node: &str) -> Option<Box<dyn Connection>> {
        let mut former = None;
        for is_fresh in [false, true] {
            let address = (self.find)(node, is_fresh).await?;
            if former.as_ref() == Some(&address) {
                return None;
            }
            match timeout(CONNECT_LIMIT, connect(&address)).await {
                Ok(Ok(stream)) => return Some(stream),
                Ok(Err(error)) => debug!(node, %error, "cannot reach another node"),
                Err(_) => debug!(node, "another node does not answer"),
            }
            former = Some(address);
        }
        None
    }

    /// Forwards a request to a node. Returns `None` if there is no such node, or it cannot be
    /// reached.
    pub(super) async fn forward(&self, node: &str, mut request: Request) -> Option<Response> {
        let stream = self.reach(node).await?;
        let client = Hopped {
            address: client_address(&request),
            is_tls: request.extensions().get::<ClientOverTls>().is_some(),
        };
        let signed = self.key.sign(client, SystemTime::now())?;
        self.hub.metrics().hopped();
        let upgrade = request
            .headers()
            .contains_key(header::UPGRADE)
            .then(|| hyper::upgrade::on(&mut request));
        let (mut parts, body) = request.into_parts();
        parts.headers.insert(HOP, signed);
        if upgrade.is_none() {
            parts.headers.remove(header::CONNECTION);
        }
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        let mut forwarded = http::Request::new(body);
        *forwarded.method_mut() = parts.method;
        *forwarded.uri_mut() = path.parse().ok()?;
        *forwarded.version_mut() = Version::HTTP_11;
        *forwarded.headers_mut() = parts.headers;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.ok()?;
        let lifecycle = self.lifecycle.clone();
        self.lifecycle.spawn(async move {
            tokio::select! {
                ended = connection.with_upgrades() => {
                    if let Err(error) = ended {
                        debug!(%error, "connection to another node ended with an error");
                    }
                }
                () = lifecycle.stopping() => {}
            }
        });
        let mut response =
            timeout(RESPONSE_LIMIT, sender.send_request(forwarded)).await.ok()?.ok()?;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            let server = hyper::upgrade::on(&mut response);
            let (client, lifecycle) = (upgrade?, self.lifecycle.clone());
            self.lifecycle.spawn(async move {
                let (Ok(client), Ok(server)) = (client.await, server.await) else { return };
                let (mut client, mut server) = (TokioIo::new(client), TokioIo::new(server));
                tokio::select! {
                    _ = copy_bidirectional(&mut client, &mut server) => {}
                    () = lifecycle.stopping() => {}
                }
            });
            return Some(response.map(|_| Body::empty()));
        }
        response.headers_mut().remove(header::CONNECTION);
        // The connection ends with the response, even if that is not read to its end.
        Some(response.map(Body::new))
    }
}

async fn connect(address: &str) -> std::io::Result<Box<dyn Connection>> {
    let uri: Uri = address.parse().map_err(std::io::Error::other)?;
    let is_tls = uri.scheme_str() == Some("https");
    let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
    // The signature proves the nodes to each other, not a certificate, whose name is that of the
    // public host.
    let connector = if is_tls { Some(tls::remote_connector(true)?) } else { None };
    tls::open(host, port, connector.as_ref()).await
}

impl fmt::Debug for Hop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hop").field("name", &self.name).finish_non_exhaustive()
    }
}
