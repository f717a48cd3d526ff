//! Resume tokens that resume nothing: the client gets a new session, and never a part of the missed
//! frames.

use reqwest::StatusCode;
use serde_json::json;

use super::{all_go, away, back, two};
use crate::support::TestServer;
use crate::support::protocol_peer::Received;
use crate::support::resuming_client::{ResumingClient, Ticket, Way};
use crate::support::scrape::Scrape;
use crate::support::tokens::{Issuer, SECRET, seconds_from_now};

/// Asserts that the client gets a new session without members or events.
async fn is_new_session(server: &TestServer, way: Way, ticket: &Ticket) {
    let mut stranger = ResumingClient::back(server, way, ticket).await;
    assert!(!stranger.is_back, "{ticket:?}");
    assert_ne!(stranger.ticket().key, ticket.key);
    stranger.hears_nothing().await;
    stranger.close().await;
}

pub(super) async fn one_that_was_never_issued(way: Way) {
    let server = TestServer::with(&["--resume-seconds=10"]);
    let (mut ann, bob) = two(&server, way).await;
    let (ticket, of_ann) = (bob.ticket(), ann.ticket().key);
    let key = ticket.key.clone();
    let ((place, secret), (other_place, other_secret)) =
        (key.split_once('.').unwrap(), of_ann.split_once('.').unwrap());
    bob.drops().await;
    ann.hears(away("bob")).await;
    for wrong in [
        String::new(),
        place.to_owned(),
        secret.to_owned(),
        format!("{place}."),
        format!(".{secret}"),
        format!("{place}.{other_secret}"),
        format!("{other_place}.{secret}"),
        key.to_uppercase(),
        key[..key.len() - 1].to_owned(),
        format!("{key}A"),
        format!("{key}\u{0}"),
        "x".repeat(10_000),
    ] {
        is_new_session(&server, way, &Ticket { key: wrong, ..ticket.clone() }).await;
    }
    // No peer notices, and the owner of the session can still resume it.
    ann.hears_nothing().await;
    ann.say("bob", 0).await;
    let mut bob = ResumingClient::back(&server, way, &ticket).await;
    assert!(bob.is_back);
    bob.hears_all("ann", 0..1).await;
    all_go(server, [bob, ann]).await;
}

/// So that the server knows, too: the key that was used is good until the answer with the new one was read.
async fn has_read_all(one: &mut ResumingClient) {
    // Frames are acknowledged with the next message.
    for _ in 0..2 {
        one.hears_nothing().await;
    }
}

pub(super) async fn one_that_was_already_used(way: Way) {
    let server = TestServer::with(&["--resume-seconds=10"]);
    let (mut ann, bob) = two(&server, way).await;
    let spent = bob.drops().await;
    ann.hears(away("bob")).await;
    let mut bob = ResumingClient::back(&server, way, &spent).await;
    ann.hears(back("bob")).await;
    has_read_all(&mut bob).await;
    let ticket = bob.drops().await;
    ann.hears(away("bob")).await;
    assert_ne!(ticket.key, spent.key, "it is replaced by the one in the answer");
    is_new_session(&server, way, &spent).await;
    ann.hears_nothing().await;
    let mut bob = ResumingClient::back(&server, way, &ticket).await;
    assert!(bob.is_back);
    ann.hears(back("bob")).await;
    has_read_all(&mut bob).await;
    // Nor while its place is held.
    is_new_session(&server, way, &ticket).await;
    ann.hears_nothing().await;
    all_go(server, [bob, ann]).await;
}

pub(super) async fn one_after_the_deadline(way: Way) {
    let server = TestServer::with(&["--resume-seconds=1"]);
    let (mut ann, bob) = two(&server, way).await;
    let ticket = bob.drops().await;
    ann.hears(away("bob")).await;
    ann.say("bob", 0).await;
    ann.hears_left("bob", "timeout").await;
    is_new_session(&server, way, &ticket).await;
    let scrape = Scrape::of(&server).await;
    assert_eq!(
        scrape.count(r#"parlor_resumptions_total{outcome="refused"}"#),
        1,
        "its place is gone, and yet it counts"
    );
    ann.hears_nothing().await;
    all_go(server, [ann]).await;
}

/// If tokens are required, a resume token only works for the subject that it was issued to.
pub(super) async fn one_of_another_subject(way: Way) {
    let issuer = Issuer::secret(SECRET);
    let server = TestServer::with(&["--resume-seconds=10", &issuer.flag()]);
    let come = async |ticket: Option<&Ticket>, sub: &str| {
        ResumingClient::come(&server, way, ticket, Some(&issuer.token(sub, &json!({})))).await.unwrap()
    };
    let mut ann = come(None, "ann").await;
    ann.join("r", "ann").await;
    let mut bob = come(None, "bob").await;
    bob.join("r", "bob").await;
    ann.hears(Received::Joined("bob".to_owned())).await;
    let ticket = bob.drops().await;
    ann.hears(away("bob")).await;
    ann.say("bob", 0).await;
    let mut thief = come(Some(&ticket), "eve").await;
    assert!(!thief.is_back);
    thief.hears_nothing().await;
    assert_eq!(thief.say_in("r", "ann", 1).await, Err("NOT_IN_ROOM".to_owned()));
    ann.hears_nothing().await;
    let mut bob = come(Some(&ticket), "bob").await;
    assert!(bob.is_back);
    ann.hears(back("bob")).await;
    bob.hears_all("ann", 0..1).await;
    all_go(server, [thief, bob, ann]).await;
}

pub(super) async fn one_without_a_valid_token(way: Way) {
    let issuer = Issuer::secret(SECRET);
    // The library keeps what it knows of a polling client that never got in for as long as a handshake may take.
    let server = TestServer::with(&["--resume-seconds=10", "--handshake-timeout-seconds=1", &issuer.flag()]);
    let good = issuer.token("bob", &json!({}));
    let mut bob = ResumingClient::come(&server, way, None, Some(&good)).await.unwrap();
    bob.join("r", "bob").await;
    let ticket = bob.drops().await;
    server.until("it is away", |held| held.away == 1).await;
    for bad in [
        None,
        Some(issuer.token("bob", &json!({ "exp": seconds_from_now(-60.0) }))),
        Some(Issuer::secret("another secret of the same length!!").token("bob", &json!({}))),
    ] {
        let refused = ResumingClient::come(&server, way, Some(&ticket), bad.as_deref()).await.err();
        assert!(refused.expect("refused").contains("UNAUTHORIZED"), "{bad:?}");
        assert_eq!(server.held().away, 1, "its place waits");
    }
    let bob = ResumingClient::come(&server, way, Some(&ticket), Some(&good)).await.unwrap();
    assert!(bob.is_back);
    all_go(server, [bob]).await;
}

/// As an official client sends it that has received nothing since its session was gone: it has seen
/// nothing.
pub(super) async fn an_offset_of_another_session(way: Way) {
    let server = TestServer::with(&["--resume-seconds=10"]);
    let (mut ann, bob) = two(&server, way).await;
    let elsewhere = ann.ticket().seen;
    let ticket = bob.drops().await;
    ann.hears(away("bob")).await;
    ann.say("bob", 0).await;
    let mut bob = ResumingClient::back(&server, way, &ticket.from(elsewhere.as_deref())).await;
    assert!(bob.is_back, "all is held");
    bob.begins_anew();
    ann.hears(back("bob")).await;
    bob.hears_list().await;
    bob.hears_all("ann", 0..1).await;
    all_go(server, [bob, ann]).await;
}

pub(super) async fn an_offset_that_was_never_sent(way: Way) {
    let server = TestServer::with(&["--resume-seconds=10"]);
    let mut ann = ResumingClient::joined(&server, way, "ann").await;
    for beyond in [1, 1000, u64::MAX - 1_000_000] {
        let bob = ResumingClient::joined(&server, way, "bob").await;
        ann.hears(Received::Joined("bob".to_owned())).await;
        let ticket = bob.drops().await;
        ann.hears(away("bob")).await;
        ann.say("bob", 0).await;
        is_new_session(&server, way, &ticket.at(ticket.number() + 1 + beyond)).await;
        // The old place ends.
        ann.hears_left("bob", "timeout").await;
        is_new_session(&server, way, &ticket).await;
    }
    ann.hears_nothing().await;
    all_go(server, [ann]).await;
}

pub(super) async fn an_offset_that_is_not_held_any_more(way: Way) {
    let server = TestServer::with(&["--resume-seconds=10", "--resume-messages=8"]);
    let (mut ann, mut bob) = two(&server, way).await;
    let early = bob.ticket();
    for number in 0..9 {
        ann.say("bob", number).await;
        bob.hears_all("ann", number..number + 1).await;
    }
    let ticket = bob.drops().await;
    ann.hears(away("bob")).await;
    is_new_session(&server, way, &ticket.at(early.number())).await;
    ann.hears_left("bob", "timeout").await;
    ann.hears_nothing().await;
    all_go(server, [ann]).await;
}

/// Frames are kept no longer than a peer may be away; a session without traffic keeps nothing.
pub(super) async fn an_offset_from_before_a_rest(way: Way) {
    let server = TestServer::with(&["--resume-seconds=1"]);
    let (mut ann, mut bob) = two(&server, way).await;
    let mut cid = ResumingClient::joined(&server, way, "cid").await;
    for client in [&mut ann, &mut bob] {
        client.hears(Received::Joined("cid".to_owned())).await;
    }
    let before = cid.ticket();
    ann.send_all("cid", 0..2).await;
    cid.hears_all("ann", 0..2).await;
    // The other peer is away for as long as frames are kept, so earlier ones are older than that.
    bob.drops().await;
    for one in [&mut ann, &mut cid] {
        one.hears(away("bob")).await;
        one.hears_left("bob", "timeout").await;
    }
    let ticket = cid.drops().await;
    ann.hears(away("cid")).await;
    is_new_session(&server, way, &ticket.at(before.number())).await;
    ann.hears_left("cid", "timeout").await;
    all_go(server, [ann]).await;
}

/// A resume token is only sent to its client, not to other clients or over REST.
pub(super) async fn is_sent_to_no_other_client(way: Way) {
    let server = TestServer::with(&["--resume-seconds=10"]);
    let (mut ann, bob) = two(&server, way).await;
    let secret_of =
        |client: &ResumingClient| client.ticket().key.split_once('.').expect("a place and a secret").1.to_owned();
    let first = secret_of(&bob);
    let ticket = bob.drops().await;
    let mut bob = ResumingClient::back(&server, way, &ticket).await;
    bob.say("ann", 0).await;
    let renewed = secret_of(&bob);
    let mut cid = ResumingClient::joined(&server, way, "cid").await;
    cid.say("ann", 1).await;
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
    all_go(server, [cid, bob, ann]).await;
}
