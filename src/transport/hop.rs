//! Forwards requests of polling sessions to the node of the cluster that has the session, which the
//! session id names.
//!
//! Bodies are streamed; the bytes of a WebSocket pass in both directions until one side ends.
//! Connections to other nodes are used for one request after another.

use std::fmt;
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use http::{HeaderValue, Method, StatusCode, Uri, Version, header};
use hyper::rt::Executor;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connected, Connection as Pooled};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, copy_bidirectional};
use tokio::time::timeout;
use tokio_util::task::TaskTracker;
use tower::Service;
use tracing::debug;

use super::response_body::Guarded;
use crate::lifecycle::Lifecycle;
use crate::request::hop::{HOP, HopKey, Hopped};
use crate::request::proxies::{ClientOverTls, client_address};
use crate::session::Hub;
use crate::tls::{self, Connection, Connector};

/// Time for a connection to another node.
const CONNECT_LIMIT: Duration = Duration::from_secs(3);

/// Time for the response of another node. A poll is answered sooner, at the latest by a heartbeat.
const RESPONSE_LIMIT: Duration = Duration::from_mins(1);

/// How long a connection to another node waits for the next request. A node closes it after a
/// longer time.
const IDLE_LIMIT: Duration = Duration::from_secs(2);

/// Maximum number of connections to a node that wait for the next request.
const MAX_IDLE: usize = 64;

/// Returns the address of a node, such as `http://10.0.0.7:4000`, by its name; from a new list of
/// the nodes, if that is wanted.
pub(crate) type FindNode =
    Box<dyn Fn(&str, bool) -> Pin<Box<dyn Future<Output = Option<String>> + Send>> + Send + Sync>;

/// Forwards requests to other nodes.
pub(crate) struct Hop {
    /// Name of this node.
    name: String,
    find: Arc<FindNode>,
    key: Arc<HopKey>,
    hub: Arc<Hub>,
    lifecycle: Lifecycle,
    /// The requests that are not answered yet.
    unanswered: TaskTracker,
    /// Connects to nodes by their names, and keeps the connections.
    client: Client<Nodes, Body>,
}

impl Hop {
    /// Creates the forwarder of the node with this name.
    pub(crate) fn new(
        name: String,
        find: FindNode,
        key: Arc<HopKey>,
        hub: Arc<Hub>,
        lifecycle: Lifecycle,
    ) -> io::Result<Self> {
        // The signature proves the nodes to each other, not a certificate, whose name is that of the
        // public host.
        let find = Arc::new(find);
        let nodes = Nodes { find: Arc::clone(&find), tls: tls::remote_connector(true)? };
        let unanswered = TaskTracker::new();
        let tasks = Tasks { lifecycle: lifecycle.clone(), unanswered: unanswered.clone() };
        let client = Client::builder(tasks)
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_LIMIT)
            .pool_max_idle_per_host(MAX_IDLE)
            .set_host(false)
            .build(nodes);
        Ok(Self { name, find, key, hub, lifecycle, unanswered, client })
    }

    /// Returns the name of this node.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Forwards a request to a node. Returns `None` if there is no such node, or it cannot be
    /// reached; for a poll also if this node stops. A message of the client is still forwarded then.
    pub(super) async fn forward(&self, node: &str, mut request: Request) -> Option<Response> {
        let client = Hopped {
            address: client_address(&request),
            is_tls: request.extensions().get::<ClientOverTls>().is_some(),
        };
        let signed = if let Some(signed) = self.key.sign(client, SystemTime::now()) {
            signed
        } else {
            // The key comes with the list of nodes.
            (self.find)(node, false).await?;
            self.key.sign(client, SystemTime::now())?
        };
        let upgrade = request
            .headers()
            .contains_key(header::UPGRADE)
            .then(|| hyper::upgrade::on(&mut request));
        let (mut parts, body) = request.into_parts();
        parts.headers.insert(HOP, signed);
        if upgrade.is_none() {
            parts.headers.remove(header::CONNECTION);
        }
        // HTTP/2 has no such header.
        if let Some(host) = parts.uri.authority()
            && !parts.headers.contains_key(header::HOST)
        {
            parts.headers.insert(header::HOST, HeaderValue::from_str(host.as_str()).ok()?);
        }
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        let mut forwarded = http::Request::new(body);
        *forwarded.method_mut() = parts.method;
        *forwarded.uri_mut() = format!("http://{}{path}", host_of(node)).parse().ok()?;
        *forwarded.version_mut() = Version::HTTP_11;
        *forwarded.headers_mut() = parts.headers;
        let is_message = forwarded.method() == Method::POST;
        let unanswered = self.unanswered.token();
        let response = tokio::select! {
            response = timeout(RESPONSE_LIMIT, self.client.request(forwarded)) => response,
            () = self.lifecycle.stopping(), if !is_message => return None,
        };
        let mut response = match response {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => {
                debug!(node, %error, "cannot forward a request to another node");
                return None;
            }
            Err(_) => {
                debug!(node, "another node does not respond");
                return None;
            }
        };
        self.hub.metrics().hopped();
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
        // If the response is not read to its end, its connection is closed.
        Some(response.map(|body| Guarded::wrap(Body::new(body), Some(unanswered))))
    }
}

/// Returns a host for the name of a node: hosts that differ in case are the same, nodes are not.
fn host_of(node: &str) -> String {
    let digit = |half: u8| char::from_digit(half.into(), 16).unwrap_or_default();
    node.bytes().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// Returns the name of the node of such a host.
fn node_of(host: &str) -> Option<String> {
    let digit = |at: usize| u8::from_str_radix(host.get(at..at + 2)?, 16).ok();
    let bytes: Vec<u8> = (0..host.len()).step_by(2).map(digit).collect::<Option<_>>()?;
    String::from_utf8(bytes).ok()
}

/// Connects to nodes.
#[derive(Clone)]
struct Nodes {
    find: Arc<FindNode>,
    tls: Connector,
}

impl Nodes {
    /// Connects to a node, which may have another address since the nodes were listed.
    async fn reach(&self, node: &str) -> io::Result<TokioIo<Stream>> {
        let mut former = None;
        let unknown = || io::Error::new(ErrorKind::NotFound, "no such node");
        let mut failed = None;
        for is_fresh in [false, true] {
            let address = (self.find)(node, is_fresh).await.ok_or_else(unknown)?;
            if former.as_ref() == Some(&address) {
                break;
            }
            match timeout(CONNECT_LIMIT, self.connect(&address)).await {
                Ok(Ok(stream)) => return Ok(TokioIo::new(Stream(stream))),
                Ok(Err(error)) => failed = Some(error),
                Err(_) => failed = Some(ErrorKind::TimedOut.into()),
            }
            former = Some(address);
        }
        Err(failed.unwrap_or_else(unknown))
    }

    async fn connect(&self, address: &str) -> io::Result<Box<dyn Connection>> {
        let uri: Uri = address.parse().map_err(io::Error::other)?;
        let is_tls = uri.scheme_str() == Some("https");
        let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        tls::open(host, port, is_tls.then_some(&self.tls)).await
    }
}

impl Service<Uri> for Nodes {
    type Response = TokioIo<Stream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<TokioIo<Stream>>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let nodes = self.clone();
        Box::pin(async move {
            let node = uri.host().and_then(node_of);
            nodes.reach(&node.ok_or(ErrorKind::InvalidInput)?).await
        })
    }
}

/// A connection to another node.
struct Stream(Box<dyn Connection>);

impl Pooled for Stream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

/// Spawns the tasks of connections, which end when the server stops and all requests are answered.
#[derive(Clone)]
struct Tasks {
    lifecycle: Lifecycle,
    unanswered: TaskTracker,
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Tasks {
    fn execute(&self, task: F) {
        let Self { lifecycle, unanswered } = self.clone();
        self.lifecycle.spawn(async move {
            let unused = async {
                lifecycle.stopping().await;
                unanswered.close();
                unanswered.wait().await;
            };
            tokio::select! {
                () = task => {}
                () = unused => {}
            }
        });
    }
}

impl fmt::Debug for Hop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hop").field("name", &self.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_of_nodes_differ_where_their_names_do() {
        for name in ["one", "One", "parlor-1", "a"] {
            assert_eq!(node_of(&host_of(name)).as_deref(), Some(name));
            assert!(format!("http://{}/x?y", host_of(name)).parse::<Uri>().is_ok(), "{name}");
        }
        assert!(!host_of("one").eq_ignore_ascii_case(&host_of("One")));
        for host in ["0", "zz", "c3", "é"] {
            assert_eq!(node_of(host), None, "{host}");
        }
    }
}
