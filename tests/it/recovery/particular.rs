//! Peculiarities of single transports, and cases between them.

use futures_util::SinkExt;
use parlor::id::ConnectionId;
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use super::{away, back, close_all};
use crate::support::client::{cut, text, websocket};
use crate::support::program::{Program, parlor};
use crate::support::protocol_peer::{Peer, Protocol, Received, UNNAMED, message, next_json, open};
use crate::support::resuming_client::{CLIENT_KINDS, ClientKind, ResumingClient};
use crate::support::{Client, TestServer};

#[tokio::test]
async fn peers_resume_beside_every_other_transport() {
    for first in CLIENT_KINDS {
        for second in CLIENT_KINDS {
            let server = TestServer::with(&["--resume-seconds=10"]);
            let mut ann = ResumingClient::joined(&server, first, "ann").await;
            let mut bob = ResumingClient::joined(&server, second, "bob").await;
            ann.expect_event(Received::Joined("bob".to_owned())).await;
            let resume_point = bob.drop_connection().await;
            ann.expect_event(away("bob")).await;
            ann.send_numbers("bob", 0..3).await;
            bob = ResumingClient::resume(&server, second, &resume_point).await;
            ann.expect_event(back("bob")).await;
            bob.expect_signals("ann", 0..3).await;
            bob.send_number("ann", 3).await;
            ann.expect_signals("bob", 3..4).await;
            close_all(server, [bob, ann]).await;
        }
    }
}

#[tokio::test]
async fn clients_that_cannot_resume_leave_at_once() {
    let server = TestServer::with(&["--resume-seconds=60"]);
    let mut ann = ResumingClient::joined(&server, ClientKind::WebSocket, "ann").await;
    // The older revision of Engine.IO has no field for a resume token.
    let mut older = websocket(&server, "EIO=3").await;
    text(&mut older).await;
    assert_eq!(text(&mut older).await, "40");
    older.send(Message::text(r#"42["join-room","r","older"]"#)).await.unwrap();
    ann.expect_event(Received::Joined("older".to_owned())).await;
    cut(older);
    ann.expect_left("older", "disconnected").await;
    for protocol in [Protocol::Topic, Protocol::Session] {
        let peer = Peer::join(&server, protocol, "r", "peer").await;
        let (Received::Joined(id), _) = ann.next_event().await else {
            panic!("{protocol:?}: no peer has joined")
        };
        assert!(peer.id == UNNAMED || peer.id == id);
        cut(peer.into_socket());
        ann.expect_left(&id, "disconnected").await;
    }
    close_all(server, [ann]).await;
}

/// The official client does so when the browser says that it is offline, and when it misses a
/// heartbeat; the frame may well arrive.
#[tokio::test]
async fn close_without_a_status_is_a_drop() {
    let server = TestServer::with(&["--resume-seconds=10"]);
    let mut ann = Client::connect(&server).await;
    ann.ask("join-room", json!({ "roomId": "r", "userId": "ann" })).await;
    let mut bob = Client::connect(&server).await;
    bob.ask("join-room", json!({ "roomId": "r", "userId": "bob" })).await;
    bob.next_event("room-users").await;
    ann.next_event("room-users").await;
    ann.next_event("user-joined").await;
    let (id, pid, offset) = (bob.id.clone(), bob.pid.clone().unwrap(), bob.offset.clone());
    bob.abandon().await;
    assert_eq!(ann.next_event("user-away").await[0]["userId"], "bob");
    let mut bob = Client::resume(&server, &pid, offset.as_deref()).await;
    assert_eq!(bob.id, id);
    assert_eq!(ann.next_event("user-back").await[0]["userId"], "bob");
    bob.nothing_more().await;
    bob.close().await;
    assert_eq!(ann.next_event("user-left").await[0]["reason"], "disconnected");
    ann.close().await;
    server.finish().await;
}

/// A shutdown does not wait for a client whose connection drops before its queue is written.
#[tokio::test]
async fn kicked_client_leaves_at_once_on_ws() {
    let server =
        TestServer::with(&["--resume-seconds=60", "--send-queue=8", "--messages-per-second=0"]);
    let mut ann = Client::joined(&server, "r", "ann").await;
    ann.next_event("room-users").await;
    let mut bob = open(&server, "/ws").await;
    let id = next_json(&mut bob).await["payload"]["connectionId"].as_str().unwrap().to_owned();
    let join =
        json!({ "type": "room:join", "payload": { "roomId": "r", "user": { "id": "bob" } } });
    bob.send(Message::text(join.to_string())).await.unwrap();
    assert_eq!(ann.next_event("user-joined").await[0]["userId"], "bob");
    // It reads nothing until its socket buffers are full.
    let offer = json!({ "roomId": "r", "targetId": "bob", "offer": "x".repeat(32_000) });
    while ann.ask("offer", offer.clone()).await["ok"] == true {}
    server.hub().drain_one(ConnectionId::parse(&id).unwrap());
    cut(bob);
    assert_eq!(ann.next_event("user-left").await[0]["userId"], "bob");
    ann.close().await;
    server.finish().await;
}

/// A client of `/ws` that tries to resume its session on the same connection is refused, and keeps
/// its session.
#[tokio::test]
async fn resumption_on_the_same_connection_is_refused() {
    let server = TestServer::with(&["--resume-seconds=10"]);
    let mut ann = ResumingClient::joined(&server, ClientKind::WebSocket, "ann").await;
    let mut bob = open(&server, "/ws").await;
    assert_eq!(next_json(&mut bob).await["type"], "connection:ack");
    let join =
        json!({ "type": "room:join", "payload": { "roomId": "r", "user": { "id": "bob" } } });
    bob.send(Message::text(join.to_string())).await.unwrap();
    let token = next_json(&mut bob).await["payload"]["resumeToken"].take();
    ann.expect_event(Received::Joined("bob".to_owned())).await;
    ann.send_number("bob", 0).await;
    assert_eq!(next_json(&mut bob).await["sequence"], 3);
    let again =
        json!({ "type": "auth:request", "payload": { "resumeToken": token, "lastSequence": 2 } });
    bob.send(Message::text(again.to_string())).await.unwrap();
    let answer = next_json(&mut bob).await;
    assert_eq!(
        (&answer["payload"]["recovered"], &answer["sequence"]),
        (&json!(false), &json!(4)),
        "{answer}"
    );
    ann.send_number("bob", 1).await;
    assert_eq!(next_json(&mut bob).await["payload"]["candidate"], "1");
    ann.expect_nothing().await;
    bob.close(None).await.unwrap();
    ann.expect_left("bob", "disconnected").await;
    close_all(server, [ann]).await;
}

/// An invalid number is an error that the client gets, and its session stays away.
#[tokio::test]
async fn invalid_sequence_number_is_refused_on_ws() {
    let server = TestServer::with(&["--resume-seconds=60"]);
    let bob = ResumingClient::joined(&server, ClientKind::Envelope, "bob").await;
    let resume_point = bob.drop_connection().await;
    server.until("it is away", |held| held.away == 1).await;
    let mut socket = open(&server, "/ws").await;
    next_json(&mut socket).await;
    for wrong in [json!(-1), json!(1.5), json!("3"), json!(null), json!([])] {
        let payload = json!({ "resumeToken": resume_point.resume_token, "lastSequence": wrong });
        socket
            .send(Message::text(json!({ "type": "auth:request", "payload": payload }).to_string()))
            .await
            .unwrap();
        let answer = next_json(&mut socket).await;
        assert_eq!(answer["payload"]["code"], "INVALID_MESSAGE", "{wrong}: {answer}");
        assert_eq!(
            answer["payload"]["details"][0]["path"], "payload.lastSequence",
            "{wrong}: {answer}"
        );
    }
    socket.close(None).await.unwrap();
    let bob = ResumingClient::resume(&server, ClientKind::Envelope, &resume_point).await;
    assert!(bob.is_resumed);
    close_all(server, [bob]).await;
}

/// At the most verbose log level.
#[tokio::test]
async fn no_resume_token_is_logged() {
    let mut command = parlor();
    let profile = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/socketio/documented.toml");
    command.envs([
        ("HOST", "127.0.0.1"),
        ("PORT", "0"),
        ("LOG_LEVEL", "trace"),
        ("SOCKETIO_PROFILES", profile),
    ]);
    let program = Program::start(command);
    let mut secrets = Vec::new();
    for (times, kind) in (1..).zip(CLIENT_KINDS) {
        let bob = ResumingClient::joined(&program, kind, "bob").await;
        let resume_point = bob.drop_connection().await;
        program.until_printed_times(" away ", times);
        let bob = ResumingClient::resume(&program, kind, &resume_point).await;
        assert!(bob.is_resumed);
        secrets.extend([resume_point.resume_token, bob.resume_point().resume_token]);
        bob.close().await;
    }
    program.signal("TERM");
    program.until_printed("resumed");
    for secret in secrets {
        let (_, secret) = secret.split_once('.').unwrap();
        assert_eq!(program.printed(secret), 0);
    }
    assert!(program.ended().success());
}

/// The style of type names is that of the first message of a connection, also where that message
/// resumes a session.
#[tokio::test]
async fn resumed_session_keeps_its_message_style() {
    let server = TestServer::with(&["--resume-seconds=10"]);
    let mut ann = open(&server, "/ws").await;
    let join =
        json!({ "type": "room.join", "payload": { "roomId": "r", "user": { "id": "ann" } } });
    ann.send(Message::text(join.to_string())).await.unwrap();
    let state = loop {
        let received = next_json(&mut ann).await;
        if received["type"] == "room.state" {
            break received;
        }
    };
    let (resume_token, seen) = (state["payload"]["resumeToken"].clone(), state["sequence"].clone());
    cut(ann);
    server.until("ann is away", |held| held.away == 1).await;
    let mut ann = open(&server, "/ws").await;
    let resume = json!({ "type": "auth.request", "payload": { "resumeToken": resume_token, "lastSequence": seen } });
    ann.send(Message::text(resume.to_string())).await.unwrap();
    let answer = loop {
        let received = next_json(&mut ann).await;
        if received["type"] == "auth.response" {
            break received;
        }
    };
    assert_eq!(answer["payload"]["recovered"], true, "{answer}");
    let bob = Client::joined(&server, "r", "bob").await;
    assert_eq!(next_json(&mut ann).await["type"], "room.participant-joined");
    bob.close().await;
    assert_eq!(next_json(&mut ann).await["type"], "room.participant-left");
    ann.close(None).await.unwrap();
    while message(&mut ann).await.is_ok() {}
    server.finish().await;
}

/// A connection with a failed attempt to resume ends and is logged once, like any other.
#[tokio::test]
async fn failed_takeover_logs_the_end_of_the_older_connection() {
    let mut command = parlor();
    command.args(["--port=0", "--host=127.0.0.1", "--log-level=info", "--resume-messages=8"]);
    let program = Program::start(command);
    let address = program.address();
    let ann = ResumingClient::joined(address, ClientKind::Envelope, "ann").await;
    let mut bob = ResumingClient::joined(address, ClientKind::Envelope, "bob").await;
    for number in 0..20 {
        bob.send_number("ann", number).await;
    }
    let (mut late, _) =
        tokio_tungstenite::connect_async(format!("ws://{address}/ws")).await.unwrap();
    let resume = json!({ "type": "auth:request", "payload": { "resumeToken": ann.resume_point().resume_token, "lastSequence": 1 } });
    late.send(Message::text(resume.to_string())).await.unwrap();
    let answer = loop {
        let received = next_json(&mut late).await;
        if received["type"] == "auth:response" {
            break received;
        }
    };
    assert_eq!(answer["payload"]["recovered"], false, "{answer}");
    ann.ended().await;
    drop((bob, late));
    let log = program.stop();
    let ends = log.lines().filter(|line| {
        line.contains("disconnected connection=") && line.contains("reason=\"replaced\"")
    });
    assert_eq!(ends.count(), 1, "{log}");
}
