//! Log messages about media limits that were hit: at most one for each limit and minute.

use std::time::{Duration, Instant};

use super::stats::MediaStats;

/// Minimum time between two messages about the same limit.
const INTERVAL: Duration = Duration::from_mins(1);

type Count = fn(&MediaStats) -> u64;

/// The limits, by their label values in metrics, and their counters.
const LIMITS: [(&str, Count); 6] = [
    ("over_limit", |stats| stats.over_limit),
    ("stun_rate", |stats| stats.binding_requests_over_limit),
    ("unvalidated_address", |stats| stats.unvalidated),
    ("transport_rate", |stats| stats.creations_over_rate),
    ("transports", |stats| stats.transports_over_limit),
    ("connect_time", |stats| stats.connect_timeouts),
];

/// The last message about one limit.
#[derive(Debug, Default, Clone, Copy)]
struct LoggedLimit {
    count: u64,
    logged_at: Option<Instant>,
}

/// The last message about each limit.
#[derive(Debug, Default)]
pub(super) struct LimitLog([LoggedLimit; LIMITS.len()]);

impl LimitLog {
    /// Logs each limit that was hit since its last message, with the number of times, unless that
    /// message was too recent.
    pub(super) fn update(
        &mut self,
        now: Instant,
        stats: &MediaStats,
        mut log: impl FnMut(&'static str, u64),
    ) {
        for ((name, count), logged) in LIMITS.iter().zip(&mut self.0) {
            let count = count(stats);
            let is_recent =
                logged.logged_at.is_some_and(|at| now.saturating_duration_since(at) < INTERVAL);
            if count > logged.count && !is_recent {
                log(name, count - logged.count);
                *logged = LoggedLimit { count, logged_at: Some(now) };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limit_is_logged_once_a_minute() {
        let (start, mut limit_log) = (Instant::now(), LimitLog::default());
        let mut logged = Vec::new();
        for second in 0..150_u64 {
            let stats = MediaStats {
                over_limit: 10 * (second + 1),
                connect_timeouts: 3,
                ..MediaStats::default()
            };
            limit_log.update(start + Duration::from_secs(second), &stats, |name, count| {
                logged.push((second, name, count));
            });
        }
        let expected = [
            (0, "over_limit", 10),
            (0, "connect_time", 3),
            (60, "over_limit", 600),
            (120, "over_limit", 600),
        ];
        assert_eq!(logged, expected);
    }
}
