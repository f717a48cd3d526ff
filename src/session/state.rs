//! The state of one session, which may outlive its connection.
//!
//! The guarantee that is easy to break: a session has one owner at a time, the connection of the current generation, and
//! only that one may act.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use parking_lot::Mutex;

use super::admission::{Evict, Permit};
use super::identity::Identity;
use super::key::ResumeKey;
use super::mailbox::Mailbox;
use crate::dialect::Dialect;
use crate::id::ConnectionId;
use crate::metrics::DialectMetrics;

/// The state of one session.
pub(super) struct SessionState {
    pub(super) id: ConnectionId,
    pub(super) dialect: &'static Dialect,
    pub(super) metrics: Arc<DialectMetrics>,
    pub(super) identity: Identity,
    pub(super) mailbox: Arc<Mailbox>,
    /// Whether it was ever in a room.
    pub(super) has_joined: AtomicBool,
    /// What it counts for, until it ends.
    pub(super) permit: Mutex<Option<Arc<Permit>>>,
    /// Locked before any room while the owner acts, so that two connections never act for one session at once.
    pub(super) ownership: Mutex<Ownership>,
}

/// Which connection has a session.
pub(super) struct Ownership {
    /// Rises with each connection that resumes the session.
    pub(super) generation: u64,
    pub(super) status: Status,
    /// `None` where the session cannot be resumed.
    pub(super) key: Option<ResumeKey>,
    /// The key that the session was last resumed with, if another has replaced it. It stays valid until the client is known
    /// to have the other: the answer that carried that may have been lost with the connection.
    pub(super) spent: Option<ResumeKey>,
    /// Ends the session when it is evicted while it is away.
    pub(super) closer: Option<Arc<dyn Evict>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    /// It has a connection.
    Connected,
    /// It has none, and may be resumed until then.
    Away(Instant),
    Ended,
}

impl SessionState {
    pub(super) fn new(
        id: ConnectionId,
        dialect: &'static Dialect,
        metrics: Arc<DialectMetrics>,
        mailbox: Arc<Mailbox>,
        key: Option<ResumeKey>,
        permit: Option<Arc<Permit>>,
    ) -> Self {
        let ownership = Ownership { generation: 0, status: Status::Connected, key, spent: None, closer: None };
        Self {
            id,
            dialect,
            metrics,
            identity: Identity::default(),
            mailbox,
            has_joined: AtomicBool::new(false),
            permit: Mutex::new(permit),
            ownership: Mutex::new(ownership),
        }
    }

    /// The address that it counts for.
    pub(super) fn address(&self) -> IpAddr {
        // Sessions without a permit are not from the network.
        self.permit.lock().as_ref().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |permit| permit.address())
    }

    /// Ends the credit that its connection was admitted on. Not under a lock: another session may be evicted.
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
