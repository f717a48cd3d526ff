//! Rooms of all nodes of a cluster, as its engines have them. While an engine does not answer,
//! reads are answered from the rooms of this node, and writes are refused.

use std::time::{Duration, Instant};

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue, StatusCode, header};

use super::{RoomBody, TOTAL_COUNT, room_id};
use crate::clock::Moment;
use crate::cluster::record::milliseconds;
use crate::cluster::redis::{AskError, Engines};
use crate::cluster::{Refusal, RoomRecord};
use crate::http::Shared;
use crate::id::{PeerId, RoomId};
use crate::request::error::ApiError;
use crate::room::{Capacity, RoomError, RoomSpec, Summary};

/// Prefix of cursors, which all nodes understand: the rest is a time.
const CURSOR: &str = "before-";

/// Time limit for the node of a peer to remove it.
const KICK_LIMIT: Duration = Duration::from_secs(2);

/// Time until a node that did not have the peer is asked again.
const KICK_RETRY: Duration = Duration::from_millis(100);

/// Marks a response that covers only the rooms of this node.
const PARTIAL: HeaderName = HeaderName::from_static("parlor-partial");

/// Records that a response was made without the engines of the cluster.
pub(in crate::http) fn mark_partial(shared: &Shared, response: &mut Response) {
    if shared.engines.is_some() {
        response.headers_mut().insert(PARTIAL, HeaderValue::from_static("true"));
    }
}

fn summary(record: RoomRecord) -> Summary {
    let is_paired = record.members.iter().any(|member| member.is_paired);
    Summary {
        capacity: record.capacity(is_paired),
        created_at: record.spec.created_at,
        id: record.spec.room,
        peers: record.members.into_iter().map(|member| member.peer).collect(),
    }
}

/// Lists rooms, newest first; `None` while an engine does not answer.
pub(super) async fn list(
    engines: &Engines,
    after: Option<&str>,
    limit: usize,
) -> Result<Option<Response>, ApiError> {
    // Cursors are times here: of rooms that were created in the same millisecond, a page ends with
    // the last.
    let before = match after {
        None => u64::MAX >> 11,
        Some(text) => match text.strip_prefix(CURSOR).map(|before| u64::from_str_radix(before, 16))
        {
            Some(Ok(before)) => before,
            _ => match engines.room(&room_id("after", text)?).await {
                Ok(Some(room)) => milliseconds(room.spec.created_at).saturating_sub(1),
                Ok(None) => return Err(RoomError::RoomNotFound.into()),
                Err(_) => return Ok(None),
            },
        },
    };
    let Ok((count, mut rooms)) = engines.page(before, limit + 1).await else { return Ok(None) };
    let has_more = rooms.len() > limit;
    rooms.truncate(limit);
    let next = rooms
        .last()
        .filter(|_| has_more)
        .map(|last| milliseconds(last.spec.created_at).saturating_sub(1));
    let page: Vec<RoomBody> = rooms.into_iter().map(summary).map(RoomBody::from).collect();
    let mut response = ([(TOTAL_COUNT, count.to_string())], Json(page)).into_response();
    if let Some(next) = next {
        let link = format!(r#"</api/rooms?limit={limit}&after={CURSOR}{next:x}>; rel="next""#);
        response
            .headers_mut()
            .insert(header::LINK, HeaderValue::try_from(link).expect("a cursor is ASCII"));
    }
    Ok(Some(response))
}

/// Returns a room; `None` while its engine does not answer.
pub(super) async fn room(engines: &Engines, id: &RoomId) -> Result<Option<RoomBody>, ApiError> {
    match engines.room(id).await {
        Ok(Some(room)) => Ok(Some(summary(room).into())),
        Ok(None) => Err(RoomError::RoomNotFound.into()),
        Err(_) => Ok(None),
    }
}

/// Creates a room for all nodes.
pub(super) async fn create(
    shared: &Shared,
    engines: &Engines,
    id: Option<RoomId>,
    capacity: Option<usize>,
) -> Result<Summary, ApiError> {
    let limits = shared.hub.rooms().limits();
    let room = id.unwrap_or_else(RoomId::random);
    let capacity = Capacity { peers: capacity.unwrap_or(limits.room_size), is_chosen: true };
    let spec =
        RoomSpec { room: room.clone(), created_at: Moment::now().time, capacity, is_pair: false };
    match engines.link_of(&room).create(&spec, limits.empty_room_ttl).await {
        Ok(()) => {
            let RoomSpec { created_at, .. } = spec;
            Ok(Summary { id: room, peers: Vec::new(), capacity: capacity.peers, created_at })
        }
        Err(AskError::Refused(Refusal::Closed)) => Err(RoomError::RoomExists.into()),
        Err(_) => Err(ApiError::Unavailable),
    }
}

/// Removes a peer of any node from a room.
pub(super) async fn kick(
    shared: &Shared,
    engines: &Engines,
    id: &RoomId,
    peer: &PeerId,
) -> Result<StatusCode, ApiError> {
    let deadline = Instant::now() + KICK_LIMIT;
    loop {
        let Ok(room) = engines.room(id).await else { return Err(ApiError::Unavailable) };
        let members = room.into_iter().flat_map(|room| room.members);
        let Some(member) = members.into_iter().find(|member| member.peer == *peer) else {
            return Err(RoomError::TargetNotFound.into());
        };
        let (holder, connection) = (member.holder, member.connection());
        let is_done = if engines.cluster().is_own(holder, id) {
            shared.hub.kick_peer(id, connection)
        } else {
            let limit = deadline.saturating_duration_since(Instant::now());
            shared
                .hub
                .kick_elsewhere(holder, id, connection, limit)
                .await
                .ok_or(ApiError::NoAnswer)?
        };
        if is_done {
            return Ok(StatusCode::NO_CONTENT);
        }
        // Its session is moving, or it is just leaving.
        if Instant::now() + KICK_RETRY >= deadline {
            return Err(ApiError::NoAnswer);
        }
        tokio::time::sleep(KICK_RETRY).await;
    }
}

/// Closes a room on all nodes.
pub(super) async fn close(engines: &Engines, id: &RoomId) -> Result<StatusCode, ApiError> {
    match engines.link_of(id).close(id).await {
        Ok(()) => Ok(StatusCode::NO_CONTENT),
        Err(AskError::Refused(_)) => Err(RoomError::RoomNotFound.into()),
        Err(AskError::Away) => Err(ApiError::Unavailable),
    }
}
