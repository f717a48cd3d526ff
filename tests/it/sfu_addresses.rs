//! Address validation: media is sent only to addresses that the client has proved to own.

use std::net::SocketAddr;
use std::time::Duration;

use parlor::sfu::parameters::TrackKind;
use parlor::sfu::{ConsumerAction, Direction, MediaRequest};

use crate::sfu::Call;
use crate::support::media::{audio, audio_packet, is_rtp, member};
use crate::support::stun::nomination;

fn elsewhere() -> SocketAddr {
    "203.0.113.9:9".parse().unwrap()
}

/// A call with one audio producer.
struct AudioCall {
    call: Call,
    sent_packets: u64,
}

impl AudioCall {
    fn new() -> Self {
        let call = Call::consuming(TrackKind::Audio, audio());
        let mut call = Self { call, sent_packets: 0 };
        assert_eq!(call.receives(20), 20);
        call
    }

    /// Sends packets, and returns how many of them arrive.
    fn receives(&mut self, packets: usize) -> usize {
        let before = self.call.received();
        for _ in 0..packets {
            self.call.world.send(self.call.sender, 5000, audio_packet(self.sent_packets, -30));
            self.sent_packets += 1;
            self.call.world.advance(Duration::from_millis(20));
        }
        self.call.world.advance(Duration::from_millis(100));
        self.call.received() - before
    }
}

#[test]
fn nomination_alone_does_not_move_media() {
    let mut call = AudioCall::new();
    let receiver = call.call.receiver;
    let mut received_bytes = 0;
    for _ in 0..4 {
        let request = nomination(&call.call.world.clients[receiver].ice);
        received_bytes += request.len();
        call.call.world.receive(elsewhere(), &request);
        assert_eq!(call.receives(50), 50, "the client loses no packet");
    }
    let sent = call.call.world.sent_to[&elsewhere()];
    assert_eq!(sent.binding_responses, 4);
    assert!(
        sent.rtp > 0 && sent.bytes <= 4 * received_bytes,
        "three times the received bytes, and the responses: {sent:?} for {received_bytes}"
    );
    let before = sent.rtp;
    assert_eq!(call.receives(100), 100);
    assert_eq!(
        call.call.world.sent_to[&elsewhere()].rtp,
        before,
        "nothing more was received from there"
    );
    assert!(call.call.world.sfu.stats().forwarded >= 320);
}

#[test]
fn replayed_packets_do_not_move_media() {
    let mut call = AudioCall::new();
    call.call.world.record = true;
    call.receives(50);
    call.call.world.record = false;
    let recorded = std::mem::take(&mut call.call.world.recorded);
    for client in [call.call.receiver, call.call.sender] {
        let request = nomination(&call.call.world.clients[client].ice);
        call.call.world.receive(elsewhere(), &request);
        for datagram in recorded.iter().filter(|datagram| datagram[0] > 3) {
            call.call.world.receive(elsewhere(), datagram);
        }
        assert_eq!(call.receives(100), 100);
    }
    let received_bytes: usize =
        recorded.iter().map(|datagram| datagram.len() * 2).sum::<usize>() + 400;
    let sent = call.call.world.sent_to[&elsewhere()];
    assert!(sent.bytes <= 3 * received_bytes, "{sent:?} for {received_bytes}");
}

#[test]
fn media_follows_client_to_new_address() {
    let mut call = AudioCall::new();
    let (receiver, sender) = (call.call.receiver, call.call.sender);
    for (round, client) in [receiver, sender, receiver].into_iter().enumerate() {
        let old = call.call.world.clients[client].address;
        let new: SocketAddr = format!("203.0.113.7:{}", 1000 + round).parse().unwrap();
        call.call.world.clients[client].address = new;
        call.call.world.restart_ice(client);
        // Its next binding request reveals the new address.
        call.receives(200);
        assert_eq!(call.receives(50), 50, "round {round}");
        let to_old = call.call.world.sent_to[&old].bytes;
        assert_eq!(call.receives(50), 50);
        assert_eq!(
            call.call.world.sent_to[&old].bytes, to_old,
            "nothing is sent to the old address"
        );
    }
}

#[test]
fn ice_restart_keeps_addresses_of_other_transports() {
    let mut call = Call::new();
    let world = &mut call.world;
    let (eve, ben) = (member("elsewhere", "eve"), member("room", "ben"));
    let thief = world.transport(&eve, Direction::Receive);
    let receiver = world.transport(&ben, Direction::Receive);
    let shared = world.clients[receiver].address;
    // Eve's client sends nothing by itself.
    world.clients[thief].rtc.disconnect();
    // The address was Eve's before it became Ben's.
    let request = nomination(&world.clients[thief].ice);
    world.receive(shared, &request);
    world.connect(receiver).unwrap();
    world.until("connected", |world| world.clients[receiver].is_connected);
    let producer = world.produce(call.sender, TrackKind::Audio, audio()).unwrap();
    let consumer = call.world.consume(receiver, &producer).unwrap();
    let resume = MediaRequest::Consumer(consumer.id.to_string(), ConsumerAction::Resume);
    call.world.ask(&ben, resume).unwrap();
    let assert_media_continues = |call: &mut Call, sent_packets: std::ops::Range<u64>| {
        let (ignored, before) =
            (call.world.sfu.stats().ignored, call.world.clients[receiver].received.len());
        for number in sent_packets {
            call.world.send(call.sender, 5000, audio_packet(number, -30));
            call.world.advance(Duration::from_millis(20));
        }
        call.world.advance(Duration::from_millis(100));
        assert_eq!(call.world.clients[receiver].received.len() - before, 50);
        assert_eq!(call.world.sfu.stats().ignored, ignored, "the address still belongs to Ben");
    };
    assert_media_continues(&mut call, 0..50);
    for _ in 0..2 {
        let transport = call.world.clients[thief].id.clone();
        call.world.ask(&eve, MediaRequest::RestartIce { transport }).unwrap();
    }
    assert_media_continues(&mut call, 50..100);
    call.world.sfu.remove_peer(&eve.room, eve.connection);
    assert_media_continues(&mut call, 100..150);
}

/// No handshake datagram is dropped by the limit for unvalidated addresses.
#[test]
fn handshake_fits_into_amplification_limit() {
    let mut call = Call::new();
    let receiver = call.world.transport(&member("room", "cleo"), Direction::Receive);
    call.world.connect(receiver).unwrap();
    call.world.record = true;
    call.world.until("connected", |world| world.clients[receiver].is_connected);
    assert_eq!(call.world.sfu.stats().unvalidated, 0);
    assert!(call.world.recorded.iter().any(|datagram| !is_rtp(datagram)));
}
