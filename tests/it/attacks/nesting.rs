//! JSON that is nested deeper than the stack, in every place, between all pairs of protocols.

use futures_util::{SinkExt, StreamExt};
use tokio_tungstenite::tungstenite::Message;

use super::UNLIMITED;
use crate::support::client::WebSocket;
use crate::support::protocol_peer::{PROTOCOLS, Peer, Protocol, Received, message};
use crate::support::raw::{Raw, handshake};
use crate::support::{Bystander, TestServer, attacked};

const LEVELS: usize = 100_000;

fn arrays(levels: usize) -> String {
    format!("{}{}", "[".repeat(levels), "]".repeat(levels))
}

fn objects(levels: usize) -> String {
    format!("{}0{}", r#"{"a":"#.repeat(levels), "}".repeat(levels))
}

/// Returns messages with `deep` in place of every value, valid and invalid ones; the last one is
/// always valid.
fn messages(protocol: Protocol, room: &str, to: &str, deep: &str) -> Vec<String> {
    match protocol {
        Protocol::SocketIo => vec![
            format!(r#"42["offer",{{"targetId":"{to}","offer":{deep}}}]"#),
            format!(
                r#"42["ice-candidate",{{"targetId":"{to}","candidate":{{"candidate":{deep}}}}}]"#
            ),
            format!(
                r#"42["answer",{{"targetId":"{to}","answer":{{"type":"answer","sdp":{deep}}}}}]"#
            ),
            format!(r#"42["join-room",{{"roomId":"{room}","about":{deep}}}]"#),
            format!(r#"42["join-room",{deep}]"#),
            format!(r#"42["join-room","{room}",null,{deep}]"#),
            format!(
                r#"42["offer",{{"targetId":"{to}","offer":{{"type":"offer","sdp":"the last"}}}}]"#
            ),
        ],
        Protocol::Envelope => vec![
            format!(
                r#"{{"type":"sdp:offer","payload":{{"targetUserId":"{to}","sdp":"x","more":{deep}}}}}"#
            ),
            format!(r#"{{"type":"sdp:offer","payload":{{"targetUserId":"{to}","sdp":{deep}}}}}"#),
            format!(
                r#"{{"type":"ice:candidate","payload":{{"targetUserId":"{to}","candidate":"x","sdpMid":{deep}}}}}"#
            ),
            format!(
                r#"{{"type":"room:join","payload":{{"roomId":"{room}","metadata":{{"more":{deep}}}}}}}"#
            ),
            format!(r#"{{"type":"ping","payload":{deep}}}"#),
            format!(r#"{{"type":{deep}}}"#),
            deep.to_owned(),
            format!(
                r#"{{"type":"sdp:offer","payload":{{"targetUserId":"{to}","sdp":"the last"}}}}"#
            ),
        ],
        Protocol::Topic => vec![
            format!(r#"{{"type":"offer","to":"{to}","payload":{deep},"msgId":1}}"#),
            format!(
                r#"{{"type":"answer","to":"{to}","payload":{{"type":"answer","sdp":{deep}}}}}"#
            ),
            format!(r#"{{"type":"ice-candidate","to":"{to}","payload":{{"candidate":{deep}}}}}"#),
            format!(r#"{{"type":"offer","to":{deep}}}"#),
            format!(r#"{{"type":"no such","msgId":{deep}}}"#),
            deep.to_owned(),
            format!(
                r#"{{"type":"offer","to":"{to}","payload":{{"type":"offer","sdp":"the last"}}}}"#
            ),
        ],
        Protocol::Session => vec![
            format!(r#"{{"type":"offer","sessionId":"{room}","sdp":"x","more":{deep}}}"#),
            format!(
                r#"{{"type":"candidate","sessionId":"{room}","candidate":{{"candidate":{deep}}}}}"#
            ),
            format!(
                r#"{{"type":"answer","sessionId":"{room}","sdp":{{"type":"answer","sdp":"x","more":{deep}}}}}"#
            ),
            format!(r#"{{"type":"offer","sessionId":{deep}}}"#),
            deep.to_owned(),
            format!(r#"{{"type":"offer","sessionId":"{room}","sdp":"the last"}}"#),
        ],
    }
}

/// Connects two peers in a room; returns the id by which the second knows the first.
async fn pair(
    server: &TestServer,
    first: Protocol,
    second: Protocol,
    room: &str,
) -> (WebSocket, WebSocket, String) {
    let mut ann = Peer::join(server, first, room, "ann").await;
    // A client of `/signal` gets no event for it.
    while reqwest::get(server.url(&format!("/api/rooms/{room}"))).await.unwrap().status() != 200 {}
    let bob = Peer::join(server, second, room, "bob").await;
    if first.announces_peers() {
        assert!(matches!(ann.next_event().await, Received::Joined(_)), "{first:?}");
    }
    let to_ann = bob.list.first().unwrap_or(&ann.id).clone();
    (ann.into_socket(), bob.into_socket(), to_ann)
}

#[test]
fn nested_messages_do_not_overflow_the_stack() {
    let flags = ["--max-message-bytes=262144", "--max-metadata-bytes=262144", UNLIMITED];
    attacked(&flags, async |server: &TestServer, bystander: &mut Bystander| {
        for first in PROTOCOLS {
            for second in PROTOCOLS {
                let room = format!("{first:?}-{second:?}");
                let (mut ann, bob, to) = pair(server, first, second, &room).await;
                // The server does not read from a client that does not read long replies.
                let (mut bob, mut answers) = bob.split();
                let reading = tokio::spawn(async move { while answers.next().await.is_some() {} });
                let deep = if first == second { objects(LEVELS / 3) } else { arrays(LEVELS) };
                for message in messages(second, &room, &to, &deep) {
                    bob.send(Message::text(message)).await.expect("the connection is open");
                }
                while !message(&mut ann).await.expect("the connection is open").contains("the last")
                {
                }
                reading.abort();
            }
        }
        bystander.round().await;
    });
}

/// Nested as deep as a request head and a body may be.
#[test]
fn nested_requests_do_not_overflow_the_stack() {
    attacked(&[UNLIMITED], async |server: &TestServer, bystander: &mut Bystander| {
        bystander
            .repeat(async || {
                for deep in [arrays(6_000), "[".repeat(12_000), r#"{"a":"#.repeat(1_000)] {
                    let deep = deep.replace('"', "%22");
                    let path = format!("/ws/t?metadata=%7B%22a%22:{deep}%7D");
                    let mut raw = Raw::sending(server.address(), handshake(&path, "")).await;
                    let status = raw.response().await.unwrap().status;
                    assert!([101, 400].contains(&status), "{status}");
                }
                for body in [
                    arrays(30_000),
                    "[".repeat(60_000),
                    objects(10_000),
                    r#"{"roomId":"#.repeat(6_000),
                ] {
                    for body in [
                        format!(r#"{{"roomId":{body}}}"#),
                        format!(r#"{{"capacity":{body}}}"#),
                        body,
                    ] {
                        let head = format!(
                            "POST /api/rooms HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n",
                            body.len()
                        );
                        let mut raw = Raw::sending(server.address(), head).await;
                        raw.send(body).await;
                        assert_eq!(raw.response().await.unwrap().status, 400);
                    }
                }
            })
            .await;
    });
}
