//! All sessions that can be resumed, whether connected or away.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dashmap::DashMap;

use super::away_limit::AwayLimit;
use super::replay_buffer::ResumeLimits;
use super::state::SessionState;
use super::timers::Timers;
use crate::id::ConnectionId;
use crate::shrink;

/// All sessions of this node that can be resumed.
#[derive(Default)]
pub(super) struct Resumable {
    sessions: DashMap<ConnectionId, Arc<SessionState>>,
    away: AtomicUsize,
    pub(super) away_limit: AwayLimit,
    pub(super) timers: Arc<Timers>,
}

impl Resumable {
    pub(super) fn new(limits: Option<ResumeLimits>) -> Self {
        Self { timers: Arc::new(Timers { limits, ..Timers::default() }), ..Self::default() }
    }

    pub(super) fn insert(&self, session: Arc<SessionState>) {
        self.sessions.insert(session.id, session);
    }

    pub(super) fn remove(&self, id: ConnectionId) {
        self.sessions.remove(&id);
    }

    pub(super) fn get(&self, id: ConnectionId) -> Option<Arc<SessionState>> {
        self.sessions.get(&id).map(|session| Arc::clone(&session))
    }

    pub(super) fn ids(&self) -> Vec<ConnectionId> {
        self.sessions.iter().map(|session| *session.key()).collect()
    }

    /// Returns whether there is any session.
    pub(super) fn has_any(&self) -> bool {
        !self.sessions.is_empty()
    }

    /// Returns the number of away sessions.
    pub(super) fn away(&self) -> usize {
        self.away.load(Ordering::Relaxed)
    }

    pub(super) fn record_away(&self) {
        self.away.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a session that is not away any more.
    pub(super) fn record_back(&self) {
        self.away.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn shrink(&self) {
        shrink::shrink_map(&self.sessions);
    }
}
