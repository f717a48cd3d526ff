//! The opaque cursor of the room list, as text in the `Link` header.

use std::sync::LazyLock;

use crate::id::RoomId;
use crate::room::Cursor;

/// Marks our cursors. Random, so that no room id is taken for one, nor the cursor of another process for one of ours.
static KEY: LazyLock<String> = LazyLock::new(|| RoomId::random().as_str().replace('-', ""));

/// The text of a cursor.
pub(super) fn encode(Cursor(position): Cursor) -> String {
    format!("{}{position:x}", *KEY)
}

/// Reads the text that [`encode`] writes; `None` for anything else.
pub(super) fn decode(text: &str) -> Option<Cursor> {
    let position = text.strip_prefix(KEY.as_str())?;
    u64::from_str_radix(position, 16).ok().map(Cursor).filter(|cursor| encode(*cursor) == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_text_of_a_cursor_is_decoded() {
        for position in [0, 1, 255, u64::MAX] {
            assert_eq!(decode(&encode(Cursor(position))), Some(Cursor(position)));
        }
        let text = encode(Cursor(10));
        for wrong in
            ["", "a", &text[1..], &text[..32], &format!("{text} "), &text.to_uppercase(), &format!("{}+a", *KEY)]
        {
            assert_eq!(decode(wrong), None, "{wrong}");
        }
    }
}
