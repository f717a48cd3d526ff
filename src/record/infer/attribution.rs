//! Attribution: which client action caused each server event.
//!
//! The trace does not say so. The latest actions are candidates, and those that sent the same
//! arguments; the most similar one is taken, and what is usual for the event counts in a second
//! pass.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::LazyLock;

use serde_json::Value;

use super::membership::Membership;
use super::shape;
use super::timeline::{Action, Cause, Timeline};
use crate::record::trace::{Message, Trace, What};

/// Number of the latest client actions that may have caused a server event.
const RECENT: usize = 6;

/// Score of an event with the same arguments, above what is usual for an event.
const SAME_ARGUMENTS: usize = 12;

/// Maximum number of strings of one event that are compared.
const MAX_STRINGS: usize = 64;

/// A server event that delivers no signal.
struct Effect<'t> {
    index: usize,
    receiver: usize,
    message: &'t Message,
    /// Whether one of its arguments is the name of the room.
    names_room: bool,
    /// The causes that sent the same arguments, by position in the timeline.
    same_arguments: &'t [usize],
}

/// Attributes each server event that delivers no signal to a cause; returns pairs of position in
/// the trace and cause.
pub(super) fn attribute<'a>(
    timeline: &'a Timeline,
    trace: &Trace,
    membership: &Membership,
    is_signal: &BTreeSet<usize>,
) -> Vec<(usize, &'a Cause)> {
    let texts = Texts::collect(trace, membership);
    let sent = sent_arguments(timeline, trace, membership);
    let effects: Vec<Effect<'_>> = trace
        .received()
        .filter(|(index, _, _)| !is_signal.contains(index))
        .map(|(index, receiver, message)| Effect {
            index,
            receiver,
            message,
            names_room: names_room(membership, message),
            same_arguments: sent.get(&json(&message.args)).map(Vec::as_slice).unwrap_or_default(),
        })
        .collect();
    let mut votes: HashMap<(&Action, &str), usize> = HashMap::new();
    let mut attributed = Vec::with_capacity(effects.len());
    for is_final in [false, true] {
        for effect in &effects {
            let event = effect.message.event.as_str();
            let usual = |cause: &Cause| {
                let votes =
                    if is_final { votes.get(&(&cause.action, event)).copied() } else { None };
                2 * votes.unwrap_or_default().min(6)
            };
            let scored =
                candidates(timeline, trace, effect).enumerate().map(|(distance, position)| {
                    let cause = &timeline.causes[position];
                    let same = SAME_ARGUMENTS
                        * usize::from(effect.same_arguments.binary_search(&position).is_ok());
                    let score = likeness(&texts, cause, effect)
                        + usual(cause)
                        + same
                        + RECENT.saturating_sub(distance);
                    (score, std::cmp::Reverse(distance), cause)
                });
            let best = scored
                .max_by_key(|(score, distance, _)| (*score, *distance))
                .map(|(_, _, cause)| cause);
            let Some(cause) = best else { continue };
            if is_final {
                attributed.push((effect.index, cause));
            } else {
                *votes.entry((&cause.action, event)).or_default() += 1;
            }
        }
    }
    attributed
}

/// Returns the candidate causes, by position in the timeline, the latest first. Those with the same
/// arguments are candidates even after a burst of other events.
fn candidates<'t>(
    timeline: &'t Timeline,
    trace: &'t Trace,
    effect: &'t Effect<'_>,
) -> impl Iterator<Item = usize> + 't {
    let until = timeline.causes.partition_point(|cause| cause.index < effect.index);
    let start = until.saturating_sub(RECENT);
    let earlier = effect.same_arguments.partition_point(|position| *position < start);
    let same = effect.same_arguments[..earlier].iter().rev().take(RECENT).copied();
    // Events that a client receives after it closed its connection were in flight before.
    (start..until).rev().chain(same).filter(move |position| {
        let cause = &timeline.causes[*position];
        cause.client != effect.receiver
            || !matches!(trace.entries[cause.index].what, What::Disconnected)
    })
}

/// Returns how much a server event resembles what a client sent, beyond being close to it.
fn likeness(texts: &Texts<'_>, cause: &Cause, effect: &Effect<'_>) -> usize {
    let is_shared = || texts.of(cause.index).intersection(texts.of(effect.index)).next().is_some();
    match &cause.action {
        Action::Application(name) => {
            6 * usize::from(*name == effect.message.event)
                + usize::from(cause.client != effect.receiver)
                + 4 * usize::from(is_shared())
        }
        // An event that names the room follows from a join, rather than from what the client sent
        // right after it.
        Action::Join => 4 * usize::from(is_shared()) + 3 * usize::from(effect.names_room),
        Action::Leave | Action::Connection | Action::Signal(_) => 0,
    }
}

fn names_room(membership: &Membership, message: &Message) -> bool {
    let mut is_named = false;
    shape::scalars(&message.args, false, &mut |_, value| is_named |= membership.is_room(value));
    is_named
}

/// Returns the causes by the arguments that they sent, as JSON. Arguments without a text are left
/// out: that two flags are equal is no evidence.
fn sent_arguments(
    timeline: &Timeline,
    trace: &Trace,
    membership: &Membership,
) -> HashMap<String, Vec<usize>> {
    let mut sent: HashMap<String, Vec<usize>> = HashMap::new();
    for (position, cause) in timeline.causes.iter().enumerate() {
        if let (Action::Application(_), What::Sent(message)) =
            (&cause.action, &trace.entries[cause.index].what)
            && !strings(membership, message).is_empty()
        {
            sent.entry(json(&message.args)).or_default().push(position);
        }
    }
    sent
}

fn json(args: &[Value]) -> String {
    args.iter().map(Value::to_string).collect::<Vec<_>>().join(",")
}

/// The strings in the arguments of each event, a bounded number of each.
struct Texts<'t>(HashMap<usize, HashSet<&'t str>>);

impl<'t> Texts<'t> {
    fn collect(trace: &'t Trace, membership: &Membership) -> Self {
        let events = trace.sent().chain(trace.received());
        Self(events.map(|(index, _, message)| (index, strings(membership, message))).collect())
    }

    fn of(&self, index: usize) -> &HashSet<&'t str> {
        static NONE: LazyLock<HashSet<&str>> = LazyLock::new(HashSet::new);
        self.0.get(&index).unwrap_or(&NONE)
    }
}

/// Returns the strings in the arguments of an event. The name of the room is in events of every
/// kind, and no evidence.
fn strings<'t>(membership: &Membership, message: &'t Message) -> HashSet<&'t str> {
    let mut found = HashSet::new();
    shape::scalars(&message.args, true, &mut |_, value| {
        let text = value.as_str().filter(|text| !text.is_empty() && *text != membership.room);
        if let Some(text) = text.filter(|_| found.len() < MAX_STRINGS) {
            found.insert(text);
        }
    });
    found
}
