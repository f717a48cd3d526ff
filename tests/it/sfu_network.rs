//! The SFU over networks with loss, delay, reordering and little bandwidth, in memory.

use std::time::Duration;

use parlor::sfu::parameters::TrackKind;
use parlor::sfu::{ConsumerAction, Direction, MediaEvent, MediaRequest};

use crate::sfu::{Call, assert_unbroken, layer_changes, send_simulcast};
use crate::support::media::{
    OutgoingPacket, audio, audio_packet, member, simulcast, video, video_packet,
};

const FRAME: Duration = Duration::from_millis(33);

#[test]
fn audio_and_video_survive_loss_delay_and_reordering() {
    let mut call = Call::new();
    for (kind, parameters) in [(TrackKind::Audio, audio()), (TrackKind::Video, video())] {
        let producer = call.world.produce(call.sender, kind, parameters).unwrap();
        let consumer = call.world.consume(call.receiver, &producer).unwrap();
        call.act(&consumer.id.to_string(), ConsumerAction::Resume);
    }
    call.send_video(0..30);
    (call.world.loss, call.world.delay) = (50, Duration::from_millis(50));
    call.world.jitter = Duration::from_millis(15);
    let (mut frames, mut audio_number, mut numbers) = (30_u16, 0, Vec::new());
    for second in 0..10 {
        call.world.clients[call.receiver].received.clear();
        for step in 0..100 {
            if step % 2 == 0 {
                call.world.send(call.sender, 5000, audio_packet(audio_number, -30));
                audio_number += 1;
            }
            if step % 4 == 1 {
                let keyframe_requested =
                    std::mem::take(&mut call.world.clients[call.sender].keyframe_requests) > 0;
                call.world.send(
                    call.sender,
                    6000,
                    video_packet(frames.into(), frames, keyframe_requested, 900),
                );
                frames += 1;
            }
            call.world.advance(Duration::from_millis(10));
        }
        let received = &call.world.clients[call.receiver].received;
        let video_packets = received.iter().filter(|packet| *packet.header.payload_type == 101);
        numbers.extend(video_packets.map(|packet| *packet.seq_no));
        let video_packets =
            received.iter().filter(|packet| *packet.header.payload_type == 101).count();
        let audio_packets = received.len() - video_packets;
        // Bounds for 25 frames, and for 50 audio packets without retransmission.
        assert!(video_packets > 15, "{video_packets} frames in second {second}");
        assert!(audio_packets > 35, "{audio_packets} audio packets in second {second}");
    }
    numbers.sort_unstable();
    // A tenth is lost on both hops. All of it is retransmitted, except at the end.
    let missing = numbers.windows(2).filter(|pair| pair[1] != pair[0] + 1).count();
    assert!(missing <= 1, "{missing} of {}", numbers.len());
}

#[test]
fn audio_does_not_starve_video_when_timers_are_late() {
    let mut call = Call::new();
    let mut produce = |kind, parameters| {
        let producer = call.world.produce(call.sender, kind, parameters).unwrap();
        let consumer = call.world.consume(call.receiver, &producer).unwrap();
        call.act(&consumer.id.to_string(), ConsumerAction::Resume);
    };
    produce(TrackKind::Audio, audio());
    produce(TrackKind::Video, video());
    call.send_video(0..30);
    call.world.clients[call.receiver].received.clear();
    call.world.step = Duration::from_millis(60);
    let (mut audio_number, mut frames) = (0, 30_u16);
    for _ in 0..75 {
        for _ in 0..3 {
            call.world.send(call.sender, 5000, audio_packet(audio_number, -30));
            audio_number += 1;
        }
        for _ in 0..2 {
            call.world.send(call.sender, 6000, video_packet(frames.into(), frames, false, 900));
            frames += 1;
        }
        call.world.advance(call.world.step);
    }
    let received = &call.world.clients[call.receiver].received;
    let video_packets = received.iter().filter(|packet| *packet.header.payload_type == 101).count();
    assert!(video_packets > 100, "{video_packets} of 150");
}

/// Compares what two consumers receive per second, and their layer changes.
#[test]
fn narrow_path_of_one_consumer_does_not_affect_others() {
    let mut call = Call::new();
    let cleo = member("room", "cleo");
    let wide = call.world.connected(&cleo, Direction::Receive);
    let producer = call.world.produce(call.sender, TrackKind::Video, simulcast()).unwrap();
    let narrow_one = call.world.consume(call.receiver, &producer).unwrap();
    call.act(&narrow_one.id.to_string(), ConsumerAction::Resume);
    let wide_one = call.world.consume(wide, &producer).unwrap();
    call.world
        .ask(&cleo, MediaRequest::Consumer(wide_one.id.to_string(), ConsumerAction::Resume))
        .unwrap();
    send_simulcast(&mut call, 0, 400);
    let last = |call: &Call, id| {
        let changes = call.world.notices.iter().rev().find_map(|notice| match notice.event {
            MediaEvent::LayersChanged(of, layer) if of == id => Some(layer),
            _ => None,
        });
        changes.unwrap()
    };
    assert_eq!(
        (last(&call, narrow_one.id), last(&call, wide_one.id)),
        (2, 2),
        "both have the highest layer"
    );
    call.world.notices.clear();
    call.world.bandwidth_limit = Some((call.receiver, 300_000 / 8));
    call.world.clients[wide].received.clear();
    send_simulcast(&mut call, 400, 150);
    assert!(last(&call, narrow_one.id) < 2, "within five seconds");
    for second in 0..10 {
        let before = call.received();
        send_simulcast(&mut call, 550 + second * 30, 30);
        let more = call.received() - before;
        assert!(more >= 15, "video is not frozen: {more} packets in second {second}");
    }
    let changes: Vec<_> = call.world.notices.iter().map(|notice| &notice.event).collect();
    assert!(
        !changes
            .iter()
            .any(|event| matches!(event, MediaEvent::LayersChanged(id, _) if *id == wide_one.id)),
        "{changes:?}"
    );
    let received = call.world.clients[wide].received.len();
    assert!(received >= 450 * 3 - 10, "the other consumer loses no packet: {received}");
}

/// With a single layer there is no choice, so pacing would only add delay.
#[test]
fn large_frame_of_single_layer_is_not_paced() {
    let mut call = Call::consuming(TrackKind::Video, video());
    // Until estimation stops.
    call.send_video(0..150);
    let both_ways = call.world.delay * 2;
    call.world.advance(both_ways);
    let before = call.received();
    for part in 0..60 {
        let mut sent = video_packet(150 + part, 150, part == 0, 1100);
        if part > 0 {
            sent.payload[0] = 0x80;
        }
        call.world.send(call.sender, 6000, sent);
    }
    call.world.advance(both_ways + Duration::from_millis(10));
    assert_eq!(call.received() - before, 60);
}

#[test]
fn bandwidth_is_estimated_once_layers_exist() {
    let mut call = Call::consuming(TrackKind::Audio, audio());
    for number in 0..150 {
        call.world.send(call.sender, 5000, audio_packet(number, -30));
        call.world.advance(Duration::from_millis(20));
    }
    call.world.bandwidth_limit = Some((call.receiver, 300_000 / 8));
    let producer = call.world.produce(call.sender, TrackKind::Video, simulcast()).unwrap();
    let video_consumer = call.world.consume(call.receiver, &producer).unwrap();
    call.act(&video_consumer.id.to_string(), ConsumerAction::Resume);
    send_simulcast(&mut call, 0, 300);
    let changes = layer_changes(&mut call);
    assert_eq!(changes.last(), Some(&0), "10 kilobytes per second fit, 40 do not: {changes:?}");
    call.world.bandwidth_limit = None;
    send_simulcast(&mut call, 300, 600);
    let changes = layer_changes(&mut call);
    assert_eq!(changes.last(), Some(&2), "{changes:?}");
}

/// One layer takes longer to encode than the other, and their timestamps have different offsets.
#[test]
fn layer_switch_keeps_time_between_frames() {
    const LATE: u16 = 6;
    let mut call = Call::new();
    let producer = call.world.produce(call.sender, TrackKind::Video, simulcast()).unwrap();
    let video_consumer = call.world.consume(call.receiver, &producer).unwrap();
    let id = video_consumer.id.to_string();
    call.act(&id, ConsumerAction::Resume);
    let send_video = |call: &mut Call, numbers: std::ops::Range<u16>| {
        for number in numbers {
            let keyframe_requested =
                std::mem::take(&mut call.world.clients[call.sender].keyframe_requests) > 0;
            call.world.send(
                call.sender,
                7000,
                video_packet(number.into(), number, keyframe_requested, 400),
            );
            let mut slow = video_packet(number.into(), number - LATE, keyframe_requested, 700);
            slow.timestamp = slow.timestamp.wrapping_sub(777_777_777);
            call.world.send_late(call.sender, 7001, slow, FRAME * LATE.into());
            call.world.advance(FRAME);
        }
    };
    send_video(&mut call, 100..300);
    call.act(&id, ConsumerAction::Layers { spatial: 0, temporal: None });
    send_video(&mut call, 300..360);
    let received = &call.world.clients[call.receiver].received;
    let of_slow: Vec<_> = received.iter().map(|packet| packet.payload.len() > 500).collect();
    assert_eq!((of_slow[60..].first(), of_slow.last()), (Some(&true), Some(&false)));
    let steps: Vec<u32> = received
        .windows(2)
        .filter(|pair| pair[0].payload.len() > 500 && pair[1].payload.len() < 500)
        .map(|pair| pair[1].header.timestamp.wrapping_sub(pair[0].header.timestamp))
        .collect();
    // The slow layer is six frames behind. Sender reports are accurate to the millisecond.
    let expected = 3000 * u32::from(LATE + 1);
    assert!(steps.len() == 1 && steps[0].abs_diff(expected) < 400, "{steps:?}, and not {expected}");
}

/// Returns a VP8 frame of one of two temporal layers. Receivers can switch up at any frame of the
/// upper one (RFC 7741, Y).
fn layered(number: u16, is_key: bool) -> OutgoingPacket {
    let temporal = u8::try_from(number % 2).unwrap();
    let [high, low] = number.to_be_bytes();
    let base = u8::try_from(number / 2 % 256).unwrap();
    let mut payload =
        vec![0x90, 0xe0, high | 0x80, low, base, temporal << 6 | 0x20, u8::from(!is_key)];
    payload.resize(600, 0x55);
    OutgoingPacket {
        payload_type: 101,
        number: number.into(),
        timestamp: u32::from(number) * 3000,
        payload,
        level: None,
    }
}

#[test]
fn temporal_layer_is_dropped_without_sequence_gap() {
    let mut call = Call::new();
    let producer = call.world.produce(call.sender, TrackKind::Video, video()).unwrap();
    let video_consumer = call.world.consume(call.receiver, &producer).unwrap();
    let id = video_consumer.id.to_string();
    call.act(&id, ConsumerAction::Resume);
    let send_video = |call: &mut Call, numbers: std::ops::Range<u16>| {
        let before = call.received();
        for number in numbers {
            let requests = &mut call.world.clients[call.sender].keyframe_requests;
            let keyframe_requested = number % 2 == 0 && std::mem::take(requests) > 0;
            call.world.send(call.sender, 6000, layered(number, keyframe_requested));
            call.world.advance(Duration::from_millis(33));
        }
        call.world.advance(Duration::from_millis(100));
        let received = &call.world.clients[call.receiver].received[before..];
        let upper = received.iter().filter(|packet| packet.payload[5] >> 6 == 1).count();
        (received.len() - upper, upper)
    };
    let (lower, upper) = send_video(&mut call, 0..60);
    assert!(lower >= 20 && upper >= 20, "{lower} and {upper}");
    call.act(&id, ConsumerAction::Layers { spatial: 0, temporal: Some(0) });
    assert_eq!(send_video(&mut call, 60..120), (30, 0));
    call.act(&id, ConsumerAction::Layers { spatial: 0, temporal: None });
    assert_eq!(send_video(&mut call, 120..180), (30, 30));
    assert_unbroken(&call);
}
