//! Congestion of a path to a client that carries video with a single layer.
//!
//! With several layers, a narrow path gets a lower one ([`bandwidth`](super::bandwidth)). A single
//! layer would displace audio. So its
//! bandwidth is estimated for a while when video starts, and again after losses; video that does
//! not fit is suspended, largest bitrate first, and resumes once there is room for it. Where a
//! large part of a video is lost, as when a path becomes narrow in mid-call, it is suspended before
//! there is an estimate.
//!
//! Invariant: estimation is active while video is suspended. Otherwise nothing is estimated for
//! long, since that doubles the cost of forwarding.

use std::time::{Duration, Instant};

/// How long a path is suspected to be narrow when video starts. Estimation lingers for two seconds
/// more.
const START_TIME: Duration = Duration::from_secs(2);

/// How long a path is suspected to be narrow after a loss.
const LOSS_TIME: Duration = Duration::from_secs(18);

/// Share of lost packets in a receiver report that indicates congestion.
const CONGESTION_LOSS: f32 = 0.04;

/// How long the estimate must be too low before video is suspended: estimates fluctuate.
const SHORTAGE_TIME: Duration = Duration::from_millis(750);

/// The signs of congestion on the path of one transport.
#[derive(Debug, Default)]
pub(super) struct Congestion {
    /// Whether the client has resumed video of which no packet has arrived yet.
    is_starting: bool,
    /// When video last started.
    started_at: Option<Instant>,
    /// When a receiver report last indicated congestion.
    lost_at: Option<Instant>,
    /// Whether most packets of a video are lost, so that nothing is to be learned from the
    /// estimate.
    is_lost: bool,
    /// Since when the estimate is too low.
    short_since: Option<Instant>,
    /// Whether the client sends transport-wide feedback, without which nothing is estimated.
    has_feedback: bool,
}

impl Congestion {
    /// Records that the client has resumed video.
    pub(super) fn video_resumed(&mut self) {
        self.is_starting = true;
    }

    /// Returns whether [`Congestion::video_arrives`] is to be called with the first packet.
    pub(super) fn is_starting(&self) -> bool {
        self.is_starting
    }

    /// Records that there are packets of the video that was resumed. Until then, a path is not
    /// suspected: many clients wait for one that is silent.
    pub(super) fn video_arrives(&mut self, now: Instant) {
        if std::mem::take(&mut self.is_starting) {
            self.started_at = Some(now);
        }
    }

    /// Records the share of lost packets in a receiver report.
    pub(super) fn loss_reported(&mut self, now: Instant, loss: f32) {
        if loss >= CONGESTION_LOSS {
            self.lost_at = Some(now);
        }
    }

    /// Records that a large part of a video has been lost for a while.
    pub(super) fn heavy_loss(&mut self, now: Instant) {
        self.lost_at = Some(now);
        self.is_lost = true;
    }

    /// Records that the client has sent transport-wide feedback.
    pub(super) fn feedback_arrived(&mut self) {
        self.has_feedback = true;
    }

    pub(super) fn has_feedback(&self) -> bool {
        self.has_feedback
    }

    /// Returns whether the path may be too narrow, so that bandwidth should be estimated.
    pub(super) fn is_suspected(&self, now: Instant) -> bool {
        let within = |at: Option<Instant>, time| {
            at.is_some_and(|at| now.saturating_duration_since(at) < time)
        };
        within(self.started_at, START_TIME)
            || within(self.lost_at, LOSS_TIME)
            || self.short_since.is_some()
    }

    /// Compares the estimate with what is sent, both in bits per second. Returns whether video must
    /// be suspended: the estimate has been too low for a while, or a large part of the video is
    /// lost.
    pub(super) fn is_short(&mut self, now: Instant, estimate: u64, sent: u64) -> bool {
        if std::mem::take(&mut self.is_lost) && self.has_feedback {
            self.short_since = None;
            return true;
        }
        if !self.has_feedback || estimate >= sent / 4 * 3 {
            self.short_since = None;
            return false;
        }
        let since = *self.short_since.get_or_insert(now);
        let is_short = now.saturating_duration_since(since) >= SHORTAGE_TIME;
        if is_short {
            self.short_since = None;
        }
        is_short
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn congestion_is_suspected_after_start_and_losses() {
        let now = Instant::now();
        let mut congestion = Congestion::default();
        assert!(!congestion.is_suspected(now));
        congestion.video_resumed();
        assert!(congestion.is_starting() && !congestion.is_suspected(now), "silent");
        congestion.video_arrives(now);
        congestion.video_arrives(now + START_TIME);
        assert!(congestion.is_suspected(now) && !congestion.is_suspected(now + START_TIME));
        let later = now + Duration::from_mins(1);
        congestion.loss_reported(later, 0.01);
        assert!(!congestion.is_suspected(later));
        congestion.loss_reported(later, 0.1);
        assert!(congestion.is_suspected(later) && !congestion.is_suspected(later + LOSS_TIME));
    }

    #[test]
    fn heavy_loss_is_a_shortage_at_once() {
        let now = Instant::now();
        let mut congestion = Congestion::default();
        congestion.heavy_loss(now);
        assert!(
            !congestion.is_short(now, 2000, 1000),
            "without feedback, video would never resume"
        );
        congestion.feedback_arrived();
        congestion.heavy_loss(now);
        assert!(congestion.is_suspected(now) && congestion.is_short(now, 2000, 1000));
        assert!(
            !congestion.is_short(now, 2000, 1000),
            "the next suspension needs a loss of its own"
        );
    }

    #[test]
    fn short_dip_of_the_estimate_is_no_shortage() {
        let mut now = Instant::now();
        let mut congestion = Congestion::default();
        let step = SHORTAGE_TIME / 3;
        assert!(
            !congestion.is_short(now, 300, 1000)
                && !congestion.is_short(now + SHORTAGE_TIME, 300, 1000)
        );
        congestion.feedback_arrived();
        for estimate in [300, 300, 900, 300, 300, 300] {
            assert!(!congestion.is_short(now, estimate, 1000));
            now += step;
        }
        assert!(congestion.is_suspected(now));
        assert!(congestion.is_short(now, 300, 1000));
        assert!(
            !congestion.is_short(now, 300, 1000),
            "the next suspension needs a shortage of its own"
        );
    }
}
