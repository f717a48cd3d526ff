//! Logs messages at `debug`: one line for each message and each refused request.
//!
//! A line has the message's kind, room and recipient, never its content. Clients of `/signal`
//! appear with their session only, not with a connection id. Nothing is formatted if the level is
//! disabled.
//!
//! Invariant: no line contains an Engine.IO session id, which authorizes requests. A client may
//! name one as its target.

use tracing::{Level, debug, enabled, field};

use super::polling::Sid;
use crate::dialect::{Dialect, MediaMessage, Step};
use crate::id::ConnectionId;
use crate::metrics::MessageKind;
use crate::room::Code;
use crate::session;

/// The sender of a message, as it appears in the log.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sender {
    pub(super) dialect: &'static Dialect,
    pub(super) connection: ConnectionId,
}

impl Sender {
    /// Returns the connection id, unless the protocol keeps it out of the log.
    fn connection(self) -> Option<field::DisplayValue<ConnectionId>> {
        (!self.dialect.has_pair_sessions()).then(|| field::display(self.connection))
    }
}

/// Returns the kind under which a message is counted on receipt; `None` if it is counted when its
/// command is executed.
pub(super) fn kind_of(step: Option<&Step>) -> Option<MessageKind> {
    Some(match step {
        Some(Step::Do(_)) => return None,
        Some(Step::Refuse(..) | Step::Reject(_)) => MessageKind::Refused,
        Some(Step::Ignore(_)) => MessageKind::Unknown,
        Some(
            Step::Media(..)
            | Step::Tell(_)
            | Step::Last(..)
            | Step::Authenticate(_)
            | Step::Resume { .. }
            | Step::Connect { .. }
            | Step::Disconnect,
        ) => MessageKind::Other,
        Some(Step::Answer(_) | Step::End(_)) | None => MessageKind::Control,
    })
}

/// Logs a message of `size` bytes by the step that it decodes to.
pub(super) fn message(sender: Sender, step: Option<&Step>, correlation: Option<&str>, size: usize) {
    if !enabled!(Level::DEBUG) {
        return;
    }
    let (dialect, connection) = (sender.dialect.name, sender.connection());
    match step {
        Some(Step::Do(command)) => {
            // Not named `target`: the JSON format uses that for the logging module.
            let to = command.target().filter(|target| target.as_str().parse::<Sid>().is_err());
            let (room, to) = (command.room().map(field::display), to.map(field::display));
            let kind = session::kind_of(command).as_str();
            debug!(dialect, connection, room, kind, to, correlation, size, "message");
        }
        Some(Step::Media(MediaMessage { room, request, .. })) => {
            let (room, kind) = (room.as_ref().map(field::display), request.name());
            debug!(dialect, connection, room, kind, correlation, size, "message");
        }
        step => {
            let kind = kind_of(step).map(MessageKind::as_str);
            debug!(dialect, connection, kind, correlation, size, "message");
        }
    }
}

/// Logs a refused request.
pub(super) fn refused(sender: Sender, code: Code, correlation: Option<&str>) {
    debug!(
        dialect = sender.dialect.name,
        connection = sender.connection(),
        code = code.as_str(),
        correlation,
        "request refused"
    );
}
