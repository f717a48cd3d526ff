//! Admission of requests that open no session. Handshakes and requests of polling sessions are admitted by their transports.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, header};

use super::Shared;
use crate::request::error::ApiError;
use crate::request::proxies::client_address;
use crate::session::ConnectionPermit;

/// Paths that are answered at any limit: an operator must see a server that is full.
const ALWAYS: [&str; 3] = ["/healthz", "/health", "/metrics"];

/// Refuses a request that is over the limits on connections.
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
