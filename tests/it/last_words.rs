//! A polling client that is asked to disconnect receives all queued frames.

use futures_util::SinkExt;
use parlor::id::ConnectionId;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::support::client::{text, websocket};
use crate::support::polling::Polling;
use crate::support::{Client, TestServer};

const SIGNALS: u64 = 3;

/// Joins as bob, while ann has signals for bob; returns its id.
async fn expect_queued_event(bob: &mut Polling, ann: &mut Client) -> ConnectionId {
    bob.send("40").await;
    let reply = bob.next().await.unwrap();
    let reply: Value = serde_json::from_str(reply.strip_prefix("40").unwrap()).unwrap();
    bob.send(r#"42["join-room","r","bob"]"#).await;
    ann.next_event("user-joined").await;
    for event in ["room-users", "room-joined"] {
        assert!(bob.next().await.unwrap().contains(event));
    }
    for number in 0..SIGNALS {
        let message = json!({ "roomId": "r", "targetId": "bob", "candidate": number });
        assert_eq!(ann.ask("ice-candidate", message).await["ok"], true);
    }
    ConnectionId::parse(reply["sid"].as_str().unwrap()).unwrap()
}

fn is_signal(packet: &str, number: u64) -> bool {
    packet.starts_with("42") && packet.contains(&format!(r#""candidate":{number}"#))
}

#[tokio::test]
async fn polling_client_fetches_its_queue_during_shutdown() {
    let server = TestServer::start();
    let mut ann = Client::joined(&server, "r", "ann").await;
    ann.next_event("room-users").await;
    let mut bob = Polling::open(server.address()).await;
    expect_queued_event(&mut bob, &mut ann).await;
    let hub = server.hub().clone();
    let stopping = tokio::spawn(server.stop());
    hub.emptied().await;
    ann.ended().await;
    // On a separate connection, as behind a proxy without keep-alive.
    bob.forget_connections();
    for number in 0..SIGNALS {
        let packet = bob.next().await.unwrap();
        assert!(is_signal(&packet, number), "{packet}");
    }
    // The leave of ann comes first if ann was disconnected first.
    while !bob.next().await.unwrap().contains("SHUTTING_DOWN") {}
    drop(bob);
    assert!(stopping.await.unwrap());
}

#[tokio::test]
async fn drain_during_upgrade_flushes_queue() {
    let server = TestServer::start();
    let mut ann = Client::joined(&server, "r", "ann").await;
    ann.next_event("room-users").await;
    let mut bob = Polling::open(server.address()).await;
    let id = expect_queued_event(&mut bob, &mut ann).await;
    let mut probe = websocket(&server, &bob.query()).await;
    probe.send(Message::text("2probe")).await.unwrap();
    assert_eq!(text(&mut probe).await, "3probe");
    server.hub().drain_one(id);
    assert_eq!(ann.next_event("user-left").await[0]["reason"], "kicked");
    probe.send(Message::text("5")).await.unwrap();
    for number in 0..SIGNALS {
        let packet = text(&mut probe).await;
        assert!(is_signal(&packet, number), "{packet}");
    }
    assert!(text(&mut probe).await.contains("SHUTTING_DOWN"));
    drop((bob, probe));
    ann.close().await;
    server.finish().await;
}
