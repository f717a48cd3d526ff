//! Media of a `/ws` peer whose connection drops: it continues until the session expires.

use parlor::dialect::envelope::DIALECT;
use parlor::dialect::{Frame, MediaMessage};
use parlor::id::RoomId;
use parlor::room::{Command, LeaveReason, Metadata, RoomKind};
use parlor::session::Moment;
use parlor::sfu::MediaRequest;
use serde_json::{Value, json};

use crate::support::TestServer;
use crate::support::outbox::resumable;
use crate::support::player::{consume, produce_audio};
use crate::support::resuming_client::{ClientKind, ResumingClient};

/// Returns the type and payload of the next message.
async fn next_message(client: &mut ResumingClient) -> (String, Value) {
    let mut message: Value = serde_json::from_str(&client.next().await).unwrap();
    (message["type"].as_str().unwrap().to_owned(), message["payload"].take())
}

/// Returns the payload of the next message except active speaker events, and asserts its type.
async fn receives(client: &mut ResumingClient, kind: &str) -> Value {
    loop {
        let (message_type, payload) = next_message(client).await;
        if message_type != "room:active-speaker" {
            assert_eq!(message_type, kind, "{payload}");
            return payload;
        }
    }
}

async fn two(server: &TestServer) -> (ResumingClient, ResumingClient) {
    let mut ann = ResumingClient::joined(server, ClientKind::Envelope, "ann").await;
    let ben = ResumingClient::joined(server, ClientKind::Envelope, "ben").await;
    receives(&mut ann, "room:participant-joined").await;
    (ann, ben)
}

#[tokio::test]
async fn media_continues_while_peer_is_away() {
    let server = TestServer::with(&["--resume-seconds=10"]);
    let (mut ann, mut ben) = two(&server).await;
    let (sender, producer) = produce_audio(&mut ann).await;
    assert_eq!(receives(&mut ben, "new:producer").await["producerId"], producer);
    let receiver = consume(&mut ben, &producer).await;
    receiver.receives_more(10).await;

    // The sender is away.
    let resume_point = ann.drop_connection().await;
    receives(&mut ben, "room:participant-away").await;
    receiver.receives_more(50).await;
    let mut ann = ResumingClient::resume(&server, ClientKind::Envelope, &resume_point).await;
    assert!(ann.is_resumed);
    receives(&mut ben, "room:participant-back").await;
    // Its producer still belongs to it.
    let named = json!({ "producerId": producer });
    assert_eq!(ann.ask("producer:pause", named.clone()).await, named);
    assert_eq!(receives(&mut ben, "producer:paused").await["userId"], "ann");

    // The receiver is away, and gets the missed events afterwards.
    ben.rest().await;
    let resume_point = ben.drop_connection().await;
    receives(&mut ann, "room:participant-away").await;
    ann.ask("producer:resume", named.clone()).await;
    receiver.receives_more(50).await;
    ann.ask("producer:close", named.clone()).await;
    let mut ben = ResumingClient::resume(&server, ClientKind::Envelope, &resume_point).await;
    assert!(ben.is_resumed);
    assert_eq!(receives(&mut ben, "producer:resumed").await["producerId"], producer);
    receives(&mut ben, "consumer:closed").await;
    assert_eq!(receives(&mut ben, "producer:closed").await["producerId"], producer);
    receives(&mut ann, "room:participant-back").await;
    assert_eq!(server.held().transports, 2);
    ann.close().await;
    ben.close().await;
    drop((sender, receiver));
    server.finish().await;
}

#[tokio::test]
async fn media_ends_when_session_expires() {
    let server = TestServer::with(&["--resume-seconds=1"]);
    let (mut ann, mut ben) = two(&server).await;
    let (_sender, producer) = produce_audio(&mut ann).await;
    receives(&mut ben, "new:producer").await;
    let receiver = consume(&mut ben, &producer).await;
    receiver.receives_more(10).await;
    ann.rest().await;
    ann.drop_connection().await;
    receives(&mut ben, "room:participant-away").await;
    assert_eq!(server.held().transports, 2);
    let mut events = Vec::new();
    while events.len() < 3 {
        let (kind, mut payload) = next_message(&mut ben).await;
        if kind != "room:active-speaker" {
            events.push((kind, payload["userId"].take()));
        }
    }
    events.sort_unstable_by(|one, other| one.0.cmp(&other.0));
    let expected = [
        ("consumer:closed", Value::Null),
        ("producer:closed", json!("ann")),
        ("room:participant-left", json!("ann")),
    ];
    assert_eq!(events, expected.map(|(kind, user)| (kind.to_owned(), user)));
    server.until("ann's transport is closed", |held| held.transports == 1).await;
    ben.close().await;
    server.finish().await;
}

/// A peer that joins with the same id on a new connection, such as a reloaded page, starts without
/// media.
#[tokio::test]
async fn media_ends_when_connection_is_replaced() {
    let server = TestServer::with(&["--resume-seconds=10"]);
    let (mut ann, mut ben) = two(&server).await;
    let (_sender, producer) = produce_audio(&mut ann).await;
    receives(&mut ben, "new:producer").await;
    ann.rest().await;
    ann.drop_connection().await;
    receives(&mut ben, "room:participant-away").await;
    let mut again = ResumingClient::joined(&server, ClientKind::Envelope, "ann").await;
    let list = again.ask("producers:list", json!({})).await;
    assert_eq!(list, json!({ "producers": [] }));
    let refused = again.ask("producer:close", json!({ "producerId": producer })).await;
    assert_eq!(refused["code"], "PRODUCE_ERROR");
    server.until("ann's transports are closed", |held| held.transports == 0).await;
    again.close().await;
    ben.close().await;
    // Her session is kept without a room until the server stops.
    server
        .until("both have left", |held| held.sessions == 0 && held.away == 1 && held.rooms == 0)
        .await;
    assert!(server.stop().await);
}

/// Messages of the old connection may be read after another has resumed its session.
#[tokio::test]
async fn resumed_session_refuses_media_requests_of_old_connection() {
    let server = TestServer::with(&["--resume-seconds=10"]);
    let older = resumable(server.hub(), &DIALECT);
    let room = RoomId::new("r").unwrap();
    let join =
        Command::Join { room, peer: None, metadata: Metadata::default(), kind: RoomKind::Group };
    assert!(
        older.handle(Moment::now(), join, 0, |_| Some(Frame::Text(String::new()))).result.is_ok()
    );
    let ask = || {
        let (request, text) = (MediaRequest::ListProducers, Box::default());
        let message = MediaMessage { room: None, request, text, form: 0 };
        (message, Box::new(|_, _| Frame::Text(String::new())))
    };
    let (message, write) = ask();
    assert!(older.media(message, write).is_ok());
    let (newer, _) = server
        .hub()
        .resume(&older.token().unwrap(), 0, None, None)
        .expect("the session is resumed");
    let (message, write) = ask();
    let refused = older.media(message, write).err().expect("the old connection has no session");
    assert_eq!(refused.to_string(), "the connection has ended");
    let (message, write) = ask();
    assert!(newer.media(message, write).is_ok());
    newer.end(LeaveReason::Disconnected);
    server.finish().await;
}
