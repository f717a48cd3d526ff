//! One media connection: ICE, DTLS and SRTP with one client, in one direction.
//!
//! - [`path`] is ICE and DTLS, [`addresses`] the client's addresses, [`receiving`] its incoming
//!   streams, [`sending`] its outgoing streams;
//! - [`rtc`] wraps str0m's `Rtc`, and advances its time.
//!
//! A transport has no `Rtc` before its client first needs it, since many are created early and wait
//! for a producer: parameters are stored until then.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use str0m::bwe::Bitrate;
use str0m::crypto::{CryptoProvider, Fingerprint};
use str0m::media::{MediaKind, Mid};
use str0m::net::Protocol;
use str0m::rtp::{RtpWrite, Ssrc};
use str0m::{Candidate, IceCreds, Rtc};

use super::bandwidth::{BandwidthEstimate, UpgradeBackoff};
use super::congestion::Congestion;
use super::formats::{self, ExtensionIds, ExtensionSelector};
use super::id::{ConsumerId, ProducerId, RouterId, TransportId};
use super::output::TransportOutput;
use super::parameters::TrackKind;
use super::request::{Direction, RoomMember};
use super::srtp::Trailer;
use super::token_bucket::{Rate, TokenBucket};
use super::undeclared::UnboundNames;

mod addresses;
mod path;
mod receiving;
mod rtc;
mod sending;

use addresses::Addresses;
pub(super) use path::write_fingerprint;
pub(super) use sending::FIRST_ESTIMATE;

/// Interval of str0m's stats, which hold its latest bandwidth estimate.
const STATS_INTERVAL: Duration = Duration::from_millis(500);

/// Timer of a transport with nothing to do: it has not started, or its client has not asked to
/// connect it.
const IDLE_TIMER: Duration = Duration::from_hours(1);

/// Limit of binding requests per transport. Browsers send twenty per second while they check up to
/// 32 candidate pairs, and one every few seconds later.
const BINDING_REQUESTS: Rate = Rate { per_second: 25.0, burst: 128.0 };

/// Limit of encrypted datagrams per second of one transport besides the packets of its producers:
/// receiver reports, retransmission requests, bandwidth probes.
const RTCP_DATAGRAMS: f64 = 1000.0;

/// Shared by all transports: cryptography, certificate and local addresses.
pub(super) struct Foundation {
    pub(super) crypto: Arc<CryptoProvider>,
    pub(super) certificate: str0m::config::DtlsCert,
    /// One announced address per address family.
    pub(super) local: Vec<SocketAddr>,
}

/// A stream of video that is sent, with what is counted of it between two stats.
struct VideoStream {
    mid: Mid,
    ssrc: Ssrc,
    /// Packets written since the last stats.
    written: u64,
    /// Packets sent until the last stats, retransmissions included.
    sent: u64,
    /// Number of latest stats in a row by which most packets were lost.
    heavy_losses: u32,
}

/// One media connection to a client.
#[expect(clippy::struct_excessive_bools, reason = "independent of each other")]
pub(super) struct Transport {
    pub(super) id: TransportId,
    pub(super) owner: RoomMember,
    /// The router of its room.
    pub(super) router: RouterId,
    pub(super) direction: Direction,
    pub(super) producers: Vec<ProducerId>,
    pub(super) consumers: Vec<ConsumerId>,
    /// The producer and layer of each stream that has sent a packet.
    pub(super) streams: HashMap<Ssrc, (ProducerId, usize)>,
    pub(super) addresses: Addresses,
    /// Rate limiter of binding requests.
    pub(super) binding_requests: TokenBucket,
    /// Rate limiter of encrypted datagrams.
    inbound_limit: TokenBucket,
    /// The form of the client's SRTCP, once a packet was decrypted.
    srtcp_trailer: Option<Trailer>,
    /// When the transport is closed unless it has connected.
    pub(super) deadline: Option<Instant>,
    /// Whether DTLS has ever completed.
    pub(super) has_connected: bool,
    /// The client's addresses at the last ICE restart, until the client nominates another path.
    addresses_before_restart: Vec<SocketAddr>,
    /// When its timer is due.
    pub(super) due: Instant,
    /// Whether it is in the list of transports that have packets to send.
    pub(super) is_ready: bool,
    /// Packets to write before those of the next [`Transport::send_written`] are sent.
    unwritten: Vec<(Ssrc, RtpWrite)>,
    /// The SSRCs of the packets that were written and not sent yet.
    written: Vec<u32>,
    /// When packets were last sent.
    sent_at: Option<Instant>,
    /// When the time of the `Rtc` was last advanced.
    advanced_at: Instant,
    /// Whether str0m may have more to send than what was written since it was last drained.
    has_backlog: bool,
    /// When REMB was last sent.
    pub(super) remb_sent_at: Option<Instant>,
    /// When the estimate was last raised to the minimum bitrate.
    raised_at: Option<Instant>,
    pub(super) is_connected: bool,
    pub(super) estimate: BandwidthEstimate,
    /// Whether bandwidth is estimated. Sending transports never stop.
    is_estimating: bool,
    /// When a consumer could last choose between layers.
    last_choice_at: Option<Instant>,
    pub(super) upgrade_backoff: UpgradeBackoff,
    pub(super) congestion: Congestion,
    /// `None` before the start, and after a failure.
    rtc: Option<Box<Rtc>>,
    credentials: IceCreds,
    remote_ufrag: Option<String>,
    /// The fingerprint of the client's certificate, and whether the server starts the handshake.
    dtls: Option<(Fingerprint, bool)>,
    next_mid: u32,
    /// Undeclared streams with authenticated packets, with their MIDs and extension ids.
    undeclared: HashMap<u32, (Option<Mid>, ExtensionIds)>,
    /// Number of undeclared streams over the transport's lifetime.
    undeclared_total: usize,
    /// Undeclared streams that have sent padding, which str0m does not report as authenticated.
    undeclared_padding: HashSet<u32>,
    /// Streams that producers declared, with their extension ids.
    declared: HashMap<u32, ExtensionIds>,
    /// Extension ids of packets that belong to no producer, such as bandwidth probes: those of all
    /// producers together.
    extensions: ExtensionIds,
    extension_selector: ExtensionSelector,
    /// Names of undeclared streams, until an authenticated packet carries them.
    unbound_names: UnboundNames,
    /// Streams of video that is sent.
    video_streams: Vec<VideoStream>,
    /// Streams of paused consumers. Nothing is sent on them, padding included.
    withheld: HashSet<u32>,
    bitrates: (u64, u64),
}

impl Transport {
    pub(super) fn new(
        now: Instant,
        owner: RoomMember,
        router: RouterId,
        direction: Direction,
    ) -> Self {
        Self {
            id: TransportId::random(),
            owner,
            router,
            direction,
            producers: Vec::new(),
            consumers: Vec::new(),
            streams: HashMap::new(),
            addresses: Addresses::default(),
            binding_requests: TokenBucket::new(BINDING_REQUESTS, now),
            inbound_limit: TokenBucket::new(
                Rate { per_second: RTCP_DATAGRAMS, burst: RTCP_DATAGRAMS },
                now,
            ),
            srtcp_trailer: None,
            deadline: None,
            has_connected: false,
            addresses_before_restart: Vec::new(),
            due: now + IDLE_TIMER,
            is_ready: false,
            unwritten: Vec::new(),
            written: Vec::new(),
            sent_at: None,
            advanced_at: now,
            has_backlog: true,
            remb_sent_at: None,
            raised_at: None,
            is_connected: false,
            estimate: BandwidthEstimate::new(FIRST_ESTIMATE),
            is_estimating: true,
            last_choice_at: None,
            upgrade_backoff: UpgradeBackoff::new(),
            congestion: Congestion::default(),
            rtc: None,
            credentials: IceCreds::new(),
            remote_ufrag: None,
            dtls: None,
            next_mid: 0,
            undeclared: HashMap::new(),
            undeclared_total: 0,
            undeclared_padding: HashSet::new(),
            unbound_names: UnboundNames::default(),
            declared: HashMap::new(),
            extensions: ExtensionIds::default(),
            extension_selector: ExtensionSelector::default(),
            video_streams: Vec::new(),
            withheld: HashSet::new(),
            bitrates: (0, 0),
        }
    }

    /// Sets the limit of packets per second of all its producers together.
    pub(super) fn set_packet_limit(&mut self, per_second: f64) {
        let per_second = RTCP_DATAGRAMS + per_second;
        self.inbound_limit.set_rate(Rate { per_second, burst: per_second });
    }

    /// Returns whether the `Rtc` has been created.
    pub(super) fn has_started(&self) -> bool {
        self.rtc.is_some()
    }

    /// Creates the `Rtc`, and applies the parameters stored so far.
    pub(super) fn start(
        &mut self,
        now: Instant,
        foundation: &Foundation,
        output: &mut TransportOutput,
    ) {
        let mut config = Rtc::builder()
            .clear_codecs()
            .set_rtp_mode(true)
            .set_ice_lite(true)
            .set_local_ice_credentials(self.credentials.clone())
            .set_crypto_provider(Arc::clone(&foundation.crypto))
            .set_dtls_cert(foundation.certificate.clone());
        match self.direction {
            Direction::Send => {
                config = config.set_extension_map(self.extension_selector.extension_map());
                formats::add_any_codecs(config.codec_config());
            }
            Direction::Receive => {
                config = config
                    .set_extension_map(formats::router_extension_map())
                    .enable_bwe(Some(Bitrate::from(FIRST_ESTIMATE)))
                    .set_stats_interval(Some(STATS_INTERVAL));
                formats::add_router_codecs(config.codec_config());
            }
        }
        self.rtc = Some(Box::new(config.build(now)));
        self.update_rtc(output, |rtc| rtc.direct_api().set_ice_controlling(false));
        for address in &foundation.local {
            if let Ok(candidate) = Candidate::host(*address, Protocol::Udp) {
                self.update_rtc(output, |rtc| _ = rtc.add_local_candidate(candidate));
            }
        }
        self.update_rtc(output, |rtc| rtc.direct_api().enable_twcc_feedback());
        self.advance(now, output);
        self.start_dtls(output);
    }
}

fn media_kind(kind: TrackKind) -> MediaKind {
    match kind {
        TrackKind::Audio => MediaKind::Audio,
        TrackKind::Video => MediaKind::Video,
    }
}

/// Returns whether a datagram is STUN (RFC 7983, section 7).
fn is_stun(datagram: &[u8]) -> bool {
    matches!(datagram.first(), Some(0..=3))
}

/// Returns the SSRC of a datagram if it is RTP (RFC 7983, section 7, and RFC 5761, section 4).
pub(super) fn rtp_ssrc(datagram: &[u8]) -> Option<u32> {
    let [128..=191, kind, ..] = datagram else { return None };
    if (192..=223).contains(kind) {
        return None;
    }
    let ssrc = datagram.get(8..12)?;
    ssrc.try_into().ok().map(u32::from_be_bytes)
}

/// Returns whether a datagram is a single transport-wide feedback message
/// (draft-holmer-rmcat-transport-wide-cc-extensions-01, section 3.1). The header of SRTCP is not
/// encrypted and holds the length; it is followed by four bytes of index and a tag of sixteen (RFC
/// 7714) or ten bytes (RFC 3711).
pub(super) fn is_single_twcc_feedback(datagram: &[u8]) -> bool {
    let [0x8f | 0xaf, 205, high, low, ..] = datagram else { return false };
    let length = 4 * (usize::from(u16::from_be_bytes([*high, *low])) + 1);
    [20, 14].into_iter().any(|trailer| datagram.len() == length + trailer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{ConnectionId, PeerId, RoomId};
    use crate::sfu::output::TransportEvent;

    pub(super) fn member() -> RoomMember {
        let (room, peer) = (RoomId::new("room").unwrap(), PeerId::new("ann").unwrap());
        RoomMember { room, connection: ConnectionId::random(), peer }
    }

    #[test]
    fn panic_fails_transport_and_is_counted() {
        let crypto: Arc<CryptoProvider> = Arc::new(str0m::crypto::from_feature_flags());
        let certificate = crypto.dtls_provider.generate_certificate().unwrap();
        let foundation = Foundation { crypto, certificate, local: Vec::new() };
        let mut output = TransportOutput::default();
        let mut transport =
            Transport::new(Instant::now(), member(), RouterId::random(), Direction::Receive);
        transport.start(Instant::now(), &foundation, &mut output);
        assert_eq!(transport.catch_panics(&mut output, |_, _, _| 7), Some(7));
        assert_eq!((output.panics, output.events.len()), (0, 0));
        let done: Option<()> =
            transport.catch_panics(&mut output, |_, _, _| panic!("intended panic"));
        assert_eq!((done, output.panics), (None, 1));
        assert!(
            matches!(output.events.pop_front(), Some((id, TransportEvent::Failed)) if id == transport.id)
        );
        assert!(transport.catch_panics(&mut output, |_, _, _| ()).is_none(), "the `Rtc` is gone");
        assert_eq!(output.panics, 1);
    }

    #[test]
    fn single_feedback_is_distinguished_from_compound_rtcp() {
        let of = |kind: [u8; 2], words: u8, length: usize| {
            let mut datagram = vec![kind[0], kind[1], 0, words];
            datagram.resize(length, 7);
            is_single_twcc_feedback(&datagram)
        };
        assert!(of([0x8f, 205], 5, 24 + 20) && of([0xaf, 205], 5, 24 + 14));
        assert!(!of([0x8f, 205], 5, 24 + 20 + 12), "followed by another report");
        assert!(!of([0x81, 205], 5, 24 + 20), "lost packets");
        assert!(!of([0x8f, 206], 5, 24 + 20) && !of([0x81, 201], 7, 32 + 20));
        assert!(!is_single_twcc_feedback(&[0x8f, 205, 0]) && !is_single_twcc_feedback(&[]));
    }

    #[test]
    fn rtp_is_distinguished_from_rtcp_and_dtls() {
        let rtp = [0x80, 96, 0, 1, 0, 0, 0, 0, 0, 0, 0, 7, 1];
        assert_eq!(rtp_ssrc(&rtp), Some(7));
        let report = [0x80, 200, 0, 1, 0, 0, 0, 0, 0, 0, 0, 7, 1];
        assert_eq!(rtp_ssrc(&report), None);
        assert_eq!(rtp_ssrc(&rtp[..11]), None);
        assert_eq!(rtp_ssrc(&[22, 254, 253]), None);
        assert_eq!(rtp_ssrc(&[]), None);
    }
}
