//! Backpressure between the nodes of a cluster, for the sessions of this node.

use std::sync::Arc;

use super::hub::Hub;
use super::queue_depth::QueueDepth;
use crate::id::ConnectionId;

impl Hub {
    /// Returns whether the send queue of a local peer is above its high-water mark. If so, the
    /// cluster is notified when it no longer is, or when no sender waits for it any more.
    pub(super) fn watch_congestion_of(&self, connection: ConnectionId) -> bool {
        let entry = self.directory.get(connection);
        let Some(depth) = entry.and_then(|entry| entry.mailbox.congestion()) else { return false };
        let (Some(cluster), Some(lifecycle)) = (self.cluster(), self.lifecycle.get()) else {
            return false;
        };
        let (limit, cluster, stop) =
            (self.timeouts.write_stall, Arc::clone(cluster), lifecycle.clone());
        lifecycle.spawn(async move {
            tokio::select! {
                // After the limit no sender waits for the queue, on this node or another.
                _ = depth.below_high_water(limit) => cluster.drained(connection),
                () = stop.stopping() => {}
            }
        });
        true
    }

    /// Sets whether the send queue of a peer of another node is above its high-water mark.
    pub(super) fn set_congestion_elsewhere(&self, connection: ConnectionId, is_congested: bool) {
        let former = if is_congested {
            self.congested_elsewhere.insert(connection, QueueDepth::full())
        } else {
            self.congested_elsewhere.remove(&connection).map(|(_, depth)| depth)
        };
        if let Some(former) = former {
            former.close();
        }
    }

    /// Returns the queue of a peer of another node if that is above its high-water mark.
    pub(super) fn congestion_elsewhere(&self, connection: ConnectionId) -> Option<Arc<QueueDepth>> {
        self.congested_elsewhere.get(&connection).map(|depth| Arc::clone(&depth))
    }
}
