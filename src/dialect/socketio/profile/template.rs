//! Templates: the `args` of `[[out]]` rules, which expand to the arguments of an event.
//!
//! A template is compiled once from TOML. Literals are kept as JSON text; bodies and metadata are
//! copied as text.

mod variable;

use std::cell::OnceCell;
use std::sync::Arc;
use std::time::SystemTime;

pub(super) use self::variable::Variable;
use self::variable::available;
use super::rule::On;
use crate::dialect::json::push_string;
use crate::id::RoomId;
use crate::room::Peer;

/// One argument, or a part of it.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Template {
    /// JSON text.
    Literal(String),
    /// A variable.
    Variable { variable: Variable, is_optional: bool },
    /// `$args…`: all arguments of a relayed event. In a list they are spliced in; a key's value is
    /// an array of them.
    AllArguments,
    /// An object, its keys in file order.
    Object(Vec<(String, Template)>),
    /// An array.
    Array(Vec<Template>),
}

/// One event and its receiver, from which templates expand.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// The room, where the event belongs to one.
    pub room: Option<&'a RoomId>,
    /// The receiver.
    pub me: Option<&'a Peer>,
    /// The peer that joined, left, is away or is back; with `each`, one of those already there.
    pub peer: Option<&'a Peer>,
    /// The sender of a signal or a relayed event.
    pub from: Option<&'a Peer>,
    /// The peers of the room in join order, the receiver included.
    pub peers: &'a [Arc<Peer>],
    /// The text of `$peers`, once it was needed.
    pub list: &'a OnceCell<String>,
    /// The description or candidate, as JSON.
    pub body: Option<&'a str>,
    /// The sender's object with the server's fields set, as JSON.
    pub data: Option<&'a str>,
    /// The arguments of a relayed event: JSON values separated by commas.
    pub arguments: Option<&'a str>,
    /// The name of a relayed event, or of the request that an error answers.
    pub event: Option<&'a str>,
    /// The reason for which a peer left, or for which the receiver was removed.
    pub reason: Option<&'a str>,
    /// The code of an error or a removal.
    pub code: Option<&'a str>,
    /// The text of an error or a removal.
    pub message: Option<&'a str>,
    /// The time of the event.
    pub now: SystemTime,
}

impl<'a> Context<'a> {
    /// Returns a context in which nothing but the time is known.
    pub fn new(now: SystemTime, list: &'a OnceCell<String>) -> Self {
        Self {
            room: None,
            me: None,
            peer: None,
            from: None,
            peers: &[],
            list,
            body: None,
            data: None,
            arguments: None,
            event: None,
            reason: None,
            code: None,
            message: None,
            now,
        }
    }

    fn is_me(&self, peer: &Peer) -> bool {
        self.me.is_some_and(|me| me.connection == peer.connection)
    }

    /// Returns the peers of the room other than the receiver.
    pub(super) fn others(&self) -> impl Iterator<Item = &'a Arc<Peer>> {
        let context = *self;
        self.peers.iter().filter(move |peer| !context.is_me(peer))
    }
}

impl Template {
    /// Compiles a TOML value for rules with this `on`; the error names what is wrong with it.
    pub(super) fn compile(value: &toml::Value, on: &[On], is_each: bool) -> Result<Self, String> {
        Ok(match value {
            toml::Value::String(text) => match text.strip_prefix('$') {
                // `$$` is a literal that begins with a dollar sign.
                Some(literal) if literal.starts_with('$') => Self::Literal(quoted(literal)),
                Some("args…" | "args...") => {
                    available("args…", on, &[On::Relay])?;
                    Self::AllArguments
                }
                Some(name) => {
                    let (name, is_optional) =
                        name.strip_suffix('?').map_or((name, false), |name| (name, true));
                    Self::Variable { variable: Variable::parse(name, on, is_each)?, is_optional }
                }
                None => Self::Literal(quoted(text)),
            },
            toml::Value::Integer(number) => Self::Literal(number.to_string()),
            toml::Value::Float(number) if number.is_finite() => Self::Literal(number.to_string()),
            toml::Value::Boolean(value) => Self::Literal(value.to_string()),
            toml::Value::Datetime(time) => Self::Literal(quoted(&time.to_string())),
            toml::Value::Table(table) => {
                let keys = table
                    .iter()
                    .map(|(key, value)| Ok((key.clone(), Self::compile(value, on, is_each)?)));
                Self::Object(keys.collect::<Result<_, String>>()?)
            }
            toml::Value::Array(values) => {
                let values = values.iter().map(|value| Self::compile(value, on, is_each));
                Self::Array(values.collect::<Result<_, String>>()?)
            }
            toml::Value::Float(_) => return Err("a number must be finite".to_owned()),
        })
    }

    /// Returns whether a variable of some kind is used somewhere in the template.
    pub(super) fn uses(&self, wanted: fn(&Variable) -> bool) -> bool {
        match self {
            Self::Variable { variable, .. } => wanted(variable),
            Self::Object(keys) => keys.iter().any(|(_, template)| template.uses(wanted)),
            Self::Array(values) => values.iter().any(|template| template.uses(wanted)),
            Self::Literal(_) | Self::AllArguments => false,
        }
    }

    /// Appends the value as JSON.
    pub(super) fn expand(&self, context: &Context<'_>, out: &mut String) {
        match self {
            Self::Literal(text) => out.push_str(text),
            Self::Variable { variable, .. } => {
                if !variable.expand(context, out) {
                    out.push_str("null");
                }
            }
            Self::AllArguments => out.push_str(context.arguments.unwrap_or_default()),
            Self::Object(keys) => {
                out.push('{');
                for (key, template) in keys {
                    let start = out.len();
                    if !out.ends_with('{') {
                        out.push(',');
                    }
                    push_string(out, key);
                    out.push(':');
                    match template {
                        Self::Variable { variable, is_optional: true } => {
                            if !variable.expand(context, out) {
                                out.truncate(start);
                            }
                        }
                        Self::AllArguments => {
                            out.push('[');
                            template.expand(context, out);
                            out.push(']');
                        }
                        template => template.expand(context, out),
                    }
                }
                out.push('}');
            }
            Self::Array(values) => {
                out.push('[');
                expand_list(values, context, out);
                out.push(']');
            }
        }
    }
}

/// Appends values separated by commas.
pub(super) fn expand_list(values: &[Template], context: &Context<'_>, out: &mut String) {
    let mut is_first = true;
    for value in values {
        if *value == Template::AllArguments && context.arguments.is_none_or(str::is_empty) {
            continue;
        }
        if !std::mem::take(&mut is_first) {
            out.push(',');
        }
        value.expand(context, out);
    }
}

fn quoted(text: &str) -> String {
    let mut out = String::new();
    push_string(&mut out, text);
    out
}
