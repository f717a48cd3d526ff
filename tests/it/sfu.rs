//! The SFU in memory, with simulated clients, network and time.

use std::time::Duration;

use parlor::sfu::parameters::{DtlsRole, TrackKind};
use parlor::sfu::{
    ConsumerAction, Direction, ErrorScope, MediaEvent, MediaRequest, MediaResponse, Notice,
    NoticeTarget, ProducerAction, SfuError, SfuErrorKind,
};
use serde_json::{Value, json};
use str0m::media::{MediaKind, Mid};

use crate::support::media::{
    World, audio, audio_packet, is_rtp, member, no_capabilities, simulcast, video, video_packet,
};

pub(crate) const FRAME: Duration = Duration::from_millis(33);

fn scope(result: Result<impl std::fmt::Debug, SfuError>) -> ErrorScope {
    result.unwrap_err().scope
}

/// A room with a sending and a receiving client.
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

    /// Creates a call in which the receiver consumes a track of the sender.
    pub(crate) fn consuming(kind: TrackKind, parameters: Value) -> Self {
        let mut call = Self::new();
        let producer = call.world.produce(call.sender, kind, parameters).unwrap();
        let consumer = call.world.consume(call.receiver, &producer).unwrap();
        call.act(&consumer.id.to_string(), ConsumerAction::Resume);
        call
    }

    pub(crate) fn act(&mut self, consumer: &str, action: ConsumerAction) {
        let member = self.world.clients[self.receiver].member.clone();
        self.world.ask(&member, MediaRequest::Consumer(consumer.to_owned(), action)).unwrap();
    }

    /// Sends video frames, and keyframes where they were requested.
    pub(crate) fn send_video(&mut self, frames: std::ops::Range<u16>) {
        for number in frames {
            let keyframe_requested =
                std::mem::take(&mut self.world.clients[self.sender].keyframe_requests) > 0;
            self.world.send(
                self.sender,
                6000,
                video_packet(number.into(), number, keyframe_requested, 900),
            );
            self.world.advance(FRAME);
        }
    }

    pub(crate) fn received(&self) -> usize {
        self.world.clients[self.receiver].received.len()
    }
}

/// Asserts that no sequence number is missing at the receiver.
pub(crate) fn assert_unbroken(call: &Call) {
    let mut numbers: Vec<u64> =
        call.world.clients[call.receiver].received.iter().map(|packet| *packet.seq_no).collect();
    numbers.sort_unstable();
    let missing: Vec<_> = numbers.windows(2).filter(|pair| pair[1] != pair[0] + 1).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn audio_and_video_arrive_and_pause_leaves_no_gap() {
    let mut call = Call::new();
    let audio_producer = call.world.produce(call.sender, TrackKind::Audio, audio()).unwrap();
    let video_producer = call.world.produce(call.sender, TrackKind::Video, video()).unwrap();
    let audio_consumer = call.world.consume(call.receiver, &audio_producer).unwrap();
    call.act(&audio_consumer.id.to_string(), ConsumerAction::Resume);
    for number in 0..20 {
        call.world.send(call.sender, 5000, audio_packet(number, -30));
        call.world.advance(Duration::from_millis(20));
    }
    call.world.advance(Duration::from_millis(100));
    assert_eq!(call.received(), 20);
    assert_eq!(
        call.world.clients[call.receiver].received[0].header.ext_vals.audio_level,
        Some(-30)
    );
    call.act(&audio_consumer.id.to_string(), ConsumerAction::Close);
    call.world.clients[call.receiver].received.clear();

    let video_consumer = call.world.consume(call.receiver, &video_producer).unwrap();
    assert!(!video_consumer.is_simulcast);
    let cname =
        video_consumer.parameters.rtcp.as_ref().and_then(|rtcp| rtcp.cname.clone()).unwrap();
    assert_eq!(
        cname,
        call.world.clients[call.sender].member.connection.to_string(),
        "a CNAME with line breaks is replaced"
    );
    let id = video_consumer.id.to_string();
    call.send_video(0..10);
    assert_eq!(call.received(), 0, "consumers start paused");
    call.act(&id, ConsumerAction::Resume);
    call.send_video(10..40);
    let before = call.received();
    assert!(before > 20, "{before}");
    assert!(
        call.world.clients[call.receiver].received[0].payload[4] == 0,
        "the first packet is a keyframe"
    );
    call.act(&id, ConsumerAction::Pause);
    call.world.advance(Duration::from_millis(100));
    let (packets, datagrams) = (call.received(), call.world.clients[call.receiver].rtp_datagrams);
    call.send_video(40..100);
    call.world.advance(Duration::from_secs(3));
    assert_eq!(call.received(), packets);
    assert_eq!(
        call.world.clients[call.receiver].rtp_datagrams, datagrams,
        "no padding is sent either"
    );
    call.act(&id, ConsumerAction::Resume);
    call.send_video(100..130);
    assert!(call.received() > packets + 20, "{} after {packets}", call.received());
    assert_unbroken(&call);
    let frames = call.world.clients[call.receiver].received.iter();
    let ids: Vec<u16> = frames
        .map(|packet| u16::from_be_bytes([packet.payload[2] & 0x7f, packet.payload[3]]))
        .collect();
    assert!(ids.windows(2).all(|pair| pair[1] == pair[0] + 1), "{ids:?}");
}

#[test]
fn late_consumer_gets_keyframe_and_lost_packets_are_retransmitted() {
    let mut call = Call::new();
    let producer = call.world.produce(call.sender, TrackKind::Video, video()).unwrap();
    call.send_video(0..30);
    let video_consumer = call.world.consume(call.receiver, &producer).unwrap();
    call.act(&video_consumer.id.to_string(), ConsumerAction::Resume);
    call.send_video(30..60);
    call.world.loss = 50;
    call.send_video(60..360);
    call.world.loss = 0;
    call.send_video(360..390);
    call.world.advance(Duration::from_secs(1));
    assert_eq!(
        call.world.clients[call.receiver]
            .received
            .iter()
            .filter(|packet| packet.payload[4] == 0)
            .count(),
        1
    );
    assert!(call.received() > 320, "{}", call.received());
    assert_unbroken(&call);
}

#[test]
fn nack_without_rtx_is_ignored() {
    let mut call = Call::new();
    let producer = call.world.produce(call.sender, TrackKind::Video, video()).unwrap();
    let own = &call.world.clients[call.receiver];
    let (member, transport) = (own.member.clone(), own.id.clone());
    let mut capabilities = Box::new(parlor::sfu::capabilities());
    capabilities.codecs.retain(|codec| codec.mime_type != "video/rtx");
    let request = MediaRequest::Consume { transport, producer, capabilities };
    let Ok(MediaResponse::ConsumerCreated(video_consumer)) = call.world.ask(&member, request)
    else {
        panic!()
    };
    let encoding = &video_consumer.parameters.encodings[0];
    assert_eq!(encoding.rtx, None);
    let mid = Mid::from(video_consumer.parameters.mid.as_deref().unwrap());
    let mut api = call.world.clients[call.receiver].rtc.direct_api();
    api.declare_media(mid, MediaKind::Video);
    // Any RTX stream, so that the client sends NACKs.
    api.expect_stream_rx(encoding.ssrc.unwrap().into(), Some(9.into()), mid, None);
    call.act(&video_consumer.id.to_string(), ConsumerAction::Resume);
    call.send_video(0..30);
    call.world.loss = 100;
    call.send_video(30..130);
    call.world.loss = 0;
    call.send_video(130..160);
    assert!(call.received() > 120, "{}", call.received());
    let has_failed = |notice: &Notice| matches!(notice.event, MediaEvent::TransportFailed(_));
    assert!(!call.world.notices.iter().any(has_failed));
}

#[test]
fn camera_can_be_toggled_a_thousand_times() {
    let mut call = Call::new();
    let member = call.world.clients[call.sender].member.clone();
    for round in 0..1_200_u32 {
        // An undeclared stream in each round.
        let (mid, ssrc) = (format!("v{round}"), 20_000 + round);
        let mut parameters = simulcast();
        parameters["mid"] = json!(mid);
        let parameters = Box::new(serde_json::from_value(parameters).unwrap());
        let transport = call.world.clients[call.sender].id.clone();
        let request = MediaRequest::Produce {
            transport,
            kind: TrackKind::Video,
            parameters,
            app_data: "{}".into(),
        };
        let Ok(MediaResponse::ProducerCreated(camera)) = call.world.ask(&member, request) else {
            panic!("{round}")
        };
        let mid = Mid::from(mid.as_str());
        let mut api = call.world.clients[call.sender].rtc.direct_api();
        api.declare_media(mid, MediaKind::Video);
        api.declare_stream_tx(ssrc.into(), Some((ssrc + 10_000).into()), mid, Some("r0".into()));
        let before = call.received();
        let is_looked_at = round % 400 == 399;
        if is_looked_at {
            let video_consumer = call.world.consume(call.receiver, &camera.to_string()).unwrap();
            call.act(&video_consumer.id.to_string(), ConsumerAction::Resume);
        }
        for number in 0..2 {
            call.world.send(call.sender, ssrc, video_packet(number.into(), number, true, 300));
            call.world.advance(FRAME);
        }
        call.world.advance(FRAME);
        assert!(!is_looked_at || call.received() > before, "{round}");
        call.world
            .ask(&member, MediaRequest::Producer(camera.to_string(), ProducerAction::Close))
            .unwrap();
        call.world.clients[call.sender].rtc.direct_api().remove_media(mid);
    }
}

#[test]
fn keyframe_requests_are_throttled() {
    let mut call = Call::new();
    let producer = call.world.produce(call.sender, TrackKind::Video, video()).unwrap();
    let video_consumer = call.world.consume(call.receiver, &producer).unwrap();
    call.act(&video_consumer.id.to_string(), ConsumerAction::Resume);
    call.send_video(0..30);
    call.world.clients[call.sender].keyframe_requests = 0;
    for number in 30..60 {
        call.world.request_keyframe(call.receiver, &video_consumer);
        call.world.send(
            call.sender,
            6000,
            video_packet(number, u16::try_from(number).unwrap(), false, 500),
        );
        call.world.advance(Duration::from_millis(100));
    }
    let keyframe_requested = call.world.clients[call.sender].keyframe_requests;
    assert!((4..=7).contains(&keyframe_requested), "in three seconds: {keyframe_requested}");
}

#[test]
fn missing_keyframe_is_requested_again() {
    let mut call = Call::consuming(TrackKind::Video, video());
    for number in 0..90 {
        call.world.send(
            call.sender,
            6000,
            video_packet(number, u16::try_from(number).unwrap(), false, 500),
        );
        call.world.advance(FRAME);
    }
    assert_eq!(call.received(), 0);
    let keyframe_requested = call.world.clients[call.sender].keyframe_requests;
    assert!((4..=7).contains(&keyframe_requested), "in three seconds: {keyframe_requested}");
}

/// Sends frames in three layers, of 10, 40 and 100 kilobytes per second.
pub(crate) fn send_simulcast(call: &mut Call, first: u16, frames: u16) {
    for number in first..first + frames {
        let keyframe_requested =
            std::mem::take(&mut call.world.clients[call.sender].keyframe_requests) > 0;
        for (layer, size) in [(0_u32, 330), (1, 1100)] {
            call.world.send(
                call.sender,
                7000 + layer,
                video_packet(number.into(), number, keyframe_requested, size),
            );
        }
        for part in 0..3 {
            let mut sent = video_packet(
                u64::from(number) * 3 + part,
                number + 5000,
                keyframe_requested && part == 0,
                1100,
            );
            if part > 0 {
                sent.payload[0] = 0x80;
            }
            call.world.send(call.sender, 7002, sent);
        }
        call.world.advance(FRAME);
    }
}

pub(crate) fn layer_changes(call: &mut Call) -> Vec<u8> {
    let changes = call.world.notices.drain(..).filter_map(|notice| match notice.event {
        MediaEvent::LayersChanged(_, layer) => Some(layer),
        _ => None,
    });
    changes.collect()
}

#[test]
fn layers_change_on_request_and_by_bandwidth() {
    let mut call = Call::new();
    let producer = call.world.produce(call.sender, TrackKind::Video, simulcast()).unwrap();
    let video_consumer = call.world.consume(call.receiver, &producer).unwrap();
    assert!(video_consumer.is_simulcast);
    let id = video_consumer.id.to_string();
    call.act(&id, ConsumerAction::Resume);
    send_simulcast(&mut call, 0, 300);
    assert_eq!(
        layer_changes(&mut call).last(),
        Some(&2),
        "bandwidth suffices for the highest layer"
    );
    call.act(&id, ConsumerAction::Layers { spatial: 0, temporal: None });
    send_simulcast(&mut call, 300, 60);
    assert_eq!(layer_changes(&mut call), [0]);
    call.act(&id, ConsumerAction::Layers { spatial: 9, temporal: None });
    send_simulcast(&mut call, 360, 60);
    assert_eq!(layer_changes(&mut call).last(), Some(&2));
    assert_unbroken(&call);
    call.world.bandwidth_limit = Some((call.receiver, 300_000 / 8));
    send_simulcast(&mut call, 420, 150);
    assert!(layer_changes(&mut call).iter().any(|layer| *layer < 2), "within five seconds");
    let before = call.received();
    send_simulcast(&mut call, 570, 60);
    assert!(call.received() > before + 30, "video is not frozen: {}", call.received() - before);
    call.world.bandwidth_limit = None;
    send_simulcast(&mut call, 630, 900);
    assert_eq!(layer_changes(&mut call).last(), Some(&2), "back to the highest layer");
}

#[test]
fn members_are_notified_of_producers_and_active_speaker() {
    let mut call = Call::new();
    let (anna, ben) = (call.world.clients[0].member.clone(), call.world.clients[1].member.clone());
    let id = call.world.produce(call.sender, TrackKind::Audio, audio()).unwrap();
    let others = NoticeTarget::Room(anna.room.clone(), Some(anna.connection));
    let added = call.world.notices.pop().unwrap();
    assert_eq!(added.to, others);
    assert!(
        matches!(added.event, MediaEvent::ProducerAdded(listed) if listed.id.to_string() == id)
    );
    let audio_consumer = call.world.consume(call.receiver, &id).unwrap();
    call.act(&audio_consumer.id.to_string(), ConsumerAction::Resume);
    call.world.ask(&anna, MediaRequest::Producer(id.clone(), ProducerAction::Pause)).unwrap();
    let MediaResponse::Producers(listed) =
        call.world.ask(&ben, MediaRequest::ListProducers).unwrap()
    else {
        panic!()
    };
    assert!(listed[0].is_paused);
    for number in 0..50 {
        call.world.send(call.sender, 5000, audio_packet(number, -20));
        call.world.advance(Duration::from_millis(20));
    }
    assert_eq!(call.received(), 0);
    call.world.ask(&anna, MediaRequest::Producer(id.clone(), ProducerAction::Resume)).unwrap();
    for number in 50..100 {
        call.world.send(call.sender, 5000, audio_packet(number, -20));
        call.world.advance(Duration::from_millis(20));
    }
    assert!(call.received() > 40);
    let is_active_speaker = |notice: &parlor::sfu::Notice| matches!(&notice.event, MediaEvent::ActiveSpeaker { peer, .. } if *peer == anna.peer);
    assert!(call.world.notices.iter().any(is_active_speaker));
    call.world.notices.clear();
    call.world.sfu.remove_peer(&anna.room, anna.connection);
    call.world.advance(Duration::from_millis(1));
    let events: Vec<_> =
        call.world.notices.drain(..).map(|notice| (notice.to, notice.event)).collect();
    let closed = MediaEvent::ProducerChanged(
        audio_consumer.producer.id,
        anna.peer.clone(),
        ProducerAction::Close,
    );
    assert_eq!(
        events,
        [
            (
                NoticeTarget::One(ben.room.clone(), ben.connection),
                MediaEvent::ConsumerClosed(audio_consumer.id)
            ),
            (others, closed)
        ]
    );
    call.world.sfu.remove_peer(&ben.room, ben.connection);
    assert!(call.world.sfu.is_empty());
}

#[test]
fn other_rooms_and_peers_cannot_be_reached() {
    let mut call = Call::new();
    let producer = call.world.produce(call.sender, TrackKind::Audio, audio()).unwrap();
    let eve = member("elsewhere", "eve");
    let spy = call.world.connected(&eve, Direction::Receive);
    let error = call.world.consume(spy, &producer).unwrap_err();
    assert_eq!(
        (error.scope, error.to_string()),
        (ErrorScope::Consume, "producerId: no producer of that id".to_owned())
    );
    let close = |id: &str| MediaRequest::Producer(id.to_owned(), ProducerAction::Close);
    let ben = call.world.clients[call.receiver].member.clone();
    for other in [&eve, &ben] {
        assert_eq!(scope(call.world.ask(other, close(&producer))), ErrorScope::Produce);
        let transport = call.world.clients[call.sender].id.clone();
        assert_eq!(
            scope(call.world.ask(other, MediaRequest::CloseTransport { transport })),
            ErrorScope::Transport
        );
    }
    let audio_consumer = call.world.consume(call.receiver, &producer).unwrap();
    let resume = MediaRequest::Consumer(audio_consumer.id.to_string(), ConsumerAction::Resume);
    assert_eq!(scope(call.world.ask(&eve, resume)), ErrorScope::Consume);
    let MediaResponse::Producers(listed) =
        call.world.ask(&eve, MediaRequest::ListProducers).unwrap()
    else {
        panic!()
    };
    assert!(listed.is_empty());
}

#[test]
fn invalid_parameters_are_refused_by_field() {
    let mut call = Call::new();
    let lies: [(TrackKind, &str, Value, &str); 12] = [
        (TrackKind::Video, "/mid", json!(null), "rtpParameters.mid: missing"),
        (TrackKind::Video, "/mid", json!(""), "rtpParameters.mid: "),
        (TrackKind::Video, "/mid", json!("x".repeat(17)), "rtpParameters.mid: "),
        (TrackKind::Video, "/codecs", json!([]), "rtpParameters.codecs: empty"),
        (
            TrackKind::Video,
            "/codecs/0/mimeType",
            json!("video/H263"),
            "rtpParameters.codecs: the router does not support",
        ),
        (
            TrackKind::Video,
            "/codecs/0/clockRate",
            json!(8000),
            "rtpParameters.codecs: the router does not support",
        ),
        (TrackKind::Audio, "/mid", json!("v"), "kind: not that of the codec"),
        (TrackKind::Video, "/encodings", json!([]), "rtpParameters.encodings: must be one to four"),
        (
            TrackKind::Video,
            "/encodings",
            json!([{}]),
            "rtpParameters.encodings: needs an ssrc or a rid",
        ),
        (
            TrackKind::Video,
            "/encodings",
            json!([{ "ssrc": 0 }]),
            "rtpParameters.encodings: an ssrc must be 1",
        ),
        (
            TrackKind::Video,
            "/encodings",
            json!([{ "rid": "a" }, { "rid": "a" }]),
            "rtpParameters.encodings: the same rid",
        ),
        (
            TrackKind::Video,
            "/encodings",
            json!([{ "ssrc": 1, "rtx": { "ssrc": 2 } }, { "ssrc": 2 }]),
            "rtpParameters.encodings: the same ssrc",
        ),
    ];
    for (kind, place, value, problem) in lies {
        let mut parameters = video();
        *parameters.pointer_mut(place).unwrap() = value.clone();
        let error = call.world.produce(call.sender, kind, parameters).unwrap_err();
        assert_eq!(error.scope, ErrorScope::Produce);
        assert!(error.to_string().starts_with(problem), "{place} {value}: {error}");
    }
    call.world.produce(call.sender, TrackKind::Video, video()).unwrap();
    assert_eq!(
        scope(call.world.produce(call.sender, TrackKind::Video, video())),
        ErrorScope::Produce,
        "the MID is taken"
    );
    let mut parameters = video();
    parameters["mid"] = json!("other");
    let error = call.world.produce(call.sender, TrackKind::Video, parameters).unwrap_err();
    assert!(error.to_string().contains("another producer has this ssrc"), "{error}");
}

#[test]
fn transport_is_used_once_and_in_its_direction() {
    let mut call = Call::new();
    let producer = call.world.produce(call.sender, TrackKind::Audio, audio()).unwrap();
    assert_eq!(scope(call.world.connect(call.sender)), ErrorScope::Transport, "connected twice");
    assert_eq!(
        scope(call.world.produce(call.receiver, TrackKind::Audio, audio())),
        ErrorScope::Produce
    );
    assert_eq!(scope(call.world.consume(call.sender, &producer)), ErrorScope::Consume);
    let ben = call.world.clients[call.receiver].member.clone();
    let transport = call.world.clients[call.receiver].id.clone();
    let consume =
        MediaRequest::Consume { transport, producer, capabilities: Box::new(no_capabilities()) };
    assert_eq!(
        scope(call.world.ask(&ben, consume)),
        ErrorScope::Consume,
        "a client without codecs"
    );
    let create = MediaRequest::CreateTransport { direction: Direction::Send };
    for _ in 0..3 {
        call.world.ask(&ben, create.clone()).unwrap();
    }
    let error = call.world.ask(&ben, create).unwrap_err();
    assert_eq!(error.kind, SfuErrorKind::TooMany { what: "transports", max: 4 });
    for unknown in ["", "x", "00000000-0000-0000-0000-000000000000"] {
        let close = MediaRequest::CloseTransport { transport: unknown.to_owned() };
        assert_eq!(scope(call.world.ask(&ben, close)), ErrorScope::Transport);
    }
}

#[test]
fn producers_per_peer_are_limited_and_closed_ones_do_not_count() {
    let mut call = Call::new();
    let with_mid = |number: u32| {
        let mut parameters = audio();
        parameters["mid"] = json!(format!("a{number}"));
        parameters["encodings"] = json!([{ "ssrc": 100 + number }]);
        parameters
    };
    let of_sender = call.world.clients[call.sender].member.clone();
    for round in 0..5 {
        let produced: Vec<String> = (0..8)
            .map(|number| {
                call.world
                    .produce(call.sender, TrackKind::Audio, with_mid(round * 8 + number))
                    .unwrap()
            })
            .collect();
        let error = call.world.produce(call.sender, TrackKind::Audio, with_mid(999)).unwrap_err();
        assert_eq!(error.kind, SfuErrorKind::TooMany { what: "producers", max: 8 });
        for id in produced {
            let audio_consumer = call.world.consume(call.receiver, &id).unwrap();
            call.act(&audio_consumer.id.to_string(), ConsumerAction::Resume);
            call.world.ask(&of_sender, MediaRequest::Producer(id, ProducerAction::Close)).unwrap();
        }
    }
    for client in [call.sender, call.receiver] {
        let member = call.world.clients[client].member.clone();
        call.world.sfu.remove_peer(&member.room, member.connection);
    }
    assert!(call.world.sfu.is_empty());
}

#[test]
fn certificate_must_match_announced_fingerprint() {
    let mut world = World::new();
    let anna = member("room", "anna");
    let client = world.transport(&anna, Direction::Receive);
    let mut dtls = world.clients[client].dtls();
    let connect = |dtls: &parlor::sfu::parameters::DtlsParameters, world: &World| {
        MediaRequest::ConnectTransport {
            transport: world.clients[client].id.clone(),
            dtls: dtls.clone(),
        }
    };
    dtls.fingerprints[0].algorithm = "sha-1".to_owned();
    let request = connect(&dtls, &world);
    assert_eq!(world.ask(&anna, request).unwrap_err().kind, SfuErrorKind::NoSha256);
    dtls.fingerprints[0].algorithm = "sha-256".to_owned();
    dtls.fingerprints[0].value = "AA:BB".to_owned();
    let request = connect(&dtls, &world);
    assert_eq!(world.ask(&anna, request).unwrap_err().kind, SfuErrorKind::BadFingerprint);
    dtls.fingerprints[0].value = ["AA"; 32].join(":");
    dtls.role = DtlsRole::Auto;
    let request = connect(&dtls, &world);
    world.ask(&anna, request).unwrap();
    world.until("notified of the failure", |world| {
        world.notices.iter().any(|notice| matches!(notice.event, MediaEvent::TransportFailed(_)))
    });
    assert!(world.sfu.is_empty());
}

#[test]
fn binding_requests_with_wrong_password_are_ignored() {
    let mut world = World::new();
    let client = world.transport(&member("room", "anna"), Direction::Receive);
    world.connect(client).unwrap();
    let mut credentials =
        str0m::IceCreds { ufrag: String::new(), pass: "not the password at all".to_owned() };
    let MediaResponse::IceRestarted(_, ice) = ({
        let (member, transport) =
            (world.clients[client].member.clone(), world.clients[client].id.clone());
        world.ask(&member, MediaRequest::RestartIce { transport }).unwrap()
    }) else {
        panic!()
    };
    credentials.ufrag.clone_from(&ice.username_fragment);
    world.clients[client].rtc.direct_api().set_remote_ice_credentials(credentials);
    world.advance(Duration::from_secs(2));
    assert!(!world.clients[client].is_connected);
    let good = str0m::IceCreds { ufrag: ice.username_fragment, pass: ice.password };
    world.clients[client].rtc.direct_api().set_remote_ice_credentials(good);
    world.until("connected after a restart of ICE", |world| world.clients[client].is_connected);
}

#[test]
fn garbage_datagrams_change_nothing() {
    let mut call = Call::consuming(TrackKind::Audio, audio());
    let (own, strange) =
        (call.world.clients[call.sender].address, "203.0.113.9:9".parse().unwrap());
    let mut seed = 1_u32;
    for number in 0..20_000_u32 {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let length = usize::try_from(seed >> 8).unwrap() % 200;
        let mut datagram: Vec<u8> =
            (0..length).map(|at| seed.to_be_bytes()[at % 4].wrapping_mul(31)).collect();
        if let Some(first) = datagram.first_mut() {
            *first = [0, 0x16, 0x80, 0x90, *first][number as usize % 5];
        }
        let from = if number % 2 == 0 { own } else { strange };
        call.world.sfu.receive(call.world.now, from, &datagram);
    }
    call.world.advance(Duration::from_millis(100));
    assert_eq!(call.received(), 0);
    for number in 0..10 {
        call.world.send(call.sender, 5000, audio_packet(number, -30));
        call.world.advance(Duration::from_millis(20));
    }
    call.world.advance(Duration::from_millis(100));
    assert_eq!(call.received(), 10);
    assert!(is_rtp(&[0x80, 96]));
}
