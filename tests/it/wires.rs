//! What holds on every wire, and between each two of them.

use tokio_tungstenite::MaybeTlsStream;
use tokio_tungstenite::tungstenite::Message;

use crate::support::server::short;
use crate::support::wire::{Heard, NAMELESS, Peer, WIRES, Wire};
use crate::support::{TestServer, stalled};

const SDP: &str = "v=0\r\no=- 46 2 IN IP4 127.0.0.1\r\ns=-\r\n\"quoted\" é 🎥\r\n";
const CANDIDATES: usize = 50;

/// What `hearer` calls the other: a session client knows no name.
fn name_of(other: &Peer, hearer: &Peer) -> String {
    if hearer.wire.announces_peers() { other.id.clone() } else { NAMELESS.to_owned() }
}

/// A call between two: list, joined, offer, answer, candidates in order, left.
async fn call(first: Wire, second: Wire) {
    let server = TestServer::start();
    let mut ann = Peer::join(&server, first, "r", "ann").await;
    assert!(ann.list.is_empty());
    server.until("the first is in", |held| held.peers == 1).await;
    let mut bob = Peer::join(&server, second, "r", "bob").await;
    server.until("both are in", |held| held.peers == 2).await;
    if first.announces_peers() {
        let Heard::Joined(id) = ann.hear().await else { panic!("{first:?} is told of {second:?}") };
        // Nobody but the others knows the id of a session client.
        assert!(bob.id == NAMELESS || bob.id == id, "{id}");
        bob.id = id;
    }
    if second.announces_peers() {
        assert_eq!(bob.list.len(), 1, "{:?}", bob.list);
        assert!(ann.id == NAMELESS || ann.id == bob.list[0]);
        ann.id.clone_from(&bob.list[0]);
    }

    let (ann_to_bob, bob_to_ann) = (name_of(&ann, &bob), name_of(&bob, &ann));
    let (to_bob, to_ann) = (bob.id.clone(), ann.id.clone());
    bob.offer(&to_ann, SDP).await;
    assert_eq!(
        ann.hear().await,
        Heard::Offer { from: bob_to_ann.clone(), sdp: SDP.to_owned() },
        "{second:?} to {first:?}"
    );
    ann.answer(&to_bob, SDP).await;
    assert_eq!(
        bob.hear().await,
        Heard::Answer { from: ann_to_bob.clone(), sdp: SDP.to_owned() },
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
        let expected = Heard::Candidate { from: bob_to_ann.clone(), candidate: candidate.clone() };
        assert_eq!(ann.hear().await, expected, "{second:?} to {first:?}");
        assert_eq!(
            bob.hear().await,
            Heard::Candidate { from: ann_to_bob.clone(), candidate },
            "{first:?} to {second:?}"
        );
    }
    bob.leave().await;
    ann.hear_of_peers(Heard::Left(to_bob)).await;
    ann.close().await;
    server.finish().await;
}

#[tokio::test]
async fn every_pair_of_wires_holds_a_call() {
    for first in WIRES {
        for second in WIRES {
            call(first, second).await;
        }
    }
}

#[tokio::test]
async fn a_target_that_is_not_there_is_refused() {
    for wire in [Wire::SocketIo, Wire::Envelope, Wire::Topic] {
        let server = TestServer::start();
        let mut ann = Peer::join(&server, wire, "r", "ann").await;
        let elsewhere = Peer::join(&server, wire, "s", "bob").await;
        let expected = if wire == Wire::Topic { "target_not_found" } else { "TARGET_NOT_FOUND" };
        for target in ["nobody", &elsewhere.id] {
            ann.offer(target, SDP).await;
            assert_eq!(ann.hear().await, Heard::Error(expected.to_owned()), "{wire:?}");
        }
        elsewhere.close().await;
        ann.close().await;
        server.finish().await;
    }
}

#[tokio::test]
async fn one_room_hears_nothing_of_another() {
    for wire in WIRES {
        let server = TestServer::start();
        let mut ann = Peer::join(&server, wire, "r", "ann").await;
        let mut bob = Peer::join(&server, wire, "r", "bob").await;
        ann.hear_of_peers(Heard::Joined(bob.id.clone())).await;
        let mut cid = Peer::join(&server, wire, "s", "cid").await;
        let mut dan = Peer::join(&server, wire, "s", "dan").await;
        cid.hear_of_peers(Heard::Joined(dan.id.clone())).await;
        let (to_ann, to_cid) = (ann.id.clone(), cid.id.clone());
        dan.offer(&to_cid, "theirs").await;
        assert!(matches!(cid.hear().await, Heard::Offer { sdp, .. } if sdp == "theirs"));
        bob.offer(&to_ann, "ours").await;
        let heard = ann.hear().await;
        assert!(matches!(&heard, Heard::Offer { sdp, .. } if sdp == "ours"), "{wire:?}: {heard:?}");
        for peer in [ann, bob, cid, dan] {
            peer.close().await;
        }
        server.finish().await;
    }
}

#[tokio::test]
async fn a_drop_is_heard_of() {
    for wire in WIRES {
        let server = TestServer::start();
        let mut ann = Peer::join(&server, Wire::SocketIo, "r", "ann").await;
        let bob = Peer::join(&server, wire, "r", "bob").await;
        let Heard::Joined(id) = ann.hear().await else { panic!("{wire:?}") };
        let MaybeTlsStream::Plain(stream) = bob.into_socket().into_inner() else { panic!("no TLS here") };
        socket2::SockRef::from(&stream).set_linger(Some(std::time::Duration::ZERO)).unwrap();
        drop(stream);
        assert_eq!(ann.hear().await, Heard::Left(id), "{wire:?}");
        ann.close().await;
        server.finish().await;
    }
}

#[tokio::test]
async fn a_message_over_the_limit_is_refused() {
    for wire in WIRES {
        let server = TestServer::with(&["--max-message-bytes=4096", "--max-metadata-bytes=1024"]);
        let mut ann = Peer::join(&server, wire, "r", "ann").await;
        ann.offer("nobody", &"x".repeat(6000)).await;
        let heard = ann.hear().await;
        let expected = match wire {
            Wire::SocketIo => Heard::Error("PAYLOAD_TOO_LARGE".to_owned()),
            _ => Heard::Closed(1009),
        };
        assert_eq!(heard, expected, "{wire:?}");
        ann.close().await;
        server.finish().await;
    }
}

#[tokio::test]
async fn a_reader_that_stalls_is_dropped() {
    // All at once: each takes as long as a write may stall.
    let stalls = WIRES.map(|wire| stalled::is_dropped(TestServer::within(&short(), &stalled::FLAGS), wire));
    futures_util::future::join_all(stalls).await;
}

#[tokio::test]
async fn a_shutdown_says_so_on_every_wire() {
    for wire in WIRES {
        let server = TestServer::start();
        let mut ann = Peer::join(&server, wire, "r", "ann").await;
        server.until("it is in", |held| held.peers == 1).await;
        let stopping = tokio::spawn(server.stop());
        let heard = ann.hear().await;
        let expected = match wire {
            Wire::SocketIo => Heard::Error("SHUTTING_DOWN".to_owned()),
            _ => Heard::Closed(1012),
        };
        assert_eq!(heard, expected, "{wire:?}");
        drop(ann);
        assert!(stopping.await.unwrap());
    }
}

#[tokio::test]
async fn binary_messages_are_refused_on_plain_wires() {
    for wire in [Wire::Envelope, Wire::Topic, Wire::Session] {
        let server = TestServer::start();
        let mut ann = Peer::join(&server, wire, "r", "ann").await;
        ann.send_raw(Message::binary(vec![1, 2, 3])).await;
        assert_eq!(ann.hear().await, Heard::Closed(1003), "{wire:?}");
        ann.close().await;
        server.finish().await;
    }
}

#[tokio::test]
async fn a_silent_plain_client_is_found_by_its_heartbeat() {
    // All at once: each takes three heartbeats.
    let silences = [Wire::Envelope, Wire::Topic, Wire::Session].map(async |wire| {
        let server = TestServer::with(&["--ws-ping-seconds=1"]);
        let mut ann = Peer::join(&server, Wire::SocketIo, "r", "ann").await;
        let silent = Peer::join(&server, wire, "r", "silent").await;
        assert!(matches!(ann.hear().await, Heard::Joined(_)));
        assert!(matches!(ann.hear().await, Heard::Left(_)), "{wire:?}");
        drop(silent);
        ann.close().await;
        server.finish().await;
    });
    futures_util::future::join_all(silences).await;
}
