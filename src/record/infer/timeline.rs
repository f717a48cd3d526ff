//! Who was in which room when, and which client action caused each server event.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::LazyLock;

use serde_json::Value;

use super::people::People;
use super::shape;
use crate::record::trace::{Message, Trace, What};

/// Maximum number of members of a room that are followed.
const MAX_MEMBERS: usize = 64;

/// How many of the latest client actions can have caused a server event.
const RECENT: usize = 6;

/// How much the same arguments count for the attribution of a server event to the event of a client.
const SAME_ARGUMENTS: usize = 12;

/// Maximum number of strings of one event that are compared.
const MAX_STRINGS: usize = 64;

/// What a client did.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Action {
    /// Joined a room.
    Join,
    /// Left its room, by an event or by closing its connection.
    Leave,
    /// Connected, or disconnected without being in a room.
    Connection,
    /// Sent a signal: the name of the event.
    Signal(String),
    /// Sent another event: its name.
    Application(String),
}

/// A client action.
#[derive(Debug, Clone)]
pub(super) struct Cause {
    /// The position in the trace.
    pub(super) index: usize,
    pub(super) client: usize,
    pub(super) action: Action,
    /// The client's room before or, for a join, after the action.
    pub(super) room: Option<String>,
    /// The members of that room after the action, in join order.
    pub(super) members: Vec<usize>,
    /// Whether another client was in the room.
    pub(super) has_company: bool,
}

/// All client actions in order.
pub(super) struct Timeline {
    pub(super) causes: Vec<Cause>,
}

impl Timeline {
    /// Follows the clients through their rooms.
    pub(super) fn follow(trace: &Trace, people: &People, signals: &BTreeSet<String>) -> Self {
        let mut rooms: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        let mut room_of: HashMap<usize, String> = HashMap::new();
        let mut causes = Vec::new();
        for (index, entry) in trace.entries.iter().enumerate() {
            let client = entry.client;
            let action = match &entry.what {
                What::Received(_) | What::Acknowledged { .. } => continue,
                What::Disconnected if room_of.contains_key(&client) => Action::Leave,
                What::Connected | What::Disconnected => Action::Connection,
                What::Sent(message) => match people.joined_room(message) {
                    Some(room) => {
                        leave(&mut rooms, &mut room_of, client);
                        let members = rooms.entry(room.clone()).or_default();
                        if members.len() < MAX_MEMBERS {
                            members.push(client);
                        }
                        room_of.insert(client, room);
                        Action::Join
                    }
                    None if people.leaves.contains(&message.event) && room_of.contains_key(&client) => Action::Leave,
                    None if signals.contains(&message.event) => Action::Signal(message.event.clone()),
                    None => Action::Application(message.event.clone()),
                },
            };
            let room = room_of.get(&client).cloned();
            if action == Action::Leave {
                leave(&mut rooms, &mut room_of, client);
            }
            let members = room.as_ref().and_then(|room| rooms.get(room)).cloned().unwrap_or_default();
            let has_company = members.iter().any(|member| *member != client);
            causes.push(Cause { index, client, action, room, members, has_company });
        }
        Self { causes }
    }

    /// The action at a position of the trace.
    pub(super) fn at(&self, index: usize) -> Option<&Cause> {
        self.causes.binary_search_by_key(&index, |cause| cause.index).ok().map(|found| &self.causes[found])
    }

    /// Attributes each server event that is no signal to the action that caused it: pairs of position and cause.
    pub(super) fn attribute<'a>(
        &'a self,
        trace: &Trace,
        people: &People,
        is_signal: &BTreeSet<usize>,
    ) -> Vec<(usize, &'a Cause)> {
        let received: Vec<(usize, usize, &Message)> =
            trace.received().filter(|(index, _, _)| !is_signal.contains(index)).collect();
        let texts = Texts::collect(trace, people);
        let sent = SentArguments::collect(trace, people, &self.causes);
        let mut votes: HashMap<(&Action, &str), usize> = HashMap::new();
        let mut attributed = Vec::with_capacity(received.len());
        for is_final in [false, true] {
            for (index, client, message) in &received {
                let until = self.causes.partition_point(|cause| cause.index < *index);
                let start = until.saturating_sub(RECENT);
                // What has the same arguments is considered though a burst of other events came between.
                let alike = sent.of(&message.args, start).map(|position| &self.causes[position]);
                // What a client receives after it closed its connection was under way already.
                let is_possible = |cause: &&Cause| {
                    cause.client != *client || !matches!(trace.entries[cause.index].what, What::Disconnected)
                };
                let recent = self.causes[start..until].iter().rev().chain(alike);
                let scored = recent.filter(is_possible).enumerate().map(|(distance, cause)| {
                    let usual = votes.get(&(&cause.action, message.event.as_str())).copied().unwrap_or_default();
                    let score =
                        likeness(&texts, cause, *index, *client, message) + 2 * usual.min(6) * usize::from(is_final);
                    let same = SAME_ARGUMENTS * usize::from(sent.has(cause.index, &message.args));
                    (score + same + RECENT.saturating_sub(distance), std::cmp::Reverse(distance), cause)
                });
                let best = scored.max_by_key(|(score, distance, _)| (*score, *distance)).map(|(_, _, cause)| cause);
                let Some(cause) = best else { continue };
                if is_final {
                    attributed.push((*index, cause));
                } else {
                    *votes.entry((&cause.action, message.event.as_str())).or_default() += 1;
                }
            }
        }
        attributed
    }
}

fn leave(rooms: &mut BTreeMap<String, Vec<usize>>, room_of: &mut HashMap<usize, String>, client: usize) {
    if let Some(members) = room_of.remove(&client).and_then(|room| rooms.get_mut(&room)) {
        members.retain(|member| *member != client);
    }
}

/// How much a server event resembles what a client sent, beyond being close to it.
fn likeness(texts: &Texts<'_>, cause: &Cause, index: usize, receiver: usize, message: &Message) -> usize {
    let Action::Application(name) = &cause.action else { return 0 };
    let is_shared = texts.of(cause.index).intersection(texts.of(index)).next().is_some();
    6 * usize::from(*name == message.event) + usize::from(cause.client != receiver) + 4 * usize::from(is_shared)
}

/// The causes that sent the same arguments. Those without a text are left out: that two flags are equal is no evidence.
struct SentArguments<'t> {
    by_json: HashMap<String, Vec<usize>>,
    by_entry: HashMap<usize, &'t [Value]>,
}

impl<'t> SentArguments<'t> {
    fn collect(trace: &'t Trace, people: &People, causes: &[Cause]) -> Self {
        let (mut by_json, mut by_entry) = (HashMap::<String, Vec<usize>>::new(), HashMap::new());
        for (position, cause) in causes.iter().enumerate() {
            let (Action::Application(_), What::Sent(message)) = (&cause.action, &trace.entries[cause.index].what)
            else {
                continue;
            };
            if !strings(people, message).is_empty() {
                by_json.entry(json(&message.args)).or_default().push(position);
                by_entry.insert(cause.index, message.args.as_slice());
            }
        }
        Self { by_json, by_entry }
    }

    /// Returns the latest causes before `until` that sent these arguments, by position.
    fn of(&self, args: &[Value], until: usize) -> impl Iterator<Item = usize> {
        let positions = if self.by_json.is_empty() { None } else { self.by_json.get(&json(args)) };
        let positions = positions.map(Vec::as_slice).unwrap_or_default();
        let earlier = positions.partition_point(|position| *position < until);
        positions[..earlier].iter().rev().take(RECENT).copied()
    }

    /// Whether the event at a position of the trace was sent with these arguments.
    fn has(&self, index: usize, args: &[Value]) -> bool {
        self.by_entry.get(&index).is_some_and(|sent| *sent == args)
    }
}

fn json(args: &[Value]) -> String {
    args.iter().map(Value::to_string).collect::<Vec<_>>().join(",")
}

/// The strings in the arguments of each event, a bounded number of each.
struct Texts<'t>(HashMap<usize, HashSet<&'t str>>);

impl<'t> Texts<'t> {
    fn collect(trace: &'t Trace, people: &People) -> Self {
        let events = trace.sent().chain(trace.received());
        Self(events.map(|(index, _, message)| (index, strings(people, message))).collect())
    }

    fn of(&self, index: usize) -> &HashSet<&'t str> {
        static NONE: LazyLock<HashSet<&str>> = LazyLock::new(HashSet::new);
        self.0.get(&index).unwrap_or(&NONE)
    }
}

/// Returns the strings in the arguments of an event. The name of the room is in events of every kind, and no evidence.
fn strings<'t>(people: &People, message: &'t Message) -> HashSet<&'t str> {
    let mut found = HashSet::new();
    shape::scalars(&message.args, true, &mut |_, value| {
        let text = value.as_str().filter(|text| !text.is_empty() && *text != people.room);
        if let Some(text) = text.filter(|_| found.len() < MAX_STRINGS) {
            found.insert(text);
        }
    });
    found
}
