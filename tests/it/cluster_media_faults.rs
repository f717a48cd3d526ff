//! Media of rooms whose peers are on several nodes, while nodes or the engine fail.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::cluster_media::{close, fails, has_no_failure, has_transports, media_on_second, member};
use crate::cluster_network::{NODES, admit_nodes, engine_behind_proxy, nodes};
use crate::cluster_nodes::until_engine;
use crate::support::player::{consume, produce_audio};
use crate::support::proxy::Network;
use crate::support::redis::Redis;

#[tokio::test]
async fn transports_that_a_wiped_engine_has_ended_fail() {
    let (mut redis, proxy) = engine_behind_proxy().await;
    let servers = nodes(&proxy, &[]);
    let [one, two] = &servers;
    let (mut ann, mut ben) = (member(one, "ann").await, member(two, "ben").await);
    let (sender, producer) = produce_audio(&mut ann).await;
    let receiver = consume(&mut ben, &producer).await;
    receiver.receives_more(10).await;
    for name in NODES {
        proxy.set(name, Network { is_down: true, ..Network::default() });
    }
    redis.kill();
    redis.run();
    admit_nodes(&redis).await;
    // The node with the media writes the room first: it takes the peer of the other for one that
    // has left.
    for (server, name) in servers.iter().zip(NODES) {
        until_engine(server, "away").await;
        proxy.set(name, Network::default());
        until_engine(server, "connected").await;
    }
    fails(&mut ben, &[&receiver]).await;
    has_transports(one, 1).await;
    has_no_failure(&mut ann).await;
    let again = consume(&mut ben, &producer).await;
    again.receives_more(50).await;
    assert_eq!(again.server, sender.server);
    has_no_failure(&mut ben).await;
    close([ann, ben]).await;
    for server in servers {
        server.finish().await;
    }
}

#[tokio::test]
async fn requests_to_a_media_node_that_drains_are_answered_at_once() {
    let redis = Redis::start();
    let (one, two, cid, own) = media_on_second(&redis).await;
    let mut ann = member(&one, "ann").await;
    two.signal("TERM");
    let (mut slowest, mut count) = (Duration::ZERO, 0);
    // One after the other, until the media is on the other node.
    while one.held().transports == 0 {
        let began = Instant::now();
        ann.ask("transport:create", json!({ "direction": "recv" })).await;
        slowest = slowest.max(began.elapsed());
        count += 1;
    }
    assert!(slowest < Duration::from_secs(1), "{slowest:?}, {count} requests");
    drop((own, cid));
    close([ann]).await;
    one.finish().await;
}

#[tokio::test]
async fn requests_to_a_killed_media_node_are_answered_by_another() {
    let redis = Redis::start();
    let (one, two, cid, own) = media_on_second(&redis).await;
    let mut ann = member(&one, "ann").await;
    // Only a node that the engine has answered for a whole lease declares another dead.
    tokio::time::sleep(Duration::from_secs(5)).await;
    two.signal("KILL");
    let killed = Instant::now();
    let created = ann.ask("transport:create", json!({ "direction": "recv" })).await;
    assert!(created["iceCandidates"].is_array(), "{created}");
    assert!(killed.elapsed() < Duration::from_secs(6), "{:?}", killed.elapsed());
    has_transports(&one, 1).await;
    drop((own, cid));
    close([ann]).await;
    one.finish().await;
}
