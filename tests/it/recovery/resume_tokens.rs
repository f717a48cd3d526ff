//! Resume tokens that cannot be used: the client gets a new session, and no part of the missed
//! frames.

use reqwest::StatusCode;
use serde_json::json;

use super::{away, back, close_all, two};
use crate::support::TestServer;
use crate::support::protocol_peer::Received;
use crate::support::resuming_client::{ClientKind, ResumePoint, ResumingClient};
use crate::support::scrape::Scrape;
use crate::support::tokens::{Issuer, SECRET, seconds_from_now};

/// Asserts that the client gets a new session without members or events.
async fn is_new_session(server: &TestServer, kind: ClientKind, resume_point: &ResumePoint) {
    let mut stranger = ResumingClient::resume(server, kind, resume_point).await;
    assert!(!stranger.is_resumed, "{resume_point:?}");
    assert_ne!(stranger.resume_point().resume_token, resume_point.resume_token);
    stranger.expect_nothing().await;
    stranger.close().await;
}

pub(super) async fn unknown_resume_token_is_refused(kind: ClientKind) {
    let server = TestServer::with(&["--resume-seconds=10"]);
    let (mut ann, bob) = two(&server, kind).await;
    let (resume_point, of_ann) = (bob.resume_point(), ann.resume_point().resume_token);
    let resume_token = resume_point.resume_token.clone();
    let ((place, secret), (other_place, other_secret)) =
        (resume_token.split_once('.').unwrap(), of_ann.split_once('.').unwrap());
    bob.drop_connection().await;
    ann.expect_event(away("bob")).await;
    for wrong in [
        String::new(),
        place.to_owned(),
        secret.to_owned(),
        format!("{place}."),
        format!(".{secret}"),
        format!("{place}.{other_secret}"),
        format!("{other_place}.{secret}"),
        resume_token.to_uppercase(),
        resume_token[..resume_token.len() - 1].to_owned(),
        format!("{resume_token}A"),
        format!("{resume_token}\u{0}"),
        "x".repeat(10_000),
    ] {
        is_new_session(&server, kind, &ResumePoint { resume_token: wrong, ..resume_point.clone() })
            .await;
    }
    // No peer notices, and the owner of the session can still resume it.
    ann.expect_nothing().await;
    ann.send_number("bob", 0).await;
    let mut bob = ResumingClient::resume(&server, kind, &resume_point).await;
    assert!(bob.is_resumed);
    bob.expect_signals("ann", 0..1).await;
    close_all(server, [bob, ann]).await;
}

/// Makes the client acknowledge the reply: a used resume token remains valid until then.
async fn has_read_all(one: &mut ResumingClient) {
    // Frames are acknowledged with the next message.
    for _ in 0..2 {
        one.expect_nothing().await;
    }
}

pub(super) async fn used_resume_token_is_refused(kind: ClientKind) {
    let server = TestServer::with(&["--resume-seconds=10"]);
    let (mut ann, bob) = two(&server, kind).await;
    let spent = bob.drop_connection().await;
    ann.expect_event(away("bob")).await;
    let mut bob = ResumingClient::resume(&server, kind, &spent).await;
    ann.expect_event(back("bob")).await;
    has_read_all(&mut bob).await;
    let resume_point = bob.drop_connection().await;
    ann.expect_event(away("bob")).await;
    assert_ne!(resume_point.resume_token, spent.resume_token, "the reply has a new one");
    is_new_session(&server, kind, &spent).await;
    ann.expect_nothing().await;
    let mut bob = ResumingClient::resume(&server, kind, &resume_point).await;
    assert!(bob.is_resumed);
    ann.expect_event(back("bob")).await;
    has_read_all(&mut bob).await;
    // Also while the session is away.
    is_new_session(&server, kind, &resume_point).await;
    ann.expect_nothing().await;
    close_all(server, [bob, ann]).await;
}

pub(super) async fn expired_resume_token_is_refused(kind: ClientKind) {
    let server = TestServer::with(&["--resume-seconds=1"]);
    let (mut ann, bob) = two(&server, kind).await;
    let resume_point = bob.drop_connection().await;
    ann.expect_event(away("bob")).await;
    ann.send_number("bob", 0).await;
    ann.expect_left("bob", "timeout").await;
    is_new_session(&server, kind, &resume_point).await;
    let scrape = Scrape::of(&server).await;
    assert_eq!(
        scrape.count(r#"parlor_resumptions_total{outcome="refused"}"#),
        1,
        "an expired session counts as well"
    );
    ann.expect_nothing().await;
    close_all(server, [ann]).await;
}

/// If tokens are required, a resume token only works for the subject that it was issued to.
pub(super) async fn resume_token_of_another_subject_is_refused(kind: ClientKind) {
    let issuer = Issuer::secret(SECRET);
    let server = TestServer::with(&["--resume-seconds=10", &issuer.flag()]);
    let connect = async |resume_point: Option<&ResumePoint>, sub: &str| {
        ResumingClient::connect(&server, kind, resume_point, Some(&issuer.token(sub, &json!({}))))
            .await
            .unwrap()
    };
    let mut ann = connect(None, "ann").await;
    ann.join("r", "ann").await;
    let mut bob = connect(None, "bob").await;
    bob.join("r", "bob").await;
    ann.expect_event(Received::Joined("bob".to_owned())).await;
    let resume_point = bob.drop_connection().await;
    ann.expect_event(away("bob")).await;
    ann.send_number("bob", 0).await;
    let mut thief = connect(Some(&resume_point), "eve").await;
    assert!(!thief.is_resumed);
    thief.expect_nothing().await;
    assert_eq!(thief.send_number_in("r", "ann", 1).await, Err("NOT_IN_ROOM".to_owned()));
    ann.expect_nothing().await;
    let mut bob = connect(Some(&resume_point), "bob").await;
    assert!(bob.is_resumed);
    ann.expect_event(back("bob")).await;
    bob.expect_signals("ann", 0..1).await;
    close_all(server, [thief, bob, ann]).await;
}

pub(super) async fn resume_token_without_an_access_token_is_refused(kind: ClientKind) {
    let issuer = Issuer::secret(SECRET);
    // The library keeps a polling session without CONNECT until the handshake times out.
    let server =
        TestServer::with(&["--resume-seconds=10", "--handshake-timeout-seconds=1", &issuer.flag()]);
    let good = issuer.token("bob", &json!({}));
    let mut bob = ResumingClient::connect(&server, kind, None, Some(&good)).await.unwrap();
    bob.join("r", "bob").await;
    let resume_point = bob.drop_connection().await;
    server.until("it is away", |held| held.away == 1).await;
    for bad in [
        None,
        Some(issuer.token("bob", &json!({ "exp": seconds_from_now(-60.0) }))),
        Some(Issuer::secret("another secret of the same length!!").token("bob", &json!({}))),
    ] {
        let refused =
            ResumingClient::connect(&server, kind, Some(&resume_point), bad.as_deref()).await.err();
        assert!(refused.expect("refused").contains("UNAUTHORIZED"), "{bad:?}");
        assert_eq!(server.held().away, 1, "the session stays away");
    }
    let bob =
        ResumingClient::connect(&server, kind, Some(&resume_point), Some(&good)).await.unwrap();
    assert!(bob.is_resumed);
    close_all(server, [bob]).await;
}

/// The token of an official client that has received nothing since its session ended.
pub(super) async fn offset_of_another_session_is_refused(kind: ClientKind) {
    let server = TestServer::with(&["--resume-seconds=10"]);
    let (mut ann, bob) = two(&server, kind).await;
    let elsewhere = ann.resume_point().seen;
    let resume_point = bob.drop_connection().await;
    ann.expect_event(away("bob")).await;
    ann.send_number("bob", 0).await;
    let mut bob =
        ResumingClient::resume(&server, kind, &resume_point.from(elsewhere.as_deref())).await;
    assert!(bob.is_resumed, "the replay buffer has all frames");
    bob.restart_count();
    ann.expect_event(back("bob")).await;
    bob.expect_member_list().await;
    bob.expect_signals("ann", 0..1).await;
    close_all(server, [bob, ann]).await;
}

pub(super) async fn offset_that_was_never_sent_is_refused(kind: ClientKind) {
    let server = TestServer::with(&["--resume-seconds=10"]);
    let mut ann = ResumingClient::joined(&server, kind, "ann").await;
    for beyond in [1, 1000, u64::MAX - 1_000_000] {
        let bob = ResumingClient::joined(&server, kind, "bob").await;
        ann.expect_event(Received::Joined("bob".to_owned())).await;
        let resume_point = bob.drop_connection().await;
        ann.expect_event(away("bob")).await;
        ann.send_number("bob", 0).await;
        is_new_session(&server, kind, &resume_point.at(resume_point.number() + 1 + beyond)).await;
        // The old session ends.
        ann.expect_left("bob", "timeout").await;
        is_new_session(&server, kind, &resume_point).await;
    }
    ann.expect_nothing().await;
    close_all(server, [ann]).await;
}

pub(super) async fn offset_that_left_the_replay_buffer_is_refused(kind: ClientKind) {
    let server = TestServer::with(&["--resume-seconds=10", "--resume-messages=8"]);
    let (mut ann, mut bob) = two(&server, kind).await;
    let early = bob.resume_point();
    for number in 0..9 {
        ann.send_number("bob", number).await;
        bob.expect_signals("ann", number..number + 1).await;
    }
    let resume_point = bob.drop_connection().await;
    ann.expect_event(away("bob")).await;
    is_new_session(&server, kind, &resume_point.at(early.number())).await;
    ann.expect_left("bob", "timeout").await;
    ann.expect_nothing().await;
    close_all(server, [ann]).await;
}

/// Frames are kept no longer than a peer may be away; a session without traffic keeps nothing.
pub(super) async fn offset_from_before_an_idle_period_is_refused(kind: ClientKind) {
    let server = TestServer::with(&["--resume-seconds=1"]);
    let (mut ann, mut bob) = two(&server, kind).await;
    let mut cid = ResumingClient::joined(&server, kind, "cid").await;
    for client in [&mut ann, &mut bob] {
        client.expect_event(Received::Joined("cid".to_owned())).await;
    }
    let before = cid.resume_point();
    ann.send_numbers("cid", 0..2).await;
    cid.expect_signals("ann", 0..2).await;
    // The other peer is away for as long as frames are kept, so that earlier frames are older.
    bob.drop_connection().await;
    for one in [&mut ann, &mut cid] {
        one.expect_event(away("bob")).await;
        one.expect_left("bob", "timeout").await;
    }
    let resume_point = cid.drop_connection().await;
    ann.expect_event(away("cid")).await;
    is_new_session(&server, kind, &resume_point.at(before.number())).await;
    ann.expect_left("cid", "timeout").await;
    close_all(server, [ann]).await;
}

/// A resume token is only sent to its client, not to other clients or over REST.
pub(super) async fn resume_token_is_sent_to_no_other_client(kind: ClientKind) {
    let server = TestServer::with(&["--resume-seconds=10"]);
    let (mut ann, bob) = two(&server, kind).await;
    let secret_of = |client: &ResumingClient| {
        client
            .resume_point()
            .resume_token
            .split_once('.')
            .expect("a session id and a secret")
            .1
            .to_owned()
    };
    let first = secret_of(&bob);
    let resume_point = bob.drop_connection().await;
    let mut bob = ResumingClient::resume(&server, kind, &resume_point).await;
    bob.send_number("ann", 0).await;
    let renewed = secret_of(&bob);
    let mut cid = ResumingClient::joined(&server, kind, "cid").await;
    cid.send_number("ann", 1).await;
    let mut received = ann.rest().await;
    assert!(received.len() >= 5, "away, back, two signals and a join: {received:?}");
    received.extend(cid.rest().await);
    for path in ["/api/rooms", "/api/rooms/r", "/health", "/metrics"] {
        let answer = reqwest::get(server.url(path)).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        received.push(answer.text().await.unwrap());
    }
    for received in received {
        assert!(!received.contains(&first) && !received.contains(&renewed), "{received}");
    }
    close_all(server, [cid, bob, ann]).await;
}
