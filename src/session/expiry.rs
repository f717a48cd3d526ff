//! Ends connections whose tokens expire, with one timer for all.

use std::sync::Arc;
use std::time::SystemTime;

use tracing::info;

use super::directory::Entry;
use super::hub::Hub;
use crate::auth::Denial;
use crate::id::ConnectionId;
use crate::lifecycle::Lifecycle;

impl Hub {
    /// Ends each connection when its token expires, until the server stops.
    pub async fn end_expired(self: Arc<Self>, lifecycle: Lifecycle) {
        let max_sleep = self.timeouts().expiry_check_interval;
        loop {
            while let Some(connection) = self.expiries.pop(SystemTime::now()) {
                self.expire(connection);
            }
            tokio::select! {
                () = tokio::time::sleep(self.expiries.sleep(SystemTime::now(), max_sleep)) => {}
                () = self.expiries.sooner.notified() => {}
                () = lifecycle.stopping() => return,
            }
        }
    }

    /// Ends a connection whose token has expired.
    fn expire(&self, connection: ConnectionId) {
        let Some(Entry { dialect, mailbox }) = self.directory.get(connection) else { return };
        info!(%connection, "token expired, closing the connection");
        self.metrics.error(Denial::Unauthorized.code());
        for frame in (dialect.expired)(SystemTime::now()) {
            // Failure does not matter: the connection closes anyway.
            _ = mailbox.send(frame);
        }
        mailbox.close();
    }
}
