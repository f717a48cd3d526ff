//! Joins and leaves: the events for the joining client and for the others, and their rules.

use std::collections::{BTreeMap, BTreeSet};

use super::draft::{Draft, InRule, OutRule, pattern};
use super::membership::Membership;
use super::occasions::{self, Occasion};
use super::shape::{self, Path};
use super::template::{Context, Sample, Template, is_unsaid, unify};
use super::timeline::{Action, Cause, Timeline};
use super::{Unexplained, note};
use crate::record::trace::{Message, Trace, What};

/// An occurrence of a server event: its position, receiver and message, and its cause.
pub(super) type Seen<'t> = (usize, usize, &'t Message, &'t Cause);

/// The role of a receiver in a join or a leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Role {
    /// The joining client.
    Joiner,
    /// To the others, after a join.
    Joined,
    /// To the others, after a leave.
    Left,
    /// To the client that left.
    Leaver,
}

/// Adds the rules for the events that join and leave.
pub(super) fn requests(trace: &Trace, membership: &Membership, draft: &mut Draft) {
    let count =
        |name: &String| trace.sent().filter(|(_, _, message)| message.event == *name).count();
    for (name, shape) in &membership.joins {
        let variable = |name: String| Template::Variable(name);
        let mut bindings: Vec<(Path, Template)> = Vec::new();
        bindings.extend(shape.room.iter().map(|path| (path.clone(), variable("$room".to_owned()))));
        bindings.extend(shape.user.iter().map(|path| (path.clone(), variable("$user".to_owned()))));
        for meta in &shape.meta {
            let optional = if meta.is_optional { "?" } else { "" };
            bindings.push((meta.path.clone(), variable(format!("$meta.{}{optional}", meta.key))));
        }
        draft.ins.push(InRule {
            events: vec![name.clone()],
            does: "join",
            room: shape.room.is_none().then(|| membership.room.clone()),
            rename: None,
            args: pattern(&bindings),
            seen: count(name),
        });
    }
    for name in &membership.leaves {
        let mut room = None;
        let mut has_args = false;
        for (_, _, message) in trace.sent().filter(|(_, _, message)| message.event == *name) {
            has_args |= !message.args.is_empty();
            shape::scalars(&message.args, false, &mut |path, value| {
                if membership.is_room(value) {
                    room.get_or_insert(path.clone());
                }
            });
        }
        let args = match room {
            Some(path) => pattern(&[(path, Template::Variable("$room?".to_owned()))]),
            // Without `args`, the first argument would be taken for the room.
            None if has_args => vec![Template::Variable("$_".to_owned())],
            None => Vec::new(),
        };
        draft.ins.push(InRule {
            events: vec![name.clone()],
            does: "leave",
            room: None,
            rename: None,
            args,
            seen: count(name),
        });
    }
}

/// Adds the rules for the events after joins and leaves.
pub(super) fn explain(
    membership: &Membership,
    timeline: &Timeline,
    attributed: &[Seen<'_>],
    draft: &mut Draft,
    unexplained: &mut Vec<Unexplained>,
) {
    let mut order: Vec<&str> = Vec::new();
    let mut groups: BTreeMap<&str, BTreeMap<Role, Vec<Seen<'_>>>> = BTreeMap::new();
    for seen in attributed {
        let (_, receiver, message, cause) = *seen;
        let role = match (&cause.action, receiver == cause.client) {
            (Action::Join, true) => Role::Joiner,
            (Action::Join, false) => Role::Joined,
            (Action::Leave, false) => Role::Left,
            (Action::Leave, true) => Role::Leaver,
            _ => continue,
        };
        if !order.contains(&message.event.as_str()) {
            order.push(&message.event);
        }
        groups.entry(&message.event).or_default().entry(role).or_default().push(*seen);
    }
    for name in order {
        let Some(mut roles) = groups.remove(name) else { continue };
        if let Some(seen) = roles.remove(&Role::Leaver) {
            note(unexplained, name, "sent to the client that leaves", &seen[0].2.args, seen.len());
        }
        rules(membership, timeline, name, &roles, draft, unexplained);
    }
}

fn rules(
    membership: &Membership,
    timeline: &Timeline,
    name: &str,
    roles: &BTreeMap<Role, Vec<Seen<'_>>>,
    draft: &mut Draft,
    unexplained: &mut Vec<Unexplained>,
) {
    let has = |role| roles.contains_key(&role);
    if has(Role::Joined) && has(Role::Joiner) {
        let all = || roles.values().flatten().copied();
        let is_same = Same::of(all());
        let all = all().collect::<Vec<_>>();
        if is_same && has(Role::Left) {
            push_rules(
                membership,
                name,
                "users-changed",
                &all,
                &Occasion::Each,
                draft,
                unexplained,
            );
            return;
        }
        if is_same && let Some(size) = full_size(timeline, roles) {
            let occasion = Occasion::Sizes(BTreeSet::from([size]), false);
            push_rules(membership, name, "full", &all, &occasion, draft, unexplained);
            return;
        }
    }
    for (role, seen) in roles {
        let (on, (occasion, reason)) = match role {
            Role::Joiner => ("joined", occasions::of_joiner(membership, timeline, seen)),
            Role::Joined => ("peer-joined", occasions::of_others(timeline, seen)),
            Role::Left => ("peer-left", (Occasion::Each, None)),
            Role::Leaver => continue,
        };
        if push_rules(membership, name, on, seen, &occasion, draft, unexplained)
            && let Some(reason) = reason
        {
            note(unexplained, name, reason, &seen[0].2.args, 0);
        }
    }
}

/// Returns whether all receivers of each cause get the same arguments.
struct Same;

impl Same {
    fn of<'t>(seen: impl Iterator<Item = Seen<'t>>) -> bool {
        let mut sent: BTreeMap<usize, &Message> = BTreeMap::new();
        seen.into_iter().all(|(_, _, message, cause)| {
            sent.entry(cause.index).or_insert(message).args == message.args
        })
    }
}

/// Returns the room size at which everyone is notified, if that is the only one.
fn full_size(timeline: &Timeline, roles: &BTreeMap<Role, Vec<Seen<'_>>>) -> Option<usize> {
    let seen: Vec<&Seen<'_>> = roles.values().flatten().collect();
    let size = seen.first()?.3.members.len();
    let at: BTreeSet<usize> = seen.iter().map(|(_, _, _, cause)| cause.index).collect();
    let mut joins = timeline.causes.iter().filter(|cause| cause.action == Action::Join);
    joins.all(|cause| at.contains(&cause.index) == (cause.members.len() == size)).then_some(size)
}

/// Adds the rules for one event: one, or one for each size of the room at which it is sent. Returns
/// `false` if no rule expresses the event.
fn push_rules(
    membership: &Membership,
    name: &str,
    on: &'static str,
    seen: &[Seen<'_>],
    occasion: &Occasion,
    draft: &mut Draft,
    unexplained: &mut Vec<Unexplained>,
) -> bool {
    let each = *occasion == Occasion::EachPeer;
    let has_peer = matches!(on, "peer-joined" | "peer-left");
    let samples: Vec<Sample<'_>> = seen
        .iter()
        .map(|(_, receiver, message, cause)| {
            let other = if each {
                occasions::named_peer(membership, message, *receiver, cause)
            } else {
                has_peer.then_some(cause.client)
            };
            let context = Context {
                membership,
                room: cause.room.as_deref().unwrap_or(&membership.room),
                me: *receiver,
                other,
                other_name: "peer",
                members: Some(&cause.members),
                body: None,
                data: None,
            };
            (message.args.as_slice(), context)
        })
        .collect();
    let mut gaps = Vec::new();
    let args = unify(&samples, &mut gaps);
    if is_unsaid(&args, &gaps) {
        for (_, _, message, _) in seen {
            note(unexplained, name, &gaps[0].reason, &message.args, 1);
        }
        return false;
    }
    unexplained.extend(gaps.into_iter().map(|gap| Unexplained::of_gap(name, gap, 0)));
    let rule = OutRule {
        on: vec![on],
        of: Vec::new(),
        event: Some(name.to_owned()),
        each,
        size: None,
        is_largest: false,
        args,
        seen: seen.len(),
    };
    let Occasion::Sizes(sizes, has_largest) = occasion else {
        draft.outs.push(rule);
        return true;
    };
    for size in sizes {
        let seen = seen.iter().filter(|(_, _, _, cause)| cause.members.len() == *size).count();
        let is_largest = *has_largest && Some(size) == sizes.last();
        draft.outs.push(OutRule { size: Some(*size), is_largest, seen, ..rule.clone() });
    }
    true
}

/// Lists the events on connecting and in reply to signals, which rules cannot express.
pub(super) fn note_others(attributed: &[Seen<'_>], unexplained: &mut Vec<Unexplained>) {
    for (_, _, message, cause) in attributed {
        match &cause.action {
            Action::Connection => {
                note(unexplained, &message.event, "sent when a client connects", &message.args, 1);
            }
            Action::Signal(name) => {
                let reason = format!("sent after `{name}`, beside the signal");
                note(unexplained, &message.event, &reason, &message.args, 1);
            }
            _ => {}
        }
    }
}

/// Lists the acknowledgements with more arguments than Parlor's.
pub(super) fn note_acknowledgements(
    trace: &Trace,
    membership: &Membership,
    unexplained: &mut Vec<Unexplained>,
) {
    let mut pending: BTreeMap<(usize, u64), &Message> = BTreeMap::new();
    for entry in &trace.entries {
        match &entry.what {
            What::Sent(message) => {
                message.ack.map(|ack| pending.insert((entry.client, ack), message));
            }
            What::Acknowledged { ack, args } => {
                let Some(message) = pending.remove(&(entry.client, *ack)) else { continue };
                let is_join = membership.joins.contains_key(&message.event);
                if !is_own_acknowledgement(args, is_join) {
                    let name = format!("acknowledgement of {}", message.event);
                    note(
                        unexplained,
                        &name,
                        "Parlor acknowledges with { ok, success } and, for a join, its users",
                        args,
                        1,
                    );
                }
            }
            _ => {}
        }
    }
}

fn is_own_acknowledgement(args: &[serde_json::Value], is_join: bool) -> bool {
    const OF_JOIN: [&str; 4] = ["roomId", "userId", "socketId", "users"];
    match args {
        [] => true,
        [serde_json::Value::Object(members)] => members.iter().all(|(key, value)| {
            let is_success = (key == "ok" || key == "success") && value.as_bool() == Some(true);
            is_success || (is_join && OF_JOIN.contains(&key.as_str()))
        }),
        _ => false,
    }
}
