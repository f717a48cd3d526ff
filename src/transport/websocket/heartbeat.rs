//! Detects silent clients with heartbeats.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

use crate::dialect::Heartbeat;

/// Maximum number of unanswered WebSocket pings.
const MAX_MISSED: u32 = 2;

/// An action that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Beat {
    /// Send a WebSocket ping.
    Ping,
    /// Send this message.
    Message(&'static str),
    /// End the connection: the client is silent.
    Dead,
}

/// The heartbeat of one connection.
pub(super) struct HeartbeatTimer {
    kind: Heartbeat,
    /// Time between WebSocket pings.
    interval: Duration,
    /// Deadline of the next heartbeat.
    timer: Pin<Box<Sleep>>,
    /// Number of unanswered heartbeats.
    missed: u32,
    /// Time of the last message, for clients that send heartbeats themselves.
    last_received: Instant,
}

impl HeartbeatTimer {
    pub(super) fn new(kind: Heartbeat, interval: Duration) -> Self {
        let first = match kind {
            Heartbeat::Frames => interval,
            Heartbeat::Server { interval, .. } => interval,
            Heartbeat::Client { limit } => limit,
        };
        Self {
            kind,
            interval,
            timer: Box::pin(sleep(first)),
            missed: 0,
            last_received: Instant::now(),
        }
    }

    /// Records that a frame was received from the client.
    pub(super) fn note_received(&mut self) {
        match self.kind {
            Heartbeat::Frames => self.missed = 0,
            Heartbeat::Server { interval, .. } if self.missed > 0 => {
                self.missed = 0;
                self.timer.as_mut().reset(Instant::now() + interval);
            }
            Heartbeat::Server { .. } => {}
            Heartbeat::Client { .. } => self.last_received = Instant::now(),
        }
    }

    /// Returns whether the client has not answered the previous heartbeat by the time of the next.
    pub(super) fn is_overdue(&self) -> bool {
        self.missed > 1
    }

    /// Completes when an action is due.
    pub(super) fn poll_beat(&mut self, context: &mut Context<'_>) -> Poll<Beat> {
        while self.timer.as_mut().poll(context).is_ready() {
            let (next, beat) = match self.kind {
                Heartbeat::Frames if self.missed >= MAX_MISSED => return Poll::Ready(Beat::Dead),
                Heartbeat::Frames => (Instant::now() + self.interval, Some(Beat::Ping)),
                Heartbeat::Server { .. } if self.missed > 0 => return Poll::Ready(Beat::Dead),
                Heartbeat::Server { ping, timeout, .. } => {
                    (Instant::now() + timeout, Some(Beat::Message(ping)))
                }
                Heartbeat::Client { limit } if self.last_received + limit <= Instant::now() => {
                    return Poll::Ready(Beat::Dead);
                }
                Heartbeat::Client { limit } => (self.last_received + limit, None),
            };
            self.timer.as_mut().reset(next);
            if let Some(beat) = beat {
                self.missed += 1;
                return Poll::Ready(beat);
            }
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    const INTERVAL: Duration = Duration::from_millis(40);
    const TIMEOUT: Duration = Duration::from_millis(20);

    /// Returns the next action, which must not be due before `after`.
    async fn beat(heartbeat: &mut HeartbeatTimer, after: Duration) -> Beat {
        let began = Instant::now();
        let beat = poll_fn(|context| heartbeat.poll_beat(context)).await;
        assert!(
            began.elapsed() + Duration::from_millis(2) >= after,
            "{beat:?} after {:?}",
            began.elapsed()
        );
        beat
    }

    #[tokio::test]
    async fn server_pings_after_the_interval_and_waits_for_the_timeout() {
        let kind = Heartbeat::Server { ping: "2", interval: INTERVAL, timeout: TIMEOUT };
        let mut heartbeat = HeartbeatTimer::new(kind, Duration::ZERO);
        assert_eq!(beat(&mut heartbeat, INTERVAL).await, Beat::Message("2"));
        heartbeat.note_received();
        assert_eq!(beat(&mut heartbeat, INTERVAL).await, Beat::Message("2"));
        assert_eq!(beat(&mut heartbeat, TIMEOUT).await, Beat::Dead);
    }

    #[tokio::test]
    async fn client_that_pings_by_itself_is_dead_after_the_limit() {
        let mut heartbeat =
            HeartbeatTimer::new(Heartbeat::Client { limit: INTERVAL }, Duration::ZERO);
        heartbeat.note_received();
        assert_eq!(beat(&mut heartbeat, INTERVAL).await, Beat::Dead);
    }

    #[tokio::test]
    async fn client_that_misses_two_websocket_pings_is_dead() {
        let mut heartbeat = HeartbeatTimer::new(Heartbeat::Frames, INTERVAL);
        assert_eq!(beat(&mut heartbeat, INTERVAL).await, Beat::Ping);
        assert!(!heartbeat.is_overdue());
        assert_eq!(beat(&mut heartbeat, INTERVAL).await, Beat::Ping);
        assert!(heartbeat.is_overdue());
        assert_eq!(beat(&mut heartbeat, INTERVAL).await, Beat::Dead);
    }
}
