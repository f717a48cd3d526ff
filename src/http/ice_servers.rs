//! `GET /api/ice-servers`: the ICE servers of a join, for clients that need them earlier.

use std::time::SystemTime;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, header};

use super::Shared;
use crate::id::{ConnectionId, PeerId};
use crate::request::error::ApiError;
use crate::request::proxies::client_address;
use crate::request::token::token_of;

/// Returns the ICE servers. Requires a client token if those are configured, else `API_TOKEN` like
/// everything under `/api/`.
pub(crate) async fn show(
    State(shared): State<Shared>,
    request: Request,
) -> Result<Response, ApiError> {
    let grant = shared.hub.identify(client_address(&request), token_of(&request).as_deref())?;
    if let (None, Some(token)) = (&grant, &shared.config.http.api_token)
        && !super::has_bearer_token(request.headers(), token.as_str())
    {
        return Err(ApiError::Unauthorized);
    }
    // Without a token the client has no peer id yet.
    let peer = grant.map_or_else(|| PeerId::from(ConnectionId::random()), |grant| grant.subject);
    let servers =
        shared.hub.ice_servers().map(|servers| servers.for_peer(&peer, SystemTime::now()));
    let body = format!(r#"{{"iceServers":{}}}"#, servers.as_deref().unwrap_or("[]"));
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    Ok((headers, body).into_response())
}
