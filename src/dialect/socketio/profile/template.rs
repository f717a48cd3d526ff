//! Templates: the `args` of `[[out]]` rules, which expand to the arguments of an event.
//!
//! A template is compiled once from TOML. Literals are kept as JSON text; bodies and metadata are copied as text.

use std::cell::OnceCell;
use std::sync::Arc;
use std::time::SystemTime;

use humantime::format_rfc3339_millis;

use super::rule::On;
use crate::dialect::json::{Members, push_string};
use crate::dialect::socketio::encode;
use crate::id::RoomId;
use crate::room::Peer;

/// One argument, or a part of it.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Template {
    /// JSON text.
    Literal(String),
    /// A variable.
    Variable { variable: Variable, is_optional: bool },
    /// `$args…`: all arguments of a relayed event, in an array or as arguments.
    AllArguments,
    /// An object, its keys in file order.
    Object(Vec<(String, Template)>),
    /// An array.
    Array(Vec<Template>),
}

/// A variable of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Variable {
    Room,
    Me(Field),
    Peer(Field),
    From(Field),
    /// The other peers.
    Peers,
    PeersUserIds,
    PeersSocketIds,
    /// The other peers and the receiver.
    Users,
    Count,
    Body,
    Data,
    /// A key of the sender's object.
    DataKey(String),
    Event,
    Reason,
    Code,
    Message,
    First,
    Now,
}

/// What of a peer is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Field {
    /// The peer object.
    Whole,
    UserId,
    SocketId,
    JoinedAt,
    /// A key of its metadata.
    Meta(String),
}

/// The names that a template may use, for suggestions.
const VARIABLES: [&str; 18] = [
    "room",
    "me",
    "peer",
    "from",
    "peers",
    "peers.userIds",
    "peers.socketIds",
    "users",
    "count",
    "body",
    "data",
    "args…",
    "event",
    "reason",
    "code",
    "message",
    "first",
    "now",
];

/// What templates expand from: one event and its receiver.
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
    /// Why a peer left, or why the receiver was removed.
    pub reason: Option<&'a str>,
    /// The code of an error or a removal.
    pub code: Option<&'a str>,
    /// The text of an error or a removal.
    pub message: Option<&'a str>,
    /// The time of the event.
    pub now: SystemTime,
}

impl<'a> Context<'a> {
    /// A context in which nothing but the time is known.
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

    /// The peers of the room other than the receiver.
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
                    let (name, is_optional) = name.strip_suffix('?').map_or((name, false), |name| (name, true));
                    Self::Variable { variable: Variable::parse(name, on, is_each)?, is_optional }
                }
                None => Self::Literal(quoted(text)),
            },
            toml::Value::Integer(number) => Self::Literal(number.to_string()),
            toml::Value::Float(number) if number.is_finite() => Self::Literal(number.to_string()),
            toml::Value::Boolean(value) => Self::Literal(value.to_string()),
            toml::Value::Datetime(time) => Self::Literal(quoted(&time.to_string())),
            toml::Value::Table(table) => {
                let keys = table.iter().map(|(key, value)| Ok((key.clone(), Self::compile(value, on, is_each)?)));
                Self::Object(keys.collect::<Result<_, String>>()?)
            }
            toml::Value::Array(values) => {
                let values = values.iter().map(|value| Self::compile(value, on, is_each));
                Self::Array(values.collect::<Result<_, String>>()?)
            }
            toml::Value::Float(_) => return Err("a number must be finite".to_owned()),
        })
    }

    /// Whether a variable of some kind is used somewhere in the template.
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

impl Variable {
    /// Whether the value differs between the receivers of one event.
    pub(super) fn is_personal(&self) -> bool {
        matches!(self, Self::Me(_) | Self::Peers | Self::PeersUserIds | Self::PeersSocketIds | Self::First)
    }

    /// Whether the value is a list of peers.
    pub(super) fn is_list(&self) -> bool {
        matches!(self, Self::Peers | Self::PeersUserIds | Self::PeersSocketIds | Self::Users)
    }

    /// Whether the value comes from the sender's object.
    pub(super) fn is_data(&self) -> bool {
        matches!(self, Self::Data | Self::DataKey(_))
    }

    fn parse(name: &str, on: &[On], is_each: bool) -> Result<Self, String> {
        let (base, field) = name.split_once('.').map_or((name, None), |(base, field)| (base, Some(field)));
        let of_list = |variable: Self| available(name, on, &On::WITH_PEERS).map(|()| variable);
        let variable = match (base, field) {
            ("me", field) => available(name, on, &On::IN_ROOM).map(|()| Self::Me(Field::parse(field)))?,
            ("peer", field) => {
                if !is_each {
                    available(name, on, &On::WITH_PEER)?;
                }
                Self::Peer(Field::parse(field))
            }
            ("from", field) => available(name, on, &On::WITH_SENDER).map(|()| Self::From(Field::parse(field)))?,
            ("peers", Some("userIds")) => of_list(Self::PeersUserIds)?,
            ("peers", Some("socketIds")) => of_list(Self::PeersSocketIds)?,
            ("peers", None) => of_list(Self::Peers)?,
            ("users", None) => of_list(Self::Users)?,
            ("count", None) => of_list(Self::Count)?,
            ("first", None) => of_list(Self::First)?,
            ("room", None) => Self::Room,
            ("now", None) => Self::Now,
            ("body", None) => available(name, on, &On::SIGNALS).map(|()| Self::Body)?,
            ("data", key) => {
                available(name, on, &On::WITH_SENDER)?;
                key.map_or(Self::Data, |key| Self::DataKey(key.to_owned()))
            }
            ("event", None) => available(name, on, &[On::Relay, On::Error]).map(|()| Self::Event)?,
            ("reason", None) => available(name, on, &[On::PeerLeft, On::Removed]).map(|()| Self::Reason)?,
            ("code", None) => available(name, on, &[On::Error, On::Removed]).map(|()| Self::Code)?,
            ("message", None) => available(name, on, &[On::Error, On::Removed]).map(|()| Self::Message)?,
            _ => return Err(super::unknown_variable(name, &VARIABLES)),
        };
        Ok(variable)
    }

    /// Appends the value as JSON; `false`, with nothing appended, if there is none.
    fn expand(&self, context: &Context<'_>, out: &mut String) -> bool {
        let text = |out: &mut String, text: Option<&str>| text.map(|text| push_string(out, text)).is_some();
        let raw = |out: &mut String, text: Option<&str>| text.map(|text| out.push_str(text)).is_some();
        match self {
            Self::Room => text(out, context.room.map(RoomId::as_str)),
            Self::Me(field) => context.me.is_some_and(|peer| field.expand(context, peer, out)),
            Self::Peer(field) => context.peer.is_some_and(|peer| field.expand(context, peer, out)),
            Self::From(field) => context.from.is_some_and(|peer| field.expand(context, peer, out)),
            Self::Peers => {
                out.push_str(context.list.get_or_init(|| {
                    let mut text = String::with_capacity(256 * context.peers.len());
                    list(&mut text, context.others(), |out, peer| _ = Field::Whole.expand(context, peer, out));
                    text
                }));
                true
            }
            Self::Users => list(out, context.peers, |out, peer| _ = Field::Whole.expand(context, peer, out)),
            Self::PeersUserIds => list(out, context.others(), |out, peer| push_string(out, peer.id.as_str())),
            Self::PeersSocketIds => {
                list(out, context.others(), |out, peer| push_string(out, &peer.connection.to_string()))
            }
            Self::Count => {
                out.push_str(&context.peers.len().to_string());
                true
            }
            Self::First => {
                out.push_str(if context.peers.first().is_some_and(|first| context.is_me(first)) {
                    "true"
                } else {
                    "false"
                });
                true
            }
            Self::Now => text(out, Some(&format_rfc3339_millis(context.now).to_string())),
            Self::Body => raw(out, context.body),
            Self::Data => raw(out, context.data),
            Self::DataKey(key) => context.data.is_some_and(|data| push_key_of(out, data, key)),
            Self::Event => text(out, context.event),
            Self::Reason => text(out, context.reason),
            Self::Code => text(out, context.code),
            Self::Message => text(out, context.message),
        }
    }
}

impl Field {
    fn parse(name: Option<&str>) -> Self {
        match name {
            None => Self::Whole,
            Some("id" | "userId") => Self::UserId,
            Some("socketId") => Self::SocketId,
            Some("joinedAt") => Self::JoinedAt,
            Some(key) => Self::Meta(key.to_owned()),
        }
    }

    fn expand(&self, context: &Context<'_>, peer: &Peer, out: &mut String) -> bool {
        match self {
            Self::Whole => match context.room {
                Some(room) => encode::push_peer(out, room, peer, None),
                None => return false,
            },
            Self::UserId => push_string(out, peer.id.as_str()),
            Self::SocketId => push_string(out, &peer.connection.to_string()),
            Self::JoinedAt => push_string(out, &format_rfc3339_millis(peer.joined_at).to_string()),
            Self::Meta(key) => return push_key_of(out, &format!("{{{}}}", peer.metadata.as_str()), key),
        }
        true
    }
}

fn list<'a>(
    out: &mut String,
    peers: impl IntoIterator<Item = &'a Arc<Peer>>,
    push: impl Fn(&mut String, &Peer),
) -> bool {
    out.push('[');
    for peer in peers {
        if !out.ends_with('[') {
            out.push(',');
        }
        push(out, peer);
    }
    out.push(']');
    true
}

/// Appends the value of a key of an object; `false` if there is none.
fn push_key_of(out: &mut String, object: &str, key: &str) -> bool {
    let members = Members::parse(object);
    let value = members.and_then(|members| members.get(key)).filter(|value| !value.is_null());
    value.map(|value| out.push_str(value.get())).is_some()
}

fn quoted(text: &str) -> String {
    let mut out = String::new();
    push_string(&mut out, text);
    out
}

/// Checks that every event of a rule has a value for the variable.
fn available(name: &str, on: &[On], wherever: &[On]) -> Result<(), String> {
    match on.iter().find(|on| !wherever.contains(on)) {
        None => Ok(()),
        Some(on) => Err(format!("`${name}` has no value in a rule on `{on}`")),
    }
}
