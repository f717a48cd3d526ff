//! Rules: what a client's event does, and which events answer one of the server's.

use std::fmt;

use super::pattern::{Bindings, Pattern, Variable};
use super::template::{self, Context, Template, expand_list};
use crate::dialect::json::{Argument, push_string};
use crate::dialect::socketio::packet::{PacketKind, ROOT, push_head};
use crate::id::RoomId;
use crate::json::JsonText;

/// The effect of a client's event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Does {
    /// Joins a room.
    Join,
    /// Leaves a room.
    Leave,
    /// Relays an offer.
    Offer,
    /// Relays an answer.
    Answer,
    /// Relays a candidate.
    Candidate,
    /// Relays an offer, an answer or a candidate, depending on the body.
    Signal,
    /// Relays the event itself.
    Relay,
    /// Nothing; a callback is acknowledged.
    Ignore,
}

impl Does {
    /// The words of the file.
    pub(super) const NAMES: [(&str, Self); 8] = [
        ("join", Self::Join),
        ("leave", Self::Leave),
        ("offer", Self::Offer),
        ("answer", Self::Answer),
        ("candidate", Self::Candidate),
        ("signal", Self::Signal),
        ("relay", Self::Relay),
        ("ignore", Self::Ignore),
    ];

    /// Returns whether the event carries a description or a candidate.
    pub(super) fn is_signal(self) -> bool {
        matches!(self, Self::Offer | Self::Answer | Self::Candidate | Self::Signal)
    }
}

/// The occasion on which the server sends an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum On {
    /// The receiver has joined.
    Joined,
    /// Another peer has joined.
    PeerJoined,
    /// Another peer has left.
    PeerLeft,
    /// Another peer's connection was lost; it may resume.
    PeerAway,
    /// Another peer has resumed.
    PeerBack,
    /// The room's peers have changed; sent to everyone.
    UsersChanged,
    /// The room has reached the rule's size; sent to everyone.
    Full,
    /// An offer.
    Offer,
    /// An answer.
    Answer,
    /// A candidate.
    Candidate,
    /// A relayed application event.
    Relay,
    /// A request was refused.
    Error,
    /// The receiver was removed from the room.
    Removed,
}

impl On {
    /// Number of occasions.
    pub(super) const COUNT: usize = Self::NAMES.len();
    /// The words of the file.
    pub(super) const NAMES: [(&str, Self); 13] = [
        ("joined", Self::Joined),
        ("peer-joined", Self::PeerJoined),
        ("peer-left", Self::PeerLeft),
        ("peer-away", Self::PeerAway),
        ("peer-back", Self::PeerBack),
        ("users-changed", Self::UsersChanged),
        ("full", Self::Full),
        ("offer", Self::Offer),
        ("answer", Self::Answer),
        ("candidate", Self::Candidate),
        ("relay", Self::Relay),
        ("error", Self::Error),
        ("removed", Self::Removed),
    ];
    pub(super) const SIGNALS: [Self; 3] = [Self::Offer, Self::Answer, Self::Candidate];
    pub(super) const WITH_SENDER: [Self; 4] =
        [Self::Offer, Self::Answer, Self::Candidate, Self::Relay];
    pub(super) const WITH_PEER: [Self; 4] =
        [Self::PeerJoined, Self::PeerLeft, Self::PeerAway, Self::PeerBack];
    pub(super) const WITH_PEERS: [Self; 5] =
        [Self::Joined, Self::PeerJoined, Self::PeerLeft, Self::UsersChanged, Self::Full];
    pub(super) const IN_ROOM: [Self; 11] = [
        Self::Joined,
        Self::PeerJoined,
        Self::PeerLeft,
        Self::PeerAway,
        Self::PeerBack,
        Self::UsersChanged,
        Self::Full,
        Self::Offer,
        Self::Answer,
        Self::Candidate,
        Self::Relay,
    ];
}

impl fmt::Display for On {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::NAMES.iter().find(|(_, on)| on == self).map_or("", |(name, _)| name);
        f.write_str(name)
    }
}

/// An `[[in]]` rule for one event name.
#[derive(Debug, Clone, PartialEq)]
pub struct InRule {
    /// The effect of the event.
    pub does: Does,
    /// The shape of the arguments; `None` means key aliases and positions as in `standard`.
    pub(super) args: Option<Vec<Pattern>>,
    /// The shape as the file writes it.
    pub(super) shape: String,
    /// The room that every event of the rule means.
    pub(super) room: Option<RoomId>,
    /// Another name for a relayed event.
    pub(super) rename: Option<String>,
    /// Whether an event that matches chooses the profile.
    pub(super) decides: bool,
}

impl InRule {
    /// Returns the shape of the arguments, as in the file.
    pub fn shape(&self) -> &str {
        &self.shape
    }

    /// Returns whether an event that matches chooses the profile.
    pub fn decides(&self) -> bool {
        self.decides
    }

    /// Returns whether the first argument has the kind that the shape asks for: cheap, and nearly
    /// always right.
    pub(super) fn may_match(&self, first: Option<&Argument<'_>>) -> bool {
        self.args
            .as_ref()
            .and_then(|args| args.first())
            .is_none_or(|pattern| pattern.may_match(first))
    }

    /// Matches the arguments, which `read` returns. Without a shape anything matches, nothing is
    /// read, and nothing is bound. Arguments beyond the shape are ignored.
    pub(super) fn matches<'a, 'b>(
        &self,
        read: impl FnOnce() -> &'b [JsonText<'a>],
    ) -> Option<Bindings<'a>>
    where
        'a: 'b,
    {
        let mut bindings = Bindings::default();
        let Some(patterns) = &self.args else { return Some(bindings) };
        let arguments = read();
        let mut patterns = patterns.iter().enumerate();
        patterns
            .all(|(index, pattern)| pattern.matches(arguments.get(index).copied(), &mut bindings))
            .then_some(bindings)
    }

    pub(super) fn binds(&self, variable: &Variable) -> bool {
        self.args.iter().flatten().any(|pattern| pattern.binds(variable))
    }
}

/// An `[[out]]` rule.
#[derive(Debug, Clone, PartialEq)]
pub struct OutRule {
    /// The name of the event; `None` sends nothing, in place of the event of `standard`.
    pub(super) event: Option<Name>,
    pub(super) args: Vec<Template>,
    /// Names under which the sender sent a signal or a relayed event, if the rule is for those
    /// only.
    pub(super) of: Vec<String>,
    /// One event for each of the other peers.
    pub(super) is_each: bool,
    /// The number of peers in the room, if the rule is for that only.
    pub(super) size: Option<usize>,
    /// Whether the event of `standard` is sent, too, before.
    pub(super) keep: bool,
}

/// The name of a server's event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Name {
    /// That of the relayed event.
    Relayed,
    /// A name of the profile.
    Own(String),
}

/// The longest event in bytes that is sent beside the standard one and carries a list of peers.
const MAX_KEPT_LIST: usize = 16 * 1024;

impl OutRule {
    /// Appends the packets of the rule.
    pub(super) fn expand(&self, context: &Context<'_>, packets: &mut Vec<String>) {
        let Some(name) = &self.event else { return };
        if self.is_each {
            packets.extend(
                context
                    .others()
                    .map(|peer| self.packet(name, &Context { peer: Some(peer), ..*context })),
            );
            return;
        }
        let packet = self.packet(name, context);
        if !(self.keep && packet.len() > MAX_KEPT_LIST && self.uses(template::Variable::is_list)) {
            packets.push(packet);
        }
    }

    fn packet(&self, name: &Name, context: &Context<'_>) -> String {
        let name = match name {
            Name::Own(name) => name,
            Name::Relayed => context.event.unwrap_or_default(),
        };
        let mut out = String::with_capacity(
            256 + context.body.map_or(0, str::len) + context.data.map_or(0, str::len),
        );
        push_head(&mut out, PacketKind::Event, ROOT, None);
        out.push('[');
        push_string(&mut out, name);
        let start = out.len();
        out.push(',');
        expand_list(&self.args, context, &mut out);
        if out.len() == start + 1 {
            out.pop();
        }
        out.push(']');
        out
    }

    /// Returns whether a variable of some kind is used in the arguments.
    pub(super) fn uses(&self, wanted: fn(&template::Variable) -> bool) -> bool {
        self.args.iter().any(|template| template.uses(wanted))
    }

    /// Returns whether each receiver gets something else.
    pub(super) fn is_personal(&self) -> bool {
        self.is_each || self.uses(template::Variable::is_personal)
    }

    /// Returns whether the rule is for events that the sender sent under this name, and names it.
    pub(super) fn is_of(&self, name: &str) -> bool {
        self.of.iter().any(|of| of == name)
    }
}
