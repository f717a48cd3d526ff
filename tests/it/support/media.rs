//! Clients of the media server in memory, a network between them that loses and delays, and no time but the test's.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use parlor::id::{ConnectionId, PeerId, RoomId};
use parlor::sfu::parameters::{DtlsParameters, DtlsRole, Fingerprint, Kind, RtpCapabilities, RtpParameters};
use parlor::sfu::{self, Answer, Asker, Consuming, Direction, Notice, Outputs, Request, Settings, Sfu, SfuError};
use serde_json::{Value, json};
use str0m::format::{Codec, FormatParams};
use str0m::media::{Frequency, KeyframeRequestKind, MediaKind, Mid};
use str0m::net::{Protocol, Receive};
use str0m::rtp::{Extension, ExtensionMap, ExtensionValues, RtpPacket, RtpWrite, Ssrc};
use str0m::{Candidate, Event, IceCreds, Input, Output, Rtc};

/// How long a datagram is on its way, unless a test says otherwise.
const DELAY: Duration = Duration::from_millis(25);

pub(crate) fn server_address() -> SocketAddr {
    "192.0.2.1:4000".parse().unwrap()
}

/// The media server, its clients, and what is between them.
pub(crate) struct World {
    pub(crate) sfu: Sfu,
    pub(crate) now: Instant,
    pub(crate) clients: Vec<Client>,
    pub(crate) notices: Vec<Notice>,
    /// Of a thousand datagrams so many are lost, each way.
    pub(crate) loss: u32,
    /// How long a datagram is on its way, and how much longer by chance: so they overtake each other.
    pub(crate) delay: Duration,
    pub(crate) jitter: Duration,
    /// How long all wait between two looks at what there is to do.
    pub(crate) step: Duration,
    /// Bytes a second that a client can receive, and since when how much of that is used.
    pub(crate) narrow: Option<(usize, usize)>,
    /// Whether what clients send is noted in `recorded`.
    pub(crate) record: bool,
    pub(crate) recorded: Vec<Vec<u8>>,
    /// What the server has sent to each address.
    pub(crate) sent_to: HashMap<SocketAddr, SentTo>,
    narrow_until: Instant,
    random: u32,
    under_way: VecDeque<(Instant, SocketAddr, SocketAddr, Vec<u8>)>,
}

/// What the server has sent to one address.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct SentTo {
    pub(crate) bytes: usize,
    pub(crate) rtp: usize,
    /// Answers to binding requests.
    pub(crate) answers: usize,
}

/// One transport of a client's.
pub(crate) struct Client {
    pub(crate) asker: Asker,
    pub(crate) id: String,
    /// The server's side of ICE.
    pub(crate) ice: IceCreds,
    /// Where the server sees it, as through a NAT.
    pub(crate) address: SocketAddr,
    local: SocketAddr,
    pub(crate) rtc: Rtc,
    pub(crate) is_connecting: bool,
    pub(crate) is_connected: bool,
    pub(crate) received: Vec<RtpPacket>,
    /// Every datagram that came with RTP, whatever became of it.
    pub(crate) rtp_datagrams: usize,
    pub(crate) keyframe_requests: usize,
    due: Instant,
}

pub(crate) fn settings() -> Settings {
    Settings {
        announced: vec![server_address()],
        max_bitrate: 2_500_000,
        max_producers: 8,
        max_app_data: 4096,
        max_transports: 0,
        transports_per_second: 0,
        connect_timeout: Duration::from_secs(30),
    }
}

pub(crate) fn member(room: &str, name: &str) -> Asker {
    Asker { room: RoomId::new(room).unwrap(), connection: ConnectionId::random(), peer: PeerId::new(name).unwrap() }
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(settings())
    }

    pub(crate) fn with(settings: Settings) -> Self {
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
            narrow: None,
            record: false,
            recorded: Vec::new(),
            sent_to: HashMap::new(),
            narrow_until: now,
            random: 1,
            under_way: VecDeque::new(),
        }
    }

    pub(crate) fn ask(&mut self, asker: &Asker, request: Request) -> Result<Answer, SfuError> {
        let answer = self.sfu.handle(self.now, asker, request);
        self.flush();
        answer
    }

    /// A transport of a member's, with a client at its other end that knows what the server answered.
    pub(crate) fn transport(&mut self, asker: &Asker, direction: Direction) -> usize {
        self.transport_of(asker, direction, client_rtc(self.now))
    }

    /// The same, whatever it numbers header extensions by.
    pub(crate) fn transport_of(&mut self, asker: &Asker, direction: Direction, rtc: Rtc) -> usize {
        let created = self.create(asker, direction);
        self.client_of(asker, created, rtc)
    }

    /// A transport without a client.
    pub(crate) fn create(&mut self, asker: &Asker, direction: Direction) -> Answer {
        let capabilities = (direction == Direction::Send).then(sfu::capabilities);
        self.ask(asker, Request::CreateTransport { direction, capabilities }).unwrap()
    }

    /// A client at the other end of a transport that was created.
    pub(crate) fn client_of(&mut self, asker: &Asker, created: Answer, mut rtc: Rtc) -> usize {
        let Answer::TransportCreated { id, ice, candidates, dtls } = created else { panic!("{created:?}") };
        let address: SocketAddr = format!("198.51.100.7:{}", 10_000 + self.clients.len()).parse().unwrap();
        rtc.add_local_candidate(Candidate::host(address, "udp").unwrap());
        let theirs: SocketAddr = format!("{}:{}", candidates[0].ip, candidates[0].port).parse().unwrap();
        rtc.add_remote_candidate(Candidate::host(theirs, "udp").unwrap());
        let credentials = IceCreds { ufrag: ice.username_fragment, pass: ice.password };
        begin(&mut rtc, credentials.clone(), &dtls.fingerprints[0].value);
        self.clients.push(Client {
            asker: asker.clone(),
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

    pub(crate) fn connect(&mut self, client: usize) -> Result<Answer, SfuError> {
        let own = &mut self.clients[client];
        own.is_connecting = true;
        let dtls = own.dtls();
        let (asker, transport) = (own.asker.clone(), own.id.clone());
        self.ask(&asker, Request::ConnectTransport { transport, dtls })
    }

    /// The same, and waits until it is connected: one that sends is with its first producer.
    pub(crate) fn connected(&mut self, asker: &Asker, direction: Direction) -> usize {
        let client = self.transport(asker, direction);
        self.connect(client).unwrap();
        if direction == Direction::Receive {
            self.until("connected", |world| world.clients[client].is_connected);
        }
        client
    }

    /// Produces, and declares the streams at the client.
    pub(crate) fn produce(&mut self, client: usize, kind: Kind, parameters: Value) -> Result<String, SfuError> {
        let own = &self.clients[client];
        let parameters: RtpParameters = serde_json::from_value(parameters).unwrap();
        let (asker, transport) = (own.asker.clone(), own.id.clone());
        let request =
            Request::Produce { transport, kind, parameters: Box::new(parameters.clone()), app_data: "{}".into() };
        let Answer::Produced(id) = self.ask(&asker, request)? else { panic!() };
        if self.clients[client].is_connecting {
            self.until("connected", |world| world.clients[client].is_connected);
        }
        let mid = Mid::from(parameters.mid.as_deref().unwrap());
        let mut api = self.clients[client].rtc.direct_api();
        api.declare_media(mid, media_kind(kind));
        for (index, encoding) in (0u32..).zip(&parameters.encodings) {
            let ssrc = encoding.ssrc.unwrap_or(7000 + index);
            let rtx = encoding.rtx.as_ref().map(|rtx| rtx.ssrc).or((kind == Kind::Video).then_some(ssrc + 100));
            let rid = encoding.rid.as_deref().map(Into::into);
            api.declare_stream_tx(ssrc.into(), rtx.map(Into::into), mid, rid);
        }
        Ok(id.to_string())
    }

    /// Consumes, resumes, and expects the stream at the client.
    pub(crate) fn consume(&mut self, client: usize, producer: &str) -> Result<Consuming, SfuError> {
        let own = &self.clients[client];
        let (asker, transport) = (own.asker.clone(), own.id.clone());
        let capabilities = Box::new(sfu::capabilities());
        let request = Request::Consume { transport, producer: producer.to_owned(), capabilities };
        let Answer::Consuming(consuming) = self.ask(&asker, request)? else { panic!() };
        let encoding = &consuming.parameters.encodings[0];
        let mid = Mid::from(consuming.parameters.mid.as_deref().unwrap());
        let mut api = self.clients[client].rtc.direct_api();
        api.declare_media(mid, media_kind(consuming.producer.kind));
        let rtx = encoding.rtx.as_ref().map(|rtx| Ssrc::from(rtx.ssrc));
        api.expect_stream_rx(encoding.ssrc.unwrap().into(), rtx, mid, None);
        Ok(*consuming)
    }

    /// Has a client send a packet.
    pub(crate) fn send(&mut self, client: usize, ssrc: u32, packet: Sent) {
        self.send_late(client, ssrc, packet, Duration::ZERO);
    }

    /// The same, so long after it was captured.
    pub(crate) fn send_late(&mut self, client: usize, ssrc: u32, packet: Sent, late: Duration) {
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
            RtpWrite::new(packet.payload_type.into(), packet.number.into(), packet.timestamp, captured, packet.payload)
                .marker(true)
                .nackable(true)
                .ext_vals(extensions),
        );
        own.due = self.now;
        self.turn();
    }

    /// Has a client ask for a keyframe of what it receives.
    pub(crate) fn want_keyframe(&mut self, client: usize, consuming: &Consuming) {
        let ssrc = Ssrc::from(consuming.parameters.encodings[0].ssrc.unwrap());
        let own = &mut self.clients[client];
        own.rtc.direct_api().stream_rx(&ssrc).unwrap().request_keyframe(KeyframeRequestKind::Pli);
        own.due = self.now;
        self.turn();
    }

    /// Lets time pass.
    pub(crate) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.now += self.step;
            self.turn();
        }
    }

    /// Lets time pass until something is so: ten seconds at the most.
    pub(crate) fn until(&mut self, what: &str, is_so: impl Fn(&Self) -> bool) {
        for _ in 0..10_000 {
            if is_so(self) {
                return;
            }
            self.pass(Duration::from_millis(1));
        }
        panic!("never: {what}");
    }

    fn turn(&mut self) {
        while self.under_way.front().is_some_and(|(at, ..)| *at <= self.now) {
            let Some((_, from, to, datagram)) = self.under_way.pop_front() else { break };
            if to == server_address() {
                if self.record {
                    self.recorded.push(datagram.clone());
                }
                self.sfu.receive(self.now, from, &datagram);
            } else if let Some(client) = self.clients.iter_mut().find(|client| client.address == to) {
                client.rtp_datagrams += usize::from(is_rtp(&datagram));
                // What the library gives is taken before it is given more: else it is lost.
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
        let mut outputs = Outputs { next: Some(self.now), ..Outputs::default() };
        while outputs.next.is_some_and(|next| next <= self.now) {
            self.sfu.poll(self.now, &mut outputs);
            self.notices.append(&mut outputs.notices);
            for datagram in outputs.datagrams.drain(..) {
                let sent = self.sent_to.entry(datagram.to).or_default();
                sent.bytes += datagram.contents.len();
                sent.rtp += usize::from(is_rtp(&datagram.contents));
                sent.answers += usize::from(datagram.contents.starts_with(&[1, 1]));
                self.put(server_address(), datagram.to, datagram.contents.to_vec());
            }
        }
    }

    /// Restarts the ICE of a client's transport.
    pub(crate) fn restart_ice(&mut self, client: usize) {
        let (asker, transport) = (self.clients[client].asker.clone(), self.clients[client].id.clone());
        let restarted = self.ask(&asker, Request::RestartIce { transport }).unwrap();
        let Answer::IceRestarted(_, ice) = restarted else { panic!("{restarted:?}") };
        let own = &mut self.clients[client];
        own.ice = IceCreds { ufrag: ice.username_fragment, pass: ice.password };
        let mut api = own.rtc.direct_api();
        api.set_local_ice_credentials(IceCreds::new());
        api.set_remote_ice_credentials(own.ice.clone());
    }

    /// The server takes a datagram that no client of the test has sent.
    pub(crate) fn receive(&mut self, from: SocketAddr, datagram: &[u8]) {
        self.sfu.receive(self.now, from, datagram);
        self.flush();
    }

    pub(crate) fn put(&mut self, from: SocketAddr, to: SocketAddr, datagram: Vec<u8>) {
        // Numerical Recipes' generator: the same losses in every run.
        self.random = self.random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        if (self.random >> 8) % 1000 < self.loss {
            return;
        }
        let mut at = self.now + self.delay + self.jitter * ((self.random >> 16) % 16) / 16;
        if let (Some((client, rate)), true) = (self.narrow, from == server_address())
            && self.clients[client].address == to
        {
            // A link with a queue of 300 ms.
            let begin = self.narrow_until.max(self.now);
            if begin > self.now + Duration::from_millis(300) {
                return;
            }
            self.narrow_until =
                begin + Duration::from_micros(u64::try_from(datagram.len() * 1_000_000 / rate).unwrap());
            at = self.narrow_until + self.delay;
        }
        let place = self.under_way.partition_point(|(other, ..)| *other <= at);
        self.under_way.insert(place, (at, from, to, datagram));
    }
}

impl Client {
    /// What it says of its own side.
    pub(crate) fn dtls(&mut self) -> DtlsParameters {
        let value = self.rtc.direct_api().local_dtls_fingerprint().to_string();
        let value = value.rsplit(' ').next().unwrap().to_owned();
        let fingerprints = vec![Fingerprint { algorithm: "sha-256".to_owned(), value }];
        DtlsParameters { role: DtlsRole::Client, fingerprints }
    }

    fn take(&mut self, now: Instant, from: SocketAddr, datagram: &[u8]) {
        let Ok(contents) = datagram.try_into() else { return };
        let receive = Receive { proto: Protocol::Udp, source: from, destination: self.local, contents };
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
                Ok(Output::Transmit(transmit)) => datagrams.push((transmit.destination, transmit.contents.to_vec())),
                Ok(Output::Event(Event::Connected)) => self.is_connected = true,
                Ok(Output::Event(Event::RtpPacket(packet))) => self.received.push(packet),
                Ok(Output::Event(Event::KeyframeRequest(_))) => self.keyframe_requests += 1,
                Ok(Output::Event(_)) => {}
                Err(_) => return datagrams,
            }
        }
    }
}

/// Begins ICE and DTLS with a server that said this of itself.
fn begin(rtc: &mut Rtc, credentials: IceCreds, fingerprint: &str) {
    let mut api = rtc.direct_api();
    api.set_ice_controlling(true);
    api.set_remote_ice_credentials(credentials);
    api.set_remote_fingerprint(format!("sha-256 {fingerprint}").parse().unwrap());
    api.start_dtls(true).unwrap();
    api.enable_twcc_feedback();
}

/// A packet that a client sends.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    pub(crate) payload_type: u8,
    pub(crate) number: u64,
    pub(crate) timestamp: u32,
    pub(crate) payload: Vec<u8>,
    pub(crate) level: Option<i8>,
}

/// A packet of VP8 that is a picture of its own.
pub(crate) fn picture(number: u64, picture: u16, is_key: bool, size: usize) -> Sent {
    let [high, low] = picture.to_be_bytes();
    let mut payload = vec![0x90, 0x80, high | 0x80, low, u8::from(!is_key)];
    payload.resize(size.max(8), 0x55);
    let timestamp = u32::from(picture) * 3000;
    Sent { payload_type: 101, number, timestamp, payload, level: None }
}

pub(crate) fn sound(number: u64, level: i8) -> Sent {
    let timestamp = u32::try_from(number).unwrap() * 960;
    Sent { payload_type: 100, number, timestamp, payload: vec![1; 80], level: Some(level) }
}

pub(crate) fn is_rtp(datagram: &[u8]) -> bool {
    matches!(datagram, [128..=191, kind, ..] if !(192..=223).contains(kind))
}

fn media_kind(kind: Kind) -> MediaKind {
    match kind {
        Kind::Audio => MediaKind::Audio,
        Kind::Video => MediaKind::Video,
    }
}

/// A client that can do what the router can of Opus and VP8, with the router's numbers.
pub(crate) fn client_rtc(now: Instant) -> Rtc {
    rtc_with_extensions(now, [1, 2, 3, 4, 5, 10, 11])
}

/// The same, with these ids of header extensions: mid, rid, repaired rid, the time it is sent, the transport's sequence
/// number, audio level, orientation.
pub(crate) fn rtc_with_extensions(now: Instant, ids: [u8; 7]) -> Rtc {
    let mut config = Rtc::builder().clear_codecs().set_rtp_mode(true);
    let codecs = config.codec_config();
    let (opus, video) = (Frequency::FORTY_EIGHT_KHZ, Frequency::NINETY_KHZ);
    codecs.add_config(100.into(), None, Codec::Opus, opus, Some(2), FormatParams::default());
    codecs.add_config(101.into(), Some(102.into()), Codec::Vp8, video, None, FormatParams::default());
    let mut extensions = ExtensionMap::empty();
    let all = [
        Extension::RtpMid,
        Extension::RtpStreamId,
        Extension::RepairedRtpStreamId,
        Extension::AbsoluteSendTime,
        Extension::TransportSequenceNumber,
        Extension::AudioLevel,
        Extension::VideoOrientation,
    ];
    for (id, extension) in ids.into_iter().zip(all) {
        extensions.set(id, extension);
    }
    config.set_extension_map(extensions).build(now)
}

/// What a client says of its sound.
pub(crate) fn audio() -> Value {
    json!({
        "mid": "a", "encodings": [{ "ssrc": 5000 }],
        "codecs": [{ "mimeType": "audio/opus", "payloadType": 100, "clockRate": 48000, "channels": 2 }],
    })
}

/// What a client says of its pictures: one stream.
pub(crate) fn video() -> Value {
    with_encodings(json!([{ "ssrc": 6000, "rtx": { "ssrc": 6100 } }]))
}

/// What a client says of its pictures: three streams.
pub(crate) fn simulcast() -> Value {
    with_encodings(json!([{ "rid": "r0" }, { "rid": "r1" }, { "rid": "r2" }]))
}

fn with_encodings(encodings: Value) -> Value {
    let mut parameters = json!({
        "mid": "v", "rtcp": { "cname": "x\r\na=sendonly" },
        "codecs": [
            { "mimeType": "video/VP8", "payloadType": 101, "clockRate": 90000 },
            { "mimeType": "video/rtx", "payloadType": 102, "clockRate": 90000, "parameters": { "apt": 101 } },
        ],
    });
    parameters["encodings"] = encodings;
    parameters
}

/// Capabilities of a client that knows nothing.
pub(crate) fn nothing() -> RtpCapabilities {
    RtpCapabilities::default()
}
