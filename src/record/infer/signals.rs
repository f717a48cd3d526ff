//! Infers the rules for signals: the events that carry descriptions and candidates, and their
//! recipients.

mod delivered;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::Value;

use self::delivered::template;
use super::draft::{Draft, InRule, OutRule, pattern};
use super::membership::Membership;
use super::shape::{self, Kind, Path, last_key};
use super::template::Template;
use super::timeline::Timeline;
use super::{Unexplained, note};
use crate::record::trace::{Message, Trace, What};

/// Maximum number of earlier events with the same body that are considered as the origin of a
/// delivery.
const MAX_ORIGINS: usize = 16;

/// Maximum number of server events after a signal with an empty body that are considered as its
/// delivery.
const MAX_DISTANCE: usize = 24;

/// A signal and its deliveries, by position in the trace.
struct Delivery {
    sent: usize,
    received: Vec<usize>,
}

/// A signal and one delivery, by position in the trace, and where the signal has its body.
type Pair = (usize, usize, Path);

/// The signals of one event name whose body is in the same place.
struct Variant {
    event: String,
    body: Path,
    kinds: BTreeSet<Kind>,
    /// Whether the body is a text, which does not name its type.
    is_text: bool,
    deliveries: Vec<Delivery>,
}

/// Returns the names of signal events: each occurrence has a description or candidate, or the null
/// that ends candidates.
pub(super) fn names(trace: &Trace) -> BTreeSet<String> {
    let mut paths: BTreeMap<&str, BTreeSet<Path>> = BTreeMap::new();
    for (_, _, message) in trace.sent() {
        if let Some((path, _)) = shape::find_signal(&message.args) {
            paths.entry(&message.event).or_default().insert(path);
        }
    }
    for (_, _, message) in trace.sent() {
        let Some(known) = paths.get(message.event.as_str()) else { continue };
        if shape::find_signal(&message.args).is_none() && empty_body(&message.args, known).is_none()
        {
            paths.remove(message.event.as_str());
        }
    }
    paths.into_keys().map(str::to_owned).collect()
}

/// Returns the path of an empty body, which ends candidates.
fn empty_body(args: &[Value], paths: &BTreeSet<Path>) -> Option<Path> {
    let is_empty = |path: &&Path| match shape::at(args, path) {
        None | Some(Value::Null) => true,
        Some(Value::String(text)) => text.is_empty(),
        Some(Value::Object(members)) => {
            members.get("candidate").is_some_and(|it| it.as_str() == Some(""))
        }
        _ => false,
    };
    paths.iter().find(is_empty).cloned()
}

/// Finds the rules for signals; returns the positions of the server events that deliver them.
pub(super) fn explain(
    trace: &Trace,
    membership: &Membership,
    timeline: &Timeline,
    names: &BTreeSet<String>,
    draft: &mut Draft,
    unexplained: &mut Vec<Unexplained>,
) -> BTreeSet<usize> {
    let variants = variants(trace, names);
    let mut outs: BTreeMap<(Kind, String), Vec<Pair>> = BTreeMap::new();
    for variant in &variants {
        draft.ins.push(in_rule(trace, membership, &variants, variant));
        for delivery in &variant.deliveries {
            let Some(kind) = kind_of(trace, variant, delivery.sent) else { continue };
            for received in &delivery.received {
                let name = message(trace, *received).event.clone();
                outs.entry((kind, name)).or_default().push((
                    delivery.sent,
                    *received,
                    variant.body.clone(),
                ));
            }
        }
    }
    for kind in [Kind::Offer, Kind::Answer, Kind::Candidate] {
        let mut groups: Vec<(&String, &Vec<Pair>)> = outs
            .iter()
            .filter(|((of, _), _)| *of == kind)
            .map(|((_, name), pairs)| (name, pairs))
            .collect();
        groups.sort_by_key(|(_, pairs)| std::cmp::Reverse(pairs.len()));
        let origins: Vec<BTreeSet<&str>> = groups
            .iter()
            .map(|(_, pairs)| {
                pairs.iter().map(|(sent, _, _)| message(trace, *sent).event.as_str()).collect()
            })
            .collect();
        for (index, (name, pairs)) in groups.iter().enumerate() {
            let is_ambiguous =
                origins[..index].iter().any(|earlier| !earlier.is_disjoint(&origins[index]));
            if is_ambiguous {
                let reason =
                    format!("a second name for {}, which rules cannot choose", name_of(kind));
                note(unexplained, name, &reason, &message(trace, pairs[0].1).args, pairs.len());
                continue;
            }
            let (args, gaps) = template(trace, membership, timeline, pairs);
            unexplained.extend(gaps.into_iter().map(|gap| Unexplained::of_gap(name, gap, 0)));
            // Events of different names are distinguished by the sender's name for them.
            let of = if groups.len() > 1 {
                origins[index].iter().map(|of| (*of).to_owned()).collect()
            } else {
                Vec::new()
            };
            let (on, event) = (vec![name_of(kind)], Some((*name).clone()));
            draft.outs.push(OutRule {
                on,
                of,
                event,
                each: false,
                size: None,
                is_largest: false,
                args,
                seen: pairs.len(),
            });
        }
    }
    variants
        .iter()
        .flat_map(|variant| &variant.deliveries)
        .flat_map(|delivery| delivery.received.iter().copied())
        .collect()
}

fn name_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Offer => "offer",
        Kind::Answer => "answer",
        Kind::Candidate => "candidate",
    }
}

/// Returns the event at a position of the trace, which must be an event.
fn message(trace: &Trace, index: usize) -> &Message {
    static NONE: Message =
        Message { event: String::new(), args: Vec::new(), ack: None, attachments: 0 };
    match &trace.entries[index].what {
        What::Sent(message) | What::Received(message) => message,
        _ => &NONE,
    }
}

fn variants(trace: &Trace, names: &BTreeSet<String>) -> Vec<Variant> {
    let mut variants: Vec<Variant> = Vec::new();
    let mut paths: BTreeMap<&str, BTreeSet<Path>> = BTreeMap::new();
    let mut variant_of: HashMap<usize, usize> = HashMap::new();
    let mut by_body: HashMap<String, Vec<usize>> = HashMap::new();
    for (index, _, message) in trace.sent().filter(|(_, _, message)| names.contains(&message.event))
    {
        let known = paths.entry(&message.event).or_default();
        let found = shape::find_signal(&message.args);
        let (path, kind) = match found {
            Some((path, kind)) => (path, kind),
            // The end of candidates follows other candidates.
            None => match empty_body(&message.args, known) {
                Some(path) => (path, Kind::Candidate),
                None => continue,
            },
        };
        let body = shape::at(&message.args, &path);
        if let Some(body) = body.filter(|body| shape::signal(body).is_some()) {
            by_body.entry(body.to_string()).or_default().push(index);
        }
        let is_text = body.is_some_and(Value::is_string);
        let kind = if is_text && kind != Kind::Candidate { text_kind(message) } else { kind };
        known.insert(path.clone());
        let is_same = |variant: &Variant| {
            variant.event == message.event
                && variant.body == path
                && (!variant.is_text || variant.kinds.contains(&kind))
        };
        let position = variants.iter().position(is_same).unwrap_or_else(|| {
            let (event, kinds) = (message.event.clone(), BTreeSet::new());
            variants.push(Variant { event, body: path, kinds, is_text, deliveries: Vec::new() });
            variants.len() - 1
        });
        variants[position].kinds.insert(kind);
        variants[position].deliveries.push(Delivery { sent: index, received: Vec::new() });
        variant_of.insert(index, position);
    }
    let deliveries = deliver(trace, &by_body, &variant_of, &variants);
    for variant in &mut variants {
        for delivery in &mut variant.deliveries {
            delivery.received = deliveries.get(&delivery.sent).cloned().unwrap_or_default();
        }
    }
    variants
}

/// Returns whether a description that is a text is an answer, judged by the event name and the keys
/// beside it.
fn text_kind(message: &Message) -> Kind {
    let mut words = message.event.to_lowercase();
    shape::scalars(&message.args, false, &mut |path, value| {
        if last_key(path).is_some_and(|key| key.contains("type"))
            && let Some(text) = value.as_str().filter(|text| text.len() < 32)
        {
            words.push_str(&text.to_lowercase());
        }
    });
    let is_answer =
        ["answer", "accept", "return", "response", "reply"].iter().any(|word| words.contains(word));
    if is_answer { Kind::Answer } else { Kind::Offer }
}

/// Finds the deliveries of each signal by its body; those of signals without a body, by the event
/// name of other deliveries.
fn deliver(
    trace: &Trace,
    by_body: &HashMap<String, Vec<usize>>,
    variant_of: &HashMap<usize, usize>,
    variants: &[Variant],
) -> BTreeMap<usize, Vec<usize>> {
    let mut found: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    let mut delivered_as: BTreeSet<(usize, &str)> = BTreeSet::new();
    let mut taken: BTreeSet<usize> = BTreeSet::new();
    for (index, client, message) in trace.received() {
        let Some((path, _)) = shape::find_signal(&message.args) else { continue };
        let Some(body) = shape::at(&message.args, &path) else { continue };
        let origins = by_body.get(&body.to_string()).map(Vec::as_slice).unwrap_or_default();
        let until = origins.partition_point(|origin| *origin < index);
        let recent = origins[..until].iter().rev().take(MAX_ORIGINS).copied();
        let recent: Vec<usize> =
            recent.filter(|origin| trace.entries[*origin].client != client).collect();
        let has_it = |origin: &&usize| {
            found
                .get(*origin)
                .is_some_and(|all| all.iter().any(|it| trace.entries[*it].client == client))
        };
        let Some(origin) = recent.iter().find(|origin| !has_it(origin)).or(recent.first()) else {
            continue;
        };
        found.entry(*origin).or_default().push(index);
        taken.insert(index);
        if let Some(variant) = variant_of.get(origin) {
            delivered_as.insert((*variant, &message.event));
        }
    }
    for (variant, sent) in variants
        .iter()
        .enumerate()
        .flat_map(|(at, it)| it.deliveries.iter().map(move |one| (at, one.sent)))
    {
        if shape::at(&message(trace, sent).args, &variants[variant].body)
            .is_some_and(|body| shape::signal(body).is_some())
        {
            continue;
        }
        let mut receivers = BTreeSet::new();
        for (index, entry) in trace.entries.iter().enumerate().skip(sent + 1).take(MAX_DISTANCE) {
            let What::Received(received) = &entry.what else { continue };
            let is_delivery = delivered_as.contains(&(variant, received.event.as_str()))
                && shape::find_signal(&received.args).is_none();
            if is_delivery
                && entry.client != trace.entries[sent].client
                && !taken.contains(&index)
                && receivers.insert(entry.client)
            {
                taken.insert(index);
                found.entry(sent).or_default().push(index);
            }
        }
    }
    found
}

fn kind_of(trace: &Trace, variant: &Variant, sent: usize) -> Option<Kind> {
    let body = shape::at(&message(trace, sent).args, &variant.body);
    if variant.is_text {
        return variant.kinds.first().copied();
    }
    body.and_then(shape::signal)
}

fn in_rule(
    trace: &Trace,
    membership: &Membership,
    variants: &[Variant],
    variant: &Variant,
) -> InRule {
    let does = match variant.kinds.iter().collect::<Vec<_>>()[..] {
        [Kind::Offer] => "offer",
        [Kind::Answer] => "answer",
        [Kind::Candidate] => "candidate",
        _ => "signal",
    };
    let variable = |name: &str| Template::Variable(name.to_owned());
    let mut bindings = vec![(variant.body.clone(), variable("$body"))];
    if let Some(path) = target(trace, membership, variant) {
        bindings.push((path, variable("$target")));
    }
    let sent: Vec<&Message> =
        variant.deliveries.iter().map(|delivery| message(trace, delivery.sent)).collect();
    for path in common_paths(&sent).into_iter().filter(|path| !path.starts_with(&variant.body)) {
        let values = || sent.iter().filter_map(|message| shape::at(&message.args, &path));
        if values().all(|value| membership.is_room(value)) {
            bindings.push((path, variable("$room")));
            break;
        }
    }
    // Texts of different types under one name are distinguished by the keys beside them.
    let siblings =
        variants.iter().filter(|other| other.event == variant.event && other.body == variant.body);
    if siblings.count() > 1 {
        let parent = &variant.body[..variant.body.len() - 1];
        for path in common_paths(&sent)
            .into_iter()
            .filter(|path| path.starts_with(parent) && path.len() == variant.body.len())
        {
            let first = shape::at(&sent[0].args, &path);
            let is_constant = sent.iter().all(|message| shape::at(&message.args, &path) == first);
            if let (true, Some(Value::String(text)), Some("type")) =
                (is_constant, first, last_key(&path))
            {
                bindings.push((path, Template::Literal(Value::from(text.as_str()))));
            }
        }
    }
    InRule {
        events: vec![variant.event.clone()],
        does,
        room: None,
        rename: None,
        args: pattern(&bindings),
        seen: sent.len(),
    }
}

/// Returns the paths of scalars that all of these events have.
fn common_paths(messages: &[&Message]) -> Vec<Path> {
    let mut paths = Vec::new();
    if let Some(first) = messages.first() {
        shape::scalars(&first.args, false, &mut |path, _| paths.push(path.clone()));
    }
    paths.retain(|path| messages.iter().all(|message| shape::at(&message.args, path).is_some()));
    paths
}

/// Returns where the signals name their receiver.
fn target(trace: &Trace, membership: &Membership, variant: &Variant) -> Option<Path> {
    let targeted: Vec<(&Message, usize)> = variant
        .deliveries
        .iter()
        .filter(|delivery| delivery.received.len() == 1)
        .map(|delivery| (message(trace, delivery.sent), trace.entries[delivery.received[0]].client))
        .collect();
    let messages: Vec<&Message> = targeted.iter().map(|(message, _)| *message).collect();
    let names_receiver = |path: &Path| {
        targeted.iter().all(|(message, receiver)| {
            shape::at(&message.args, path)
                .is_some_and(|value| membership.identities[*receiver].is_named(value))
        })
    };
    let mut paths = common_paths(&messages);
    paths.retain(|path| !path.starts_with(&variant.body));
    paths.into_iter().find(names_receiver)
}
