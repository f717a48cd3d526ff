//! Sessions while their peers are away, and their ends.

use reqwest::StatusCode;
use serde_json::{Value, json};

use super::{all_go, away, back, two};
use crate::support::TestServer;
use crate::support::protocol_peer::Received;
use crate::support::resuming_client::{ResumingClient, Ticket, Way};
use crate::support::scrape::Scrape;
use crate::support::tokens::{Issuer, SECRET, seconds_from_now};

/// The error for a sender whose signal does not fit.
fn refused() -> Result<(), String> {
    Err("DELIVERY_FAILED".to_owned())
}

/// It comes back to nothing.
async fn is_gone(server: &TestServer, way: Way, ticket: &Ticket) {
    let mut stranger = ResumingClient::back(server, way, ticket).await;
    assert!(!stranger.is_back);
    stranger.hears_nothing().await;
    stranger.close().await;
}

pub(super) async fn full_replay_buffer_refuses_signals(way: Way) {
    let server = TestServer::with(&["--resume-seconds=10", "--resume-messages=8"]);
    let (mut ann, bob) = two(&server, way).await;
    let ticket = bob.drops().await;
    ann.hears(away("bob")).await;
    // Frames that the client has seen count as well, since it may not have received them.
    let fits = 8 - usize::try_from(ticket.number()).unwrap();
    ann.send_all("bob", 0..fits).await;
    for _ in 0..3 {
        assert_eq!(ann.say_in("r", "bob", fits).await, refused());
    }
    let mut bob = ResumingClient::back(&server, way, &ticket).await;
    ann.hears(back("bob")).await;
    bob.hears_all("ann", 0..fits).await;
    // One that is there is held nothing back from.
    ann.send_all("bob", fits..fits + 20).await;
    bob.hears_all("ann", fits..fits + 20).await;
    bob.hears_nothing().await;
    all_go(server, [bob, ann]).await;
}

pub(super) async fn bytes_that_do_not_fit_are_refused(way: Way) {
    let server = TestServer::with(&["--resume-seconds=10", "--resume-bytes=4096"]);
    let (mut ann, bob) = two(&server, way).await;
    let ticket = bob.drops().await;
    ann.hears(away("bob")).await;
    let mut sent = 0;
    let refusal = loop {
        match ann.say_in("r", "bob", sent).await {
            Ok(()) => sent += 1,
            refusal => break refusal,
        }
    };
    assert_eq!(refusal, refused());
    assert!((10..100).contains(&sent), "{sent} of some hundred bytes each");
    let mut bob = ResumingClient::back(&server, way, &ticket).await;
    ann.hears(back("bob")).await;
    bob.hears_all("ann", 0..sent).await;
    all_go(server, [bob, ann]).await;
}

/// A client that misses a presence event would have a wrong view of the room, so its session ends.
pub(super) async fn session_ends_if_a_presence_event_does_not_fit(way: Way) {
    let server = TestServer::with(&["--resume-seconds=60", "--resume-messages=8"]);
    let (mut ann, bob) = two(&server, way).await;
    let ticket = bob.drops().await;
    ann.hears(away("bob")).await;
    while ann.say_in("r", "bob", 0).await.is_ok() {}
    let mut cid = ResumingClient::joined(&server, way, "cid").await;
    // However soon it comes.
    is_gone(&server, way, &ticket).await;
    ann.hears(Received::Joined("cid".to_owned())).await;
    for one in [&mut ann, &mut cid] {
        one.hears_left("bob", "timeout").await;
        one.hears_nothing().await;
    }
    all_go(server, [cid, ann]).await;
}

pub(super) async fn expired_absence_is_announced_once(way: Way) {
    let server = TestServer::with(&["--resume-seconds=1"]);
    let (mut ann, bob) = two(&server, way).await;
    let began = std::time::Instant::now();
    bob.drops().await;
    ann.hears(away("bob")).await;
    ann.say("bob", 0).await;
    ann.hears_left("bob", "timeout").await;
    let took = began.elapsed().as_secs_f64();
    assert!(took >= 1.0, "{took}");
    assert_eq!(server.held().away, 0);
    assert_eq!(ann.say_in("r", "bob", 1).await, Err("TARGET_NOT_FOUND".to_owned()));
    ann.hears_nothing().await;
    // A room is forgotten with the last who may come back to it.
    ann.drops().await;
    server.until("one is away", |held| held.away == 1 && held.rooms == 1).await;
    server.until("its room is gone", |held| held.rooms == 0).await;
    server.finish().await;
}

pub(super) async fn a_normal_close_leaves_at_once(way: Way) {
    let server = TestServer::with(&["--resume-seconds=60"]);
    let (mut ann, bob) = two(&server, way).await;
    let ticket = bob.ticket();
    bob.close().await;
    ann.hears_left("bob", "disconnected").await;
    assert_eq!(server.held().away, 0);
    is_gone(&server, way, &ticket).await;
    ann.hears_nothing().await;
    all_go(server, [ann]).await;
}

pub(super) async fn keeps_its_position_in_the_room(way: Way) {
    let server = TestServer::with(&["--resume-seconds=60", "--max-room-size=3"]);
    let (mut ann, bob) = two(&server, way).await;
    let ticket = bob.drops().await;
    ann.hears(away("bob")).await;
    let mut cid = ResumingClient::come(&server, way, None, None).await.unwrap();
    assert_eq!(cid.join("r", "cid").await, ["ann", "bob"]);
    let room: Value = reqwest::get(server.url("/api/rooms/r")).await.unwrap().json().await.unwrap();
    assert_eq!(room["participants"], json!(["ann", "bob", "cid"]));
    // No other client takes it in the meantime.
    let mut dan = ResumingClient::come(&server, way, None, None).await.unwrap();
    let join = if way == Way::Envelope { "room:join" } else { "join-room" };
    assert_eq!(dan.ask(join, json!({ "roomId": "r" })).await["code"], "ROOM_FULL");
    let bob = ResumingClient::back(&server, way, &ticket).await;
    assert!(bob.is_back);
    all_go(server, [dan, cid, bob, ann]).await;
}

pub(super) async fn its_room_is_closed(way: Way) {
    let server = TestServer::with(&["--resume-seconds=60"]);
    let (mut ann, bob) = two(&server, way).await;
    let ticket = bob.drops().await;
    ann.hears(away("bob")).await;
    let closed = reqwest::Client::new().delete(server.url("/api/rooms/r")).send().await.unwrap();
    assert_eq!(closed.status(), StatusCode::NO_CONTENT);
    ann.hears(Received::Error("ROOM_CLOSED".to_owned())).await;
    assert_eq!(server.held().rooms, 0);
    let mut bob = ResumingClient::back(&server, way, &ticket).await;
    assert!(bob.is_back);
    bob.hears(Received::Error("ROOM_CLOSED".to_owned())).await;
    assert_eq!(bob.say_in("r", "ann", 0).await, Err("NOT_IN_ROOM".to_owned()));
    for one in [&mut ann, &mut bob] {
        one.hears_nothing().await;
    }
    all_go(server, [bob, ann]).await;
}

/// As clients do that cannot come back, and join again.
pub(super) async fn another_client_takes_its_name(way: Way) {
    let server = TestServer::with(&["--resume-seconds=60"]);
    let (mut ann, bob) = two(&server, way).await;
    let ticket = bob.drops().await;
    ann.hears(away("bob")).await;
    ann.say("bob", 0).await;
    let mut newer = ResumingClient::joined(&server, way, "bob").await;
    ann.hears_left("bob", "replaced").await;
    ann.hears(Received::Joined("bob".to_owned())).await;
    ann.say("bob", 1).await;
    newer.hears_all("ann", 1..2).await;
    // The older client gets an error, and is no longer in the room: no further event is sent.
    let mut older = ResumingClient::back(&server, way, &ticket).await;
    assert!(older.is_back);
    older.hears_all("ann", 0..1).await;
    older.hears(Received::Error("REPLACED".to_owned())).await;
    assert_eq!(older.say_in("r", "ann", 2).await, Err("NOT_IN_ROOM".to_owned()));
    older.close().await;
    ann.hears_nothing().await;
    newer.hears_nothing().await;
    all_go(server, [newer, ann]).await;
}

/// A shutdown does not wait for away sessions.
pub(super) async fn the_server_drains(way: Way) {
    let server = TestServer::with(&["--resume-seconds=60"]);
    let (ann, mut bob) = two(&server, way).await;
    ann.drops().await;
    bob.hears(away("ann")).await;
    bob.drops().await;
    server.until("both are away", |held| held.away == 2).await;
    let began = std::time::Instant::now();
    assert!(server.stop().await, "nothing is left");
    assert!(began.elapsed().as_secs() < 5, "{:?}", began.elapsed());
}

pub(super) async fn its_token_ends(way: Way) {
    let issuer = Issuer::secret(SECRET);
    let server = TestServer::with(&["--resume-seconds=60", &issuer.flag()]);
    let mut ann = ResumingClient::come(&server, way, None, Some(&issuer.token("ann", &json!({})))).await.unwrap();
    ann.join("r", "ann").await;
    let end = seconds_from_now(2.0);
    let token = issuer.token("bob", &json!({ "exp": end }));
    let mut bob = ResumingClient::come(&server, way, None, Some(&token)).await.unwrap();
    bob.join("r", "bob").await;
    ann.hears(Received::Joined("bob".to_owned())).await;
    let ticket = bob.drops().await;
    ann.hears(away("bob")).await;
    ann.hears_left("bob", "timeout").await;
    let late = seconds_from_now(0.0) - end;
    assert!((0.0..2.0).contains(&late), "{late} s after its end");
    let mut stranger =
        ResumingClient::come(&server, way, Some(&ticket), Some(&issuer.token("bob", &json!({})))).await.unwrap();
    assert!(!stranger.is_back);
    stranger.hears_nothing().await;
    ann.hears_nothing().await;
    all_go(server, [stranger, ann]).await;
}

/// It has its place by the token that it comes back with: until that ends, and in the rooms of that.
pub(super) async fn a_newer_token_counts_from_the_return_on(way: Way) {
    let issuer = Issuer::secret(SECRET);
    let server = TestServer::with(&["--resume-seconds=60", &issuer.flag()]);
    let end = seconds_from_now(3.0);
    let token = issuer.token("bob", &json!({ "exp": end }));
    let mut bob = ResumingClient::come(&server, way, None, Some(&token)).await.unwrap();
    let goes = ResumingClient::come(&server, way, None, Some(&token)).await.unwrap();
    bob.join("r", "bob").await;
    let ticket = bob.drops().await;
    server.until("it is away", |held| held.away == 1).await;
    let newer = issuer.token("bob", &json!({ "rooms": ["r", "s"] }));
    let mut bob = ResumingClient::come(&server, way, Some(&ticket), Some(&newer)).await.unwrap();
    assert!(bob.is_back);
    // By its older token another ends.
    goes.ended().await;
    assert!(seconds_from_now(0.0) >= end);
    bob.join("s", "bob").await;
    let join = if way == Way::Envelope { "room:join" } else { "join-room" };
    assert_eq!(bob.ask(join, json!({ "roomId": "t" })).await["code"], "FORBIDDEN");
    all_go(server, [bob]).await;
}

pub(super) async fn disabled_limit_refuses_nothing(way: Way) {
    let server = TestServer::with(&["--resume-seconds=0"]);
    let (mut ann, bob) = two(&server, way).await;
    assert!(!bob.can_come_back());
    bob.reset().await;
    ann.hears_left("bob", "disconnected").await;
    ann.hears_nothing().await;
    assert_eq!(Scrape::of(&server).await.count("parlor_away"), 0);
    all_go(server, [ann]).await;
}
