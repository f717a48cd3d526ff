//! HTTP: all routes and their middleware.
//!
//! - [`origin`] checks the origin of pages: with CORS headers for REST, by refusing handshakes and
//!   writes;
//! - [`rooms`], [`health`] and [`metrics`] are for operators; [`ice_servers`] is for clients;
//!   [`demo`] serves the demo page and the client bundles, [`docs`] the documentation, both from
//!   [`assets`];
//! - [`admission`] refuses requests over the connection limits.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, delete, get};
use http::{HeaderMap, HeaderValue, Version, header};
use subtle::ConstantTimeEq;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::{AllowHeaders, AllowMethods, CorsLayer};

use crate::cluster::redis::Engines;
use crate::config::Config;
use crate::dialect::{envelope, session, topic};
use crate::metrics::Held;
use crate::request::error::ApiError;
use crate::request::proxies::{self, Proxies};
use crate::request::token::bearer_token;
use crate::session::Hub;
use crate::tls::Tls;
use crate::transport::socketio::{self, SocketIoEndpoint};
use crate::transport::websocket::{self, WebSocketEndpoint};

mod admission;
pub(crate) mod assets;
mod cursor;
pub(crate) mod demo;
pub mod docs;
pub(crate) mod health;
pub(crate) mod ice_servers;
mod lobby;
pub(crate) mod metrics;
pub(crate) mod origin;
pub(crate) mod rooms;
mod security_headers;

use self::origin::{Head, Origins};

/// State shared by the handlers.
#[derive(Clone)]
pub struct Shared {
    /// Rooms and connections.
    pub hub: Arc<Hub>,
    /// The server's configuration.
    pub config: Arc<Config>,
    /// When the server was started.
    pub started: std::time::Instant,
    /// Returns the current gauges for `/metrics`.
    pub now: Arc<dyn Fn() -> Held + Send + Sync>,
    /// The engines of the cluster that this server is a node of, if it is.
    pub engines: Option<Arc<Engines>>,
}

/// Returns the router of the main listener.
pub fn router(
    shared: Shared,
    socketio: SocketIoEndpoint,
    websocket: WebSocketEndpoint,
    proxies: Arc<Proxies>,
    tls: Option<Arc<Tls>>,
) -> Router {
    let config = Arc::clone(&shared.config);
    let origins = Arc::new(Origins::new(config.http.client_url(), Arc::clone(&proxies), tls));
    let guard = middleware::from_fn_with_state(Arc::clone(&origins), origin::guard);

    let mut sockets = Router::new();
    for path in config.socketio.paths() {
        sockets = sockets
            .route(path, any(socketio::serve))
            .route(path.trim_end_matches('/'), any(socketio::serve));
    }
    let sockets = sockets.with_state(socketio);

    let mut pair_sessions = websocket::route(session::begin);
    if config.http.require_tls() {
        pair_sessions = pair_sessions
            .layer(middleware::from_fn_with_state(Arc::clone(&proxies), proxies::require_tls));
    }
    // One route per protocol.
    let protocols = Router::new()
        .route("/signal", pair_sessions.clone())
        .route("/signal/", pair_sessions)
        .route("/ws", websocket::route(envelope::begin))
        .route("/ws/", websocket::route(envelope::begin))
        .route("/ws/{topic}", websocket::route(topic::begin))
        .route("/ws/{topic}/", websocket::route(topic::begin))
        .with_state(websocket);
    let find_client = middleware::from_fn_with_state(proxies, proxies::find_client);
    let log_refused =
        middleware::from_fn_with_state(shared.clone(), metrics::log_refused_handshakes);
    let sockets = sockets.merge(protocols).route_layer(guard).route_layer(log_refused);
    let sockets = sockets.method_not_allowed_fallback(method_not_allowed);

    let api = Router::new()
        .route("/api/rooms", get(rooms::list).post(rooms::create))
        .route("/api/rooms/{room}", get(rooms::show).delete(rooms::close))
        .route("/api/rooms/{room}/participants/{userId}", delete(rooms::kick))
        .route_layer(middleware::from_fn_with_state(shared.clone(), rooms::authorize))
        .route("/api/ice-servers", get(ice_servers::show))
        .route("/demo/lobby", get(lobby::show))
        .route_layer(middleware::from_fn_with_state(
            config.times.handshake_timeout_seconds,
            limit_time,
        ))
        .route_layer(middleware::from_fn_with_state(Arc::clone(&origins), origin::guard_writes))
        .with_state(shared.clone());

    let mut router =
        Router::new().route("/health", get(health::report)).route("/healthz", get(health::probe));
    if config.http.metrics_addr.is_none() {
        router = router.route("/metrics", get(metrics::guarded));
    }
    let assets = assets::Assets::find();
    let router = router.with_state(shared.clone()).merge(docs::pages(assets.clone())).merge(api);
    let router = router.merge(demo::bundles(assets.clone()));
    let router =
        router.merge(if config.http.demo() { demo::pages(assets) } else { demo::start_page() });
    let count_errors = middleware::from_fn_with_state(shared.clone(), metrics::count_errors);
    let admit = middleware::from_fn_with_state(shared.clone(), admission::admit);
    let contain = CatchPanicLayer::custom(move |_| handler_panicked(&shared));
    // Transports admit handshakes and polling requests themselves.
    let router = router.method_not_allowed_fallback(method_not_allowed).layer(admit);
    let router = router.layer(middleware::from_fn(security_headers::add)).merge(sockets);
    // CORS wraps everything that responds, so that a preflight request does not reach a handler.
    let router = router.layer(contain).layer(cors(origins)).layer(find_client);
    router.layer(middleware::from_fn(require_one_host)).layer(count_errors)
}

/// Refuses requests without exactly one `Host` header (RFC 9112, section 3.2), on which proxies and
/// [`origin`] rely.
async fn require_one_host(request: Request, next: Next) -> Response {
    let hosts = request.headers().get_all(header::HOST).iter().count();
    if hosts == 1 || (hosts == 0 && request.version() != Version::HTTP_11) {
        return next.run(request).await;
    }
    let mut response = ApiError::Invalid("Host: must be given exactly once").into_response();
    // Further requests on this connection are not trusted.
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// Returns the router of the metrics listener.
pub fn metrics_router(shared: Shared) -> Router {
    Router::new()
        .route("/metrics", get(metrics::open))
        .route("/healthz", get(health::probe))
        .with_state(shared)
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
}

/// Returns the response for a handler that panicked.
fn handler_panicked(shared: &Shared) -> Response {
    shared.hub.metrics().panic();
    tracing::error!("request handler panicked");
    ApiError::Internal.into_response()
}

/// Limits the time of a request, including that of its body.
async fn limit_time(
    State(limit): State<Duration>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    tokio::time::timeout(limit, next.run(request)).await.map_err(|_| ApiError::TooSlow)
}

fn cors(origins: Arc<Origins>) -> CorsLayer {
    CorsLayer::new()
        .allow_origin(tower_http::cors::AllowOrigin::predicate(move |origin, head| {
            let head =
                Head { headers: &head.headers, uri: &head.uri, extensions: &head.extensions };
            origins.allow(origin, head)
        }))
        .allow_credentials(true)
        .allow_methods(AllowMethods::mirror_request())
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers([rooms::TOTAL_COUNT, header::LINK, header::LOCATION])
        .vary([header::ORIGIN])
}

async fn not_found() -> ApiError {
    ApiError::NotFound
}

async fn method_not_allowed() -> ApiError {
    ApiError::MethodNotAllowed
}

/// Returns whether the request carries the token. The comparison takes constant time.
fn has_bearer_token(headers: &HeaderMap, token: &str) -> bool {
    bearer_token(headers).is_some_and(|given| bool::from(given.as_bytes().ct_eq(token.as_bytes())))
}
