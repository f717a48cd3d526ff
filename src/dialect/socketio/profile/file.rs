//! Profile files: TOML in, a compiled [`Profile`] out, or what is wrong with it and in which line.

use std::collections::HashMap;

use serde::Deserialize;
use toml::Spanned;

use super::pattern::{Pattern, Variable};
use super::rule::{Does, InRule, Name, On, OutRule};
use super::template::Template;
use super::{Profile, is_socketio_name, suggestion};
use crate::dialect::message;
use crate::id::RoomId;

/// An error in the file of a profile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {message}")]
pub struct ProfileError {
    /// The path or name that the profile was read from.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The mistake, and what is accepted.
    pub message: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: Spanned<String>,
    #[serde(default)]
    about: String,
    #[serde(default)]
    default: bool,
    #[serde(default, rename = "in")]
    incoming: Vec<Spanned<Incoming>>,
    #[serde(default, rename = "out")]
    outgoing: Vec<Spanned<Outgoing>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Incoming {
    event: OneOrMany,
    does: Spanned<String>,
    args: Option<Spanned<Vec<toml::Value>>>,
    /// The room that every event of the rule means.
    room: Option<Spanned<String>>,
    /// Another name for a relayed event.
    rename: Option<Spanned<String>>,
    /// Whether an event that matches chooses the profile.
    decides: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Outgoing {
    on: Spanned<OneOrMany>,
    /// Without one, nothing is sent.
    event: Option<String>,
    of: Option<OneOrMany>,
    #[serde(default)]
    args: Option<Spanned<Vec<toml::Value>>>,
    each: Option<Spanned<String>>,
    size: Option<usize>,
    #[serde(default)]
    keep: bool,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    fn as_slice(&self) -> &[String] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }
}

/// Reads a profile; `file` is named in errors.
pub(super) fn read(file: &str, text: &str) -> Result<Profile, ProfileError> {
    let reader = Reader { file, text };
    let parsed: File = toml::from_str(text).map_err(|error| {
        let message = error.message().lines().next().unwrap_or_default();
        let message = with_key_suggestion(message);
        reader.error(error.span().map_or(0, |span| span.start), message)
    })?;
    if parsed.name.get_ref().trim().is_empty() {
        return Err(reader.error(parsed.name.span().start, "`name` must not be empty".to_owned()));
    }
    let mut profile = Profile {
        name: parsed.name.into_inner(),
        about: parsed.about,
        is_default: parsed.default,
        incoming: HashMap::new(),
        outgoing: std::array::from_fn(|_| Vec::new()),
    };
    for rule in &parsed.incoming {
        reader.incoming(rule, &mut profile)?;
    }
    for rule in &parsed.outgoing {
        reader.outgoing(rule, &mut profile)?;
    }
    Ok(profile)
}

/// Names of events that a file lists twice in different roles are found here, so each rule is
/// checked in file order.
struct Reader<'a> {
    file: &'a str,
    text: &'a str,
}

impl Reader<'_> {
    fn error(&self, offset: usize, message: String) -> ProfileError {
        let before = &self.text[..offset.min(self.text.len())];
        ProfileError { file: self.file.to_owned(), line: before.matches('\n').count() + 1, message }
    }

    fn incoming(
        &self,
        rule: &Spanned<Incoming>,
        profile: &mut Profile,
    ) -> Result<(), ProfileError> {
        let at = rule.span().start;
        let rule = rule.get_ref();
        let does = word(rule.does.get_ref(), &Does::NAMES)
            .map_err(|message| self.error(rule.does.span().start, format!("`does` {message}")))?;
        let args = rule.args.as_ref().map(|args| {
            let patterns =
                args.get_ref().iter().map(Pattern::compile).collect::<Result<Vec<_>, _>>();
            patterns.map_err(|message| self.error(args.span().start, message))
        });
        let shape = rule
            .args
            .as_ref()
            .map(|args| self.text[args.span()].trim().to_owned())
            .unwrap_or_default();
        let room = rule.room.as_ref().map(|room| {
            RoomId::new(room.get_ref())
                .map_err(|problem| self.error(room.span().start, format!("`room` {problem}")))
        });
        let rename = rule.rename.as_ref().map(Spanned::get_ref).cloned();
        let compiled = InRule {
            does,
            args: args.transpose()?,
            shape,
            room: room.transpose()?,
            rename,
            decides: rule.decides.unwrap_or(true),
        };
        if let Some(rename) = &rule.rename {
            self.rename(does, rename)?;
        }
        if compiled.room.is_some() && does != Does::Join {
            return Err(self.error(at, "`room` goes with `does = \"join\"`".to_owned()));
        }
        let needed = match does {
            Does::Join if compiled.room.is_none() => Some((Variable::Room, "$room")),
            does if does.is_signal() => Some((Variable::Body, "$body")),
            _ => None,
        };
        if let Some((variable, name)) = needed
            && compiled.args.is_some()
            && !compiled.binds(&variable)
        {
            let message =
                format!("a rule with `does = \"{}\"` must bind `{name}`", rule.does.get_ref());
            return Err(self.error(at, message));
        }
        let events = rule.event.as_slice();
        if events.is_empty() {
            return Err(self.error(at, "`event` must name at least one event".to_owned()));
        }
        for event in events {
            if is_socketio_name(event) {
                return Err(self.error(
                    at,
                    format!(
                        "`{event}` is an event of Socket.IO itself and never reaches the server"
                    ),
                ));
            }
            let rules = profile.incoming.entry(event.clone()).or_default();
            let is_dead =
                rules.iter().any(|earlier| earlier.args.is_none() || earlier.args == compiled.args);
            if is_dead {
                return Err(self.error(
                    at,
                    format!("this rule for `{event}` never matches: an earlier one takes every such event"),
                ));
            }
            rules.push(compiled.clone());
        }
        Ok(())
    }

    fn rename(&self, does: Does, name: &Spanned<String>) -> Result<(), ProfileError> {
        let at = name.span().start;
        if does != Does::Relay {
            return Err(self.error(at, "`rename` goes with `does = \"relay\"`".to_owned()));
        }
        message::check_name("rename", name.get_ref())
            .map_err(|problem| self.error(at, problem.to_string()))
    }

    fn outgoing(
        &self,
        rule: &Spanned<Outgoing>,
        profile: &mut Profile,
    ) -> Result<(), ProfileError> {
        let at = rule.span().start;
        let rule = rule.get_ref();
        let on = rule
            .on
            .get_ref()
            .as_slice()
            .iter()
            .map(|name| word(name, &On::NAMES))
            .collect::<Result<Vec<_>, _>>();
        let on =
            on.map_err(|message| self.error(rule.on.span().start, format!("`on` {message}")))?;
        if on.is_empty() {
            return Err(
                self.error(at, "`on` must name at least one event of the server".to_owned())
            );
        }
        let is_each = match &rule.each {
            None => false,
            Some(each)
                if each.get_ref() == "peers" && on.iter().all(|on| On::WITH_PEERS.contains(on)) =>
            {
                true
            }
            Some(each) => {
                let message = "`each` takes \"peers\", in rules on joined, peer-joined, peer-left, users-changed and full";
                return Err(self.error(each.span().start, message.to_owned()));
            }
        };
        if on.contains(&On::Full) && rule.size.is_none() {
            return Err(
                self.error(at, "`on = \"full\"` needs `size`, the number of peers".to_owned())
            );
        }
        if rule.size.is_some() && !on.iter().all(|on| On::WITH_PEERS.contains(on)) {
            let message =
                "`size` goes with rules on joined, peer-joined, peer-left, users-changed and full";
            return Err(self.error(at, message.to_owned()));
        }
        if rule.of.is_some() && !on.iter().all(|on| On::WITH_SENDER.contains(on)) {
            return Err(self.error(
                at,
                "`of` goes with rules on offer, answer, candidate and relay".to_owned(),
            ));
        }
        let event = match rule.event.as_deref() {
            None if rule.args.is_some() => {
                return Err(self.error(at, "`args` needs an `event`".to_owned()));
            }
            None => None,
            Some("$event") if on == [On::Relay] => Some(Name::Relayed),
            Some("$event") => {
                return Err(
                    self.error(at, "`$event` names the event in rules on relay only".to_owned())
                );
            }
            Some(event) if is_socketio_name(event) => {
                return Err(self.error(
                    at,
                    format!("`{event}` is an event of Socket.IO itself: clients would not hear it"),
                ));
            }
            Some(event) => Some(Name::Own(event.to_owned())),
        };
        // Clients must not be able to have an event relayed under a name that they attribute to the
        // server.
        let relayed = profile
            .incoming
            .iter()
            .flat_map(|(name, rules)| rules.iter().map(move |rule| (name, rule)));
        let mut relayed = relayed.filter(|(_, rule)| rule.does == Does::Relay);
        if let Some(Name::Own(event)) = &event
            && on != [On::Relay]
            && relayed.any(|(name, rule)| rule.rename.as_ref().unwrap_or(name) == event)
        {
            return Err(self.error(
                at,
                format!(
                    "`{event}` is sent by the server and relayed from clients: they could forge it"
                ),
            ));
        }
        let templates = |args: &Spanned<Vec<toml::Value>>| {
            let compiled =
                args.get_ref().iter().map(|value| Template::compile(value, &on, is_each));
            compiled
                .collect::<Result<Vec<_>, _>>()
                .map_err(|message| self.error(args.span().start, message))
        };
        let args = rule.args.as_ref().map(templates).transpose()?.unwrap_or_default();
        let of = rule.of.as_ref().map(|of| of.as_slice().to_vec()).unwrap_or_default();
        let compiled = OutRule { event, args, of, is_each, size: rule.size, keep: rule.keep };
        for on in on {
            profile.outgoing[on as usize].push(compiled.clone());
        }
        Ok(())
    }
}

/// Looks a word up; the error lists what is accepted.
fn word<T: Copy>(name: &str, names: &[(&'static str, T)]) -> Result<T, String> {
    let found = names.iter().find(|(known, _)| *known == name);
    found.map(|(_, value)| *value).ok_or_else(|| {
        let known: Vec<&str> = names.iter().map(|(known, _)| *known).collect();
        format!("does not know `{name}`{}; it takes {}", suggestion(name, &known), known.join(", "))
    })
}

/// Adds a suggestion to serde's message, such as: unknown field `evnt`, expected one of `event`,
/// `does`.
fn with_key_suggestion(message: &str) -> String {
    let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    match quoted.split_first() {
        Some((unknown, known)) if message.starts_with("unknown field") => {
            format!(
                "unknown key `{unknown}`{}; keys here are {}",
                suggestion(unknown, known),
                known.join(", ")
            )
        }
        _ => message.to_owned(),
    }
}
