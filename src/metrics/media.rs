//! Metrics of the media server. It keeps its own counters, which are copied here when metrics are
//! rendered.

use parking_lot::Mutex;
use prometheus::{IntCounter, IntCounterVec, Registry};

use super::copied::{Copied, Values};
use crate::sfu::MediaStats;

/// The Prometheus metrics of the media server.
pub(super) struct MediaMetrics {
    values: Values<MediaStats>,
    /// Panics of the whole process.
    panics: IntCounter,
    /// Number of the media server's panics counted so far; locked so that concurrent scrapes do not
    /// count one twice.
    counted_panics: Mutex<u64>,
}

impl MediaMetrics {
    pub(super) fn new(registry: &Registry, panics: IntCounter, limits: &IntCounterVec) -> Self {
        let values = Copied::<MediaStats>::new(registry)
            .gauge("parlor_media_transports", "Current media transports.", |stats| stats.transports)
            .gauge(
                "parlor_media_producers",
                "Current producers (tracks that peers send).",
                |stats| stats.producers,
            )
            .gauge(
                "parlor_media_consumers",
                "Current consumers (tracks that peers receive).",
                |stats| stats.consumers,
            )
            .labelled(
                "parlor_media_datagrams_total",
                "Datagrams received and sent on the media port.",
                "direction",
                [("in", |stats| stats.received), ("out", |stats| stats.sent)],
            )
            .labelled(
                "parlor_media_bytes_total",
                "Bytes received and sent on the media port.",
                "direction",
                [("in", |stats| stats.received_bytes), ("out", |stats| stats.sent_bytes)],
            )
            .labelled(
                "parlor_media_lost_total",
                "Dropped media datagrams and packets, by reason.",
                "reason",
                [
                    ("unknown_sender", |stats| stats.ignored),
                    ("not_sent", |stats| stats.send_errors),
                    ("over_limit", |stats| stats.over_limit),
                    ("stun_rate", |stats| stats.binding_requests_over_limit),
                    ("unvalidated_address", |stats| stats.unvalidated),
                    ("undeclared_payload_type", |stats| stats.undeclared_payload_types),
                ],
            )
            .registered(
                limits,
                [
                    ("transport_rate", |stats| stats.creations_over_rate),
                    ("transports", |stats| stats.transports_over_limit),
                    ("connect_time", |stats| stats.connect_timeouts),
                ],
            )
            .counter(
                "parlor_media_packets_forwarded_total",
                "RTP packets forwarded, counted once per consumer.",
                |stats| stats.forwarded,
            )
            .counter(
                "parlor_media_keyframe_requests_total",
                "Keyframe requests sent to producers.",
                |stats| stats.keyframes,
            )
            .build();
        Self { values, panics, counted_panics: Mutex::default() }
    }

    /// Sets the metrics to a snapshot of the media server's counters.
    pub(super) fn update(&self, stats: &MediaStats) {
        self.values.set(stats);
        let mut counted_panics = self.counted_panics.lock();
        self.panics.inc_by(stats.panics.saturating_sub(*counted_panics));
        *counted_panics = stats.panics.max(*counted_panics);
    }
}
