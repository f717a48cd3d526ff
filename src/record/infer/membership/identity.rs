//! The ids and the metadata by which clients are known.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{Membership, scalar_paths};
use crate::record::infer::shape::{self, Path, Shown, Step};
use crate::record::trace::{Message, Trace};

/// Keys that the server writes into a peer object, which metadata cannot override.
const PEER_FIELDS: [&str; 6] = ["id", "userId", "socketId", "roomId", "joinedAt", "reason"];

/// Maximum number of values of a join that may be the user id.
const MAX_PATHS: usize = 64;

/// Maximum number of server events in which the keys of metadata are looked up.
const MAX_SHOWN: usize = 1_000;

impl Membership {
    fn joins_of<'t>(&self, trace: &'t Trace) -> Vec<(usize, &'t Message)> {
        let joins = trace.sent().filter(|(_, _, message)| self.joins.contains_key(&message.event));
        joins.map(|(_, client, message)| (client, message)).collect()
    }

    /// Chooses the value by which other clients address a client, where that is not its connection
    /// id.
    pub(super) fn choose_users(&mut self, trace: &Trace, signals: &BTreeSet<String>) {
        let mut addressed: BTreeSet<String> = BTreeSet::new();
        for (_, _, message) in
            trace.sent().filter(|(_, _, message)| signals.contains(&message.event))
        {
            shape::scalars(&message.args, false, &mut |_, value| {
                addressed.extend(shape::id(value));
            });
        }
        let mut received: BTreeSet<String> = BTreeSet::new();
        for (_, _, message) in trace.received() {
            shape::scalars(&message.args, true, &mut |_, value| received.extend(shape::id(value)));
        }
        let names_sockets =
            self.identities.iter().any(|identity| received.contains(&identity.socket_id));
        let joins = self.joins_of(trace);
        for (name, shape) in &mut self.joins {
            let of_name: Vec<_> =
                joins.iter().filter(|(_, message)| message.event == *name).collect();
            let mut best: Option<(u32, Path)> = None;
            for path in scalar_paths(&of_name, MAX_PATHS) {
                let values: Vec<_> = of_name
                    .iter()
                    .map(|(client, it)| (*client, shape::at(&it.args, &path).and_then(shape::id)))
                    .collect();
                let is_usable = values.iter().all(|(client, value)| {
                    let is_own = |value: &String| *value == self.identities[*client].socket_id;
                    value.as_ref().is_some_and(|value| !is_own(value))
                });
                if !is_usable || Some(&path) == shape.room.as_ref() || !are_distinct(&values) {
                    continue;
                }
                let is_addressed = values
                    .iter()
                    .any(|(_, value)| value.as_ref().is_some_and(|it| addressed.contains(it)));
                let is_received = values
                    .iter()
                    .any(|(_, value)| value.as_ref().is_some_and(|it| received.contains(it)));
                let score = match shape::last_key(&path) {
                    _ if is_addressed => 4,
                    Some(key) if is_user_key(key) => 3,
                    None if is_received
                        && !names_sockets
                        && values.iter().flat_map(|(_, it)| it).all(|it| looks_like_id(it)) =>
                    {
                        2
                    }
                    _ => 0,
                };
                if score > best.as_ref().map_or(0, |(score, _)| *score) {
                    best = Some((score, path));
                }
            }
            shape.user = best.map(|(_, path)| path);
            shape.meta.retain(|meta| Some(&meta.path) != shape.user.as_ref());
        }
    }

    /// Gives metadata the keys under which the server's lists show them, since a list shows
    /// metadata under its own keys.
    pub(super) fn name_metadata(&mut self, trace: &Trace) {
        let joins = self.joins_of(trace);
        for (name, shape) in &mut self.joins {
            for meta in &mut shape.meta {
                let values: BTreeSet<String> = joins
                    .iter()
                    .filter(|(_, message)| message.event == *name)
                    .filter_map(|(_, message)| {
                        shape::at(&message.args, &meta.path)?.as_str().map(str::to_owned)
                    })
                    .collect();
                meta.key = shown_key(trace, &values).unwrap_or_else(|| default_key(&meta.path));
            }
            let mut used = BTreeSet::new();
            for meta in &mut shape.meta {
                while PEER_FIELDS.contains(&meta.key.as_str()) || !used.insert(meta.key.clone()) {
                    meta.key = format!("{}_", meta.key);
                }
            }
        }
    }

    /// Reads the identity that each client states in its joins.
    pub(super) fn read_identities(&mut self, trace: &Trace) {
        for (_, client, message) in trace.sent() {
            let Some(shape) = self.joins.get(&message.event) else { continue };
            let identity = &mut self.identities[client];
            let user = shape.user.as_ref().and_then(|path| shape::at(&message.args, path));
            identity.user = user.filter(|user| shape::id(user).is_some()).cloned();
            for meta in &shape.meta {
                if let Some(value) =
                    shape::at(&message.args, &meta.path).filter(|value| !value.is_null())
                {
                    identity.meta.insert(meta.key.clone(), value.clone());
                }
            }
        }
    }
}

fn are_distinct(values: &[(usize, Option<String>)]) -> bool {
    let mut by_value: HashMap<&String, usize> = HashMap::new();
    values.iter().all(|(client, value)| {
        let Some(value) = value else { return true };
        // A client that rejoins may repeat its id over a new connection, so one repetition is no
        // contradiction.
        *by_value.entry(value).or_insert(*client) == *client
    })
}

fn is_user_key(key: &str) -> bool {
    let key: String = key.to_lowercase().chars().filter(char::is_ascii_alphanumeric).collect();
    ["userid", "peerid", "participantid", "uid", "clientid", "memberid", "myid"]
        .contains(&key.as_str())
}

fn looks_like_id(text: &str) -> bool {
    text.len() >= 16
        || (text.len() >= 2
            && text.chars().any(|letter| letter.is_ascii_digit())
            && !text.contains(' '))
}

/// Returns the key under which the server's events show one of these values.
fn shown_key(trace: &Trace, values: &BTreeSet<String>) -> Option<String> {
    let mut counts: BTreeMap<(bool, String), usize> = BTreeMap::new();
    for (_, _, message) in trace.received().take(MAX_SHOWN) {
        shape::scalars(&message.args, true, &mut |path, value| {
            if value.as_str().is_some_and(|text| values.contains(text))
                && let Some(Step::Key(key)) = path.last()
            {
                let is_in_list = path.iter().skip(1).any(|step| matches!(step, Step::Index(_)));
                *counts.entry((is_in_list, key.clone())).or_default() += 1;
            }
        });
    }
    let best = counts.into_iter().max_by_key(|((is_in_list, _), count)| (*is_in_list, *count));
    best.map(|((_, key), _)| key).filter(|key| !PEER_FIELDS.contains(&key.as_str()))
}

/// Returns the key of a value that no server event shows: the one under which it was sent.
pub(super) fn default_key(path: &Path) -> String {
    match path.last() {
        Some(Step::Key(key)) => key.clone(),
        _ => format!("{}", Shown(path)).replace("argument ", "arg").replace(' ', ""),
    }
}
