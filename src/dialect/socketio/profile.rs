//! Event profiles: the event names, argument shapes and keys of one family of Socket.IO frontends, as data.
//!
//! A profile maps a client's events to what they do ([`Profile::recognize`]) and the server's events to frames
//! ([`Profile::expand`]). It is compiled once, from TOML ([`Profile::read`]); the built-in ones are in `builtin/`.
//!
//! - `pattern` matches the arguments of a client's event and binds variables;
//! - `template` expands variables to the arguments of a server's event;
//! - `rule` joins either with an event name; `file` reads and checks the rules of a file.
//!
//! Rooms and the other dialects do not know of profiles. The guarantee that is easy to break: bodies of signals and
//! metadata are copied as text, never parsed into a tree.

mod file;
mod pattern;
mod rule;
mod template;

use std::collections::HashMap;
use std::sync::LazyLock;

use serde_json::value::RawValue;

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
    outgoing: HashMap<On, Vec<OutRule>>,
}

/// What a profile makes of a client's event.
#[derive(Debug)]
pub enum Recognized<'p, 'a> {
    /// No rule names the event.
    Unknown,
    /// Rules name the event, and none matches its arguments: the shapes that do, as in the file.
    Mismatch,
    /// A rule matches.
    Rule(&'p InRule, Bindings<'a>),
}

impl Profile {
    /// Compiles a profile; `file` is named in errors.
    pub fn read(file: &str, text: &str) -> Result<Self, ProfileError> {
        file::read(file, text)
    }

    /// The name by which the profile is chosen, logged and counted.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the profile is for, in a sentence.
    pub fn about(&self) -> &str {
        &self.about
    }

    /// Whether the profile serves connections that no other one claims.
    pub fn is_default(&self) -> bool {
        self.is_default
    }

    /// Finds the first rule that matches a client's event.
    pub fn recognize<'a>(&self, event: &str, arguments: &[&'a RawValue]) -> Recognized<'_, 'a> {
        let Some(rules) = self.incoming.get(event) else { return Recognized::Unknown };
        let matching = rules.iter().find_map(|rule| rule.matches(arguments).map(|bindings| (rule, bindings)));
        matching.map_or(Recognized::Mismatch, |(rule, bindings)| Recognized::Rule(rule, bindings))
    }

    /// Writes the frames of an event, each a JSON array `["event",…]`; `None` if no rule names it.
    pub fn expand(&self, on: On, context: &Context<'_>) -> Option<Vec<String>> {
        let rules = self.outgoing.get(&on)?;
        let mut frames = Vec::with_capacity(rules.len());
        for rule in rules.iter().filter(|rule| rule.size.is_none_or(|size| size == context.peers.len())) {
            rule.expand(context, &mut frames);
        }
        Some(frames)
    }

    /// Whether the event of `standard` is sent, too.
    pub fn keeps_standard(&self, on: On) -> bool {
        self.outgoing.get(&on).is_none_or(|rules| rules.iter().any(|rule| rule.keep))
    }

    /// Whether an event of the profile needs the sender's object with the server's fields set.
    pub fn needs_data(&self, on: On) -> bool {
        self.outgoing.get(&on).is_some_and(|rules| rules.iter().any(|rule| rule.uses(&template::Variable::Data)))
    }

    /// Whether clients of this profile believe that an event comes from the server, so that none may be relayed to them
    /// under its name.
    pub fn reserves(&self, event: &str) -> bool {
        let sends = |on: &On, rule: &OutRule| *on != On::Relay && rule.event.as_deref() == Some(event);
        is_socketio_name(event)
            || event == "error"
            || self.outgoing.iter().any(|(on, rules)| rules.iter().any(|rule| sends(on, rule)))
    }
}

/// The profiles that are built in, in the order in which they are tried; `standard` is the default.
pub fn builtin() -> &'static [(&'static str, Profile)] {
    static BUILTIN: LazyLock<Vec<(&str, Profile)>> = LazyLock::new(|| {
        let read = |(name, text): &(&'static str, &'static str)| {
            (*text, Profile::read(name, text).expect("a test compiles each built-in profile"))
        };
        SOURCES.iter().map(read).collect()
    });
    &BUILTIN
}

macro_rules! sources {
    ($($name:literal),* $(,)?) => { [$(($name, include_str!(concat!("profile/builtin/", $name, ".toml")))),*] };
}

const SOURCES: [(&str, &str); 1] = sources!["add-peer"];

/// Names that the Socket.IO libraries use themselves: clients do not emit them and listeners do not expect them.
fn is_socketio_name(event: &str) -> bool {
    matches!(event, "connect" | "connect_error" | "disconnect" | "disconnecting" | "newListener" | "removeListener")
}

/// Says that a variable is unknown, with the nearest known one.
fn unknown_variable(name: &str, known: &[&str]) -> String {
    let name = format!("${name}");
    let known: Vec<String> = known.iter().map(|known| format!("${known}")).collect();
    let known: Vec<&str> = known.iter().map(String::as_str).collect();
    format!("unknown variable `{name}`{}; known are {}", suggestion(&name, &known), known.join(", "))
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
