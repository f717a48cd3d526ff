//! Engine.IO 4 and Socket.IO 5 as checked by the conformance suites of their authors, over both
//! transports.
//!
//! Rewritten from the specifications, since those suites need an echo server.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::TestServer;
use crate::support::engine::{ENGINES, Engine, Transport, payload};
use crate::support::raw::{Raw, TEXT, frame, handshake};

const HEARTBEATS: [&str; 2] = ["--ping-interval-ms=300", "--ping-timeout-ms=200"];
const V4: [(Transport, u8); 2] = [(Transport::WebSocket, 4), (Transport::Polling, 4)];

async fn get(server: &TestServer, path: &str) -> (u16, String) {
    let head = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    let response = Raw::sending(server.address(), head).await.response().await.expect("an answer");
    (response.status, response.text().to_owned())
}

/// Makes the server close a polling connection.
async fn forget(server: &TestServer, path: &str, close: &str) {
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        close.len()
    );
    Raw::sending(server.address(), head + close).await.response().await.expect("an answer");
}

#[tokio::test]
async fn polling_handshake_opens_a_session() {
    let server = TestServer::with(&HEARTBEATS);
    let (status, body) = get(&server, "/socket.io/?EIO=4&transport=polling").await;
    assert_eq!(status, 200);
    let open: Value =
        serde_json::from_str(body.strip_prefix('0').expect("an OPEN packet")).unwrap();
    assert!(open["sid"].as_str().is_some_and(|sid| !sid.is_empty()), "{open}");
    assert_eq!((&open["upgrades"], &open["pingInterval"]), (&json!(["websocket"]), &json!(300)));
    assert_eq!(open["pingTimeout"], 200);
    assert!(open["maxPayload"].is_number(), "{open}");
    forget(
        &server,
        &format!("/socket.io/?EIO=4&transport=polling&sid={}", open["sid"].as_str().unwrap()),
        "1",
    )
    .await;
    server.finish().await;
}

#[tokio::test]
async fn websocket_handshake_opens_a_session() {
    let server = TestServer::with(&HEARTBEATS);
    let mut raw = Raw::websocket(server.address(), "/socket.io/?EIO=4&transport=websocket").await;
    let open = raw.text().await.unwrap();
    let open: Value =
        serde_json::from_str(open.strip_prefix('0').expect("an OPEN packet")).unwrap();
    assert!(open["sid"].as_str().is_some_and(|sid| !sid.is_empty()), "{open}");
    assert_eq!((&open["upgrades"], &open["pingInterval"]), (&json!([]), &json!(300)));
    assert_eq!(open["pingTimeout"], 200);
    assert!(open["maxPayload"].is_number(), "{open}");
    drop(raw);
    server.finish().await;
}

#[tokio::test]
async fn invalid_handshakes_are_refused() {
    let server = TestServer::start();
    for query in [
        "EIO=abc&transport=polling",
        "EIO=4",
        "EIO=4&transport=abc",
        "EIO=4&transport=polling&sid=x",
    ] {
        assert_eq!(get(&server, &format!("/socket.io/?{query}")).await.0, 400, "{query}");
    }
    for method in ["POST", "PUT"] {
        let path = "/socket.io/?EIO=4&transport=polling";
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        );
        assert_eq!(
            Raw::sending(server.address(), head).await.response().await.unwrap().status,
            400,
            "{method}"
        );
    }
    for query in ["EIO=abc&transport=websocket", "EIO=4&transport=abc"] {
        let mut raw =
            Raw::sending(server.address(), handshake(&format!("/socket.io/?{query}"), "")).await;
        assert_eq!(raw.response().await.unwrap().status, 400, "{query}");
    }
    server.finish().await;
}

/// A ping is sent after the interval, not at once.
#[tokio::test]
async fn server_pings_after_the_interval() {
    let server = TestServer::with(&HEARTBEATS);
    for which in V4 {
        let began = Instant::now();
        let mut engine = Engine::connect(server.address(), which).await;
        for _ in 0..3 {
            engine.expect_event("2").await.unwrap_or_else(|| panic!("{which:?}: a heartbeat"));
            assert!(engine.send("3").await);
        }
        assert!(began.elapsed() >= Duration::from_millis(850), "{which:?}: {:?}", began.elapsed());
        engine.close().await;
    }
    server.finish().await;
}

#[tokio::test]
async fn connection_that_does_not_answer_a_ping_is_closed() {
    let server = TestServer::with(&HEARTBEATS);
    for which in V4 {
        let mut engine = Engine::connect(server.address(), which).await;
        while engine.next_event().await.is_some() {}
        assert_eq!(server.held().sessions, 0, "{which:?}");
    }
    server.finish().await;
}

#[tokio::test]
async fn close_packet_ends_the_connection() {
    let server = TestServer::start();
    let mut engine = Engine::connect(server.address(), (Transport::WebSocket, 4)).await;
    assert!(engine.send("1").await);
    assert_eq!(engine.next_event().await, None);
    let mut engine = Engine::connect(server.address(), (Transport::Polling, 4)).await;
    let path = engine.path(Transport::Polling);
    let mut poll = Raw::sending(
        server.address(),
        format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
    )
    .await;
    poll.until_read().await;
    engine.post("text/plain", "1").await;
    assert_eq!(
        poll.response().await.expect("an answer").status,
        200,
        "a poll that waits is answered"
    );
    assert_eq!(engine.poll().await.status, 400);
    assert!(!engine.send("40").await);
    server.finish().await;
}

#[tokio::test]
async fn payload_may_have_several_packets() {
    let server = TestServer::start();
    let mut engine = Engine::connect(server.address(), (Transport::Polling, 4)).await;
    let packets: Vec<String> =
        (1..=3).map(|number| format!(r#"42{number}["leave-room"]"#)).collect();
    let packets: Vec<&[u8]> = packets.iter().map(String::as_bytes).collect();
    assert_eq!(engine.post("text/plain", payload(4, &packets)).await.status, 200);
    let mut observed = String::new();
    while (1..=3).any(|number| !observed.contains(&format!("43{number}["))) {
        observed += &engine.next_event().await.expect("each of them is answered");
    }
    engine.close().await;
    server.finish().await;
}

/// The queued frames of a polling client arrive on the WebSocket that it upgrades to, once and in
/// order.
#[tokio::test]
async fn upgrade_moves_the_connection_with_its_queue() {
    const MANY: usize = 30;
    let server = TestServer::start();
    let address = server.address();
    let mut ann = crate::support::Client::joined(&server, "r", "ann").await;
    for revision in [3, 4] {
        let mut engine = Engine::connect(address, (Transport::Polling, revision)).await;
        engine.send(r#"42["join-room","r","odd"]"#).await;
        engine.expect_event("room-joined").await.expect("joined");
        let mut raw = Raw::websocket(address, &engine.path(Transport::WebSocket)).await;
        // A pending poll is answered when the probe arrives, so that the client can upgrade.
        let (poll, ()) = tokio::join!(engine.poll(), async {
            raw.send(frame(TEXT, "2probe")).await;
            assert_eq!(raw.text().await.as_deref(), Ok("3probe"));
        });
        assert_eq!(poll.text(), if revision == 3 { "1:6" } else { "6" });
        for number in 0..MANY {
            let sent = ann
                .ask(
                    "ice-candidate",
                    json!({ "targetId": "odd", "candidate": format!("c{number}") }),
                )
                .await;
            assert_eq!(sent["ok"], true, "{sent}");
        }
        raw.send(frame(TEXT, "5")).await;
        for number in 0..MANY {
            let text = raw.text().await.unwrap();
            assert!(text.contains(&format!(r#""candidate":"c{number}""#)), "{number}: {text}");
        }
        // The session id is no longer valid.
        assert_eq!(engine.poll().await.status, 400);
        let again = handshake(&engine.path(Transport::WebSocket), "");
        assert_eq!(Raw::sending(address, again).await.response().await.unwrap().status, 400);
        engine.take(raw);
        assert!(engine.answers().await);
        engine.close().await;
    }
    ann.close().await;
    server.finish().await;
}

#[tokio::test]
async fn connect_is_confirmed_with_an_id_in_each_namespace() {
    let server = TestServer::start();
    for which in V4 {
        let mut engine = Engine::open(server.address(), which).await;
        for (packet, reply) in [
            ("40", r#"40{"sid":""#),
            (r#"40/custom,{"token":"123"}"#, r#"40/custom,{"sid":""#),
            ("40/other", r#"40/other,{"sid":""#),
        ] {
            engine.send(packet).await;
            assert!(engine.expect_event(reply).await.is_some(), "{which:?} {packet}");
        }
        engine.close().await;
    }
    server.finish().await;
}

#[tokio::test]
async fn connection_without_connect_is_closed_in_time() {
    let server = TestServer::with(&["--handshake-timeout-seconds=1"]);
    for which in V4 {
        let mut engine = Engine::open(server.address(), which).await;
        while engine.next_event().await.is_some() {}
    }
    server.finish().await;
}

#[tokio::test]
async fn client_that_leaves_its_namespace_may_connect_again() {
    let server = TestServer::with(&HEARTBEATS);
    for which in V4 {
        let mut engine = Engine::connect(server.address(), which).await;
        engine.send("41").await;
        assert!(
            engine.expect_event("2").await.is_some(),
            "{which:?}: the connection is still there"
        );
        engine.send("3").await;
        engine.send("40").await;
        assert!(engine.expect_event("40{").await.is_some(), "{which:?}");
        assert!(engine.answers().await);
        engine.send("40/custom,").await;
        engine.expect_event("40/custom,{").await.expect("connected");
        engine.send("41/custom,").await;
        assert!(engine.answers().await, "{which:?}: the other namespace is not concerned");
        engine.close().await;
    }
    server.finish().await;
}

#[tokio::test]
async fn protocol_violations_close_the_connection() {
    let server = TestServer::start();
    for packet in ["4abc", "49", "42{}", "42[1]", r#"42abc["x"]"#, r#"451-["x""#, "x", ""] {
        for which in V4 {
            if packet.is_empty() && which.0 == Transport::Polling {
                // An empty body contains no packet.
                continue;
            }
            let mut engine = Engine::connect(server.address(), which).await;
            engine.send(packet).await;
            if packet.starts_with("45") {
                engine
                    .send(if which.0 == Transport::Polling { "bAQID" } else { "42[\"x\"]" })
                    .await;
            }
            assert!(!engine.answers().await, "{which:?} {packet:?}");
        }
    }
    server.finish().await;
}

/// Any namespace serves the same rooms; each is a session of its own.
#[tokio::test]
async fn namespaces_share_a_room() {
    let server = TestServer::start();
    let mut ann = crate::support::Client::joined(&server, "r", "ann").await;
    ann.next_event("room-users").await;
    for which in ENGINES {
        let mut engine = Engine::open(server.address(), which).await;
        engine.send("40/chat,").await;
        engine.expect_event("40/chat,").await.expect("connected");
        engine.send(r#"42/chat,7["join-room","r","bob"]"#).await;
        let observed = engine.expect_event(r#"42/chat,["room-users",[{"id":"ann""#).await;
        assert!(observed.is_some(), "{which:?}");
        assert_eq!(ann.next_event("user-joined").await[0]["userId"], "bob");
        let sent = ann.ask("offer", json!({ "targetId": "bob", "offer": 1 })).await;
        assert_eq!(sent["ok"], true);
        assert!(engine.expect_event(r#"42/chat,["offer",{"#).await.is_some(), "{which:?}");
        engine.send("41/chat,").await;
        assert_eq!(ann.next_event("user-left").await[0]["userId"], "bob");
        engine.close().await;
    }
    ann.close().await;
    server.finish().await;
}

#[tokio::test]
async fn fifth_namespace_is_refused() {
    let server = TestServer::start();
    for which in V4 {
        let mut engine = Engine::open(server.address(), which).await;
        for namespace in ["/a", "/b", "/c", "/d"] {
            engine.send(format!("40{namespace},")).await;
            assert!(engine.expect_event(&format!("40{namespace},{{")).await.is_some());
        }
        engine.send("40/e,").await;
        let refused = engine.expect_event("44/e,").await.expect("refused");
        assert!(refused.contains("LIMIT_REACHED"), "{refused}");
        engine.close().await;
    }
    server.finish().await;
}

#[tokio::test]
async fn room_limit_counts_all_namespaces_of_a_connection() {
    let server = TestServer::with(&["--max-rooms-per-connection=2"]);
    let join = async |engine: &mut Engine, namespace: &str, room: &str| {
        engine.send(format!("42{namespace}7[\"join-room\",\"{room}\"]")).await;
        let answer = engine.expect_event(&format!("43{namespace}7[")).await.expect("an answer");
        assert!(answer.contains("LIMIT_REACHED") || answer.contains(r#""ok":true"#), "{answer}");
        !answer.contains("LIMIT_REACHED")
    };
    for which in ENGINES {
        let mut engine = Engine::connect(server.address(), which).await;
        engine.send("40/chat,").await;
        engine.expect_event("40/chat,").await.expect("connected");
        assert!(
            join(&mut engine, "", "a").await && join(&mut engine, "/chat,", "b").await,
            "{which:?}"
        );
        assert!(
            !join(&mut engine, "/chat,", "c").await && !join(&mut engine, "", "c").await,
            "{which:?}"
        );
        assert!(join(&mut engine, "/chat,", "b").await, "{which:?}: it is in this room already");
        engine.send("41/chat,").await;
        assert!(
            join(&mut engine, "", "c").await,
            "{which:?}: rooms of a namespace that was left do not count"
        );
        engine.close().await;
    }
    server.finish().await;
}

/// An event with complete attachments is answered; one with missing attachments ends its connection
/// in time.
#[tokio::test]
async fn binary_events_wait_for_their_attachments() {
    let server = TestServer::with(&["--handshake-timeout-seconds=1"]);
    let event =
        r#"452-7["offer",{"offer":[{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]}]"#;
    let mut raw = Raw::websocket(server.address(), "/socket.io/?EIO=4&transport=websocket").await;
    raw.text().await.unwrap();
    raw.send(frame(TEXT, "40")).await;
    raw.text().await.unwrap();
    raw.send(frame(TEXT, event)).await;
    for _ in 0..2 {
        raw.send(frame(0x82, [1, 2, 3])).await;
    }
    let answer = raw.text().await.unwrap();
    assert!(answer.starts_with("437[") && answer.contains("INVALID_MESSAGE"), "{answer}");
    raw.send(frame(TEXT, event)).await;
    raw.send(frame(0x82, [1, 2, 3])).await;
    assert_eq!(raw.close_code().await, 1008, "the second attachment does not come");

    let mut engine = Engine::connect(server.address(), (Transport::Polling, 4)).await;
    engine.send(event).await;
    while engine.next_event().await.is_some() {}
    server.finish().await;
}

/// As the official Java client encodes attachments: a line break after 76 characters and at the
/// end.
#[tokio::test]
async fn base64_attachments_over_polling_may_have_line_breaks() {
    let server = TestServer::start();
    let event =
        r#"452-7["offer",{"offer":[{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]}]"#;
    for (revision, kind) in [(4, "b"), (3, "b4")] {
        let mut engine = Engine::connect(server.address(), (Transport::Polling, revision)).await;
        let attachments =
            [format!("{kind}AQ\nID\n"), format!("{kind}{}\r\nAQID\r\n", "AQID".repeat(19))];
        let packets =
            [event, &attachments[0], &attachments[1], r#"428["leave-room"]"#].map(str::as_bytes);
        assert_eq!(
            engine.post("text/plain", payload(revision, &packets)).await.status,
            200,
            "Engine.IO {revision}"
        );
        let answers = engine.expect_event("437[").await.expect("an answer");
        assert!(answers.contains("INVALID_MESSAGE"), "both attachments have come: {answers}");
        assert!(answers.contains("438["), "what follows them is read: {answers}");
        assert!(engine.answers().await);
        engine.close().await;
    }
    server.finish().await;
}

#[tokio::test]
async fn polling_response_has_at_most_sixteen_packets() {
    let server = TestServer::with(&["--messages-per-second=0"]);
    let mut ann = crate::support::Client::joined(&server, "r", "ann").await;
    let mut engine = Engine::connect(server.address(), (Transport::Polling, 4)).await;
    engine.send(r#"42["join-room","r","odd"]"#).await;
    engine.expect_event("room-joined").await.expect("joined");
    for number in 0..40 {
        ann.tell("ice-candidate", json!({ "targetId": "odd", "candidate": number })).await;
    }
    ann.nothing_more_but("user-joined").await;
    let mut sizes = Vec::new();
    while sizes.iter().sum::<usize>() < 40 {
        sizes.push(engine.next_event().await.expect("candidates").split('\x1e').count());
    }
    assert_eq!(sizes, [16, 16, 8]);
    engine.close().await;
    ann.close().await;
    server.finish().await;
}

#[tokio::test]
async fn first_subprotocol_is_chosen_on_every_endpoint() {
    let server = TestServer::start();
    let websocket = "/socket.io/?EIO=4&transport=websocket";
    for path in [websocket, "/signal", "/signal/", "/ws", "/ws/", "/ws/topic", "/ws/topic/"] {
        let offered = "Sec-WebSocket-Protocol: app.v2, app.v1\r\n";
        let mut raw = Raw::sending(server.address(), handshake(path, offered)).await;
        let response = raw.response().await.unwrap();
        assert_eq!(
            (response.status, response.header("sec-websocket-protocol")),
            (101, Some("app.v2")),
            "{path}"
        );
        let mut raw = Raw::sending(server.address(), handshake(path, "")).await;
        let response = raw.response().await.unwrap();
        assert_eq!(
            (response.status, response.header("sec-websocket-protocol")),
            (101, None),
            "{path}"
        );
    }
    server.finish().await;
}

#[tokio::test]
async fn handshake_without_a_revision_is_of_the_older_one() {
    let server = TestServer::start();
    let (status, body) = get(&server, "/socket.io/?transport=polling&b64=1").await;
    assert_eq!(status, 200);
    let (length, open) = body.split_once(':').expect("a packet with its length");
    assert!(open.starts_with("0{") && length.parse() == Ok(open.len()), "{body}");
    let open: Value = serde_json::from_str(&open[1..]).unwrap();
    let path = format!("/socket.io/?transport=polling&b64=1&sid={}", open["sid"].as_str().unwrap());
    assert_eq!(get(&server, &path).await, (200, "2:40".to_owned()));
    forget(&server, &path, "1:1").await;
    server.finish().await;
}

#[tokio::test]
async fn request_may_have_a_hundred_header_fields() {
    let server = TestServer::start();
    let fields: Vec<String> = (0..98).map(|number| format!("X-Forwarded-{number}: 1")).collect();
    let fields = fields.join("\r\n") + "\r\n";
    let request = |fields: &str| format!("GET /health HTTP/1.1\r\nHost: x\r\n{fields}\r\n");
    assert_eq!(
        Raw::sending(server.address(), request(&fields)).await.response().await.unwrap().status,
        200
    );
    server.finish().await;
}

/// A browser that joins the largest room sends an offer and its candidates to each peer at once.
#[tokio::test]
async fn joining_a_large_mesh_hits_no_rate_limit() {
    const OTHERS: usize = 49;
    let server = TestServer::start();
    let mut others = Vec::new();
    for number in 0..OTHERS {
        others.push(crate::support::Client::joined(&server, "r", &format!("p{number}")).await);
    }
    let mut joiner = crate::support::Client::joined(&server, "r", "joiner").await;
    for candidate in 0..11 {
        for number in 0..OTHERS {
            let to = format!("p{number}");
            if candidate == 0 {
                joiner.tell("offer", json!({ "targetId": to, "offer": "x".repeat(3000) })).await;
            } else {
                joiner
                    .tell("ice-candidate", json!({ "targetId": to, "candidate": candidate }))
                    .await;
            }
        }
    }
    joiner.next_event("room-users").await;
    joiner.nothing_more().await;
    joiner.close().await;
    for other in others {
        other.close().await;
    }
    server.finish().await;
}
