//! The documentation at `/docs`: guides that `build.rs` renders, and the reference, which the page
//! draws from the two documents.

use axum::Router;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use http::{HeaderMap, HeaderValue, header};

use super::assets::{Assets, Caching};
use crate::request::error::ApiError;

/// The `OpenAPI` 3.1 document of the REST API.
pub const OPENAPI: &str = include_str!("../../docs/openapi.json");

/// The `AsyncAPI` 3.0 document of the plain WebSocket protocols.
pub const ASYNCAPI: &str = include_str!("../../docs/asyncapi.json");

/// Content Security Policy: the pages may load their own files only.
const POLICY: HeaderValue =
    HeaderValue::from_static("default-src 'self'; img-src 'self' data:; frame-ancestors 'self'");

/// Returns a router for the pages, their files, and the two documents.
pub(crate) fn pages(assets: Assets) -> Router {
    Router::new()
        .route("/docs", get(async || Redirect::permanent("/docs/")))
        .route("/docs/", get(start))
        .route("/docs/{*page}", get(page))
        .with_state(assets)
}

async fn start(State(assets): State<Assets>, headers: HeaderMap) -> Response {
    respond(&assets, "index.html", &headers).await
}

async fn page(
    State(assets): State<Assets>,
    Path(page): Path<String>,
    headers: HeaderMap,
) -> Response {
    // Pages have addresses without an extension.
    let name = page.rsplit('/').next().unwrap_or_default();
    let file = if name.contains('.') { page } else { format!("{page}.html") };
    respond(&assets, &file, &headers).await
}

async fn respond(assets: &Assets, file: &str, headers: &HeaderMap) -> Response {
    let Some(mut response) =
        assets.respond(&format!("docs/{file}"), Caching::Revalidate, headers).await
    else {
        return ApiError::NotFound.into_response();
    };
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, POLICY);
    response
}
