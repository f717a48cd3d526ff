//! Follows the WebSocket frames of a client through its stream (RFC 6455, section 5.2), without buffering them.
//!
//! The WebSocket library hands out whole messages only, and what a client may send is limited in frames, too.

/// The longest head of a frame of a client: two bytes, eight of length, four of mask.
const MAX_HEAD: usize = 14;

/// The length of a mask, the end of the head of a frame of a client.
const MASK: usize = 4;

/// How many further frames of messages count as a message: some clients send large messages in many frames.
const FRAGMENTS: usize = 256;

const CONTINUATION: u8 = 0;

/// Where in the stream of a client its reader is.
#[derive(Debug, Default)]
pub(super) struct FrameReader {
    head: [u8; MAX_HEAD],
    head_length: usize,
    payload_left: usize,
    /// How many further frames of messages have begun since the last that counted.
    fragments: usize,
}

impl FrameReader {
    /// Follows bytes of the stream: how many times another [`FRAGMENTS`] further frames of messages have begun.
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

/// The lengths of a frame's head and of its payload, if the latter can be told yet.
fn frame_head(bytes: &[u8]) -> Option<(usize, usize)> {
    let second = *bytes.get(1)?;
    let mask = if second & 0x80 == 0 { 0 } else { MASK };
    match second & 0x7f {
        126 => Some((4 + mask, usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?)))),
        127 => Some((10 + mask, usize::try_from(u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?)).ok()?)),
        length => Some((2 + mask, usize::from(length))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame of a client.
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
