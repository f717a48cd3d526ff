//! Reads a socket in large pieces, for a library that asks for small ones.
//!
//! The WebSocket library keeps its read buffer as long as the connection lives, so it is given a small one; an offer of
//! four kilobytes would then take five system calls. Here it takes one, and nothing is kept once it was passed on.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, ReadBuf};

use super::write_through::write_through;

/// How much is read at a time, in bytes: a description with its head.
const PIECE: usize = 8 * 1024;

/// What the library reads at a time, in bytes: a candidate with its head. Small, because each connection has a buffer of that
/// size, and because what was read is handled to the end before a sender can be paused.
pub(super) const READ_BUFFER: usize = 512;

/// A stream, and what was read of it and not passed on yet.
#[derive(Debug)]
pub(super) struct ReadAhead<S> {
    pub(super) io: S,
    ahead: Bytes,
}

impl<S> ReadAhead<S> {
    /// A stream of which some was read already.
    pub(super) fn new(io: S, early: Bytes) -> Self {
        Self { io, ahead: early }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for ReadAhead<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.ahead.is_empty() {
            if buffer.remaining() >= PIECE {
                return Pin::new(&mut this.io).poll_read(context, buffer);
            }
            let mut piece = [MaybeUninit::uninit(); PIECE];
            let mut piece = ReadBuf::uninit(&mut piece);
            ready!(Pin::new(&mut this.io).poll_read(context, &mut piece))?;
            let (now, later) = piece.filled().split_at(piece.filled().len().min(buffer.remaining()));
            buffer.put_slice(now);
            // A copy only of what does not fit; of an empty slice there is nothing to copy.
            this.ahead = Bytes::copy_from_slice(later);
            return Poll::Ready(Ok(()));
        }
        let length = this.ahead.len().min(buffer.remaining());
        buffer.put_slice(&this.ahead[..length]);
        this.ahead.advance(length);
        if this.ahead.is_empty() {
            this.ahead = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}

write_through!(ReadAhead);

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    /// Gives all it has at once, and counts how often it was asked.
    struct Source(Vec<u8>, usize);

    impl AsyncRead for Source {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _context: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            let length = self.0.len().min(buffer.remaining());
            buffer.put_slice(&self.0.drain(..length).collect::<Vec<u8>>());
            self.1 += 1;
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn all_comes_in_order_with_few_reads() {
        let all: Vec<u8> = (0..20_000_u32).map(|number| u8::try_from(number % 251).unwrap()).collect();
        let mut stream = ReadAhead::new(Source(all[100..].to_vec(), 0), Bytes::copy_from_slice(&all[..100]));
        let (mut read, mut buffer) = (Vec::new(), [0; 1024]);
        loop {
            let length = stream.read(&mut buffer).await.unwrap();
            if length == 0 {
                break;
            }
            read.extend_from_slice(&buffer[..length]);
        }
        assert_eq!(read, all);
        assert_eq!(stream.io.1, 4, "19,900 bytes, and their end");
        assert!(stream.ahead.is_empty());
    }
}
