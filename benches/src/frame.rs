//! The few kinds of WebSocket frames that a load reads and writes. Clients must mask what they
//! send; the key here is zero, so that the payload stays as it is.

use anyhow::{bail, ensure};
use parlor_testing::frame::{CLOSE, FIN, PING, PONG, TEXT, ZERO_KEY, read_head, write_unchanged};

/// The close frame of a page that is closed (code 1000).
pub(crate) const CLOSE_FRAME: [u8; 8] = [FIN | CLOSE, 0x80 | 2, 0, 0, 0, 0, 0x03, 0xe8];

/// A received frame.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Frame<'a> {
    Text(&'a [u8]),
    Ping(&'a [u8]),
    Pong,
    Close,
}

/// Writes a text message.
pub(crate) fn write_text(text: &[u8], out: &mut Vec<u8>) {
    write_unchanged(FIN | TEXT, text, out);
}

/// Writes the response to a ping.
pub(crate) fn write_pong(payload: &[u8], out: &mut Vec<u8>) {
    write_unchanged(FIN | PONG, payload, out);
}

/// Reads the first frame and returns its total length with it; `None` if it is incomplete.
///
/// A frame may be masked with zero: the copying server forwards what clients sent, unchanged.
pub(crate) fn read(bytes: &[u8]) -> anyhow::Result<Option<(Frame<'_>, usize)>> {
    let Some(head) = read_head(bytes) else { return Ok(None) };
    ensure!(
        head.key.is_none_or(|key| key == ZERO_KEY),
        "a frame is masked with a key other than zero"
    );
    let end = head.length + head.payload;
    let Some(payload) = bytes.get(head.length..end) else { return Ok(None) };
    ensure!(head.first & FIN != 0, "a frame is a fragment");
    let frame = match head.opcode() {
        TEXT => Frame::Text(payload),
        CLOSE => Frame::Close,
        PING => Frame::Ping(payload),
        PONG => Frame::Pong,
        opcode => bail!("a frame has the opcode {opcode}"),
    };
    Ok(Some((frame, end)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_frames_are_read_once_they_are_complete() {
        for length in [0, 1, 125, 126, 65_535, 65_536] {
            let text = vec![b'x'; length];
            let mut out = Vec::new();
            write_text(&text, &mut out);
            for missing in [1, 4, out.len() - 1] {
                assert_eq!(read(&out[..out.len() - missing]).unwrap(), None);
            }
            let whole = out.len();
            out.extend(CLOSE_FRAME);
            assert_eq!(read(&out).unwrap(), Some((Frame::Text(&text), whole)));
            assert_eq!(read(&out[whole..]).unwrap(), Some((Frame::Close, CLOSE_FRAME.len())));
        }
    }

    #[test]
    fn unsupported_frames_are_rejected() {
        assert!(read(&[0x01, 0]).is_err(), "a fragment");
        assert!(read(&[0x82, 0]).is_err(), "binary");
        assert!(read(&[0x81, 0x80, 1, 0, 0, 0]).is_err(), "masked");
    }
}
