//! `GET /demo/lobby`: the data that the demo shows before a join.

use axum::Json;
use axum::extract::{Query, Request, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, header};
use serde::{Deserialize, Serialize};

use super::Shared;
use crate::id::RoomId;
use crate::request::proxies::client_address;
use crate::request::token::token_of;
use crate::room::Peer;

/// Maximum number of names in a response: the lobby shows the first ones and a count.
const MAX_NAMES: usize = 3;

/// The query parameters.
#[derive(Deserialize)]
pub(crate) struct Asked {
    #[serde(default)]
    room: String,
}

#[derive(Default, Serialize)]
struct Lobby {
    /// Whether there is a media server.
    sfu: bool,
    /// Number of peers in the room.
    count: usize,
    /// The names of the first peers that have one, in the order they joined.
    names: Vec<String>,
}

/// Returns whether there is a media server, and the members of a room. The latter are left out for
/// clients that may not join the room, and if `API_TOKEN` protects the list of rooms: such a room
/// looks empty.
pub(crate) async fn show(
    State(shared): State<Shared>,
    Query(asked): Query<Asked>,
    request: Request,
) -> Response {
    let mut lobby = Lobby { sfu: shared.hub.has_media(), ..Lobby::default() };
    if let Ok(room) = RoomId::new(&asked.room)
        && may_see(&shared, &room, &request)
    {
        let peers = shared.hub.rooms().peers(&room);
        lobby.count = peers.len();
        lobby.names = peers.iter().filter_map(|peer| name_of(peer)).take(MAX_NAMES).collect();
    }
    ([(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))], Json(lobby)).into_response()
}

fn may_see(shared: &Shared, room: &RoomId, request: &Request) -> bool {
    match shared.hub.identify(client_address(request), token_of(request).as_deref()) {
        Ok(Some(grant)) => grant.allows(room),
        Ok(None) => shared.config.http.api_token.is_none(),
        Err(_) => false,
    }
}

/// Returns the name that a peer has given in its metadata.
fn name_of(peer: &Peer) -> Option<String> {
    let metadata: serde_json::Value =
        serde_json::from_str(&format!("{{{}}}", peer.metadata.as_str())).ok()?;
    let name = metadata.get("displayName").or_else(|| metadata.get("name"))?.as_str()?.trim();
    (!name.is_empty()).then(|| name.to_owned())
}
