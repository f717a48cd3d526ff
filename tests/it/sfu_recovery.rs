//! A `/ws` connection that drops, and the media of its peer: it goes on until the place is given up.

use parlor::dialect::Frame;
use parlor::dialect::envelope::DIALECT;
use parlor::id::RoomId;
use parlor::room::{Command, LeaveReason, Metadata, RoomKind};
use parlor::session::Moment;
use parlor::sfu::Request;
use serde_json::{Value, json};

use crate::support::TestServer;
use crate::support::outbox::resumable;
use crate::support::player::{listens, speaks};
use crate::support::roamer::{Roamer, Way};

/// The type of the next message, and its payload.
async fn told(roamer: &mut Roamer) -> (String, Value) {
    let mut message: Value = serde_json::from_str(&roamer.next().await).unwrap();
    (message["type"].as_str().unwrap().to_owned(), message["payload"].take())
}

/// The next message that is not about who speaks.
async fn hears(roamer: &mut Roamer, kind: &str) -> Value {
    loop {
        let (told, payload) = told(roamer).await;
        if told != "room:active-speaker" {
            assert_eq!(told, kind, "{payload}");
            return payload;
        }
    }
}

async fn two(server: &TestServer) -> (Roamer, Roamer) {
    let mut ann = Roamer::joined(server, Way::Envelope, "ann").await;
    let ben = Roamer::joined(server, Way::Envelope, "ben").await;
    hears(&mut ann, "room:participant-joined").await;
    (ann, ben)
}

#[tokio::test]
async fn media_goes_on_while_a_line_is_down() {
    let server = TestServer::with(&["--resume-seconds=10"]);
    let (mut ann, mut ben) = two(&server).await;
    let (mouth, producer) = speaks(&mut ann).await;
    assert_eq!(hears(&mut ben, "new:producer").await["producerId"], producer);
    let ear = listens(&mut ben, &producer).await;
    ear.hears_more(10).await;

    // The one who speaks is away.
    let ticket = ann.drops().await;
    hears(&mut ben, "room:participant-away").await;
    ear.hears_more(50).await;
    let mut ann = Roamer::back(&server, Way::Envelope, &ticket).await;
    assert!(ann.is_back);
    hears(&mut ben, "room:participant-back").await;
    // What it had is still its own.
    let named = json!({ "producerId": producer });
    assert_eq!(ann.ask("producer:pause", named.clone()).await, named);
    assert_eq!(hears(&mut ben, "producer:paused").await["userId"], "ann");

    // So is the one who listens, and is told afterwards of what happened meanwhile.
    ben.rest().await;
    let ticket = ben.drops().await;
    hears(&mut ann, "room:participant-away").await;
    ann.ask("producer:resume", named.clone()).await;
    ear.hears_more(50).await;
    ann.ask("producer:close", named.clone()).await;
    let mut ben = Roamer::back(&server, Way::Envelope, &ticket).await;
    assert!(ben.is_back);
    assert_eq!(hears(&mut ben, "producer:resumed").await["producerId"], producer);
    hears(&mut ben, "consumer:closed").await;
    assert_eq!(hears(&mut ben, "producer:closed").await["producerId"], producer);
    hears(&mut ann, "room:participant-back").await;
    assert_eq!(server.held().transports, 2);
    ann.close().await;
    ben.close().await;
    drop((mouth, ear));
    server.finish().await;
}

#[tokio::test]
async fn media_ends_with_the_place_of_who_does_not_come_back() {
    let server = TestServer::with(&["--resume-seconds=1"]);
    let (mut ann, mut ben) = two(&server).await;
    let (_mouth, producer) = speaks(&mut ann).await;
    hears(&mut ben, "new:producer").await;
    let ear = listens(&mut ben, &producer).await;
    ear.hears_more(10).await;
    ann.rest().await;
    ann.drops().await;
    hears(&mut ben, "room:participant-away").await;
    assert_eq!(server.held().transports, 2);
    let mut heard = Vec::new();
    while heard.len() < 3 {
        let (kind, mut payload) = told(&mut ben).await;
        if kind != "room:active-speaker" {
            heard.push((kind, payload["userId"].take()));
        }
    }
    heard.sort_unstable_by(|one, other| one.0.cmp(&other.0));
    let expected =
        [("consumer:closed", Value::Null), ("producer:closed", json!("ann")), ("room:participant-left", json!("ann"))];
    assert_eq!(heard, expected.map(|(kind, user)| (kind.to_owned(), user)));
    server.until("hers is gone, his is not", |held| held.transports == 1).await;
    ben.close().await;
    server.finish().await;
}

/// Whoever comes with the same name from elsewhere, a page that was loaded again, begins afresh.
#[tokio::test]
async fn media_ends_with_a_connection_that_is_replaced() {
    let server = TestServer::with(&["--resume-seconds=10"]);
    let (mut ann, mut ben) = two(&server).await;
    let (_mouth, producer) = speaks(&mut ann).await;
    hears(&mut ben, "new:producer").await;
    ann.rest().await;
    ann.drops().await;
    hears(&mut ben, "room:participant-away").await;
    let mut again = Roamer::joined(&server, Way::Envelope, "ann").await;
    let list = again.ask("producers:list", json!({})).await;
    assert_eq!(list, json!({ "producers": [] }));
    let refused = again.ask("producer:close", json!({ "producerId": producer })).await;
    assert_eq!(refused["code"], "PRODUCE_ERROR");
    server.until("what she had is gone", |held| held.transports == 0).await;
    again.close().await;
    ben.close().await;
    // Her place waits on, without a room: a shutdown ends it.
    server.until("they are gone", |held| held.sessions == 0 && held.away == 1 && held.rooms == 0).await;
    assert!(server.stop().await);
}

/// What it had sent may be read after another has taken its place.
#[tokio::test]
async fn a_connection_whose_place_is_taken_reaches_no_media() {
    let server = TestServer::with(&["--resume-seconds=10"]);
    let older = resumable(server.hub(), &DIALECT);
    let room = RoomId::new("r").unwrap();
    let join = Command::Join { room, peer: None, metadata: Metadata::default(), kind: RoomKind::Group };
    assert!(older.handle(Moment::now(), join, 0, |_| Some(Frame::Text(String::new()))).result.is_ok());
    let ask = || (None, Request::ListProducers, Box::new(|_, _| Frame::Text(String::new())));
    let (room, request, write) = ask();
    assert!(older.media(room, request, write).is_ok());
    let (newer, _) = server.hub().resume(&older.key().unwrap(), 0, None, None).expect("it is back");
    let (room, request, write) = ask();
    let refused = older.media(room, request, write).err().expect("it is nobody any more");
    assert_eq!(refused.to_string(), "the connection has ended");
    let (room, request, write) = ask();
    assert!(newer.media(room, request, write).is_ok());
    newer.end(LeaveReason::Disconnected);
    server.finish().await;
}
