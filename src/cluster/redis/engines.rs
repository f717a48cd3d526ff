//! All engines of a cluster together.

use std::sync::Arc;

use super::link::{AskError, Link};
use crate::cluster::Cluster;
use crate::cluster::record::RoomRecord;
use crate::id::RoomId;

/// All engines of a cluster, for requests that concern no session: REST, metrics, health.
pub struct Engines {
    cluster: Arc<Cluster>,
    links: Vec<Arc<Link>>,
    name: String,
}

impl Engines {
    /// Creates the engines of a cluster, in the order of the settings. `name` is that of this node.
    pub fn new(cluster: Arc<Cluster>, links: Vec<Arc<Link>>, name: String) -> Self {
        Self { cluster, links, name }
    }

    /// Returns the cluster.
    pub fn cluster(&self) -> &Arc<Cluster> {
        &self.cluster
    }

    /// Returns the name of this node.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns whether a connection to each engine is open.
    pub fn is_connected(&self) -> bool {
        self.links.iter().all(|link| link.is_connected())
    }

    /// Returns the link to each engine.
    pub fn links(&self) -> &[Arc<Link>] {
        &self.links
    }

    /// Returns the link to the engine of a room.
    pub fn link_of(&self, room: &RoomId) -> &Arc<Link> {
        &self.links[self.cluster.engine_of(room)]
    }

    /// Reads the newest rooms of all engines that were created before a time in milliseconds. Returns the number of all rooms
    /// as well.
    pub async fn page(&self, before: u64, limit: usize) -> Result<(u64, Vec<RoomRecord>), AskError> {
        let (mut count, mut rooms) = (0, Vec::new());
        for link in &self.links {
            let (found, page) = link.page(before, limit).await?;
            count += found;
            rooms.extend(page);
        }
        rooms.sort_by_key(|room: &RoomRecord| std::cmp::Reverse(room.spec.created_at));
        rooms.truncate(limit);
        Ok((count, rooms))
    }

    /// Reads a room.
    pub async fn room(&self, room: &RoomId) -> Result<Option<RoomRecord>, AskError> {
        let (_, rooms) = self.link_of(room).rooms(std::slice::from_ref(room)).await?;
        Ok(rooms.into_iter().next())
    }

    /// Removes rooms that have waited for their first member for too long.
    pub async fn sweep(&self) {
        for link in &self.links {
            // An engine that does not answer is swept later, by any node.
            _ = link.sweep().await;
        }
    }

    /// Takes this node out of the lists of nodes.
    pub async fn bye(&self) {
        for link in &self.links {
            // Without an answer, the node is removed after its lease.
            _ = link.bye().await;
        }
    }
}
