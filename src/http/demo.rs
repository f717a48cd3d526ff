//! The demo page, the client bundles, and the page at `/` where the demo is off.

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use http::{HeaderMap, HeaderValue, Method, header};

use super::assets::{Assets, Caching, HASH};
use crate::request::error::ApiError;

/// File names of the bundles of the official Socket.IO client, as the Node server offers them.
const SOCKET_IO_BUNDLES: [&str; 4] =
    ["socket.io.js", "socket.io.min.js", "socket.io.esm.min.js", "socket.io.msgpack.min.js"];

/// Content Security Policy: the page may load and connect to its own server only.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'self'; connect-src 'self' ws: wss:; img-src 'self' data: blob:; media-src 'self' blob:; \
     frame-ancestors 'self'; base-uri 'self'; form-action 'self'; object-src 'none'",
);

/// Returns a router for the bundles that pages of any server load: `/socket.io/` and `/client/`.
pub(crate) fn bundles(assets: Assets) -> Router {
    Router::new()
        .route("/socket.io/{file}", get(bundle))
        .route("/client/{*file}", get(client))
        .with_state(assets)
}

/// Returns a router for the demo page and its files.
pub(crate) fn pages(assets: Assets) -> Router {
    Router::new().route("/assets/{hash}/{*file}", get(hashed)).fallback(page).with_state(assets)
}

/// Returns a router for the page at `/` of a server without the demo.
pub(crate) fn start_page() -> Router {
    Router::new().route("/", get(async || Html(START_PAGE))).fallback(async || ApiError::NotFound)
}

const START_PAGE: &str = concat!(
    "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"color-scheme\" content=\"light dark\">\n",
    "<title>Parlor</title>\n<h1>Parlor ",
    env!("CARGO_PKG_VERSION"),
    "</h1>\n<p>A signaling server for WebRTC. It is running.</p>\n",
    "<p><a href=\"/docs/\">Documentation</a> · <a href=\"/healthz\">Health</a></p>\n</html>\n",
);

/// Serves `GET /socket.io/socket.io.js` and the other bundles.
async fn bundle(
    State(assets): State<Assets>,
    Path(file): Path<String>,
    headers: HeaderMap,
) -> Response {
    if !SOCKET_IO_BUNDLES.contains(&file.as_str()) {
        return ApiError::NotFound.into_response();
    }
    or_not_found(assets.respond(&format!("socket.io/{file}"), Caching::Revalidate, &headers).await)
}

/// Serves `GET /client/parlor.js` and the other modules of the client package.
async fn client(
    State(assets): State<Assets>,
    Path(file): Path<String>,
    headers: HeaderMap,
) -> Response {
    or_not_found(assets.respond(&format!("client/{file}"), Caching::Revalidate, &headers).await)
}

/// Serves `GET /assets/{hash}/…`. A page of an earlier version gets the current file, which it must
/// not keep.
async fn hashed(
    State(assets): State<Assets>,
    Path((hash, file)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    let caching = if hash == HASH { Caching::Immutable } else { Caching::Revalidate };
    let path = demo_path(&file);
    let mut response = or_not_found(assets.respond(&path, caching, &headers).await);
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, POLICY);
    response
}

/// Serves the demo page, and its files under paths without a hash.
async fn page(State(assets): State<Assets>, request: Request) -> Response {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return ApiError::NotFound.into_response();
    }
    let file = request.uri().path().trim_start_matches('/');
    // Without mediasoup-client the page works, as a mesh.
    if request.uri().path() == "/"
        && assets.missing_bundles().iter().any(|bundle| *bundle != "mediasoup-client")
    {
        return Html(INCOMPLETE_PAGE).into_response();
    }
    let path = demo_path(if request.uri().path() == "/" { "index.html" } else { file });
    let Some(mut response) = assets.respond(&path, Caching::Revalidate, request.headers()).await
    else {
        return ApiError::NotFound.into_response();
    };
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, POLICY);
    response
}

const INCOMPLETE_PAGE: &str = "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>Parlor</title>\n\
    <h1>The demo is incomplete</h1>\n<p>This build lacks bundles that its log names. Run <code>make vendor</code> (it needs Node \
    with npm), then build again. The server works without it.</p>\n</html>\n";

/// Returns the path of a file that the demo names relative to its page. The client modules are in a
/// folder of their own.
fn demo_path(file: &str) -> String {
    match file.strip_prefix("parlor/") {
        Some(module) => format!("client/{module}"),
        None => format!("demo/{file}"),
    }
}

fn or_not_found(response: Option<Response>) -> Response {
    response.unwrap_or_else(|| ApiError::NotFound.into_response())
}
