//! The log of messages: at `debug`, one line for each message and one for each request that is refused.
//!
//! A line says what the message is and where it goes, never what is in it. Clients of `/signal` have no ids of their own in
//! the log, only that of their session. Nothing is formatted if the level is off.
//!
//! The guarantee that is easy to break: an Engine.IO session id, which authorizes requests, is in no line. A client may name
//! one as its target.

use tracing::{Level, debug, enabled, field};

use super::polling::Sid;
use crate::dialect::{Dialect, Step};
use crate::id::ConnectionId;
use crate::metrics::Kind;
use crate::room::Code;
use crate::session;

/// The session that a message or a refusal belongs to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sender {
    pub(super) dialect: &'static Dialect,
    pub(super) connection: ConnectionId,
}

impl Sender {
    /// The connection id, unless the protocol keeps it out of the log.
    fn connection(self) -> Option<field::DisplayValue<ConnectionId>> {
        (!self.dialect.has_pair_sessions()).then(|| field::display(self.connection))
    }
}

/// The kind of a message that is counted here; `None` if it is counted when it is carried out.
pub(super) fn kind_of(step: Option<&Step>) -> Option<Kind> {
    Some(match step {
        Some(Step::Do(_)) => return None,
        Some(Step::Refuse(..) | Step::Reject(_)) => Kind::Refused,
        Some(Step::Ignore(_)) => Kind::Unknown,
        Some(
            Step::Media(..)
            | Step::Tell(_)
            | Step::Last(..)
            | Step::Authenticate(_)
            | Step::Resume { .. }
            | Step::Connect { .. }
            | Step::Disconnect,
        ) => Kind::Other,
        Some(Step::Answer(_) | Step::End(_)) | None => Kind::Control,
    })
}

/// Logs a message of this many bytes, by the step that it leads to.
pub(super) fn message(sender: Sender, step: Option<&Step>, correlation: Option<&str>, size: usize) {
    if !enabled!(Level::DEBUG) {
        return;
    }
    let (dialect, connection) = (sender.dialect.name, sender.connection());
    match step {
        Some(Step::Do(command)) => {
            // Not `target`: the JSON format has that for the module that logs.
            let to = command.target().filter(|target| target.as_str().parse::<Sid>().is_err());
            let (room, to) = (command.room().map(field::display), to.map(field::display));
            let kind = session::kind_of(command).as_str();
            debug!(dialect, connection, room, kind, to, correlation, size, "message");
        }
        Some(Step::Media(room, request)) => {
            let (room, kind) = (room.as_ref().map(field::display), request.name());
            debug!(dialect, connection, room, kind, correlation, size, "message");
        }
        step => {
            let kind = kind_of(step).map(Kind::as_str);
            debug!(dialect, connection, kind, correlation, size, "message");
        }
    }
}

/// Logs a request that was refused.
pub(super) fn refused(sender: Sender, code: Code, correlation: Option<&str>) {
    debug!(
        dialect = sender.dialect.name,
        connection = sender.connection(),
        code = code.as_str(),
        correlation,
        "request refused"
    );
}
