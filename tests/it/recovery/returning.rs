//! Clients that resume their session in time, after losses of every kind.

use super::{all_go, away, back, two};
use crate::support::TestServer;
use crate::support::protocol_peer::Received;
use crate::support::resuming_client::{Loss, ResumingClient, Way};
use crate::support::scrape::Scrape;

/// So short that silence is found soon.
const HEARTBEAT: [&str; 3] = ["--ping-interval-ms=500", "--ping-timeout-ms=500", "--ws-ping-seconds=1"];

/// Lost in some way, spoken to meanwhile, and back: `ann`, who is connected in a given way, sees it go and come.
async fn resumes(way: Way, ann: Way, how: Loss, flags: &[&str]) {
    let server = TestServer::with(&[&["--resume-seconds=10"], flags].concat());
    let mut ann = ResumingClient::joined(&server, ann, "ann").await;
    let mut bob = ResumingClient::joined(&server, way, "bob").await;
    ann.hears(Received::Joined("bob".to_owned())).await;
    ann.say("bob", 0).await;
    bob.hears_all("ann", 0..1).await;
    let id = bob.id.clone();
    let (ticket, lost) = bob.lose(how).await;
    ann.hears(away("bob")).await;
    assert_eq!(server.held().away, 1);
    ann.send_all("bob", 1..20).await;
    let mut bob = ResumingClient::back(&server, way, &ticket).await;
    assert!(bob.is_back);
    assert!(way == Way::Envelope || (&bob.id, bob.ticket().key) == (&id, ticket.key), "it is the same as before");
    ann.hears(back("bob")).await;
    // Nothing lost, nothing twice, and what was missed before what is new.
    ann.say("bob", 20).await;
    bob.hears_all("ann", 1..21).await;
    bob.say("ann", 21).await;
    ann.hears_all("bob", 21..22).await;
    drop(lost);
    bob.hears_nothing().await;
    ann.hears_nothing().await;
    let scrape = Scrape::of(&server).await;
    assert_eq!(scrape.count(r#"parlor_resumptions_total{outcome="recovered"}"#), 1);
    assert_eq!(scrape.count("parlor_away"), 0);
    all_go(server, [bob, ann]).await;
}

pub(super) async fn after_a_reset(way: Way) {
    resumes(way, way, Loss::Reset, &[]).await;
}

pub(super) async fn after_an_end_without_a_close_frame(way: Way) {
    resumes(way, way, Loss::End, &[]).await;
}

pub(super) async fn after_silence(way: Way) {
    // With a longer heartbeat, since the test does not read all the time.
    let (ann, heartbeat) = match way {
        Way::Envelope => (Way::WebSocket, &HEARTBEAT[2..]),
        Way::WebSocket | Way::Polling => (Way::Envelope, &HEARTBEAT[..2]),
    };
    resumes(way, ann, Loss::Silence, heartbeat).await;
}

pub(super) async fn again_and_again(way: Way) {
    let server = TestServer::with(&["--resume-seconds=10"]);
    let (mut ann, mut bob) = two(&server, way).await;
    let mut sent = 0;
    for _ in 0..5 {
        let ticket = bob.drops().await;
        ann.hears(away("bob")).await;
        ann.send_all("bob", sent..sent + 5).await;
        bob = ResumingClient::back(&server, way, &ticket).await;
        assert!(bob.is_back);
        ann.hears(back("bob")).await;
        bob.hears_all("ann", sent..sent + 5).await;
        sent += 5;
    }
    all_go(server, [bob, ann]).await;
}

pub(super) async fn before_any_message_arrived(way: Way) {
    let server = TestServer::with(&["--resume-seconds=10"]);
    let (mut ann, bob) = two(&server, way).await;
    let ticket = bob.drops().await;
    ann.hears(away("bob")).await;
    ann.say("bob", 0).await;
    let mut bob = ResumingClient::back(&server, way, &ticket.from(None)).await;
    assert!(bob.is_back);
    ann.hears(back("bob")).await;
    if way == Way::Envelope {
        bob.hears_hello().await;
    }
    bob.hears_list().await;
    bob.hears_all("ann", 0..1).await;
    all_go(server, [bob, ann]).await;
}

pub(super) async fn to_missed_events(way: Way) {
    let server = TestServer::with(&["--resume-seconds=10"]);
    let (mut ann, bob) = two(&server, way).await;
    let ticket = bob.drops().await;
    ann.hears(away("bob")).await;
    let mut cid = ResumingClient::joined(&server, way, "cid").await;
    ann.hears(Received::Joined("cid".to_owned())).await;
    cid.say("bob", 0).await;
    ann.say("bob", 1).await;
    cid.close().await;
    ann.hears_left("cid", "disconnected").await;
    let mut bob = ResumingClient::back(&server, way, &ticket).await;
    ann.hears(back("bob")).await;
    bob.hears(Received::Joined("cid".to_owned())).await;
    bob.hears_all("cid", 0..1).await;
    bob.hears_all("ann", 1..2).await;
    bob.hears_left("cid", "disconnected").await;
    bob.hears_nothing().await;
    all_go(server, [bob, ann]).await;
}

pub(super) async fn to_all_its_rooms(way: Way) {
    let server = TestServer::with(&["--resume-seconds=10"]);
    let (mut ann, mut bob) = two(&server, way).await;
    let mut cid = ResumingClient::come(&server, way, None, None).await.unwrap();
    cid.join("s", "cid").await;
    assert_eq!(bob.join("s", "bob in s").await, ["cid"]);
    cid.hears(Received::Joined("bob in s".to_owned())).await;
    let ticket = bob.drops().await;
    ann.hears(away("bob")).await;
    cid.hears(away("bob in s")).await;
    cid.say_in("s", "bob in s", 0).await.unwrap();
    ann.say("bob", 1).await;
    let mut bob = ResumingClient::back(&server, way, &ticket).await;
    ann.hears(back("bob")).await;
    cid.hears(back("bob in s")).await;
    bob.hears_all("cid", 0..1).await;
    bob.hears_all("ann", 1..2).await;
    bob.say_in("s", "cid", 2).await.unwrap();
    cid.hears_all("bob in s", 2..3).await;
    all_go(server, [bob, cid, ann]).await;
}

pub(super) async fn to_more_than_a_queue_holds(way: Way) {
    let server = TestServer::with(&["--resume-seconds=10", "--send-queue=8", "--messages-per-second=0"]);
    let (mut ann, bob) = two(&server, way).await;
    let ticket = bob.drops().await;
    ann.hears(away("bob")).await;
    ann.send_all("bob", 0..200).await;
    let mut bob = ResumingClient::back(&server, way, &ticket).await;
    bob.hears_all("ann", 0..200).await;
    bob.hears_nothing().await;
    all_go(server, [bob, ann]).await;
}

pub(super) async fn to_a_peer_that_was_away_too(way: Way) {
    let server = TestServer::with(&["--resume-seconds=10"]);
    let (mut ann, mut bob) = two(&server, way).await;
    let ticket_of_ann = ann.drops().await;
    bob.hears(away("ann")).await;
    bob.say("ann", 0).await;
    let ticket_of_bob = bob.drops().await;
    server.until("both are away", |held| held.away == 2).await;
    ann = ResumingClient::back(&server, way, &ticket_of_ann).await;
    ann.hears_all("bob", 0..1).await;
    ann.hears(away("bob")).await;
    ann.say("bob", 1).await;
    bob = ResumingClient::back(&server, way, &ticket_of_bob).await;
    ann.hears(back("bob")).await;
    bob.hears(back("ann")).await;
    bob.hears_all("ann", 1..2).await;
    bob.say("ann", 2).await;
    ann.hears_all("bob", 2..3).await;
    all_go(server, [bob, ann]).await;
}

/// The client receives some of the missed frames, drops again, and continues from there.
pub(super) async fn after_a_drop_during_the_replay(way: Way) {
    let server = TestServer::with(&["--resume-seconds=10"]);
    let (mut ann, bob) = two(&server, way).await;
    let ticket = bob.drops().await;
    ann.hears(away("bob")).await;
    ann.send_all("bob", 0..30).await;
    let mut halfway = ResumingClient::back(&server, way, &ticket).await;
    ann.hears(back("bob")).await;
    halfway.hears_all("ann", 0..12).await;
    let ticket = halfway.ticket();
    halfway.reset().await;
    ann.hears(away("bob")).await;
    ann.say("bob", 30).await;
    let mut bob = ResumingClient::back(&server, way, &ticket).await;
    assert!(bob.is_back);
    bob.hears_all("ann", 12..31).await;
    bob.hears_nothing().await;
    all_go(server, [bob, ann]).await;
}

/// The resume token is accepted, but the client does not receive the reply.
pub(super) async fn after_a_drop_before_the_reply(way: Way) {
    let server = TestServer::with(&["--resume-seconds=10"]);
    let (mut ann, bob) = two(&server, way).await;
    let ticket = bob.drops().await;
    ann.hears(away("bob")).await;
    ann.send_all("bob", 0..5).await;
    ResumingClient::come_in_vain(&server, way, &ticket).await;
    ann.hears(back("bob")).await;
    if way != Way::Polling {
        ann.hears(away("bob")).await;
    }
    ann.say("bob", 5).await;
    let mut bob = ResumingClient::back(&server, way, &ticket).await;
    assert!(bob.is_back);
    if way != Way::Polling {
        ann.hears(back("bob")).await;
    }
    bob.hears_all("ann", 0..6).await;
    all_go(server, [bob, ann]).await;
}

/// The newer connection takes over, and no peer notices.
pub(super) async fn while_the_older_connection_looks_alive(way: Way) {
    let server = TestServer::with(&["--resume-seconds=10"]);
    let (mut ann, older) = two(&server, way).await;
    ann.say("bob", 0).await;
    let mut newer = ResumingClient::back(&server, way, &older.ticket()).await;
    assert!(newer.is_back);
    newer.hears_all("ann", 0..1).await;
    ann.say("bob", 1).await;
    newer.hears_all("ann", 1..2).await;
    older.ended().await;
    ann.hears_nothing().await;
    newer.close().await;
    ann.hears_left("bob", "disconnected").await;
    all_go(server, [ann]).await;
}

pub(super) async fn by_the_other_transport(way: Way) {
    let other = if way == Way::Polling { Way::WebSocket } else { Way::Polling };
    let server = TestServer::with(&["--resume-seconds=10"]);
    let (mut ann, bob) = two(&server, way).await;
    let ticket = bob.drops().await;
    ann.hears(away("bob")).await;
    ann.send_all("bob", 0..5).await;
    let mut bob = ResumingClient::back(&server, other, &ticket).await;
    assert!(bob.is_back);
    ann.hears(back("bob")).await;
    bob.hears_all("ann", 0..5).await;
    bob.say("ann", 5).await;
    ann.hears_all("bob", 5..6).await;
    all_go(server, [bob, ann]).await;
}
