//! Metrics of the media server. It keeps its own counters, which are copied here when metrics are rendered.

use parking_lot::Mutex;
use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};

use super::CONSTANT;
use crate::sfu::MediaStats;

/// Label values of dropped datagrams and packets.
const REASONS: [&str; 6] =
    ["unknown_sender", "not_sent", "over_limit", "stun_rate", "unvalidated_address", "undeclared_payload_type"];

/// The Prometheus metrics of the media server.
pub(super) struct MediaMetrics {
    transports: IntGauge,
    producers: IntGauge,
    consumers: IntGauge,
    /// Received and sent.
    datagrams: [IntCounter; 2],
    bytes: [IntCounter; 2],
    /// By reason: unknown sender, not accepted by the socket, over the rate limit of the client, binding request over
    /// the rate limit, unvalidated address, undeclared payload type.
    lost: [IntCounter; 6],
    /// By limit: transports created too fast, too many transports, not connected in time.
    limits: [IntCounter; 3],
    forwarded: IntCounter,
    keyframes: IntCounter,
    /// Panics of the whole process.
    panics: IntCounter,
    /// Number of the media server's panics counted so far; locked so that concurrent scrapes do not count one twice.
    counted_panics: Mutex<u64>,
}

impl MediaMetrics {
    pub(super) fn new(registry: &Registry, panics: IntCounter, limits: &IntCounterVec) -> Self {
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::new(name, help).expect(CONSTANT);
            registry.register(Box::new(gauge.clone())).expect(CONSTANT);
            gauge
        };
        let counter = |name: &str, help: &str| {
            let counter = IntCounter::new(name, help).expect(CONSTANT);
            registry.register(Box::new(counter.clone())).expect(CONSTANT);
            counter
        };
        let counters = |name: &str, help: &str, label: &str| {
            let counters = IntCounterVec::new(Opts::new(name, help), &[label]).expect(CONSTANT);
            registry.register(Box::new(counters.clone())).expect(CONSTANT);
            counters
        };
        let both = |name: &str, help: &str| {
            let counters = counters(name, help, "direction");
            ["in", "out"].map(|direction| counters.with_label_values(&[direction]))
        };
        let lost = counters("parlor_media_lost_total", "Dropped media datagrams and packets, by reason.", "reason");
        Self {
            transports: gauge("parlor_media_transports", "Current media transports."),
            producers: gauge("parlor_media_producers", "Current producers (tracks that peers send)."),
            consumers: gauge("parlor_media_consumers", "Current consumers (tracks that peers receive)."),
            datagrams: both("parlor_media_datagrams_total", "Datagrams received and sent on the media port."),
            bytes: both("parlor_media_bytes_total", "Bytes received and sent on the media port."),
            lost: REASONS.map(|reason| lost.with_label_values(&[reason])),
            limits: ["transport_rate", "transports", "connect_time"].map(|limit| limits.with_label_values(&[limit])),
            forwarded: counter(
                "parlor_media_packets_forwarded_total",
                "RTP packets forwarded, counted once per consumer.",
            ),
            keyframes: counter("parlor_media_keyframe_requests_total", "Keyframe requests sent to producers."),
            panics,
            counted_panics: Mutex::default(),
        }
    }

    /// Sets the metrics to a snapshot of the media server's counters.
    pub(super) fn update(&self, stats: &MediaStats) {
        let gauge = |gauge: &IntGauge, value: usize| gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        gauge(&self.transports, stats.transports);
        gauge(&self.producers, stats.producers);
        gauge(&self.consumers, stats.consumers);
        let mut counted_panics = self.counted_panics.lock();
        self.panics.inc_by(stats.panics.saturating_sub(*counted_panics));
        *counted_panics = stats.panics.max(*counted_panics);
        let counter = |counter: &IntCounter, value: u64| counter.inc_by(value.saturating_sub(counter.get()));
        let MediaStats { received, sent, received_bytes, sent_bytes, ignored, send_errors, over_limit, .. } = *stats;
        let MediaStats { binding_requests_over_limit, unvalidated, undeclared_payload_types, .. } = *stats;
        let lost =
            vec![ignored, send_errors, over_limit, binding_requests_over_limit, unvalidated, undeclared_payload_types];
        let limits = vec![stats.creations_over_rate, stats.transports_over_limit, stats.connect_timeouts];
        let all = [
            (&self.datagrams[..], vec![received, sent]),
            (&self.bytes[..], vec![received_bytes, sent_bytes]),
            (&self.lost[..], lost),
            (&self.limits[..], limits),
        ];
        for (counters, values) in all {
            for (own, value) in counters.iter().zip(values) {
                counter(own, value);
            }
        }
        counter(&self.forwarded, stats.forwarded);
        counter(&self.keyframes, stats.keyframes);
    }
}
