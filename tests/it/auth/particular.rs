//! Peculiarities of single protocols: where a token may be, what happens before it, and how many
//! attempts there are.

use serde_json::{Value, json};

use super::{close, issuer, server};
use crate::support::TestServer;
use crate::support::protocol_peer::Protocol;
use crate::support::tokens::{
    Entered, connect_socketio, enter, next_reply, send_text, shake_hands,
};

#[tokio::test]
async fn token_is_accepted_in_every_documented_place() {
    let (issuer, server) = (issuer(), server());
    let token = issuer.token("ann", &json!({}));
    // In the handshake: for Socket.IO clients that cannot send it elsewhere, and for the plain
    // protocols.
    for path in [
        "/socket.io/?EIO=4&transport=websocket",
        "/socket.io/?EIO=3&transport=websocket",
        "/ws",
        "/ws/r",
        "/signal",
    ] {
        let and = if path.contains('?') { '&' } else { '?' };
        for (path, bearer) in
            [(format!("{path}{and}token={token}"), None), (path.to_owned(), Some(token.as_str()))]
        {
            let mut socket = shake_hands(&server, &path, bearer)
                .await
                .unwrap_or_else(|reply| panic!("{path}: {reply:?}"));
            if path.contains("EIO=4") {
                next_reply(&mut socket).await;
                send_text(&mut socket, "40").await;
                assert!(next_reply(&mut socket).await.starts_with("40{"), "{path}");
            } else if path.contains("EIO=3") {
                next_reply(&mut socket).await;
                assert_eq!(next_reply(&mut socket).await, "40", "{path}");
            } else if path.starts_with("/ws?") || path == "/ws" {
                next_reply(&mut socket).await;
                send_text(&mut socket, r#"{"type":"room:join","payload":{"roomId":"r"}}"#).await;
                assert!(next_reply(&mut socket).await.contains(r#""userId":"ann""#), "{path}");
            }
            close(Entered { socket, answer: Value::Null }).await;
        }
    }
    // An invalid token is refused where it is sent, even if a valid one could follow.
    let (status, _) = shake_hands(&server, "/ws?token=x", None).await.expect_err("refused");
    assert_eq!(status, 401);
    server.finish().await;
}

#[tokio::test]
async fn token_is_accepted_over_polling() {
    let issuer = issuer();
    // The library keeps a connection that was refused for this time.
    let server = TestServer::with(&[&issuer.flag(), "--handshake-timeout-seconds=1"]);
    let token = issuer.token("ann", &json!({}));
    let http = reqwest::Client::new();
    for (query, body, answer) in [
        (format!("&token={token}"), "40".to_owned(), "40{"),
        (String::new(), format!("40{}", json!({ "token": token })), "40{"),
        (String::new(), "40".to_owned(), "44{\"message\":\"UNAUTHORIZED: "),
    ] {
        let url = server.url(&format!("/socket.io/?EIO=4&transport=polling{query}"));
        let open = http.get(&url).send().await.unwrap().text().await.unwrap();
        let open: Value = serde_json::from_str(&open[1..]).unwrap();
        let url = format!("{url}&sid={}", open["sid"].as_str().unwrap());
        http.post(&url).body(body).send().await.unwrap();
        let received = http.get(&url).send().await.unwrap().text().await.unwrap();
        assert!(received.split('\u{1e}').any(|packet| packet.starts_with(answer)), "{received}");
        http.post(&url).body("1").send().await.unwrap();
    }
    drop(http);
    server.finish().await;
}

#[tokio::test]
async fn peers_are_anonymous_on_signal() {
    let (issuer, server) = (issuer(), server());
    let mut watcher = enter(
        &server,
        Protocol::SocketIo,
        "r",
        Some(&issuer.token("watcher", &json!({}))),
        json!({}),
    )
    .await
    .ok()
    .unwrap();
    let token = issuer.token("ann", &json!({ "name": "Ann", "metadata": { "x": 1 } }));
    let entered =
        enter(&server, Protocol::Session, "r", Some(&token), json!({})).await.ok().unwrap();
    let joined = next_reply(&mut watcher.socket).await;
    assert!(joined.contains("user-joined") && !joined.to_lowercase().contains("ann"), "{joined}");
    close(entered).await;
    close(watcher).await;
    server.finish().await;
}

#[tokio::test]
async fn ws_refuses_everything_before_a_token() {
    let (issuer, server) = (issuer(), server());
    let mut socket = shake_hands(&server, "/ws", None).await.unwrap();
    next_reply(&mut socket).await;
    for message in [
        json!({ "type": "room:join", "payload": { "roomId": "r" } }),
        json!({ "type": "room:state", "payload": { "roomId": "r" } }),
        json!({ "type": "room:leave", "payload": { "roomId": "r" } }),
        json!({ "type": "sdp:offer", "payload": { "sdp": "v=0" } }),
        json!({ "type": "router:capabilities", "payload": {} }),
    ] {
        send_text(&mut socket, message.to_string()).await;
        let answer: Value = serde_json::from_str(&next_reply(&mut socket).await).unwrap();
        assert_eq!(answer["payload"]["code"], "UNAUTHORIZED", "{message} → {answer}");
    }
    send_text(&mut socket, r#"{"type":"ping","payload":{"n":1}}"#).await;
    assert!(next_reply(&mut socket).await.contains("pong"));
    // Two invalid tokens, then a valid one, on the same connection.
    for token in ["x", ""] {
        send_text(
            &mut socket,
            json!({ "type": "auth:request", "payload": { "token": token } }).to_string(),
        )
        .await;
        assert!(next_reply(&mut socket).await.contains(r#""success":false"#));
    }
    let correlation = "6f1c1d2e-0000-4000-8000-000000000000";
    let payload = json!({ "token": issuer.token("ann", &json!({})), "role": "host" });
    send_text(
        &mut socket,
        json!({ "type": "auth.request", "correlationId": correlation, "payload": payload })
            .to_string(),
    )
    .await;
    let answer: Value = serde_json::from_str(&next_reply(&mut socket).await).unwrap();
    assert_eq!(answer["correlationId"], correlation);
    let payload = &answer["payload"];
    assert_eq!(
        (&payload["success"], &payload["userId"], &payload["role"]),
        (&json!(true), &json!("ann"), &json!("host"))
    );
    assert!(payload["expiresAt"].as_str().unwrap().ends_with('Z'), "{payload}");
    close(Entered { socket, answer: Value::Null }).await;
    server.finish().await;
}

#[tokio::test]
async fn ws_client_without_a_valid_token_is_closed_in_time() {
    let server = TestServer::with(&[&issuer().flag(), "--handshake-timeout-seconds=1"]);
    let mut socket = shake_hands(&server, "/ws", None).await.unwrap();
    next_reply(&mut socket).await;
    // Neither message satisfies the time limit.
    send_text(&mut socket, r#"{"type":"auth:request","payload":{"token":"x"}}"#).await;
    assert!(next_reply(&mut socket).await.contains("UNAUTHORIZED"));
    send_text(&mut socket, r#"{"type":"room:join","payload":{"roomId":"r"}}"#).await;
    assert!(next_reply(&mut socket).await.contains("UNAUTHORIZED"));
    assert_eq!(next_reply(&mut socket).await, "close 1008 the first message took too long");
    drop(socket);
    server.finish().await;
}

#[tokio::test]
async fn malformed_auth_event_gets_an_error() {
    let (issuer, server) = (issuer(), server());
    let mut socket =
        connect_socketio(&server, Some(&issuer.token("ann", &json!({})))).await.unwrap();
    for (message, expected) in [
        (
            r#"420["auth"]"#,
            r#"430[{"ok":false,"success":false,"error":"token: missing","code":"INVALID_MESSAGE"}]"#,
        ),
        (
            r#"421["auth",{"token":7}]"#,
            r#"431[{"ok":false,"success":false,"error":"token: must be a string","code":"INVALID_MESSAGE"}]"#,
        ),
        (
            r#"42["auth",{"token":"x"}]"#,
            r#"42["error",{"code":"UNAUTHORIZED","message":"a valid token is required","event":"auth"}]"#,
        ),
    ] {
        send_text(&mut socket, message).await;
        assert_eq!(next_reply(&mut socket).await, expected);
    }
    close(Entered { socket, answer: Value::Null }).await;
    server.finish().await;
}

/// Each attempt costs a signature check, so a client that continues is disconnected.
#[tokio::test]
async fn socketio_client_may_try_a_few_tokens_per_connection() {
    let (issuer, server) = (issuer(), server());
    let mut socket =
        shake_hands(&server, "/socket.io/?EIO=4&transport=websocket", None).await.unwrap();
    next_reply(&mut socket).await;
    for token in ["x", "y", &issuer.token("ann", &json!({}))] {
        send_text(&mut socket, format!("40{}", json!({ "token": token }))).await;
        let answer = next_reply(&mut socket).await;
        assert!(answer.starts_with(if token.len() == 1 { "44{" } else { "40{" }), "{answer}");
    }
    close(Entered { socket, answer: Value::Null }).await;

    let mut socket =
        shake_hands(&server, "/socket.io/?EIO=4&transport=websocket", None).await.unwrap();
    next_reply(&mut socket).await;
    let mut refusals = 0;
    loop {
        // The server may have closed already.
        futures_util::SinkExt::send(&mut socket, tungstenite::Message::text(r#"40{"token":"x"}"#))
            .await
            .ok();
        match next_reply(&mut socket).await.as_str() {
            "end" => break,
            refusal if refusal.starts_with("44{") => refusals += 1,
            close => assert!(close.starts_with("close"), "{close}"),
        }
    }
    assert!((3..=8).contains(&refusals), "{refusals}");
    server.finish().await;
}

#[tokio::test]
async fn token_is_ignored_if_none_is_required() {
    let server = TestServer::start();
    let mut socket = connect_socketio(&server, None).await.unwrap();
    send_text(&mut socket, r#"420["auth",{"token":"x"}]"#).await;
    assert_eq!(next_reply(&mut socket).await, r#"430[{"ok":true,"success":true}]"#);
    close(Entered { socket, answer: Value::Null }).await;
    server.finish().await;
}

#[tokio::test]
async fn room_state_has_the_capacity_on_ws() {
    let issuer = issuer();
    let server = TestServer::with(&[&issuer.flag()]);
    for (sub, claimed) in [("ann", 2), ("bob", 4)] {
        let token = issuer.token(sub, &json!({ "capacity": claimed }));
        let entered =
            enter(&server, Protocol::Envelope, "r", Some(&token), json!({})).await.ok().unwrap();
        assert_eq!(entered.answer["state"]["roomConfig"]["capacity"], claimed);
        close(entered).await;
        server.until("the room is gone", |held| held.rooms == 0).await;
    }
    server.finish().await;
}
