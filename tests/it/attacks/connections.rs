//! Connections and sessions that one address opens, keeps or abandons to exhaust the limits.

use std::net::IpAddr;

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::ENDPOINTS;
use super::proxy_headers::{PROXY, open_handshake};
use crate::support::engine::{Engine, Transport, payload};
use crate::support::program::{Program, parlor};
use crate::support::raw::{Raw, Response, TEXT, frame};
use crate::support::resuming_client::{CLIENT_KINDS, ResumingClient};
use crate::support::scrape::Scrape;
use crate::support::tls::{Authority, Https, folder};
use crate::support::tokens::{Issuer, SECRET, seconds_from_now};
use crate::support::{Client, TestServer};

/// Address of the attacker; all other clients connect from 127.0.0.1.
const ATTACKER: &str = "127.0.0.2";

const POLLING: &str = "/socket.io/?EIO=4&transport=polling";

/// A path for each way to connect.
const NAMES: [&str; 3] = ["ann", "bob", "cat"];

/// Sessions can be resumed.
const RESUME: &str = "--resume-seconds=10";

fn attacker() -> IpAddr {
    ATTACKER.parse().unwrap()
}

fn get(path: &str, headers: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: x\r\n{headers}\r\n")
}

/// Sends a request over an open connection, and returns the response.
async fn ask(raw: &mut Raw, path: &str, headers: &str) -> Response {
    raw.send(get(path, headers)).await;
    raw.response().await.unwrap_or_else(|| panic!("{path} is answered"))
}

/// Opens an HTTP connection that is idle between two requests.
async fn idle(server: &TestServer, from: IpAddr) -> Raw {
    let mut raw = Raw::connect_from(from, server.address()).await;
    assert_eq!(ask(&mut raw, "/api/rooms", "").await.status, 200);
    raw
}

/// Opens a WebSocket from an address; returns the status if it is refused.
async fn websocket(server: &TestServer, from: &str, path: &str) -> Result<Raw, u16> {
    let (raw, response) = open_handshake(server, from, path, "").await;
    if response.status == 101 { Ok(raw) } else { Err(response.status) }
}

/// Opens a connection to `/ws` that has joined a room.
async fn envelope(server: &TestServer, from: &str, room: &str, name: &str) -> (Raw, Value) {
    let mut raw = websocket(server, from, "/ws").await.expect("the handshake is accepted");
    let join =
        json!({ "type": "room:join", "payload": { "roomId": room, "user": { "id": name } } });
    raw.send(frame(TEXT, join.to_string())).await;
    loop {
        let received: Value = serde_json::from_str(&raw.text().await.expect("an answer")).unwrap();
        if received["type"] != "connection:ack" {
            return (raw, received);
        }
    }
}

fn hits(scrape: &Scrape, limit: &str) -> u64 {
    scrape.count(&format!("parlor_limits_hit_total{{limit=\"{limit}\"}}"))
}

#[tokio::test]
async fn idle_http_connections_make_room() {
    for (limit, others) in [("--max-connections-per-ip=3", false), ("--max-connections=3", true)] {
        for path in ENDPOINTS {
            let server = TestServer::with(&[limit]);
            let mut idle = join_all((0..3).map(|_| idle(&server, attacker()))).await;
            // At the total limit the attacker's idle connection is closed, not the new one.
            let from = if others { "127.0.0.1" } else { ATTACKER };
            let socket = websocket(&server, from, path)
                .await
                .unwrap_or_else(|status| panic!("{path}: {status}"));
            let mut open = 0;
            for raw in &mut idle {
                raw.send(get("/healthz", "")).await;
                open += usize::from(raw.response().await.is_some());
            }
            assert_eq!(open, 2, "{limit} {path}: one was evicted");
            drop((idle, socket));
            server.finish().await;
        }
    }
}

#[tokio::test]
async fn idle_http2_connections_make_room() {
    let authority = Authority::new();
    let identity = authority.issue(&folder("connections-http2"));
    let server = TestServer::secure(&authority, &identity, &["--max-connections-per-ip=2"]);
    let connect = async || {
        let https =
            Https::connect(server.address(), authority.client(&[&rustls::version::TLS13]), true)
                .await;
        (https.get(&server.url("/api/rooms")).await.0, https)
    };
    let (mut kept, mut statuses) = (Vec::new(), Vec::new());
    for _ in 0..6 {
        let (status, https) = connect().await;
        statuses.push(status);
        kept.push(https);
    }
    assert_eq!(statuses, [200; 6]);
    // Four of them were closed.
    server.until("the others are closed", |held| held.tasks <= 4).await;
    drop(kept);
    server.finish().await;
}

/// The kernel queues accepted connections; the server accepts them one after the other.
#[tokio::test]
async fn idle_http_connections_free_descriptors() {
    let mut command = std::process::Command::new("sh");
    let program = parlor();
    let program = program.get_program().to_str().unwrap();
    command
        .arg("-c")
        .arg(format!("ulimit -n 100; exec {program} --host=127.0.0.1 --port=0 --sfu=off"));
    command.env_clear().current_dir(env!("CARGO_TARGET_TMPDIR"));
    let running = Program::start(command);
    let address = running.address();
    let silent = join_all((0..120).map(|_| Raw::connect_from(attacker(), address))).await;
    let answered = Raw::sending(address, get("/healthz", "")).await.response().await;
    assert_eq!(answered.map(|response| response.status), Some(200));
    running.until_printed("out of file descriptors");
    drop(silent);
    running.stop();
}

#[tokio::test]
async fn silent_connections_make_room() {
    let server = TestServer::with(&["--max-connections-per-ip=2"]);
    let mut silent =
        join_all((0..6).map(|_| Raw::connect_from(attacker(), server.address()))).await;
    // Half a request head is not a request.
    for raw in &mut silent {
        raw.send("GET /healthz HTTP/1.1\r\nHost:").await;
    }
    let socket = websocket(&server, ATTACKER, "/ws").await.expect("an idle connection is evicted");
    // They count after a second, and all but one exceed the limit.
    server.until("they are closed", |held| held.tasks <= 2).await;
    drop((silent, socket));
    server.finish().await;
}

#[tokio::test]
async fn health_is_answered_at_any_limit() {
    for limit in ["--max-connections-per-ip=1", "--max-connections=1"] {
        let server = TestServer::with(&[limit]);
        let held = websocket(&server, "127.0.0.1", "/ws").await.unwrap();
        for path in ["/healthz", "/health", "/metrics"] {
            let mut raw = Raw::connect(server.address()).await;
            let response = ask(&mut raw, path, "").await;
            assert_eq!(
                (response.status, response.header("connection")),
                (200, Some("close")),
                "{limit} {path}"
            );
            assert!(raw.rest().await.is_empty(), "the connection is closed");
        }
        let mut raw = Raw::connect(server.address()).await;
        let refused = ask(&mut raw, "/api/rooms", "").await;
        let status = if limit.contains("per-ip") { 429 } else { 503 };
        assert_eq!((refused.status, refused.header("connection")), (status, Some("close")));
        assert!(
            refused.text().contains("LIMIT_REACHED") && refused.header("retry-after").is_some()
        );
        assert!(raw.rest().await.is_empty(), "the connection is closed");
        drop(held);
        server.finish().await;
    }
}

#[tokio::test]
async fn pipelined_polling_handshakes_do_not_exhaust_the_limit() {
    let server = TestServer::with(&["--max-connections=20"]);
    for _ in 0..3 {
        let mut raw = Raw::connect_from(attacker(), server.address()).await;
        raw.send(get(POLLING, "").repeat(20)).await;
        for _ in 0..20 {
            assert_eq!(raw.response().await.unwrap().status, 200);
        }
        for path in ENDPOINTS {
            let socket = websocket(&server, "127.0.0.1", path).await;
            drop(socket.unwrap_or_else(|status| panic!("{path}: {status}")));
        }
    }
    assert!(hits(&Scrape::of(&server).await, "connections") >= 1);
    server.finish().await;
}

#[tokio::test]
async fn polling_sessions_without_connect_are_limited_per_address() {
    let server = TestServer::with(&["--max-unconnected-per-ip=3", "--handshake-timeout-seconds=4"]);
    let mut connected = Vec::new();
    for _ in 0..5 {
        connected.push(Engine::connect(server.address(), (Transport::Polling, 4)).await);
    }
    let mut raw = Raw::connect(server.address()).await;
    for number in 0..6 {
        let response = ask(&mut raw, POLLING, "").await;
        if number < 3 {
            assert_eq!(response.status, 200, "{number}");
            continue;
        }
        assert_eq!(
            (response.status, response.header("connection")),
            (429, Some("close")),
            "{number}"
        );
        assert!(
            response.text().contains("LIMIT_REACHED") && response.header("retry-after").is_some()
        );
        raw = Raw::connect(server.address()).await;
    }
    // Other addresses are not affected, and neither are WebSockets.
    let mut other = Raw::connect_from(attacker(), server.address()).await;
    assert_eq!(ask(&mut other, POLLING, "").await.status, 200);
    for path in ENDPOINTS {
        drop(
            websocket(&server, "127.0.0.1", path)
                .await
                .unwrap_or_else(|status| panic!("{path}: {status}")),
        );
    }
    assert_eq!(hits(&Scrape::of(&server).await, "unconnected_per_ip"), 3);
    server.until("they have timed out", |held| held.polling == 5).await;
    assert_eq!(ask(&mut raw, POLLING, "").await.status, 200);
    for engine in connected {
        engine.close().await;
    }
    drop((raw, other));
    server.finish().await;
}

#[tokio::test]
async fn connections_of_a_polling_session_count_as_part_of_it() {
    let server = TestServer::with(&["--max-connections-per-ip=1"]);
    for (revision, heartbeat) in [(3, b"2"), (4, b"3")] {
        let mut engine = Engine::connect(server.address(), (Transport::Polling, revision)).await;
        // A poll waits on one connection while other requests use further ones.
        assert!(engine.answers().await);
        let mut parts = Vec::new();
        for _ in 0..7 {
            let mut raw = Raw::connect(server.address()).await;
            let (path, body) = (engine.path(Transport::Polling), payload(revision, &[heartbeat]));
            let head = format!(
                "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n",
                body.len()
            );
            raw.send([head.as_bytes(), &body].concat()).await;
            parts.push(raw);
        }
        for raw in &mut parts {
            assert_eq!(raw.response().await.expect("it is answered").status, 200, "{revision}");
        }
        assert_eq!(websocket(&server, "127.0.0.1", "/ws").await.err(), Some(429));
        // An upgrade belongs to the session, too.
        let upgraded = websocket(&server, "127.0.0.1", &engine.path(Transport::WebSocket)).await;
        drop((upgraded.expect("an upgrade counts as part of its session"), parts));
        // The upgrade is not completed, and polling continues.
        engine.close().await;
        server.until("the session has ended", |held| held.polling == 0 && held.tasks == 0).await;
    }
    server.finish().await;
}

#[tokio::test]
async fn away_sessions_count_towards_the_limit() {
    for limit in ["--max-connections-per-ip=2", "--max-connections=2"] {
        let server = TestServer::with(&[limit, "--max-room-size=4", RESUME]);
        for number in 0..8 {
            let (ghost, received) =
                envelope(&server, ATTACKER, "r", &format!("ghost{number}")).await;
            assert_eq!(received["type"], "room:state", "{limit}: {received}");
            ghost.reset();
            server.until("it is away", |held| held.sessions == 0).await;
            assert!(server.held().away <= 2, "{limit}: {:?}", server.held());
        }
        let victim = Client::joined(&server, "r", "ann").await;
        victim.close().await;
        assert!(server.stop().await);
    }
}

#[tokio::test]
async fn resuming_takes_over_the_permit() {
    for kind in CLIENT_KINDS {
        let server =
            TestServer::with(&["--max-connections-per-ip=1", "--max-connections=1", RESUME]);
        let mut ann = ResumingClient::joined(&server, kind, "ann").await;
        for _ in 0..3 {
            let resume_point = ann.drop_connection().await;
            server.until("it is away", |held| held.away == 1).await;
            ann = ResumingClient::resume(&server, kind, &resume_point).await;
            assert!(ann.is_resumed, "{kind:?}");
            server.until("it is back", |held| held.away == 0 && held.sessions == 1).await;
            // There is one permit, and the session uses it.
            assert!(matches!(websocket(&server, ATTACKER, "/ws").await, Err(503)), "{kind:?}");
        }
        ann.close().await;
        server.finish().await;
    }
}

#[tokio::test]
async fn session_that_resumes_nothing_evicts_the_away_one() {
    for kind in CLIENT_KINDS {
        let server = TestServer::with(&["--max-connections-per-ip=1", RESUME]);
        let resume_point =
            ResumingClient::joined(&server, kind, "ann").await.drop_connection().await;
        server.until("it is away", |held| held.away == 1).await;
        let mut other = ResumingClient::connect(&server, kind, None, None).await.unwrap();
        other.join("elsewhere", "bob").await;
        server.until("it is evicted", |held| held.away == 0 && held.rooms == 1).await;
        other.close().await;
        server
            .until("all permits are released", |held| {
                held.sessions == 0 && held.polling == 0 && held.tasks == 0
            })
            .await;
        let late = ResumingClient::resume(&server, kind, &resume_point).await;
        assert!(!late.is_resumed, "{kind:?}");
        late.close().await;
        server.finish().await;
    }
}

/// Sessions beyond the total limit from one address, while clients of other addresses lose their
/// connections and resume.
#[tokio::test]
async fn away_sessions_of_one_address_do_not_evict_others() {
    let server = TestServer::with(&[RESUME, "--messages-per-second=0"]);
    let others = join_all(CLIENT_KINDS.map(async |kind| {
        let mut other = ResumingClient::connect(&server, kind, None, None).await.unwrap();
        other.join(NAMES[kind as usize], NAMES[kind as usize]).await;
        other
    }))
    .await;
    let mut resume_points = Vec::new();
    for other in others {
        resume_points.push((other.kind, other.drop_connection().await));
    }
    server.until("they are away", |held| held.away == CLIENT_KINDS.len()).await;
    for number in 0..1_050 {
        let (ghost, received) =
            envelope(&server, ATTACKER, &format!("flood{number}"), "ghost").await;
        assert_eq!(received["type"], "room:state", "{received}");
        ghost.reset();
    }
    server.until("all of them are away", |held| held.sessions == 0).await;
    assert_eq!(server.held().away, 1_000);
    for (kind, resume_point) in resume_points {
        let back = ResumingClient::resume(&server, kind, &resume_point).await;
        assert!(back.is_resumed, "{kind:?}");
        back.reset().await;
    }
    let scrape = Scrape::of(&server).await;
    assert!(
        (53..=60).contains(&hits(&scrape, "away_sessions")),
        "{}",
        hits(&scrape, "away_sessions")
    );
    assert!(server.stop().await);
}

#[tokio::test]
async fn invalid_tokens_are_limited_per_address() {
    let issuer = Issuer::secret(SECRET);
    let server = TestServer::with(&[&issuer.flag(), "--invalid-tokens-per-minute=3"]);
    for _ in 0..3 {
        assert_eq!(websocket(&server, ATTACKER, "/ws?token=x.y.z").await.err(), Some(401));
    }
    let good = issuer.sign(&json!({ "sub": "ann", "exp": seconds_from_now(60.0) }));
    for path in ["/ws?", "/ws/t?", "/signal?sessionId=s&", "/socket.io/?EIO=4&transport=websocket&"]
    {
        let refused = websocket(&server, ATTACKER, &format!("{path}token={good}")).await;
        assert_eq!(refused.err(), Some(429), "{path}: a valid token is not verified either");
        let others = websocket(&server, "127.0.0.1", &format!("{path}token={good}")).await;
        drop(others.unwrap_or_else(|status| panic!("{path}: {status}")));
    }
    for path in [POLLING, "/api/ice-servers?token=x.y.z"] {
        let mut raw = Raw::connect_from(attacker(), server.address()).await;
        let refused = ask(&mut raw, path, "").await;
        assert_eq!(refused.status, 429, "{path}");
        assert!(refused.header("retry-after").is_some());
    }
    // A connection that was open before is refused as well.
    let mut open = websocket(&server, ATTACKER, "/ws")
        .await
        .expect("a request without a token is not counted");
    open.text().await.unwrap();
    let auth = json!({ "type": "auth:request", "payload": { "token": "x.y.z" } }).to_string();
    open.send(frame(TEXT, auth)).await;
    let received = open.text().await.unwrap();
    assert!(received.contains("RATE_LIMITED") && received.contains("retryAfterMs"), "{received}");
    drop(open);
    assert!(hits(&Scrape::of(&server).await, "invalid_tokens_per_ip") >= 7);
    server.finish().await;
}

#[tokio::test]
async fn proxy_connection_counts_for_the_forwarded_client() {
    let server = TestServer::with(&["--max-connections-per-ip=1", "--trusted-proxies=127.0.0.2"]);
    let forwarded = |client: &str| format!("X-Forwarded-For: {client}\r\n");
    let mut pooled = Raw::connect_from(PROXY.parse().unwrap(), server.address()).await;
    for client in ["9.9.9.1", "9.9.9.2"] {
        assert_eq!(ask(&mut pooled, "/api/rooms", &forwarded(client)).await.status, 200);
    }
    // Between two requests the proxy's connection counts for neither client.
    let (first, response) = open_handshake(&server, PROXY, "/ws", &forwarded("9.9.9.1")).await;
    assert_eq!(response.status, 101);
    let (second, response) = open_handshake(&server, PROXY, "/ws", &forwarded("9.9.9.2")).await;
    assert_eq!(response.status, 101);
    assert_eq!(ask(&mut pooled, "/api/rooms", &forwarded("9.9.9.3")).await.status, 200);
    assert_eq!(ask(&mut pooled, "/api/rooms", &forwarded("9.9.9.1")).await.status, 429);
    drop((first, second, pooled));
    server.finish().await;
}

/// 200 clients behind one address, with default limits, connect at once over each transport.
#[tokio::test]
async fn two_hundred_clients_of_one_address_hit_no_default_limit() {
    let server = TestServer::start();
    let people = join_all((0..200).map(async |number| {
        let kind = CLIENT_KINDS[number % CLIENT_KINDS.len()];
        let mut person = ResumingClient::connect(&server, kind, None, None).await.unwrap();
        person.join(&format!("room{}", number / 4), &format!("person{number}")).await;
        person
    }))
    .await;
    let scrape = Scrape::of(&server).await;
    for limit in [
        "connections",
        "connections_per_ip",
        "unconnected_per_ip",
        "away_sessions",
        "invalid_tokens_per_ip",
    ] {
        assert_eq!(hits(&scrape, limit), 0, "{limit}");
    }
    join_all(people.into_iter().map(ResumingClient::close)).await;
    server.finish().await;
}
