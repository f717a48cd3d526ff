//! The opaque cursor of the room list in the `Link` header.

use std::sync::LazyLock;

use crate::id::RoomId;
use crate::room::Cursor;

/// Prefix of cursors. Random, so that neither a room id nor a cursor of another process is mistaken
/// for one.
static KEY: LazyLock<String> = LazyLock::new(|| RoomId::random().as_str().replace('-', ""));

/// Encodes a cursor.
pub(super) fn encode(Cursor(position): Cursor) -> String {
    format!("{}{position:x}", *KEY)
}

/// Decodes the text that [`encode`] returns; `None` for anything else.
pub(super) fn decode(text: &str) -> Option<Cursor> {
    let position = text.strip_prefix(KEY.as_str())?;
    u64::from_str_radix(position, 16).ok().map(Cursor).filter(|cursor| encode(*cursor) == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_encoded_cursors_are_decoded() {
        for position in [0, 1, 255, u64::MAX] {
            assert_eq!(decode(&encode(Cursor(position))), Some(Cursor(position)));
        }
        let text = encode(Cursor(10));
        for wrong in [
            "",
            "a",
            &text[1..],
            &text[..32],
            &format!("{text} "),
            &text.to_uppercase(),
            &format!("{}+a", *KEY),
        ] {
            assert_eq!(decode(wrong), None, "{wrong}");
        }
    }
}
