//! Ends connections whose tokens expire, with one timer for all of them.

use std::sync::Arc;
use std::time::SystemTime;

use tracing::info;

use super::directory::Entry;
use super::hub::Hub;
use crate::auth::Denial;
use crate::id::ConnectionId;
use crate::lifecycle::Lifecycle;

impl Hub {
    /// Ends each connection when its token does, until the server stops.
    pub async fn end_expired(self: Arc<Self>, lifecycle: Lifecycle) {
        let longest = self.timeouts().expiry_check_interval;
        loop {
            while let Some(connection) = self.expiries.pop(SystemTime::now()) {
                self.expire(connection);
            }
            tokio::select! {
                () = tokio::time::sleep(self.expiries.sleep(SystemTime::now(), longest)) => {}
                () = self.expiries.sooner.notified() => {}
                () = lifecycle.stopping() => return,
            }
        }
    }

    /// Ends a connection whose token has expired.
    fn expire(&self, connection: ConnectionId) {
        let Some(Entry { dialect, mailbox }) = self.directory.get(connection) else { return };
        info!(%connection, "closing: its token has expired");
        self.metrics.error(Denial::Unauthorized.code());
        for frame in (dialect.expired)(SystemTime::now()) {
            // It is leaving either way.
            _ = mailbox.send(frame);
        }
        mailbox.close();
    }
}
