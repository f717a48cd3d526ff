//! A TCP socket whose writes fail when the peer accepts no data for too long.
//!
//! A stalled write is one that makes no progress within the limit, not one that is merely
//! unfinished: a slow but steady reader stays connected. The kernel accepts data as long as its
//! buffer has room, which would hide both cases, so the amount of unsent data is limited
//! ([`UNSENT_LIMIT`]) and each write reflects the peer's progress. `TCP_USER_TIMEOUT` does not work
//! here: Linux also counts the time in which the peer's window is full although the peer reads.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

/// Maximum number of unsent bytes in the kernel (`TCP_NOTSENT_LOWAT`): enough for a burst of
/// messages to a client that keeps reading.
const UNSENT_LIMIT: u32 = 128 * 1024;

/// A TCP socket with a time limit on stalled writes.
#[derive(Debug)]
pub(crate) struct Tcp {
    stream: TcpStream,
    /// Maximum time without progress of a write.
    limit: Duration,
    /// Created when a write first blocks, and reused afterwards.
    timer: Option<Pin<Box<Sleep>>>,
    is_blocked: bool,
}

impl Tcp {
    /// Wraps a socket; its writes fail with [`io::ErrorKind::TimedOut`] after `limit` without
    /// progress.
    pub(crate) fn new(stream: TcpStream, limit: Duration) -> io::Result<Self> {
        // Nagle's algorithm with delayed acknowledgements would delay small frames by up to 40 ms.
        stream.set_nodelay(true)?;
        #[cfg(any(target_os = "linux", target_os = "android"))]
        SockRef::from(&stream).set_tcp_notsent_lowat(UNSENT_LIMIT)?;
        Ok(Self { stream, limit, timer: None, is_blocked: false })
    }

    /// Reads received bytes without consuming them.
    pub(crate) async fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.peek(buffer).await
    }

    fn check_stall<T>(
        &mut self,
        written: Poll<io::Result<T>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.is_blocked = false;
            return written;
        }
        let due = Instant::now() + self.limit;
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due)));
        if !std::mem::replace(&mut self.is_blocked, true) {
            timer.as_mut().reset(due);
        }
        timer.as_mut().poll(context).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Tcp {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Tcp {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.check_stall(written, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.check_stall(written, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    const LIMIT: Duration = Duration::from_millis(400);

    /// Returns a socket and its peer, which has a small receive buffer.
    async fn pair() -> (Tcp, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let peer = tokio::net::TcpSocket::new_v4().unwrap();
        peer.set_recv_buffer_size(4096).unwrap();
        let peer = peer.connect(listener.local_addr().unwrap());
        let (peer, accepted) = tokio::join!(peer, listener.accept());
        (Tcp::new(accepted.unwrap().0, LIMIT).unwrap(), peer.unwrap())
    }

    #[tokio::test]
    async fn write_fails_when_the_peer_reads_nothing() {
        let (mut socket, peer) = pair().await;
        let failed = socket.write_all(&vec![0; 8 << 20]).await.unwrap_err();
        assert_eq!(failed.kind(), io::ErrorKind::TimedOut);
        drop(peer);
    }

    #[tokio::test]
    async fn slow_but_steady_reader_stays_connected() {
        let (mut socket, mut peer) = pair().await;
        let began = Instant::now();
        let reader = async {
            let mut buffer = vec![0; 64 << 10];
            let mut interval = tokio::time::interval(LIMIT / 80);
            let mut read = 0;
            while read < 1 << 20 {
                interval.tick().await;
                read += peer.read(&mut buffer).await.unwrap();
            }
        };
        let bytes = vec![0; 1 << 20];
        let (written, ()) = tokio::join!(socket.write_all(&bytes), reader);
        written.unwrap();
        assert!(began.elapsed() > LIMIT, "the write took longer than the limit on stalled writes");
    }
}
