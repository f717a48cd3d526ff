//! How many places may wait for their peers: as many as had a connection lately, since all lines may drop at once, as when
//! a proxy in front is restarted.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// So many however few connections there were.
const ALWAYS: usize = 1000;

/// The most connections that were open at a time, in this stretch of time and in the one before.
#[derive(Debug, Default)]
pub(super) struct Crowd {
    most: AtomicUsize,
    most_before: AtomicUsize,
    began: Mutex<Option<Instant>>,
}

impl Crowd {
    /// Notes how many connections are open.
    pub(super) fn note(&self, open: usize) {
        self.most.fetch_max(open, Ordering::Relaxed);
    }

    /// Begins another stretch of time where one has lasted for `length`.
    pub(super) fn turn(&self, now: Instant, length: Duration, open: usize) {
        let mut began = self.began.lock();
        if now.duration_since(*began.get_or_insert(now)) >= length {
            *began = Some(now);
            let most = self.most.swap(open, Ordering::Relaxed);
            self.most_before.store(most, Ordering::Relaxed);
        }
    }

    /// The most places that may wait.
    pub(super) fn limit(&self) -> usize {
        self.most.load(Ordering::Relaxed).max(self.most_before.load(Ordering::Relaxed)).max(ALWAYS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crowd_is_remembered_for_one_stretch_and_a_second() {
        let (crowd, length) = (Crowd::default(), Duration::from_secs(10));
        let begin = Instant::now();
        crowd.turn(begin, length, 0);
        crowd.note(5000);
        crowd.turn(begin + length / 2, length, 5000);
        assert_eq!(crowd.limit(), 5000);
        // All are gone.
        crowd.turn(begin + length, length, 0);
        assert_eq!(crowd.limit(), 5000);
        crowd.turn(begin + 2 * length, length, 0);
        assert_eq!(crowd.limit(), ALWAYS);
    }
}
