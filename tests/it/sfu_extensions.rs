//! Header extensions of RTP, in memory: which numbers they have, and what is made of numbers that do not fit.

use std::time::Duration;

use parlor::sfu::parameters::Kind;
use parlor::sfu::{ConsumerAction, Direction, Problem};
use serde_json::{Value, json};

use crate::sfu::{Call, FRAME, film_in_layers};
use crate::support::media::{Sent, audio, member, picture, rtc_with_extensions, simulcast, sound, video};

fn extensions(declared: &[(&str, u16)]) -> Value {
    declared.iter().map(|(uri, id)| json!({ "uri": uri, "id": id })).collect()
}

const MID: &str = "urn:ietf:params:rtp-hdrext:sdes:mid";
const RID: &str = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id";
const REPAIRED_RID: &str = "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id";
const LEVEL: &str = "urn:ietf:params:rtp-hdrext:ssrc-audio-level";
const ORIENTATION: &str = "urn:3gpp:video-orientation";

/// As Chromium does where pictures come first: their extensions have other ids than were announced.
#[test]
fn the_first_track_says_how_extensions_are_numbered() {
    let mut call = Call::new();
    let dora = member("room", "dora");
    let rtc = rtc_with_extensions(call.world.now, [9, 10, 11, 2, 4, 14, 3]);
    call.sender = call.world.transport_of(&dora, Direction::Send, rtc);
    call.world.connect(call.sender).unwrap();
    call.world.pass(Duration::from_secs(2));
    assert!(!call.world.clients[call.sender].is_connected, "nobody is answered before");
    let mut pictures = simulcast();
    pictures["headerExtensions"] = extensions(&[(MID, 9), (RID, 10), (ORIENTATION, 3)]);
    let pictures = call.world.produce(call.sender, Kind::Video, pictures).unwrap();
    let eye = call.world.consume(call.receiver, &pictures).unwrap();
    call.act(&eye.id.to_string(), ConsumerAction::Resume);
    film_in_layers(&mut call, 0, 60);
    assert!(call.received() > 40, "{}", call.received());
    assert_eq!(call.world.clients[call.receiver].received[0].header.ext_vals.audio_level, None);
    call.act(&eye.id.to_string(), ConsumerAction::Close);
    call.world.pass(Duration::from_millis(100));
    call.world.clients[call.receiver].received.clear();

    let mut voice = audio();
    voice["headerExtensions"] = extensions(&[(MID, 9), (LEVEL, 14)]);
    let voice = call.world.produce(call.sender, Kind::Audio, voice).unwrap();
    let ear = call.world.consume(call.receiver, &voice).unwrap();
    call.act(&ear.id.to_string(), ConsumerAction::Resume);
    for number in 0..10 {
        call.world.send(call.sender, 5000, sound(number, -30));
        call.world.pass(Duration::from_millis(20));
    }
    call.world.pass(Duration::from_millis(100));
    let heard = &call.world.clients[call.receiver].received;
    assert_eq!(heard.len(), 10);
    assert_eq!(heard[0].header.ext_vals.audio_level, Some(-30));
}

#[test]
fn a_later_track_may_do_without_extensions_that_do_not_fit() {
    let mut call = Call::new();
    call.world.produce(call.sender, Kind::Audio, audio()).unwrap();
    // Where the transport has the level of sound.
    let mut pictures = video();
    pictures["headerExtensions"] = extensions(&[(MID, 1), (ORIENTATION, 10)]);
    let pictures = call.world.produce(call.sender, Kind::Video, pictures).unwrap();
    let eye = call.world.consume(call.receiver, &pictures).unwrap();
    call.act(&eye.id.to_string(), ConsumerAction::Resume);
    for number in 0..30 {
        let asked = std::mem::take(&mut call.world.clients[call.sender].keyframe_requests) > 0;
        let sent = Sent { level: Some(-1), ..picture(number.into(), number, asked, 900) };
        call.world.send(call.sender, 6000, sent);
        call.world.pass(FRAME);
    }
    assert!(call.received() > 20, "{}", call.received());
    assert_eq!(call.world.clients[call.receiver].received[0].header.ext_vals.audio_level, None, "not misread");
    for declared in [[(MID, 7), (LEVEL, 10)], [(MID, 1), (LEVEL, 5)]] {
        let mut other = audio();
        (other["mid"], other["encodings"]) = (json!("other"), json!([{ "ssrc": 9 }]));
        other["headerExtensions"] = extensions(&declared);
        let error = call.world.produce(call.sender, Kind::Audio, other).unwrap_err();
        assert!(matches!(error.problem, Problem::NotAnnounced { .. }), "{declared:?}: {error}");
    }
}

#[test]
fn extensions_of_numbers_that_there_are_not_are_as_good_as_not_there() {
    let mut call = Call::new();
    // It says the names of streams where the transport does not look.
    let rtc = rtc_with_extensions(call.world.now, [1, 13, 14, 4, 5, 10, 11]);
    call.sender = call.world.transport_of(&member("room", "dora"), Direction::Send, rtc);
    call.world.connect(call.sender).unwrap();
    let odd = extensions(&[(MID, 1), (RID, 200), (REPAIRED_RID, 17), ("urn:of:something-else", 65_535)]);
    let mut pictures = simulcast();
    pictures["headerExtensions"] = odd;
    let error = call.world.produce(call.sender, Kind::Video, pictures.clone()).unwrap_err().to_string();
    assert!(error.starts_with("rtpParameters.encodings: streams are told apart by rid"), "{error}");
    // Their sources tell them apart as well.
    for (number, encoding) in (7000..).zip(pictures["encodings"].as_array_mut().unwrap()) {
        (encoding["ssrc"], encoding["rtx"]) = (json!(number), json!({ "ssrc": number + 100 }));
    }
    let pictures = call.world.produce(call.sender, Kind::Video, pictures).unwrap();
    let eye = call.world.consume(call.receiver, &pictures).unwrap();
    call.act(&eye.id.to_string(), ConsumerAction::Resume);
    film_in_layers(&mut call, 0, 60);
    assert!(call.received() > 40, "{}", call.received());
    let mut voice = audio();
    voice["headerExtensions"] = extensions(&[(MID, 300)]);
    call.world.produce(call.sender, Kind::Audio, voice).unwrap();
}
