//! Servers that are nodes of a cluster, with a real engine.

use parlor::id::RoomId;
use parlor_testing::connection::{Connection, Joined, Route};
use parlor_testing::transport::{Disconnect, Options};
use serde_json::{Value, json};

use crate::protocols::call_between;
use crate::signal_protocol::returning_peer_is_admitted;
use crate::support::program::{Program, parlor};
use crate::support::protocol_peer::PROTOCOLS;
use crate::support::redis::Redis;
use crate::support::server::{DOCUMENTED_EVENTS, LIMIT};
use crate::support::{Client, TestServer};

/// A server that is a node.
pub(crate) fn node(redis: &Redis, name: &str, flags: &[&str]) -> TestServer {
    node_at(&redis.url(), name, flags)
}

/// A server that is a node of the cluster with this URL, with a lease of five seconds unless a flag
/// says otherwise.
pub(crate) fn node_at(url: &str, name: &str, flags: &[&str]) -> TestServer {
    let (url, name) = (format!("--cluster-url={url}"), format!("--cluster-node={name}"));
    let mut all = vec![url.as_str(), name.as_str()];
    if !flags.iter().any(|flag| flag.starts_with("--cluster-lease-seconds")) {
        all.push("--cluster-lease-seconds=5");
    }
    TestServer::with(&[&all, flags].concat())
}

/// A client that has joined a room.
pub(crate) async fn member(server: &TestServer, room: &str, user: &str) -> Client {
    let mut client = Client::joined(server, room, user).await;
    client.next_event("room-users").await;
    client
}

/// The users of a `room-joined`.
fn users(joined: &Value) -> Vec<&str> {
    joined["participants"]
        .as_array()
        .unwrap()
        .iter()
        .map(|peer| peer["userId"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn peers_of_two_nodes_call_each_other() {
    let redis = Redis::start();
    let (one, two) = (node(&redis, "one", &[]), node(&redis, "two", &[]));
    let mut ann = member(&one, "r", "ann").await;
    let mut ben = member(&two, "r", "ben").await;
    assert_eq!(users(&ben.joined), ["ann"], "{}", ben.joined);
    let joined = ann.next_event("user-joined").await;
    assert_eq!((&joined[0]["userId"], &joined[0]["socketId"]), (&json!("ben"), &json!(ben.id)));
    for round in 0..20 {
        let offer = json!({ "roomId": "r", "targetId": "ben", "offer": { "type": "offer", "sdp": format!("{round}") } });
        let acknowledged = ann.ask("offer", offer).await;
        assert_eq!(acknowledged["ok"], true);
        let offer = ben.next_event("offer").await;
        assert_eq!(
            (&offer[0]["offer"]["sdp"], &offer[0]["from"]),
            (&json!(format!("{round}")), &json!("ann"))
        );
        ben.tell("answer", json!({ "roomId": "r", "targetId": ann.id, "answer": { "type": "answer", "sdp": "a" } }))
            .await;
        assert_eq!(ann.next_event("answer").await[0]["answer"]["sdp"], "a");
        for candidate in 0..5 {
            let candidate = json!({ "candidate": format!("candidate:{candidate}") });
            ben.tell(
                "ice-candidate",
                json!({ "roomId": "r", "targetId": "ann", "candidate": candidate }),
            )
            .await;
        }
        for candidate in 0..5 {
            let received = ann.next_event("ice-candidate").await;
            assert_eq!(received[0]["candidate"]["candidate"], format!("candidate:{candidate}"));
        }
    }
    ben.tell("leave-room", json!({ "roomId": "r" })).await;
    let left = ann.next_event("user-left").await;
    assert_eq!((&left[0]["userId"], &left[0]["reason"]), (&json!("ben"), &json!("left")));
    ann.close().await;
    ben.close().await;
    one.finish().await;
    two.finish().await;
}

#[tokio::test]
async fn capacity_and_peer_ids_hold_across_nodes() {
    let redis = Redis::start();
    let flags = ["--max-room-size=2"];
    let (one, two) = (node(&redis, "one", &flags), node(&redis, "two", &flags));
    let mut ann = member(&one, "r", "ann").await;
    let ben = member(&two, "r", "ben").await;
    ann.next_event("user-joined").await;
    let mut cat = Client::connect(&two).await;
    let refused = cat.ask("join-room", json!({ "roomId": "r", "userId": "cat" })).await;
    assert_eq!(refused["code"], "ROOM_FULL", "{refused}");
    // The same user again, on the other node.
    let again = member(&two, "r", "ann").await;
    let replaced = ann.next_event("error").await;
    assert_eq!(replaced[0]["code"], "REPLACED");
    assert_eq!(users(&again.joined), ["ben"]);
    for client in [ann, ben, cat, again] {
        client.close().await;
    }
    one.finish().await;
    two.finish().await;
}

#[tokio::test]
async fn a_peer_of_a_lost_connection_is_away_on_all_nodes() {
    let redis = Redis::start();
    let flags = ["--resume-seconds=30"];
    let (one, two) = (node(&redis, "one", &flags), node(&redis, "two", &flags));
    let mut ann = member(&one, "r", "ann").await;
    let ben = member(&two, "r", "ben").await;
    ann.next_event("user-joined").await;
    let (pid, offset) = (ben.pid.clone().unwrap(), ben.offset.clone());
    ben.cut();
    assert_eq!(ann.next_event("user-away").await[0]["userId"], "ben");
    ann.tell(
        "offer",
        json!({ "roomId": "r", "targetId": "ben", "offer": { "type": "offer", "sdp": "o" } }),
    )
    .await;
    let mut ben = Client::resume(&two, &pid, offset.as_deref()).await;
    assert_eq!(ann.next_event("user-back").await[0]["userId"], "ben");
    assert_eq!(ben.next_event("offer").await[0]["offer"]["sdp"], "o");
    ann.close().await;
    ben.close().await;
    one.finish().await;
    two.finish().await;
}

#[tokio::test]
async fn all_protocols_call_each_other_across_nodes() {
    let redis = Redis::start();
    let (one, two) = (node(&redis, "one", &[]), node(&redis, "two", &[]));
    for first in PROTOCOLS {
        for second in PROTOCOLS {
            call_between((&one, first), (&two, second), &format!("{first:?}-{second:?}")).await;
        }
    }
    one.finish().await;
    two.finish().await;
}

/// An offer with a number, acknowledged.
async fn offer(from: &mut Client, to: &str, number: u32) {
    let offer = json!({ "roomId": "r", "targetId": to, "offer": { "type": "offer", "sdp": format!("{number}") } });
    let acknowledged = from.ask("offer", offer).await;
    assert_eq!(acknowledged["ok"], true, "{acknowledged}");
}

async fn receives(client: &mut Client, number: u32) {
    assert_eq!(client.next_event("offer").await[0]["offer"]["sdp"], format!("{number}"));
}

/// Waits for an offer with a number, whatever else comes before it.
async fn receives_among_others(client: &mut Client, number: u32) {
    loop {
        let event = client.next().await;
        if event[0] == "offer" && event[1]["offer"]["sdp"] == format!("{number}") {
            return;
        }
    }
}

/// Waits until a node agrees with its engine, or does not any more.
pub(crate) async fn until_engine(server: &TestServer, state: &str) {
    let waiting = async {
        loop {
            let health: Value =
                reqwest::get(server.url("/health")).await.unwrap().json().await.unwrap();
            if health["cluster"]["engine"] == state {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(LIMIT, waiting)
        .await
        .unwrap_or_else(|_| panic!("the engine is not {state}"));
}

#[tokio::test]
async fn an_engine_that_dies_and_comes_back_empty_ends_no_call() {
    let mut redis = Redis::start();
    let (one, two) = (node(&redis, "one", &[]), node(&redis, "two", &[]));
    let mut ann = member(&one, "r", "ann").await;
    let mut ben = member(&two, "r", "ben").await;
    let mut cat = member(&one, "r", "cat").await;
    ann.next_event("user-joined").await;
    ann.next_event("user-joined").await;
    ben.next_event("user-joined").await;
    for round in 0..3 {
        redis.kill();
        until_engine(&one, "away").await;
        until_engine(&two, "away").await;
        // Within a node nothing has changed.
        for number in 0..10 {
            offer(&mut ann, "cat", number).await;
            receives_among_others(&mut cat, number).await;
        }
        assert_eq!(reqwest::get(one.url("/healthz")).await.unwrap().status(), 200, "round {round}");
        // A join waits, and is then admitted here alone.
        let dan = Client::joined(&two, "r", "dan").await;
        redis.run();
        until_engine(&one, "connected").await;
        until_engine(&two, "connected").await;
        let room = RoomId::new("r").unwrap();
        for server in [&one, &two] {
            server.until("all are in", |_| server.hub().rooms().size(&room) == 4).await;
        }
        offer(&mut ann, "ben", 77).await;
        receives_among_others(&mut ben, 77).await;
        dan.close().await;
        for server in [&one, &two] {
            server.until("one has left", |_| server.hub().rooms().size(&room) == 3).await;
        }
    }
    for client in [ann, ben, cat] {
        client.close().await;
    }
    one.finish().await;
    two.finish().await;
}

#[tokio::test]
async fn an_engine_that_stops_for_a_while_loses_nothing() {
    let redis = Redis::start();
    let (one, two) = (node(&redis, "one", &[]), node(&redis, "two", &[]));
    let mut ann = member(&one, "r", "ann").await;
    let mut ben = member(&two, "r", "ben").await;
    ann.next_event("user-joined").await;
    redis.signal("STOP");
    for number in 0..50 {
        offer(&mut ann, "ben", number).await;
    }
    until_engine(&one, "away").await;
    for number in 50..100 {
        offer(&mut ann, "ben", number).await;
    }
    redis.signal("CONT");
    for number in 0..100 {
        receives(&mut ben, number).await;
    }
    ben.nothing_more().await;
    ann.close().await;
    ben.close().await;
    one.finish().await;
    two.finish().await;
}

/// The program as a node.
pub(crate) fn process(redis: &Redis, name: &str) -> Program {
    process_at(&redis.url(), name, &[])
}

/// The program as a node of the cluster with this URL.
pub(crate) fn process_at(url: &str, name: &str, flags: &[&str]) -> Program {
    let mut command = parlor();
    command.args([
        "--host=127.0.0.1",
        "--port=0",
        "--sfu=off",
        "--cluster-lease-seconds=5",
        "--resume-seconds=30",
        DOCUMENTED_EVENTS,
    ]);
    command.args([format!("--cluster-url={url}"), format!("--cluster-node={name}")]);
    command.args(flags);
    Program::start(command)
}

#[tokio::test]
async fn peers_of_a_killed_node_leave() {
    let redis = Redis::start();
    let one = node(&redis, "one", &[]);
    let two = process(&redis, "two");
    let mut ann = member(&one, "r", "ann").await;
    let mut ben = Client::connect_at(two.address()).await;
    ben.ask("join-room", json!({ "roomId": "r", "userId": "ben" })).await;
    assert_eq!(ann.next_event("user-joined").await[0]["userId"], "ben");
    // Only a node that the engine has answered for a whole lease declares another dead.
    tokio::time::sleep(std::time::Duration::from_secs(5)).await;
    two.signal("KILL");
    let killed = std::time::Instant::now();
    let left = ann.next_event("user-left").await;
    assert_eq!((&left[0]["userId"], &left[0]["reason"]), (&json!("ben"), &json!("disconnected")));
    assert!(killed.elapsed() < std::time::Duration::from_secs(6), "{:?}", killed.elapsed());
    // Its peer id is free, and the room has capacity.
    let three = process(&redis, "two");
    let mut again = Client::connect_at(three.address()).await;
    again.ask("join-room", json!({ "roomId": "r", "userId": "ben" })).await;
    assert_eq!(ann.next_event("user-joined").await[0]["userId"], "ben");
    ann.close().await;
    again.close().await;
    one.finish().await;
}

#[tokio::test]
async fn a_clustered_engine_and_a_wrong_list_stop_the_start() {
    let redis = Redis::start();
    let _one = process(&redis, "one");
    let other = Redis::start();
    let mut command = parlor();
    command.args(["--host=127.0.0.1", "--port=0", "--sfu=off", "--cluster-node=two"]);
    command.arg(format!("--cluster-url={},{}", redis.url(), other.url()));
    let refused = command.output().unwrap();
    assert_eq!(refused.status.code(), Some(2));
    let output = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        output.contains("CLUSTER_URL") && output.contains("another list of engines"),
        "{output}"
    );
    let folder = env!("CARGO_TARGET_TMPDIR");
    let clustered = Redis::with(&["--cluster-enabled", "yes", "--dir", folder]);
    let mut command = parlor();
    command
        .args(["--host=127.0.0.1", "--port=0", "--sfu=off"])
        .arg(format!("--cluster-url={}", clustered.url()));
    let refused = command.output().unwrap();
    assert_eq!(refused.status.code(), Some(2));
    let output = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(output.contains("Redis Cluster mode"), "{output}");
}

#[tokio::test]
async fn polling_clients_join_and_send_what_they_posted_with_the_join() {
    let redis = Redis::start();
    let (one, two) = (node(&redis, "one", &[]), node(&redis, "two", &[]));
    let mut ann = member(&one, "r", "ann").await;
    for route in [Route::Polling, Route::Upgrade] {
        let options = Options::default();
        let joining = Connection::join(two.address(), route, "r", "ben", options);
        let (mut ben, Joined { peers, .. }) =
            joining.await.unwrap_or_else(|error| panic!("{route:?}: {error:#}"));
        assert_eq!(peers, ["ann"], "{route:?}");
        assert_eq!(ann.next_event("user-joined").await[0]["userId"], "ben");
        // In one body: what follows the join waits until that is answered.
        let words = [
            json!(["join-room", { "roomId": "s", "userId": "ben" }]),
            json!(["offer", { "roomId": "r", "targetId": "ann", "offer": { "type": "offer", "sdp": "1" } }]),
            json!(["offer", { "roomId": "r", "targetId": "ann", "offer": { "type": "offer", "sdp": "2" } }]),
        ];
        ben.transport.send(words.map(|word| format!("42{word}")).to_vec()).await.unwrap();
        receives(&mut ann, 1).await;
        receives(&mut ann, 2).await;
        ben.end(Disconnect::Leave).await;
        assert_eq!(ann.next_event("user-left").await[0]["userId"], "ben");
    }
    ann.close().await;
    one.finish().await;
    two.finish().await;
}

#[tokio::test]
async fn overdue_peer_of_another_node_makes_way_in_a_full_pair_session() {
    let redis = Redis::start();
    let flags = ["--ws-ping-seconds=1", "--messages-per-second=0"];
    let servers = [node(&redis, "one", &flags), node(&redis, "two", &flags)];
    returning_peer_is_admitted(&servers[0], &servers[1]).await;
    for server in servers {
        server.finish().await;
    }
}
