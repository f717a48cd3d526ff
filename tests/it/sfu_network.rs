//! Media over networks that lose, delay, reorder and are narrow, in memory.

use std::time::Duration;

use parlor::sfu::parameters::Kind;
use parlor::sfu::{ConsumerAction, Direction, MediaEvent, Request};

use crate::sfu::{Call, assert_unbroken, film_in_layers, layers_told};
use crate::support::media::{Sent, audio, member, picture, simulcast, sound, video};

const FRAME: Duration = Duration::from_millis(33);

#[test]
fn with_loss_delay_and_disorder_pictures_and_sound_flow() {
    let mut call = Call::new();
    for (kind, parameters) in [(Kind::Audio, audio()), (Kind::Video, video())] {
        let producer = call.world.produce(call.sender, kind, parameters).unwrap();
        let consumer = call.world.consume(call.receiver, &producer).unwrap();
        call.act(&consumer.id.to_string(), ConsumerAction::Resume);
    }
    call.film(0..30);
    (call.world.loss, call.world.delay) = (50, Duration::from_millis(50));
    call.world.jitter = Duration::from_millis(15);
    let (mut pictures, mut sounds, mut numbers) = (30_u16, 0, Vec::new());
    for second in 0..10 {
        call.world.clients[call.receiver].received.clear();
        for step in 0..100 {
            if step % 2 == 0 {
                call.world.send(call.sender, 5000, sound(sounds, -30));
                sounds += 1;
            }
            if step % 4 == 1 {
                let asked = std::mem::take(&mut call.world.clients[call.sender].keyframe_requests) > 0;
                call.world.send(call.sender, 6000, picture(pictures.into(), pictures, asked, 900));
                pictures += 1;
            }
            call.world.pass(Duration::from_millis(10));
        }
        let received = &call.world.clients[call.receiver].received;
        let of_pictures = received.iter().filter(|packet| *packet.header.payload_type == 101);
        numbers.extend(of_pictures.map(|packet| *packet.seq_no));
        let of_pictures = received.iter().filter(|packet| *packet.header.payload_type == 101).count();
        let of_sound = received.len() - of_pictures;
        // Of 25, and of 50 that are not sent again.
        assert!(of_pictures > 15, "{of_pictures} pictures in second {second}");
        assert!(of_sound > 35, "{of_sound} packets of sound in second {second}");
    }
    numbers.sort_unstable();
    // A tenth is lost on the two ways: all of that comes when it is sent again, but for the last.
    let missing = numbers.windows(2).filter(|pair| pair[1] != pair[0] + 1).count();
    assert!(missing <= 1, "{missing} of {}", numbers.len());
}

#[test]
fn on_a_busy_machine_sound_leaves_room_for_pictures() {
    let mut call = Call::new();
    let mut produce = |kind, parameters| {
        let producer = call.world.produce(call.sender, kind, parameters).unwrap();
        let consumer = call.world.consume(call.receiver, &producer).unwrap();
        call.act(&consumer.id.to_string(), ConsumerAction::Resume);
    };
    produce(Kind::Audio, audio());
    produce(Kind::Video, video());
    call.film(0..30);
    call.world.clients[call.receiver].received.clear();
    call.world.step = Duration::from_millis(60);
    let (mut sounds, mut pictures) = (0, 30_u16);
    for _ in 0..75 {
        for _ in 0..3 {
            call.world.send(call.sender, 5000, sound(sounds, -30));
            sounds += 1;
        }
        for _ in 0..2 {
            call.world.send(call.sender, 6000, picture(pictures.into(), pictures, false, 900));
            pictures += 1;
        }
        call.world.pass(call.world.step);
    }
    let received = &call.world.clients[call.receiver].received;
    let of_pictures = received.iter().filter(|packet| *packet.header.payload_type == 101).count();
    assert!(of_pictures > 100, "{of_pictures} of 150");
}

/// What each of two receives of each second, and what they were told of layers.
#[test]
fn who_has_little_bandwidth_gets_less_and_others_notice_nothing() {
    let mut call = Call::new();
    let cleo = member("room", "cleo");
    let wide = call.world.connected(&cleo, Direction::Receive);
    let producer = call.world.produce(call.sender, Kind::Video, simulcast()).unwrap();
    let narrow_one = call.world.consume(call.receiver, &producer).unwrap();
    call.act(&narrow_one.id.to_string(), ConsumerAction::Resume);
    let wide_one = call.world.consume(wide, &producer).unwrap();
    call.world.ask(&cleo, Request::Consumer(wide_one.id.to_string(), ConsumerAction::Resume)).unwrap();
    film_in_layers(&mut call, 0, 400);
    let last = |call: &Call, id| {
        let told = call.world.notices.iter().rev().find_map(|notice| match notice.event {
            MediaEvent::LayersChanged(of, layer) if of == id => Some(layer),
            _ => None,
        });
        told.unwrap()
    };
    assert_eq!((last(&call, narrow_one.id), last(&call, wide_one.id)), (2, 2), "both have the best");
    call.world.notices.clear();
    call.world.narrow = Some((call.receiver, 300_000 / 8));
    call.world.clients[wide].received.clear();
    film_in_layers(&mut call, 400, 150);
    assert!(last(&call, narrow_one.id) < 2, "within five seconds");
    for second in 0..10 {
        let before = call.received();
        film_in_layers(&mut call, 550 + second * 30, 30);
        let more = call.received() - before;
        assert!(more >= 15, "not frozen: {more} packets in second {second}");
    }
    let told: Vec<_> = call.world.notices.iter().map(|notice| &notice.event).collect();
    assert!(
        !told.iter().any(|event| matches!(event, MediaEvent::LayersChanged(id, _) if *id == wide_one.id)),
        "{told:?}"
    );
    let received = call.world.clients[wide].received.len();
    assert!(received >= 450 * 3 - 10, "the other misses nothing: {received}");
}

/// Where there is but one layer nothing can be chosen, and what waits here only comes later.
#[test]
fn a_large_picture_of_one_layer_leaves_at_once() {
    let mut call = Call::new();
    let producer = call.world.produce(call.sender, Kind::Video, video()).unwrap();
    let consumer = call.world.consume(call.receiver, &producer).unwrap();
    call.act(&consumer.id.to_string(), ConsumerAction::Resume);
    // For as long as there may soon be something to choose, and a little.
    call.film(0..90);
    let both_ways = call.world.delay * 2;
    call.world.pass(both_ways);
    let before = call.received();
    for part in 0..60 {
        let mut sent = picture(90 + part, 90, part == 0, 1100);
        if part > 0 {
            sent.payload[0] = 0x80;
        }
        call.world.send(call.sender, 6000, sent);
    }
    call.world.pass(both_ways + Duration::from_millis(10));
    assert_eq!(call.received() - before, 60);
}

#[test]
fn once_there_are_layers_bandwidth_counts() {
    let mut call = Call::new();
    let of_sound = call.world.produce(call.sender, Kind::Audio, audio()).unwrap();
    let ear = call.world.consume(call.receiver, &of_sound).unwrap();
    call.act(&ear.id.to_string(), ConsumerAction::Resume);
    for number in 0..150 {
        call.world.send(call.sender, 5000, sound(number, -30));
        call.world.pass(Duration::from_millis(20));
    }
    call.world.narrow = Some((call.receiver, 300_000 / 8));
    let producer = call.world.produce(call.sender, Kind::Video, simulcast()).unwrap();
    let eye = call.world.consume(call.receiver, &producer).unwrap();
    call.act(&eye.id.to_string(), ConsumerAction::Resume);
    film_in_layers(&mut call, 0, 300);
    let told = layers_told(&mut call);
    assert_eq!(told.last(), Some(&0), "ten kilobytes a second fit, forty do not: {told:?}");
    call.world.narrow = None;
    film_in_layers(&mut call, 300, 600);
    let told = layers_told(&mut call);
    assert_eq!(told.last(), Some(&2), "{told:?}");
}

/// One layer takes longer to encode than the other, and each has a clock of its own.
#[test]
fn a_switch_keeps_the_time_between_pictures() {
    const LATE: u16 = 6;
    let mut call = Call::new();
    let producer = call.world.produce(call.sender, Kind::Video, simulcast()).unwrap();
    let eye = call.world.consume(call.receiver, &producer).unwrap();
    let id = eye.id.to_string();
    call.act(&id, ConsumerAction::Resume);
    let film = |call: &mut Call, numbers: std::ops::Range<u16>| {
        for number in numbers {
            let asked = std::mem::take(&mut call.world.clients[call.sender].keyframe_requests) > 0;
            call.world.send(call.sender, 7000, picture(number.into(), number, asked, 400));
            let mut slow = picture(number.into(), number - LATE, asked, 700);
            slow.timestamp = slow.timestamp.wrapping_sub(777_777_777);
            call.world.send_late(call.sender, 7001, slow, FRAME * LATE.into());
            call.world.pass(FRAME);
        }
    };
    film(&mut call, 100..300);
    call.act(&id, ConsumerAction::Layers { spatial: 0, temporal: None });
    film(&mut call, 300..360);
    let received = &call.world.clients[call.receiver].received;
    let of_slow: Vec<_> = received.iter().map(|packet| packet.payload.len() > 500).collect();
    assert_eq!((of_slow[60..].first(), of_slow.last()), (Some(&true), Some(&false)));
    let steps: Vec<u32> = received
        .windows(2)
        .filter(|pair| pair[0].payload.len() > 500 && pair[1].payload.len() < 500)
        .map(|pair| pair[1].header.timestamp.wrapping_sub(pair[0].header.timestamp))
        .collect();
    // The slow one shows what was six pictures before. Time is told to the millisecond.
    let expected = 3000 * u32::from(LATE + 1);
    assert!(steps.len() == 1 && steps[0].abs_diff(expected) < 400, "{steps:?}, and not {expected}");
}

/// A picture of VP8 of one of two temporal layers; the upper may be taken up with any of its pictures (RFC 7741, Y).
fn layered(number: u16, is_key: bool) -> Sent {
    let temporal = u8::try_from(number % 2).unwrap();
    let [high, low] = number.to_be_bytes();
    let base = u8::try_from(number / 2 % 256).unwrap();
    let mut payload = vec![0x90, 0xe0, high | 0x80, low, base, temporal << 6 | 0x20, u8::from(!is_key)];
    payload.resize(600, 0x55);
    Sent { payload_type: 101, number: number.into(), timestamp: u32::from(number) * 3000, payload, level: None }
}

#[test]
fn a_part_of_the_frame_rate_is_left_out_without_a_gap() {
    let mut call = Call::new();
    let producer = call.world.produce(call.sender, Kind::Video, video()).unwrap();
    let eye = call.world.consume(call.receiver, &producer).unwrap();
    let id = eye.id.to_string();
    call.act(&id, ConsumerAction::Resume);
    let film = |call: &mut Call, numbers: std::ops::Range<u16>| {
        let before = call.received();
        for number in numbers {
            let requests = &mut call.world.clients[call.sender].keyframe_requests;
            let asked = number % 2 == 0 && std::mem::take(requests) > 0;
            call.world.send(call.sender, 6000, layered(number, asked));
            call.world.pass(Duration::from_millis(33));
        }
        call.world.pass(Duration::from_millis(100));
        let received = &call.world.clients[call.receiver].received[before..];
        let upper = received.iter().filter(|packet| packet.payload[5] >> 6 == 1).count();
        (received.len() - upper, upper)
    };
    let (lower, upper) = film(&mut call, 0..60);
    assert!(lower >= 20 && upper >= 20, "{lower} and {upper}");
    call.act(&id, ConsumerAction::Layers { spatial: 0, temporal: Some(0) });
    assert_eq!(film(&mut call, 60..120), (30, 0));
    call.act(&id, ConsumerAction::Layers { spatial: 0, temporal: None });
    assert_eq!(film(&mut call, 120..180), (30, 30));
    assert_unbroken(&call);
}
