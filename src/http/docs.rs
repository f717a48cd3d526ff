//! The API documentation at `/docs`. It is embedded in the executable, so that it matches the version.

use axum::Router;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{MethodRouter, get};
use http::{HeaderValue, header};

/// The `OpenAPI` 3.1 document of the REST API.
pub const OPENAPI: &str = include_str!("../../docs/openapi.json");

/// The `AsyncAPI` 3.0 document of the plain WebSocket protocols.
pub const ASYNCAPI: &str = include_str!("../../docs/asyncapi.json");

/// Content Security Policy: the page may load its own files only.
const POLICY: HeaderValue =
    HeaderValue::from_static("default-src 'self'; img-src 'self' data:; frame-ancestors 'self'");

/// Returns a router for the page, its files, and the two documents.
pub fn pages<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new()
        .route("/docs", get(async || Redirect::permanent("/docs/")))
        .route("/docs/", file("text/html; charset=utf-8", include_str!("../../docs/site/index.html")))
        .route("/docs/docs.css", file("text/css; charset=utf-8", include_str!("../../docs/site/docs.css")))
        .route("/docs/docs.js", file("text/javascript; charset=utf-8", include_str!("../../docs/site/docs.js")))
        .route("/docs/openapi.json", file("application/json", OPENAPI))
        .route("/docs/asyncapi.json", file("application/json", ASYNCAPI))
}

fn file<S: Clone + Send + Sync + 'static>(kind: &'static str, text: &'static str) -> MethodRouter<S> {
    get(async move || -> Response {
        let headers = [
            (header::CONTENT_TYPE, HeaderValue::from_static(kind)),
            (header::CONTENT_SECURITY_POLICY, POLICY),
            (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
            (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        ];
        (headers, text).into_response()
    })
}
