//! The output of transports: datagrams to send, and events.
//!
//! A [`TransportOutput`] collects both while a transport is borrowed; the SFU processes them
//! afterwards.
//!
//! Invariant: datagrams and events keep the order in which they were produced.

use std::collections::VecDeque;
use std::net::SocketAddr;

use str0m::media::Mid;
use str0m::net::DatagramSend;
use str0m::rtp::RtpPacket;

use super::id::TransportId;

/// Datagrams, events and counters that transports have produced.
#[derive(Debug, Default)]
pub(super) struct TransportOutput {
    pub(super) datagrams: Vec<Datagram>,
    pub(super) events: VecDeque<(TransportId, TransportEvent)>,
    /// Panics inside str0m.
    pub(super) panics: u64,
    /// Received datagrams dropped because their transport exceeded its rate limit.
    pub(super) over_limit: u64,
    /// Datagrams not sent because no address of their client was validated.
    pub(super) unvalidated: u64,
}

/// A UDP datagram to send.
#[derive(Debug)]
pub struct Datagram {
    /// Destination address.
    pub to: SocketAddr,
    /// Payload.
    pub contents: DatagramSend,
}

/// An event of a transport.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "nearly all events are packets, and none is stored")]
pub(super) enum TransportEvent {
    Connected,
    /// ICE has lost its last working path to the client.
    Disconnected,
    /// ICE has found a working path again.
    Reconnected,
    /// The transport has failed for good.
    Failed,
    Packet(RtpPacket),
    KeyframeRequested(Mid),
}
