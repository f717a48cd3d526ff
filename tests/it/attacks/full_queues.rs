//! A send queue that stays full closes a polling client, which has no socket that could stall.

use futures_util::future::join_all;
use serde_json::json;

use super::UNLIMITED;
use super::slow_readers::{fill, talker, until_it_has_left};
use crate::support::engine::{Engine, Transport};
use crate::support::{Bystander, TestServer, attacked};

/// A polling client that stops polling.
#[test]
fn client_that_stops_polling_is_disconnected() {
    attacked(
        &["--send-queue=8", UNLIMITED],
        async |server: &TestServer, bystander: &mut Bystander| {
            let stops = [3, 4].map(async |revision| {
                let room = format!("polling-{revision}");
                let mut slow =
                    Engine::connect(server.address(), (Transport::Polling, revision)).await;
                slow.send(format!("42{}", json!(["join-room", room, "slow"]))).await;
                slow.expect_event("room-users").await.expect("joined");
                let (mut ann, to) = talker(server, &room).await;
                fill(&mut ann, &to).await;
                until_it_has_left(ann, &to, "polling").await;
                // For a second it may still fetch its queue and the close packet.
                let mut polls = 0;
                while slow.poll().await.status == 200 {
                    polls += 1;
                    assert!(polls < 50, "forgotten");
                }
            });
            tokio::join!(join_all(stops), bystander.round());
        },
    );
}
