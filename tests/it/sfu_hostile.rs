//! Hostile clients of the SFU, in memory: others are not affected, and no state is left.

use std::collections::HashMap;
use std::time::Duration;

use parlor::id::{ConnectionId, RoomId};
use parlor::sfu::parameters::TrackKind;
use parlor::sfu::{
    ConsumerAction, Direction, MediaEvent, MediaRequest, MediaResponse, Notice, NoticeTarget,
    ProducerAction, RoomMember,
};
use serde_json::{Value, json};
use str0m::media::{MediaKind, Mid};

use crate::support::media::{
    World, audio, audio_packet, is_rtp, member, simulcast, video, video_packet,
};

/// A call with one audio producer and one consumer.
struct AudioCall {
    world: World,
    sender: usize,
    receiver: usize,
    sent_packets: u64,
}

impl AudioCall {
    fn new() -> Self {
        let mut world = World::new();
        let sender = world.connected(&member("room", "anna"), Direction::Send);
        let receiver = world.connected(&member("room", "ben"), Direction::Receive);
        let producer = world.produce(sender, TrackKind::Audio, audio()).unwrap();
        let consumer = world.consume(receiver, &producer).unwrap();
        let member = world.clients[receiver].member.clone();
        world
            .ask(&member, MediaRequest::Consumer(consumer.id.to_string(), ConsumerAction::Resume))
            .unwrap();
        Self { world, sender, receiver, sent_packets: 0 }
    }

    /// Sends packets, and asserts that exactly these arrive.
    fn assert_media_continues(&mut self) {
        self.world.clients[self.receiver].received.clear();
        for _ in 0..20 {
            self.world.send(self.sender, 5000, audio_packet(self.sent_packets, -30));
            self.sent_packets += 1;
            self.world.advance(Duration::from_millis(20));
        }
        self.world.advance(Duration::from_millis(100));
        assert_eq!(self.world.clients[self.receiver].received.len(), 20);
    }
}

#[test]
fn undeclared_streams_are_not_forwarded() {
    let mut call = AudioCall::new();
    call.assert_media_continues();
    call.world.clients[call.receiver].received.clear();
    for ssrc in 20_000..20_030_u32 {
        // With a MID that no producer has.
        let mid = Mid::from(ssrc.to_string().as_str());
        let mut api = call.world.clients[call.sender].rtc.direct_api();
        api.declare_media(mid, MediaKind::Audio);
        api.declare_stream_tx(ssrc.into(), None, mid, None);
        call.world.send(call.sender, ssrc, audio_packet(1, -30));
    }
    call.world.record = true;
    call.world.advance(Duration::from_millis(100));
    assert!(
        call.world.recorded.iter().filter(|datagram| is_rtp(datagram)).count() >= 30,
        "the client sends them"
    );
    assert!(call.world.clients[call.receiver].received.is_empty());
    let before = call.world.sfu.stats().ignored;
    forge(&mut call);
    assert_eq!(call.world.sfu.stats().ignored - before, 4_000, "all of them are ignored");
    assert!(
        call.world
            .notices
            .iter()
            .all(|notice| !matches!(notice.event, MediaEvent::TransportFailed(_)))
    );
    // Declared streams are still forwarded.
    call.assert_media_continues();
}

/// Sends unauthenticated packets of more streams than the limit from the sender's address.
fn forge(call: &mut AudioCall) {
    let own = call.world.clients[call.sender].address;
    for ssrc in 60_000..64_000_u32 {
        // With and without padding.
        let mut datagram = vec![if ssrc % 2 == 0 { 0xa0 } else { 0x80 }, 100, 0, 1, 0, 0, 0, 1];
        datagram.extend(ssrc.to_be_bytes());
        datagram.resize(100, 0xa5);
        call.world.sfu.receive(call.world.now, own, &datagram);
    }
}

#[test]
fn forged_streams_do_not_count_towards_limit() {
    let mut call = AudioCall::new();
    // From now on the transport accepts streams by name.
    let video_consumer = call.world.produce(call.sender, TrackKind::Video, simulcast()).unwrap();
    forge(&mut call);
    let video_consumer = call.world.consume(call.receiver, &video_consumer).unwrap();
    let listener = call.world.clients[call.receiver].member.clone();
    call.world
        .ask(
            &listener,
            MediaRequest::Consumer(video_consumer.id.to_string(), ConsumerAction::Resume),
        )
        .unwrap();
    call.world.clients[call.receiver].received.clear();
    for number in 0..60_u16 {
        let keyframe_requested =
            std::mem::take(&mut call.world.clients[call.sender].keyframe_requests) > 0;
        call.world.send(
            call.sender,
            7000,
            video_packet(number.into(), number, keyframe_requested, 300),
        );
        call.world.advance(Duration::from_millis(33));
    }
    let seen = call.world.clients[call.receiver].received.len();
    assert!(seen > 30, "{seen} frames");
    call.world
        .ask(
            &listener,
            MediaRequest::Consumer(video_consumer.id.to_string(), ConsumerAction::Close),
        )
        .unwrap();
    call.world.advance(Duration::from_millis(100));
    call.assert_media_continues();
}

/// Does the same with packets that carry the names of the client's streams.
fn forge_by_name(call: &mut AudioCall) {
    let own = call.world.clients[call.sender].address;
    for (number, ssrc) in (60_000..61_000_u32).enumerate() {
        // Each SSRC several times, alternating with others.
        for ssrc in [ssrc, ssrc - 1, ssrc - 2].into_iter().filter(|ssrc| *ssrc >= 60_000) {
            for (kind, names) in [
                (100_u8, &b"\x10a"[..]),
                (101, b"\x10v\x21r0"),
                (102, b"\x10v\x31r0"),
                (101, b"\x10v"),
            ] {
                let mut datagram =
                    vec![if number % 2 == 0 { 0xb0 } else { 0x90 }, kind, 0, 1, 0, 0, 0, 1];
                datagram.extend(ssrc.to_be_bytes());
                datagram.extend([0xbe, 0xde, 0, 2]);
                datagram.extend(names);
                datagram.resize(24, 0);
                datagram.resize(100, 0xa5);
                call.world.sfu.receive(call.world.now, own, &datagram);
            }
        }
    }
}

#[test]
fn forged_streams_do_not_take_over_names() {
    let mut call = AudioCall::new();
    let video_consumer = call.world.produce(call.sender, TrackKind::Video, simulcast()).unwrap();
    // Before a stream has bound the name, and below after it has.
    forge_by_name(&mut call);
    let video_consumer = call.world.consume(call.receiver, &video_consumer).unwrap();
    let listener = call.world.clients[call.receiver].member.clone();
    call.world
        .ask(
            &listener,
            MediaRequest::Consumer(video_consumer.id.to_string(), ConsumerAction::Resume),
        )
        .unwrap();
    let mut number = 0_u16;
    let mut send_video = |call: &mut AudioCall, frames: u16| {
        call.world.clients[call.receiver].received.clear();
        for _ in 0..frames {
            let keyframe_requested =
                std::mem::take(&mut call.world.clients[call.sender].keyframe_requests) > 0;
            call.world.send(
                call.sender,
                7000,
                video_packet(number.into(), number, keyframe_requested, 300),
            );
            call.world.send(call.sender, 5000, audio_packet(number.into(), -30));
            number += 1;
            call.world.advance(Duration::from_millis(33));
        }
        call.world.clients[call.receiver].received.len()
    };
    // Long enough for the client to stop sending names.
    assert!(send_video(&mut call, 300) > 500);
    forge_by_name(&mut call);
    assert!(send_video(&mut call, 100) > 190, "both streams continue");
}

#[test]
fn address_in_use_is_not_taken_over() {
    let mut call = AudioCall::new();
    let eve = member("elsewhere", "eve");
    let thief = call.world.transport(&eve, Direction::Send);
    // Eve uses her own transport and password, from the sender's address.
    call.world.clients[thief].address = call.world.clients[call.sender].address;
    call.world.connect(thief).unwrap();
    call.world.advance(Duration::from_secs(2));
    assert!(!call.world.clients[thief].is_connected);
    call.assert_media_continues();
}

#[test]
fn replayed_datagrams_change_nothing() {
    let mut call = AudioCall::new();
    call.world.record = true;
    call.assert_media_continues();
    call.world.record = false;
    let recorded = std::mem::take(&mut call.world.recorded);
    assert!(recorded.len() > 20);
    let (own, strange) =
        (call.world.clients[call.sender].address, "203.0.113.9:9".parse().unwrap());
    call.world.clients[call.receiver].received.clear();
    for from in [own, strange] {
        for datagram in &recorded {
            call.world.sfu.receive(call.world.now, from, datagram);
        }
    }
    call.world.advance(Duration::from_millis(100));
    assert!(call.world.clients[call.receiver].received.is_empty(), "no packet is forwarded twice");
    call.assert_media_continues();
}

#[test]
fn truncated_or_modified_datagrams_change_nothing() {
    let mut call = AudioCall::new();
    call.world.record = true;
    call.assert_media_continues();
    call.world.record = false;
    let recorded = std::mem::take(&mut call.world.recorded);
    let own = call.world.clients[call.sender].address;
    call.world.clients[call.receiver].received.clear();
    for datagram in recorded.iter().filter(|datagram| datagram.len() > 30) {
        for length in 0..datagram.len() {
            call.world.sfu.receive(call.world.now, own, &datagram[..length]);
        }
        for at in 0..datagram.len() {
            let mut changed = datagram.clone();
            changed[at] ^= 0x5a;
            call.world.sfu.receive(call.world.now, own, &changed);
        }
    }
    call.world.advance(Duration::from_millis(100));
    assert!(call.world.clients[call.receiver].received.is_empty());
    call.assert_media_continues();
}

/// A deterministic random number generator.
struct Random(u32);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        usize::try_from(self.0 >> 8).unwrap() % end
    }

    fn one_of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }

    /// Returns one of the latest ids, mostly one of the caller's own, or an invalid id.
    fn id(&mut self, all: &[(ConnectionId, String)], own: Option<ConnectionId>) -> String {
        let own = own.filter(|_| self.below(8) > 0);
        let fitting =
            all.iter().rev().filter(|(owner, _)| own.is_none_or(|own| own == *owner)).take(6);
        let fitting: Vec<&String> = fitting.map(|(_, id)| id).collect();
        if fitting.is_empty() || self.below(16) == 0 {
            "x".to_owned()
        } else {
            (*self.one_of(&fitting)).clone()
        }
    }
}

/// Sends random requests in random order.
struct Fuzzer {
    random: Random,
    members: Vec<RoomMember>,
    transports: Vec<(ConnectionId, String)>,
    producers: Vec<(ConnectionId, String)>,
    consumers: Vec<(ConnectionId, String)>,
    /// The room of each producer.
    rooms: HashMap<String, RoomId>,
}

impl Fuzzer {
    fn parameters(&mut self) -> (TrackKind, Value) {
        let (kind, mut parameters) = if self.random.below(2) == 0 {
            (TrackKind::Audio, audio())
        } else {
            (TrackKind::Video, video())
        };
        parameters["mid"] = json!(self.random.one_of(&["a", "b", "v", "", "probing"]));
        let ssrc = self.random.below(6);
        parameters["encodings"] = match self.random.below(5) {
            0 => json!([{ "rid": "l" }, { "rid": "h" }]),
            1 => json!([{ "ssrc": ssrc }, { "ssrc": ssrc + 1 }]),
            2 => json!([]),
            3 => json!([{ "ssrc": u32::MAX, "rtx": { "ssrc": ssrc } }]),
            _ => json!([{ "ssrc": ssrc, "rtx": { "ssrc": ssrc + 1 } }]),
        };
        (kind, parameters)
    }

    fn request(&mut self, world: &mut World, own: ConnectionId) -> MediaRequest {
        let transport = self.random.id(&self.transports, Some(own));
        let consumer = self.random.id(&self.consumers, Some(own));
        let producer = self.random.id(&self.producers, Some(own));
        let any_producer = self.random.id(&self.producers, None);
        match self.random.below(20) {
            0 => MediaRequest::Capabilities,
            1 | 2 => {
                let direction = *self.random.one_of(&[Direction::Send, Direction::Receive]);
                MediaRequest::CreateTransport { direction }
            }
            3 => MediaRequest::ConnectTransport { transport, dtls: world.clients[0].dtls() },
            4 => MediaRequest::RestartIce { transport },
            5 => MediaRequest::CloseTransport { transport },
            6..=11 => {
                let (kind, parameters) = self.parameters();
                let parameters = serde_json::from_value(parameters).unwrap();
                MediaRequest::Produce { transport, kind, parameters, app_data: "{}".into() }
            }
            12..=15 => {
                let capabilities = Box::new(parlor::sfu::capabilities());
                MediaRequest::Consume { transport, producer: any_producer, capabilities }
            }
            16 | 17 => {
                let layers = ConsumerAction::Layers { spatial: 9, temporal: Some(0) };
                let actions = [
                    ConsumerAction::Resume,
                    ConsumerAction::Pause,
                    ConsumerAction::Close,
                    ConsumerAction::Keyframe,
                    layers,
                ];
                MediaRequest::Consumer(consumer, *self.random.one_of(&actions))
            }
            18 => {
                let actions =
                    [ProducerAction::Pause, ProducerAction::Resume, ProducerAction::Close];
                MediaRequest::Producer(producer, *self.random.one_of(&actions))
            }
            _ => MediaRequest::ListProducers,
        }
    }

    fn step(&mut self, world: &mut World) {
        let member = self.random.one_of(&self.members).clone();
        if self.random.below(200) == 0 {
            world.sfu.remove_peer(&member.room, member.connection);
            return;
        }
        let request = self.request(world, member.connection);
        match world.ask(&member, request) {
            Ok(MediaResponse::TransportCreated { id, .. }) => {
                self.transports.push((member.connection, id.to_string()));
            }
            Ok(MediaResponse::ProducerCreated(id)) => {
                self.producers.push((member.connection, id.to_string()));
                self.rooms.insert(id.to_string(), member.room);
            }
            Ok(MediaResponse::ConsumerCreated(consumer)) => {
                let id = consumer.producer.id.to_string();
                assert_eq!(self.rooms[&id], member.room, "no media of another room");
                self.consumers.push((member.connection, consumer.id.to_string()));
            }
            Ok(MediaResponse::Producers(producers)) => {
                assert!(
                    producers
                        .iter()
                        .all(|producer| self.rooms[&producer.id.to_string()] == member.room)
                );
            }
            Ok(_) | Err(_) => {}
        }
    }

    /// Asserts that a notice is for the right room, and that no transport has failed, which a panic
    /// would cause.
    fn check_notice(&self, notice: &Notice) {
        let room = match &notice.to {
            NoticeTarget::Room(room, _) => room,
            NoticeTarget::One(_, connection) => {
                &self
                    .members
                    .iter()
                    .find(|member| member.connection == *connection)
                    .expect("one of them")
                    .room
            }
        };
        let producer = match &notice.event {
            MediaEvent::ProducerAdded(producer) => producer.id,
            MediaEvent::ProducerChanged(id, ..) => *id,
            MediaEvent::ConsumerClosed(_) | MediaEvent::LayersChanged(..) => return,
            MediaEvent::TransportFailed(_) | MediaEvent::ActiveSpeaker { .. } => {
                panic!("{notice:?}")
            }
        };
        assert_eq!(self.rooms[&producer.to_string()], *room, "{notice:?}");
    }
}

#[test]
fn arbitrary_requests_in_any_order_leave_no_state() {
    let mut made = [0; 3];
    for seed in 0..20 {
        let mut world = World::new();
        // Media requests announce its certificate.
        let bystander = member("a third", "bystander");
        world.connected(&bystander, Direction::Send);
        world.notices.clear();
        let members = ["one", "one", "one", "other", "other"];
        let members = members
            .iter()
            .enumerate()
            .map(|(number, room)| member(room, &number.to_string()))
            .collect();
        let mut fuzzer = Fuzzer {
            random: Random(seed),
            members,
            transports: Vec::new(),
            producers: Vec::new(),
            consumers: Vec::new(),
            rooms: HashMap::new(),
        };
        for number in 0..1100 {
            fuzzer.step(&mut world);
            if number % 50 == 0 {
                world.advance(Duration::from_millis(20));
            }
        }
        world.advance(Duration::from_secs(1));
        for notice in world.notices.drain(..) {
            fuzzer.check_notice(&notice);
        }
        for (sum, made) in
            made.iter_mut().zip([&fuzzer.transports, &fuzzer.producers, &fuzzer.consumers])
        {
            *sum += made.len();
        }
        for member in fuzzer.members.iter().chain([&bystander]) {
            world.sfu.remove_peer(&member.room, member.connection);
        }
        assert!(world.sfu.is_empty(), "{seed}");
    }
    assert!(made.iter().all(|made| *made > 200), "transports, producers, consumers: {made:?}");
}
