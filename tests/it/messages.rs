//! Application messages and changes of metadata, between clients of different protocols.

use futures_util::SinkExt;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::support::TestServer;
use crate::support::client::{Client, WebSocket};
use crate::support::protocol_peer::{message, next_json, open};

const ID: &str = "6f1c0000-0000-4000-8000-000000000000";

/// Connects a client of `/ws` in a room, and reads all messages so far.
async fn typed(server: &TestServer, room: &str, name: &str) -> WebSocket {
    let mut socket = open(server, "/ws").await;
    next_json(&mut socket).await;
    let joined =
        ask(&mut socket, "room:join", json!({ "roomId": room, "user": { "id": name } })).await;
    assert_eq!(joined["type"], "room:state", "{joined}");
    socket
}

/// Connects a client of `/ws/{topic}`, and reads all messages so far; returns its id as well.
async fn topic(server: &TestServer, topic: &str) -> (WebSocket, Value) {
    let mut socket = open(server, &format!("/ws/{topic}")).await;
    let id = next_json(&mut socket).await["selfId"].take();
    assert_eq!(next_json(&mut socket).await["type"], "peer-list");
    (socket, id)
}

async fn send(socket: &mut WebSocket, message: &Value) {
    socket.send(Message::text(message.to_string())).await.unwrap();
}

/// Sends a request to `/ws`, and returns the response.
async fn ask(socket: &mut WebSocket, kind: &str, payload: Value) -> Value {
    send(socket, &json!({ "type": kind, "payload": payload, "correlationId": ID })).await;
    let answer = next_json(socket).await;
    assert_eq!(answer["correlationId"], ID, "{answer}");
    answer
}

#[tokio::test]
async fn application_message_reaches_every_protocol_that_has_a_form_for_it() {
    let server = TestServer::start();
    let mut ann = typed(&server, "r", "ann").await;
    let mut bob = Client::joined(&server, "r", "bob").await;
    bob.next_event("room-users").await;
    assert_eq!(next_json(&mut ann).await["type"], "room:participant-joined");
    let (mut cid, cid_id) = topic(&server, "r").await;
    assert_eq!(next_json(&mut ann).await["type"], "room:participant-joined");
    assert_eq!(bob.next().await[0], "user-joined");

    let data = json!({ "text": "hi", "userId": "forged" });
    let answer = ask(&mut ann, "room:message", json!({ "topic": "chat", "data": data })).await;
    assert_eq!(answer["type"], "ok");
    let event = bob.next().await;
    assert_eq!((&event[0], &event[1]["text"]), (&json!("chat"), &json!("hi")), "{event:?}");
    assert_eq!(
        (&event[1]["userId"], &event[1]["roomId"]),
        (&json!("ann"), &json!("r")),
        "{event:?}"
    );
    assert_eq!(
        next_json(&mut cid).await,
        json!({ "type": "message", "from": "ann", "payload": data })
    );

    send(&mut cid, &json!({ "type": "message", "payload": [1, 2] })).await;
    let payload = next_json(&mut ann).await["payload"].take();
    let expected =
        json!({ "topic": "message", "data": [1, 2], "fromUserId": cid_id, "roomId": "r" });
    assert_eq!(payload, expected);
    assert_eq!(json!(bob.next().await), json!(["message", [1, 2]]));

    send(&mut cid, &json!({ "type": "message", "to": "bob", "payload": { "a": 1 } })).await;
    let event = bob.next().await;
    assert_eq!((&event[1]["a"], &event[1]["from"]), (&json!(1), &cid_id), "{event:?}");
    let target = json!({ "topic": "wave", "data": null, "targetUserId": cid_id });
    assert_eq!(
        ask(&mut ann, "room:message", target).await["type"],
        "ok",
        "no earlier message for ann"
    );
    assert_eq!(
        next_json(&mut cid).await,
        json!({ "type": "message", "from": "ann", "payload": null })
    );

    send(&mut cid, &json!({ "type": "message", "to": "missing", "payload": 1, "msgId": "m1" }))
        .await;
    let error = next_json(&mut cid).await;
    assert_eq!((&error["code"], &error["msgId"]), (&json!("target_not_found"), &json!("m1")));
    drop((ann, bob, cid));
    server.finish().await;
}

#[tokio::test]
async fn names_of_server_events_cannot_be_sent_as_topics() {
    let server = TestServer::start();
    let mut ann = typed(&server, "r", "ann").await;
    let mut bob = Client::joined(&server, "r", "bob").await;
    bob.next_event("room-users").await;
    next_json(&mut ann).await;
    for name in [
        "user-joined",
        "user-left",
        "room-users",
        "room-joined",
        "user-updated",
        "offer",
        "error",
        "connect",
        "disconnect",
    ] {
        let error =
            ask(&mut ann, "room:message", json!({ "topic": name, "data": { "userId": "eve" } }))
                .await;
        assert_eq!(error["payload"]["code"], "INVALID_MESSAGE", "{name}: {error}");
        assert_eq!(error["payload"]["details"][0]["path"], "payload.topic", "{name}: {error}");
    }
    ask(&mut ann, "room:message", json!({ "topic": "chat", "data": 1 })).await;
    assert_eq!(json!(bob.next().await), json!(["chat", 1]), "no earlier message");
    drop((ann, bob));
    server.finish().await;
}

#[tokio::test]
async fn message_that_no_recipient_can_receive_is_refused() {
    let server = TestServer::start();
    let mut caller = open(&server, "/signal?sessionId=s").await;
    let mut ann = typed(&server, "s", "ann").await;
    let error = ask(&mut ann, "room:message", json!({ "topic": "chat", "data": 1 })).await;
    assert_eq!(error["payload"]["code"], "TARGET_NOT_FOUND", "{error}");
    assert_eq!(ask(&mut ann, "sdp:offer", json!({ "sdp": "v=0" })).await["type"], "ok");
    loop {
        let observed = next_json(&mut caller).await;
        if observed["type"] == "offer" {
            break;
        }
        assert_eq!(observed["type"], "peer-joined", "{observed}");
    }
    drop((caller, ann));
    server.finish().await;
}

#[tokio::test]
async fn update_of_metadata_is_seen_by_others_and_by_later_joiners() {
    let server = TestServer::with(&["--max-metadata-bytes=1024"]);
    let mut ann = typed(&server, "r", "ann").await;
    let mut bob = Client::joined(&server, "r", "bob").await;
    bob.next_event("room-users").await;
    next_json(&mut ann).await;
    let metadata =
        json!({ "displayName": "Ann", "hand": true, "media": { "audio": true, "video": null } });
    let state = ask(&mut ann, "room:update", json!({ "metadata": metadata })).await;
    assert_eq!(state["type"], "room:state");
    let merged = json!({ "displayName": "Ann", "hand": true, "media": { "audio": true } });
    assert_eq!(state["payload"]["participants"][0]["metadata"], merged);
    assert_eq!(state["payload"]["participants"][0]["displayName"], "Ann");
    let event = bob.next().await;
    assert_eq!(
        (&event[0], &event[1]["userId"]),
        (&json!("user-updated"), &json!("ann")),
        "{event:?}"
    );
    assert_eq!(
        (&event[1]["hand"], &event[1]["media"]),
        (&json!(true), &json!({ "audio": true })),
        "{event:?}"
    );

    let mut cid = typed(&server, "r", "cid").await;
    let state = ask(&mut cid, "room:state", json!({ "roomId": "r" })).await;
    assert_eq!(state["payload"]["participants"][0]["metadata"], merged, "{state}");
    next_json(&mut ann).await;
    ask(&mut ann, "room:update", json!({ "roomId": "r", "metadata": { "hand": null } })).await;
    let updated = next_json(&mut cid).await;
    assert_eq!(updated["type"], "room:participant-updated");
    assert_eq!(updated["payload"]["roomId"], "r");
    let participant = &updated["payload"]["participant"];
    assert_eq!(
        participant["metadata"],
        json!({ "displayName": "Ann", "media": { "audio": true } })
    );
    assert_eq!(
        (&participant["userId"], &participant["displayName"]),
        (&json!("ann"), &json!("Ann"))
    );

    for (metadata, code) in [
        (json!("x".repeat(10)), "INVALID_MESSAGE"),
        (json!({ "a": "x".repeat(1024) }), "PAYLOAD_TOO_LARGE"),
    ] {
        let error = ask(&mut ann, "room:update", json!({ "metadata": metadata })).await;
        assert_eq!(error["payload"]["code"], code, "{error}");
    }
    let error =
        ask(&mut ann, "room:update", json!({ "roomId": "elsewhere", "metadata": {} })).await;
    assert_eq!(error["payload"]["code"], "NOT_IN_ROOM");
    drop((ann, bob, cid));
    server.finish().await;
}

#[tokio::test]
async fn room_and_role_of_an_auth_request_serve_later_joins() {
    let server = TestServer::start();
    let mut ann = open(&server, "/ws").await;
    next_json(&mut ann).await;
    let answer =
        ask(&mut ann, "auth:request", json!({ "token": "t", "roomId": "r", "role": "host" })).await;
    assert_eq!(
        (&answer["payload"]["success"], &answer["payload"]["role"]),
        (&json!(true), &json!("host"))
    );
    let state = ask(&mut ann, "room:join", json!({ "user": { "id": "ann" } })).await;
    assert_eq!(state["payload"]["roomId"], "r", "{state}");
    assert_eq!(state["payload"]["participants"][0]["role"], "host", "{state}");

    let user = json!({ "id": "ann", "role": "guest" });
    let state = ask(&mut ann, "room:join", json!({ "roomId": "other", "user": user })).await;
    assert_eq!(state["payload"]["roomId"], "other");
    assert_eq!(state["payload"]["participants"][0]["role"], "guest", "a join with its own role");
    let mut bob = open(&server, "/ws").await;
    next_json(&mut bob).await;
    let error = ask(&mut bob, "room:join", json!({ "user": { "id": "bob" } })).await;
    assert_eq!(
        error["payload"]["details"][0]["path"], "payload.roomId",
        "other connections have no default room"
    );
    ann.close(None).await.unwrap();
    while message(&mut ann).await.is_ok() {}
    drop(bob);
    server.finish().await;
}
