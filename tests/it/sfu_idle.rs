//! The timers of transports with nothing to send.

use std::time::Duration;

use parlor::sfu::parameters::TrackKind;
use parlor::sfu::{Direction, PollOutput};

use crate::sfu::Call;
use crate::support::media::{World, member, video, video_packet};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn silent_receiver_has_few_timers() {
    let mut world = World::new();
    world.connected(&member("room", "ann"), Direction::Receive);
    world.advance(5 * SECOND);
    // From now on the client sends nothing. ICE would end after fifteen seconds.
    let (mut now, until, mut turns) = (world.now, world.now + 10 * SECOND, 0);
    let mut output = PollOutput::default();
    while now < until {
        turns += 1;
        world.sfu.poll(now, &mut output);
        now = output.next.expect("a connected transport has a timer").max(now);
    }
    assert!((2..=7).contains(&turns), "{turns} turns in ten seconds");
}

/// A client that misses the last packet requests it when the server is already idle.
#[test]
fn idle_transport_retransmits_and_resumes_at_once() {
    let mut call = Call::consuming(TrackKind::Video, video());
    call.send_video(0..150);
    call.world.advance(5 * SECOND);
    let (before, trip) = (call.received(), 2 * call.world.delay + Duration::from_millis(5));
    call.world.send(call.sender, 6000, video_packet(150, 150, false, 900));
    call.world.advance(trip);
    assert_eq!(call.received() - before, 1, "the first packet after a pause");
    // All datagrams are lost for a while.
    call.world.loss = 1000;
    call.world.send(call.sender, 6000, video_packet(151, 151, false, 900));
    call.world.advance(trip);
    call.world.loss = 0;
    assert_eq!(call.received() - before, 1);
    // The sender repeats its packet on request, and the receiver gets it and the next one.
    call.world.send(call.sender, 6000, video_packet(152, 152, false, 900));
    call.world.advance(SECOND / 2);
    assert_eq!(call.received() - before, 3, "lost packets are requested and sent again");
}
