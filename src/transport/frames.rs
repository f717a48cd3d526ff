//! Counts continuation frames in a WebSocket byte stream (RFC 6455, section 5.2) without buffering
//! it.
//!
//! The WebSocket library returns whole messages only, but the rate limit counts their fragments,
//! too.

/// Maximum size of a frame header from a client, in bytes: two, eight of length, four of mask.
const MAX_HEAD: usize = 14;

/// Size of the mask at the end of a client's frame header, in bytes.
const MASK: usize = 4;

/// Number of continuation frames that count as one message: some clients split large messages into
/// many.
const FRAGMENTS: usize = 256;

const CONTINUATION: u8 = 0;

/// Parser state within a client's byte stream.
#[derive(Debug, Default)]
pub(super) struct FrameReader {
    head: [u8; MAX_HEAD],
    head_length: usize,
    payload_left: usize,
    /// Continuation frames since the last full group of [`FRAGMENTS`].
    fragments: usize,
}

impl FrameReader {
    /// Consumes bytes of the stream and returns how many groups of [`FRAGMENTS`] continuation
    /// frames they complete.
    pub(super) fn follow(&mut self, mut bytes: &[u8]) -> usize {
        while let Some(first) = bytes.first() {
            if self.payload_left > 0 {
                let here = self.payload_left.min(bytes.len());
                self.payload_left -= here;
                bytes = &bytes[here..];
                continue;
            }
            self.head[self.head_length] = *first;
            self.head_length += 1;
            bytes = &bytes[1..];
            if let Some((head, length)) = frame_head(&self.head[..self.head_length])
                && head == self.head_length
            {
                self.fragments += usize::from(self.head[0] & 0x0f == CONTINUATION);
                (self.head_length, self.payload_left) = (0, length);
            }
        }
        let counted = self.fragments / FRAGMENTS;
        self.fragments %= FRAGMENTS;
        counted
    }
}

/// Returns the sizes of a frame's header and payload, or `None` if the header is incomplete.
fn frame_head(bytes: &[u8]) -> Option<(usize, usize)> {
    let second = *bytes.get(1)?;
    let mask = if second & 0x80 == 0 { 0 } else { MASK };
    match second & 0x7f {
        126 => Some((4 + mask, usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?)))),
        127 => Some((
            10 + mask,
            usize::try_from(u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?)).ok()?,
        )),
        length => Some((2 + mask, usize::from(length))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a frame as a client sends it.
    fn frame(first: u8, length: usize) -> Vec<u8> {
        let mut frame = vec![first];
        match length {
            0..126 => frame.push(0x80 | u8::try_from(length).unwrap()),
            126..65_536 => {
                frame.push(0xfe);
                frame.extend(u16::try_from(length).unwrap().to_be_bytes());
            }
            _ => {
                frame.push(0xff);
                frame.extend((length as u64).to_be_bytes());
            }
        }
        frame.extend([1, 2, 3, 4]);
        frame.resize(frame.len() + length, 0);
        frame
    }

    #[test]
    fn fragments_are_counted_however_the_stream_is_cut() {
        let stream = [
            frame(0x81, 4),
            frame(0x01, 70_000),
            frame(0x00, 0),
            frame(0x89, 4),
            frame(0x00, 300),
            frame(0x80, 125),
            frame(0x81, 0),
            frame(0x88, 2),
        ]
        .concat();
        for piece in [1, 2, 3, 7, 512, stream.len()] {
            let mut reader = FrameReader::default();
            let counted: usize = stream.chunks(piece).map(|piece| reader.follow(piece)).sum();
            assert_eq!((counted, reader.fragments), (0, 3), "in pieces of {piece}");
            let rest = frame(0x00, 1).repeat(2 * FRAGMENTS - 3);
            let counted: usize = rest.chunks(piece).map(|piece| reader.follow(piece)).sum();
            assert_eq!((counted, reader.fragments), (2, 0), "in pieces of {piece}");
        }
    }
}
