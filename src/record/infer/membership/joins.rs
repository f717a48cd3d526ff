//! The events that join and leave the room.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::identity::default_key;
use super::{Identity, JoinShape, Meta, scalar_paths};
use crate::record::infer::shape;
use crate::record::trace::{Message, Trace, What};

/// Maximum number of values of a join that become metadata.
const MAX_META: usize = 16;

/// Returns the events that join: those by which clients name the room for the first time, and which
/// other clients are notified of.
pub(super) fn join_names(trace: &Trace, signals: &BTreeSet<String>, room: &Value) -> Vec<String> {
    let mut score: BTreeMap<&str, i64> = BTreeMap::new();
    let mut first: BTreeSet<usize> = BTreeSet::new();
    let mut senders: BTreeMap<&str, BTreeSet<usize>> = BTreeMap::new();
    let names_room = |message: &Message| {
        !signals.contains(&message.event) && shape::find_value(&message.args, room).is_some()
    };
    for (index, client, message) in trace.sent().filter(|(_, _, message)| names_room(message)) {
        let name = message.event.as_str();
        let total = score.entry(name).or_insert_with(|| word_score(name));
        if senders.entry(name).or_default().insert(client) {
            let received = effects(trace, index);
            *total += 4 * i64::from(received.iter().any(|(receiver, _)| *receiver != client));
            *total += 2 * i64::from(received.iter().any(|(receiver, _)| *receiver == client));
        }
        if first.insert(client) {
            *total += 3;
        }
    }
    let Some((best, _)) =
        score.iter().max_by_key(|(name, score)| (**score, std::cmp::Reverse(**name)))
    else {
        return Vec::new();
    };
    let mut names = vec![(*best).to_owned()];
    let joined = &senders[best];
    for (_, client, message) in
        trace.sent().filter(|(_, client, message)| names_room(message) && !joined.contains(client))
    {
        let is_leave = word_score(&message.event) <= -10;
        let has_joined = names.iter().any(|name| senders[name.as_str()].contains(&client));
        if !is_leave && !has_joined {
            names.push(message.event.clone());
        }
    }
    names
}

fn word_score(name: &str) -> i64 {
    let name = name.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| name.contains(word));
    if is_leave_word(&name) {
        -10
    } else if has(&["check", "valid", "exist", "get", "message", "chat", "toggle"]) {
        -6
    } else if has(&["join", "enter"]) {
        4
    } else {
        i64::from(has(&["create", "host", "start", "register", "room"]))
    }
}

fn is_leave_word(name: &str) -> bool {
    let name = name.to_lowercase();
    ["leave", "leaving", "left", "exit", "quit", "part", "disconnect"].iter().any(|word| {
        // "part" is also in "participant".
        name.split(|letter: char| !letter.is_ascii_alphanumeric()).any(|part| part == *word)
            || (*word != "part" && name.contains(word))
    })
}

/// Returns the events that are received after an entry, before the next client acts.
fn effects(trace: &Trace, index: usize) -> Vec<(usize, &Message)> {
    let mut found = Vec::new();
    for entry in trace.entries[index + 1..].iter().take(64) {
        match &entry.what {
            What::Received(message) => found.push((entry.client, message)),
            What::Acknowledged { .. } => {}
            _ => break,
        }
    }
    found
}

/// Returns the events that leave: those with the word in their name, or with the effects of a
/// disconnection.
pub(super) fn leave_names(
    trace: &Trace,
    signals: &BTreeSet<String>,
    joins: &[String],
) -> BTreeSet<String> {
    let mut after_disconnect: BTreeSet<&str> = BTreeSet::new();
    for (index, entry) in trace.entries.iter().enumerate() {
        if matches!(entry.what, What::Disconnected) {
            after_disconnect.extend(
                effects(trace, index).into_iter().map(|(_, message)| message.event.as_str()),
            );
        }
    }
    let mut names = BTreeSet::new();
    for (index, client, message) in trace.sent() {
        if signals.contains(&message.event) || joins.contains(&message.event) {
            continue;
        }
        let received = effects(trace, index);
        let mut others = received.iter().filter(|(receiver, _)| *receiver != client);
        let is_like_disconnect = others.any(|(_, received)| {
            after_disconnect.contains(received.event.as_str()) && received.args != message.args
        });
        if is_leave_word(&message.event) || is_like_disconnect {
            names.insert(message.event.clone());
        }
    }
    names
}

/// Returns the paths of the room and the metadata in a join; `None` if it does not name the room.
pub(super) fn shape_of(
    trace: &Trace,
    name: &str,
    room: Option<&Value>,
    identities: &[Identity],
) -> Option<JoinShape> {
    let joins: Vec<(usize, &Message)> = trace
        .sent()
        .filter(|(_, _, message)| message.event == name)
        .map(|(_, client, it)| (client, it))
        .collect();
    let room_path = match room {
        Some(room) => {
            Some(joins.iter().find_map(|(_, message)| shape::find_value(&message.args, room))?)
        }
        None => None,
    };
    let mut meta = Vec::new();
    let references: Vec<_> = joins.iter().collect();
    for path in scalar_paths(&references, 4 * MAX_META)
        .into_iter()
        .filter(|path| Some(path) != room_path.as_ref())
        .take(MAX_META)
    {
        let is_own_id = |client: usize, value: &Value| {
            value.as_str() == Some(identities[client].socket_id.as_str())
        };
        let values: Vec<_> = joins
            .iter()
            .map(|(client, message)| (*client, shape::at(&message.args, &path)))
            .collect();
        if values.iter().any(|(client, value)| value.is_some_and(|value| is_own_id(*client, value)))
        {
            continue;
        }
        let is_optional = values.iter().any(|(_, value)| value.is_none_or(Value::is_null));
        let key = default_key(&path);
        meta.push(Meta { path, key, is_optional });
    }
    Some(JoinShape { room: room_path, user: None, meta })
}
