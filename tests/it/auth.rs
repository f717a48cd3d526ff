//! Tokens: who is let in, as whom, where, and until when, the same on every wire.

use serde_json::{Value, json};

use crate::support::TestServer;
use crate::support::tokens::{
    Entered, Issuer, SECRET, connect_socketio, enter, said, say, seconds_from_now, shake_hands, unsigned,
};
use crate::support::wire::{WIRES, Wire};

fn issuer() -> Issuer {
    Issuer::secret(SECRET)
}

fn server() -> TestServer {
    TestServer::with(&[&issuer().flag()])
}

async fn close(entered: Entered) {
    let mut socket = entered.socket;
    socket.close(None).await.ok();
    while said(&mut socket).await != "end" {}
}

/// Who is refused is told nothing but this, whatever is wrong.
async fn is_refused(server: &TestServer, wire: Wire, what: &str, token: Option<&str>) {
    let refusal = enter(server, wire, "r", token, json!({})).await.err();
    let refusal = refusal.unwrap_or_else(|| panic!("{wire:?}: {what} was let in"));
    let said: Value = match wire {
        Wire::SocketIo => serde_json::from_str(refusal.strip_prefix("44").expect("connect_error")).unwrap(),
        Wire::Envelope | Wire::Topic | Wire::Session => serde_json::from_str(&refusal).unwrap(),
    };
    let expected = match wire {
        Wire::SocketIo => json!({ "message": "UNAUTHORIZED: a valid token is required" }),
        Wire::Envelope => json!({
            "type": "auth:response", "timestamp": said["timestamp"], "sequence": 2,
            "payload": { "success": false, "error": { "code": "UNAUTHORIZED", "message": "a valid token is required" } },
        }),
        Wire::Topic | Wire::Session => json!({ "error": "a valid token is required", "code": "UNAUTHORIZED" }),
    };
    assert_eq!(said, expected, "{wire:?}: {what}");
}

#[tokio::test]
async fn a_good_token_lets_in_and_any_other_is_refused_in_the_same_words() {
    let (issuer, server) = (issuer(), server());
    let exp = seconds_from_now(3600.0);
    let claims = json!({ "sub": "ann", "exp": exp });
    let good = issuer.sign(&claims);
    let (head, signature) = good.rsplit_once('.').unwrap();
    let changed = issuer.sign(&json!({ "sub": "bob", "exp": exp }));
    let (changed, _) = changed.rsplit_once('.').unwrap();
    let bad = [
        ("signed with another secret", Issuer::secret("another secret of the same length!!").sign(&claims)),
        ("changed since", format!("{changed}.{signature}")),
        ("without its signature", format!("{head}.")),
        ("cut short", good[..good.len() - 1].to_owned()),
        ("of no algorithm", unsigned(&json!({ "alg": "none", "typ": "JWT" }), &claims)),
        ("of no algorithm, oddly spelt", unsigned(&json!({ "alg": "nOnE" }), &claims)),
        ("said to be of another algorithm", format!("{}{signature}", unsigned(&json!({ "alg": "HS384" }), &claims))),
        ("signed with a key pair", Issuer::ed().sign(&claims)),
        ("long expired", issuer.sign(&json!({ "sub": "ann", "exp": seconds_from_now(-31.0) }))),
        ("not yet good", issuer.sign(&json!({ "sub": "ann", "exp": exp, "nbf": seconds_from_now(60.0) }))),
        ("from the future", issuer.sign(&json!({ "sub": "ann", "exp": exp, "iat": seconds_from_now(60.0) }))),
        ("without sub", issuer.sign(&json!({ "exp": exp }))),
        ("without exp", issuer.sign(&json!({ "sub": "ann" }))),
        ("with an exp that is no number", issuer.sign(&json!({ "sub": "ann", "exp": "tomorrow" }))),
        ("with an exp before all time", issuer.sign(&json!({ "sub": "ann", "exp": -1 }))),
        ("with a sub that is no id", issuer.sign(&json!({ "sub": " ", "exp": exp }))),
        ("for an audience that nobody named", issuer.token("ann", &json!({ "aud": "someone else" }))),
        ("with rooms that are none", issuer.token("ann", &json!({ "rooms": [true] }))),
        ("with metadata that is no object", issuer.token("ann", &json!({ "metadata": "x" }))),
        ("with a capacity of nothing", issuer.token("ann", &json!({ "capacity": 0 }))),
        ("with an extension that is critical", {
            let head = json!({ "alg": "HS256", "crit": ["exp"] });
            Issuer::secret(SECRET).sign_with(&head, &claims)
        }),
        ("no token at all", "x".to_owned()),
        ("dots", "..".to_owned()),
    ];
    for wire in WIRES {
        close(enter(&server, wire, "r", Some(&good), json!({})).await.unwrap_or_else(|said| panic!("{wire:?} {said}")))
            .await;
        is_refused(&server, wire, "no token", None).await;
        for (what, token) in &bad {
            is_refused(&server, wire, what, Some(token)).await;
        }
    }
    server.finish().await;
}

#[tokio::test]
async fn clocks_may_differ_by_half_a_minute() {
    let (issuer, server) = (issuer(), server());
    for (what, claims) in [
        ("just expired", json!({ "exp": seconds_from_now(-20.0) })),
        ("good in a moment", json!({ "nbf": seconds_from_now(20.0), "iat": seconds_from_now(20.0) })),
        ("with times that have fractions", json!({ "exp": seconds_from_now(60.25), "iat": seconds_from_now(-1.75) })),
    ] {
        let entered = enter(&server, Wire::SocketIo, "r", Some(&issuer.token("ann", &claims)), json!({})).await;
        close(entered.unwrap_or_else(|said| panic!("{what}: {said}"))).await;
    }
    server.finish().await;
}

#[tokio::test]
async fn a_public_key_says_what_kind_of_signature_it_is_for() {
    let issuers = [Issuer::rsa(), Issuer::ec(), Issuer::ed()];
    let claims = json!({ "sub": "ann", "exp": seconds_from_now(3600.0) });
    for issuer in &issuers {
        let server = TestServer::with(&[&issuer.flag()]);
        for wire in WIRES {
            let entered = enter(&server, wire, "r", Some(&issuer.sign(&claims)), json!({})).await;
            close(entered.unwrap_or_else(|said| panic!("{:?} on {wire:?}: {said}", issuer.algorithm))).await;
            for other in issuers.iter().filter(|other| other.algorithm != issuer.algorithm) {
                is_refused(&server, wire, "another kind of key", Some(&other.sign(&claims))).await;
            }
            // The public key is no secret: whoever has it could sign, if it were taken for one.
            let trimmed = issuer.public.trim();
            for secret in [issuer.public.as_str(), trimmed, trimmed.lines().nth(1).unwrap()] {
                is_refused(&server, wire, "HS256 by the public key", Some(&Issuer::secret(secret).sign(&claims))).await;
            }
        }
        server.finish().await;
    }
}

#[tokio::test]
async fn a_token_is_taken_from_wherever_a_client_can_put_it() {
    let (issuer, server) = (issuer(), server());
    let token = issuer.token("ann", &json!({}));
    // In the handshake of Socket.IO, for clients that have no other place, and of the plain wires.
    for path in
        ["/socket.io/?EIO=4&transport=websocket", "/socket.io/?EIO=3&transport=websocket", "/ws", "/ws/r", "/signal"]
    {
        let and = if path.contains('?') { '&' } else { '?' };
        for (path, bearer) in [(format!("{path}{and}token={token}"), None), (path.to_owned(), Some(token.as_str()))] {
            let mut socket =
                shake_hands(&server, &path, bearer).await.unwrap_or_else(|said| panic!("{path}: {said:?}"));
            if path.contains("EIO=4") {
                said(&mut socket).await;
                say(&mut socket, "40").await;
                assert!(said(&mut socket).await.starts_with("40{"), "{path}");
            } else if path.contains("EIO=3") {
                said(&mut socket).await;
                assert_eq!(said(&mut socket).await, "40", "{path}");
            } else if path.starts_with("/ws?") || path == "/ws" {
                said(&mut socket).await;
                say(&mut socket, r#"{"type":"room:join","payload":{"roomId":"r"}}"#).await;
                assert!(said(&mut socket).await.contains(r#""userId":"ann""#), "{path}");
            }
            close(Entered { socket, answer: Value::Null }).await;
        }
    }
    // A bad one is refused where it is brought, even where it might come later.
    let (status, _) = shake_hands(&server, "/ws?token=x", None).await.expect_err("refused");
    assert_eq!(status, 401);
    server.finish().await;
}

#[tokio::test]
async fn a_token_may_come_with_polling() {
    let issuer = issuer();
    // The library keeps what it knows of a connection that never got in for as long.
    let server = TestServer::with(&[&issuer.flag(), "--handshake-timeout-seconds=1"]);
    let token = issuer.token("ann", &json!({}));
    let http = reqwest::Client::new();
    for (query, body, answer) in [
        (format!("&token={token}"), "40".to_owned(), "40{"),
        (String::new(), format!("40{}", json!({ "token": token })), "40{"),
        (String::new(), "40".to_owned(), "44{\"message\":\"UNAUTHORIZED: "),
    ] {
        let url = server.url(&format!("/socket.io/?EIO=4&transport=polling{query}"));
        let open = http.get(&url).send().await.unwrap().text().await.unwrap();
        let open: Value = serde_json::from_str(&open[1..]).unwrap();
        let url = format!("{url}&sid={}", open["sid"].as_str().unwrap());
        http.post(&url).body(body).send().await.unwrap();
        let told = http.get(&url).send().await.unwrap().text().await.unwrap();
        assert!(told.split('\u{1e}').any(|packet| packet.starts_with(answer)), "{told}");
        http.post(&url).body("1").send().await.unwrap();
    }
    drop(http);
    server.finish().await;
}

#[tokio::test]
async fn issuer_and_audience_must_be_the_ones_that_are_expected() {
    let issuer = issuer();
    let server =
        TestServer::with(&[&issuer.flag(), "--jwt-issuer=https://id.example.com", "--jwt-audience=calls,chats"]);
    let good = json!({ "iss": "https://id.example.com", "aud": ["mail", "chats"] });
    close(enter(&server, Wire::SocketIo, "r", Some(&issuer.token("ann", &good)), json!({})).await.ok().unwrap()).await;
    for (what, claims) in [
        ("another issuer", json!({ "iss": "https://id.example.org", "aud": "calls" })),
        ("no issuer", json!({ "aud": "calls" })),
        ("another audience", json!({ "iss": "https://id.example.com", "aud": "mail" })),
        ("no audience", json!({ "iss": "https://id.example.com" })),
    ] {
        is_refused(&server, Wire::SocketIo, what, Some(&issuer.token("ann", &claims))).await;
    }
    server.finish().await;
}

#[tokio::test]
async fn a_token_is_for_its_rooms_alone() {
    let (issuer, server) = (issuer(), server());
    for wire in WIRES {
        for (claims, allowed) in [
            (json!({}), true),
            (json!({ "room": "r" }), true),
            (json!({ "room": "R" }), false),
            (json!({ "rooms": ["a", "r"] }), true),
            (json!({ "rooms": ["a", "b"] }), false),
            (json!({ "rooms": [] }), false),
            (json!({ "rooms": "*" }), true),
            (json!({ "rooms": ["*"] }), true),
            (json!({ "room": "a", "rooms": ["r"] }), true),
        ] {
            let token = issuer.token("ann", &claims);
            match enter(&server, wire, "r", Some(&token), json!({})).await {
                Ok(entered) => {
                    assert!(allowed, "{wire:?}: let in by {claims}");
                    close(entered).await;
                }
                Err(said) => {
                    assert!(!allowed, "{wire:?}: refused by {claims}: {said}");
                    assert!(said.contains("FORBIDDEN"), "{wire:?}: {said}");
                }
            }
        }
    }
    server.finish().await;
}

#[tokio::test]
async fn a_client_is_the_person_of_its_token() {
    let (issuer, server) = (issuer(), server());
    let token = issuer.token("ann", &json!({}));
    for wire in [Wire::SocketIo, Wire::Envelope] {
        let refused = enter(&server, wire, "r", Some(&token), json!({ "userId": "bob" })).await.err().unwrap();
        assert!(refused.contains("FORBIDDEN") && refused.contains("the token is for another user"), "{refused}");
        for profile in [json!({}), json!({ "userId": "ann" })] {
            let entered = enter(&server, wire, "r", Some(&token), profile).await.ok().unwrap();
            let own = match wire {
                Wire::SocketIo => &entered.answer["ack"]["userId"],
                _ => &entered.answer["state"]["participants"][0]["userId"],
            };
            assert_eq!(own, "ann");
            close(entered).await;
        }
    }
    server.finish().await;
}

/// What a token says of a person wins over what the client says, and reaches those on other wires as well.
#[tokio::test]
async fn peers_are_told_of_a_person_what_the_token_says() {
    let (issuer, server) = (issuer(), server());
    let watching = issuer.token("watcher", &json!({}));
    let claims = json!({ "name": "Ann \"A\" Arbor", "metadata": { "role": "host", "team": 7, "name": "no" } });
    let token = issuer.token("ann", &claims);
    let said_of_itself = json!({ "name": "Mallory", "displayName": "Mallory", "role": "guest", "team": 8, "sub": "bob", "mood": "good" });
    for wire in [Wire::SocketIo, Wire::Envelope, Wire::Topic] {
        let mut watcher = enter(&server, Wire::SocketIo, "r", Some(&watching), json!({})).await.ok().unwrap();
        let entered = enter(&server, wire, "r", Some(&token), said_of_itself.clone()).await;
        let entered = entered.unwrap_or_else(|said| panic!("{wire:?}: {said}"));
        let joined = said(&mut watcher.socket).await;
        let joined: Value = serde_json::from_str(joined.strip_prefix("42").unwrap()).unwrap();
        let peer = &joined[1];
        for (key, value) in [
            ("name", json!("Ann \"A\" Arbor")),
            ("displayName", json!("Ann \"A\" Arbor")),
            ("role", json!("host")),
            ("team", json!(7)),
            ("mood", json!("good")),
            ("sub", if wire == Wire::Topic { json!("ann") } else { Value::Null }),
        ] {
            assert_eq!(peer[key], value, "{wire:?}: {peer}");
        }
        assert_eq!(peer["userId"] == "ann", wire != Wire::Topic, "{peer}");
        close(entered).await;
        close(watcher).await;
    }
    server.finish().await;
}

#[tokio::test]
async fn nobody_is_spoken_of_on_the_session_wire() {
    let (issuer, server) = (issuer(), server());
    let mut watcher =
        enter(&server, Wire::SocketIo, "r", Some(&issuer.token("watcher", &json!({}))), json!({})).await.ok().unwrap();
    let token = issuer.token("ann", &json!({ "name": "Ann", "metadata": { "x": 1 } }));
    let entered = enter(&server, Wire::Session, "r", Some(&token), json!({})).await.ok().unwrap();
    let joined = said(&mut watcher.socket).await;
    assert!(joined.contains("user-joined") && !joined.to_lowercase().contains("ann"), "{joined}");
    close(entered).await;
    close(watcher).await;
    server.finish().await;
}

#[tokio::test]
async fn a_token_sets_the_size_of_a_room_that_it_creates() {
    let issuer = issuer();
    let server = TestServer::with(&[&issuer.flag(), "--max-room-size=5"]);
    let enter = async |sub: &str, room: &str, capacity: u32| {
        let token = issuer.token(sub, &json!({ "capacity": capacity }));
        enter(&server, Wire::Envelope, room, Some(&token), json!({})).await
    };
    let capacity = |entered: &Entered| entered.answer["state"]["roomConfig"]["capacity"].clone();
    let first = enter("a", "r", 2).await.ok().unwrap();
    assert_eq!(capacity(&first), 2);
    // Who comes later changes nothing.
    let second = enter("b", "r", 4).await.ok().unwrap();
    assert_eq!(capacity(&second), 2);
    assert!(enter("c", "r", 4).await.err().unwrap().contains("ROOM_FULL"));
    let large = enter("d", "s", 6).await.ok().unwrap();
    assert_eq!(capacity(&large), 5);
    for entered in [first, second, large] {
        close(entered).await;
    }
    server.finish().await;
}

#[tokio::test]
async fn nothing_but_a_token_is_taken_on_ws_before_there_is_one() {
    let (issuer, server) = (issuer(), server());
    let mut socket = shake_hands(&server, "/ws", None).await.unwrap();
    said(&mut socket).await;
    for message in [
        json!({ "type": "room:join", "payload": { "roomId": "r" } }),
        json!({ "type": "room:state", "payload": { "roomId": "r" } }),
        json!({ "type": "room:leave", "payload": { "roomId": "r" } }),
        json!({ "type": "sdp:offer", "payload": { "sdp": "v=0" } }),
        json!({ "type": "router:capabilities", "payload": {} }),
    ] {
        say(&mut socket, message.to_string()).await;
        let answer: Value = serde_json::from_str(&said(&mut socket).await).unwrap();
        assert_eq!(answer["payload"]["code"], "UNAUTHORIZED", "{message} → {answer}");
    }
    say(&mut socket, r#"{"type":"ping","payload":{"n":1}}"#).await;
    assert!(said(&mut socket).await.contains("pong"));
    // A bad one, another bad one, and then a good one: the connection is the same.
    for token in ["x", ""] {
        say(&mut socket, json!({ "type": "auth:request", "payload": { "token": token } }).to_string()).await;
        assert!(said(&mut socket).await.contains(r#""success":false"#));
    }
    let correlation = "6f1c1d2e-0000-4000-8000-000000000000";
    let payload = json!({ "token": issuer.token("ann", &json!({})), "role": "host" });
    say(&mut socket, json!({ "type": "auth.request", "correlationId": correlation, "payload": payload }).to_string())
        .await;
    let answer: Value = serde_json::from_str(&said(&mut socket).await).unwrap();
    assert_eq!(answer["correlationId"], correlation);
    let payload = &answer["payload"];
    assert_eq!(
        (&payload["success"], &payload["userId"], &payload["role"]),
        (&json!(true), &json!("ann"), &json!("host"))
    );
    assert!(payload["expiresAt"].as_str().unwrap().ends_with('Z'), "{payload}");
    close(Entered { socket, answer: Value::Null }).await;
    server.finish().await;
}

#[tokio::test]
async fn a_client_of_ws_that_brings_no_good_token_is_closed_in_time() {
    let server = TestServer::with(&[&issuer().flag(), "--handshake-timeout-seconds=1"]);
    let mut socket = shake_hands(&server, "/ws", None).await.unwrap();
    said(&mut socket).await;
    // Neither of these is what is waited for.
    say(&mut socket, r#"{"type":"auth:request","payload":{"token":"x"}}"#).await;
    assert!(said(&mut socket).await.contains("UNAUTHORIZED"));
    say(&mut socket, r#"{"type":"room:join","payload":{"roomId":"r"}}"#).await;
    assert!(said(&mut socket).await.contains("UNAUTHORIZED"));
    assert_eq!(said(&mut socket).await, "close 1008 the first message took too long");
    drop(socket);
    server.finish().await;
}

#[tokio::test]
async fn a_connection_ends_when_its_token_does() {
    let (issuer, server) = (issuer(), server());
    for wire in WIRES {
        let room = format!("{wire:?}");
        let watching = issuer.token("watcher", &json!({}));
        let mut watcher = enter(&server, Wire::SocketIo, &room, Some(&watching), json!({})).await.ok().unwrap();
        let end = seconds_from_now(1.0);
        let token = issuer.token("ann", &json!({ "exp": end }));
        let mut entered = enter(&server, wire, &room, Some(&token), json!({})).await.ok().unwrap();
        assert!(said(&mut watcher.socket).await.contains("user-joined"));
        let last = said(&mut entered.socket).await;
        let late = seconds_from_now(0.0) - end;
        assert!((0.0..0.5).contains(&late), "{wire:?}: {late} s after its end");
        match wire {
            Wire::SocketIo => {
                assert_eq!(last, r#"42["error",{"code":"UNAUTHORIZED","message":"the token has expired"}]"#);
                assert_eq!(said(&mut entered.socket).await, "end");
            }
            Wire::Envelope => {
                assert!(last.contains(r#"{"type":"error","payload":{"code":"UNAUTHORIZED""#), "{last}");
                assert_eq!(said(&mut entered.socket).await, "close 1008 UNAUTHORIZED");
            }
            Wire::Topic | Wire::Session => assert_eq!(last, "close 1008 UNAUTHORIZED"),
        }
        drop(entered);
        let left = said(&mut watcher.socket).await;
        assert!(left.contains("user-left") && left.contains(r#""reason":"kicked""#), "{left}");
        close(watcher).await;
    }
    server.finish().await;
}

/// Renews, on the wires that can: what is answered.
async fn renew(wire: Wire, entered: &mut Entered, token: &str) -> String {
    let message = match wire {
        Wire::SocketIo => format!("421{}", json!(["auth", { "token": token }])),
        _ => json!({ "type": "auth:request", "payload": { "token": token } }).to_string(),
    };
    say(&mut entered.socket, message).await;
    said(&mut entered.socket).await
}

#[tokio::test]
async fn a_newer_token_of_the_same_person_keeps_a_connection_open() {
    let (issuer, server) = (issuer(), server());
    for wire in [Wire::SocketIo, Wire::Envelope] {
        let end = json!({ "exp": seconds_from_now(1.2) });
        let mut stays = enter(&server, wire, "r", Some(&issuer.token("ann", &end)), json!({}))
            .await
            .unwrap_or_else(|e| panic!("{e}"));
        let mut goes = enter(&server, wire, "s", Some(&issuer.token("ann", &end)), json!({})).await.ok().unwrap();

        let refused = renew(wire, &mut stays, &issuer.token("bob", &json!({}))).await;
        assert!(refused.contains("FORBIDDEN") && refused.contains("the token is for another user"), "{refused}");
        let refused = renew(wire, &mut stays, "x").await;
        assert!(refused.contains("UNAUTHORIZED") && refused.contains("a valid token is required"), "{refused}");
        let renewed = renew(wire, &mut stays, &issuer.token("ann", &json!({ "rooms": ["r", "t"] }))).await;
        assert!(renewed.contains(r#""success":true"#), "{renewed}");

        ended(&mut goes).await;
        // The one has ended by the token that the other had, too. It is still there, by the rooms of the newer token.
        let message = |room: &str| match wire {
            Wire::SocketIo => format!("422{}", json!(["join-room", { "roomId": room }])),
            _ => json!({ "type": "room:join", "payload": { "roomId": room } }).to_string(),
        };
        say(&mut stays.socket, message("s")).await;
        let refused = said(&mut stays.socket).await;
        assert!(refused.contains("the token does not allow this room"), "{refused}");
        say(&mut stays.socket, message("t")).await;
        let joined = said(&mut stays.socket).await;
        assert!(joined.contains("room-users") || joined.contains("room:state"), "{joined}");
        close(stays).await;
    }
    server.finish().await;
}

/// Waits until the server has ended a connection.
async fn ended(entered: &mut Entered) {
    loop {
        let said = said(&mut entered.socket).await;
        if said == "end" || said.starts_with("close") {
            return;
        }
    }
}

#[tokio::test]
async fn an_auth_event_that_cannot_be_read_says_so() {
    let (issuer, server) = (issuer(), server());
    let mut socket = connect_socketio(&server, Some(&issuer.token("ann", &json!({})))).await.unwrap();
    for (message, expected) in [
        (r#"420["auth"]"#, r#"430[{"ok":false,"success":false,"error":"token: missing","code":"INVALID_MESSAGE"}]"#),
        (
            r#"421["auth",{"token":7}]"#,
            r#"431[{"ok":false,"success":false,"error":"token: must be a string","code":"INVALID_MESSAGE"}]"#,
        ),
        (
            r#"42["auth",{"token":"x"}]"#,
            r#"42["error",{"code":"UNAUTHORIZED","message":"a valid token is required","event":"auth"}]"#,
        ),
    ] {
        say(&mut socket, message).await;
        assert_eq!(said(&mut socket).await, expected);
    }
    close(Entered { socket, answer: Value::Null }).await;
    server.finish().await;
}

/// Each costs a signature: who goes on is not let go on.
#[tokio::test]
async fn a_socketio_client_may_try_a_few_tokens_on_one_connection() {
    let (issuer, server) = (issuer(), server());
    let mut socket = shake_hands(&server, "/socket.io/?EIO=4&transport=websocket", None).await.unwrap();
    said(&mut socket).await;
    for token in ["x", "y", &issuer.token("ann", &json!({}))] {
        say(&mut socket, format!("40{}", json!({ "token": token }))).await;
        let answer = said(&mut socket).await;
        assert!(answer.starts_with(if token.len() == 1 { "44{" } else { "40{" }), "{answer}");
    }
    close(Entered { socket, answer: Value::Null }).await;

    let mut socket = shake_hands(&server, "/socket.io/?EIO=4&transport=websocket", None).await.unwrap();
    said(&mut socket).await;
    let mut refusals = 0;
    loop {
        // The server may have closed already.
        futures_util::SinkExt::send(&mut socket, tungstenite::Message::text(r#"40{"token":"x"}"#)).await.ok();
        match said(&mut socket).await.as_str() {
            "end" => break,
            refusal if refusal.starts_with("44{") => refusals += 1,
            close => assert!(close.starts_with("close"), "{close}"),
        }
    }
    assert!((3..=8).contains(&refusals), "{refusals}");
    server.finish().await;
}

#[tokio::test]
async fn where_no_tokens_are_required_any_is_welcome() {
    let server = TestServer::start();
    for wire in WIRES {
        close(enter(&server, wire, "r", Some("whatever"), json!({})).await.unwrap_or_else(|e| panic!("{wire:?} {e}")))
            .await;
    }
    let mut socket = connect_socketio(&server, None).await.unwrap();
    say(&mut socket, r#"420["auth",{"token":"x"}]"#).await;
    assert_eq!(said(&mut socket).await, r#"430[{"ok":true,"success":true}]"#);
    close(Entered { socket, answer: Value::Null }).await;
    server.finish().await;
}
