//! Limits of operators: messages, rooms or connections beyond a limit are refused with its code and
//! counted; others pass.

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::support::TestServer;
use crate::support::protocol_peer::{PROTOCOLS, Peer, Protocol, next_json};
use crate::support::scrape::Scrape;

/// Sends a handshake with a header; returns the status, and the error if it is refused.
async fn shake_hands(
    server: &TestServer,
    path: &str,
    forwarded_for: Option<&str>,
) -> Result<Socket, (u16, Value)> {
    let mut request = format!("ws://{}{path}", server.address()).into_client_request().unwrap();
    if let Some(address) = forwarded_for {
        request.headers_mut().insert("x-forwarded-for", address.parse().unwrap());
    }
    match tokio_tungstenite::connect_async(request).await {
        Ok((socket, _)) => Ok(socket),
        Err(Error::Http(refused)) => {
            assert!(refused.headers().contains_key("retry-after"), "{refused:?}");
            let body = serde_json::from_slice(refused.body().as_deref().unwrap()).unwrap();
            Err((refused.status().as_u16(), body))
        }
        Err(error) => panic!("{path}: {error}"),
    }
}

type Socket = crate::support::client::WebSocket;

const PATHS: [&str; 4] =
    ["/socket.io/?EIO=4&transport=websocket", "/ws", "/ws/t", "/signal?sessionId=s"];
const POLLING: &str = "/socket.io/?EIO=4&transport=polling";

#[tokio::test]
async fn full_server_refuses_every_protocol() {
    let server = TestServer::with(&["--max-connections=1", "--handshake-timeout-seconds=1"]);
    for path in PATHS {
        let held = shake_hands(&server, path, None).await.unwrap();
        for other in PATHS {
            let (status, error) = shake_hands(&server, other, None).await.unwrap_err();
            assert_eq!((status, &error["code"]), (503, &json!("LIMIT_REACHED")), "{path} {other}");
        }
        let polling = reqwest::get(server.url(POLLING)).await.unwrap();
        assert_eq!(polling.status(), 503);
        assert!(polling.headers().contains_key("retry-after"));
        drop((held, polling));
        server.until("the permit is released", |held| held.sessions == 0 && held.tasks == 0).await;
    }
    // A polling session without CONNECT is evicted.
    assert_eq!(reqwest::get(server.url(POLLING)).await.unwrap().status(), 200);
    drop(shake_hands(&server, "/ws", None).await.unwrap());
    server.until("it is evicted", |held| held.polling == 0 && held.tasks == 0).await;
    // It also ends by itself, and is counted.
    assert_eq!(reqwest::get(server.url(POLLING)).await.unwrap().status(), 200);
    server.until("its session has ended", |held| held.polling == 0).await;
    let scrape = Scrape::of(&server).await;
    assert_eq!(scrape.count(r#"parlor_limits_hit_total{limit="connections"}"#), 21);
    assert_eq!(scrape.count(r#"parlor_errors_total{code="LIMIT_REACHED"}"#), 20);
    assert!(scrape.count(r#"parlor_limits_hit_total{limit="handshake_time"}"#) >= 1);
    server.finish().await;
}

#[tokio::test]
async fn limit_per_address_counts_clients_behind_a_proxy() {
    let server = TestServer::with(&["--max-connections-per-ip=1", "--trusted-proxies=127.0.0.1"]);
    for path in PATHS {
        let held = shake_hands(&server, path, Some("198.51.100.1")).await.unwrap();
        for received in
            ["198.51.100.1", "203.0.113.7, 198.51.100.1", "198.51.100.1:4711, 127.0.0.1"]
        {
            let (status, error) = shake_hands(&server, "/ws", Some(received)).await.unwrap_err();
            assert_eq!((status, &error["code"]), (429, &json!("LIMIT_REACHED")), "{received}");
        }
        let other = shake_hands(&server, path, Some("198.51.100.1, 198.51.100.2")).await.unwrap();
        drop((held, other));
        server
            .until("the permits are released", |held| held.sessions == 0 && held.tasks == 0)
            .await;
    }
    let scrape = Scrape::of(&server).await;
    assert_eq!(scrape.count(r#"parlor_limits_hit_total{limit="connections_per_ip"}"#), 12);
    server.finish().await;
}

#[tokio::test]
async fn forwarded_address_of_an_untrusted_peer_is_ignored() {
    let server = TestServer::with(&["--max-connections-per-ip=1"]);
    let held = shake_hands(&server, "/ws", Some("198.51.100.1")).await.unwrap();
    assert_eq!(shake_hands(&server, "/ws", Some("198.51.100.2")).await.unwrap_err().0, 429);
    drop(held);
    server.finish().await;
}

/// Sends a request that gets a reply, on each protocol.
async fn ask(peer: &mut Peer) -> Value {
    let message = match peer.protocol {
        Protocol::SocketIo => r#"427["leave-room","elsewhere"]"#.to_owned(),
        Protocol::Envelope => {
            json!({ "type": "room:leave", "payload": { "roomId": "elsewhere" }, "correlationId": ID }).to_string()
        }
        Protocol::Topic => json!({ "type": "offer", "to": "missing", "msgId": 7 }).to_string(),
        Protocol::Session => json!({ "type": "leave", "sessionId": "elsewhere" }).to_string(),
    };
    peer.send_raw(Message::text(message)).await;
    let answer = peer.read_raw().await;
    match peer.protocol {
        Protocol::SocketIo => {
            serde_json::from_str(answer.strip_prefix("437").expect("the acknowledgement")).unwrap()
        }
        _ => serde_json::from_str(&answer).unwrap(),
    }
}

const ID: &str = "6f1c0000-0000-4000-8000-000000000000";

#[tokio::test]
async fn excess_message_is_refused_with_retry_after() {
    // All protocols at once: each waits a second.
    let refusals = PROTOCOLS.map(async |protocol| {
        // One token per second, and a burst of four.
        let server = TestServer::with(&["--messages-per-second=1", "--message-burst=4"]);
        let mut ann = Peer::join(&server, protocol, "r", "ann").await;
        let mut refused = 0;
        let wait = loop {
            let answer = ask(&mut ann).await;
            let error = match protocol {
                Protocol::SocketIo => &answer[0],
                Protocol::Envelope => {
                    assert_eq!(answer["correlationId"], ID);
                    &answer["payload"]
                }
                Protocol::Topic => {
                    assert_eq!(answer["msgId"], 7);
                    &answer
                }
                Protocol::Session => {
                    assert_eq!(answer["sessionId"], "elsewhere");
                    &answer
                }
            };
            refused += 1;
            let expected = if protocol == Protocol::Topic { "dropped" } else { "RATE_LIMITED" };
            if error["code"] == expected {
                break error["retryAfterMs"].as_u64().expect("a delay");
            }
            assert!(refused <= 4, "{protocol:?}: {answer}");
        };
        assert!((1..=1000).contains(&wait), "{wait}");
        // A client that waits is served again.
        tokio::time::sleep(std::time::Duration::from_millis(wait)).await;
        assert!(!ask(&mut ann).await.to_string().contains("retryAfterMs"), "{protocol:?}");
        let scrape = Scrape::of(&server).await;
        assert_eq!(scrape.count(r#"parlor_limits_hit_total{limit="message_rate"}"#), 1);
        assert_eq!(scrape.count(r#"parlor_errors_total{code="RATE_LIMITED"}"#), 1);
        ann.close().await;
        server.finish().await;
    });
    futures_util::future::join_all(refusals).await;
}

#[tokio::test]
async fn browser_burst_is_admitted() {
    let server = TestServer::start();
    let mut ann = Peer::join(&server, Protocol::SocketIo, "r", "ann").await;
    let mut bob = Peer::join(&server, Protocol::SocketIo, "r", "bob").await;
    assert_eq!(bob.list, ["ann"]);
    ann.next_event().await;
    for number in 0..199 {
        bob.candidate("ann", Some(&number.to_string())).await;
    }
    for number in 0..199 {
        let observed = ann.next_event().await;
        assert!(format!("{observed:?}").contains(&format!("\"{number}\"")), "{observed:?}");
    }
    bob.close().await;
    ann.close().await;
    server.finish().await;
}

#[tokio::test]
async fn error_event_has_retry_after() {
    let server = TestServer::with(&["--messages-per-second=1", "--message-burst=1"]);
    let mut ann = Peer::join(&server, Protocol::SocketIo, "r", "ann").await;
    ann.send_raw(Message::text(r#"42["offer",{"roomId":"r","offer":1}]"#)).await;
    let error = ann.read_raw().await;
    let error: Value = serde_json::from_str(error.strip_prefix("42").unwrap()).unwrap();
    assert_eq!(
        (&error[0], &error[1]["code"], &error[1]["event"], &error[1]["roomId"]),
        (&json!("error"), &json!("RATE_LIMITED"), &json!("offer"), &json!("r"))
    );
    assert!(error[1]["retryAfterMs"].is_u64());
    ann.close().await;
    server.finish().await;
}

#[tokio::test]
async fn limits_of_rooms_and_metadata_are_counted() {
    let flags = [
        "--max-rooms=2",
        "--max-rooms-per-connection=1",
        "--max-room-size=1",
        "--max-metadata-bytes=1024",
    ];
    let server = TestServer::with(&flags);
    let mut ann = crate::support::Client::joined(&server, "a", "ann").await;
    let code = async |client: &mut crate::support::Client, join: Value| {
        client.ask("join-room", join).await["code"].as_str().unwrap().to_owned()
    };
    assert_eq!(code(&mut ann, json!("b")).await, "LIMIT_REACHED");
    let mut bob = crate::support::Client::connect(&server).await;
    assert_eq!(code(&mut bob, json!("a")).await, "ROOM_FULL");
    assert_eq!(
        code(&mut bob, json!({ "roomId": "b", "about": "x".repeat(1024) })).await,
        "PAYLOAD_TOO_LARGE"
    );
    assert_eq!(bob.ask("join-room", json!("b")).await["ok"], true);
    let mut carol = crate::support::Client::connect(&server).await;
    assert_eq!(code(&mut carol, json!("c")).await, "LIMIT_REACHED");
    let scrape = Scrape::of(&server).await;
    for limit in ["rooms_per_connection", "room_size", "metadata_bytes", "rooms"] {
        assert_eq!(
            scrape.count(&format!("parlor_limits_hit_total{{limit=\"{limit}\"}}")),
            1,
            "{limit}"
        );
    }
    for client in [ann, bob, carol] {
        client.close().await;
    }
    server.finish().await;
}

#[tokio::test]
async fn missing_first_message_is_counted() {
    let server = TestServer::with(&["--handshake-timeout-seconds=1"]);
    let mut silent = crate::support::protocol_peer::open(&server, "/ws").await;
    assert_eq!(next_json(&mut silent).await["type"], "connection:ack");
    assert_eq!(crate::support::protocol_peer::message(&mut silent).await, Err(1008));
    assert_eq!(
        Scrape::of(&server).await.count(r#"parlor_limits_hit_total{limit="handshake_time"}"#),
        1
    );
    drop(silent);
    server.finish().await;
}

#[tokio::test]
async fn connection_may_be_idle_between_two_requests() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let server = TestServer::with(&["--handshake-timeout-seconds=1"]);
    let mut connection = tokio::net::TcpStream::connect(server.address()).await.unwrap();
    let mut answer = [0; 1024];
    for rest in [1_500, 0] {
        connection.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        assert!(connection.read(&mut answer).await.unwrap() > 0, "the connection is still open");
        // Longer than the time limit of a request head: load balancers keep idle connections.
        tokio::time::sleep(std::time::Duration::from_millis(rest)).await;
    }
    let scrape = Scrape::of(&server).await;
    assert_eq!(scrape.count(r#"parlor_limits_hit_total{limit="handshake_time"}"#), 0);
    drop(connection);
    server.finish().await;
}
