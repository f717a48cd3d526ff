//! The demo page, and the bundle of the official Socket.IO client if it is installed.

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

/// The folder in which npm installs the official client's bundles.
const BUNDLES: &str = "node_modules/socket.io-client/dist";

/// File names of the bundles.
const BUNDLE_FILES: [&str; 5] =
    ["socket.io.js", "socket.io.min.js", "socket.io.esm.min.js", "socket.io.msgpack.min.js", "socket.io.msgpack.js"];

/// Content Security Policy: the page may load and connect to its own server only.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'self'; connect-src 'self' ws: wss:; img-src 'self' data: blob:; media-src 'self' blob:; \
     frame-ancestors 'self'; base-uri 'self'; form-action 'self'; object-src 'none'",
);

/// Returns the folder of the demo page: in the working directory, or beside the executable.
pub(crate) fn folder() -> Option<PathBuf> {
    let beside_executable = || Some(std::env::current_exe().ok()?.parent()?.join(FOLDER));
    [Some(PathBuf::from(FOLDER)), beside_executable()]
        .into_iter()
        .flatten()
        .find(|folder| folder.join("index.html").is_file())
}

/// Returns a router for the page and its files. Hidden files, packages and other types of files are not served.
pub(crate) fn pages(folder: &Path) -> Router {
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
    let mut response = revalidated(next.run(request).await);
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, POLICY);
    response
}

/// Disables content sniffing, and lets browsers revalidate a file each time.
fn revalidated(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

/// `GET /socket.io/socket.io.js` and the other bundles, as served by the Node server.
pub(crate) async fn bundle(
    State(folder): State<PathBuf>,
    UrlPath(file): UrlPath<String>,
    request: Request,
) -> Response {
    let is_bundle = BUNDLE_FILES.contains(&file.strip_suffix(".map").unwrap_or(&file));
    if !is_bundle {
        return ApiError::NotFound.into_response();
    }
    let Ok(response) = ServeFile::new(folder.join(BUNDLES).join(file)).oneshot(request).await;
    if response.status() == StatusCode::NOT_FOUND {
        return ApiError::NotFound.into_response();
    }
    revalidated(response.into_response())
}
