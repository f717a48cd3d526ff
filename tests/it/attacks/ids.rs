//! Invalid and confusable ids of rooms and peers, on every protocol and over REST.

use futures_util::SinkExt;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use super::UNLIMITED;
use crate::support::client::{WebSocket, text};
use crate::support::protocol_peer::{message, next_json, open};
use crate::support::raw::{Raw, handshake};
use crate::support::{Bystander, Client, TestServer, attacked};

/// JSON values that are not ids.
fn invalid_ids() -> Vec<String> {
    let controls = (0..0x20).chain(0x7f..0xa0).map(|code| format!("\"a\\u{code:04x}b\""));
    let texts =
        ["", " ", "\\t\\n", "\\u00a0", "\\u3000\\u2003", "\\ud800", "\\udc00\\ud800", "a\\udfffb"];
    let long = ["x", "é", "🎥", "\\u0000"].map(|text| format!("\"{}\"", text.repeat(129)));
    let values = ["null", "true", "false", "[]", "{}", r#"["r"]"#, r#"{"id":"r"}"#, r#"[["r"]]"#];
    let number = "1".repeat(129);
    controls
        .chain(texts.map(|text| format!("\"{text}\"")))
        .chain(long)
        .chain(values.map(str::to_owned))
        .chain([number, "\"x\"".replace('x', &"x".repeat(60_000))])
        .collect()
}

/// JSON values that are ids, with the id.
fn valid_ids() -> Vec<(String, String)> {
    let texts = [
        "a",
        "A",
        "а",
        "ａ",
        "à",
        "a\u{300}",
        "à\u{200b}",
        "\u{200b}a",
        "a\u{200d}",
        "a\u{202e}",
        "\u{feff}a",
        "\u{2060}",
        "a\u{fe0f}",
        "ß",
        "ẞ",
        "ss",
        "ı",
        "i",
        "İ",
        "__proto__",
        "constructor",
        "toString",
        "hasOwnProperty",
        "undefined",
        "NaN",
        "[object Object]",
        "true",
        "-",
        "0",
        "00",
        "\u{10ffff}",
        "\u{e000}",
        "a b",
        "a  b",
        "a\"b",
        "a\\b",
        "a/b",
        "a%62",
        "' or 1=1",
        "{}",
    ];
    let exact = texts.map(|text| (Value::from(text).to_string(), text.to_owned()));
    let long = ["x", "é", "🎥"].map(|text| (format!("\"{}\"", text.repeat(128)), text.repeat(128)));
    let numbers = ["-0", "1.0", "1e999", "1E+2", "123456789012345678901234567890", "-1.5"]
        .map(|text| (text.to_owned(), text.to_owned()));
    let trimmed = [
        ("\" trimmed \\n\"", "trimmed"),
        ("\"\\u0061\\u0061\"", "aa"),
        ("\"\\ud83c\\udfa5\"", "🎥"),
    ];
    let trimmed = trimmed.map(|(json, text)| (json.to_owned(), text.to_owned()));
    exact.into_iter().chain(long).chain(numbers).chain(trimmed).collect()
}

async fn ask(socket: &mut WebSocket, message: String) -> Value {
    socket.send(Message::text(message)).await.expect("the connection is open");
    next_json(socket).await
}

/// Returns an id as a path segment or a query value.
fn percent_encoded(id: &str) -> String {
    id.bytes().map(|byte| format!("%{byte:02x}")).collect::<Vec<_>>().concat()
}

async fn post_room(server: &TestServer, id: &str) -> (u16, Value) {
    let body = format!(r#"{{"roomId":{id}}}"#);
    let head = format!(
        "POST /api/rooms HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let response = Raw::sending(server.address(), head).await.response().await.expect("an answer");
    (response.status, serde_json::from_slice(&response.body).unwrap())
}

#[test]
fn invalid_ids_are_refused_on_every_protocol() {
    attacked(&[UNLIMITED], async |server: &TestServer, bystander: &mut Bystander| {
        let mut ann = Client::joined(server, "r", "ann").await;
        ann.next_event("room-users").await;
        let mut envelope = open(server, "/ws").await;
        next_json(&mut envelope).await;
        let mut session = open(server, "/signal").await;
        let mut attack = async || {
            for id in invalid_ids() {
                for request in [
                    format!(r#"["join-room",{{"roomId":{id}}}]"#),
                    format!(r#"["join-room",{{"room":{id}}}]"#),
                    format!(r#"["join-room",{{"roomId":"r","userId":{id}}}]"#),
                    format!(r#"["join-room",{{"roomId":"r","peerId":{id}}}]"#),
                    format!(r#"["leave-room",{{"roomId":{id}}}]"#),
                    format!(r#"["offer",{{"offer":1,"roomId":{id}}}]"#),
                    format!(r#"["offer",{{"offer":1,"targetId":{id}}}]"#),
                    format!(r#"["offer",{{"offer":1,"to":{id}}}]"#),
                ] {
                    let answer = ann.ask_raw(&request).await;
                    assert_eq!(answer["code"], "INVALID_MESSAGE", "{request:.80}");
                }
                for payload in [
                    format!(r#""room:join","payload":{{"roomId":{id}}}"#),
                    format!(r#""room:join","payload":{{"roomId":"r","user":{{"id":{id}}}}}"#),
                    format!(r#""room:state","payload":{{"roomId":{id}}}"#),
                    format!(r#""room:leave","payload":{{"roomId":{id}}}"#),
                    format!(r#""sdp:offer","payload":{{"sdp":"x","targetUserId":{id}}}"#),
                    format!(r#""ice:candidate","payload":{{"candidate":"x","roomId":{id}}}"#),
                ] {
                    let answer = ask(&mut envelope, format!(r#"{{"type":{payload}}}"#)).await;
                    assert_eq!(answer["payload"]["code"], "INVALID_MESSAGE", "{payload:.80}");
                }
                for kind in ["join", "leave", "hangup", "offer"] {
                    let answer = ask(
                        &mut session,
                        format!(r#"{{"type":"{kind}","sessionId":{id},"sdp":"x"}}"#),
                    )
                    .await;
                    assert_eq!(answer["code"], "INVALID_MESSAGE", "{kind} {id:.80}");
                }
                // If null counts as absent, the server assigns an id.
                if id != "null" {
                    let (status, error) = post_room(server, &id).await;
                    assert_eq!(
                        (status, &error["code"]),
                        (400, &json!("INVALID_MESSAGE")),
                        "{id:.80}"
                    );
                }
                // Only ids that a path can contain.
                if let Ok(Value::String(id)) = serde_json::from_str(&id)
                    && id.len() < 2_000
                {
                    let (id, empty) = (percent_encoded(&id), id.is_empty());
                    for path in [
                        format!("/ws/{id}"),
                        format!("/signal?sessionId={id}"),
                        format!("/api/rooms/{id}"),
                    ] {
                        let mut raw = Raw::sending(server.address(), handshake(&path, "")).await;
                        let status = raw.response().await.expect("an answer").status;
                        // Without a topic the path is the endpoint of another protocol.
                        assert!(
                            status == 400 || (empty && [101, 404].contains(&status)),
                            "{path:.80}: {status}"
                        );
                    }
                }
            }
        };
        tokio::join!(attack(), bystander.round());
        assert_eq!(
            ann.ask("offer", json!({ "roomId": "r", "offer": 1 })).await["ok"],
            true,
            "still in its room"
        );
        for mut socket in [envelope, session] {
            socket.close(None).await.ok();
            while message(&mut socket).await.is_ok() {}
        }
        ann.close().await;
    });
}

#[test]
fn rooms_that_look_alike_are_different_rooms() {
    attacked(&[UNLIMITED], async |server: &TestServer, bystander: &mut Bystander| {
        let mut expected: Vec<String> = Vec::new();
        for (id, exact) in valid_ids() {
            let (status, made) = post_room(server, &id).await;
            // Only the identical id matches.
            let is_new = !expected.contains(&exact);
            assert_eq!(status, if is_new { 201 } else { 409 }, "{id}: {made}");
            if is_new {
                assert_eq!(made["roomId"], exact.as_str());
                expected.push(exact);
            }
        }
        for (id, exact) in valid_ids() {
            let mut ann = Client::connect(server).await;
            let answer =
                ann.ask_raw(&format!(r#"["join-room",{{"roomId":{id},"userId":"ann"}}]"#)).await;
            assert_eq!((&answer["roomId"], &answer["users"]), (&json!(exact), &json!([])), "{id}");
            // The room is the same on every other protocol.
            let mut bob = open(server, "/ws").await;
            next_json(&mut bob).await;
            let state =
                ask(&mut bob, format!(r#"{{"type":"room:join","payload":{{"roomId":{id}}}}}"#))
                    .await;
            assert_eq!(state["payload"]["participants"].as_array().unwrap().len(), 2, "{id}");
            let mut cid = open(server, &format!("/ws/{}", percent_encoded(&exact))).await;
            next_json(&mut cid).await;
            assert_eq!(next_json(&mut cid).await["peers"].as_array().unwrap().len(), 2, "{id}");
            drop((bob, cid));
            ann.close().await;
        }
        bystander.round().await;
        for (_, exact) in valid_ids() {
            let path = server.url(&format!("/api/rooms/{}", percent_encoded(&exact)));
            // Empty rooms are removed with their last peer.
            while reqwest::get(&path).await.unwrap().status() != 404 {}
        }
    });
}

#[test]
fn peers_that_look_alike_are_different_peers() {
    attacked(
        &["--max-room-size=100", UNLIMITED],
        async |server: &TestServer, bystander: &mut Bystander| {
            let mut ann = Client::joined(server, "r", "ann").await;
            ann.next_event("room-users").await;
            let mut peers: Vec<(String, Client)> = Vec::new();
            for (id, exact) in valid_ids() {
                if peers.iter().any(|(other, _)| *other == exact) {
                    continue;
                }
                let mut peer = Client::connect(server).await;
                let answer =
                    peer.ask_raw(&format!(r#"["join-room",{{"roomId":"r","userId":{id}}}]"#)).await;
                assert_eq!(
                    (&answer["ok"], &answer["userId"]),
                    (&json!(true), &json!(exact)),
                    "{id}"
                );
                assert_eq!(
                    ann.next_event("user-joined").await[0]["userId"],
                    exact.as_str(),
                    "{id}"
                );
                peers.push((exact, peer));
            }
            bystander.round().await;
            // A signal reaches only the peer with the identical id.
            for (exact, peer) in peers {
                assert_eq!(
                    ann.ask("offer", json!({ "targetId": exact, "offer": exact })).await["ok"],
                    true
                );
                let mut socket = peer.into_socket();
                let offer = loop {
                    let text = text(&mut socket).await;
                    if text.starts_with(r#"42["offer""#) {
                        break text;
                    }
                };
                assert!(offer.contains(&json!(exact).to_string()), "{offer}");
            }
            ann.close().await;
        },
    );
}
