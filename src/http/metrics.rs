//! `GET /metrics` in the Prometheus text format, and counting of HTTP errors.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, header};
use tracing::debug;

use super::Shared;
use crate::cluster::frame::TrafficKind;
use crate::cluster::node::ReconnectReason;
use crate::cluster::redis::Engines;
use crate::metrics::ClusterFigures;
use crate::request::error::{ApiError, Refusal};

/// Content type of the Prometheus text format.
const FORMAT: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

/// `GET /metrics` on the main listener, which requires `API_TOKEN` if it is set.
pub(crate) async fn guarded(
    State(shared): State<Shared>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    match &shared.config.http.api_token {
        Some(token) if !super::has_bearer_token(&headers, token.as_str()) => {
            Err(ApiError::Unauthorized)
        }
        _ => Ok(open(State(shared)).await),
    }
}

/// `GET /metrics` on its own listener.
pub(crate) async fn open(State(shared): State<Shared>) -> Response {
    if let Some(engines) = &shared.engines {
        let hops = shared.hub.metrics().hops();
        shared.hub.metrics().set_cluster(&ClusterFigures { hops, ..figures(engines) });
    }
    let text = shared.hub.metrics().render_limited(|| ((shared.now)(), shared.hub.media_stats()));
    (
        [
            (header::CONTENT_TYPE, FORMAT),
            (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        ],
        text,
    )
        .into_response()
}

/// Returns the figures of all engines together.
fn figures(engines: &Engines) -> ClusterFigures {
    let cluster = engines.cluster();
    let mut all = ClusterFigures::default();
    let (mut frames, mut reconnects) =
        ([[0; 2]; TrafficKind::ALL.len()], [0; ReconnectReason::ALL.len()]);
    let [mut members, mut rooms, mut ghosts] = [0; 3];
    for (index, link) in engines.links().iter().enumerate() {
        let (status, traffic) = (cluster.status(index), link.traffic());
        all.connected.push(status.is_ready);
        all.nodes = all.nodes.max(status.nodes);
        all.queued_bytes += status.queued_bytes;
        all.kept_bytes += status.kept_bytes;
        all.alone += status.alone;
        for (sum, kind) in frames.iter_mut().zip(traffic.sent.iter().zip(&traffic.received)) {
            *sum = [sum[0] + kind.0, sum[1] + kind.1];
        }
        all.bytes = [all.bytes[0] + traffic.sent_bytes, all.bytes[1] + traffic.received_bytes];
        all.resent += status.counters.resent;
        all.gaps += status.counters.gaps;
        all.bounced[0] += status.counters.not_found;
        all.bounced[1] += status.counters.not_delivered;
        members += status.counters.repairs;
        rooms += status.counters.differing;
        ghosts += status.counters.ghosts;
        for (sum, count) in reconnects.iter_mut().zip(status.counters.reconnects) {
            *sum += count;
        }
        all.fenced += status.counters.fenced;
        all.reaped += status.counters.reaped;
    }
    all.frames = TrafficKind::ALL.map(TrafficKind::as_str).into_iter().zip(frames).collect();
    all.repairs = vec![("member", members), ("room", rooms), ("ghost", ghosts)];
    let reasons = ReconnectReason::ALL.map(ReconnectReason::as_str);
    all.reconnects = reasons.into_iter().zip(reconnects).collect();
    let moves = cluster.move_counts();
    all.moves = [moves.arrived, moves.refused];
    all
}

/// Counts and logs the errors of all routes, and counts the limits that caused them.
pub(crate) async fn count_errors(
    State(shared): State<Shared>,
    request: Request,
    next: Next,
) -> Response {
    let response = next.run(request).await;
    if let Some(refusal) = response.extensions().get::<Refusal>() {
        let metrics = shared.hub.metrics();
        metrics.error(refusal.code);
        debug!(
            status = response.status().as_u16(),
            code = refusal.code.as_str(),
            "request refused"
        );
        if let Some(limit) = refusal.limit {
            metrics.limit(limit);
        }
    }
    response
}

/// Logs refused handshakes, by the origin of the page.
pub(crate) async fn log_refused_handshakes(
    State(shared): State<Shared>,
    request: Request,
    next: Next,
) -> Response {
    let origin = request.headers().get(header::ORIGIN).cloned();
    let response = next.run(request).await;
    if let Some(Refusal { code, cause: Some(cause), .. }) = response.extensions().get::<Refusal>() {
        let origin = origin.as_ref().and_then(|origin| origin.to_str().ok());
        shared.hub.log_refused_handshake(cause, *code, origin);
    }
    response
}
