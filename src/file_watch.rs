//! Detects changes of files by polling their metadata, for files that are reloaded at run time.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::MissedTickBehavior;

use crate::lifecycle::Lifecycle;

/// File metadata that changes when a file is replaced or written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileStamp {
    inode: u64,
    length: u64,
    modified: (i64, i64),
}

impl FileStamp {
    /// Returns the stamp of a file, or `None` if it is missing. Follows symbolic links, which ACME
    /// clients use.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        let file = std::fs::metadata(path).ok()?;
        Some(Self {
            inode: file.ino(),
            length: file.size(),
            modified: (file.mtime(), file.mtime_nsec()),
        })
    }
}

/// Calls `check` once per `period` until the server stops.
///
/// The check runs on a blocking thread, since the file may be on a network file system. A panic in
/// it is logged, and the next check follows.
pub(crate) async fn watch(
    period: Duration,
    lifecycle: Lifecycle,
    check: impl Fn() + Send + Sync + 'static,
) {
    let check = Arc::new(check);
    let mut interval = tokio::time::interval(period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = interval.tick() => {}
            () = lifecycle.stopping() => return,
        }
        let check = Arc::clone(&check);
        _ = tokio::task::spawn_blocking(move || check()).await;
    }
}
