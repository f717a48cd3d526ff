//! Delays reading of a connection as its rate limiter demands.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::time::{Instant, Sleep};

use crate::session::RateLimiter;

/// Completes when the connection may be read. The timer exists only while it is needed.
pub(super) fn poll_delay(
    limiter: &RateLimiter,
    timer: &mut Option<Pin<Box<Sleep>>>,
    context: &mut Context<'_>,
) -> Poll<()> {
    while let Some(delay) = limiter.delay() {
        let due = Instant::now() + delay;
        let timer = timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due)));
        timer.as_mut().reset(due);
        ready!(timer.as_mut().poll(context));
    }
    *timer = None;
    Poll::Ready(())
}
