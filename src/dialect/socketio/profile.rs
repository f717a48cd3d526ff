//! Event profiles: the event names, argument shapes and keys of one family of Socket.IO frontends,
//! as data.
//!
//! A profile maps a client's events to what they do ([`Profile::recognize`]) and the server's
//! events to frames ([`Profile::expand`]). It is compiled once, from TOML ([`Profile::read`]); the
//! built-in ones are in `builtin/`.
//!
//! - `pattern` matches the arguments of a client's event and binds variables;
//! - `template` expands variables to the arguments of a server's event;
//! - `rule` joins either with an event name; `file` reads and checks the rules of a file.
//!
//! Rooms and the other dialects do not know of profiles. Invariant: bodies of signals and
//! metadata are copied as text, never parsed into a tree.

pub(super) mod command;
pub(super) mod event;
mod file;
mod pattern;
mod rule;
mod template;

use std::cell::OnceCell;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use crate::dialect::json::Arguments;
use crate::dialect::message;
use crate::json::JsonText;
use rule::Name;

pub use file::ProfileError;
pub use pattern::Bindings;
pub use rule::{Does, InRule, On, OutRule};
pub use template::Context;

/// One family of frontends.
#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    name: String,
    about: String,
    is_default: bool,
    incoming: HashMap<String, Vec<InRule>>,
    /// By what happened: the index is that of [`On`].
    outgoing: [Vec<OutRule>; On::COUNT],
}

/// A client's event as a profile understands it.
#[derive(Debug)]
pub enum Recognized<'p, 'a> {
    /// No rule names the event.
    Unknown,
    /// These rules name the event, and none matches its arguments.
    Mismatch(&'p [InRule]),
    /// A rule matches.
    Rule(&'p InRule, Bindings<'a>),
}

impl Profile {
    /// Compiles a profile; `file` is named in errors.
    pub fn read(file: &str, text: &str) -> Result<Self, ProfileError> {
        file::read(file, text)
    }

    /// Returns the name by which the profile is chosen, logged and counted.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the purpose of the profile, in a sentence.
    pub fn about(&self) -> &str {
        &self.about
    }

    /// Returns whether the profile serves connections that no other one claims.
    pub fn is_default(&self) -> bool {
        self.is_default
    }

    /// Returns the names of the events by which the profile is chosen.
    pub fn deciding_events(&self) -> impl Iterator<Item = &str> {
        let decides = |(_, rules): &(&String, &Vec<InRule>)| rules.iter().any(|rule| rule.decides);
        self.incoming.iter().filter(decides).map(|(event, _)| event.as_str())
    }

    /// Returns the names of the events that the server sends, other than relayed ones.
    pub fn outgoing(&self) -> impl Iterator<Item = &str> {
        let rules =
            On::NAMES.iter().filter(|(_, on)| *on != On::Relay).flat_map(|(_, on)| self.rules(*on));
        rules.filter_map(|rule| match &rule.event {
            Some(Name::Own(name)) => Some(name.as_str()),
            Some(Name::Relayed) | None => None,
        })
    }

    /// Finds the first rule that matches a client's event, whose text is a JSON array with the name
    /// first.
    pub fn recognize<'a>(&self, arguments: &Arguments<'a>, text: &'a str) -> Recognized<'_, 'a> {
        if self.incoming.is_empty() {
            return Recognized::Unknown;
        }
        let Some(rules) = self.incoming.get(&*arguments.name) else { return Recognized::Unknown };
        // Read again only for a rule that looks at the values: a session description is long.
        let values = OnceCell::new();
        let read = || {
            values
                .get_or_init(|| JsonText::array(text).unwrap_or_default())
                .get(1..)
                .unwrap_or_default()
        };
        let matching = rules.iter().filter(|rule| rule.may_match(arguments.first.as_ref()));
        let mut matching = matching.filter_map(|rule| Some((rule, rule.matches(read)?)));
        matching.next().map_or(Recognized::Mismatch(rules), |(rule, bindings)| {
            Recognized::Rule(rule, bindings)
        })
    }

    fn rules(&self, on: On) -> &[OutRule] {
        &self.outgoing[on as usize]
    }

    /// Writes the packets of an event, and whether the event of `standard` is sent, too; `None` if
    /// no rule is for it.
    pub fn expand(&self, on: On, context: &Context<'_>) -> Option<(Vec<String>, bool)> {
        // A rule for events of this name counts before those for events of any name.
        let name = context.event.unwrap_or_default();
        let is_named = self.rules(on).iter().any(|rule| rule.is_of(name));
        let is_meant =
            |rule: &&OutRule| if is_named { rule.is_of(name) } else { rule.of.is_empty() };
        let mut rules = self.rules(on).iter().filter(is_meant).peekable();
        rules.peek()?;
        let (mut packets, mut keep) = (Vec::new(), false);
        for rule in rules {
            keep |= rule.keep;
            if rule.size.is_none_or(|size| size == context.peers.len()) {
                rule.expand(context, &mut packets);
            }
        }
        Some((packets, keep))
    }

    /// Returns whether an event of the profile needs the sender's object with the server's fields
    /// set.
    pub fn needs_data(&self, on: On) -> bool {
        self.rules(on).iter().any(|rule| rule.uses(template::Variable::is_data))
    }

    /// Returns whether clients of this profile believe that an event comes from the server, so that
    /// none may be relayed to them under its name.
    pub fn reserves(&self, event: &str) -> bool {
        message::is_reserved(event) || self.sends(event)
    }

    /// Returns whether the server sends an event of this name, other than a relayed one.
    pub fn sends(&self, event: &str) -> bool {
        self.outgoing().any(|name| name == event)
    }
}

impl Profile {
    /// Returns the profiles that are built in, in the order in which they are tried; `standard` is
    /// first.
    pub fn builtin() -> &'static [Arc<Self>] {
        static BUILTIN: LazyLock<Vec<Arc<Profile>>> = LazyLock::new(|| {
            let read = |(name, text): &(&str, &str)| {
                Arc::new(Profile::read(name, text).expect("a test compiles each built-in profile"))
            };
            SOURCES.iter().map(read).collect()
        });
        &BUILTIN
    }

    /// Returns the profile of [the dialect](super) itself.
    pub fn standard() -> Arc<Self> {
        Arc::clone(&Self::builtin()[0])
    }

    /// Returns the file of a built-in profile.
    pub fn source(name: &str) -> Option<&'static str> {
        SOURCES.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
    }
}

macro_rules! sources {
    ($($name:literal),* $(,)?) => { [$(($name, include_str!(concat!("profile/builtin/", $name, ".toml")))),*] };
}

const SOURCES: [(&str, &str); 9] = sources![
    "standard",
    "user-connected",
    "add-peer",
    "signal-exchange",
    "call-user",
    "room-colon",
    "snake",
    "ready",
    "strings",
];

/// Names that the Socket.IO libraries use themselves: clients do not emit them and listeners do not
/// expect them.
fn is_socketio_name(event: &str) -> bool {
    matches!(
        event,
        "connect"
            | "connect_error"
            | "disconnect"
            | "disconnecting"
            | "newListener"
            | "removeListener"
    )
}

/// Says that a variable is unknown, with the nearest known one.
fn unknown_variable(name: &str, known: &[&str]) -> String {
    let name = format!("${name}");
    let known: Vec<String> = known.iter().map(|known| format!("${known}")).collect();
    let known: Vec<&str> = known.iter().map(String::as_str).collect();
    format!(
        "unknown variable `{name}`{}; known are {}",
        suggestion(&name, &known),
        known.join(", ")
    )
}

/// Returns ", did you mean `x`?" where one of the known names resembles the given one.
fn suggestion(name: &str, known: &[&str]) -> String {
    let likeness = |known: &&str| strsim::jaro_winkler(name, known);
    let nearest = known.iter().copied().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    match nearest.filter(|nearest| likeness(nearest) > 0.8) {
        Some(nearest) => format!(", did you mean `{nearest}`?"),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests;
