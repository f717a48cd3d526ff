//! Behaviour common to all protocols, and between each pair of them.

use parlor::id::RoomId;
use tokio_tungstenite::MaybeTlsStream;
use tokio_tungstenite::tungstenite::Message;

use crate::support::protocol_peer::{PROTOCOLS, Peer, Protocol, Received, UNNAMED};
use crate::support::server::short;
use crate::support::{TestServer, stalled};

const SDP: &str = "v=0\r\no=- 46 2 IN IP4 127.0.0.1\r\ns=-\r\n\"quoted\" é 🎥\r\n";
const CANDIDATES: usize = 50;

/// Returns the id under which `receiver` knows the other peer, which is anonymous on `/signal`.
fn name_of(other: &Peer, receiver: &Peer) -> String {
    if receiver.protocol.announces_peers() { other.id.clone() } else { UNNAMED.to_owned() }
}

/// Makes a call between two peers: list, joined, offer, answer, candidates in order, left.
async fn call(first: Protocol, second: Protocol) {
    let server = TestServer::start();
    call_between((&server, first), (&server, second), "r").await;
    server.finish().await;
}

/// Makes a call between two peers, on two servers or on one.
pub(crate) async fn call_between(
    (one, first): (&TestServer, Protocol),
    (two, second): (&TestServer, Protocol),
    room: &str,
) {
    let mut ann = Peer::join(one, first, room, "ann").await;
    assert!(ann.list.is_empty());
    one.until("the first has joined", |held| held.peers == 1).await;
    let mut bob = Peer::join(two, second, room, "bob").await;
    let id = RoomId::new(room).unwrap();
    for server in [one, two] {
        server.until("both are in", |_| server.hub().rooms().size(&id) == 2).await;
    }
    if first.announces_peers() {
        let Received::Joined(id) = ann.next_event().await else {
            panic!("{first:?} gets no event for {second:?}")
        };
        // Only other peers know the id of a `/signal` client.
        assert!(bob.id == UNNAMED || bob.id == id, "{id}");
        bob.id = id;
    }
    if second.announces_peers() {
        assert_eq!(bob.list.len(), 1, "{:?}", bob.list);
        assert!(ann.id == UNNAMED || ann.id == bob.list[0]);
        ann.id.clone_from(&bob.list[0]);
    }

    let (ann_to_bob, bob_to_ann) = (name_of(&ann, &bob), name_of(&bob, &ann));
    let (to_bob, to_ann) = (bob.id.clone(), ann.id.clone());
    bob.offer(&to_ann, SDP).await;
    assert_eq!(
        ann.next_event().await,
        Received::Offer { from: bob_to_ann.clone(), sdp: SDP.to_owned() },
        "{second:?} to {first:?}"
    );
    ann.answer(&to_bob, SDP).await;
    assert_eq!(
        bob.next_event().await,
        Received::Answer { from: ann_to_bob.clone(), sdp: SDP.to_owned() },
        "{first:?} to {second:?}"
    );
    for number in 0..CANDIDATES {
        bob.candidate(&to_ann, Some(&format!("candidate:{number}"))).await;
        ann.candidate(&to_bob, Some(&format!("candidate:{number}"))).await;
    }
    bob.candidate(&to_ann, None).await;
    ann.candidate(&to_bob, None).await;
    for number in 0..=CANDIDATES {
        let candidate = (number < CANDIDATES).then(|| format!("candidate:{number}"));
        let expected =
            Received::Candidate { from: bob_to_ann.clone(), candidate: candidate.clone() };
        assert_eq!(ann.next_event().await, expected, "{second:?} to {first:?}");
        assert_eq!(
            bob.next_event().await,
            Received::Candidate { from: ann_to_bob.clone(), candidate },
            "{first:?} to {second:?}"
        );
    }
    bob.leave().await;
    ann.expect_presence(Received::Left(to_bob)).await;
    ann.close().await;
}

#[tokio::test]
async fn every_pair_of_protocols_holds_a_call() {
    for first in PROTOCOLS {
        for second in PROTOCOLS {
            call(first, second).await;
        }
    }
}

#[tokio::test]
async fn missing_target_is_refused() {
    for protocol in [Protocol::SocketIo, Protocol::Envelope, Protocol::Topic] {
        let server = TestServer::start();
        let mut ann = Peer::join(&server, protocol, "r", "ann").await;
        let elsewhere = Peer::join(&server, protocol, "s", "bob").await;
        let expected =
            if protocol == Protocol::Topic { "target_not_found" } else { "TARGET_NOT_FOUND" };
        for target in ["missing", &elsewhere.id] {
            ann.offer(target, SDP).await;
            assert_eq!(
                ann.next_event().await,
                Received::Error(expected.to_owned()),
                "{protocol:?}"
            );
        }
        elsewhere.close().await;
        ann.close().await;
        server.finish().await;
    }
}

#[tokio::test]
async fn rooms_are_isolated() {
    for protocol in PROTOCOLS {
        let server = TestServer::start();
        let mut ann = Peer::join(&server, protocol, "r", "ann").await;
        let mut bob = Peer::join(&server, protocol, "r", "bob").await;
        ann.expect_presence(Received::Joined(bob.id.clone())).await;
        let mut cid = Peer::join(&server, protocol, "s", "cid").await;
        let mut dan = Peer::join(&server, protocol, "s", "dan").await;
        cid.expect_presence(Received::Joined(dan.id.clone())).await;
        let (to_ann, to_cid) = (ann.id.clone(), cid.id.clone());
        dan.offer(&to_cid, "theirs").await;
        assert!(matches!(cid.next_event().await, Received::Offer { sdp, .. } if sdp == "theirs"));
        bob.offer(&to_ann, "ours").await;
        let observed = ann.next_event().await;
        assert!(
            matches!(&observed, Received::Offer { sdp, .. } if sdp == "ours"),
            "{protocol:?}: {observed:?}"
        );
        for peer in [ann, bob, cid, dan] {
            peer.close().await;
        }
        server.finish().await;
    }
}

#[tokio::test]
async fn dropped_peer_is_announced() {
    for protocol in PROTOCOLS {
        let server = TestServer::start();
        let mut ann = Peer::join(&server, Protocol::SocketIo, "r", "ann").await;
        let bob = Peer::join(&server, protocol, "r", "bob").await;
        let Received::Joined(id) = ann.next_event().await else { panic!("{protocol:?}") };
        let MaybeTlsStream::Plain(stream) = bob.into_socket().into_inner() else {
            panic!("no TLS here")
        };
        socket2::SockRef::from(&stream).set_linger(Some(std::time::Duration::ZERO)).unwrap();
        drop(stream);
        assert_eq!(ann.next_event().await, Received::Left(id), "{protocol:?}");
        ann.close().await;
        server.finish().await;
    }
}

#[tokio::test]
async fn message_over_the_limit_is_refused() {
    for protocol in PROTOCOLS {
        let server = TestServer::with(&["--max-message-bytes=4096", "--max-metadata-bytes=1024"]);
        let mut ann = Peer::join(&server, protocol, "r", "ann").await;
        ann.offer("missing", &"x".repeat(6000)).await;
        let observed = ann.next_event().await;
        let expected = match protocol {
            Protocol::SocketIo => Received::Error("PAYLOAD_TOO_LARGE".to_owned()),
            _ => Received::Closed(1009),
        };
        assert_eq!(observed, expected, "{protocol:?}");
        ann.close().await;
        server.finish().await;
    }
}

#[tokio::test]
async fn stalled_reader_is_disconnected() {
    // All protocols at once: each takes as long as a write may stall.
    let stalls = PROTOCOLS.map(|protocol| {
        stalled::is_dropped(TestServer::within(&short(), &stalled::FLAGS), protocol)
    });
    futures_util::future::join_all(stalls).await;
}

#[tokio::test]
async fn shutdown_is_announced_on_every_protocol() {
    for protocol in PROTOCOLS {
        let server = TestServer::start();
        let mut ann = Peer::join(&server, protocol, "r", "ann").await;
        server.until("it has joined", |held| held.peers == 1).await;
        let stopping = tokio::spawn(server.stop());
        let observed = ann.next_event().await;
        let expected = match protocol {
            Protocol::SocketIo => Received::Error("SHUTTING_DOWN".to_owned()),
            _ => Received::Closed(1012),
        };
        assert_eq!(observed, expected, "{protocol:?}");
        drop(ann);
        assert!(stopping.await.unwrap());
    }
}

#[tokio::test]
async fn binary_messages_are_refused_on_plain_protocols() {
    for protocol in [Protocol::Envelope, Protocol::Topic, Protocol::Session] {
        let server = TestServer::start();
        let mut ann = Peer::join(&server, protocol, "r", "ann").await;
        ann.send_raw(Message::binary(vec![1, 2, 3])).await;
        assert_eq!(ann.next_event().await, Received::Closed(1003), "{protocol:?}");
        ann.close().await;
        server.finish().await;
    }
}

#[tokio::test]
async fn silent_plain_client_is_detected_by_its_heartbeat() {
    // All protocols at once: each takes three heartbeats.
    let silences = [Protocol::Envelope, Protocol::Topic, Protocol::Session].map(async |protocol| {
        let server = TestServer::with(&["--ws-ping-seconds=1"]);
        let mut ann = Peer::join(&server, Protocol::SocketIo, "r", "ann").await;
        let silent = Peer::join(&server, protocol, "r", "silent").await;
        assert!(matches!(ann.next_event().await, Received::Joined(_)));
        assert!(matches!(ann.next_event().await, Received::Left(_)), "{protocol:?}");
        drop(silent);
        ann.close().await;
        server.finish().await;
    });
    futures_util::future::join_all(silences).await;
}
