//! The stream between an upgraded socket and the library.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use super::link::{Link, PACKET_HEAD, is_queued};
use crate::metrics::Limit;
use crate::room::LeaveReason;
use crate::transport::read_ahead::ReadAhead;

/// A WebSocket's stream as the library sees it.
///
/// A stream that has failed is never an error here: it swallows what is written and its reads end. The library then
/// takes the one path on which it also forgets the connection.
pub(super) struct Seam<S> {
    io: ReadAhead<S>,
    link: Arc<Link>,
    reply: Option<ReplyFilter>,
    stall: Option<Pin<Box<Sleep>>>,
    /// Whether `stall` is for all that is still to be written, not for the next progress.
    is_farewell: bool,
    has_failed: bool,
    written: FrameCounter,
    read: FrameCounter,
    pause: Option<Pin<Box<Sleep>>>,
    /// How long the end may wait for all that is queued to be written.
    end: Option<Pin<Box<Sleep>>>,
    /// Whether the connection began with polling, so that the library must be told if the upgrade came to nothing.
    is_upgrade: bool,
}

impl<S> Seam<S> {
    pub(super) fn new(io: S, early: Bytes, link: Arc<Link>, is_upgrade: bool) -> Self {
        let reply = (!link.is_connected()).then(ReplyFilter::default);
        Self {
            io: ReadAhead::new(io, early),
            link,
            reply,
            stall: None,
            is_farewell: false,
            has_failed: false,
            written: FrameCounter::default(),
            read: FrameCounter::default(),
            pause: None,
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
                if !self.is_farewell {
                    self.stall = None;
                }
                let (frames, payload) = self.written.count(&bytes[..written]);
                if frames > 0 || payload > 0 {
                    self.link.note_written(frames, payload);
                }
                return Poll::Ready(written);
            }
            Poll::Ready(Err(error)) => self.fail(reason_of(&error)),
            Poll::Pending => ready!(self.poll_stall(context)),
        }
        Poll::Ready(bytes.len())
    }

    /// Ready, and the connection failed, when nothing could be written for too long.
    fn poll_stall(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.link.is_closed() && !self.is_farewell {
            self.is_farewell = true;
            self.stall = None;
        }
        let timeouts = self.link.inner().hub.timeouts();
        let limit = if self.is_farewell { timeouts.last_write } else { timeouts.write_stall };
        let stall = self.stall.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        ready!(stall.as_mut().poll(context));
        self.link.inner().hub.metrics().limit(Limit::WriteTime);
        self.fail(LeaveReason::TimedOut);
        Poll::Ready(())
    }

    fn note_read(&mut self, bytes: &[u8]) {
        self.read.count(bytes);
        if self.read.has_goodbye {
            self.link.note_goodbye();
        }
    }

    /// Ready when all that is queued has been written, or for too long has not.
    fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.link.backlog().waiting() == 0 || self.has_failed {
            return Poll::Ready(());
        }
        let limit = self.link.inner().hub.timeouts().last_write;
        self.end.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit))).as_mut().poll(context)
    }

    fn fail(&mut self, reason: LeaveReason) {
        self.stall = None;
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

/// The kernel has its own limit on the time for data to arrive, and may be the first to find a stalled reader.
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
            if !this.is_upgrade || this.read.frames >= UPGRADE_FRAMES {
                return Poll::Pending;
            }
        }
        ready!(this.link.poll_pause(&mut this.pause, context));
        let before = buffer.filled().len();
        let outcome = ready!(Pin::new(&mut this.io).poll_read(context, buffer));
        // A failure reads as the end: see the type's doc.
        // The library hears of the end too, but tells us only once its writer has finished, which may be stalling.
        match outcome {
            Ok(()) if buffer.filled().len() > before => {
                this.note_read(&buffer.filled()[before..]);
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
                Poll::Ready(Ok(())) if !this.is_farewell => this.stall = None,
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => this.fail(reason_of(&error)),
                // Under TLS what was written may still be here.
                Poll::Pending => ready!(this.poll_stall(context)),
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.io).poll_shutdown(context) {
            // The end of TLS is a message as well, and may not get through.
            Poll::Pending if !self.has_failed => self.poll_stall(context).map(Ok),
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
    /// Whether a close frame with a status was among them: a page that is left, a program that hangs up. Without one
    /// Engine.IO gives up a transport, as when it misses a heartbeat, and comes back.
    has_goodbye: bool,
    /// The beginning of a head that has not come whole yet.
    head: Vec<u8>,
    payload_left: usize,
    /// What the payload begins with, as much of it as has come.
    kind: [u8; PACKET_HEAD],
    kind_length: usize,
    /// How many have ended, of any kind.
    frames: usize,
}

impl FrameCounter {
    /// Notes the head of a frame, and how much follows it.
    fn begin(&mut self, head: &[u8], length: usize) {
        self.has_goodbye |= head[0] & 0x0f == CLOSE && length > 0;
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
                self.begin(&bytes[..head], length);
                bytes = &bytes[head..];
            } else {
                self.head.push(bytes[0]);
                bytes = &bytes[1..];
                let Some((head, length)) = frame_head(&self.head) else { continue };
                if self.head.len() < head {
                    continue;
                }
                let head = std::mem::take(&mut self.head);
                self.begin(&head, length);
            }
            if self.payload_left == 0 {
                self.frames += 1;
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

/// The opcode of a close frame.
const CLOSE: u8 = 8;

/// The length of a mask, the end of the head of a frame of a client.
const MASK: usize = 4;

/// The lengths of a frame's head and of its payload (RFC 6455, section 5.2), if the latter can be told yet. The head of a
/// frame of a client ends with its mask.
fn frame_head(bytes: &[u8]) -> Option<(usize, usize)> {
    let second = *bytes.get(1)?;
    let mask = if second & 0x80 == 0 { 0 } else { MASK };
    match second & 0x7f {
        126 => Some((4 + mask, usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?)))),
        127 => Some((10 + mask, usize::try_from(u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?)).ok()?)),
        length => Some((2 + mask, usize::from(length))),
    }
}

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
            assert_eq!(counter.frames, lengths.len());
        }
        let mut counter = FrameCounter::default();
        counter.count(&stream[..2]);
        assert_eq!(counter.frames, 1, "an empty frame ends with its head");
    }

    /// A client's close frame.
    fn close(payload: &[u8]) -> Vec<u8> {
        let mask = [1, 2, 3, 4];
        let masked = payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask);
        let length = u8::try_from(payload.len()).unwrap();
        [0x88, 0x80 | length].into_iter().chain(mask).chain(masked).collect()
    }

    #[test]
    fn a_page_that_is_left_is_told_from_a_transport_that_is_given_up() {
        let says_goodbye = |frame: &[u8], piece: usize| {
            let mut counter = FrameCounter::default();
            frame.chunks(piece).for_each(|piece| _ = counter.count(piece));
            counter.has_goodbye
        };
        for piece in [1, 2, 3, 64] {
            assert!(says_goodbye(&close(&[0x03, 0xe9]), piece));
            assert!(says_goodbye(&close(b"\x03\xe9left"), piece));
            assert!(!says_goodbye(&close(&[]), piece));
            assert!(says_goodbye(&close(&[0x03, 0xe8]), piece));
        }
    }
}
