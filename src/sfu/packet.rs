//! A packet of a producer, as routers and consumers read it: decrypted, without what belongs to its
//! transport.

use std::sync::Arc;
use std::time::Instant;

use str0m::rtp::rtcp::SenderInfo;
use str0m::rtp::{ExtensionValues, RtpPacket, Ssrc};

/// A received RTP packet.
#[derive(Debug)]
pub(super) struct Packet {
    pub(super) ssrc: Ssrc,
    pub(super) payload_type: u8,
    /// The sequence number, extended beyond 16 bits.
    pub(super) number: u64,
    /// The timestamp, in ticks of the codec's clock.
    pub(super) timestamp: u32,
    pub(super) has_marker: bool,
    pub(super) extensions: ExtensionValues,
    pub(super) payload: Arc<[u8]>,
    pub(super) arrived_at: Instant,
    /// The last sender report of its stream.
    pub(super) sender_info: Option<SenderInfo>,
}

impl From<RtpPacket> for Packet {
    fn from(packet: RtpPacket) -> Self {
        Self {
            ssrc: packet.header.ssrc,
            payload_type: *packet.header.payload_type,
            number: *packet.seq_no,
            timestamp: packet.header.timestamp,
            has_marker: packet.header.marker,
            extensions: packet.header.ext_vals,
            payload: packet.payload,
            arrived_at: packet.timestamp,
            sender_info: packet.last_sender_info,
        }
    }
}
