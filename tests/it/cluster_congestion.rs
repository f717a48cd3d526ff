//! Backpressure between nodes: a burst to a peer of another node that reads slowly is delayed, as it
//! is on one node, and not refused.

use std::time::Duration;

use serde_json::json;

use crate::attacks::slow_readers::{joined, talker};
use crate::cluster_nodes::node;
use crate::support::TestServer;
use crate::support::protocol_peer::Protocol;
use crate::support::redis::Redis;
use crate::support::scrape::Scrape;
use crate::support::server::LIMIT;

/// More than the send queue and the buffers of the sockets hold.
const SIGNALS: usize = 1_000;

/// Waits until nodes have exchanged this number of messages about congestion.
async fn until_notified(server: &TestServer, direction: &str, messages: u64) {
    let series =
        format!(r#"parlor_cluster_frames_total{{direction="{direction}",kind="congestion"}}"#);
    let notified = async {
        while Scrape::of(server).await.count(&series) < messages {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LIMIT, notified).await.expect("the node notifies the other");
}

#[tokio::test]
async fn burst_to_a_slow_peer_of_another_node_is_delayed_and_not_refused() {
    let redis = Redis::start();
    let flags = ["--messages-per-second=0"];
    let (one, two) = (node(&redis, "one", &flags), node(&redis, "two", &flags));
    let mut slow = joined(two.address(), Protocol::Envelope, "r").await;
    slow.limit_window(64 << 10);
    let (mut ann, to) = talker(&one, "r").await;
    let padding = "x".repeat(4_000);
    let sending = async {
        for number in 0..SIGNALS {
            let candidate = json!({ "candidate": format!("{number} {padding}") });
            // Acknowledged by its own node, which stops reading a sender that is to wait.
            let signal = json!({ "targetId": to, "candidate": candidate });
            assert_eq!(ann.ask("ice-candidate", signal).await["ok"], true);
        }
    };
    let reading = async {
        // Until then the queue fills.
        until_notified(&one, "in", 1).await;
        let mut next = 0;
        while next < SIGNALS {
            let text = slow.text().await.expect("the connection stays open");
            if text.contains(r#""candidate""#) {
                assert!(text.contains(&format!("\"{next} x")), "{next}: {}", &text[..200]);
                next += 1;
            }
        }
    };
    tokio::join!(sending, reading);
    until_notified(&two, "out", 2).await;
    // No signal was refused.
    ann.nothing_more_but("user-joined").await;
    ann.close().await;
    drop(slow);
    one.finish().await;
    two.finish().await;
}
