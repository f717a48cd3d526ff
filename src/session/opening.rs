//! Opens sessions.

use std::sync::Arc;

use tracing::info;

use super::admission::Permit;
use super::directory::Entry;
use super::handle::Session;
use super::hub::Hub;
use super::key::ResumeKey;
use super::mailbox::Mailbox;
use super::state::SessionState;
use crate::dialect::Dialect;
use crate::id::ConnectionId;

impl Hub {
    /// Opens a session, which a later connection may resume if it has a `key`. Its client is asked to disconnect at once
    /// while the server drains: the handshake was answered before.
    pub fn open(
        self: &Arc<Self>,
        id: ConnectionId,
        dialect: &'static Dialect,
        mailbox: Arc<Mailbox>,
        key: Option<ResumeKey>,
        permit: Option<Arc<Permit>>,
    ) -> Session {
        self.rooms().connect(id);
        self.directory.insert(id, Entry { dialect, mailbox: Arc::clone(&mailbox) });
        self.resumable.away_limit.note(self.directory.note_opened());
        if self.is_draining() {
            self.dismiss_one(id);
        }
        let metrics = self.metrics.dialect(dialect.name);
        metrics.opened();
        info!(connection = %id, dialect = dialect.name, "connected");
        let is_kept = key.is_some();
        let state = Arc::new(SessionState::new(id, dialect, metrics, mailbox, key, permit));
        if is_kept {
            self.resumable.insert(Arc::clone(&state));
        }
        Session { hub: Arc::clone(self), state, generation: 0 }
    }
}
