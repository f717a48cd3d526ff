//! The figures of the media server, which counts by itself: its thread waits for nobody who reads them.

use parking_lot::Mutex;
use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};

use super::CONSTANT;
use crate::sfu::Figures;

/// What Prometheus is told of media.
pub(super) struct Media {
    transports: IntGauge,
    producers: IntGauge,
    consumers: IntGauge,
    /// Received, sent.
    datagrams: [IntCounter; 2],
    bytes: [IntCounter; 2],
    /// Nobody's, not taken by the system, over the limit of their client, requests of STUN over theirs, not sent to an address
    /// that was not validated.
    lost: [IntCounter; 5],
    /// Transports created too fast, too many of them, not connected in time.
    limits: [IntCounter; 3],
    forwarded: IntCounter,
    keyframes: IntCounter,
    /// Of the whole program.
    panics: IntCounter,
    /// How many panics were taken of the media server's. Two who read at once must not count the same twice.
    taken: Mutex<u64>,
}

impl Media {
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
        let lost =
            counters("parlor_media_lost_total", "Datagrams and packets of media not carried, by reason.", "reason");
        Self {
            transports: gauge("parlor_media_transports", "Transports of media."),
            producers: gauge("parlor_media_producers", "Tracks that peers send."),
            consumers: gauge("parlor_media_consumers", "Tracks that peers receive."),
            datagrams: both("parlor_media_datagrams_total", "Datagrams at the port of media."),
            bytes: both("parlor_media_bytes_total", "Bytes in these datagrams."),
            lost: ["unknown_sender", "not_sent", "over_limit", "stun_rate", "unvalidated_address"]
                .map(|reason| lost.with_label_values(&[reason])),
            limits: ["transport_rate", "transports", "connect_time"].map(|limit| limits.with_label_values(&[limit])),
            forwarded: counter(
                "parlor_media_packets_forwarded_total",
                "Packets of media sent on, one for each consumer.",
            ),
            keyframes: counter("parlor_media_keyframe_requests_total", "Keyframes that producers were asked for."),
            panics,
            taken: Mutex::default(),
        }
    }

    /// Takes what was counted meanwhile.
    pub(super) fn set(&self, figures: &Figures) {
        let gauge = |gauge: &IntGauge, value: usize| gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        gauge(&self.transports, figures.transports);
        gauge(&self.producers, figures.producers);
        gauge(&self.consumers, figures.consumers);
        let mut taken = self.taken.lock();
        self.panics.inc_by(figures.defects.saturating_sub(*taken));
        *taken = figures.defects.max(*taken);
        let counter = |counter: &IntCounter, value: u64| counter.inc_by(value.saturating_sub(counter.get()));
        let Figures { received, sent, received_bytes, sent_bytes, ignored, unsent, over_limit, .. } = *figures;
        let lost = vec![ignored, unsent, over_limit, figures.checks_over_limit, figures.unvalidated];
        let limits = vec![figures.creations_over_rate, figures.transports_over_limit, figures.connect_timeouts];
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
        counter(&self.forwarded, figures.forwarded);
        counter(&self.keyframes, figures.keyframes);
    }
}
