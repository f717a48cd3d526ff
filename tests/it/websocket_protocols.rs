//! Peculiarities of `/ws` and `/ws/{topic}`.

use futures_util::SinkExt;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::support::TestServer;
use crate::support::client::WebSocket;
use crate::support::protocol_peer::{message, next_json, open};

const ID: &str = "6f1c0000-0000-4000-8000-000000000000";

async fn ask(socket: &mut WebSocket, kind: &str, payload: Value) -> Value {
    let message = json!({ "type": kind, "payload": payload, "correlationId": ID, "timestamp": 5 });
    socket.send(Message::text(message.to_string())).await.unwrap();
    let answer = next_json(socket).await;
    assert_eq!(answer["correlationId"], ID, "{answer}");
    assert!(answer["timestamp"].is_u64());
    answer
}

#[tokio::test]
async fn each_request_has_one_reply_with_its_correlation_id() {
    let server = TestServer::start();
    let mut ann = open(&server, "/ws").await;
    let ack = next_json(&mut ann).await;
    assert_eq!(
        (&ack["type"], &ack["payload"]["heartbeatSeconds"]),
        (&json!("connection:ack"), &json!(30))
    );
    let answer =
        ask(&mut ann, "auth:request", json!({ "token": "anything", "role": "host" })).await;
    assert_eq!(
        (&answer["type"], &answer["payload"]["success"]),
        (&json!("auth:response"), &json!(true))
    );
    let user = json!({ "id": "ann", "displayName": "Ann", "role": "host" });
    let state = ask(
        &mut ann,
        "room:join",
        json!({ "roomId": "r", "user": user, "metadata": { "mood": "good" } }),
    )
    .await;
    assert_eq!(state["type"], "room:state");
    let me = &state["payload"]["participants"][0];
    assert_eq!(
        (&me["userId"], &me["displayName"], &me["role"]),
        (&json!("ann"), &json!("Ann"), &json!("host"))
    );
    assert_eq!(me["metadata"]["mood"], "good");
    assert_eq!(state["payload"]["roomConfig"]["capacity"], 50);
    let again = ask(&mut ann, "room:join", json!({ "roomId": "r", "user": user })).await;
    assert_eq!(again["payload"], state["payload"], "joining again changes nothing");
    let state = ask(&mut ann, "room:state", json!({ "roomId": "r" })).await;
    assert_eq!(state["payload"]["participants"].as_array().unwrap().len(), 1);
    assert_eq!(ask(&mut ann, "sdp:offer", json!({ "sdp": "v=0" })).await["type"], "ok");
    assert_eq!(ask(&mut ann, "ping", json!({ "a": [1] })).await["payload"], json!({ "a": [1] }));
    for (kind, payload, code) in [
        ("sdp:offer", json!({ "sdp": "v=0", "targetUserId": "missing" }), "TARGET_NOT_FOUND"),
        ("sdp:offer", json!({}), "INVALID_MESSAGE"),
        ("room:state", json!({ "roomId": "elsewhere" }), "NOT_IN_ROOM"),
        ("room:leave", json!({ "roomId": "elsewhere" }), "NOT_IN_ROOM"),
        ("transport:close", json!({ "transportId": "none" }), "TRANSPORT_ERROR"),
        ("producer:close", json!({ "producerId": "none" }), "PRODUCE_ERROR"),
        ("consumer:close", json!({ "consumerId": "none" }), "CONSUME_ERROR"),
        ("transport:create", json!({ "direction": "up" }), "INVALID_MESSAGE"),
        ("producers:list", json!({ "roomId": "elsewhere" }), "NOT_IN_ROOM"),
        ("no:such", json!({}), "INVALID_MESSAGE"),
    ] {
        let error = ask(&mut ann, kind, payload).await;
        assert_eq!(
            (&error["type"], &error["payload"]["code"]),
            (&json!("error"), &json!(code)),
            "{kind}"
        );
    }
    let left = ask(&mut ann, "room:leave", json!({ "roomId": "r" })).await;
    assert_eq!(
        (&left["type"], &left["payload"]["participants"]),
        (&json!("room:state"), &json!([]))
    );
    ann.close(None).await.unwrap();
    while message(&mut ann).await.is_ok() {}
    server.finish().await;
}

#[tokio::test]
async fn relayed_signal_keeps_the_senders_fields_except_its_name() {
    let server = TestServer::start();
    let mut ann = open(&server, "/ws").await;
    let mut bob = open(&server, "/ws").await;
    for (socket, name) in [(&mut ann, "ann"), (&mut bob, "bob")] {
        next_json(socket).await;
        ask(socket, "room:join", json!({ "roomId": "r", "user": { "id": name } })).await;
    }
    assert_eq!(next_json(&mut ann).await["type"], "room:participant-joined");
    let sent = json!({ "sdp": "v=0", "targetUserId": "ann", "mine": { "z": 1, "a": 2 }, "fromUserId": "eve", "sentAt": 1 });
    ask(&mut bob, "sdp:offer", sent).await;
    let payload = next_json(&mut ann).await["payload"].take();
    let expected = json!({ "sdp": "v=0", "targetUserId": "ann", "mine": { "z": 1, "a": 2 }, "sentAt": 5, "fromUserId": "bob", "roomId": "r" });
    assert_eq!(payload, expected);
    drop((ann, bob));
    server.finish().await;
}

#[tokio::test]
async fn client_that_does_not_join_in_time_is_closed() {
    let server = TestServer::with(&["--handshake-timeout-seconds=1"]);
    let mut idle = open(&server, "/ws").await;
    next_json(&mut idle).await;
    ask(&mut idle, "ping", json!({})).await;
    assert_eq!(message(&mut idle).await, Err(1008));
    drop(idle);
    server.finish().await;
}

#[tokio::test]
async fn topic_sends_metadata_and_echoes_message_ids() {
    let server = TestServer::start();
    let mut ann =
        open(&server, "/ws/t?metadata=%7B%22name%22%3A%22Ann%22%2C%22n%22%3A1e2%7D").await;
    let id = next_json(&mut ann).await["selfId"].take();
    assert_eq!(id.as_str().unwrap().len(), 26, "a ULID: {id}");
    assert_eq!(next_json(&mut ann).await, json!({ "type": "peer-list", "peers": [] }));
    let mut bob = open(&server, "/ws/t").await;
    let bob_id = next_json(&mut bob).await["selfId"].take();
    let list = message(&mut bob).await.unwrap();
    assert!(list.contains(r#""metadata":{"name":"Ann","n":1e2}"#), "unchanged: {list}");
    assert_eq!(
        next_json(&mut ann).await,
        json!({ "type": "peer-joined", "peerId": bob_id, "metadata": {} })
    );
    let offer = json!({ "type": "offer", "to": id, "payload": { "any": ["thing"] }, "msgId": "m1", "from": "forged" });
    bob.send(Message::text(offer.to_string())).await.unwrap();
    let expected =
        json!({ "type": "offer", "from": bob_id, "payload": { "any": ["thing"] }, "msgId": "m1" });
    assert_eq!(next_json(&mut ann).await, expected);
    bob.send(Message::text(r#"{"type":"offer","to":"missing","payload":{},"msgId":"m2"}"#))
        .await
        .unwrap();
    let error = next_json(&mut bob).await;
    assert_eq!(
        (&error["code"], &error["msgId"]),
        (&json!("target_not_found"), &json!("m2")),
        "a successful message has no reply"
    );
    bob.close(None).await.unwrap();
    assert_eq!(next_json(&mut ann).await, json!({ "type": "peer-left", "peerId": bob_id }));
    drop((ann, bob));
    server.finish().await;
}

#[tokio::test]
async fn topic_that_cannot_be_joined_is_refused_or_closed() {
    let server = TestServer::with(&["--max-room-size=1"]);
    let http = reqwest::Client::new();
    for (path, status) in [
        ("/ws/%20", 400),
        ("/ws/%FF", 400),
        ("/ws/t?metadata=nonsense", 400),
        ("/ws/t?metadata=[]", 400),
        ("/ws/a/b", 404),
    ] {
        let request = http
            .get(server.url(path))
            .header("connection", "upgrade")
            .header("upgrade", "websocket");
        let request = request
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(request.send().await.unwrap().status(), status, "{path}");
    }
    assert_eq!(http.get(server.url("/ws")).send().await.unwrap().status(), 400, "no handshake");
    let mut first = open(&server, "/ws/t").await;
    next_json(&mut first).await;
    next_json(&mut first).await;
    let mut second = open(&server, "/ws/t").await;
    assert_eq!(next_json(&mut second).await["type"], "welcome");
    assert_eq!(message(&mut second).await, Err(1008));
    drop((first, second, http));
    server.finish().await;
}

/// The target's queue stays full for 100 ms, after which the sender gets an error.
#[tokio::test]
async fn topic_drops_messages_for_a_full_queue() {
    let server = TestServer::with(&["--send-queue=8", "--messages-per-second=0"]);
    let mut stalled = open(&server, "/ws/t").await;
    let to = next_json(&mut stalled).await["selfId"].take();
    let mut ann = open(&server, "/ws/t").await;
    next_json(&mut ann).await;
    next_json(&mut ann).await;
    let offer = json!({ "type": "offer", "to": to, "payload": "x".repeat(60_000), "msgId": "m" })
        .to_string();
    let dropped = loop {
        ann.send(Message::text(offer.as_str())).await.unwrap();
        ann.send(Message::text("{}")).await.unwrap();
        let answer = next_json(&mut ann).await;
        if answer["code"] != "invalid_type" {
            break answer;
        }
    };
    assert_eq!((&dropped["code"], &dropped["msgId"]), (&json!("dropped"), &json!("m")));
    drop((ann, stalled));
    server.finish().await;
}

/// The close frame is queued even if the send queue is full.
#[tokio::test]
async fn topic_client_with_a_full_queue_is_closed_with_its_room() {
    let server = TestServer::with(&["--send-queue=8", "--messages-per-second=0"]);
    let mut slow = open(&server, "/ws/t").await;
    let to = next_json(&mut slow).await["selfId"].take();
    let mut ann = open(&server, "/ws/t").await;
    next_json(&mut ann).await;
    next_json(&mut ann).await;
    let offer = json!({ "type": "offer", "to": to, "payload": "x".repeat(60_000) }).to_string();
    loop {
        ann.send(Message::text(offer.as_str())).await.unwrap();
        ann.send(Message::text("{}")).await.unwrap();
        if next_json(&mut ann).await["code"] == "dropped" {
            break;
        }
    }
    assert!(server.hub().close_room(&parlor::id::RoomId::new("t").unwrap()));
    let code = loop {
        if let Err(code) = message(&mut slow).await {
            break code;
        }
    };
    assert_eq!(code, 1008);
    drop((ann, slow));
    server.finish().await;
}

#[tokio::test]
async fn pages_of_foreign_origins_are_refused() {
    use tokio_tungstenite::tungstenite::Error;
    use tokio_tungstenite::tungstenite::client::IntoClientRequest;

    let server = TestServer::start();
    for path in ["/signal", "/ws", "/ws/t"] {
        let mut request = format!("ws://{}{path}", server.address()).into_client_request().unwrap();
        request.headers_mut().insert("origin", "https://evil.example".parse().unwrap());
        let Err(Error::Http(answer)) = tokio_tungstenite::connect_async(request).await else {
            panic!("{path}")
        };
        assert_eq!(answer.status(), 403, "{path}");
    }
    server.finish().await;
}
