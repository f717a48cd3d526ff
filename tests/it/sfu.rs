//! The media server in memory: clients, a network that loses and delays, and no time but the test's.

use std::time::Duration;

use parlor::sfu::parameters::{DtlsRole, Kind};
use parlor::sfu::{
    Answer, Audience, Concern, ConsumerAction, Direction, MediaEvent, Notice, Problem, ProducerAction, Request,
    SfuError,
};
use serde_json::{Value, json};
use str0m::media::{MediaKind, Mid};

use crate::support::media::{World, audio, is_rtp, member, nothing, picture, simulcast, sound, video};

pub(crate) const FRAME: Duration = Duration::from_millis(33);

fn concern(result: Result<impl std::fmt::Debug, SfuError>) -> Concern {
    result.unwrap_err().concern
}

/// A room in which one sends, and another receives.
pub(crate) struct Call {
    pub(crate) world: World,
    pub(crate) sender: usize,
    pub(crate) receiver: usize,
}

impl Call {
    pub(crate) fn new() -> Self {
        let mut world = World::new();
        let (anna, ben) = (member("room", "anna"), member("room", "ben"));
        let sender = world.connected(&anna, Direction::Send);
        let receiver = world.connected(&ben, Direction::Receive);
        Self { world, sender, receiver }
    }

    pub(crate) fn act(&mut self, consumer: &str, action: ConsumerAction) {
        let asker = self.world.clients[self.receiver].asker.clone();
        self.world.ask(&asker, Request::Consumer(consumer.to_owned(), action)).unwrap();
    }

    /// Sends pictures: keyframes where they are asked for.
    pub(crate) fn film(&mut self, pictures: std::ops::Range<u16>) {
        for number in pictures {
            let asked = std::mem::take(&mut self.world.clients[self.sender].keyframe_requests) > 0;
            self.world.send(self.sender, 6000, picture(number.into(), number, asked, 900));
            self.world.pass(FRAME);
        }
    }

    pub(crate) fn received(&self) -> usize {
        self.world.clients[self.receiver].received.len()
    }
}

/// The numbers that a receiver got: in order, and none missing.
pub(crate) fn assert_unbroken(call: &Call) {
    let mut numbers: Vec<u64> =
        call.world.clients[call.receiver].received.iter().map(|packet| *packet.seq_no).collect();
    numbers.sort_unstable();
    let missing: Vec<_> = numbers.windows(2).filter(|pair| pair[1] != pair[0] + 1).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn sound_and_pictures_arrive_and_a_pause_leaves_no_gap() {
    let mut call = Call::new();
    let of_sound = call.world.produce(call.sender, Kind::Audio, audio()).unwrap();
    let of_pictures = call.world.produce(call.sender, Kind::Video, video()).unwrap();
    let ear = call.world.consume(call.receiver, &of_sound).unwrap();
    call.act(&ear.id.to_string(), ConsumerAction::Resume);
    for number in 0..20 {
        call.world.send(call.sender, 5000, sound(number, -30));
        call.world.pass(Duration::from_millis(20));
    }
    call.world.pass(Duration::from_millis(100));
    assert_eq!(call.received(), 20);
    assert_eq!(call.world.clients[call.receiver].received[0].header.ext_vals.audio_level, Some(-30));
    call.act(&ear.id.to_string(), ConsumerAction::Close);
    call.world.clients[call.receiver].received.clear();

    let eye = call.world.consume(call.receiver, &of_pictures).unwrap();
    assert!(!eye.is_simulcast);
    let cname = eye.parameters.rtcp.as_ref().and_then(|rtcp| rtcp.cname.clone()).unwrap();
    assert_eq!(cname, call.world.clients[call.sender].asker.connection.to_string(), "not what would break an SDP");
    let id = eye.id.to_string();
    call.film(0..10);
    assert_eq!(call.received(), 0, "it begins paused");
    call.act(&id, ConsumerAction::Resume);
    call.film(10..40);
    let before = call.received();
    assert!(before > 20, "{before}");
    assert!(call.world.clients[call.receiver].received[0].payload[4] == 0, "a keyframe comes first");
    call.act(&id, ConsumerAction::Pause);
    call.world.pass(Duration::from_millis(100));
    let (packets, datagrams) = (call.received(), call.world.clients[call.receiver].rtp_datagrams);
    call.film(40..100);
    call.world.pass(Duration::from_secs(3));
    assert_eq!(call.received(), packets);
    assert_eq!(call.world.clients[call.receiver].rtp_datagrams, datagrams, "no padding either");
    call.act(&id, ConsumerAction::Resume);
    call.film(100..130);
    assert!(call.received() > packets + 20, "{} after {packets}", call.received());
    assert_unbroken(&call);
    let pictures = call.world.clients[call.receiver].received.iter();
    let ids: Vec<u16> =
        pictures.map(|packet| u16::from_be_bytes([packet.payload[2] & 0x7f, packet.payload[3]])).collect();
    assert!(ids.windows(2).all(|pair| pair[1] == pair[0] + 1), "{ids:?}");
}

#[test]
fn whoever_comes_late_gets_a_keyframe_and_what_is_lost_is_sent_again() {
    let mut call = Call::new();
    let producer = call.world.produce(call.sender, Kind::Video, video()).unwrap();
    call.film(0..30);
    let eye = call.world.consume(call.receiver, &producer).unwrap();
    call.act(&eye.id.to_string(), ConsumerAction::Resume);
    call.film(30..60);
    call.world.loss = 50;
    call.film(60..360);
    call.world.loss = 0;
    call.film(360..390);
    call.world.pass(Duration::from_secs(1));
    assert_eq!(call.world.clients[call.receiver].received.iter().filter(|packet| packet.payload[4] == 0).count(), 1);
    assert!(call.received() > 320, "{}", call.received());
    assert_unbroken(&call);
}

#[test]
fn who_knows_no_retransmissions_may_ask_for_them() {
    let mut call = Call::new();
    let producer = call.world.produce(call.sender, Kind::Video, video()).unwrap();
    let own = &call.world.clients[call.receiver];
    let (asker, transport) = (own.asker.clone(), own.id.clone());
    let mut capabilities = Box::new(parlor::sfu::capabilities());
    capabilities.codecs.retain(|codec| codec.mime_type != "video/rtx");
    let request = Request::Consume { transport, producer, capabilities };
    let Ok(Answer::Consuming(eye)) = call.world.ask(&asker, request) else { panic!() };
    let encoding = &eye.parameters.encodings[0];
    assert_eq!(encoding.rtx, None);
    let mid = Mid::from(eye.parameters.mid.as_deref().unwrap());
    let mut api = call.world.clients[call.receiver].rtc.direct_api();
    api.declare_media(mid, MediaKind::Video);
    // Some stream, so that it does ask.
    api.expect_stream_rx(encoding.ssrc.unwrap().into(), Some(9.into()), mid, None);
    call.act(&eye.id.to_string(), ConsumerAction::Resume);
    call.film(0..30);
    call.world.loss = 100;
    call.film(30..130);
    call.world.loss = 0;
    call.film(130..160);
    assert!(call.received() > 120, "{}", call.received());
    let has_failed = |notice: &Notice| matches!(notice.event, MediaEvent::TransportFailed(_));
    assert!(!call.world.notices.iter().any(has_failed));
}

#[test]
fn a_camera_may_be_switched_off_and_on_all_day() {
    let mut call = Call::new();
    let asker = call.world.clients[call.sender].asker.clone();
    for round in 0..1_200_u32 {
        // Each time a stream that nobody has described.
        let (mid, ssrc) = (format!("v{round}"), 20_000 + round);
        let mut parameters = simulcast();
        parameters["mid"] = json!(mid);
        let parameters = Box::new(serde_json::from_value(parameters).unwrap());
        let transport = call.world.clients[call.sender].id.clone();
        let request = Request::Produce { transport, kind: Kind::Video, parameters, app_data: "{}".into() };
        let Ok(Answer::Produced(camera)) = call.world.ask(&asker, request) else { panic!("{round}") };
        let mid = Mid::from(mid.as_str());
        let mut api = call.world.clients[call.sender].rtc.direct_api();
        api.declare_media(mid, MediaKind::Video);
        api.declare_stream_tx(ssrc.into(), Some((ssrc + 10_000).into()), mid, Some("r0".into()));
        let before = call.received();
        let is_looked_at = round % 400 == 399;
        if is_looked_at {
            let eye = call.world.consume(call.receiver, &camera.to_string()).unwrap();
            call.act(&eye.id.to_string(), ConsumerAction::Resume);
        }
        for number in 0..2 {
            call.world.send(call.sender, ssrc, picture(number.into(), number, true, 300));
            call.world.pass(FRAME);
        }
        call.world.pass(FRAME);
        assert!(!is_looked_at || call.received() > before, "{round}");
        call.world.ask(&asker, Request::Producer(camera.to_string(), ProducerAction::Close)).unwrap();
        call.world.clients[call.sender].rtc.direct_api().remove_media(mid);
    }
}

#[test]
fn keyframes_are_asked_for_and_not_too_often() {
    let mut call = Call::new();
    let producer = call.world.produce(call.sender, Kind::Video, video()).unwrap();
    let eye = call.world.consume(call.receiver, &producer).unwrap();
    call.act(&eye.id.to_string(), ConsumerAction::Resume);
    call.film(0..30);
    call.world.clients[call.sender].keyframe_requests = 0;
    for number in 30..60 {
        call.world.want_keyframe(call.receiver, &eye);
        call.world.send(call.sender, 6000, picture(number, u16::try_from(number).unwrap(), false, 500));
        call.world.pass(Duration::from_millis(100));
    }
    let asked = call.world.clients[call.sender].keyframe_requests;
    assert!((4..=7).contains(&asked), "three seconds of asking: {asked}");
}

#[test]
fn a_keyframe_that_does_not_come_is_asked_for_again() {
    let mut call = Call::new();
    let producer = call.world.produce(call.sender, Kind::Video, video()).unwrap();
    let eye = call.world.consume(call.receiver, &producer).unwrap();
    call.act(&eye.id.to_string(), ConsumerAction::Resume);
    for number in 0..90 {
        call.world.send(call.sender, 6000, picture(number, u16::try_from(number).unwrap(), false, 500));
        call.world.pass(FRAME);
    }
    assert_eq!(call.received(), 0);
    let asked = call.world.clients[call.sender].keyframe_requests;
    assert!((4..=7).contains(&asked), "in three seconds: {asked}");
}

/// Sends pictures in three streams, of 10, 40 and 100 kilobytes a second, for a while.
pub(crate) fn film_in_layers(call: &mut Call, first: u16, pictures: u16) {
    for number in first..first + pictures {
        let asked = std::mem::take(&mut call.world.clients[call.sender].keyframe_requests) > 0;
        for (layer, size) in [(0_u32, 330), (1, 1100)] {
            call.world.send(call.sender, 7000 + layer, picture(number.into(), number, asked, size));
        }
        for part in 0..3 {
            let mut sent = picture(u64::from(number) * 3 + part, number + 5000, asked && part == 0, 1100);
            if part > 0 {
                sent.payload[0] = 0x80;
            }
            call.world.send(call.sender, 7002, sent);
        }
        call.world.pass(FRAME);
    }
}

pub(crate) fn layers_told(call: &mut Call) -> Vec<u8> {
    let told = call.world.notices.drain(..).filter_map(|notice| match notice.event {
        MediaEvent::LayersChanged(_, layer) => Some(layer),
        _ => None,
    });
    told.collect()
}

#[test]
fn layers_change_on_request_and_by_bandwidth() {
    let mut call = Call::new();
    let producer = call.world.produce(call.sender, Kind::Video, simulcast()).unwrap();
    let eye = call.world.consume(call.receiver, &producer).unwrap();
    assert!(eye.is_simulcast);
    let id = eye.id.to_string();
    call.act(&id, ConsumerAction::Resume);
    film_in_layers(&mut call, 0, 300);
    assert_eq!(layers_told(&mut call).last(), Some(&2), "there is room for the best");
    call.act(&id, ConsumerAction::Layers { spatial: 0, temporal: None });
    film_in_layers(&mut call, 300, 60);
    assert_eq!(layers_told(&mut call), [0]);
    call.act(&id, ConsumerAction::Layers { spatial: 9, temporal: None });
    film_in_layers(&mut call, 360, 60);
    assert_eq!(layers_told(&mut call).last(), Some(&2));
    assert_unbroken(&call);
    call.world.narrow = Some((call.receiver, 300_000 / 8));
    film_in_layers(&mut call, 420, 150);
    assert!(layers_told(&mut call).iter().any(|layer| *layer < 2), "within five seconds");
    let before = call.received();
    film_in_layers(&mut call, 570, 60);
    assert!(call.received() > before + 30, "the picture is not frozen: {}", call.received() - before);
    call.world.narrow = None;
    film_in_layers(&mut call, 630, 900);
    assert_eq!(layers_told(&mut call).last(), Some(&2), "back to the best");
}

#[test]
fn what_others_do_is_told() {
    let mut call = Call::new();
    let (anna, ben) = (call.world.clients[0].asker.clone(), call.world.clients[1].asker.clone());
    let id = call.world.produce(call.sender, Kind::Audio, audio()).unwrap();
    let others = Audience::Room(anna.room.clone(), Some(anna.connection));
    let added = call.world.notices.pop().unwrap();
    assert_eq!(added.to, others);
    assert!(matches!(added.event, MediaEvent::ProducerAdded(listed) if listed.id.to_string() == id));
    let ear = call.world.consume(call.receiver, &id).unwrap();
    call.act(&ear.id.to_string(), ConsumerAction::Resume);
    call.world.ask(&anna, Request::Producer(id.clone(), ProducerAction::Pause)).unwrap();
    let Answer::Producers(listed) = call.world.ask(&ben, Request::ListProducers).unwrap() else { panic!() };
    assert!(listed[0].is_paused);
    for number in 0..50 {
        call.world.send(call.sender, 5000, sound(number, -20));
        call.world.pass(Duration::from_millis(20));
    }
    assert_eq!(call.received(), 0);
    call.world.ask(&anna, Request::Producer(id.clone(), ProducerAction::Resume)).unwrap();
    for number in 50..100 {
        call.world.send(call.sender, 5000, sound(number, -20));
        call.world.pass(Duration::from_millis(20));
    }
    assert!(call.received() > 40);
    let speaks = |notice: &parlor::sfu::Notice| matches!(&notice.event, MediaEvent::ActiveSpeaker { peer, .. } if *peer == anna.peer);
    assert!(call.world.notices.iter().any(speaks));
    call.world.notices.clear();
    call.world.sfu.leave(&anna.room, anna.connection);
    call.world.pass(Duration::from_millis(1));
    let events: Vec<_> = call.world.notices.drain(..).map(|notice| (notice.to, notice.event)).collect();
    let closed = MediaEvent::ProducerChanged(ear.producer.id, anna.peer.clone(), ProducerAction::Close);
    assert_eq!(events, [(Audience::One(ben.connection), MediaEvent::ConsumerClosed(ear.id)), (others, closed)]);
    call.world.sfu.leave(&ben.room, ben.connection);
    assert!(call.world.sfu.is_empty());
}

#[test]
fn nothing_of_another_room_or_peer_is_reached() {
    let mut call = Call::new();
    let producer = call.world.produce(call.sender, Kind::Audio, audio()).unwrap();
    let eve = member("elsewhere", "eve");
    let spy = call.world.connected(&eve, Direction::Receive);
    let error = call.world.consume(spy, &producer).unwrap_err();
    assert_eq!((error.concern, error.to_string()), (Concern::Consume, "producerId: no producer of that id".to_owned()));
    let close = |id: &str| Request::Producer(id.to_owned(), ProducerAction::Close);
    let ben = call.world.clients[call.receiver].asker.clone();
    for other in [&eve, &ben] {
        assert_eq!(concern(call.world.ask(other, close(&producer))), Concern::Produce);
        let transport = call.world.clients[call.sender].id.clone();
        assert_eq!(concern(call.world.ask(other, Request::CloseTransport { transport })), Concern::Transport);
    }
    let ear = call.world.consume(call.receiver, &producer).unwrap();
    let resume = Request::Consumer(ear.id.to_string(), ConsumerAction::Resume);
    assert_eq!(concern(call.world.ask(&eve, resume)), Concern::Consume);
    let Answer::Producers(listed) = call.world.ask(&eve, Request::ListProducers).unwrap() else { panic!() };
    assert!(listed.is_empty());
}

#[test]
fn parameters_that_lie_are_refused_by_name() {
    let mut call = Call::new();
    let lies: [(Kind, &str, Value, &str); 14] = [
        (Kind::Video, "/mid", json!(null), "rtpParameters.mid: missing"),
        (Kind::Video, "/mid", json!(""), "rtpParameters.mid: "),
        (Kind::Video, "/mid", json!("x".repeat(17)), "rtpParameters.mid: "),
        (Kind::Video, "/codecs", json!([]), "rtpParameters.codecs: empty"),
        (Kind::Video, "/codecs/0/mimeType", json!("video/H263"), "rtpParameters.codecs: the router does not carry"),
        (Kind::Video, "/codecs/0/clockRate", json!(8000), "rtpParameters.codecs: the router does not carry"),
        (Kind::Video, "/codecs/0/payloadType", json!(96), "rtpParameters.codecs: the transport does not know"),
        (Kind::Video, "/codecs/0/payloadType", json!(255), "rtpParameters.codecs: the transport does not know"),
        (Kind::Audio, "/mid", json!("v"), "kind: not that of the codec"),
        (Kind::Video, "/encodings", json!([]), "rtpParameters.encodings: must be one to four"),
        (Kind::Video, "/encodings", json!([{}]), "rtpParameters.encodings: needs an ssrc or a rid"),
        (Kind::Video, "/encodings", json!([{ "ssrc": 0 }]), "rtpParameters.encodings: an ssrc must not be 0"),
        (Kind::Video, "/encodings", json!([{ "rid": "a" }, { "rid": "a" }]), "rtpParameters.encodings: the same rid"),
        (
            Kind::Video,
            "/encodings",
            json!([{ "ssrc": 1, "rtx": { "ssrc": 2 } }, { "ssrc": 2 }]),
            "rtpParameters.encodings: the same ssrc",
        ),
    ];
    for (kind, place, value, problem) in lies {
        let mut parameters = video();
        *parameters.pointer_mut(place).unwrap() = value.clone();
        let error = call.world.produce(call.sender, kind, parameters).unwrap_err();
        assert_eq!(error.concern, Concern::Produce);
        assert!(error.to_string().starts_with(problem), "{place} {value}: {error}");
    }
    call.world.produce(call.sender, Kind::Video, video()).unwrap();
    assert_eq!(concern(call.world.produce(call.sender, Kind::Video, video())), Concern::Produce, "the mid is taken");
    let mut parameters = video();
    parameters["mid"] = json!("other");
    let error = call.world.produce(call.sender, Kind::Video, parameters).unwrap_err();
    assert!(error.to_string().contains("another producer has this ssrc"), "{error}");
}

#[test]
fn transports_are_used_for_what_they_are() {
    let mut call = Call::new();
    let producer = call.world.produce(call.sender, Kind::Audio, audio()).unwrap();
    assert_eq!(concern(call.world.connect(call.sender)), Concern::Transport, "connected twice");
    assert_eq!(concern(call.world.produce(call.receiver, Kind::Audio, audio())), Concern::Produce);
    assert_eq!(concern(call.world.consume(call.sender, &producer)), Concern::Consume);
    let ben = call.world.clients[call.receiver].asker.clone();
    let transport = call.world.clients[call.receiver].id.clone();
    let consume = Request::Consume { transport, producer, capabilities: Box::new(nothing()) };
    assert_eq!(concern(call.world.ask(&ben, consume)), Concern::Consume, "a client without codecs");
    let create = Request::CreateTransport { direction: Direction::Send, capabilities: None };
    for _ in 0..3 {
        call.world.ask(&ben, create.clone()).unwrap();
    }
    let error = call.world.ask(&ben, create).unwrap_err();
    assert_eq!(error.problem, Problem::TooMany { what: "transports", max: 4 });
    for unknown in ["", "x", "00000000-0000-0000-0000-000000000000"] {
        let close = Request::CloseTransport { transport: unknown.to_owned() };
        assert_eq!(concern(call.world.ask(&ben, close)), Concern::Transport);
    }
}

#[test]
fn a_peer_has_so_many_producers_and_may_open_and_close_in_a_loop() {
    let mut call = Call::new();
    let with_mid = |number: u32| {
        let mut parameters = audio();
        parameters["mid"] = json!(format!("a{number}"));
        parameters["encodings"] = json!([{ "ssrc": 100 + number }]);
        parameters
    };
    let of_sender = call.world.clients[call.sender].asker.clone();
    for round in 0..5 {
        let produced: Vec<String> = (0..8)
            .map(|number| call.world.produce(call.sender, Kind::Audio, with_mid(round * 8 + number)).unwrap())
            .collect();
        let error = call.world.produce(call.sender, Kind::Audio, with_mid(999)).unwrap_err();
        assert_eq!(error.problem, Problem::TooMany { what: "producers", max: 8 });
        for id in produced {
            let ear = call.world.consume(call.receiver, &id).unwrap();
            call.act(&ear.id.to_string(), ConsumerAction::Resume);
            call.world.ask(&of_sender, Request::Producer(id, ProducerAction::Close)).unwrap();
        }
    }
    for client in [call.sender, call.receiver] {
        let asker = call.world.clients[client].asker.clone();
        call.world.sfu.leave(&asker.room, asker.connection);
    }
    assert!(call.world.sfu.is_empty());
}

#[test]
fn only_who_has_the_certificate_that_was_announced_is_connected() {
    let mut world = World::new();
    let anna = member("room", "anna");
    let client = world.transport(&anna, Direction::Receive);
    let mut dtls = world.clients[client].dtls();
    let connect = |dtls: &parlor::sfu::parameters::DtlsParameters, world: &World| Request::ConnectTransport {
        transport: world.clients[client].id.clone(),
        dtls: dtls.clone(),
    };
    dtls.fingerprints[0].algorithm = "sha-1".to_owned();
    let request = connect(&dtls, &world);
    assert_eq!(world.ask(&anna, request).unwrap_err().problem, Problem::NoSha256);
    dtls.fingerprints[0].algorithm = "sha-256".to_owned();
    dtls.fingerprints[0].value = "AA:BB".to_owned();
    let request = connect(&dtls, &world);
    assert_eq!(world.ask(&anna, request).unwrap_err().problem, Problem::BadFingerprint);
    dtls.fingerprints[0].value = ["AA"; 32].join(":");
    dtls.role = DtlsRole::Auto;
    let request = connect(&dtls, &world);
    world.ask(&anna, request).unwrap();
    world.until("told that it failed", |world| {
        world.notices.iter().any(|notice| matches!(notice.event, MediaEvent::TransportFailed(_)))
    });
    assert!(world.sfu.is_empty());
}

#[test]
fn who_does_not_know_the_password_is_not_heard() {
    let mut world = World::new();
    let client = world.transport(&member("room", "anna"), Direction::Receive);
    world.connect(client).unwrap();
    let mut credentials = str0m::IceCreds { ufrag: String::new(), pass: "not the password at all".to_owned() };
    let Answer::IceRestarted(_, ice) = ({
        let (asker, transport) = (world.clients[client].asker.clone(), world.clients[client].id.clone());
        world.ask(&asker, Request::RestartIce { transport }).unwrap()
    }) else {
        panic!()
    };
    credentials.ufrag.clone_from(&ice.username_fragment);
    world.clients[client].rtc.direct_api().set_remote_ice_credentials(credentials);
    world.pass(Duration::from_secs(2));
    assert!(!world.clients[client].is_connected);
    let good = str0m::IceCreds { ufrag: ice.username_fragment, pass: ice.password };
    world.clients[client].rtc.direct_api().set_remote_ice_credentials(good);
    world.until("connected after a restart of ICE", |world| world.clients[client].is_connected);
}

#[test]
fn garbage_and_unknown_streams_change_nothing() {
    let mut call = Call::new();
    let producer = call.world.produce(call.sender, Kind::Audio, audio()).unwrap();
    let ear = call.world.consume(call.receiver, &producer).unwrap();
    call.act(&ear.id.to_string(), ConsumerAction::Resume);
    let (own, strange) = (call.world.clients[call.sender].address, "203.0.113.9:9".parse().unwrap());
    let mut seed = 1_u32;
    for number in 0..20_000_u32 {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let length = usize::try_from(seed >> 8).unwrap() % 200;
        let mut datagram: Vec<u8> = (0..length).map(|at| seed.to_be_bytes()[at % 4].wrapping_mul(31)).collect();
        if let Some(first) = datagram.first_mut() {
            *first = [0, 0x16, 0x80, 0x90, *first][number as usize % 5];
        }
        let from = if number % 2 == 0 { own } else { strange };
        call.world.sfu.receive(call.world.now, from, &datagram);
    }
    call.world.pass(Duration::from_millis(100));
    assert_eq!(call.received(), 0);
    for number in 0..10 {
        call.world.send(call.sender, 5000, sound(number, -30));
        call.world.pass(Duration::from_millis(20));
    }
    call.world.pass(Duration::from_millis(100));
    assert_eq!(call.received(), 10);
    assert!(is_rtp(&[0x80, 96]));
}
