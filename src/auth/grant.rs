//! What a good token allows.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{LEEWAY, TokenError};
use crate::id::{PeerId, RoomId};
use crate::json::{self, Members, push_member};
use crate::room::{Metadata, MetadataPatch};

/// The claims that count here; others are ignored. Ids are taken as they stand, without trimming.
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

/// An id may be a number, as everywhere.
#[derive(Deserialize)]
#[serde(untagged)]
enum Id {
    Text(String),
    Number(serde_json::Number),
}

/// Who a connection is, where it may go, and until when.
#[derive(Debug, Clone, PartialEq)]
pub struct Grant {
    /// The `sub`: the name by which its peers know it.
    pub subject: PeerId,
    /// When it ends.
    pub expires_at: SystemTime,
    /// The most peers of a room that it creates; no more than `MAX_ROOM_SIZE` either way.
    pub capacity: Option<usize>,
    /// The rooms that it may join; `None` is all.
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
        let (metadata, reserved) = claimed_metadata(self.name.as_deref(), self.metadata.as_deref())?;
        Ok(Grant {
            subject: PeerId::exact(&self.sub).map_err(|_| TokenError::Malformed)?,
            // By our clock its time was over: then the difference of the clocks is all that it has left.
            expires_at: if now < expires_at { expires_at } else { expires_at + LEEWAY },
            capacity: self.capacity.map(|capacity| capacity as usize),
            rooms,
            metadata,
            reserved,
        })
    }
}

/// A `NumericDate`: seconds since 1970, which may have a fraction (RFC 7519, section 2).
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

fn claimed_metadata(name: Option<&str>, metadata: Option<&RawValue>) -> Result<(String, Vec<String>), TokenError> {
    // A peer must not be taken for the subject of another's token.
    let mut reserved = vec![SUBJECT.to_owned()];
    let mut out = String::from("{");
    if let Some(metadata) = metadata {
        let members = Members::read(metadata).ok_or(TokenError::Malformed)?;
        let is_said_otherwise = |key: &str| key == SUBJECT || (name.is_some() && NAMES.contains(&key));
        out.push_str(&members.text_without(is_said_otherwise));
        reserved.extend(members.keys().map(str::to_owned));
    }
    if let Some(name) = name {
        // Both words for a name that wires have, as where a client says it.
        for key in NAMES {
            push_member(&mut out, key, name);
            reserved.push(key.to_owned());
        }
    }
    Ok((out.split_off(1), reserved))
}

/// The key of the `sub` among what is said of a peer, where peers are known by other names.
const SUBJECT: &str = "sub";

/// The keys under which peers are told a name.
const NAMES: [&str; 2] = ["displayName", "name"];

impl Grant {
    /// Whether it allows a room.
    pub fn allows(&self, room: &RoomId) -> bool {
        self.rooms.as_ref().is_none_or(|rooms| rooms.contains(room))
    }

    /// Returns a peer's metadata: what the client says, overridden by what the token says; with the `sub`, where the
    /// server assigns peer ids.
    pub fn metadata(&self, said: &Metadata, with_subject: bool) -> Metadata {
        let reserved: Vec<&str> = self.reserved.iter().map(String::as_str).collect();
        let mut metadata = format!("{{{}", json::without(said.as_str(), &reserved));
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
