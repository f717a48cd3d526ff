//! Time limits of handshakes, for clients that wait for other nodes of the cluster.

use crate::cluster_nodes::{node, process};
use crate::support::polling::Polling;
use crate::support::protocol_peer::Received;
use crate::support::redis::Redis;
use crate::support::resuming_client::{CLIENT_KINDS, ClientKind, ResumingClient};

/// A client has half a second to connect.
const FLAGS: [&str; 2] = ["--resume-seconds=30", "--handshake-timeout-seconds=1"];

#[tokio::test]
async fn client_that_has_resumed_on_another_node_may_be_silent() {
    let redis = Redis::start();
    let nodes = ["one", "two"].map(|name| node(&redis, name, &FLAGS));
    let [one, two] = &nodes;
    for kind in CLIENT_KINDS {
        let mut ann = ResumingClient::joined(one, ClientKind::WebSocket, "ann").await;
        let bob = ResumingClient::joined(one, kind, "bob").await;
        ann.expect_event(Received::Joined("bob".to_owned())).await;
        let resume_point = bob.drop_connection().await;
        let mut bob = ResumingClient::resume(two, kind, &resume_point).await;
        assert!(bob.is_resumed, "{kind:?}");
        // A client that came later and does not connect has its time limit later, too.
        let mut idle = Polling::open(two.into()).await;
        while idle.next().await.is_some() {}
        ann.expect_event(Received::Away("bob".to_owned())).await;
        ann.expect_event(Received::Back("bob".to_owned())).await;
        ann.send_number("bob", 0).await;
        bob.expect_signals("ann", 0..1).await;
        ann.expect_nothing().await;
        bob.close().await;
        ann.expect_event(Received::Left("bob".to_owned())).await;
        ann.close().await;
    }
    for node in nodes {
        assert!(node.stop().await);
    }
}

#[tokio::test]
async fn client_may_wait_longer_for_another_node_than_the_server_for_its_connect() {
    let redis = Redis::start();
    for kind in CLIENT_KINDS {
        let one = node(&redis, "one", &FLAGS);
        let two = process(&redis, "two");
        let bob = ResumingClient::joined(two.address(), kind, "bob").await;
        let resume_point = bob.resume_point();
        two.signal("STOP");
        let mut bob = ResumingClient::resume(&one, kind, &resume_point).await;
        assert!(!bob.is_resumed, "{kind:?}");
        bob.join("r", "bob").await;
        bob.close().await;
        two.signal("KILL");
        two.ended();
        assert!(one.stop().await);
    }
}

#[tokio::test]
async fn session_stays_while_another_node_of_its_room_is_silent() {
    let redis = Redis::start();
    for kind in CLIENT_KINDS {
        let [one, two] = ["one", "two"].map(|name| node(&redis, name, &FLAGS));
        let three = process(&redis, "three");
        let mut cid = ResumingClient::joined(three.address(), ClientKind::WebSocket, "cid").await;
        let mut ann = ResumingClient::joined(&two, ClientKind::Envelope, "ann").await;
        let bob = ResumingClient::joined(&one, kind, "bob").await;
        ann.expect_event(Received::Joined("bob".to_owned())).await;
        cid.expect_event(Received::Joined("ann".to_owned())).await;
        cid.expect_event(Received::Joined("bob".to_owned())).await;
        three.signal("STOP");
        let resume_point = bob.drop_connection().await;
        ann.expect_event(Received::Away("bob".to_owned())).await;
        ann.send_number("bob", 0).await;
        // Signals of the silent node may be on their way, until it is declared dead.
        let mut bob = ResumingClient::resume(&two, kind, &resume_point).await;
        assert!(bob.is_resumed, "{kind:?}");
        ann.expect_left("cid", "disconnected").await;
        ann.expect_event(Received::Back("bob".to_owned())).await;
        let mut events = vec![bob.next_event().await.0, bob.next_event().await.0];
        events.retain(|event| *event != Received::Left("cid".to_owned()));
        let candidate = Some("0".to_owned());
        assert_eq!(events, [Received::Candidate { from: "ann".to_owned(), candidate }]);
        three.signal("KILL");
        three.ended();
        bob.close().await;
        ann.close().await;
        assert!(one.stop().await && two.stop().await);
    }
}
