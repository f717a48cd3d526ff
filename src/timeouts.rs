//! Every time limit that operators cannot change, in one value.
//!
//! The limits that they can change are settings ([`crate::config`]). These are fixed: no flag and no environment variable
//! sets them, since each follows from another limit or from what clients and proxies expect. [`Server::start`] takes them
//! as a value, so that tests need not wait as long as users would.
//!
//! [`Server::start`]: crate::server::Server::start

use std::time::Duration;

/// The fixed time limits of one server. [`Timeouts::default`] has the values that every operator gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// How long a client may take no byte of what is written before its connection is closed. A kernel takes nothing for
    /// a program that reads slowly until a good part of a full buffer was read: of 256 KiB at 30 KB/s that takes 9 s.
    pub write_stall: Duration,
    /// How long a queue may stay full before its connection is closed.
    pub queue_full: Duration,
    /// For how much of the last 6.4 times as long a connection may exceed its message rate before it is closed.
    pub flood: Duration,
    /// How long a connection that is being closed may take to read the rest, over a WebSocket or a plain socket.
    pub last_write: Duration,
    /// How long a polling client whose connection is being closed may take to fetch the rest: several round trips.
    pub last_poll: Duration,
    /// How long the responses under way may take once an HTTP/2 connection is to end.
    pub last_responses: Duration,
    /// How long a media transport may take to connect, from its creation, and again from `transport:connect`. Browsers give
    /// up after thirty seconds at most.
    pub media_connect: Duration,
    /// How long a connection may be idle between two requests. Longer than load balancers keep theirs idle, so that they
    /// close it first and no request is lost on the way.
    pub keep_alive: Duration,
    /// How long an HTTP connection is open before it counts towards the limits on connections without an admitted request.
    pub pending_connection: Duration,
    /// The pause after an accept that failed, as for want of open files.
    pub accept_retry: Duration,
    /// How often rooms, places and histories whose time is over are removed.
    pub sweep_interval: Duration,
    /// How often memory that is no longer needed is given back.
    pub shrink_interval: Duration,
    /// How often the files of the certificate and of the key set are checked for changes.
    pub file_check_interval: Duration,
    /// How long the timer for token expiry sleeps at most: the system clock may be set meanwhile.
    pub expiry_check_interval: Duration,
    /// The time between two connections that a shutdown closes, where it has enough time for that.
    pub farewell_interval: Duration,
    /// How long a shutdown that leaves new connections to the next process waits for those that were accepted already.
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
            farewell_interval: Duration::from_millis(20),
            handover: Duration::from_secs(1),
        }
    }
}
