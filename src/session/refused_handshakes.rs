//! Log lines about refused handshakes: one a minute for each cause and origin, however many are refused.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tracing::{Level, enabled, info};

use crate::room::Code;

/// How long a cause is not logged again for the same origin.
const INTERVAL: Duration = Duration::from_mins(1);

/// Maximum number of causes and origins that are logged in that time.
const MAX_LOGGED: usize = 64;

/// Maximum number of characters of an origin that are logged.
const MAX_ORIGIN_CHARS: usize = 200;

/// When each cause was last logged for each origin.
#[derive(Debug, Default)]
pub(super) struct RefusedHandshakes(Mutex<HashMap<(&'static str, String), Instant>>);

impl RefusedHandshakes {
    /// Logs a refused handshake, unless one of this cause and origin was logged within a minute.
    pub(super) fn note(&self, cause: &'static str, code: Code, origin: Option<&str>) {
        if !enabled!(Level::INFO) {
            return;
        }
        let origin: String = origin.unwrap_or_default().chars().take(MAX_ORIGIN_CHARS).collect();
        if self.is_due(cause, &origin, Instant::now()) {
            info!(cause, code = code.as_str(), origin, "handshake refused");
        }
    }

    /// Whether a cause is to be logged for an origin now.
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
            refused.is_due("token", "a", now) && refused.is_due("token", "b", now) && refused.is_due("limit", "a", now)
        );
        assert!(!refused.is_due("token", "a", now + INTERVAL / 2));
        assert!(refused.is_due("token", "a", now + INTERVAL));
    }

    #[test]
    fn number_of_lines_in_a_minute_is_bounded() {
        let (refused, now) = (RefusedHandshakes::default(), Instant::now());
        let due = (0..1000).filter(|number| refused.is_due("token", &number.to_string(), now)).count();
        assert_eq!(due, MAX_LOGGED);
    }
}
