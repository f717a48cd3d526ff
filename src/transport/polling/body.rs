//! Streams the body of a POST request to the long-polling library, under backpressure and a time
//! limit.

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

/// Outcome of forwarding a body.
pub(super) struct Outcome(Arc<AtomicBool>);

impl Outcome {
    /// Returns whether the body took too long to arrive.
    pub(super) fn is_too_slow(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// Wraps a body so that it is passed on in small chunks, is not read while its sender is under
/// backpressure, and must otherwise arrive within `limit`.
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
    /// Time limit for the rest of the body; restarts after a pause.
    deadline: Option<Pin<Box<Sleep>>>,
    is_too_slow: Arc<AtomicBool>,
    packets: PacketReader,
    breaks: LineBreaks,
    has_ended: bool,
}

impl Limited {
    /// Completes with an error when the body takes too long. The connection then counts as lost,
    /// since part of the body may have been handled already.
    fn poll_too_slow(&mut self, context: &mut Context<'_>) -> Poll<axum::Error> {
        let limit = self.limit;
        let deadline = self.deadline.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        ready!(deadline.as_mut().poll(context));
        self.is_too_slow.store(true, Ordering::Release);
        self.session.lose(LeaveReason::TimedOut);
        Poll::Ready(axum::Error::new(ApiError::TooSlow))
    }

    /// Counts the packets of a chunk that are not messages; messages are counted when they are
    /// handled.
    fn count_packets(&mut self, chunk: &[u8]) -> bool {
        let session = &self.session;
        self.packets.parse(chunk, |packet| count(session, packet))
    }

    /// Returns the next chunk of the body, with its packets counted.
    fn poll_chunk(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, axum::Error>>> {
        if self.session.poll_pause(context).is_pending() {
            self.deadline = None;
            return Poll::Pending;
        }
        while self.rest.is_empty() {
            match Pin::new(&mut self.body).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => self.rest = frame.into_data().unwrap_or_default(),
                Poll::Ready(Some(Err(error))) => {
                    // Reported to the library as it is, a truncated body would be a protocol
                    // violation, not a lost connection.
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
        let chunk = self.rest.split_to(length);
        if !self.count_packets(&chunk) {
            if !self.session.is_live() {
                // The client is closing and is not read any more, but may fetch its queued frames.
                return Poll::Ready(None);
            }
            self.session.act(|_| {
                Err(End { reason: LeaveReason::Disconnected, is_lost: false, close: None })
            });
            let problem = "a packet ends within a character";
            return Poll::Ready(Some(Err(axum::Error::new(std::io::Error::other(problem)))));
        }
        Poll::Ready(Some(Ok(chunk)))
    }
}

/// Counts a packet; returns false if that ends the connection.
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
            let chunk = match ready!(self.poll_chunk(context)) {
                Some(Ok(chunk)) => self.breaks.strip(chunk),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => {
                    self.has_ended = true;
                    self.breaks.finish()
                }
            };
            // The library panics on an empty chunk.
            if !chunk.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(chunk))));
            }
        }
        Poll::Ready(None)
    }
}
