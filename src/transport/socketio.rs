//! The Socket.IO endpoint: Engine.IO 3 and 4 over WebSocket, over long-polling, and the upgrade
//! between them.
//!
//! - WebSocket connections are served by the connection loop of all protocols, with a [`Client`] as
//!   their conversation;
//! - [`polling`](super::polling) serves HTTP requests with the same conversation;
//! - upgrades are handled here: once the client has probed the WebSocket and sends the upgrade
//!   packet, the connection's executor moves to it. A WebSocket that fails before that changes
//!   nothing.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use futures_util::{SinkExt, StreamExt};
use http::{HeaderValue, Method, StatusCode, Uri, header};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tungstenite::Message;

use super::executor::Executor;
use super::handshake::{Handshake, into_stream};
use super::hop::Hop;
use super::polling::{Polling, PollingSession, Sid};
use super::queue::{QueueLimits, SendQueue};
use super::websocket::{Socket, Terms, WebSocketEndpoint, accept};
use crate::dialect::socketio::choice::Profiles;
use crate::dialect::socketio::packet::{EnginePacket, Revision};
use crate::dialect::socketio::{Client, Setup};
use crate::id::ConnectionId;
use crate::lifecycle::Lifecycle;
use crate::request::error::ApiError;
use crate::request::proxies::{Forwarded, client_address};
use crate::request::token::token_of;
use crate::session::{AdmissionError, ConnectionPermit, Hub, Opening};

/// Default path of official clients, and the only one that the long-polling library knows.
pub(crate) const PATH: &str = "/socket.io/";

/// Settings of the Socket.IO endpoint.
#[derive(Debug, Clone)]
pub struct SocketIoSettings {
    /// Maximum size of a message, in bytes.
    pub max_message_bytes: usize,
    /// Capacity of each connection's send queue.
    pub queue: QueueLimits,
    /// Time between two heartbeats.
    pub ping_interval: Duration,
    /// Time for the response to a heartbeat.
    pub ping_timeout: Duration,
    /// Time for an upgrade, and for the CONNECT packet.
    pub handshake_timeout: Duration,
    /// Event profiles that clients may speak.
    pub profiles: Arc<Profiles>,
}

impl SocketIoSettings {
    /// Returns the time for the CONNECT packet, including its token if one is required.
    pub(super) fn connect_timeout(&self) -> Duration {
        self.handshake_timeout / 2
    }

    /// Returns the maximum number of bytes that are read of a message. A message somewhat over its
    /// limit is still read, so that its sender gets an error that names the limit.
    pub(super) fn max_payload(&self) -> usize {
        self.max_message_bytes.saturating_mul(2)
    }
}

/// The Socket.IO endpoint: answers the requests to its paths. Cloning is cheap.
#[derive(Clone)]
pub struct SocketIoEndpoint {
    hub: Arc<Hub>,
    settings: Arc<SocketIoSettings>,
    polling: Polling,
    websocket: WebSocketEndpoint,
    /// Reaches the other nodes, in a cluster.
    hop: Arc<OnceLock<Hop>>,
}

impl SocketIoEndpoint {
    /// Creates an endpoint whose clients share `hub` and whose WebSocket connections are served by
    /// `websocket`.
    pub fn new(
        hub: Arc<Hub>,
        lifecycle: Lifecycle,
        settings: SocketIoSettings,
        websocket: WebSocketEndpoint,
    ) -> Self {
        let hop = Arc::new(OnceLock::new());
        let polling = Polling::new(Arc::clone(&hub), lifecycle, settings.clone(), Arc::clone(&hop));
        Self { hub, settings: Arc::new(settings), polling, websocket, hop }
    }

    /// Makes session ids name this node, and forwards requests for sessions of other nodes to them.
    pub(crate) fn set_hop(&self, hop: Hop) {
        // Once is enough.
        _ = self.hop.set(hop);
    }

    /// Asks polling clients to disconnect and waits until they have fetched their queued frames.
    /// Polling clients that connect from now on wait until `handed_over` is cancelled, and are
    /// redirected to the next process.
    pub async fn drain_polling(&self, handed_over: CancellationToken) {
        self.polling.drain(handed_over).await;
    }

    /// Waits until polling clients that were asked to disconnect have fetched their queued frames.
    pub async fn fetched(&self) {
        self.polling.fetched().await;
    }

    /// Shrinks internal maps after a connection spike.
    pub fn shrink(&self) {
        self.polling.shrink();
    }

    /// Returns the number of polling connections.
    pub fn polling_count(&self) -> usize {
        self.polling.len()
    }

    fn websocket(&self, query: &Query, request: Request) -> Response {
        let Some(handshake) = Handshake::read(&request) else { return not_a_handshake() };
        match query.sid {
            None => self.open(query, request, handshake),
            Some(sid) => match sid.ok().and_then(|sid| self.polling.session(sid)) {
                Some(session) if session.begin_upgrade() => {
                    session.join(&request);
                    self.upgrade(request, handshake, session)
                }
                Some(_) => engine_error(3, "Bad request"),
                None => engine_error(1, "Session ID unknown"),
            },
        }
    }

    /// Opens a connection that starts with a WebSocket.
    fn open(&self, query: &Query, request: Request, handshake: Handshake) -> Response {
        let connection = request.extensions().get::<Arc<ConnectionPermit>>();
        let opened = self.hub.open_permit(
            connection.map(Arc::as_ref),
            client_address(&request),
            Opening::WebSocket,
        );
        let permit = match opened {
            Ok(permit) => permit,
            Err(refused) => return ApiError::from(refused).into_response(),
        };
        let client = Client::new(Setup {
            revision: query.revision,
            sid: Sid::new().as_str().into(),
            is_opened: false,
            token: token_of(&request),
            ping_interval: self.settings.ping_interval,
            ping_timeout: self.settings.ping_timeout,
            max_message_bytes: self.settings.max_message_bytes,
            ice_servers: self.hub.ice_servers().cloned(),
            profiles: Arc::clone(&self.settings.profiles),
        });
        let (id, queue) = (ConnectionId::random(), SendQueue::new(self.settings.queue));
        let executor = Executor::new(Arc::clone(&self.hub), id, permit, Box::new(client), queue)
            .with_origin(request.headers().get(header::ORIGIN));
        let (settle_timeout, max_bytes) =
            (self.settings.connect_timeout(), self.settings.max_payload());
        self.websocket.open(
            request,
            handshake,
            executor,
            Terms { grant: None, settle_timeout, max_bytes },
        )
    }

    /// Upgrades a polling connection to a WebSocket.
    fn upgrade(
        &self,
        mut request: Request,
        handshake: Handshake,
        session: Arc<PollingSession>,
    ) -> Response {
        let upgrade = hyper::upgrade::on(&mut request);
        let settings = Arc::clone(&self.settings);
        self.websocket.take_over(async move {
            let attempt = async {
                let (stream, early) = upgrade.await.ok().and_then(into_stream)?;
                let mut socket =
                    accept(stream, early, session.limiter()?, settings.max_payload()).await;
                is_upgraded(&mut socket, &session).await.then_some(socket)
            };
            let socket = timeout(settings.handshake_timeout, attempt).await.ok().flatten();
            if socket.is_none() {
                session.abandon_upgrade();
            }
            Some((socket?, session.take()?))
        });
        handshake.accept()
    }
}

/// Answers the client's probe and waits for its upgrade packet; returns false if it sends anything
/// else.
async fn is_upgraded(socket: &mut Socket, session: &PollingSession) -> bool {
    if !matches!(
        packet(socket).await.as_deref().map(EnginePacket::decode),
        Some(Ok(EnginePacket::Probe))
    ) {
        return false;
    }
    session.probed();
    if socket.send(Message::text("3probe")).await.is_err() {
        return false;
    }
    matches!(
        packet(socket).await.as_deref().map(EnginePacket::decode),
        Some(Ok(EnginePacket::Upgrade))
    )
}

/// Returns the next text frame.
async fn packet(socket: &mut Socket) -> Option<tungstenite::Utf8Bytes> {
    match socket.next().await? {
        Ok(Message::Text(text)) => Some(text),
        Ok(_) | Err(_) => None,
    }
}

/// Answers one HTTP request to a path of Socket.IO.
pub(crate) async fn serve(State(endpoint): State<SocketIoEndpoint>, request: Request) -> Response {
    let Some(query) = Query::read(request.uri(), endpoint.hop.get().is_some()) else {
        return engine_error(5, "Unsupported protocol version");
    };
    if query.sid.is_none()
        && query.transport == Transport::Polling
        && request.method() == Method::GET
        && let Some(redirect) = endpoint.polling.redirect(&request)
    {
        return redirect.await;
    }
    if query.sid.is_none() && endpoint.hub.is_draining() {
        return ApiError::ShuttingDown.into_response();
    }
    if query.sid.is_none() && endpoint.hub.token_wait(client_address(&request)).is_some() {
        return ApiError::from(AdmissionError::TooManyInvalidTokens).into_response();
    }
    if let (Some(hop), Some(node)) = (endpoint.hop.get(), &query.node)
        && node != hop.name()
    {
        // A request that was forwarded once is not forwarded again.
        let is_forwarded = request.extensions().get::<Forwarded>().is_some();
        let forwarded =
            if is_forwarded { None } else { Box::pin(hop.forward(node, request)).await };
        return forwarded.unwrap_or_else(|| engine_error(1, "Session ID unknown"));
    }
    match query.transport {
        Transport::Polling => endpoint.polling.serve(&query, request).await,
        Transport::WebSocket if request.method() == Method::GET => {
            endpoint.websocket(&query, request)
        }
        Transport::WebSocket => engine_error(2, "Bad handshake method"),
    }
}

/// Parameters of a request's query. As in the library, the first occurrence of a key counts.
pub(super) struct Query {
    pub(super) revision: Revision,
    transport: Transport,
    pub(super) sid: Option<Result<Sid, ()>>,
    /// The node that has the session, in a cluster: the session id ends with its name.
    node: Option<String>,
    names_revision: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Transport {
    Polling,
    WebSocket,
}

impl Query {
    fn read(uri: &Uri, names_nodes: bool) -> Option<Self> {
        let value = |key: &str| {
            let pairs = uri.query()?.split('&');
            pairs
                .filter_map(|pair| pair.split_once('='))
                .find(|(name, _)| *name == key)
                .map(|(_, value)| value)
        };
        let named = value("EIO");
        let revision = match named {
            // Clients of revision 3 may omit it.
            None | Some("3") => Revision::V3,
            Some("4") => Revision::V4,
            Some(_) => return None,
        };
        let transport = match value("transport")? {
            "polling" => Transport::Polling,
            "websocket" => Transport::WebSocket,
            _ => return None,
        };
        let (sid, node) = match value("sid") {
            Some(sid) if names_nodes => match sid.split_once('.') {
                Some((sid, node)) => (Some(sid), Some(node)),
                None => (Some(sid), None),
            },
            sid => (sid, None),
        };
        let (sid, node) = (sid.map(|sid| sid.parse().map_err(|_| ())), node.map(str::to_owned));
        Some(Self { revision, transport, sid, node, names_revision: named.is_some() })
    }

    /// Returns the URI in the form that the library expects.
    pub(super) fn uri(&self, uri: &Uri) -> Uri {
        let revision = if self.names_revision { "" } else { "EIO=3&" };
        let query = uri.query().unwrap_or_default();
        if self.node.is_some() {
            // The library knows the session by its id without the name of the node.
            let pairs = query.split('&').map(|pair| match pair.split_once('.') {
                Some((start, _)) if pair.starts_with("sid=") => start,
                _ => pair,
            });
            let query = pairs.collect::<Vec<_>>().join("&");
            return format!("{PATH}?{revision}{query}")
                .parse()
                .expect("the query was part of a URI");
        }
        format!("{PATH}?{revision}{query}").parse().expect("the query was part of a URI")
    }
}

/// Returns an error response in the format of Engine.IO.
pub(super) fn engine_error(code: u8, message: &str) -> Response {
    let body = format!(r#"{{"code":{code},"message":"{message}"}}"#);
    let response = Response::builder()
        .status(StatusCode::BAD_REQUEST)
        .header(header::CONTENT_TYPE, "application/json");
    response.body(body.into()).expect("the head is constant")
}

fn not_a_handshake() -> Response {
    let mut response = engine_error(3, "Bad request");
    let headers = response.headers_mut();
    headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    response
}
