//! Identifiers that can only hold valid values.
//!
//! A [`RoomId`] and a [`PeerId`] come from clients and are checked once, here; a [`ConnectionId`] is made by the
//! server. Whoever holds one of them need not check it again.

use std::fmt;
use std::sync::Arc;

use uuid::Uuid;

/// The most characters (Unicode scalar values, not bytes) that a room or peer id may have.
pub const MAX_ID_CHARS: usize = 128;

/// Why a text is not an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Nothing is left after trimming white space.
    #[error("must not be empty")]
    Empty,
    /// White space at the beginning or end, where that is not trimmed.
    #[error("must not begin or end with white space")]
    Untrimmed,
    /// More than [`MAX_ID_CHARS`] characters.
    #[error("must have at most {MAX_ID_CHARS} characters")]
    TooLong,
    /// A control character (Unicode category `Cc`), which would corrupt logs and terminals.
    #[error("must not contain control characters")]
    ControlCharacter,
}

/// Trims `text` and checks it against the bounds of an id.
fn checked(text: &str) -> Result<Arc<str>, IdError> {
    let text = text.trim();
    if text.is_empty() {
        return Err(IdError::Empty);
    }
    // Each character has at most four bytes: most texts that are too long are refused without being counted.
    if text.len() > MAX_ID_CHARS * 4 || text.chars().count() > MAX_ID_CHARS {
        return Err(IdError::TooLong);
    }
    if text.chars().any(char::is_control) {
        return Err(IdError::ControlCharacter);
    }
    Ok(text.into())
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        ///
        /// 1 to [`MAX_ID_CHARS`] characters, trimmed, without control characters, case-sensitive. Cloning is cheap.
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Trims and checks `text`.
            pub fn new(text: &str) -> Result<Self, IdError> {
                checked(text).map(Self)
            }

            /// Checks `text`, which must not need trimming.
            pub fn exact(text: &str) -> Result<Self, IdError> {
                if text.trim().len() < text.len() { Err(IdError::Untrimmed) } else { Self::new(text) }
            }

            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
    };
}

text_id! {
    /// Names a room.
    RoomId
}

text_id! {
    /// Names a peer; unique in its room only.
    PeerId
}

impl RoomId {
    /// A room id that nobody can guess: a version 4 UUID.
    pub fn random() -> Self {
        Self(Uuid::new_v4().to_string().into())
    }
}

impl From<ConnectionId> for PeerId {
    fn from(connection: ConnectionId) -> Self {
        Self(connection.to_string().into())
    }
}

/// Names one transport connection: what other peers are told of it, and what a Socket.IO client of version 3 or 4
/// reads as `socket.id`.
///
/// Random (122 bits) and not a secret: it authorises nothing. Its text is 32 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(Uuid);

impl ConnectionId {
    /// A new id.
    pub fn random() -> Self {
        Self(Uuid::new_v4())
    }

    /// Reads the one text that [`Display`](fmt::Display) writes; `None` for anything else, other spellings of the
    /// same number included.
    pub fn parse(text: &str) -> Option<Self> {
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() != 32 || !text.bytes().all(is_digit) {
            return None;
        }
        Uuid::try_parse(text).ok().map(Self)
    }

    /// The id as a number.
    pub fn to_u128(self) -> u128 {
        self.0.as_u128()
    }

    /// An id with a value of one's choice, for tests whose output must be the same each time.
    #[doc(hidden)]
    pub const fn from_u128(value: u128) -> Self {
        Self(Uuid::from_u128(value))
    }
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0.simple(), f)
    }
}

impl fmt::Debug for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_trimmed_and_keeps_its_case() {
        assert_eq!(RoomId::new("  Daily Stand-Up\t").unwrap().as_str(), "Daily Stand-Up");
        assert_ne!(PeerId::new("a").unwrap(), PeerId::new("A").unwrap());
    }

    #[test]
    fn an_exact_id_is_not_trimmed() {
        assert_eq!(PeerId::exact("ann").unwrap().as_str(), "ann");
        for text in [" ann", "ann\t", "\u{2003}ann", " "] {
            assert_eq!(PeerId::exact(text), Err(IdError::Untrimmed), "{text:?}");
        }
        assert_eq!(PeerId::exact(""), Err(IdError::Empty));
    }

    #[test]
    fn an_id_out_of_bounds_is_refused() {
        assert_eq!(RoomId::new(" \n "), Err(IdError::Empty));
        assert_eq!(RoomId::new(&"é".repeat(129)), Err(IdError::TooLong));
        assert_eq!(RoomId::new(&"x".repeat(100_000)), Err(IdError::TooLong));
        assert_eq!(RoomId::new("a\u{0}b"), Err(IdError::ControlCharacter));
        assert_eq!(RoomId::new("a\u{85}b"), Err(IdError::ControlCharacter));
        assert!(RoomId::new(&"é".repeat(128)).is_ok());
    }

    #[test]
    fn a_connection_id_has_one_spelling() {
        let id = ConnectionId::random();
        assert_eq!(ConnectionId::parse(&id.to_string()), Some(id));
        for other in [id.0.to_string(), id.to_string().to_uppercase(), format!("{id} "), String::new()] {
            assert!(other == id.to_string() || ConnectionId::parse(&other).is_none(), "{other}");
        }
    }
}
