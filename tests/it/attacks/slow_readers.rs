//! Slow consumers: disconnected in time on every protocol; their peers get errors and do not wait
//! for them.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::json;
use tokio::sync::Semaphore;

use super::UNLIMITED;
use crate::support::protocol_peer::{PROTOCOLS, Protocol};
use crate::support::raw::{Raw, TEXT, frame};
use crate::support::server::short;
use crate::support::{Bystander, Client, TestServer, attacked};

/// Maximum time until a slow consumer is disconnected, with a margin for a busy machine.
fn time_limit() -> Duration {
    short().queue_full + Duration::from_secs(15)
}

/// Interval between two reads of a slow consumer, and between two messages to it.
const PACE: Duration = Duration::from_millis(100);

/// Number of queues that are filled at a time: each takes megabytes.
static FILLING: Semaphore = Semaphore::const_new(3);

/// Opens a connection in a room with a small receive window, which is soon full.
async fn join_with_small_window(address: SocketAddr, protocol: Protocol, room: &str) -> Raw {
    let raw = joined(address, protocol, room).await;
    raw.narrow();
    raw
}

/// A connection that has joined a room.
pub(crate) async fn joined(address: SocketAddr, protocol: Protocol, room: &str) -> Raw {
    let (path, messages): (String, &[(String, &str)]) = match protocol {
        Protocol::SocketIo => {
            let join = format!("42{}", json!(["join-room", room, "slow"]));
            (super::SOCKET_IO.to_owned(), &[("40".to_owned(), "40{"), (join, "room-users")])
        }
        Protocol::Envelope => {
            let payload = json!({ "roomId": room, "user": { "id": "slow" } });
            (
                "/ws".to_owned(),
                &[(json!({ "type": "room:join", "payload": payload }).to_string(), "room:state")],
            )
        }
        // On `/ws/{topic}`, connecting joins.
        Protocol::Topic => (format!("/ws/{room}"), &[]),
        Protocol::Session => (format!("/signal?sessionId={room}"), &[]),
    };
    let mut raw = Raw::websocket(address, &path).await;
    for (message, answer) in messages {
        raw.send(frame(TEXT, message)).await;
        loop {
            let frame = raw
                .frame()
                .await
                .unwrap_or_else(|| panic!("{protocol:?}: the connection ended before {answer}"));
            let payload = String::from_utf8_lossy(&frame.payload);
            assert_ne!(
                frame.opcode,
                parlor_testing::frame::CLOSE,
                "{protocol:?}: closed before {answer}: {payload:?}"
            );
            if payload.contains(answer) {
                break;
            }
        }
    }
    while reqwest::get(format!("http://{address}/api/rooms/{room}")).await.unwrap().status() != 200
    {
    }
    raw
}

/// Connects a sender to a room with one other peer; returns it with the id of that peer.
pub(crate) async fn talker(server: &TestServer, room: &str) -> (Client, String) {
    let mut ann = Client::connect(server).await;
    let answer = ann.ask("join-room", json!({ "roomId": room, "userId": "ann" })).await;
    ann.next_event("room-users").await;
    (ann, answer["users"][0]["userId"].as_str().expect("a peer").to_owned())
}

/// Sends until the queue of the recipient is full. The server replies to requests in the meantime.
pub(super) async fn fill(ann: &mut Client, to: &str) {
    let _turn = FILLING.acquire().await.unwrap();
    let body = "x".repeat(60_000);
    loop {
        let answer = ann
            .ask("offer", json!({ "targetId": to, "offer": { "type": "offer", "sdp": body } }))
            .await;
        if answer["ok"] == false {
            // A recipient whose queue filled slowly may already be disconnected.
            assert!(
                ["DELIVERY_FAILED", "TARGET_NOT_FOUND"].contains(&answer["code"].as_str().unwrap()),
                "{answer}"
            );
            return;
        }
    }
}

/// Keeps sending slowly until the recipient has left; asserts the time limit.
pub(super) async fn until_it_has_left(mut ann: Client, to: &str, protocol: &str) {
    let began = Instant::now();
    let body = "x".repeat(2_000);
    loop {
        let answer = ann
            .ask("offer", json!({ "targetId": to, "offer": { "type": "offer", "sdp": body } }))
            .await;
        if answer["code"] == "TARGET_NOT_FOUND" {
            break;
        }
        assert!(began.elapsed() < time_limit(), "{protocol}: the connection is still open");
        tokio::time::sleep(PACE).await;
    }
    assert_eq!(ann.next_event("user-left").await[0]["userId"], to, "{protocol}");
    ann.nothing_more().await;
    ann.close().await;
}

async fn slow_consumer(server: &TestServer) {
    let stalls = PROTOCOLS.map(async |protocol| {
        let room = format!("stalled-{protocol:?}");
        let stalled = join_with_small_window(server.address(), protocol, &room).await;
        let (mut ann, to) = talker(server, &room).await;
        let began = Instant::now();
        fill(&mut ann, &to).await;
        let asked = Instant::now();
        for _ in 0..10 {
            ann.ask("leave-room", json!("elsewhere")).await;
        }
        // Waiting for the queue takes a second each time, and there are ten messages.
        assert!(
            asked.elapsed() < Duration::from_secs(5),
            "{protocol:?}: its peer is delayed: {:?}",
            asked.elapsed()
        );
        let left = ann.next_event("user-left").await;
        assert_eq!(
            (&left[0]["userId"], &left[0]["reason"]),
            (&json!(to), &json!("timeout")),
            "{protocol:?}"
        );
        assert!(began.elapsed() < time_limit(), "{protocol:?}: {:?}", began.elapsed());
        drop(stalled);
        ann.nothing_more().await;
        ann.close().await;
    });
    join_all(stalls).await;
}

/// Each small read is progress for a blocked write, but the queue stays full.
async fn slow_sender(server: &TestServer) {
    let trickles = PROTOCOLS.map(async |protocol: Protocol| {
        let room = format!("trickling-{protocol:?}");
        let mut slow = join_with_small_window(server.address(), protocol, &room).await;
        let (mut ann, to) = talker(server, &room).await;
        let reading = async {
            while slow.sip(512).await.is_some() {
                tokio::time::sleep(PACE).await;
            }
        };
        let talking = async {
            fill(&mut ann, &to).await;
            until_it_has_left(ann, &to, &format!("{protocol:?}")).await;
        };
        // Data in the kernel's buffers is still read after the other end was closed.
        tokio::select! {
            () = talking => {}
            () = async { reading.await; std::future::pending().await } => {}
        }
    });
    join_all(trickles).await;
}

/// A client that sends many requests and reads none of the replies.
#[cfg(target_os = "linux")]
async fn answers_that_are_not_read(server: &TestServer) {
    let requests = "GET /docs/openapi.json HTTP/1.1\r\nHost: x\r\n\r\n".repeat(500);
    let floods = (0..2).map(async |_| {
        let mut raw = Raw::connect(server.address()).await;
        raw.narrow();
        let began = Instant::now();
        // Inspecting the kernel's sockets takes longer the more connections there were.
        let mut pace = tokio::time::interval(Duration::from_millis(500));
        while raw.offer(requests.as_bytes()) && raw.is_served().await {
            assert!(began.elapsed() < time_limit(), "the server still replies");
            pace.tick().await;
        }
    });
    join_all(floods).await;
}

/// All protocols at once, since each takes as long as a reader may stall.
#[test]
fn slow_consumers_are_disconnected_and_no_peer_waits() {
    attacked(
        &["--send-queue=8", UNLIMITED],
        async |server: &TestServer, bystander: &mut Bystander| {
            #[cfg(target_os = "linux")]
            let answers = answers_that_are_not_read(server);
            #[cfg(not(target_os = "linux"))]
            let answers = std::future::ready(());
            tokio::join!(slow_consumer(server), slow_sender(server), answers, bystander.round());
        },
    );
}
