//! The text messages in one direction of a WebSocket, from a copy of its bytes.

use std::io::Cursor;

use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

use super::trace::MAX_EVENT_BYTES;

/// Finds the text messages in a stream of bytes. Binary messages and control frames are left out,
/// and so are messages above the limit.
#[derive(Debug, Default)]
pub(super) struct FrameReader {
    /// Bytes of a header or a text frame that is not whole yet.
    buffer: Vec<u8>,
    /// Bytes of a frame that are left out.
    skip: u64,
    /// The text of a message of which further frames are expected.
    message: Option<Vec<u8>>,
    /// Whether the stream is not a WebSocket, so that the rest is ignored.
    is_broken: bool,
}

/// A part of the stream.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A text message.
    Text(String),
    /// A message above the limit, which was left out, with its size in bytes.
    TooLong(u64),
    /// A close frame.
    Close,
}

impl FrameReader {
    /// Reads the next bytes of the stream.
    pub(super) fn read(&mut self, mut bytes: &[u8]) -> Vec<Found> {
        let mut found = Vec::new();
        while !bytes.is_empty() && !self.is_broken {
            if self.skip > 0 {
                let skipped = usize::try_from(self.skip).unwrap_or(usize::MAX).min(bytes.len());
                self.skip -= skipped as u64;
                bytes = &bytes[skipped..];
                continue;
            }
            self.buffer.extend_from_slice(bytes);
            bytes = &[];
            self.drain(&mut found);
        }
        found
    }

    fn drain(&mut self, found: &mut Vec<Found>) {
        loop {
            let mut cursor = Cursor::new(self.buffer.as_slice());
            let (header, length) = match FrameHeader::parse(&mut cursor) {
                Ok(Some(header)) => header,
                Ok(None) => return,
                Err(_) => {
                    self.is_broken = true;
                    return;
                }
            };
            let start = usize::try_from(cursor.position()).unwrap_or(usize::MAX);
            let is_text = match header.opcode {
                OpCode::Data(Data::Text) => true,
                OpCode::Data(Data::Continue) => self.message.is_some(),
                _ => false,
            };
            let is_too_long = length > (2 * MAX_EVENT_BYTES) as u64
                || self.message.as_ref().is_some_and(|message| message.len() > 2 * MAX_EVENT_BYTES);
            if !is_text || is_too_long {
                if header.opcode == OpCode::Control(Control::Close) {
                    found.push(Found::Close);
                }
                if is_text {
                    found.push(Found::TooLong(length));
                    self.message = None;
                }
                let held = (self.buffer.len() - start) as u64;
                if length > held {
                    self.skip = length - held;
                    self.buffer.clear();
                    return;
                }
                self.buffer.drain(..start + usize::try_from(length).unwrap_or(usize::MAX));
                continue;
            }
            let end = start + usize::try_from(length).unwrap_or(usize::MAX);
            if self.buffer.len() < end {
                return;
            }
            let mask = header.mask.unwrap_or_default();
            let payload = self.buffer[start..end]
                .iter()
                .enumerate()
                .map(|(index, byte)| byte ^ mask[index % 4]);
            let message = self.message.get_or_insert_default();
            message.extend(payload);
            if header.is_final {
                let message = self.message.take().unwrap_or_default();
                found.push(Found::Text(String::from_utf8_lossy(&message).into_owned()));
            }
            self.buffer.drain(..end);
        }
    }
}

#[cfg(test)]
mod tests {
    use tungstenite::protocol::frame::Frame;

    use super::*;

    fn bytes(frames: impl IntoIterator<Item = Frame>) -> Vec<u8> {
        let mut out = Vec::new();
        for frame in frames {
            frame.format(&mut out).unwrap();
        }
        out
    }

    fn frame(text: &str, opcode: OpCode, is_final: bool, mask: Option<[u8; 4]>) -> Frame {
        let header = FrameHeader { is_final, opcode, mask, ..FrameHeader::default() };
        Frame::from_payload(header, text.to_owned().into())
    }

    #[test]
    fn texts_are_found_across_any_reads() {
        let (text, more) = (OpCode::Data(Data::Text), OpCode::Data(Data::Continue));
        let stream = bytes([
            frame("42[\"a\"]", text, true, Some([1, 2, 3, 4])),
            frame("\u{1}\u{2}", OpCode::Data(Data::Binary), true, None),
            frame("42[\"b", text, false, None),
            frame("\"]", more, true, Some([9, 9, 9, 9])),
        ]);
        for size in 1..=stream.len() {
            let mut reader = FrameReader::default();
            let found: Vec<Found> =
                stream.chunks(size).flat_map(|chunk| reader.read(chunk)).collect();
            assert_eq!(
                found,
                [Found::Text("42[\"a\"]".into()), Found::Text("42[\"b\"]".into())],
                "{size}"
            );
        }
    }

    #[test]
    fn close_frames_are_found_after_the_messages_before_them() {
        let (text, close) = (OpCode::Data(Data::Text), OpCode::Control(Control::Close));
        let stream = bytes([
            frame("42[\"a\"]", text, true, Some([1, 2, 3, 4])),
            frame("\u{3}\u{3}", close, true, Some([5, 6, 7, 8])),
        ]);
        for size in 1..=stream.len() {
            let mut reader = FrameReader::default();
            let found: Vec<Found> =
                stream.chunks(size).flat_map(|chunk| reader.read(chunk)).collect();
            assert_eq!(found, [Found::Text("42[\"a\"]".into()), Found::Close], "{size}");
        }
    }

    #[test]
    fn messages_above_the_limit_are_skipped() {
        let long = "x".repeat(2 * MAX_EVENT_BYTES + 1);
        let text = OpCode::Data(Data::Text);
        let stream = bytes([frame(&long, text, true, None), frame("2", text, true, None)]);
        let mut reader = FrameReader::default();
        let found: Vec<Found> = stream.chunks(4_096).flat_map(|chunk| reader.read(chunk)).collect();
        assert_eq!(found, [Found::TooLong(long.len() as u64), Found::Text("2".into())]);
    }
}
