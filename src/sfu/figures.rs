//! What is counted of the media of all rooms.

/// Figures of one moment. What is counted only ever grows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Figures {
    /// Transports that there are.
    pub transports: usize,
    /// Producers that there are.
    pub producers: usize,
    /// Consumers that there are.
    pub consumers: usize,
    /// Datagrams that came.
    pub received: u64,
    /// Bytes of them.
    pub received_bytes: u64,
    /// How many of them were nobody's, or of streams that nobody described.
    pub ignored: u64,
    /// Datagrams that went out.
    pub sent: u64,
    /// Bytes of them.
    pub sent_bytes: u64,
    /// Datagrams that the system did not take.
    pub unsent: u64,
    /// Packets of media, one for each consumer that each was sent to.
    pub forwarded: u64,
    /// Packets of clients that sent more than they may.
    pub over_limit: u64,
    /// Binding requests that were not answered, since their transport sent too many.
    pub checks_over_limit: u64,
    /// Datagrams that were not sent, since their client had not shown that it is where they would have gone.
    pub unvalidated: u64,
    /// Requests for transports that were refused, since their connection asked for too many in a short time.
    pub creations_over_rate: u64,
    /// Transports that were refused, or ended for the sake of others, since the server had as many as it may have.
    pub transports_over_limit: u64,
    /// Transports that did not connect in time.
    pub connect_timeouts: u64,
    /// Keyframes that producers were asked for.
    pub keyframes: u64,
    /// Panics that were contained: of one transport, or of the media server as a whole.
    pub defects: u64,
}
