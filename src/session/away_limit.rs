//! The limit on away sessions: the recent peak of open connections, since all of them may drop at
//! once, for example when a proxy restarts.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Minimum of the limit.
const MIN_AWAY: usize = 1000;

/// Peak number of open connections in the current and the previous period.
#[derive(Debug, Default)]
pub(super) struct AwayLimit {
    peak: AtomicUsize,
    previous_peak: AtomicUsize,
    started: Mutex<Option<Instant>>,
}

impl AwayLimit {
    /// Records the number of open connections.
    pub(super) fn record(&self, open: usize) {
        self.peak.fetch_max(open, Ordering::Relaxed);
    }

    /// Starts another period if the current one has lasted for `length`.
    pub(super) fn rotate(&self, now: Instant, length: Duration, open: usize) {
        let mut started = self.started.lock();
        if now.duration_since(*started.get_or_insert(now)) >= length {
            *started = Some(now);
            let peak = self.peak.swap(open, Ordering::Relaxed);
            self.previous_peak.store(peak, Ordering::Relaxed);
        }
    }

    /// Returns the maximum number of away sessions.
    pub(super) fn max(&self) -> usize {
        self.peak
            .load(Ordering::Relaxed)
            .max(self.previous_peak.load(Ordering::Relaxed))
            .max(MIN_AWAY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peak_counts_in_its_period_and_the_next() {
        let (limit, length) = (AwayLimit::default(), Duration::from_secs(10));
        let begin = Instant::now();
        limit.rotate(begin, length, 0);
        limit.record(5000);
        limit.rotate(begin + length / 2, length, 5000);
        assert_eq!(limit.max(), 5000);
        // All connections are closed.
        limit.rotate(begin + length, length, 0);
        assert_eq!(limit.max(), 5000);
        limit.rotate(begin + 2 * length, length, 0);
        assert_eq!(limit.max(), MIN_AWAY);
    }
}
