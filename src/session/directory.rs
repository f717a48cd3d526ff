//! The directory of sessions: the dialect and mailbox of each connection id.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dashmap::DashMap;
use rustc_hash::FxBuildHasher;
use tokio::sync::Notify;

use super::mailbox::Mailbox;
use crate::dialect::Dialect;
use crate::id::ConnectionId;
use crate::shrink;

/// An entry of the directory.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) dialect: &'static Dialect,
    pub(super) mailbox: Arc<Mailbox>,
}

/// All sessions of this node, including away ones, and the number of those with a connection.
#[derive(Default)]
pub(super) struct Directory {
    entries: DashMap<ConnectionId, Entry, FxBuildHasher>,
    /// Sessions that arrive from another node. Signals of local peers still go to them by way of the
    /// cluster, after those that it holds for them.
    arriving: DashMap<ConnectionId, Entry, FxBuildHasher>,
    open: AtomicUsize,
    closed: Notify,
}

impl Directory {
    pub(super) fn insert(&self, id: ConnectionId, entry: Entry) {
        self.entries.insert(id, entry);
    }

    /// Adds a session that arrives from another node.
    pub(super) fn insert_arriving(&self, id: ConnectionId, entry: Entry) {
        self.arriving.insert(id, entry);
    }

    /// Notes that a session has arrived: signals to it need not go by way of the cluster any more.
    pub(super) fn settle(&self, id: ConnectionId) {
        if let Some((_, entry)) = self.arriving.remove(&id) {
            self.entries.insert(id, entry);
        }
    }

    pub(super) fn remove(&self, id: ConnectionId) {
        self.entries.remove(&id);
        self.arriving.remove(&id);
    }

    /// Returns the session of a connection, also one that is arriving.
    pub(super) fn get(&self, id: ConnectionId) -> Option<Entry> {
        self.settled(id).or_else(|| self.arriving.get(&id).map(|entry| entry.clone()))
    }

    /// Returns whether a connection has a session here, also one that is arriving.
    pub(super) fn contains(&self, id: ConnectionId) -> bool {
        self.entries.contains_key(&id) || self.arriving.contains_key(&id)
    }

    /// Returns the session of a connection, but not one that is arriving.
    pub(super) fn settled(&self, id: ConnectionId) -> Option<Entry> {
        self.entries.get(&id).map(|entry| entry.clone())
    }

    /// Sets the dialect in which a session's events are encoded.
    pub(super) fn set_dialect(&self, id: ConnectionId, dialect: &'static Dialect) {
        if let Some(mut entry) = self.entries.get_mut(&id) {
            entry.dialect = dialect;
        }
    }

    pub(super) fn ids(&self) -> Vec<ConnectionId> {
        self.entries.iter().map(|entry| *entry.key()).collect()
    }

    /// Counts a session with a connection, and returns the number of those.
    pub(super) fn record_opened(&self) -> usize {
        self.open.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Counts the end of a session's connection.
    pub(super) fn record_closed(&self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
        self.closed.notify_waiters();
    }

    /// Returns the number of sessions with a connection.
    pub(super) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Completes when no session has a connection.
    pub(super) async fn emptied(&self) {
        loop {
            let closed = self.closed.notified();
            if self.open() == 0 {
                return;
            }
            closed.await;
        }
    }

    pub(super) fn shrink(&self) {
        shrink::shrink_map(&self.entries);
    }
}
