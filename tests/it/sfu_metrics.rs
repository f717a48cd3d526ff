//! Metrics and logs of the media server. Logs contain no secrets.

use serde_json::json;
use tokio::net::UdpSocket;

use crate::support::TestServer;
use crate::support::player::{consume, produce_audio};
use crate::support::program::{Program, parlor};
use crate::support::resuming_client::{ClientKind, ResumingClient};
use crate::support::scrape::Scrape;

#[tokio::test]
async fn metrics_follow_media() {
    let server = TestServer::start();
    let scrape = Scrape::of(&server).await;
    assert_eq!(scrape.count("parlor_media_transports"), 0);
    let mut ann = ResumingClient::joined(&server, ClientKind::Envelope, "ann").await;
    let mut ben = ResumingClient::joined(&server, ClientKind::Envelope, "ben").await;
    let (sender, producer) = produce_audio(&mut ann).await;
    let receiver = consume(&mut ben, &producer).await;
    receiver.receives_more(20).await;
    let stranger = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    stranger.send_to(b"unknown", sender.server).await.unwrap();
    receiver.receives_more(5).await;
    let scrape = Scrape::of(&server).await;
    let gauges = ["transports", "producers", "consumers"]
        .map(|what| scrape.count(&format!("parlor_media_{what}")));
    assert_eq!(gauges, [2, 1, 1]);
    let forwarded = scrape.count("parlor_media_packets_forwarded_total");
    assert!(forwarded >= 20, "{forwarded}");
    for direction in ["in", "out"] {
        let of = |what: &str| {
            scrape.count(&format!("parlor_media_{what}_total{{direction=\"{direction}\"}}"))
        };
        assert!(of("datagrams") >= forwarded, "{direction}");
        assert!(of("bytes") > of("datagrams") * 40, "{direction}");
    }
    assert_eq!(scrape.count(r#"parlor_media_lost_total{reason="unknown_sender"}"#), 1);
    assert_eq!(
        scrape.count(r#"parlor_messages_received_total{dialect="envelope",kind="other"}"#),
        10
    );
    ann.close().await;
    ben.close().await;
    server.until("both have left", |held| held.transports == 0).await;
    let scrape = Scrape::of(&server).await;
    let gauges = ["transports", "producers", "consumers"]
        .map(|what| scrape.count(&format!("parlor_media_{what}")));
    assert_eq!(gauges, [0, 0, 0]);
    assert!(
        scrape.count("parlor_media_packets_forwarded_total") >= forwarded,
        "counters never decrease"
    );
    server.finish().await;
}

#[tokio::test]
async fn requests_are_logged_without_secrets() {
    let mut command = parlor();
    command.args(["--host=127.0.0.1", "--port=0", "--log-level=trace"]);
    let program = Program::start(command);
    let mut ann = ResumingClient::joined(&program, ClientKind::Envelope, "ann").await;
    let created = ann.ask("transport:create", json!({ "direction": "recv" })).await;
    let (sender, producer) = produce_audio(&mut ann).await;
    let receiver = consume(&mut ann, &producer).await;
    receiver.receives_more(5).await;
    let restarted = ann.ask("transport:restart-ice", json!({ "transportId": sender.id() })).await;
    let line = program.until_printed("restart ice");
    for field in ["DEBUG", "connection=", "correlation=\"00000000-", "size="] {
        assert!(line.contains(field), "{field}: {line}");
    }
    for (request, times) in
        [("create transport", 3), ("connect transport", 2), ("\"produce\"", 1), ("\"consume\"", 1)]
    {
        assert_eq!(program.printed(request), times, "{request}");
    }
    for ice in [&created, &restarted] {
        let password = ice["iceParameters"]["password"].as_str().unwrap();
        assert_eq!(program.printed(password), 0, "ICE password");
    }
    let theirs = sender.connecting();
    let ours = &created["dtlsParameters"]["fingerprints"][0]["value"];
    for fingerprint in [&theirs["dtlsParameters"]["fingerprints"][0]["value"], ours] {
        assert_eq!(program.printed(fingerprint.as_str().unwrap()), 0, "fingerprint");
    }
    ann.close().await;
    program.signal("TERM");
    assert!(program.ended().success());
}
