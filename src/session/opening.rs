//! Opens sessions.

use std::sync::Arc;

use tracing::info;

use super::admission::Permit;
use super::directory::Entry;
use super::handle::Session;
use super::hub::Hub;
use super::mailbox::Mailbox;
use super::resume_token::ResumeToken;
use super::state::SessionState;
use crate::dialect::Dialect;
use crate::id::ConnectionId;

impl Hub {
    /// Opens a session, which a later connection may resume if it has a `token`. If the server
    /// drains, its client is asked to disconnect at once, since the handshake is already answered.
    pub fn open(
        self: &Arc<Self>,
        id: ConnectionId,
        dialect: &'static Dialect,
        mailbox: Arc<Mailbox>,
        token: Option<ResumeToken>,
        permit: Option<Arc<Permit>>,
    ) -> Session {
        self.rooms().connect(id);
        self.directory.insert(id, Entry { dialect, mailbox: Arc::clone(&mailbox) });
        self.resumable.away_limit.record(self.directory.record_opened());
        if self.is_draining() {
            self.drain_one(id);
        }
        let metrics = self.metrics.dialect(dialect.name);
        metrics.opened();
        info!(connection = %id, dialect = dialect.name, "connected");
        let is_kept = token.is_some();
        let tokens = token.into_iter().collect();
        let state = Arc::new(SessionState::new(id, dialect, metrics, mailbox, tokens, permit));
        if is_kept {
            self.resumable.insert(Arc::clone(&state));
        }
        Session { hub: Arc::clone(self), state, generation: 0 }
    }
}
