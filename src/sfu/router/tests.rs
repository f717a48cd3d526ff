//! A router with an outlet that records what leaves.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use str0m::rtp::ExtensionValues;

use super::*;
use crate::id::PeerId;
use crate::sfu::codecs::Codec;
use crate::sfu::consumer::Streams;
use crate::sfu::producer::{ProducerLimit, TrackDescription};

/// Records what a router sends.
#[derive(Default)]
struct Recorder {
    disconnected: HashSet<TransportId>,
    /// Whether the queues of all transports are full.
    is_full: bool,
    sent: Vec<(TransportId, u32)>,
    keyframes: Vec<(TransportId, Option<u32>)>,
    notices: Vec<Notice>,
    counted: MediaStats,
}

impl Outlet for Recorder {
    fn is_connected(&self, transport: TransportId) -> bool {
        !self.disconnected.contains(&transport)
    }

    fn send(&mut self, transport: TransportId, ssrc: Ssrc, _: RtpWrite) -> bool {
        self.sent.extend((!self.is_full).then_some((transport, *ssrc)));
        !self.is_full
    }

    fn request_keyframe(
        &mut self,
        transport: TransportId,
        _: Mid,
        (ssrc, _): (Option<u32>, Option<Rid>),
    ) {
        self.keyframes.push((transport, ssrc));
    }

    fn notify(&mut self, notice: Notice) {
        self.notices.push(notice);
    }

    fn counters(&mut self) -> &mut MediaStats {
        &mut self.counted
    }
}

/// A router under test, with the time.
struct Bench {
    router: Router,
    outlet: Recorder,
    now: Instant,
    streams: u32,
}

impl Bench {
    fn new() -> Self {
        let router = Router::new(RoomId::new("room").unwrap());
        Self { router, outlet: Recorder::default(), now: Instant::now(), streams: 0 }
    }

    fn member(&self, peer: &str) -> RoomMember {
        let (room, peer) = (self.router.room.clone(), PeerId::new(peer).unwrap());
        RoomMember { room, connection: ConnectionId::random(), peer }
    }

    /// Adds a producer with one layer for each SSRC.
    fn produce(&mut self, owner: &RoomMember, kind: TrackKind, ssrcs: &[u32]) -> ProducerId {
        let (mime_type, clock_rate, number) = match kind {
            TrackKind::Audio => ("audio/opus", 48_000, 111),
            TrackKind::Video => ("video/VP8", 90_000, 96),
        };
        let mut codec =
            json!({ "mimeType": mime_type, "clockRate": clock_rate, "payloadType": number });
        if kind == TrackKind::Audio {
            codec["channels"] = 2.into();
        }
        let encodings: Vec<_> = ssrcs.iter().map(|ssrc| json!({ "ssrc": ssrc })).collect();
        let parameters =
            json!({ "mid": ssrcs[0].to_string(), "codecs": [codec], "encodings": encodings });
        let description =
            TrackDescription::check(kind, &serde_json::from_value(parameters).unwrap()).unwrap();
        let producer = Producer {
            id: ProducerId::random(),
            owner: owner.clone(),
            transport: TransportId::random(),
            is_paused: false,
            app_data: "{}".into(),
            description,
            consumers: Vec::new(),
            limit: ProducerLimit::new(kind, 2_500_000, self.now),
        };
        let id = producer.id;
        self.router.add_producer(producer, &mut self.outlet);
        id
    }

    /// Adds a consumer that is not paused.
    fn consume(&mut self, owner: &RoomMember, producer: ProducerId) -> ConsumerId {
        self.streams += 1;
        let streams = Streams { mid: "0".into(), ssrc: self.streams.into(), rtx: None };
        let of = &self.router.producers[&producer];
        let (codec, layers) = (of.description.codec, of.description.layers.len());
        let mut consumer =
            Consumer::new(owner.clone(), producer, TransportId::random(), codec, layers, streams);
        consumer.is_paused = false;
        let id = consumer.id;
        self.router.add_consumer(consumer, &mut self.outlet);
        id
    }

    /// Passes a packet to the router a frame later. Returns whether it was accepted.
    fn send(&mut self, producer: ProducerId, layer: usize, number: u64, payload: &[u8]) -> bool {
        self.now += Duration::from_millis(20);
        let of = &self.router.producers[&producer].description;
        let payload_type = if of.codec == Codec::Opus { 111 } else { 96 };
        let packet = Packet {
            ssrc: of.layers[layer].ssrc.unwrap().into(),
            payload_type,
            number,
            timestamp: u32::try_from(number).unwrap() * 960,
            has_marker: true,
            extensions: ExtensionValues { audio_level: Some(-20), ..ExtensionValues::default() },
            payload: Arc::from(payload),
            arrived_at: self.now,
            sender_info: None,
        };
        self.router.forward(self.now, (producer, layer), &packet, &mut self.outlet)
    }

    /// Returns the number of packets sent to a consumer so far.
    fn sent_to(&self, consumer: ConsumerId) -> usize {
        let Consumer { transport, ssrc, .. } = self.router.consumers[&consumer];
        self.outlet.sent.iter().filter(|sent| **sent == (transport, *ssrc)).count()
    }
}

/// RFC 7741, section 4.2: the start of a frame, whose lowest bit is not set in a keyframe.
const KEYFRAME: [u8; 3] = [0x10, 0, 0];
const FRAME: [u8; 3] = [0x10, 1, 0];

#[test]
fn packet_reaches_each_connected_consumer_that_is_not_paused() {
    let mut bench = Bench::new();
    let [ann, ben] = ["ann", "ben"].map(|peer| bench.member(peer));
    let producer = bench.produce(&ann, TrackKind::Audio, &[10]);
    let [first, second, paused, lost] = [(); 4].map(|()| bench.consume(&ben, producer));
    bench.router.consumers.get_mut(&paused).unwrap().is_paused = true;
    bench.outlet.disconnected.insert(bench.router.consumers[&lost].transport);
    assert!(bench.send(producer, 0, 1, &[7]) && bench.send(producer, 0, 2, &[7]));
    assert_eq!([first, second, paused, lost].map(|id| bench.sent_to(id)), [2, 2, 0, 0]);
    assert_eq!(bench.outlet.counted.forwarded, 4);
    assert!(!bench.send(producer, 0, 3, &[]), "padding");
    bench.router.producers.get_mut(&producer).unwrap().is_paused = true;
    assert!(!bench.send(producer, 0, 4, &[7]));
    assert_eq!(bench.outlet.sent.len(), 4);
}

#[test]
fn video_begins_with_a_keyframe_which_is_requested() {
    let mut bench = Bench::new();
    let [ann, ben] = ["ann", "ben"].map(|peer| bench.member(peer));
    let producer = bench.produce(&ann, TrackKind::Video, &[10]);
    let consumer = bench.consume(&ben, producer);
    let transport = bench.router.producers[&producer].transport;
    bench.send(producer, 0, 1, &FRAME);
    bench.send(producer, 0, 2, &FRAME);
    assert_eq!(
        (bench.sent_to(consumer), &bench.outlet.keyframes),
        (0, &vec![(transport, Some(10))]),
        "requested once"
    );
    bench.send(producer, 0, 3, &KEYFRAME);
    bench.send(producer, 0, 4, &FRAME);
    assert_eq!(bench.sent_to(consumer), 2);
    // A packet is dropped, so the next frames cannot be decoded.
    bench.outlet.is_full = true;
    bench.send(producer, 0, 5, &FRAME);
    bench.outlet.is_full = false;
    bench.send(producer, 0, 6, &FRAME);
    assert_eq!(bench.sent_to(consumer), 2);
    bench.send(producer, 0, 7, &KEYFRAME);
    assert_eq!(bench.sent_to(consumer), 3);
}

#[test]
fn consumer_gets_one_layer_and_its_client_is_notified_of_a_change() {
    let mut bench = Bench::new();
    let [ann, ben] = ["ann", "ben"].map(|peer| bench.member(peer));
    let producer = bench.produce(&ann, TrackKind::Video, &[10, 20]);
    let consumer = bench.consume(&ben, producer);
    bench.outlet.notices.clear();
    for (layer, number) in [(0, 1), (1, 101)] {
        bench.send(producer, layer, number, &KEYFRAME);
    }
    assert_eq!(bench.sent_to(consumer), 1);
    bench.router.consumers.get_mut(&consumer).unwrap().target = 1;
    for (layer, number) in [(1, 102), (0, 2)] {
        bench.send(producer, layer, number, &FRAME);
    }
    assert_eq!(bench.sent_to(consumer), 2, "the old layer until a keyframe of the new one");
    for (layer, number) in [(1, 103), (0, 3)] {
        bench.send(producer, layer, number, &KEYFRAME);
    }
    assert_eq!(bench.sent_to(consumer), 3);
    let changed = |layer| Notice {
        to: NoticeTarget::One(bench.router.room.clone(), ben.connection),
        event: MediaEvent::LayersChanged(consumer, layer),
    };
    assert_eq!(bench.outlet.notices, [changed(0), changed(1)]);
}

#[test]
fn active_speaker_is_announced_to_the_room() {
    let mut bench = Bench::new();
    let ann = bench.member("ann");
    let producer = bench.produce(&ann, TrackKind::Audio, &[10]);
    bench.outlet.notices.clear();
    (0..30).for_each(|number| _ = bench.send(producer, 0, number, &[7]));
    let event = MediaEvent::ActiveSpeaker { peer: ann.peer.clone(), producer, level: -20 };
    assert_eq!(
        bench.outlet.notices,
        [Notice { to: NoticeTarget::Room(bench.router.room.clone(), None), event }]
    );
}

#[test]
fn packets_over_the_limit_and_with_undeclared_payload_types_are_counted_and_dropped() {
    let mut bench = Bench::new();
    let [ann, ben] = ["ann", "ben"].map(|peer| bench.member(peer));
    let producer = bench.produce(&ann, TrackKind::Audio, &[10]);
    let consumer = bench.consume(&ben, producer);
    let undeclared = Packet {
        ssrc: 10.into(),
        payload_type: 112,
        number: 1,
        timestamp: 0,
        has_marker: false,
        extensions: ExtensionValues::default(),
        payload: Arc::from([7]),
        arrived_at: bench.now,
        sender_info: None,
    };
    assert!(!bench.router.forward(bench.now, (producer, 0), &undeclared, &mut bench.outlet));
    let known = Packet { payload_type: 111, ..undeclared };
    (0..1000).for_each(|_| {
        _ = bench.router.forward(bench.now, (producer, 0), &known, &mut bench.outlet);
    });
    let MediaStats { undeclared_payload_types, over_limit, forwarded, .. } = bench.outlet.counted;
    assert_eq!((undeclared_payload_types, over_limit + forwarded), (1, 1000));
    assert!(over_limit > 500 && bench.sent_to(consumer) as u64 == forwarded, "{over_limit}");
}

#[test]
fn removed_producers_and_consumers_leave_nothing() {
    let mut bench = Bench::new();
    let [ann, ben] = ["ann", "ben"].map(|peer| bench.member(peer));
    let producers = [10, 20].map(|ssrc| bench.produce(&ann, TrackKind::Audio, &[ssrc]));
    let consumer = bench.consume(&ben, producers[0]);
    assert_eq!(
        bench.router.list().iter().map(|info| info.id).collect::<Vec<_>>(),
        producers,
        "oldest first"
    );
    assert_eq!((bench.outlet.counted.producers, bench.outlet.counted.consumers), (2, 1));
    let Bench { router, outlet, .. } = &mut bench;
    assert!(
        router.remove_consumer(consumer, outlet).is_some()
            && router.remove_consumer(consumer, outlet).is_none()
    );
    assert!(router.producers[&producers[0]].consumers.is_empty());
    assert!(producers.map(|id| router.remove_producer(id, outlet)).iter().all(Option::is_some));
    assert!(router.list().is_empty() && router.producers.is_empty() && router.consumers.is_empty());
    assert_eq!((outlet.counted.producers, outlet.counted.consumers), (0, 0));
}
