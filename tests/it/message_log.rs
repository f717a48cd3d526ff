//! The program's log of messages, refused requests and refused handshakes.

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};

use futures_util::SinkExt;
use parlor_testing::transport::{WebSocket, connect};

use crate::support::client::Client;
use crate::support::program::{Program, parlor};
use crate::support::protocol_peer::next_json;

fn start(settings: &[(&str, &str)]) -> Program {
    let mut command = parlor();
    command.args(["--host=127.0.0.1", "--port=0", "--log-format=json"]);
    command.envs(settings.iter().copied());
    Program::start(command)
}

/// The lines of a log with this message.
fn lines(log: &str, message: &str) -> Vec<Value> {
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter(|line| line["message"] == message).collect()
}

async fn send_text(socket: &mut WebSocket, message: Value) {
    socket.send(Message::text(message.to_string())).await.unwrap();
}

#[tokio::test]
async fn each_message_is_a_line_without_its_content() {
    const ID: &str = "6f1c0000-0000-4000-8000-000000000000";
    let running = start(&[("LOG_LEVEL", "debug")]);
    let mut bob = Client::connect_at(running.address()).await;
    bob.ask("join-room", json!({ "roomId": "r", "userId": "bob", "name": "the-name" })).await;
    let mut ann = connect(running.address(), "/ws").await.unwrap();
    let connection = next_json(&mut ann).await["payload"]["connectionId"].take();
    let join = json!({ "roomId": "r", "user": { "id": "ann", "displayName": "the-name" } });
    for (kind, payload) in [
        ("room:join", join),
        ("room:message", json!({ "topic": "chat", "data": "the-body", "targetUserId": "bob" })),
        ("sdp:offer", json!({ "sdp": "the-body", "targetUserId": "missing" })),
        ("sdp:offer", json!({ "sdp": 7 })),
    ] {
        send_text(&mut ann, json!({ "type": kind, "payload": payload, "correlationId": ID })).await;
        next_json(&mut ann).await;
    }
    bob.close().await;
    drop(ann);
    let log = running.stop();
    let of_ann: Vec<Value> = lines(&log, "message")
        .into_iter()
        .filter(|line| line["connection"] == connection)
        .collect();
    let seen: Vec<_> =
        of_ann.iter().map(|line| (&line["kind"], &line["room"], &line["to"])).collect();
    let (none, text) = (&Value::Null, |text: &'static str| json!(text));
    let (join, relay, offer, refused) =
        (text("join"), text("relay"), text("offer"), text("refused"));
    let (room, bob, missing) = (text("r"), text("bob"), text("missing"));
    let expected = [
        (&join, &room, none),
        (&relay, none, &bob),
        (&offer, none, &missing),
        (&refused, none, none),
    ];
    assert_eq!(seen, expected, "{log}");
    for line in &of_ann {
        assert_eq!(line["correlation"], ID, "{line}");
        assert!(line["size"].as_u64().is_some_and(|size| size > 50), "{line}");
    }
    let refused: Vec<_> =
        lines(&log, "request refused").iter().map(|line| line["code"].clone()).collect();
    assert_eq!(refused, ["TARGET_NOT_FOUND", "INVALID_MESSAGE"], "{log}");
    for secret in ["the-body", "the-name"] {
        assert!(!log.contains(secret), "{secret}\n{log}");
    }
}

#[tokio::test]
async fn messages_of_a_pair_session_are_logged_by_its_id_alone() {
    let running = start(&[("LOG_LEVEL", "debug")]);
    let mut ann = connect(running.address(), "/signal").await.unwrap();
    send_text(&mut ann, json!({ "type": "offer", "sessionId": "blue-otter", "sdp": "the-body" }))
        .await;
    send_text(&mut ann, json!({ "type": "hangup", "sessionId": "other" })).await;
    assert_eq!(next_json(&mut ann).await["code"], "SESSION_NOT_FOUND");
    drop(ann);
    let log = running.stop();
    let messages = lines(&log, "message");
    let rooms: Vec<_> = messages.iter().map(|line| line["room"].clone()).collect();
    assert_eq!(rooms, ["blue-otter", "other"], "{log}");
    let refused = lines(&log, "request refused");
    assert_eq!(refused[0]["code"], "SESSION_NOT_FOUND", "{log}");
    for line in messages.iter().chain(&refused) {
        assert!(line.get("connection").is_none(), "{line}");
    }
    assert!(!log.contains("the-body"), "{log}");
}

#[tokio::test]
async fn refused_handshakes_are_logged_once_for_each_cause_and_origin() {
    let running =
        start(&[("JWT_SECRET", "a secret of at least thirty-two bytes"), ("CLIENT_URL", "*")]);
    for origin in ["http://a.test", "http://a.test", "http://b.test"] {
        let mut request =
            format!("ws://{}/signal", running.address()).into_client_request().unwrap();
        request.headers_mut().insert("origin", origin.parse().unwrap());
        match tokio_tungstenite::connect_async(request).await {
            Err(Error::Http(answer)) => assert_eq!(answer.status(), 401),
            other => panic!("{other:?}"),
        }
        // The CONNECT packet is refused and logged in the same way.
        let address = format!("ws://{}/socket.io/?EIO=4&transport=websocket", running.address());
        let mut request = address.into_client_request().unwrap();
        request.headers_mut().insert("origin", origin.replace("http:", "https:").parse().unwrap());
        let (mut socket, _) = tokio_tungstenite::connect_async(request).await.unwrap();
        socket.send(Message::text("40")).await.unwrap();
        let refused = crate::support::protocol_peer::message(&mut socket).await.unwrap();
        assert!(refused.starts_with("0{"), "{refused}");
        let refused = crate::support::protocol_peer::message(&mut socket).await.unwrap();
        assert!(refused.starts_with("44{"), "{refused}");
    }
    let log = running.stop();
    let refused = lines(&log, "handshake refused");
    let mut seen: Vec<_> =
        refused.iter().map(|line| (line["cause"].clone(), line["origin"].clone())).collect();
    seen.sort_by_key(|(_, origin)| origin.to_string());
    let expected = ["http://a.test", "http://b.test", "https://a.test", "https://b.test"];
    assert_eq!(seen, expected.map(|origin| (json!("token"), json!(origin))), "{log}");
    assert_eq!(refused[0]["code"], "UNAUTHORIZED", "{log}");
    assert_eq!(refused[0]["level"], "INFO", "{log}");
}
