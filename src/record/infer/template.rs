//! Templates: what the arguments of one server event have in common over all its occurrences.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::membership::Membership;
use super::shape::{self, Path, Shown, Step};

/// Maximum number of occurrences that are compared: further ones add no information.
pub(super) const MAX_SAMPLES: usize = 64;

/// Maximum length of a text that counts as a constant although it occurred only once.
const MAX_LITERAL: usize = 24;

/// The arguments of an `[[out]]` rule.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Template {
    /// A variable, with its dollar sign.
    Variable(String),
    /// A value that is always the same.
    Literal(Value),
    /// An object.
    Object(BTreeMap<String, Template>),
    /// An array of fixed length.
    Array(Vec<Template>),
}

/// The values from which one occurrence of a server event is explained.
#[derive(Debug, Clone)]
pub(super) struct Context<'t> {
    pub(super) membership: &'t Membership,
    pub(super) room: &'t str,
    /// The receiver.
    pub(super) me: usize,
    /// The peer that the event is about, or the sender of a signal.
    pub(super) other: Option<usize>,
    /// The variable of that peer: `peer` or `from`.
    pub(super) other_name: &'static str,
    /// The members of the room, the receiver included, in join order; `None` where rules know no
    /// list.
    pub(super) members: Option<&'t [usize]>,
    /// The description or candidate.
    pub(super) body: Option<&'t Value>,
    /// The first argument of the sender's event.
    pub(super) data: Option<&'t Value>,
}

/// A part of a server event that no template expresses.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Gap {
    /// The place of the part, as JavaScript would write it.
    pub(super) place: String,
    /// The reason why no variable expresses it.
    pub(super) reason: String,
    /// An example from the trace.
    pub(super) example: String,
    /// Whether it is an argument, rather than a part of one.
    pub(super) is_whole: bool,
}

/// One occurrence: its arguments, and what they are explained from.
pub(super) type Sample<'t> = (&'t [Value], Context<'t>);

/// Finds the template of all occurrences; parts that it cannot express are appended to `gaps`.
pub(super) fn unify(samples: &[Sample<'_>], gaps: &mut Vec<Gap>) -> Vec<Template> {
    let samples = &samples[..samples.len().min(MAX_SAMPLES)];
    let length = samples.iter().map(|(args, _)| args.len()).max().unwrap_or_default();
    (0..length)
        .map(|index| {
            let values: Vec<_> =
                samples.iter().map(|(args, context)| (args.get(index), context)).collect();
            let mut path = vec![Step::Index(index)];
            // An argument that cannot be expressed keeps its position.
            value(&values, &mut path, gaps).unwrap_or_else(null)
        })
        .collect()
}

/// Returns whether a template expresses none of the arguments: each is a gap.
pub(super) fn is_unsaid(args: &[Template], gaps: &[Gap]) -> bool {
    let is_whole = |gap: &Gap| gap.is_whole;
    !args.is_empty() && gaps.iter().filter(|gap| is_whole(gap)).count() == args.len()
}

/// Returns a template for null, which TOML does not have: metadata that no peer has expands to it.
fn null() -> Template {
    Template::Variable("$me.null".to_owned())
}

type Values<'s, 't> = [(Option<&'s Value>, &'s Context<'t>)];

fn value(samples: &Values<'_, '_>, path: &mut Path, gaps: &mut Vec<Gap>) -> Option<Template> {
    let present: Vec<(&Value, &Context<'_>)> =
        samples.iter().filter_map(|(value, context)| Some(((*value)?, *context))).collect();
    let (first, _) = *present.first()?;
    if present.iter().all(|(value, context)| context.body == Some(*value)) {
        return Some(Template::Variable("$body".to_owned()));
    }
    let is_object = present.iter().all(|(value, _)| value.is_object());
    if is_object || present.iter().all(|(value, _)| value.is_array()) {
        let mut inner = Vec::new();
        let template = if is_object {
            Some(object(&present, path, &mut inner))
        } else {
            list(&present, path, &mut inner)
        };
        if !inner.is_empty()
            && let Some(key) = copied(&present)
        {
            return Some(Template::Variable(format!("$data.{key}")));
        }
        gaps.append(&mut inner);
        return template;
    }
    if present.iter().all(|(value, _)| value.is_null()) {
        return Some(null());
    }
    let is_missing =
        present.len() < samples.len() || present.iter().any(|(value, _)| value.is_null());
    let filled: Vec<_> = present.iter().copied().filter(|(value, _)| !value.is_null()).collect();
    if let Some(variable) = variable(&filled, shape::last_key(path)) {
        return Some(Template::Variable(if is_missing {
            format!("{variable}?")
        } else {
            variable
        }));
    }
    let is_constant = present.iter().all(|(value, _)| *value == first);
    let is_fixed =
        is_constant && !is_missing && !shape::is_epoch_time(first) && !shape::is_iso_time(first);
    // One occurrence of a long text says nothing about the next.
    let is_plain = present.len() > 1 || first.as_str().is_none_or(|text| text.len() <= MAX_LITERAL);
    // The id of a recorded client means nothing to the next.
    let names_client = present.iter().any(|(_, context)| context.membership.names_socket(first));
    if is_fixed && is_plain && !names_client {
        return Some(Template::Literal(first.clone()));
    }
    gap(path, shape::describe(filled.first().map_or(first, |(value, _)| value)), first, gaps);
    None
}

fn gap(path: &Path, reason: &str, value: &Value, gaps: &mut Vec<Gap>) {
    gaps.push(Gap {
        place: Shown(path).to_string(),
        reason: reason.to_owned(),
        example: shape::example(value),
        is_whole: path.len() == 1,
    });
}

/// Returns the key of the sender's object whose value is passed on as it is.
fn copied<'s>(present: &[(&Value, &Context<'s>)]) -> Option<&'s String> {
    let (first, context) = present.first()?;
    let mut keys = context
        .data?
        .as_object()?
        .iter()
        .filter(|(key, value)| value == first && is_plain_key(key));
    let is_copied = |key: &String| {
        present
            .iter()
            .all(|(value, context)| context.data.and_then(|data| data.get(key)) == Some(*value))
    };
    keys.find(|(key, _)| is_copied(key)).map(|(key, _)| key)
}

/// Returns whether a key can be written in the name of a variable.
fn is_plain_key(key: &str) -> bool {
    !key.is_empty()
        && key
            .chars()
            .all(|letter| letter.is_ascii_alphanumeric() || letter == '_' || letter == '-')
}

fn object(present: &[(&Value, &Context<'_>)], path: &mut Path, gaps: &mut Vec<Gap>) -> Template {
    let keys: BTreeSet<&String> = present
        .iter()
        .filter_map(|(value, _)| value.as_object())
        .flat_map(|it| it.keys())
        .collect();
    let mut members = BTreeMap::new();
    for key in keys {
        path.push(Step::Key(key.clone()));
        let values: Vec<_> =
            present.iter().map(|(value, context)| (value.get(key), *context)).collect();
        if let Some(template) = value(&values, path, gaps) {
            members.insert(key.clone(), template);
        }
        path.pop();
    }
    Template::Object(members)
}

/// Returns the most specific variable that equals the value in every occurrence.
fn variable(samples: &[(&Value, &Context<'_>)], key: Option<&str>) -> Option<String> {
    let (first, rest) = samples.split_first()?;
    let mut candidates = variables(first.0, first.1, key);
    for (value, context) in rest {
        let others = variables(value, context, key);
        candidates.retain(|candidate| others.contains(candidate));
    }
    // A flag or a number that never changes is rather a constant.
    let is_constant = rest.iter().all(|(value, _)| *value == first.0);
    let is_named_for = |name: &str| key.is_some_and(|key| name.rsplit('.').next() == Some(key));
    candidates.retain(|name| match first.0 {
        Value::Bool(_) => is_named_for(name) || !is_constant,
        Value::Number(_) if name == "$count" => !is_constant || key.is_some_and(is_count_key),
        _ => true,
    });
    let rank = |name: &String| match name.as_str() {
        // The sender's own claims have the lowest rank.
        name if name.starts_with("$data") => 3,
        name if name.starts_with('$') && is_named_for(name) => 0,
        "$room" => 1,
        _ => 2,
    };
    candidates.iter().min_by_key(|name| rank(name)).cloned()
}

fn is_count_key(key: &str) -> bool {
    let key = key.to_lowercase();
    ["count", "size", "num", "total", "length", "users", "participants", "clients"]
        .iter()
        .any(|word| key.contains(word))
}

/// Returns the variables that equal a scalar, the most specific first.
fn variables(value: &Value, context: &Context<'_>, key: Option<&str>) -> Vec<String> {
    let mut found = Vec::new();
    let membership = context.membership;
    let parties = context
        .other
        .map(|other| (context.other_name, other))
        .into_iter()
        .chain([("me", context.me)]);
    for (name, client) in parties {
        let identity = &membership.identities[client];
        let is_socket =
            value.as_str().is_some_and(|text| !text.is_empty() && text == identity.socket_id);
        if is_socket {
            found.push(format!("${name}.socketId"));
        }
        if identity.user.as_ref() == Some(value) {
            found.push(format!("${name}.userId"));
        }
        for (meta, stated) in &identity.meta {
            // That two flags or small numbers are equal is no evidence, unless their keys are, too.
            let is_telling = value.is_string() || Some(meta.as_str()) == key;
            if stated == value && is_telling && !value.as_str().is_some_and(str::is_empty) {
                found.extend(is_plain_key(meta).then(|| format!("${name}.{meta}")));
            }
        }
    }
    if shape::id(value).is_some_and(|text| text == context.room) {
        found.push("$room".to_owned());
    }
    if let Some(members) = context.members {
        if value.as_u64() == Some(members.len() as u64) {
            found.push("$count".to_owned());
        }
        if value.as_bool() == Some(members.first() == Some(&context.me)) {
            found.push("$first".to_owned());
        }
    }
    for (name, sent) in context.data.and_then(Value::as_object).into_iter().flatten() {
        let is_telling =
            (value.is_string() && value.as_str() != Some("")) || Some(name.as_str()) == key;
        if sent == value && is_telling && is_plain_key(name) {
            found.push(format!("$data.{name}"));
        }
    }
    if shape::is_iso_time(value) {
        found.push("$now".to_owned());
    }
    found
}

/// Returns a list of peers, or an array whose elements are expressed one by one.
fn list(
    present: &[(&Value, &Context<'_>)],
    path: &mut Path,
    gaps: &mut Vec<Gap>,
) -> Option<Template> {
    let all = |variable: &str, matches: &dyn Fn(&[Value], &Context<'_>) -> bool| {
        let is_match = present
            .iter()
            .all(|(value, context)| value.as_array().is_some_and(|list| matches(list, context)));
        is_match.then(|| Template::Variable(variable.to_owned()))
    };
    let has_elements =
        present.iter().any(|(value, _)| value.as_array().is_some_and(|list| !list.is_empty()));
    if !has_elements {
        // No list had an element: the first joiner's empty list, rather than a list that is always
        // empty.
        return present[0]
            .1
            .members
            .map(|_| Template::Variable("$peers".to_owned()))
            .or(Some(Template::Array(Vec::new())));
    }
    let by_id = |variable: &str, id: &dyn Fn(&Membership, usize) -> Option<Value>| {
        all(variable, &|list, context| {
            let others = others(context);
            list.len() == others.len()
                && others.iter().all(|other| {
                    id(context.membership, *other).is_some_and(|id| list.contains(&id))
                })
        })
    };
    let ids = by_id("$peers.socketIds", &|membership, client| {
        Some(Value::from(membership.identities[client].socket_id.as_str()))
    })
    .or_else(|| {
        by_id("$peers.userIds", &|membership, client| membership.identities[client].user.clone())
    });
    if ids.is_some() {
        return ids;
    }
    for (variable, includes_me) in [("$peers", false), ("$users", true)] {
        let template = all(variable, &|list, context| lists(list, context, includes_me));
        if template.is_some() {
            let mut missing = BTreeMap::new();
            for (value, context) in present {
                for element in value.as_array().into_iter().flatten() {
                    unsaid_keys(element, context, &mut missing);
                }
            }
            for (key, value) in missing {
                path.push(Step::Index(0));
                path.push(Step::Key(key));
                gap(path, "not a key of the peers in Parlor's lists", value, gaps);
                path.pop();
                path.pop();
            }
            return template;
        }
    }
    gap(path, shape::describe(present[0].0), present[0].0, gaps);
    None
}

fn others(context: &Context<'_>) -> Vec<usize> {
    let members = context.members.unwrap_or_default();
    members.iter().copied().filter(|member| *member != context.me).collect()
}

/// Returns whether a list has one object for each peer, each with something that names the peer.
fn lists(list: &[Value], context: &Context<'_>, includes_me: bool) -> bool {
    let Some(members) = context.members else { return false };
    let wanted = if includes_me { members.to_vec() } else { others(context) };
    let is_of = |element: &Value, client: usize| {
        let values = element.as_object().into_iter().flat_map(|members| members.values());
        let identity = &context.membership.identities[client];
        let mut values = values.filter(|value| !context.membership.is_room(value));
        values.any(|value| {
            identity.is_named(value)
                || identity.meta.values().any(|meta| meta == value && value.is_string())
        })
    };
    list.len() == wanted.len()
        && wanted.iter().all(|client| list.iter().any(|element| is_of(element, *client)))
}

/// Returns the keys of an element that the peer object does not have with that value.
fn unsaid_keys<'v>(
    element: &'v Value,
    context: &Context<'_>,
    missing: &mut BTreeMap<String, &'v Value>,
) {
    let Some(members) = element.as_object() else { return };
    let clients = context.members.unwrap_or_default();
    let client = members.values().find_map(|value| context.membership.named_among(value, clients));
    for (key, value) in members {
        let identity = client.map(|client| &context.membership.identities[client]);
        let id = |identity: &super::membership::Identity| {
            identity.user.clone().unwrap_or_else(|| Value::from(identity.socket_id.as_str()))
        };
        let is_expressed = match key.as_str() {
            "id" | "userId" => identity.is_some_and(|identity| id(identity) == *value),
            "socketId" => {
                identity.is_some_and(|identity| value.as_str() == Some(identity.socket_id.as_str()))
            }
            "roomId" => context.membership.is_room(value),
            "joinedAt" => shape::is_iso_time(value),
            key => identity.is_some_and(|identity| identity.meta.get(key) == Some(value)),
        };
        if !is_expressed {
            missing.entry(key.clone()).or_insert(value);
        }
    }
}
