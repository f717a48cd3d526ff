//! Health of the server, for people and load balancers.

use std::time::SystemTime;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use humantime::format_rfc3339_millis;
use serde::Serialize;

use super::Shared;
use crate::cluster::redis::Engines;

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
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster: Option<Cluster>,
}

/// The cluster as this node sees it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Cluster {
    node: String,
    nodes: usize,
    engine: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    away_seconds: Option<u64>,
}

fn cluster(engines: &Engines) -> Cluster {
    let all = engines.cluster();
    let statuses: Vec<_> = (0..all.engines()).map(|engine| all.status(engine)).collect();
    let away = statuses.iter().filter(|status| !status.is_ready).map(|status| status.away.as_secs()).max();
    Cluster {
        node: engines.name().to_owned(),
        nodes: statuses.iter().map(|status| status.nodes).max().unwrap_or_default(),
        engine: if away.is_none() { "connected" } else { "away" },
        away_seconds: away,
    }
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
        cluster: shared.engines.as_deref().map(cluster),
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
