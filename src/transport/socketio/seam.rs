//! The stream between an upgraded socket and the library.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use super::inbound::Inbound;
use super::link::{Link, PACKET_HEAD, is_queued};
use crate::metrics::Limit;
use crate::room::LeaveReason;
use crate::transport::frames::{FrameReader, Sighting, frame_head};
use crate::transport::read_ahead::ReadAhead;

/// A WebSocket's stream as the library sees it.
///
/// A stream that has failed is never an error here: it swallows what is written and its reads end. The library then
/// takes the one path on which it also forgets the connection.
pub(super) struct Seam<S> {
    io: ReadAhead<S>,
    link: Arc<Link>,
    reply: Option<ReplyFilter>,
    /// How long all that is still to be written may take, once the connection is being closed.
    last_write: Option<Pin<Box<Sleep>>>,
    has_failed: bool,
    written: FrameCounter,
    read: FrameReader,
    pause: Option<Pin<Box<Sleep>>>,
    /// How long the rate limiter keeps the client from being read.
    delay: Option<Pin<Box<Sleep>>>,
    /// How long attachments may still take.
    attachments: Option<Pin<Box<Sleep>>>,
    pongs: Pongs,
    /// How long the end may wait for all that is queued to be written.
    end: Option<Pin<Box<Sleep>>>,
    /// Whether the connection began with polling, so that the library must be told if the upgrade came to nothing.
    is_upgrade: bool,
}

/// Whether pongs wait, which the library queues without a bound.
#[derive(Debug, Default)]
struct Pongs {
    /// The socket takes no bytes.
    is_blocked: bool,
    /// The client has sent a ping whose pong has not been flushed.
    are_owed: bool,
}

impl<S> Seam<S> {
    pub(super) fn new(io: S, early: Bytes, link: Arc<Link>, is_upgrade: bool) -> Self {
        let reply = (!link.is_connected()).then(ReplyFilter::default);
        Self {
            io: ReadAhead::new(io, early),
            link,
            reply,
            last_write: None,
            has_failed: false,
            written: FrameCounter::default(),
            read: FrameReader::default(),
            pause: None,
            delay: None,
            attachments: None,
            pongs: Pongs::default(),
            end: None,
            is_upgrade,
        }
    }
}

impl<S: AsyncWrite + Unpin> Seam<S> {
    /// Writes to the socket, for a bounded time without progress.
    fn poll_write_bounded(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<usize> {
        match Pin::new(&mut self.io).poll_write(context, bytes) {
            Poll::Ready(Ok(written)) => {
                self.pongs.is_blocked = false;
                let (frames, payload) = self.written.count(&bytes[..written]);
                if frames > 0 || payload > 0 {
                    self.link.note_written(frames, payload);
                }
                return Poll::Ready(written);
            }
            Poll::Ready(Err(error)) => self.fail(&error),
            Poll::Pending => {
                self.pongs.is_blocked = true;
                ready!(self.poll_last_write(context));
            }
        }
        Poll::Ready(bytes.len())
    }

    /// Ready, and the connection failed, when it is being closed and the rest was not written in time. A write that stalls
    /// fails by itself.
    fn poll_last_write(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.link.register_writer(context);
        if !self.link.is_closed() {
            return Poll::Pending;
        }
        let limit = self.link.inner().hub.timeouts().last_write;
        let timer = self.last_write.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        ready!(timer.as_mut().poll(context));
        self.fail(&io::ErrorKind::TimedOut.into());
        Poll::Ready(())
    }

    /// Counts the frames in what was read. Returns how many of the bytes the library may have.
    fn admit(&mut self, bytes: &[u8]) -> usize {
        let Self { read, link, pongs, .. } = self;
        read.follow(bytes, |sighting| match sighting {
            Sighting::Text(prefix) => link.admit_text(prefix),
            Sighting::Binary => link.admit(Inbound::take_attachment),
            Sighting::Close { has_status } => {
                if has_status {
                    link.note_goodbye();
                }
                true
            }
            Sighting::Ping => {
                pongs.are_owed = true;
                link.admit(Inbound::take_other)
            }
            Sighting::Fragments | Sighting::Other => link.admit(Inbound::take_other),
        })
    }

    /// Ready when all that is queued has been written, or for too long has not.
    fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.link.backlog().waiting() == 0 || self.has_failed {
            return Poll::Ready(());
        }
        let limit = self.link.inner().hub.timeouts().last_write;
        self.end.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit))).as_mut().poll(context)
    }

    fn fail(&mut self, error: &io::Error) {
        let reason = reason_of(error);
        if reason == LeaveReason::TimedOut {
            self.link.inner().hub.metrics().limit(Limit::WriteTime);
        }
        self.last_write = None;
        self.has_failed = true;
        self.link.lose(reason);
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

/// A write that stalls fails as one that took too long.
fn reason_of(error: &io::Error) -> LeaveReason {
    if error.kind() == io::ErrorKind::TimedOut { LeaveReason::TimedOut } else { LeaveReason::Disconnected }
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
            // Its peers need not wait until the writer has finished, too.
            this.link.end(LeaveReason::Kicked);
            // Once it has read the end, the library writes nothing more, and before it has read the end of the upgrade
            // nothing either.
            if this.poll_end(context).is_ready() {
                return Poll::Ready(Ok(()));
            }
            if !this.is_upgrade || this.read.frames() >= UPGRADE_FRAMES {
                return Poll::Pending;
            }
        }
        ready!(this.link.poll_pause(&mut this.pause, context));
        ready!(this.link.poll_delay(&mut this.delay, context));
        if this.pongs.is_blocked && this.pongs.are_owed {
            // The library queues pongs without a bound, and flushes them, so that we are asked again, when the socket
            // takes bytes.
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        let Poll::Ready(outcome) = Pin::new(&mut this.io).poll_read(context, buffer) else {
            ready!(this.link.poll_attachments(&mut this.attachments, context));
            context.waker().wake_by_ref();
            return Poll::Pending;
        };
        // A failure reads as the end: see the type's doc.
        // The library hears of the end too, but tells us only once its writer has finished, which may be stalling.
        match outcome {
            Ok(()) if buffer.filled().len() > before => {
                let passed = this.admit(&buffer.filled()[before..]);
                // Of what ends the connection the library gets nothing. An empty read is its end.
                buffer.set_filled(before + passed);
            }
            Ok(()) => this.link.lose(LeaveReason::Disconnected),
            Err(error) => this.link.lose(reason_of(&error)),
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
            match Pin::new(&mut this.io).poll_flush(context) {
                Poll::Ready(Ok(())) => this.pongs.are_owed = false,
                Poll::Ready(Err(error)) => this.fail(&error),
                // Under TLS what was written may still be here.
                Poll::Pending => ready!(this.poll_last_write(context)),
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.io).poll_shutdown(context) {
            // The end of TLS is a message as well, and may not get through.
            Poll::Pending if !self.has_failed => self.poll_last_write(context).map(Ok),
            Poll::Pending => Poll::Ready(Ok(())),
            ended @ Poll::Ready(_) => ended,
        }
    }
}

impl<S> Drop for Seam<S> {
    fn drop(&mut self) {
        self.link.release_permit();
        if self.is_upgrade {
            // An upgrade that fails half-way leaves the library with a session that polls in vain and has no heartbeat.
            self.link.close_polling();
        }
    }
}

/// Counts the frames of a stream that comes in pieces.
#[derive(Default)]
struct FrameCounter {
    /// The beginning of a head that has not come whole yet.
    head: Vec<u8>,
    payload_left: usize,
    /// What the payload begins with, as much of it as has come.
    kind: [u8; PACKET_HEAD],
    kind_length: usize,
}

impl FrameCounter {
    /// Notes the head of a frame, and how much follows it.
    fn begin(&mut self, length: usize) {
        self.payload_left = length;
        self.kind = [0; PACKET_HEAD];
        self.kind_length = 0;
    }

    /// How many frames with an event or an acknowledgement end in these bytes, and how many of the bytes are payload.
    fn count(&mut self, mut bytes: &[u8]) -> (usize, usize) {
        let (mut frames, mut payload) = (0, 0);
        while !bytes.is_empty() {
            if self.payload_left > 0 {
                let here = self.payload_left.min(bytes.len());
                for byte in bytes.iter().take(here.min(PACKET_HEAD - self.kind_length)) {
                    self.kind[self.kind_length] = *byte;
                    self.kind_length += 1;
                }
                self.payload_left -= here;
                payload += here;
                bytes = &bytes[here..];
            } else if self.head.is_empty()
                && let Some((head, length)) = frame_head(bytes)
                && head <= bytes.len()
            {
                self.begin(length);
                bytes = &bytes[head..];
            } else {
                self.head.push(bytes[0]);
                bytes = &bytes[1..];
                let Some((head, length)) = frame_head(&self.head) else { continue };
                if self.head.len() < head {
                    continue;
                }
                self.head = Vec::new();
                self.begin(length);
            }
            if self.payload_left == 0 {
                frames += usize::from(is_queued(&self.kind));
            }
        }
        (frames, payload)
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
    let (head, length) = frame_head(bytes)?;
    let end = head.checked_add(length)?;
    (bytes.len() >= end).then_some((head, end))
}

/// How many frames an upgrade takes of a client: a probe, and the word that it is done.
const UPGRADE_FRAMES: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    /// A server's text frame of so many bytes: an event, if they suffice.
    fn frame(length: usize) -> Vec<u8> {
        let mut frame = vec![0x81];
        match length {
            0..126 => frame.push(u8::try_from(length).unwrap()),
            126..65_536 => {
                frame.push(126);
                frame.extend(u16::try_from(length).unwrap().to_be_bytes());
            }
            _ => {
                frame.push(127);
                frame.extend((length as u64).to_be_bytes());
            }
        }
        frame.extend(b"42".iter().chain(std::iter::repeat(&b'x')).take(length));
        frame
    }

    #[test]
    fn frames_are_counted_however_they_are_cut() {
        let lengths = [0, 1, 125, 126, 4_000, 65_535, 65_536, 0, 7];
        let stream: Vec<u8> = lengths.iter().flat_map(|length| frame(*length)).collect();
        for piece in [1, 2, 3, 7, 1024, stream.len()] {
            let mut counter = FrameCounter::default();
            let total = stream
                .chunks(piece)
                .map(|piece| counter.count(piece))
                .fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
            let events = lengths.iter().filter(|length| **length >= PACKET_HEAD).count();
            assert_eq!(total, (events, lengths.iter().sum()), "in pieces of {piece}");
        }
    }
}
