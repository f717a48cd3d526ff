//! The client's end of one transport of media: real ICE, DTLS and SRTP over UDP, with made-up sound and pictures.

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
use tokio::time::timeout;

use super::LIMIT;

/// From one packet of a stream to the next.
const INTERVAL: Duration = Duration::from_millis(80);

/// Every so many pictures one is a keyframe, asked for or not.
const KEYFRAMES: u64 = 50;

/// The numbers of the router, which these clients use, too.
const OPUS: u8 = 100;
const VP8: u8 = 101;
const VP8_RTX: u8 = 102;

/// One transport. It ends when it is dropped.
pub(crate) struct Media {
    pub(crate) id: String,
    shared: Arc<Shared>,
    _task: JoinSet<()>,
}

struct Shared {
    state: Mutex<State>,
    /// How many packets of each stream.
    heard: Mutex<HashMap<Ssrc, u64>>,
    changed: Notify,
}

struct State {
    rtc: Rtc,
    streams: Vec<Stream>,
}

/// What is sent.
struct Stream {
    ssrc: Ssrc,
    kind: MediaKind,
    number: u64,
    wants_keyframe: bool,
}

impl Media {
    /// The other end of what the server says of a transport.
    pub(crate) async fn new(created: &Value) -> anyhow::Result<Self> {
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
        let state = Mutex::new(State { rtc, streams: Vec::new() });
        let shared = Arc::new(Shared { state, heard: Mutex::default(), changed: Notify::new() });
        let mut task = JoinSet::new();
        task.spawn(run(socket, address, Arc::clone(&shared)));
        Ok(Self { id: text("/id")?.to_owned(), shared, _task: task })
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
        let (name, layers) = if kind == MediaKind::Audio { ("a", 1) } else { ("v", 2) };
        let name = format!("{name}{number}");
        let mid = Mid::from(name.as_str());
        let mut state = self.shared.state.lock();
        let State { rtc, streams } = &mut *state;
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

    /// How many packets of a stream have come.
    fn heard(&self, stream: Ssrc) -> u64 {
        self.shared.heard.lock().get(&stream).copied().unwrap_or_default()
    }

    /// Waits for so many more.
    pub(crate) async fn hears(&self, stream: Ssrc, count: u64) -> anyhow::Result<()> {
        let until = self.heard(stream) + count;
        let waiting = async {
            while self.heard(stream) < until {
                self.shared.changed.notified().await;
            }
        };
        timeout(LIMIT, waiting).await.with_context(|| format!("{} of {until} packets have come", self.heard(stream)))
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

async fn run(socket: UdpSocket, address: SocketAddr, shared: Arc<Shared>) {
    let mut buffer = vec![0; 2000];
    let mut clock = tokio::time::interval(INTERVAL);
    loop {
        let (due, datagrams) = drain(&shared);
        for (to, datagram) in datagrams {
            // What is not sent is lost.
            socket.send_to(&datagram, to).await.ok();
        }
        let wait = due.saturating_duration_since(Instant::now());
        tokio::select! {
            received = socket.recv_from(&mut buffer) => {
                let Ok((length, source)) = received else { continue };
                let Ok(contents) = buffer[..length].try_into() else { continue };
                let receive = Receive { proto: Protocol::Udp, source, destination: address, contents };
                shared.state.lock().rtc.handle_input(Input::Receive(Instant::now(), receive)).ok();
            }
            () = tokio::time::sleep(wait) => {
                shared.state.lock().rtc.handle_input(Input::Timeout(Instant::now())).ok();
            }
            _ = clock.tick() => play(&mut shared.state.lock()),
        }
    }
}

/// The next packet of each stream.
fn play(state: &mut State) {
    let State { rtc, streams } = state;
    let mut api = rtc.direct_api();
    for stream in streams {
        let Some(sending) = api.stream_tx(&stream.ssrc) else { continue };
        let tick = u32::try_from(stream.number).unwrap_or_default();
        let (payload_type, timestamp, payload) = if stream.kind == MediaKind::Audio {
            (OPUS, tick * 3840, vec![1; 80])
        } else {
            let is_key = std::mem::take(&mut stream.wants_keyframe) || stream.number.is_multiple_of(KEYFRAMES);
            // RFC 7741, section 4.2: a picture id of two bytes, then the frame, whose lowest bit is not set in a keyframe.
            let [_, _, high, low] = tick.to_be_bytes();
            let mut payload = vec![0x90, 0x80, high | 0x80, low, u8::from(!is_key)];
            payload.resize(600, 0x55);
            (VP8, tick * 7200, payload)
        };
        let packet = RtpWrite::new(payload_type.into(), stream.number.into(), timestamp, Instant::now(), payload);
        sending.write_rtp(packet.marker(true).nackable(stream.kind == MediaKind::Video));
        stream.number += 1;
    }
    // What was written goes out when time passes.
    rtc.handle_input(Input::Timeout(Instant::now())).ok();
}

/// What is to be sent, and when to look again.
fn drain(shared: &Shared) -> (Instant, Vec<(SocketAddr, Vec<u8>)>) {
    let (mut state, mut datagrams) = (shared.state.lock(), Vec::new());
    loop {
        match state.rtc.poll_output() {
            Ok(Output::Timeout(due)) => return (due, datagrams),
            Ok(Output::Transmit(transmit)) => datagrams.push((transmit.destination, transmit.contents.to_vec())),
            Ok(Output::Event(Event::RtpPacket(packet))) => {
                *shared.heard.lock().entry(packet.header.ssrc).or_default() += 1;
                shared.changed.notify_one();
            }
            Ok(Output::Event(Event::KeyframeRequest(_))) => {
                state.streams.iter_mut().for_each(|stream| stream.wants_keyframe = true);
            }
            Ok(Output::Event(_)) => {}
            // It is over: nothing more comes of it.
            Err(_) => return (Instant::now() + LIMIT, datagrams),
        }
    }
}
