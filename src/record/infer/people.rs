//! Who is in the call: the room that the clients share, the events that join and leave it, and what clients say of themselves.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::Value;

use super::shape::{self, Path, Shown, Step};
use crate::record::trace::{Message, Trace, What};

/// Keys that the server writes into a peer object, which metadata cannot override.
const PEER_FIELDS: [&str; 6] = ["id", "userId", "socketId", "roomId", "joinedAt", "reason"];

/// Maximum number of values of a join that become metadata.
const MAX_META: usize = 16;

/// The room where the clients name none.
const ONLY_ROOM: &str = "everyone";

/// Maximum number of server events in which the keys of metadata are looked up.
const MAX_SHOWN: usize = 1_000;

/// How the arguments of a join are read.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct JoinShape {
    /// `None` if the clients name no room, so that one is meant by all.
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

/// What is known of a client.
#[derive(Debug, Clone, Default)]
pub(super) struct Person {
    pub(super) socket_id: String,
    pub(super) user: Option<Value>,
    pub(super) meta: BTreeMap<String, Value>,
}

/// The clients of a trace, and how they join and leave.
#[derive(Debug, Default)]
pub(super) struct People {
    pub(super) all: Vec<Person>,
    pub(super) joins: BTreeMap<String, JoinShape>,
    pub(super) leaves: BTreeSet<String>,
    /// The room by the value that the clients share.
    pub(super) room: String,
}

impl Person {
    /// Whether a value is the client's connection id or user id.
    pub(super) fn is_named(&self, value: &Value) -> bool {
        let is_socket = value.as_str().is_some_and(|text| !text.is_empty() && text == self.socket_id);
        is_socket || self.user.as_ref() == Some(value)
    }
}

impl People {
    /// Finds the room, the joins and the leaves. `signals` are the names of events that carry descriptions or candidates.
    pub(super) fn find(trace: &Trace, signals: &BTreeSet<String>) -> Option<Self> {
        let all = trace.clients.iter().map(|client| Person { socket_id: client.id.clone(), ..Person::default() });
        let mut people = Self { all: all.collect(), ..Self::default() };
        let room = shared_room(trace, signals, &people.all);
        let names = match &room {
            Some(room) => join_names(trace, signals, room),
            None => registrations(trace, signals),
        };
        if names.is_empty() {
            return None;
        }
        people.room = room.as_ref().map_or(Some(ONLY_ROOM.to_owned()), shape::id)?;
        people.leaves = leave_names(trace, signals, &names);
        for name in names {
            let shape = join_shape(trace, &name, room.as_ref(), &people.all)?;
            people.joins.insert(name, shape);
        }
        people.choose_users(trace, signals);
        people.name_metadata(trace);
        people.learn(trace);
        Some(people)
    }

    /// The room that a join names.
    pub(super) fn joined_room(&self, message: &Message) -> Option<String> {
        match &self.joins.get(&message.event)?.room {
            Some(path) => shape::at(&message.args, path).and_then(shape::id),
            None => Some(self.room.clone()),
        }
    }

    /// Whether a value is the connection id of a client.
    pub(super) fn names_socket(&self, value: &Value) -> bool {
        value.as_str().is_some_and(|text| !text.is_empty() && self.all.iter().any(|person| person.socket_id == text))
    }

    /// Whether a value names the room.
    pub(super) fn is_room(&self, value: &Value) -> bool {
        shape::id(value).is_some_and(|text| text == self.room)
    }

    fn joins_of<'t>(&self, trace: &'t Trace) -> Vec<(usize, &'t Message)> {
        let joins = trace.sent().filter(|(_, _, message)| self.joins.contains_key(&message.event));
        joins.map(|(_, client, message)| (client, message)).collect()
    }

    /// Chooses the value by which other clients address a client, where that is not its connection id.
    fn choose_users(&mut self, trace: &Trace, signals: &BTreeSet<String>) {
        let mut addressed: BTreeSet<String> = BTreeSet::new();
        for (_, _, message) in trace.sent().filter(|(_, _, message)| signals.contains(&message.event)) {
            shape::scalars(&message.args, false, &mut |_, value| addressed.extend(shape::id(value)));
        }
        let mut said: BTreeSet<String> = BTreeSet::new();
        for (_, _, message) in trace.received() {
            shape::scalars(&message.args, true, &mut |_, value| said.extend(shape::id(value)));
        }
        let names_sockets = self.all.iter().any(|person| said.contains(&person.socket_id));
        let joins = self.joins_of(trace);
        for (name, shape) in &mut self.joins {
            let of_name: Vec<_> = joins.iter().filter(|(_, message)| message.event == *name).collect();
            let mut best: Option<(u32, Path)> = None;
            for path in scalar_paths(&of_name) {
                let values: Vec<_> = of_name
                    .iter()
                    .map(|(client, it)| (*client, shape::at(&it.args, &path).and_then(shape::id)))
                    .collect();
                let is_usable = values.iter().all(|(client, value)| {
                    let is_own = |value: &String| *value == self.all[*client].socket_id;
                    value.as_ref().is_some_and(|value| !is_own(value))
                });
                if !is_usable || Some(&path) == shape.room.as_ref() || !are_distinct(&values) {
                    continue;
                }
                let is_addressed =
                    values.iter().any(|(_, value)| value.as_ref().is_some_and(|it| addressed.contains(it)));
                let is_said = values.iter().any(|(_, value)| value.as_ref().is_some_and(|it| said.contains(it)));
                let score = match shape::last_key(&path) {
                    _ if is_addressed => 4,
                    Some(key) if is_user_key(key) => 3,
                    None if is_said
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

    /// Gives metadata the keys under which the server's lists show them, since a list shows metadata under its own keys.
    fn name_metadata(&mut self, trace: &Trace) {
        let joins = self.joins_of(trace);
        for (name, shape) in &mut self.joins {
            for meta in &mut shape.meta {
                let values: BTreeSet<String> = joins
                    .iter()
                    .filter(|(_, message)| message.event == *name)
                    .filter_map(|(_, message)| shape::at(&message.args, &meta.path)?.as_str().map(str::to_owned))
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

    /// Reads what each client says of itself in its joins.
    fn learn(&mut self, trace: &Trace) {
        for (_, client, message) in trace.sent() {
            let Some(shape) = self.joins.get(&message.event) else { continue };
            let person = &mut self.all[client];
            let user = shape.user.as_ref().and_then(|path| shape::at(&message.args, path));
            person.user = user.filter(|user| shape::id(user).is_some()).cloned();
            for meta in &shape.meta {
                if let Some(value) = shape::at(&message.args, &meta.path).filter(|value| !value.is_null()) {
                    person.meta.insert(meta.key.clone(), value.clone());
                }
            }
        }
    }

    /// The client among `clients` that a value names.
    pub(super) fn named_among(&self, value: &Value, clients: &[usize]) -> Option<usize> {
        clients.iter().copied().find(|client| self.all[*client].is_named(value))
    }
}

/// The value that the joins of clients have in common.
fn shared_room(trace: &Trace, signals: &BTreeSet<String>, all: &[Person]) -> Option<Value> {
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
            if all.iter().any(|person| person.socket_id == text) || shape::is_epoch_time(value) {
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
    if ["code", "call", "session", "conference", "group"].iter().any(|word| key.contains(word)) { 8 } else { 0 }
}

/// The events by which clients make themselves known where none names a room: the first of each, if several clients send
/// it.
fn registrations(trace: &Trace, signals: &BTreeSet<String>) -> Vec<String> {
    let mut first: BTreeMap<usize, &str> = BTreeMap::new();
    for (_, client, message) in trace.sent().filter(|(_, _, message)| !signals.contains(&message.event)) {
        first.entry(client).or_insert(&message.event);
    }
    let count = |name: &str| first.values().filter(|first| **first == name).count();
    let names: BTreeSet<&str> = first.values().copied().filter(|name| count(name) > 1).collect();
    names.into_iter().map(str::to_owned).collect()
}

/// The events that join: those after which somebody is told, by the clients that name the room for the first time.
fn join_names(trace: &Trace, signals: &BTreeSet<String>, room: &Value) -> Vec<String> {
    let mut score: BTreeMap<&str, i64> = BTreeMap::new();
    let mut first: BTreeSet<usize> = BTreeSet::new();
    let mut senders: BTreeMap<&str, BTreeSet<usize>> = BTreeMap::new();
    let names_room =
        |message: &Message| !signals.contains(&message.event) && shape::find_value(&message.args, room).is_some();
    for (index, client, message) in trace.sent().filter(|(_, _, message)| names_room(message)) {
        let name = message.event.as_str();
        let total = score.entry(name).or_insert_with(|| word_score(name));
        if senders.entry(name).or_default().insert(client) {
            let told = effects(trace, index);
            *total += 4 * i64::from(told.iter().any(|(receiver, _)| *receiver != client));
            *total += 2 * i64::from(told.iter().any(|(receiver, _)| *receiver == client));
        }
        if first.insert(client) {
            *total += 3;
        }
    }
    let Some((best, _)) = score.iter().max_by_key(|(name, score)| (**score, std::cmp::Reverse(**name))) else {
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

/// What is received after an entry, before the next client acts.
pub(super) fn effects(trace: &Trace, index: usize) -> Vec<(usize, &Message)> {
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

fn leave_names(trace: &Trace, signals: &BTreeSet<String>, joins: &[String]) -> BTreeSet<String> {
    let mut after_disconnect: BTreeSet<&str> = BTreeSet::new();
    for (index, entry) in trace.entries.iter().enumerate() {
        if matches!(entry.what, What::Disconnected) {
            after_disconnect.extend(effects(trace, index).into_iter().map(|(_, message)| message.event.as_str()));
        }
    }
    let mut names = BTreeSet::new();
    for (index, client, message) in trace.sent() {
        if signals.contains(&message.event) || joins.contains(&message.event) {
            continue;
        }
        let told = effects(trace, index);
        let mut others = told.iter().filter(|(receiver, _)| *receiver != client);
        let is_like_disconnect = others
            .any(|(_, received)| after_disconnect.contains(received.event.as_str()) && received.args != message.args);
        if is_leave_word(&message.event) || is_like_disconnect {
            names.insert(message.event.clone());
        }
    }
    names
}

fn join_shape(trace: &Trace, name: &str, room: Option<&Value>, all: &[Person]) -> Option<JoinShape> {
    let joins: Vec<(usize, &Message)> =
        trace.sent().filter(|(_, _, message)| message.event == name).map(|(_, client, it)| (client, it)).collect();
    let room_path = match room {
        Some(room) => Some(joins.iter().find_map(|(_, message)| shape::find_value(&message.args, room))?),
        None => None,
    };
    let mut meta = Vec::new();
    let references: Vec<_> = joins.iter().collect();
    for path in scalar_paths(&references).into_iter().filter(|path| Some(path) != room_path.as_ref()).take(MAX_META) {
        let is_own_id = |client: usize, value: &Value| value.as_str() == Some(all[client].socket_id.as_str());
        let values: Vec<_> = joins.iter().map(|(client, message)| (*client, shape::at(&message.args, &path))).collect();
        if values.iter().any(|(client, value)| value.is_some_and(|value| is_own_id(*client, value))) {
            continue;
        }
        let is_optional = values.iter().any(|(_, value)| value.is_none_or(Value::is_null));
        let key = default_key(&path);
        meta.push(Meta { path, key, is_optional });
    }
    Some(JoinShape { room: room_path, user: None, meta })
}

/// The paths of all scalars in the arguments of these events, in order of appearance.
fn scalar_paths(messages: &[&(usize, &Message)]) -> Vec<Path> {
    let mut paths: Vec<Path> = Vec::new();
    let mut known = BTreeSet::new();
    for (_, message) in messages {
        shape::scalars(&message.args, false, &mut |path, _| {
            if paths.len() < 4 * MAX_META && known.insert(path.clone()) {
                paths.push(path.clone());
            }
        });
    }
    paths
}

fn are_distinct(values: &[(usize, Option<String>)]) -> bool {
    let mut by_value: HashMap<&String, usize> = HashMap::new();
    values.iter().all(|(client, value)| {
        let Some(value) = value else { return true };
        // A client that comes again may repeat its id over a new connection, so one repetition is no contradiction.
        *by_value.entry(value).or_insert(*client) == *client
    })
}

fn is_user_key(key: &str) -> bool {
    let key: String = key.to_lowercase().chars().filter(char::is_ascii_alphanumeric).collect();
    ["userid", "peerid", "participantid", "uid", "clientid", "memberid", "myid"].contains(&key.as_str())
}

fn looks_like_id(text: &str) -> bool {
    text.len() >= 16 || (text.len() >= 2 && text.chars().any(|letter| letter.is_ascii_digit()) && !text.contains(' '))
}

/// The key under which the server's events show one of these values.
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

fn default_key(path: &Path) -> String {
    match path.last() {
        Some(Step::Key(key)) => key.clone(),
        _ => format!("{}", Shown(path)).replace("argument ", "arg").replace(' ', ""),
    }
}
