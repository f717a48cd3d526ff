//! The client's end of one transport of media: real ICE, DTLS and SRTP over UDP, with made-up sound and pictures. The
//! soak's clients have it, the tests', and those that the benchmark measures forwarding with.
//!
//! - [`Media::new`] takes what the server says of a transport, [`Media::connecting`] is what is to be said to that;
//! - [`Media::send`] and [`Media::receive`] are given for each producer and consumer;
//! - a task carries the socket: it plays what is sent, by the clock, and counts what comes.
//!
//! The guarantee that is easy to break: a server answers nobody on a sending transport before its first producer. Produce,
//! then wait.

use std::collections::HashMap;
use std::net::SocketAddr;
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

/// How long anything may take that is waited for.
const LIMIT: Duration = Duration::from_secs(25);

/// The bytes of a packet of sound.
const SOUND_BYTES: usize = 80;

/// Every so many pictures one is a keyframe, asked for or not.
const KEYFRAMES: u64 = 50;

/// The numbers of the router, which these clients use, too.
const OPUS: u8 = 100;
const VP8: u8 = 101;
const VP8_RTX: u8 = 102;

/// What is played.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Score {
    /// From one packet of sound to the next, and from one picture to the next.
    pub(crate) interval: Duration,
    /// How many packets a picture has, and how many bytes each.
    pub(crate) packets: u64,
    pub(crate) bytes: usize,
    /// In how many resolutions pictures are sent.
    pub(crate) layers: u32,
}

/// One transport. It ends when it is dropped.
pub(crate) struct Media {
    pub(crate) id: String,
    /// In how many resolutions pictures are sent.
    layers: u32,
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
    is_silent: bool,
    streams: Vec<Stream>,
    /// How many packets of all streams were played.
    played: u64,
    /// How many of each came.
    heard: HashMap<Ssrc, u64>,
}

/// What is sent.
struct Stream {
    ssrc: Ssrc,
    kind: MediaKind,
    number: u64,
    wants_keyframe: bool,
}

impl Media {
    /// The other end of what the server says of a transport. Nothing is played on one without a score.
    pub(crate) async fn new(created: &Value, score: Option<Score>) -> anyhow::Result<Self> {
        let text = |path: &str| created.pointer(path).and_then(Value::as_str).context("a transport is described");
        let socket = UdpSocket::bind("127.0.0.1:0").await?;
        let address = socket.local_addr()?;
        let mut rtc = client();
        rtc.add_local_candidate(Candidate::host(address, "udp")?);
        rtc.add_remote_candidate(Candidate::host(address_of(created)?, "udp")?);
        let fingerprint = format!("sha-256 {}", text("/dtlsParameters/fingerprints/0/value")?);
        let mut api = rtc.direct_api();
        api.set_ice_controlling(true);
        api.set_remote_ice_credentials(credentials(created)?);
        api.set_remote_fingerprint(fingerprint.parse().ok().context("a fingerprint")?);
        api.start_dtls(true)?;
        api.enable_twcc_feedback();
        let (streams, heard) = (Vec::new(), HashMap::new());
        let state = State { rtc, is_connected: false, is_silent: false, streams, played: 0, heard };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Notify::new() });
        let mut task = JoinSet::new();
        task.spawn(run(socket, address, Arc::clone(&shared), score));
        let layers = score.map_or(1, |score| score.layers);
        Ok(Self { id: text("/id")?.to_owned(), layers, shared, _task: task })
    }

    /// What it says to connect.
    pub(crate) fn connecting(&self) -> Value {
        let fingerprint = self.shared.state.lock().rtc.direct_api().local_dtls_fingerprint().to_string();
        let value = fingerprint.rsplit(' ').next().unwrap_or_default();
        let fingerprints = json!([{ "algorithm": "sha-256", "value": value }]);
        json!({ "transportId": self.id, "dtlsParameters": { "role": "client", "fingerprints": fingerprints } })
    }

    /// Takes new credentials of the server's.
    pub(crate) fn restart(&self, restarted: &Value) -> anyhow::Result<()> {
        let mut state = self.shared.state.lock();
        let mut api = state.rtc.direct_api();
        api.set_local_ice_credentials(IceCreds::new());
        api.set_remote_ice_credentials(credentials(restarted)?);
        Ok(())
    }

    /// Sends from now on: what it says of that to the server. A number is used once on a transport.
    pub(crate) fn send(&self, kind: MediaKind, number: u32) -> Value {
        let (name, layers) = if kind == MediaKind::Audio { ("a", 1) } else { ("v", self.layers) };
        let name = format!("{name}{number}");
        let mid = Mid::from(name.as_str());
        let mut state = self.shared.state.lock();
        let State { rtc, streams, .. } = &mut *state;
        let mut api = rtc.direct_api();
        api.declare_media(mid, kind);
        let mut encodings = Vec::new();
        for layer in 0..layers {
            let ssrc = 1000 * (number + 1) + 2 * layer;
            let is_video = kind == MediaKind::Video;
            api.declare_stream_tx(ssrc.into(), is_video.then(|| (ssrc + 1).into()), mid, None);
            streams.push(Stream { ssrc: ssrc.into(), kind, number: 0, wants_keyframe: true });
            encodings.push(if is_video {
                json!({ "ssrc": ssrc, "rtx": { "ssrc": ssrc + 1 } })
            } else {
                json!({ "ssrc": ssrc })
            });
        }
        let codecs = match kind {
            MediaKind::Audio => {
                json!([{ "mimeType": "audio/opus", "payloadType": OPUS, "clockRate": 48000, "channels": 2 }])
            }
            MediaKind::Video => json!([
                { "mimeType": "video/VP8", "payloadType": VP8, "clockRate": 90000 },
                { "mimeType": "video/rtx", "payloadType": VP8_RTX, "clockRate": 90000, "parameters": { "apt": VP8 } },
            ]),
        };
        json!({ "mid": name, "codecs": codecs, "encodings": encodings })
    }

    /// Takes what the server says that it will send: the stream.
    pub(crate) fn receive(&self, consumer: &Value) -> anyhow::Result<Ssrc> {
        let parameters = &consumer["rtpParameters"];
        let mid = Mid::from(parameters["mid"].as_str().context("a mid")?);
        let ssrc =
            |path: &str| -> Option<Ssrc> { Some(u32::try_from(parameters.pointer(path)?.as_u64()?).ok()?.into()) };
        let kind = if consumer["kind"] == "audio" { MediaKind::Audio } else { MediaKind::Video };
        let mut state = self.shared.state.lock();
        let mut api = state.rtc.direct_api();
        api.declare_media(mid, kind);
        let main = ssrc("/encodings/0/ssrc").context("an SSRC")?;
        api.expect_stream_rx(main, ssrc("/encodings/0/rtx/ssrc"), mid, None);
        Ok(main)
    }

    /// Whether what is sent rests, or goes on.
    pub(crate) fn hush(&self, is_silent: bool) {
        self.shared.state.lock().is_silent = is_silent;
    }

    /// How many packets were played.
    pub(crate) fn played(&self) -> u64 {
        self.shared.state.lock().played
    }

    /// How many packets have come.
    pub(crate) fn heard(&self) -> u64 {
        self.shared.state.lock().heard.values().sum()
    }

    /// Waits until it is connected.
    pub(crate) async fn connected(&self) -> anyhow::Result<()> {
        let waiting = self.until(|state| state.is_connected);
        waiting.await.with_context(|| format!("transport {} does not connect", self.id))
    }

    /// Waits for so many more packets of a stream.
    pub(crate) async fn hears(&self, stream: Ssrc, count: u64) -> anyhow::Result<()> {
        let heard = |state: &State| state.heard.get(&stream).copied().unwrap_or_default();
        let until = heard(&self.shared.state.lock()) + count;
        let waiting = self.until(|state| heard(state) >= until);
        waiting.await.with_context(|| format!("{} of {until} packets have come", heard(&self.shared.state.lock())))
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

/// Where the server takes media.
pub(crate) fn address_of(created: &Value) -> anyhow::Result<SocketAddr> {
    let candidate = &created["iceCandidates"][0];
    let port = candidate["port"].as_u64().and_then(|port| u16::try_from(port).ok()).context("a port")?;
    Ok(SocketAddr::new(candidate["ip"].as_str().context("an address")?.parse()?, port))
}

fn credentials(of: &Value) -> anyhow::Result<IceCreds> {
    let text = |key: &str| of["iceParameters"][key].as_str().map(str::to_owned).context("ICE parameters");
    let (ufrag, pass) = (text("usernameFragment")?, text("password")?);
    ensure!(!pass.is_empty(), "a password");
    Ok(IceCreds { ufrag, pass })
}

fn client() -> Rtc {
    let mut config = Rtc::builder().clear_codecs().set_rtp_mode(true);
    let codecs = config.codec_config();
    codecs.add_config(OPUS.into(), None, Codec::Opus, Frequency::FORTY_EIGHT_KHZ, Some(2), FormatParams::default());
    let rtx = Some(VP8_RTX.into());
    codecs.add_config(VP8.into(), rtx, Codec::Vp8, Frequency::NINETY_KHZ, None, FormatParams::default());
    let mut extensions = ExtensionMap::empty();
    extensions.set(1, Extension::RtpMid);
    extensions.set(4, Extension::AbsoluteSendTime);
    extensions.set(5, Extension::TransportSequenceNumber);
    config.set_extension_map(extensions).build(Instant::now())
}

async fn run(socket: UdpSocket, address: SocketAddr, shared: Arc<Shared>, score: Option<Score>) {
    let mut buffer = vec![0; 2000];
    let mut clock = score.map(|score| interval(score.interval));
    if let Some(clock) = &mut clock {
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    }
    loop {
        let (due, datagrams) = drain(&shared);
        for (to, datagram) in datagrams {
            // What is not sent is lost.
            socket.send_to(&datagram, to).await.ok();
        }
        let wait = due.saturating_duration_since(Instant::now());
        tokio::select! {
            received = socket.recv_from(&mut buffer) => {
                // Refused, where the server has gone.
                let Ok((length, source)) = received else { continue };
                let Ok(contents) = buffer[..length].try_into() else { continue };
                let receive = Receive { proto: Protocol::Udp, source, destination: address, contents };
                shared.state.lock().rtc.handle_input(Input::Receive(Instant::now(), receive)).ok();
            }
            () = tokio::time::sleep(wait) => {
                shared.state.lock().rtc.handle_input(Input::Timeout(Instant::now())).ok();
            }
            score = beat(clock.as_mut(), score) => play(&mut shared.state.lock(), score),
        }
    }
}

/// The next beat of a score; never, where there is none.
async fn beat(clock: Option<&mut Interval>, score: Option<Score>) -> Score {
    let (Some(clock), Some(score)) = (clock, score) else { return std::future::pending().await };
    clock.tick().await;
    score
}

/// The next packets of each stream.
fn play(state: &mut State, score: Score) {
    let State { rtc, streams, played, is_silent, .. } = state;
    if *is_silent {
        return;
    }
    let (mut api, now) = (rtc.direct_api(), Instant::now());
    let millis = u32::try_from(score.interval.as_millis()).unwrap_or_default();
    for stream in streams {
        let Some(sending) = api.stream_tx(&stream.ssrc) else { continue };
        let number = stream.number;
        stream.number += 1;
        let tick = u32::try_from(number).unwrap_or_default();
        if stream.kind == MediaKind::Audio {
            let timestamp = tick.wrapping_mul(millis * 48);
            sending.write_rtp(RtpWrite::new(OPUS.into(), number.into(), timestamp, now, vec![1; SOUND_BYTES]));
            *played += 1;
            continue;
        }
        let is_key = std::mem::take(&mut stream.wants_keyframe) || number.is_multiple_of(KEYFRAMES);
        for part in 0..score.packets {
            // RFC 7741, section 4.2: whether a picture begins here, its id of two bytes, and its frame, whose lowest bit is
            // not set in a keyframe.
            let [_, _, high, low] = tick.to_be_bytes();
            let start = if part == 0 { 0x90 } else { 0x80 };
            let mut payload = vec![start, 0x80, high | 0x80, low, u8::from(!is_key)];
            payload.resize(score.bytes, 0x55);
            let (number, timestamp) = (number * score.packets + part, tick.wrapping_mul(millis * 90));
            let packet = RtpWrite::new(VP8.into(), number.into(), timestamp, now, payload);
            sending.write_rtp(packet.marker(part + 1 == score.packets).nackable(true));
            *played += 1;
        }
    }
    // What was written goes out when time passes.
    rtc.handle_input(Input::Timeout(now)).ok();
}

/// What is to be sent, and when to look again.
fn drain(shared: &Shared) -> (Instant, Vec<(SocketAddr, Vec<u8>)>) {
    let (mut state, mut datagrams) = (shared.state.lock(), Vec::new());
    let State { rtc, is_connected, streams, heard, .. } = &mut *state;
    loop {
        match rtc.poll_output() {
            Ok(Output::Timeout(due)) => return (due, datagrams),
            Ok(Output::Transmit(transmit)) => datagrams.push((transmit.destination, transmit.contents.to_vec())),
            Ok(Output::Event(event)) => {
                match event {
                    // What has nothing in it is padding, by which a server finds out how much it may send.
                    Event::RtpPacket(packet) if !packet.payload.is_empty() => {
                        *heard.entry(packet.header.ssrc).or_default() += 1;
                    }
                    Event::Connected => *is_connected = true,
                    Event::KeyframeRequest(_) => streams.iter_mut().for_each(|stream| stream.wants_keyframe = true),
                    _ => continue,
                }
                shared.changed.notify_one();
            }
            // It is over: nothing more comes of it.
            Err(_) => return (Instant::now() + LIMIT, datagrams),
        }
    }
}
