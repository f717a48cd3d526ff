//! One connection of media: ICE, DTLS and SRTP to one client, in one direction.
//!
//! - [`path`] is ICE and DTLS, [`addresses`] where the client is; [`receiving`] is what comes from there, [`sending`] what goes
//!   there;
//! - here is what these have in common: how the library is worked on, and how time passes.
//!
//! The numbers of payload types and header extensions are fixed when an `Rtc` is made, and which ones a client sends with is
//! certain once it describes its first track. So a sending transport has none before its first producer: what it was told
//! until then is kept, and nobody is answered. ICE asks again, and DTLS comes after it. A receiving transport has none before
//! its client needs it: many are created early, and wait for somebody who sends.
//!
//! The guarantee that is easy to break: after every change to an `Rtc` its output is drained before the next. So changes go
//! through [`Transport::change`], which also contains the library's panics. Packets to be sent are the exception: they come
//! to nothing before time passes, so that is made due, and what was written until then leaves together.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use str0m::bwe::{Bitrate, BweKind};
use str0m::crypto::{CryptoProvider, Fingerprint};
use str0m::media::{MediaKind, Mid};
use str0m::net::{DatagramSend, Protocol, Transmit};
use str0m::rtp::Ssrc;
use str0m::stats::PeerStats;
use str0m::{Candidate, Event, IceConnectionState, IceCreds, Input, Output, Rtc};

use super::bandwidth::{Estimate, Restraint};
use super::bucket::{Bucket, Rate};
use super::formats::Formats;
use super::id::{ConsumerId, ProducerId, TransportId};
use super::newcomer::Places;
use super::output::{Datagram, Happening, Sink};
use super::parameters::Kind;
use super::request::{Asker, Direction};

mod addresses;
mod path;
mod receiving;
mod sending;

use addresses::{Addresses, Route};
pub(super) use path::write_fingerprint;
pub(super) use sending::FIRST_ESTIMATE;

/// How often the library is asked for its latest estimate.
const STATS_INTERVAL: Duration = Duration::from_millis(500);

/// When to look at a transport again that has nothing to do by itself: it has not begun, or its client has not asked to
/// connect it.
const FAR: Duration = Duration::from_hours(1);

/// Binding requests of one transport that are answered. Browsers send twenty a second while they look for a path, over up to
/// 32 pairs of candidates, and one every few seconds later.
const CHECKS: Rate = Rate { per_second: 25.0, burst: 128.0 };

/// Encrypted datagrams a second of one transport, beside those of its producers: reports of what it receives, retransmission
/// requests, probes of bandwidth.
const REPORTS: f64 = 1000.0;

/// How often in a row one transport is let go on at the same time, before others have their turn.
const MAX_TURNS: usize = 64;

/// What is due so soon is done now. The library asks for a microsecond between two packets; on a busy machine there are many
/// milliseconds between two looks, and sound would leave nothing for pictures.
const GRAIN: Duration = Duration::from_millis(1);

/// What all transports are made with.
pub(super) struct Foundation {
    pub(super) crypto: Arc<CryptoProvider>,
    pub(super) certificate: str0m::config::DtlsCert,
    /// One for each family of addresses, as clients are told.
    pub(super) local: Vec<SocketAddr>,
}

/// A transport.
pub(super) struct Transport {
    pub(super) id: TransportId,
    pub(super) owner: Asker,
    pub(super) direction: Direction,
    pub(super) formats: Formats,
    pub(super) producers: Vec<ProducerId>,
    pub(super) consumers: Vec<ConsumerId>,
    /// Which streams are which layers of which producers, as far as they have been heard.
    pub(super) streams: HashMap<Ssrc, (ProducerId, usize)>,
    pub(super) addresses: Addresses,
    /// Binding requests that are still answered.
    pub(super) checks: Bucket,
    /// Encrypted datagrams that are still taken.
    inbound: Bucket,
    /// When it ends unless it has connected by then.
    pub(super) deadline: Option<Instant>,
    /// Whether it has ever been connected: DTLS has come to an end.
    pub(super) has_connected: bool,
    /// Those that it had when it last restarted ICE, until media is to go elsewhere.
    outdated: Vec<SocketAddr>,
    /// When it wants to be looked at again.
    pub(super) due: Instant,
    /// When its client was last told how much to send.
    pub(super) limited_at: Option<Instant>,
    /// When the estimate was last set to what is sent in any case.
    lifted_at: Option<Instant>,
    pub(super) is_connected: bool,
    pub(super) estimate: Estimate,
    /// Only one that sends to its client ever stops.
    is_estimating: bool,
    /// When there last was something to choose by bandwidth, or could have been.
    chose_at: Instant,
    pub(super) restraint: Restraint,
    /// None yet, or no more.
    rtc: Option<Box<Rtc>>,
    credentials: IceCreds,
    remote_ufrag: Option<String>,
    /// The client's certificate, and whether we begin the handshake.
    dtls: Option<(Fingerprint, bool)>,
    next_mid: u32,
    /// Streams that nobody described and that are the client's: what they sent was signed. With their media sections.
    heard: HashMap<u32, Option<Mid>>,
    /// How many there have been.
    heard_ever: usize,
    /// Streams that nobody described and that sent padding: of that is not known whether it was signed.
    padded: HashSet<u32>,
    /// Streams that their producers described.
    described: HashSet<u32>,
    /// Those of streams that were not described, until they are heard.
    places: Places,
    /// Streams of paused consumers: nothing of them leaves, padding included.
    withheld: HashSet<u32>,
    bitrates: (u64, u64),
}

impl Transport {
    pub(super) fn new(now: Instant, owner: Asker, direction: Direction, formats: Formats) -> Self {
        Self {
            id: TransportId::random(),
            owner,
            direction,
            formats,
            producers: Vec::new(),
            consumers: Vec::new(),
            streams: HashMap::new(),
            addresses: Addresses::default(),
            checks: Bucket::new(CHECKS, now),
            inbound: Bucket::new(Rate { per_second: REPORTS, burst: REPORTS }, now),
            deadline: None,
            has_connected: false,
            outdated: Vec::new(),
            due: now + FAR,
            limited_at: None,
            lifted_at: None,
            is_connected: false,
            estimate: Estimate::new(FIRST_ESTIMATE),
            is_estimating: true,
            chose_at: now,
            restraint: Restraint::new(),
            rtc: None,
            credentials: IceCreds::new(),
            remote_ufrag: None,
            dtls: None,
            next_mid: 0,
            heard: HashMap::new(),
            heard_ever: 0,
            padded: HashSet::new(),
            places: Places::default(),
            described: HashSet::new(),
            withheld: HashSet::new(),
            bitrates: (0, 0),
        }
    }

    /// Sets how many packets its producers may send in a second, all together.
    pub(super) fn expect_packets(&mut self, per_second: f64) {
        let per_second = REPORTS + per_second;
        self.inbound.set_rate(Rate { per_second, burst: per_second });
    }

    /// Whether its numbers are fixed, and its client is answered.
    pub(super) fn has_begun(&self) -> bool {
        self.rtc.is_some()
    }

    /// Fixes the numbers as they are in its formats, and goes on with what was told before.
    pub(super) fn begin(&mut self, now: Instant, foundation: &Foundation, sink: &mut Sink) {
        let mut config = Rtc::builder()
            .clear_codecs()
            .set_rtp_mode(true)
            .set_ice_lite(true)
            .set_local_ice_credentials(self.credentials.clone())
            .set_crypto_provider(Arc::clone(&foundation.crypto))
            .set_dtls_cert(foundation.certificate.clone())
            .set_extension_map(self.formats.extension_map());
        if self.direction == Direction::Receive {
            config = config.enable_bwe(Some(Bitrate::from(FIRST_ESTIMATE))).set_stats_interval(Some(STATS_INTERVAL));
        }
        self.formats.add_to(config.codec_config());
        self.rtc = Some(Box::new(config.build(now)));
        self.change(sink, |rtc| rtc.direct_api().set_ice_controlling(false));
        for address in &foundation.local {
            if let Ok(candidate) = Candidate::host(*address, Protocol::Udp) {
                self.change(sink, |rtc| _ = rtc.add_local_candidate(candidate));
            }
        }
        self.change(sink, |rtc| rtc.direct_api().enable_twcc_feedback());
        self.tick(now, sink);
        self.start_dtls(sink);
    }

    /// Changes the `Rtc`, and takes what comes of it. `None` where that was a defect, or there is none.
    fn change<T>(&mut self, sink: &mut Sink, change: impl FnOnce(&mut Rtc) -> T) -> Option<T> {
        self.contain(sink, |transport, rtc, sink| {
            let changed = change(rtc);
            transport.drain(rtc, sink);
            changed
        })
    }

    /// Works on the `Rtc`; where that is a defect, this transport alone ends.
    fn contain<T>(&mut self, sink: &mut Sink, work: impl FnOnce(&mut Self, &mut Rtc, &mut Sink) -> T) -> Option<T> {
        let mut rtc = self.rtc.take()?;
        let done = catch_unwind(AssertUnwindSafe(|| work(self, &mut rtc, sink)));
        sink.defects += u64::from(done.is_err());
        if done.is_err() || !rtc.is_alive() {
            self.die(sink);
        } else {
            self.rtc = Some(rtc);
        }
        done.ok()
    }

    fn die(&mut self, sink: &mut Sink) {
        self.rtc = None;
        sink.happenings.push_back((self.id, Happening::Dead));
    }

    fn drain(&mut self, rtc: &mut Rtc, sink: &mut Sink) {
        loop {
            let happening = match rtc.poll_output() {
                Ok(Output::Timeout(due)) => {
                    let is_waiting = !self.has_connected && !self.is_connecting();
                    self.due = if is_waiting { due + FAR } else { due };
                    return;
                }
                Ok(Output::Transmit(Transmit { destination, contents, .. })) => {
                    if !self.withholds(&contents) {
                        self.dispatch(destination, contents, sink);
                    }
                    None
                }
                Ok(Output::Event(event)) => self.read(rtc, event),
                // Such as another fingerprint than was announced.
                Err(_) => {
                    rtc.disconnect();
                    return;
                }
            };
            sink.happenings.extend(happening.map(|happening| (self.id, happening)));
        }
    }

    /// Sends a datagram to where its client is known to be.
    fn dispatch(&mut self, destination: SocketAddr, contents: DatagramSend, sink: &mut Sink) {
        // The answer to a binding request is no longer than the request, and its sender waits for it.
        if is_stun(&contents) {
            sink.datagrams.push(Datagram { to: destination, contents });
            return;
        }
        let Route { main, copy } = self.addresses.route(destination, contents.len());
        sink.unvalidated += u64::from(main.is_none() && copy.is_none());
        if let (Some(to), Some(_)) = (copy, main) {
            sink.datagrams.push(Datagram { to, contents: contents.to_vec().into() });
        }
        sink.datagrams.extend(main.or(copy).map(|to| Datagram { to, contents }));
    }

    fn read(&mut self, rtc: &Rtc, event: Event) -> Option<Happening> {
        match event {
            Event::Connected => {
                (self.is_connected, self.has_connected) = (true, true);
                Some(Happening::Connected)
            }
            Event::IceConnectionStateChange(IceConnectionState::Disconnected) => {
                let was_connected = std::mem::replace(&mut self.is_connected, false);
                was_connected.then_some(Happening::Lost)
            }
            Event::IceConnectionStateChange(IceConnectionState::Connected | IceConnectionState::Completed) => {
                let is_back = rtc.is_connected() && !self.is_connected;
                self.is_connected |= is_back;
                is_back.then_some(Happening::Back)
            }
            Event::EgressBitrateEstimate(BweKind::Twcc { estimate, .. }) => {
                self.estimate.average_is(estimate.as_u64());
                None
            }
            Event::PeerStats(PeerStats { bwe_tx: Some(latest), .. }) => {
                self.estimate.latest_is(latest.as_u64());
                None
            }
            Event::KeyframeRequest(request) => Some(Happening::KeyframeWanted(request.mid)),
            Event::RtpPacket(packet) => Some(Happening::Packet(packet)),
            // The client has ended DTLS.
            Event::Closed => Some(Happening::Dead),
            _ => None,
        }
    }

    /// Time passes. The library sends one packet each time: it goes on while there are more, as long as others can wait.
    pub(super) fn tick(&mut self, now: Instant, sink: &mut Sink) {
        let mut at = now;
        for _ in 0..MAX_TURNS {
            self.due = at + FAR;
            if self.change(sink, |rtc| rtc.handle_input(Input::Timeout(at)).is_ok()) == Some(false) {
                self.die(sink);
            }
            if self.due > now + GRAIN {
                return;
            }
            at = at.max(self.due);
        }
    }
}

fn media_kind(kind: Kind) -> MediaKind {
    match kind {
        Kind::Audio => MediaKind::Audio,
        Kind::Video => MediaKind::Video,
    }
}

/// Whether a datagram is STUN (RFC 7983, section 7).
fn is_stun(datagram: &[u8]) -> bool {
    matches!(datagram.first(), Some(0..=3))
}

/// The synchronization source of a datagram, if it is RTP: RFC 7983, section 7, and RFC 5761, section 4.
pub(super) fn stream_of(datagram: &[u8]) -> Option<u32> {
    let [128..=191, kind, ..] = datagram else { return None };
    if (192..=223).contains(kind) {
        return None;
    }
    let ssrc = datagram.get(8..12)?;
    ssrc.try_into().ok().map(u32::from_be_bytes)
}

/// Whether a datagram is nothing but one transport-wide feedback (draft-holmer-rmcat-transport-wide-cc-extensions-01,
/// section 3.1): how that of SRTCP begins is not encrypted, and says how long it is. Behind it are four bytes of index, and
/// sixteen (RFC 7714) or ten (RFC 3711) that sign it.
pub(super) fn is_feedback_alone(datagram: &[u8]) -> bool {
    let [0x8f | 0xaf, 205, high, low, ..] = datagram else { return false };
    let length = 4 * (usize::from(u16::from_be_bytes([*high, *low])) + 1);
    [20, 14].into_iter().any(|behind| datagram.len() == length + behind)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{ConnectionId, PeerId, RoomId};

    pub(super) fn member() -> Asker {
        let (room, peer) = (RoomId::new("room").unwrap(), PeerId::new("ann").unwrap());
        Asker { room, connection: ConnectionId::random(), peer }
    }

    #[test]
    fn a_defect_ends_a_transport_and_is_counted() {
        let crypto: Arc<CryptoProvider> = Arc::new(str0m::crypto::from_feature_flags());
        let certificate = crypto.dtls_provider.generate_certificate().unwrap();
        let foundation = Foundation { crypto, certificate, local: Vec::new() };
        let mut sink = Sink::default();
        let formats = Formats::of_router();
        let mut transport = Transport::new(Instant::now(), member(), Direction::Receive, formats);
        transport.begin(Instant::now(), &foundation, &mut sink);
        assert_eq!(transport.contain(&mut sink, |_, _, _| 7), Some(7));
        assert_eq!((sink.defects, sink.happenings.len()), (0, 0));
        let done: Option<()> = transport.contain(&mut sink, |_, _, _| panic!("a defect, as ordered"));
        assert_eq!((done, sink.defects), (None, 1));
        assert!(matches!(sink.happenings.pop_front(), Some((id, Happening::Dead)) if id == transport.id));
        assert!(transport.contain(&mut sink, |_, _, _| ()).is_none(), "there is nothing any more to work on");
        assert_eq!(sink.defects, 1);
    }

    #[test]
    fn feedback_is_told_from_what_has_more_in_it() {
        let of = |kind: [u8; 2], words: u8, length: usize| {
            let mut datagram = vec![kind[0], kind[1], 0, words];
            datagram.resize(length, 7);
            is_feedback_alone(&datagram)
        };
        assert!(of([0x8f, 205], 5, 24 + 20) && of([0xaf, 205], 5, 24 + 14));
        assert!(!of([0x8f, 205], 5, 24 + 20 + 12), "another report behind it");
        assert!(!of([0x81, 205], 5, 24 + 20), "lost packets");
        assert!(!of([0x8f, 206], 5, 24 + 20) && !of([0x81, 201], 7, 32 + 20));
        assert!(!is_feedback_alone(&[0x8f, 205, 0]) && !is_feedback_alone(&[]));
    }

    #[test]
    fn rtp_is_told_from_what_else_comes() {
        let rtp = [0x80, 96, 0, 1, 0, 0, 0, 0, 0, 0, 0, 7, 1];
        assert_eq!(stream_of(&rtp), Some(7));
        let report = [0x80, 200, 0, 1, 0, 0, 0, 0, 0, 0, 0, 7, 1];
        assert_eq!(stream_of(&report), None);
        assert_eq!(stream_of(&rtp[..11]), None);
        assert_eq!(stream_of(&[22, 254, 253]), None);
        assert_eq!(stream_of(&[]), None);
    }
}
