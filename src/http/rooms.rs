//! `/api/rooms`: rooms over REST, for operators and dashboards.

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use http_body_util::LengthLimitError;
use humantime::format_rfc3339_millis;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

mod cluster;

pub(super) use self::cluster::mark_partial;

use super::{Shared, cursor};
use crate::clock::Moment;
use crate::dialect::json;
use crate::id::{PeerId, RoomId};
use crate::request::error::ApiError;
use crate::room::{Page, Summary};

/// Header with the total number of rooms.
pub(crate) const TOTAL_COUNT: HeaderName = HeaderName::from_static("x-total-count");

/// Default number of rooms per page.
const DEFAULT_PAGE: usize = 100;

/// Maximum number of rooms per page.
const MAX_PAGE: usize = 1000;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RoomBody {
    id: String,
    participants: Vec<String>,
    participant_count: usize,
    capacity: usize,
    created_at: String,
}

impl From<Summary> for RoomBody {
    fn from(room: Summary) -> Self {
        Self {
            id: room.id.to_string(),
            participant_count: room.peers.len(),
            participants: room.peers.iter().map(PeerId::to_string).collect(),
            capacity: room.capacity,
            created_at: format_rfc3339_millis(room.created_at).to_string(),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CreatedBody {
    room_id: String,
    #[serde(flatten)]
    room: RoomBody,
}

/// Checks `API_TOKEN`. Without one, refuses writes in production.
pub(crate) async fn authorize(
    State(shared): State<Shared>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    match &shared.config.http.api_token {
        Some(token) if !super::has_bearer_token(request.headers(), token.as_str()) => {
            return Err(ApiError::Unauthorized);
        }
        Some(_) => {}
        None => {
            let is_write = matches!(*request.method(), Method::POST | Method::DELETE);
            if is_write && shared.config.is_production() {
                return Err(ApiError::WritesDisabled);
            }
        }
    }
    Ok(next.run(request).await)
}

/// The room id in a path.
type RoomPath = Result<Path<String>, PathRejection>;

fn room_in_path(room: RoomPath) -> Result<RoomId, ApiError> {
    let Path(room) = room.map_err(|_| ApiError::BadPath)?;
    room_id("roomId", &room)
}

fn room_id(field: &'static str, text: &str) -> Result<RoomId, ApiError> {
    RoomId::new(text).map_err(|problem| ApiError::BadRoomId { field, problem })
}

/// The query parameters of the room list.
#[derive(Deserialize)]
pub(crate) struct Paging {
    limit: Option<usize>,
    after: Option<String>,
}

/// `GET /api/rooms`: lists rooms, newest first. `after` is the cursor of a `Link` header, or the id
/// of an existing room.
pub(crate) async fn list(
    State(shared): State<Shared>,
    paging: Result<Query<Paging>, QueryRejection>,
) -> Result<Response, ApiError> {
    const BAD_LIMIT: ApiError = ApiError::Invalid("limit: must be a number, at least 1");
    let Query(Paging { limit, after }) = paging.map_err(|_| BAD_LIMIT)?;
    let limit = match limit.unwrap_or(DEFAULT_PAGE) {
        0 => return Err(BAD_LIMIT),
        limit => limit.min(MAX_PAGE),
    };
    if let Some(engines) = &shared.engines
        && let Some(response) = cluster::list(engines, after.as_deref(), limit).await?
    {
        return Ok(response);
    }
    let rooms = shared.hub.rooms();
    let cursor = match after.as_deref() {
        None => None,
        Some(text) => match cursor::decode(text) {
            Some(cursor) => Some(cursor),
            None => Some(
                rooms
                    .cursor(&room_id("after", text)?)
                    .ok_or(crate::room::RoomError::RoomNotFound)?,
            ),
        },
    };
    let Page { rooms: page, next } = rooms.page(cursor, limit);
    let page: Vec<RoomBody> = page.into_iter().map(RoomBody::from).collect();
    let mut response =
        ([(TOTAL_COUNT, rooms.counts().rooms.to_string())], Json(page)).into_response();
    cluster::mark_partial(&shared, &mut response);
    if let Some(next) = next {
        let link =
            format!(r#"</api/rooms?limit={limit}&after={}>; rel="next""#, cursor::encode(next));
        let link = HeaderValue::try_from(link).expect("a cursor is ASCII");
        response.headers_mut().insert(header::LINK, link);
    }
    Ok(response)
}

/// `GET /api/rooms/{roomId}`: returns one room.
pub(crate) async fn show(
    State(shared): State<Shared>,
    room: RoomPath,
) -> Result<Response, ApiError> {
    let id = room_in_path(room)?;
    if let Some(engines) = &shared.engines
        && let Some(room) = cluster::room(engines, &id).await?
    {
        return Ok(Json(room).into_response());
    }
    let room = shared.hub.rooms().summary(&id).ok_or(crate::room::RoomError::RoomNotFound)?;
    let mut response = Json(RoomBody::from(room)).into_response();
    cluster::mark_partial(&shared, &mut response);
    Ok(response)
}

/// The body of a request to create a room. The id may be a number, as in all protocols.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CreateBody {
    /// Unparsed, so that a number keeps its decimal text.
    room_id: Option<Box<RawValue>>,
    capacity: Option<serde_json::Value>,
}

/// `POST /api/rooms`: creates an empty room.
pub(crate) async fn create(State(shared): State<Shared>, body: Body) -> Result<Response, ApiError> {
    let max = shared.config.limits.max_message_bytes;
    let body = axum::body::to_bytes(body, max).await.map_err(|error| {
        let is_over = std::error::Error::source(&error)
            .is_some_and(<dyn std::error::Error>::is::<LengthLimitError>);
        // The time limit of the whole request covers slow bodies.
        if is_over {
            ApiError::TooLarge { max }
        } else {
            ApiError::Invalid("the body cannot be read: its chunks are malformed")
        }
    })?;
    let body: CreateBody = if body.trim_ascii().is_empty() {
        CreateBody::default()
    } else if !body.trim_ascii().starts_with(b"{") {
        // serde would accept an array of the right length.
        return Err(ApiError::Invalid("the body must be a JSON object"));
    } else {
        serde_json::from_slice(&body).map_err(|error| ApiError::BadBody(error.to_string()))?
    };
    let id = body.room_id.map(|value| json::id("roomId", (&*value).into(), RoomId::new));
    let largest = shared.config.limits.max_room_size;
    let capacity = body.capacity.map(|value| {
        // 10.0 is accepted as 10.
        let text = if value.is_number() { value.to_string() } else { String::new() };
        let capacity = text.strip_suffix(".0").unwrap_or(&text).parse().ok();
        capacity
            .filter(|capacity| (1..=largest).contains(capacity))
            .ok_or(ApiError::Invalid("capacity: must be a whole number from 1 to MAX_ROOM_SIZE"))
    });
    let (id, capacity) = (id.transpose()?, capacity.transpose()?);
    let room = match &shared.engines {
        Some(engines) => cluster::create(&shared, engines, id, capacity).await?,
        None => shared.hub.rooms().create(Moment::now(), id, capacity)?,
    };
    let location = format!("/api/rooms/{}", percent_encoded(room.id.as_str()));
    let created = CreatedBody { room_id: room.id.to_string(), room: room.into() };
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(created)).into_response())
}

/// `DELETE /api/rooms/{roomId}`: closes a room and removes its peers.
pub(crate) async fn close(
    State(shared): State<Shared>,
    room: RoomPath,
) -> Result<StatusCode, ApiError> {
    let id = room_in_path(room)?;
    if let Some(engines) = &shared.engines {
        return cluster::close(engines, &id).await;
    }
    if shared.hub.close_room(&id) {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(crate::room::RoomError::RoomNotFound.into())
    }
}

/// `DELETE /api/rooms/{roomId}/participants/{userId}`: removes a peer from a room.
pub(crate) async fn kick(
    State(shared): State<Shared>,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Result<StatusCode, ApiError> {
    let Path((room, peer)) = path.map_err(|_| ApiError::BadPath)?;
    let (room, peer) =
        (room_id("roomId", &room)?, PeerId::new(&peer).map_err(ApiError::BadPeerId)?);
    if let Some(engines) = &shared.engines {
        return cluster::kick(&shared, engines, &room, &peer).await;
    }
    let connection = shared.hub.rooms().find(&peer, &room);
    if connection.is_some_and(|connection| shared.hub.kick_peer(&room, connection)) {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(crate::room::RoomError::TargetNotFound.into())
    }
}

/// Percent-encodes an id as one path segment.
fn percent_encoded(id: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(id.len());
    for byte in id.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            _ => write!(out, "%{byte:02X}").expect("writing to a string cannot fail"),
        }
    }
    out
}
