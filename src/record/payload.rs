//! The packets in the body of a polling request or response, read from a copy; data that does not
//! fit the format is skipped.
//!
//! Engine.IO 4 separates packets by a byte. Engine.IO 3 puts lengths before them: as text that
//! counts UTF-16 code units, or as bytes where a packet is binary.

use crate::dialect::socketio::packet::Revision;

/// Separates packets in Engine.IO 4.
const SEPARATOR: char = '\u{1e}';

/// Ends the length of a packet where it is written as bytes.
const LENGTH_END: u8 = 0xff;

/// Returns the text packets of a payload, in order.
pub(super) fn packets(revision: Revision, body: &[u8]) -> Vec<String> {
    match revision {
        Revision::V4 => {
            let text = String::from_utf8_lossy(body);
            let packets = text
                .split(SEPARATOR)
                .filter(|packet| !packet.is_empty() && !packet.starts_with('b'));
            packets.map(str::to_owned).collect()
        }
        Revision::V3 if matches!(body.first(), Some(0 | 1)) => binary(body),
        Revision::V3 => lengths(&String::from_utf8_lossy(body)),
    }
}

/// `<length>:<packet>…`
fn lengths(mut text: &str) -> Vec<String> {
    let mut packets = Vec::new();
    // A form-encoded payload of JSONP begins with its key.
    text = text.strip_prefix("d=").unwrap_or(text);
    while let Some((length, rest)) = text.split_once(':') {
        let Ok(mut left) = length.parse::<usize>() else { break };
        let end = rest.char_indices().find(|(_, letter)| {
            let is_end = left == 0;
            left = left.saturating_sub(letter.len_utf16());
            is_end
        });
        let (packet, after) = rest.split_at(end.map_or(rest.len(), |(index, _)| index));
        if !packet.is_empty() && !packet.starts_with('b') {
            packets.push(packet.to_owned());
        }
        text = after;
    }
    packets
}

/// `<0 for text, 1 for binary><digits of the length><255><packet>…`
fn binary(mut body: &[u8]) -> Vec<String> {
    let mut packets = Vec::new();
    while let [kind, rest @ ..] = body {
        let Some(end) = rest.iter().position(|byte| *byte == LENGTH_END) else { break };
        let length = rest[..end]
            .iter()
            .fold(0_usize, |sum, digit| sum.saturating_mul(10).saturating_add(usize::from(*digit)));
        let rest = &rest[end + 1..];
        let (packet, after) = rest.split_at(length.min(rest.len()));
        if *kind == 0 && !packet.is_empty() {
            packets.push(String::from_utf8_lossy(packet).into_owned());
        }
        body = after;
    }
    packets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_separated_by_revision() {
        let of = |revision, body: &[u8]| packets(revision, body);
        assert_eq!(
            of(Revision::V4, "40\u{1e}42[\"é\"]\u{1e}bAAAA".as_bytes()),
            ["40", "42[\"é\"]"]
        );
        assert_eq!(
            of(Revision::V3, "2:409:42[\"é🦀\"]10:b4AAAAAAAA".as_bytes()),
            ["40", "42[\"é🦀\"]"]
        );
        assert_eq!(
            of(Revision::V3, b"\x00\x02\xff40\x01\x03\xff\x04ab\x00\x01\x00\xff42[\"abcdef\"]"),
            ["40", "42[\"abcdef"]
        );
    }

    #[test]
    fn broken_payloads_yield_their_complete_packets() {
        assert_eq!(packets(Revision::V3, b"x:40"), Vec::<String>::new());
        assert_eq!(packets(Revision::V3, b"99:40"), ["40"]);
        assert_eq!(packets(Revision::V3, b"\x00\x09"), Vec::<String>::new());
        assert_eq!(packets(Revision::V4, b""), Vec::<String>::new());
    }
}
