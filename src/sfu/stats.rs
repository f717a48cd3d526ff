//! Gauges and counters of the media server.

/// A snapshot of the media server's gauges and counters. Counters never decrease.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MediaStats {
    /// Current transports.
    pub transports: usize,
    /// Current producers.
    pub producers: usize,
    /// Current consumers.
    pub consumers: usize,
    /// Datagrams received.
    pub received: u64,
    /// Bytes in received datagrams.
    pub received_bytes: u64,
    /// Datagrams received that belong to no transport, or to undeclared streams that were not
    /// accepted.
    pub ignored: u64,
    /// Packets of a producer with a payload type that it did not declare.
    pub undeclared_payload_types: u64,
    /// Datagrams sent.
    pub sent: u64,
    /// Bytes in sent datagrams.
    pub sent_bytes: u64,
    /// Datagrams that the socket did not accept.
    pub send_errors: u64,
    /// RTP packets forwarded, counted once per consumer.
    pub forwarded: u64,
    /// Packets and datagrams dropped because their client exceeded its rate limit.
    pub over_limit: u64,
    /// Binding requests dropped because their transport exceeded its rate limit.
    pub binding_requests_over_limit: u64,
    /// Datagrams not sent because their destination was not validated.
    pub unvalidated: u64,
    /// Requests to create a transport that were refused because their connection exceeded its rate
    /// limit.
    pub creations_over_rate: u64,
    /// Transports refused or evicted because the server was at its limit of transports.
    pub transports_over_limit: u64,
    /// Transports closed because they did not connect in time.
    pub connect_timeouts: u64,
    /// Keyframe requests sent to producers.
    pub keyframes: u64,
    /// Panics caught in a transport or in the media server.
    pub panics: u64,
}
