//! The stream between an upgraded socket and the library.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use super::link::Link;
use crate::room::LeaveReason;

/// How long a write may make no progress before its connection is given up: a reader that stalls is found within ten
/// seconds of traffic.
const WRITE_STALL: Duration = Duration::from_secs(8);

/// The same for a connection that is being closed, and has a last word to say.
const FAREWELL_STALL: Duration = Duration::from_secs(1);

/// A WebSocket's stream as the library sees it.
///
/// A stream that has failed is never an error here: it swallows what is written and its reads end. The library then
/// takes the one path on which it also forgets the connection.
pub(super) struct Seam<S> {
    io: S,
    /// What was read before the stream came here.
    early: Bytes,
    link: Arc<Link>,
    reply: Option<ReplyFilter>,
    stall: Option<Pin<Box<Sleep>>>,
    has_failed: bool,
    pause: Option<Pin<Box<Sleep>>>,
    /// Whether the connection began with polling, so that the library must be told if the upgrade came to nothing.
    is_upgrade: bool,
}

impl<S> Seam<S> {
    pub(super) fn new(io: S, early: Bytes, link: Arc<Link>, is_upgrade: bool) -> Self {
        let reply = (!link.is_connected()).then(ReplyFilter::default);
        Self { io, early, link, reply, stall: None, has_failed: false, pause: None, is_upgrade }
    }
}

impl<S: AsyncWrite + Unpin> Seam<S> {
    /// Writes to the socket, for a bounded time without progress.
    fn poll_write_bounded(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<usize> {
        match Pin::new(&mut self.io).poll_write(context, bytes) {
            Poll::Ready(Ok(written)) => {
                self.stall = None;
                return Poll::Ready(written);
            }
            Poll::Ready(Err(_)) => self.fail(LeaveReason::Disconnected),
            Poll::Pending => {
                let limit = if self.link.is_closed() { FAREWELL_STALL } else { WRITE_STALL };
                let stall = self.stall.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
                ready!(stall.as_mut().poll(context));
                self.fail(LeaveReason::TimedOut);
            }
        }
        Poll::Ready(bytes.len())
    }

    fn fail(&mut self, reason: LeaveReason) {
        self.stall = None;
        self.has_failed = true;
        self.link.end(reason);
        self.link.close();
    }

    /// Writes what the filter has let through.
    fn poll_filtered(&mut self, context: &mut Context<'_>) -> Poll<()> {
        while let Some(mut filter) = self.reply.take_if(|filter| filter.passed.has_remaining()) {
            let written = self.poll_write_bounded(context, filter.passed.chunk());
            if let Poll::Ready(written) = written {
                filter.passed.advance(written);
            }
            self.reply = Some(filter);
            ready!(written);
        }
        // Only between two frames may the filter go.
        if self.link.is_connected() && self.reply.as_ref().is_some_and(|filter| filter.held.is_empty()) {
            self.reply = None;
        }
        Poll::Ready(())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Seam<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        this.link.register_reader(context);
        if this.link.is_closed() {
            return Poll::Ready(Ok(()));
        }
        ready!(this.link.poll_pause(&mut this.pause, context));
        if this.early.has_remaining() {
            let length = this.early.remaining().min(buffer.remaining());
            buffer.put_slice(&this.early.split_to(length));
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        let outcome = ready!(Pin::new(&mut this.io).poll_read(context, buffer));
        // A failure reads as the end: see the type's doc.
        if outcome.is_err() || buffer.filled().len() == before {
            // The library hears of it too, but tells us only once its writer has finished, which may be stalling.
            this.link.end(LeaveReason::Disconnected);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Seam<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if this.has_failed {
            return Poll::Ready(Ok(bytes.len()));
        }
        if this.reply.is_some() {
            ready!(this.poll_filtered(context));
        }
        if let Some(filter) = &mut this.reply {
            filter.pass(bytes, &this.link);
            return Poll::Ready(Ok(bytes.len()));
        }
        this.poll_write_bounded(context, bytes).map(Ok)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !this.has_failed {
            if this.reply.is_some() {
                ready!(this.poll_filtered(context));
            }
            if ready!(Pin::new(&mut this.io).poll_flush(context)).is_err() {
                this.fail(LeaveReason::Disconnected);
            }
        }
        this.link.backlog().emptied();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}

impl<S> Drop for Seam<S> {
    fn drop(&mut self) {
        if self.is_upgrade {
            // An upgrade that fails half-way leaves the library with a session that polls in vain and has no heartbeat.
            self.link.close_polling();
        }
    }
}

/// Finds the CONNECT reply among the first frames that the server writes, and puts our own in its place.
///
/// Frames of a server are not masked (RFC 6455, section 5.1), and all that go by before that reply are short.
#[derive(Default)]
struct ReplyFilter {
    /// The beginning of a frame that has not come whole yet.
    held: Vec<u8>,
    passed: std::collections::VecDeque<u8>,
}

impl ReplyFilter {
    fn pass(&mut self, bytes: &[u8], link: &Link) {
        self.held.extend_from_slice(bytes);
        while let Some((head, length)) = frame_bounds(&self.held) {
            let frame: Vec<u8> = self.held.drain(..length).collect();
            match link.connect_reply(&frame[head..]) {
                Some(reply) => {
                    let length = u8::try_from(reply.len()).expect("the reply is of a fixed, short length");
                    debug_assert!(length < 126);
                    self.passed.extend([frame[0], length]);
                    self.passed.extend(reply.into_bytes());
                }
                None => self.passed.extend(frame),
            }
        }
    }
}

/// Where the payload of the first frame begins and where it ends, if all of it is there.
fn frame_bounds(bytes: &[u8]) -> Option<(usize, usize)> {
    let (head, length): (usize, usize) = match bytes.get(1)? & 0x7f {
        126 => (4, usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?))),
        127 => (10, usize::try_from(u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?)).ok()?),
        length => (2, usize::from(length)),
    };
    let end = head.checked_add(length)?;
    (bytes.len() >= end).then_some((head, end))
}
