//! Connections that are lost at critical moments: during a resumption, during an upgrade, before
//! the first message.
//!
//! `tests/drops` found these cases; each has a test here.

use std::time::Duration;

use futures_util::SinkExt;
use parlor::dialect::{Dialect, Frame, Names};
use parlor::id::{ConnectionId, RoomId};
use parlor::room::{Command, LeaveReason, Metadata, RoomKind};
use parlor::session::Moment;
use parlor::timeouts::Timeouts;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::support::client::{WebSocket, cut, text, websocket};
use crate::support::outbox::resumable;
use crate::support::protocol_peer::{message, next_json, open};
use crate::support::raw::Raw;
use crate::support::scrape::Scrape;
use crate::support::server::LIMIT;
use crate::support::{Client, TestServer};

async fn send_text(socket: &mut WebSocket, kind: &str, payload: Value) {
    socket
        .send(Message::text(json!({ "type": kind, "payload": payload }).to_string()))
        .await
        .unwrap();
}

/// Waits for the next message of `/ws`, which must be of this type; returns its payload.
async fn wait_for(socket: &mut WebSocket, kind: &str) -> Value {
    let mut message = next_json(socket).await;
    assert_eq!(message["type"], kind, "{message}");
    message["payload"].take()
}

/// Opens a connection to `/ws` and sends a resume token.
async fn request_resumption(server: &TestServer, token: &str) -> WebSocket {
    let mut socket = open(server, "/ws").await;
    wait_for(&mut socket, "connection:ack").await;
    send_text(&mut socket, "auth:request", json!({ "resumeToken": token, "lastSequence": 2 }))
        .await;
    socket
}

/// Joins as bob on `/ws`, with ann as the only other peer; returns the connection and the resume
/// token.
async fn joined(server: &TestServer, ann: &mut Client) -> (WebSocket, String) {
    let mut bob = open(server, "/ws").await;
    wait_for(&mut bob, "connection:ack").await;
    send_text(&mut bob, "room:join", json!({ "roomId": "r", "user": { "id": "bob" } })).await;
    let token = wait_for(&mut bob, "room:state").await["resumeToken"].as_str().unwrap().to_owned();
    ann.next_event("user-joined").await;
    (bob, token)
}

#[tokio::test]
async fn reply_with_a_new_resume_token_may_be_lost() {
    let server = TestServer::with(&["--resume-seconds=10"]);
    let mut ann = Client::joined(&server, "r", "ann").await;
    ann.next_event("room-users").await;
    let (bob, token) = joined(&server, &mut ann).await;
    cut(bob);
    ann.next_event("user-away").await;
    // Twice: the connection is lost again before the reply is received.
    for number in 0..2 {
        let back = request_resumption(&server, &token).await;
        ann.next_event("user-back").await;
        cut(back);
        ann.next_event("user-away").await;
        ann.ask("ice-candidate", json!({ "roomId": "r", "targetId": "bob", "candidate": number }))
            .await;
    }
    let mut bob = request_resumption(&server, &token).await;
    ann.next_event("user-back").await;
    let answer = wait_for(&mut bob, "auth:response").await;
    assert_eq!(answer["recovered"], true);
    for number in 0..2 {
        assert_eq!(wait_for(&mut bob, "ice:candidate").await["candidate"], number.to_string());
    }
    // Once the client has received the reply, the older token is no longer valid.
    send_text(&mut bob, "ping", json!({})).await;
    wait_for(&mut bob, "pong").await;
    let mut other = request_resumption(&server, &token).await;
    assert_eq!(wait_for(&mut other, "auth:response").await["recovered"], false);
    cut(other);
    send_text(&mut bob, "room:leave", json!({ "roomId": "r" })).await;
    assert_eq!(ann.next_event("user-left").await[0]["reason"], "left");
    bob.close(None).await.ok();
    ann.close().await;
    server.finish().await;
}

#[tokio::test]
async fn replay_fits_the_queue_of_the_new_connection() {
    let server = TestServer::with(&[
        "--resume-seconds=10",
        "--resume-messages=600",
        "--send-queue=8",
        "--messages-per-second=0",
    ]);
    let mut ann = Client::joined(&server, "r", "ann").await;
    ann.next_event("room-users").await;
    let (bob, token) = joined(&server, &mut ann).await;
    cut(bob);
    ann.next_event("user-away").await;
    // Received frames stay in the replay buffer as well.
    for number in 0..598 {
        let message = json!({ "roomId": "r", "targetId": "bob", "candidate": number });
        assert_eq!(ann.ask("ice-candidate", message).await["ok"], true);
    }
    let mut bob = request_resumption(&server, &token).await;
    assert_eq!(wait_for(&mut bob, "auth:response").await["recovered"], true);
    for number in 0..598 {
        assert_eq!(wait_for(&mut bob, "ice:candidate").await["candidate"], number.to_string());
    }
    bob.close(None).await.ok();
    ann.next_event("user-back").await;
    ann.next_event("user-left").await;
    ann.close().await;
    server.finish().await;
}

#[tokio::test]
async fn replayed_token_message_has_the_current_token() {
    let server = TestServer::with(&["--resume-seconds=10"]);
    let mut ann = Client::joined(&server, "r", "ann").await;
    ann.next_event("room-users").await;
    // The first token is in the response to `auth:request`, and again in the first `room:state`,
    // which is not read.
    let mut bob = open(&server, "/ws").await;
    wait_for(&mut bob, "connection:ack").await;
    send_text(&mut bob, "auth:request", json!({})).await;
    let first =
        wait_for(&mut bob, "auth:response").await["resumeToken"].as_str().unwrap().to_owned();
    send_text(&mut bob, "room:join", json!({ "roomId": "r", "user": { "id": "bob" } })).await;
    ann.next_event("user-joined").await;
    cut(bob);
    ann.next_event("user-away").await;
    // Twice; the first response is not read either.
    let back = request_resumption(&server, &first).await;
    ann.next_event("user-back").await;
    cut(back);
    ann.next_event("user-away").await;
    let mut bob = request_resumption(&server, &first).await;
    let second =
        wait_for(&mut bob, "auth:response").await["resumeToken"].as_str().unwrap().to_owned();
    assert_ne!(second, first);
    assert_eq!(wait_for(&mut bob, "room:state").await["resumeToken"], second.as_str());
    bob.close(None).await.ok();
    ann.next_event("user-back").await;
    ann.next_event("user-left").await;
    ann.close().await;
    server.finish().await;
}

#[tokio::test]
async fn replayed_signal_that_contains_the_resume_token_is_unchanged() {
    let server = TestServer::with(&["--resume-seconds=10"]);
    let mut ann = Client::joined(&server, "r", "ann").await;
    ann.next_event("room-users").await;
    let (bob, token) = joined(&server, &mut ann).await;
    cut(bob);
    ann.next_event("user-away").await;
    let sdp = format!("a token: {token}");
    let offer = json!({ "targetId": "bob", "offer": { "type": "offer", "sdp": sdp } });
    assert_eq!(ann.ask("offer", offer).await["ok"], true);
    let mut bob = request_resumption(&server, &token).await;
    let answer = wait_for(&mut bob, "auth:response").await;
    assert!(answer["recovered"] == true && answer["resumeToken"] != token.as_str(), "{answer}");
    assert_eq!(wait_for(&mut bob, "sdp:offer").await["sdp"], sdp);
    bob.close(None).await.ok();
    ann.next_event("user-back").await;
    ann.next_event("user-left").await;
    ann.close().await;
    server.finish().await;
}

#[tokio::test]
async fn session_without_a_room_is_not_resumed() {
    let server = TestServer::with(&["--resume-seconds=10"]);
    // Its `join-room` is lost with the connection.
    let bob = Client::connect(&server).await;
    let (id, pid) = (bob.id.clone(), bob.pid.clone().unwrap());
    bob.cut();
    server.until("no session remains", |held| held.sessions == 0).await;
    assert_eq!(server.held().away, 0);
    let bob = Client::resume(&server, &pid, None).await;
    assert_ne!(bob.id, id, "a resumed client does not join again");
    // Also if the server has not noticed the loss yet.
    let (id, pid) = (bob.id.clone(), bob.pid.clone().unwrap());
    let newer = Client::resume(&server, &pid, None).await;
    assert_ne!(newer.id, id);
    bob.ended().await;
    newer.close().await;
    server.finish().await;
}

/// Sends signals to bob until one is refused; returns their number.
async fn fill_queue(ann: &mut Client) -> usize {
    let offer = json!({ "type": "offer", "sdp": "x".repeat(60_000) });
    let mut accepted = 0;
    while ann.ask("offer", json!({ "roomId": "r", "targetId": "bob", "offer": offer })).await["ok"]
        == true
    {
        accepted += 1;
    }
    accepted
}

#[tokio::test]
async fn queued_frames_are_written_before_the_end() {
    // Reading all of it takes a while on a busy machine.
    let timeouts = Timeouts { last_write: LIMIT, ..Timeouts::default() };
    let server = TestServer::within(&timeouts, &["--resume-seconds=10", "--send-queue=16"]);
    let mut ann = Client::joined(&server, "r", "ann").await;
    ann.next_event("room-users").await;

    let mut bob = Client::joined(&server, "r", "bob").await;
    bob.next_event("room-users").await;
    ann.next_event("user-joined").await;
    let accepted = fill_queue(&mut ann).await;
    // As a shutdown does for each connection.
    server.hub().drain_one(ConnectionId::parse(&bob.id).unwrap());
    assert_eq!(ann.next_event("user-left").await[0]["reason"], "kicked");
    for _ in 0..accepted {
        bob.next_event("offer").await;
    }
    bob.ended().await;

    let mut bob = open(&server, "/ws").await;
    let id =
        wait_for(&mut bob, "connection:ack").await["connectionId"].as_str().unwrap().to_owned();
    send_text(&mut bob, "room:join", json!({ "roomId": "r", "user": { "id": "bob" } })).await;
    wait_for(&mut bob, "room:state").await;
    ann.next_event("user-joined").await;
    let accepted = fill_queue(&mut ann).await;
    server.hub().drain_one(ConnectionId::parse(&id).unwrap());
    for _ in 0..accepted {
        wait_for(&mut bob, "sdp:offer").await;
    }
    assert!(message(&mut bob).await.is_err());
    // The server would wait for the client as long as the time limit permits.
    drop(bob);
    assert_eq!(ann.next_event("user-left").await[0]["reason"], "kicked");
    ann.close().await;
    server.finish().await;
}

/// A polling client that has joined as bob, with ann as the only other peer.
struct Poller {
    http: reqwest::Client,
    /// Query parameters that identify the connection.
    query: String,
    /// Id that peers see.
    id: String,
    pid: String,
}

impl Poller {
    async fn joined(server: &TestServer, ann: &mut Client) -> Self {
        let http = reqwest::Client::new();
        let fetch = async |url: &str| http.get(url).send().await.unwrap().text().await.unwrap();
        let open = fetch(&server.url("/socket.io/?EIO=4&transport=polling")).await;
        let open: Value = serde_json::from_str(&open[1..]).unwrap();
        let query = format!("EIO=4&sid={}", open["sid"].as_str().unwrap());
        let url = server.url(&format!("/socket.io/?transport=polling&{query}"));
        http.post(&url).body("40").send().await.unwrap();
        let reply: Value = loop {
            let packets = fetch(&url).await;
            if let Some(reply) =
                packets.split('\u{1e}').find_map(|packet| packet.strip_prefix("40"))
            {
                break serde_json::from_str(reply).unwrap();
            }
        };
        let [id, pid] = ["sid", "pid"].map(|key| reply[key].as_str().unwrap().to_owned());
        http.post(&url).body(r#"42["join-room","r","bob"]"#).send().await.unwrap();
        ann.next_event("user-joined").await;
        Self { http, query, id, pid }
    }

    /// Sends the beginning of a request that is never completed.
    async fn begin_request(&self, server: &TestServer) -> Raw {
        let head = format!("POST /socket.io/?transport=polling&{} HTTP/1.1\r\nHost: x", self.query);
        let body = r#"42["ice-candidate",{"targetId":"#;
        Raw::sending(server.address(), format!("{head}\r\nContent-Length: 1000\r\n\r\n{body}"))
            .await
    }

    /// Closes its transport, as a client whose polls fail.
    async fn close_transport(&self, server: &TestServer) {
        let url = server.url(&format!("/socket.io/?transport=polling&{}", self.query));
        self.http.post(&url).body("1").send().await.unwrap();
    }

    /// Resumes the session, which is away.
    async fn resume(self, server: &TestServer, ann: &mut Client) {
        ann.next_event("user-away").await;
        let mut bob = Client::resume(server, &self.pid, None).await;
        assert_eq!(bob.pid.as_ref(), Some(&self.pid));
        ann.next_event("user-back").await;
        bob.next_event("room-users").await;
        bob.close().await;
        ann.next_event("user-left").await;
        drop(self.http);
    }
}

#[tokio::test]
async fn abandoned_upgrade_is_not_a_leave() {
    let server = TestServer::with(&["--resume-seconds=10"]);
    let mut ann = Client::joined(&server, "r", "ann").await;
    ann.next_event("room-users").await;
    let bob = Poller::joined(&server, &mut ann).await;
    // Its polls fail during the probe: it closes the connection and resumes.
    let mut probe = websocket(&server, &bob.query).await;
    probe.send(Message::text("2probe")).await.unwrap();
    assert_eq!(text(&mut probe).await, "3probe");
    probe.close(None).await.unwrap();
    bob.close_transport(&server).await;
    bob.resume(&server, &mut ann).await;
    ann.close().await;
    server.finish().await;
}

#[tokio::test]
async fn client_that_closes_after_a_missed_heartbeat_is_away() {
    let server = TestServer::with(&["--resume-seconds=10"]);
    let mut ann = Client::joined(&server, "r", "ann").await;
    ann.next_event("room-users").await;
    let bob = Client::joined(&server, "r", "bob").await;
    ann.next_event("user-joined").await;
    let (id, pid) = (bob.id.clone(), bob.pid.clone().unwrap());
    // Official clients then close as after `disconnect()`, but without the DISCONNECT packet.
    let mut socket = bob.into_socket();
    socket.close(None).await.unwrap();
    ann.next_event("user-away").await;
    drop(socket);
    let mut bob = Client::resume(&server, &pid, None).await;
    assert_eq!(bob.id, id);
    ann.next_event("user-back").await;
    bob.send("41").await;
    assert_eq!(ann.next_event("user-left").await[0]["reason"], "disconnected");
    bob.close().await;
    ann.close().await;
    server.finish().await;
}

#[tokio::test]
async fn frames_queued_between_polls_are_fetched_before_the_end() {
    let server = TestServer::with(&["--resume-seconds=10"]);
    let mut ann = Client::joined(&server, "r", "ann").await;
    ann.next_event("room-users").await;
    let bob = Poller::joined(&server, &mut ann).await;
    for number in 0..3 {
        let message = json!({ "roomId": "r", "targetId": "bob", "candidate": number });
        assert_eq!(ann.ask("ice-candidate", message).await["ok"], true);
    }
    // As a shutdown does for each connection.
    server.hub().drain_one(ConnectionId::parse(&bob.id).unwrap());
    assert_eq!(ann.next_event("user-left").await[0]["reason"], "kicked");
    let late =
        ann.ask("ice-candidate", json!({ "roomId": "r", "targetId": "bob", "candidate": 3 })).await;
    assert_eq!(late["code"], "TARGET_NOT_FOUND", "frames that cannot be fetched are not accepted");
    let url = server.url(&format!("/socket.io/?transport=polling&{}", bob.query));
    let rest = bob.http.get(&url).send().await.unwrap().text().await.unwrap();
    for what in ["\"candidate\":0", "\"candidate\":1", "\"candidate\":2", "SHUTTING_DOWN"] {
        assert!(rest.contains(what), "{rest}");
    }
    server.until("his connection ends", |held| held.polling == 0).await;
    drop(bob);
    ann.close().await;
    server.finish().await;
}

#[tokio::test]
async fn truncated_body_is_a_drop() {
    let server = TestServer::with(&["--resume-seconds=10"]);
    let mut ann = Client::joined(&server, "r", "ann").await;
    ann.next_event("room-users").await;
    let bob = Poller::joined(&server, &mut ann).await;
    drop(bob.begin_request(&server).await);
    bob.resume(&server, &mut ann).await;
    ann.close().await;
    server.finish().await;
}

#[tokio::test]
async fn slow_body_gets_408_and_is_a_drop() {
    let server = TestServer::with(&["--resume-seconds=10", "--handshake-timeout-seconds=1"]);
    let mut ann = Client::joined(&server, "r", "ann").await;
    ann.next_event("room-users").await;
    let bob = Poller::joined(&server, &mut ann).await;
    let mut post = bob.begin_request(&server).await;
    assert_eq!(post.response().await.expect("an answer").status, 408);
    let scrape = Scrape::of(&server).await;
    assert_eq!(scrape.count(r#"parlor_limits_hit_total{limit="handshake_time"}"#), 1);
    bob.resume(&server, &mut ann).await;
    ann.close().await;
    server.finish().await;
}

#[tokio::test]
async fn late_resumption_opens_a_new_session() {
    let server = TestServer::with(&["--resume-seconds=10"]);
    let mut ann = Client::joined(&server, "r", "ann").await;
    ann.next_event("room-users").await;
    let mut bob = Client::joined(&server, "r", "bob").await;
    bob.next_event("room-users").await;
    ann.next_event("user-joined").await;
    let (pid, early) = (bob.pid.clone().unwrap(), bob.offset.clone());
    for number in 0..2 {
        ann.ask("ice-candidate", json!({ "roomId": "r", "targetId": "bob", "candidate": number }))
            .await;
        assert_eq!(bob.next_event("ice-candidate").await[0]["candidate"], number);
        let offset = bob.offset.clone();
        bob.cut();
        ann.next_event("user-away").await;
        bob = Client::resume(&server, &pid, offset.as_deref()).await;
        ann.next_event("user-back").await;
    }
    // A request that the client abandoned on the first connection arrives now.
    let late = Client::resume(&server, &pid, early.as_deref()).await;
    assert_ne!(late.id, bob.id);
    late.cut();
    ann.ask("ice-candidate", json!({ "roomId": "r", "targetId": "bob", "candidate": 2 })).await;
    assert_eq!(bob.next_event("ice-candidate").await[0]["candidate"], 2);
    ann.nothing_more().await;
    bob.close().await;
    ann.next_event("user-left").await;
    ann.close().await;
    server.finish().await;
}

/// Resumes over connections that are lost at once: the server has only read CONNECT.
async fn resume_and_drop(server: &TestServer, auth: &str) {
    for _ in 0..20 {
        let mut socket = websocket(server, "EIO=4").await;
        text(&mut socket).await;
        socket.send(Message::text(format!("40{auth}"))).await.unwrap();
        cut(socket);
    }
}

/// Two peers in a room, one of which resumes repeatedly.
async fn join_and_resume_repeatedly(server: &TestServer, room: &str) {
    let mut ann = Client::joined(server, room, "ann").await;
    ann.next_event("room-users").await;
    let mut bob = Client::joined(server, room, "bob").await;
    bob.next_event("room-users").await;
    ann.next_event("user-joined").await;
    let pid = bob.pid.clone().unwrap();
    for number in 0..12 {
        let offset = bob.offset.clone();
        bob.cut();
        resume_and_drop(server, &json!({ "pid": pid, "offset": offset }).to_string()).await;
        let answer = ann
            .ask("ice-candidate", json!({ "roomId": room, "targetId": "bob", "candidate": number }))
            .await;
        assert_eq!(answer["ok"], true, "{answer}");
        bob = Client::resume(server, &pid, offset.as_deref()).await;
        assert_eq!(bob.pid.as_ref(), Some(&pid), "round {number}");
        assert_eq!(bob.next_event("ice-candidate").await[0]["candidate"], number);
    }
    bob.close().await;
    // Away and back alternate, without other events.
    let mut is_away = false;
    loop {
        let event = ann.next().await;
        match event[0].as_str().unwrap() {
            "user-away" if !is_away => is_away = true,
            "user-back" if is_away => is_away = false,
            "user-left" if !is_away => break,
            _ => panic!("{event:?}"),
        }
    }
    ann.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn connection_may_drop_during_a_resumption() {
    let server = TestServer::with(&["--resume-seconds=10"]);
    let rooms = ["a", "b", "c", "d", "e", "f", "g", "h"];
    futures_util::future::join_all(rooms.map(|room| join_and_resume_repeatedly(&server, room)))
        .await;
    server.finish().await;
}

/// A dialect whose clients send and receive nothing.
static QUIET: Dialect = Dialect {
    name: "quiet",
    encode: |_, _| None,
    media: None,
    shutdown_frame: |_, _| Frame::Close(1001, ""),
    failure: |_, _, _, _| None,
    expired: |_| Vec::new(),
    names: Names::Chosen,
    backpressure_limit: Duration::ZERO,
    reserves: |_| false,
    presence_is_vital: false,
};

#[tokio::test]
async fn all_connections_may_drop_at_once() {
    const CALLS: usize = 1500;
    let server = TestServer::with(&["--resume-seconds=2"]);
    let sessions: Vec<_> = (0..2 * CALLS)
        .map(|number| {
            let session = resumable(server.hub(), &QUIET);
            let room = RoomId::new(&format!("call-{}", number / 2)).unwrap();
            let join = Command::Join {
                room,
                peer: None,
                metadata: Metadata::default(),
                kind: RoomKind::Group,
            };
            assert!(session.handle(Moment::now(), join, 0, |_| None).result.is_ok());
            session
        })
        .collect();
    for session in &sessions {
        assert!(session.lose(LeaveReason::Disconnected));
    }
    let held = server.held();
    assert_eq!((held.away, held.rooms), (2 * CALLS, CALLS));
    server.finish().await;
}
