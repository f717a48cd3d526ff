//! Limits of consumers per transport, in memory.

use std::time::Duration;

use parlor::sfu::parameters::TrackKind;
use parlor::sfu::{
    ConsumerAction, Direction, ErrorScope, MediaRequest, MediaResponse, PollOutput, RoomMember,
    SfuErrorKind,
};
use serde_json::json;

use crate::support::media::{World, audio, member};

#[test]
fn consumers_per_transport_are_limited() {
    let mut world = World::new();
    let ben = member("room", "ben");
    let mut transport = |member: &RoomMember, direction| {
        let created = world.ask(member, MediaRequest::CreateTransport { direction });
        let Ok(MediaResponse::TransportCreated { id, .. }) = created else { panic!("{created:?}") };
        id.to_string()
    };
    let audio_consumer = transport(&ben, Direction::Receive);
    // A large room whose members send as many tracks as allowed.
    let members: Vec<_> =
        (0..129).map(|number| member("room", &format!("member-{number}"))).collect();
    let senders: Vec<_> =
        members.iter().map(|member| (member, transport(member, Direction::Send))).collect();
    let mut consumed = 0;
    for ((member, sender), number) in
        senders.iter().flat_map(|sender| (1..=8).map(move |number| (sender, number)))
    {
        let mut parameters = audio();
        (parameters["mid"], parameters["encodings"]) =
            (json!(number.to_string()), json!([{ "ssrc": number }]));
        let parameters = Box::new(serde_json::from_value(parameters).unwrap());
        let request = MediaRequest::Produce {
            transport: sender.clone(),
            kind: TrackKind::Audio,
            parameters,
            app_data: "{}".into(),
        };
        let MediaResponse::ProducerCreated(producer) = world.ask(member, request).unwrap() else {
            panic!()
        };
        let (transport, capabilities) =
            (audio_consumer.clone(), Box::new(parlor::sfu::capabilities()));
        let consume =
            MediaRequest::Consume { transport, producer: producer.to_string(), capabilities };
        let done = world.ask(&ben, consume);
        if consumed == 1024 {
            assert_eq!(
                done.unwrap_err().kind,
                SfuErrorKind::TooMany { what: "consumers", max: 1024 }
            );
            break;
        }
        done.unwrap();
        consumed += 1;
    }
    assert_eq!(consumed, 1024);
    for member in members.iter().chain([&ben]) {
        world.sfu.remove_peer(&member.room, member.connection);
    }
    assert!(world.sfu.is_empty());
}

/// Hundreds of receivers of which few get packets must not keep the thread busy.
#[test]
fn idle_receivers_are_polled_rarely() {
    const RECEIVERS: usize = 10;
    let mut world = World::new();
    let sender = world.connected(&member("room", "anna"), Direction::Send);
    let producer = world.produce(sender, TrackKind::Audio, audio()).unwrap();
    for number in 0..RECEIVERS {
        let receiver =
            world.connected(&member("room", &format!("receiver-{number}")), Direction::Receive);
        let consumer = world.consume(receiver, &producer).unwrap();
        let of_receiver = world.clients[receiver].member.clone();
        world
            .ask(
                &of_receiver,
                MediaRequest::Consumer(consumer.id.to_string(), ConsumerAction::Resume),
            )
            .unwrap();
    }
    // Bandwidth is no longer estimated, since no client can choose between layers.
    world.advance(Duration::from_secs(3));
    let (until, mut polls) = (world.now + Duration::from_secs(4), 0);
    let mut output = PollOutput::default();
    while world.now < until {
        world.sfu.poll(world.now, &mut output);
        world.now = output.next.unwrap().max(world.now + Duration::from_micros(1));
        polls += 1;
    }
    // Five per second for each, and four of the allocation of bandwidth.
    assert!(polls <= 4 * (RECEIVERS * 8 + 4), "{polls}");
}

#[test]
fn transport_consumes_a_producer_only_once() {
    let mut world = World::new();
    let (anna, ben) = (member("room", "anna"), member("room", "ben"));
    let sender = world.transport(&anna, Direction::Send);
    let producer = world.produce(sender, TrackKind::Audio, audio()).unwrap();
    let audio_consumer = world.transport(&ben, Direction::Receive);
    let consumer = world.consume(audio_consumer, &producer).unwrap();
    let error = world.consume(audio_consumer, &producer).unwrap_err();
    assert_eq!(error.scope, ErrorScope::Consume);
    assert_eq!(error.to_string(), "producerId: this transport consumes it already");
    // Another transport may consume it, also one of its sender.
    for member in [&ben, &anna] {
        let other = world.transport(member, Direction::Receive);
        world.consume(other, &producer).unwrap();
    }
    world
        .ask(&ben, MediaRequest::Consumer(consumer.id.to_string(), ConsumerAction::Close))
        .unwrap();
    world.consume(audio_consumer, &producer).unwrap();
}
