//! The time at which something happened, by both clocks.
//!
//! Every time limit goes by the monotonic clock: the calendar may be set while the server runs. The calendar is only
//! for times that clients are shown, and for times that others have written, such as the `exp` of a token.

use std::ops::{Add, AddAssign};
use std::time::{Duration, Instant, SystemTime};

/// When something happened. Read once for each message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// By the monotonic clock.
    pub instant: Instant,
    /// By the calendar.
    pub time: SystemTime,
}

impl Moment {
    /// Returns the current time.
    pub fn now() -> Self {
        Self { instant: Instant::now(), time: SystemTime::now() }
    }
}

impl Add<Duration> for Moment {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self { instant: self.instant + duration, time: self.time + duration }
    }
}

impl AddAssign<Duration> for Moment {
    fn add_assign(&mut self, duration: Duration) {
        *self = *self + duration;
    }
}
