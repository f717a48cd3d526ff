//! Clients that resume their session in time, after connection losses of every kind.

use super::{away, back, close_all, two};
use crate::support::TestServer;
use crate::support::protocol_peer::Received;
use crate::support::resuming_client::{ClientKind, Loss, ResumingClient};
use crate::support::scrape::Scrape;

/// Short, so that silence is detected soon.
const HEARTBEAT: [&str; 3] =
    ["--ping-interval-ms=500", "--ping-timeout-ms=500", "--ws-ping-seconds=1"];

/// Loses the connection of `bob`, sends signals while it is away, and resumes; `ann` is notified
/// that it is away and back.
async fn resumes(kind: ClientKind, ann: ClientKind, how: Loss, flags: &[&str]) {
    let server = TestServer::with(&[&["--resume-seconds=10"], flags].concat());
    let mut ann = ResumingClient::joined(&server, ann, "ann").await;
    let mut bob = ResumingClient::joined(&server, kind, "bob").await;
    ann.expect_event(Received::Joined("bob".to_owned())).await;
    ann.send_number("bob", 0).await;
    bob.expect_signals("ann", 0..1).await;
    let id = bob.id.clone();
    let (resume_point, lost) = bob.lose(how).await;
    ann.expect_event(away("bob")).await;
    assert_eq!(server.held().away, 1);
    ann.send_numbers("bob", 1..20).await;
    let mut bob = ResumingClient::resume(&server, kind, &resume_point).await;
    assert!(bob.is_resumed);
    assert!(
        kind == ClientKind::Envelope
            || (&bob.id, bob.resume_point().resume_token) == (&id, resume_point.resume_token),
        "the connection id is unchanged"
    );
    ann.expect_event(back("bob")).await;
    // Nothing is lost or repeated, and missed signals precede new ones.
    ann.send_number("bob", 20).await;
    bob.expect_signals("ann", 1..21).await;
    bob.send_number("ann", 21).await;
    ann.expect_signals("bob", 21..22).await;
    drop(lost);
    bob.expect_nothing().await;
    ann.expect_nothing().await;
    let scrape = Scrape::of(&server).await;
    assert_eq!(scrape.count(r#"parlor_resumptions_total{outcome="recovered"}"#), 1);
    assert_eq!(scrape.count("parlor_away"), 0);
    close_all(server, [bob, ann]).await;
}

pub(super) async fn resumes_after_a_reset(kind: ClientKind) {
    resumes(kind, kind, Loss::Reset, &[]).await;
}

pub(super) async fn resumes_after_an_end_without_a_close_frame(kind: ClientKind) {
    resumes(kind, kind, Loss::End, &[]).await;
}

pub(super) async fn resumes_after_silence(kind: ClientKind) {
    // With a longer heartbeat, since the test does not read all the time.
    let (ann, heartbeat) = match kind {
        ClientKind::Envelope => (ClientKind::WebSocket, &HEARTBEAT[2..]),
        ClientKind::WebSocket | ClientKind::Polling => (ClientKind::Envelope, &HEARTBEAT[..2]),
    };
    resumes(kind, ann, Loss::Silence, heartbeat).await;
}

pub(super) async fn resumes_repeatedly(kind: ClientKind) {
    let server = TestServer::with(&["--resume-seconds=10"]);
    let (mut ann, mut bob) = two(&server, kind).await;
    let mut sent = 0;
    for _ in 0..5 {
        let resume_point = bob.drop_connection().await;
        ann.expect_event(away("bob")).await;
        ann.send_numbers("bob", sent..sent + 5).await;
        bob = ResumingClient::resume(&server, kind, &resume_point).await;
        assert!(bob.is_resumed);
        ann.expect_event(back("bob")).await;
        bob.expect_signals("ann", sent..sent + 5).await;
        sent += 5;
    }
    close_all(server, [bob, ann]).await;
}

pub(super) async fn resumes_before_any_message_arrived(kind: ClientKind) {
    let server = TestServer::with(&["--resume-seconds=10"]);
    let (mut ann, bob) = two(&server, kind).await;
    let resume_point = bob.drop_connection().await;
    ann.expect_event(away("bob")).await;
    ann.send_number("bob", 0).await;
    let mut bob = ResumingClient::resume(&server, kind, &resume_point.from(None)).await;
    assert!(bob.is_resumed);
    ann.expect_event(back("bob")).await;
    if kind == ClientKind::Envelope {
        bob.expect_first_message().await;
    }
    bob.expect_member_list().await;
    bob.expect_signals("ann", 0..1).await;
    close_all(server, [bob, ann]).await;
}

pub(super) async fn missed_events_are_replayed(kind: ClientKind) {
    let server = TestServer::with(&["--resume-seconds=10"]);
    let (mut ann, bob) = two(&server, kind).await;
    let resume_point = bob.drop_connection().await;
    ann.expect_event(away("bob")).await;
    let mut cid = ResumingClient::joined(&server, kind, "cid").await;
    ann.expect_event(Received::Joined("cid".to_owned())).await;
    cid.send_number("bob", 0).await;
    ann.send_number("bob", 1).await;
    cid.close().await;
    ann.expect_left("cid", "disconnected").await;
    let mut bob = ResumingClient::resume(&server, kind, &resume_point).await;
    ann.expect_event(back("bob")).await;
    bob.expect_event(Received::Joined("cid".to_owned())).await;
    bob.expect_signals("cid", 0..1).await;
    bob.expect_signals("ann", 1..2).await;
    bob.expect_left("cid", "disconnected").await;
    bob.expect_nothing().await;
    close_all(server, [bob, ann]).await;
}

pub(super) async fn all_rooms_are_resumed(kind: ClientKind) {
    let server = TestServer::with(&["--resume-seconds=10"]);
    let (mut ann, mut bob) = two(&server, kind).await;
    let mut cid = ResumingClient::connect(&server, kind, None, None).await.unwrap();
    cid.join("s", "cid").await;
    assert_eq!(bob.join("s", "bob in s").await, ["cid"]);
    cid.expect_event(Received::Joined("bob in s".to_owned())).await;
    let resume_point = bob.drop_connection().await;
    ann.expect_event(away("bob")).await;
    cid.expect_event(away("bob in s")).await;
    cid.send_number_in("s", "bob in s", 0).await.unwrap();
    ann.send_number("bob", 1).await;
    let mut bob = ResumingClient::resume(&server, kind, &resume_point).await;
    ann.expect_event(back("bob")).await;
    cid.expect_event(back("bob in s")).await;
    bob.expect_signals("cid", 0..1).await;
    bob.expect_signals("ann", 1..2).await;
    bob.send_number_in("s", "cid", 2).await.unwrap();
    cid.expect_signals("bob in s", 2..3).await;
    close_all(server, [bob, cid, ann]).await;
}

pub(super) async fn replay_may_exceed_the_send_queue(kind: ClientKind) {
    let server =
        TestServer::with(&["--resume-seconds=10", "--send-queue=8", "--messages-per-second=0"]);
    let (mut ann, bob) = two(&server, kind).await;
    let resume_point = bob.drop_connection().await;
    ann.expect_event(away("bob")).await;
    ann.send_numbers("bob", 0..200).await;
    let mut bob = ResumingClient::resume(&server, kind, &resume_point).await;
    bob.expect_signals("ann", 0..200).await;
    bob.expect_nothing().await;
    close_all(server, [bob, ann]).await;
}

pub(super) async fn both_peers_may_be_away(kind: ClientKind) {
    let server = TestServer::with(&["--resume-seconds=10"]);
    let (mut ann, mut bob) = two(&server, kind).await;
    let ticket_of_ann = ann.drop_connection().await;
    bob.expect_event(away("ann")).await;
    bob.send_number("ann", 0).await;
    let ticket_of_bob = bob.drop_connection().await;
    server.until("both are away", |held| held.away == 2).await;
    ann = ResumingClient::resume(&server, kind, &ticket_of_ann).await;
    ann.expect_signals("bob", 0..1).await;
    ann.expect_event(away("bob")).await;
    ann.send_number("bob", 1).await;
    bob = ResumingClient::resume(&server, kind, &ticket_of_bob).await;
    ann.expect_event(back("bob")).await;
    bob.expect_event(back("ann")).await;
    bob.expect_signals("ann", 1..2).await;
    bob.send_number("ann", 2).await;
    ann.expect_signals("bob", 2..3).await;
    close_all(server, [bob, ann]).await;
}

/// The client receives some of the missed frames, drops again, and continues from there.
pub(super) async fn resumes_after_a_drop_during_the_replay(kind: ClientKind) {
    let server = TestServer::with(&["--resume-seconds=10"]);
    let (mut ann, bob) = two(&server, kind).await;
    let resume_point = bob.drop_connection().await;
    ann.expect_event(away("bob")).await;
    ann.send_numbers("bob", 0..30).await;
    let mut halfway = ResumingClient::resume(&server, kind, &resume_point).await;
    ann.expect_event(back("bob")).await;
    halfway.expect_signals("ann", 0..12).await;
    let resume_point = halfway.resume_point();
    halfway.reset().await;
    ann.expect_event(away("bob")).await;
    ann.send_number("bob", 30).await;
    let mut bob = ResumingClient::resume(&server, kind, &resume_point).await;
    assert!(bob.is_resumed);
    bob.expect_signals("ann", 12..31).await;
    bob.expect_nothing().await;
    close_all(server, [bob, ann]).await;
}

/// The resume token is accepted, but the client does not receive the reply.
pub(super) async fn resumes_after_a_drop_before_the_reply(kind: ClientKind) {
    let server = TestServer::with(&["--resume-seconds=10"]);
    let (mut ann, bob) = two(&server, kind).await;
    let resume_point = bob.drop_connection().await;
    ann.expect_event(away("bob")).await;
    ann.send_numbers("bob", 0..5).await;
    ResumingClient::connect_and_close(&server, kind, &resume_point).await;
    ann.expect_event(back("bob")).await;
    if kind != ClientKind::Polling {
        ann.expect_event(away("bob")).await;
    }
    ann.send_number("bob", 5).await;
    let mut bob = ResumingClient::resume(&server, kind, &resume_point).await;
    assert!(bob.is_resumed);
    if kind != ClientKind::Polling {
        ann.expect_event(back("bob")).await;
    }
    bob.expect_signals("ann", 0..6).await;
    close_all(server, [bob, ann]).await;
}

/// The newer connection takes over, and no peer notices.
pub(super) async fn resumes_while_the_older_connection_looks_alive(kind: ClientKind) {
    let server = TestServer::with(&["--resume-seconds=10"]);
    let (mut ann, older) = two(&server, kind).await;
    ann.send_number("bob", 0).await;
    let mut newer = ResumingClient::resume(&server, kind, &older.resume_point()).await;
    assert!(newer.is_resumed);
    newer.expect_signals("ann", 0..1).await;
    ann.send_number("bob", 1).await;
    newer.expect_signals("ann", 1..2).await;
    older.ended().await;
    ann.expect_nothing().await;
    newer.close().await;
    ann.expect_left("bob", "disconnected").await;
    close_all(server, [ann]).await;
}

pub(super) async fn resumes_over_the_other_transport(kind: ClientKind) {
    let other =
        if kind == ClientKind::Polling { ClientKind::WebSocket } else { ClientKind::Polling };
    let server = TestServer::with(&["--resume-seconds=10"]);
    let (mut ann, bob) = two(&server, kind).await;
    let resume_point = bob.drop_connection().await;
    ann.expect_event(away("bob")).await;
    ann.send_numbers("bob", 0..5).await;
    let mut bob = ResumingClient::resume(&server, other, &resume_point).await;
    assert!(bob.is_resumed);
    ann.expect_event(back("bob")).await;
    bob.expect_signals("ann", 0..5).await;
    bob.send_number("ann", 5).await;
    ann.expect_signals("bob", 5..6).await;
    close_all(server, [bob, ann]).await;
}
