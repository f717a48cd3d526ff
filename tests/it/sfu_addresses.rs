//! Where media is sent: to addresses that its client has shown to be its own.

use std::net::SocketAddr;
use std::time::Duration;

use parlor::sfu::parameters::Kind;
use parlor::sfu::{ConsumerAction, Direction, Request};

use crate::sfu::Call;
use crate::support::media::{audio, is_rtp, member, sound};
use crate::support::stun::nomination;

fn elsewhere() -> SocketAddr {
    "203.0.113.9:9".parse().unwrap()
}

/// A call in which one speaks.
struct Talk {
    call: Call,
    said: u64,
}

impl Talk {
    fn new() -> Self {
        let mut call = Call::new();
        let producer = call.world.produce(call.sender, Kind::Audio, audio()).unwrap();
        let consumer = call.world.consume(call.receiver, &producer).unwrap();
        call.act(&consumer.id.to_string(), ConsumerAction::Resume);
        let mut talk = Self { call, said: 0 };
        assert_eq!(talk.hears(20), 20);
        talk
    }

    /// How many of so many packets are heard.
    fn hears(&mut self, packets: usize) -> usize {
        let before = self.call.received();
        for _ in 0..packets {
            self.call.world.send(self.call.sender, 5000, sound(self.said, -30));
            self.said += 1;
            self.call.world.pass(Duration::from_millis(20));
        }
        self.call.world.pass(Duration::from_millis(100));
        self.call.received() - before
    }
}

#[test]
fn a_nomination_alone_does_not_move_media() {
    let mut talk = Talk::new();
    let receiver = talk.call.receiver;
    let mut came = 0;
    for _ in 0..4 {
        let request = nomination(&talk.call.world.clients[receiver].ice);
        came += request.len();
        talk.call.world.receive(elsewhere(), &request);
        assert_eq!(talk.hears(50), 50, "the client misses nothing");
    }
    let sent = talk.call.world.sent_to[&elsewhere()];
    assert_eq!(sent.answers, 4);
    assert!(sent.rtp > 0 && sent.bytes <= 4 * came, "three times what came, and the answers: {sent:?} for {came}");
    let before = sent.rtp;
    assert_eq!(talk.hears(100), 100);
    assert_eq!(talk.call.world.sent_to[&elsewhere()].rtp, before, "nothing more comes from there");
    assert!(talk.call.world.sfu.figures().forwarded >= 320);
}

#[test]
fn overheard_packets_do_not_move_media() {
    let mut talk = Talk::new();
    talk.call.world.record = true;
    talk.hears(50);
    talk.call.world.record = false;
    let overheard = std::mem::take(&mut talk.call.world.recorded);
    for client in [talk.call.receiver, talk.call.sender] {
        let request = nomination(&talk.call.world.clients[client].ice);
        talk.call.world.receive(elsewhere(), &request);
        for datagram in overheard.iter().filter(|datagram| datagram[0] > 3) {
            talk.call.world.receive(elsewhere(), datagram);
        }
        assert_eq!(talk.hears(100), 100);
    }
    let came: usize = overheard.iter().map(|datagram| datagram.len() * 2).sum::<usize>() + 400;
    let sent = talk.call.world.sent_to[&elsewhere()];
    assert!(sent.bytes <= 3 * came, "{sent:?} for {came}");
}

#[test]
fn media_follows_a_client_to_a_new_address() {
    let mut talk = Talk::new();
    let (receiver, sender) = (talk.call.receiver, talk.call.sender);
    for (round, client) in [receiver, sender, receiver].into_iter().enumerate() {
        let old = talk.call.world.clients[client].address;
        let new: SocketAddr = format!("203.0.113.7:{}", 1000 + round).parse().unwrap();
        talk.call.world.clients[client].address = new;
        talk.call.world.restart_ice(client);
        // Its next request of ICE tells of it.
        talk.hears(200);
        assert_eq!(talk.hears(50), 50, "round {round}");
        let to_old = talk.call.world.sent_to[&old].bytes;
        assert_eq!(talk.hears(50), 50);
        assert_eq!(talk.call.world.sent_to[&old].bytes, to_old, "nothing goes to where it was");
    }
}

#[test]
fn an_ice_restart_leaves_addresses_of_other_transports() {
    let mut call = Call::new();
    let world = &mut call.world;
    let (eve, ben) = (member("elsewhere", "eve"), member("room", "ben"));
    let thief = world.transport(&eve, Direction::Receive);
    let ear = world.transport(&ben, Direction::Receive);
    let shared = world.clients[ear].address;
    // Her client sends nothing of its own.
    world.clients[thief].rtc.disconnect();
    // Eve has been at this address, before it became Ben's.
    let request = nomination(&world.clients[thief].ice);
    world.receive(shared, &request);
    world.connect(ear).unwrap();
    world.until("connected", |world| world.clients[ear].is_connected);
    let producer = world.produce(call.sender, Kind::Audio, audio()).unwrap();
    let consumer = call.world.consume(ear, &producer).unwrap();
    let resume = Request::Consumer(consumer.id.to_string(), ConsumerAction::Resume);
    call.world.ask(&ben, resume).unwrap();
    let goes_on = |call: &mut Call, said: std::ops::Range<u64>| {
        let (ignored, heard) = (call.world.sfu.figures().ignored, call.world.clients[ear].received.len());
        for number in said {
            call.world.send(call.sender, 5000, sound(number, -30));
            call.world.pass(Duration::from_millis(20));
        }
        call.world.pass(Duration::from_millis(100));
        assert_eq!(call.world.clients[ear].received.len() - heard, 50);
        assert_eq!(call.world.sfu.figures().ignored, ignored, "what comes from there is still Ben's");
    };
    goes_on(&mut call, 0..50);
    for _ in 0..2 {
        let transport = call.world.clients[thief].id.clone();
        call.world.ask(&eve, Request::RestartIce { transport }).unwrap();
    }
    goes_on(&mut call, 50..100);
    call.world.sfu.leave(&eve.room, eve.connection);
    goes_on(&mut call, 100..150);
}

/// A handshake fits into what may be sent before an address is valid.
#[test]
fn a_handshake_needs_no_retransmission() {
    let mut call = Call::new();
    let ear = call.world.transport(&member("room", "cleo"), Direction::Receive);
    call.world.connect(ear).unwrap();
    call.world.record = true;
    call.world.until("connected", |world| world.clients[ear].is_connected);
    assert_eq!(call.world.sfu.figures().unvalidated, 0);
    assert!(call.world.recorded.iter().any(|datagram| !is_rtp(datagram)));
}
