//! Metrics of a node of a cluster. The cluster keeps its own counters, which are copied here when metrics are rendered.

use prometheus::{IntCounter, IntGauge, IntGaugeVec, Opts, Registry};

use super::CONSTANT;

/// The figures of a node, of all its engines together except where it says otherwise.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClusterFigures {
    /// For each engine, whether it is connected and agrees with this node.
    pub connected: Vec<bool>,
    /// Living nodes.
    pub nodes: usize,
    /// Bytes that wait to be written.
    pub queued_bytes: usize,
    /// Bytes that are kept to be sent again.
    pub kept_bytes: usize,
    /// Peers that are admitted by this node alone now.
    pub alone: usize,
    /// Messages to and from engines.
    pub frames: [u64; 2],
    /// Bytes of those messages.
    pub bytes: [u64; 2],
    /// Frames that were sent again.
    pub resent: u64,
    /// Gaps between frames that could not be filled.
    pub gaps: u64,
    /// Signals that were returned to their senders.
    pub bounced: u64,
    /// Connections to engines that were made.
    pub connects: u64,
    /// Times that this node was declared dead.
    pub fenced: u64,
    /// Dead nodes that this node began to remove.
    pub reaped: u64,
}

/// The Prometheus metrics of a node of a cluster.
pub(super) struct ClusterMetrics {
    connected: IntGaugeVec,
    nodes: IntGauge,
    queued_bytes: IntGauge,
    kept_bytes: IntGauge,
    alone: IntGauge,
    frames: [IntCounter; 2],
    bytes: [IntCounter; 2],
    resent: IntCounter,
    gaps: IntCounter,
    bounced: IntCounter,
    reconnects: IntCounter,
    fenced: IntCounter,
    reaped: IntCounter,
}

impl ClusterMetrics {
    pub(super) fn new(registry: &Registry) -> Self {
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
        let both = |name: &str, help: &str| {
            let counters = prometheus::IntCounterVec::new(Opts::new(name, help), &["direction"]).expect(CONSTANT);
            registry.register(Box::new(counters.clone())).expect(CONSTANT);
            ["out", "in"].map(|direction| counters.with_label_values(&[direction]))
        };
        let help = "Whether the engine, by its number in CLUSTER_URL, is connected and agrees with this node.";
        let connected = IntGaugeVec::new(Opts::new("parlor_cluster_connected", help), &["engine"]).expect(CONSTANT);
        registry.register(Box::new(connected.clone())).expect(CONSTANT);
        Self {
            connected,
            nodes: gauge("parlor_cluster_nodes", "Living nodes of the cluster."),
            queued_bytes: gauge("parlor_cluster_queue_bytes", "Bytes waiting to be sent to the engines."),
            kept_bytes: gauge("parlor_cluster_kept_bytes", "Bytes of frames kept for retransmission."),
            alone: gauge("parlor_cluster_alone", "Peers that are admitted provisionally now."),
            frames: both("parlor_cluster_frames_total", "Messages to and from the engines."),
            bytes: both("parlor_cluster_bytes_total", "Bytes of messages to and from the engines."),
            resent: counter("parlor_cluster_resent_total", "Retransmitted frames."),
            gaps: counter("parlor_cluster_gaps_total", "Gaps between frames that could not be filled."),
            bounced: counter("parlor_cluster_bounced_total", "Signals returned to their senders."),
            reconnects: counter("parlor_cluster_reconnects_total", "Connections to engines made anew."),
            fenced: counter("parlor_cluster_fenced_total", "Times this node was declared dead."),
            reaped: counter("parlor_cluster_reaped_total", "Dead nodes removed by this node."),
        }
    }

    pub(super) fn update(&self, figures: &ClusterFigures) {
        let gauge = |gauge: &IntGauge, value: usize| gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        for (engine, is_connected) in figures.connected.iter().enumerate() {
            self.connected.with_label_values(&[engine.to_string()]).set(i64::from(*is_connected));
        }
        gauge(&self.nodes, figures.nodes);
        gauge(&self.queued_bytes, figures.queued_bytes);
        gauge(&self.kept_bytes, figures.kept_bytes);
        gauge(&self.alone, figures.alone);
        let engines = u64::try_from(figures.connected.len()).unwrap_or_default();
        let [sent, received] = figures.frames;
        let [sent_bytes, received_bytes] = figures.bytes;
        let all = [
            (&self.frames[0], sent),
            (&self.frames[1], received),
            (&self.bytes[0], sent_bytes),
            (&self.bytes[1], received_bytes),
            (&self.resent, figures.resent),
            (&self.gaps, figures.gaps),
            (&self.bounced, figures.bounced),
            (&self.reconnects, figures.connects.saturating_sub(engines)),
            (&self.fenced, figures.fenced),
            (&self.reaped, figures.reaped),
        ];
        for (counter, value) in all {
            counter.inc_by(value.saturating_sub(counter.get()));
        }
    }
}
