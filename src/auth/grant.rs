//! The permissions that a valid token grants.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{LEEWAY, TokenError};
use crate::id::{PeerId, RoomId};
use crate::json::{self, Members, push_member};
use crate::room::{Metadata, MetadataPatch};

/// The claims that are read; others are ignored. Ids are not trimmed.
#[derive(Deserialize)]
pub(super) struct Claims {
    sub: String,
    exp: f64,
    nbf: Option<f64>,
    iat: Option<f64>,
    room: Option<OneOrMany>,
    rooms: Option<OneOrMany>,
    name: Option<String>,
    metadata: Option<Box<RawValue>>,
    capacity: Option<u32>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(Id),
    Many(Vec<Id>),
}

/// An id, which may be a number as in all protocols.
#[derive(Deserialize)]
#[serde(untagged)]
enum Id {
    Text(String),
    Number(serde_json::Number),
}

/// The identity and permissions of a connection.
#[derive(Debug, Clone, PartialEq)]
pub struct Grant {
    /// The `sub`, which is the peer id in all rooms.
    pub subject: PeerId,
    /// When the grant expires.
    pub expires_at: SystemTime,
    /// Capacity of rooms that the connection creates, bounded by `MAX_ROOM_SIZE`.
    pub capacity: Option<usize>,
    /// The rooms that it may join; `None` means all.
    rooms: Option<BTreeSet<RoomId>>,
    /// Metadata of its peers: the members of a JSON object, without the braces.
    metadata: String,
    /// The keys of metadata that only the token sets.
    reserved: Vec<String>,
}

impl Claims {
    pub(super) fn grant(self, now: SystemTime) -> Result<Grant, TokenError> {
        let (expires_at, begins_at) = (time(self.exp)?, self.nbf.into_iter().chain(self.iat));
        if now >= expires_at + LEEWAY {
            return Err(TokenError::Expired);
        }
        for begins_at in begins_at {
            if time(begins_at)? > now + LEEWAY {
                return Err(TokenError::Early);
            }
        }
        let rooms = rooms(self.room.into_iter().chain(self.rooms).collect())?;
        if self.capacity == Some(0) {
            return Err(TokenError::Malformed);
        }
        let (metadata, reserved) =
            claimed_metadata(self.name.as_deref(), self.metadata.as_deref())?;
        Ok(Grant {
            subject: PeerId::exact(&self.sub).map_err(|_| TokenError::Malformed)?,
            // A token that has expired by the server's clock is valid only within the leeway.
            expires_at: if now < expires_at { expires_at } else { expires_at + LEEWAY },
            capacity: self.capacity.map(|capacity| capacity as usize),
            rooms,
            metadata,
            reserved,
        })
    }
}

/// Converts a `NumericDate`, seconds since 1970 with an optional fraction (RFC 7519, section 2).
fn time(seconds: f64) -> Result<SystemTime, TokenError> {
    // Far away enough, and leaves room for what is added to it.
    const MOST: Duration = Duration::from_hours(24 * 365 * 1000);
    let since_epoch = Duration::try_from_secs_f64(seconds).map_err(|_| TokenError::Malformed)?;
    Ok(SystemTime::UNIX_EPOCH + since_epoch.min(MOST))
}

fn rooms(claims: Vec<OneOrMany>) -> Result<Option<BTreeSet<RoomId>>, TokenError> {
    if claims.is_empty() {
        return Ok(None);
    }
    let mut rooms = BTreeSet::new();
    for claim in claims {
        let ids = match claim {
            OneOrMany::One(id) => vec![id],
            OneOrMany::Many(ids) => ids,
        };
        for id in ids {
            let id = match id {
                Id::Text(text) if text == "*" => return Ok(None),
                Id::Text(text) => RoomId::exact(&text),
                Id::Number(number) => RoomId::new(&number.to_string()),
            };
            rooms.insert(id.map_err(|_| TokenError::Malformed)?);
        }
    }
    Ok(Some(rooms))
}

fn claimed_metadata(
    name: Option<&str>,
    metadata: Option<&RawValue>,
) -> Result<(String, Vec<String>), TokenError> {
    // Clients must not pose as the subject of another token.
    let mut reserved = vec![SUBJECT.to_owned()];
    let mut out = String::from("{");
    if let Some(metadata) = metadata {
        let members = Members::read(metadata.into()).ok_or(TokenError::Malformed)?;
        let is_overridden = |key: &str| key == SUBJECT || (name.is_some() && NAMES.contains(&key));
        out.push_str(&members.text_without(is_overridden));
        reserved.extend(members.keys().map(str::to_owned));
    }
    if let Some(name) = name {
        // Sets both keys that the protocols use for a display name.
        for key in NAMES {
            push_member(&mut out, key, name);
            reserved.push(key.to_owned());
        }
    }
    Ok((out.split_off(1), reserved))
}

/// The metadata key of the `sub`, where the server assigns peer ids.
const SUBJECT: &str = "sub";

/// The metadata keys of a display name.
const NAMES: [&str; 2] = ["displayName", "name"];

impl Grant {
    /// Returns whether the grant allows a room.
    pub fn allows(&self, room: &RoomId) -> bool {
        self.rooms.as_ref().is_none_or(|rooms| rooms.contains(room))
    }

    /// Returns a peer's metadata: the metadata of the client, overridden by the claims of the
    /// token; with the `sub`, if the server assigns peer ids.
    pub fn metadata(&self, client: &Metadata, with_subject: bool) -> Metadata {
        let reserved: Vec<&str> = self.reserved.iter().map(String::as_str).collect();
        let mut metadata = format!("{{{}", json::without(client.as_str(), &reserved));
        if !self.metadata.is_empty() {
            if metadata.len() > 1 {
                metadata.push(',');
            }
            metadata.push_str(&self.metadata);
        }
        if with_subject {
            push_member(&mut metadata, SUBJECT, self.subject.as_str());
        }
        Metadata::new(&metadata[1..])
    }

    /// Returns a change of metadata without the keys that only the token sets.
    pub fn allowed_patch(&self, patch: &MetadataPatch) -> MetadataPatch {
        let reserved: Vec<&str> = self.reserved.iter().map(String::as_str).collect();
        MetadataPatch { text: json::without(&patch.text, &reserved).into(), merge: patch.merge }
    }
}
