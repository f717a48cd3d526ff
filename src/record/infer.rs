//! Inference: from a trace to an event profile and a list of what it does not explain.
//!
//! - `signals` finds the events that carry descriptions and candidates, by the shape of their
//!   bodies;
//! - `membership` finds the room that clients share, the events that join and leave it, and the ids
//!   by which clients are known;
//! - `timeline` follows the clients through their rooms; `attribution` finds the action that caused
//!   each server event;
//! - `occasions` finds after which joins an event is sent;
//! - `presence`, `signals` and `application` turn that into rules; `template` finds what the
//!   occurrences of an event have in common, in variables;
//! - `draft` writes the profile.
//!
//! Everything here is pure and bounded: a trace has at most
//! [`MAX_ENTRIES`](super::trace::MAX_ENTRIES) entries. What cannot be expressed is listed by name
//! with an example, never dropped.

mod application;
mod attribution;
mod draft;
mod membership;
mod occasions;
mod presence;
mod shape;
mod signals;
mod template;
mod timeline;

use std::fmt;

use serde_json::Value;

use self::draft::Draft;
use self::membership::Membership;
use self::timeline::Timeline;
use super::trace::Trace;

/// Maximum number of different entries in the list of what is not explained.
const MAX_UNEXPLAINED: usize = 64;

/// An inferred profile.
#[derive(Debug, Clone, PartialEq)]
pub struct Inferred {
    draft: Draft,
    /// The value of `RELAY_EVENTS` that renames and echoes events as the server does, if any needs
    /// it.
    pub relay_events: Option<String>,
    /// Server events, or parts of them, that the profile does not express.
    pub unexplained: Vec<Unexplained>,
}

/// Something that the profile does not express.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unexplained {
    /// The event, or a part of it.
    pub event: String,
    /// The reason why it cannot be expressed.
    pub reason: String,
    /// An example from the trace.
    pub example: String,
    /// Number of server events that are not reproduced for that reason; 0 if they are, but for a
    /// part.
    pub count: usize,
}

/// An error that prevents an inference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InferError {
    /// No client sent anything.
    #[error("no client sent an event: open the page through the recorder, join and call")]
    Empty,
    /// Only one client was seen.
    #[error("only one client was seen: a call needs two, so open the page in a second tab")]
    Alone,
    /// The clients share no room.
    #[error(
        "the clients share no room: no event names the same room for two of them, and a profile needs one that joins"
    )]
    NoRoom,
    /// No client called.
    #[error("no client sent a description or a candidate: start a call between two tabs")]
    NoCall,
}

impl fmt::Display for Unexplained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` ({}), for example {}", self.event, self.reason, self.example)
    }
}

impl Unexplained {
    fn of_gap(event: &str, gap: template::Gap, count: usize) -> Self {
        Self {
            event: format!("{event}: {}", gap.place),
            reason: gap.reason,
            example: gap.example,
            count,
        }
    }
}

/// Adds to the list, or to the count of an entry that is in it.
fn note(list: &mut Vec<Unexplained>, event: &str, reason: &str, args: &[Value], count: usize) {
    if let Some(known) =
        list.iter_mut().find(|known| known.event == event && known.reason == reason)
    {
        known.count += count;
    } else if list.len() < MAX_UNEXPLAINED {
        let example = match args {
            [one] => shape::example(one),
            _ => shape::example(&Value::from(args)),
        };
        list.push(Unexplained {
            event: event.to_owned(),
            reason: reason.to_owned(),
            example,
            count,
        });
    }
}

/// The kind of description or candidate that an event carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Description {
    Offer,
    Answer,
    Candidate,
}

/// Returns the description or candidate in the arguments of an event. A text of SDP, which does not
/// name its type, is an offer.
pub(super) fn description(args: &[Value]) -> Option<Description> {
    shape::find_signal(args).map(|(_, kind)| match kind {
        shape::Kind::Offer => Description::Offer,
        shape::Kind::Answer => Description::Answer,
        shape::Kind::Candidate => Description::Candidate,
    })
}

/// Returns whether a text is a time in ISO 8601.
pub(super) fn is_time(text: &str) -> bool {
    shape::is_iso_time(&Value::from(text))
}

/// Returns whether a value is a time as JavaScript's `Date.now()` writes it.
pub(super) fn is_epoch(value: &Value) -> bool {
    shape::is_epoch_time(value)
}

/// Infers the profile of the server that a trace was recorded from.
pub fn infer(trace: &Trace) -> Result<Inferred, InferError> {
    match trace.active_clients() {
        0 => return Err(InferError::Empty),
        1 => return Err(InferError::Alone),
        _ => {}
    }
    let names = signals::names(trace);
    if names.is_empty()
        && !trace.sent().any(|(_, _, message)| shape::find_signal(&message.args).is_some())
    {
        return Err(InferError::NoCall);
    }
    let membership = Membership::find(trace, &names).ok_or(InferError::NoRoom)?;
    let timeline = Timeline::follow(trace, &membership, &names);
    let mut draft = Draft::default();
    let mut unexplained = Vec::new();
    presence::requests(trace, &membership, &mut draft);
    let delivered =
        signals::explain(trace, &membership, &timeline, &names, &mut draft, &mut unexplained);
    let attributed: Vec<_> = attribution::attribute(&timeline, trace, &membership, &delivered)
        .into_iter()
        .filter_map(|(index, cause)| match &trace.entries[index].what {
            super::trace::What::Received(message) => {
                Some((index, trace.entries[index].client, message, cause))
            }
            _ => None,
        })
        .collect();
    presence::explain(&membership, &timeline, &attributed, &mut draft, &mut unexplained);
    let relays = application::explain(
        trace,
        &membership,
        &timeline,
        &attributed,
        &mut draft,
        &mut unexplained,
    );
    presence::note_others(&attributed, &mut unexplained);
    presence::note_acknowledgements(trace, &membership, &mut unexplained);
    for event in draft.remove_reserved() {
        note(&mut unexplained, &event, "a name that no rule can have", &[], 0);
    }
    for event in draft.remove_dead() {
        note(
            &mut unexplained,
            &event,
            "means several things that its arguments do not tell apart",
            &[],
            0,
        );
    }
    draft.merge();
    draft.silence();
    let special: Vec<String> =
        relays.iter().filter(|relay| !relay.is_plain()).map(application::Relay::setting).collect();
    let relay_events = (!special.is_empty()).then(|| format!("all,{}", special.join(",")));
    Ok(Inferred { draft, relay_events, unexplained })
}

impl Inferred {
    /// Writes the profile as TOML; `comment` is put before it, each line as a comment.
    pub fn to_toml(&self, name: &str, about: &str, comment: &str) -> String {
        self.draft.to_toml(name, about, comment)
    }
}

#[cfg(test)]
mod tests;
