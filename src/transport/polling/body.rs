//! The body of a POST request, on its way to the library.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, header};
use http_body::{Body as _, Frame};
use tokio::time::Sleep;

use super::line_breaks::LineBreaks;
use super::payload::{Format, Packet, PacketReader};
use super::session::PollingSession;
use crate::request::error::ApiError;
use crate::room::LeaveReason;
use crate::transport::executor::{End, Executor};
use crate::transport::read_ahead::READ_BUFFER;

/// What became of a body.
pub(super) struct Outcome(Arc<AtomicBool>);

impl Outcome {
    /// Whether it took too long.
    pub(super) fn is_too_slow(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// A body of at most `max_bytes` that is handed on in small pieces, not while its sender is paused, and for a bounded time
/// otherwise.
pub(super) fn limited(
    body: Body,
    headers: &HeaderMap,
    session: Arc<PollingSession>,
    limit: Duration,
    max_bytes: usize,
) -> (Body, Outcome) {
    let format = Format::of(session.revision(), headers.get(header::CONTENT_TYPE));
    let (packets, breaks) = (PacketReader::new(format), LineBreaks::new(format, max_bytes));
    let is_too_slow = Arc::new(AtomicBool::new(false));
    let outcome = Outcome(Arc::clone(&is_too_slow));
    let limited = Limited {
        body,
        rest: Bytes::new(),
        session,
        limit,
        deadline: None,
        is_too_slow,
        packets,
        breaks,
        has_ended: false,
    };
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
    breaks: LineBreaks,
    has_ended: bool,
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

    /// The next piece of the body, once its packets are counted.
    fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, axum::Error>>> {
        if self.session.poll_pause(context).is_pending() {
            self.deadline = None;
            return Poll::Pending;
        }
        while self.rest.is_empty() {
            match Pin::new(&mut self.body).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => self.rest = frame.into_data().unwrap_or_default(),
                Poll::Ready(Some(Err(error))) => {
                    // The connection was lost. To the library, a body that is broken off is one that makes no sense.
                    self.session.lose(LeaveReason::Disconnected);
                    return Poll::Ready(Some(Err(error)));
                }
                Poll::Ready(None) => {
                    let session = &self.session;
                    self.packets.finish(|packet| count(session, packet));
                    return Poll::Ready(None);
                }
                Poll::Pending => return self.poll_too_slow(context).map(|error| Some(Err(error))),
            }
        }
        let length = self.rest.len().min(READ_BUFFER);
        let piece = self.rest.split_to(length);
        if !self.follow(&piece) {
            if !self.session.is_live() {
                // The client is not heard any more, and may fetch the rest.
                return Poll::Ready(None);
            }
            self.session.act(|_| Err(End { reason: LeaveReason::Disconnected, is_lost: false, close: None }));
            let problem = "a packet ends within a character";
            return Poll::Ready(Some(Err(axum::Error::new(std::io::Error::other(problem)))));
        }
        Poll::Ready(Some(Ok(piece)))
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
        while !self.has_ended {
            let piece = match ready!(self.poll_piece(context)) {
                Some(Ok(piece)) => self.breaks.strip(piece),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => {
                    self.has_ended = true;
                    self.breaks.finish()
                }
            };
            // The library panics at an empty piece.
            if !piece.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
        }
        Poll::Ready(None)
    }
}
