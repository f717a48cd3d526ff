//! How a connection ends.

use crate::dialect::Ending;
use crate::room::LeaveReason;

/// How a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::transport) struct End {
    /// What other peers are told.
    pub(in crate::transport) reason: LeaveReason,
    /// Whether the client did not say that it leaves, so that its sessions may be resumed.
    pub(in crate::transport) is_lost: bool,
    /// What the client is told; `None` where it is gone.
    pub(in crate::transport) close: Option<(u16, &'static str)>,
}

impl End {
    pub(in crate::transport) const FLOOD: Self = Self::told(1008, "RATE_LIMITED");
    /// The server ends it, and the client may read the rest.
    pub(in crate::transport) const CLOSED: Self = Self::told(1008, "closed by the server");
    /// The server ends it, and the client reads no more.
    pub(in crate::transport) const KICKED: Self = Self { reason: LeaveReason::Kicked, is_lost: false, close: None };

    pub(in crate::transport) const fn gone(reason: LeaveReason) -> Self {
        Self { reason, is_lost: true, close: None }
    }

    pub(in crate::transport) const fn told(code: u16, why: &'static str) -> Self {
        Self { reason: LeaveReason::Kicked, is_lost: false, close: Some((code, why)) }
    }
}

impl From<Ending> for End {
    fn from(ending: Ending) -> Self {
        let (is_lost, close) = match ending {
            Ending::Closed => (true, Some((1000, ""))),
            Ending::Violation | Ending::TooManyConnects => (false, Some((1002, "protocol violation"))),
        };
        Self { reason: LeaveReason::Disconnected, is_lost, close }
    }
}
