//! Variables of templates: their names, and their values in an event.

use std::sync::Arc;

use humantime::format_rfc3339_millis;

use super::Context;
use crate::dialect::json::{Members, push_string};
use crate::dialect::socketio::encode;
use crate::dialect::socketio::profile::rule::On;
use crate::dialect::socketio::profile::unknown_variable;
use crate::id::RoomId;
use crate::room::Peer;

/// A variable of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::dialect::socketio::profile) enum Variable {
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

/// A part of a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::dialect::socketio::profile) enum Field {
    /// The peer object.
    Whole,
    UserId,
    SocketId,
    JoinedAt,
    /// A key of its metadata.
    Meta(String),
}

/// The names of the variables, for suggestions.
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

impl Variable {
    /// Returns whether the value differs between the receivers of one event.
    pub(in crate::dialect::socketio::profile) fn is_personal(&self) -> bool {
        matches!(
            self,
            Self::Me(_) | Self::Peers | Self::PeersUserIds | Self::PeersSocketIds | Self::First
        )
    }

    /// Returns whether the value is a list of peers.
    pub(in crate::dialect::socketio::profile) fn is_list(&self) -> bool {
        matches!(self, Self::Peers | Self::PeersUserIds | Self::PeersSocketIds | Self::Users)
    }

    /// Returns whether the value comes from the sender's object.
    pub(in crate::dialect::socketio::profile) fn is_data(&self) -> bool {
        matches!(self, Self::Data | Self::DataKey(_))
    }

    /// Parses the name after the dollar sign for rules with this `on`.
    pub(super) fn parse(name: &str, on: &[On], is_each: bool) -> Result<Self, String> {
        let (base, field) =
            name.split_once('.').map_or((name, None), |(base, field)| (base, Some(field)));
        let of_list = |variable: Self| available(name, on, &On::WITH_PEERS).map(|()| variable);
        let variable = match (base, field) {
            ("me", field) => {
                available(name, on, &On::IN_ROOM).map(|()| Self::Me(Field::parse(field)))?
            }
            ("peer", field) => {
                if !is_each {
                    available(name, on, &On::WITH_PEER)?;
                }
                Self::Peer(Field::parse(field))
            }
            ("from", field) => {
                available(name, on, &On::WITH_SENDER).map(|()| Self::From(Field::parse(field)))?
            }
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
            ("event", None) => {
                available(name, on, &[On::Relay, On::Error]).map(|()| Self::Event)?
            }
            ("reason", None) => {
                available(name, on, &[On::PeerLeft, On::Removed]).map(|()| Self::Reason)?
            }
            ("code", None) => {
                available(name, on, &[On::Error, On::Removed]).map(|()| Self::Code)?
            }
            ("message", None) => {
                available(name, on, &[On::Error, On::Removed]).map(|()| Self::Message)?
            }
            _ => return Err(unknown_variable(name, &VARIABLES)),
        };
        Ok(variable)
    }

    /// Appends the value as JSON; returns `false`, with nothing appended, if there is none.
    pub(super) fn expand(&self, context: &Context<'_>, out: &mut String) -> bool {
        let text = |out: &mut String, text: Option<&str>| {
            text.map(|text| push_string(out, text)).is_some()
        };
        let raw =
            |out: &mut String, text: Option<&str>| text.map(|text| out.push_str(text)).is_some();
        match self {
            Self::Room => text(out, context.room.map(RoomId::as_str)),
            Self::Me(field) => context.me.is_some_and(|peer| field.expand(context, peer, out)),
            Self::Peer(field) => context.peer.is_some_and(|peer| field.expand(context, peer, out)),
            Self::From(field) => context.from.is_some_and(|peer| field.expand(context, peer, out)),
            Self::Peers => {
                out.push_str(context.list.get_or_init(|| {
                    let mut text = String::with_capacity(256 * context.peers.len());
                    list(&mut text, context.others(), |out, peer| {
                        _ = Field::Whole.expand(context, peer, out);
                    });
                    text
                }));
                true
            }
            Self::Users => {
                list(out, context.peers, |out, peer| _ = Field::Whole.expand(context, peer, out))
            }
            Self::PeersUserIds => {
                list(out, context.others(), |out, peer| push_string(out, peer.id.as_str()))
            }
            Self::PeersSocketIds => list(out, context.others(), |out, peer| {
                push_string(out, &peer.connection.to_string());
            }),
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
            Self::Meta(key) => {
                return push_key_of(out, &format!("{{{}}}", peer.metadata.as_str()), key);
            }
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

/// Checks that every event of a rule has a value for the variable.
pub(super) fn available(name: &str, on: &[On], wherever: &[On]) -> Result<(), String> {
    match on.iter().find(|on| !wherever.contains(on)) {
        None => Ok(()),
        Some(on) => Err(format!("`${name}` has no value in a rule on `{on}`")),
    }
}
