//! All engines of a cluster together.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::link::{AskError, Link};
use super::node_table::{NodeLoad, NodeTable};
use crate::cluster::Cluster;
use crate::cluster::record::RoomRecord;
use crate::id::RoomId;

/// How often unknown names may cause a new list of the nodes.
const SHORTEST: Duration = Duration::from_millis(500);

/// All engines of a cluster, for requests that concern no session: REST, metrics, health.
pub struct Engines {
    cluster: Arc<Cluster>,
    links: Vec<Arc<Link>>,
    name: String,
    /// The nodes of the first engine, as last listed.
    table: Mutex<Option<(Instant, Arc<NodeTable>)>>,
}

impl Engines {
    /// Creates the engines of a cluster, in the order of the settings. `name` is that of this node.
    pub fn new(cluster: Arc<Cluster>, links: Vec<Arc<Link>>, name: String) -> Self {
        Self { cluster, links, name, table: Mutex::default() }
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

    /// Returns whether the node agrees with each engine about all rooms.
    pub fn is_ready(&self) -> bool {
        (0..self.cluster.engines()).all(|engine| self.cluster.status(engine).is_ready)
    }

    /// Returns the link to each engine.
    pub fn links(&self) -> &[Arc<Link>] {
        &self.links
    }

    /// Returns the link to the engine of a room.
    pub fn link_of(&self, room: &RoomId) -> &Arc<Link> {
        &self.links[self.cluster.engine_of(room)]
    }

    /// Lists the living nodes anew.
    pub async fn list_nodes(&self) -> Result<Arc<NodeTable>, AskError> {
        // All nodes are on each engine.
        let link = self.links.first().ok_or(AskError::Away)?;
        let table = Arc::new(link.nodes().await?);
        *self.table.lock() = Some((Instant::now(), Arc::clone(&table)));
        Ok(table)
    }

    /// Returns the living nodes as last listed.
    pub fn known_nodes(&self) -> Option<Arc<NodeTable>> {
        self.table.lock().as_ref().map(|(_, table)| Arc::clone(table))
    }

    /// Returns a list of the living nodes in which there is one of this name. The last list may do,
    /// unless another is wanted. Lists are made at intervals, however many ask for them.
    pub async fn nodes_with(&self, name: &str, is_fresh: bool) -> Option<Arc<NodeTable>> {
        let has_it = |table: &Arc<NodeTable>| table.nodes.iter().any(|node| node.name == name);
        let known = self.table.lock().clone();
        if let Some((listed, table)) = known {
            if has_it(&table) && !is_fresh {
                return Some(table);
            }
            let rest = SHORTEST.saturating_sub(listed.elapsed());
            if !rest.is_zero() {
                tokio::time::sleep(rest).await;
                // Another request may have caused a new list meanwhile.
                let newer = self.table.lock().clone().filter(|(since, _)| *since > listed);
                if let Some((_, table)) = newer {
                    return Some(table).filter(has_it);
                }
            }
        }
        self.list_nodes().await.ok().filter(has_it)
    }

    /// Returns the number of rooms, participants and connections of all nodes.
    pub async fn totals(&self) -> Result<(u64, u64, u64), AskError> {
        let loads = &self.list_nodes().await?.nodes;
        let mut rooms = 0;
        for link in &self.links {
            rooms += link.nodes().await?.rooms;
        }
        let sum = |count: fn(&NodeLoad) -> u64| loads.iter().map(|node| count(&node.load)).sum();
        Ok((rooms, sum(|load| load.participants), sum(|load| load.connections)))
    }

    /// Reads the newest rooms of all engines that were created before a time in milliseconds.
    /// Returns the number of all rooms as well.
    pub async fn page(
        &self,
        before: u64,
        limit: usize,
    ) -> Result<(u64, Vec<RoomRecord>), AskError> {
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
