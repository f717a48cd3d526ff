//! Limits per client and per server, in memory.

use std::time::{Duration, Instant};

use parlor::sfu::parameters::TrackKind;
use parlor::sfu::{
    Direction, MediaEvent, MediaRequest, MediaResponse, Notice, NoticeTarget, PollOutput,
    RoomMember, SfuErrorKind, SfuSettings,
};

use crate::sfu::Call;
use crate::support::media::{
    OutgoingPacket, World, audio, audio_packet, client_rtc, member, settings,
};
use crate::support::stun::nomination;

const SECOND: Duration = Duration::from_secs(1);

fn create(
    world: &mut World,
    member: &RoomMember,
    direction: Direction,
) -> Result<String, SfuErrorKind> {
    let created = world.ask(member, MediaRequest::CreateTransport { direction });
    match created {
        Ok(MediaResponse::TransportCreated { id, .. }) => Ok(id.to_string()),
        Err(error) => Err(error.kind),
        other => panic!("{other:?}"),
    }
}

fn close(world: &mut World, member: &RoomMember, transport: String) {
    world.ask(member, MediaRequest::CloseTransport { transport }).unwrap();
}

/// Returns the transports of whose failure a peer was notified.
fn failed(world: &World, member: &RoomMember) -> Vec<String> {
    let failed = |notice: &Notice| match notice.event {
        MediaEvent::TransportFailed(id)
            if notice.to == NoticeTarget::One(member.room.clone(), member.connection) =>
        {
            Some(id.to_string())
        }
        _ => None,
    };
    world.notices.iter().filter_map(failed).collect()
}

#[test]
fn transport_creation_is_rate_limited_per_connection() {
    let mut world = World::new();
    let eve = member("room", "eve");
    let elsewhere = RoomMember { room: member("elsewhere", "eve").room, ..eve.clone() };
    for number in 0..40 {
        // Transports of all its rooms count, and leaving a room does not reset the limit.
        let member = if number % 2 == 0 { &eve } else { &elsewhere };
        let transport = create(&mut world, member, Direction::Receive).unwrap();
        close(&mut world, member, transport);
        world.sfu.remove_peer(&member.room, member.connection);
    }
    assert_eq!(
        create(&mut world, &eve, Direction::Send),
        Err(SfuErrorKind::TooFast { seconds: 1 })
    );
    assert_eq!(world.sfu.stats().creations_over_rate, 1);
    create(&mut world, &member("room", "ann"), Direction::Send)
        .expect("other connections are not limited");
    world.advance(SECOND);
    let created = (0..9).filter(|_| create(&mut world, &eve, Direction::Receive).is_ok()).count();
    assert_eq!(created, 2);
}

#[test]
fn unconnected_transports_are_closed_after_timeout() {
    let mut world = World::new();
    world.step = Duration::from_millis(100);
    let ann = member("room", "ann");
    let mut make = |direction| create(&mut world, &ann, direction).unwrap();
    let [first, second, other_way] =
        [Direction::Receive, Direction::Receive, Direction::Send].map(&mut make);
    world.advance(29 * SECOND);
    assert_eq!(failed(&world, &ann), [] as [&str; 0]);
    world.advance(2 * SECOND);
    assert_eq!(failed(&world, &ann), [first], "the newest of each direction may stay idle");
    assert_eq!((world.sfu.stats().transports, world.sfu.stats().connect_timeouts), (2, 1));
    // Idle transports have no timers.
    let mut output = PollOutput::default();
    world.sfu.poll(world.now, &mut output);
    assert!(
        output.next.is_none_or(|next| next > world.now + Duration::from_mins(30)),
        "{:?}",
        output.next
    );
    world.notices.clear();
    // A newer one of the same direction starts the timeout of the older one.
    let third = create(&mut world, &ann, Direction::Receive).unwrap();
    world.advance(31 * SECOND);
    assert_eq!(failed(&world, &ann), [second]);
    // So does a connect request.
    world.notices.clear();
    let dtls = world.transport(&member("elsewhere", "bob"), Direction::Receive);
    let dtls = world.clients[dtls].dtls();
    for transport in [&third, &other_way] {
        let request =
            MediaRequest::ConnectTransport { transport: transport.clone(), dtls: dtls.clone() };
        world.ask(&ann, request).unwrap();
    }
    world.advance(31 * SECOND);
    let (mut ended, mut expected) = (failed(&world, &ann), [third, other_way]);
    ended.sort();
    expected.sort();
    assert_eq!(ended, expected);
    assert_eq!(world.sfu.stats().connect_timeouts, 4);
    world.sfu.remove_peer(&ann.room, ann.connection);
    assert_eq!(world.sfu.stats().transports, 1);
}

#[test]
fn transport_that_connects_late_is_kept() {
    let mut world = World::with(SfuSettings { connect_timeout: 2 * SECOND, ..settings() });
    world.step = Duration::from_millis(10);
    let ann = member("room", "ann");
    let created = world.create(&ann, Direction::Receive);
    world.advance(3 * SECOND);
    let now = world.now;
    let late = world.client_of(&ann, created, client_rtc(now));
    world.connect(late).unwrap();
    world.until("connected", |world| world.clients[late].is_connected);
    world.advance(10 * SECOND);
    assert_eq!(failed(&world, &ann), [] as [&str; 0]);
    assert!(world.sfu.stats().transports == 1 && world.clients[late].is_connected);
}

#[test]
fn full_server_evicts_hoarded_transports_first() {
    let mut world = World::with(SfuSettings { max_transports: 8, ..settings() });
    let ann = member("room", "ann");
    let connected = [0; 2].map(|_| world.connected(&ann, Direction::Receive));
    let one = member("one", "eve");
    let two = RoomMember { room: member("two", "eve").room, ..one.clone() };
    let mut hoarded = Vec::new();
    for member in [&one, &one, &one, &one, &two, &two] {
        hoarded.push(create(&mut world, member, Direction::Receive).unwrap());
    }
    let mut others = Vec::new();
    for name in ["bob", "cleo"] {
        let peer = member("room", name);
        for direction in [Direction::Send, Direction::Receive] {
            create(&mut world, &peer, direction).unwrap();
        }
        others.push(peer);
    }
    assert_eq!(failed(&world, &one), hoarded[..4], "oldest first");
    let late = create(&mut world, &member("room", "dora"), Direction::Send);
    assert_eq!(late, Err(SfuErrorKind::TooMany { what: "transports on this server", max: 8 }));
    assert_eq!(world.sfu.stats().transports_over_limit, 5);
    assert!(connected.iter().all(|client| world.clients[*client].is_connected));
    for peer in others.iter().chain([&ann]) {
        assert_eq!(failed(&world, peer), [] as [&str; 0]);
    }
}

#[test]
fn small_packets_count_towards_packet_limit() {
    let mut call = Call::consuming(TrackKind::Audio, audio());
    let mut number = 0;
    for _ in 0..500 {
        for _ in 0..8 {
            let tiny =
                OutgoingPacket { payload: vec![1], level: None, ..audio_packet(number, -30) };
            call.world.send(call.sender, 5000, tiny);
            number += 1;
        }
        call.world.advance(Duration::from_millis(1));
    }
    call.world.advance(Duration::from_millis(100));
    let stats = call.world.sfu.stats();
    // 500 per second, and a burst of 125.
    assert!((300..450).contains(&stats.forwarded), "{stats:?}");
    assert!(stats.over_limit > 3000, "{stats:?}");
    call.world.advance(SECOND);
    let before = call.received();
    for _ in 0..50 {
        call.world.send(call.sender, 5000, audio_packet(number, -30));
        number += 1;
        call.world.advance(Duration::from_millis(20));
    }
    call.world.advance(Duration::from_millis(100));
    assert_eq!(call.received() - before, 50, "the client is served again");
}

#[test]
fn binding_requests_are_rate_limited() {
    let mut call = Call::new();
    let (receiver, from) = (call.receiver, "203.0.113.9:9".parse().unwrap());
    let request = nomination(&call.world.clients[receiver].ice);
    for _ in 0..5000 {
        call.world.receive(from, &request);
        call.world.advance(Duration::from_millis(1));
    }
    let (responses, stats) = (call.world.sent_to[&from].binding_responses, call.world.sfu.stats());
    // A burst of 128, and 25 per second, including the client's own requests.
    assert!((200..=254).contains(&responses), "{responses}");
    assert!(stats.binding_requests_over_limit > 4700, "{stats:?}");
    call.world.advance(20 * SECOND);
    assert!(
        call.world
            .notices
            .iter()
            .all(|notice| !matches!(notice.event, MediaEvent::TransportFailed(_)))
    );
}

/// Anyone who knows a ufrag can forge such requests.
#[test]
fn requests_with_bad_signature_do_not_count_towards_rate_limit() {
    let mut world = World::new();
    let client = world.transport(&member("room", "ann"), Direction::Receive);
    let mut ice = world.clients[client].ice.clone();
    ice.pass = "not the password at all".to_owned();
    let (request, own) = (nomination(&ice), world.clients[client].address);
    let before = world.sfu.stats().ignored;
    for _ in 0..1000 {
        world.receive(own, &request);
    }
    assert_eq!(world.sfu.stats().ignored - before, 1000);
    world.connect(client).unwrap();
    let began: Instant = world.now;
    world.until("connected", |world| world.clients[client].is_connected);
    assert!(world.now - began < SECOND);
    assert_eq!(world.sfu.stats().binding_requests_over_limit, 0);
}
