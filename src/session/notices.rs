//! Rate-limits the log lines about limits: one per minute for each cause.

use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tracing::warn;

use crate::metrics::{Limit, Metrics};

/// Minimum time between two lines for the same cause.
const INTERVAL: Duration = Duration::from_mins(1);

/// Time of the last line for each cause.
#[derive(Debug, Default)]
pub(super) struct Notices(Mutex<Vec<(&'static str, Instant)>>);

impl Notices {
    /// Returns whether a cause may be logged now.
    pub(super) fn is_due(&self, cause: &'static str, now: Instant) -> bool {
        let mut logged = self.0.lock();
        match logged.iter_mut().find(|(known, _)| *known == cause) {
            Some((_, last)) if now.duration_since(*last) < INTERVAL => false,
            Some((_, last)) => {
                *last = now;
                true
            }
            None => {
                logged.push((cause, now));
                true
            }
        }
    }
}

/// Counts a limit that was hit, and logs it at most once a minute.
pub(super) fn limit_hit(metrics: &Metrics, notices: &Notices, limit: Limit, notice: &'static str) {
    metrics.limit(limit);
    if notices.is_due(notice, Instant::now()) {
        warn!(limit = limit.as_str(), "{notice}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cause_is_due_once_a_minute() {
        let (notices, now) = (Notices::default(), Instant::now());
        assert!(notices.is_due("one", now) && notices.is_due("another", now));
        assert!(!notices.is_due("one", now + INTERVAL / 2));
        assert!(notices.is_due("one", now + INTERVAL));
    }
}
