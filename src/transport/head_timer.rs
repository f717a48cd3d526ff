//! The timer for HTTP/1.1 request heads, which allows more time between two requests of a
//! connection.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hyper::rt::{Sleep, Timer};
use hyper_util::rt::TokioTimer;

/// Adds the keep-alive time to hyper's header read timeout after the first request.
///
/// hyper has a single limit for receiving a request head and for the idle time before it.
#[derive(Clone)]
pub(super) struct HeadTimer {
    pub(super) idle: Duration,
    pub(super) has_served: Arc<AtomicBool>,
}

impl HeadTimer {
    fn extended(&self, deadline: Instant) -> Instant {
        if self.has_served.load(Ordering::Relaxed) { deadline + self.idle } else { deadline }
    }
}

impl Timer for HeadTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(Instant::now() + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        TokioTimer::new().sleep_until(self.extended(deadline))
    }

    fn reset(&self, sleep: &mut Pin<Box<dyn Sleep>>, deadline: Instant) {
        TokioTimer::new().reset(sleep, self.extended(deadline));
    }
}
