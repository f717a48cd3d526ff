//! Parses packet boundaries in the body of a polling request, without buffering it.
//!
//! There are three formats: Engine.IO 4 separates packets by a byte; Engine.IO 3 precedes each with
//! its length, either as text that counts UTF-16 code units (`<length>:<packet>…`), or as bytes.
//!
//! The library loops forever on a text packet of Engine.IO 3 whose length ends within a surrogate
//! pair, so such a packet is refused here. The library detects all other errors.

use http::HeaderValue;

use crate::dialect::socketio::packet::Revision;

/// Separates packets in Engine.IO 4.
pub(super) const SEPARATOR: u8 = 0x1e;

/// Ends a packet length that is written as bytes.
const LENGTH_END: u8 = 0xff;

/// Number of bytes that identify a packet's type.
pub(super) const PREFIX: usize = 1;

/// The response to a poll.
#[derive(Debug)]
pub(super) struct PollResponse {
    revision: Revision,
    payload: Vec<u8>,
    packets: usize,
}

impl PollResponse {
    pub(super) fn new(revision: Revision) -> Self {
        Self { revision, payload: Vec::new(), packets: 0 }
    }

    /// Returns the response that opens a session, as the library has written it, with another
    /// session id.
    pub(super) fn opening(revision: Revision, body: &[u8], sid: &str, other: &str) -> Self {
        let text = String::from_utf8_lossy(body);
        let packet = match revision {
            Revision::V4 => &*text,
            Revision::V3 => text.split_once(':').map_or(&*text, |(_, packet)| packet),
        };
        let mut response = Self::new(revision);
        response.push(packet.replacen(sid, other, 1).as_bytes());
        response
    }

    /// Appends a text packet.
    pub(super) fn push(&mut self, packet: &[u8]) {
        match self.revision {
            Revision::V4 if self.packets > 0 => self.payload.push(SEPARATOR),
            Revision::V4 => {}
            Revision::V3 => {
                let length: usize =
                    String::from_utf8_lossy(packet).chars().map(char::len_utf16).sum();
                self.payload.extend_from_slice(format!("{length}:").as_bytes());
            }
        }
        self.payload.extend_from_slice(packet);
        self.packets += 1;
    }

    /// Appends a payload of Engine.IO 3 whose packets already have their lengths.
    pub(super) fn push_payload(&mut self, payload: &[u8]) {
        self.payload.extend_from_slice(payload);
        self.packets += payload.split(|byte| *byte == b':').skip(1).count();
    }

    pub(super) fn packets(&self) -> usize {
        self.packets
    }

    pub(super) fn len(&self) -> usize {
        self.payload.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.payload.is_empty()
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.payload
    }
}

/// A packet's type, and the first bytes of its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packet<'a> {
    /// A text packet: its first [`PREFIX`] bytes, or fewer if it is shorter.
    Text(&'a [u8]),
    /// An attachment.
    Binary,
}

/// Encoding of the packets in a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// Engine.IO 4: separated by a byte.
    Separated,
    /// Engine.IO 3: each after its length, as text.
    Lengths,
    /// Engine.IO 3: each after its kind and its length, as bytes.
    Bytes,
}

impl Format {
    /// Returns the format of a body with this content type.
    pub(super) fn of(revision: Revision, content_type: Option<&HeaderValue>) -> Self {
        match revision {
            Revision::V4 => Self::Separated,
            Revision::V3 if content_type.is_some_and(|kind| kind == "application/octet-stream") => {
                Self::Bytes
            }
            Revision::V3 => Self::Lengths,
        }
    }
}

/// Parser state within a payload.
#[derive(Debug)]
pub(super) struct PacketReader {
    format: Format,
    /// The length of the next packet, as far as it is read.
    length: usize,
    /// Rest of the current packet, in code units or bytes; `None` between packets.
    left: Option<usize>,
    /// Whether the type of the next packet was read, where it precedes the length.
    has_kind: bool,
    is_binary: bool,
    /// First bytes of the current packet, until they are reported.
    prefix: Option<([u8; PREFIX], usize)>,
}

impl PacketReader {
    pub(super) fn new(format: Format) -> Self {
        let prefix = (format == Format::Separated).then_some(([0; PREFIX], 0));
        Self { format, length: 0, left: None, has_kind: false, is_binary: false, prefix }
    }

    /// Parses bytes of the payload and reports each packet to `accept`. Returns false if a packet
    /// is not accepted or ends within a character.
    pub(super) fn parse(
        &mut self,
        bytes: &[u8],
        mut accept: impl FnMut(Packet<'_>) -> bool,
    ) -> bool {
        bytes.iter().all(|byte| match self.format {
            Format::Separated => self.step_separated(*byte, &mut accept),
            Format::Lengths => self.step_lengths(*byte, &mut accept),
            Format::Bytes => self.step_bytes(*byte, &mut accept),
        })
    }

    /// Ends the payload, and reports the last packet of Engine.IO 4.
    pub(super) fn finish(&mut self, mut accept: impl FnMut(Packet<'_>) -> bool) -> bool {
        let is_within = self.prefix.is_some_and(|(_, length)| length > 0);
        self.format != Format::Separated || !is_within || self.report(&mut accept)
    }

    fn begin(&mut self, left: usize) {
        (self.left, self.length) = (Some(left).filter(|left| *left > 0), 0);
        self.prefix = self.left.map(|_| ([0; PREFIX], 0));
    }

    /// Handles a byte of a packet.
    fn read_byte(&mut self, byte: u8, accept: &mut impl FnMut(Packet<'_>) -> bool) -> bool {
        let Some((prefix, length)) = &mut self.prefix else { return true };
        prefix[*length] = byte;
        *length += 1;
        *length < PREFIX || self.report(accept)
    }

    fn report(&mut self, accept: &mut impl FnMut(Packet<'_>) -> bool) -> bool {
        let Some((prefix, length)) = self.prefix.take() else { return true };
        let is_binary = self.is_binary || prefix[0] == b'b';
        accept(if is_binary { Packet::Binary } else { Packet::Text(&prefix[..length]) })
    }

    fn step_separated(&mut self, byte: u8, accept: &mut impl FnMut(Packet<'_>) -> bool) -> bool {
        if byte != SEPARATOR {
            return self.read_byte(byte, accept);
        }
        let accepted = self.report(accept);
        self.prefix = Some(([0; PREFIX], 0));
        accepted
    }

    fn step_lengths(&mut self, byte: u8, accept: &mut impl FnMut(Packet<'_>) -> bool) -> bool {
        let is_continued = byte & 0xc0 == 0x80;
        match (self.left, byte) {
            (Some(0), _) if is_continued => {}
            (Some(1..), _) if is_continued => return self.read_byte(byte, accept),
            (Some(left @ 1..), _) => {
                // A four-byte character is a surrogate pair.
                let units = if byte >= 0xf0 { 2 } else { 1 };
                self.left = left.checked_sub(units);
                let Some(left) = self.left else { return false };
                return self.read_byte(byte, accept) && (left > 0 || self.report(accept));
            }
            (_, b':') => self.begin(self.length),
            (_, b'0'..=b'9') => {
                self.left = None;
                self.length =
                    self.length.saturating_mul(10).saturating_add(usize::from(byte - b'0'));
            }
            _ => {}
        }
        true
    }

    fn step_bytes(&mut self, byte: u8, accept: &mut impl FnMut(Packet<'_>) -> bool) -> bool {
        match (self.left, byte) {
            (Some(left), _) => {
                self.left = Some(left - 1).filter(|left| *left > 0);
                return self.read_byte(byte, accept)
                    && (self.left.is_some() || self.report(accept));
            }
            (None, LENGTH_END) => {
                self.begin(self.length);
                self.has_kind = false;
            }
            (None, kind) if !self.has_kind => (self.has_kind, self.is_binary) = (true, kind == 1),
            (None, digit) => {
                self.length =
                    self.length.saturating_mul(10).saturating_add(usize::from(digit % 10));
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packets(format: Format, payload: &[u8], chunk: usize) -> Option<Vec<String>> {
        let (mut reader, mut seen) = (PacketReader::new(format), Vec::new());
        let mut accept = |packet: Packet<'_>| {
            seen.push(match packet {
                Packet::Text(prefix) => String::from_utf8_lossy(prefix).into_owned(),
                Packet::Binary => "attachment".to_owned(),
            });
            true
        };
        let is_valid = payload.chunks(chunk).all(|chunk| reader.parse(chunk, &mut accept));
        (is_valid && reader.finish(&mut accept)).then_some(seen)
    }

    #[test]
    fn packets_are_found_in_every_format() {
        for chunk in [1, 2, 3, 100] {
            let separated =
                packets(Format::Separated, b"40\x1e3\x1e458-[\"x\"]\x1ebAAAA\x1e42[1]", chunk);
            assert_eq!(separated.unwrap(), ["4", "3", "4", "attachment", "4"], "{chunk}");
            let lengths =
                packets(Format::Lengths, "2:401:26:42[\"\u{e9}\"]6:b4AAAA".as_bytes(), chunk);
            assert_eq!(lengths.unwrap(), ["4", "2", "4", "attachment"], "{chunk}");
            let bytes = packets(
                Format::Bytes,
                b"\x00\x02\xff40\x00\x01\x00\xff42[\"aaaaaa\x01\x03\xff\x04ab",
                chunk,
            );
            assert_eq!(bytes.unwrap(), ["4", "4", "attachment"], "{chunk}");
        }
    }

    #[test]
    fn responses_are_written_in_the_format_of_the_revision() {
        let written = |revision| {
            let mut response = PollResponse::new(revision);
            response.push("42[\"\u{1f3a5}\"]".as_bytes());
            response.push(b"2");
            assert_eq!(response.packets(), 2);
            String::from_utf8(response.into_bytes()).unwrap()
        };
        assert_eq!(written(Revision::V4), "42[\"\u{1f3a5}\"]\u{1e}2");
        assert_eq!(written(Revision::V3), "8:42[\"\u{1f3a5}\"]1:2");
    }

    #[test]
    fn packet_that_ends_within_a_character_is_found() {
        for (payload, is_whole) in [
            ("2:40", true),
            ("1:22:4\u{e9}0:3:4\u{1f3a5}1:2", true),
            ("1:\u{1f3a5}", false),
            ("2:404:4ab\u{1f3a5}1:2", false),
            ("99999999999999999999999:4", true),
        ] {
            for chunk in [1, 2, 3, 100] {
                let is_valid = packets(Format::Lengths, payload.as_bytes(), chunk).is_some();
                assert_eq!(is_valid, is_whole, "{payload} in chunks of {chunk}");
            }
        }
    }

    #[test]
    fn reading_ends_at_a_packet_that_is_not_accepted() {
        let mut reader = PacketReader::new(Format::Separated);
        let mut seen = 0;
        assert!(!reader.parse(b"40\x1e40\x1e40", |_| {
            seen += 1;
            seen < 2
        }));
        assert_eq!(seen, 2);
    }
}
