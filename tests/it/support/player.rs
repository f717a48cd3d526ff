//! A client of the media server over a real socket: it plays sound, or listens to some.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde_json::{Value, json};
use str0m::media::{MediaKind, Mid};
use str0m::net::{Protocol, Receive};
use str0m::rtp::{RtpWrite, Ssrc};
use str0m::{Candidate, Event, IceCreds, Input, Output, Rtc};
use tokio::net::UdpSocket;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::media::{begin, client_rtc, dtls_of, sound};
use super::roamer::Roamer;
use super::server::LIMIT;

/// How long one packet of sound lasts.
const PACKET: Duration = Duration::from_millis(20);

/// One transport of media, at its client's end. It ends when it is dropped.
pub(crate) struct Player {
    /// Where the media server is.
    pub(crate) server: SocketAddr,
    id: String,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    state: Mutex<State>,
    changed: Notify,
    heard: AtomicUsize,
}

struct State {
    rtc: Rtc,
    /// What it plays.
    stream: Option<Ssrc>,
}

impl Player {
    /// The other end of a transport that the server has created.
    pub(crate) async fn new(created: &Value) -> Self {
        let text = |path: &str| created.pointer(path).and_then(Value::as_str).unwrap_or_else(|| panic!("{created}"));
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let mut rtc = client_rtc(Instant::now());
        rtc.add_local_candidate(Candidate::host(address, "udp").unwrap());
        let server = SocketAddr::new(
            text("/iceCandidates/0/ip").parse().unwrap(),
            created["iceCandidates"][0]["port"].as_u64().and_then(|port| u16::try_from(port).ok()).unwrap(),
        );
        rtc.add_remote_candidate(Candidate::host(server, "udp").unwrap());
        let (ufrag, pass) = (text("/iceParameters/usernameFragment"), text("/iceParameters/password"));
        let credentials = IceCreds { ufrag: ufrag.to_owned(), pass: pass.to_owned() };
        begin(&mut rtc, credentials, text("/dtlsParameters/fingerprints/0/value"));
        let state = Mutex::new(State { rtc, stream: None });
        let shared = Arc::new(Shared { state, changed: Notify::new(), heard: AtomicUsize::new(0) });
        let task = tokio::spawn(run(socket, address, Arc::clone(&shared)));
        Self { server, id: text("/id").to_owned(), shared, task }
    }

    /// The transport's id.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// What it says to connect.
    pub(crate) fn connecting(&self) -> Value {
        let dtls = dtls_of(&mut self.shared.state.lock().rtc);
        json!({ "transportId": self.id, "dtlsParameters": dtls })
    }

    /// Plays sound from now on.
    pub(crate) fn play(&self, mid: &str, ssrc: u32) {
        let mut state = self.shared.state.lock();
        let mut api = state.rtc.direct_api();
        api.declare_media(Mid::from(mid), MediaKind::Audio);
        api.declare_stream_tx(ssrc.into(), None, Mid::from(mid), None);
        state.stream = Some(ssrc.into());
    }

    /// Listens to what the server has said that it will send.
    pub(crate) fn listen(&self, parameters: &Value) {
        let mid = Mid::from(parameters["mid"].as_str().unwrap());
        let ssrc = parameters["encodings"][0]["ssrc"].as_u64().and_then(|ssrc| u32::try_from(ssrc).ok()).unwrap();
        let mut state = self.shared.state.lock();
        let mut api = state.rtc.direct_api();
        api.declare_media(mid, MediaKind::Audio);
        api.expect_stream_rx(ssrc.into(), None, mid, None);
    }

    /// How many packets it has heard.
    pub(crate) fn heard(&self) -> usize {
        self.shared.heard.load(Ordering::Relaxed)
    }

    /// Waits until it has heard so many more.
    pub(crate) async fn hears_more(&self, count: usize) {
        let until = self.heard() + count;
        let waiting = async {
            while self.heard() < until {
                self.shared.changed.notified().await;
            }
        };
        let in_time = tokio::time::timeout(LIMIT, waiting).await.is_ok();
        assert!(in_time, "{} of {until} packets", self.heard());
    }
}

/// What the server can carry.
async fn capabilities(roamer: &mut Roamer) -> Value {
    roamer.ask("router:capabilities", json!({})).await["rtpCapabilities"].take()
}

/// A transport of a client's that is in the only room it is in, connecting.
pub(crate) async fn transport(roamer: &mut Roamer, direction: &str) -> Player {
    let capabilities = capabilities(roamer).await;
    let created =
        roamer.ask("transport:create", json!({ "direction": direction, "rtpCapabilities": capabilities })).await;
    let player = Player::new(&created).await;
    roamer.ask("transport:connect", player.connecting()).await;
    player
}

/// Plays sound: its producer's id.
pub(crate) async fn speaks(roamer: &mut Roamer) -> (Player, String) {
    let player = transport(roamer, "send").await;
    let opus = json!({ "mimeType": "audio/opus", "payloadType": 100, "clockRate": 48000, "channels": 2 });
    let parameters = json!({ "mid": "a", "codecs": [opus], "encodings": [{ "ssrc": 7 }] });
    let request = json!({ "transportId": player.id(), "kind": "audio", "rtpParameters": parameters });
    let produced = roamer.ask("produce", request).await;
    player.play("a", 7);
    (player, produced["id"].as_str().unwrap_or_else(|| panic!("{produced}")).to_owned())
}

/// Listens to a producer.
pub(crate) async fn listens(roamer: &mut Roamer, producer: &str) -> Player {
    let player = transport(roamer, "recv").await;
    let capabilities = capabilities(roamer).await;
    let request = json!({ "transportId": player.id(), "producerId": producer, "rtpCapabilities": capabilities });
    let consumer = roamer.ask("consume", request).await;
    player.listen(&consumer["rtpParameters"]);
    roamer.ask("consumer:resume", json!({ "consumerId": consumer["id"] })).await;
    player
}

impl Drop for Player {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run(socket: UdpSocket, address: SocketAddr, shared: Arc<Shared>) {
    let (mut buffer, mut number) = (vec![0; 2000], 0);
    let mut clock = tokio::time::interval(PACKET);
    loop {
        let (due, datagrams) = drain(&shared);
        for (to, datagram) in datagrams {
            socket.send_to(&datagram, to).await.ok();
        }
        let wait = due.saturating_duration_since(Instant::now());
        tokio::select! {
            received = socket.recv_from(&mut buffer) => {
                // Refused, where the server has gone.
                let Ok((length, from)) = received else { continue };
                let Ok(contents) = buffer[..length].try_into() else { continue };
                let receive = Receive { proto: Protocol::Udp, source: from, destination: address, contents };
                shared.state.lock().rtc.handle_input(Input::Receive(Instant::now(), receive)).ok();
            }
            () = tokio::time::sleep(wait) => {
                shared.state.lock().rtc.handle_input(Input::Timeout(Instant::now())).ok();
            }
            _ = clock.tick() => {
                play(&mut shared.state.lock(), number);
                number += 1;
            }
        }
    }
}

fn play(state: &mut State, number: u64) {
    let State { rtc, stream } = state;
    let mut api = rtc.direct_api();
    let Some(stream) = stream.and_then(|ssrc| api.stream_tx(&ssrc)) else { return };
    let sound = sound(number, -30);
    let (payload_type, number) = (sound.payload_type.into(), sound.number.into());
    stream.write_rtp(RtpWrite::new(payload_type, number, sound.timestamp, Instant::now(), sound.payload));
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
            Ok(Output::Event(Event::RtpPacket(_))) => {
                shared.heard.fetch_add(1, Ordering::Relaxed);
                shared.changed.notify_one();
            }
            Ok(Output::Event(_)) => {}
            Err(_) => return (Instant::now() + LIMIT, datagrams),
        }
    }
}
