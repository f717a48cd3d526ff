//! Many clients of the media server on one thread: whole ICE, DTLS and SRTP, and what they send is made up.
//!
//! Each transport has a socket, as each client has. Datagrams are taken as they come; clocks that have run down are looked
//! at every few milliseconds, since there are hundreds.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use mio::net::UdpSocket;
use mio::{Events, Interest, Poll, Token};
use serde_json::{Value, json};
use str0m::format::{Codec, FormatParams};
use str0m::media::{Frequency, MediaKind, Mid};
use str0m::net::{Protocol, Receive};
use str0m::rtp::{Extension, ExtensionMap, RtpWrite, Ssrc};
use str0m::{Candidate, Event, IceCreds, Input, Output, Rtc};

/// From one packet of sound to the next. So often there are pictures, too, of so many packets.
const INTERVAL: Duration = Duration::from_millis(20);
const PACKETS: u64 = 2;

const SOUND_BYTES: usize = 80;
const PICTURE_BYTES: usize = 1000;

/// How often clocks are looked at.
const TICK: Duration = Duration::from_millis(5);

/// How long all may take to connect.
const LIMIT: Duration = Duration::from_secs(30);

/// The numbers that the server gives its consumers, which these clients send with, too.
const OPUS: u8 = 100;
const VP8: u8 = 101;
const VP8_RTX: u8 = 102;

const SOUND: u32 = 1;
const PICTURES: u32 = 2;
const PICTURES_RTX: u32 = 3;

pub(crate) struct Hall {
    poll: Poll,
    ends: Vec<End>,
    /// Whether those speak that can.
    pub(crate) is_speaking: bool,
    /// How many packets of media have come.
    pub(crate) received: u64,
    ticked: Instant,
    played: Instant,
}

/// The client's end of a transport.
struct End {
    socket: UdpSocket,
    address: SocketAddr,
    rtc: Rtc,
    due: Instant,
    is_connected: bool,
    /// How often it has played, where it does.
    plays: Option<u64>,
}

impl Hall {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let (poll, now) = (Poll::new()?, Instant::now());
        Ok(Self { poll, ends: Vec::new(), is_speaking: false, received: 0, ticked: now, played: now })
    }

    /// The other end of a transport that the server has created: its number, and what is to be said to connect.
    pub(crate) fn open(&mut self, created: &Value) -> anyhow::Result<(usize, Value)> {
        let text = |path: &str| created.pointer(path).and_then(Value::as_str).context("a transport is described");
        let mut socket = UdpSocket::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        let index = self.ends.len();
        self.poll.registry().register(&mut socket, Token(index), Interest::READABLE)?;
        let address = socket.local_addr()?;
        let port = created["iceCandidates"][0]["port"].as_u64().and_then(|port| u16::try_from(port).ok());
        let server = SocketAddr::new(text("/iceCandidates/0/ip")?.parse()?, port.context("a port")?);
        let mut rtc = client();
        rtc.add_local_candidate(Candidate::host(address, "udp")?);
        rtc.add_remote_candidate(Candidate::host(server, "udp")?);
        let ufrag = text("/iceParameters/usernameFragment")?.to_owned();
        let pass = text("/iceParameters/password")?.to_owned();
        let fingerprint = format!("sha-256 {}", text("/dtlsParameters/fingerprints/0/value")?);
        let mut api = rtc.direct_api();
        api.set_ice_controlling(true);
        api.set_remote_ice_credentials(IceCreds { ufrag, pass });
        api.set_remote_fingerprint(fingerprint.parse().ok().context("a fingerprint")?);
        api.start_dtls(true)?;
        api.enable_twcc_feedback();
        let own = api.local_dtls_fingerprint().to_string();
        let value = own.rsplit(' ').next().unwrap_or_default();
        let dtls = json!({ "role": "client", "fingerprints": [{ "algorithm": "sha-256", "value": value }] });
        self.ends.push(End { socket, address, rtc, due: Instant::now(), is_connected: false, plays: None });
        Ok((index, json!({ "transportId": created["id"], "dtlsParameters": dtls })))
    }

    /// One speaks and is seen: what it says of its sound and of its pictures.
    pub(crate) fn speak(&mut self, index: usize) -> [(&'static str, Value); 2] {
        let end = &mut self.ends[index];
        end.plays = Some(0);
        let mut api = end.rtc.direct_api();
        let (sound, pictures) = (Mid::from("a"), Mid::from("v"));
        api.declare_media(sound, MediaKind::Audio);
        api.declare_stream_tx(SOUND.into(), None, sound, None);
        api.declare_media(pictures, MediaKind::Video);
        api.declare_stream_tx(PICTURES.into(), Some(PICTURES_RTX.into()), pictures, None);
        let opus = json!({ "mimeType": "audio/opus", "payloadType": OPUS, "clockRate": 48000, "channels": 2 });
        let vp8 = json!({ "mimeType": "video/VP8", "payloadType": VP8, "clockRate": 90000 });
        let rtx = json!({
            "mimeType": "video/rtx", "payloadType": VP8_RTX, "clockRate": 90000, "parameters": { "apt": VP8 },
        });
        let stream = json!({ "ssrc": PICTURES, "rtx": { "ssrc": PICTURES_RTX } });
        [
            ("audio", json!({ "mid": "a", "codecs": [opus], "encodings": [{ "ssrc": SOUND }] })),
            ("video", json!({ "mid": "v", "codecs": [vp8, rtx], "encodings": [stream] })),
        ]
    }

    /// One is going to get what the server says.
    pub(crate) fn listen(&mut self, index: usize, consumer: &Value) -> anyhow::Result<()> {
        let ssrc = |path: &str| -> Option<Ssrc> { Some(u32::try_from(consumer.pointer(path)?.as_u64()?).ok()?.into()) };
        let mid = Mid::from(consumer["rtpParameters"]["mid"].as_str().context("a mid")?);
        let main = ssrc("/rtpParameters/encodings/0/ssrc").context("an SSRC")?;
        let rtx = ssrc("/rtpParameters/encodings/0/rtx/ssrc");
        let mut api = self.ends[index].rtc.direct_api();
        api.declare_media(mid, if consumer["kind"] == "audio" { MediaKind::Audio } else { MediaKind::Video });
        api.expect_stream_rx(main, rtx, mid, None);
        Ok(())
    }

    /// Waits until all are connected.
    pub(crate) fn connect(&mut self) -> anyhow::Result<()> {
        let until = Instant::now() + LIMIT;
        while self.ends.iter().any(|end| !end.is_connected) {
            let missing = self.ends.iter().filter(|end| !end.is_connected).count();
            ensure!(Instant::now() < until, "{missing} of {} do not connect", self.ends.len());
            self.run(TICK)?;
        }
        Ok(())
    }

    /// Goes on for so long.
    pub(crate) fn run(&mut self, time: Duration) -> anyhow::Result<()> {
        let end = Instant::now() + time;
        let mut events = Events::with_capacity(1024);
        while Instant::now() < end {
            let next = (self.ticked + TICK).min(self.played + INTERVAL).min(end);
            let wait = next.saturating_duration_since(Instant::now());
            match self.poll.poll(&mut events, Some(wait)) {
                Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error.into()),
                _ => {}
            }
            for event in &events {
                let Token(index) = event.token();
                self.received += self.ends[index].receive()?;
            }
            let now = Instant::now();
            if now >= self.played + INTERVAL {
                // Late is late: what was missed is not sent at once.
                self.played = now.max(self.played + INTERVAL);
                if self.is_speaking {
                    for end in &mut self.ends {
                        end.play(now);
                        self.received += end.drain()?;
                    }
                }
            }
            if now >= self.ticked + TICK {
                self.ticked = now;
                for end in self.ends.iter_mut().filter(|end| end.due <= now) {
                    end.rtc.handle_input(Input::Timeout(now))?;
                    self.received += end.drain()?;
                }
            }
        }
        Ok(())
    }
}

impl End {
    /// Takes what has come: how many packets of media were in it.
    fn receive(&mut self) -> anyhow::Result<u64> {
        let (mut buffer, mut received) = ([0; 2000], 0);
        loop {
            let (length, source) = match self.socket.recv_from(&mut buffer) {
                Ok(datagram) => datagram,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(received),
                Err(error) => return Err(error).context("the server takes no datagrams"),
            };
            let Ok(contents) = buffer[..length].try_into() else { continue };
            let receive = Receive { proto: Protocol::Udp, source, destination: self.address, contents };
            self.rtc.handle_input(Input::Receive(Instant::now(), receive))?;
            received += self.drain()?;
        }
    }

    fn drain(&mut self) -> anyhow::Result<u64> {
        let mut received = 0;
        loop {
            match self.rtc.poll_output()? {
                Output::Timeout(due) => {
                    self.due = due;
                    return Ok(received);
                }
                Output::Transmit(transmit) => {
                    // What is not taken is lost, as on the way.
                    self.socket.send_to(&transmit.contents, transmit.destination).ok();
                }
                Output::Event(Event::Connected) => self.is_connected = true,
                Output::Event(Event::RtpPacket(_)) => received += 1,
                Output::Event(_) => {}
            }
        }
    }

    /// The next packets of one that speaks.
    fn play(&mut self, now: Instant) {
        let Some(played) = &mut self.plays else { return };
        let number = *played;
        *played += 1;
        let tick = u32::try_from(number).unwrap_or_default();
        let mut api = self.rtc.direct_api();
        if let Some(stream) = api.stream_tx(&SOUND.into()) {
            let packet = RtpWrite::new(OPUS.into(), number.into(), tick * 960, now, vec![1; SOUND_BYTES]);
            stream.write_rtp(packet.marker(false));
        }
        if let Some(stream) = api.stream_tx(&PICTURES.into()) {
            for part in 0..PACKETS {
                // RFC 7741, section 4.2: the first packet of a picture says so; all pictures are keyframes.
                let [_, _, high, low] = tick.to_be_bytes();
                let start = if part == 0 { 0x90 } else { 0x80 };
                let mut payload = vec![start, 0x80, high | 0x80, low, 0];
                payload.resize(PICTURE_BYTES, 0x55);
                let packet = RtpWrite::new(VP8.into(), (number * PACKETS + part).into(), tick * 1800, now, payload);
                stream.write_rtp(packet.marker(part + 1 == PACKETS).nackable(true));
            }
        }
        // What was written goes out when time passes; a failure is told by what is drained next.
        self.rtc.handle_input(Input::Timeout(now)).ok();
    }
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
