//! Clients of the media server that do what they should not, in memory: others notice nothing, and nothing is left.

use std::collections::HashMap;
use std::time::Duration;

use parlor::id::{ConnectionId, RoomId};
use parlor::sfu::parameters::Kind;
use parlor::sfu::{Answer, Asker, Audience, ConsumerAction, Direction, MediaEvent, Notice, ProducerAction, Request};
use serde_json::{Value, json};
use str0m::media::{MediaKind, Mid};

use crate::support::media::{World, audio, is_rtp, member, picture, simulcast, sound, video};

/// One speaks, another listens.
struct Talk {
    world: World,
    mouth: usize,
    ear: usize,
    said: u64,
}

impl Talk {
    fn new() -> Self {
        let mut world = World::new();
        let mouth = world.connected(&member("room", "anna"), Direction::Send);
        let ear = world.connected(&member("room", "ben"), Direction::Receive);
        let producer = world.produce(mouth, Kind::Audio, audio()).unwrap();
        let consumer = world.consume(ear, &producer).unwrap();
        let asker = world.clients[ear].asker.clone();
        world.ask(&asker, Request::Consumer(consumer.id.to_string(), ConsumerAction::Resume)).unwrap();
        Self { world, mouth, ear, said: 0 }
    }

    /// Says something: all of it must arrive, and nothing else.
    fn goes_on(&mut self) {
        self.world.clients[self.ear].received.clear();
        for _ in 0..20 {
            self.world.send(self.mouth, 5000, sound(self.said, -30));
            self.said += 1;
            self.world.pass(Duration::from_millis(20));
        }
        self.world.pass(Duration::from_millis(100));
        assert_eq!(self.world.clients[self.ear].received.len(), 20);
    }
}

#[test]
fn streams_that_were_never_described_are_not_forwarded() {
    let mut talk = Talk::new();
    talk.goes_on();
    talk.world.clients[talk.ear].received.clear();
    for ssrc in 20_000..20_030_u32 {
        // Of a media section that is nobody's.
        let mid = Mid::from(ssrc.to_string().as_str());
        let mut api = talk.world.clients[talk.mouth].rtc.direct_api();
        api.declare_media(mid, MediaKind::Audio);
        api.declare_stream_tx(ssrc.into(), None, mid, None);
        talk.world.send(talk.mouth, ssrc, sound(1, -30));
    }
    talk.world.record = true;
    talk.world.pass(Duration::from_millis(100));
    assert!(talk.world.recorded.iter().filter(|datagram| is_rtp(datagram)).count() >= 30, "they are sent");
    assert!(talk.world.clients[talk.ear].received.is_empty());
    let before = talk.world.sfu.figures().ignored;
    forge(&mut talk);
    assert_eq!(talk.world.sfu.figures().ignored - before, 4_000, "none of them is listened to");
    assert!(talk.world.notices.iter().all(|notice| !matches!(notice.event, MediaEvent::TransportFailed(_))));
    // What it described it may still send.
    talk.goes_on();
}

/// More streams than are listened to, in the name of the one who speaks: none of them is signed.
fn forge(talk: &mut Talk) {
    let own = talk.world.clients[talk.mouth].address;
    for ssrc in 60_000..64_000_u32 {
        // With padding, and without.
        let mut datagram = vec![if ssrc % 2 == 0 { 0xa0 } else { 0x80 }, 100, 0, 1, 0, 0, 0, 1];
        datagram.extend(ssrc.to_be_bytes());
        datagram.resize(100, 0xa5);
        talk.world.sfu.receive(talk.world.now, own, &datagram);
    }
}

#[test]
fn streams_that_others_forge_do_not_count() {
    let mut talk = Talk::new();
    // From now on streams are expected that are known by their names only.
    let eye = talk.world.produce(talk.mouth, Kind::Video, simulcast()).unwrap();
    forge(&mut talk);
    let eye = talk.world.consume(talk.ear, &eye).unwrap();
    let listener = talk.world.clients[talk.ear].asker.clone();
    talk.world.ask(&listener, Request::Consumer(eye.id.to_string(), ConsumerAction::Resume)).unwrap();
    talk.world.clients[talk.ear].received.clear();
    for number in 0..60_u16 {
        let asked = std::mem::take(&mut talk.world.clients[talk.mouth].keyframe_requests) > 0;
        talk.world.send(talk.mouth, 7000, picture(number.into(), number, asked, 300));
        talk.world.pass(Duration::from_millis(33));
    }
    let seen = talk.world.clients[talk.ear].received.len();
    assert!(seen > 30, "{seen} pictures");
    talk.world.ask(&listener, Request::Consumer(eye.id.to_string(), ConsumerAction::Close)).unwrap();
    talk.world.pass(Duration::from_millis(100));
    talk.goes_on();
}

/// The same, as streams that have names, which are the client's own.
fn forge_by_name(talk: &mut Talk) {
    let own = talk.world.clients[talk.mouth].address;
    for (number, ssrc) in (60_000..61_000_u32).enumerate() {
        // Each number a few times, so that it comes back after another.
        for ssrc in [ssrc, ssrc - 1, ssrc - 2].into_iter().filter(|ssrc| *ssrc >= 60_000) {
            for (kind, names) in
                [(100_u8, &b"\x10a"[..]), (101, b"\x10v\x21r0"), (102, b"\x10v\x31r0"), (101, b"\x10v")]
            {
                let mut datagram = vec![if number % 2 == 0 { 0xb0 } else { 0x90 }, kind, 0, 1, 0, 0, 0, 1];
                datagram.extend(ssrc.to_be_bytes());
                datagram.extend([0xbe, 0xde, 0, 2]);
                datagram.extend(names);
                datagram.resize(24, 0);
                datagram.resize(100, 0xa5);
                talk.world.sfu.receive(talk.world.now, own, &datagram);
            }
        }
    }
}

#[test]
fn streams_that_others_forge_take_no_name_away() {
    let mut talk = Talk::new();
    let eye = talk.world.produce(talk.mouth, Kind::Video, simulcast()).unwrap();
    // Before a stream of that name was heard, and after.
    forge_by_name(&mut talk);
    let eye = talk.world.consume(talk.ear, &eye).unwrap();
    let listener = talk.world.clients[talk.ear].asker.clone();
    talk.world.ask(&listener, Request::Consumer(eye.id.to_string(), ConsumerAction::Resume)).unwrap();
    let mut number = 0_u16;
    let mut film = |talk: &mut Talk, pictures: u16| {
        talk.world.clients[talk.ear].received.clear();
        for _ in 0..pictures {
            let asked = std::mem::take(&mut talk.world.clients[talk.mouth].keyframe_requests) > 0;
            talk.world.send(talk.mouth, 7000, picture(number.into(), number, asked, 300));
            talk.world.send(talk.mouth, 5000, sound(number.into(), -30));
            number += 1;
            talk.world.pass(Duration::from_millis(33));
        }
        talk.world.clients[talk.ear].received.len()
    };
    // Long enough that the client is told that its packets arrive, and leaves out their names.
    assert!(film(&mut talk, 300) > 500);
    forge_by_name(&mut talk);
    assert!(film(&mut talk, 100) > 190, "both go on");
}

#[test]
fn an_address_in_use_is_not_taken_from_its_client() {
    let mut talk = Talk::new();
    let eve = member("elsewhere", "eve");
    let thief = talk.world.transport(&eve, Direction::Send);
    // Her own transport and password, from another's address.
    talk.world.clients[thief].address = talk.world.clients[talk.mouth].address;
    talk.world.connect(thief).unwrap();
    talk.world.pass(Duration::from_secs(2));
    assert!(!talk.world.clients[thief].is_connected);
    talk.goes_on();
}

#[test]
fn what_was_overheard_and_is_said_again_changes_nothing() {
    let mut talk = Talk::new();
    talk.world.record = true;
    talk.goes_on();
    talk.world.record = false;
    let overheard = std::mem::take(&mut talk.world.recorded);
    assert!(overheard.len() > 20);
    let (own, strange) = (talk.world.clients[talk.mouth].address, "203.0.113.9:9".parse().unwrap());
    talk.world.clients[talk.ear].received.clear();
    for from in [own, strange] {
        for datagram in &overheard {
            talk.world.sfu.receive(talk.world.now, from, datagram);
        }
    }
    talk.world.pass(Duration::from_millis(100));
    assert!(talk.world.clients[talk.ear].received.is_empty(), "no packet is heard twice");
    talk.goes_on();
}

#[test]
fn datagrams_cut_short_or_changed_change_nothing() {
    let mut talk = Talk::new();
    talk.world.record = true;
    talk.goes_on();
    talk.world.record = false;
    let overheard = std::mem::take(&mut talk.world.recorded);
    let own = talk.world.clients[talk.mouth].address;
    talk.world.clients[talk.ear].received.clear();
    for datagram in overheard.iter().filter(|datagram| datagram.len() > 30) {
        for length in 0..datagram.len() {
            talk.world.sfu.receive(talk.world.now, own, &datagram[..length]);
        }
        for at in 0..datagram.len() {
            let mut changed = datagram.clone();
            changed[at] ^= 0x5a;
            talk.world.sfu.receive(talk.world.now, own, &changed);
        }
    }
    talk.world.pass(Duration::from_millis(100));
    assert!(talk.world.clients[talk.ear].received.is_empty());
    talk.goes_on();
}

/// Always the same numbers.
struct Dice(u32);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        usize::try_from(self.0 >> 8).unwrap() % end
    }

    fn one_of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }

    /// One of the last that somebody has made, mostly one's own; or none.
    fn id(&mut self, all: &[(ConnectionId, String)], own: Option<ConnectionId>) -> String {
        let own = own.filter(|_| self.below(8) > 0);
        let fitting = all.iter().rev().filter(|(owner, _)| own.is_none_or(|own| own == *owner)).take(6);
        let fitting: Vec<&String> = fitting.map(|(_, id)| id).collect();
        if fitting.is_empty() || self.below(16) == 0 { "x".to_owned() } else { (*self.one_of(&fitting)).clone() }
    }
}

/// Somebody who asks for anything, in any order.
struct Anybody {
    dice: Dice,
    askers: Vec<Asker>,
    transports: Vec<(ConnectionId, String)>,
    producers: Vec<(ConnectionId, String)>,
    consumers: Vec<(ConnectionId, String)>,
    /// Whose room each producer is of.
    rooms: HashMap<String, RoomId>,
}

impl Anybody {
    fn parameters(&mut self) -> (Kind, Value) {
        let (kind, mut parameters) =
            if self.dice.below(2) == 0 { (Kind::Audio, audio()) } else { (Kind::Video, video()) };
        parameters["mid"] = json!(self.dice.one_of(&["a", "b", "v", "", "probing"]));
        let ssrc = self.dice.below(6);
        parameters["encodings"] = match self.dice.below(5) {
            0 => json!([{ "rid": "l" }, { "rid": "h" }]),
            1 => json!([{ "ssrc": ssrc }, { "ssrc": ssrc + 1 }]),
            2 => json!([]),
            3 => json!([{ "ssrc": u32::MAX, "rtx": { "ssrc": ssrc } }]),
            _ => json!([{ "ssrc": ssrc, "rtx": { "ssrc": ssrc + 1 } }]),
        };
        (kind, parameters)
    }

    fn request(&mut self, world: &mut World, own: ConnectionId) -> Request {
        let transport = self.dice.id(&self.transports, Some(own));
        let consumer = self.dice.id(&self.consumers, Some(own));
        let producer = self.dice.id(&self.producers, Some(own));
        let anybodys = self.dice.id(&self.producers, None);
        match self.dice.below(20) {
            0 => Request::Capabilities,
            1 | 2 => {
                let direction = *self.dice.one_of(&[Direction::Send, Direction::Receive]);
                let capabilities = (self.dice.below(3) > 0).then(parlor::sfu::capabilities);
                Request::CreateTransport { direction, capabilities }
            }
            3 => Request::ConnectTransport { transport, dtls: world.clients[0].dtls() },
            4 => Request::RestartIce { transport },
            5 => Request::CloseTransport { transport },
            6..=11 => {
                let (kind, parameters) = self.parameters();
                let parameters = serde_json::from_value(parameters).unwrap();
                Request::Produce { transport, kind, parameters, app_data: "{}".into() }
            }
            12..=15 => {
                let capabilities = Box::new(parlor::sfu::capabilities());
                Request::Consume { transport, producer: anybodys, capabilities }
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
                Request::Consumer(consumer, *self.dice.one_of(&actions))
            }
            18 => {
                let actions = [ProducerAction::Pause, ProducerAction::Resume, ProducerAction::Close];
                Request::Producer(producer, *self.dice.one_of(&actions))
            }
            _ => Request::ListProducers,
        }
    }

    fn step(&mut self, world: &mut World) {
        let asker = self.dice.one_of(&self.askers).clone();
        if self.dice.below(200) == 0 {
            world.sfu.leave(&asker.room, asker.connection);
            return;
        }
        let request = self.request(world, asker.connection);
        match world.ask(&asker, request) {
            Ok(Answer::TransportCreated { id, .. }) => self.transports.push((asker.connection, id.to_string())),
            Ok(Answer::Produced(id)) => {
                self.producers.push((asker.connection, id.to_string()));
                self.rooms.insert(id.to_string(), asker.room);
            }
            Ok(Answer::Consuming(consuming)) => {
                let id = consuming.producer.id.to_string();
                assert_eq!(self.rooms[&id], asker.room, "nobody gets another room's media");
                self.consumers.push((asker.connection, consuming.id.to_string()));
            }
            Ok(Answer::Producers(producers)) => {
                assert!(producers.iter().all(|producer| self.rooms[&producer.id.to_string()] == asker.room));
            }
            Ok(_) | Err(_) => {}
        }
    }

    /// Nobody hears of another room, and nothing has failed: a defect would have ended a transport.
    fn hears(&self, notice: &Notice) {
        let room = match &notice.to {
            Audience::Room(room, _) => room,
            Audience::One(connection) => {
                &self.askers.iter().find(|asker| asker.connection == *connection).expect("one of them").room
            }
        };
        let producer = match &notice.event {
            MediaEvent::ProducerAdded(producer) => producer.id,
            MediaEvent::ProducerChanged(id, ..) => *id,
            MediaEvent::ConsumerClosed(_) | MediaEvent::LayersChanged(..) => return,
            MediaEvent::TransportFailed(_) | MediaEvent::ActiveSpeaker { .. } => panic!("{notice:?}"),
        };
        assert_eq!(self.rooms[&producer.to_string()], *room, "{notice:?}");
    }
}

#[test]
fn anything_in_any_order_ends_in_nothing() {
    let mut made = [0; 3];
    for seed in 0..20 {
        let mut world = World::new();
        // One whose certificate is good to be announced.
        let bystander = member("a third", "bystander");
        world.connected(&bystander, Direction::Send);
        world.notices.clear();
        let askers = ["one", "one", "one", "other", "other"];
        let askers = askers.iter().enumerate().map(|(number, room)| member(room, &number.to_string())).collect();
        let mut anybody = Anybody {
            dice: Dice(seed),
            askers,
            transports: Vec::new(),
            producers: Vec::new(),
            consumers: Vec::new(),
            rooms: HashMap::new(),
        };
        for number in 0..1100 {
            anybody.step(&mut world);
            if number % 50 == 0 {
                world.pass(Duration::from_millis(20));
            }
        }
        world.pass(Duration::from_secs(1));
        for notice in world.notices.drain(..) {
            anybody.hears(&notice);
        }
        for (sum, made) in made.iter_mut().zip([&anybody.transports, &anybody.producers, &anybody.consumers]) {
            *sum += made.len();
        }
        for asker in anybody.askers.iter().chain([&bystander]) {
            world.sfu.leave(&asker.room, asker.connection);
        }
        assert!(world.sfu.is_empty(), "{seed}");
    }
    assert!(made.iter().all(|made| *made > 200), "transports, producers, consumers: {made:?}");
}
