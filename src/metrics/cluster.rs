//! Metrics of a node of a cluster. The cluster keeps its own counters, which are copied here when
//! metrics are rendered.

use std::time::Duration;

use prometheus::{Histogram, HistogramOpts, IntCounterVec, IntGaugeVec, Opts, Registry};

use super::CONSTANT;
use super::copied::{Copied, Values};
use crate::room::Code;

/// Upper bounds of the histograms, in seconds: a hop within a data centre, to an engine that does
/// not answer.
const BUCKETS: [f64; 12] =
    [1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 0.01, 0.025, 0.05, 0.25, 1.0, 2.5];

/// Counters of a node, over all its engines unless stated otherwise.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClusterFigures {
    /// For each engine, whether it is connected and agrees with this node.
    pub connected: Vec<bool>,
    /// Living nodes.
    pub nodes: usize,
    /// Bytes queued for the engines.
    pub queued_bytes: usize,
    /// Bytes of frames kept for retransmission.
    pub kept_bytes: usize,
    /// Peers that are admitted provisionally, by this node alone.
    pub alone: usize,
    /// Messages sent to engines, and received from them, of each kind.
    pub frames: Vec<(&'static str, [u64; 2])>,
    /// Bytes of these messages.
    pub bytes: [u64; 2],
    /// Retransmitted frames.
    pub resent: u64,
    /// Gaps between frames that could not be filled.
    pub gaps: u64,
    /// Signals returned to their senders: the recipient was not found, or they were not delivered.
    pub bounced: [u64; 2],
    /// Differences that were found and repaired, of each kind.
    pub repairs: Vec<(&'static str, u64)>,
    /// Connections to engines that were made anew, for each reason.
    pub reconnects: Vec<(&'static str, u64)>,
    /// Times that this node was declared dead.
    pub fenced: u64,
    /// Dead nodes that this node has begun to remove.
    pub reaped: u64,
    /// Session moves to this node: those that arrived, and those that were refused.
    pub moves: [u64; 2],
    /// Polling requests that were forwarded to other nodes.
    pub hops: u64,
}

/// The Prometheus metrics of a node of a cluster.
pub struct ClusterMetrics {
    connected: IntGaugeVec,
    frames: IntCounterVec,
    repairs: IntCounterVec,
    reconnects: IntCounterVec,
    values: Values<ClusterFigures>,
    join_seconds: Histogram,
    echo_seconds: Histogram,
}

impl ClusterMetrics {
    pub(super) fn new(registry: &Registry) -> Self {
        let help = "Whether the engine, by its number in CLUSTER_URL, is connected and agrees with this node.";
        let connected = IntGaugeVec::new(Opts::new("parlor_cluster_connected", help), &["engine"])
            .expect(CONSTANT);
        registry.register(Box::new(connected.clone())).expect(CONSTANT);
        let help = "Bytes of messages to and from the engines.";
        let values = Copied::<ClusterFigures>::new(registry)
            .gauge("parlor_cluster_nodes", "Living nodes of the cluster.", |figures| figures.nodes)
            .gauge(
                "parlor_cluster_queue_bytes",
                "Bytes waiting to be sent to the engines.",
                |figures| figures.queued_bytes,
            )
            .gauge(
                "parlor_cluster_kept_bytes",
                "Bytes of frames kept for retransmission.",
                |figures| figures.kept_bytes,
            )
            .gauge(
                "parlor_cluster_alone",
                "Peers that are admitted provisionally now.",
                |figures| figures.alone,
            )
            .labelled(
                "parlor_cluster_bytes_total",
                help,
                "direction",
                [("out", |figures| figures.bytes[0]), ("in", |figures| figures.bytes[1])],
            )
            .counter("parlor_cluster_resent_total", "Retransmitted frames.", |figures| {
                figures.resent
            })
            .counter(
                "parlor_cluster_gaps_total",
                "Gaps between frames that could not be filled.",
                |figures| figures.gaps,
            )
            .labelled(
                "parlor_cluster_bounced_total",
                "Signals returned to their senders.",
                "code",
                [
                    (Code::TargetNotFound.as_str(), |figures| figures.bounced[0]),
                    (Code::DeliveryFailed.as_str(), |figures| figures.bounced[1]),
                ],
            )
            .labelled(
                "parlor_cluster_moves_total",
                "Session moves to this node.",
                "outcome",
                [("arrived", |figures| figures.moves[0]), ("refused", |figures| figures.moves[1])],
            )
            .counter(
                "parlor_cluster_hops_total",
                "Polling requests forwarded to other nodes.",
                |figures| figures.hops,
            )
            .counter(
                "parlor_cluster_fenced_total",
                "Times this node was declared dead.",
                |figures| figures.fenced,
            )
            .counter("parlor_cluster_reaped_total", "Dead nodes removed by this node.", |figures| {
                figures.reaped
            })
            .build();
        let counters = |name: &str, help: &str, labels: &[&str]| {
            let counters = IntCounterVec::new(Opts::new(name, help), labels).expect(CONSTANT);
            registry.register(Box::new(counters.clone())).expect(CONSTANT);
            counters
        };
        let frames = counters(
            "parlor_cluster_frames_total",
            "Messages to and from the engines.",
            &["direction", "kind"],
        );
        let repairs = counters(
            "parlor_cluster_repairs_total",
            "Differences that were found and repaired.",
            &["what"],
        );
        let reconnects = counters(
            "parlor_cluster_reconnects_total",
            "Connections to engines made anew.",
            &["why"],
        );
        let seconds = |name: &str, help: &str| {
            let histogram =
                Histogram::with_opts(HistogramOpts::new(name, help).buckets(BUCKETS.to_vec()));
            let histogram = histogram.expect(CONSTANT);
            registry.register(Box::new(histogram.clone())).expect(CONSTANT);
            histogram
        };
        let join_seconds = seconds("parlor_cluster_join_seconds", "Duration of a join.");
        let echo_seconds = seconds("parlor_cluster_echo_seconds", "Time from a beat to its echo.");
        Self { connected, frames, repairs, reconnects, values, join_seconds, echo_seconds }
    }

    /// Records the duration of a join.
    pub fn join_took(&self, time: Duration) {
        self.join_seconds.observe(time.as_secs_f64());
    }

    /// Records the time from a beat to its echo.
    pub fn echo_took(&self, time: Duration) {
        self.echo_seconds.observe(time.as_secs_f64());
    }

    /// Sets the metrics to a snapshot of the counters.
    pub(super) fn update(&self, figures: &ClusterFigures) {
        for (engine, is_connected) in figures.connected.iter().enumerate() {
            self.connected.with_label_values(&[engine.to_string()]).set(i64::from(*is_connected));
        }
        for (kind, counts) in &figures.frames {
            for (direction, count) in ["out", "in"].into_iter().zip(counts) {
                raise(&self.frames, &[direction, kind], *count);
            }
        }
        for (counters, figures) in
            [(&self.repairs, &figures.repairs), (&self.reconnects, &figures.reconnects)]
        {
            for (label, count) in figures {
                raise(counters, &[label], *count);
            }
        }
        self.values.set(figures);
    }
}

/// Sets a counter, which never decreases.
fn raise(counters: &IntCounterVec, labels: &[&str], value: u64) {
    let counter = counters.with_label_values(labels);
    counter.inc_by(value.saturating_sub(counter.get()));
}
