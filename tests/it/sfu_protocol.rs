//! The media server over `/ws`: its messages, their recipients, and cleanup.

use futures_util::SinkExt;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::support::TestServer;
use crate::support::client::WebSocket;
use crate::support::protocol_peer::{message, next_json as next_message, open};

const ID: &str = "6f1c0000-0000-4000-8000-000000000000";

async fn ask(socket: &mut WebSocket, kind: &str, payload: Value) -> (String, Value) {
    let message = json!({ "type": kind, "payload": payload, "correlationId": ID });
    socket.send(Message::text(message.to_string())).await.unwrap();
    let mut answer = next_message(socket).await;
    assert_eq!(answer["correlationId"], ID, "{answer}");
    (answer["type"].as_str().unwrap().to_owned(), answer["payload"].take())
}

/// Joins the room `r`.
async fn member(server: &TestServer, name: &str) -> WebSocket {
    let mut socket = open(server, "/ws").await;
    next_message(&mut socket).await;
    ask(&mut socket, "room:join", json!({ "roomId": "r", "user": { "id": name } })).await;
    socket
}

/// Creates a transport with the router's payload types and extension ids.
async fn transport(socket: &mut WebSocket, direction: &str) -> String {
    let (_, capabilities) = ask(socket, "router:capabilities", json!({})).await;
    let capabilities = &capabilities["rtpCapabilities"];
    let (kind, created) = ask(
        socket,
        "transport:create",
        json!({ "direction": direction, "rtpCapabilities": capabilities }),
    )
    .await;
    assert_eq!(kind, "transport:created");
    assert_eq!(created["iceCandidates"][0]["ip"], "127.0.0.1");
    assert_eq!(created["iceParameters"]["iceLite"], true);
    assert_eq!(created["dtlsParameters"]["fingerprints"][0]["algorithm"], "sha-256");
    created["id"].as_str().unwrap().to_owned()
}

fn audio_packet(transport: &str) -> Value {
    let opus =
        json!({ "mimeType": "audio/opus", "payloadType": 100, "clockRate": 48000, "channels": 2 });
    let parameters = json!({ "mid": "0", "codecs": [opus], "encodings": [{ "ssrc": 1 }] });
    json!({ "transportId": transport, "kind": "audio", "rtpParameters": parameters, "appData": { "of": "a voice" } })
}

async fn close(mut socket: WebSocket) {
    socket.close(None).await.unwrap();
    while message(&mut socket).await.is_ok() {}
}

#[tokio::test]
async fn only_room_members_are_notified_of_producers() {
    let server = TestServer::start();
    let mut ann = member(&server, "ann").await;
    let sending = transport(&mut ann, "send").await;
    let mut ben = member(&server, "ben").await;
    assert_eq!(next_message(&mut ann).await["type"], "room:participant-joined");
    let (kind, produced) = ask(&mut ann, "produce", audio_packet(&sending)).await;
    assert_eq!((kind.as_str(), &produced["id"]), ("produced", &produced["producerId"]));
    let added = next_message(&mut ben).await;
    let mut expected = json!({
        "producerId": produced["id"], "userId": "ann", "peerId": "ann", "kind": "audio", "appData": { "of": "a voice" },
    });
    assert_eq!((&added["type"], &added["payload"]), (&json!("new:producer"), &expected));

    let receiving = transport(&mut ben, "recv").await;
    let (_, list) = ask(&mut ben, "producers:list", json!({})).await;
    expected.as_object_mut().unwrap().remove("peerId");
    expected["paused"] = json!(false);
    assert_eq!(list, json!({ "producers": [expected] }));
    let (_, capabilities) = ask(&mut ben, "router:capabilities", json!({})).await;
    let wanted = json!({
        "transportId": receiving, "producerId": produced["id"], "rtpCapabilities": capabilities["rtpCapabilities"],
    });
    let (kind, consumer) = ask(&mut ben, "consume", wanted).await;
    assert_eq!(
        (kind.as_str(), &consumer["type"], &consumer["kind"]),
        ("consumer:created", &json!("simple"), &json!("audio"))
    );
    assert_eq!(consumer["consumerId"], consumer["id"]);
    assert_eq!(consumer["rtpParameters"]["codecs"][0]["payloadType"], 100);
    let named = json!({ "consumerId": consumer["id"] });
    assert_eq!(
        ask(&mut ben, "consumer:resume", named.clone()).await,
        ("consumer:resumed".to_owned(), named)
    );
    let layers = json!({ "consumerId": consumer["id"], "spatialLayer": 2, "temporalLayer": 1 });
    let (kind, effective) = ask(&mut ben, "consumer:layers", layers).await;
    assert_eq!(
        (kind.as_str(), &effective["spatialLayer"], &effective["temporalLayer"]),
        ("consumer:layers", &json!(0), &json!(1))
    );

    // Leaving the room closes media, not the connection.
    ask(&mut ann, "room:leave", json!({ "roomId": "r" })).await;
    let mut events = Vec::new();
    for _ in 0..3 {
        events.push(next_message(&mut ben).await["type"].as_str().unwrap().to_owned());
    }
    events.sort_unstable();
    assert_eq!(events, ["consumer:closed", "producer:closed", "room:participant-left"]);
    let (_, error) =
        ask(&mut ann, "transport:close", json!({ "transportId": sending, "roomId": "r" })).await;
    assert_eq!(error["code"], "NOT_IN_ROOM");
    server.until("ann's transport is closed", |held| held.transports == 1).await;
    close(ann).await;
    close(ben).await;
    server.finish().await;
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let server = TestServer::start();
    let mut ann = member(&server, "ann").await;
    let kinds = ["router:capabilities", "producers:list", "ping", "no:such", "producers:list"];
    for kind in kinds {
        let message = json!({ "type": kind, "payload": {}, "correlationId": ID });
        ann.feed(Message::text(message.to_string())).await.unwrap();
    }
    ann.flush().await.unwrap();
    for expected in ["router:capabilities", "producers:list", "pong", "error", "producers:list"] {
        assert_eq!(next_message(&mut ann).await["type"], expected);
    }
    close(ann).await;
    server.finish().await;
}

#[tokio::test]
async fn disconnected_peer_leaves_no_transport() {
    let server = TestServer::start();
    let mut ann = member(&server, "ann").await;
    let sending = transport(&mut ann, "send").await;
    ask(&mut ann, "produce", audio_packet(&sending)).await;
    server.until("the transport exists", |held| held.transports == 1).await;
    drop(ann);
    server.finish().await;
}

#[tokio::test]
async fn media_requests_fail_when_sfu_is_off() {
    let server = TestServer::with(&["--sfu=off"]);
    let mut ann = member(&server, "ann").await;
    let (kind, error) = ask(&mut ann, "router:capabilities", json!({})).await;
    assert_eq!((kind.as_str(), &error["code"]), ("error", &json!("TRANSPORT_ERROR")));
    assert_eq!(error["message"], "no media server configured");
    close(ann).await;
    server.finish().await;
}
