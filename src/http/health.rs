//! Health of the server, for people and load balancers.

use std::time::SystemTime;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use humantime::format_rfc3339_millis;
use serde::Serialize;

use super::Shared;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Health {
    status: &'static str,
    timestamp: String,
    uptime_seconds: u64,
    version: &'static str,
    rooms: usize,
    participants: usize,
    connections: usize,
}

/// `GET /health`: status and counts, as JSON.
pub(crate) async fn report(State(shared): State<Shared>) -> Response {
    let counts = shared.hub.rooms().counts();
    let (status, word) = state(&shared);
    let health = Health {
        status: word,
        timestamp: format_rfc3339_millis(SystemTime::now()).to_string(),
        uptime_seconds: shared.started.elapsed().as_secs(),
        version: env!("CARGO_PKG_VERSION"),
        rooms: counts.rooms,
        participants: counts.peers,
        connections: shared.hub.open_connections(),
    };
    (status, Json(health)).into_response()
}

/// `GET /healthz`: status as one word.
pub(crate) async fn probe(State(shared): State<Shared>) -> (StatusCode, &'static str) {
    state(&shared)
}

fn state(shared: &Shared) -> (StatusCode, &'static str) {
    if shared.hub.is_draining() { (StatusCode::SERVICE_UNAVAILABLE, "draining") } else { (StatusCode::OK, "ok") }
}
