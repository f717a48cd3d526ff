//! Socket.IO connections: Engine.IO 3 and 4, long-polling, WebSocket, and the upgrade from one to the other.
//!
//! The only place that names socketioxide. It brings the protocol; the seam around it brings what it lacks:
//!
//! - [`polling`] and [`upgrade`] receive the HTTP requests, give each new connection a [`Link`], and hand over;
//! - [`seam`] wraps an upgraded stream: it puts our connection id into the CONNECT reply in place of the Engine.IO
//!   session id, which is its owner's secret; ends a write that stalls; and stops reading a sender that is too fast;
//! - [`events`] registers for events before CONNECT is answered, and handles each inline, in the reader's own task:
//!   handlers that are futures would be spawned, and overtake each other;
//! - [`inbound`] counts what a client sends, and refuses packets that the library would spawn tasks for;
//! - [`wire`] queues frames that the dialect has written, without encoding them again.
//!
//! The guarantee that is easy to break: nothing here may panic or block, since it runs in the library's reader.

mod events;
mod inbound;
mod link;
mod outbound;
mod payload;
mod polling;
mod seam;
mod upgrade;
mod wire;

use std::sync::{Arc, Weak};
use std::time::Duration;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use dashmap::DashMap;
use engineioxide::service::NotFoundService;
use futures_util::future::join_all;
use http::{Method, StatusCode, Uri, header};
use socketioxide::extract::SocketRef;
use socketioxide::handler::ConnectHandler;
use socketioxide::service::SocketIoService;
use socketioxide::socket::Sid;
use socketioxide::{ParserConfig, SocketIo};

use self::events::Accept;
use self::link::Link;
use self::wire::Wire;
use crate::dialect::socketio::DIALECT;
use crate::http::error::ApiError;
use crate::http::proxies::client_address;
use crate::lifecycle::Lifecycle;
use crate::metrics::DialectMetrics;
use crate::session::{AdmissionError, Hub};
use crate::spare;
use crate::transport::read_ahead::READ_BUFFER;

/// The path of the endpoint, as official clients ask for it.
pub const PATH: &str = "/socket.io/";

/// The most binary attachments that are read of a message before it is refused: no message of ours has any.
const MAX_ATTACHMENTS: usize = 8;

/// The settings of the Socket.IO endpoint.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The most bytes of one message.
    pub max_message_bytes: usize,
    /// The most frames that wait for one connection.
    pub send_queue: usize,
    /// The most bytes of all those frames.
    pub send_queue_bytes: usize,
    /// The most frames that may have been promised to a connection before it came.
    pub promised: usize,
    /// Time between two heartbeats.
    pub ping_interval: Duration,
    /// Time for the answer to a heartbeat.
    pub ping_timeout: Duration,
    /// Time for an upgrade; half of it for the CONNECT packet.
    pub handshake_timeout: Duration,
}

impl Settings {
    /// Time for the CONNECT packet. Official clients send it at once; a connection without it is known by nobody, and gets
    /// less time than others.
    fn connect_timeout(&self) -> Duration {
        self.handshake_timeout / 2
    }
}

/// The Socket.IO endpoint: answers the requests to [`PATH`]. Cloning is cheap.
#[derive(Clone)]
pub struct Endpoint(Arc<Inner>);

type Service = SocketIoService<NotFoundService, Wire>;

struct Inner {
    hub: Arc<Hub>,
    lifecycle: Lifecycle,
    settings: Settings,
    service: Service,
    wire: Arc<Wire>,
    metrics: Arc<DialectMetrics>,
    /// Live connections that began with polling, by Engine.IO session id.
    links: DashMap<Sid, Weak<Link>>,
}

impl Endpoint {
    /// An endpoint whose connections meet in `hub`.
    pub fn new(hub: Arc<Hub>, lifecycle: Lifecycle, settings: Settings) -> Self {
        // What is over the limit of a message, but not far, is still read: so its sender can be told what was wrong
        // with it. Beyond that the transport gives up.
        let transport_limit = settings.max_message_bytes.saturating_mul(2);
        let published = wire::Published::default();
        let (service, io) = SocketIo::builder()
            .with_parser(
                ParserConfig::common()
                    .max_incoming_binaries(MAX_ATTACHMENTS)
                    .max_incoming_binary_buf_size(transport_limit)
                    .packet_completion_timeout(settings.handshake_timeout),
            )
            .with_adapter::<Wire>(Arc::clone(&published))
            .max_buffer_size(settings.send_queue + settings.promised)
            .max_payload(transport_limit as u64)
            .ws_max_message_size(transport_limit)
            .ws_max_frame_size(transport_limit)
            .ws_read_buffer_size(READ_BUFFER)
            .ping_interval(settings.ping_interval)
            .ping_timeout(settings.ping_timeout)
            .upgrade_timeout(settings.handshake_timeout)
            .connect_timeout(settings.connect_timeout())
            .build_svc();
        let connected = |socket: SocketRef<Wire>| {
            events::connected(&socket);
            std::future::ready(())
        };
        io.ns("/", connected.with(Accept));
        #[expect(clippy::missing_panics_doc, reason = "adding the namespace has just made its adapter")]
        let wire = wire::published(&published).expect("adding a namespace makes its adapter");
        let metrics = hub.metrics().dialect(DIALECT.name);
        Self(Arc::new(Inner { hub, lifecycle, settings, service, wire, metrics, links: DashMap::new() }))
    }

    /// Asks those who poll to go, and waits until they have fetched what waits for them.
    pub async fn dismiss_polling(&self) {
        let links = self.links_that(Link::is_polling);
        for link in &links {
            self.0.hub.dismiss_one(link.id());
        }
        join_all(links.iter().map(|link| link.fetched())).await;
    }

    /// Waits until those who poll, and were asked to go, have fetched what waits for them.
    pub async fn fetched(&self) {
        let links = self.links_that(Link::is_closed);
        join_all(links.iter().map(|link| link.fetched())).await;
    }

    /// Those of the connections that began with polling.
    fn links_that(&self, are: impl Fn(&Link) -> bool) -> Vec<Arc<Link>> {
        // All first: the last of a link takes it out of the map.
        let links: Vec<Arc<Link>> = self.0.links.iter().filter_map(|link| link.upgrade()).collect();
        links.into_iter().filter(|link| are(link)).collect()
    }

    /// Gives back memory that many connections needed that are gone.
    pub fn give_back(&self) {
        spare::give_back(&self.0.links);
    }

    /// How many connections are between their first request and their last: zero when none has left anything behind.
    pub fn open_links(&self) -> usize {
        self.0.links.len()
    }
}

/// Answers one HTTP request to [`PATH`].
pub async fn serve(State(Endpoint(inner)): State<Endpoint>, request: Request) -> Response {
    let Some(query) = Query::read(request.uri()) else {
        return engine_error(5, "Unsupported protocol version");
    };
    if query.sid.is_none() && inner.hub.is_draining() {
        return ApiError::ShuttingDown.into_response();
    }
    if let (None, Some(_)) = (&query.sid, inner.hub.token_wait(client_address(&request))) {
        return ApiError::from(AdmissionError::TooManyInvalidTokens).into_response();
    }
    match query.transport {
        Transport::Polling => polling::serve(inner, query, request).await,
        Transport::WebSocket if request.method() == Method::GET => upgrade::serve(&inner, &query, request),
        Transport::WebSocket => engine_error(2, "Bad handshake method"),
    }
}

/// What the query of a request says, read as the library reads it: the first of each key counts.
struct Query {
    protocol: Protocol,
    transport: Transport,
    sid: Option<Result<Sid, ()>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Transport {
    Polling,
    WebSocket,
}

/// The revision of Engine.IO.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Protocol {
    /// Official clients 1.x and 2.x.
    V3,
    /// Official clients 3.x and 4.x.
    V4,
}

impl Query {
    fn read(uri: &Uri) -> Option<Self> {
        let value = |key: &str| {
            let pairs = uri.query()?.split('&');
            pairs.filter_map(|pair| pair.split_once('=')).find(|(name, _)| *name == key).map(|(_, value)| value)
        };
        let protocol = match value("EIO")? {
            "3" => Protocol::V3,
            "4" => Protocol::V4,
            _ => return None,
        };
        let transport = match value("transport")? {
            "polling" => Transport::Polling,
            "websocket" => Transport::WebSocket,
            _ => return None,
        };
        Some(Self { protocol, transport, sid: value("sid").map(|sid| sid.parse().map_err(|_| ())) })
    }

    /// The connection that the request belongs to, where it says so and that is known. It may be closing: what it has not
    /// been told yet can still be fetched.
    fn link(&self, inner: &Inner) -> Option<Arc<Link>> {
        let sid = self.sid.as_ref()?.as_ref().ok()?;
        inner.links.get(sid)?.upgrade()
    }
}

/// An error as Engine.IO clients read it.
fn engine_error(code: u8, message: &str) -> Response {
    let body = format!(r#"{{"code":{code},"message":"{message}"}}"#);
    let response = Response::builder().status(StatusCode::BAD_REQUEST).header(header::CONTENT_TYPE, "application/json");
    response.body(body.into()).expect("the head is constant")
}

/// A request that holds no part of the one it is made from: hyper's buffer, of which that one's head is a slice, would
/// otherwise live as long as the connection. Nor the token of its query, which nobody there has a use for.
fn slim_request<B>(method: Method, uri: &Uri, body: B) -> http::Request<B> {
    let mut request = http::Request::new(body);
    *request.method_mut() = method;
    let (path, query) = (uri.path(), uri.query().unwrap_or_default());
    let kept: Vec<&str> = query.split('&').filter(|pair| !pair.starts_with("token=")).collect();
    *request.uri_mut() = format!("{path}?{}", kept.join("&")).parse().expect("what is left of a URI is one");
    request
}
