//! Outgoing streams to a client: their packets, and the bandwidth available for them.
//!
//! Invariant: nothing is sent for a paused consumer, padding included.

use std::time::{Duration, Instant};

use str0m::bwe::Bitrate;
use str0m::media::Mid;
use str0m::rtp::{RtpWrite, Ssrc};

use super::{Transport, VideoStream, media_kind};
use crate::sfu::bandwidth::BandwidthEstimate;
use crate::sfu::consumer::Streams;
use crate::sfu::output::TransportOutput;
use crate::sfu::parameters::TrackKind;

/// Bandwidth assumed until there is an estimate, in bits per second.
pub(in crate::sfu) const FIRST_ESTIMATE: u64 = 800_000;

/// How long bandwidth is still estimated when no consumer can choose between layers: cameras are
/// often switched on again, and a client that has just joined will soon consume one.
const ESTIMATION_LINGER: Duration = Duration::from_secs(2);

/// Minimum time between two raises of the estimate.
const RAISE_INTERVAL: Duration = Duration::from_secs(1);

/// Maximum number of queued packets per stream.
const MAX_QUEUED: usize = 512;

/// The number of packets for which a transport keeps memory.
const MAX_KEPT: usize = 16;

/// Size of a stream's retransmission cache: packets, and their maximum age.
const RTX_CACHE: (usize, Duration) = (1024, Duration::from_secs(3));

/// Maximum share of retransmissions in what a stream sends. str0m's default of 15 % is exceeded by
/// a single keyframe on a narrow path; the video would freeze until the client gives up.
const RTX_RATIO: f32 = 0.5;

impl Transport {
    /// Creates the streams of a consumer, withheld.
    pub(in crate::sfu) fn add_consumer_streams(
        &mut self,
        kind: TrackKind,
        has_rtx: bool,
        output: &mut TransportOutput,
    ) -> Option<Streams> {
        let mid = Mid::from(self.next_mid.to_string().as_str());
        self.next_mid += 1;
        let is_unpaced = kind == TrackKind::Audio || !self.is_estimating;
        let (ssrc, rtx) = self.update_rtc(output, |rtc| {
            let mut api = rtc.direct_api();
            let ssrc = api.new_ssrc();
            let rtx = has_rtx.then(|| {
                let other = api.new_ssrc();
                if other == ssrc { Ssrc::from(other.wrapping_add(1)) } else { other }
            });
            api.declare_media(mid, media_kind(kind));
            let stream = api.declare_stream_tx(ssrc, rtx, mid, None);
            stream.set_unpaced(is_unpaced);
            stream.set_rtx_cache(RTX_CACHE.0, RTX_CACHE.1, Some(RTX_RATIO));
            (ssrc, rtx)
        })?;
        if kind == TrackKind::Video {
            self.video_streams.push(VideoStream {
                mid,
                ssrc,
                written: 0,
                sent: 0,
                heavy_losses: 0,
            });
        }
        let streams = Streams { mid, ssrc, rtx };
        self.set_withheld(streams, true);
        Some(streams)
    }

    pub(in crate::sfu) fn set_withheld(&mut self, streams: Streams, is_withheld: bool) {
        for ssrc in [Some(streams.ssrc), streams.rtx].into_iter().flatten() {
            if is_withheld {
                self.withheld.insert(*ssrc);
            } else {
                self.withheld.remove(&*ssrc);
            }
        }
    }

    /// Returns whether nothing may be sent on a stream.
    pub(super) fn is_withheld(&self, ssrc: u32) -> bool {
        !self.withheld.is_empty() && self.withheld.contains(&ssrc)
    }

    /// Removes a media section with its streams.
    pub(in crate::sfu) fn remove_media(&mut self, mid: Mid, output: &mut TransportOutput) {
        // Its packets are dropped; those of other streams are still sent.
        self.written.clear();
        self.video_streams.retain(|stream| stream.mid != mid);
        self.update_rtc(output, |rtc| rtc.direct_api().remove_media(mid));
    }

    /// Queues a packet until [`Transport::send_written`]. Returns `false` if it was dropped, since
    /// the queue is full or the transport is not connected.
    ///
    /// While nothing is queued in str0m, the packet is only kept: with many receivers, their state
    /// has left the processor's caches, and is loaded once instead of once to write and once to
    /// send.
    pub(in crate::sfu) fn send(
        &mut self,
        ssrc: Ssrc,
        write: RtpWrite,
        output: &mut TransportOutput,
    ) -> bool {
        if !self.is_connected || self.rtc.is_none() {
            return false;
        }
        let is_kept = !self.is_estimating && !self.has_backlog;
        if is_kept && self.unwritten.len() >= MAX_QUEUED {
            return false;
        }
        self.unwritten.push((ssrc, write));
        is_kept || self.write_packets(output) > 0
    }

    /// Writes the packets that were kept. Returns how many were not dropped.
    pub(super) fn write_packets(&mut self, output: &mut TransportOutput) -> usize {
        if self.unwritten.is_empty() {
            return 0;
        }
        let mut unwritten = std::mem::take(&mut self.unwritten);
        let count = self.catch_panics(output, |transport, rtc, _| {
            let (mut api, before) = (rtc.direct_api(), transport.written.len());
            for (ssrc, write) in unwritten.drain(..) {
                let Some(stream) = api.stream_tx(&ssrc) else { continue };
                if stream.queue_info().is_some_and(|queue| queue.packet_count() > MAX_QUEUED) {
                    continue;
                }
                stream.write_rtp(write);
                transport.written.push(*ssrc);
                let mut video_streams = transport.video_streams.iter_mut();
                if let Some(stream) = video_streams.find(|stream| stream.ssrc == ssrc) {
                    stream.written += 1;
                }
            }
            transport.written.len() - before
        });
        // Reuses its memory, except after a burst.
        if unwritten.capacity() <= MAX_KEPT {
            self.unwritten = unwritten;
        }
        count.unwrap_or_default()
    }

    /// Starts or stops bandwidth estimation, and returns whether it is active: while consumers can
    /// choose between layers, and a little longer. Estimation is expensive, and pacing would only
    /// delay packets that are sent in any case.
    pub(in crate::sfu) fn update_estimation(
        &mut self,
        now: Instant,
        has_choice: bool,
        output: &mut TransportOutput,
    ) -> bool {
        if has_choice {
            self.last_choice_at = Some(now);
        }
        let lingers = |at: Instant| now.saturating_duration_since(at) < ESTIMATION_LINGER;
        let is_wanted = self.last_choice_at.is_some_and(lingers);
        if is_wanted != self.is_estimating {
            self.is_estimating = is_wanted;
            // With an estimate of zero, str0m neither probes nor pads. It would send no paced
            // packet either.
            let bits = if is_wanted { FIRST_ESTIMATE } else { 0 };
            self.estimate = BandwidthEstimate::restart(bits, now);
            self.bitrates = (0, 0);
            let video_streams = std::mem::take(&mut self.video_streams);
            self.update_rtc(output, |rtc| {
                rtc.bwe().reset(Bitrate::from(bits));
                rtc.bwe().set_bitrate(Bitrate::ZERO, Bitrate::ZERO);
                let mut api = rtc.direct_api();
                for VideoStream { ssrc, .. } in &video_streams {
                    if let Some(stream) = api.stream_tx(ssrc) {
                        stream.set_unpaced(!is_wanted);
                    }
                }
            });
            self.video_streams = video_streams;
        }
        is_wanted
    }

    /// Raises the estimate to the bitrate that is sent in any case, in bits per second. str0m sends
    /// no faster than its estimate, audio first: with a lower one, video would never leave the
    /// queue, and the estimate would never rise.
    pub(in crate::sfu) fn raise_estimate(
        &mut self,
        now: Instant,
        minimum: u64,
        output: &mut TransportOutput,
    ) {
        let is_too_soon =
            self.raised_at.is_some_and(|last| now.saturating_duration_since(last) < RAISE_INTERVAL);
        if self.estimate.bits(now) >= minimum || is_too_soon || !self.is_connected {
            return;
        }
        self.raised_at = Some(now);
        let estimate = minimum / 4 * 5;
        self.estimate = BandwidthEstimate::new(estimate);
        let (next, desired) = self.bitrates;
        self.update_rtc(output, |rtc| {
            rtc.bwe().reset(Bitrate::from(estimate));
            rtc.bwe().set_bitrate(Bitrate::from(next), Bitrate::from(desired));
        });
    }

    /// Sets the bitrates to probe for, in bits per second: padding is sent up to `next`, and
    /// `desired` is the maximum. A small `desired` would slow down everything while str0m probes.
    pub(in crate::sfu) fn set_bitrates(
        &mut self,
        now: Instant,
        next: u64,
        desired: u64,
        output: &mut TransportOutput,
    ) {
        let is_near = |old: u64, new: u64| old.abs_diff(new) <= old / 10;
        if is_near(self.bitrates.0, next) && is_near(self.bitrates.1, desired) {
            return;
        }
        // Padding that was withheld counts as lost and ruins the estimate.
        let was_silent = std::mem::replace(&mut self.bitrates, (next, desired)).1 == 0;
        if was_silent && self.estimate.bits(now) < FIRST_ESTIMATE {
            self.estimate = BandwidthEstimate::new(FIRST_ESTIMATE);
            self.update_rtc(output, |rtc| rtc.bwe().reset(Bitrate::from(FIRST_ESTIMATE)));
        }
        self.update_rtc(output, |rtc| {
            rtc.bwe().set_bitrate(Bitrate::from(next), Bitrate::from(desired));
        });
    }
}
