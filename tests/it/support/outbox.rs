//! Where sessions of a test write that have no socket.

use std::sync::Arc;
use std::time::Instant;

use parlor::dialect::Frame;
use parlor::session::{Backlog, NotHeld, Outbox, QueueFull};

/// Where nothing is written: it can be taken over.
pub(crate) struct Nowhere;

impl Outbox for Nowhere {
    fn send(&self, _: Frame) -> Result<(), QueueFull> {
        Ok(())
    }

    fn send_promised(&self, _: Frame) -> Result<(), QueueFull> {
        Ok(())
    }

    fn close(&self) -> bool {
        false
    }

    fn congestion(&self) -> Option<Arc<Backlog>> {
        None
    }

    fn stays_full(&self, _: Instant) -> bool {
        false
    }

    fn take_over(&self, _: u64) -> Result<(), NotHeld> {
        Ok(())
    }
}
