//! Interprets an event of a client: as a command, by a rule of the session's profile or as in
//! `standard`, or as an application event to relay.

use bytes::Bytes;

use super::application::{self, Call};
use super::choice::Choice;
use super::decode::{ClientEvent, EventRequest, RENEWAL, renewal};
use super::profile::{InRule, Recognized, command as by_rule};
use super::sender::Note;
use crate::dialect::json::Arguments;
use crate::dialect::{DecodeError, message};
use crate::room::{Command, SignalKind};

/// The meaning of a client's event.
#[derive(Debug)]
pub enum Interpreted {
    /// A command.
    Command(Command),
    /// A newer token.
    Renewal(String),
    /// No action, by a rule of the profile.
    Nothing,
}

/// Interprets an event; `arguments` were read from `text`.
pub fn interpret<'a>(
    choice: &Choice,
    arguments: &Arguments<'a>,
    text: &'a str,
    join_key: &mut Option<&'static str>,
    attachments: &[Bytes],
) -> Result<Interpreted, DecodeError> {
    choice.claim(arguments, text);
    let call = Call { arguments, join_key: *join_key, attachments };
    let command = match choice.profile().recognize(arguments, text) {
        Recognized::Rule(rule, bindings) => by_rule::command(rule, &bindings, call)?,
        Recognized::Mismatch(rules) => {
            let shapes: Vec<&str> = rules.iter().map(InRule::shape).collect();
            return Err(DecodeError::NoMatch { shapes: shapes.join(" or ") });
        }
        Recognized::Unknown => match ClientEvent::from_name(&arguments.name) {
            Some(_) if !attachments.is_empty() => return Err(DecodeError::Binary),
            Some(event) => {
                let request = EventRequest::new(event, arguments);
                if event == ClientEvent::JoinRoom {
                    *join_key = request.room_key();
                }
                Some(request.command()?)
            }
            None if arguments.name == RENEWAL => {
                return renewal(arguments).map(Interpreted::Renewal);
            }
            None => Some(relay(choice, call)?),
        },
    };
    Ok(match command {
        None => Interpreted::Nothing,
        Some(Command::Relay { room, target, mut signal }) => {
            if signal.kind != SignalKind::Message {
                choice.note_signal();
            }
            if let Some(profile) = choice.chosen() {
                signal.note = Note { profile: Some(profile), ..Note::of(&signal) }.pack();
            }
            Interpreted::Command(Command::Relay { room, target, signal })
        }
        Some(command) => Interpreted::Command(command),
    })
}

/// Decodes an application event that no rule names.
fn relay(choice: &Choice, call: Call<'_, '_>) -> Result<Command, DecodeError> {
    let name = &*call.arguments.name;
    message::check_name("event", name)?;
    let relayed = choice.profiles().relay().find(name).ok_or(DecodeError::NotRelayed)?;
    if choice.profile().sends(name) || choice.profile().sends(relayed.name) {
        return Err(DecodeError::WrongType {
            field: "event",
            expected: "a name that is not reserved",
        });
    }
    choice.profiles().suggest(name);
    application::command(call, relayed)
}
