//! What an operator sees of media: figures, and lines of the log that hold no secret.

use serde_json::json;
use tokio::net::UdpSocket;

use crate::support::TestServer;
use crate::support::player::{listens, speaks};
use crate::support::program::{Program, parlor};
use crate::support::roamer::{Roamer, Way};
use crate::support::scrape::Scrape;

#[tokio::test]
async fn a_talk_moves_the_figures_of_media() {
    let server = TestServer::start();
    let scrape = Scrape::of(&server).await;
    assert_eq!(scrape.count("parlor_media_transports"), 0);
    let mut ann = Roamer::joined(&server, Way::Envelope, "ann").await;
    let mut ben = Roamer::joined(&server, Way::Envelope, "ben").await;
    let (mouth, producer) = speaks(&mut ann).await;
    let ear = listens(&mut ben, &producer).await;
    ear.hears_more(20).await;
    let stranger = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    stranger.send_to(b"nobody", mouth.server).await.unwrap();
    ear.hears_more(5).await;
    let scrape = Scrape::of(&server).await;
    let there = ["transports", "producers", "consumers"].map(|what| scrape.count(&format!("parlor_media_{what}")));
    assert_eq!(there, [2, 1, 1]);
    let forwarded = scrape.count("parlor_media_packets_forwarded_total");
    assert!(forwarded >= 20, "{forwarded}");
    for direction in ["in", "out"] {
        let of = |what: &str| scrape.count(&format!("parlor_media_{what}_total{{direction=\"{direction}\"}}"));
        assert!(of("datagrams") >= forwarded, "{direction}");
        assert!(of("bytes") > of("datagrams") * 40, "{direction}");
    }
    assert_eq!(scrape.count(r#"parlor_media_lost_total{reason="unknown_sender"}"#), 1);
    assert_eq!(scrape.count(r#"parlor_messages_received_total{dialect="envelope",kind="other"}"#), 10);
    ann.close().await;
    ben.close().await;
    server.until("both are gone", |held| held.transports == 0).await;
    let scrape = Scrape::of(&server).await;
    let there = ["transports", "producers", "consumers"].map(|what| scrape.count(&format!("parlor_media_{what}")));
    assert_eq!(there, [0, 0, 0]);
    assert!(scrape.count("parlor_media_packets_forwarded_total") >= forwarded, "it only grows");
    server.finish().await;
}

#[tokio::test]
async fn each_request_is_a_line_of_the_log_and_no_secret_is() {
    let mut command = parlor();
    command.args(["--host=127.0.0.1", "--port=0", "--log-level=trace"]);
    let program = Program::start(command);
    let mut ann = Roamer::joined(&program, Way::Envelope, "ann").await;
    let created = ann.ask("transport:create", json!({ "direction": "recv" })).await;
    let (mouth, producer) = speaks(&mut ann).await;
    let ear = listens(&mut ann, &producer).await;
    ear.hears_more(5).await;
    let restarted = ann.ask("transport:restart-ice", json!({ "transportId": mouth.id() })).await;
    let line = program.until_printed("restart ice");
    for field in ["DEBUG", "connection=", "correlation=\"00000000-", "size="] {
        assert!(line.contains(field), "{field}: {line}");
    }
    for (request, times) in [("create transport", 3), ("connect transport", 2), ("\"produce\"", 1), ("\"consume\"", 1)]
    {
        assert_eq!(program.printed(request), times, "{request}");
    }
    for ice in [&created, &restarted] {
        let password = ice["iceParameters"]["password"].as_str().unwrap();
        assert_eq!(program.printed(password), 0, "a password of ICE");
    }
    let theirs = mouth.connecting();
    let ours = &created["dtlsParameters"]["fingerprints"][0]["value"];
    for fingerprint in [&theirs["dtlsParameters"]["fingerprints"][0]["value"], ours] {
        assert_eq!(program.printed(fingerprint.as_str().unwrap()), 0, "a fingerprint");
    }
    ann.close().await;
    program.signal("TERM");
    assert!(program.ended().success());
}
