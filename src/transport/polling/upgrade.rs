//! The upgrade of a polling connection to a WebSocket, from the polling side.

use std::sync::atomic::{AtomicU8, Ordering};

use tracing::debug;

use super::session::{PollingSession, State};
use crate::transport::executor::Executor;

/// Nobody has asked for an upgrade.
const NONE: u8 = 0;
/// There is a WebSocket, on which nothing has come yet.
const CLAIMED: u8 = 1;
/// The client waits for its poll to be answered, and then moves.
const PROBED: u8 = 2;

/// How far the upgrade of a connection has come.
#[derive(Debug, Default)]
pub(super) struct UpgradeState(AtomicU8);

impl UpgradeState {
    fn claim(&self) -> bool {
        self.0.compare_exchange(NONE, CLAIMED, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    fn set(&self, state: u8) {
        self.0.store(state, Ordering::Release);
    }

    fn is(&self, state: u8) -> bool {
        self.0.load(Ordering::Acquire) == state
    }
}

impl PollingSession {
    /// Claims the one upgrade that a connection may have at a time; `false` where it is taken.
    pub(crate) fn begin_upgrade(&self) -> bool {
        self.is_live() && self.upgrade.claim()
    }

    /// The WebSocket works, as far as the client's side: the client goes on when its poll is answered.
    pub(crate) fn probed(&self) {
        self.upgrade.set(PROBED);
        self.poller.wake();
    }

    pub(super) fn is_probed(&self) -> bool {
        self.upgrade.is(PROBED)
    }

    /// The WebSocket came to nothing: polling goes on.
    pub(crate) fn abandon_upgrade(&self) {
        self.upgrade.set(NONE);
        debug!("upgrade abandoned, polling goes on");
    }

    /// Moves the connection to its WebSocket; `None` if it has ended.
    pub(crate) fn take(&self) -> Option<Box<Executor>> {
        let mut state = self.state.lock();
        match std::mem::replace(&mut *state, State::Moved) {
            State::Live(executor) | State::Ending(executor) => {
                self.leave();
                Some(executor)
            }
            over @ (State::Moved | State::Gone) => {
                *state = over;
                None
            }
        }
    }

    /// Whether the connection has moved to a WebSocket.
    pub(super) fn has_moved(&self) -> bool {
        matches!(*self.state.lock(), State::Moved)
    }
}
