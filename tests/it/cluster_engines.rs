//! Calls between nodes over engines of each form: with a file of its changes, with a sentinel, over
//! TLS; and nodes without an engine.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::cluster_faults::{Call, finish, is_long};
use crate::cluster_nodes::{node, node_at, process_at, until_engine};
use crate::support::redis::{Redis, Sentinel};
use crate::support::scrape::Scrape;
use crate::support::server::LIMIT;
use crate::support::tls::{Authority, folder};
use crate::support::{Client, TestServer};

const NODES: [&str; 2] = ["one", "two"];

async fn until_all(servers: &[TestServer], state: &str) {
    for server in servers {
        until_engine(server, state).await;
    }
}

#[tokio::test]
async fn engine_that_keeps_its_data_loses_nothing() {
    let folder = folder("cluster-aof");
    let files = ["--appendonly", "yes", "--appendfsync", "always", "--dir"];
    let mut redis = Redis::with(&[&files[..], &[folder.to_str().unwrap()]].concat());
    let servers = NODES.map(|name| node(&redis, name, &[]));
    let mut call = Call::between(&servers[0], &servers[1]).await;
    for _ in 0..2 {
        call.send(10).await;
        redis.kill();
        until_all(&servers, "away").await;
        call.send(10).await;
        redis.run();
        until_all(&servers, "connected").await;
        call.send(10).await;
    }
    finish(call.heals_without_loss().await, servers).await;
}

#[tokio::test]
async fn engine_is_away_for_a_minute() {
    if !is_long() {
        return;
    }
    let mut redis = Redis::start();
    let servers = NODES.map(|name| node(&redis, name, &[]));
    let mut call = Call::between(&servers[0], &servers[1]).await;
    redis.kill();
    let began = Instant::now();
    while began.elapsed() < Duration::from_mins(1) {
        call.send(1).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        for server in &servers {
            let health = reqwest::get(server.url("/healthz")).await.unwrap();
            assert_eq!(health.status(), 200, "health does not depend on the engine");
        }
    }
    redis.run();
    finish(call.heals().await, servers).await;
}

/// Waits until a node has given up its first connection.
async fn until_reconnected(server: &TestServer) {
    let waiting = async {
        loop {
            let scrape = Scrape::of(server).await;
            let reconnects =
                |why| scrape.count(&format!(r#"parlor_cluster_reconnects_total{{why="{why}"}}"#));
            if reconnects("lost") + reconnects("silent") > 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(LIMIT, waiting).await.expect("the node connects anew");
}

/// Runs a call over a failover to a replica. The master dies, or hangs and returns as a second
/// master.
async fn fails_over(hangs: bool) {
    let folder = folder(&format!("cluster-sentinel-{hangs}"));
    let mut master = Redis::with(&["--repl-diskless-sync-delay", "0"]);
    let replica = Redis::replica_of(&master, &folder).await;
    let sentinel = Sentinel::of(&master, &folder).await;
    let url = sentinel.url();
    let servers = NODES.map(|name| node_at(&url, name, &["--cluster-lease-seconds=10"]));
    let mut call = Call::between(&servers[0], &servers[1]).await;
    call.send(10).await;
    if hangs {
        master.signal("STOP");
    } else {
        master.kill();
    }
    sentinel.until_master(&replica).await;
    call.send(10).await;
    for server in &servers {
        until_reconnected(server).await;
    }
    until_all(&servers, "connected").await;
    if hangs {
        master.signal("CONT");
    }
    call.send(10).await;
    // A replica may lack the last changes, so that a peer is shown as gone for a moment.
    let (ends, _) = call.heals_with_all_offers().await;
    if hangs {
        // Its writers are on the replica, which alone has the room as it is now.
        drop(master);
        until_all(&servers, "connected").await;
    }
    finish(ends, servers).await;
}

#[tokio::test]
async fn failover_to_a_replica_loses_nothing() {
    fails_over(false).await;
}

#[tokio::test]
async fn failover_from_a_master_that_hangs_loses_nothing() {
    if is_long() {
        fails_over(true).await;
    }
}

#[tokio::test]
async fn engine_over_tls_is_trusted_by_its_authority() {
    let folder = folder("cluster-tls");
    let authority = Authority::new();
    let redis = Redis::secure(&authority.issue(&folder));
    let trusted = format!("--cluster-ca={}", authority.write(&folder).display());
    let servers = NODES.map(|name| node(&redis, name, &[&trusted]));
    let mut call = Call::between(&servers[0], &servers[1]).await;
    call.send(20).await;
    finish(call.heals_without_loss().await, servers).await;
    // Other authorities do not count.
    let other = Authority::new().write(&folder.join("other"));
    for flags in [vec![], vec![format!("--cluster-ca={}", other.display())]] {
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let process = process_at(&redis.url(), "three", &flags);
        let line = process.until_printed("connection to the cluster's engine failed");
        assert!(line.contains("certificate"), "{line}");
        let health = reqwest::get(format!("http://{}/health", process.address())).await.unwrap();
        let health: Value = health.json().await.unwrap();
        assert_eq!(health["cluster"]["engine"], "away", "{health}");
    }
}

/// Returns the rules of the user that the guide recommends.
fn documented_user() -> Vec<String> {
    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/cluster.md");
    let guide = std::fs::read_to_string(guide).unwrap();
    let line = guide.lines().find_map(|line| line.strip_prefix("user parlor ")).expect("a user");
    line.split(' ').map(str::to_owned).collect()
}

/// Returns how often the engine has executed a command.
async fn executed(redis: &Redis, command: &str) -> u64 {
    let mut connection = redis.connection().await;
    let stats = redis::cmd("INFO").arg("commandstats").query_async(&mut connection).await;
    let stats: String = stats.unwrap();
    let line =
        stats.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls=")));
    line.map_or(0, |line| line.split(',').next().unwrap().parse().unwrap())
}

#[tokio::test]
async fn documented_user_of_the_engine_suffices() {
    for withheld in [&[][..], &["-client|reply"], &["-info", "-config|get", "-pubsub|numsub"]] {
        let redis = Redis::start();
        let mut user = redis::cmd("ACL");
        user.arg("SETUSER").arg("parlor").arg(documented_user()).arg(withheld);
        user.exec_async(&mut redis.connection().await).await.unwrap();
        let url = redis.url().replace("://", "://parlor:PASSWORD@");
        let servers = NODES.map(|name| node_at(&url, name, &[]));
        let mut call = Call::between(&servers[0], &servers[1]).await;
        call.send(200).await;
        finish(call.heals_without_loss().await, servers).await;
        // Each connection asks once whether it may skip replies, and then does.
        let skipped = executed(&redis, "client|reply").await;
        assert_eq!(skipped > 20, withheld.is_empty(), "{skipped} of 400 for {withheld:?}");
    }
}

#[tokio::test]
async fn drain_ends_in_time_without_an_engine() {
    let mut redis = Redis::start();
    let node = process_at(&redis.url(), "one", &["--shutdown-seconds=2"]);
    let mut ann = Client::connect_at(node.address()).await;
    let joined = ann.ask("join-room", serde_json::json!({ "roomId": "r", "userId": "ann" })).await;
    assert_eq!(joined["ok"], true, "{joined}");
    redis.kill();
    node.signal("TERM");
    let began = Instant::now();
    let ended = tokio::task::spawn_blocking(move || node.ended());
    let ended = tokio::time::timeout(LIMIT, ended).await.expect("the process ends").unwrap();
    assert_eq!(ended.code(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
}
