//! Holds back polls until the first POST request of a connection, which carries CONNECT, is
//! answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use super::session::PollingSession;
use crate::session::Sink;

/// The request has not arrived.
const NONE: u8 = 0;
/// The request is being handled.
const IN_PROGRESS: u8 = 1;
/// The response is written.
const DONE: u8 = 2;

/// Progress of the first POST request of a connection.
#[derive(Debug, Default)]
pub(super) struct FirstPostState(AtomicU8);

impl PollingSession {
    /// Records that the first POST request is being handled, until the returned value is dropped
    /// with its response. Returns `None` for later requests.
    pub(super) fn begin_post(self: &Arc<Self>) -> Option<FirstPost> {
        let begun = self.first_post.0.compare_exchange(
            NONE,
            IN_PROGRESS,
            Ordering::AcqRel,
            Ordering::Acquire,
        );
        begun.is_ok().then(|| FirstPost(Arc::new(FirstPostGuard(Arc::clone(self)))))
    }

    /// Returns whether a poll must wait for the response to the first POST request. A client that
    /// learned earlier that it is connected would find its transport still busy, and drop volatile
    /// events of its connect handler.
    pub(super) fn awaits_first_post(&self) -> bool {
        self.first_post.0.load(Ordering::Acquire) == IN_PROGRESS && !self.queue.depth().is_high()
    }
}

/// Travels with the response to the first POST request until that is written.
#[derive(Clone)]
pub(super) struct FirstPost(
    #[expect(dead_code, reason = "held for its destructor")] Arc<FirstPostGuard>,
);

struct FirstPostGuard(Arc<PollingSession>);

impl Drop for FirstPostGuard {
    fn drop(&mut self) {
        self.0.first_post.0.store(DONE, Ordering::Release);
        self.0.poller.wake();
    }
}
