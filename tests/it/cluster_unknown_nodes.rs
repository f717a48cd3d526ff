//! Resume tokens that name no node of the cluster.

use parlor::id::ConnectionId;

use crate::cluster_nodes::node;
use crate::support::redis::Redis;
use crate::support::resuming_client::{ClientKind, ResumePoint, ResumingClient};
use crate::support::scrape::Scrape;

const RESUME: &str = "--resume-seconds=30";

/// Returns how many frames the engine was asked to publish.
async fn publishes(redis: &Redis) -> u64 {
    let mut connection = redis.connection().await;
    let info: String =
        redis::cmd("INFO").arg("commandstats").query_async(&mut connection).await.unwrap();
    let line = info.lines().find_map(|line| line.strip_prefix("cmdstat_publish:calls="));
    line.map_or(0, |rest| rest.split_once(',').unwrap().0.parse().unwrap())
}

#[tokio::test]
async fn made_up_resume_tokens_do_not_make_every_node_work() {
    const TOKENS: u64 = 400;
    const ASKED: u64 = 60;
    let redis = Redis::start();
    let nodes = ["one", "two", "three"].map(|name| node(&redis, name, &[RESUME]));
    let [one, two, _] = &nodes;
    let kind = ClientKind::WebSocket;
    let ann = ResumingClient::joined(one, kind, "ann").await;
    let before = publishes(&redis).await;
    for number in 0..TOKENS {
        // A secret of zeros, and a node that does not exist.
        let (id, secret, node) =
            (ConnectionId::random(), "A".repeat(24), format!("{number:0>10}A"));
        let resume_token = format!("{id}.{secret}.{node}");
        let made_up = ResumePoint { resume_token, seen: None };
        let client = ResumingClient::resume(one, kind, &made_up).await;
        assert!(!client.is_resumed);
        client.close().await;
    }
    let scrape = Scrape::of(one).await;
    let refused = scrape.count(r#"parlor_limits_hit_total{limit="unknown_nodes_per_ip"}"#);
    assert!(refused >= TOKENS / 2, "{refused} were refused at once");
    // A claim and an answer for each of the two other nodes, and some beats of the nodes.
    let published = publishes(&redis).await - before;
    assert!(published >= ASKED * 4, "{published}");
    assert!(published < TOKENS * 3, "{published} frames for {TOKENS} tokens");
    // Tokens of living nodes are not limited.
    let resume_point = ann.drop_connection().await;
    let ann = ResumingClient::resume(two, kind, &resume_point).await;
    assert!(ann.is_resumed);
    ann.close().await;
    for node in nodes {
        assert!(node.stop().await);
    }
}
