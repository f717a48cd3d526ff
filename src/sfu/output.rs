//! What transports give off: datagrams to be sent, and what happened on them.
//!
//! Both are collected in a [`Sink`] while a transport is worked on, and worked off once it is let go of.
//!
//! The guarantee that is easy to break: each is in the order in which it came about.

use std::collections::VecDeque;
use std::net::SocketAddr;

use str0m::media::Mid;
use str0m::net::DatagramSend;
use str0m::rtp::RtpPacket;

use super::id::TransportId;

/// What transports give off.
#[derive(Debug, Default)]
pub(super) struct Sink {
    pub(super) datagrams: Vec<Datagram>,
    pub(super) happenings: VecDeque<(TransportId, Happening)>,
    /// Panics of the library, so far.
    pub(super) defects: u64,
    /// Datagrams that were dropped since their transport sent too many.
    pub(super) over_limit: u64,
    /// Datagrams that were not sent since no address of their client was valid.
    pub(super) unvalidated: u64,
}

/// What is to be sent.
#[derive(Debug)]
pub struct Datagram {
    /// Where to.
    pub to: SocketAddr,
    /// What.
    pub contents: DatagramSend,
}

/// What happens on a transport.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "nearly all are packets, and none waits")]
pub(super) enum Happening {
    Connected,
    /// No way to the client is known to work any more.
    Lost,
    /// There is one again.
    Back,
    /// It cannot go on.
    Dead,
    Packet(RtpPacket),
    KeyframeWanted(Mid),
}
