//! HTTP: every route and what it passes through, on one page.
//!
//! - [`origin`] decides which pages may talk to us: as CORS headers for REST, as a refusal for handshakes and writes;
//! - [`rooms`], [`health`] and [`metrics`] are for operators; [`ice_servers`] is for clients; [`demo`] serves the demo page and the official client's bundle, [`docs`]
//!   the wire contracts;
//! - [`admission`] refuses requests over the limits on connections.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use http::{HeaderMap, HeaderValue, Version, header};
use subtle::ConstantTimeEq;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::{AllowHeaders, AllowMethods, CorsLayer};

use crate::config::Config;
use crate::dialect::{envelope, session, topic};
use crate::metrics::Held;
use crate::request::error::ApiError;
use crate::request::proxies::{self, Proxies};
use crate::session::Hub;
use crate::tls::Tls;
use crate::transport::{socketio, websocket};

mod admission;
mod cursor;
pub mod demo;
pub mod docs;
pub mod health;
pub mod ice_servers;
pub mod metrics;
pub mod origin;
pub mod rooms;

use self::origin::{Head, Origins};

/// What the handlers share.
#[derive(Clone)]
pub struct Shared {
    /// Rooms and connections.
    pub hub: Arc<Hub>,
    /// The settings in force.
    pub config: Arc<Config>,
    /// When the server started.
    pub started: std::time::Instant,
    /// What it holds now.
    pub now: Arc<dyn Fn() -> Held + Send + Sync>,
}

/// Every route.
pub fn router(
    shared: Shared,
    socketio: socketio::Endpoint,
    websocket: websocket::Endpoint,
    proxies: Arc<Proxies>,
    tls: Option<Arc<Tls>>,
) -> Router {
    let config = Arc::clone(&shared.config);
    let origins = Arc::new(Origins::new(config.http.client_url(), Arc::clone(&proxies), tls));
    let guard = middleware::from_fn_with_state(Arc::clone(&origins), origin::guard);

    let sockets = Router::new()
        .route(socketio::PATH, any(socketio::serve))
        .route(socketio::PATH.trim_end_matches('/'), any(socketio::serve))
        .with_state(socketio);

    let mut calls = websocket::route(session::begin);
    if config.http.require_tls {
        calls = calls.layer(middleware::from_fn_with_state(Arc::clone(&proxies), proxies::require_tls));
    }
    // One line a dialect.
    let wires = Router::new()
        .route("/signal", calls.clone())
        .route("/signal/", calls)
        .route("/ws", websocket::route(envelope::begin))
        .route("/ws/", websocket::route(envelope::begin))
        .route("/ws/{topic}", websocket::route(topic::begin))
        .route("/ws/{topic}/", websocket::route(topic::begin))
        .with_state(websocket);
    let find_client = middleware::from_fn_with_state(proxies, proxies::find_client);
    let sockets = sockets.merge(wires).route_layer(guard).method_not_allowed_fallback(method_not_allowed);

    let api = Router::new()
        .route("/api/rooms", get(rooms::list).post(rooms::create))
        .route("/api/rooms/{room}", get(rooms::show).delete(rooms::close))
        .route_layer(middleware::from_fn_with_state(shared.clone(), rooms::authorize))
        .route("/api/ice-servers", get(ice_servers::show))
        .route_layer(middleware::from_fn_with_state(config.times.handshake_timeout_seconds, in_time))
        .route_layer(middleware::from_fn_with_state(Arc::clone(&origins), origin::guard_writes))
        .with_state(shared.clone());

    let mut router = Router::new().route("/health", get(health::report)).route("/healthz", get(health::probe));
    if config.http.metrics_addr.is_none() {
        router = router.route("/metrics", get(metrics::guarded));
    }
    let mut router = router.with_state(shared.clone()).merge(docs::pages()).merge(api);
    if let Some(folder) = demo::folder() {
        router = router.route("/socket.io/{file}", get(demo::bundle).with_state(folder.clone()));
        if config.http.demo() {
            router = router.fallback_service(demo::pages(&folder));
        } else {
            router = router.fallback(not_found);
        }
    } else {
        router = router.fallback(not_found);
    }
    let count_errors = middleware::from_fn_with_state(shared.clone(), metrics::count_errors);
    let admit = middleware::from_fn_with_state(shared.clone(), admission::admit);
    let contain = CatchPanicLayer::custom(move |_| defect(&shared));
    // Handshakes and polling are admitted by their transports.
    let router = router.method_not_allowed_fallback(method_not_allowed).layer(admit).merge(sockets);
    // CORS goes around all that answers: a preflight must not reach it.
    let router = router.layer(contain).layer(cors(origins)).layer(find_client);
    router.layer(middleware::from_fn(addressed_once)).layer(count_errors)
}

/// Refuses what does not say exactly once whom it is for (RFC 9112, section 3.2): proxies and [`origin`] go by it.
async fn addressed_once(request: Request, next: Next) -> Response {
    let hosts = request.headers().get_all(header::HOST).iter().count();
    if hosts == 1 || (hosts == 0 && request.version() != Version::HTTP_11) {
        return next.run(request).await;
    }
    let mut response = ApiError::Invalid("Host: must be given, and once").into_response();
    // Nothing more is believed of who speaks so.
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// The routes of the listener for metrics.
pub fn metrics_router(shared: Shared) -> Router {
    Router::new()
        .route("/metrics", get(metrics::open))
        .route("/healthz", get(health::probe))
        .with_state(shared)
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
}

/// What is answered where a handler panicked.
fn defect(shared: &Shared) -> Response {
    shared.hub.metrics().panic();
    tracing::error!("a defect in the handling of a request");
    ApiError::Internal.into_response()
}

/// Bounds the time for a request whose answer waits for nobody, that for its body included.
async fn in_time(State(limit): State<Duration>, request: Request, next: Next) -> Result<Response, ApiError> {
    tokio::time::timeout(limit, next.run(request)).await.map_err(|_| ApiError::TooSlow)
}

fn cors(origins: Arc<Origins>) -> CorsLayer {
    CorsLayer::new()
        .allow_origin(tower_http::cors::AllowOrigin::predicate(move |origin, head| {
            let head = Head { headers: &head.headers, uri: &head.uri, extensions: &head.extensions };
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

/// Whether the request carries the token, found out in a time that does not tell how much of it is right.
fn bears(headers: &HeaderMap, token: &str) -> bool {
    let given = headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes).unwrap_or_default();
    let Some((scheme, given)) = given.split_at_checked(7) else { return false };
    scheme.eq_ignore_ascii_case(b"bearer ") && bool::from(given.ct_eq(token.as_bytes()))
}
