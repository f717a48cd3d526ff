//! How much of the media server one member may take for itself, in memory.

use parlor::sfu::parameters::Kind;
use parlor::sfu::{Answer, Asker, Concern, ConsumerAction, Direction, Problem, Request};
use serde_json::json;

use crate::support::media::{World, audio, member};

#[test]
fn a_transport_has_so_many_consumers() {
    let mut world = World::new();
    let ben = member("room", "ben");
    let mut transport = |asker: &Asker, direction| {
        let capabilities = Some(parlor::sfu::capabilities());
        let created = world.ask(asker, Request::CreateTransport { direction, capabilities });
        let Ok(Answer::TransportCreated { id, .. }) = created else { panic!("{created:?}") };
        id.to_string()
    };
    let ear = transport(&ben, Direction::Receive);
    // A room of many, each with all that it may send.
    let choir: Vec<_> = (0..129).map(|number| member("room", &format!("singer-{number}"))).collect();
    let mouths: Vec<_> = choir.iter().map(|singer| (singer, transport(singer, Direction::Send))).collect();
    let mut consumed = 0;
    for ((singer, mouth), number) in mouths.iter().flat_map(|mouth| (1..=8).map(move |number| (mouth, number))) {
        let mut parameters = audio();
        (parameters["mid"], parameters["encodings"]) = (json!(number.to_string()), json!([{ "ssrc": number }]));
        let parameters = Box::new(serde_json::from_value(parameters).unwrap());
        let request =
            Request::Produce { transport: mouth.clone(), kind: Kind::Audio, parameters, app_data: "{}".into() };
        let Answer::Produced(producer) = world.ask(singer, request).unwrap() else { panic!() };
        let (transport, capabilities) = (ear.clone(), Box::new(parlor::sfu::capabilities()));
        let consume = Request::Consume { transport, producer: producer.to_string(), capabilities };
        let done = world.ask(&ben, consume);
        if consumed == 1024 {
            assert_eq!(done.unwrap_err().problem, Problem::TooMany { what: "consumers", max: 1024 });
            break;
        }
        done.unwrap();
        consumed += 1;
    }
    assert_eq!(consumed, 1024);
    for asker in choir.iter().chain([&ben]) {
        world.sfu.leave(&asker.room, asker.connection);
    }
    assert!(world.sfu.is_empty());
}

#[test]
fn a_transport_consumes_a_producer_once() {
    let mut world = World::new();
    let (anna, ben) = (member("room", "anna"), member("room", "ben"));
    let mouth = world.transport(&anna, Direction::Send);
    let producer = world.produce(mouth, Kind::Audio, audio()).unwrap();
    let ear = world.transport(&ben, Direction::Receive);
    let consumer = world.consume(ear, &producer).unwrap();
    let error = world.consume(ear, &producer).unwrap_err();
    assert_eq!(error.concern, Concern::Consume);
    assert_eq!(error.to_string(), "producerId: this transport consumes it already");
    // Over another transport it may, and whoever sends it may hear it.
    for asker in [&ben, &anna] {
        let other = world.transport(asker, Direction::Receive);
        world.consume(other, &producer).unwrap();
    }
    world.ask(&ben, Request::Consumer(consumer.id.to_string(), ConsumerAction::Close)).unwrap();
    world.consume(ear, &producer).unwrap();
}
