//! Waits as long as a rate limiter says.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::time::{Instant, Sleep};

use crate::session::RateLimiter;

/// Ready when the connection may be read on. The timer is made when it is needed, and dropped after.
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
