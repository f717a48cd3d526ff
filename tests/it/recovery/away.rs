//! Sessions while their peers are away, and their ends.

use reqwest::StatusCode;
use serde_json::{Value, json};

use super::{away, back, close_all, two};
use crate::support::TestServer;
use crate::support::protocol_peer::Received;
use crate::support::resuming_client::{ClientKind, ResumePoint, ResumingClient};
use crate::support::scrape::Scrape;
use crate::support::tokens::{Issuer, SECRET, seconds_from_now};

/// The error for a signal that does not fit.
fn refused() -> Result<(), String> {
    Err("DELIVERY_FAILED".to_owned())
}

/// Asserts that the session can no longer be resumed.
async fn assert_not_resumable(server: &TestServer, kind: ClientKind, resume_point: &ResumePoint) {
    let mut stranger = ResumingClient::resume(server, kind, resume_point).await;
    assert!(!stranger.is_resumed);
    stranger.expect_nothing().await;
    stranger.close().await;
}

pub(super) async fn full_replay_buffer_refuses_signals(kind: ClientKind) {
    let server = TestServer::with(&["--resume-seconds=10", "--resume-messages=8"]);
    let (mut ann, bob) = two(&server, kind).await;
    let resume_point = bob.drop_connection().await;
    ann.expect_event(away("bob")).await;
    // Received frames count as well, since the server does not know that they were received.
    let fits = 8 - usize::try_from(resume_point.number()).unwrap();
    ann.send_numbers("bob", 0..fits).await;
    for _ in 0..3 {
        assert_eq!(ann.send_number_in("r", "bob", fits).await, refused());
    }
    let mut bob = ResumingClient::resume(&server, kind, &resume_point).await;
    ann.expect_event(back("bob")).await;
    bob.expect_signals("ann", 0..fits).await;
    // A connected client receives all signals.
    ann.send_numbers("bob", fits..fits + 20).await;
    bob.expect_signals("ann", fits..fits + 20).await;
    bob.expect_nothing().await;
    close_all(server, [bob, ann]).await;
}

pub(super) async fn signals_beyond_the_byte_limit_are_refused(kind: ClientKind) {
    let server = TestServer::with(&["--resume-seconds=10", "--resume-bytes=4096"]);
    let (mut ann, bob) = two(&server, kind).await;
    let resume_point = bob.drop_connection().await;
    ann.expect_event(away("bob")).await;
    let mut sent = 0;
    let refusal = loop {
        match ann.send_number_in("r", "bob", sent).await {
            Ok(()) => sent += 1,
            refusal => break refusal,
        }
    };
    assert_eq!(refusal, refused());
    assert!((10..100).contains(&sent), "{sent} of some hundred bytes each");
    let mut bob = ResumingClient::resume(&server, kind, &resume_point).await;
    ann.expect_event(back("bob")).await;
    bob.expect_signals("ann", 0..sent).await;
    close_all(server, [bob, ann]).await;
}

/// A client that misses a presence event would have a wrong view of the room, so its session ends.
pub(super) async fn session_ends_if_a_presence_event_does_not_fit(kind: ClientKind) {
    let server = TestServer::with(&["--resume-seconds=60", "--resume-messages=8"]);
    let (mut ann, bob) = two(&server, kind).await;
    let resume_point = bob.drop_connection().await;
    ann.expect_event(away("bob")).await;
    while ann.send_number_in("r", "bob", 0).await.is_ok() {}
    let mut cid = ResumingClient::joined(&server, kind, "cid").await;
    // Even if it resumes immediately.
    assert_not_resumable(&server, kind, &resume_point).await;
    ann.expect_event(Received::Joined("cid".to_owned())).await;
    for one in [&mut ann, &mut cid] {
        one.expect_left("bob", "timeout").await;
        one.expect_nothing().await;
    }
    close_all(server, [cid, ann]).await;
}

pub(super) async fn expired_session_is_announced_once(kind: ClientKind) {
    let server = TestServer::with(&["--resume-seconds=1"]);
    let (mut ann, bob) = two(&server, kind).await;
    let began = std::time::Instant::now();
    bob.drop_connection().await;
    ann.expect_event(away("bob")).await;
    ann.send_number("bob", 0).await;
    ann.expect_left("bob", "timeout").await;
    let took = began.elapsed().as_secs_f64();
    assert!(took >= 1.0, "{took}");
    assert_eq!(server.held().away, 0);
    assert_eq!(ann.send_number_in("r", "bob", 1).await, Err("TARGET_NOT_FOUND".to_owned()));
    ann.expect_nothing().await;
    // A room is removed with its last session that may be resumed.
    ann.drop_connection().await;
    server.until("one is away", |held| held.away == 1 && held.rooms == 1).await;
    server.until("its room is removed", |held| held.rooms == 0).await;
    server.finish().await;
}

pub(super) async fn normal_close_leaves_at_once(kind: ClientKind) {
    let server = TestServer::with(&["--resume-seconds=60"]);
    let (mut ann, bob) = two(&server, kind).await;
    let resume_point = bob.resume_point();
    bob.close().await;
    ann.expect_left("bob", "disconnected").await;
    assert_eq!(server.held().away, 0);
    assert_not_resumable(&server, kind, &resume_point).await;
    ann.expect_nothing().await;
    close_all(server, [ann]).await;
}

pub(super) async fn away_peer_keeps_its_position_in_the_room(kind: ClientKind) {
    let server = TestServer::with(&["--resume-seconds=60", "--max-room-size=3"]);
    let (mut ann, bob) = two(&server, kind).await;
    let resume_point = bob.drop_connection().await;
    ann.expect_event(away("bob")).await;
    let mut cid = ResumingClient::connect(&server, kind, None, None).await.unwrap();
    assert_eq!(cid.join("r", "cid").await, ["ann", "bob"]);
    let room: Value = reqwest::get(server.url("/api/rooms/r")).await.unwrap().json().await.unwrap();
    assert_eq!(room["participants"], json!(["ann", "bob", "cid"]));
    // No other client can take its place in the room in the meantime.
    let mut dan = ResumingClient::connect(&server, kind, None, None).await.unwrap();
    let join = if kind == ClientKind::Envelope { "room:join" } else { "join-room" };
    assert_eq!(dan.ask(join, json!({ "roomId": "r" })).await["code"], "ROOM_FULL");
    let bob = ResumingClient::resume(&server, kind, &resume_point).await;
    assert!(bob.is_resumed);
    close_all(server, [dan, cid, bob, ann]).await;
}

pub(super) async fn closing_the_room_ends_the_away_peer(kind: ClientKind) {
    let server = TestServer::with(&["--resume-seconds=60"]);
    let (mut ann, bob) = two(&server, kind).await;
    let resume_point = bob.drop_connection().await;
    ann.expect_event(away("bob")).await;
    let closed = reqwest::Client::new().delete(server.url("/api/rooms/r")).send().await.unwrap();
    assert_eq!(closed.status(), StatusCode::NO_CONTENT);
    ann.expect_event(Received::Error("ROOM_CLOSED".to_owned())).await;
    assert_eq!(server.held().rooms, 0);
    let mut bob = ResumingClient::resume(&server, kind, &resume_point).await;
    assert!(bob.is_resumed);
    bob.expect_event(Received::Error("ROOM_CLOSED".to_owned())).await;
    assert_eq!(bob.send_number_in("r", "ann", 0).await, Err("NOT_IN_ROOM".to_owned()));
    for one in [&mut ann, &mut bob] {
        one.expect_nothing().await;
    }
    close_all(server, [bob, ann]).await;
}

/// As clients without support for resumption do, which join again.
pub(super) async fn another_client_replaces_the_away_peer(kind: ClientKind) {
    let server = TestServer::with(&["--resume-seconds=60"]);
    let (mut ann, bob) = two(&server, kind).await;
    let resume_point = bob.drop_connection().await;
    ann.expect_event(away("bob")).await;
    ann.send_number("bob", 0).await;
    let mut newer = ResumingClient::joined(&server, kind, "bob").await;
    ann.expect_left("bob", "replaced").await;
    ann.expect_event(Received::Joined("bob".to_owned())).await;
    ann.send_number("bob", 1).await;
    newer.expect_signals("ann", 1..2).await;
    // The older client gets an error, and is no longer in the room: no further event is sent.
    let mut older = ResumingClient::resume(&server, kind, &resume_point).await;
    assert!(older.is_resumed);
    older.expect_signals("ann", 0..1).await;
    older.expect_event(Received::Error("REPLACED".to_owned())).await;
    assert_eq!(older.send_number_in("r", "ann", 2).await, Err("NOT_IN_ROOM".to_owned()));
    older.close().await;
    ann.expect_nothing().await;
    newer.expect_nothing().await;
    close_all(server, [newer, ann]).await;
}

/// A shutdown does not wait for away sessions.
pub(super) async fn drain_ends_away_sessions(kind: ClientKind) {
    let server = TestServer::with(&["--resume-seconds=60"]);
    let (ann, mut bob) = two(&server, kind).await;
    ann.drop_connection().await;
    bob.expect_event(away("ann")).await;
    bob.drop_connection().await;
    server.until("both are away", |held| held.away == 2).await;
    let began = std::time::Instant::now();
    assert!(server.stop().await, "the shutdown is clean");
    assert!(began.elapsed().as_secs() < 5, "{:?}", began.elapsed());
}

pub(super) async fn expired_token_ends_the_away_session(kind: ClientKind) {
    let issuer = Issuer::secret(SECRET);
    let server = TestServer::with(&["--resume-seconds=60", &issuer.flag()]);
    let mut ann =
        ResumingClient::connect(&server, kind, None, Some(&issuer.token("ann", &json!({}))))
            .await
            .unwrap();
    ann.join("r", "ann").await;
    let end = seconds_from_now(2.0);
    let token = issuer.token("bob", &json!({ "exp": end }));
    let mut bob = ResumingClient::connect(&server, kind, None, Some(&token)).await.unwrap();
    bob.join("r", "bob").await;
    ann.expect_event(Received::Joined("bob".to_owned())).await;
    let resume_point = bob.drop_connection().await;
    ann.expect_event(away("bob")).await;
    ann.expect_left("bob", "timeout").await;
    let late = seconds_from_now(0.0) - end;
    assert!((0.0..2.0).contains(&late), "{late} s after its end");
    let mut stranger = ResumingClient::connect(
        &server,
        kind,
        Some(&resume_point),
        Some(&issuer.token("bob", &json!({}))),
    )
    .await
    .unwrap();
    assert!(!stranger.is_resumed);
    stranger.expect_nothing().await;
    ann.expect_nothing().await;
    close_all(server, [stranger, ann]).await;
}

/// After a resumption the newer token applies: its expiry, and its rooms.
pub(super) async fn newer_token_applies_after_the_resumption(kind: ClientKind) {
    let issuer = Issuer::secret(SECRET);
    let server = TestServer::with(&["--resume-seconds=60", &issuer.flag()]);
    let end = seconds_from_now(3.0);
    let token = issuer.token("bob", &json!({ "exp": end }));
    let mut bob = ResumingClient::connect(&server, kind, None, Some(&token)).await.unwrap();
    let goes = ResumingClient::connect(&server, kind, None, Some(&token)).await.unwrap();
    bob.join("r", "bob").await;
    let resume_point = bob.drop_connection().await;
    server.until("it is away", |held| held.away == 1).await;
    let newer = issuer.token("bob", &json!({ "rooms": ["r", "s"] }));
    let mut bob =
        ResumingClient::connect(&server, kind, Some(&resume_point), Some(&newer)).await.unwrap();
    assert!(bob.is_resumed);
    // A session with the older token ends.
    goes.ended().await;
    assert!(seconds_from_now(0.0) >= end);
    bob.join("s", "bob").await;
    let join = if kind == ClientKind::Envelope { "room:join" } else { "join-room" };
    assert_eq!(bob.ask(join, json!({ "roomId": "t" })).await["code"], "FORBIDDEN");
    close_all(server, [bob]).await;
}

pub(super) async fn disabled_limit_refuses_nothing(kind: ClientKind) {
    let server = TestServer::with(&["--resume-seconds=0"]);
    let (mut ann, bob) = two(&server, kind).await;
    assert!(!bob.can_resume());
    bob.reset().await;
    ann.expect_left("bob", "disconnected").await;
    ann.expect_nothing().await;
    assert_eq!(Scrape::of(&server).await.count("parlor_away"), 0);
    close_all(server, [ann]).await;
}
