//! Simulated clients, network and time for tests of the SFU.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use parlor::id::{ConnectionId, PeerId, RoomId};
use parlor::sfu::parameters::{
    DtlsParameters, DtlsRole, Fingerprint, RtpCapabilities, RtpParameters, TrackKind,
};
use parlor::sfu::{
    self, ConsumerInfo, Direction, MediaRequest, MediaResponse, Notice, PollOutput, RoomMember,
    Sfu, SfuError, SfuSettings,
};
use serde_json::{Value, json};
use str0m::format::{Codec, FormatParams};
use str0m::media::{Frequency, KeyframeRequestKind, MediaKind, Mid};
use str0m::net::{Protocol, Receive};
use str0m::rtp::{Extension, ExtensionMap, ExtensionValues, RtpPacket, RtpWrite, Ssrc};
use str0m::{Candidate, Event, IceCreds, Input, Output, Rtc};

/// Default delay of a datagram.
const DELAY: Duration = Duration::from_millis(25);

pub(crate) fn server_address() -> SocketAddr {
    "192.0.2.1:4000".parse().unwrap()
}

/// The SFU, its clients, and the network between them.
pub(crate) struct World {
    pub(crate) sfu: Sfu,
    pub(crate) now: Instant,
    pub(crate) clients: Vec<Client>,
    pub(crate) notices: Vec<Notice>,
    /// Datagrams lost of every thousand, in each direction.
    pub(crate) loss: u32,
    /// Delay of datagrams, and its random addition, which reorders them.
    pub(crate) delay: Duration,
    pub(crate) jitter: Duration,
    /// Step of the simulated time.
    pub(crate) step: Duration,
    /// Bandwidth limit of one client, in bytes per second.
    pub(crate) bandwidth_limit: Option<(usize, usize)>,
    /// Whether to store the clients' datagrams in `recorded`.
    pub(crate) record: bool,
    pub(crate) recorded: Vec<Vec<u8>>,
    /// Traffic from the server to each address.
    pub(crate) sent_to: HashMap<SocketAddr, SentTo>,
    link_busy_until: Instant,
    random: u32,
    in_flight: VecDeque<(Instant, SocketAddr, SocketAddr, Vec<u8>)>,
}

/// Traffic from the server to one address.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct SentTo {
    pub(crate) bytes: usize,
    pub(crate) rtp: usize,
    /// Responses to binding requests.
    pub(crate) binding_responses: usize,
}

/// A client's end of one transport.
pub(crate) struct Client {
    pub(crate) member: RoomMember,
    pub(crate) id: String,
    /// The server's ICE credentials.
    pub(crate) ice: IceCreds,
    /// The address that the server sees, as behind a NAT.
    pub(crate) address: SocketAddr,
    local: SocketAddr,
    pub(crate) rtc: Rtc,
    pub(crate) is_connecting: bool,
    pub(crate) is_connected: bool,
    pub(crate) received: Vec<RtpPacket>,
    /// Number of received RTP datagrams.
    pub(crate) rtp_datagrams: usize,
    pub(crate) keyframe_requests: usize,
    due: Instant,
}

pub(crate) fn settings() -> SfuSettings {
    SfuSettings {
        announced: vec![server_address()],
        max_bitrate: 2_500_000,
        max_producers: 8,
        max_app_data: 4096,
        max_transports: 0,
        transports_per_second: 0,
        connect_timeout: Duration::from_secs(30),
    }
}

pub(crate) fn member(room: &str, name: &str) -> RoomMember {
    RoomMember {
        room: RoomId::new(room).unwrap(),
        connection: ConnectionId::random(),
        peer: PeerId::new(name).unwrap(),
    }
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(settings())
    }

    pub(crate) fn with(settings: SfuSettings) -> Self {
        let now = Instant::now();
        Self {
            sfu: Sfu::new(settings).unwrap(),
            now,
            clients: Vec::new(),
            notices: Vec::new(),
            loss: 0,
            delay: DELAY,
            jitter: Duration::ZERO,
            step: Duration::from_millis(1),
            bandwidth_limit: None,
            record: false,
            recorded: Vec::new(),
            sent_to: HashMap::new(),
            link_busy_until: now,
            random: 1,
            in_flight: VecDeque::new(),
        }
    }

    pub(crate) fn ask(
        &mut self,
        member: &RoomMember,
        request: MediaRequest,
    ) -> Result<MediaResponse, SfuError> {
        let answer = self.sfu.handle(self.now, member, request);
        self.flush();
        answer
    }

    /// Creates a transport with a client.
    pub(crate) fn transport(&mut self, member: &RoomMember, direction: Direction) -> usize {
        self.transport_of(member, direction, client_rtc(self.now))
    }

    /// Creates a transport with a client that uses the given `Rtc`.
    pub(crate) fn transport_of(
        &mut self,
        member: &RoomMember,
        direction: Direction,
        rtc: Rtc,
    ) -> usize {
        let created = self.create(member, direction);
        self.client_of(member, created, rtc)
    }

    /// Creates a transport without a client.
    pub(crate) fn create(&mut self, member: &RoomMember, direction: Direction) -> MediaResponse {
        self.ask(member, MediaRequest::CreateTransport { direction }).unwrap()
    }

    /// Adds a client for an existing transport.
    pub(crate) fn client_of(
        &mut self,
        member: &RoomMember,
        created: MediaResponse,
        mut rtc: Rtc,
    ) -> usize {
        let MediaResponse::TransportCreated { id, ice, candidates, dtls } = created else {
            panic!("{created:?}")
        };
        let address: SocketAddr =
            format!("198.51.100.7:{}", 10_000 + self.clients.len()).parse().unwrap();
        rtc.add_local_candidate(Candidate::host(address, "udp").unwrap());
        let server: SocketAddr =
            format!("{}:{}", candidates[0].ip, candidates[0].port).parse().unwrap();
        rtc.add_remote_candidate(Candidate::host(server, "udp").unwrap());
        let credentials = IceCreds { ufrag: ice.username_fragment, pass: ice.password };
        start(&mut rtc, credentials.clone(), &dtls.fingerprints[0].value);
        self.clients.push(Client {
            member: member.clone(),
            id: id.to_string(),
            ice: credentials,
            address,
            local: address,
            rtc,
            is_connecting: false,
            is_connected: false,
            received: Vec::new(),
            rtp_datagrams: 0,
            keyframe_requests: 0,
            due: self.now,
        });
        self.clients.len() - 1
    }

    pub(crate) fn connect(&mut self, client: usize) -> Result<MediaResponse, SfuError> {
        let own = &mut self.clients[client];
        own.is_connecting = true;
        let dtls = own.dtls();
        let (member, transport) = (own.member.clone(), own.id.clone());
        self.ask(&member, MediaRequest::ConnectTransport { transport, dtls })
    }

    /// Creates a transport with a client and connects it.
    pub(crate) fn connected(&mut self, member: &RoomMember, direction: Direction) -> usize {
        let client = self.transport(member, direction);
        self.connect(client).unwrap();
        self.until("connected", |world| world.clients[client].is_connected);
        client
    }

    /// Creates a producer, and declares its streams at the client.
    pub(crate) fn produce(
        &mut self,
        client: usize,
        kind: TrackKind,
        parameters: Value,
    ) -> Result<String, SfuError> {
        let own = &self.clients[client];
        let parameters: RtpParameters = serde_json::from_value(parameters).unwrap();
        let (member, transport) = (own.member.clone(), own.id.clone());
        let request = MediaRequest::Produce {
            transport,
            kind,
            parameters: Box::new(parameters.clone()),
            app_data: "{}".into(),
        };
        let MediaResponse::ProducerCreated(id) = self.ask(&member, request)? else { panic!() };
        let mid = Mid::from(parameters.mid.as_deref().unwrap());
        let mut api = self.clients[client].rtc.direct_api();
        api.declare_media(mid, media_kind(kind));
        for (index, encoding) in (0u32..).zip(&parameters.encodings) {
            let ssrc = encoding.ssrc.unwrap_or(7000 + index);
            let rtx = encoding
                .rtx
                .as_ref()
                .map(|rtx| rtx.ssrc)
                .or((kind == TrackKind::Video).then_some(ssrc + 100));
            let rid = encoding.rid.as_deref().map(Into::into);
            api.declare_stream_tx(ssrc.into(), rtx.map(Into::into), mid, rid);
        }
        Ok(id.to_string())
    }

    /// Creates a consumer, and expects its stream at the client.
    pub(crate) fn consume(
        &mut self,
        client: usize,
        producer: &str,
    ) -> Result<ConsumerInfo, SfuError> {
        let own = &self.clients[client];
        let (member, transport) = (own.member.clone(), own.id.clone());
        let capabilities = Box::new(sfu::capabilities());
        let request =
            MediaRequest::Consume { transport, producer: producer.to_owned(), capabilities };
        let MediaResponse::ConsumerCreated(consumer) = self.ask(&member, request)? else {
            panic!()
        };
        let encoding = &consumer.parameters.encodings[0];
        let mid = Mid::from(consumer.parameters.mid.as_deref().unwrap());
        let mut api = self.clients[client].rtc.direct_api();
        api.declare_media(mid, media_kind(consumer.producer.kind));
        let rtx = encoding.rtx.as_ref().map(|rtx| Ssrc::from(rtx.ssrc));
        api.expect_stream_rx(encoding.ssrc.unwrap().into(), rtx, mid, None);
        Ok(*consumer)
    }

    /// Sends a packet from a client.
    pub(crate) fn send(&mut self, client: usize, ssrc: u32, packet: OutgoingPacket) {
        self.send_late(client, ssrc, packet, Duration::ZERO);
    }

    /// Sends a packet from a client, `late` after it was captured.
    pub(crate) fn send_late(
        &mut self,
        client: usize,
        ssrc: u32,
        packet: OutgoingPacket,
        late: Duration,
    ) {
        let captured = self.now.checked_sub(late).unwrap();
        let own = &mut self.clients[client];
        let mut api = own.rtc.direct_api();
        let stream = api.stream_tx(&ssrc.into()).unwrap();
        let extensions = ExtensionValues {
            audio_level: packet.level,
            voice_activity: packet.level.map(|_| true),
            ..ExtensionValues::default()
        };
        stream.write_rtp(
            RtpWrite::new(
                packet.payload_type.into(),
                packet.number.into(),
                packet.timestamp,
                captured,
                packet.payload,
            )
            .marker(true)
            .nackable(true)
            .ext_vals(extensions),
        );
        own.due = self.now;
        self.process();
    }

    /// Sends a keyframe request from a client.
    pub(crate) fn request_keyframe(&mut self, client: usize, consumer: &ConsumerInfo) {
        let ssrc = Ssrc::from(consumer.parameters.encodings[0].ssrc.unwrap());
        let own = &mut self.clients[client];
        own.rtc.direct_api().stream_rx(&ssrc).unwrap().request_keyframe(KeyframeRequestKind::Pli);
        own.due = self.now;
        self.process();
    }

    /// Advances time.
    pub(crate) fn advance(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.now += self.step;
            self.process();
        }
    }

    /// Advances time until a condition holds, at most ten seconds.
    pub(crate) fn until(&mut self, what: &str, condition: impl Fn(&Self) -> bool) {
        for _ in 0..10_000 {
            if condition(self) {
                return;
            }
            self.advance(Duration::from_millis(1));
        }
        panic!("never: {what}");
    }

    fn process(&mut self) {
        while self.in_flight.front().is_some_and(|(at, ..)| *at <= self.now) {
            let Some((_, from, to, datagram)) = self.in_flight.pop_front() else { break };
            if to == server_address() {
                if self.record {
                    self.recorded.push(datagram.clone());
                }
                self.sfu.receive(self.now, from, &datagram);
            } else if let Some(client) = self.clients.iter_mut().find(|client| client.address == to)
            {
                client.rtp_datagrams += usize::from(is_rtp(&datagram));
                // str0m's output must be drained before its next input.
                client.take(self.now, from, &datagram);
                for (server, datagram) in client.drain() {
                    self.put(to, server, datagram);
                }
            }
        }
        for index in 0..self.clients.len() {
            let (now, client) = (self.now, &mut self.clients[index]);
            let from = client.address;
            if client.due <= now {
                client.rtc.handle_input(Input::Timeout(now)).ok();
            }
            for (to, datagram) in client.drain() {
                self.put(from, to, datagram);
            }
        }
        self.flush();
    }

    fn flush(&mut self) {
        let mut output = PollOutput { next: Some(self.now), ..PollOutput::default() };
        while output.next.is_some_and(|next| next <= self.now) {
            self.sfu.poll(self.now, &mut output);
            self.notices.append(&mut output.notices);
            for datagram in output.datagrams.drain(..) {
                let sent = self.sent_to.entry(datagram.to).or_default();
                sent.bytes += datagram.contents.len();
                sent.rtp += usize::from(is_rtp(&datagram.contents));
                sent.binding_responses += usize::from(datagram.contents.starts_with(&[1, 1]));
                self.put(server_address(), datagram.to, datagram.contents.to_vec());
            }
        }
    }

    /// Restarts ICE of a client's transport.
    pub(crate) fn restart_ice(&mut self, client: usize) {
        let (member, transport) =
            (self.clients[client].member.clone(), self.clients[client].id.clone());
        let restarted = self.ask(&member, MediaRequest::RestartIce { transport }).unwrap();
        let MediaResponse::IceRestarted(_, ice) = restarted else { panic!("{restarted:?}") };
        let own = &mut self.clients[client];
        own.ice = IceCreds { ufrag: ice.username_fragment, pass: ice.password };
        let mut api = own.rtc.direct_api();
        api.set_local_ice_credentials(IceCreds::new());
        api.set_remote_ice_credentials(own.ice.clone());
    }

    /// Delivers a forged datagram to the server.
    pub(crate) fn receive(&mut self, from: SocketAddr, datagram: &[u8]) {
        self.sfu.receive(self.now, from, datagram);
        self.flush();
    }

    pub(crate) fn put(&mut self, from: SocketAddr, to: SocketAddr, datagram: Vec<u8>) {
        // The generator of Numerical Recipes, so that every run loses the same datagrams.
        self.random = self.random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        if (self.random >> 8) % 1000 < self.loss {
            return;
        }
        let mut at = self.now + self.delay + self.jitter * ((self.random >> 16) % 16) / 16;
        if let (Some((client, rate)), true) = (self.bandwidth_limit, from == server_address())
            && self.clients[client].address == to
        {
            // A link with a queue of 300 ms.
            let start = self.link_busy_until.max(self.now);
            if start > self.now + Duration::from_millis(300) {
                return;
            }
            self.link_busy_until = start
                + Duration::from_micros(u64::try_from(datagram.len() * 1_000_000 / rate).unwrap());
            at = self.link_busy_until + self.delay;
        }
        let index = self.in_flight.partition_point(|(other, ..)| *other <= at);
        self.in_flight.insert(index, (at, from, to, datagram));
    }
}

impl Client {
    /// Returns the client's DTLS parameters.
    pub(crate) fn dtls(&mut self) -> DtlsParameters {
        let value = self.rtc.direct_api().local_dtls_fingerprint().to_string();
        let value = value.rsplit(' ').next().unwrap().to_owned();
        let fingerprints = vec![Fingerprint { algorithm: "sha-256".to_owned(), value }];
        DtlsParameters { role: DtlsRole::Client, fingerprints }
    }

    /// Declares a stream that is identified by its RID, with RTX.
    pub(crate) fn declare_stream(&mut self, mid: &str, ssrc: u32, rid: &str) {
        self.rtc.direct_api().declare_stream_tx(
            ssrc.into(),
            Some((ssrc + 100).into()),
            mid.into(),
            Some(rid.into()),
        );
    }

    fn take(&mut self, now: Instant, from: SocketAddr, datagram: &[u8]) {
        let Ok(contents) = datagram.try_into() else { return };
        let receive =
            Receive { proto: Protocol::Udp, source: from, destination: self.local, contents };
        self.rtc.handle_input(Input::Receive(now, receive)).ok();
        self.due = now;
    }

    fn drain(&mut self) -> Vec<(SocketAddr, Vec<u8>)> {
        let mut datagrams = Vec::new();
        loop {
            match self.rtc.poll_output() {
                Ok(Output::Timeout(due)) => {
                    self.due = due;
                    return datagrams;
                }
                Ok(Output::Transmit(transmit)) => {
                    datagrams.push((transmit.destination, transmit.contents.to_vec()));
                }
                Ok(Output::Event(Event::Connected)) => self.is_connected = true,
                Ok(Output::Event(Event::RtpPacket(packet))) => self.received.push(packet),
                Ok(Output::Event(Event::KeyframeRequest(_))) => self.keyframe_requests += 1,
                Ok(Output::Event(_)) => {}
                Err(_) => return datagrams,
            }
        }
    }
}

/// Starts ICE and DTLS with a server.
fn start(rtc: &mut Rtc, credentials: IceCreds, fingerprint: &str) {
    let mut api = rtc.direct_api();
    api.set_ice_controlling(true);
    api.set_remote_ice_credentials(credentials);
    api.set_remote_fingerprint(format!("sha-256 {fingerprint}").parse().unwrap());
    api.start_dtls(true).unwrap();
    api.enable_twcc_feedback();
}

/// A packet that a client sends.
#[derive(Debug, Clone)]
pub(crate) struct OutgoingPacket {
    pub(crate) payload_type: u8,
    pub(crate) number: u64,
    pub(crate) timestamp: u32,
    pub(crate) payload: Vec<u8>,
    pub(crate) level: Option<i8>,
}

/// Returns a VP8 packet that holds a whole frame.
pub(crate) fn video_packet(number: u64, picture: u16, is_key: bool, size: usize) -> OutgoingPacket {
    let [high, low] = picture.to_be_bytes();
    let mut payload = vec![0x90, 0x80, high | 0x80, low, u8::from(!is_key)];
    payload.resize(size.max(8), 0x55);
    let timestamp = u32::from(picture) * 3000;
    OutgoingPacket { payload_type: 101, number, timestamp, payload, level: None }
}

pub(crate) fn audio_packet(number: u64, level: i8) -> OutgoingPacket {
    let timestamp = u32::try_from(number).unwrap() * 960;
    OutgoingPacket {
        payload_type: 100,
        number,
        timestamp,
        payload: vec![1; 80],
        level: Some(level),
    }
}

pub(crate) fn is_rtp(datagram: &[u8]) -> bool {
    matches!(datagram, [128..=191, kind, ..] if !(192..=223).contains(kind))
}

fn media_kind(kind: TrackKind) -> MediaKind {
    match kind {
        TrackKind::Audio => MediaKind::Audio,
        TrackKind::Video => MediaKind::Video,
    }
}

/// The numbers with which a client sends.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Numbers {
    pub(crate) opus: u8,
    pub(crate) vp8: u8,
    pub(crate) rtx: u8,
    /// MID, RID, repaired RID, absolute send time, transport-wide sequence number, audio level,
    /// orientation.
    pub(crate) extensions: [u8; 7],
}

/// The router's numbers.
pub(crate) const OF_ROUTER: Numbers =
    Numbers { opus: 100, vp8: 101, rtx: 102, extensions: [1, 2, 3, 4, 5, 10, 11] };

/// Returns the `Rtc` of a client with Opus and VP8, and the router's numbers.
pub(crate) fn client_rtc(now: Instant) -> Rtc {
    rtc_with(now, &[OF_ROUTER])
}

/// Returns the `Rtc` of a client that sends with any of these numbers. It sends extensions under
/// all of their ids.
pub(crate) fn rtc_with(now: Instant, numbers: &[Numbers]) -> Rtc {
    let mut config = Rtc::builder().clear_codecs().set_rtp_mode(true);
    let mut extensions = ExtensionMap::empty();
    for Numbers { opus, vp8, rtx, extensions: ids } in numbers {
        let codecs = config.codec_config();
        let (audio, video) = (Frequency::FORTY_EIGHT_KHZ, Frequency::NINETY_KHZ);
        codecs.add_config(
            (*opus).into(),
            None,
            Codec::Opus,
            audio,
            Some(2),
            FormatParams::default(),
        );
        codecs.add_config(
            (*vp8).into(),
            Some((*rtx).into()),
            Codec::Vp8,
            video,
            None,
            FormatParams::default(),
        );
        let all = [
            Extension::RtpMid,
            Extension::RtpStreamId,
            Extension::RepairedRtpStreamId,
            Extension::AbsoluteSendTime,
            Extension::TransportSequenceNumber,
            Extension::AudioLevel,
            Extension::VideoOrientation,
        ];
        for (id, extension) in ids.iter().zip(all) {
            extensions.set(*id, extension);
        }
    }
    config.set_extension_map(extensions).build(now)
}

pub(crate) const MID: &str = "urn:ietf:params:rtp-hdrext:sdes:mid";
pub(crate) const RID: &str = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id";
pub(crate) const REPAIRED_RID: &str = "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id";
pub(crate) const TRANSPORT_CC: &str =
    "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";
pub(crate) const LEVEL: &str = "urn:ietf:params:rtp-hdrext:ssrc-audio-level";
pub(crate) const ORIENTATION: &str = "urn:3gpp:video-orientation";

/// Returns the `headerExtensions` of RTP parameters.
pub(crate) fn extensions(declared: &[(&str, u8)]) -> Value {
    declared.iter().map(|(uri, id)| json!({ "uri": uri, "id": id })).collect()
}

/// RTP parameters of an audio track.
pub(crate) fn audio() -> Value {
    audio_with(OF_ROUTER)
}

/// RTP parameters of an audio track with other numbers.
pub(crate) fn audio_with(
    Numbers { opus, extensions: [mid, .., cc, level, _], .. }: Numbers,
) -> Value {
    json!({
        "mid": "a", "encodings": [{ "ssrc": 5000 }],
        "headerExtensions": extensions(&[(MID, mid), (TRANSPORT_CC, cc), (LEVEL, level)]),
        "codecs": [{ "mimeType": "audio/opus", "payloadType": opus, "clockRate": 48000, "channels": 2 }],
    })
}

/// RTP parameters of a video track with one stream.
pub(crate) fn video() -> Value {
    video_with(OF_ROUTER, json!([{ "ssrc": 6000, "rtx": { "ssrc": 6100 } }]))
}

/// RTP parameters of a simulcast track with three layers.
pub(crate) fn simulcast() -> Value {
    video_with(OF_ROUTER, json!([{ "rid": "r0" }, { "rid": "r1" }, { "rid": "r2" }]))
}

/// RTP parameters of a video track with other numbers.
pub(crate) fn video_with(numbers: Numbers, encodings: Value) -> Value {
    let Numbers { vp8, rtx, extensions: [mid, rid, repaired, _, cc, _, orientation], .. } = numbers;
    let declared = [
        (MID, mid),
        (RID, rid),
        (REPAIRED_RID, repaired),
        (TRANSPORT_CC, cc),
        (ORIENTATION, orientation),
    ];
    let mut parameters = json!({
        "mid": "v", "rtcp": { "cname": "x\r\na=sendonly" },
        "headerExtensions": extensions(&declared),
        "codecs": [
            { "mimeType": "video/VP8", "payloadType": vp8, "clockRate": 90000 },
            { "mimeType": "video/rtx", "payloadType": rtx, "clockRate": 90000, "parameters": { "apt": vp8 } },
        ],
    });
    parameters["encodings"] = encodings;
    parameters
}

/// Empty RTP capabilities.
pub(crate) fn no_capabilities() -> RtpCapabilities {
    RtpCapabilities::default()
}
