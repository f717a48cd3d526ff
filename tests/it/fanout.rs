//! Fan-out of Socket.IO events: the server sends at most the received bytes times the size of the
//! room, and its own fields in each delivery.

use futures_util::SinkExt;
use parlor::dialect::socketio::profile::Profile;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::support::TestServer;
use crate::support::client::{WebSocket, text, websocket};

const ROOM: &str = "r";
const ROOM_SIZE: usize = 6;

/// Size of the bodies, in bytes: large in comparison with the fields that the server adds.
const BODY_BYTES: usize = 8 * 1024;

/// Maximum size of the fields and the recovery offset that the server adds to a delivery, in bytes.
const ADDED_BYTES: usize = 256;

/// An event that no profile defines: its acknowledgement follows everything that was queued before.
const BARRIER: &str = r#"4299["leave-room",{"roomId":"another room"}]"#;

struct Peer {
    socket: WebSocket,
    id: String,
}

impl Peer {
    async fn join(server: &TestServer) -> Self {
        let mut socket = websocket(server, "EIO=4").await;
        text(&mut socket).await;
        socket.send(Message::text("40")).await.unwrap();
        let connected: Value =
            serde_json::from_str(text(&mut socket).await.strip_prefix("40").unwrap()).unwrap();
        let mut peer = Self { socket, id: connected["sid"].as_str().unwrap().to_owned() };
        peer.send(&json!(["join-room", { "roomId": ROOM, "name": "n" }]).to_string()).await;
        peer
    }

    /// Sends an event; returns the size of the frame.
    async fn send(&mut self, array: &str) -> usize {
        let frame = format!("42{array}");
        let size = frame.len();
        self.socket.send(Message::text(frame)).await.unwrap();
        size
    }

    /// Returns the sizes of all frames that the server has queued for the peer.
    async fn drain(&mut self) -> Vec<usize> {
        self.socket.send(Message::text(BARRIER)).await.unwrap();
        let mut sizes = Vec::new();
        loop {
            let frame = text(&mut self.socket).await;
            if frame.starts_with("4399[") {
                return sizes;
            }
            sizes.push(frame.len());
        }
    }
}

/// Returns the sizes of all frames that the server sends to the peers; the events of the first one
/// are processed before.
async fn drain(peers: &mut [Peer]) -> Vec<usize> {
    let mut sizes = Vec::new();
    for peer in peers {
        sizes.extend(peer.drain().await);
    }
    sizes
}

async fn room(profile: &str, size: usize) -> (TestServer, Vec<Peer>) {
    let profiles = format!("--socketio-profiles={profile}");
    let relay = "--relay-events=all,echo!,renamed>other-name";
    let server = TestServer::with(&[&profiles, relay, "--messages-per-second=0"]);
    let mut peers = Vec::new();
    for _ in 0..size {
        peers.push(Peer::join(&server).await);
        drain(&mut peers).await;
    }
    drain(&mut peers).await;
    (server, peers)
}

async fn finish(server: TestServer, peers: Vec<Peer>) {
    for mut peer in peers {
        peer.socket.close(None).await.unwrap();
    }
    server.finish().await;
}

fn body(does: &str) -> Value {
    let long = "x".repeat(BODY_BYTES);
    match does {
        "candidate" => json!({ "candidate": format!("candidate:{long}"), "sdpMid": "0" }),
        "answer" => json!({ "type": "answer", "sdp": long }),
        _ => json!({ "type": "offer", "sdp": long }),
    }
}

/// Returns arguments that match the shape of an `[[in]]` rule.
fn fill(shape: &toml::Value, does: &str, target: &str) -> Value {
    match shape {
        toml::Value::String(text) => match text.trim_end_matches('?') {
            "$room" => json!(ROOM),
            "$target" => json!(target),
            "$body" => body(does),
            variable if variable.starts_with('$') => json!("value"),
            literal => json!(literal),
        },
        toml::Value::Array(values) => {
            values.iter().map(|value| fill(value, does, target)).collect()
        }
        toml::Value::Table(members) => members
            .iter()
            .filter(|(key, _)| *key != "...")
            .map(|(key, value)| (key.clone(), fill(value, does, target)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
        other => serde_json::to_value(other).unwrap(),
    }
}

/// Returns an event for each `[[in]]` rule of a profile that carries a body, and application
/// events.
fn events(profile: &str, target: &str) -> Vec<Value> {
    let file: toml::Table = Profile::source(profile).unwrap().parse().unwrap();
    let rules = file.get("in").and_then(toml::Value::as_array).cloned().unwrap_or_default();
    let mut events: Vec<Value> = Vec::new();
    for rule in &rules {
        let does = rule["does"].as_str().unwrap();
        if !["offer", "answer", "candidate", "signal", "relay"].contains(&does) {
            continue;
        }
        let names = match &rule["event"] {
            toml::Value::String(name) => vec![name.clone()],
            names => names
                .as_array()
                .unwrap()
                .iter()
                .map(|name| name.as_str().unwrap().to_owned())
                .collect(),
        };
        let key = if does == "signal" { "signal" } else { does };
        let args = rule.get("args").map_or_else(
            || json!([{ "to": target, key: body(does) }]),
            |shape| fill(shape, does, target),
        );
        for name in names {
            let arguments = args.as_array().unwrap().iter().cloned();
            events.push(std::iter::once(json!(name)).chain(arguments).collect());
        }
    }
    for does in ["offer", "answer", "candidate"] {
        let event = if does == "candidate" { "ice-candidate" } else { does };
        events.push(json!([event, { "to": target, does: body(does) }]));
        events.push(json!([event, { does: body(does) }]));
    }
    for event in ["draw", "echo", "renamed"] {
        events.push(json!([event, { "text": "x".repeat(BODY_BYTES) }]));
        events.push(json!([event, { "text": "x".repeat(BODY_BYTES), "to": target }]));
        events.push(json!([event, "x".repeat(BODY_BYTES), { "room": ROOM }]));
    }
    events
}

#[tokio::test]
async fn server_sends_at_most_what_it_receives_times_the_room_size() {
    for profile in Profile::builtin() {
        let (server, mut peers) = room(profile.name(), ROOM_SIZE).await;
        for event in events(profile.name(), &peers[1].id.clone()) {
            let event = event.to_string();
            let received = peers[0].send(&event).await;
            let sent = drain(&mut peers).await;
            let what = format!("{}: {}", profile.name(), &event[..80]);
            assert!(sent.iter().any(|size| *size >= BODY_BYTES), "{what}: not delivered: {sent:?}");
            let total: usize = sent.iter().sum();
            let limit = (received + ADDED_BYTES) * ROOM_SIZE;
            assert!(total <= limit, "{what}: {received} bytes received, {total} sent");
        }
        finish(server, peers).await;
    }
}

#[tokio::test]
async fn a_join_causes_events_in_proportion_to_the_room_size() {
    const SMALL: usize = 4;
    for profile in Profile::builtin() {
        let mut counts = Vec::new();
        for size in [SMALL, 3 * SMALL] {
            let (server, mut peers) = room(profile.name(), size - 1).await;
            peers.push(Peer::join(&server).await);
            // The join is processed before the barrier of its sender, which is the last in the
            // list.
            peers.rotate_right(1);
            counts.push(drain(&mut peers).await.len());
            finish(server, peers).await;
        }
        assert!(counts[0] > 0 && counts[1] <= 3 * counts[0], "{}: {counts:?}", profile.name());
    }
}
