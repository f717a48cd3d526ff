//! The profile that is being inferred, and how it is written as TOML.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::Value;

use super::shape::{Path, Step};
use super::template::Template;

/// The pattern that matches anything.
const ANYTHING: &str = "$_";

/// Events of the Socket.IO libraries themselves.
const OF_LIBRARIES: [&str; 6] =
    ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"];

/// An `[[in]]` rule.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct InRule {
    pub(super) events: Vec<String>,
    pub(super) does: &'static str,
    /// The room that every event of the rule means.
    pub(super) room: Option<String>,
    /// The name under which the event is relayed, if that is another.
    pub(super) rename: Option<String>,
    pub(super) args: Vec<Template>,
    /// Number of times that the event was seen.
    pub(super) seen: usize,
}

/// An `[[out]]` rule.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct OutRule {
    pub(super) on: Vec<&'static str>,
    /// The names under which the sender sent it, if the rule is for those only.
    pub(super) of: Vec<String>,
    /// `None` sends nothing, in place of the standard event.
    pub(super) event: Option<String>,
    pub(super) each: bool,
    pub(super) size: Option<usize>,
    /// Whether larger rooms were not recorded, so that the rule may be for those, too.
    pub(super) is_largest: bool,
    pub(super) args: Vec<Template>,
    /// Number of times that the event was seen.
    pub(super) seen: usize,
}

/// A profile before it is written.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Draft {
    pub(super) ins: Vec<InRule>,
    pub(super) outs: Vec<OutRule>,
}

impl Draft {
    /// Adds rules that keep Parlor from sending what the recorded server does not.
    pub(super) fn silence(&mut self) {
        let is_sent = |on: &str| self.outs.iter().any(|rule| rule.on.contains(&on));
        let silent: Vec<&'static str> =
            ["joined", "peer-joined", "peer-left"].into_iter().filter(|on| !is_sent(on)).collect();
        if !silent.is_empty() {
            self.outs.push(OutRule {
                on: silent,
                of: Vec::new(),
                event: None,
                each: false,
                size: None,
                is_largest: false,
                args: Vec::new(),
                seen: 0,
            });
        }
    }

    /// Removes rules for events that a profile cannot name: those of the Socket.IO libraries
    /// themselves, and names that would be variables. Returns their names.
    pub(super) fn remove_reserved(&mut self) -> Vec<String> {
        let is_reserved =
            |event: &String| OF_LIBRARIES.contains(&event.as_str()) || event.starts_with('$');
        let mut removed = Vec::new();
        for rule in &mut self.ins {
            removed.extend(rule.events.extract_if(.., |event| is_reserved(event)));
        }
        self.ins.retain(|rule| !rule.events.is_empty());
        let outs = self.outs.extract_if(.., |rule| rule.event.as_ref().is_some_and(is_reserved));
        removed.extend(outs.filter_map(|rule| rule.event));
        removed
    }

    /// Removes rules that an earlier one for the same event keeps from matching; returns their
    /// events.
    pub(super) fn remove_dead(&mut self) -> Vec<String> {
        let mut known: BTreeMap<String, Vec<Vec<Template>>> = BTreeMap::new();
        let mut removed = Vec::new();
        for rule in &mut self.ins {
            let args = &rule.args;
            let mut is_dead = |event: &mut String| {
                let earlier = known.entry(event.clone()).or_default();
                let is_dead = earlier.iter().any(|it| it.is_empty() || it == args);
                earlier.push(args.clone());
                is_dead
            };
            removed.extend(rule.events.extract_if(.., |event| is_dead(event)));
        }
        self.ins.retain(|rule| !rule.events.is_empty());
        removed
    }

    /// Joins rules that differ by name only.
    pub(super) fn merge(&mut self) {
        let mut ins: Vec<InRule> = Vec::new();
        for rule in self.ins.drain(..) {
            match ins.iter_mut().find(|known| {
                (known.does, &known.args, &known.room, &known.rename)
                    == (rule.does, &rule.args, &rule.room, &rule.rename)
            }) {
                Some(known) => {
                    known.events.extend(rule.events);
                    known.seen += rule.seen;
                }
                None => ins.push(rule),
            }
        }
        self.ins = ins;
        let mut outs: Vec<OutRule> = Vec::new();
        for rule in self.outs.drain(..) {
            let is_alike = |known: &&mut OutRule| {
                // Lists mean the same for these alone: `joined` has no `$peer`.
                let is_signal = |on: &str| ["offer", "answer", "candidate"].contains(&on);
                is_signal(known.on[0])
                    && is_signal(rule.on[0])
                    && (&known.event, &known.args, &known.of) == (&rule.event, &rule.args, &rule.of)
            };
            match outs.iter_mut().find(is_alike) {
                Some(known) => {
                    known.on.extend(rule.on);
                    known.seen += rule.seen;
                }
                None => outs.push(rule),
            }
        }
        self.outs = outs;
    }

    /// Writes the profile; `comment` is put before it, each line as a comment.
    pub(super) fn to_toml(&self, name: &str, about: &str, comment: &str) -> String {
        let mut out = String::new();
        for line in comment.lines() {
            out.push_str(if line.is_empty() { "#" } else { "# " });
            out.extend(line.chars().filter(|letter| !letter.is_control()));
            out.push('\n');
        }
        if !comment.is_empty() {
            out.push('\n');
        }
        _ = writeln!(out, "name = {}\nabout = {}", quoted(name), quoted(about));
        for rule in &self.ins {
            out.push_str(&once(rule.seen));
            let events: Vec<String> = rule.events.iter().map(|event| quoted(event)).collect();
            _ = writeln!(out, "[[in]]\nevent = {}\ndoes = \"{}\"", one_or_many(&events), rule.does);
            if let Some(rename) = &rule.rename {
                _ = writeln!(out, "rename = {}", quoted(rename));
            }
            if let Some(room) = &rule.room {
                _ = writeln!(out, "room = {}", quoted(room));
            }
            push_args(&mut out, &rule.args);
        }
        for rule in &self.outs {
            out.push_str(&once(rule.seen));
            if rule.is_largest {
                out.push_str("# No larger room was recorded: if the server sends this in those, too, copy the rule.\n");
            }
            let on: Vec<String> = rule.on.iter().map(|on| quoted(on)).collect();
            _ = writeln!(out, "[[out]]\non = {}", one_or_many(&on));
            if !rule.of.is_empty() {
                let of: Vec<String> = rule.of.iter().map(|of| quoted(of)).collect();
                _ = writeln!(out, "of = {}", one_or_many(&of));
            }
            match &rule.event {
                Some(event) => _ = writeln!(out, "event = {}", quoted(event)),
                None => out.push_str("# No event: nothing is sent, as the recorded server does.\n"),
            }
            if rule.each {
                out.push_str("each = \"peers\"\n");
            }
            if let Some(size) = rule.size {
                _ = writeln!(out, "size = {size}");
            }
            push_args(&mut out, &rule.args);
        }
        out
    }
}

fn once(seen: usize) -> String {
    if seen == 1 { "\n# Seen once only.\n".to_owned() } else { "\n".to_owned() }
}

fn one_or_many(quoted: &[String]) -> String {
    if let [one] = quoted { one.clone() } else { format!("[{}]", quoted.join(", ")) }
}

fn push_args(out: &mut String, args: &[Template]) {
    if !args.is_empty() {
        let args: Vec<String> = args.iter().map(toml).collect();
        _ = writeln!(out, "args = [{}]", args.join(", "));
    }
}

fn toml(template: &Template) -> String {
    match template {
        Template::Variable(name) => quoted(name),
        Template::Literal(value) => literal(value),
        Template::Array(values) => {
            format!("[{}]", values.iter().map(toml).collect::<Vec<_>>().join(", "))
        }
        Template::Object(members) if members.is_empty() => "{}".to_owned(),
        Template::Object(members) => {
            let members: Vec<String> = members
                .iter()
                .map(|(name, value)| format!("{} = {}", key(name), toml(value)))
                .collect();
            format!("{{ {} }}", members.join(", "))
        }
    }
}

fn literal(value: &Value) -> String {
    match value {
        // A dollar sign at the start is doubled, so that it is no variable.
        Value::String(text) if text.starts_with('$') => quoted(&format!("${text}")),
        Value::String(text) => quoted(text),
        Value::Null => quoted("$me.null"),
        // Integers beyond 64 bits are floats in TOML.
        Value::Number(number) if number.is_u64() && number.as_i64().is_none() => {
            format!("{number}.0")
        }
        value => value.to_string(),
    }
}

fn key(name: &str) -> String {
    let is_bare = !name.is_empty()
        && name
            .chars()
            .all(|letter| letter.is_ascii_alphanumeric() || letter == '_' || letter == '-');
    if is_bare { name.to_owned() } else { quoted(name) }
}

fn quoted(text: &str) -> String {
    // JSON's escapes are TOML's; DEL is the one character that only TOML escapes.
    Value::from(text).to_string().replace('\u{7f}', "\\u007F")
}

/// Builds the `args` of an `[[in]]` rule from variables and where they are.
pub(super) fn pattern(bindings: &[(Path, Template)]) -> Vec<Template> {
    let mut args: Vec<Template> = Vec::new();
    for (path, value) in bindings {
        let Some((Step::Index(index), rest)) = path.split_first() else { continue };
        while args.len() <= *index {
            args.push(Template::Variable(ANYTHING.to_owned()));
        }
        insert(&mut args[*index], rest, value);
    }
    args
}

/// Inserts a value; where the shapes of events contradict each other, the first binding stays.
fn insert(into: &mut Template, path: &[Step], value: &Template) {
    let is_free = matches!(into, Template::Variable(name) if name == ANYTHING);
    match path.split_first() {
        None if is_free => *into = value.clone(),
        Some((Step::Key(key), rest)) => {
            if is_free {
                *into = Template::Object(BTreeMap::new());
            }
            if let Template::Object(members) = into {
                insert(
                    members.entry(key.clone()).or_insert(Template::Variable(ANYTHING.to_owned())),
                    rest,
                    value,
                );
            }
        }
        None | Some((Step::Index(_), _)) => {}
    }
}
