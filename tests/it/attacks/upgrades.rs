//! Upgrades from polling to WebSocket that are incomplete, repeated, or name another connection.

use std::net::SocketAddr;

use futures_util::future::join_all;

use super::UNLIMITED;
use crate::support::engine::{Engine, Transport};
use crate::support::raw::{Raw, TEXT, frame, handshake};
use crate::support::{Bystander, Client, TestServer, attacked};

const FLAGS: [&str; 2] = ["--handshake-timeout-seconds=1", UNLIMITED];

/// Number of concurrent attempts.
const MANY: usize = 20;

async fn polling(address: SocketAddr, revision: u8) -> Engine {
    Engine::connect(address, (Transport::Polling, revision)).await
}

/// Opens a WebSocket that would upgrade a polling session.
async fn open_websocket(address: SocketAddr, engine: &Engine) -> Raw {
    Raw::websocket(address, &engine.path(Transport::WebSocket)).await
}

/// Opens a WebSocket, and completes the probe.
async fn open_and_probe(address: SocketAddr, engine: &Engine) -> Raw {
    let mut socket = open_websocket(address, engine).await;
    socket.send(frame(TEXT, "2probe")).await;
    assert_eq!(socket.text().await.as_deref(), Ok("3probe"));
    socket
}

async fn status_of_upgrade(address: SocketAddr, path: &str) -> u16 {
    Raw::sending(address, handshake(path, "")).await.response().await.expect("an answer").status
}

/// Only the handshake: polling continues, and the attempt times out.
#[test]
fn unfinished_upgrade_leaves_polling_intact() {
    attacked(&FLAGS, async |server: &TestServer, bystander: &mut Bystander| {
        let address = server.address();
        let attempts = (0..MANY).map(async |number| {
            let mut engine = polling(address, 3 + u8::try_from(number % 2).unwrap()).await;
            let mut socket = open_websocket(address, &engine).await;
            assert!(engine.answers().await, "polling continues during the attempt");
            socket.rest().await;
            assert!(engine.answers().await, "and after the attempt");
            engine.close().await;
        });
        tokio::join!(join_all(attempts), bystander.round());
    });
}

/// After a WebSocket that fails after its probe, polling continues.
#[test]
fn probe_without_an_upgrade_leaves_polling_intact() {
    attacked(&FLAGS, async |server: &TestServer, bystander: &mut Bystander| {
        let address = server.address();
        let mut ann = Client::joined(server, "r", "ann").await;
        ann.next_event("room-users").await;
        for rest in [
            None,
            Some(""),
            Some("5x"),
            Some("6"),
            Some("2probe"),
            Some("2"),
            Some("40"),
            Some("1"),
            Some("x"),
        ] {
            for revision in [3, 4] {
                let mut engine = polling(address, revision).await;
                engine.send(r#"42["join-room","r","odd"]"#).await;
                ann.next_event("user-joined").await;
                let mut socket = open_and_probe(address, &engine).await;
                match rest {
                    // Until the time limit of an upgrade.
                    None if revision == 3 => drop(socket.rest().await),
                    None => socket.reset(),
                    Some(packet) => {
                        socket.send(frame(TEXT, packet)).await;
                        // A poll that was answered for the upgrade is repeated.
                        socket.send(frame(TEXT, "1")).await;
                        socket.rest().await;
                    }
                }
                assert!(engine.answers().await, "{rest:?}");
                engine.close().await;
                assert_eq!(ann.next_event("user-left").await[0]["userId"], "odd", "{rest:?}");
            }
        }
        bystander.round().await;
        ann.nothing_more().await;
        ann.close().await;
    });
}

#[test]
fn concurrent_upgrades_are_refused() {
    attacked(&FLAGS, async |server: &TestServer, bystander: &mut Bystander| {
        let address = server.address();
        let attempts = (0..MANY).map(async |number| {
            let mut engine = polling(address, 3 + u8::try_from(number % 2).unwrap()).await;
            let path = engine.path(Transport::WebSocket);
            let first = open_websocket(address, &engine).await;
            assert_eq!(
                status_of_upgrade(address, &path).await,
                400,
                "while another is in progress"
            );
            drop(first);
            let mut socket = loop {
                // The dropped attempt is cancelled soon.
                let mut raw = Raw::sending(address, handshake(&path, "")).await;
                if raw.response().await.expect("an answer").status == 101 {
                    break raw;
                }
            };
            socket.send(frame(TEXT, "2probe")).await;
            assert_eq!(socket.text().await.as_deref(), Ok("3probe"));
            assert_eq!(status_of_upgrade(address, &path).await, 400, "while another is probed");
            socket.send(frame(TEXT, "5")).await;
            engine.take(socket);
            assert!(engine.answers().await);
            assert_eq!(status_of_upgrade(address, &path).await, 400, "after the upgrade");
            assert!(engine.answers().await, "the first is not affected");
            engine.close().await;
        });
        tokio::join!(join_all(attempts), bystander.round());
    });
}

/// The public id of a peer authorizes nothing, nor does anything that is not a session id.
#[test]
fn upgrade_needs_the_session_id() {
    attacked(&FLAGS, async |server: &TestServer, bystander: &mut Bystander| {
        let address = server.address();
        let ann = Client::joined(server, "r", "ann").await;
        let long = "A".repeat(8_000);
        let of_websocket = ann.sid.clone();
        for sid in [
            &ann.id,
            &of_websocket,
            "missing",
            "AAAAAAAAAAAAAAAA",
            "",
            "%00",
            "AAAAAAAAAAAAAAA%41",
            "é",
            &long,
            "../../etc",
        ] {
            let query =
                |transport: &str| format!("/socket.io/?EIO=4&transport={transport}&sid={sid}");
            assert_eq!(status_of_upgrade(address, &query("websocket")).await, 400, "{sid:.20}");
            let poll = format!("GET {} HTTP/1.1\r\nHost: x\r\n\r\n", query("polling"));
            assert_eq!(
                Raw::sending(address, poll).await.response().await.unwrap().status,
                400,
                "{sid:.20}"
            );
            let post = format!(
                "POST {} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n41",
                query("polling")
            );
            assert_eq!(
                Raw::sending(address, post).await.response().await.unwrap().status,
                400,
                "{sid:.20}"
            );
        }
        bystander.round().await;
        assert_eq!(server.held().polling, 0);
        ann.close().await;
    });
}

#[test]
fn invalid_upgrade_handshakes_are_refused() {
    attacked(&FLAGS, async |server: &TestServer, bystander: &mut Bystander| {
        let http = reqwest::Client::new();
        for path in [
            "/socket.io/",
            "/socket.io/?EIO=4",
            "/socket.io/?EIO=2&transport=polling",
            "/socket.io/?EIO=4&transport=carrier-pigeon",
            "/socket.io/?EIO=4&transport=websocket",
            "/socket.io/?EIO=4&transport=polling&sid=missing",
            "/socket.io/?EIO=4&transport=polling&sid=",
            "/socket.io/?EIO=5&EIO=4&transport=polling",
            "/socket.io/?EIO=4%20&transport=polling",
        ] {
            let answer = http.get(server.url(path)).send().await.unwrap();
            assert_eq!(answer.status(), 400, "{path}");
            let error: serde_json::Value = answer.json().await.unwrap();
            assert!(error["code"].is_number() && error["message"].is_string(), "{path}: {error}");
        }
        let post = http
            .post(server.url("/socket.io/?EIO=4&transport=polling"))
            .body("40")
            .send()
            .await
            .unwrap();
        assert_eq!(post.status(), 400);
        drop(http);
        let good = handshake("/ws", "");
        for (part, instead) in [
            ("Sec-WebSocket-Version: 13", "Sec-WebSocket-Version: 8"),
            ("Sec-WebSocket-Version: 13\r\n", ""),
            ("dGhlIHNhbXBsZSBub25jZQ==", "short"),
            ("dGhlIHNhbXBsZSBub25jZQ==", ""),
            ("Upgrade: websocket", "Upgrade: h2c"),
            ("Connection: Upgrade", "Connection: close"),
            ("HTTP/1.1", "HTTP/1.0"),
            ("GET ", "POST "),
        ] {
            for path in super::ENDPOINTS {
                let request = good.replace("/ws", path).replacen(part, instead, 1);
                let mut raw = Raw::sending(server.address(), request).await;
                let status = raw.response().await.map(|response| response.status);
                assert!(
                    matches!(status, Some(400 | 405)),
                    "{instead} in place of {part} at {path}: {status:?}"
                );
            }
        }
        bystander.round().await;
    });
}

/// Two concurrent polls: the second is refused and ends the connection; other peers are notified
/// once.
#[test]
fn parallel_polls_end_the_connection() {
    attacked(&FLAGS, async |server: &TestServer, bystander: &mut Bystander| {
        let mut ann = Client::joined(server, "r", "ann").await;
        ann.next_event("room-users").await;
        for revision in [3, 4] {
            let mut engine = polling(server.address(), revision).await;
            engine.send(r#"421["join-room","r","odd"]"#).await;
            engine.expect_event("431[").await.expect("joined");
            ann.next_event("user-joined").await;
            let statuses = join_all((0..MANY).map(async |_| engine.poll().await.status)).await;
            assert!(statuses.contains(&400), "{statuses:?}");
            assert_eq!(ann.next_event("user-left").await[0]["userId"], "odd");
            assert_eq!(engine.poll().await.status, 400, "the session has ended");
        }
        bystander.round().await;
        ann.nothing_more().await;
        ann.close().await;
    });
}

#[test]
fn parallel_posts_are_all_answered() {
    attacked(&FLAGS, async |server: &TestServer, bystander: &mut Bystander| {
        for revision in [3, 4] {
            let mut engine = polling(server.address(), revision).await;
            let posts = (0..MANY).map(async |number| {
                let packet = format!(r#"42{}["leave-room"]"#, 100 + number);
                let body = crate::support::engine::payload(revision, &[packet.as_bytes()]);
                assert_eq!(engine.post("text/plain", body).await.status, 200);
            });
            join_all(posts).await;
            let mut observed = String::new();
            while (0..MANY).any(|number| !observed.contains(&format!("43{}[", 100 + number))) {
                observed += &engine.next_event().await.expect("a response to each");
            }
            engine.close().await;
        }
        bystander.round().await;
    });
}

/// Messages that are posted during the upgrade count, later ones do not; none is delivered twice.
#[test]
fn messages_on_both_transports_are_delivered_once() {
    attacked(&FLAGS, async |server: &TestServer, bystander: &mut Bystander| {
        let address = server.address();
        let mut ann = Client::joined(server, "r", "ann").await;
        ann.next_event("room-users").await;
        for revision in [3, 4] {
            let mut engine = polling(address, revision).await;
            engine.send(r#"42["join-room","r","odd"]"#).await;
            ann.next_event("user-joined").await;
            let mut socket = open_and_probe(address, &engine).await;
            assert!(engine.send(r#"42["offer",{"offer":"posted"}]"#).await);
            socket.send(frame(TEXT, "5")).await;
            socket.send(frame(TEXT, r#"42["offer",{"offer":"sent"}]"#)).await;
            for expected in ["posted", "sent"] {
                assert_eq!(ann.next_event("offer").await[0]["offer"], expected);
            }
            // Polling has ended.
            assert!(!engine.send(r#"42["offer",{"offer":"late"}]"#).await);
            assert_eq!(engine.poll().await.status, 400);
            engine.take(socket);
            assert!(engine.answers().await);
            ann.next_event("user-left").await;
            engine.close().await;
        }
        bystander.round().await;
        ann.nothing_more().await;
        ann.close().await;
    });
}
