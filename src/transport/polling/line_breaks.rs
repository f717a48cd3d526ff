//! Removes line breaks from base64 packets of polling clients, which engineioxide does not decode.
//!
//! The official Java client encodes binary attachments as MIME does (RFC 2045, section 6.8): with a
//! line break after every 76 characters and at the end.

use bytes::Bytes;

use super::payload::{Format, SEPARATOR};

/// Rewrites the body of a POST request, chunk by chunk.
#[derive(Debug)]
pub(super) enum LineBreaks {
    /// Engine.IO 4: packets are separated by a byte.
    Separated(Separated),
    /// Engine.IO 3: the length of a packet precedes it as text.
    Lengths(Lengths),
    /// Engine.IO 3 in binary: attachments are not base64.
    Bytes,
}

impl LineBreaks {
    /// Creates a rewriter for bodies of at most `max` bytes.
    pub(super) fn new(format: Format, max: usize) -> Self {
        match format {
            Format::Separated => Self::Separated(Separated { is_start: true, is_binary: false }),
            Format::Lengths => Self::Lengths(Lengths::new(max)),
            Format::Bytes => Self::Bytes,
        }
    }

    /// Rewrites the next chunk of the body, and returns what can be passed on.
    pub(super) fn strip(&mut self, chunk: Bytes) -> Bytes {
        match self {
            Self::Separated(separated) => separated.strip(chunk),
            Self::Lengths(lengths) => lengths.strip(&chunk).into(),
            Self::Bytes => chunk,
        }
    }

    /// Returns the rest when the body ends.
    pub(super) fn finish(&mut self) -> Bytes {
        match self {
            Self::Lengths(lengths) => lengths.release().into(),
            Self::Separated(_) | Self::Bytes => Bytes::new(),
        }
    }
}

/// State within a payload of Engine.IO 4.
#[derive(Debug)]
pub(super) struct Separated {
    /// Whether the next byte begins a packet.
    is_start: bool,
    is_binary: bool,
}

impl Separated {
    fn strip(&mut self, chunk: Bytes) -> Bytes {
        let mut is_kept = |byte: u8| {
            if byte == SEPARATOR {
                (self.is_start, self.is_binary) = (true, false);
            } else if std::mem::take(&mut self.is_start) {
                self.is_binary = byte == b'b';
            }
            !(self.is_binary && is_line_break(byte))
        };
        // Usually there are none, and nothing is copied.
        let mut stripped: Option<Vec<u8>> = None;
        for (index, byte) in chunk.iter().enumerate() {
            let kept = is_kept(*byte);
            match &mut stripped {
                Some(stripped) if kept => stripped.push(*byte),
                None if !kept => stripped = Some(chunk[..index].to_vec()),
                _ => {}
            }
        }
        stripped.map_or(chunk, Bytes::from)
    }
}

/// Maximum number of characters of a packet length, with its colon.
const MAX_LENGTH_DIGITS: usize = 20;

/// State within a payload of Engine.IO 3. A base64 packet is buffered until it is complete, since
/// removing line breaks changes its length.
#[derive(Debug)]
pub(super) struct Lengths {
    max: usize,
    /// Digits of the next packet's length, until the first byte of the packet.
    length: Vec<u8>,
    /// Rest of the current packet, in UTF-16 code units.
    left: usize,
    /// A base64 packet that is not complete yet.
    buffered: Option<Vec<u8>>,
}

impl Lengths {
    fn new(max: usize) -> Self {
        Self { max, length: Vec::new(), left: 0, buffered: None }
    }

    fn strip(&mut self, chunk: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(chunk.len());
        for byte in chunk {
            self.step(*byte, &mut out);
        }
        out
    }

    fn step(&mut self, byte: u8, out: &mut Vec<u8>) {
        let is_continued = byte & 0xc0 == 0x80;
        if self.left == 0 && !is_continued {
            self.step_length(byte, out);
            return;
        }
        if self.left > 0 && !self.length.is_empty() && byte == b'b' && self.buffered.is_none() {
            self.buffered = Some(Vec::new());
        }
        if !is_continued {
            // A four-byte character is a surrogate pair.
            self.left = self.left.saturating_sub(if byte >= 0xf0 { 2 } else { 1 });
        }
        match &mut self.buffered {
            // Anything else is invalid or too long, and the library refuses it.
            Some(buffered) if byte.is_ascii() && buffered.len() < self.max => {
                buffered.push(byte);
                if self.left == 0 {
                    self.length.clear();
                    let mut packet = self.buffered.take().unwrap_or_default();
                    packet.retain(|byte| !is_line_break(*byte));
                    out.extend_from_slice(format!("{}:", packet.len()).as_bytes());
                    out.append(&mut packet);
                }
            }
            _ => {
                out.append(&mut self.release());
                out.push(byte);
            }
        }
    }

    fn step_length(&mut self, byte: u8, out: &mut Vec<u8>) {
        self.length.push(byte);
        if byte == b':' {
            let digits = &self.length[..self.length.len() - 1];
            self.left = std::str::from_utf8(digits)
                .ok()
                .and_then(|digits| digits.parse().ok())
                .unwrap_or(0);
        }
        if (byte == b':' && self.left == 0) || self.length.len() > MAX_LENGTH_DIGITS {
            out.append(&mut self.length);
        }
    }

    /// Returns the buffered bytes unchanged.
    fn release(&mut self) -> Vec<u8> {
        let mut released = std::mem::take(&mut self.length);
        released.append(&mut self.buffered.take().unwrap_or_default());
        released
    }
}

fn is_line_break(byte: u8) -> bool {
    matches!(byte, b'\r' | b'\n')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stripped(format: Format, payload: &'static [u8], chunk: usize) -> Vec<u8> {
        let mut breaks = LineBreaks::new(format, 100);
        let mut stripped: Vec<u8> = Vec::new();
        for chunk in payload.chunks(chunk) {
            stripped.extend_from_slice(&breaks.strip(Bytes::from_static(chunk)));
        }
        stripped.extend_from_slice(&breaks.finish());
        stripped
    }

    #[test]
    fn line_breaks_are_removed_from_binary_packets_only() {
        for chunk in [1, 2, 3, 100] {
            let separated =
                stripped(Format::Separated, b"bAQ\r\nID\n\x1e42[\"a\nb\"]\x1ebAA\n==", chunk);
            assert_eq!(separated, b"bAQID\x1e42[\"a\nb\"]\x1ebAA==", "chunks of {chunk}");
            let payload = "9:b4AQ\r\nID\n9:42[\"a\nb\"]1:24:4\u{1f3a5}\u{e9}7:b4AA\n==".as_bytes();
            let expected = "6:b4AQID9:42[\"a\nb\"]1:24:4\u{1f3a5}\u{e9}6:b4AA==".as_bytes();
            assert_eq!(stripped(Format::Lengths, payload, chunk), expected, "chunks of {chunk}");
            assert_eq!(
                stripped(Format::Bytes, b"\x01\x03\xff\x04\n\n", chunk),
                b"\x01\x03\xff\x04\n\n"
            );
        }
    }

    #[test]
    fn malformed_payload_is_passed_on_unchanged() {
        for payload in [
            &b"6:b4AQ\n"[..],
            b"0:1:2",
            b"x:b4\n",
            b"5:b\xc3\xa9\n\n\n",
            b"12",
            b"99999999999999999999999999:b4\n",
            b"3:b\xf0\x9f\x8e\xa5",
        ] {
            for chunk in [1, 2, 3, 100] {
                assert_eq!(stripped(Format::Lengths, payload, chunk), payload, "chunks of {chunk}");
            }
        }
    }

    #[test]
    fn packet_longer_than_a_body_is_not_buffered() {
        let mut lengths = Lengths::new(8);
        let passed_on = lengths.strip(b"1000:b4AQIDAQIDAQ\nID");
        assert!(passed_on.starts_with(b"1000:b4AQIDAQ"), "{passed_on:?}");
        assert!(lengths.buffered.is_none());
    }
}
