//! Valid names of application messages.
//!
//! For Socket.IO clients the name becomes the name of an event. Names of the server's own events
//! are [reserved](is_reserved), so that no client can forge a server event.

use crate::dialect::DecodeError;

/// Maximum length of a name, in characters.
const MAX_CHARS: usize = 128;

/// The events that the server sends to Socket.IO clients.
const SERVER_EVENTS: [&str; 18] = [
    "room-users",
    "room-joined",
    "user-joined",
    "user-left",
    "user-away",
    "user-back",
    "user-updated",
    "user-connected",
    "user-disconnected",
    "existing-peers",
    "existing-users",
    "all-users",
    "existing-participants",
    "participants-list",
    "offer",
    "answer",
    "ice-candidate",
    "error",
];

/// The events that a Socket.IO client emits to its own application.
const CLIENT_EVENTS: [&str; 13] = [
    "connect",
    "connecting",
    "connect_error",
    "connect_timeout",
    "disconnect",
    "disconnecting",
    "reconnect",
    "reconnecting",
    "reconnect_attempt",
    "reconnect_error",
    "reconnect_failed",
    "newListener",
    "removeListener",
];

/// Returns whether the server or the Socket.IO client library emits events of this name.
pub fn is_reserved(name: &str) -> bool {
    SERVER_EVENTS.contains(&name) || CLIENT_EVENTS.contains(&name)
}

/// Checks the name of an application message, which is in `field`.
pub fn check_name(field: &'static str, name: &str) -> Result<(), DecodeError> {
    if is_reserved(name) {
        return Err(DecodeError::WrongType { field, expected: "a name that is not reserved" });
    }
    let length = name.chars().count();
    if length == 0 || length > MAX_CHARS || name.chars().any(char::is_control) {
        return Err(DecodeError::WrongType {
            field,
            expected: "1 to 128 characters without control characters",
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_server_events_are_refused() {
        for name in ["user-joined", "offer", "error", "connect", "newListener"] {
            let error = check_name("topic", name).unwrap_err();
            assert_eq!(error.to_string(), "topic: must be a name that is not reserved", "{name}");
        }
        assert_eq!(check_name("topic", "chat-message"), Ok(()));
    }

    #[test]
    fn names_are_bounded() {
        assert_eq!(check_name("topic", &"ä".repeat(MAX_CHARS)), Ok(()));
        for name in ["", "a\nb", &"a".repeat(MAX_CHARS + 1)] {
            assert!(check_name("topic", name).is_err(), "{name:?}");
        }
    }
}
