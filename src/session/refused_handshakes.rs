//! Logs refused handshakes: one line per minute for each cause and origin.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tracing::{Level, enabled, info};

use crate::room::Code;

/// Minimum time between two lines for the same cause and origin.
const INTERVAL: Duration = Duration::from_mins(1);

/// Maximum number of logged causes and origins per interval.
const MAX_LOGGED: usize = 64;

/// Maximum number of logged characters of an origin.
const MAX_ORIGIN_CHARS: usize = 200;

/// Time of the last line for each cause and origin.
#[derive(Debug, Default)]
pub(super) struct RefusedHandshakes(Mutex<HashMap<(&'static str, String), Instant>>);

impl RefusedHandshakes {
    /// Logs a refused handshake, unless one with the same cause and origin was logged within a
    /// minute.
    pub(super) fn log(&self, cause: &'static str, code: Code, origin: Option<&str>) {
        if !enabled!(Level::INFO) {
            return;
        }
        let origin: String = origin.unwrap_or_default().chars().take(MAX_ORIGIN_CHARS).collect();
        if self.is_due(cause, &origin, Instant::now()) {
            info!(cause, code = code.as_str(), origin, "handshake refused");
        }
    }

    /// Returns whether a cause may be logged for an origin now.
    fn is_due(&self, cause: &'static str, origin: &str, now: Instant) -> bool {
        let mut logged = self.0.lock();
        let key = (cause, origin.to_owned());
        if logged.contains_key(&key) || logged.len() >= MAX_LOGGED {
            logged.retain(|_, at| now.duration_since(*at) < INTERVAL);
        }
        if logged.contains_key(&key) || logged.len() >= MAX_LOGGED {
            return false;
        }
        logged.insert(key, now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cause_and_origin_is_due_once_a_minute() {
        let (refused, now) = (RefusedHandshakes::default(), Instant::now());
        assert!(
            refused.is_due("token", "a", now)
                && refused.is_due("token", "b", now)
                && refused.is_due("limit", "a", now)
        );
        assert!(!refused.is_due("token", "a", now + INTERVAL / 2));
        assert!(refused.is_due("token", "a", now + INTERVAL));
    }

    #[test]
    fn number_of_lines_in_a_minute_is_bounded() {
        let (refused, now) = (RefusedHandshakes::default(), Instant::now());
        let due =
            (0..1000).filter(|number| refused.is_due("token", &number.to_string(), now)).count();
        assert_eq!(due, MAX_LOGGED);
    }
}
