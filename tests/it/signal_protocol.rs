//! Peculiarities of `/signal`: the queue, the eviction of a stale peer, the end for both peers.

use futures_util::SinkExt;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::support::TestServer;
use crate::support::client::WebSocket;
use crate::support::protocol_peer::{self, Peer, Protocol, Received, message, open};

async fn send_text(socket: &mut WebSocket, message: Value) {
    socket.send(Message::text(message.to_string())).await.unwrap();
}

/// Returns the next message, except presence events of the other peer.
async fn next_json(socket: &mut WebSocket) -> Value {
    loop {
        let received = protocol_peer::next_json(socket).await;
        if received["type"] != "peer-joined" && received["type"] != "peer-left" {
            return received;
        }
    }
}

/// Asserts that all messages are handled: the reply to an invalid one comes after them.
async fn settled(socket: &mut WebSocket) {
    send_text(socket, json!({})).await;
    assert_eq!(next_json(socket).await["message"], "type: missing");
}

async fn close(sockets: impl IntoIterator<Item = WebSocket>) {
    for mut socket in sockets {
        socket.close(None).await.ok();
        while message(&mut socket).await.is_ok() {}
    }
}

#[tokio::test]
async fn untargeted_signals_wait_for_the_other_peer_in_order() {
    let server = TestServer::start();
    let mut ann = open(&server, "/signal").await;
    // The first signal joins.
    send_text(&mut ann, json!({ "type": "offer", "sessionId": "s", "sdp": "v=0", "mine": [1] }))
        .await;
    for number in 0..30 {
        send_text(
            &mut ann,
            json!({ "type": "candidate", "sessionId": "s", "candidate": number.to_string() }),
        )
        .await;
    }
    settled(&mut ann).await;
    let mut bob = open(&server, "/signal?sessionId=s").await;
    assert_eq!(
        next_json(&mut bob).await,
        json!({ "type": "offer", "sessionId": "s", "sdp": "v=0", "mine": [1] })
    );
    for number in 0..30 {
        assert_eq!(next_json(&mut bob).await["candidate"], number.to_string());
    }
    // It drops and reconnects: the queued signals arrive, delivered ones do not.
    drop(bob);
    server.until("one session remains", |held| held.sessions == 1).await;
    send_text(&mut ann, json!({ "type": "offer", "sessionId": "s", "sdp": "again" })).await;
    settled(&mut ann).await;
    let mut bob = open(&server, "/signal?sessionId=s").await;
    assert_eq!(next_json(&mut bob).await["sdp"], "again");
    settled(&mut bob).await;
    close([ann, bob]).await;
    server.finish().await;
}

#[tokio::test]
async fn full_queue_refuses_signals_and_loses_none() {
    let server = TestServer::with(&["--session-queue-messages=2"]);
    let mut ann = open(&server, "/signal?sessionId=s").await;
    for sdp in ["one", "two", "three"] {
        send_text(&mut ann, json!({ "type": "offer", "sessionId": "s", "sdp": sdp })).await;
    }
    let error = next_json(&mut ann).await;
    assert_eq!((&error["code"], &error["sessionId"]), (&json!("DELIVERY_FAILED"), &json!("s")));
    let mut bob = open(&server, "/signal?sessionId=s").await;
    assert_eq!(next_json(&mut bob).await["sdp"], "one");
    assert_eq!(next_json(&mut bob).await["sdp"], "two");
    settled(&mut bob).await;
    close([ann, bob]).await;
    server.finish().await;
}

#[tokio::test]
async fn third_peer_is_refused_and_closed() {
    let server = TestServer::start();
    let mut ann = open(&server, "/signal?sessionId=s").await;
    let mut bob = open(&server, "/signal").await;
    send_text(&mut bob, json!({ "type": "join", "sessionId": "s" })).await;
    settled(&mut ann).await;
    settled(&mut bob).await;
    let mut third = open(&server, "/signal?sessionId=s").await;
    let error = next_json(&mut third).await;
    assert_eq!((&error["type"], &error["code"]), (&json!("error"), &json!("ROOM_FULL")));
    assert_eq!(message(&mut third).await, Err(1008));
    close([ann, bob, third]).await;
    server.finish().await;
}

#[tokio::test]
async fn more_signals_than_a_send_queue_can_be_queued() {
    let server = TestServer::with(&["--messages-per-second=0", "--send-queue=8"]);
    let mut ann = open(&server, "/signal?sessionId=s").await;
    for number in 0..256 {
        send_text(
            &mut ann,
            json!({ "type": "candidate", "sessionId": "s", "candidate": number.to_string() }),
        )
        .await;
    }
    settled(&mut ann).await;
    let mut bob = open(&server, "/signal?sessionId=s").await;
    for number in 0..256 {
        assert_eq!(next_json(&mut bob).await["candidate"], number.to_string());
    }
    close([ann, bob]).await;
    server.finish().await;
}

#[tokio::test]
async fn hangup_reaches_both_and_ends_the_session() {
    let server = TestServer::start();
    let mut ann = open(&server, "/signal?sessionId=s").await;
    let mut bob = open(&server, "/signal?sessionId=s").await;
    settled(&mut bob).await;
    send_text(&mut ann, json!({ "type": "hangup", "sessionId": "s" })).await;
    for socket in [&mut ann, &mut bob] {
        assert_eq!(next_json(socket).await, json!({ "type": "hangup", "sessionId": "s" }));
    }
    send_text(&mut bob, json!({ "type": "candidate", "sessionId": "s", "candidate": null })).await;
    let ended = json!({ "type": "error", "sessionId": "s", "code": "SESSION_ENDED", "message": "session ended" });
    assert_eq!(next_json(&mut bob).await, ended);
    send_text(&mut bob, json!({ "type": "candidate", "sessionId": "never", "candidate": null }))
        .await;
    assert_eq!(next_json(&mut bob).await["code"], "SESSION_NOT_FOUND");
    let mut late = open(&server, "/signal").await;
    send_text(&mut late, json!({ "type": "offer", "sessionId": "s", "sdp": "v=0" })).await;
    assert_eq!(next_json(&mut late).await, ended);
    // A join creates a new session.
    for socket in [&mut bob, &mut late] {
        send_text(socket, json!({ "type": "join", "sessionId": "s" })).await;
        settled(socket).await;
    }
    send_text(&mut late, json!({ "type": "offer", "sessionId": "s", "sdp": "v=1" })).await;
    assert_eq!(next_json(&mut bob).await["sdp"], "v=1");
    close([ann, bob, late]).await;
    server.finish().await;
}

#[tokio::test]
async fn returning_peer_evicts_its_overdue_connection() {
    let server = TestServer::with(&["--ws-ping-seconds=1", "--messages-per-second=0"]);
    returning_peer_is_admitted(&server, &server).await;
    server.finish().await;
}

/// Checks that a peer whose former connection to `server` is overdue is admitted by another server,
/// or the same.
pub(crate) async fn returning_peer_is_admitted(server: &TestServer, other: &TestServer) {
    let mut ann = open(server, "/signal?sessionId=s").await;
    // It does not read, and so answers no heartbeat.
    let dead = open(server, "/signal?sessionId=s").await;
    let back = loop {
        // Ann answers heartbeats by reading.
        settled(&mut ann).await;
        let mut back = open(other, "/signal?sessionId=s").await;
        send_text(&mut back, json!({})).await;
        match next_json(&mut back).await["code"].as_str() {
            Some("ROOM_FULL") => drop(back),
            _ => break back,
        }
    };
    let mut back = back;
    send_text(&mut back, json!({ "type": "offer", "sessionId": "s", "sdp": "back" })).await;
    assert_eq!(next_json(&mut ann).await["sdp"], "back");
    drop(dead);
    close([ann, back]).await;
}

#[tokio::test]
async fn invalid_input_is_answered_and_the_connection_stays_open() {
    let server = TestServer::start();
    let mut ann = open(&server, "/signal?sessionId=s").await;
    for text in [
        "",
        "nonsense",
        "[]",
        "{}",
        r#"{"type":"join"}"#,
        r#"{"type":"offer","sessionId":"s","sdp":""}"#,
    ] {
        ann.send(Message::text(text)).await.unwrap();
        assert_eq!(next_json(&mut ann).await["code"], "INVALID_MESSAGE", "{text}");
    }
    close([ann]).await;
    server.finish().await;
}

#[tokio::test]
async fn client_without_a_pair_session_is_closed() {
    let server = TestServer::with(&["--handshake-timeout-seconds=1"]);
    let mut silent = open(&server, "/signal").await;
    assert_eq!(message(&mut silent).await, Err(1008));
    drop(silent);
    server.finish().await;
}

#[tokio::test]
async fn required_tls_may_be_reported_by_a_trusted_proxy() {
    for (flags, proto, expected) in [
        (vec!["--require-tls"], Some("https"), 403),
        (vec!["--require-tls", "--trusted-proxies=10.0.0.0/8"], Some("https"), 403),
        (vec!["--require-tls", "--trusted-proxies=127.0.0.1"], None, 403),
        (vec!["--require-tls", "--trusted-proxies=127.0.0.0/8,::1"], Some("http"), 403),
        (vec!["--require-tls", "--trusted-proxies=127.0.0.0/8,::1"], Some("https, http"), 403),
        (vec!["--require-tls", "--trusted-proxies=127.0.0.0/8,::1"], Some("https"), 101),
        (vec![], None, 101),
        (vec!["--node-env=production"], None, 403),
        (vec!["--node-env=production", "--require-tls=false"], None, 101),
    ] {
        use tokio_tungstenite::tungstenite::client::IntoClientRequest;

        let server = TestServer::with(&flags);
        let mut request =
            format!("ws://{}/signal", server.address()).into_client_request().unwrap();
        if let Some(proto) = proto {
            request.headers_mut().insert("x-forwarded-proto", proto.parse().unwrap());
        }
        let status = match tokio_tungstenite::connect_async(request).await {
            Ok((_, answer)) => answer.status(),
            Err(Error::Http(answer)) => answer.status(),
            Err(error) => panic!("{error}"),
        };
        assert_eq!(status, expected, "{flags:?} {proto:?}");
        // Other protocols are not affected.
        drop(open(&server, "/ws/t").await);
        server.finish().await;
    }
}

#[tokio::test]
async fn presence_of_the_other_peer_is_anonymous() {
    let server = TestServer::start();
    let mut ann = open(&server, "/signal?sessionId=s").await;
    let mut bob = open(&server, "/signal?sessionId=s").await;
    assert_eq!(
        protocol_peer::next_json(&mut ann).await,
        json!({ "type": "peer-joined", "sessionId": "s" })
    );
    bob.close(None).await.unwrap();
    assert_eq!(
        protocol_peer::next_json(&mut ann).await,
        json!({ "type": "peer-left", "sessionId": "s" })
    );

    // A peer of another protocol is announced by the same messages.
    let mut cid = Peer::join(&server, Protocol::Envelope, "s", "cid").await;
    assert_eq!(
        protocol_peer::next_json(&mut ann).await,
        json!({ "type": "peer-joined", "sessionId": "s" })
    );
    send_text(&mut ann, json!({ "type": "hangup", "sessionId": "s" })).await;
    assert_eq!(
        protocol_peer::next_json(&mut ann).await,
        json!({ "type": "hangup", "sessionId": "s" })
    );
    let ann_id = cid.list[0].clone();
    assert_eq!(cid.next_event().await, Received::Left(ann_id));
    cid.close().await;
    close([ann, bob]).await;
    server.finish().await;
}

#[tokio::test]
async fn hang_up_of_the_other_peer_is_not_also_a_leave() {
    let server = TestServer::start();
    let mut ann = open(&server, "/signal?sessionId=s").await;
    let mut bob = open(&server, "/signal?sessionId=s").await;
    assert_eq!(protocol_peer::next_json(&mut ann).await["type"], "peer-joined");
    send_text(&mut bob, json!({ "type": "hangup", "sessionId": "s" })).await;
    assert_eq!(protocol_peer::next_json(&mut ann).await["type"], "hangup");
    send_text(&mut ann, json!({})).await;
    assert_eq!(
        protocol_peer::next_json(&mut ann).await["message"],
        "type: missing",
        "no message in between"
    );
    close([ann, bob]).await;
    server.finish().await;
}

#[tokio::test]
async fn texts_of_session_errors_are_in_the_language_of_the_client() {
    use tokio_tungstenite::tungstenite::client::IntoClientRequest;

    let server = TestServer::start();
    for (language, ended, not_found) in [
        ("ru-RU,ru;q=0.9,en;q=0.8", "Сессия завершена", "Сигнал не найден"),
        ("en-US,ru;q=0.5", "session ended", "session not found"),
        ("de", "session ended", "session not found"),
    ] {
        let mut request =
            format!("ws://{}/signal?sessionId=s", server.address()).into_client_request().unwrap();
        request.headers_mut().insert("accept-language", language.parse().unwrap());
        let (mut ann, _) = tokio_tungstenite::connect_async(request).await.unwrap();
        send_text(&mut ann, json!({ "type": "offer", "sessionId": "other", "sdp": "v=0" })).await;
        let error = next_json(&mut ann).await;
        assert_eq!(
            (&error["code"], &error["message"]),
            (&json!("SESSION_NOT_FOUND"), &json!(not_found)),
            "{language}"
        );
        send_text(&mut ann, json!({ "type": "hangup", "sessionId": "s" })).await;
        assert_eq!(next_json(&mut ann).await["type"], "hangup");
        send_text(&mut ann, json!({ "type": "offer", "sessionId": "s", "sdp": "v=0" })).await;
        let error = next_json(&mut ann).await;
        assert_eq!(
            (&error["code"], &error["message"]),
            (&json!("SESSION_ENDED"), &json!(ended)),
            "{language}"
        );
        close([ann]).await;
    }
    server.finish().await;
}

#[tokio::test]
async fn other_protocols_leave_an_ended_pair_session() {
    let server = TestServer::start();
    let mut ann = Peer::join(&server, Protocol::Envelope, "s", "ann").await;
    let mut bob = open(&server, "/signal?sessionId=t").await;
    let mut cid = Peer::join(&server, Protocol::Envelope, "t", "cid").await;
    assert_eq!(protocol_peer::next_json(&mut bob).await["type"], "peer-joined");
    send_text(&mut bob, json!({ "type": "hangup", "sessionId": "t" })).await;
    let bob_id = cid.list[0].clone();
    assert_eq!(cid.next_event().await, Received::Left(bob_id));
    assert_eq!(cid.next_event().await, Received::Error("ROOM_CLOSED".to_owned()));
    cid.offer("ann", "v=0").await;
    assert_eq!(
        cid.next_event().await,
        Received::Error("NOT_IN_ROOM".to_owned()),
        "not a code of another protocol"
    );
    ann.offer("missing", "v=0").await;
    assert_eq!(ann.next_event().await, Received::Error("TARGET_NOT_FOUND".to_owned()));
    ann.close().await;
    cid.close().await;
    close([bob]).await;
    server.finish().await;
}
