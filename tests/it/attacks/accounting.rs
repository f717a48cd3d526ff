//! Everything that a client sends is counted and limited, whatever kind of packet or frame it is.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::json;

use super::{ENDPOINTS, SOCKET_IO};
use crate::support::engine::{ENGINES, Engine, Transport, payload};
use crate::support::protocol_peer::{Peer, Protocol};
use crate::support::raw::{PING, Raw, TEXT, frame};
use crate::support::scrape::Scrape;
use crate::support::server::short;
use crate::support::{Bystander, Client, TestServer, attacked};

const PONG: u8 = 0x8a;

/// Time limit of a flood, with a margin for a busy machine.
const IN_TIME: Duration = Duration::from_secs(20);

/// Interval between two parts of a flood.
const PACE: Duration = Duration::from_millis(20);

/// A number of packets of one kind that exceeds any limit.
const MANY: usize = 500;

/// Sends as fast as the server reads until it ends the connection, and returns the time that took.
async fn flood(mut raw: Raw, kind: &str, bytes: &[u8]) -> Duration {
    let began = Instant::now();
    let mut pace = tokio::time::interval(PACE);
    let mut at = 0;
    loop {
        assert!(began.elapsed() < IN_TIME, "{kind}: the connection is still open");
        tokio::select! {
            frame = raw.frame() => if frame.is_none_or(|frame| frame.opcode == 8) {
                return began.elapsed();
            },
            // A partly sent frame is continued with the next write, so that frames stay whole.
            _ = pace.tick() => at = (at + raw.send_some(&bytes[at..]).unwrap_or_default()) % bytes.len(),
        }
    }
}

#[test]
fn flood_of_every_kind_of_frame_is_counted_and_ended() {
    // Long enough that no connection is closed because its first message is missing.
    attacked(
        &["--handshake-timeout-seconds=60"],
        async |server: &TestServer, bystander: &mut Bystander| {
            let before = Scrape::of(server).await;
            let control = r#"parlor_messages_received_total{dialect="socketio",kind="control"}"#;
            let packets = ["2", "3", "431[]", r#"42/a,["x"]"#];
            let packets = packets.map(|packet| (SOCKET_IO, packet, frame(TEXT, packet)));
            let frames = ENDPOINTS
                .map(|path| [(path, "ping", frame(PING, "x")), (path, "pong", frame(PONG, "x"))]);
            // A message in many frames is one message, and many frames.
            let cut = (
                SOCKET_IO,
                "cut",
                [frame(0x01, "4"), frame(0x00, "").repeat(50), frame(0x80, "31[]")].concat(),
            );
            // A message that is never completed is not a message.
            let plain = ENDPOINTS.into_iter().filter(|path| *path != SOCKET_IO);
            let endless = plain.map(|path| (path, "endless", frame(0x00, "")));
            let floods =
                packets.into_iter().chain(frames.into_iter().flatten()).chain(endless).chain([cut]);
            let floods = floods.map(async |(path, kind, bytes)| {
                let mut raw = Raw::websocket(server.address(), path).await;
                if path == SOCKET_IO {
                    raw.send(frame(TEXT, "40")).await;
                    while !raw.text().await.expect("connected").starts_with("40") {}
                }
                if kind == "endless" {
                    raw.send(frame(0x01, "")).await;
                }
                // Continuation frames count less.
                let count = if kind == "endless" { 2_000 } else { 20 };
                let lasted = flood(raw, &format!("{path} {kind}"), &bytes.repeat(count)).await;
                assert!(lasted >= short().flood, "{path} {kind}: ended after {lasted:?}");
            });
            tokio::join!(join_all(floods), bystander.round());
            let after = Scrape::of(server).await;
            assert!(after.count(control) > before.count(control) + 1_000);
            let floods = r#"parlor_limits_hit_total{limit="flood"}"#;
            assert!(after.count(floods) >= 16, "{}", after.count(floods));
        },
    );
}

#[test]
fn repeated_connect_packets_end_the_connection() {
    attacked(&[], async |server: &TestServer, bystander: &mut Bystander| {
        let limit = r#"parlor_limits_hit_total{limit="connect_packets"}"#;
        for (transport, revision) in ENGINES {
            let before = Scrape::of(server).await.count(limit);
            let mut engine = Engine::connect(server.address(), (transport, revision)).await;
            match transport {
                Transport::Polling => {
                    engine.post("text/plain", payload(revision, &[b"40".as_slice(); MANY])).await;
                }
                Transport::WebSocket => {
                    for _ in 0..MANY {
                        engine.send("40").await;
                    }
                }
            }
            while engine.next_event().await.is_some() {}
            assert_eq!(
                Scrape::of(server).await.count(limit),
                before + 1,
                "{transport:?}, revision {revision}"
            );
        }
        bystander.round().await;
    });
}

#[test]
fn connect_packets_are_limited() {
    attacked(&[], async |server: &TestServer, bystander: &mut Bystander| {
        for transport in [Transport::WebSocket, Transport::Polling] {
            let mut engine = Engine::open(server.address(), (transport, 4)).await;
            for index in 0..8 {
                engine.send(format!("40/n{index},")).await;
                let answer =
                    if index < 4 { format!("40/n{index},{{") } else { format!("44/n{index},") };
                assert!(engine.expect_event(&answer).await.is_some(), "{transport:?} {index}");
            }
            for _ in 0..16 {
                engine.send("40/n,").await;
            }
            while engine.next_event().await.is_some() {}
        }
        bystander.round().await;
    });
}

#[cfg(target_os = "linux")]
#[test]
fn closing_connection_is_read_for_a_limited_time() {
    attacked(&[], async |server: &TestServer, bystander: &mut Bystander| {
        let mut raw = Raw::websocket(server.address(), SOCKET_IO).await;
        let connects = frame(TEXT, "40").repeat(10_000);
        // Until the server resets the connection: all of it, with the contents of both kernels'
        // buffers.
        let began = Instant::now();
        let mut sent = 0;
        while began.elapsed() < IN_TIME && raw.is_served().await {
            sent += raw.send_some(&connects[sent % connects.len()..]).unwrap_or_default();
            tokio::task::yield_now().await;
        }
        assert!(!raw.is_served().await, "the server still replies");
        assert!(sent < 32 << 20, "{sent} bytes");
        raw.rest().await;
        bystander.round().await;
    });
}

#[test]
fn fragments_do_not_hide_a_connect_packet() {
    attacked(&[], async |server: &TestServer, bystander: &mut Bystander| {
        let mut raw = Raw::websocket(server.address(), SOCKET_IO).await;
        raw.send(frame(TEXT, "40")).await;
        let pieces = [frame(0x01, "4"), frame(PING, "between"), frame(0x80, "0")].concat();
        raw.send(pieces.repeat(MANY)).await;
        raw.close_code().await;
        bystander.round().await;
    });
}

#[test]
fn missing_attachments_end_the_connection() {
    attacked(
        &["--handshake-timeout-seconds=1"],
        async |server: &TestServer, bystander: &mut Bystander| {
            let head = r#"452-["offer",{"offer":{"_placeholder":true,"num":0}}]"#;
            let mut raw = Raw::websocket(server.address(), SOCKET_IO).await;
            raw.send(frame(TEXT, "40")).await;
            raw.send(frame(TEXT, head)).await;
            raw.send(frame(0x82, [0; 100])).await;
            raw.close_code().await;

            // A polling client notices it with its next POST, a heartbeat at the latest.
            let mut engine = Engine::connect(server.address(), (Transport::Polling, 4)).await;
            engine.send(head).await;
            let began = Instant::now();
            while engine.send("3").await {
                assert!(began.elapsed() < IN_TIME, "the connection is still open");
                tokio::time::sleep(PACE).await;
            }
            bystander.round().await;
        },
    );
}

#[tokio::test]
async fn repeated_join_is_charged_for_its_reply() {
    let server = TestServer::start();
    let mut peers = Vec::new();
    for index in 0..20 {
        let mut peer = Client::connect(&server).await;
        let join =
            json!({ "roomId": "r", "userId": format!("peer-{index}"), "note": "x".repeat(4_000) });
        assert_eq!(peer.ask("join-room", join).await["ok"], true);
        peers.push(peer);
    }
    let mut ann = Client::joined(&server, "r", "ann").await;
    let mut joins = 0;
    loop {
        let answer = ann.ask("join-room", json!({ "roomId": "r", "userId": "ann" })).await;
        if answer["ok"] == false {
            assert_eq!(answer["code"], "RATE_LIMITED");
            break;
        }
        joins += 1;
        assert!(joins < 50, "each returns 160 KB, in a list and in its acknowledgement");
    }
    ann.close().await;
    for peer in peers {
        peer.close().await;
    }
    server.finish().await;
}

#[tokio::test]
async fn slow_consumer_is_closed_and_counted_once() {
    let server = TestServer::with(&["--send-queue=8", "--messages-per-second=0"]);
    let slow = Peer::join(&server, Protocol::Envelope, "r", "slow").await;
    let join = json!({ "roomId": "r", "userId": "restless", "note": "x".repeat(4_000) });
    let limit = r#"parlor_limits_hit_total{limit="send_queue"}"#;
    let mut restless = Client::connect(&server).await;
    let mut joins = 0;
    while Scrape::of(&server).await.count(limit) == 0 {
        for _ in 0..100 {
            restless.ask("join-room", join.clone()).await;
            restless.ask("leave-room", json!("r")).await;
        }
        joins += 100;
        assert!(joins < 10_000, "the queue is not full");
    }
    for _ in 0..20 {
        restless.ask("join-room", join.clone()).await;
        restless.ask("leave-room", json!("r")).await;
    }
    assert_eq!(Scrape::of(&server).await.count(limit), 1);
    drop(slow);
    restless.close().await;
    server.finish().await;
}
