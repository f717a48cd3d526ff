//! The demo page, and the official Socket.IO client's bundle where it is installed.

use std::path::{Path, PathBuf};

use axum::Router;
use axum::extract::{Path as UrlPath, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, Method, StatusCode, header};
use tower::ServiceExt;
use tower_http::services::{ServeDir, ServeFile};

use crate::request::error::ApiError;

/// The folder of the demo page.
const FOLDER: &str = "client-demo";

/// Where npm puts the official client's bundles.
const BUNDLES: &str = "node_modules/socket.io-client/dist";

/// Those bundles.
const BUNDLED: [&str; 5] =
    ["socket.io.js", "socket.io.min.js", "socket.io.esm.min.js", "socket.io.msgpack.min.js", "socket.io.msgpack.js"];

/// What the page may load: itself and its own server, nothing else.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'self'; connect-src 'self' ws: wss:; img-src 'self' data: blob:; media-src 'self' blob:; frame-ancestors 'self'",
);

/// The folder: in the working directory, or beside the program.
pub fn folder() -> Option<PathBuf> {
    let beside_program = || Some(std::env::current_exe().ok()?.parent()?.join(FOLDER));
    [Some(PathBuf::from(FOLDER)), beside_program()]
        .into_iter()
        .flatten()
        .find(|folder| folder.join("index.html").is_file())
}

/// The page and what it loads. Hidden files, packages and whatever else lies in the folder are not served.
pub fn pages(folder: &Path) -> Router {
    let files = ServeDir::new(folder).call_fallback_on_method_not_allowed(true).fallback(axum::routing::any(missing));
    Router::new().fallback_service(files).layer(middleware::from_fn(only_pages))
}

async fn missing() -> ApiError {
    ApiError::NotFound
}

async fn only_pages(request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let is_page = |name: &str| {
        matches!(name.rsplit_once('.'), Some((_, "html" | "js" | "css" | "svg" | "png" | "ico" | "ts" | "webmanifest")))
    };
    let mut segments = path.split('/').skip(1);
    let is_public = segments.all(|name| !name.starts_with('.') && name != "node_modules");
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    if !is_read || !is_public || !(path == "/" || is_page(path)) {
        return ApiError::NotFound.into_response();
    }
    let mut response = fresh(next.run(request).await);
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, POLICY);
    response
}

/// A file that is what it says it is, and is asked for again each time: the answer is mostly that it has not changed.
fn fresh(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

/// `GET /socket.io/socket.io.js` and its kin, as the Node server has them.
pub async fn bundle(State(folder): State<PathBuf>, UrlPath(file): UrlPath<String>, request: Request) -> Response {
    let is_bundle = BUNDLED.contains(&file.strip_suffix(".map").unwrap_or(&file));
    if !is_bundle {
        return ApiError::NotFound.into_response();
    }
    let Ok(response) = ServeFile::new(folder.join(BUNDLES).join(file)).oneshot(request).await;
    if response.status() == StatusCode::NOT_FOUND {
        return ApiError::NotFound.into_response();
    }
    fresh(response.into_response())
}
