//! Which pages may talk to the server.
//!
//! Browsers say in `Origin` which page a request comes from. The list in `CLIENT_URL`, and the server's own origin, are
//! allowed: CORS headers say so for REST. CORS does not cover a WebSocket handshake, nor what a polling request does
//! before its answer is hidden: those are refused with 403. Requests without `Origin` come from no browser, and pass.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderMap, HeaderValue, Uri, header};

use super::error::ApiError;
use crate::config::ClientUrl;

/// The allowed origins.
#[derive(Debug)]
pub struct Origins {
    allowed: ClientUrl,
}

impl Origins {
    /// Those of the setting.
    pub fn new(allowed: &ClientUrl) -> Self {
        Self { allowed: allowed.clone() }
    }

    /// Whether a page of this origin may talk to us.
    pub fn allow(&self, origin: &HeaderValue, headers: &HeaderMap) -> bool {
        let Ok(origin) = origin.to_str() else {
            return false;
        };
        match &self.allowed {
            ClientUrl::Any => true,
            ClientUrl::List(list) => list.iter().any(|allowed| allowed == origin) || is_own(origin, headers),
        }
    }
}

/// Whether a page of this origin was served under the name that the request is addressed to. The scheme is left out,
/// since TLS may end before us.
fn is_own(origin: &str, headers: &HeaderMap) -> bool {
    let Ok(origin) = origin.parse::<Uri>() else {
        return false;
    };
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    match (origin.authority(), host) {
        (Some(authority), Some(host)) => authority.as_str().eq_ignore_ascii_case(host),
        _ => false,
    }
}

/// Refuses what comes from a page of a foreign origin.
pub async fn guard(State(origins): State<Arc<Origins>>, request: Request, next: Next) -> Result<Response, ApiError> {
    let headers = request.headers();
    if headers.get_all(header::ORIGIN).iter().any(|origin| !origins.allow(origin, headers)) {
        return Err(ApiError::ForeignOrigin);
    }
    Ok(next.run(request).await)
}
