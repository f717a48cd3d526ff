//! The directory of sessions: how events for a connection are written, and where they go.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dashmap::DashMap;
use tokio::sync::Notify;

use super::mailbox::Mailbox;
use crate::dialect::Dialect;
use crate::id::ConnectionId;
use crate::shrink;

/// One entry of the directory.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) dialect: &'static Dialect,
    pub(super) mailbox: Arc<Mailbox>,
}

/// Every session of this node, away ones included, and the number of those that have a connection.
#[derive(Default)]
pub(super) struct Directory {
    entries: DashMap<ConnectionId, Entry>,
    open: AtomicUsize,
    closed: Notify,
}

impl Directory {
    pub(super) fn insert(&self, id: ConnectionId, entry: Entry) {
        self.entries.insert(id, entry);
    }

    pub(super) fn remove(&self, id: ConnectionId) {
        self.entries.remove(&id);
    }

    pub(super) fn get(&self, id: ConnectionId) -> Option<Entry> {
        self.entries.get(&id).map(|entry| entry.clone())
    }

    /// Has the events of a session written by another dialect from now on.
    pub(super) fn set_dialect(&self, id: ConnectionId, dialect: &'static Dialect) {
        if let Some(mut entry) = self.entries.get_mut(&id) {
            entry.dialect = dialect;
        }
    }

    pub(super) fn ids(&self) -> Vec<ConnectionId> {
        self.entries.iter().map(|entry| *entry.key()).collect()
    }

    /// Counts a session that has a connection, and returns how many there are.
    pub(super) fn note_opened(&self) -> usize {
        self.open.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Counts the end of a session's connection.
    pub(super) fn note_closed(&self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
        self.closed.notify_waiters();
    }

    /// How many sessions have a connection.
    pub(super) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Resolves when no session has a connection.
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
