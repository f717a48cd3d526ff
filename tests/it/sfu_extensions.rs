//! Header extension ids, in memory: how they are determined, and how mismatches are handled.

use std::time::Duration;

use parlor::sfu::parameters::TrackKind;
use parlor::sfu::{ConsumerAction, Direction, SfuErrorKind};
use serde_json::{Value, json};

use crate::sfu::{Call, FRAME, send_simulcast};
use crate::support::media::{
    OutgoingPacket, audio, audio_packet, member, rtc_with_extensions, simulcast, video, video_packet,
};

fn extensions(declared: &[(&str, u16)]) -> Value {
    declared.iter().map(|(uri, id)| json!({ "uri": uri, "id": id })).collect()
}

const MID: &str = "urn:ietf:params:rtp-hdrext:sdes:mid";
const RID: &str = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id";
const REPAIRED_RID: &str = "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id";
const LEVEL: &str = "urn:ietf:params:rtp-hdrext:ssrc-audio-level";
const ORIENTATION: &str = "urn:3gpp:video-orientation";

/// Like Chromium when video comes first: its extensions have other ids than announced.
#[test]
fn first_track_determines_extension_ids() {
    let mut call = Call::new();
    let dora = member("room", "dora");
    let rtc = rtc_with_extensions(call.world.now, [9, 10, 11, 2, 4, 14, 3]);
    call.sender = call.world.transport_of(&dora, Direction::Send, rtc);
    call.world.connect(call.sender).unwrap();
    call.world.advance(Duration::from_secs(2));
    assert!(!call.world.clients[call.sender].is_connected, "no response before the first producer");
    let mut video_parameters = simulcast();
    video_parameters["headerExtensions"] = extensions(&[(MID, 9), (RID, 10), (ORIENTATION, 3)]);
    let video_parameters = call.world.produce(call.sender, TrackKind::Video, video_parameters).unwrap();
    let video_consumer = call.world.consume(call.receiver, &video_parameters).unwrap();
    call.act(&video_consumer.id.to_string(), ConsumerAction::Resume);
    send_simulcast(&mut call, 0, 60);
    assert!(call.received() > 40, "{}", call.received());
    assert_eq!(call.world.clients[call.receiver].received[0].header.ext_vals.audio_level, None);
    call.act(&video_consumer.id.to_string(), ConsumerAction::Close);
    call.world.advance(Duration::from_millis(100));
    call.world.clients[call.receiver].received.clear();

    let mut audio_parameters = audio();
    audio_parameters["headerExtensions"] = extensions(&[(MID, 9), (LEVEL, 14)]);
    let audio_parameters = call.world.produce(call.sender, TrackKind::Audio, audio_parameters).unwrap();
    let audio_consumer = call.world.consume(call.receiver, &audio_parameters).unwrap();
    call.act(&audio_consumer.id.to_string(), ConsumerAction::Resume);
    for number in 0..10 {
        call.world.send(call.sender, 5000, audio_packet(number, -30));
        call.world.advance(Duration::from_millis(20));
    }
    call.world.advance(Duration::from_millis(100));
    let received = &call.world.clients[call.receiver].received;
    assert_eq!(received.len(), 10);
    assert_eq!(received[0].header.ext_vals.audio_level, Some(-30));
}

#[test]
fn later_track_works_without_mismatched_extensions() {
    let mut call = Call::new();
    call.world.produce(call.sender, TrackKind::Audio, audio()).unwrap();
    // The transport has the audio level under this id.
    let mut video_parameters = video();
    video_parameters["headerExtensions"] = extensions(&[(MID, 1), (ORIENTATION, 10)]);
    let video_parameters = call.world.produce(call.sender, TrackKind::Video, video_parameters).unwrap();
    let video_consumer = call.world.consume(call.receiver, &video_parameters).unwrap();
    call.act(&video_consumer.id.to_string(), ConsumerAction::Resume);
    for number in 0..30 {
        let keyframe_requested = std::mem::take(&mut call.world.clients[call.sender].keyframe_requests) > 0;
        let sent = OutgoingPacket { level: Some(-1), ..video_packet(number.into(), number, keyframe_requested, 900) };
        call.world.send(call.sender, 6000, sent);
        call.world.advance(FRAME);
    }
    assert!(call.received() > 20, "{}", call.received());
    assert_eq!(call.world.clients[call.receiver].received[0].header.ext_vals.audio_level, None, "not misread");
    for declared in [[(MID, 7), (LEVEL, 10)], [(MID, 1), (LEVEL, 5)]] {
        let mut other = audio();
        (other["mid"], other["encodings"]) = (json!("other"), json!([{ "ssrc": 9 }]));
        other["headerExtensions"] = extensions(&declared);
        let error = call.world.produce(call.sender, TrackKind::Audio, other).unwrap_err();
        assert!(matches!(error.kind, SfuErrorKind::NotAnnounced { .. }), "{declared:?}: {error}");
    }
}

#[test]
fn extensions_with_invalid_ids_are_ignored() {
    let mut call = Call::new();
    // The client sends MID and RID under ids that the transport does not read.
    let rtc = rtc_with_extensions(call.world.now, [1, 13, 14, 4, 5, 10, 11]);
    call.sender = call.world.transport_of(&member("room", "dora"), Direction::Send, rtc);
    call.world.connect(call.sender).unwrap();
    let odd = extensions(&[(MID, 1), (RID, 200), (REPAIRED_RID, 17), ("urn:of:something-else", 65_535)]);
    let mut video_parameters = simulcast();
    video_parameters["headerExtensions"] = odd;
    let error = call.world.produce(call.sender, TrackKind::Video, video_parameters.clone()).unwrap_err().to_string();
    assert!(error.starts_with("rtpParameters.encodings: streams are identified by rid"), "{error}");
    // SSRCs identify the streams as well.
    for (number, encoding) in (7000..).zip(video_parameters["encodings"].as_array_mut().unwrap()) {
        (encoding["ssrc"], encoding["rtx"]) = (json!(number), json!({ "ssrc": number + 100 }));
    }
    let video_parameters = call.world.produce(call.sender, TrackKind::Video, video_parameters).unwrap();
    let video_consumer = call.world.consume(call.receiver, &video_parameters).unwrap();
    call.act(&video_consumer.id.to_string(), ConsumerAction::Resume);
    send_simulcast(&mut call, 0, 60);
    assert!(call.received() > 40, "{}", call.received());
    let mut audio_parameters = audio();
    audio_parameters["headerExtensions"] = extensions(&[(MID, 300)]);
    call.world.produce(call.sender, TrackKind::Audio, audio_parameters).unwrap();
}
