//! WebSocket frames and handshakes (RFC 6455) as bytes, for clients that bypass a WebSocket
//! library: the benchmark's, to be fast, and those of the tests that send invalid input.

/// Opcode of a text message.
pub const TEXT: u8 = 1;
/// Opcode of a close frame.
pub const CLOSE: u8 = 8;
/// Opcode of a ping.
pub const PING: u8 = 9;
/// Opcode of a pong.
pub const PONG: u8 = 10;

/// The bit of the first byte that ends a message.
pub const FIN: u8 = 0x80;

/// The bit of the second byte that says that a masking key follows.
const MASKED: u8 = 0x80;

/// Values of the 7-bit length that announce a length of two or eight bytes.
const TWO_BYTES: u8 = 0x7e;
const EIGHT_BYTES: u8 = 0x7f;

/// A masking key.
pub type Key = [u8; 4];

/// A key that leaves the payload as it is. It is valid.
pub const ZERO_KEY: Key = [0; 4];

/// The head of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// FIN, the reserved bits and the opcode.
    pub first: u8,
    /// The masking key, if the frame is masked.
    pub key: Option<Key>,
    /// The number of bytes before the payload.
    pub length: usize,
    /// The length of the payload.
    pub payload: usize,
}

impl Head {
    /// The opcode.
    #[inline]
    pub fn opcode(&self) -> u8 {
        self.first & 0x0f
    }
}

/// Reads the head of the first frame in `bytes`; `None` if it is incomplete.
#[inline]
pub fn read_head(bytes: &[u8]) -> Option<Head> {
    let [first, second, rest @ ..] = bytes else { return None };
    let (payload, rest) = match second & !MASKED {
        TWO_BYTES => {
            let (length, rest) = rest.split_first_chunk()?;
            (usize::from(u16::from_be_bytes(*length)), rest)
        }
        EIGHT_BYTES => {
            let (length, rest) = rest.split_first_chunk()?;
            // A length beyond the address space never arrives.
            (usize::try_from(u64::from_be_bytes(*length)).ok()?, rest)
        }
        length => (usize::from(length), rest),
    };
    let (key, rest) = if second & MASKED == 0 {
        (None, rest)
    } else {
        let (key, rest) = rest.split_first_chunk()?;
        (Some(*key), rest)
    };
    Some(Head { first: *first, key, length: bytes.len() - rest.len(), payload })
}

/// Writes the head of a masked frame that claims a payload of `length` bytes. `first` is FIN and
/// the opcode.
#[inline]
pub fn write_head(first: u8, length: u64, key: Key, out: &mut Vec<u8>) {
    out.push(first);
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(length @ 0..TWO_BYTES), _) => out.push(MASKED | length),
        (_, Ok(length)) => {
            out.push(MASKED | TWO_BYTES);
            out.extend(length.to_be_bytes());
        }
        _ => {
            out.push(MASKED | EIGHT_BYTES);
            out.extend(length.to_be_bytes());
        }
    }
    out.extend(key);
}

/// Writes a frame as clients send it, masked. `first` is FIN and the opcode.
pub fn write_masked(first: u8, payload: &[u8], key: Key, out: &mut Vec<u8>) {
    write_head(first, payload.len() as u64, key, out);
    out.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, mask)| byte ^ mask));
}

/// Writes a frame with [`ZERO_KEY`], the payload unchanged; returns where in `out` the payload
/// begins.
#[inline]
pub fn write_unchanged(first: u8, payload: &[u8], out: &mut Vec<u8>) -> usize {
    write_head(first, payload.len() as u64, ZERO_KEY, out);
    let begin = out.len();
    out.extend_from_slice(payload);
    begin
}

/// A WebSocket handshake request with further headers, each with its line end.
pub fn handshake(path: &str, host: &str, headers: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_frames_are_read_once_they_are_complete() {
        for length in [0, 1, 125, 126, 65_535, 65_536] {
            let mut out = Vec::new();
            let begin = write_unchanged(FIN | TEXT, &vec![b'x'; length], &mut out);
            let head =
                Head { first: FIN | TEXT, key: Some(ZERO_KEY), length: begin, payload: length };
            assert_eq!(read_head(&out), Some(head));
            assert_eq!(head.opcode(), TEXT);
            assert_eq!(out.len(), begin + length);
            for end in [0, 1, begin - 1] {
                assert_eq!(read_head(&out[..end]), None);
            }
        }
    }

    #[test]
    fn unmasked_heads_are_read() {
        let head = Head { first: FIN | PING, key: None, length: 2, payload: 3 };
        assert_eq!(read_head(&[FIN | PING, 3, 1, 2, 3]), Some(head));
    }

    #[test]
    fn payload_is_masked_with_the_key() {
        let mut out = Vec::new();
        write_masked(FIN | TEXT, b"abcde", [1, 2, 4, 8], &mut out);
        assert_eq!(
            out,
            [FIN | TEXT, MASKED | 5, 1, 2, 4, 8, b'a' ^ 1, b'b' ^ 2, b'c' ^ 4, b'd' ^ 8, b'e' ^ 1]
        );
    }
}
