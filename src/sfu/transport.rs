//! One connection of media: ICE, DTLS and SRTP to one client, in one direction.
//!
//! ICE is "lite" (RFC 8445, section 2.5): the client checks connectivity, and we answer. The client's own ufrag is never
//! told to us; it is taken from a binding request, once that has proved that it knows our password.
//!
//! The numbers of payload types and header extensions are fixed when an `Rtc` is made, and which ones a client sends with is
//! certain once it describes its first track. So a sending transport has none before its first producer: what it was told
//! until then is kept, and nobody is answered. ICE asks again, and DTLS comes after it.
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
use str0m::ice::StunMessage;
use str0m::media::{KeyframeRequestKind, MediaKind, Mid, Rid};
use str0m::net::{Protocol, Receive};
use str0m::rtp::{RtpWrite, Ssrc};
use str0m::stats::PeerStats;
use str0m::{Candidate, Event, IceConnectionState, IceCreds, Input, Output, Rtc};

use super::bandwidth::{Estimate, Restraint};
use super::consumer::Streams;
use super::id::{ConsumerId, ProducerId, TransportId};
use super::newcomer::{Place, Places};
use super::output::{Datagram, Happening, Sink};
use super::parameters::{DtlsParameters, DtlsRole, IceParameters, Kind};
use super::producer::{Description, Layer};
use super::request::{Asker, Direction, Problem};
use super::router::Formats;

/// The bandwidth that a client is taken to have until it is known, in bits a second.
pub(super) const FIRST_ESTIMATE: u64 = 800_000;

/// How long an estimate is left to itself.
const LIFT_INTERVAL: Duration = Duration::from_secs(1);

/// How often the library is asked for its latest estimate.
const STATS_INTERVAL: Duration = Duration::from_millis(500);

/// The most addresses that a client may come from before it restarts ICE.
const MAX_ADDRESSES: usize = 32;

/// The most streams of a client's, over a transport's life, beside those that were described: the library keeps a little
/// of each that is signed for ever. A camera that is switched on is six new ones.
const MAX_STREAMS: usize = 16_384;

/// How often a transport is looked at that has not begun: it never begins by itself.
const UNTIL_BEGUN: Duration = Duration::from_hours(1);

/// How often in a row one transport is let go on at the same time, before others have their turn.
const MAX_TURNS: usize = 64;

/// What is due so soon is done now. The library asks for a microsecond between two packets; on a busy machine there are many
/// milliseconds between two looks, and sound would leave nothing for pictures.
const GRAIN: Duration = Duration::from_millis(1);

/// The most packets that wait for one stream to be sent.
const MAX_QUEUED: usize = 512;

/// For how long packets of one stream are kept to be sent again, and how many.
const RESENDABLE: (usize, Duration) = (1024, Duration::from_secs(3));

/// How much of what a stream sends may be sent again. By itself the library gives up at 15 %, which a keyframe that did not
/// fit through a narrow line exceeds; its picture would stand still until the client gives up too.
const RESENT: f32 = 0.5;

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
    /// Addresses that proved to be the client's, the latest last.
    pub(super) addresses: Vec<SocketAddr>,
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
    pub(super) fn new(
        now: Instant,
        owner: Asker,
        direction: Direction,
        formats: Formats,
        foundation: &Foundation,
        sink: &mut Sink,
    ) -> Self {
        let mut transport = Self {
            id: TransportId::random(),
            owner,
            direction,
            formats,
            producers: Vec::new(),
            consumers: Vec::new(),
            streams: HashMap::new(),
            addresses: Vec::new(),
            outdated: Vec::new(),
            due: now + UNTIL_BEGUN,
            limited_at: None,
            lifted_at: None,
            is_connected: false,
            estimate: Estimate::new(FIRST_ESTIMATE),
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
        };
        if direction == Direction::Receive {
            transport.begin(now, foundation, sink);
        }
        transport
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
                    self.due = due;
                    return;
                }
                Ok(Output::Transmit(transmit)) => {
                    if !self.withholds(&transmit.contents) {
                        sink.datagrams.push(Datagram { to: transmit.destination, contents: transmit.contents });
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

    fn read(&mut self, rtc: &Rtc, event: Event) -> Option<Happening> {
        match event {
            Event::Connected => {
                self.is_connected = true;
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

    /// Whether a datagram is RTP of a stream that is withheld.
    fn withholds(&self, datagram: &[u8]) -> bool {
        !self.withheld.is_empty() && stream_of(datagram).is_some_and(|ssrc| self.withheld.contains(&ssrc))
    }

    /// Time passes. The library sends one packet each time: it goes on while there are more, as long as others can wait.
    pub(super) fn tick(&mut self, now: Instant, sink: &mut Sink) {
        let mut at = now;
        for _ in 0..MAX_TURNS {
            self.due = at + UNTIL_BEGUN;
            if self.change(sink, |rtc| rtc.handle_input(Input::Timeout(at)).is_ok()) == Some(false) {
                self.die(sink);
            }
            if self.due > now + GRAIN {
                return;
            }
            at = at.max(self.due);
        }
    }

    /// Whether a binding request proves that its sender was told this transport's password.
    pub(super) fn verifies(&self, request: &StunMessage<'_>, crypto: &CryptoProvider) -> bool {
        request.verify(self.credentials.pass.as_bytes(), |key, parts| crypto.sha1_hmac_provider.sha1_hmac(key, parts))
    }

    /// Takes the ufrag of a binding request that was verified.
    pub(super) fn accept_ufrag(&mut self, ufrag: &str, sink: &mut Sink) {
        if self.remote_ufrag.as_deref() == Some(ufrag) {
            return;
        }
        self.remote_ufrag = Some(ufrag.to_owned());
        // A lite agent makes no requests: it has no use for the client's password.
        let credentials = IceCreds { ufrag: ufrag.to_owned(), pass: String::new() };
        self.change(sink, |rtc| rtc.direct_api().set_remote_ice_credentials(credentials));
    }

    /// Notes an address of the client's; `false` where there were too many.
    pub(super) fn accept_address(&mut self, from: SocketAddr) -> bool {
        let is_known = self.addresses.contains(&from);
        if !is_known && self.addresses.len() < MAX_ADDRESSES {
            self.addresses.push(from);
            return true;
        }
        is_known
    }

    /// Takes a datagram of the client's; `false` where nothing is made of it.
    pub(super) fn receive(
        &mut self,
        now: Instant,
        from: SocketAddr,
        to: SocketAddr,
        datagram: &[u8],
        sink: &mut Sink,
    ) -> bool {
        let new = stream_of(datagram).filter(|ssrc| !self.described.contains(ssrc) && !self.heard.contains_key(ssrc));
        let place = new.and_then(|_| self.places.claimed(datagram, &self.formats));
        if new.is_some_and(|ssrc| !self.may_listen(ssrc, place, datagram)) {
            return false;
        }
        let before = sink.happenings.len();
        let Ok(contents) = datagram.try_into() else { return false };
        let receive = Receive { proto: Protocol::Udp, source: from, destination: to, contents };
        // What cannot be read is lost, as on the way.
        self.change(sink, |rtc| _ = rtc.handle_input(Input::Receive(now, receive)));
        if let Some(ssrc) = new {
            let is_signed = |(_, happening): &(_, Happening)| matches!(happening, Happening::Packet(_));
            if sink.happenings.range(before..).any(is_signed) {
                self.heard.insert(ssrc, place.map(|place| place.mid));
                self.heard_ever += 1;
                if let Some(place) = place {
                    self.places.close(place);
                }
            } else if place.is_some() {
                // The library has taken it for the stream of that name.
                self.change(sink, |rtc| rtc.direct_api().remove_stream_rx(ssrc.into()));
            }
        }
        true
    }

    /// Whether it still listens to as many streams as a description leaves open.
    pub(super) fn has_room_for(&self, description: &Description) -> bool {
        let open = description.layers.iter().filter(|layer| layer.ssrc.is_none()).count();
        // Each may have another that repairs it.
        open == 0 || self.heard_ever + 2 * open <= MAX_STREAMS
    }

    /// Whether to listen to a stream that was neither described nor heard. Anybody can say that it is the client's: only
    /// what is signed counts, and padding as long as it is little.
    fn may_listen(&mut self, ssrc: u32, place: Option<Place>, datagram: &[u8]) -> bool {
        // Where none is open there are no others, but for what the client finds out its bandwidth with.
        if ssrc != 0 && place.is_none() || self.heard_ever >= MAX_STREAMS {
            return false;
        }
        let has_padding = datagram.first().is_some_and(|first| first & 0x20 != 0);
        if has_padding && self.padded.len() < MAX_STREAMS {
            self.padded.insert(ssrc);
        }
        !has_padding || self.padded.contains(&ssrc)
    }

    pub(super) fn ice(&self) -> IceParameters {
        IceParameters {
            username_fragment: self.credentials.ufrag.clone(),
            password: self.credentials.pass.clone(),
            ice_lite: true,
        }
    }

    /// Starts DTLS, or remembers how to.
    pub(super) fn connect(&mut self, dtls: &DtlsParameters, sink: &mut Sink) -> Result<(), Problem> {
        if self.dtls.is_some() {
            return Err(Problem::ConnectedAlready);
        }
        let sha256 = dtls.fingerprints.iter().find(|one| one.algorithm.eq_ignore_ascii_case("sha-256"));
        let bytes = parse_fingerprint(&sha256.ok_or(Problem::NoSha256)?.value).ok_or(Problem::BadFingerprint)?;
        let fingerprint = Fingerprint { hash_func: "sha-256".to_owned(), bytes };
        // Where the client leaves it open, it begins.
        self.dtls = Some((fingerprint, dtls.role == DtlsRole::Server));
        if !self.has_begun() || self.start_dtls(sink) { Ok(()) } else { Err(Problem::Internal) }
    }

    fn start_dtls(&mut self, sink: &mut Sink) -> bool {
        let Some((fingerprint, is_active)) = self.dtls.clone() else { return false };
        self.change(sink, |rtc| rtc.direct_api().set_remote_fingerprint(fingerprint));
        self.change(sink, |rtc| rtc.direct_api().start_dtls(is_active).is_ok()) == Some(true)
    }

    /// Takes new ICE credentials, and returns the old ufrag.
    pub(super) fn restart_ice(&mut self, sink: &mut Sink) -> String {
        let fresh = IceCreds::new();
        let old = std::mem::replace(&mut self.credentials, fresh.clone());
        self.outdated.clone_from(&self.addresses);
        self.change(sink, |rtc| rtc.direct_api().set_local_ice_credentials(fresh));
        old.ufrag
    }

    /// The client says that it wants media at an address. If it has that since it restarted ICE, nothing more is to be sent to
    /// where it was before: the library would keep to that path for as long as it works. The new one it finds in the request
    /// that says so, which must be given to it next.
    pub(super) fn leave_old_paths(&mut self, from: SocketAddr) {
        let Some(rtc) = self.rtc.as_mut().filter(|_| !self.outdated.contains(&from)) else { return };
        for old in std::mem::take(&mut self.outdated) {
            let text = format!("candidate:0 1 udp 1 {} {} typ prflx", old.ip(), old.port());
            if let Ok(candidate) = Candidate::from_sdp_string(&text) {
                rtc.direct_api().invalidate_candidate(&candidate);
            }
        }
    }

    /// Expects a producer's streams.
    pub(super) fn expect(&mut self, description: &Description, sink: &mut Sink) {
        let kind = media_kind(description.codec.kind());
        let mid = description.mid;
        self.described.extend(description.layers.iter().flat_map(Layer::ssrcs));
        self.places.open(description);
        self.change(sink, |rtc| {
            let mut api = rtc.direct_api();
            let media = api.declare_media(mid, kind);
            for rid in description.layers.iter().filter_map(|layer| layer.rid) {
                media.expect_rid_rx(rid);
            }
            for layer in &description.layers {
                if let Some(ssrc) = layer.ssrc {
                    // What is not retransmitted is not to be asked for.
                    let stream = api.expect_stream_rx(ssrc.into(), layer.rtx.map(Into::into), mid, layer.rid);
                    stream.suppress_nack(layer.rtx.is_none());
                }
            }
        });
    }

    /// Forgets a producer's streams.
    pub(super) fn unexpect(&mut self, description: &Description, sink: &mut Sink) {
        for ssrc in description.layers.iter().flat_map(Layer::ssrcs) {
            self.described.remove(&ssrc);
        }
        self.places.forget(description.mid);
        // It may be used again, and is to take its place then.
        self.heard.retain(|_, mid| *mid != Some(description.mid));
        self.remove(description.mid, sink);
    }

    /// The media section and rid of a stream that packets come on.
    pub(super) fn identify(&mut self, ssrc: Ssrc, sink: &mut Sink) -> Option<(Mid, Option<Rid>)> {
        self.change(sink, |rtc| rtc.direct_api().stream_rx(&ssrc).map(|stream| (stream.mid(), stream.rid())))?
    }

    /// Makes the streams of a consumer, withheld.
    pub(super) fn declare(&mut self, kind: Kind, has_rtx: bool, sink: &mut Sink) -> Option<Streams> {
        let mid = Mid::from(self.next_mid.to_string().as_str());
        self.next_mid += 1;
        let (ssrc, rtx) = self.change(sink, |rtc| {
            let mut api = rtc.direct_api();
            let ssrc = api.new_ssrc();
            let rtx = has_rtx.then(|| {
                let other = api.new_ssrc();
                if other == ssrc { Ssrc::from(other.wrapping_add(1)) } else { other }
            });
            api.declare_media(mid, media_kind(kind));
            let stream = api.declare_stream_tx(ssrc, rtx, mid, None);
            stream.set_rtx_cache(RESENDABLE.0, RESENDABLE.1, Some(RESENT));
            (ssrc, rtx)
        })?;
        let streams = Streams { mid, ssrc, rtx };
        self.withhold(streams, true);
        Some(streams)
    }

    pub(super) fn withhold(&mut self, streams: Streams, is_withheld: bool) {
        for ssrc in [Some(streams.ssrc), streams.rtx].into_iter().flatten() {
            if is_withheld {
                self.withheld.insert(*ssrc);
            } else {
                self.withheld.remove(&*ssrc);
            }
        }
    }

    /// Forgets a media section and its streams.
    pub(super) fn remove(&mut self, mid: Mid, sink: &mut Sink) {
        self.change(sink, |rtc| rtc.direct_api().remove_media(mid));
    }

    /// Sends a packet as soon as time passes; `false` where it is lost, since too many wait or there is no way.
    pub(super) fn send(&mut self, now: Instant, ssrc: Ssrc, write: RtpWrite, sink: &mut Sink) -> bool {
        if !self.is_connected {
            return false;
        }
        self.due = self.due.min(now);
        let sent = self.contain(sink, |_, rtc, _| {
            let mut api = rtc.direct_api();
            let Some(stream) = api.stream_tx(&ssrc) else { return false };
            if stream.queue_info().is_some_and(|queue| queue.packet_count() > MAX_QUEUED) {
                return false;
            }
            stream.write_rtp(write);
            true
        });
        sent == Some(true)
    }

    /// Asks the client for a keyframe of one of its streams.
    pub(super) fn ask_for_keyframe(&mut self, mid: Mid, layer: (Option<u32>, Option<Rid>), sink: &mut Sink) {
        self.on_stream(mid, layer, sink, |stream| stream.request_keyframe(KeyframeRequestKind::Pli));
    }

    /// Tells the client how much it may send, in bits a second, all of it together: REMB counts for the transport,
    /// whatever stream it comes on.
    pub(super) fn limit(&mut self, bits: u64, mid: Mid, layer: (Option<u32>, Option<Rid>), sink: &mut Sink) {
        self.on_stream(mid, layer, sink, |stream| stream.request_remb(Bitrate::from(bits)));
    }

    fn on_stream(
        &mut self,
        mid: Mid,
        (ssrc, rid): (Option<u32>, Option<Rid>),
        sink: &mut Sink,
        work: impl FnOnce(&mut str0m::rtp::StreamRx),
    ) {
        self.change(sink, |rtc| {
            let mut api = rtc.direct_api();
            let stream = match ssrc {
                Some(ssrc) => api.stream_rx(&ssrc.into()),
                None => api.stream_rx_by_mid(mid, rid),
            };
            if let Some(stream) = stream {
                work(stream);
            }
        });
    }

    /// Lets the library send what is sent in any case, in bits a second. It sends no faster than it estimates, sound first:
    /// below that, pictures would wait for ever, and what is not sent never shows that it could be.
    pub(super) fn lift(&mut self, now: Instant, least: u64, sink: &mut Sink) {
        let is_early = self.lifted_at.is_some_and(|last| now.saturating_duration_since(last) < LIFT_INTERVAL);
        if self.estimate.bits() >= least || is_early || !self.is_connected {
            return;
        }
        self.lifted_at = Some(now);
        let estimate = least / 4 * 5;
        self.estimate = Estimate::new(estimate);
        let (next, desired) = self.bitrates;
        self.change(sink, |rtc| {
            rtc.bwe().reset(Bitrate::from(estimate));
            rtc.bwe().set_bitrate(Bitrate::from(next), Bitrate::from(desired));
        });
    }

    /// Says how much is to be sent, in bits a second: up to `next` with padding, to find out whether it is to be had, and
    /// `desired` at the most. What is desired must not be little: all is sent as slowly while that is looked for.
    pub(super) fn aim(&mut self, next: u64, desired: u64, sink: &mut Sink) {
        let is_near = |old: u64, new: u64| old.abs_diff(new) <= old / 10;
        if is_near(self.bitrates.0, next) && is_near(self.bitrates.1, desired) {
            return;
        }
        // What is padded while nothing may leave is lost, and makes the estimate worthless.
        let was_silent = std::mem::replace(&mut self.bitrates, (next, desired)).1 == 0;
        if was_silent && self.estimate.bits() < FIRST_ESTIMATE {
            self.estimate = Estimate::new(FIRST_ESTIMATE);
            self.change(sink, |rtc| rtc.bwe().reset(Bitrate::from(FIRST_ESTIMATE)));
        }
        self.change(sink, |rtc| rtc.bwe().set_bitrate(Bitrate::from(next), Bitrate::from(desired)));
    }
}

fn media_kind(kind: Kind) -> MediaKind {
    match kind {
        Kind::Audio => MediaKind::Audio,
        Kind::Video => MediaKind::Video,
    }
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

/// 32 pairs of hexadecimal digits with colons between them.
fn parse_fingerprint(text: &str) -> Option<Vec<u8>> {
    let is_pair = |pair: &&str| pair.len() == 2 && pair.bytes().all(|byte| byte.is_ascii_hexdigit());
    let bytes: Option<Vec<u8>> = text
        .split(':')
        .map(|pair| Some(pair).filter(is_pair).and_then(|pair| u8::from_str_radix(pair, 16).ok()))
        .collect();
    bytes.filter(|bytes| bytes.len() == 32)
}

/// A fingerprint as it is written in [`DtlsParameters`].
pub(super) fn write_fingerprint(bytes: &[u8]) -> String {
    let pairs: Vec<String> = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
    pairs.join(":")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::request::{Answer, Concern, Request};
    use super::super::router::capabilities;
    use super::super::switch::{Settings, Sfu};
    use super::*;
    use crate::id::{ConnectionId, PeerId, RoomId};

    fn member() -> Asker {
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
        let mut transport =
            Transport::new(Instant::now(), member(), Direction::Receive, formats, &foundation, &mut sink);
        assert_eq!(transport.contain(&mut sink, |_, _, _| 7), Some(7));
        assert_eq!((sink.defects, sink.happenings.len()), (0, 0));
        let done: Option<()> = transport.contain(&mut sink, |_, _, _| panic!("a defect, as ordered"));
        assert_eq!((done, sink.defects), (None, 1));
        assert!(matches!(sink.happenings.pop_front(), Some((id, Happening::Dead)) if id == transport.id));
        assert!(transport.contain(&mut sink, |_, _, _| ()).is_none(), "there is nothing any more to work on");
        assert_eq!(sink.defects, 1);
    }

    #[test]
    fn a_transport_that_has_had_too_many_streams_takes_only_those_that_are_described() {
        let settings = Settings { announced: Vec::new(), max_bitrate: 1, max_producers: 9, max_app_data: 9 };
        let mut sfu = Sfu::new(settings).unwrap();
        let (now, asker) = (Instant::now(), member());
        let request = Request::CreateTransport { direction: Direction::Send, capabilities: Some(capabilities()) };
        let Ok(Answer::TransportCreated { id, .. }) = sfu.handle(now, &asker, request) else { panic!() };
        let mut produce = |heard: usize, mid: &str, encodings: serde_json::Value| {
            sfu.transports.get_mut(&id).unwrap().heard_ever = heard;
            let codec = json!({ "mimeType": "video/VP8", "payloadType": 101, "clockRate": 90000 });
            let parameters = json!({ "mid": mid, "codecs": [codec], "encodings": encodings });
            let parameters = serde_json::from_value(parameters).unwrap();
            let transport = id.to_string();
            let request = Request::Produce { transport, kind: Kind::Video, parameters, app_data: "{}".into() };
            sfu.handle(now, &asker, request).map(|_| ())
        };
        let layers = json!([{ "rid": "a" }, { "rid": "b" }, { "rid": "c" }]);
        assert_eq!(produce(MAX_STREAMS - 6, "0", layers.clone()), Ok(()));
        assert_eq!(produce(MAX_STREAMS - 5, "1", layers), Err(Problem::Worn.of(Concern::Produce)));
        assert_eq!(produce(MAX_STREAMS, "2", json!([{ "ssrc": 1 }])), Ok(()));
    }

    #[test]
    fn fingerprints_are_read_strictly() {
        let good = ["0A"; 32].join(":");
        assert_eq!(parse_fingerprint(&good), Some(vec![10; 32]));
        assert_eq!(write_fingerprint(&[10; 32]), good);
        for bad in
            ["", "0A", &good[..93], &format!("{good}:0A"), &good.replacen("0A", "+A", 1), &good.replacen("0A", "é", 1)]
        {
            assert_eq!(parse_fingerprint(bad), None, "{bad}");
        }
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
