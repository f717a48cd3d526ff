//! Why and how a connection ends.

use crate::dialect::Ending;
use crate::room::LeaveReason;

/// The end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::transport) struct End {
    /// Reason for the connection's peers.
    pub(in crate::transport) reason: LeaveReason,
    /// Whether the connection was lost rather than closed, so that its sessions may be resumed.
    pub(in crate::transport) is_lost: bool,
    /// Close code and reason for the client; `None` if it cannot be reached.
    pub(in crate::transport) close: Option<(u16, &'static str)>,
}

impl End {
    pub(in crate::transport) const FLOOD: Self = Self::closing(1008, "RATE_LIMITED");
    /// Closed by the server, after the queued frames are written.
    pub(in crate::transport) const CLOSED: Self = Self::closing(1008, "closed by the server");
    /// Closed by the server at once.
    pub(in crate::transport) const KICKED: Self =
        Self { reason: LeaveReason::Kicked, is_lost: false, close: None };

    pub(in crate::transport) const fn lost(reason: LeaveReason) -> Self {
        Self { reason, is_lost: true, close: None }
    }

    pub(in crate::transport) const fn closing(code: u16, why: &'static str) -> Self {
        Self { reason: LeaveReason::Kicked, is_lost: false, close: Some((code, why)) }
    }
}

impl From<Ending> for End {
    fn from(ending: Ending) -> Self {
        let (is_lost, close) = match ending {
            Ending::Closed => (true, Some((1000, ""))),
            Ending::Violation | Ending::TooManyConnects => {
                (false, Some((1002, "protocol violation")))
            }
        };
        Self { reason: LeaveReason::Disconnected, is_lost, close }
    }
}
