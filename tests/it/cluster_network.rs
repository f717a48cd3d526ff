//! Calls between nodes while the network to the engine is slow or fails, for one node or for all.

use std::time::{Duration, Instant};

use parlor::id::RoomId;

use crate::cluster_faults::{Call, finish, is_long};
use crate::cluster_nodes::{node_at, process_at, until_engine};
use crate::cluster_sim::random::Random;
use crate::support::TestServer;
use crate::support::protocol_peer::Received;
use crate::support::proxy::{Network, Proxy};
use crate::support::redis::Redis;
use crate::support::resuming_client::{ClientKind, ResumingClient};
use crate::support::scrape::Scrape;
use crate::support::server::LIMIT;

pub(crate) const NODES: [&str; 2] = ["one", "two"];

/// An engine, and a proxy in front of it.
pub(crate) async fn engine_behind_proxy() -> (Redis, Proxy) {
    let redis = Redis::start();
    admit_nodes(&redis).await;
    let proxy = Proxy::start(redis.address(), &NODES).await;
    (redis, proxy)
}

/// Creates the users of the nodes.
pub(crate) async fn admit_nodes(redis: &Redis) {
    let mut connection = redis.connection().await;
    for user in NODES {
        let mut command = redis::cmd("ACL");
        command.arg("SETUSER").arg(user).arg(&["on", "nopass", "~*", "&*", "+@all"]);
        command.exec_async(&mut connection).await.unwrap();
    }
}

/// Nodes that reach the engine through a proxy.
pub(crate) fn nodes(proxy: &Proxy, flags: &[&str]) -> [TestServer; 2] {
    NODES.map(|name| node_at(&proxy.url(name), name, flags))
}

#[tokio::test]
async fn slow_engine_serves_joins_and_signals() {
    let (_redis, proxy) = engine_behind_proxy().await;
    let slow = Network { delay: Duration::from_millis(150), ..Network::default() };
    for name in NODES {
        proxy.set(name, slow);
    }
    let servers = nodes(&proxy, &[]);
    for server in &servers {
        until_engine(server, "connected").await;
    }
    let mut call = Call::between(&servers[0], &servers[1]).await;
    for _ in 0..10 {
        call.send(5).await;
    }
    let ends = call.heals_without_loss().await;
    for (server, name) in servers.iter().zip(NODES) {
        let scrape = Scrape::of(server).await;
        assert_eq!(proxy.connections(name), 1, "{name} keeps its connection");
        assert_eq!(scrape.count("parlor_cluster_alone"), 0);
        assert!(scrape.value("parlor_cluster_join_seconds_sum") >= 0.3, "{name} waited for it");
    }
    finish(ends, servers).await;
}

#[tokio::test]
async fn connections_that_are_cut_at_random_lose_nothing() {
    let (_redis, proxy) = engine_behind_proxy().await;
    let servers = nodes(&proxy, &[]);
    let mut call = Call::between(&servers[0], &servers[1]).await;
    let mut random = Random(20);
    let mut cuts = [0; 2];
    for _ in 0..if is_long() { 100 } else { 15 } {
        call.send(3).await;
        let index = random.index(2);
        let before = proxy.connections(NODES[index]);
        proxy.cut(NODES[index]);
        cuts[index] += 1;
        if random.percent(50) {
            // Else the next cut may hit the repair.
            let connected = async {
                while proxy.connections(NODES[index]) == before {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            tokio::time::timeout(LIMIT, connected).await.expect("the node connects again");
        }
        tokio::time::sleep(random.millis(0, 100)).await;
    }
    let ends = call.heals_without_loss().await;
    assert!(cuts.iter().all(|count| *count > 2), "{cuts:?}");
    finish(ends, servers).await;
}

#[tokio::test]
async fn session_moves_to_a_node_that_has_just_started() {
    let (_redis, proxy) = engine_behind_proxy().await;
    let one = node_at(&proxy.url("one"), "one", &["--resume-seconds=30"]);
    let ann = ResumingClient::joined(&one, ClientKind::WebSocket, "ann").await;
    let resume_point = ann.drop_connection().await;
    // It accepts connections only once it has reached the engine.
    proxy.set("two", Network { delay: Duration::from_millis(50), ..Network::default() });
    let two = node_at(&proxy.url("two"), "two", &["--resume-seconds=30"]);
    let ann = ResumingClient::resume(&two, ClientKind::WebSocket, &resume_point).await;
    assert!(ann.is_resumed);
    ann.close().await;
    one.finish().await;
    two.finish().await;
}

#[tokio::test]
async fn session_moves_to_a_slow_node_although_its_own_ends() {
    let (_redis, proxy) = engine_behind_proxy().await;
    let one = process_at(&proxy.url("one"), "one", &[]);
    let two = node_at(&proxy.url("two"), "two", &["--resume-seconds=30"]);
    let mut ann = ResumingClient::joined(&two, ClientKind::WebSocket, "ann").await;
    let bob = ResumingClient::joined(one.address(), ClientKind::Envelope, "bob").await;
    ann.expect_event(Received::Joined("bob".to_owned())).await;
    // Longer than the drain of one session: the session is handed over, and not taken over yet, when
    // its node has none.
    proxy.set("two", Network { delay: Duration::from_millis(250), ..Network::default() });
    one.signal("TERM");
    let resume_point = bob.resume_point();
    bob.ended().await;
    let mut bob = ResumingClient::resume(&two, ClientKind::Envelope, &resume_point).await;
    assert!(bob.is_resumed);
    for received in [Received::Away("bob".to_owned()), Received::Back("bob".to_owned())] {
        ann.expect_event(received).await;
    }
    ann.send_numbers("bob", 0..3).await;
    bob.expect_signals("ann", 0..3).await;
    let ended = tokio::task::spawn_blocking(move || one.ended()).await.unwrap();
    assert_eq!(ended.code(), Some(0));
    ann.close().await;
    bob.close().await;
    assert!(two.stop().await);
}

/// Runs a call while one direction of the connection of a node is held, until the node gives the
/// connection up.
async fn one_direction_is_held(network: Network) {
    let (_redis, proxy) = engine_behind_proxy().await;
    let servers = nodes(&proxy, &["--cluster-lease-seconds=10"]);
    let mut call = Call::between(&servers[0], &servers[1]).await;
    call.send(5).await;
    proxy.set("one", network);
    {
        let away = until_engine(&servers[0], "away");
        tokio::pin!(away);
        loop {
            call.send(1).await;
            tokio::select! {
                () = &mut away => break,
                // So few that all fit the send queue of their recipient, when they arrive together.
                () = tokio::time::sleep(Duration::from_millis(200)) => {}
            }
        }
    }
    call.send(5).await;
    proxy.set("one", Network::default());
    let ends = call.heals_without_loss().await;
    finish(ends, servers).await;
}

#[tokio::test]
async fn requests_that_do_not_reach_the_engine_are_repeated() {
    if is_long() {
        one_direction_is_held(Network { holds_requests: true, ..Network::default() }).await;
    }
}

#[tokio::test]
async fn replies_that_do_not_reach_the_node_are_repeated() {
    if is_long() {
        one_direction_is_held(Network { holds_replies: true, ..Network::default() }).await;
    }
}

/// Cuts a node off from the engine until the other node has removed its peers, and connects it
/// again.
async fn node_is_cut_off(network: Network) {
    let (_redis, proxy) = engine_behind_proxy().await;
    let servers = nodes(&proxy, &["--resume-seconds=30"]);
    let [one, two] = &servers;
    let kind = ClientKind::WebSocket;
    let mut ann = ResumingClient::joined(one, kind, "ann").await;
    let ben = ResumingClient::joined(two, kind, "ben").await;
    ann.expect_event(Received::Joined("ben".to_owned())).await;
    let mut local = Vec::new();
    for (room, name) in [("local", "cat"), ("local", "dan"), ("lonely", "eve")] {
        let mut client = ResumingClient::connect(two, kind, None, None).await.unwrap();
        client.join(room, name).await;
        local.push(client);
    }
    let [cat, dan, eve] = &mut local[..] else { unreachable!() };
    cat.expect_event(Received::Joined("dan".to_owned())).await;
    // Only a node that the engine has answered for a whole lease declares another dead.
    tokio::time::sleep(Duration::from_secs(5)).await;
    proxy.set("two", network);
    let began = Instant::now();
    // A call within the node completes throughout.
    let mut numbers = 0..;
    let mut call_within = async |count: usize| {
        for number in numbers.by_ref().take(count) {
            assert_eq!(cat.send_number_in("local", "dan", number).await, Ok(()));
            let candidate = Some(number.to_string());
            dan.expect_event(Received::Candidate { from: "cat".to_owned(), candidate }).await;
        }
    };
    {
        let left = ann.expect_left("ben", "disconnected");
        tokio::pin!(left);
        loop {
            tokio::select! {
                () = &mut left => break,
                () = tokio::time::sleep(Duration::from_millis(50)) => call_within(1).await,
            }
        }
    }
    // A lease and two seconds.
    assert!(began.elapsed() < Duration::from_secs(9), "{:?}", began.elapsed());
    assert_eq!(reqwest::get(two.url("/healthz")).await.unwrap().status(), 200);
    call_within(20).await;
    proxy.set("two", Network::default());
    until_engine(two, "connected").await;
    tokio::time::timeout(LIMIT, ben.ended()).await.expect("a session with a peer elsewhere ends");
    call_within(20).await;
    for client in [&mut *cat, dan, eve] {
        client.expect_nothing().await;
    }
    assert_eq!(Scrape::of(two).await.count("parlor_cluster_fenced_total"), 1);
    // Both nodes agree about all rooms.
    let mut ben = ResumingClient::joined(two, kind, "ben").await;
    ann.expect_event(Received::Joined("ben".to_owned())).await;
    ben.send_number("ann", 7).await;
    ann.expect_signals("ben", 7..8).await;
    let mut fay = ResumingClient::connect(one, kind, None, None).await.unwrap();
    assert_eq!(fay.join("local", "fay").await, ["cat", "dan"]);
    cat.expect_event(Received::Joined("fay".to_owned())).await;
    assert_eq!(fay.join("lonely", "fay").await, ["eve"]);
    let size = |server: &TestServer, room| server.hub().rooms().size(&RoomId::new(room).unwrap());
    assert_eq!((size(one, "local"), size(two, "local")), (3, 3));
    for client in local.into_iter().chain([ann, ben, fay]) {
        client.reset().await;
    }
    for server in servers {
        assert!(server.stop().await);
    }
}

#[tokio::test]
async fn node_that_is_cut_off_keeps_the_sessions_that_are_its_own() {
    node_is_cut_off(Network { is_down: true, ..Network::default() }).await;
}

#[tokio::test]
async fn node_that_is_cut_off_in_silence_keeps_the_sessions_that_are_its_own() {
    if is_long() {
        let network = Network { holds_requests: true, holds_replies: true, ..Network::default() };
        node_is_cut_off(network).await;
    }
}
