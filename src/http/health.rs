//! Health of the server, for people and load balancers.

use std::time::SystemTime;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use humantime::format_rfc3339_millis;
use serde::{Deserialize, Serialize};

use super::Shared;
use super::rooms::mark_partial;
use crate::cluster::redis::Engines;
use crate::request::error::ApiError;

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
    let away =
        statuses.iter().filter(|status| !status.is_ready).map(|status| status.away.as_secs()).max();
    Cluster {
        node: engines.name().to_owned(),
        nodes: statuses.iter().map(|status| status.nodes).max().unwrap_or_default(),
        engine: if away.is_none() { "connected" } else { "away" },
        away_seconds: away,
    }
}

/// The query of a request for the status.
#[derive(Default, Deserialize)]
pub(crate) struct Scope {
    /// Whether the counts are those of all nodes.
    #[serde(default)]
    cluster: bool,
}

/// `GET /health`: status and counts, as JSON; with `?cluster=true` the counts of all nodes.
pub(crate) async fn report(
    State(shared): State<Shared>,
    scope: Result<Query<Scope>, QueryRejection>,
) -> Result<Response, ApiError> {
    let Query(Scope { cluster: is_total }) =
        scope.map_err(|_| ApiError::Invalid("cluster: must be true or false"))?;
    let counts = shared.hub.rooms().counts();
    let (mut rooms, mut participants, mut connections) =
        (counts.rooms, counts.peers, shared.hub.open_connections());
    let mut is_partial = false;
    if let Some(engines) = shared.engines.as_deref().filter(|_| is_total) {
        let count = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
        match engines.totals().await {
            Ok(totals) => {
                (rooms, participants, connections) =
                    (count(totals.0), count(totals.1), count(totals.2));
            }
            Err(_) => is_partial = true,
        }
    }
    let (status, word) = state(&shared);
    let health = Health {
        status: word,
        timestamp: format_rfc3339_millis(SystemTime::now()).to_string(),
        uptime_seconds: shared.started.elapsed().as_secs(),
        version: env!("CARGO_PKG_VERSION"),
        rooms,
        participants,
        connections,
        cluster: shared.engines.as_deref().map(cluster),
    };
    let mut response = (status, Json(health)).into_response();
    if is_partial {
        mark_partial(&shared, &mut response);
    }
    Ok(response)
}

/// `GET /healthz`: status as one word.
pub(crate) async fn probe(State(shared): State<Shared>) -> (StatusCode, &'static str) {
    state(&shared)
}

fn state(shared: &Shared) -> (StatusCode, &'static str) {
    if shared.hub.is_draining() {
        (StatusCode::SERVICE_UNAVAILABLE, "draining")
    } else {
        (StatusCode::OK, "ok")
    }
}
