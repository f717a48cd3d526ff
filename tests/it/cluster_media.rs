//! Media of rooms whose peers are on several nodes: it is on one of them.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use crate::cluster_nodes::{node, until_engine};
use crate::support::TestServer;
use crate::support::player::{Player, consume, produce_audio, transport};
use crate::support::program::{Program, parlor};
use crate::support::redis::Redis;
use crate::support::resuming_client::{ClientKind, ResumingClient};
use crate::support::server::{DOCUMENTED_EVENTS, LIMIT};

const RESUME: &str = "--resume-seconds=30";

pub(crate) async fn member(server: impl Into<std::net::SocketAddr>, name: &str) -> ResumingClient {
    ResumingClient::joined(server, ClientKind::Envelope, name).await
}

/// Returns the payload of the next message of a type, and ignores all others.
async fn receives(client: &mut ResumingClient, kind: &str) -> Value {
    let waiting = async {
        loop {
            let mut message: Value = serde_json::from_str(&client.next().await).unwrap();
            if message["type"] == kind {
                return message["payload"].take();
            }
        }
    };
    tokio::time::timeout(LIMIT, waiting).await.unwrap_or_else(|_| panic!("no {kind}"))
}

/// Waits until a client is notified that these transports have failed.
pub(crate) async fn fails(client: &mut ResumingClient, transports: &[&Player]) {
    let mut missing: BTreeSet<&str> = transports.iter().map(|player| player.id()).collect();
    while !missing.is_empty() {
        let failed = receives(client, "transport:failed").await;
        missing.remove(failed["transportId"].as_str().unwrap());
    }
}

/// Asserts that nothing has failed so far.
pub(crate) async fn has_no_failure(client: &mut ResumingClient) {
    let rest = client.rest().await;
    assert!(!rest.iter().any(|message| message.contains("transport:failed")), "{rest:?}");
}

pub(crate) async fn has_transports(server: &TestServer, count: usize) {
    server.until("its transports", |held| held.transports == count).await;
}

pub(crate) async fn close(clients: impl IntoIterator<Item = ResumingClient>) {
    for mut client in clients {
        client.rest().await;
        client.close().await;
    }
}

/// The program as a node with a media server.
pub(crate) fn process(redis: &Redis, name: &str) -> Program {
    let mut command = parlor();
    command.args(["--host=127.0.0.1", "--port=0", "--cluster-lease-seconds=5", RESUME]);
    command.args([DOCUMENTED_EVENTS, "--shutdown-seconds=20"]);
    command.args([format!("--cluster-url={}", redis.url()), format!("--cluster-node={name}")]);
    Program::start(command)
}

/// Starts two nodes, of which the second is a process and has the media of the room. Returns them,
/// and the peer of the second with its transport.
pub(crate) async fn media_on_second(
    redis: &Redis,
) -> (TestServer, Program, ResumingClient, Player) {
    let (one, two) = (node(redis, "one", &[]), process(redis, "two"));
    let mut cid = member(&two, "cid").await;
    let own = transport(&mut cid, "recv").await;
    (one, two, cid, own)
}

#[tokio::test]
async fn peers_of_three_nodes_share_the_media_of_one() {
    let redis = Redis::start();
    let nodes = ["one", "two", "three"].map(|name| node(&redis, name, &[]));
    let [one, two, three] = &nodes;
    let mut ann = member(one, "ann").await;
    let mut ben = member(two, "ben").await;
    let mut cid = member(three, "cid").await;
    // The first that creates a transport decides.
    let own = transport(&mut ben, "recv").await;
    let (sender, producer) = produce_audio(&mut ann).await;
    let mut added = receives(&mut ben, "new:producer").await;
    assert_eq!((&added["producerId"], &added["userId"]), (&json!(producer), &json!("ann")));
    added.as_object_mut().unwrap().remove("peerId");
    added["paused"] = json!(false);
    for peer in [&mut ben, &mut cid] {
        let listed = peer.ask("producers:list", json!({})).await;
        assert_eq!(listed, json!({ "producers": [added] }));
    }
    let by_ben = consume(&mut ben, &producer).await;
    let by_cid = consume(&mut cid, &producer).await;
    for receiver in [&by_ben, &by_cid] {
        receiver.receives_more(50).await;
    }
    has_transports(two, 4).await;
    assert_eq!((one.held().transports, three.held().transports), (0, 0));
    // The events of a peer reach those of all nodes, in order.
    let named = json!({ "producerId": producer });
    assert_eq!(ann.ask("producer:pause", named.clone()).await, named);
    assert_eq!(ann.ask("producer:resume", named.clone()).await, named);
    for peer in [&mut ben, &mut cid] {
        let paused = receives(peer, "producer:paused").await;
        assert_eq!((&paused["producerId"], &paused["userId"]), (&json!(producer), &json!("ann")));
        assert_eq!(receives(peer, "producer:resumed").await["producerId"], producer);
    }
    // Requests that a peer may not send are refused on another node as well.
    let refused = cid.ask("producer:close", named).await;
    assert_eq!(refused["code"], "PRODUCE_ERROR", "{refused}");
    let refused = cid.ask("transport:close", json!({ "transportId": sender.id() })).await;
    assert_eq!(refused["code"], "TRANSPORT_ERROR", "{refused}");
    // A peer that leaves takes its media along.
    close([ann]).await;
    for peer in [&mut ben, &mut cid] {
        receives(peer, "producer:closed").await;
    }
    has_transports(two, 3).await;
    drop((own, by_ben, by_cid));
    close([ben]).await;
    // With the last transport the pin ends: the next peer decides anew.
    let [of_cid, none] = ["recv", "send"].map(|direction| json!({ "direction": direction }));
    assert_eq!(cid.ask("transport:create", of_cid).await["iceCandidates"][0]["ip"], "127.0.0.1");
    let list = cid.ask("producers:list", none).await;
    assert_eq!(list, json!({ "producers": [] }));
    has_transports(two, 2).await;
    close([cid]).await;
    has_transports(two, 0).await;
    let mut dan = member(three, "dan").await;
    let own = transport(&mut dan, "recv").await;
    has_transports(three, 1).await;
    drop(own);
    close([dan]).await;
    for server in nodes {
        server.finish().await;
    }
}

#[tokio::test]
async fn peers_that_ask_at_once_share_one_node() {
    let redis = Redis::start();
    let nodes = ["one", "two"].map(|name| node(&redis, name, &[]));
    let [one, two] = &nodes;
    for _ in 0..5 {
        let (mut ann, mut ben) = (member(one, "ann").await, member(two, "ben").await);
        let (of_ann, of_ben) =
            tokio::join!(transport(&mut ann, "recv"), transport(&mut ben, "recv"));
        assert_eq!(of_ann.server, of_ben.server);
        let mut counts = [one.held().transports, two.held().transports];
        counts.sort_unstable();
        assert_eq!(counts, [0, 2]);
        close([ann, ben]).await;
        has_transports(one, 0).await;
        has_transports(two, 0).await;
        one.until("the room is gone", |held| held.rooms == 0).await;
        two.until("the room is gone", |held| held.rooms == 0).await;
    }
    for server in nodes {
        server.finish().await;
    }
}

#[tokio::test]
async fn media_stays_on_a_node_that_its_peers_have_left() {
    let redis = Redis::start();
    let nodes = ["one", "two"].map(|name| node(&redis, name, &[]));
    let [one, two] = &nodes;
    let (mut ann, mut ben) = (member(one, "ann").await, member(two, "ben").await);
    let mut cid = member(two, "cid").await;
    let own = transport(&mut ann, "recv").await;
    let (sender, producer) = produce_audio(&mut ben).await;
    let receiver = consume(&mut cid, &producer).await;
    receiver.receives_more(10).await;
    has_transports(one, 3).await;
    drop(own);
    close([ann]).await;
    has_transports(one, 2).await;
    receiver.receives_more(50).await;
    let named = json!({ "producerId": producer });
    assert_eq!(ben.ask("producer:pause", named.clone()).await, named);
    receives(&mut cid, "producer:paused").await;
    // It learns of their departure, too.
    drop((sender, receiver));
    close([ben]).await;
    receives(&mut cid, "producer:closed").await;
    has_transports(one, 1).await;
    close([cid]).await;
    for server in nodes {
        server.finish().await;
    }
}

#[tokio::test]
async fn media_continues_when_sessions_move() {
    let redis = Redis::start();
    let nodes = ["one", "two", "three"].map(|name| node(&redis, name, &[RESUME]));
    let [one, two, three] = &nodes;
    let (mut ann, mut ben) = (member(one, "ann").await, member(two, "ben").await);
    let (_sender, producer) = produce_audio(&mut ann).await;
    let receiver = consume(&mut ben, &producer).await;
    receiver.receives_more(10).await;
    let named = json!({ "producerId": producer });
    let mut changes = ["producer:pause", "producer:resume"].into_iter().cycle();
    // Ben moves between nodes without the media; then Ann leaves the node that has it, and returns.
    for (is_ann, server) in [(false, three), (true, two), (false, one), (true, one), (false, two)] {
        let moving = if is_ann { &mut ann } else { &mut ben };
        moving.rest().await;
        let resume_point = moving.resume_point();
        let moved = ResumingClient::resume(server, ClientKind::Envelope, &resume_point).await;
        assert!(moved.is_resumed);
        std::mem::replace(moving, moved).reset().await;
        let change = changes.next().unwrap();
        assert_eq!(ann.ask(change, named.clone()).await, named);
        let is_paused = change == "producer:pause";
        let notice = if is_paused { "producer:paused" } else { "producer:resumed" };
        assert_eq!(receives(&mut ben, notice).await["producerId"], producer);
        if !is_paused {
            receiver.receives_more(50).await;
        }
        has_no_failure(&mut ann).await;
        has_no_failure(&mut ben).await;
        assert_eq!(one.held().transports, 2);
    }
    close([ann, ben]).await;
    for server in nodes {
        server.finish().await;
    }
}

#[tokio::test]
async fn transports_on_a_killed_node_fail_and_are_created_anew() {
    let redis = Redis::start();
    let (one, two, cid, own) = media_on_second(&redis).await;
    let (mut ann, mut ben) = (member(&one, "ann").await, member(&one, "ben").await);
    let (sender, producer) = produce_audio(&mut ann).await;
    let receiver = consume(&mut ben, &producer).await;
    assert_eq!(receiver.server, own.server);
    receiver.receives_more(10).await;
    // Only a node that the engine has answered for a whole lease declares another dead.
    tokio::time::sleep(Duration::from_secs(5)).await;
    two.signal("KILL");
    let killed = std::time::Instant::now();
    fails(&mut ann, &[&sender]).await;
    fails(&mut ben, &[&receiver]).await;
    assert!(killed.elapsed() < Duration::from_secs(6), "{:?}", killed.elapsed());
    let (sender, producer) = produce_audio(&mut ann).await;
    let receiver = consume(&mut ben, &producer).await;
    receiver.receives_more(50).await;
    has_transports(&one, 2).await;
    drop((sender, cid));
    close([ann, ben]).await;
    one.finish().await;
}

#[tokio::test]
async fn drain_of_the_media_node_moves_the_media() {
    let redis = Redis::start();
    let one = node(&redis, "one", &[RESUME]);
    let two = process(&redis, "two");
    let mut cid = member(&two, "cid").await;
    let (own, of_cid) = produce_audio(&mut cid).await;
    let (mut ann, mut ben) = (member(&one, "ann").await, member(&one, "ben").await);
    let (sender, producer) = produce_audio(&mut ann).await;
    let receiver = consume(&mut ben, &producer).await;
    let by_ann = consume(&mut ann, &of_cid).await;
    receiver.receives_more(10).await;
    by_ann.receives_more(10).await;
    two.signal("TERM");
    let (of_ann, of_ben, of_cid) = ([&sender, &by_ann], [&receiver], [&own]);
    tokio::join!(fails(&mut ann, &of_ann), fails(&mut ben, &of_ben), fails(&mut cid, &of_cid));
    // At once, while the former node still runs.
    let (_sender, producer) = produce_audio(&mut ann).await;
    let by_ben = consume(&mut ben, &producer).await;
    by_ben.receives_more(50).await;
    // The peer of the node that drains resumes elsewhere.
    let resume_point = cid.resume_point();
    let mut again = ResumingClient::resume(&one, ClientKind::Envelope, &resume_point).await;
    assert!(again.is_resumed);
    cid.reset().await;
    let by_cid = consume(&mut again, &producer).await;
    by_cid.receives_more(50).await;
    assert_eq!(two.ended().code(), Some(0));
    has_transports(&one, 3).await;
    close([ann, ben, again]).await;
    one.finish().await;
}

#[tokio::test]
async fn requests_to_another_node_fail_while_the_engine_is_away() {
    let redis = Redis::start();
    let nodes = ["one", "two"].map(|name| node(&redis, name, &[]));
    let [one, two] = &nodes;
    let (mut ann, mut ben) = (member(one, "ann").await, member(two, "ben").await);
    let (_sender, producer) = produce_audio(&mut ann).await;
    let receiver = consume(&mut ben, &producer).await;
    receiver.receives_more(10).await;
    for _ in 0..2 {
        redis.signal("STOP");
        for server in &nodes {
            until_engine(server, "away").await;
        }
        let refused = ben.ask("producers:list", json!({})).await;
        assert_eq!(refused["code"], "TRANSPORT_ERROR", "{refused}");
        assert_eq!(refused["retryAfterMs"], 1000, "{refused}");
        // On the node with the media, nothing has changed.
        let list = ann.ask("producers:list", json!({})).await;
        assert_eq!(list["producers"][0]["producerId"], producer, "{list}");
        receiver.receives_more(50).await;
        redis.signal("CONT");
        for server in &nodes {
            until_engine(server, "connected").await;
        }
        let list = ben.ask("producers:list", json!({})).await;
        assert_eq!(list["producers"][0]["producerId"], producer, "{list}");
        receiver.receives_more(50).await;
    }
    has_no_failure(&mut ann).await;
    has_no_failure(&mut ben).await;
    close([ann, ben]).await;
    for server in nodes {
        server.finish().await;
    }
}

#[tokio::test]
async fn a_node_alone_has_media_while_the_engine_is_away() {
    let mut redis = Redis::start();
    let server = node(&redis, "one", &[]);
    let mut ann = member(&server, "ann").await;
    redis.kill();
    until_engine(&server, "away").await;
    let (sender, _) = produce_audio(&mut ann).await;
    redis.run();
    until_engine(&server, "connected").await;
    has_transports(&server, 1).await;
    has_no_failure(&mut ann).await;
    drop(sender);
    close([ann]).await;
    server.finish().await;
}

#[tokio::test]
async fn a_node_without_media_server_never_has_the_media() {
    let redis = Redis::start();
    let (one, two) = (node(&redis, "one", &["--sfu=off"]), node(&redis, "two", &[]));
    let (mut ann, mut ben) = (member(&one, "ann").await, member(&two, "ben").await);
    let create = json!({ "direction": "recv" });
    let refused = ann.ask("transport:create", create.clone()).await;
    assert_eq!(refused["code"], "TRANSPORT_ERROR", "{refused}");
    assert_eq!(refused["message"], "no media server configured");
    let (sender, producer) = produce_audio(&mut ben).await;
    let receiver = consume(&mut ann, &producer).await;
    receiver.receives_more(50).await;
    has_transports(&two, 2).await;
    drop((sender, receiver));
    close([ann, ben]).await;
    one.finish().await;
    two.finish().await;
}
