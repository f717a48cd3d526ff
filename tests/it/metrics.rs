//! Every metric of `/metrics` changes with its cause, and is documented.

use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use crate::support::protocol_peer::{PROTOCOLS, Peer, Protocol, Received};
use crate::support::scrape::Scrape;
use crate::support::server::{Held, short};
use crate::support::{Client, TestServer};

fn name(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::SocketIo => "socketio",
        Protocol::Envelope => "envelope",
        Protocol::Topic => "topic",
        Protocol::Session => "session",
    }
}

#[tokio::test]
async fn call_updates_the_metrics_of_its_dialect() {
    for protocol in PROTOCOLS {
        let server = TestServer::start();
        let mut ann = Peer::join(&server, protocol, "r", "ann").await;
        let mut bob = Peer::join(&server, protocol, "r", "bob").await;
        ann.expect_presence(Received::Joined(bob.id.clone())).await;
        bob.offer(&ann.id, "sdp").await;
        ann.next_event().await;
        ann.answer(&bob.id, "sdp").await;
        bob.next_event().await;
        for _ in 0..3 {
            bob.candidate(&ann.id, Some("candidate")).await;
            ann.next_event().await;
        }
        bob.send_raw(Message::text(if protocol == Protocol::SocketIo {
            r#"42["leave-room",[]]"#
        } else {
            "{}"
        }))
        .await;
        assert!(matches!(bob.next_event().await, Received::Error(_)));
        let scrape = Scrape::of(&server).await;
        let dialect = name(protocol);
        let of = |metric: &str, more: &str| {
            scrape.count(&format!("parlor_{metric}{{dialect=\"{dialect}\"{more}}}"))
        };
        assert_eq!(of("connections", ""), 2);
        assert_eq!(of("connections_opened_total", ""), 2);
        for (kind, count) in
            [("join", 2), ("offer", 1), ("answer", 1), ("candidate", 3), ("refused", 1)]
        {
            assert_eq!(
                of("messages_received_total", &format!(",kind=\"{kind}\"")),
                count,
                "{dialect} {kind}"
            );
        }
        for (kind, count) in [("offer", 1), ("answer", 1), ("candidate", 3)] {
            assert_eq!(
                of("messages_relayed_total", &format!(",kind=\"{kind}\"")),
                count,
                "{dialect} {kind}"
            );
        }
        assert_eq!(scrape.count("parlor_rooms"), 1);
        assert_eq!(scrape.count("parlor_peers"), 2);
        assert!(scrape.count("parlor_tasks") >= 1);
        assert_eq!(scrape.count("parlor_relay_seconds_count"), 5);
        assert_eq!(scrape.count(r#"parlor_relay_seconds_bucket{le="+Inf"}"#), 5);
        assert!(scrape.value("parlor_relay_seconds_sum") > 0.0);
        assert_eq!(scrape.count(r#"parlor_errors_total{code="INVALID_MESSAGE"}"#), 1);
        for process in ["process_resident_memory_bytes", "process_open_fds", "process_max_fds"] {
            assert!(scrape.count(process) > 0, "{process}");
        }
        bob.leave().await;
        ann.close().await;
        server.until("both sessions have ended", |held| held.sessions == 0).await;
        let scrape = Scrape::of(&server).await;
        let of = |metric: &str, more: &str| {
            scrape.count(&format!("parlor_{metric}{{dialect=\"{dialect}\"{more}}}"))
        };
        assert_eq!(of("connections", ""), 0);
        assert_eq!(of("connections_closed_total", ",reason=\"disconnected\""), 2);
        let left = u64::from(protocol != Protocol::Topic);
        assert_eq!(of("messages_received_total", ",kind=\"leave\""), left);
        server.finish().await;
    }
}

#[tokio::test]
async fn dialect_specific_messages_are_counted() {
    let server = TestServer::start();
    let mut ann = Client::connect(&server).await;
    assert_eq!(ann.ask("hello", json!(1)).await["code"], "NOT_IN_ROOM");
    let mut typed = Peer::join(&server, Protocol::Envelope, "r", "typed").await;
    for kind in ["ping", "room:state"] {
        let message = json!({ "type": kind, "payload": { "roomId": "r" } });
        typed.send_raw(Message::text(message.to_string())).await;
        typed.read_raw().await;
    }
    let mut caller = Peer::join(&server, Protocol::Session, "s", "caller").await;
    caller.send_raw(Message::text(r#"{"type":"hangup","sessionId":"s"}"#)).await;
    caller.read_raw().await;
    let polling = reqwest::get(server.url("/socket.io/?EIO=4&transport=polling")).await.unwrap();
    assert_eq!(polling.status(), 200);
    let scrape = Scrape::of(&server).await;
    for (dialect, kind) in [
        ("socketio", "relay"),
        ("envelope", "other"),
        ("envelope", "inspect"),
        ("session", "hangup"),
    ] {
        let series =
            format!("parlor_messages_received_total{{dialect=\"{dialect}\",kind=\"{kind}\"}}");
        assert_eq!(scrape.count(&series), 1, "{series}");
    }
    assert_eq!(scrape.count("parlor_polling_sessions"), 1);
    drop(polling);
    ann.close().await;
    typed.close().await;
    caller.close().await;
    assert!(server.stop().await);
}

#[tokio::test]
async fn full_queue_is_counted() {
    let server = TestServer::within(&short(), &["--send-queue=8", "--messages-per-second=0"]);
    let stalled = Peer::join(&server, Protocol::SocketIo, "r", "stalled").await;
    stalled.narrow();
    let mut ann = Client::joined(&server, "r", "ann").await;
    ann.next_event("room-users").await;
    let body = "x".repeat(32_000);
    while ann.ask("offer", json!({ "targetId": "stalled", "offer": body })).await["ok"] == true {}
    let scrape = Scrape::of(&server).await;
    assert_eq!(scrape.count(r#"parlor_queue_full_total{dialect="socketio"}"#), 1);
    assert_eq!(scrape.count(r#"parlor_errors_total{code="DELIVERY_FAILED"}"#), 1);
    assert_eq!(ann.next_event("user-left").await[0]["reason"], "timeout");
    let scrape = Scrape::of(&server).await;
    assert_eq!(
        scrape.count(r#"parlor_connections_closed_total{dialect="socketio",reason="timeout"}"#),
        1
    );
    assert_eq!(scrape.count(r#"parlor_limits_hit_total{limit="write_time"}"#), 1);
    drop(stalled);
    ann.close().await;
    server.finish().await;
}

#[tokio::test]
async fn metrics_are_documented_and_in_the_dashboard() {
    let server = TestServer::start();
    let mut ann = Client::joined(&server, "r", "ann").await;
    ann.ask("offer", json!({ "offer": 1, "targetId": "missing" })).await;
    let scrape = Scrape::of(&server).await;
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let operators = std::fs::read_to_string(root.join("docs/operators.md")).unwrap();
    let dashboard = std::fs::read_to_string(root.join("docs/grafana-dashboard.json")).unwrap();
    serde_json::from_str::<serde_json::Value>(&dashboard).expect("Grafana reads JSON");
    for name in scrape.names() {
        let name =
            ["_bucket", "_sum", "_count"].iter().fold(name, |name, end| name.trim_end_matches(end));
        if name.starts_with("parlor_") {
            assert!(
                operators.contains(&format!("`{name}")),
                "docs/operators.md does not explain {name}"
            );
            assert!(dashboard.contains(name), "the dashboard does not show {name}");
        }
    }
    ann.close().await;
    server.finish().await;
}

#[tokio::test]
async fn metrics_on_the_main_port_need_the_api_token() {
    let server = TestServer::with(&["--api-token=correct horse"]);
    let http = reqwest::Client::new();
    let ask = |token: Option<&str>| {
        let request = http.get(server.url("/metrics"));
        token.map_or(request.try_clone().unwrap(), |token| request.bearer_auth(token)).send()
    };
    assert_eq!(ask(None).await.unwrap().status(), 401);
    assert_eq!(ask(Some("wrong")).await.unwrap().status(), 401);
    assert_eq!(ask(Some("correct horse")).await.unwrap().status(), 200);
    drop(http);
    server.finish().await;
}

#[tokio::test]
async fn separate_metrics_listener_needs_no_token() {
    let server = TestServer::with(&["--api-token=correct horse", "--metrics-addr=127.0.0.1:0"]);
    let address = server.metrics_address().expect("a metrics listener");
    let scrape = Scrape::at(&format!("http://{address}/metrics")).await;
    assert_eq!(scrape.count("parlor_rooms"), 0);
    for (url, status) in [
        (server.url("/metrics"), 404),
        (format!("http://{address}/api/rooms"), 404),
        (format!("http://{address}/"), 404),
        (format!("http://{address}/healthz"), 200),
    ] {
        assert_eq!(reqwest::get(&url).await.unwrap().status(), status, "{url}");
    }
    server.until("no state remains", |held| held == Held::NOTHING).await;
    server.finish().await;
}
