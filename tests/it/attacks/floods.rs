//! Messages faster than one may send them: on each wire the sender is told so, and who goes on is disconnected.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::slow_readers::joined;
use crate::support::engine::{Engine, Transport, payload};
use crate::support::raw::{PING, Raw, TEXT, frame};
use crate::support::server::short;
use crate::support::wire::{WIRES, Wire};
use crate::support::{Bystander, Client, TestServer, besieged};

/// How long a flood may last, with a margin for a busy machine.
fn in_time() -> Duration {
    short().flood + Duration::from_secs(15)
}

/// More than may be sent at once.
const BURST: usize = 300;

/// Four times as many a second as one may send: this many, this often.
const VOLLEY: usize = 20;
const PACE: Duration = Duration::from_millis(50);

/// A message of a wire that nobody but its sender hears of, if that.
fn message(wire: Wire, room: &str) -> String {
    match wire {
        Wire::SocketIo => format!("42{}", json!(["offer", { "targetId": "nobody", "offer": 1 }])),
        Wire::Envelope => json!({ "type": "room:state", "payload": { "roomId": room } }).to_string(),
        Wire::Topic => json!({ "type": "offer", "to": "nobody", "payload": 1 }).to_string(),
        Wire::Session => json!({ "type": "leave", "sessionId": "elsewhere" }).to_string(),
    }
}

/// How long to wait, by a message of the server that says so; `None` if it says something else.
fn refused(wire: Wire, text: &str) -> Option<u64> {
    let told: Value = serde_json::from_str(text.strip_prefix("42").unwrap_or(text)).ok()?;
    let error = match wire {
        Wire::SocketIo => &told[1],
        Wire::Envelope => &told["payload"],
        Wire::Topic | Wire::Session => &told,
    };
    let code = if wire == Wire::Topic { "dropped" } else { "RATE_LIMITED" };
    (error["code"] == code).then(|| error["retryAfterMs"].as_u64().expect("how long to wait"))
}

/// Floods and reads all answers, until the connection ends: how long that took, how often it was refused, and the code.
async fn flood(mut raw: Raw, wire: Wire, volley: &[u8]) -> (Duration, usize, u16) {
    let began = Instant::now();
    let mut refusals = 0;
    let mut pace = tokio::time::interval(PACE);
    loop {
        assert!(began.elapsed() < in_time(), "{wire:?}: still there");
        tokio::select! {
            told = raw.text() => match told {
                Ok(text) => refusals += usize::from(refused(wire, &text).is_some()),
                Err(code) => return (began.elapsed(), refusals, code),
            },
            // What does not go out now is not sent: the server need not read all of a flood.
            _ = pace.tick() => drop(raw.offer(volley)),
        }
    }
}

async fn who_keeps_flooding_is_disconnected(server: &TestServer) {
    let floods = WIRES.map(async |wire| {
        let room = format!("flooded-{wire:?}");
        let raw = joined(server.address(), wire, &room).await;
        let mut ann = Client::connect(server).await;
        let to = ann.ask("join-room", json!({ "roomId": room, "userId": "ann" })).await["users"][0]["userId"].take();
        let volley = frame(TEXT, message(wire, &room)).repeat(VOLLEY);
        let (lasted, refusals, code) = flood(raw, wire, &volley).await;
        assert!(refusals > 0, "{wire:?}: never told");
        assert!(lasted >= short().flood, "{wire:?}: after {lasted:?} only");
        assert!(wire == Wire::SocketIo || code == 1008, "{wire:?}: {code}");
        // Others are told once, and of nothing else.
        ann.told("room-users").await;
        assert_eq!(ann.told("user-left").await[0]["userId"], to, "{wire:?}");
        ann.nothing_more().await;
        ann.close().await;
    });
    join_all(floods).await;
}

/// A flood of requests is one of messages, too.
async fn who_floods_by_polling_is_disconnected(server: &TestServer) {
    let floods = [3, 4].map(async |revision| {
        let engine = Engine::connect(server.address(), (Transport::Polling, revision)).await;
        let packet = message(Wire::SocketIo, "");
        let body = payload(revision, &[packet.as_bytes(); VOLLEY]);
        let began = Instant::now();
        let posts = async {
            let mut pace = tokio::time::interval(PACE);
            while engine.post("text/plain", &body).await.status == 200 {
                assert!(began.elapsed() < in_time(), "still there");
                pace.tick().await;
            }
        };
        let polls = async {
            let mut refusals = 0;
            loop {
                let told = engine.poll().await;
                if told.status != 200 {
                    return refusals;
                }
                refusals += usize::from(told.text().contains("RATE_LIMITED"));
            }
        };
        let ((), refusals) = tokio::join!(posts, polls);
        assert!(refusals > 0 && began.elapsed() >= short().flood, "{refusals} refusals, {:?}", began.elapsed());
    });
    join_all(floods).await;
}

/// Who stops is served again, after the time it was told.
#[test]
fn who_waits_as_told_is_served_again() {
    besieged(&[], async |server: &TestServer, bystander: &mut Bystander| {
        let bursts = WIRES.map(async |wire| {
            let room = format!("burst-{wire:?}");
            let mut raw = joined(server.address(), wire, &room).await;
            raw.send(frame(TEXT, message(wire, &room)).repeat(BURST)).await;
            // Each has an answer, and the last of them that was refused says when to go on.
            let mut wait = None;
            let mut answers = 0;
            while answers < BURST {
                let text = raw.text().await.unwrap_or_else(|code| panic!("{wire:?} was closed with {code}"));
                // A topic says who one is and who is there before all that, Socket.IO the latter twice.
                let is_first = ["selfId", "peer-list", "room-joined"].iter().any(|first| text.contains(first));
                answers += usize::from(!is_first);
                wait = refused(wire, &text).or(wait);
            }
            let wait = wait.expect("so many are too many");
            assert!((1..5_000).contains(&wait), "{wire:?}: {wait} ms");
            // One that came after it may have passed: the next is due a hundredth of a second later.
            tokio::time::sleep(Duration::from_millis(wait + 10)).await;
            raw.send(frame(TEXT, if wire == Wire::SocketIo { r#"428["leave-room","x"]"# } else { "{}" })).await;
            let text = raw.text().await.unwrap_or_else(|code| panic!("{wire:?} was closed with {code}"));
            assert_eq!(refused(wire, &text), None, "{wire:?}: {text}");
        });
        tokio::join!(join_all(bursts), bystander.round());
    });
}

/// Pings are answered by the library, but they are messages all the same.
async fn floods_of_pings(server: &TestServer) {
    let floods = [Wire::Envelope, Wire::Topic, Wire::Session].map(async |wire| {
        let raw = joined(server.address(), wire, &format!("pinged-{wire:?}")).await;
        let (_, _, code) = flood(raw, wire, &frame(PING, [b'x'; 125]).repeat(VOLLEY)).await;
        assert_eq!(code, 1008, "{wire:?}");
    });
    join_all(floods).await;
}

/// All at once, since each takes as long as a flood may last.
#[test]
fn who_keeps_flooding() {
    besieged(&[], async |server: &TestServer, bystander: &mut Bystander| {
        tokio::join!(
            who_keeps_flooding_is_disconnected(server),
            who_floods_by_polling_is_disconnected(server),
            floods_of_pings(server),
            bystander.round()
        );
    });
}
