//! A client of any protocol that stops reading while a peer sends to it.

use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use super::TestServer;
use super::protocol_peer::{Peer, Protocol, Received};

/// Flags of the server: short send queues, and no rate limit.
pub(crate) const FLAGS: [&str; 2] = ["--send-queue=8", "--messages-per-second=0"];

/// Asserts that the sender gets errors once the queue is full, and then the leave of the client.
pub(crate) async fn is_dropped(server: TestServer, protocol: Protocol) {
    let stalled = Peer::join(&server, protocol, "r", "stalled").await;
    stalled.narrow();
    let mut ann = Peer::join(&server, Protocol::Envelope, "r", "ann").await;
    // Large enough to fill the kernel's buffers soon, and small enough that the queue is full
    // before the time limit of a write: a busy machine takes a while for each.
    let (to, sdp) = (ann.list[0].clone(), "x".repeat(20_000));
    let question = json!({ "type": "room:state", "payload": { "roomId": "nowhere" } }).to_string();
    loop {
        ann.offer(&to, &sdp).await;
        ann.send_raw(Message::text(question.clone())).await;
        // The errors of refused signals precede the reply to a later request.
        match ann.next_event().await {
            Received::Error(code) if code == "DELIVERY_FAILED" => break,
            Received::Error(code) if code == "NOT_IN_ROOM" => {}
            observed => panic!("{protocol:?}: {observed:?} before its queue was full"),
        }
    }
    loop {
        match ann.next_event().await {
            Received::Left(id) => break assert_eq!(id, to),
            Received::Error(code) => assert_eq!(code, "NOT_IN_ROOM"),
            observed => panic!("{protocol:?}: {observed:?}"),
        }
    }
    drop(stalled);
    ann.close().await;
    server.finish().await;
}
