//! The time of an event, by the monotonic and by the system clock.
//!
//! All time limits use the monotonic clock, since the system clock may be set while the server
//! runs. The system clock is only for times shown to clients, and for times that others have
//! written, such as the `exp` of a token.

use std::ops::{Add, AddAssign};
use std::time::{Duration, Instant, SystemTime};

/// A point in time. Taken once per message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Time of the monotonic clock.
    pub instant: Instant,
    /// Time of the system clock.
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
