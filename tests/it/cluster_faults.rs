//! Calls between nodes while the engine, a node or connections fail, with real servers: each signal
//! arrives once and in order, or is reported to its sender, and afterwards all nodes agree.
//!
//! `PARLOR_FAULTS=long` adds the cases that take long.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use parlor::id::RoomId;
use serde_json::{Value, json};

use crate::cluster_nodes::{member, node, process, until_engine};
use crate::support::protocol_peer::Received;
use crate::support::redis::Redis;
use crate::support::resuming_client::{ClientKind, ResumingClient};
use crate::support::server::LIMIT;
use crate::support::{Client, TestServer};

const RESUME: &str = "--resume-seconds=30";

/// Whether the cases that take long are to run.
pub(crate) fn is_long() -> bool {
    std::env::var("PARLOR_FAULTS").is_ok_and(|cases| cases == "long")
}

/// Two who send each other numbered offers: `ann`, and `ben`.
pub(crate) struct Call {
    ann: Client,
    ben: Client,
    sent: u32,
    received: [Vec<u32>; 2],
    reported: [usize; 2],
    /// How often one has seen the other leave.
    departures: usize,
    /// Whether a peer may be missing for a moment, so that an offer is refused instead of sent.
    is_healing: bool,
}

impl Call {
    pub(crate) async fn between(one: &TestServer, two: &TestServer) -> Self {
        let mut ann = member(one, "r", "ann").await;
        let ben = member(two, "r", "ben").await;
        assert_eq!(ann.next_event("user-joined").await[0]["userId"], "ben");
        Self {
            ann,
            ben,
            sent: 0,
            received: Default::default(),
            reported: [0; 2],
            departures: 0,
            is_healing: false,
        }
    }

    /// Each sends so many offers.
    pub(crate) async fn send(&mut self, count: u32) {
        for number in self.sent..self.sent + count {
            let both = [(&mut self.ann, "ben"), (&mut self.ben, "ann")]
                .into_iter()
                .zip(&mut self.reported);
            for ((client, to), reported) in both {
                let offer = json!({ "roomId": "r", "targetId": to, "offer": { "type": "offer", "sdp": number } });
                let acknowledged = client.ask("offer", offer).await;
                if self.is_healing && acknowledged["code"] == "TARGET_NOT_FOUND" {
                    *reported += 1;
                } else {
                    assert_eq!(acknowledged["ok"], true, "{acknowledged}");
                }
            }
        }
        self.sent += count;
    }

    fn note(&mut self, index: usize, event: &[Value]) {
        match event[0].as_str().unwrap() {
            "offer" => {
                let number = u32::try_from(event[1]["offer"]["sdp"].as_u64().unwrap()).unwrap();
                let last = self.received[index].last().copied();
                assert!(last < Some(number) || last.is_none(), "{number} after {last:?}");
                self.received[index].push(number);
            }
            "error" => self.reported[index] += 1,
            // An engine that has lost data may show a peer as gone for a moment.
            "user-left" => self.departures += 1,
            "user-joined" | "room-users" | "user-away" | "user-back" => {}
            other => panic!("{other}: {event:?}"),
        }
    }

    /// Sends until offers arrive at both again.
    async fn settle(&mut self) {
        let began = Instant::now();
        self.is_healing = true;
        loop {
            self.send(1).await;
            let last = self.sent - 1;
            let mut arrived = BTreeSet::new();
            let until = tokio::time::Instant::now() + Duration::from_secs(1);
            while arrived.len() < 2 {
                let Self { ann, ben, .. } = self;
                let (index, event) = tokio::select! {
                    event = ann.next() => (0, event),
                    event = ben.next() => (1, event),
                    () = tokio::time::sleep_until(until) => break,
                };
                self.note(index, &event);
                if self.received[index].last() == Some(&last) {
                    arrived.insert(index);
                }
            }
            if arrived.len() == 2 {
                break;
            }
            assert!(began.elapsed() < Duration::from_secs(25), "no offer arrives any more");
        }
    }

    /// Sends until offers arrive at both again, and checks that all have arrived, and that neither
    /// was seen leaving.
    pub(crate) async fn heals_without_loss(self) -> (Client, Client) {
        let departures = self.departures;
        let (ends, since) = self.heals_with_all_offers().await;
        assert_eq!(departures + since, 0, "seen leaving");
        ends
    }

    /// Sends until offers arrive at both again, and checks that all have arrived. Returns how often
    /// one of them was seen leaving meanwhile.
    pub(crate) async fn heals_with_all_offers(mut self) -> ((Client, Client), usize) {
        let before = self.departures;
        self.settle().await;
        let all: Vec<u32> = (0..self.sent).collect();
        assert_eq!(self.reported, [0; 2], "reported as not delivered");
        assert_eq!(self.received, [all.clone(), all]);
        ((self.ann, self.ben), self.departures - before)
    }

    /// Sends until offers arrive at both again, and checks that each of the others arrived or was
    /// reported.
    pub(crate) async fn heals(mut self) -> (Client, Client) {
        self.settle().await;
        let sent = usize::try_from(self.sent).unwrap();
        for (from, to) in [(0, 1), (1, 0)] {
            let missing = sent - self.received[to].len();
            assert!(
                missing <= self.reported[from],
                "{missing} of {sent} are missing, {:?} reported",
                self.reported
            );
        }
        (self.ann, self.ben)
    }
}

/// Ends a call, and checks that nothing of it is left.
pub(crate) async fn finish((ann, ben): (Client, Client), servers: [TestServer; 2]) {
    let room = RoomId::new("r").unwrap();
    for server in &servers {
        server.until("both are in", |_| server.hub().rooms().size(&room) == 2).await;
    }
    ann.close().await;
    ben.close().await;
    for server in servers {
        server.finish().await;
    }
}

/// Runs a call while the engine is stopped for some seconds.
async fn engine_stops_for(seconds: u64) {
    let redis = Redis::start();
    let servers = ["one", "two"].map(|name| node(&redis, name, &[]));
    let mut call = Call::between(&servers[0], &servers[1]).await;
    call.send(10).await;
    redis.signal("STOP");
    let until = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < until {
        call.send(1).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    redis.signal("CONT");
    finish(call.heals().await, servers).await;
}

#[tokio::test]
async fn engine_stops_for_a_moment() {
    engine_stops_for(3).await;
}

#[tokio::test]
async fn engine_stops_for_longer_than_a_beat_may_take() {
    if is_long() {
        engine_stops_for(7).await;
    }
}

#[tokio::test]
async fn engine_stops_for_longer_than_a_lease() {
    if is_long() {
        engine_stops_for(15).await;
    }
}

#[tokio::test]
async fn engine_that_executes_a_slow_command_loses_nothing() {
    let redis = Redis::with(&["--enable-debug-command", "yes"]);
    let servers = ["one", "two"].map(|name| node(&redis, name, &[]));
    let mut call = Call::between(&servers[0], &servers[1]).await;
    call.send(10).await;
    // Longer than a beat may take.
    let mut connection = redis.connection().await;
    let mut command = redis::cmd("DEBUG");
    command.arg("SLEEP").arg(4);
    let sleeping = tokio::spawn(async move {
        // The connection waits for less than that.
        _ = command.exec_async(&mut connection).await;
    });
    let until = Instant::now() + Duration::from_secs(4);
    while Instant::now() < until {
        call.send(1).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    sleeping.await.unwrap();
    finish(call.heals().await, servers).await;
}

#[tokio::test]
async fn engine_comes_back_with_old_data() {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join(format!("redis-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let mut redis = Redis::with(&["--dir", folder.to_str().unwrap()]);
    let servers = ["one", "two"].map(|name| node(&redis, name, &[]));
    let mut ann = member(&servers[0], "r", "ann").await;
    let cat = member(&servers[1], "r", "cat").await;
    ann.next_event("user-joined").await;
    let mut connection = redis.connection().await;
    redis::cmd("SAVE").exec_async(&mut connection).await.unwrap();
    // Since then one has left, and another has joined.
    cat.close().await;
    ann.next_event("user-left").await;
    let ben = member(&servers[1], "r", "ben").await;
    ann.next_event("user-joined").await;
    redis.kill();
    for server in &servers {
        until_engine(server, "away").await;
    }
    redis.run();
    for server in &servers {
        until_engine(server, "connected").await;
    }
    let mut call = Call {
        ann,
        ben,
        sent: 0,
        received: Default::default(),
        reported: [0; 2],
        departures: 0,
        is_healing: true,
    };
    call.send(10).await;
    let ends = call.heals().await;
    let list =
        reqwest::get(servers[0].url("/api/rooms/r")).await.unwrap().json::<Value>().await.unwrap();
    let mut users: Vec<&str> =
        list["participants"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    users.sort_unstable();
    assert_eq!(users, ["ann", "ben"], "no peer of the past");
    finish(ends, servers).await;
    std::fs::remove_dir_all(folder).unwrap();
}

#[tokio::test]
async fn connections_to_the_engine_are_cut() {
    let redis = Redis::start();
    let servers = ["one", "two"].map(|name| node(&redis, name, &[]));
    let mut call = Call::between(&servers[0], &servers[1]).await;
    for _ in 0..10 {
        call.send(5).await;
        let mut connection = redis.connection().await;
        let mut kill = redis::cmd("CLIENT");
        kill.arg("KILL").arg("SKIPME").arg("yes").arg("TYPE").arg("pubsub");
        kill.exec_async(&mut connection).await.unwrap();
        call.send(5).await;
    }
    let ends = call.heals().await;
    finish(ends, servers).await;
}

#[tokio::test]
async fn node_that_stops_for_a_moment_loses_nothing() {
    let redis = Redis::start();
    let one = node(&redis, "one", &[RESUME]);
    let two = process(&redis, "two");
    let mut ann = ResumingClient::joined(&one, ClientKind::WebSocket, "ann").await;
    let mut ben = ResumingClient::joined(two.address(), ClientKind::WebSocket, "ben").await;
    ann.expect_event(Received::Joined("ben".to_owned())).await;
    ben.send_numbers("ann", 0..10).await;
    // By then, its peers would be removed if the engine could not see its connection.
    tokio::time::sleep(Duration::from_secs(5)).await;
    two.signal("STOP");
    let stopped = Instant::now();
    let mut sent = 0;
    while stopped.elapsed() < Duration::from_secs(3) {
        ann.send_number("ben", sent).await;
        sent += 1;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    two.signal("CONT");
    ben.expect_signals("ann", 0..sent).await;
    ben.send_numbers("ann", 10..20).await;
    ann.expect_signals("ben", 0..20).await;
    ann.expect_nothing().await;
    ben.expect_nothing().await;
    for client in [ben, ann] {
        client.close().await;
    }
    one.finish().await;
}

#[tokio::test]
async fn node_that_stops_for_longer_than_its_lease_is_replaced() {
    node_stops_for(Duration::ZERO).await;
}

#[tokio::test]
async fn node_that_stops_for_long_is_replaced() {
    if is_long() {
        node_stops_for(Duration::from_secs(15)).await;
    }
}

/// Runs a call with a node that stops until its peers are removed, and for so long at least.
async fn node_stops_for(time: Duration) {
    let redis = Redis::start();
    let one = node(&redis, "one", &[RESUME]);
    let two = process(&redis, "two");
    let mut ann = ResumingClient::joined(&one, ClientKind::WebSocket, "ann").await;
    let ben = ResumingClient::joined(two.address(), ClientKind::WebSocket, "ben").await;
    ann.expect_event(Received::Joined("ben".to_owned())).await;
    let mut cat =
        ResumingClient::connect(two.address(), ClientKind::WebSocket, None, None).await.unwrap();
    cat.join("alone", "cat").await;
    // Only a node that the engine has answered for a whole lease declares another dead.
    tokio::time::sleep(Duration::from_secs(5)).await;
    two.signal("STOP");
    let stopped = Instant::now();
    ann.expect_left("ben", "disconnected").await;
    assert!(stopped.elapsed() < Duration::from_secs(9), "{:?}", stopped.elapsed());
    tokio::time::sleep(time.saturating_sub(stopped.elapsed())).await;
    two.signal("CONT");
    // The session that shares a room with another node ends; a session alone in its room continues.
    tokio::time::timeout(LIMIT, ben.ended())
        .await
        .expect("the node that was declared dead ends the session");
    assert_eq!(cat.join("another", "cat").await, Vec::<String>::new());
    let mut ben = ResumingClient::joined(two.address(), ClientKind::WebSocket, "ben").await;
    ann.expect_event(Received::Joined("ben".to_owned())).await;
    ben.send_number("ann", 1).await;
    ann.expect_signals("ben", 1..2).await;
    for client in [cat, ben, ann] {
        client.close().await;
    }
    one.finish().await;
}

#[tokio::test]
async fn two_nodes_drain_at_once() {
    let redis = Redis::start();
    let one = node(&redis, "one", &[RESUME]);
    let nodes = ["two", "three"].map(|name| process(&redis, name));
    let mut ann = ResumingClient::joined(&one, ClientKind::WebSocket, "ann").await;
    let mut clients = Vec::new();
    for (process, name) in nodes.iter().zip(["ben", "cat"]) {
        let client = ResumingClient::joined(process.address(), ClientKind::Envelope, name).await;
        ann.expect_event(Received::Joined(name.to_owned())).await;
        clients.push(client);
    }
    clients[0].expect_event(Received::Joined("cat".to_owned())).await;
    for process in &nodes {
        process.signal("TERM");
    }
    let mut away = BTreeSet::new();
    while away.len() < 2 {
        let (event, text) = ann.next_event().await;
        let Received::Away(id) = event else { panic!("{text}") };
        away.insert(id);
    }
    for name in ["ben", "cat"] {
        ann.send_numbers(name, 0..10).await;
    }
    for (client, name) in clients.into_iter().zip(["ben", "cat"]) {
        let resume_point = client.resume_point();
        let mut client = ResumingClient::resume(&one, ClientKind::Envelope, &resume_point).await;
        assert!(client.is_resumed, "{name}");
        let mut numbers = Vec::new();
        while numbers.len() < 10 {
            match client.next_event().await {
                (Received::Candidate { candidate, .. }, _) => numbers.push(candidate.unwrap()),
                (Received::Away(_) | Received::Back(_), _) => {}
                (_, text) => panic!("{text}"),
            }
        }
        assert_eq!(numbers, (0..10).map(|number| number.to_string()).collect::<Vec<_>>());
        client.reset().await;
    }
    for process in nodes {
        assert_eq!(process.ended().code(), Some(0));
    }
    ann.reset().await;
    assert!(one.stop().await);
}
