//! Admission of requests that open no session. Transports admit handshakes and polling requests
//! themselves.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, header};

use super::Shared;
use crate::request::error::ApiError;
use crate::request::proxies::client_address;
use crate::session::ConnectionPermit;

/// Paths that are served at any limit, so that operators can see that a server is full.
const ALWAYS: [&str; 3] = ["/healthz", "/health", "/metrics"];

/// Refuses a request over the connection limits.
pub(super) async fn admit(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    let Some(connection) = request.extensions().get::<Arc<ConnectionPermit>>().cloned() else {
        return next.run(request).await;
    };
    let address = client_address(&request);
    if ALWAYS.contains(&request.uri().path()) {
        let fits = connection.fits(address);
        let mut response = next.run(request).await;
        if !fits {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        return response;
    }
    match shared.hub.admit_request(&connection, address) {
        Ok(()) => next.run(request).await,
        Err(refused) => ApiError::from(refused).into_response(),
    }
}
