//! Valid packets at invalid times.

use futures_util::SinkExt;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use super::UNLIMITED;
use crate::support::client::text;
use crate::support::engine::{ENGINES, Engine, Transport};
use crate::support::protocol_peer::{message, next_json, open};
use crate::support::{Bystander, Client, TestServer, attacked};

/// Time after which the library removes a connection that was not established.
const FLAGS: [&str; 2] = ["--handshake-timeout-seconds=1", UNLIMITED];

const JOIN: &str = r#"42["join-room","r","odd"]"#;
const OFFER: &str = r#"42["offer",{"roomId":"r","offer":"never relayed"}]"#;

/// Packets of a client that is not connected to the namespace, in many orders; none reaches the
/// room.
#[test]
fn packets_before_connect_reach_no_room() {
    attacked(&FLAGS, async |server: &TestServer, bystander: &mut Bystander| {
        let mut ann = Client::joined(server, "r", "ann").await;
        ann.next_event("room-users").await;
        bystander
            .repeat(async || {
                for transport in [Transport::WebSocket, Transport::Polling] {
                    for packet in [
                        JOIN,
                        OFFER,
                        "41",
                        "2",
                        "3",
                        r#"430["x"]"#,
                        "40/nowhere,",
                        r#"42/nowhere,["x"]"#,
                        "bAQID",
                    ] {
                        let mut engine = Engine::open(server.address(), (transport, 4)).await;
                        engine.send(packet).await;
                        engine.send(OFFER).await;
                        // The connection is closed, or still works.
                        if engine.send("40").await && engine.expect_event("40{").await.is_some() {
                            engine.answers().await;
                        }
                        engine.close().await;
                    }
                }
            })
            .await;
        ann.nothing_more().await;
        ann.close().await;
    });
}

#[test]
fn connect_with_unusual_payloads_is_answered() {
    attacked(&FLAGS, async |server: &TestServer, bystander: &mut Bystander| {
        let deep = format!("40{}", "[".repeat(50_000));
        let long = format!(r#"40{{"token":"{}"}}"#, "x".repeat(60_000));
        let odd = [
            "40[]", "40null", "40{", r#"40"x""#, "401", "40{}{}", "40,", "40/", "40/,", "40/é,{}",
            "40\0", &deep, &long,
        ];
        bystander
            .repeat(async || {
                for packet in odd {
                    for transport in [Transport::WebSocket, Transport::Polling] {
                        let mut engine = Engine::open(server.address(), (transport, 4)).await;
                        engine.send(packet).await;
                        // Connected, refused, or closed: in the end it gets the reply that every
                        // client gets.
                        if engine.send("40").await && engine.expect_event("40{").await.is_some() {
                            engine.answers().await;
                        }
                        engine.close().await;
                    }
                }
            })
            .await;
    });
}

/// A session in another namespace does not affect the first one.
#[test]
fn another_namespace_is_another_session() {
    attacked(&[UNLIMITED], async |server: &TestServer, bystander: &mut Bystander| {
        for which in ENGINES {
            let mut ann = Engine::connect(server.address(), which).await;
            ann.send(JOIN).await;
            let joined = ann.expect_event("room-joined").await.expect("joined");
            for packet in ["40/nowhere,", "40/elsewhere,{}"] {
                ann.send(packet).await;
            }
            ann.send(r#"425["join-room","r","odd"]"#).await;
            let again = ann.expect_event("435[").await.expect("the client is still connected");
            // Still the same connection: the room has no other member, and the id is the same.
            let id = joined
                .split_once(r#""socketId":""#)
                .expect("the reply has the client's own id")
                .1
                .split('"')
                .next()
                .unwrap();
            assert!(again.contains(id) && again.contains(r#""users":[]"#), "{which:?}: {again}");
            ann.close().await;
        }
        bystander.round().await;
    });
}

#[test]
fn packets_after_disconnect_reach_no_room() {
    attacked(&[UNLIMITED], async |server: &TestServer, bystander: &mut Bystander| {
        let mut ann = Client::joined(server, "r", "ann").await;
        ann.next_event("room-users").await;
        for which in ENGINES {
            for normal_close in ["41", "1", "41/nowhere,"] {
                let mut odd = Engine::connect(server.address(), which).await;
                odd.send(JOIN).await;
                odd.expect_event("room-users").await.expect("joined");
                ann.next_event("user-joined").await;
                odd.send(normal_close).await;
                if normal_close == "41/nowhere," {
                    assert!(odd.answers().await, "{which:?}: an unknown namespace cannot be left");
                } else {
                    for packet in [OFFER, JOIN, OFFER] {
                        odd.send(packet).await;
                    }
                }
                assert_eq!(
                    ann.next_event("user-left").await[0]["userId"],
                    "odd",
                    "{which:?} {normal_close}"
                );
                odd.close().await;
            }
        }
        bystander.round().await;
        ann.nothing_more().await;
        ann.close().await;
    });
}

#[test]
fn misplaced_acknowledgements_and_attachments_affect_no_peer() {
    attacked(&[UNLIMITED], async |server: &TestServer, bystander: &mut Bystander| {
        bystander
            .repeat(async || {
                for which in ENGINES {
                    let mut odd = Engine::connect(server.address(), which).await;
                    for packet in [
                        r#"430["x"]"#,
                        "439223372036854775807[]",
                        "430[]",
                        r#"461-0[{"_placeholder":true,"num":0}]"#,
                    ] {
                        odd.send(packet).await;
                    }
                    let attachment = if which.1 == 3 { "b4AQID" } else { "bAQID" };
                    for _ in 0..20 {
                        odd.send(attachment).await;
                    }
                    odd.answers().await;
                    odd.close().await;
                }
            })
            .await;
        // An event with its attachment is read, and refused.
        let ann = Client::joined(server, "r", "ann").await;
        let mut socket = ann.into_socket();
        let event = r#"451-7["offer",{"offer":{"_placeholder":true,"num":0}}]"#;
        socket.send(Message::text(event)).await.unwrap();
        socket.send(Message::binary(vec![1, 2, 3])).await.unwrap();
        let answer = loop {
            let frame = text(&mut socket).await;
            if let Some(answer) = frame.strip_prefix("437") {
                break answer.to_owned();
            }
        };
        assert!(answer.contains("INVALID_MESSAGE"), "{answer}");
        socket.close(None).await.unwrap();
    });
}

/// Messages to a room before joining and after leaving it, on each protocol.
#[test]
fn signals_before_joining_and_after_leaving_are_refused() {
    attacked(&[UNLIMITED], async |server: &TestServer, bystander: &mut Bystander| {
        let mut odd = Client::connect(server).await;
        let offer = json!({ "roomId": "r", "offer": 1 });
        for _ in 0..2 {
            assert_eq!(odd.ask("offer", offer.clone()).await["code"], "NOT_IN_ROOM");
            assert_eq!(odd.ask("leave-room", json!("r")).await["code"], "NOT_IN_ROOM");
            odd.ask("join-room", json!("r")).await;
            assert_eq!(odd.ask("offer", offer.clone()).await["ok"], true);
            assert_eq!(odd.ask("leave-room", json!("r")).await["ok"], true);
        }
        odd.close().await;

        let mut odd = open(server, "/ws").await;
        next_json(&mut odd).await;
        for (kind, payload, answer) in [
            ("sdp:offer", json!({ "sdp": "v=0" }), "NOT_IN_ROOM"),
            ("room:leave", json!({ "roomId": "r" }), "NOT_IN_ROOM"),
            ("room:state", json!({ "roomId": "r" }), "NOT_IN_ROOM"),
            ("room:join", json!({ "roomId": "r" }), "room:state"),
            ("room:leave", json!({ "roomId": "r" }), "room:state"),
            ("sdp:offer", json!({ "sdp": "v=0", "roomId": "r" }), "NOT_IN_ROOM"),
            ("connection:ack", json!({}), "INVALID_MESSAGE"),
            ("room:participant-joined", json!({}), "INVALID_MESSAGE"),
        ] {
            odd.send(Message::text(json!({ "type": kind, "payload": payload }).to_string()))
                .await
                .unwrap();
            let observed = next_json(&mut odd).await.to_string();
            assert!(observed.contains(answer), "{kind}: {observed}");
        }
        odd.close(None).await.unwrap();

        let mut odd = open(server, "/signal").await;
        for (sent, answer) in [
            (json!({ "type": "leave", "sessionId": "s" }), "SESSION_NOT_FOUND"),
            (json!({ "type": "hangup", "sessionId": "s" }), "SESSION_NOT_FOUND"),
            (json!({ "type": "join", "sessionId": "s" }), ""),
            (json!({ "type": "hangup", "sessionId": "s" }), "hangup"),
            (json!({ "type": "offer", "sessionId": "s", "sdp": "v=0" }), "error"),
            (json!({ "type": "error", "sessionId": "s" }), "INVALID_MESSAGE"),
        ] {
            odd.send(Message::text(sent.to_string())).await.unwrap();
            if !answer.is_empty() {
                let observed = next_json(&mut odd).await.to_string();
                assert!(observed.contains(answer), "{sent}: {observed}");
            }
        }
        odd.close(None).await.unwrap();

        let mut odd = open(server, "/ws/t").await;
        let id: Value = next_json(&mut odd).await["selfId"].take();
        next_json(&mut odd).await;
        for kind in ["welcome", "peer-list", "peer-left", "error", "join", ""] {
            odd.send(Message::text(json!({ "type": kind, "to": id, "peerId": id }).to_string()))
                .await
                .unwrap();
            assert_eq!(next_json(&mut odd).await["code"], "invalid_type", "{kind}");
        }
        odd.close(None).await.unwrap();
        while message(&mut odd).await.is_ok() {}
        bystander.round().await;
    });
}
