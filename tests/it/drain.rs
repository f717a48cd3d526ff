//! Graceful shutdown: every client is notified, one after the other, and no client delays it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use futures_util::{FutureExt, SinkExt, StreamExt};
use serde_json::json;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::support::TestServer;
use crate::support::client::{Client, WebSocket};
use crate::support::program::{Program, parlor};
use crate::support::protocol_peer::{PROTOCOLS, Peer, Protocol, message};
use crate::support::server::LIMIT;

fn start(flags: &[&str]) -> Program {
    let mut command = parlor();
    command.args(["--host=127.0.0.1", "--port=0"]).args(flags);
    Program::start(command)
}

async fn connect(address: SocketAddr, path: &str) -> WebSocket {
    tokio_tungstenite::connect_async(format!("ws://{address}{path}")).await.unwrap().0
}

/// Reads everything until the close, and returns it with the close code and its time.
async fn until_close(mut socket: WebSocket) -> (Vec<String>, Option<(u16, String)>, Instant) {
    let mut received = Vec::new();
    let reading = async {
        loop {
            match socket.next().await {
                Some(Ok(Message::Text(text))) => received.push(text.to_string()),
                Some(Ok(Message::Close(frame))) => {
                    let frame = frame.map(|frame| (frame.code.into(), frame.reason.to_string()));
                    break (received, frame, Instant::now());
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => break (received, None, Instant::now()),
            }
        }
    };
    tokio::time::timeout(LIMIT, reading).await.expect("the server closes")
}

#[tokio::test]
async fn each_protocol_has_its_own_shutdown_frame() {
    for protocol in PROTOCOLS {
        let server = TestServer::start();
        let ann = Peer::join(&server, protocol, "r", "ann").await;
        server.until("it has joined", |held| held.peers == 1).await;
        let stopping = tokio::spawn(server.stop());
        let (received, closed, _) = until_close(ann.into_socket()).await;
        if protocol == Protocol::SocketIo {
            assert!(received.last().unwrap().contains(r#""code":"SHUTTING_DOWN""#), "{received:?}");
            // No DISCONNECT packet, since official clients do not reconnect after one.
            assert!(!received.iter().any(|packet| packet.starts_with("41")), "{received:?}");
        } else {
            assert_eq!(closed, Some((1012, "SHUTTING_DOWN".to_owned())), "{protocol:?}");
        }
        assert!(stopping.await.unwrap());
    }
}

/// On several threads, where the reader of a connection may see its end before the writer has
/// written the last message.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn last_message_precedes_the_close() {
    const CLIENTS: usize = 60;
    let server = TestServer::start();
    let mut sockets = Vec::new();
    for index in 0..CLIENTS {
        sockets.push(Client::joined(&server, &index.to_string(), "ann").await.into_socket());
    }
    let stopping = tokio::spawn(server.stop());
    let received = join_all(sockets.into_iter().map(until_close)).await;
    let silent = received
        .iter()
        .filter(|(received, ..)| !received.iter().any(|packet| packet.contains("SHUTTING_DOWN")))
        .count();
    assert_eq!(silent, 0, "of {CLIENTS} clients were closed without a message");
    assert!(stopping.await.unwrap());
}

#[tokio::test]
async fn shutdown_answers_the_pending_poll() {
    for protocol in [3, 4] {
        let server = TestServer::start();
        let http = reqwest::Client::new();
        let open = server.url(&format!("/socket.io/?EIO={protocol}&transport=polling"));
        let opened = http.get(&open).send().await.unwrap().text().await.unwrap();
        let sid = opened.split(r#""sid":""#).nth(1).unwrap().split('"').next().unwrap();
        let poll = format!("{open}&sid={sid}");
        if protocol == 4 {
            http.post(&poll).body("40").send().await.unwrap();
        }
        server.until("it is connected", |held| held.sessions == 1).await;
        let fetch = async || http.get(&poll).send().await.unwrap().text().await.unwrap();
        while !fetch().await.contains("40") {}
        let waiting = {
            // On a separate connection; three round trips on the other one prove that the server
            // has read it.
            let (http, poll) = (reqwest::Client::new(), poll.clone());
            tokio::spawn(async move { http.get(poll).send().await.unwrap().text().await.unwrap() })
        };
        server.until("its poll is pending", |held| held.tasks >= 2).await;
        for _ in 0..3 {
            http.get(server.url("/healthz")).send().await.unwrap();
        }
        let stopping = tokio::spawn(server.stop());
        let received = waiting.await.unwrap();
        assert!(received.contains(r#"42["error",{"code":"SHUTTING_DOWN""#), "{received}");
        // Official clients would keep that event for their next connection.
        let close = if protocol == 3 { "1:1" } else { "1" };
        assert!(!received.ends_with(close), "{received}");
        assert_eq!(fetch().await, close);
        drop(http);
        assert!(stopping.await.unwrap());
    }
}

#[tokio::test]
async fn connections_close_one_by_one_while_new_ones_are_refused() {
    const CLIENTS: usize = 60;
    let program = start(&["--shutdown-seconds=4"]);
    let address = program.address();
    let mut sockets = Vec::new();
    for index in 0..CLIENTS {
        let mut socket = connect(address, &format!("/ws/{}", index % 3)).await;
        message(&mut socket).await.unwrap();
        sockets.push(socket);
    }
    let asked = Instant::now();
    program.signal("TERM");
    program.until_printed("shutting down");
    let meanwhile = async {
        let health = reqwest::get(format!("http://{address}/health")).await.unwrap();
        assert_eq!(health.status(), 503);
        let health: serde_json::Value = health.json().await.unwrap();
        assert_eq!(health["status"], "draining");
        assert_eq!(reqwest::get(format!("http://{address}/healthz")).await.unwrap().status(), 503);
        for path in ["/socket.io/?EIO=4&transport=websocket", "/ws", "/ws/t", "/signal?sessionId=s"]
        {
            let refused = tokio_tungstenite::connect_async(format!("ws://{address}{path}")).await;
            let Err(Error::Http(refused)) = refused else { panic!("{path}: {refused:?}") };
            assert_eq!(refused.status(), 503, "{path}");
            assert!(refused.headers().contains_key("retry-after"));
            let body: serde_json::Value =
                serde_json::from_slice(refused.body().as_deref().unwrap()).unwrap();
            assert_eq!(body["code"], "SHUTTING_DOWN", "{path}");
        }
        let polling = reqwest::get(format!("http://{address}/socket.io/?EIO=4&transport=polling"))
            .await
            .unwrap();
        assert_eq!(polling.status(), 503);
    };
    let (closed, ()) = tokio::join!(join_all(sockets.into_iter().map(until_close)), meanwhile);
    let mut times = Vec::new();
    for (_, closed, time) in &closed {
        assert_eq!(closed, &Some((1012, "SHUTTING_DOWN".to_owned())));
        times.push(*time);
    }
    // Sixty times 20 ms: half of the allowed time would be longer.
    let in_order_of_arrival = times.is_sorted();
    times.sort_unstable();
    let spread = times[CLIENTS - 1] - times[0];
    assert!(spread >= Duration::from_secs(1), "all at the same time: {spread:?}");
    for half in times.chunks(CLIENTS / 2) {
        let spread = half[half.len() - 1] - half[0];
        assert!(spread >= Duration::from_millis(300), "half of them at the same time: {spread:?}");
    }
    assert!(!in_order_of_arrival, "in random order, not in the order of connecting");
    assert_eq!(program.ended().code(), Some(0));
    assert!(asked.elapsed() < Duration::from_secs(4), "{:?}", asked.elapsed());
}

#[tokio::test]
async fn slow_consumers_do_not_delay_shutdown() {
    let program = start(&["--shutdown-seconds=3", "--send-queue=8", "--messages-per-second=0"]);
    let address = program.address();
    // One client of each kind of socket stops reading; another one sends to it until its queue is
    // full.
    let mut unread = connect(address, "/ws/r").await;
    message(&mut unread).await.unwrap();
    let mut unread_too = Client::connect_at(address).await;
    let mut talker = Client::connect_at(address).await;
    let users = talker.ask("join-room", json!("r")).await["users"].clone();
    let topic_peer = users[0]["userId"].as_str().unwrap().to_owned();
    unread_too.ask("join-room", json!({ "roomId": "r", "userId": "unread" })).await;
    let body = "x".repeat(60_000);
    for target in [topic_peer.as_str(), "unread"] {
        let full = async {
            while talker.ask("offer", json!({ "targetId": target, "offer": body })).await["ok"]
                == true
            {}
        };
        tokio::time::timeout(LIMIT, full).await.expect("its queue fills");
    }
    let asked = Instant::now();
    program.signal("TERM");
    assert_eq!(tokio::task::spawn_blocking(|| program.ended()).await.unwrap().code(), Some(0));
    assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
    drop((unread, unread_too, talker));
}

#[tokio::test]
async fn second_sigterm_or_zero_shutdown_time_ends_it_at_once() {
    for (flags, signals) in [(["--shutdown-seconds=60"], 2), (["--shutdown-seconds=0"], 1)] {
        let program = start(&flags);
        let address = program.address();
        // So many clients that closing all of them takes seconds.
        let sockets = join_all((0..100).map(|_| connect(address, "/ws/t"))).await;
        let asked = Instant::now();
        program.signal("TERM");
        program.until_printed("shutting down");
        if signals == 2 {
            program.signal("INT");
        }
        assert_eq!(tokio::task::spawn_blocking(|| program.ended()).await.unwrap().code(), Some(0));
        assert!(asked.elapsed() < Duration::from_millis(1_500), "{flags:?}: {:?}", asked.elapsed());
        drop(sockets);
    }
}

#[tokio::test]
async fn late_connect_is_not_refused_for_good() {
    let server = TestServer::start();
    let open = "/socket.io/?EIO=4&transport=websocket";
    let mut late = connect(server.address(), open).await;
    message(&mut late).await.unwrap();
    // So many other clients that the server still runs.
    let others = join_all((0..50).map(|_| connect(server.address(), "/ws/t"))).await;
    server.until("all sessions are open", |held| held.sessions == 50).await;
    let hub = Arc::clone(server.hub());
    let stopping = tokio::spawn(server.stop());
    let mut others = join_all(others.into_iter().map(until_close)).boxed();
    while !hub.is_draining() {
        tokio::select! {
            _ = &mut others => panic!("the connections are closed one after the other"),
            () = tokio::time::sleep(Duration::from_millis(1)) => {}
        }
    }
    late.send(Message::text("40")).await.unwrap();
    let (received, ..) = until_close(late).await;
    // The transport ends without CONNECT_ERROR, since official clients do not reconnect after one.
    assert!(!received.iter().any(|packet| packet.starts_with("44")), "{received:?}");
    others.await;
    assert!(stopping.await.unwrap());
}

#[tokio::test]
async fn client_admitted_during_shutdown_is_notified() {
    let server = TestServer::start();
    let address = server.address();
    let stopped = Arc::new(AtomicBool::new(false));
    // They connect during the shutdown: each is admitted and closed, or refused, and none hangs.
    let late = (0..8).map(|_| {
        let stopped = Arc::clone(&stopped);
        tokio::spawn(async move {
            let mut received = 0;
            while !stopped.load(Ordering::SeqCst) {
                match tokio_tungstenite::connect_async(format!("ws://{address}/ws/t")).await {
                    Ok((socket, _)) => {
                        let (_, closed, _) = until_close(socket).await;
                        received += usize::from(closed.is_some_and(|(code, _)| code == 1012));
                    }
                    // Refused with 503, and in the end because the port is closed.
                    Err(_) => tokio::task::yield_now().await,
                }
            }
            received
        })
    });
    let late: Vec<_> = late.collect();
    server.until("eight sessions are open", |held| held.sessions == 8).await;
    assert!(server.stop().await, "no state is left");
    stopped.store(true, Ordering::SeqCst);
    for comer in late {
        assert!(comer.await.unwrap() >= 1);
    }
}

#[tokio::test]
async fn peers_that_a_drain_disconnects_are_shown_as_away() {
    for protocol in PROTOCOLS {
        let server = TestServer::start();
        let ann = Peer::join(&server, protocol, "r", "ann").await;
        let bob = Peer::join(&server, protocol, "r", "bob").await;
        server.until("both have joined", |held| held.peers == 2).await;
        let stopping = tokio::spawn(server.stop());
        let (ann, bob) =
            tokio::join!(until_close(ann.into_socket()), until_close(bob.into_socket()));
        let messages: Vec<String> = ann.0.into_iter().chain(bob.0).collect();
        let count = |text: &str| messages.iter().filter(|message| message.contains(text)).count();
        // The peer that is disconnected second is notified about the first.
        let shown = usize::from(matches!(protocol, Protocol::SocketIo | Protocol::Envelope));
        assert_eq!((count("-away\""), count("-left\"")), (shown, 0), "{protocol:?}: {messages:?}");
        assert!(stopping.await.unwrap());
    }
}

#[tokio::test]
async fn peer_that_leaves_during_a_drain_has_left() {
    let server = TestServer::start();
    let mut ann = Client::joined(&server, "r", "ann").await;
    ann.next_event("room-users").await;
    let mut bob = Client::joined(&server, "r", "bob").await;
    ann.next_event("user-joined").await;
    server.hub().begin_drain();
    bob.ask("leave-room", json!("r")).await;
    assert_eq!(ann.next_event("user-left").await[0]["reason"], "left");
    ann.close().await;
    bob.close().await;
    server.finish().await;
}
