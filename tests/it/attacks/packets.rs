//! Truncated and inconsistent Engine.IO and Socket.IO packets, over both transports and in both
//! revisions.

use futures_util::future::join_all;
use serde_json::json;

use super::UNLIMITED;
use crate::support::engine::{ENGINES, Engine, Transport, payload};
use crate::support::raw::Raw;
use crate::support::{Bystander, Client, TestServer, attacked};

/// Valid packets.
const GOOD: [&str; 14] = [
    "40",
    r#"40{"token":"é"}"#,
    "40/admin,",
    "41",
    r#"42["join-room",{"roomId":"r","userId":"é🎥"}]"#,
    r#"42["join-room","r","ü"]"#,
    r#"4212["offer",{"targetId":"🎥","offer":{"sdp":"é"}}]"#,
    r#"42/admin,1["offer",1]"#,
    r#"431["x"]"#,
    r#"451-["offer",{"offer":{"_placeholder":true,"num":0}}]"#,
    r#"461-1[{"_placeholder":true,"num":0}]"#,
    r#"44"é""#,
    "2probe",
    "3",
];

/// Sends a packet on a connection that replies; opens a new one if it no longer does.
async fn survive(server: &TestServer, engine: &mut Engine, which: (Transport, u8), sent: &[u8]) {
    engine.send(sent).await;
    if !engine.answers().await {
        std::mem::replace(engine, Engine::connect(server.address(), which).await).close().await;
    }
}

#[test]
fn packets_truncated_at_every_byte_affect_only_their_connection() {
    attacked(&[UNLIMITED], async |server: &TestServer, bystander: &mut Bystander| {
        let attacks = ENGINES.map(async |which| {
            let mut engine = Engine::connect(server.address(), which).await;
            let binary = if which.1 == 3 { "b4AQID" } else { "bAQID" };
            for packet in GOOD.into_iter().chain([binary]) {
                // Also within a character: then the packet is not text any more.
                for cut in 0..=packet.len() {
                    survive(server, &mut engine, which, &packet.as_bytes()[..cut]).await;
                }
            }
            engine.close().await;
        });
        tokio::join!(join_all(attacks), bystander.round());
    });
}

#[test]
fn payloads_truncated_at_every_byte_affect_only_their_connection() {
    attacked(&[UNLIMITED], async |server: &TestServer, bystander: &mut Bystander| {
        for revision in [3, 4] {
            let which = (Transport::Polling, revision);
            let packets =
                ["2", r#"42["leave-room","é🎥"]"#, r#"421["leave-room"]"#].map(str::as_bytes);
            let whole = payload(revision, &packets);
            let mut engine = Engine::connect(server.address(), which).await;
            for cut in 0..whole.len() {
                engine.post("text/plain", &whole[..cut]).await;
                if !engine.answers().await {
                    std::mem::replace(&mut engine, Engine::connect(server.address(), which).await)
                        .close()
                        .await;
                }
            }
            // A payload in several fragments is valid.
            let head = format!("POST {} HTTP/1.1\r\nHost: x\r\n", engine.path(Transport::Polling));
            let mut raw =
                Raw::sending(server.address(), format!("{head}Transfer-Encoding: chunked\r\n\r\n"))
                    .await;
            for byte in &whole {
                raw.send([b"1\r\n", [*byte].as_slice(), b"\r\n"].concat()).await;
            }
            raw.send("0\r\n\r\n").await;
            assert_eq!(raw.response().await.unwrap().status, 200, "revision {revision}");
            assert!(engine.expect_event("431[").await.is_some(), "revision {revision}");
            engine.close().await;
        }
        bystander.round().await;
    });
}

#[test]
fn inconsistent_payloads_affect_only_their_connection() {
    const TEXT: &str = "text/plain";
    const BINARY: &str = "application/octet-stream";
    let lengths: [&[u8]; 24] = [
        b"0:",
        b"1:",
        b"5:4",
        b"99999999999999999999:4x",
        b"18446744073709551615:4",
        b"-1:4",
        b"1e3:4",
        b":4",
        b":",
        b"4",
        b"3:42[",
        b"1:\xc3\xa9",
        b"2:\xc3\xa9",
        b"1000000:x",
        b" 2:40",
        b"+2:40",
        b"2:402:40",
        b"00002:40",
        b"1:2x:2",
        "1:\u{1f3a5}".as_bytes(),
        "1:\u{1f3a5}4".as_bytes(),
        "3:42\u{1f3a5}42".as_bytes(),
        "\u{ff12}:40".as_bytes(),
        b"2:40\xff",
    ];
    let binary: [&[u8]; 14] = [
        &[0],
        &[255],
        &[0, 255],
        &[0, 1, 255],
        &[0, 2, 255, b'4'],
        &[0, 2, 255, b'4', b'0'],
        &[1, 2, 255, 4, 0],
        &[0, 200, 255, b'4'],
        &[2, 1, 255, b'4'],
        &[0, 9, 9, 9, 9, 9, 9, 9, 9, 9, 255, b'4'],
        &[0, 9, 9, 9, 9, 9, 9, 9, 9, 255, b'4'],
        &[1, 0, 255],
        &[0, 0, 255, 0, 0, 255],
        &[0, 2, 255, b'4', 0xc3],
    ];
    let separators = vec![0x1e; 10_000];
    let newer: [&[u8]; 9] = [
        b"",
        b"\x1e",
        b"\x1e\x1e",
        &separators,
        b"2\x1e",
        b"\x1e2",
        b"b\x1eb=\x1ebA",
        b"4\x1e\xff\x1e2",
        b"b4AQID\x1e9",
    ];
    let all = lengths
        .iter()
        .map(|body| (3, TEXT, body))
        .chain(binary.iter().map(|body| (3, BINARY, body)));
    let all: Vec<_> = all
        .chain(newer.iter().flat_map(|body| [(4, TEXT, body), (4, BINARY, body), (3, TEXT, body)]))
        .collect();
    attacked(&[UNLIMITED], async |server: &TestServer, bystander: &mut Bystander| {
        bystander
            .repeat(async || {
                for (revision, kind, body) in &all {
                    let mut engine =
                        Engine::connect(server.address(), (Transport::Polling, *revision)).await;
                    let status = engine.post(kind, body).await.status;
                    assert!(status == 200 || status == 400, "{body:?} of {revision}: {status}");
                    engine.answers().await;
                    engine.close().await;
                }
            })
            .await;
    });
}

#[test]
fn inconsistent_attachment_counts_affect_only_their_connection() {
    let numbers = [
        "9",
        "9999",
        "4294967296",
        "18446744073709551616",
        "99999999999999999999999999",
        "-1",
        "1.5",
        "1e9",
        "",
    ];
    let mut packets: Vec<String> = Vec::new();
    for number in numbers {
        packets.push(format!(r#"45{number}-["offer",{{"_placeholder":true,"num":0}}]"#));
        packets.push(format!(r#"46{number}-1["x"]"#));
        packets.push(format!(r#"42{number}["leave-room"]"#));
        packets.push(format!(r#"43{number}["x"]"#));
        packets.push(format!(r#"42["offer",{{"offer":{{"_placeholder":true,"num":{number}}}}}]"#));
        packets.push(format!(r#"42["join-room",{number}]"#));
    }
    packets.push(format!(r#"42{}["leave-room"]"#, "9".repeat(60_000)));
    packets.push(format!(r#"42["join-room",{}]"#, "9".repeat(60_000)));
    packets.push(format!(r#"42["join-room",1e{}]"#, "9".repeat(60_000)));
    packets.push(format!(r#"42/{},["offer"]"#, "x".repeat(60_000)));
    packets.push(format!(r#"42["{}"]"#, "x".repeat(60_000)));
    packets.push(format!("42[{}1]", "1,".repeat(30_000)));
    attacked(&[UNLIMITED], async |server: &TestServer, bystander: &mut Bystander| {
        let attacks = ENGINES.map(async |which| {
            let mut engine = Engine::connect(server.address(), which).await;
            for packet in &packets {
                survive(server, &mut engine, which, packet.as_bytes()).await;
            }
            // Announced attachments, followed by other packets.
            for attachment in ["bAQID", "b4AQID", "3", r#"42["leave-room"]"#, "41"] {
                engine
                    .send(r#"452-["offer",{"a":{"_placeholder":true,"num":1},"b":{"_placeholder":true,"num":1}}]"#)
                    .await;
                survive(server, &mut engine, which, attachment.as_bytes()).await;
            }
            engine.close().await;
        });
        tokio::join!(join_all(attacks), bystander.round());
    });
}

/// Protocol violations end the connection that sent them; other peers see one leave.
#[test]
fn protocol_violations_close_only_their_connection() {
    attacked(&[UNLIMITED], async |server: &TestServer, bystander: &mut Bystander| {
        let mut ann = Client::joined(server, "r", "ann").await;
        ann.next_event("room-users").await;
        for packet in [
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
            for which in ENGINES {
                let mut odd = Engine::connect(server.address(), which).await;
                odd.send(r#"42["join-room","r","odd"]"#).await;
                odd.expect_event("room-users").await.expect("joined");
                ann.next_event("user-joined").await;
                odd.send(packet).await;
                // Either the connection has ended, or it still replies and has left all its rooms.
                odd.answers().await;
                odd.close().await;
                assert_eq!(
                    ann.next_event("user-left").await[0]["userId"],
                    "odd",
                    "after {packet:?} on {which:?}"
                );
            }
        }
        bystander.round().await;
        ann.nothing_more().await;
        ann.close().await;
    });
}

#[test]
fn invalid_requests_are_answered_and_the_connection_stays_open() {
    attacked(&[UNLIMITED], async |server: &TestServer, bystander: &mut Bystander| {
        let mut ann = Client::connect(server).await;
        let long = "x".repeat(129);
        for (request, code) in [
            (json!(["join-room"]), "INVALID_MESSAGE"),
            (json!(["join-room", 1.5, true]), "INVALID_MESSAGE"),
            (json!(["join-room", null]), "INVALID_MESSAGE"),
            (json!(["join-room", { "roomId": long }]), "INVALID_MESSAGE"),
            (json!(["join-room", { "roomId": "a\u{7f}" }]), "INVALID_MESSAGE"),
            (
                json!(["join-room", { "roomId": "r", "about": "x".repeat(5000) }]),
                "PAYLOAD_TOO_LARGE",
            ),
            (json!(["leave-room", "r"]), "NOT_IN_ROOM"),
            (json!(["leave-room", []]), "INVALID_MESSAGE"),
            (json!(["offer"]), "INVALID_MESSAGE"),
            (json!(["offer", { "offer": 1 }]), "NOT_IN_ROOM"),
            (json!(["offer", { "roomId": "r", "offer": 1 }]), "NOT_IN_ROOM"),
            (json!(["answer", "r"]), "INVALID_MESSAGE"),
            (json!(["ice-candidate", { "candidate": 1, "targetId": {} }]), "INVALID_MESSAGE"),
            (json!(["ice-candidate", { "candidate": "x".repeat(70_000) }]), "PAYLOAD_TOO_LARGE"),
            (json!(["application-event", 1]), "NOT_IN_ROOM"),
            (json!(["room-users", []]), "INVALID_MESSAGE"),
        ] {
            let answer = ann.ask_raw(&request.to_string()).await;
            let received = (&answer["ok"], &answer["success"], &answer["code"]);
            assert_eq!(received, (&json!(false), &json!(false), &json!(code)), "{request}");
            assert!(answer["error"].as_str().is_some_and(|text| !text.is_empty()));
        }
        // Without an acknowledgement, the reply is an event.
        ann.tell("offer", json!({ "roomId": "r", "offer": 1 })).await;
        let error = ann.next_event("error").await;
        let received = (&error[0]["code"], &error[0]["event"], &error[0]["roomId"]);
        assert_eq!(received, (&json!("NOT_IN_ROOM"), &json!("offer"), &json!("r")));
        ann.tell("application-event", json!(1)).await;
        assert_eq!(ann.next_event("error").await[0]["code"], "NOT_IN_ROOM");
        ann.nothing_more().await;
        bystander.round().await;
        ann.close().await;
    });
}
