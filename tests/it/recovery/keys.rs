//! What does not give a place back: an ordinary new connection, and never a part of what was missed.

use reqwest::StatusCode;
use serde_json::json;

use super::{all_go, away, back, two};
use crate::support::TestServer;
use crate::support::roamer::{Roamer, Ticket, Way};
use crate::support::scrape::Scrape;
use crate::support::tokens::{Issuer, SECRET, seconds_from_now};
use crate::support::wire::Heard;

/// It is let in, is nobody whom others know, and is told nothing.
async fn is_nobody(server: &TestServer, way: Way, ticket: &Ticket) {
    let mut stranger = Roamer::back(server, way, ticket).await;
    assert!(!stranger.is_back, "{ticket:?}");
    assert_ne!(stranger.ticket().key, ticket.key);
    stranger.hears_nothing().await;
    stranger.close().await;
}

pub(super) async fn one_that_is_made_up(way: Way) {
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
        is_nobody(&server, way, &Ticket { key: wrong, ..ticket.clone() }).await;
    }
    // Nobody noticed, and nothing of it keeps the one out whose place it is.
    ann.hears_nothing().await;
    ann.say("bob", 0).await;
    let mut bob = Roamer::back(&server, way, &ticket).await;
    assert!(bob.is_back);
    bob.hears_all("ann", 0..1).await;
    all_go(server, [bob, ann]).await;
}

/// So that the server knows, too: the key that was used is good until the answer with the new one was read.
async fn has_read_all(one: &mut Roamer) {
    // What is read is acknowledged with what is said next.
    for _ in 0..2 {
        one.hears_nothing().await;
    }
}

pub(super) async fn one_that_was_used(way: Way) {
    let server = TestServer::with(&["--resume-seconds=10"]);
    let (mut ann, bob) = two(&server, way).await;
    let spent = bob.drops().await;
    ann.hears(away("bob")).await;
    let mut bob = Roamer::back(&server, way, &spent).await;
    ann.hears(back("bob")).await;
    has_read_all(&mut bob).await;
    let ticket = bob.drops().await;
    ann.hears(away("bob")).await;
    assert_ne!(ticket.key, spent.key, "it is replaced by the one in the answer");
    is_nobody(&server, way, &spent).await;
    ann.hears_nothing().await;
    let mut bob = Roamer::back(&server, way, &ticket).await;
    assert!(bob.is_back);
    ann.hears(back("bob")).await;
    has_read_all(&mut bob).await;
    // Nor while its place is held.
    is_nobody(&server, way, &ticket).await;
    ann.hears_nothing().await;
    all_go(server, [bob, ann]).await;
}

pub(super) async fn one_that_comes_late(way: Way) {
    let server = TestServer::with(&["--resume-seconds=1"]);
    let (mut ann, bob) = two(&server, way).await;
    let ticket = bob.drops().await;
    ann.hears(away("bob")).await;
    ann.say("bob", 0).await;
    ann.hears_left("bob", "timeout").await;
    is_nobody(&server, way, &ticket).await;
    let scrape = Scrape::of(&server).await;
    assert_eq!(
        scrape.count(r#"parlor_resumptions_total{outcome="refused"}"#),
        1,
        "its place is gone, and yet it counts"
    );
    ann.hears_nothing().await;
    all_go(server, [ann]).await;
}

/// Where tokens are required, a key is of no use to anybody but the person that it was told.
pub(super) async fn one_of_somebody_else(way: Way) {
    let issuer = Issuer::secret(SECRET);
    let server = TestServer::with(&["--resume-seconds=10", &issuer.flag()]);
    let come = async |ticket: Option<&Ticket>, sub: &str| {
        Roamer::come(&server, way, ticket, Some(&issuer.token(sub, &json!({})))).await.unwrap()
    };
    let mut ann = come(None, "ann").await;
    ann.join("r", "ann").await;
    let mut bob = come(None, "bob").await;
    bob.join("r", "bob").await;
    ann.hears(Heard::Joined("bob".to_owned())).await;
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

pub(super) async fn one_without_a_good_token(way: Way) {
    let issuer = Issuer::secret(SECRET);
    // The library keeps what it knows of a polling client that never got in for as long as a handshake may take.
    let server = TestServer::with(&["--resume-seconds=10", "--handshake-timeout-seconds=1", &issuer.flag()]);
    let good = issuer.token("bob", &json!({}));
    let mut bob = Roamer::come(&server, way, None, Some(&good)).await.unwrap();
    bob.join("r", "bob").await;
    let ticket = bob.drops().await;
    server.until("it is away", |held| held.away == 1).await;
    for bad in [
        None,
        Some(issuer.token("bob", &json!({ "exp": seconds_from_now(-60.0) }))),
        Some(Issuer::secret("another secret of the same length!!").token("bob", &json!({}))),
    ] {
        let refused = Roamer::come(&server, way, Some(&ticket), bad.as_deref()).await.err();
        assert!(refused.expect("refused").contains("UNAUTHORIZED"), "{bad:?}");
        assert_eq!(server.held().away, 1, "its place waits");
    }
    let bob = Roamer::come(&server, way, Some(&ticket), Some(&good)).await.unwrap();
    assert!(bob.is_back);
    all_go(server, [bob]).await;
}

/// As an official client brings it whose place was gone, and which has been told nothing since: it has seen nothing.
pub(super) async fn an_offset_of_another_place(way: Way) {
    let server = TestServer::with(&["--resume-seconds=10"]);
    let (mut ann, bob) = two(&server, way).await;
    let elsewhere = ann.ticket().seen;
    let ticket = bob.drops().await;
    ann.hears(away("bob")).await;
    ann.say("bob", 0).await;
    let mut bob = Roamer::back(&server, way, &ticket.from(elsewhere.as_deref())).await;
    assert!(bob.is_back, "all is held");
    bob.begins_anew();
    ann.hears(back("bob")).await;
    bob.hears_list().await;
    bob.hears_all("ann", 0..1).await;
    all_go(server, [bob, ann]).await;
}

pub(super) async fn an_offset_that_nobody_was_told(way: Way) {
    let server = TestServer::with(&["--resume-seconds=10"]);
    let mut ann = Roamer::joined(&server, way, "ann").await;
    for beyond in [1, 1000, u64::MAX - 1_000_000] {
        let bob = Roamer::joined(&server, way, "bob").await;
        ann.hears(Heard::Joined("bob".to_owned())).await;
        let ticket = bob.drops().await;
        ann.hears(away("bob")).await;
        ann.say("bob", 0).await;
        is_nobody(&server, way, &ticket.at(ticket.number() + 1 + beyond)).await;
        // The old place ends.
        ann.hears_left("bob", "timeout").await;
        is_nobody(&server, way, &ticket).await;
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
    is_nobody(&server, way, &ticket.at(early.number())).await;
    ann.hears_left("bob", "timeout").await;
    ann.hears_nothing().await;
    all_go(server, [ann]).await;
}

/// What was sent to a peer is held no longer than it may be away: one that nobody talks to holds nothing.
pub(super) async fn an_offset_from_before_a_rest(way: Way) {
    let server = TestServer::with(&["--resume-seconds=1"]);
    let (mut ann, mut bob) = two(&server, way).await;
    let mut cid = Roamer::joined(&server, way, "cid").await;
    for roamer in [&mut ann, &mut bob] {
        roamer.hears(Heard::Joined("cid".to_owned())).await;
    }
    let before = cid.ticket();
    ann.say_all("cid", 0..2).await;
    cid.hears_all("ann", 0..2).await;
    // Another is away for as long as anything is held: what was told before is older than that.
    bob.drops().await;
    for one in [&mut ann, &mut cid] {
        one.hears(away("bob")).await;
        one.hears_left("bob", "timeout").await;
    }
    let ticket = cid.drops().await;
    ann.hears(away("cid")).await;
    is_nobody(&server, way, &ticket.at(before.number())).await;
    ann.hears_left("cid", "timeout").await;
    all_go(server, [ann]).await;
}

/// A key is its owner's alone: no other client is told it, nor REST.
pub(super) async fn is_told_to_nobody_else(way: Way) {
    let server = TestServer::with(&["--resume-seconds=10"]);
    let (mut ann, bob) = two(&server, way).await;
    let secret_of = |roamer: &Roamer| roamer.ticket().key.split_once('.').expect("a place and a secret").1.to_owned();
    let first = secret_of(&bob);
    let ticket = bob.drops().await;
    let mut bob = Roamer::back(&server, way, &ticket).await;
    bob.say("ann", 0).await;
    let renewed = secret_of(&bob);
    let mut cid = Roamer::joined(&server, way, "cid").await;
    cid.say("ann", 1).await;
    let mut told = ann.rest().await;
    assert!(told.len() >= 5, "away, back, two signals and a newcomer: {told:?}");
    told.extend(cid.rest().await);
    for path in ["/api/rooms", "/api/rooms/r", "/health", "/metrics"] {
        let answer = reqwest::get(server.url(path)).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        told.push(answer.text().await.unwrap());
    }
    for told in told {
        assert!(!told.contains(&first) && !told.contains(&renewed), "{told}");
    }
    all_go(server, [cid, bob, ann]).await;
}
