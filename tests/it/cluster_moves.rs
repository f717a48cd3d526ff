//! Clients that resume their session on another node of the cluster.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use parlor::id::RoomId;
use serde_json::json;

use crate::cluster_nodes::{node, process};
use crate::support::TestServer;
use crate::support::protocol_peer::Received;
use crate::support::raw::Raw;
use crate::support::redis::Redis;
use crate::support::resuming_client::{CLIENT_KINDS, ClientKind, Loss, ResumingClient};
use crate::support::server::LIMIT;
use crate::support::tokens::{Issuer, SECRET};

const RESUME: &str = "--resume-seconds=30";

fn away(id: &str) -> Received {
    Received::Away(id.to_owned())
}

fn back(id: &str) -> Received {
    Received::Back(id.to_owned())
}

/// Asserts that the next messages are these numbers of each sender, in order for each of them.
async fn hears_of_each(client: &mut ResumingClient, expected: &[(&str, std::ops::Range<usize>)]) {
    let mut next: BTreeMap<&str, _> =
        expected.iter().map(|(from, numbers)| (*from, numbers.clone())).collect();
    while next.values().any(|numbers| !numbers.is_empty()) {
        let (observed, response) = client.next_event().await;
        let Received::Candidate { from, candidate } = observed else {
            panic!("{observed:?}: {response}")
        };
        let expected = next.get_mut(from.as_str()).and_then(Iterator::next);
        assert_eq!(candidate, expected.map(|number| number.to_string()), "from {from}: {next:?}");
    }
}

/// Two who see each other come: `ann` first, and `bob`.
async fn pair(
    (one, ann): (impl Into<SocketAddr>, ClientKind),
    (two, bob): (impl Into<SocketAddr>, ClientKind),
) -> (ResumingClient, ResumingClient) {
    let mut ann = ResumingClient::joined(one, ann, "ann").await;
    let bob = ResumingClient::joined(two, bob, "bob").await;
    ann.expect_event(Received::Joined("bob".to_owned())).await;
    (ann, bob)
}

/// Waits until the engine has no rooms.
async fn until_no_rooms(server: &TestServer) {
    let waiting = async {
        while reqwest::get(server.url("/api/rooms")).await.unwrap().headers()["x-total-count"]
            != "0"
        {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(LIMIT, waiting).await.expect("all peers leave");
}

async fn finish<const N: usize, const M: usize>(
    clients: [ResumingClient; N],
    servers: [TestServer; M],
) {
    for mut client in clients {
        client.rest().await;
        client.close().await;
    }
    for server in servers {
        server.finish().await;
    }
}

#[tokio::test]
async fn session_moves_from_node_to_node() {
    let redis = Redis::start();
    for kind in CLIENT_KINDS {
        let nodes = ["one", "two", "three"].map(|name| node(&redis, name, &[RESUME]));
        let [one, two, three] = &nodes;
        let (mut ann, mut bob) = pair((one, ClientKind::WebSocket), (one, kind)).await;
        let mut cid = ResumingClient::joined(two, ClientKind::Envelope, "cid").await;
        ann.expect_event(Received::Joined("cid".to_owned())).await;
        bob.expect_event(Received::Joined("cid".to_owned())).await;
        let (id, mut sent) = (bob.id.clone(), 0);
        // To a node without peers of the room, to one with them, and back to the first.
        for server in [three, two, one] {
            let before = bob.resume_point().resume_token;
            let resume_point = bob.drop_connection().await;
            for peer in [&mut ann, &mut cid] {
                peer.expect_event(away("bob")).await;
                peer.send_numbers("bob", sent..sent + 5).await;
            }
            bob = ResumingClient::resume(server, kind, &resume_point).await;
            assert!(bob.is_resumed, "{kind:?}");
            assert!(
                kind == ClientKind::Envelope || bob.id == id,
                "its peers know it by the same id"
            );
            assert_ne!(bob.resume_point().resume_token, before, "a move replaces the token");
            for peer in [&mut ann, &mut cid] {
                peer.expect_event(back("bob")).await;
                peer.send_number("bob", sent + 5).await;
            }
            hears_of_each(&mut bob, &[("ann", sent..sent + 6), ("cid", sent..sent + 6)]).await;
            for (peer, name) in [(&mut ann, "ann"), (&mut cid, "cid")] {
                bob.send_number(name, sent).await;
                peer.expect_signals("bob", sent..sent + 1).await;
                peer.expect_nothing().await;
            }
            bob.expect_nothing().await;
            sent += 6;
        }
        finish([bob, cid, ann], nodes).await;
    }
}

#[tokio::test]
async fn session_of_an_open_connection_moves() {
    let redis = Redis::start();
    for kind in CLIENT_KINDS {
        let nodes = ["one", "two"].map(|name| node(&redis, name, &[RESUME]));
        let (mut ann, bob) = pair((&nodes[0], ClientKind::Envelope), (&nodes[0], kind)).await;
        // For its network the connection is still there.
        let (resume_point, lost) = bob.lose(Loss::Silence).await;
        ann.send_number("bob", 0).await;
        let mut bob = ResumingClient::resume(&nodes[1], kind, &resume_point).await;
        assert!(bob.is_resumed, "{kind:?}");
        ann.expect_event(away("bob")).await;
        ann.expect_event(back("bob")).await;
        bob.expect_signals("ann", 0..1).await;
        bob.send_number("ann", 1).await;
        ann.expect_signals("bob", 1..2).await;
        drop(lost);
        ann.expect_nothing().await;
        finish([bob, ann], nodes).await;
    }
}

#[tokio::test]
async fn signals_during_a_move_arrive_once_and_in_order() {
    let redis = Redis::start();
    let nodes = ["one", "two", "three"].map(|name| node(&redis, name, &[RESUME]));
    let [one, two, three] = &nodes;
    for kind in CLIENT_KINDS {
        let (mut ann, bob) = pair((one, ClientKind::WebSocket), (one, kind)).await;
        let mut cid = ResumingClient::joined(two, ClientKind::WebSocket, "cid").await;
        ann.expect_event(Received::Joined("cid".to_owned())).await;
        let mut resume_point = bob.drop_connection().await;
        let mut sent = 0;
        let mut missed = Some(Received::Joined("cid".to_owned()));
        for (round, server) in [two, three, one, three].into_iter().enumerate() {
            let moving = async {
                let mut bob = ResumingClient::resume(server, kind, &resume_point).await;
                assert!(bob.is_resumed, "{kind:?}, round {round}");
                if let Some(missed) = missed.take() {
                    bob.expect_event(missed).await;
                }
                bob
            };
            let (mut bob, (), ()) = tokio::join!(
                moving,
                ann.send_numbers("bob", sent..sent + 40),
                cid.send_numbers("bob", sent..sent + 40)
            );
            sent += 40;
            hears_of_each(&mut bob, &[("ann", sent - 40..sent), ("cid", sent - 40..sent)]).await;
            bob.expect_nothing().await;
            resume_point = bob.drop_connection().await;
        }
        let bob = ResumingClient::resume(two, kind, &resume_point).await;
        for peer in [&mut ann, &mut cid] {
            let mut events = Vec::new();
            while events.len() < 10 {
                events.push(peer.next_event().await.0);
            }
            let expected: Vec<_> = (0..5).flat_map(|_| [away("bob"), back("bob")]).collect();
            assert_eq!(events, expected, "{kind:?}");
            peer.expect_nothing().await;
        }
        for client in [bob, cid, ann] {
            client.close().await;
        }
        until_no_rooms(one).await;
    }
    finish([], nodes).await;
}

#[tokio::test]
async fn both_peers_move_at_once() {
    let redis = Redis::start();
    let nodes = ["one", "two", "three"].map(|name| node(&redis, name, &[RESUME]));
    let [one, two, three] = &nodes;
    for (first, second) in [(two, one), (three, three), (two, three)] {
        let (ann, mut bob) = pair((one, ClientKind::WebSocket), (two, ClientKind::Envelope)).await;
        bob.send_number("ann", 0).await;
        let ann = ann.drop_connection().await;
        bob.expect_event(away("ann")).await;
        bob.send_number("ann", 1).await;
        let bob = bob.drop_connection().await;
        let (mut ann, mut bob) = tokio::join!(
            ResumingClient::resume(first, ClientKind::WebSocket, &ann),
            ResumingClient::resume(second, ClientKind::Envelope, &bob)
        );
        assert!(ann.is_resumed && bob.is_resumed);
        ann.send_number("bob", 0).await;
        bob.send_number("ann", 2).await;
        let signals_of = |events: Vec<Received>| -> Vec<String> {
            let signals = events.into_iter().filter_map(|event| match event {
                Received::Candidate { candidate, .. } => candidate,
                Received::Away(_) | Received::Back(_) => None,
                other => panic!("{other:?}"),
            });
            signals.collect()
        };
        let mut of_bob = Vec::new();
        while signals_of(of_bob.clone()).len() < 3 {
            of_bob.push(ann.next_event().await.0);
        }
        assert_eq!(signals_of(of_bob), ["0", "1", "2"]);
        let mut of_ann = Vec::new();
        while signals_of(of_ann.clone()).is_empty() {
            of_ann.push(bob.next_event().await.0);
        }
        assert_eq!(signals_of(of_ann), ["0"]);
        for client in [ann, bob] {
            client.close().await;
        }
        until_no_rooms(one).await;
    }
    finish([], nodes).await;
}

#[tokio::test]
async fn session_of_a_killed_node_is_refused_and_its_client_joins_afresh() {
    let redis = Redis::start();
    for kind in CLIENT_KINDS {
        let one = node(&redis, "one", &[RESUME]);
        let two = process(&redis, "two");
        let (mut ann, bob) = pair((&one, ClientKind::WebSocket), (&two, kind)).await;
        let resume_point = bob.resume_point();
        two.signal("KILL");
        two.ended();
        let killed = Instant::now();
        let mut bob = ResumingClient::resume(&one, kind, &resume_point).await;
        assert!(!bob.is_resumed);
        assert!(killed.elapsed() < Duration::from_secs(4), "refused after {:?}", killed.elapsed());
        assert_eq!(bob.join("r", "bob").await, ["ann"]);
        // The former peer of this name is replaced at once.
        ann.expect_left("bob", "replaced").await;
        ann.expect_event(Received::Joined("bob".to_owned())).await;
        ann.send_number("bob", 0).await;
        bob.expect_signals("ann", 0..1).await;
        finish([bob, ann], [one]).await;
    }
}

#[tokio::test]
async fn session_moves_from_a_node_that_drains() {
    let redis = Redis::start();
    for kind in CLIENT_KINDS {
        let one = node(&redis, "one", &[RESUME]);
        let two = process(&redis, "two");
        let (mut ann, bob) = pair((&one, ClientKind::WebSocket), (&two, kind)).await;
        let mut bob = bob;
        bob.send_number("ann", 0).await;
        ann.expect_signals("bob", 0..1).await;
        two.signal("TERM");
        let began = Instant::now();
        ann.expect_event(away("bob")).await;
        ann.send_numbers("bob", 0..10).await;
        if kind == ClientKind::WebSocket || kind == ClientKind::Polling {
            let last = bob.next().await;
            assert!(last.contains("SHUTTING_DOWN"), "{last}");
        }
        let resume_point = bob.resume_point();
        bob.ended().await;
        let mut bob = ResumingClient::resume(&one, kind, &resume_point).await;
        assert!(bob.is_resumed, "{kind:?}");
        ann.expect_event(back("bob")).await;
        bob.expect_signals("ann", 0..10).await;
        bob.send_number("ann", 1).await;
        ann.expect_signals("bob", 1..2).await;
        assert_eq!(two.ended().code(), Some(0));
        assert!(
            began.elapsed() < Duration::from_secs(8),
            "it ends as soon as its sessions have moved"
        );
        ann.expect_nothing().await;
        bob.expect_nothing().await;
        finish([bob, ann], [one]).await;
    }
}

#[tokio::test]
async fn client_that_leaves_a_draining_node_by_itself_is_not_away() {
    let redis = Redis::start();
    let one = node(&redis, "one", &[RESUME]);
    for kind in [ClientKind::WebSocket, ClientKind::Envelope] {
        // The order in which the server asks its clients to disconnect is random.
        let mut has_left = false;
        for _ in 0..5 {
            let two = process(&redis, "two");
            let (mut ann, bob) = pair((&one, ClientKind::WebSocket), (&two, kind)).await;
            // The drain takes a second.
            let mut others = Vec::new();
            for number in 0..50 {
                others.push(Raw::websocket(two.address(), &format!("/ws/other-{number}")).await);
            }
            two.signal("TERM");
            two.until_printed("shutting down");
            bob.close().await;
            let (event, text) = ann.next_event().await;
            has_left = event == Received::Left("bob".to_owned());
            assert!(has_left || event == away("bob"), "{text}");
            ann.close().await;
            if has_left {
                break;
            }
            // Its name is in use until then.
            let ended = tokio::task::spawn_blocking(move || two.ended()).await.unwrap();
            assert_eq!(ended.code(), Some(0));
        }
        assert!(has_left, "{kind:?}");
    }
    assert!(one.stop().await);
}

#[tokio::test]
async fn session_that_is_away_when_its_node_drains_moves() {
    let redis = Redis::start();
    for kind in CLIENT_KINDS {
        let (one, two) = (node(&redis, "one", &[RESUME]), node(&redis, "two", &[RESUME]));
        let (mut ann, bob) = pair((&one, ClientKind::WebSocket), (&two, kind)).await;
        let resume_point = bob.drop_connection().await;
        ann.expect_event(away("bob")).await;
        ann.send_number("bob", 0).await;
        two.hub().begin_drain();
        for id in two.hub().rooms().connections_in(&RoomId::new("r").unwrap()) {
            two.hub().drain_one(id);
        }
        let mut bob = ResumingClient::resume(&one, kind, &resume_point).await;
        assert!(bob.is_resumed, "{kind:?}");
        ann.expect_event(back("bob")).await;
        bob.expect_signals("ann", 0..1).await;
        ann.expect_nothing().await;
        bob.expect_nothing().await;
        assert!(two.stop().await);
        finish([bob, ann], [one]).await;
    }
}

#[tokio::test]
async fn only_its_own_user_moves_a_session() {
    let redis = Redis::start();
    let issuer = Issuer::secret(SECRET);
    let nodes = ["one", "two"].map(|name| node(&redis, name, &[&issuer.flag(), RESUME]));
    let [one, two] = &nodes;
    for kind in CLIENT_KINDS {
        let (ann, bob) = (issuer.token("ann", &json!({})), issuer.token("bob", &json!({})));
        let mut client = ResumingClient::connect(one, kind, None, Some(&ann)).await.unwrap();
        client.join("r", "ann").await;
        let resume_point = client.drop_connection().await;
        let other =
            ResumingClient::connect(two, kind, Some(&resume_point), Some(&bob)).await.unwrap();
        assert!(!other.is_resumed, "{kind:?}");
        other.close().await;
        let client =
            ResumingClient::connect(two, kind, Some(&resume_point), Some(&ann)).await.unwrap();
        assert!(client.is_resumed, "{kind:?}");
        client.close().await;
        until_no_rooms(two).await;
    }
    finish([], nodes).await;
}
