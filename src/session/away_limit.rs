//! The limit on away sessions: as many as there were connections lately, since all connections may drop at once, as when
//! a proxy in front is restarted.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// The least limit, however few connections there were.
const LEAST: usize = 1000;

/// The peak number of open connections, in this period and in the one before.
#[derive(Debug, Default)]
pub(super) struct AwayLimit {
    peak: AtomicUsize,
    previous_peak: AtomicUsize,
    began: Mutex<Option<Instant>>,
}

impl AwayLimit {
    /// Notes how many connections are open.
    pub(super) fn note(&self, open: usize) {
        self.peak.fetch_max(open, Ordering::Relaxed);
    }

    /// Begins another period if the current one has lasted for `length`.
    pub(super) fn turn(&self, now: Instant, length: Duration, open: usize) {
        let mut began = self.began.lock();
        if now.duration_since(*began.get_or_insert(now)) >= length {
            *began = Some(now);
            let peak = self.peak.swap(open, Ordering::Relaxed);
            self.previous_peak.store(peak, Ordering::Relaxed);
        }
    }

    /// The maximum number of away sessions.
    pub(super) fn max(&self) -> usize {
        self.peak.load(Ordering::Relaxed).max(self.previous_peak.load(Ordering::Relaxed)).max(LEAST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peak_counts_in_its_period_and_the_next() {
        let (limit, length) = (AwayLimit::default(), Duration::from_secs(10));
        let begin = Instant::now();
        limit.turn(begin, length, 0);
        limit.note(5000);
        limit.turn(begin + length / 2, length, 5000);
        assert_eq!(limit.max(), 5000);
        // All have disconnected.
        limit.turn(begin + length, length, 0);
        assert_eq!(limit.max(), 5000);
        limit.turn(begin + 2 * length, length, 0);
        assert_eq!(limit.max(), LEAST);
    }
}
