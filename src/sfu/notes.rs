//! Log lines about limits of media that are hit: one for each limit and minute, whatever comes in.

use std::time::{Duration, Instant};

use super::figures::Figures;

/// How long a limit is not written about again.
const INTERVAL: Duration = Duration::from_mins(1);

type Count = fn(&Figures) -> u64;

/// Limits, by the names that metrics have for them.
const LIMITS: [(&str, Count); 6] = [
    ("over_limit", |figures| figures.over_limit),
    ("stun_rate", |figures| figures.checks_over_limit),
    ("unvalidated_address", |figures| figures.unvalidated),
    ("transport_rate", |figures| figures.creations_over_rate),
    ("transports", |figures| figures.transports_over_limit),
    ("connect_time", |figures| figures.connect_timeouts),
];

/// What was written of one limit.
#[derive(Debug, Default, Clone, Copy)]
struct Note {
    count: u64,
    written_at: Option<Instant>,
}

/// What was written so far.
#[derive(Debug, Default)]
pub(super) struct Notes([Note; LIMITS.len()]);

impl Notes {
    /// Has limits written that were hit since they were last written about: how often.
    pub(super) fn look(&mut self, now: Instant, figures: &Figures, mut write: impl FnMut(&'static str, u64)) {
        for ((name, count), note) in LIMITS.iter().zip(&mut self.0) {
            let count = count(figures);
            let is_soon = note.written_at.is_some_and(|at| now.saturating_duration_since(at) < INTERVAL);
            if count > note.count && !is_soon {
                write(name, count - note.count);
                *note = Note { count, written_at: Some(now) };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_written_about_once_a_minute() {
        let (start, mut notes) = (Instant::now(), Notes::default());
        let mut written = Vec::new();
        for second in 0..150_u64 {
            let figures = Figures { over_limit: 10 * (second + 1), connect_timeouts: 3, ..Figures::default() };
            notes
                .look(start + Duration::from_secs(second), &figures, |name, count| written.push((second, name, count)));
        }
        let expected =
            [(0, "over_limit", 10), (0, "connect_time", 3), (60, "over_limit", 600), (120, "over_limit", 600)];
        assert_eq!(written, expected);
    }
}
