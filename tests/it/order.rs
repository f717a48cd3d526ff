//! No signal is lost or reordered.

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::support::server::LIMIT;
use crate::support::{Client, TestServer};

const SENDERS: usize = 3;
const SIGNALS: u64 = 20_000;

/// Each sender sends as fast as it can, without waiting for anything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signals_of_three_fast_senders_arrive_all_and_in_order() {
    let server = TestServer::with(&["--messages-per-second=0"]);
    let receiver = Client::joined(&server, "r", "receiver").await;
    let mut senders = Vec::new();
    for number in 0..SENDERS {
        let sender = Client::joined(&server, "r", &format!("sender {number}")).await;
        senders.push(tokio::spawn(send_all(sender)));
    }
    let mut next = [0; SENDERS];
    let mut socket = receiver.into_socket();
    while next.iter().sum::<u64>() < SENDERS as u64 * SIGNALS {
        let frame = tokio::time::timeout(LIMIT, socket.next())
            .await
            .expect("another signal")
            .unwrap()
            .unwrap();
        let Message::Text(text) = frame else { continue };
        let Some(array) = text.strip_prefix("42") else {
            socket.send(Message::text("3")).await.unwrap();
            continue;
        };
        let event: Value = serde_json::from_str(array).unwrap();
        if event[0] != "ice-candidate" {
            continue;
        }
        let sender: usize =
            event[1]["from"].as_str().unwrap().strip_prefix("sender ").unwrap().parse().unwrap();
        assert_eq!(event[1]["candidate"], next[sender], "of sender {sender}");
        next[sender] += 1;
    }
    for sender in senders {
        sender.await.unwrap();
    }
    drop(socket);
    server.finish().await;
}

/// Sends all signals; fails if the server reports an undelivered one.
async fn send_all(sender: Client) {
    let (mut sink, mut stream) = sender.into_socket().split();
    let watch = tokio::spawn(async move {
        while let Some(Ok(frame)) = stream.next().await {
            if let Message::Text(text) = frame {
                assert!(!text.contains("\"error\""), "{text}");
            }
        }
    });
    for number in 0..SIGNALS {
        let event = json!(["ice-candidate", { "targetId": "receiver", "candidate": number }]);
        sink.feed(Message::text(format!("42{event}"))).await.unwrap();
    }
    sink.close().await.unwrap();
    tokio::time::timeout(LIMIT * 6, watch).await.expect("the server reads everything").unwrap();
}
