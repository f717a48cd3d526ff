//! The room: the value that the clients share.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::Value;

use super::Identity;
use crate::record::infer::shape;
use crate::record::trace::Trace;

/// Returns the value that the events of several clients have in common, signals excepted.
pub(super) fn shared(
    trace: &Trace,
    signals: &BTreeSet<String>,
    identities: &[Identity],
) -> Option<Value> {
    struct Candidate<'t> {
        value: &'t Value,
        clients: BTreeSet<usize>,
        score: usize,
    }
    let mut candidates: Vec<Candidate<'_>> = Vec::new();
    let mut index: HashMap<String, usize> = HashMap::new();
    let mut first_event: BTreeSet<usize> = BTreeSet::new();
    for (_, client, message) in trace.sent() {
        if signals.contains(&message.event) {
            continue;
        }
        let is_first = first_event.insert(client);
        shape::scalars(&message.args, false, &mut |path, value| {
            let Some(text) = shape::id(value) else { return };
            if identities.iter().any(|identity| identity.socket_id == text)
                || shape::is_epoch_time(value)
            {
                return;
            }
            let at = *index.entry(text).or_insert_with(|| {
                candidates.push(Candidate { value, clients: BTreeSet::new(), score: 0 });
                candidates.len() - 1
            });
            let candidate = &mut candidates[at];
            if candidate.clients.insert(client) {
                candidate.score += 10 + usize::from(is_first) * 3;
            }
            let by_key = shape::last_key(path).map_or(0, room_likeness);
            candidate.score = candidate.score.max(candidate.clients.len() * 10 + by_key);
        });
    }
    let shared = candidates.iter().filter(|candidate| candidate.clients.len() > 1);
    // The first of those that score alike.
    let best = shared.rev().max_by_key(|candidate| candidate.score)?;
    Some(best.value.clone())
}

fn room_likeness(key: &str) -> usize {
    let key = key.to_lowercase();
    if key.contains("room") || key.contains("meeting") || key.contains("channel") {
        return 15;
    }
    if ["code", "call", "session", "conference", "group"].iter().any(|word| key.contains(word)) {
        8
    } else {
        0
    }
}

/// Returns the events by which clients register where none names a room: the first of each client,
/// if several send it.
pub(super) fn registrations(trace: &Trace, signals: &BTreeSet<String>) -> Vec<String> {
    let mut first: BTreeMap<usize, &str> = BTreeMap::new();
    for (_, client, message) in
        trace.sent().filter(|(_, _, message)| !signals.contains(&message.event))
    {
        first.entry(client).or_insert(&message.event);
    }
    let count = |name: &str| first.values().filter(|first| **first == name).count();
    let names: BTreeSet<&str> = first.values().copied().filter(|name| count(name) > 1).collect();
    names.into_iter().map(str::to_owned).collect()
}
