//! The state of one session, which may outlive its connection.
//!
//! Invariant: a session has one owner at a time, the connection of the current generation, and only
//! the owner may act.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use parking_lot::Mutex;

use super::admission::{Evict, Permit};
use super::identity::Identity;
use super::mailbox::Mailbox;
use super::resume_token::Tokens;
use crate::dialect::Dialect;
use crate::id::{ConnectionId, RoomId};
use crate::metrics::DialectMetrics;

/// State of one session.
pub(super) struct SessionState {
    pub(super) id: ConnectionId,
    pub(super) dialect: &'static Dialect,
    pub(super) metrics: Arc<DialectMetrics>,
    pub(super) identity: Identity,
    pub(super) mailbox: Arc<Mailbox>,
    /// Whether the session ever joined a room.
    pub(super) has_joined: AtomicBool,
    /// Permit that the session holds until it ends.
    pub(super) permit: Mutex<Option<Arc<Permit>>>,
    /// The room that it was last to join by an answer of the cluster, until it has left that.
    pub(super) joining: Mutex<Option<RoomId>>,
    /// Locked before any room while the owner acts, so that two connections never act for one
    /// session at a time.
    pub(super) ownership: Mutex<Ownership>,
}

/// The connection that owns a session.
pub(super) struct Ownership {
    /// Incremented by each connection that resumes the session.
    pub(super) generation: u64,
    pub(super) status: Status,
    /// The resume tokens.
    pub(super) tokens: Tokens,
    /// Ends the session if it is evicted while it is away.
    pub(super) closer: Option<Arc<dyn Evict>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    /// The session has a connection.
    Connected,
    /// The session has no connection and may be resumed until this time.
    Away(Instant),
    /// A client resumes the session on another node, which has asked for the frames after `seen`.
    Moving {
        seen: u64,
    },
    Ended,
}

impl SessionState {
    pub(super) fn new(
        id: ConnectionId,
        dialect: &'static Dialect,
        metrics: Arc<DialectMetrics>,
        mailbox: Arc<Mailbox>,
        tokens: Tokens,
        permit: Option<Arc<Permit>>,
    ) -> Self {
        let ownership =
            Ownership { generation: 0, status: Status::Connected, tokens, closer: None };
        Self {
            id,
            dialect,
            metrics,
            identity: Identity::default(),
            mailbox,
            has_joined: AtomicBool::new(false),
            permit: Mutex::new(permit),
            joining: Mutex::new(None),
            ownership: Mutex::new(ownership),
        }
    }

    /// Returns the address that the session counts for.
    pub(super) fn address(&self) -> IpAddr {
        // Only sessions of tests and embedding programs have no permit.
        self.permit
            .lock()
            .as_ref()
            .map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |permit| permit.address())
    }

    /// Ends the credit on which the connection was admitted. Must not be called under a lock, since
    /// another session may be evicted.
    pub(super) fn settle(&self) {
        let permit = self.permit.lock().clone();
        if let Some(permit) = permit {
            permit.settle();
        }
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ownership.lock().status == Status::Ended
    }
}
