//! The room that the clients share, the events that join and leave it, and the ids and metadata by
//! which clients are known.

mod identity;
mod joins;
mod room;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::shape::{self, Path};
use crate::record::trace::{Message, Trace};

/// The room where the clients name none.
const ONLY_ROOM: &str = "everyone";

/// The meaning of the arguments of a join.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct JoinShape {
    /// `None` if the clients name no room, so that all of them are in the same one.
    pub(super) room: Option<Path>,
    pub(super) user: Option<Path>,
    pub(super) meta: Vec<Meta>,
}

/// One value of a join that becomes metadata.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Meta {
    pub(super) path: Path,
    pub(super) key: String,
    /// Whether some joins lack it.
    pub(super) is_optional: bool,
}

/// The ids and the metadata of a client.
#[derive(Debug, Clone, Default)]
pub(super) struct Identity {
    pub(super) socket_id: String,
    pub(super) user: Option<Value>,
    pub(super) meta: BTreeMap<String, Value>,
}

/// The clients of a trace, and how they join and leave.
#[derive(Debug, Default)]
pub(super) struct Membership {
    /// The identity of each client of the trace, by its index.
    pub(super) identities: Vec<Identity>,
    pub(super) joins: BTreeMap<String, JoinShape>,
    pub(super) leaves: BTreeSet<String>,
    /// The room by the value that the clients share.
    pub(super) room: String,
}

impl Identity {
    /// Returns whether a value is the client's connection id or user id.
    pub(super) fn is_named(&self, value: &Value) -> bool {
        let is_socket =
            value.as_str().is_some_and(|text| !text.is_empty() && text == self.socket_id);
        is_socket || self.user.as_ref() == Some(value)
    }
}

impl Membership {
    /// Finds the room, the joins and the leaves. `signals` are the names of events that carry
    /// descriptions or candidates.
    pub(super) fn find(trace: &Trace, signals: &BTreeSet<String>) -> Option<Self> {
        let identities = trace
            .clients
            .iter()
            .map(|client| Identity { socket_id: client.id.clone(), ..Identity::default() });
        let mut membership = Self { identities: identities.collect(), ..Self::default() };
        let room = room::shared(trace, signals, &membership.identities);
        let names = match &room {
            Some(room) => joins::join_names(trace, signals, room),
            None => room::registrations(trace, signals),
        };
        if names.is_empty() {
            return None;
        }
        membership.room = room.as_ref().map_or(Some(ONLY_ROOM.to_owned()), shape::id)?;
        membership.leaves = joins::leave_names(trace, signals, &names);
        for name in names {
            let shape = joins::shape_of(trace, &name, room.as_ref(), &membership.identities)?;
            membership.joins.insert(name, shape);
        }
        membership.choose_users(trace, signals);
        membership.name_metadata(trace);
        membership.read_identities(trace);
        Some(membership)
    }

    /// Returns the room that a join names; `None` if the event is not a join.
    pub(super) fn joined_room(&self, message: &Message) -> Option<String> {
        match &self.joins.get(&message.event)?.room {
            Some(path) => shape::at(&message.args, path).and_then(shape::id),
            None => Some(self.room.clone()),
        }
    }

    /// Returns whether a value is the connection id of a client.
    pub(super) fn names_socket(&self, value: &Value) -> bool {
        value.as_str().is_some_and(|text| {
            !text.is_empty() && self.identities.iter().any(|it| it.socket_id == text)
        })
    }

    /// Returns whether a value names the room.
    pub(super) fn is_room(&self, value: &Value) -> bool {
        shape::id(value).is_some_and(|text| text == self.room)
    }

    /// Returns the client among `clients` that a value names.
    pub(super) fn named_among(&self, value: &Value, clients: &[usize]) -> Option<usize> {
        clients.iter().copied().find(|client| self.identities[*client].is_named(value))
    }
}

/// Returns the paths of all scalars in the arguments of these events, in order of appearance, at
/// most `limit`.
fn scalar_paths(messages: &[&(usize, &Message)], limit: usize) -> Vec<Path> {
    let mut paths: Vec<Path> = Vec::new();
    let mut known = BTreeSet::new();
    for (_, message) in messages {
        shape::scalars(&message.args, false, &mut |path, _| {
            if paths.len() < limit && known.insert(path.clone()) {
                paths.push(path.clone());
            }
        });
    }
    paths
}
