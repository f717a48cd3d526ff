//! Floods of messages, on every protocol: the sender gets errors, and is disconnected if it
//! continues.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::slow_readers::joined;
use crate::support::engine::{Engine, Transport, payload};
use crate::support::protocol_peer::{PROTOCOLS, Protocol};
use crate::support::raw::{PING, Raw, TEXT, frame};
use crate::support::server::short;
use crate::support::{Bystander, Client, TestServer, attacked};

/// Maximum duration of a flood, with a margin for a busy machine.
fn time_limit() -> Duration {
    short().flood + Duration::from_secs(15)
}

/// Number of messages beyond the burst.
const BURST: usize = 300;

/// Four times the permitted rate: messages per interval, and the interval.
const VOLLEY: usize = 20;
const PACE: Duration = Duration::from_millis(50);

/// Returns a message that no other client receives.
fn message(protocol: Protocol, room: &str) -> String {
    match protocol {
        Protocol::SocketIo => {
            format!("42{}", json!(["offer", { "targetId": "missing", "offer": 1 }]))
        }
        Protocol::Envelope => {
            json!({ "type": "room:state", "payload": { "roomId": room } }).to_string()
        }
        Protocol::Topic => json!({ "type": "offer", "to": "missing", "payload": 1 }).to_string(),
        Protocol::Session => json!({ "type": "leave", "sessionId": "elsewhere" }).to_string(),
    }
}

/// Returns the delay that a refusal demands; `None` if the message is not a refusal.
fn refused(protocol: Protocol, text: &str) -> Option<u64> {
    let received: Value = serde_json::from_str(text.strip_prefix("42").unwrap_or(text)).ok()?;
    let error = match protocol {
        Protocol::SocketIo => &received[1],
        Protocol::Envelope => &received["payload"],
        Protocol::Topic | Protocol::Session => &received,
    };
    let code = if protocol == Protocol::Topic { "dropped" } else { "RATE_LIMITED" };
    (error["code"] == code).then(|| error["retryAfterMs"].as_u64().expect("a delay"))
}

/// Floods and reads all replies until the connection ends. Returns the duration, the number of
/// refusals, and the close code.
async fn flood(mut raw: Raw, protocol: Protocol, volley: &[u8]) -> (Duration, usize, u16) {
    let began = Instant::now();
    let mut refusals = 0;
    let mut pace = tokio::time::interval(PACE);
    loop {
        assert!(began.elapsed() < time_limit(), "{protocol:?}: the connection is still open");
        tokio::select! {
            received = raw.text() => match received {
                Ok(text) => refusals += usize::from(refused(protocol, &text).is_some()),
                Err(code) => return (began.elapsed(), refusals, code),
            },
            // Messages that do not fit the kernel's buffer are not sent: the server need not read
            // all of a flood.
            _ = pace.tick() => drop(raw.offer(volley)),
        }
    }
}

async fn flooder_is_disconnected(server: &TestServer) {
    let floods = PROTOCOLS.map(async |protocol| {
        let room = format!("flooded-{protocol:?}");
        let raw = joined(server.address(), protocol, &room).await;
        let mut ann = Client::connect(server).await;
        let to = ann.ask("join-room", json!({ "roomId": room, "userId": "ann" })).await["users"][0]
            ["userId"]
            .take();
        let volley = frame(TEXT, message(protocol, &room)).repeat(VOLLEY);
        let (lasted, refusals, code) = flood(raw, protocol, &volley).await;
        assert!(refusals > 0, "{protocol:?}: no error");
        assert!(lasted >= short().flood, "{protocol:?}: after {lasted:?} only");
        assert!(protocol == Protocol::SocketIo || code == 1008, "{protocol:?}: {code}");
        // Other peers see the flooder leave once, and nothing else.
        ann.next_event("room-users").await;
        assert_eq!(ann.next_event("user-left").await[0]["userId"], to, "{protocol:?}");
        ann.nothing_more().await;
        ann.close().await;
    });
    join_all(floods).await;
}

/// Floods a polling session with requests, which count as messages.
async fn polling_flooder_is_disconnected(server: &TestServer) {
    let floods = [3, 4].map(async |revision| {
        let engine = Engine::connect(server.address(), (Transport::Polling, revision)).await;
        let packet = message(Protocol::SocketIo, "");
        let body = payload(revision, &[packet.as_bytes(); VOLLEY]);
        let began = Instant::now();
        let posts = async {
            let mut pace = tokio::time::interval(PACE);
            while engine.post("text/plain", &body).await.status == 200 {
                assert!(began.elapsed() < time_limit(), "the connection is still open");
                pace.tick().await;
            }
        };
        let polls = async {
            let mut refusals = 0;
            loop {
                let received = engine.poll().await;
                if received.status != 200 {
                    return refusals;
                }
                refusals += usize::from(received.text().contains("RATE_LIMITED"));
            }
        };
        let ((), refusals) = tokio::join!(posts, polls);
        assert!(
            refusals > 0 && began.elapsed() >= short().flood,
            "{refusals} refusals, {:?}",
            began.elapsed()
        );
    });
    join_all(floods).await;
}

/// A client that waits as long as the error demands is served again.
#[test]
fn client_that_respects_retry_after_is_served_again() {
    attacked(&[], async |server: &TestServer, bystander: &mut Bystander| {
        let bursts = PROTOCOLS.map(async |protocol| {
            let room = format!("burst-{protocol:?}");
            let mut raw = joined(server.address(), protocol, &room).await;
            raw.send(frame(TEXT, message(protocol, &room)).repeat(BURST)).await;
            // Each has a reply, and the last refusal contains the delay.
            let mut wait = None;
            let mut answers = 0;
            while answers < BURST {
                let text = raw
                    .text()
                    .await
                    .unwrap_or_else(|code| panic!("{protocol:?} was closed with {code}"));
                // A topic first sends `welcome` and `peer-list`; Socket.IO sends the list twice.
                let is_first =
                    ["selfId", "peer-list", "room-joined"].iter().any(|first| text.contains(first));
                answers += usize::from(!is_first);
                wait = refused(protocol, &text).or(wait);
            }
            let wait = wait.expect("a refusal");
            assert!((1..5_000).contains(&wait), "{protocol:?}: {wait} ms");
            // A later message may have passed: the next token is due a hundredth of a second later.
            tokio::time::sleep(Duration::from_millis(wait + 10)).await;
            raw.send(frame(
                TEXT,
                if protocol == Protocol::SocketIo { r#"428["leave-room","x"]"# } else { "{}" },
            ))
            .await;
            let text = raw
                .text()
                .await
                .unwrap_or_else(|code| panic!("{protocol:?} was closed with {code}"));
            assert_eq!(refused(protocol, &text), None, "{protocol:?}: {text}");
        });
        tokio::join!(join_all(bursts), bystander.round());
    });
}

/// The library answers pings, but they count as messages.
async fn floods_of_pings(server: &TestServer) {
    let floods = [Protocol::Envelope, Protocol::Topic, Protocol::Session].map(async |protocol| {
        let raw = joined(server.address(), protocol, &format!("pinged-{protocol:?}")).await;
        let (_, _, code) = flood(raw, protocol, &frame(PING, [b'x'; 125]).repeat(VOLLEY)).await;
        assert_eq!(code, 1008, "{protocol:?}");
    });
    join_all(floods).await;
}

/// All protocols at once, since each takes as long as a flood is tolerated.
#[test]
fn flooding_client_is_disconnected() {
    attacked(&[], async |server: &TestServer, bystander: &mut Bystander| {
        tokio::join!(
            flooder_is_disconnected(server),
            polling_flooder_is_disconnected(server),
            floods_of_pings(server),
            bystander.round()
        );
    });
}
