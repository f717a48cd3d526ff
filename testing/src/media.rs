//! The client's end of a media transport: ICE, DTLS and SRTP over UDP, with synthetic audio and
//! video.
//!
//! - [`Media::new`] takes the server's parameters of a transport; [`Media::connect_request`]
//!   returns the client's. Where the server must know the client's first, [`Endpoint`] has them;
//! - [`Media::send`] and [`Media::receive`] add a producer and a consumer;
//! - a task owns the socket: it sends packets at the interval of the [`Source`], and counts
//!   received packets.
//!
//! The server does not answer on a sending transport before its first producer. Produce first, then
//! wait for the connection.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use parking_lot::Mutex;
use serde_json::{Value, json};
use str0m::format::{Codec, FormatParams};
use str0m::media::{Frequency, MediaKind, Mid};
use str0m::net::{Protocol, Receive};
use str0m::rtp::{Extension, ExtensionMap, RtpWrite, Ssrc};
use str0m::{Candidate, Event, IceCreds, Input, Output, Rtc};
use tokio::net::UdpSocket;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Interval, MissedTickBehavior, interval, timeout};

/// The longest wait for an event.
const LIMIT: Duration = Duration::from_secs(25);

/// The payload size of an audio packet.
const AUDIO_BYTES: usize = 80;

/// The interval of keyframes that are not requested, in frames.
const KEYFRAME_INTERVAL: u64 = 50;

/// The payload type of Opus, the same as the router's.
const OPUS: u8 = 100;

/// The media that a transport sends.
#[derive(Debug, Clone, Copy)]
pub struct Source {
    /// The time between two audio packets, and between two video frames.
    pub interval: Duration,
    /// The number of packets of a video frame.
    pub packets: u64,
    /// The payload size of a video packet.
    pub bytes: usize,
    /// The number of simulcast layers.
    pub layers: u32,
}

/// The payload types of video, and the ids of header extensions. Packets with others are dropped.
#[derive(Debug, Clone, Copy)]
pub struct Numbers {
    /// The payload type of VP8.
    pub vp8: u8,
    /// The payload type of its retransmissions.
    pub rtx: u8,
    /// The extension id of the MID.
    pub mid: u8,
    /// The extension id of the absolute send time.
    pub send_time: u8,
    /// The extension id of the transport-wide sequence number.
    pub transport_sequence: u8,
}

/// A transport whose server is not known yet.
pub struct Endpoint {
    socket: UdpSocket,
    /// The address of the socket.
    pub address: SocketAddr,
    rtc: Rtc,
}

/// One transport. It stops when it is dropped.
pub struct Media {
    /// The transport's id.
    pub id: String,
    layers: u32,
    socket: Arc<UdpSocket>,
    shared: Arc<Shared>,
    _task: JoinSet<()>,
}

struct Shared {
    state: Mutex<State>,
    changed: Notify,
}

struct State {
    rtc: Rtc,
    is_connected: bool,
    is_paused: bool,
    streams: Vec<Stream>,
    /// The number of packets sent, all streams together.
    sent: u64,
    /// The number of packets received of each stream.
    received: HashMap<Ssrc, u64>,
}

/// A stream that is sent.
struct Stream {
    ssrc: Ssrc,
    kind: MediaKind,
    number: u64,
    wants_keyframe: bool,
}

impl Numbers {
    /// The numbers of Parlor's router.
    pub const ROUTER: Self =
        Self { vp8: 101, rtx: 102, mid: 1, send_time: 4, transport_sequence: 5 };
}

impl Endpoint {
    /// Binds a socket on a loopback address.
    pub async fn bind(numbers: Numbers) -> anyhow::Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = socket.local_addr()?;
        let mut rtc = client(numbers);
        rtc.add_local_candidate(Candidate::host(address, "udp")?);
        rtc.direct_api().set_ice_controlling(true);
        Ok(Self { socket, address, rtc })
    }

    /// Returns the ICE credentials.
    pub fn credentials(&mut self) -> IceCreds {
        self.rtc.direct_api().local_ice_credentials()
    }

    /// Returns the SHA-256 fingerprint of the certificate, in hexadecimal digits.
    pub fn fingerprint(&mut self) -> String {
        fingerprint(&mut self.rtc)
    }

    /// Connects to a server, given as in the response to `transport:create`. Without a source it
    /// sends nothing.
    pub fn connect(self, created: &Value, source: Option<Source>) -> anyhow::Result<Media> {
        let Self { socket, address, mut rtc } = self;
        let text = |path: &str| {
            created.pointer(path).and_then(Value::as_str).context("expected a transport")
        };
        rtc.add_remote_candidate(Candidate::host(address_of(created)?, "udp")?);
        let fingerprint = format!("sha-256 {}", text("/dtlsParameters/fingerprints/0/value")?);
        let mut api = rtc.direct_api();
        api.set_remote_ice_credentials(credentials(created)?);
        api.set_remote_fingerprint(fingerprint.parse().ok().context("a fingerprint")?);
        api.start_dtls(true)?;
        api.enable_twcc_feedback();
        let (streams, received) = (Vec::new(), HashMap::new());
        let state =
            State { rtc, is_connected: false, is_paused: false, streams, sent: 0, received };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Notify::new() });
        let socket = Arc::new(socket);
        let mut task = JoinSet::new();
        task.spawn(run(Arc::clone(&socket), address, Arc::clone(&shared), source));
        let layers = source.map_or(1, |source| source.layers);
        Ok(Media { id: text("/id")?.to_owned(), layers, socket, shared, _task: task })
    }
}

impl Media {
    /// Creates the client's end of a transport from the response to `transport:create`. Without a
    /// source it sends nothing.
    pub async fn new(created: &Value, source: Option<Source>) -> anyhow::Result<Self> {
        Endpoint::bind(Numbers::ROUTER).await?.connect(created, source)
    }

    /// The payload of `transport:connect`.
    pub fn connect_request(&self) -> Value {
        let value = fingerprint(&mut self.shared.state.lock().rtc);
        let fingerprints = json!([{ "algorithm": "sha-256", "value": value }]);
        json!({ "transportId": self.id, "dtlsParameters": { "role": "client", "fingerprints": fingerprints } })
    }

    /// Restarts ICE with the server's new credentials.
    pub fn restart(&self, restarted: &Value) -> anyhow::Result<()> {
        let mut state = self.shared.state.lock();
        let mut api = state.rtc.direct_api();
        api.set_local_ice_credentials(IceCreds::new());
        api.set_remote_ice_credentials(credentials(restarted)?);
        Ok(())
    }

    /// Adds a stream to send; returns its RTP parameters. A number is used once per transport.
    pub fn send(&self, kind: MediaKind, number: u32) -> Value {
        let mid = Mid::from(mid(kind, number).as_str());
        let mut state = self.shared.state.lock();
        let State { rtc, streams, .. } = &mut *state;
        let mut api = rtc.direct_api();
        api.declare_media(mid, kind);
        for (ssrc, rtx) in ssrcs(kind, number, self.layers) {
            api.declare_stream_tx(ssrc.into(), rtx.map(Into::into), mid, None);
            streams.push(Stream { ssrc: ssrc.into(), kind, number: 0, wants_keyframe: true });
        }
        parameters(kind, number, self.layers)
    }

    /// Adds the stream of a consumer.
    pub fn receive(&self, consumer: &Value) -> anyhow::Result<Ssrc> {
        let parameters = &consumer["rtpParameters"];
        let mid = Mid::from(parameters["mid"].as_str().context("a mid")?);
        let ssrc = |path: &str| -> Option<Ssrc> {
            Some(u32::try_from(parameters.pointer(path)?.as_u64()?).ok()?.into())
        };
        let kind = if consumer["kind"] == "audio" { MediaKind::Audio } else { MediaKind::Video };
        let mut state = self.shared.state.lock();
        let mut api = state.rtc.direct_api();
        api.declare_media(mid, kind);
        let main = ssrc("/encodings/0/ssrc").context("an SSRC")?;
        api.expect_stream_rx(main, ssrc("/encodings/0/rtx/ssrc"), mid, None);
        Ok(main)
    }

    /// Has the kernel drop all packets that it receives from now on, and deliver only STUN and
    /// DTLS: clients without cost.
    #[cfg(target_os = "linux")]
    pub fn discard_packets(&self) -> anyhow::Result<()> {
        // Linux's Documentation/networking/filter.rst: load the first byte after the UDP header;
        // return 0 from 128 on, else all.
        let code = [(0x30, 0, 0, 8), (0x35, 0, 1, 128), (0x06, 0, 0, 0), (0x06, 0, 0, u32::MAX)];
        let filter = code.map(|(code, jt, jf, k)| socket2::SockFilter::new(code, jt, jf, k));
        Ok(socket2::SockRef::from(&*self.socket).attach_filter(&filter)?)
    }

    /// Pauses or resumes sending.
    pub fn pause(&self, is_paused: bool) {
        self.shared.state.lock().is_paused = is_paused;
    }

    /// The number of packets sent.
    pub fn sent(&self) -> u64 {
        self.shared.state.lock().sent
    }

    /// The number of packets received, padding excluded.
    pub fn received(&self) -> u64 {
        self.shared.state.lock().received.values().sum()
    }

    /// Waits until the transport is connected.
    pub async fn connected(&self) -> anyhow::Result<()> {
        let waiting = self.until(|state| state.is_connected);
        waiting.await.with_context(|| format!("transport {} does not connect", self.id))
    }

    /// Waits for `count` more packets of a stream.
    pub async fn receives(&self, stream: Ssrc, count: u64) -> anyhow::Result<()> {
        let received = |state: &State| state.received.get(&stream).copied().unwrap_or_default();
        let until = received(&self.shared.state.lock()) + count;
        let waiting = self.until(|state| received(state) >= until);
        waiting.await.with_context(|| {
            format!("received {} of {until} packets", received(&self.shared.state.lock()))
        })
    }

    async fn until(&self, is_so: impl Fn(&State) -> bool) -> anyhow::Result<()> {
        let waiting = async {
            while !is_so(&self.shared.state.lock()) {
                self.shared.changed.notified().await;
            }
        };
        Ok(timeout(LIMIT, waiting).await?)
    }
}

/// Returns the RTP parameters of a stream that [`Media::send`] adds.
pub fn parameters(kind: MediaKind, number: u32, layers: u32) -> Value {
    let encodings: Vec<Value> = ssrcs(kind, number, layers)
        .map(|(ssrc, rtx)| match rtx {
            Some(rtx) => json!({ "ssrc": ssrc, "rtx": { "ssrc": rtx } }),
            None => json!({ "ssrc": ssrc }),
        })
        .collect();
    let codecs = match kind {
        MediaKind::Audio => {
            json!([{ "mimeType": "audio/opus", "payloadType": OPUS, "clockRate": 48000, "channels": 2 }])
        }
        MediaKind::Video => {
            let Numbers { vp8, rtx, .. } = Numbers::ROUTER;
            json!([
                { "mimeType": "video/VP8", "payloadType": vp8, "clockRate": 90000 },
                { "mimeType": "video/rtx", "payloadType": rtx, "clockRate": 90000, "parameters": { "apt": vp8 } },
            ])
        }
    };
    json!({ "mid": mid(kind, number), "codecs": codecs, "encodings": encodings })
}

fn mid(kind: MediaKind, number: u32) -> String {
    format!("{}{number}", if kind == MediaKind::Audio { "a" } else { "v" })
}

/// The SSRC of each layer, and that of its RTX stream.
fn ssrcs(kind: MediaKind, number: u32, layers: u32) -> impl Iterator<Item = (u32, Option<u32>)> {
    let layers = if kind == MediaKind::Audio { 1 } else { layers };
    let ssrcs = (0..layers).map(move |layer| 1000 * (number + 1) + 2 * layer);
    ssrcs.map(move |ssrc| (ssrc, (kind == MediaKind::Video).then_some(ssrc + 1)))
}

fn fingerprint(rtc: &mut Rtc) -> String {
    let fingerprint = rtc.direct_api().local_dtls_fingerprint().to_string();
    fingerprint.rsplit(' ').next().unwrap_or_default().to_owned()
}

/// Returns the media server's address from the response to `transport:create`.
pub fn address_of(created: &Value) -> anyhow::Result<SocketAddr> {
    let candidate = &created["iceCandidates"][0];
    let port =
        candidate["port"].as_u64().and_then(|port| u16::try_from(port).ok()).context("a port")?;
    Ok(SocketAddr::new(candidate["ip"].as_str().context("an address")?.parse()?, port))
}

fn credentials(of: &Value) -> anyhow::Result<IceCreds> {
    let text =
        |key: &str| of["iceParameters"][key].as_str().map(str::to_owned).context("ICE parameters");
    let (ufrag, pass) = (text("usernameFragment")?, text("password")?);
    ensure!(!pass.is_empty(), "a password");
    Ok(IceCreds { ufrag, pass })
}

fn client(numbers: Numbers) -> Rtc {
    let mut config = Rtc::builder().clear_codecs().set_rtp_mode(true);
    let codecs = config.codec_config();
    codecs.add_config(
        OPUS.into(),
        None,
        Codec::Opus,
        Frequency::FORTY_EIGHT_KHZ,
        Some(2),
        FormatParams::default(),
    );
    codecs.add_config(
        numbers.vp8.into(),
        Some(numbers.rtx.into()),
        Codec::Vp8,
        Frequency::NINETY_KHZ,
        None,
        FormatParams::default(),
    );
    let mut extensions = ExtensionMap::empty();
    extensions.set(numbers.mid, Extension::RtpMid);
    extensions.set(numbers.send_time, Extension::AbsoluteSendTime);
    extensions.set(numbers.transport_sequence, Extension::TransportSequenceNumber);
    config.set_extension_map(extensions).build(Instant::now())
}

async fn run(
    socket: Arc<UdpSocket>,
    address: SocketAddr,
    shared: Arc<Shared>,
    source: Option<Source>,
) {
    let mut buffer = vec![0; 2000];
    let mut clock = source.map(|source| interval(source.interval));
    if let Some(clock) = &mut clock {
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    }
    loop {
        let (due, datagrams) = drain(&shared);
        for (to, datagram) in datagrams {
            // A datagram that is not sent is lost.
            socket.send_to(&datagram, to).await.ok();
        }
        let wait = due.saturating_duration_since(Instant::now());
        tokio::select! {
            received = socket.recv_from(&mut buffer) => {
                // Refused if the server has stopped.
                let Ok((length, source)) = received else { continue };
                let Ok(contents) = buffer[..length].try_into() else { continue };
                let receive = Receive { proto: Protocol::Udp, source, destination: address, contents };
                shared.state.lock().rtc.handle_input(Input::Receive(Instant::now(), receive)).ok();
            }
            () = tokio::time::sleep(wait) => {
                shared.state.lock().rtc.handle_input(Input::Timeout(Instant::now())).ok();
            }
            source = tick(clock.as_mut(), source) => send_packets(&mut shared.state.lock(), source),
        }
    }
}

/// Waits for the next tick of a source; forever without one.
async fn tick(clock: Option<&mut Interval>, source: Option<Source>) -> Source {
    let (Some(clock), Some(source)) = (clock, source) else { return std::future::pending().await };
    clock.tick().await;
    source
}

/// Sends the next packets of each stream.
fn send_packets(state: &mut State, source: Source) {
    let State { rtc, streams, sent, is_paused, .. } = state;
    if *is_paused {
        return;
    }
    let (mut api, now) = (rtc.direct_api(), Instant::now());
    let millis = u32::try_from(source.interval.as_millis()).unwrap_or_default();
    for stream in streams {
        let Some(sending) = api.stream_tx(&stream.ssrc) else { continue };
        let number = stream.number;
        stream.number += 1;
        let tick = u32::try_from(number).unwrap_or_default();
        if stream.kind == MediaKind::Audio {
            let timestamp = tick.wrapping_mul(millis * 48);
            sending.write_rtp(RtpWrite::new(
                OPUS.into(),
                number.into(),
                timestamp,
                now,
                vec![1; AUDIO_BYTES],
            ));
            *sent += 1;
            continue;
        }
        let is_key =
            std::mem::take(&mut stream.wants_keyframe) || number.is_multiple_of(KEYFRAME_INTERVAL);
        for part in 0..source.packets {
            // RFC 7741, section 4.2: the start bit, a picture id of two bytes, and the frame
            // header, whose lowest bit is not set in a keyframe.
            let [_, _, high, low] = tick.to_be_bytes();
            let start = if part == 0 { 0x90 } else { 0x80 };
            let mut payload = vec![start, 0x80, high | 0x80, low, u8::from(!is_key)];
            payload.resize(source.bytes, 0x55);
            let (number, timestamp) =
                (number * source.packets + part, tick.wrapping_mul(millis * 90));
            let packet =
                RtpWrite::new(Numbers::ROUTER.vp8.into(), number.into(), timestamp, now, payload);
            sending.write_rtp(packet.marker(part + 1 == source.packets).nackable(true));
            *sent += 1;
        }
    }
    // The library sends written packets on a timeout.
    rtc.handle_input(Input::Timeout(now)).ok();
}

/// Returns the datagrams to send, and when to poll again.
fn drain(shared: &Shared) -> (Instant, Vec<(SocketAddr, Vec<u8>)>) {
    let (mut state, mut datagrams) = (shared.state.lock(), Vec::new());
    let State { rtc, is_connected, streams, received, .. } = &mut *state;
    loop {
        match rtc.poll_output() {
            Ok(Output::Timeout(due)) => return (due, datagrams),
            Ok(Output::Transmit(transmit)) => {
                datagrams.push((transmit.destination, transmit.contents.to_vec()));
            }
            Ok(Output::Event(event)) => {
                match event {
                    // Empty packets are padding, by which a server probes the bandwidth.
                    Event::RtpPacket(packet) if !packet.payload.is_empty() => {
                        *received.entry(packet.header.ssrc).or_default() += 1;
                    }
                    Event::Connected => *is_connected = true,
                    Event::KeyframeRequest(_) => {
                        for stream in &mut *streams {
                            stream.wants_keyframe = true;
                        }
                    }
                    _ => continue,
                }
                shared.changed.notify_one();
            }
            // The transport has ended.
            Err(_) => return (Instant::now() + LIMIT, datagrams),
        }
    }
}
