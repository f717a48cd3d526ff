//! Follows the WebSocket frames of a client through its stream (RFC 6455, section 5.2), without buffering them.
//!
//! The WebSocket library hands out whole messages only. What a client may send is limited in frames, too, and some packets
//! must be refused before a library acts on them: [`FrameReader`] finds both while the bytes pass.

/// How many bytes of a message are seen: enough to tell every kind of Socket.IO packet.
pub(super) const PREFIX: usize = 4;

/// How many further frames of messages are told together: some clients send large messages in many frames.
pub(super) const FRAGMENTS: u32 = 256;

/// The longest head of a frame of a client: two bytes, eight of length, four of mask.
const MAX_HEAD: usize = 14;

/// The length of a mask, the end of the head of a frame of a client.
const MASK: usize = 4;

const CONTINUATION: u8 = 0;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;

/// What is found in a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sighting<'a> {
    /// A text message, by its first bytes: fewer than [`PREFIX`] if it has no more.
    Text(&'a [u8]),
    /// A binary message.
    Binary,
    /// Another [`FRAGMENTS`] further frames of messages.
    Fragments,
    /// A ping, to be answered.
    Ping,
    /// A close frame, and whether it has a status: one without is a transport that is given up, not a client that leaves.
    Close {
        /// Whether there is a status.
        has_status: bool,
    },
    /// A pong, or a frame that makes no sense.
    Other,
}

/// Where in the stream of a client its reader is.
#[derive(Debug, Default)]
pub(super) struct FrameReader {
    head: [u8; MAX_HEAD],
    head_length: usize,
    payload_length: usize,
    payload_left: usize,
    /// The first bytes of the message, which may be in several frames, until they were seen.
    prefix: Option<([u8; PREFIX], usize)>,
    /// How many frames have ended, of any kind.
    frames: usize,
    /// How many further frames of messages have begun.
    fragments: u32,
    /// Whether a frame was not accepted: nothing passes any more.
    is_refused: bool,
}

impl FrameReader {
    /// How many frames have ended, of any kind.
    pub(super) fn frames(&self) -> usize {
        self.frames
    }

    /// Follows bytes of the stream and tells `accept` what is in them. Returns how many of them may pass: all, or those
    /// before the frame that was not accepted.
    pub(super) fn follow(&mut self, bytes: &[u8], mut accept: impl FnMut(Sighting<'_>) -> bool) -> usize {
        if self.is_refused {
            return 0;
        }
        let (mut at, mut began) = (0, 0);
        while at < bytes.len() {
            let accepted = if self.payload_left > 0 {
                let here = self.payload_left.min(bytes.len() - at);
                let accepted = self.payload(&bytes[at..at + here], &mut accept);
                at += here;
                accepted
            } else {
                if self.head_length == 0 {
                    began = at;
                }
                self.head[self.head_length] = bytes[at];
                self.head_length += 1;
                at += 1;
                match frame_head(&self.head[..self.head_length]) {
                    Some((head, length)) if head == self.head_length => self.begin(length, &mut accept),
                    _ => true,
                }
            };
            if !accepted {
                self.is_refused = true;
                return began;
            }
        }
        bytes.len()
    }

    fn opcode(&self) -> u8 {
        self.head[0] & 0x0f
    }

    /// The head of a frame has come whole.
    fn begin(&mut self, length: usize, accept: &mut impl FnMut(Sighting<'_>) -> bool) -> bool {
        (self.payload_length, self.payload_left) = (length, length);
        let accepted = match self.opcode() {
            CONTINUATION => {
                self.fragments = self.fragments.wrapping_add(1);
                !self.fragments.is_multiple_of(FRAGMENTS) || accept(Sighting::Fragments)
            }
            // Told by its payload.
            1 => {
                self.prefix = Some(([0; PREFIX], 0));
                true
            }
            BINARY => accept(Sighting::Binary),
            CLOSE => accept(Sighting::Close { has_status: length > 0 }),
            PING => accept(Sighting::Ping),
            _ => accept(Sighting::Other),
        };
        accepted && (length > 0 || self.end(accept))
    }

    fn payload(&mut self, bytes: &[u8], accept: &mut impl FnMut(Sighting<'_>) -> bool) -> bool {
        let mut accepted = true;
        if self.opcode() <= 1
            && let Some((prefix, length)) = &mut self.prefix
        {
            // The head of a client's frame ends with its mask, if it has one: without, the library refuses it.
            let is_masked = self.head[1] & 0x80 != 0;
            let mask = &self.head[self.head_length.saturating_sub(MASK)..self.head_length];
            let passed = self.payload_length - self.payload_left;
            for (index, byte) in bytes.iter().take(PREFIX - *length).enumerate() {
                prefix[*length] = if is_masked { byte ^ mask[(passed + index) % MASK] } else { *byte };
                *length += 1;
            }
            if *length == PREFIX {
                let prefix = *prefix;
                self.prefix = None;
                accepted = accept(Sighting::Text(&prefix));
            }
        }
        self.payload_left -= bytes.len();
        accepted && (self.payload_left > 0 || self.end(accept))
    }

    fn end(&mut self, accept: &mut impl FnMut(Sighting<'_>) -> bool) -> bool {
        self.frames += 1;
        self.head_length = 0;
        let is_last = self.head[0] & 0x80 != 0;
        if is_last
            && self.opcode() <= 1
            && let Some((prefix, length)) = self.prefix.take()
        {
            return accept(Sighting::Text(&prefix[..length]));
        }
        true
    }
}

/// The lengths of a frame's head and of its payload, if the latter can be told yet.
pub(super) fn frame_head(bytes: &[u8]) -> Option<(usize, usize)> {
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
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mask = [1, 2, 3, 4];
        let masked = payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask);
        let mut head = vec![first];
        match payload.len() {
            length @ 0..126 => head.push(0x80 | u8::try_from(length).unwrap()),
            length @ 126..65_536 => {
                head.push(0xfe);
                head.extend(u16::try_from(length).unwrap().to_be_bytes());
            }
            length => {
                head.push(0xff);
                head.extend((length as u64).to_be_bytes());
            }
        }
        head.into_iter().chain(mask).chain(masked).collect()
    }

    fn sightings(stream: &[u8], piece: usize) -> Vec<String> {
        let (mut reader, mut seen) = (FrameReader::default(), Vec::new());
        for piece in stream.chunks(piece) {
            let passed = reader.follow(piece, |sighting| {
                seen.push(match sighting {
                    Sighting::Text(prefix) => format!("text {}", String::from_utf8_lossy(prefix)),
                    sighting => format!("{sighting:?}"),
                });
                true
            });
            assert_eq!(passed, piece.len());
        }
        seen
    }

    #[test]
    fn frames_are_found_however_the_stream_is_cut() {
        let stream = [
            frame(0x81, b"40{}"),
            frame(0x81, &vec![b'x'; 70_000]),
            frame(0x81, b"3"),
            frame(0x81, b""),
            frame(0x89, b"ping"),
            frame(0x8a, b""),
            frame(0x82, &[0; 300]),
            frame(0x88, &[]),
            frame(0x88, &[3, 0xe9]),
        ]
        .concat();
        let expected = [
            "text 40{}",
            "text xxxx",
            "text 3",
            "text ",
            "Ping",
            "Other",
            "Binary",
            "Close { has_status: false }",
            "Close { has_status: true }",
        ];
        for piece in [1, 2, 3, 7, 512, stream.len()] {
            assert_eq!(sightings(&stream, piece), expected, "in pieces of {piece}");
        }
    }

    #[test]
    fn message_in_many_frames_is_told_by_all_of_them() {
        let stream = [frame(0x01, b"4"), frame(0x00, b""), frame(0x89, b"between"), frame(0x80, b"0")].concat();
        for piece in [1, 5, stream.len()] {
            assert_eq!(sightings(&stream, piece), ["Ping", "text 40"]);
        }
    }

    #[test]
    fn many_frames_of_a_message_are_told() {
        let stream = [frame(0x01, b""), frame(0x00, b"").repeat(600)].concat();
        for piece in [1, 5, stream.len()] {
            assert_eq!(sightings(&stream, piece), ["Fragments", "Fragments"]);
        }
    }

    #[test]
    fn stream_is_cut_before_a_frame_that_is_not_accepted() {
        let (first, second) = (frame(0x81, b"3"), frame(0x81, b"40"));
        let stream = [first.clone(), second.clone(), second].concat();
        let mut reader = FrameReader::default();
        let passed = reader.follow(&stream, |sighting| sighting != Sighting::Text(b"40"));
        assert_eq!(passed, first.len());
        assert_eq!(reader.follow(&stream, |_| true), 0, "nothing passes after that");
        // The beginning of it may have passed already: the rest does not.
        let mut reader = FrameReader::default();
        assert_eq!(reader.follow(&stream[..first.len() + 3], |_| true), first.len() + 3);
        assert_eq!(reader.follow(&stream[first.len() + 3..], |_| false), 0);
    }
}
