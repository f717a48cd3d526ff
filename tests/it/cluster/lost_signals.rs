//! Signals that a node keeps for one that dies: those whose recipients are on other nodes by then
//! are reported to their senders, once.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use parking_lot::Mutex;
use parlor::clock::Moment;
use parlor::cluster::frame::{
    Body, Bounce, InboxMessage, LinkFrame, LogEntry, RemoteSignal, RoomChange, decode,
    encode_entry, encode_frame,
};
use parlor::cluster::node::{JoinRequest, OutgoingSignal, Settings};
use parlor::cluster::{
    Call, CallId, Engine, Host, Incarnation, MediaHost, Member, Membership, Node, Nonce, Queued,
    Refusal, ScriptReply, SignalFailure, Undelivered,
};
use parlor::id::{ConnectionId, PeerId, RoomId};
use parlor::room::{
    Applied, FoundBy, JoinBounds, LeaveReason, Metadata, RoomKind, RoomLimits, Rooms, ShownRoom,
    Signal, SignalKind,
};

use super::{member, record, room};

const LEASE: Duration = Duration::from_secs(10);
const BEAT: Duration = Duration::from_secs(2);

/// The node that dies, and one to which sessions move.
const DYING: Incarnation = Incarnation(50);
const OTHER: Incarnation = Incarnation(60);

/// The connection of the sender, which is on the node of the test.
const SENDER: u128 = 1;

/// Calls to the engine, and reports to sessions.
#[derive(Debug, Default)]
struct Record {
    calls: Vec<(CallId, Call)>,
    published: Vec<(Incarnation, Bytes)>,
    failed: Vec<(u64, u128)>,
    random: u64,
}

type Shared = Arc<Mutex<Record>>;

struct Requests(Shared);

impl Engine for Requests {
    fn connect(&mut self, _: Incarnation, _: u64) {}

    fn call(&mut self, id: CallId, call: &Call) {
        self.0.lock().calls.push((id, call.clone()));
    }

    fn publish(&mut self, to: Incarnation, _: Option<u64>, message: Bytes) {
        self.0.lock().published.push((to, message));
    }
}

struct Sessions {
    rooms: Rooms,
    record: Shared,
}

impl MediaHost for Sessions {}

impl Host for Sessions {
    fn rooms(&self) -> &Rooms {
        &self.rooms
    }

    fn random(&self) -> u64 {
        let mut record = self.record.lock();
        record.random += 1;
        record.random
    }

    fn deliver(&self, _: &Applied, _: Moment) -> Queued {
        Queued::default()
    }

    fn joined(&self, _: &RoomId, _: ConnectionId, outcome: Result<Applied, Refusal>, _: Moment) {
        assert!(outcome.is_ok(), "the join is refused");
    }

    fn removed(&self, _: &RoomId, _: ConnectionId, why: Refusal) {
        panic!("removed: {why:?}");
    }

    fn undelivered(&self, signal: &Undelivered) {
        assert_eq!(signal.from, ConnectionId::from_u128(SENDER));
        assert_eq!(signal.failure, SignalFailure::NotDelivered);
        self.record.lock().failed.push((signal.note, signal.to.to_u128()));
    }

    fn end(&self, connection: ConnectionId) {
        panic!("{connection} ends");
    }

    fn dialect(&self, _: &str) -> Option<&'static str> {
        Some("test")
    }
}

/// A node with one peer, in a room with peers of another node.
struct Bench {
    node: Node,
    record: Shared,
    now: Moment,
    version: u64,
    /// Number of frames that the dying node has sent.
    sent: u64,
    sender: Membership,
}

impl Bench {
    /// Creates a node that is ready, with the members 2 to 4 of the room on the dying node.
    fn new() -> Self {
        let record = Shared::default();
        let rooms = Rooms::new(RoomLimits::default());
        let (sender, nonce) = (ConnectionId::from_u128(SENDER), Nonce(0));
        rooms.connect(sender);
        let host = Arc::new(Sessions { rooms, record: Arc::clone(&record) });
        let settings = Settings { lease: LEASE, kept_bytes: 1 << 20 };
        let node = Node::new(host, Box::new(Requests(Arc::clone(&record))), settings);
        let now = Moment { instant: Instant::now(), time: SystemTime::now() };
        let sender = Membership { connection: sender, nonce };
        let mut bench = Self { node, record, now, version: 4, sent: 0, sender };
        bench.node.tick(bench.now);
        bench.node.connected(bench.now);
        let living = vec![bench.node.incarnation(), DYING, OTHER];
        bench.reply(
            |call| matches!(call, Call::Hello { .. }),
            &ScriptReply::Welcome { epoch: 1, living },
        );
        assert!(bench.node.is_ready());
        bench.join();
        bench
    }

    fn join(&mut self) {
        let request = JoinRequest {
            room: room(),
            connection: self.sender.connection,
            peer: PeerId::new("sender").unwrap(),
            metadata: Metadata::default(),
            kind: RoomKind::Group,
            bounds: JoinBounds::default(),
        };
        self.node.join(self.now, request);
        let joined = self.record.lock().calls.iter().find_map(|(_, call)| match call {
            Call::Join(join) => Some(join.member.clone()),
            _ => None,
        });
        let own = joined.unwrap();
        self.sender = own.membership;
        let others = (2..5).map(|connection| member(connection, 7, DYING.0, 1));
        self.confirm();
        let living = vec![self.node.incarnation(), DYING, OTHER];
        let alive = ScriptReply::Alive { living, expired: Vec::new() };
        self.reply(|call| matches!(call, Call::Beat), &alive);
        let members: Vec<Member> = others.chain([Member { since: self.version, ..own }]).collect();
        self.entry(RoomChange::Snapshot(record(self.version, &members)));
        assert_eq!(self.node.waiting_joins(), 0);
    }

    /// Answers the calls of a kind.
    fn reply(&mut self, is_it: impl Fn(&Call) -> bool, reply: &ScriptReply) {
        let calls = std::mem::take(&mut self.record.lock().calls);
        let (asked, others) = calls.into_iter().partition::<Vec<_>, _>(|(_, call)| is_it(call));
        self.record.lock().calls = others;
        for (id, _) in asked {
            self.node.replied(self.now, id, reply.clone());
        }
    }

    fn entry(&mut self, change: RoomChange) {
        let entry = LogEntry { room: room(), serial: 1, version: self.version, change };
        self.node.received(self.now, &encode_entry(&entry));
    }

    fn change(&mut self, change: RoomChange) {
        self.version += 1;
        self.entry(change);
    }

    /// The session of a member has moved from the dying node to the other.
    fn moves(&mut self, connection: u128) {
        let connection = ConnectionId::from_u128(connection);
        self.change(RoomChange::Move { connection, holder: OTHER });
    }

    /// The dying node sends a frame.
    fn receive(&mut self, body: Body) {
        self.receive_after(0, body);
    }

    /// The dying node sends a frame after it has processed some.
    fn receive_after(&mut self, processed: u64, body: Body) {
        self.sent += 1;
        let frame = LinkFrame { from: DYING, number: self.sent, processed, body };
        self.node.received(self.now, &encode_frame(&frame));
    }

    fn hold(&mut self, connection: u128) {
        let connection = ConnectionId::from_u128(connection);
        self.receive(Body::Hold { connection, rooms: vec![room()] });
    }

    fn bounce(&mut self, note: u64, to: u128, processed: u64) {
        let (from, to) = (self.sender, super::membership(to, 7));
        let failure = SignalFailure::NotDelivered;
        let bounce = Bounce { room: room(), from, to, failure, note };
        self.receive_after(processed, Body::Bounce(bounce));
    }

    /// The peer of this node sends a signal.
    fn send(&mut self, note: u64, to: &[u128]) {
        let signal = Signal {
            kind: SignalKind::Offer,
            name: None,
            origin: "test",
            content: 0..0,
            body: "".into(),
            note,
            echo: false,
            attachments: Vec::new(),
        };
        let outgoing = OutgoingSignal {
            room: room(),
            from: self.sender.connection,
            to: to.iter().map(|to| ConnectionId::from_u128(*to)).collect(),
            found_by: FoundBy::ConnectionId,
            signal: Arc::new(signal),
        };
        self.node.send(self.now, outgoing);
        self.confirm();
    }

    /// The engine takes what was published. Returns the number of frames for the dying node.
    fn confirm(&mut self) -> u64 {
        let published = std::mem::take(&mut self.record.lock().published);
        let mut last = 0;
        for (to, message) in published {
            let Ok(Some(InboxMessage::Frame(frame))) = decode(&message) else { panic!() };
            if frame.number > 0 {
                self.node.published(self.now, to, frame.number);
            } else if frame.body == Body::Echo {
                self.node.received(self.now, &message);
            }
            last = if to == DYING { frame.number } else { last };
        }
        last
    }

    /// Returns the reports to other nodes: the node, the recipient of the signal, and why it was not
    /// delivered.
    fn bounces(&mut self) -> Vec<(Incarnation, u128, SignalFailure)> {
        let published = std::mem::take(&mut self.record.lock().published);
        let bounces = published.iter().filter_map(|(node, message)| match decode(message) {
            Ok(Some(InboxMessage::Frame(LinkFrame { body: Body::Bounce(bounce), .. }))) => {
                Some((*node, bounce.to.connection.to_u128(), bounce.failure))
            }
            _ => None,
        });
        bounces.collect()
    }

    /// Beats for a time, in which the engine lists these nodes beside this one.
    fn beat_for(&mut self, time: Duration, others: &[Incarnation], expired: &[Incarnation]) {
        for _ in 0..time.as_secs() / BEAT.as_secs() {
            self.now += BEAT;
            self.node.tick(self.now);
            self.confirm();
            let mut living = vec![self.node.incarnation()];
            living.extend(others);
            let reply = ScriptReply::Alive { living, expired: expired.to_vec() };
            self.reply(|call| matches!(call, Call::Beat), &reply);
        }
    }

    /// The engine removes the members of the dying node, and the node.
    fn dies(&mut self) {
        for connection in [2, 3, 4].map(ConnectionId::from_u128) {
            let holder =
                self.node.replica(&room()).unwrap().members.get(&connection).map(|it| it.holder);
            if holder == Some(DYING) {
                self.change(RoomChange::Leave { connection, reason: LeaveReason::Disconnected });
            }
        }
        self.beat_for(LEASE + 2 * BEAT, &[OTHER], &[]);
    }

    fn failed(&self) -> Vec<(u64, u128)> {
        self.record.lock().failed.clone()
    }
}

#[test]
fn signals_that_a_dead_node_has_not_read_are_reported_if_their_recipients_live_elsewhere() {
    let mut bench = Bench::new();
    bench.send(1, &[2]);
    bench.hold(2);
    bench.send(2, &[2]);
    bench.moves(2);
    bench.send(3, &[3, 4]);
    bench.send(4, &[3]);
    bench.moves(3);
    bench.send(5, &[3]);
    assert_eq!(bench.failed(), []);
    bench.dies();
    // The first was read before the session moved, the second waited, the last was sent after it;
    // the peer 4 has left with its node.
    assert_eq!(bench.failed(), [(3, 3), (4, 3)]);
    assert_eq!(bench.node.counters().not_delivered, 2);
    bench.beat_for(LEASE, &[OTHER], &[]);
    assert_eq!(bench.failed().len(), 2, "each is reported once");
}

#[test]
fn signals_that_a_dead_node_has_returned_are_not_reported_again() {
    let mut bench = Bench::new();
    bench.send(1, &[2]);
    bench.send(2, &[2]);
    bench.send(3, &[2]);
    bench.bounce(1, 2, 1);
    bench.bounce(2, 2, 2);
    bench.moves(2);
    assert_eq!(bench.failed(), [(1, 2), (2, 2)]);
    bench.dies();
    assert_eq!(bench.failed(), [(1, 2), (2, 2), (3, 2)]);
}

#[test]
fn signals_are_kept_until_it_is_certain_whether_their_node_is_dead() {
    let mut bench = Bench::new();
    bench.send(1, &[2]);
    bench.moves(2);
    // No other node that may remove it is there.
    bench.beat_for(5 * LEASE, &[DYING, OTHER], &[DYING]);
    assert_eq!(bench.failed(), []);
    bench.dies();
    assert_eq!(bench.failed(), [(1, 2)]);
}

#[test]
fn signals_to_a_living_node_are_forgotten_after_two_leases() {
    let mut bench = Bench::new();
    bench.send(1, &[2]);
    bench.moves(2);
    bench.beat_for(3 * LEASE, &[DYING, OTHER], &[]);
    bench.dies();
    assert_eq!(bench.failed(), [], "it was read, or returned");
}

#[test]
fn signal_to_a_member_that_has_moved_to_a_third_node_is_returned_as_not_delivered() {
    let mut bench = Bench::new();
    bench.moves(2);
    bench.confirm();
    bench.receive(Body::Signal(RemoteSignal {
        room: room(),
        from: super::membership(3, 7),
        to: vec![super::membership(2, 7), super::membership(9, 7)].into(),
        found_by: FoundBy::ConnectionId,
        kind: SignalKind::Offer,
        name: None,
        origin: "test".into(),
        body: "".into(),
        content: 0..0,
        note: 1,
        attachments: Vec::new(),
    }));
    let (missed, unknown) = (SignalFailure::NotDelivered, SignalFailure::TargetNotFound);
    assert_eq!(bench.bounces(), [(DYING, 2, missed), (DYING, 9, unknown)]);
}

#[test]
fn report_follows_a_sender_whose_session_has_moved_although_this_node_has_left_the_room() {
    let mut bench = Bench::new();
    let connection = bench.sender.connection;
    bench.send(1, &[2]);
    let shown = ShownRoom { room: room(), peers: Vec::new(), away: Vec::new() };
    bench.node.depart(bench.now, &shown, connection);
    bench.change(RoomChange::Move { connection, holder: OTHER });
    bench.confirm();
    assert!(bench.node.replica(&room()).is_none(), "it has no peer there any more");
    bench.bounce(1, 2, 0);
    assert_eq!(bench.bounces(), [(OTHER, 2, SignalFailure::NotDelivered)]);
    assert_eq!(bench.failed(), []);
}
