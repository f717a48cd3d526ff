//! How connections begin and end, and how other peers are notified.

use futures_util::{SinkExt, StreamExt};
use parlor::server::Held;
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio_tungstenite::MaybeTlsStream;
use tokio_tungstenite::tungstenite::Message;

use crate::support::client::{text, websocket};
use crate::support::server::LIMIT;
use crate::support::{Client, TestServer};

#[tokio::test]
async fn a_whole_call() {
    let server = TestServer::start();
    let mut ann = Client::connect(&server).await;
    let answer =
        ann.ask("join-room", json!({ "roomId": "r", "userId": "ann", "name": "Ann" })).await;
    assert_eq!(answer["users"], json!([]));
    assert_eq!(answer["socketId"], ann.id);
    assert_ne!(ann.id, ann.sid, "the session id is a secret");
    assert_eq!(ann.next_event("room-users").await[0], json!([]));

    let mut bob = Client::connect(&server).await;
    let answer = bob.ask("join-room", json!({ "roomId": "r", "userId": "bob" })).await;
    assert_eq!(answer["users"][0]["name"], "Ann");
    let received = bob.next_event("room-users").await;
    assert_eq!(received[0], answer["users"], "the list comes before the acknowledgement");
    assert_eq!(received.len(), 1, "listeners get one argument");
    assert_eq!((&bob.joined["socketId"], &bob.joined["users"]), (&json!(bob.id), &received[0]));
    assert_eq!(ann.next_event("user-joined").await[0]["socketId"], bob.id);

    assert_eq!(
        bob.ask("offer", json!({ "targetId": "ann", "offer": { "sdp": "v=0" } })).await["ok"],
        true
    );
    let offer = ann.next_event("offer").await;
    assert_eq!(offer[0]["from"], "bob");
    ann.ask("answer", json!({ "targetId": offer[0]["from"], "answer": { "sdp": "v=0" } })).await;
    assert_eq!(bob.next_event("answer").await[0]["from"], "ann");
    for number in 0..10 {
        ann.tell("ice-candidate", json!({ "to": bob.id, "candidate": number })).await;
    }
    for number in 0..10 {
        let candidate = bob.next_event("ice-candidate").await;
        assert_eq!(
            (&candidate[0]["candidate"], &candidate[0]["from"]),
            (&json!(number), &json!(ann.id))
        );
    }
    assert_eq!(bob.ask("leave-room", json!("r")).await["ok"], true);
    let left = ann.next_event("user-left").await;
    assert_eq!((&left[0]["userId"], &left[0]["reason"]), (&json!("bob"), &json!("left")));
    bob.close().await;
    ann.close().await;
    server.finish().await;
}

#[tokio::test]
async fn dropped_connection_is_announced_once() {
    let server = TestServer::start();
    let mut ann = Client::joined(&server, "r", "ann").await;
    ann.next_event("room-users").await;
    let bob = Client::joined(&server, "r", "bob").await;
    ann.next_event("user-joined").await;
    // Reset instead of closed.
    let MaybeTlsStream::Plain(stream) = bob.into_socket().into_inner() else {
        panic!("no TLS here")
    };
    socket2_reset(stream);
    assert_eq!(ann.next_event("user-left").await[0]["reason"], "disconnected");
    ann.nothing_more().await;
    ann.close().await;
    server.finish().await;
}

/// Ends a connection as a crash does: RST, no FIN.
fn socket2_reset(stream: tokio::net::TcpStream) {
    socket2::SockRef::from(&stream).set_linger(Some(std::time::Duration::ZERO)).unwrap();
    drop(stream);
}

#[tokio::test]
async fn late_end_of_a_replaced_connection_is_not_announced() {
    let server = TestServer::start();
    let mut watcher = Client::joined(&server, "r", "watcher").await;
    watcher.next_event("room-users").await;
    let mut older = Client::joined(&server, "r", "ann").await;
    older.next_event("room-users").await;
    watcher.next_event("user-joined").await;
    let newer = Client::joined(&server, "r", "ann").await;
    let error = older.next_event("error").await;
    assert_eq!((&error[0]["code"], &error[0]["roomId"]), (&json!("REPLACED"), &json!("r")));
    let left = watcher.next_event("user-left").await;
    assert_eq!((&left[0]["socketId"], &left[0]["reason"]), (&json!(older.id), &json!("replaced")));
    assert_eq!(watcher.next_event("user-joined").await[0]["socketId"], newer.id);
    older.close().await;
    server.until("the older session has ended", |held| held.sessions == 2).await;
    watcher.nothing_more().await;
    newer.close().await;
    watcher.next_event("user-left").await;
    watcher.close().await;
    server.finish().await;
}

#[tokio::test]
async fn silent_client_is_detected_by_its_heartbeat() {
    let server = TestServer::with(&["--ping-interval-ms=100", "--ping-timeout-ms=100"]);
    let mut ann = Client::joined(&server, "r", "ann").await;
    ann.next_event("room-users").await;
    // The connection stays open, and the client stops reading.
    let bob = Client::joined(&server, "r", "bob").await;
    ann.next_event("user-joined").await;
    assert_eq!(ann.next_event("user-left").await[0]["reason"], "timeout");
    drop(bob);
    ann.close().await;
    server.finish().await;
}

#[tokio::test]
async fn polling_session_without_connect_is_closed() {
    let server = TestServer::with(&["--handshake-timeout-seconds=1"]);
    // Half a request head, an idle connection, an incomplete handshake, and a polling session
    // without CONNECT.
    let mut half = tokio::net::TcpStream::connect(server.address()).await.unwrap();
    half.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\n").await.unwrap();
    let silent = tokio::net::TcpStream::connect(server.address()).await.unwrap();
    let mut socket = websocket(&server, "EIO=4").await;
    text(&mut socket).await;
    let open = reqwest::get(server.url("/socket.io/?EIO=4&transport=polling")).await.unwrap();
    assert_eq!(open.status(), 200);
    drop(open);
    assert_eq!(server.held().polling, 1);
    server.until("the polling session has ended", |held| held.polling == 0).await;
    server.until("the other connections have ended", |held| held == Held::NOTHING).await;
    drop((half, silent, socket));
    server.finish().await;
}

#[tokio::test]
async fn shutdown_notifies_and_closes_every_connection() {
    let server = TestServer::start();
    let mut ann = Client::joined(&server, "r", "ann").await;
    ann.next_event("room-users").await;
    let stopping = tokio::spawn(server.stop());
    assert_eq!(ann.next_event("error").await[0]["code"], "SHUTTING_DOWN");
    ann.ended().await;
    assert!(stopping.await.unwrap());
}

/// Opens a polling session without CONNECT; returns its session id.
async fn open_by_polling(server: &TestServer, http: &reqwest::Client) -> String {
    let open = http
        .get(server.url("/socket.io/?EIO=4&transport=polling"))
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    let open: serde_json::Value = serde_json::from_str(&open[1..]).unwrap();
    open["sid"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn unfinished_upgrade_keeps_the_connection() {
    let server = TestServer::with(&["--handshake-timeout-seconds=1"]);
    let http = reqwest::Client::new();
    let sid = open_by_polling(&server, &http).await;
    let poll = server.url(&format!("/socket.io/?EIO=4&transport=polling&sid={sid}"));
    http.post(&poll).body("40").send().await.unwrap();

    // The handshake is answered, and nothing follows.
    let mut upgrade = websocket(&server, &format!("EIO=4&sid={sid}")).await;
    let connected = loop {
        let body = http.get(&poll).send().await.unwrap().text().await.unwrap();
        if let Some(packet) = body.split('\u{1e}').find(|packet| packet.starts_with("40")) {
            break packet.to_owned();
        }
    };
    assert!(!connected.contains(&sid), "{connected}");
    http.post(&poll).body("3\u{1e}421[\"join-room\",\"r\"]").send().await.unwrap();
    let joined = loop {
        let body = http.get(&poll).send().await.unwrap().text().await.unwrap();
        if body.contains("431[") {
            break body;
        }
    };
    assert!(joined.contains(r#""ok":true"#) && joined.contains("room-users"), "{joined}");
    // A complete upgrade still succeeds.
    let given_up = async { while let Some(Ok(_)) = upgrade.next().await {} };
    tokio::time::timeout(LIMIT, given_up).await.expect("the attempt times out");
    let mut upgrade = websocket(&server, &format!("EIO=4&sid={sid}")).await;
    upgrade.send(Message::text("2probe")).await.unwrap();
    assert_eq!(text(&mut upgrade).await, "3probe");
    upgrade.send(Message::text("5")).await.unwrap();
    upgrade.send(Message::text(r#"422["leave-room"]"#)).await.unwrap();
    assert_eq!(text(&mut upgrade).await, r#"432[{"ok":true,"success":true}]"#);
    // A second WebSocket with the same session id is refused.
    let url = format!("ws://{}/socket.io/?EIO=4&transport=websocket&sid={sid}", server.address());
    assert!(tokio_tungstenite::connect_async(url).await.is_err());
    upgrade.close(None).await.unwrap();
    drop(upgrade);
    drop(http);
    server.finish().await;
}

#[tokio::test]
async fn closed_poll_ends_its_connection() {
    let server = TestServer::start();
    let mut ann = Client::joined(&server, "r", "ann").await;
    ann.next_event("room-users").await;
    let http = reqwest::Client::new();
    let sid = open_by_polling(&server, &http).await;
    let poll = server.url(&format!("/socket.io/?EIO=4&transport=polling&sid={sid}"));
    http.post(&poll).body("40").send().await.unwrap();
    while !http.get(&poll).send().await.unwrap().text().await.unwrap().contains("40{") {}
    http.post(&poll).body(r#"42["join-room","r","bob"]"#).send().await.unwrap();
    ann.next_event("user-joined").await;
    // The queue is fetched and a further poll is pending; a round trip on another connection proves
    // that the server has read it.
    http.get(&poll).send().await.unwrap();
    let mut waiting = tokio::net::TcpStream::connect(server.address()).await.unwrap();
    let path = poll.strip_prefix(&server.url("")).unwrap();
    waiting.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await.unwrap();
    for _ in 0..3 {
        http.get(server.url("/healthz")).send().await.unwrap();
    }
    drop((waiting, http));
    assert_eq!(ann.next_event("user-left").await[0]["reason"], "disconnected");
    ann.close().await;
    server.finish().await;
}

#[tokio::test]
async fn failed_upgrade_leaves_no_state() {
    let server = TestServer::with(&["--handshake-timeout-seconds=1"]);
    let http = reqwest::Client::new();
    let sid = open_by_polling(&server, &http).await;
    let mut upgrade = websocket(&server, &format!("EIO=4&sid={sid}")).await;
    upgrade.send(Message::text("2probe")).await.unwrap();
    assert_eq!(text(&mut upgrade).await, "3probe");
    drop(upgrade);
    drop(http);
    server.finish().await;
}
