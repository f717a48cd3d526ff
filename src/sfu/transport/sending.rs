//! What is sent to a client: its streams, their packets, and how much of them it can take.
//!
//! The guarantee that is easy to break: nothing of a paused consumer leaves, padding included.

use std::time::{Duration, Instant};

use str0m::bwe::Bitrate;
use str0m::media::Mid;
use str0m::rtp::{RtpWrite, Ssrc};

use super::{Transport, media_kind, stream_of};
use crate::sfu::bandwidth::Estimate;
use crate::sfu::consumer::Streams;
use crate::sfu::output::Sink;
use crate::sfu::parameters::Kind;

/// The bandwidth that a client is taken to have until it is known, in bits a second.
pub(in crate::sfu) const FIRST_ESTIMATE: u64 = 800_000;

/// What a client is taken to have, in bits a second, while nothing can be chosen by that: its packets leave as they come.
/// Sixty-three kilobytes at once are the library's bound.
const UNPACED: u64 = 100_000_000;

/// How long bandwidth goes on to be estimated when there is nothing to choose: a camera is often switched on again, and
/// a client that has just come will soon be sent one.
const LINGER: Duration = Duration::from_secs(2);

/// How long an estimate is left to itself.
const LIFT_INTERVAL: Duration = Duration::from_secs(1);

/// The most packets that wait for one stream to be sent.
const MAX_QUEUED: usize = 512;

/// For how long packets of one stream are kept to be sent again, and how many.
const RESENDABLE: (usize, Duration) = (1024, Duration::from_secs(3));

/// How much of what a stream sends may be sent again. By itself the library gives up at 15 %, which a keyframe that did not
/// fit through a narrow line exceeds; its picture would stand still until the client gives up too.
const RESENT: f32 = 0.5;

impl Transport {
    /// Makes the streams of a consumer, withheld.
    pub(in crate::sfu) fn declare(&mut self, kind: Kind, has_rtx: bool, sink: &mut Sink) -> Option<Streams> {
        let mid = Mid::from(self.next_mid.to_string().as_str());
        self.next_mid += 1;
        let (ssrc, rtx) = self.change(sink, |rtc| {
            let mut api = rtc.direct_api();
            let ssrc = api.new_ssrc();
            let rtx = has_rtx.then(|| {
                let other = api.new_ssrc();
                if other == ssrc { Ssrc::from(other.wrapping_add(1)) } else { other }
            });
            api.declare_media(mid, media_kind(kind));
            let stream = api.declare_stream_tx(ssrc, rtx, mid, None);
            stream.set_rtx_cache(RESENDABLE.0, RESENDABLE.1, Some(RESENT));
            (ssrc, rtx)
        })?;
        let streams = Streams { mid, ssrc, rtx };
        self.withhold(streams, true);
        Some(streams)
    }

    pub(in crate::sfu) fn withhold(&mut self, streams: Streams, is_withheld: bool) {
        for ssrc in [Some(streams.ssrc), streams.rtx].into_iter().flatten() {
            if is_withheld {
                self.withheld.insert(*ssrc);
            } else {
                self.withheld.remove(&*ssrc);
            }
        }
    }

    /// Whether a datagram is RTP of a stream that is withheld.
    pub(super) fn withholds(&self, datagram: &[u8]) -> bool {
        !self.withheld.is_empty() && stream_of(datagram).is_some_and(|ssrc| self.withheld.contains(&ssrc))
    }

    /// Forgets a media section and its streams.
    pub(in crate::sfu) fn remove(&mut self, mid: Mid, sink: &mut Sink) {
        self.change(sink, |rtc| rtc.direct_api().remove_media(mid));
    }

    /// Sends a packet as soon as time passes; `false` where it is lost, since too many wait or there is no way.
    pub(in crate::sfu) fn send(&mut self, now: Instant, ssrc: Ssrc, write: RtpWrite, sink: &mut Sink) -> bool {
        if !self.is_connected {
            return false;
        }
        self.due = self.due.min(now);
        let sent = self.contain(sink, |_, rtc, _| {
            let mut api = rtc.direct_api();
            let Some(stream) = api.stream_tx(&ssrc) else { return false };
            if stream.queue_info().is_some_and(|queue| queue.packet_count() > MAX_QUEUED) {
                return false;
            }
            stream.write_rtp(write);
            true
        });
        sent == Some(true)
    }

    /// Whether bandwidth is estimated, and what the client says of each packet read: while anything can be chosen by it, and
    /// a little longer. That costs, and what is sent in any case would only wait here instead of on the line.
    pub(in crate::sfu) fn estimates(&mut self, now: Instant, has_choice: bool, sink: &mut Sink) -> bool {
        if has_choice {
            self.chose_at = now;
        }
        let is_wanted = now.saturating_duration_since(self.chose_at) < LINGER;
        if is_wanted != self.is_estimating {
            self.is_estimating = is_wanted;
            let bits = if is_wanted { FIRST_ESTIMATE } else { UNPACED };
            self.estimate = Estimate::new(bits);
            self.bitrates = (0, 0);
            self.change(sink, |rtc| {
                rtc.bwe().reset(Bitrate::from(bits));
                rtc.bwe().set_bitrate(Bitrate::ZERO, Bitrate::ZERO);
            });
        }
        is_wanted
    }

    /// Lets the library send what is sent in any case, in bits a second. It sends no faster than it estimates, sound first:
    /// below that, pictures would wait for ever, and what is not sent never shows that it could be.
    pub(in crate::sfu) fn lift(&mut self, now: Instant, least: u64, sink: &mut Sink) {
        let is_early = self.lifted_at.is_some_and(|last| now.saturating_duration_since(last) < LIFT_INTERVAL);
        if self.estimate.bits() >= least || is_early || !self.is_connected {
            return;
        }
        self.lifted_at = Some(now);
        let estimate = least / 4 * 5;
        self.estimate = Estimate::new(estimate);
        let (next, desired) = self.bitrates;
        self.change(sink, |rtc| {
            rtc.bwe().reset(Bitrate::from(estimate));
            rtc.bwe().set_bitrate(Bitrate::from(next), Bitrate::from(desired));
        });
    }

    /// Says how much is to be sent, in bits a second: up to `next` with padding, to find out whether it is to be had, and
    /// `desired` at the most. What is desired must not be little: all is sent as slowly while that is looked for.
    pub(in crate::sfu) fn aim(&mut self, next: u64, desired: u64, sink: &mut Sink) {
        let is_near = |old: u64, new: u64| old.abs_diff(new) <= old / 10;
        if is_near(self.bitrates.0, next) && is_near(self.bitrates.1, desired) {
            return;
        }
        // What is padded while nothing may leave is lost, and makes the estimate worthless.
        let was_silent = std::mem::replace(&mut self.bitrates, (next, desired)).1 == 0;
        if was_silent && self.estimate.bits() < FIRST_ESTIMATE {
            self.estimate = Estimate::new(FIRST_ESTIMATE);
            self.change(sink, |rtc| rtc.bwe().reset(Bitrate::from(FIRST_ESTIMATE)));
        }
        self.change(sink, |rtc| rtc.bwe().set_bitrate(Bitrate::from(next), Bitrate::from(desired)));
    }
}
