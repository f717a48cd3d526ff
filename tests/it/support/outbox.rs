//! Outboxes of sessions in tests without a socket.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parlor::dialect::{Dialect, Framing, Unframed};
use parlor::id::ConnectionId;
use parlor::session::{Hub, Opening, Outgoing, QueueDepth, QueueFull, Session, Sink};

/// An outbox that discards all frames.
pub(crate) struct Nowhere {
    depth: Arc<QueueDepth>,
    closed: AtomicUsize,
}

impl Nowhere {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { depth: QueueDepth::new(1000, 1_000_000), closed: AtomicUsize::new(0) })
    }

    /// Number of requests to close.
    pub(crate) fn closed(&self) -> usize {
        self.closed.load(Ordering::SeqCst)
    }
}

impl Sink for Nowhere {
    fn push(&self, _: Outgoing, _: bool) -> Result<(), QueueFull> {
        Ok(())
    }

    fn close(&self) -> bool {
        self.closed.fetch_add(1, Ordering::SeqCst) == 0
    }

    fn depth(&self) -> &Arc<QueueDepth> {
        &self.depth
    }
}

/// Counts frames without writing numbers, so that a session can be resumed.
pub(crate) struct Numbered;

impl Framing for Numbered {
    fn is_numbered(&self) -> bool {
        true
    }
}

/// Opens a session that can be resumed, whose frames are discarded.
pub(crate) fn resumable(hub: &Arc<Hub>, dialect: &'static Dialect) -> Session {
    let id = ConnectionId::random();
    let mailbox = hub.mailbox(id, Box::new(Numbered), Nowhere::new());
    let permit = hub
        .open_permit(None, Ipv4Addr::LOCALHOST.into(), Opening::WebSocket)
        .expect("there is no limit");
    hub.open(id, dialect, mailbox, hub.new_resume_token(id), Some(permit))
}

/// Opens a session that cannot be resumed, on a connection.
pub(crate) fn session(
    hub: &Arc<Hub>,
    id: ConnectionId,
    dialect: &'static Dialect,
    connection: &Arc<Nowhere>,
) -> Session {
    let sink = Arc::clone(connection) as Arc<dyn Sink>;
    hub.open(id, dialect, hub.mailbox(id, Box::new(Unframed), sink), None, None)
}
