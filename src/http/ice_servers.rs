//! `GET /api/ice-servers`.

use std::time::SystemTime;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, header};

use super::Shared;
use crate::id::{ConnectionId, PeerId};
use crate::request::error::ApiError;
use crate::request::proxies::client_address;
use crate::request::token::token_of;

/// `GET /api/ice-servers`: what a join is answered, for clients that want it before. Guarded by the connection's token
/// where those are required, else like everything under `/api/`.
pub async fn show(State(shared): State<Shared>, request: Request) -> Result<Response, ApiError> {
    let grant = shared.hub.identify(client_address(&request), token_of(&request).as_deref())?;
    if let (None, Some(token)) = (&grant, &shared.config.http.api_token)
        && !super::bears(request.headers(), token.as_str())
    {
        return Err(ApiError::Unauthorized);
    }
    // Without a token nobody has a name yet.
    let peer = grant.map_or_else(|| PeerId::from(ConnectionId::random()), |grant| grant.subject);
    let servers = shared.hub.ice_servers().map(|servers| servers.for_peer(&peer, SystemTime::now()));
    let body = format!(r#"{{"iceServers":{}}}"#, servers.as_deref().unwrap_or("[]"));
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    Ok((headers, body).into_response())
}
