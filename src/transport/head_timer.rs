//! The timer for the heads of HTTP/1.1 requests.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hyper::rt::{Sleep, Timer};
use hyper_util::rt::TokioTimer;

/// hyper has one limit for the time that a head may take and for the idle time before it. After the first request of a
/// connection this timer adds the keep-alive time.
#[derive(Clone)]
pub(super) struct HeadTimer {
    pub(super) rest: Duration,
    pub(super) has_served: Arc<AtomicBool>,
}

impl HeadTimer {
    fn extended(&self, deadline: Instant) -> Instant {
        if self.has_served.load(Ordering::Relaxed) { deadline + self.rest } else { deadline }
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
