//! A stream that passes continuation frames of WebSocket messages through the rate limiter.
//!
//! The WebSocket library returns whole messages only: a message in a thousand frames looks like one
//! message, and one that is continued forever by empty frames like none. [`Metered`] counts
//! continuation frames as they are read.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::Sleep;

use super::frames::FrameReader;
use super::throttle::poll_delay;
use super::write_through::write_through;
use crate::session::{Excess, RateLimiter};

/// A client's byte stream. Reading fails with [`io::ErrorKind::QuotaExceeded`] if the client
/// floods.
#[derive(Debug)]
pub(super) struct Metered<S> {
    io: S,
    limiter: Arc<RateLimiter>,
    frames: FrameReader,
    delay: Option<Pin<Box<Sleep>>>,
}

impl<S> Metered<S> {
    pub(super) fn new(io: S, limiter: Arc<RateLimiter>) -> Self {
        Self { io, limiter, frames: FrameReader::default(), delay: None }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { io, limiter, frames, delay } = self.get_mut();
        ready!(poll_delay(limiter, delay, context));
        let before = buffer.filled().len();
        ready!(Pin::new(io).poll_read(context, buffer))?;
        // First frames are admitted as messages.
        let fragments = frames.follow(&buffer.filled()[before..]);
        let is_flood =
            (0..fragments).any(|_| matches!(limiter.admit_frame(), Err(Excess::Flood(_))));
        Poll::Ready(if is_flood { Err(io::ErrorKind::QuotaExceeded.into()) } else { Ok(()) })
    }
}

write_through!(Metered);
