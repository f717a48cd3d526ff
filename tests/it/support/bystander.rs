//! Calls over every protocol, one after the other, made by well-behaved clients during an attack.
//! Each call must succeed, and its messages must arrive in order.
//!
//! With `PARLOR_TEST_LATENCY=1` each call must also be quick. That can only be asserted when
//! nothing else runs on the machine, so these tests then run one after the other.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{LazyLock, Mutex, Once};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_tungstenite::tungstenite::Message;

use super::TestServer;
use super::client::{WebSocket, normal_close};
use super::protocol_peer::{PROTOCOLS, Protocol, message};
use super::server::{LIMIT, short};

/// Maximum duration of a call of a well-behaved client during an attack, times [`time_factor`].
const BYSTANDER_LIMIT: Duration = Duration::from_millis(250);

/// Number of repetitions of an attack before the server counts as slow, if latency is asserted.
pub(crate) const ATTEMPTS: usize = 3;

/// Interval between two calls, which leaves the machine to the attack.
const PACE: Duration = Duration::from_millis(20);

/// Number of candidates that each side of a call sends.
const CANDIDATES: usize = 3;

/// Calls that are repeated until they are stopped, on a separate thread and runtime, so that the
/// attack on the test's runtime does not delay their clocks.
pub(crate) struct Bystander {
    /// Number of calls of each kind so far.
    rounds: watch::Receiver<usize>,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<Report>>,
    began: usize,
}

/// Result of the calls.
#[derive(Debug, Default)]
pub(crate) struct Report {
    calls: usize,
    slowest: Duration,
    slowest_handshake: Duration,
}

/// Returns whether this run asserts latency, which requires an otherwise idle machine.
pub(crate) fn asserts_latency() -> bool {
    static ASSERTS: LazyLock<bool> =
        LazyLock::new(|| std::env::var("PARLOR_TEST_LATENCY").is_ok_and(|set| set == "1"));
    *ASSERTS
}

/// Returns the factor of the bounds of time, for machines that are slower than two idle cores.
pub(crate) fn time_factor() -> u32 {
    let factor = std::env::var("PARLOR_TEST_TIME_FACTOR").ok();
    factor.map_or(1, |factor| factor.parse().expect("a whole number"))
}

/// Runs an attack on a server while bystanders call. Afterwards all their calls must have
/// succeeded, no task of the server may have panicked, and the server must have no state.
///
/// If latency is asserted, the machine may also be the cause of a slow call: the attack is
/// repeated, and the test fails if a call was slow each time.
#[expect(clippy::needless_pass_by_value, reason = "a closure is written where it is used")]
pub(crate) fn attacked(flags: &[&str], attack: impl AsyncFn(&TestServer, &mut Bystander)) {
    let mut slow = Vec::new();
    while slow.len() < ATTEMPTS {
        let report = attacked_once(flags, &attack);
        if report.is_quick() {
            return;
        }
        slow.push(report);
    }
    panic!("slow each time: {slow:?}");
}

fn attacked_once(flags: &[&str], attack: &impl AsyncFn(&TestServer, &mut Bystander)) -> Report {
    let threads = watched_threads();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name(threads.as_str())
        .enable_all()
        .build()
        .unwrap();
    let report = runtime.block_on(async {
        let server = TestServer::within(&short(), flags);
        let mut bystander = Bystander::beside(server.address()).await;
        attack(&server, &mut bystander).await;
        let report = bystander.finish().await;
        server.finish().await;
        report
    });
    let panics: Vec<String> = PANICS
        .lock()
        .unwrap()
        .iter()
        .filter(|panic| panic.starts_with(&threads))
        .cloned()
        .collect();
    assert!(panics.is_empty(), "the server panicked: {panics:#?}");
    report
}

/// Panics since the start; each begins with the name of its thread.
static PANICS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Returns a name for the threads of a runtime, under which panics are recorded: even a contained
/// panic is a bug.
fn watched_threads() -> String {
    static HOOK: Once = Once::new();
    static RUNTIMES: AtomicUsize = AtomicUsize::new(0);
    HOOK.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let thread = std::thread::current();
            PANICS.lock().unwrap().push(format!("{}: {panic}", thread.name().unwrap_or_default()));
            usual(panic);
        }));
    });
    format!("attacked-{}.", RUNTIMES.fetch_add(1, Ordering::Relaxed))
}

impl Report {
    /// Returns whether every call was quick enough; always true if latency is not asserted.
    pub(crate) fn is_quick(&self) -> bool {
        let limit = BYSTANDER_LIMIT * time_factor();
        !asserts_latency() || (self.slowest < limit && self.slowest_handshake < limit)
    }
}

impl Bystander {
    /// Starts the calls, and returns after the first successful round.
    pub(crate) async fn beside(address: SocketAddr) -> Self {
        let (round, rounds) = watch::channel(0);
        let (stop, stopped) = watch::channel(false);
        let thread = std::thread::Builder::new().name("bystander".to_owned());
        let thread = thread.spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(call_repeatedly(address, &round, &stopped))
        });
        let mut bystander = Self { rounds, stop, thread: Some(thread.unwrap()), began: 0 };
        bystander.until(1).await;
        bystander.began = *bystander.rounds.borrow();
        bystander
    }

    async fn until(&mut self, round: usize) {
        let waiting = self.rounds.wait_for(|rounds| *rounds >= round);
        let outcome = tokio::time::timeout(LIMIT, waiting).await;
        assert!(outcome.is_ok_and(|rounds| rounds.is_ok()), "bystanders cannot call any more");
    }

    /// Waits until a call of every kind was made from beginning to end.
    pub(crate) async fn round(&mut self) {
        let under_way = *self.rounds.borrow() + 1;
        self.until(under_way + 1).await;
    }

    /// Repeats a short attack until a call of every kind was made during it.
    pub(crate) async fn repeat(&mut self, mut attack: impl AsyncFnMut()) {
        let under_way = *self.rounds.borrow() + 1;
        while *self.rounds.borrow() <= under_way {
            assert!(self.rounds.has_changed().is_ok(), "bystanders cannot call any more");
            attack().await;
        }
    }

    /// Stops the calls, of which at least one must have been made during the attack.
    pub(crate) async fn finish(mut self) -> Report {
        assert!(*self.rounds.borrow() > self.began, "no call was made while the attack went on");
        self.stop.send_replace(true);
        let thread = self.thread.take().expect("finished once");
        let report = tokio::task::spawn_blocking(|| thread.join())
            .await
            .unwrap()
            .expect("each call goes well");
        println!("{report:?}");
        report
    }
}

impl Drop for Bystander {
    fn drop(&mut self) {
        self.stop.send_replace(true);
    }
}

async fn call_repeatedly(
    address: SocketAddr,
    round: &watch::Sender<usize>,
    stopped: &watch::Receiver<bool>,
) -> Report {
    let mut report = Report::default();
    let mut lasting = Vec::new();
    for protocol in PROTOCOLS {
        lasting.push(open_pair(address, protocol, "bystanders", &mut report).await);
    }
    while !*stopped.borrow() {
        for pair in &mut lasting {
            let room = format!("bystanders-{}", report.calls);
            call(pair, &room, &mut report).await;
            tokio::time::sleep(PACE).await;
        }
        for protocol in PROTOCOLS {
            let room = format!("bystanders-{}", report.calls);
            let mut fresh = open_pair(address, protocol, &room, &mut report).await;
            call(&mut fresh, &room, &mut report).await;
            for line in fresh {
                line.close().await;
            }
            tokio::time::sleep(PACE).await;
        }
        round.send_modify(|rounds| *rounds += 1);
    }
    for line in lasting.into_iter().flatten() {
        line.close().await;
    }
    report
}

/// One side of a call.
struct Line {
    protocol: Protocol,
    name: &'static str,
    socket: WebSocket,
    /// Id that other peers see, which a topic client gets from the server.
    id: String,
}

/// Connects two peers that know each other's ids; on topics they are in the room.
async fn open_pair(
    address: SocketAddr,
    protocol: Protocol,
    room: &str,
    report: &mut Report,
) -> [Line; 2] {
    let mut pair = [
        Line::open(address, protocol, room, "ann", report).await,
        Line::open(address, protocol, room, "bob", report).await,
    ];
    if protocol == Protocol::Topic {
        let [ann, bob] = &mut pair;
        ann.expect_event(&["peer-joined", &bob.id]).await;
    }
    pair
}

/// Makes a call: both join, the second offers, the first answers, both send candidates, both leave.
async fn call([ann, bob]: &mut [Line; 2], room: &str, report: &mut Report) {
    let (to_ann, to_bob) = (ann.id.clone(), bob.id.clone());
    let began = Instant::now();
    ann.join(room).await;
    bob.join(room).await;
    bob.signal("offer", room, &to_ann, room).await;
    ann.expect_event(&["offer", room]).await;
    ann.signal("answer", room, &to_bob, room).await;
    bob.expect_event(&["answer", room]).await;
    for number in 0..CANDIDATES {
        let candidate = format!("{room}:{number}");
        ann.signal("candidate", room, &to_bob, &candidate).await;
        bob.signal("candidate", room, &to_ann, &candidate).await;
    }
    for number in 0..CANDIDATES {
        let candidate = format!("{room}:{number}");
        ann.expect_event(&["candidate", &candidate]).await;
        bob.expect_event(&["candidate", &candidate]).await;
    }
    bob.leave(room).await;
    if matches!(ann.protocol, Protocol::SocketIo | Protocol::Envelope) {
        ann.expect_event(&["left", room]).await;
    }
    ann.leave(room).await;
    report.slowest = report.slowest.max(began.elapsed());
    report.calls += 1;
}

impl Line {
    async fn open(
        address: SocketAddr,
        protocol: Protocol,
        room: &str,
        name: &'static str,
        report: &mut Report,
    ) -> Self {
        let path = match protocol {
            Protocol::SocketIo => "/socket.io/?EIO=4&transport=websocket".to_owned(),
            Protocol::Envelope => "/ws".to_owned(),
            Protocol::Topic => format!("/ws/{room}"),
            Protocol::Session => "/signal".to_owned(),
        };
        let began = Instant::now();
        let connecting = tokio_tungstenite::connect_async_with_config(
            format!("ws://{address}{path}"),
            None,
            true,
        );
        let connected = tokio::time::timeout(LIMIT, connecting)
            .await
            .expect("the handshake is answered in time");
        let mut line = Self {
            protocol,
            name,
            socket: connected.expect("the handshake goes well").0,
            id: name.to_owned(),
        };
        match protocol {
            Protocol::SocketIo => {
                line.expect_event(&["0{"]).await;
                line.send("40").await;
                line.expect_event(&["40{"]).await;
            }
            Protocol::Envelope => line.expect_event(&["connection:ack"]).await,
            Protocol::Topic => {
                let welcome: Value = serde_json::from_str(&line.next().await).unwrap();
                welcome["selfId"].as_str().expect("a welcome comes first").clone_into(&mut line.id);
                line.expect_event(&["peer-list"]).await;
            }
            Protocol::Session => {}
        }
        report.slowest_handshake = report.slowest_handshake.max(began.elapsed());
        line
    }

    async fn send(&mut self, text: impl Into<String>) {
        self.socket.send(Message::text(text.into())).await.expect("the connection is open");
    }

    async fn next(&mut self) -> String {
        let text = message(&mut self.socket).await;
        text.unwrap_or_else(|code| {
            panic!("a bystander on {:?} was closed with {code}", self.protocol)
        })
    }

    /// Waits for the next message that contains all of these texts; fails at an error.
    async fn expect_event(&mut self, parts: &[&str]) {
        loop {
            let text = self.next().await;
            assert!(!text.contains("error"), "a bystander on {:?} got {text}", self.protocol);
            if parts.iter().all(|part| text.contains(part)) {
                return;
            }
        }
    }

    async fn join(&mut self, room: &str) {
        match self.protocol {
            Protocol::SocketIo => {
                self.send(format!("42{}", json!(["join-room", room, self.name]))).await;
                self.expect_event(&["room-joined", room]).await;
            }
            Protocol::Envelope => {
                let payload = json!({ "roomId": room, "user": { "id": self.name } });
                self.send(json!({ "type": "room:join", "payload": payload }).to_string()).await;
                self.expect_event(&["room:state", room]).await;
            }
            Protocol::Topic => {}
            Protocol::Session => {
                self.send(json!({ "type": "join", "sessionId": room }).to_string()).await;
            }
        }
    }

    async fn signal(&mut self, kind: &str, room: &str, to: &str, content: &str) {
        let key = if kind == "candidate" { "candidate" } else { "sdp" };
        let event = if kind == "candidate" { "ice-candidate" } else { kind };
        let text = match self.protocol {
            Protocol::SocketIo => {
                format!("42{}", json!([event, { "roomId": room, "targetId": to, key: content }]))
            }
            Protocol::Envelope => {
                let kind = if kind == "candidate" {
                    "ice:candidate".to_owned()
                } else {
                    format!("sdp:{kind}")
                };
                let mut payload = json!({ "roomId": room, "targetUserId": to, key: content });
                if kind == "ice:candidate" {
                    payload["sdpMid"] = json!("0");
                    payload["sdpMLineIndex"] = json!(0);
                }
                json!({ "type": kind, "payload": payload }).to_string()
            }
            Protocol::Topic => {
                json!({ "type": event, "to": to, "payload": { key: content } }).to_string()
            }
            Protocol::Session => {
                json!({ "type": kind, "sessionId": room, key: content }).to_string()
            }
        };
        self.send(text).await;
    }

    async fn leave(&mut self, room: &str) {
        match self.protocol {
            Protocol::SocketIo => {
                self.send(format!("427{}", json!(["leave-room", room]))).await;
                self.expect_event(&["437["]).await;
            }
            Protocol::Envelope => {
                self.send(
                    json!({ "type": "room:leave", "payload": { "roomId": room } }).to_string(),
                )
                .await;
                self.expect_event(&["room:state", room]).await;
            }
            Protocol::Topic => {}
            Protocol::Session => {
                self.send(json!({ "type": "leave", "sessionId": room }).to_string()).await;
            }
        }
    }

    async fn close(mut self) {
        self.socket.close(Some(normal_close())).await.ok();
        let rest = async { while let Some(Ok(_)) = self.socket.next().await {} };
        tokio::time::timeout(LIMIT, rest).await.expect("the server closes as well");
    }
}
