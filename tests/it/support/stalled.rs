//! A reader that stalls, on any wire, while somebody talks to it.

use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use super::TestServer;
use super::wire::{Heard, Peer, Wire};

/// What a server is to be started with: queues that are soon full, and nobody who talks too much.
pub(crate) const FLAGS: [&str; 2] = ["--send-queue=8", "--messages-per-second=0"];

/// Whoever talks to it is refused once nothing more finds a place, then told that it is gone.
pub(crate) async fn is_dropped(server: TestServer, wire: Wire) {
    let stalled = Peer::join(&server, wire, "r", "stalled").await;
    stalled.narrow();
    let mut ann = Peer::join(&server, Wire::Envelope, "r", "ann").await;
    // Large enough that the kernel's buffers are soon full, and small enough that the queue is full before the time limit of
    // a write is over: a busy machine takes a while for each.
    let (to, sdp) = (ann.list[0].clone(), "x".repeat(20_000));
    let question = json!({ "type": "room:state", "payload": { "roomId": "nowhere" } }).to_string();
    loop {
        ann.offer(&to, &sdp).await;
        ann.send_raw(Message::text(question.clone())).await;
        // What was refused comes before the answer to what was asked after it.
        match ann.hear().await {
            Heard::Error(code) if code == "DELIVERY_FAILED" => break,
            Heard::Error(code) if code == "NOT_IN_ROOM" => {}
            heard => panic!("{wire:?}: {heard:?} before its queue was full"),
        }
    }
    loop {
        match ann.hear().await {
            Heard::Left(id) => break assert_eq!(id, to),
            Heard::Error(code) => assert_eq!(code, "NOT_IN_ROOM"),
            heard => panic!("{wire:?}: {heard:?}"),
        }
    }
    drop(stalled);
    ann.close().await;
    server.finish().await;
}
