//! Compares rooms with a naive model: the same commands must have the same results, step by step.
//!
//! A scenario is derived from arbitrary bytes of the fuzz target or a property test.

// The fuzz target includes this file by its path, so modules need explicit paths.
#[path = "model/naive.rs"]
mod naive;
#[path = "model/scenario.rs"]
mod scenario;

use parlor::clock::Moment;
use parlor::id::{ConnectionId, RoomId};
use parlor::room::{
    Applied, Command, Event, LeaveReason, Metadata, MetadataPatch, RoomError, RoomLimits, Rooms,
    Signal, SignalKind, Target,
};

use self::naive::{Delivered, Naive, Outcome};
use self::scenario::{Below, Name, Place, ROOMS, Reason, SEATS, Seat, Step, TTL};
pub(crate) use self::scenario::{Scenario, scenario};

/// Plays a scenario; panics if rooms and model differ.
pub(crate) fn play(scenario: &Scenario) {
    let mut run = Run::new(scenario.limits());
    for step in &scenario.steps.0 {
        run.step(*step);
        run.compare();
    }
    run.finish();
}

/// A connection that has ended but is still in these rooms.
struct Parting {
    connection: ConnectionId,
    rooms: Vec<RoomId>,
    reason: LeaveReason,
}

/// Rooms and model.
struct Run {
    rooms: Rooms,
    naive: Naive,
    /// Connections by slot; an ended one stays until the slot is used again.
    seats: Vec<ConnectionId>,
    ended: Vec<ConnectionId>,
    partings: Vec<Parting>,
    connections: u128,
    signals: u16,
}

impl Run {
    fn new(limits: RoomLimits) -> Self {
        let naive = Naive::new(limits.clone(), Moment::now());
        let (seats, ended, partings) = (Vec::new(), Vec::new(), Vec::new());
        let mut run = Self {
            rooms: Rooms::new(limits),
            naive,
            seats,
            ended,
            partings,
            connections: 0,
            signals: 0,
        };
        for _ in 0..SEATS {
            let connection = run.connect();
            run.seats.push(connection);
        }
        run
    }

    fn connect(&mut self) -> ConnectionId {
        self.connections += 1;
        let connection = ConnectionId::from_u128(self.connections);
        self.rooms.connect(connection);
        self.naive.connect(connection);
        connection
    }

    /// Replaces an ended connection by a new one.
    fn connect_seat(&mut self, seat: Seat) {
        if self.ended.contains(&self.seat(seat)) {
            self.seats[usize::from(seat.0)] = self.connect();
        }
    }

    fn seat(&self, seat: Seat) -> ConnectionId {
        self.seats[usize::from(seat.0)]
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Connect(seat) => self.connect_seat(seat),
            Step::Join { who, room, peer, kind, reply } => {
                let metadata = Metadata::new(&"x".repeat(usize::from(reply.0)));
                let (peer, kind) = (peer.map(Name::id), kind.of_room());
                self.apply(who, &Command::Join { room: room.id(), peer, metadata, kind });
            }
            Step::Inspect { who, room } => self.apply(who, &Command::Inspect { room: room.id() }),
            Step::Leave { who, room } => {
                self.apply(who, &Command::Leave { room: room.map(Place::id) });
            }
            Step::HangUp { who, room } => {
                self.apply(who, &Command::HangUp { room: room.map(Place::id) });
            }
            Step::Update { who, room, length } => {
                let patch =
                    MetadataPatch { text: "y".repeat(usize::from(length.0)).into(), merge: append };
                self.apply(who, &Command::Update { room: room.map(Place::id), patch });
            }
            Step::Relay { who, room, target, length } => {
                self.signals = self.signals.wrapping_add(1);
                let body: Box<str> = "x".repeat(usize::from(length.0)).into();
                let content = 0..body.len();
                let signal = Signal {
                    kind: SignalKind::Offer,
                    name: None,
                    origin: "test",
                    body,
                    content,
                    note: self.signals.into(),
                    echo: false,
                    attachments: Vec::new(),
                };
                let target = target.map(|name| Target::new(name.id()));
                self.apply(who, &Command::Relay { room: room.map(Place::id), target, signal });
            }
            Step::LeaveAll { who } => {
                let who = self.seat(who);
                for room in self.rooms.of(who) {
                    self.leave(who, &room, LeaveReason::Left);
                }
            }
            Step::End { who, reason } => {
                if let Some(parting) = self.disconnect(self.seat(who), reason) {
                    self.leave_rest(parting);
                }
                self.connect_seat(who);
            }
            Step::Part { who, reason } => {
                let parting = self.disconnect(self.seat(who), reason);
                self.partings.extend(parting);
            }
            Step::LeaveNext => self.leave_next(),
            Step::Create { room, capacity } => {
                self.create(&room.id(), capacity.map(|most| usize::from(most.0) + 1));
            }
            Step::Close { room } => self.close(&room.id()),
            Step::Expire => {
                assert_eq!(self.rooms.expire(self.naive.now.instant), self.naive.expire());
            }
            Step::Wait(quarters) => self.naive.now += TTL / 4 * u32::from(quarters.0),
        }
    }

    fn apply(&mut self, who: Seat, command: &Command) {
        let who = self.seat(who);
        let mut expected = Delivered::default();
        let outcome = self.naive.apply(who, command.clone(), &mut expected);
        let applied = self.rooms.apply(self.naive.now, who, command.clone());
        let received = applied.as_ref().map(deliveries).unwrap_or_default();
        compare_outcome(applied.map(|applied| applied.answer), outcome, command);
        compare_deliveries(received, expected, command);
    }

    fn leave(&mut self, who: ConnectionId, room: &RoomId, reason: LeaveReason) {
        let mut expected = Delivered::default();
        let was_in = self.naive.leave(who, room, reason, &mut expected);
        let applied = self.rooms.leave(who, room, reason);
        assert_eq!(applied.is_some(), was_in, "{who} leaves {room}");
        compare_deliveries(
            applied.as_ref().map(deliveries).unwrap_or_default(),
            expected,
            &(who, room),
        );
    }

    /// Ends a connection.
    fn disconnect(&mut self, connection: ConnectionId, reason: Reason) -> Option<Parting> {
        if self.ended.contains(&connection) {
            return None;
        }
        self.ended.push(connection);
        let rooms = self.rooms.disconnect(connection);
        assert_eq!(rooms, self.naive.disconnect(connection), "the rooms of {connection}");
        Some(Parting { connection, rooms, reason: reason.of_leaving() })
    }

    fn leave_next(&mut self) {
        let Some(parting) = self.partings.first_mut() else { return };
        let (connection, reason) = (parting.connection, parting.reason);
        let room = parting.rooms.pop();
        match room {
            Some(room) => self.leave(connection, &room, reason),
            None => drop(self.partings.remove(0)),
        }
    }

    fn leave_rest(&mut self, parting: Parting) {
        for room in parting.rooms {
            self.leave(parting.connection, &room, parting.reason);
        }
    }

    fn create(&mut self, id: &RoomId, capacity: Option<usize>) {
        let outcome = self.naive.create(id, capacity);
        let created = self.rooms.create(self.naive.now, Some(id.clone()), capacity);
        compare_outcome(created, outcome, id);
    }

    fn close(&mut self, id: &RoomId) {
        let mut expected = Delivered::default();
        let existed = self.naive.close(id, &mut expected);
        let applied = self.rooms.close(id);
        assert_eq!(applied.is_some(), existed, "close {id}");
        compare_deliveries(applied.as_ref().map(deliveries).unwrap_or_default(), expected, id);
    }

    /// Compares the results of all queries.
    fn compare(&self) {
        assert_eq!(self.rooms.counts(), self.naive.counts());
        let all = self.naive.list();
        assert_eq!(self.rooms.page(None, usize::MAX).rooms, all);
        for (index, summary) in all.iter().enumerate() {
            let page = self.rooms.page(self.rooms.cursor(&summary.id), 2);
            assert_eq!(page.rooms, all.iter().skip(index + 1).take(2).cloned().collect::<Vec<_>>());
            assert_eq!(page.next.is_some(), all.len() > index + 3);
        }
        for id in (0..ROOMS).map(|number| Place(Below(number)).id()) {
            assert_eq!(
                self.rooms.summary(&id).as_ref(),
                all.iter().find(|summary| summary.id == id)
            );
            assert_eq!(self.rooms.connections_in(&id), self.naive.connections_in(&id));
        }
        for connection in &self.seats {
            assert_eq!(
                self.rooms.of(*connection),
                self.naive.of(*connection),
                "the rooms of {connection}"
            );
        }
    }

    /// Disconnects all peers, and asserts that nothing is left.
    fn finish(mut self) {
        for connection in self.seats.clone() {
            let parting = self.disconnect(connection, Reason::Disconnected);
            self.partings.extend(parting);
        }
        for parting in std::mem::take(&mut self.partings) {
            self.leave_rest(parting);
        }
        self.compare();
        assert_eq!(self.rooms.counts().peers, 0, "a ghost");
        self.naive.now += TTL;
        assert_eq!(self.rooms.expire(self.naive.now.instant), self.naive.expire());
        self.compare();
        assert_eq!(self.rooms.counts().rooms, 0, "an empty room");
    }
}

/// A merge of metadata that the rooms know nothing about: appends the patch, or clears the metadata
/// if it is empty.
fn append(metadata: &str, patch: &str) -> String {
    if patch.is_empty() { String::new() } else { format!("{metadata}{patch}") }
}

/// Returns the events of each recipient, and the peers that left.
fn deliveries(applied: &Applied) -> Delivered {
    let mut received = Delivered::default();
    for delivery in &applied.deliveries {
        if let Event::PeerLeft { room, peer, reason } = &delivery.event {
            received.left.push((room.clone(), peer.clone(), *reason));
        }
        received
            .inbox
            .extend(delivery.to.as_slice().iter().map(|to| (*to, delivery.event.clone())));
    }
    received
}

fn compare_outcome<T: PartialEq + std::fmt::Debug>(
    result: Result<T, RoomError>,
    expected: Outcome<T>,
    of: &impl std::fmt::Debug,
) {
    match (result, expected) {
        (Ok(answer), Ok(expected)) => assert_eq!(answer, expected, "{of:?}"),
        (Err(error), Err(expected)) => {
            assert!(expected.contains(&error), "{error} rather than {expected:?}: {of:?}");
        }
        (result, expected) => panic!("{result:?} rather than {expected:?}: {of:?}"),
    }
}

/// Compares the order of events per recipient; there is no order between recipients.
fn compare_deliveries(mut received: Delivered, mut expected: Delivered, of: &impl std::fmt::Debug) {
    for Delivered { inbox, left } in [&mut received, &mut expected] {
        inbox.sort_by_key(|(to, _)| *to);
        left.sort_by_key(|(_, peer, _)| peer.connection);
    }
    assert_eq!(received, expected, "{of:?}");
}
