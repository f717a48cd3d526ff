//! The fixed time limits of a server, in one value.
//!
//! Time limits that operators can change are settings ([`crate::config`]). These are fixed, since
//! each follows from another limit or from the behaviour of clients and proxies. [`Server::start`]
//! takes them as a value, so that tests can shorten them.
//!
//! [`Server::start`]: crate::server::Server::start

use std::time::Duration;

/// Fixed time limits of a server. [`Timeouts::default`] has the values that the program uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// Maximum time without progress of a write before its connection is closed. Must allow for
    /// slow readers: the kernel takes nothing more until a slow program has read a good part of a
    /// full buffer, which takes 9 s for 256 KiB at 30 KB/s.
    pub write_stall: Duration,
    /// Maximum time that a send queue may stay full before its connection is closed.
    pub queue_full: Duration,
    /// Time for which a connection may exceed its message rate, within the last 6.4 times as long,
    /// before it is closed.
    pub flood: Duration,
    /// Time for a WebSocket or TCP client to read the rest while its connection is closing.
    pub last_write: Duration,
    /// Time for a polling client to fetch the rest while its connection is closing: several round
    /// trips.
    pub last_poll: Duration,
    /// Time for the pending responses while an HTTP/2 connection is closing.
    pub last_responses: Duration,
    /// Time for a media transport to connect, from its creation and again from `transport:connect`.
    /// Browsers give up after at most 30 seconds.
    pub media_connect: Duration,
    /// Maximum idle time between two HTTP requests. Longer than that of common load balancers, so
    /// that they close the connection first and no request is lost in transit.
    pub keep_alive: Duration,
    /// Age at which an HTTP connection counts towards the limits on connections without an admitted
    /// request.
    pub pending_connection: Duration,
    /// Delay after a failed accept, for example for lack of file descriptors.
    pub accept_retry: Duration,
    /// Interval for removing expired rooms, sessions and replay buffers.
    pub sweep_interval: Duration,
    /// Interval for shrinking collections.
    pub shrink_interval: Duration,
    /// Interval for checking the files of the certificate and the key set for changes.
    pub file_check_interval: Duration,
    /// Maximum sleep of the token expiry timer, because the system clock may be changed.
    pub expiry_check_interval: Duration,
    /// Time between closing two connections during a graceful shutdown, if that has enough time.
    pub drain_interval: Duration,
    /// Time that a shutdown with an inherited socket waits for connections that are already
    /// accepted.
    pub handover: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            write_stall: Duration::from_secs(15),
            queue_full: Duration::from_secs(10),
            flood: Duration::from_secs(10),
            last_write: Duration::from_secs(1),
            last_poll: Duration::from_secs(3),
            last_responses: Duration::from_secs(30),
            media_connect: Duration::from_secs(30),
            keep_alive: Duration::from_secs(75),
            pending_connection: Duration::from_secs(1),
            accept_retry: Duration::from_millis(50),
            sweep_interval: Duration::from_millis(250),
            shrink_interval: Duration::from_secs(10),
            file_check_interval: Duration::from_secs(1),
            expiry_check_interval: Duration::from_secs(30),
            drain_interval: Duration::from_millis(20),
            handover: Duration::from_secs(1),
        }
    }
}
