//! Encodes WebSocket frames that are written together.
//!
//! A server's frames are not masked (RFC 6455, section 5.1), so a frame is its payload with a short
//! header. All frames of a burst go into one buffer, which is written with one system call.

use std::collections::VecDeque;

use crate::session::Outgoing;
use crate::transport::executor::End;

/// Marks the last frame of a message; every message here is one frame.
const FIN: u8 = 0x80;
const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const PING: u8 = 0x9;

/// Maximum size of a server's frame header, in bytes.
const MAX_HEADER: usize = 10;

/// Payload of the ping after a session resumption; its pong confirms that the client has read
/// everything before it.
pub(super) const RESUMED: &[u8] = b"back";

/// Maximum size of a buffer in bytes, unless a single frame is larger.
const MAX_BUFFER: usize = 64 * 1024;

/// Encodes frames from the front, up to a limit. Returns the buffer, the number of frames in it,
/// and their number of payload bytes.
pub(super) fn encode(frames: &mut VecDeque<Outgoing>) -> (Vec<u8>, usize, usize) {
    let (mut count, mut bytes) = (0, 0);
    let mut capacity = 0;
    for frame in &*frames {
        if count > 0 && capacity + frame.length() > MAX_BUFFER {
            break;
        }
        capacity += frame.length() + frame.messages() * MAX_HEADER;
        bytes += frame.length();
        count += 1;
    }
    let mut buffer = Vec::with_capacity(capacity);
    for frame in frames.drain(..count) {
        match frame {
            Outgoing::Text(text) => push(&mut buffer, TEXT, text.as_bytes()),
            Outgoing::Pair(texts, second) => {
                let (first, second) = texts.as_bytes().split_at(second);
                push(&mut buffer, TEXT, first);
                push(&mut buffer, TEXT, second);
            }
            Outgoing::Several(messages) => {
                for text in &messages {
                    push(&mut buffer, TEXT, text.as_bytes());
                }
            }
            Outgoing::Attached(attached) => {
                push(&mut buffer, TEXT, attached.text.as_bytes());
                for data in &attached.attachments {
                    push(&mut buffer, BINARY, data);
                }
                if let Some(follower) = &attached.follower {
                    push(&mut buffer, TEXT, follower.as_bytes());
                }
            }
            Outgoing::Ping => push(&mut buffer, PING, RESUMED),
            // Written separately, as the last frame.
            Outgoing::Close(..) => {}
        }
    }
    (buffer, count, bytes)
}

/// Encodes a ping.
pub(super) fn ping() -> Vec<u8> {
    let mut buffer = Vec::with_capacity(2);
    push(&mut buffer, PING, &[]);
    buffer
}

/// Encodes a text frame.
pub(super) fn text(text: &str) -> Vec<u8> {
    let mut buffer = Vec::with_capacity(text.len() + MAX_HEADER);
    push(&mut buffer, TEXT, text.as_bytes());
    buffer
}

/// Returns the end that a close frame among these frames demands.
pub(super) fn end_of(frames: &VecDeque<Outgoing>) -> Option<End> {
    frames.iter().find_map(|frame| match frame {
        Outgoing::Close(code, reason) => Some(End::closing(*code, reason)),
        Outgoing::Text(_)
        | Outgoing::Pair(..)
        | Outgoing::Several(_)
        | Outgoing::Attached(_)
        | Outgoing::Ping => None,
    })
}

/// Appends a frame (RFC 6455, section 5.2).
fn push(buffer: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
    buffer.push(FIN | opcode);
    match payload.len() {
        length @ 0..126 => buffer.push(u8::try_from(length).expect("at most 125")),
        length @ 126..65_536 => {
            buffer.push(126);
            buffer.extend_from_slice(&u16::try_from(length).expect("at most 65,535").to_be_bytes());
        }
        length => {
            buffer.push(127);
            buffer.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    buffer.extend_from_slice(payload);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_have_the_shortest_header() {
        for (length, header) in [
            (0, vec![0x81, 0]),
            (125, vec![0x81, 125]),
            (126, vec![0x81, 126, 0, 126]),
            (65_535, vec![0x81, 126, 255, 255]),
            (65_536, vec![0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let mut frames = VecDeque::from([Outgoing::Text("x".repeat(length))]);
            let (buffer, count, bytes) = encode(&mut frames);
            assert_eq!((count, bytes, buffer.len()), (1, length, header.len() + length));
            assert_eq!(buffer[..header.len()], header);
        }
    }

    #[test]
    fn burst_is_one_buffer_up_to_a_limit() {
        let pair = Outgoing::Pair("eventoffset".into(), 5);
        let mut frames: VecDeque<Outgoing> = (0..10).map(|_| pair.clone()).collect();
        let (buffer, count, bytes) = encode(&mut frames);
        assert_eq!((count, bytes), (10, 110));
        assert_eq!(buffer.len(), 110 + 20 * 2);
        assert!(frames.is_empty());
        let mut frames: VecDeque<Outgoing> =
            (0..3).map(|_| Outgoing::Text("x".repeat(60_000))).collect();
        assert_eq!(encode(&mut frames).1, 1);
        assert_eq!(frames.len(), 2);
    }
}
