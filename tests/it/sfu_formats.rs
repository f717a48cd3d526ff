//! Payload types and header extension ids, in memory: each producer has its own, consumers get
//! those of the router.

use std::time::Duration;

use parlor::sfu::parameters::TrackKind;
use parlor::sfu::{ConsumerAction, ConsumerInfo, Direction, ErrorScope};
use serde_json::{Value, json};

use crate::sfu::{Call, FRAME, assert_unbroken};
use crate::support::media::{
    LEVEL, MID, Numbers, OF_ROUTER, ORIENTATION, OutgoingPacket, RID, audio, audio_packet,
    audio_with, extensions, member, rtc_with, video, video_packet, video_with,
};

/// Payload types and extension ids of Chromium if video is first.
const OF_CHROMIUM: Numbers =
    Numbers { opus: 111, vp8: 96, rtx: 97, extensions: [9, 10, 11, 2, 4, 14, 3] };

/// Payload types and extension ids with another meaning in [`OF_CHROMIUM`].
const COLLIDING: Numbers =
    Numbers { opus: 96, vp8: 97, rtx: 111, extensions: [10, 9, 3, 14, 2, 11, 4] };

impl Call {
    /// Replaces the sender by a client with other payload types and extension ids.
    fn use_sender_with(&mut self, numbers: &[Numbers]) {
        let rtc = rtc_with(self.world.now, numbers);
        self.sender = self.world.transport_of(&member("room", "dora"), Direction::Send, rtc);
        self.world.connect(self.sender).unwrap();
        let sender = self.sender;
        self.world.until("connected", |world| world.clients[sender].is_connected);
    }

    /// Creates a producer, and a consumer of it.
    fn stream(&mut self, kind: TrackKind, parameters: Value) -> ConsumerInfo {
        let producer = self.world.produce(self.sender, kind, parameters).unwrap();
        let consumer = self.world.consume(self.receiver, &producer).unwrap();
        self.act(&consumer.id.to_string(), ConsumerAction::Resume);
        consumer
    }

    /// Sends video on a stream, with keyframes as requested, and returns how many packets arrive.
    fn send_video_on(
        &mut self,
        ssrc: u32,
        payload_type: u8,
        frames: std::ops::Range<u16>,
    ) -> usize {
        let before = self.received();
        for number in frames {
            let is_key = std::mem::take(&mut self.world.clients[self.sender].keyframe_requests) > 0;
            let packet = video_packet(number.into(), number, is_key, 900);
            self.world.send(self.sender, ssrc, OutgoingPacket { payload_type, ..packet });
            self.world.advance(FRAME);
        }
        self.world.advance(Duration::from_millis(300));
        self.received() - before
    }

    /// Sends audio on a stream, and returns the levels that arrive.
    fn send_audio_on(&mut self, ssrc: u32, payload_type: u8) -> Vec<Option<i8>> {
        self.world.clients[self.receiver].received.clear();
        for number in 0..10 {
            self.world.send(
                self.sender,
                ssrc,
                OutgoingPacket { payload_type, ..audio_packet(number, -30) },
            );
            self.world.advance(Duration::from_millis(20));
        }
        self.world.advance(Duration::from_millis(100));
        self.world.clients[self.receiver]
            .received
            .iter()
            .map(|packet| packet.header.ext_vals.audio_level)
            .collect()
    }
}

#[test]
fn consumers_get_the_numbers_of_the_router() {
    for numbers in [OF_CHROMIUM, COLLIDING, Numbers { opus: 0, vp8: 63, rtx: 35, ..OF_ROUTER }] {
        let mut call = Call::new();
        call.use_sender_with(&[numbers]);
        // The stream is identified by its RID.
        let consumer = call.stream(TrackKind::Video, video_with(numbers, json!([{ "rid": "r0" }])));
        assert_eq!(consumer.parameters.codecs[0].payload_type, 101);
        assert!(call.send_video_on(7000, numbers.vp8, 0..40) > 20, "{numbers:?}");
        assert!(
            call.world.clients[call.receiver]
                .received
                .iter()
                .all(|packet| *packet.header.payload_type == 101)
        );
        call.act(&consumer.id.to_string(), ConsumerAction::Close);
        call.stream(TrackKind::Audio, audio_with(numbers));
        assert_eq!(call.send_audio_on(5000, numbers.opus), [Some(-30); 10], "{numbers:?}");
        assert_eq!(call.world.sfu.stats().undeclared_payload_types, 0);
    }
}

#[test]
fn lost_packets_are_retransmitted_with_any_payload_type() {
    let identified_by = [
        ("its ssrc", json!([{ "ssrc": 7000, "rtx": { "ssrc": 7100 } }])),
        ("its mid and payload type", json!([{ "ssrc": 7000 }])),
        ("its repaired rid", json!([{ "rid": "r0" }])),
    ];
    for (how, encodings) in identified_by {
        let mut call = Call::new();
        call.use_sender_with(&[COLLIDING]);
        call.stream(TrackKind::Video, video_with(COLLIDING, encodings));
        assert!(call.send_video_on(7000, COLLIDING.vp8, 0..40) > 20, "RTX is identified by {how}");
        call.world.loss = 30;
        call.send_video_on(7000, COLLIDING.vp8, 40..140);
        call.world.loss = 0;
        call.send_video_on(7000, COLLIDING.vp8, 140..160);
        assert_unbroken(&call);
        assert!(call.received() > 140, "RTX is identified by {how}: {}", call.received());
    }
}

#[test]
fn payload_types_of_producers_are_independent() {
    let mut call = Call::new();
    let other = Numbers { extensions: OF_CHROMIUM.extensions, ..COLLIDING };
    call.use_sender_with(&[OF_CHROMIUM, other]);
    let first = call.stream(TrackKind::Video, video_with(OF_CHROMIUM, json!([{ "rid": "r0" }])));
    assert!(call.send_video_on(7000, OF_CHROMIUM.vp8, 0..40) > 20);
    let mut second = video_with(other, json!([{ "ssrc": 8000, "rtx": { "ssrc": 8100 } }]));
    second["mid"] = json!("w");
    let second = call.stream(TrackKind::Video, second);
    assert!(
        call.send_video_on(8000, other.vp8, 0..40) > 20,
        "its payload type is that of RTX of the first"
    );
    assert!(call.send_video_on(7000, OF_CHROMIUM.vp8, 40..60) > 15, "the first continues");
    for consumer in [first, second] {
        call.act(&consumer.id.to_string(), ConsumerAction::Close);
    }
    call.stream(TrackKind::Audio, audio_with(other));
    assert_eq!(
        call.send_audio_on(5000, other.opus),
        [Some(-30); 10],
        "its payload type is that of the first video"
    );
}

#[test]
fn extension_ids_of_producers_are_independent() {
    let mut call = Call::new();
    let first = Numbers { extensions: [1, 2, 3, 4, 5, 6, 7], ..OF_CHROMIUM };
    let second = Numbers { extensions: [8, 9, 10, 11, 12, 13, 14], ..OF_CHROMIUM };
    // The client sends each extension under both ids.
    call.use_sender_with(&[first, second]);
    let mut consumers = Vec::new();
    for (mid, ssrc, numbers) in [("v", 7000, first), ("w", 8000, second)] {
        let mut parameters = video_with(numbers, json!([{ "rid": "r0" }]));
        parameters["mid"] = json!(mid);
        consumers.push(call.stream(TrackKind::Video, parameters));
        call.world.clients[call.sender].declare_stream(mid, ssrc, "r0");
        assert!(call.send_video_on(ssrc, numbers.vp8, 0..40) > 20);
    }
    for consumer in consumers {
        call.act(&consumer.id.to_string(), ConsumerAction::Close);
    }
    call.stream(TrackKind::Audio, audio_with(second));
    assert_eq!(call.send_audio_on(5000, OF_CHROMIUM.opus), [Some(-30); 10]);
    // The router reads the value that the client sends under this id as MID as the audio level.
    let mut parameters = audio_with(first);
    (parameters["mid"], parameters["encodings"]) = (json!("b"), json!([{ "ssrc": 5001 }]));
    parameters["headerExtensions"] = extensions(&[(MID, 8), (LEVEL, 1)]);
    call.stream(TrackKind::Audio, parameters);
    assert_eq!(call.send_audio_on(5001, OF_CHROMIUM.opus), [Some(-98); 10], "the code of b");
}

#[test]
fn packets_with_undeclared_payload_types_are_counted() {
    let mut call = Call::new();
    let undeclared = Numbers { opus: 110, ..OF_CHROMIUM };
    call.use_sender_with(&[OF_CHROMIUM, undeclared]);
    call.stream(TrackKind::Audio, audio_with(OF_CHROMIUM));
    assert_eq!(call.send_audio_on(5000, undeclared.opus), []);
    assert_eq!(call.world.sfu.stats().undeclared_payload_types, 10);
}

#[test]
fn invalid_numbers_are_refused() {
    let mut call = Call::new();
    let rtx = |number: u8, parameters: Value| json!({ "mimeType": "video/rtx", "payloadType": number, "clockRate": 90000, "parameters": parameters });
    let vp8 = |number: Value| json!({ "mimeType": "video/VP8", "payloadType": number, "clockRate": 90000 });
    let ids = |declared: &[(&str, Value)]| -> Value {
        declared.iter().map(|(uri, id)| json!({ "uri": uri, "id": id })).collect()
    };
    let range = "rtpParameters.codecs: a payload type must be 0 to 63 or 96 to 127";
    let unknown_codec = "rtpParameters.codecs: the router does not support this codec";
    let without_codec = "rtpParameters.codecs: rtx without its codec";
    let (id_range, read_range) = (
        "rtpParameters.headerExtensions: an id must be 1 to 255",
        "rtpParameters.headerExtensions: the id of an extension that the router reads must be 1 to 16",
    );
    let ssrc = "rtpParameters.encodings: an ssrc must be 1 to 4294967295";
    let cases = [
        ("codecs", json!([vp8(json!(64))]), range),
        ("codecs", json!([vp8(json!(95))]), range),
        ("codecs", json!([vp8(json!(128))]), range),
        ("codecs", json!([vp8(json!(300))]), range),
        ("codecs", json!([vp8(json!(-1))]), range),
        ("codecs", json!([vp8(json!(96)), rtx(200, json!({ "apt": 96 }))]), range),
        (
            "codecs",
            json!([vp8(json!(96)), rtx(96, json!({ "apt": 96 }))]),
            "rtpParameters.codecs: the same payload type",
        ),
        ("codecs", json!([vp8(json!(96)), rtx(97, json!({ "apt": 98 }))]), without_codec),
        ("codecs", json!([vp8(json!(96)), rtx(97, json!({ "apt": 97 }))]), without_codec),
        ("codecs", json!([vp8(json!(96)), rtx(97, json!({}))]), without_codec),
        ("codecs", json!([rtx(97, json!({ "apt": 97 }))]), unknown_codec),
        (
            "codecs",
            json!([{ "mimeType": "video/H265", "payloadType": 96, "clockRate": 90000 }]),
            unknown_codec,
        ),
        (
            "codecs",
            json!([{ "mimeType": "audio/PCMU", "payloadType": 0, "clockRate": 8000 }]),
            unknown_codec,
        ),
        ("headerExtensions", ids(&[(MID, json!(0))]), id_range),
        ("headerExtensions", ids(&[("urn:of:something-else", json!(256))]), id_range),
        ("headerExtensions", ids(&[("urn:of:something-else", json!(-1))]), id_range),
        ("headerExtensions", ids(&[(MID, json!(17))]), read_range),
        (
            "headerExtensions",
            ids(&[(MID, json!(1)), ("urn:of:something-else", json!(1))]),
            "rtpParameters.headerExtensions: the same id twice",
        ),
        (
            "headerExtensions",
            ids(&[(MID, json!(1)), (MID, json!(2))]),
            "rtpParameters.headerExtensions: the same uri twice",
        ),
        ("encodings", json!([{ "ssrc": 4_294_967_296_u64 }]), ssrc),
        ("encodings", json!([{ "ssrc": -1 }]), ssrc),
        ("encodings", json!([{ "ssrc": 1, "rtx": { "ssrc": 4_294_967_296_u64 } }]), ssrc),
    ];
    for (field, value, problem) in cases {
        let mut parameters = video();
        parameters[field] = value.clone();
        let error = call.world.produce(call.sender, TrackKind::Video, parameters).unwrap_err();
        assert_eq!(error.scope, ErrorScope::Produce);
        assert!(error.to_string().starts_with(problem), "{value}: {error}");
    }
    assert_eq!(call.world.sfu.stats().producers, 0);
}

#[test]
fn streams_without_ssrc_need_extensions_that_identify_them() {
    let mut call = Call::new();
    for declared in
        [vec![], extensions_of(&[(MID, 1)]), extensions_of(&[(RID, 2), (ORIENTATION, 11)])]
    {
        let mut parameters = video_with(OF_ROUTER, json!([{ "rid": "r0" }]));
        parameters["headerExtensions"] = Value::Array(declared);
        let error =
            call.world.produce(call.sender, TrackKind::Video, parameters).unwrap_err().to_string();
        assert!(error.starts_with("rtpParameters.encodings: without an ssrc"), "{error}");
    }
}

fn extensions_of(declared: &[(&str, u8)]) -> Vec<Value> {
    let Value::Array(declared) = extensions(declared) else { panic!() };
    declared
}

#[test]
fn extensions_that_the_router_does_not_read_may_have_any_id() {
    let mut call = Call::new();
    let mut parameters = audio();
    parameters["headerExtensions"] =
        extensions(&[(MID, 1), (LEVEL, 10), ("urn:of:something-else", 255), ("urn:of:another", 5)]);
    call.stream(TrackKind::Audio, parameters);
    assert_eq!(call.send_audio_on(5000, 100), [Some(-30); 10]);
}
