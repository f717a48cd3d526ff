//! Every task of ours is spawned here, so that a shutdown can ask them to stop and wait for them.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

/// The tasks of one server. Cloning is cheap, and all clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Lifecycle {
    tasks: TaskTracker,
    lasting: Arc<AtomicUsize>,
    stop: CancellationToken,
}

impl Lifecycle {
    /// Runs a task that a shutdown waits for.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(task);
    }

    /// Runs a task that ends with the server and not before.
    pub fn spawn_lasting(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.lasting.fetch_add(1, Ordering::Relaxed);
        self.spawn(task);
    }

    /// Resolves when the server is stopping.
    pub async fn stopping(&self) {
        self.stop.cancelled().await;
    }

    /// How many tasks are running, those left out that last as long as the server.
    pub fn running(&self) -> usize {
        self.tasks.len().saturating_sub(self.lasting.load(Ordering::Relaxed))
    }

    /// Asks all tasks to stop and waits for them; `false` if some are left after `limit`.
    pub async fn shut_down(&self, limit: Duration) -> bool {
        self.stop.cancel();
        self.tasks.close();
        tokio::time::timeout(limit, self.tasks.wait()).await.is_ok()
    }
}

/// Allows this process as many open files as the system lets it have: each connection is one, and the usual default of a
/// shell is 1024.
pub fn raise_open_files() {
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(limit) => debug!(limit, "open files"),
        Err(error) => warn!(%error, "cannot raise the limit of open files"),
    }
}
