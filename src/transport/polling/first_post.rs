//! The first POST request of a polling connection, which carries CONNECT.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use super::session::PollingSession;
use crate::session::Sink;

/// The request has not come.
const NONE: u8 = 0;
/// It is being handled.
const UNDER_WAY: u8 = 1;
/// It is answered.
const DONE: u8 = 2;

/// How far the first POST request of a connection has come.
#[derive(Debug, Default)]
pub(super) struct FirstPostState(AtomicU8);

impl PollingSession {
    /// Notes that a POST request is handled, until what this returns is dropped with its answer.
    pub(super) fn begin_post(self: &Arc<Self>) -> Option<FirstPost> {
        let begun = self.first_post.0.compare_exchange(NONE, UNDER_WAY, Ordering::AcqRel, Ordering::Acquire);
        begun.is_ok().then(|| FirstPost(Arc::new(FirstPostGuard(Arc::clone(self)))))
    }

    /// Whether a poll is to wait for the answer to the first POST request, which carries CONNECT: to a client that hears
    /// that it is connected before, its transport is still busy, and volatile events of its connect handler are dropped.
    pub(super) fn awaits_first_post(&self) -> bool {
        self.first_post.0.load(Ordering::Acquire) == UNDER_WAY && !self.queue.backlog().is_high()
    }
}

/// Travels with the answer to the first POST request until that is written.
#[derive(Clone)]
pub(super) struct FirstPost(#[expect(dead_code, reason = "what counts is that it is held")] Arc<FirstPostGuard>);

struct FirstPostGuard(Arc<PollingSession>);

impl Drop for FirstPostGuard {
    fn drop(&mut self) {
        self.0.first_post.0.store(DONE, Ordering::Release);
        self.0.poller.wake();
    }
}
