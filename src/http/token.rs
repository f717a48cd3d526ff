//! The token of a connection, as a request brings it, and `GET /api/ice-servers`, which goes by it.

use std::time::SystemTime;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, header};

use super::Shared;
use super::error::ApiError;
use super::proxies::client_address;
use crate::id::{ConnectionId, PeerId};

/// The token of a request: `?token=`, or `Authorization: Bearer`. Empty is none.
pub fn token_of<B>(request: &http::Request<B>) -> Option<String> {
    let query = request.uri().query().unwrap_or_default();
    let pairs: Vec<(String, String)> = serde_urlencoded::from_str(query).unwrap_or_default();
    let in_query = pairs.into_iter().find(|(name, value)| name == "token" && !value.is_empty());
    in_query.map(|(_, token)| token).or_else(|| {
        let header = request.headers().get(header::AUTHORIZATION)?.to_str().ok()?;
        let (scheme, token) = header.split_once(' ')?;
        let is_bearer = scheme.eq_ignore_ascii_case("bearer") && !token.trim().is_empty();
        is_bearer.then(|| token.trim().to_owned())
    })
}

/// `GET /api/ice-servers`: what a join is answered, for clients that want it before. Guarded by the connection's token
/// where those are required, else like everything under `/api/`.
pub async fn ice_servers(State(shared): State<Shared>, request: Request) -> Result<Response, ApiError> {
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
