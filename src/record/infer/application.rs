//! Application events: those that the server relays, their names for recipients, and the
//! differences from Parlor's relay.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::draft::{Draft, InRule, OutRule};
use super::membership::Membership;
use super::shape::{self, Path, Step, last_key};
use super::template::{Context, MAX_SAMPLES, Sample, is_unsaid, unify};
use super::timeline::{Action, Cause, Timeline};
use super::{Unexplained, note};
use crate::dialect::socketio::profile::Profile;
use crate::dialect::socketio::sender::SenderFields;
use crate::record::trace::{Message, Trace, What};

/// The keys by which application events name a receiver.
const TARGET_KEYS: [&str; 4] = ["targetId", "targetUserId", "targetSocketId", "to"];

/// An occurrence of a server event: its position, receiver and message, and its cause.
type Seen<'t> = (usize, usize, &'t Message, &'t Cause);

/// An application event that the server relays.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Relay {
    pub(super) event: String,
    /// The name under which the others receive it.
    pub(super) renamed: Option<String>,
    /// Whether the sender receives it, too.
    pub(super) is_echoed: bool,
}

impl Relay {
    /// Returns the entry of `RELAY_EVENTS`.
    pub(super) fn setting(&self) -> String {
        let renamed = self.renamed.as_ref().map(|name| format!(">{name}")).unwrap_or_default();
        format!("{}{renamed}{}", self.event, if self.is_echoed { "!" } else { "" })
    }

    /// Returns whether Parlor relays it like this by default.
    pub(super) fn is_plain(&self) -> bool {
        self.renamed.is_none() && !self.is_echoed
    }
}

/// Finds the relayed events; those without effect are ignored by a rule.
pub(super) fn explain(
    trace: &Trace,
    membership: &Membership,
    timeline: &Timeline,
    attributed: &[Seen<'_>],
    draft: &mut Draft,
    unexplained: &mut Vec<Unexplained>,
) -> Vec<Relay> {
    let mut effects: BTreeMap<&str, Vec<Seen<'_>>> = BTreeMap::new();
    for seen in attributed {
        if let Action::Application(name) = &seen.3.action {
            effects.entry(name).or_default().push(*seen);
        }
    }
    let mut causes: BTreeMap<&str, Vec<&Cause>> = BTreeMap::new();
    for cause in &timeline.causes {
        if let Action::Application(name) = &cause.action {
            causes.entry(name).or_default().push(cause);
        }
    }
    let taken: BTreeSet<String> = draft.outs.iter().filter_map(|rule| rule.event.clone()).collect();
    let mut relays = Vec::new();
    for (name, causes) in causes {
        let effects = effects.remove(name).unwrap_or_default();
        if effects.iter().all(|(_, receiver, _, cause)| *receiver == cause.client) {
            for (_, _, message, _) in &effects {
                let reason = format!("answers `{name}` to its sender, with what the server knows");
                note(unexplained, &message.event, &reason, &message.args, 1);
            }
            // Without another client in the room, a relay leaves no trace.
            if !effects.is_empty() || causes.iter().any(|cause| cause.has_company) {
                let rule = InRule {
                    events: vec![name.to_owned()],
                    does: "ignore",
                    room: None,
                    rename: None,
                    args: Vec::new(),
                    seen: causes.len(),
                };
                draft.ins.push(rule);
            }
            continue;
        }
        relays.extend(relay(trace, membership, name, &effects, &taken, draft, unexplained));
    }
    relays
}

fn relay(
    trace: &Trace,
    membership: &Membership,
    name: &str,
    effects: &[Seen<'_>],
    taken: &BTreeSet<String>,
    draft: &mut Draft,
    unexplained: &mut Vec<Unexplained>,
) -> Option<Relay> {
    let mut names: BTreeMap<&str, usize> = BTreeMap::new();
    for (_, receiver, message, cause) in effects {
        *names.entry(&message.event).or_default() += usize::from(*receiver != cause.client);
    }
    let (other, _) = names.iter().max_by_key(|(other, count)| (**count, **other == name))?;
    let other = *other;
    for (_, _, message, _) in effects.iter().filter(|(_, _, message, _)| message.event != other) {
        note(
            unexplained,
            &message.event,
            &format!("sent after `{name}`, beside `{other}`"),
            &message.args,
            1,
        );
    }
    let effects: Vec<&Seen<'_>> =
        effects.iter().filter(|(_, _, message, _)| message.event == other).collect();
    if Profile::standard().reserves(other) || other.starts_with('$') || taken.contains(other) {
        let reason = format!("relayed from `{name}`, but its name is reserved for the server");
        note(unexplained, other, &reason, &effects[0].2.args, effects.len());
        return None;
    }
    let is_echoed = effects.iter().any(|(_, receiver, _, cause)| *receiver == cause.client);
    note_targets(trace, membership, name, &effects, unexplained);
    if !is_echoed && let Some(rule) = rule(trace, membership, name, other, &effects, unexplained) {
        draft.outs.push(rule);
        return None;
    }
    let mut noted = BTreeSet::new();
    for (_, _, message, cause) in effects.iter().take(32) {
        let What::Sent(sent) = &trace.entries[cause.index].what else { continue };
        for (place, reason, value) in differences(membership, cause.client, sent, message) {
            if noted.insert(place.clone()) {
                note(
                    unexplained,
                    &format!("{other}: {place}"),
                    reason,
                    std::slice::from_ref(value),
                    0,
                );
            }
        }
    }
    let renamed = (other != name).then(|| other.to_owned());
    if renamed.is_some() && !is_echoed {
        let (events, args) = (vec![name.to_owned()], Vec::new());
        draft.ins.push(InRule {
            events,
            does: "relay",
            room: None,
            rename: renamed,
            args,
            seen: effects.len(),
        });
        return None;
    }
    // No rule sends an event back to its sender, so that `RELAY_EVENTS` has to.
    Some(Relay { event: name.to_owned(), renamed, is_echoed })
}

/// Returns the rule for an event that arrives in another shape than it was sent; `None` if Parlor's
/// relay does without.
fn rule(
    trace: &Trace,
    membership: &Membership,
    name: &str,
    other: &str,
    effects: &[&Seen<'_>],
    unexplained: &mut Vec<Unexplained>,
) -> Option<OutRule> {
    let sent = |cause: &Cause| match &trace.entries[cause.index].what {
        What::Sent(sent) => Some(sent),
        _ => None,
    };
    let mut is_same = true;
    let mut samples: Vec<Sample<'_>> = Vec::new();
    for (_, receiver, message, cause) in effects.iter().take(MAX_SAMPLES) {
        let sent = sent(cause)?;
        is_same = is_same && differences(membership, cause.client, sent, message).is_empty();
        let context = Context {
            membership,
            room: cause.room.as_deref().unwrap_or(&membership.room),
            me: *receiver,
            other: Some(cause.client),
            other_name: "from",
            members: None,
            body: None,
            data: sent.args.first().filter(|first| first.is_object()),
        };
        samples.push((message.args.as_slice(), context));
    }
    if is_same {
        return None;
    }
    let mut gaps = Vec::new();
    let args = unify(&samples, &mut gaps);
    if is_unsaid(&args, &gaps) {
        // The relayed event as it was sent is closer than an event without arguments in common.
        return None;
    }
    unexplained.extend(gaps.into_iter().map(|gap| Unexplained::of_gap(other, gap, 0)));
    let (on, of, event) = (vec!["relay"], vec![name.to_owned()], Some(other.to_owned()));
    Some(OutRule {
        on,
        of,
        event,
        each: false,
        size: None,
        is_largest: false,
        args,
        seen: effects.len(),
    })
}

/// Lists events that only one client gets, if Parlor's relay does not recognize the recipient.
fn note_targets(
    trace: &Trace,
    membership: &Membership,
    name: &str,
    effects: &[&Seen<'_>],
    unexplained: &mut Vec<Unexplained>,
) {
    let mut by_cause: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (_, receiver, _, cause) in
        effects.iter().filter(|(_, receiver, _, cause)| *receiver != cause.client)
    {
        by_cause.entry(cause.index).or_default().push(*receiver);
    }
    for (_, _, message, cause) in effects {
        let others = cause.members.iter().filter(|member| **member != cause.client).count();
        let receivers = by_cause.get(&cause.index).map(Vec::as_slice).unwrap_or_default();
        let What::Sent(sent) = &trace.entries[cause.index].what else { continue };
        if receivers.len() >= others {
            continue;
        }
        let mut key: Option<Path> = None;
        shape::scalars(&sent.args, false, &mut |path, value| {
            let is_named =
                receivers.iter().any(|receiver| membership.identities[*receiver].is_named(value));
            if is_named && key.is_none() {
                key = Some(path.clone());
            }
        });
        let is_seen = key.as_ref().is_some_and(|path| {
            path.len() == 2
                && path[0] == Step::Index(0)
                && last_key(path).is_some_and(|key| TARGET_KEYS.contains(&key))
        });
        if !is_seen {
            let reason = format!(
                "`{name}` goes to some clients only; Parlor relays it to everyone in the room"
            );
            note(unexplained, &message.event, &reason, &message.args, 0);
            return;
        }
    }
}

/// Returns where a relayed event differs from what was sent, beyond the sender's keys.
fn differences<'m>(
    membership: &Membership,
    sender: usize,
    sent: &Message,
    received: &'m Message,
) -> Vec<(String, &'static str, &'m Value)> {
    let mut found = Vec::new();
    let sender = &membership.identities[sender];
    for (index, value) in received.args.iter().enumerate() {
        match (sent.args.get(index), value) {
            (Some(given), value) if given == value => {}
            (Some(Value::Object(given)), Value::Object(members)) if index == 0 => {
                for (key, value) in members {
                    let is_set = SenderFields::protected_names().contains(&key.as_str())
                        && sender.is_named(value);
                    if given.get(key) != Some(value) && !is_set {
                        found.push((format!("`{key}`"), shape::describe(value), value));
                    }
                }
            }
            _ => found.push((format!("argument {}", index + 1), "not what was sent", value)),
        }
    }
    found
}
