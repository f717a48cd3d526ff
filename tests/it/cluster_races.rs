//! Session moves beside senders that act at every moment of them, and of clients that lose their
//! connections while they resume.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parlor::id::ConnectionId;
use serde_json::json;

use crate::cluster_nodes::{member, node};
use crate::support::protocol_peer::Received;
use crate::support::redis::Redis;
use crate::support::resuming_client::{CLIENT_KINDS, ClientKind, ResumePoint, ResumingClient};
use crate::support::server::LIMIT;
use crate::support::{Client, TestServer};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn signals_of_a_fast_sender_stay_in_order_while_their_target_moves() {
    const UNTIL: usize = 25;
    let flags = ["--resume-seconds=30", "--messages-per-second=0"];
    let redis = Redis::start();
    let nodes = ["one", "two"].map(|name| node(&redis, name, &flags));
    for kind in [ClientKind::WebSocket, ClientKind::Envelope] {
        let mut ann = ResumingClient::joined(&nodes[0], ClientKind::Envelope, "ann").await;
        let mut bob = ResumingClient::joined(&nodes[0], kind, "bob").await;
        let is_over = Arc::new(AtomicBool::new(false));
        let seen_by_ann = Arc::clone(&is_over);
        let sending = tokio::spawn(async move {
            let mut numbers = 0..;
            while !seen_by_ann.load(Ordering::Relaxed) {
                // Too many at once are refused.
                _ = ann.send_number_in("r", "bob", numbers.next().unwrap()).await;
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            ann
        });
        let mut last = None;
        for round in 0..40 {
            // Some of what has arrived is not read any more, and is sent again.
            for _ in 0..UNTIL {
                let Received::Candidate { candidate, .. } = bob.next_event().await.0 else {
                    continue;
                };
                let number: usize = candidate.unwrap().parse().unwrap();
                assert!(last < Some(number), "{kind:?}, round {round}: {number} after {last:?}");
                last = Some(number);
            }
            let resume_point = bob.drop_connection().await;
            bob = ResumingClient::resume(&nodes[(round + 1) % 2], kind, &resume_point).await;
            assert!(bob.is_resumed, "{kind:?}, round {round}");
        }
        is_over.store(true, Ordering::Relaxed);
        sending.await.unwrap().reset().await;
        bob.reset().await;
    }
    for node in nodes {
        assert!(node.stop().await);
    }
}

/// Delay of a client before it connects again.
const RECONNECTION: Duration = Duration::from_millis(200);

/// Waits until a node has a session that is in a room.
async fn until_session(server: &TestServer, connection: ConnectionId) {
    let waiting = async {
        while server.hub().rooms().of(connection).is_empty() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(LIMIT, waiting).await.expect("the session moves");
}

#[tokio::test]
async fn session_is_found_with_the_token_that_its_client_has() {
    let redis = Redis::start();
    let nodes = ["one", "two", "three"].map(|name| node(&redis, name, &["--resume-seconds=30"]));
    let [one, two, three] = &nodes;
    for kind in CLIENT_KINDS {
        let mut ann = member(one, "r", "ann").await;
        let bob = ResumingClient::joined(one, kind, "bob").await;
        let resume_point = bob.drop_connection().await;
        let (id, _) = resume_point.resume_token.split_once('.').unwrap();
        let id = ConnectionId::parse(id).unwrap();
        let signal = json!({ "roomId": "r", "targetId": "bob", "candidate": "0" });
        assert_eq!(ann.ask("ice-candidate", signal).await["ok"], true);
        // Each time the session has moved on, and its client does not learn the new token.
        for server in [two, two, three, one, three, two, one] {
            let moved = until_session(server, id);
            ResumingClient::connect_until(server, kind, &resume_point, moved).await;
        }
        // And again while it is on its way. A client tries again after a while.
        for server in [two, three, three, one] {
            ResumingClient::connect_until(server, kind, &resume_point, async {}).await;
            tokio::time::sleep(RECONNECTION).await;
        }
        let mut bob = ResumingClient::resume(three, kind, &resume_point).await;
        assert!(bob.is_resumed, "{kind:?}");
        bob.expect_signals("ann", 0..1).await;
        bob.close().await;
        ann.abandon().await;
    }
    for node in nodes {
        assert!(node.stop().await);
    }
}

#[tokio::test]
async fn session_is_found_although_the_node_of_its_token_has_ended() {
    let redis = Redis::start();
    for kind in CLIENT_KINDS {
        let [one, two, three] =
            ["one", "two", "three"].map(|name| node(&redis, name, &["--resume-seconds=30"]));
        let bob = ResumingClient::joined(&one, kind, "bob").await;
        let resume_point = bob.drop_connection().await;
        let (id, _) = resume_point.resume_token.split_once('.').unwrap();
        let moved = until_session(&two, ConnectionId::parse(id).unwrap());
        ResumingClient::connect_until(&two, kind, &resume_point, moved).await;
        assert!(one.stop().await);
        let bob = ResumingClient::resume(&three, kind, &resume_point).await;
        assert!(bob.is_resumed, "{kind:?}");
        bob.close().await;
        for node in [two, three] {
            assert!(node.stop().await);
        }
    }
}

/// Resumes like a client that tries again when its connection is closed, because its other
/// connections claim the session as well.
async fn resume_again(
    server: &TestServer,
    kind: ClientKind,
    resume_point: &ResumePoint,
) -> ResumingClient {
    for _ in 0..10 {
        if let Ok(client) = ResumingClient::connect(server, kind, Some(resume_point), None).await {
            assert!(client.is_resumed, "{kind:?}");
            return client;
        }
    }
    panic!("{kind:?}: each connection is closed");
}

/// Clients that open several connections within milliseconds, each of which looks alive to its node,
/// and that may have received a reply on any of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn session_survives_several_attempts_to_resume_it_at_once() {
    let redis = Redis::start();
    let nodes = ["one", "two", "three"].map(|name| node(&redis, name, &["--resume-seconds=30"]));
    let [one, two, three] = &nodes;
    for kind in CLIENT_KINDS {
        let mut ann = ResumingClient::joined(one, ClientKind::Envelope, "ann").await;
        let bob = ResumingClient::joined(one, kind, "bob").await;
        ann.expect_event(Received::Joined("bob".to_owned())).await;
        let mut resume_point = bob.drop_connection().await;
        for round in 0..8 {
            let attempt = async |server: &TestServer| {
                ResumingClient::connect(server, kind, Some(&resume_point), None).await
            };
            let attempts = tokio::join!(attempt(two), attempt(three), attempt(one), attempt(two));
            let attempts = [attempts.0, attempts.1, attempts.2, attempts.3];
            // A session that several nodes claim may be refused to all but one of them. The client
            // has the reply of one of them, or of none.
            let resumed = attempts.iter().flatten().filter(|attempt| attempt.is_resumed);
            let known: Vec<_> = resumed.map(ResumingClient::resume_point).collect();
            let known = known.get(round % (known.len() + 1)).unwrap_or(&resume_point).clone();
            let bob = resume_again([two, three, one][round % 3], kind, &known).await;
            resume_point = bob.drop_connection().await;
        }
        let mut bob = resume_again(two, kind, &resume_point).await;
        for event in ann.rest().await {
            assert!(!event.contains("left"), "{kind:?}: {event}");
        }
        ann.send_number("bob", 0).await;
        bob.expect_signals("ann", 0..1).await;
        bob.close().await;
        ann.close().await;
    }
    for node in nodes {
        assert!(node.stop().await);
    }
}

/// One user joins on two nodes while the engine is silent. The later session stays, whichever join
/// the engine reads first.
#[tokio::test]
async fn earlier_of_two_joins_that_wait_is_replaced() {
    let redis = Redis::start();
    let nodes = ["one", "two"].map(|name| node(&redis, name, &[]));
    for order in [[0, 1], [1, 0]] {
        let [mut former, mut latter] =
            [Client::connect(&nodes[order[0]]).await, Client::connect(&nodes[order[1]]).await];
        let join = json!({ "roomId": "r", "userId": "ann" });
        redis.signal("STOP");
        former.tell("join-room", join.clone()).await;
        // The nodes' clocks may differ by this much.
        tokio::time::sleep(Duration::from_millis(300)).await;
        latter.tell("join-room", join).await;
        // Has reached the node with the join.
        tokio::time::sleep(Duration::from_millis(300)).await;
        redis.signal("CONT");
        let mut event = former.next().await;
        if event[0] == "room-users" {
            // It was admitted first.
            event = former.next().await;
        }
        assert_eq!((&event[0], &event[1]["code"]), (&json!("error"), &json!("REPLACED")));
        assert_eq!(latter.next_event("room-users").await, [json!([])]);
        latter.nothing_more().await;
        former.close().await;
        latter.close().await;
    }
    for node in nodes {
        assert!(node.stop().await);
    }
}
