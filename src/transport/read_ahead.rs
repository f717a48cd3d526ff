//! Reads a socket in large chunks for a library that reads in small ones.
//!
//! The WebSocket library keeps its read buffer for the life of the connection, so that buffer is
//! small, and an offer of four kilobytes would take five system calls. With this wrapper it takes
//! one, and no memory is kept afterwards.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, ReadBuf};

use super::write_through::write_through;

/// Chunk size in bytes: enough for a session description with its header.
const PIECE: usize = 8 * 1024;

/// Read buffer size of the library, in bytes: enough for a candidate with its header. Small,
/// because each connection has one, and because backpressure only takes effect once the buffered
/// bytes are handled.
pub(super) const READ_BUFFER: usize = 512;

/// A stream with the bytes that were read from it and not consumed yet.
#[derive(Debug)]
pub(super) struct ReadAhead<S> {
    pub(super) io: S,
    ahead: Bytes,
}

impl<S> ReadAhead<S> {
    /// Wraps a stream of which `early` was already read.
    pub(super) fn new(io: S, early: Bytes) -> Self {
        Self { io, ahead: early }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for ReadAhead<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.ahead.is_empty() {
            if buffer.remaining() >= PIECE {
                return Pin::new(&mut this.io).poll_read(context, buffer);
            }
            let mut piece = [MaybeUninit::uninit(); PIECE];
            let mut piece = ReadBuf::uninit(&mut piece);
            ready!(Pin::new(&mut this.io).poll_read(context, &mut piece))?;
            let (now, later) =
                piece.filled().split_at(piece.filled().len().min(buffer.remaining()));
            buffer.put_slice(now);
            // Copies only what does not fit; an empty slice allocates nothing.
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

    /// Returns all its bytes at once and counts the reads.
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
    async fn bytes_arrive_in_order_with_few_reads() {
        let all: Vec<u8> =
            (0..20_000_u32).map(|number| u8::try_from(number % 251).unwrap()).collect();
        let mut stream =
            ReadAhead::new(Source(all[100..].to_vec(), 0), Bytes::copy_from_slice(&all[..100]));
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
