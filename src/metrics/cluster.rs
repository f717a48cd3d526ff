//! Metrics of a node of a cluster. The cluster keeps its own counters, which are copied here when metrics are rendered.

use prometheus::{IntGaugeVec, Opts, Registry};

use super::CONSTANT;
use super::copied::{Copied, Values};

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
    /// Messages sent to engines, and received from them.
    pub frames: [u64; 2],
    /// Bytes of these messages.
    pub bytes: [u64; 2],
    /// Retransmitted frames.
    pub resent: u64,
    /// Gaps between frames that could not be filled.
    pub gaps: u64,
    /// Signals returned to their senders.
    pub bounced: u64,
    /// Connections made to engines.
    pub connects: u64,
    /// Times that this node was declared dead.
    pub fenced: u64,
    /// Dead nodes that this node has begun to remove.
    pub reaped: u64,
}

/// The Prometheus metrics of a node of a cluster.
pub(super) struct ClusterMetrics {
    connected: IntGaugeVec,
    values: Values<ClusterFigures>,
}

impl ClusterMetrics {
    pub(super) fn new(registry: &Registry) -> Self {
        let help = "Whether the engine, by its number in CLUSTER_URL, is connected and agrees with this node.";
        let connected = IntGaugeVec::new(Opts::new("parlor_cluster_connected", help), &["engine"]).expect(CONSTANT);
        registry.register(Box::new(connected.clone())).expect(CONSTANT);
        let help = "Bytes of messages to and from the engines.";
        let values = Copied::<ClusterFigures>::new(registry)
            .gauge("parlor_cluster_nodes", "Living nodes of the cluster.", |figures| figures.nodes)
            .gauge("parlor_cluster_queue_bytes", "Bytes waiting to be sent to the engines.", |figures| {
                figures.queued_bytes
            })
            .gauge("parlor_cluster_kept_bytes", "Bytes of frames kept for retransmission.", |figures| {
                figures.kept_bytes
            })
            .gauge("parlor_cluster_alone", "Peers that are admitted provisionally now.", |figures| figures.alone)
            .labelled(
                "parlor_cluster_frames_total",
                "Messages to and from the engines.",
                "direction",
                [("out", |figures| figures.frames[0]), ("in", |figures| figures.frames[1])],
            )
            .labelled(
                "parlor_cluster_bytes_total",
                help,
                "direction",
                [("out", |figures| figures.bytes[0]), ("in", |figures| figures.bytes[1])],
            )
            .counter("parlor_cluster_resent_total", "Retransmitted frames.", |figures| figures.resent)
            .counter("parlor_cluster_gaps_total", "Gaps between frames that could not be filled.", |figures| {
                figures.gaps
            })
            .counter("parlor_cluster_bounced_total", "Signals returned to their senders.", |figures| figures.bounced)
            .counter("parlor_cluster_reconnects_total", "Connections to engines made anew.", |figures| {
                let engines = u64::try_from(figures.connected.len()).unwrap_or_default();
                figures.connects.saturating_sub(engines)
            })
            .counter("parlor_cluster_fenced_total", "Times this node was declared dead.", |figures| figures.fenced)
            .counter("parlor_cluster_reaped_total", "Dead nodes removed by this node.", |figures| figures.reaped)
            .build();
        Self { connected, values }
    }

    /// Sets the metrics to a snapshot of the counters.
    pub(super) fn update(&self, figures: &ClusterFigures) {
        for (engine, is_connected) in figures.connected.iter().enumerate() {
            self.connected.with_label_values(&[engine.to_string()]).set(i64::from(*is_connected));
        }
        self.values.set(figures);
    }
}
