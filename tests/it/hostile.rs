//! Nothing that a client sends panics, hangs, or silences the server or another client.

use futures_util::{SinkExt, StreamExt};
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use crate::support::client::{text, websocket};
use crate::support::server::LIMIT;
use crate::support::{Client, TestServer};

#[tokio::test]
async fn each_wrong_request_is_answered_and_the_connection_stays() {
    let server = TestServer::start();
    let mut ann = Client::connect(&server).await;
    let long = "x".repeat(129);
    for (request, code) in [
        (json!(["join-room"]), "INVALID_MESSAGE"),
        (json!(["join-room", 1.5, true]), "INVALID_MESSAGE"),
        (json!(["join-room", null]), "INVALID_MESSAGE"),
        (json!(["join-room", { "roomId": long }]), "INVALID_MESSAGE"),
        (json!(["join-room", { "roomId": "a\u{7f}" }]), "INVALID_MESSAGE"),
        (json!(["join-room", { "roomId": "r", "about": "x".repeat(5000) }]), "PAYLOAD_TOO_LARGE"),
        (json!(["leave-room", "r"]), "NOT_IN_ROOM"),
        (json!(["leave-room", []]), "INVALID_MESSAGE"),
        (json!(["offer"]), "INVALID_MESSAGE"),
        (json!(["offer", { "offer": 1 }]), "NOT_IN_ROOM"),
        (json!(["offer", { "roomId": "r", "offer": 1 }]), "NOT_IN_ROOM"),
        (json!(["answer", "r"]), "INVALID_MESSAGE"),
        (json!(["ice-candidate", { "candidate": 1, "targetId": {} }]), "INVALID_MESSAGE"),
        (json!(["ice-candidate", { "candidate": "x".repeat(70_000) }]), "PAYLOAD_TOO_LARGE"),
        (json!(["no-such-event", 1]), "INVALID_MESSAGE"),
    ] {
        let answer = ann.ask_raw(&request.to_string()).await;
        assert_eq!(
            (&answer["ok"], &answer["success"], &answer["code"]),
            (&json!(false), &json!(false), &json!(code)),
            "{request}"
        );
        assert!(answer["error"].as_str().is_some_and(|text| !text.is_empty()));
    }
    // Without an acknowledgement the same is told as an event.
    ann.tell("offer", json!({ "roomId": "r", "offer": 1 })).await;
    let error = ann.told("error").await;
    assert_eq!(
        (&error[0]["code"], &error[0]["event"], &error[0]["roomId"]),
        (&json!("NOT_IN_ROOM"), &json!("offer"), &json!("r"))
    );
    ann.tell("no-such-event", json!(1)).await;
    ann.nothing_more().await;
    ann.close().await;
    server.finish().await;
}

#[tokio::test]
async fn what_is_deep_or_odd_is_relayed_or_refused_but_never_fatal() {
    let server = TestServer::start();
    let mut ann = Client::joined(&server, "r", "ann").await;
    let deep = format!("{}{}", "[".repeat(20_000), "]".repeat(20_000));
    assert_eq!(ann.ask_raw(&format!(r#"["offer",{{"offer":{deep}}}]"#)).await["ok"], true);
    assert_eq!(ann.ask_raw(r#"["offer",{"offer":1,"":{},"\u0000":1}]"#).await["ok"], true);
    assert_eq!(ann.ask_raw(r#"["offer",{"offer":{"_placeholder":true,"num":0}}]"#).await["ok"], true);
    // With an attachment: refused.
    ann.send(r#"451-7["offer",{"offer":{"_placeholder":true,"num":0}}]"#).await;
    let mut socket = ann.into_socket();
    socket.send(Message::binary(vec![1, 2, 3])).await.unwrap();
    let answer = loop {
        let frame = text(&mut socket).await;
        if let Some(answer) = frame.strip_prefix("437") {
            break answer.to_owned();
        }
    };
    assert!(answer.contains("INVALID_MESSAGE"), "{answer}");
    socket.close(None).await.unwrap();
    drop(socket);
    server.finish().await;
}

/// What breaks the protocol ends the connection that sent it, and no other.
#[tokio::test]
async fn what_is_no_protocol_ends_its_connection_alone() {
    let server = TestServer::start();
    let mut bystander = Client::joined(&server, "r", "bystander").await;
    bystander.told("room-users").await;
    for frame in [
        "",
        "x",
        "4",
        "42",
        "42{",
        "42[",
        "42[]",
        "42[1]",
        "42{}",
        "49",
        "4999999999999999999999[\"offer\"]",
        "45",
        "451-",
        "459999-[\"offer\"]",
        "40",
        "44",
        "6",
        "5",
        "1",
        "0{}",
        "41",
        "42/admin,[\"offer\"]",
        "40/admin",
        "4\u{1F600}",
        "42[\"\u{1F600}",
        "42[\"offer\",{\"offer\":\"\u{1F600}",
    ] {
        let mut client = Client::joined(&server, "r", "odd").await;
        bystander.told("user-joined").await;
        client.send(frame).await;
        // Either it is ended, or it still answers.
        let mut socket = client.into_socket();
        let answers = async {
            if socket.send(Message::text(r#"428["leave-room","x"]"#)).await.is_err() {
                return;
            }
            while let Some(Ok(frame)) = socket.next().await {
                if frame.to_text().is_ok_and(|text| text.starts_with("438")) {
                    return;
                }
            }
        };
        tokio::time::timeout(LIMIT, answers).await.unwrap_or_else(|_| panic!("silence after {frame:?}"));
        socket.close(None).await.ok();
        drop(socket);
        assert_eq!(bystander.told("user-left").await[0]["userId"], "odd", "after {frame:?}");
    }
    bystander.nothing_more().await;
    bystander.close().await;
    server.finish().await;
}

#[tokio::test]
async fn what_comes_before_its_time_is_no_harm() {
    let server = TestServer::start();
    for frame in [r#"42["join-room","r"]"#, "41", "2", "3", r#"43["x"]"#, "40/nowhere,"] {
        let mut socket = websocket(&server, "EIO=4").await;
        text(&mut socket).await;
        socket.send(Message::text(frame)).await.unwrap();
        socket.close(None).await.ok();
    }
    // Twice connected is connected once.
    let mut ann = Client::joined(&server, "r", "ann").await;
    ann.send("40").await;
    ann.told("room-users").await;
    ann.nothing_more().await;
    ann.close().await;
    server.finish().await;
}

#[tokio::test]
async fn what_is_too_large_for_the_transport_ends_the_connection() {
    let server = TestServer::start();
    let ann = Client::joined(&server, "r", "ann").await;
    let mut socket = ann.into_socket();
    // The server may reset while this is still being sent.
    socket.send(Message::text(format!("42[\"offer\",{{\"offer\":\"{}\"}}]", "x".repeat(300_000)))).await.ok();
    drop(socket);
    server.finish().await;
}

#[tokio::test]
async fn a_handshake_that_is_none_is_refused() {
    let server = TestServer::start();
    let http = reqwest::Client::new();
    let get = |path: &str| http.get(server.url(path));
    for path in [
        "/socket.io/",
        "/socket.io/?EIO=4",
        "/socket.io/?EIO=2&transport=polling",
        "/socket.io/?EIO=4&transport=carrier-pigeon",
        "/socket.io/?EIO=4&transport=websocket",
        "/socket.io/?EIO=4&transport=polling&sid=nobody",
        "/socket.io/?EIO=4&transport=polling&sid=AAAAAAAAAAAAAAAA",
        "/socket.io/?EIO=4&transport=polling&sid=",
    ] {
        let answer = get(path).send().await.unwrap();
        assert_eq!(answer.status(), 400, "{path}");
        let error: serde_json::Value = answer.json().await.unwrap();
        assert!(error["code"].is_number() && error["message"].is_string(), "{path}: {error}");
    }
    let post = http.post(server.url("/socket.io/?EIO=4&transport=polling")).body("40").send().await.unwrap();
    assert_eq!(post.status(), 400);
    drop(http);
    server.finish().await;
}

/// What another is told of a peer does not authorise anything.
#[tokio::test]
async fn a_connection_id_opens_nothing() {
    let server = TestServer::start();
    let ann = Client::joined(&server, "r", "ann").await;
    let http = reqwest::Client::new();
    let url = server.url(&format!("/socket.io/?EIO=4&transport=polling&sid={}", ann.id));
    assert_eq!(http.get(&url).send().await.unwrap().status(), 400);
    assert_eq!(http.post(&url).body("41").send().await.unwrap().status(), 400);
    let url = format!("ws://{}/socket.io/?EIO=4&transport=websocket&sid={}", server.address(), ann.id);
    assert!(tokio_tungstenite::connect_async(url).await.is_err());
    drop(http);
    ann.close().await;
    server.finish().await;
}
