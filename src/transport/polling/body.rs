//! The body of a POST request, on its way to the library.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, header};
use http_body::Frame;
use tokio::time::Sleep;

use super::payload::{Packet, PacketReader, SEPARATOR};
use super::session::PollingSession;
use crate::dialect::socketio::packet::Revision;
use crate::http::error::ApiError;
use crate::room::LeaveReason;
use crate::transport::executor::{End, Executor};
use crate::transport::read_ahead::READ_BUFFER;

/// The content type by which a client of Engine.IO 3 says that the lengths of its packets are not written as text.
const BINARY: &str = "application/octet-stream";

/// What became of a body.
pub(super) struct Outcome(Arc<AtomicBool>);

impl Outcome {
    /// Whether it took too long.
    pub(super) fn is_too_slow(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// A body that is handed on in small pieces, not while its sender is paused, and for a bounded time otherwise.
pub(super) fn limited(
    body: Body,
    headers: &HeaderMap,
    session: Arc<PollingSession>,
    limit: Duration,
) -> (Body, Outcome) {
    let is_binary = headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind == BINARY);
    let packets = PacketReader::new(session.revision(), is_binary);
    let breaks = (session.revision() == Revision::V4).then_some(LineBreaks { is_start: true, is_binary: false });
    let is_too_slow = Arc::new(AtomicBool::new(false));
    let outcome = Outcome(Arc::clone(&is_too_slow));
    let limited = Limited { body, rest: Bytes::new(), session, limit, deadline: None, is_too_slow, packets, breaks };
    (Body::new(limited), outcome)
}

struct Limited {
    body: Body,
    rest: Bytes,
    session: Arc<PollingSession>,
    limit: Duration,
    /// When all of the body must have come; begins anew after a pause.
    deadline: Option<Pin<Box<Sleep>>>,
    is_too_slow: Arc<AtomicBool>,
    packets: PacketReader,
    breaks: Option<LineBreaks>,
}

impl Limited {
    /// A body that takes too long ends its connection as if that had been lost: part of what was sent may have been handled
    /// already.
    fn poll_too_slow(&mut self, context: &mut Context<'_>) -> Poll<axum::Error> {
        let limit = self.limit;
        let deadline = self.deadline.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        ready!(deadline.as_mut().poll(context));
        self.is_too_slow.store(true, Ordering::Release);
        self.session.lose(LeaveReason::TimedOut);
        Poll::Ready(axum::Error::new(ApiError::TooSlow))
    }

    /// Counts the packets of a piece that are no messages, since those are counted when they are handled.
    fn follow(&mut self, piece: &[u8]) -> bool {
        let session = &self.session;
        self.packets.follow(piece, |packet| count(session, packet))
    }
}

/// Counts a packet; `false` if the connection ends for it.
fn count(session: &PollingSession, packet: Packet<'_>) -> bool {
    if !matches!(packet, Packet::Binary | Packet::Text([b'4', ..])) {
        session.act(Executor::receive_control);
    }
    session.is_live()
}

impl http_body::Body for Limited {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let this = &mut *self;
        if this.session.poll_pause(context).is_pending() {
            this.deadline = None;
            return Poll::Pending;
        }
        while this.rest.is_empty() {
            match Pin::new(&mut this.body).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => this.rest = frame.into_data().unwrap_or_default(),
                Poll::Ready(Some(Err(error))) => {
                    // The connection was lost. To the library, a body that is broken off is one that makes no sense.
                    this.session.lose(LeaveReason::Disconnected);
                    return Poll::Ready(Some(Err(error)));
                }
                Poll::Ready(None) => {
                    let session = &this.session;
                    this.packets.finish(|packet| count(session, packet));
                    return Poll::Ready(None);
                }
                Poll::Pending => return this.poll_too_slow(context).map(|error| Some(Err(error))),
            }
        }
        let length = this.rest.len().min(READ_BUFFER);
        let piece = this.rest.split_to(length);
        if !this.follow(&piece) {
            if !this.session.is_live() {
                // It is not heard any more, and may fetch the rest.
                return Poll::Ready(None);
            }
            this.session.act(|_| Err(End { reason: LeaveReason::Disconnected, is_lost: false, close: None }));
            let problem = "a packet ends within a character";
            return Poll::Ready(Some(Err(axum::Error::new(std::io::Error::other(problem)))));
        }
        let piece = match &mut this.breaks {
            Some(breaks) => breaks.strip(piece),
            None => piece,
        };
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }
}

/// Leaves line breaks out of binary packets: the official Java client encodes them as MIME does (RFC 2045, section 6.8).
#[derive(Debug)]
struct LineBreaks {
    /// Whether the next byte begins a packet.
    is_start: bool,
    is_binary: bool,
}

impl LineBreaks {
    fn strip(&mut self, piece: Bytes) -> Bytes {
        let mut is_kept = |byte: u8| {
            if byte == SEPARATOR {
                (self.is_start, self.is_binary) = (true, false);
            } else if std::mem::take(&mut self.is_start) {
                self.is_binary = byte == b'b';
            }
            !(self.is_binary && matches!(byte, b'\r' | b'\n'))
        };
        // Nearly always there are none, and nothing is copied.
        let mut stripped: Option<Vec<u8>> = None;
        for (index, byte) in piece.iter().enumerate() {
            let kept = is_kept(*byte);
            match &mut stripped {
                Some(stripped) if kept => stripped.push(*byte),
                None if !kept => stripped = Some(piece[..index].to_vec()),
                _ => {}
            }
        }
        stripped.map_or(piece, Bytes::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_breaks_are_left_out_of_binary_packets_only() {
        for piece in [1, 2, 3, 100] {
            let mut breaks = LineBreaks { is_start: true, is_binary: false };
            let payload = Bytes::from_static(b"bAQ\r\nID\n\x1e42[\"a\nb\"]\x1ebAA\n==");
            let stripped: Vec<u8> = (0..payload.len())
                .step_by(piece)
                .flat_map(|start| breaks.strip(payload.slice(start..payload.len().min(start + piece))))
                .collect();
            assert_eq!(stripped, b"bAQID\x1e42[\"a\nb\"]\x1ebAA==");
        }
    }
}
