//! The upgrade of a polling connection to a WebSocket, from the polling side.

use std::sync::atomic::{AtomicU8, Ordering};

use tracing::debug;

use super::session::{PollingSession, State};
use crate::transport::executor::Executor;

/// No upgrade was requested.
const NONE: u8 = 0;
/// There is a WebSocket, but nothing was received on it yet.
const CLAIMED: u8 = 1;
/// The client has probed the WebSocket, and upgrades when its poll is answered.
const PROBED: u8 = 2;

/// Progress of a connection's upgrade.
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
    /// Claims the one upgrade that a connection may attempt at a time; returns false if it is
    /// already claimed.
    pub(crate) fn begin_upgrade(&self) -> bool {
        self.is_live() && self.upgrade.claim()
    }

    /// Records that the client has probed the WebSocket: it continues when its poll is answered.
    pub(crate) fn probed(&self) {
        self.upgrade.set(PROBED);
        self.poller.wake();
    }

    pub(super) fn is_probed(&self) -> bool {
        self.upgrade.is(PROBED)
    }

    /// Gives up the upgrade, because the WebSocket failed; polling continues.
    pub(crate) fn abandon_upgrade(&self) {
        self.upgrade.set(NONE);
        debug!("upgrade abandoned, polling continues");
    }

    /// Moves the connection's executor to its WebSocket; returns `None` if the connection has
    /// ended.
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

    /// Returns whether the connection has moved to a WebSocket.
    pub(super) fn has_moved(&self) -> bool {
        matches!(*self.state.lock(), State::Moved)
    }
}
