//! Spawning of tasks, so that a shutdown can stop them and wait for them.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

/// The tasks of one server. Cloning is cheap; all clones refer to the same tasks.
#[derive(Debug, Clone, Default)]
pub struct Lifecycle {
    tasks: TaskTracker,
    lasting: Arc<AtomicUsize>,
    stop: CancellationToken,
}

impl Lifecycle {
    /// Spawns a task that a shutdown waits for.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(task);
    }

    /// Spawns a task that runs as long as the server.
    pub fn spawn_lasting(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.lasting.fetch_add(1, Ordering::Relaxed);
        self.spawn(task);
    }

    /// Resolves when the server is stopping.
    pub async fn stopping(&self) {
        self.stop.cancelled().await;
    }

    /// Returns the number of running tasks, without those that run as long as the server.
    pub fn running(&self) -> usize {
        self.tasks.len().saturating_sub(self.lasting.load(Ordering::Relaxed))
    }

    /// Asks all tasks to stop and waits for them. Returns `false` if some are still running after
    /// `limit`.
    pub async fn shut_down(&self, limit: Duration) -> bool {
        self.stop.cancel();
        self.tasks.close();
        tokio::time::timeout(limit, self.tasks.wait()).await.is_ok()
    }
}

/// Raises the limit of open files to the hard limit: each connection needs one, and shells often
/// default to 1024.
pub fn raise_open_files() {
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(limit) => debug!(limit, "raised limit of open files"),
        Err(error) => warn!(%error, "cannot raise limit of open files"),
    }
}
