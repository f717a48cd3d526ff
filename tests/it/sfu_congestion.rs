//! Congested paths to clients that receive video with a single layer, in memory.

use std::time::Duration;

use parlor::sfu::ConsumerAction;
use parlor::sfu::parameters::TrackKind;

use crate::sfu::Call;
use crate::support::media::{audio, audio_packet, video, video_packet};

/// Intervals of audio packets and of frames.
const INTERVAL: Duration = Duration::from_millis(20);

/// Audio packets, and frames, per second.
const PER_SECOND: usize = 50;

/// Packets of a frame. Video has a bitrate of 920 kbit/s, audio with its headers 60.
const PARTS: u64 = 2;

/// Bandwidth of the congested path, in bytes per second.
const NARROW: usize = 300_000 / 8;

/// A call with audio, and video of one layer.
struct AudioAndVideo {
    call: Call,
    sent: u64,
}

/// Numbers of packets that arrive within a second.
#[derive(Debug)]
struct Second {
    audio: usize,
    video: usize,
}

impl AudioAndVideo {
    fn new() -> Self {
        let mut call = Call::new();
        for (kind, parameters) in [(TrackKind::Audio, audio()), (TrackKind::Video, video())] {
            let producer = call.world.produce(call.sender, kind, parameters).unwrap();
            let consumer = call.world.consume(call.receiver, &producer).unwrap();
            call.act(&consumer.id.to_string(), ConsumerAction::Resume);
        }
        Self { call, sent: 0 }
    }

    fn limit(&mut self, bytes_per_second: Option<usize>) {
        self.call.world.bandwidth_limit = bytes_per_second.map(|rate| (self.call.receiver, rate));
    }

    fn second(&mut self) -> Second {
        let Call { world, sender, receiver } = &mut self.call;
        world.clients[*receiver].received.clear();
        for _ in 0..PER_SECOND {
            let number = self.sent;
            self.sent += 1;
            world.send(*sender, 5000, audio_packet(number, -30));
            let is_key = std::mem::take(&mut world.clients[*sender].keyframe_requests) > 0;
            let frame = u16::try_from(number).unwrap();
            for part in 0..PARTS {
                let mut packet = video_packet(number * PARTS + part, frame, is_key, 1100);
                if part > 0 {
                    packet.payload[0] = 0x80;
                }
                world.send(*sender, 6000, packet);
            }
            world.advance(INTERVAL);
        }
        let received = &world.clients[*receiver].received;
        let video = received.iter().filter(|packet| *packet.header.payload_type == 101).count();
        Second { audio: received.len() - video, video }
    }

    fn seconds(&mut self, count: usize) -> Vec<Second> {
        (0..count).map(|_| self.second()).collect()
    }
}

/// Asserts that audio is complete: in each second, and 99 % in total.
fn assert_whole(seconds: &[Second]) {
    assert!(seconds.iter().all(|second| second.audio >= PER_SECOND * 9 / 10), "{seconds:?}");
    assert_none_lost(seconds);
}

/// Asserts that 99 % of the audio arrives, with delay.
fn assert_none_lost(seconds: &[Second]) {
    let audio: usize = seconds.iter().map(|second| second.audio).sum();
    assert!(audio >= seconds.len() * PER_SECOND * 99 / 100, "{seconds:?}");
}

/// Asserts that video is received, and returns to its full rate.
fn assert_video_returns(seconds: &[Second]) {
    let full = usize::try_from(PARTS).unwrap() * PER_SECOND * 9 / 10;
    assert!(seconds.iter().rev().take(5).all(|second| second.video >= full), "{seconds:?}");
}

#[test]
fn audio_is_whole_on_path_that_is_too_narrow_for_video() {
    let mut media = AudioAndVideo::new();
    media.limit(Some(NARROW));
    media.seconds(3);
    assert_whole(&media.seconds(40));
    media.limit(None);
    let seconds = media.seconds(40);
    assert_whole(&seconds);
    assert_video_returns(&seconds);
}

#[test]
fn video_is_suspended_when_path_becomes_narrow() {
    let mut media = AudioAndVideo::new();
    let seconds = media.seconds(10);
    assert_whole(&seconds[1..]);
    assert_video_returns(&seconds);
    media.limit(Some(NARROW));
    // Until most of the video has been retransmitted for a while.
    media.seconds(2);
    let seconds = media.seconds(30);
    assert_none_lost(&seconds);
    // Packets that are queued on the path delay audio once more: sequence numbers and the time of
    // the suspension are random.
    assert_whole(&seconds[3..]);
    media.limit(None);
    let seconds = media.seconds(40);
    assert_whole(&seconds);
    assert_video_returns(&seconds);
}

#[test]
fn path_that_is_wide_enough_keeps_video() {
    let mut media = AudioAndVideo::new();
    media.limit(Some(1_500_000 / 8));
    let seconds = media.seconds(30);
    assert_whole(&seconds[2..]);
    let full = usize::try_from(PARTS).unwrap() * PER_SECOND * 8 / 10;
    assert!(seconds[3..].iter().all(|second| second.video >= full), "{seconds:?}");
}

#[test]
fn random_loss_on_wide_path_does_not_suspend_video() {
    let mut media = AudioAndVideo::new();
    media.seconds(5);
    (media.call.world.loss, media.call.world.delay) = (50, Duration::from_millis(20));
    let seconds = media.seconds(20);
    let most = usize::try_from(PARTS).unwrap() * PER_SECOND * 6 / 10;
    assert!(seconds[1..].iter().all(|second| second.video >= most), "{seconds:?}");
}

#[test]
fn nothing_is_sent_while_producers_are_silent() {
    let mut media = AudioAndVideo::new();
    media.seconds(10);
    let Call { world, receiver, .. } = &mut media.call;
    world.advance(Duration::from_secs(1));
    let before = world.clients[*receiver].rtp_datagrams;
    world.advance(Duration::from_secs(10));
    assert_eq!(world.clients[*receiver].rtp_datagrams, before, "no padding");
}
