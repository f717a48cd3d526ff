//! WebSocket frames (RFC 6455), as little of them as a load needs: whole texts, and what keeps a connection or ends it.
//!
//! A client must mask what it sends. Its key is zero here: valid, and the text stays as it is.

use anyhow::{bail, ensure};

const TEXT: u8 = 1;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

const FIN: u8 = 0x80;
const MASKED: u8 = 0x80;

/// Lengths that say how many bytes after them have the length.
const TWO_BYTES: u8 = 0x7e;
const EIGHT_BYTES: u8 = 0x7f;

/// The close frame of a page that goes (code 1000).
pub(crate) const GOODBYE: [u8; 8] = [FIN | CLOSE, MASKED | 2, 0, 0, 0, 0, 0x03, 0xe8];

/// A frame that came.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Frame<'a> {
    Text(&'a [u8]),
    Ping(&'a [u8]),
    Pong,
    Close,
}

/// Writes a text as a client's frame: where in the output the text begins.
pub(crate) fn write_text(text: &[u8], out: &mut Vec<u8>) -> usize {
    write(TEXT, text, out)
}

pub(crate) fn write_pong(payload: &[u8], out: &mut Vec<u8>) {
    write(PONG, payload, out);
}

fn write(opcode: u8, payload: &[u8], out: &mut Vec<u8>) -> usize {
    out.push(FIN | opcode);
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(length @ 0..TWO_BYTES), _) => out.push(MASKED | length),
        (_, Ok(length)) => {
            out.push(MASKED | TWO_BYTES);
            out.extend(length.to_be_bytes());
        }
        _ => {
            out.push(MASKED | EIGHT_BYTES);
            out.extend((payload.len() as u64).to_be_bytes());
        }
    }
    out.extend([0; 4]);
    let begin = out.len();
    out.extend_from_slice(payload);
    begin
}

/// The first frame of what came, and how many bytes it takes; `None` where more is to come.
///
/// A frame may be masked with zero: the floor hands on what clients sent, as it is.
pub(crate) fn read(bytes: &[u8]) -> anyhow::Result<Option<(Frame<'_>, usize)>> {
    let [first, second, rest @ ..] = bytes else { return Ok(None) };
    let (length, rest) = match second & !MASKED {
        TWO_BYTES => {
            let Some((length, rest)) = rest.split_first_chunk() else { return Ok(None) };
            (usize::from(u16::from_be_bytes(*length)), rest)
        }
        EIGHT_BYTES => {
            let Some((length, rest)) = rest.split_first_chunk() else { return Ok(None) };
            (usize::try_from(u64::from_be_bytes(*length))?, rest)
        }
        length => (usize::from(length), rest),
    };
    let key_length = if second & MASKED == 0 { 0 } else { 4 };
    let Some((key, rest)) = rest.split_at_checked(key_length) else { return Ok(None) };
    ensure!(key.iter().all(|byte| *byte == 0), "a frame is masked with something");
    let Some(payload) = rest.get(..length) else { return Ok(None) };
    ensure!(first & FIN != 0, "a frame is a fragment");
    let frame = match first & 0x0f {
        TEXT => Frame::Text(payload),
        CLOSE => Frame::Close,
        PING => Frame::Ping(payload),
        PONG => Frame::Pong,
        opcode => bail!("a frame has the opcode {opcode}"),
    };
    Ok(Some((frame, bytes.len() - rest.len() + length)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_whatever_its_length_and_not_before_it_is_there() {
        for length in [0, 1, 125, 126, 65_535, 65_536] {
            let text = vec![b'x'; length];
            let mut out = Vec::new();
            let begin = write_text(&text, &mut out);
            assert_eq!(out[begin..], text[..]);
            for missing in [1, 4, out.len() - 1] {
                assert_eq!(read(&out[..out.len() - missing]).unwrap(), None);
            }
            let whole = out.len();
            out.extend(GOODBYE);
            assert_eq!(read(&out).unwrap(), Some((Frame::Text(&text), whole)));
            assert_eq!(read(&out[whole..]).unwrap(), Some((Frame::Close, GOODBYE.len())));
        }
    }

    #[test]
    fn what_a_load_cannot_read_is_refused() {
        assert!(read(&[0x01, 0]).is_err(), "a fragment");
        assert!(read(&[0x82, 0]).is_err(), "binary");
        assert!(read(&[0x81, 0x80, 1, 0, 0, 0]).is_err(), "masked");
    }
}
