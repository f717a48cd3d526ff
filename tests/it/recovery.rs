//! A peer whose connection drops comes back and is as if it had not: nothing lost, nothing twice, nobody the wiser.

use futures_util::SinkExt;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::support::client::{cut, text, websocket};
use crate::support::polling::Polling;
use crate::support::scrape::Scrape;
use crate::support::wire::{Peer, Wire, message, open, told};
use crate::support::{Client, TestServer};

/// Two in a room, who know of each other.
async fn two(server: &TestServer) -> (Client, Client) {
    let mut ann = Client::joined(server, "r", "ann").await;
    ann.told("room-users").await;
    let mut bob = Client::joined(server, "r", "bob").await;
    bob.told("room-users").await;
    ann.told("user-joined").await;
    (ann, bob)
}

async fn say(from: &mut Client, to: &str, number: usize) -> Value {
    from.ask("ice-candidate", json!({ "roomId": "r", "targetId": to, "candidate": number })).await
}

async fn hears(client: &mut Client, numbers: std::ops::Range<usize>) {
    for number in numbers {
        assert_eq!(client.told("ice-candidate").await[0]["candidate"], number);
    }
}

#[tokio::test]
async fn what_was_missed_comes_in_order_before_anything_new() {
    let server = TestServer::with(&["--resume-seconds=10"]);
    let (mut ann, mut bob) = two(&server).await;
    let (id, pid) = (bob.id.clone(), bob.pid.clone().unwrap());
    say(&mut ann, "bob", 0).await;
    hears(&mut bob, 0..1).await;
    let mut said = 1;
    for round in 0..5 {
        let offset = bob.offset.clone().unwrap();
        bob.cut();
        let away = ann.told("user-away").await;
        assert_eq!((&away[0]["userId"], &away[0]["socketId"]), (&json!("bob"), &json!(id)));
        assert_eq!(server.held().away, 1);
        for number in said..said + 20 {
            assert_eq!(say(&mut ann, "bob", number).await["ok"], true);
        }
        bob = Client::resume(&server, &pid, Some(&offset)).await;
        assert_eq!((&bob.id, bob.pid.as_ref()), (&id, Some(&pid)), "round {round}");
        assert_eq!(ann.told("user-back").await[0]["userId"], "bob");
        say(&mut ann, "bob", said + 20).await;
        hears(&mut bob, said..said + 21).await;
        said += 21;
        // It can speak, too.
        assert_eq!(say(&mut bob, "ann", round).await["ok"], true);
        hears(&mut ann, round..round + 1).await;
    }
    bob.nothing_more().await;
    ann.nothing_more().await;
    let scrape = Scrape::of(&server).await;
    assert_eq!(scrape.count(r#"parlor_resumptions_total{outcome="recovered"}"#), 5);
    assert_eq!(scrape.count("parlor_away"), 0);
    bob.close().await;
    assert_eq!(ann.told("user-left").await[0]["reason"], "disconnected", "a goodbye is a leave at once");
    ann.close().await;
    server.finish().await;
}

#[tokio::test]
async fn who_heard_nothing_yet_hears_all() {
    let server = TestServer::with(&["--resume-seconds=10"]);
    let mut ann = Client::joined(&server, "r", "ann").await;
    let bob = Client::joined(&server, "r", "bob").await;
    let pid = bob.pid.clone().unwrap();
    bob.cut();
    say(&mut ann, "bob", 0).await;
    let mut bob = Client::resume(&server, &pid, None).await;
    bob.told("room-users").await;
    hears(&mut bob, 0..1).await;
    bob.close().await;
    ann.close().await;
    server.finish().await;
}

/// The official client does so when the browser says that it is offline, and when it misses a heartbeat; the frame may
/// well arrive.
#[tokio::test]
async fn a_close_without_a_status_is_a_drop() {
    let server = TestServer::with(&["--resume-seconds=10"]);
    let (mut ann, bob) = two(&server).await;
    let (id, pid, offset) = (bob.id.clone(), bob.pid.clone().unwrap(), bob.offset.clone());
    bob.give_up().await;
    assert_eq!(ann.told("user-away").await[0]["userId"], "bob");
    say(&mut ann, "bob", 0).await;
    let mut bob = Client::resume(&server, &pid, offset.as_deref()).await;
    assert_eq!(bob.id, id);
    assert_eq!(ann.told("user-back").await[0]["userId"], "bob");
    hears(&mut bob, 0..1).await;
    bob.close().await;
    assert_eq!(ann.told("user-left").await[0]["reason"], "disconnected");
    ann.close().await;
    server.finish().await;
}

#[tokio::test]
async fn a_connection_that_looks_alive_gives_way() {
    let server = TestServer::with(&["--resume-seconds=10"]);
    let (mut ann, mut older) = two(&server).await;
    say(&mut ann, "bob", 0).await;
    let (pid, offset) = (older.pid.clone().unwrap(), older.offset.clone());
    let mut newer = Client::resume(&server, &pid, offset.as_deref()).await;
    hears(&mut newer, 0..1).await;
    hears(&mut older, 0..1).await;
    older.ended().await;
    say(&mut ann, "bob", 1).await;
    hears(&mut newer, 1..2).await;
    ann.nothing_more().await;
    newer.close().await;
    ann.told("user-left").await;
    ann.close().await;
    server.finish().await;
}

#[tokio::test]
async fn who_does_not_come_back_is_gone_when_the_time_is_over() {
    let server = TestServer::with(&["--resume-seconds=1"]);
    let (mut ann, bob) = two(&server).await;
    let pid = bob.pid.clone().unwrap();
    bob.cut();
    ann.told("user-away").await;
    let left = ann.told("user-left").await;
    assert_eq!((&left[0]["userId"], &left[0]["reason"]), (&json!("bob"), &json!("timeout")));
    assert_eq!(server.held().away, 0);
    let late = Client::resume(&server, &pid, None).await;
    assert_ne!(late.pid.as_deref(), Some(&*pid));
    late.close().await;
    ann.close().await;
    server.finish().await;
}

#[tokio::test]
async fn a_key_or_an_offset_that_does_not_fit_makes_an_ordinary_connection() {
    let server = TestServer::with(&["--resume-seconds=10", "--resume-messages=8"]);
    let (ann, bob) = two(&server).await;
    let (id, pid) = (bob.id.clone(), bob.pid.clone().unwrap());
    let theirs = ann.pid.clone().unwrap();
    for wrong in [
        String::new(),
        id.clone(),
        format!("{id}."),
        format!("{}.{}", id, theirs.split_once('.').unwrap().1),
        format!("{}.{}", ann.id, pid.split_once('.').unwrap().1),
        pid.to_uppercase(),
        format!("{pid}A"),
        format!("{pid}\u{0}"),
    ] {
        let other = Client::resume(&server, &wrong, None).await;
        assert!(other.id != id && other.id != ann.id && other.pid.as_deref() != Some(&*pid), "{wrong}");
        other.close().await;
    }
    // Nobody noticed.
    let mut ann = ann;
    ann.nothing_more().await;

    // An offset that nobody was told, and one that is not held any more: the old place ends.
    let (tag, _) = bob.offset.as_deref().unwrap().split_once('-').unwrap();
    let future = format!("{tag}-99");
    bob.cut();
    ann.told("user-away").await;
    let other = Client::resume(&server, &pid, Some(&future)).await;
    assert_ne!(other.id, id);
    assert_eq!(ann.told("user-left").await[0]["reason"], "timeout");
    other.close().await;

    let mut bob = Client::joined(&server, "r", "bob").await;
    ann.told("user-joined").await;
    let (id, pid) = (bob.id.clone(), bob.pid.clone().unwrap());
    bob.told("room-users").await;
    let early = bob.offset.clone();
    for number in 0..10 {
        say(&mut ann, "bob", number).await;
    }
    hears(&mut bob, 0..10).await;
    bob.cut();
    ann.told("user-away").await;
    let mut other = Client::resume(&server, &pid, early.as_deref()).await;
    assert_ne!(other.id, id);
    ann.told("user-left").await;
    other.nothing_more().await;
    other.close().await;
    ann.close().await;
    server.finish().await;
}

#[tokio::test]
async fn what_does_not_fit_is_refused_rather_than_push_out_another() {
    let server = TestServer::with(&["--resume-seconds=10", "--resume-messages=8"]);
    let (mut ann, bob) = two(&server).await;
    let (pid, offset) = (bob.pid.clone().unwrap(), bob.offset.clone());
    bob.cut();
    ann.told("user-away").await;
    // The list that it has seen is held, too.
    for number in 0..7 {
        assert_eq!(say(&mut ann, "bob", number).await["ok"], true);
    }
    for _ in 0..3 {
        assert_eq!(say(&mut ann, "bob", 7).await["code"], "DELIVERY_FAILED");
    }
    let mut bob = Client::resume(&server, &pid, offset.as_deref()).await;
    ann.told("user-back").await;
    hears(&mut bob, 0..7).await;
    say(&mut ann, "bob", 7).await;
    hears(&mut bob, 7..8).await;
    bob.nothing_more().await;
    bob.close().await;
    ann.close().await;
    server.finish().await;
}

#[tokio::test]
async fn more_than_a_queue_holds_can_be_missed() {
    let server = TestServer::with(&["--resume-seconds=10", "--send-queue=8", "--messages-per-second=0"]);
    let (mut ann, bob) = two(&server).await;
    let (pid, offset) = (bob.pid.clone().unwrap(), bob.offset.clone());
    bob.cut();
    ann.told("user-away").await;
    for number in 0..200 {
        assert_eq!(say(&mut ann, "bob", number).await["ok"], true);
    }
    let mut bob = Client::resume(&server, &pid, offset.as_deref()).await;
    hears(&mut bob, 0..200).await;
    bob.close().await;
    ann.close().await;
    server.finish().await;
}

#[tokio::test]
async fn clients_that_cannot_come_back_are_gone_at_once() {
    let server = TestServer::with(&["--resume-seconds=10"]);
    let (mut ann, bob) = two(&server).await;
    let mut old = websocket(&server, "EIO=3").await;
    text(&mut old).await;
    assert_eq!(text(&mut old).await, "40");
    old.send(Message::text(r#"42["join-room","r","old"]"#)).await.unwrap();
    ann.told("user-joined").await;
    cut(old);
    assert_eq!(ann.told("user-left").await[0]["userId"], "old");
    let peer = Peer::join(&server, Wire::Topic, "r", "peer").await;
    ann.told("user-joined").await;
    let id = peer.id.clone();
    cut(peer.into_socket());
    assert_eq!(ann.told("user-left").await[0]["userId"], id);
    bob.close().await;
    ann.told("user-left").await;
    ann.close().await;
    server.finish().await;
}

#[tokio::test]
async fn a_polling_client_comes_back_too() {
    let server = TestServer::with(&["--resume-seconds=10"]);
    let mut ann = Client::joined(&server, "r", "ann").await;
    ann.told("room-users").await;
    let mut bob = Polling::connect(&server, "").await;
    let pid = bob.reply["pid"].as_str().unwrap().to_owned();
    bob.post(r#"42["join-room","r","bob"]"#).await;
    let users = bob.event("room-users").await;
    let offset = users.last().unwrap().as_str().unwrap().to_owned();
    ann.told("user-joined").await;
    bob.hang_up().await;
    ann.told("user-away").await;
    say(&mut ann, "bob", 0).await;
    let auth = json!({ "pid": pid, "offset": offset });
    let mut back = Polling::connect(&server, &auth.to_string()).await;
    assert_eq!(back.reply["pid"], pid.as_str());
    ann.told("user-back").await;
    assert_eq!(back.event("ice-candidate").await[0]["candidate"], 0);
    back.close().await;
    assert_eq!(ann.told("user-left").await[0]["reason"], "disconnected");
    ann.close().await;
    server.finish().await;
}

#[tokio::test]
async fn a_shutdown_waits_for_nobody_who_is_away() {
    let server = TestServer::with(&["--resume-seconds=60"]);
    let (ann, bob) = two(&server).await;
    ann.cut();
    bob.cut();
    server.until("both are away", |held| held.away == 2).await;
    assert!(server.stop().await);
}

/// A client of `/ws` that keeps what it needs to come back.
struct Typed {
    socket: crate::support::client::WebSocket,
    last: u64,
    token: Option<String>,
}

impl Typed {
    async fn open(server: &TestServer) -> Self {
        let mut client = Self { socket: open(server, "/ws").await, last: 0, token: None };
        assert_eq!(client.told("connection:ack").await["heartbeatSeconds"], 30);
        client
    }

    async fn joined(server: &TestServer, name: &str) -> Self {
        let mut client = Self::open(server).await;
        client.say("room:join", json!({ "roomId": "r", "user": { "id": name } })).await;
        let state = client.told("room:state").await;
        client.token = state["resumeToken"].as_str().map(str::to_owned);
        client
    }

    /// Comes back on a new connection: the answer.
    async fn resume(server: &TestServer, token: &str, last: u64) -> (Self, Value) {
        let mut client = Self::open(server).await;
        client.say("auth:request", json!({ "resumeToken": token, "lastSequence": last })).await;
        // What it is told is numbered as on the connection that it had.
        client.last = last.saturating_sub(1);
        let answer = client.told("auth:response").await;
        client.token = answer["resumeToken"].as_str().map(str::to_owned);
        (client, answer)
    }

    async fn say(&mut self, kind: &str, payload: Value) {
        self.socket.send(Message::text(json!({ "type": kind, "payload": payload }).to_string())).await.unwrap();
    }

    /// The next message, which must be of this type, and the next in number: its payload.
    async fn told(&mut self, kind: &str) -> Value {
        let mut message = told(&mut self.socket).await;
        assert_eq!(message["type"], kind, "{message}");
        if message["payload"]["recovered"] != false {
            self.last += 1;
            assert_eq!(message["sequence"], self.last, "{message}");
        }
        message["payload"].take()
    }

    async fn candidate(&mut self, to: &str, number: usize) {
        let payload = json!({ "candidate": number.to_string(), "sdpMid": "0", "sdpMLineIndex": 0, "targetUserId": to });
        self.say("ice:candidate", payload).await;
    }

    async fn hears(&mut self, numbers: std::ops::Range<usize>) {
        for number in numbers {
            assert_eq!(self.told("ice:candidate").await["candidate"], number.to_string());
        }
    }

    async fn close(mut self) {
        self.socket.close(None).await.ok();
        while message(&mut self.socket).await.is_ok() {}
    }
}

#[tokio::test]
async fn a_typed_client_comes_back_by_its_token_and_the_last_number() {
    let server = TestServer::with(&["--resume-seconds=10"]);
    let mut ann = Typed::joined(&server, "ann").await;
    let mut bob = Typed::joined(&server, "bob").await;
    ann.told("room:participant-joined").await;
    ann.candidate("bob", 0).await;
    bob.hears(0..1).await;
    let mut said = 1;
    let mut spent = String::new();
    for _ in 0..3 {
        let (token, last) = (bob.token.clone().unwrap(), bob.last);
        assert_ne!(token, spent, "each works once");
        cut(bob.socket);
        assert_eq!(ann.told("room:participant-away").await, json!({ "roomId": "r", "userId": "bob" }));
        for number in said..said + 20 {
            ann.candidate("bob", number).await;
        }
        server.until("bob is away", |held| held.away == 1).await;
        let answer;
        (bob, answer) = Typed::resume(&server, &token, last).await;
        assert_eq!((&answer["success"], &answer["recovered"]), (&json!(true), &json!(true)));
        assert_eq!(ann.told("room:participant-back").await, json!({ "roomId": "r", "userId": "bob" }));
        ann.candidate("bob", said + 20).await;
        bob.hears(said..said + 21).await;
        said += 21;
        bob.candidate("ann", said).await;
        ann.hears(said..said + 1).await;
        spent = token;
    }
    // One that was used is nobody's.
    let (mut other, answer) = Typed::resume(&server, &spent, 1).await;
    assert_eq!(answer["recovered"], false);
    other.say("ping", json!({})).await;
    other.close().await;
    bob.close().await;
    assert_eq!(ann.told("room:participant-left").await["reason"], "disconnected");
    ann.close().await;
    server.finish().await;
}

#[tokio::test]
async fn a_typed_client_that_missed_too_much_joins_afresh() {
    let server = TestServer::with(&["--resume-seconds=10", "--resume-messages=8"]);
    let mut ann = Typed::joined(&server, "ann").await;
    let mut bob = Typed::joined(&server, "bob").await;
    ann.told("room:participant-joined").await;
    let (token, early) = (bob.token.clone().unwrap(), bob.last);
    for number in 0..12 {
        ann.candidate("bob", number).await;
    }
    bob.hears(0..12).await;
    cut(bob.socket);
    ann.told("room:participant-away").await;
    let (back, answer) = Typed::resume(&server, &token, early).await;
    assert_eq!(answer["recovered"], false);
    assert_eq!(ann.told("room:participant-left").await["reason"], "timeout");
    back.close().await;
    ann.close().await;
    server.finish().await;
}

#[tokio::test]
async fn wires_come_back_to_each_other() {
    let server = TestServer::with(&["--resume-seconds=10"]);
    let mut ann = Client::joined(&server, "r", "ann").await;
    ann.told("room-users").await;
    let bob = Typed::joined(&server, "bob").await;
    ann.told("user-joined").await;
    let (token, last) = (bob.token.clone().unwrap(), bob.last);
    cut(bob.socket);
    assert_eq!(ann.told("user-away").await[0]["userId"], "bob");
    say(&mut ann, "bob", 0).await;
    let (mut bob, _) = Typed::resume(&server, &token, last).await;
    assert_eq!(ann.told("user-back").await[0]["userId"], "bob");
    assert_eq!(bob.told("ice:candidate").await["fromUserId"], "ann");
    let (pid, offset) = (ann.pid.clone().unwrap(), ann.offset.clone());
    ann.cut();
    bob.told("room:participant-away").await;
    bob.candidate("ann", 1).await;
    let mut ann = Client::resume(&server, &pid, offset.as_deref()).await;
    bob.told("room:participant-back").await;
    ann.told("ice-candidate").await;
    ann.close().await;
    bob.told("room:participant-left").await;
    bob.close().await;
    server.finish().await;
}
