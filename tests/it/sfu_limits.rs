//! How much one client may ask of the media server, in memory.

use std::time::{Duration, Instant};

use parlor::sfu::parameters::Kind;
use parlor::sfu::{
    Answer, Asker, Audience, ConsumerAction, Direction, MediaEvent, Notice, Outputs, Problem, Request, Settings,
};

use crate::sfu::Call;
use crate::support::media::{Sent, World, audio, client_rtc, member, settings, sound};
use crate::support::stun::nomination;

const SECOND: Duration = Duration::from_secs(1);

fn create(world: &mut World, asker: &Asker, direction: Direction) -> Result<String, Problem> {
    let created = world.ask(asker, Request::CreateTransport { direction, capabilities: None });
    match created {
        Ok(Answer::TransportCreated { id, .. }) => Ok(id.to_string()),
        Err(error) => Err(error.problem),
        other => panic!("{other:?}"),
    }
}

fn close(world: &mut World, asker: &Asker, transport: String) {
    world.ask(asker, Request::CloseTransport { transport }).unwrap();
}

/// The transports of which a peer was told that they have failed.
fn failed(world: &World, asker: &Asker) -> Vec<String> {
    let failed = |notice: &Notice| match notice.event {
        MediaEvent::TransportFailed(id) if notice.to == Audience::One(asker.connection) => Some(id.to_string()),
        _ => None,
    };
    world.notices.iter().filter_map(failed).collect()
}

#[test]
fn a_connection_creates_transports_at_a_limited_rate() {
    let mut world = World::new();
    let eve = member("room", "eve");
    let elsewhere = Asker { room: member("elsewhere", "eve").room, ..eve.clone() };
    for number in 0..40 {
        // What it creates in all its rooms counts, and leaving them does not help.
        let asker = if number % 2 == 0 { &eve } else { &elsewhere };
        let transport = create(&mut world, asker, Direction::Receive).unwrap();
        close(&mut world, asker, transport);
        world.sfu.leave(&asker.room, asker.connection);
    }
    assert_eq!(create(&mut world, &eve, Direction::Send), Err(Problem::TooFast { seconds: 1 }));
    assert_eq!(world.sfu.figures().creations_over_rate, 1);
    create(&mut world, &member("room", "ann"), Direction::Send).expect("others are not concerned");
    world.pass(SECOND);
    let created = (0..9).filter(|_| create(&mut world, &eve, Direction::Receive).is_ok()).count();
    assert_eq!(created, 2);
}

#[test]
fn transports_that_do_not_connect_end() {
    let mut world = World::new();
    world.step = Duration::from_millis(100);
    let ann = member("room", "ann");
    let mut make = |direction| create(&mut world, &ann, direction).unwrap();
    let [first, second, other_way] = [Direction::Receive, Direction::Receive, Direction::Send].map(&mut make);
    world.pass(29 * SECOND);
    assert_eq!(failed(&world, &ann), [] as [&str; 0]);
    world.pass(2 * SECOND);
    assert_eq!(failed(&world, &ann), [first], "the latest of each direction may wait");
    assert_eq!((world.sfu.figures().transports, world.sfu.figures().connect_timeouts), (2, 1));
    // Nothing is done for those that wait.
    let mut outputs = Outputs::default();
    world.sfu.poll(world.now, &mut outputs);
    assert!(outputs.next.is_none_or(|next| next > world.now + Duration::from_mins(30)), "{:?}", outputs.next);
    world.notices.clear();
    // A newer one for the same begins the time of the older one.
    let third = create(&mut world, &ann, Direction::Receive).unwrap();
    world.pass(31 * SECOND);
    assert_eq!(failed(&world, &ann), [second]);
    // And so does asking to connect.
    world.notices.clear();
    let dtls = world.transport(&member("elsewhere", "bob"), Direction::Receive);
    let dtls = world.clients[dtls].dtls();
    for transport in [&third, &other_way] {
        let request = Request::ConnectTransport { transport: transport.clone(), dtls: dtls.clone() };
        world.ask(&ann, request).unwrap();
    }
    world.pass(31 * SECOND);
    let (mut ended, mut expected) = (failed(&world, &ann), [third, other_way]);
    ended.sort();
    expected.sort();
    assert_eq!(ended, expected);
    assert_eq!(world.sfu.figures().connect_timeouts, 4);
    world.sfu.leave(&ann.room, ann.connection);
    assert_eq!(world.sfu.figures().transports, 1);
}

#[test]
fn a_transport_that_connects_late_stays() {
    let mut world = World::with(Settings { connect_timeout: 2 * SECOND, ..settings() });
    world.step = Duration::from_millis(10);
    let ann = member("room", "ann");
    let created = world.create(&ann, Direction::Receive);
    world.pass(3 * SECOND);
    let now = world.now;
    let late = world.client_of(&ann, created, client_rtc(now));
    world.connect(late).unwrap();
    world.until("connected", |world| world.clients[late].is_connected);
    world.pass(10 * SECOND);
    assert_eq!(failed(&world, &ann), [] as [&str; 0]);
    assert!(world.sfu.figures().transports == 1 && world.clients[late].is_connected);
}

#[test]
fn a_full_server_ends_what_is_hoarded_first() {
    let mut world = World::with(Settings { max_transports: 8, ..settings() });
    let ann = member("room", "ann");
    let connected = [0; 2].map(|_| world.connected(&ann, Direction::Receive));
    let one = member("one", "eve");
    let two = Asker { room: member("two", "eve").room, ..one.clone() };
    let mut hoarded = Vec::new();
    for asker in [&one, &one, &one, &one, &two, &two] {
        hoarded.push(create(&mut world, asker, Direction::Receive).unwrap());
    }
    let mut others = Vec::new();
    for name in ["bob", "cleo"] {
        let peer = member("room", name);
        for direction in [Direction::Send, Direction::Receive] {
            create(&mut world, &peer, direction).unwrap();
        }
        others.push(peer);
    }
    assert_eq!(failed(&world, &one), hoarded[..4], "the oldest first");
    let late = create(&mut world, &member("room", "dora"), Direction::Send);
    assert_eq!(late, Err(Problem::TooMany { what: "transports on this server", max: 8 }));
    assert_eq!(world.sfu.figures().transports_over_limit, 5);
    assert!(connected.iter().all(|client| world.clients[*client].is_connected));
    for peer in others.iter().chain([&ann]) {
        assert_eq!(failed(&world, peer), [] as [&str; 0]);
    }
}

#[test]
fn small_packets_count_in_full() {
    let mut call = Call::new();
    let producer = call.world.produce(call.sender, Kind::Audio, audio()).unwrap();
    let ear = call.world.consume(call.receiver, &producer).unwrap();
    call.act(&ear.id.to_string(), ConsumerAction::Resume);
    let mut number = 0;
    for _ in 0..500 {
        for _ in 0..8 {
            let tiny = Sent { payload: vec![1], level: None, ..sound(number, -30) };
            call.world.send(call.sender, 5000, tiny);
            number += 1;
        }
        call.world.pass(Duration::from_millis(1));
    }
    call.world.pass(Duration::from_millis(100));
    let figures = call.world.sfu.figures();
    // At 500 a second, and 125 at once.
    assert!((300..450).contains(&figures.forwarded), "{figures:?}");
    assert!(figures.over_limit > 3000, "{figures:?}");
    call.world.pass(SECOND);
    let before = call.received();
    for _ in 0..50 {
        call.world.send(call.sender, 5000, sound(number, -30));
        number += 1;
        call.world.pass(Duration::from_millis(20));
    }
    call.world.pass(Duration::from_millis(100));
    assert_eq!(call.received() - before, 50, "it may go on as others do");
}

#[test]
fn binding_requests_are_answered_within_a_budget() {
    let mut call = Call::new();
    let (receiver, from) = (call.receiver, "203.0.113.9:9".parse().unwrap());
    let request = nomination(&call.world.clients[receiver].ice);
    for _ in 0..5000 {
        call.world.receive(from, &request);
        call.world.pass(Duration::from_millis(1));
    }
    let (answers, figures) = (call.world.sent_to[&from].answers, call.world.sfu.figures());
    // 128 at once, and 25 a second; the client's own are among them.
    assert!((200..=254).contains(&answers), "{answers}");
    assert!(figures.checks_over_limit > 4700, "{figures:?}");
    call.world.pass(20 * SECOND);
    assert!(call.world.notices.iter().all(|notice| !matches!(notice.event, MediaEvent::TransportFailed(_))));
}

/// Anybody can send these in the name of a client whose ufrag they have seen.
#[test]
fn requests_with_a_bad_signature_use_up_no_budget() {
    let mut world = World::new();
    let client = world.transport(&member("room", "ann"), Direction::Receive);
    let mut ice = world.clients[client].ice.clone();
    ice.pass = "not the password at all".to_owned();
    let (request, own) = (nomination(&ice), world.clients[client].address);
    let before = world.sfu.figures().ignored;
    for _ in 0..1000 {
        world.receive(own, &request);
    }
    assert_eq!(world.sfu.figures().ignored - before, 1000);
    world.connect(client).unwrap();
    let began: Instant = world.now;
    world.until("connected", |world| world.clients[client].is_connected);
    assert!(world.now - began < SECOND);
    assert_eq!(world.sfu.figures().checks_over_limit, 0);
}
