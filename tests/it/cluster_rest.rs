//! REST and health of a cluster: rooms and peers of all nodes.

use serde_json::{Value, json};

use crate::cluster_nodes::{member, node, process, until_engine};
use crate::support::Client;
use crate::support::redis::Redis;
use crate::support::scrape::Scrape;
use crate::support::server::LIMIT;

#[tokio::test]
async fn rest_shows_and_closes_the_rooms_of_all_nodes() {
    let redis = Redis::start();
    let (one, two) = (node(&redis, "one", &[]), node(&redis, "two", &[]));
    let http = reqwest::Client::new();
    let mut ann = member(&one, "r", "ann").await;
    let mut ben = member(&two, "r", "ben").await;
    ann.next_event("user-joined").await;
    let created = http
        .post(one.url("/api/rooms"))
        .json(&json!({ "roomId": "new", "capacity": 1 }))
        .send()
        .await
        .unwrap();
    assert_eq!(created.status(), 201);
    let again =
        http.post(two.url("/api/rooms")).json(&json!({ "roomId": "new" })).send().await.unwrap();
    assert_eq!(again.status(), 409);
    let list = http.get(two.url("/api/rooms")).send().await.unwrap();
    assert_eq!(list.headers()["x-total-count"], "2");
    let list: Value = list.json().await.unwrap();
    assert_eq!((&list[0]["id"], &list[0]["capacity"]), (&json!("new"), &json!(1)));
    assert_eq!((&list[1]["id"], &list[1]["participants"]), (&json!("r"), &json!(["ann", "ben"])));
    let cat = member(&two, "new", "cat").await;
    let mut dan = Client::connect(&one).await;
    assert_eq!(
        dan.ask("join-room", json!({ "roomId": "new", "userId": "dan" })).await["code"],
        "ROOM_FULL"
    );
    assert_eq!(http.delete(two.url("/api/rooms/r")).send().await.unwrap().status(), 204);
    for client in [&mut ann, &mut ben] {
        assert_eq!(client.next_event("error").await[0]["code"], "ROOM_CLOSED");
    }
    assert_eq!(http.get(one.url("/api/rooms/r")).send().await.unwrap().status(), 404);
    drop(http);
    for client in [ann, ben, cat, dan] {
        client.close().await;
    }
    one.finish().await;
    two.finish().await;
}

#[tokio::test]
async fn operators_remove_peers_of_any_node() {
    let mut redis = Redis::start();
    let one = node(&redis, "one", &[]);
    let two = process(&redis, "two");
    let http = reqwest::Client::new();
    let mut ann = member(&one, "r", "ann").await;
    let mut ben = Client::connect_at(two.address()).await;
    ben.ask("join-room", json!({ "roomId": "r", "userId": "ben" })).await;
    ann.next_event("user-joined").await;
    let kick = async |address: std::net::SocketAddr, user: &str| {
        let path = format!("http://{address}/api/rooms/r/participants/{user}");
        http.delete(path).send().await.unwrap().status().as_u16()
    };
    assert_eq!(kick(one.address(), "missing").await, 404);
    assert_eq!(kick(one.address(), "ben").await, 204);
    ben.next_event("room-users").await;
    assert_eq!(ben.next_event("error").await[0]["code"], "KICKED");
    let left = ann.next_event("user-left").await;
    assert_eq!((&left[0]["userId"], &left[0]["reason"]), (&json!("ben"), &json!("kicked")));
    assert_eq!(kick(two.address(), "ben").await, 404);
    ben.ask("join-room", json!({ "roomId": "r", "userId": "ben" })).await;
    ann.next_event("user-joined").await;
    assert_eq!(kick(two.address(), "ann").await, 204);
    assert_eq!(ann.next_event("error").await[0]["code"], "KICKED");
    // A node that does not answer.
    two.signal("STOP");
    assert_eq!(kick(one.address(), "ben").await, 504);
    two.signal("CONT");
    redis.kill();
    until_engine(&one, "away").await;
    assert_eq!(kick(one.address(), "ben").await, 503);
    drop(http);
    ann.close().await;
    ben.close().await;
    one.finish().await;
}

#[tokio::test]
async fn health_counts_the_peers_of_all_nodes() {
    let mut redis = Redis::start();
    let (one, two) = (node(&redis, "one", &[]), node(&redis, "two", &[]));
    let health = async |path: &str| reqwest::get(one.url(path)).await.unwrap();
    let mut ann = member(&one, "r", "ann").await;
    let ben = member(&two, "r", "ben").await;
    let cat = member(&two, "s", "cat").await;
    ann.next_event("user-joined").await;
    let own: Value = health("/health").await.json().await.unwrap();
    assert_eq!(
        (&own["rooms"], &own["participants"], &own["connections"]),
        (&json!(1), &json!(1), &json!(1))
    );
    let all = async {
        loop {
            let all: Value = health("/health?cluster=true").await.json().await.unwrap();
            // Nodes tell their load with each beat.
            if (&all["participants"], &all["connections"]) == (&json!(3), &json!(3)) {
                return all;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    let all = tokio::time::timeout(LIMIT, all).await.expect("all are counted");
    assert_eq!((&all["rooms"], &all["cluster"]["nodes"]), (&json!(2), &json!(2)));
    assert_eq!(health("/health?cluster=maybe").await.status(), 400);
    redis.kill();
    until_engine(&one, "away").await;
    let partial = health("/health?cluster=true").await;
    assert_eq!(
        (partial.status().as_u16(), &partial.headers()["parlor-partial"]),
        (200, &"true".parse().unwrap())
    );
    assert_eq!(partial.json::<Value>().await.unwrap()["participants"], 1);
    for client in [ann, ben, cat] {
        client.close().await;
    }
    one.finish().await;
    two.finish().await;
}

#[tokio::test]
async fn metrics_of_a_node_are_documented_and_in_the_dashboard() {
    let redis = Redis::start();
    let one = node(&redis, "one", &[]);
    // A join that waits for the engine is answered without a log entry.
    until_engine(&one, "connected").await;
    let ann = member(&one, "r", "ann").await;
    let scrape = Scrape::of(&one).await;
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path| std::fs::read_to_string(root.join(path)).unwrap();
    let (guide, dashboard) = (read("docs/cluster.md"), read("docs/grafana-dashboard.json"));
    let mut count = 0;
    for name in scrape.names() {
        let name =
            ["_bucket", "_sum", "_count"].iter().fold(name, |name, end| name.trim_end_matches(end));
        if name.starts_with("parlor_cluster_") {
            assert!(guide.contains(&format!("`{name}")), "docs/cluster.md does not explain {name}");
            assert!(dashboard.contains(name), "the dashboard does not show {name}");
            count += 1;
        }
    }
    assert!(count > 15, "{count} metrics");
    for (series, least) in [
        (r#"parlor_cluster_frames_total{direction="out",kind="echo"}"#, 1),
        (r#"parlor_cluster_frames_total{direction="in",kind="log"}"#, 1),
        (r#"parlor_cluster_reconnects_total{why="lost"}"#, 0),
        (r#"parlor_cluster_repairs_total{what="ghost"}"#, 0),
    ] {
        assert!(scrape.value(series) >= f64::from(least), "{series}");
    }
    ann.close().await;
    one.finish().await;
}
