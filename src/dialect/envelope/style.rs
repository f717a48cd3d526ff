//! The two spellings of message types.

/// How a client writes the types of its messages; it is answered in the same way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// `room:join`
    Colons,
    /// `room.join`
    Dots,
}

impl Style {
    /// Returns the style of a type; `None` if it is a single word.
    pub fn of(kind: &str) -> Option<Self> {
        if kind.contains(':') {
            Some(Self::Colons)
        } else {
            kind.contains('.').then_some(Self::Dots)
        }
    }
}
