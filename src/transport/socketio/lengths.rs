//! Follows the lengths in a payload of Engine.IO 3, `<length>:<packet><length>:<packet>…`, which count UTF-16 code units.
//!
//! The library never comes back from a packet that ends between the two halves of one character: it spins, and takes
//! the thread with it. Whatever else is wrong it finds itself.

/// Where in a payload its reader is.
#[derive(Debug, Default)]
pub(super) struct Lengths {
    /// What has been read of a length.
    length: usize,
    /// What is left of the packet, while in one.
    left: Option<usize>,
}

impl Lengths {
    /// `false` where a packet ends within a character.
    pub(super) fn follow(&mut self, bytes: &[u8]) -> bool {
        bytes.iter().all(|byte| self.step(*byte))
    }

    fn step(&mut self, byte: u8) -> bool {
        let is_continued = byte & 0xc0 == 0x80;
        match (self.left, byte) {
            (Some(_), _) if is_continued => {}
            (Some(left @ 1..), _) => {
                // Four bytes are a pair of surrogates.
                let units = if byte >= 0xf0 { 2 } else { 1 };
                self.left = left.checked_sub(units);
                return self.left.is_some();
            }
            (_, b':') => (self.left, self.length) = (Some(self.length).filter(|length| *length > 0), 0),
            (_, b'0'..=b'9') => {
                self.left = None;
                self.length = self.length.saturating_mul(10).saturating_add(usize::from(byte - b'0'));
            }
            _ => {}
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::Lengths;

    #[test]
    fn a_packet_that_ends_within_a_character_is_found() {
        for (payload, is_whole) in [
            ("2:40", true),
            ("1:22:4\u{e9}0:3:4\u{1f3a5}1:2", true),
            ("1:\u{1f3a5}", false),
            ("2:404:4ab\u{1f3a5}1:2", false),
            ("99999999999999999999999:4", true),
        ] {
            for piece in [1, 2, 3, 100] {
                let mut lengths = Lengths::default();
                let followed = payload.as_bytes().chunks(piece).all(|piece| lengths.follow(piece));
                assert_eq!(followed, is_whole, "{payload} in pieces of {piece}");
            }
        }
    }
}
