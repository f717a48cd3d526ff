//! Large rooms: the cost per delivery.
//!
//! - [`Work::Join`]: in each room one member leaves and joins again; the others receive both
//!   events, the member the list.
//! - [`Work::Broadcast`]: in each room one member sends a candidate to all others.
//!
//! In each room the next round starts when all deliveries of the last have arrived.

use std::time::Instant;

use anyhow::{Context, ensure};

use super::measurement::Measurement;
use super::relay::CANDIDATE;
use super::{Outcome, SLACK, Window};
use crate::clients::{Clients, Due, Id, Load};
use crate::dialect::{Received, Seat, body};
use crate::joining::{Member, Rush, join_all};
use crate::server::Server;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    Join,
    Broadcast,
}

/// Full rooms of one size.
pub(crate) struct Rooms {
    members: Vec<Member>,
    size: usize,
    /// The room of each connection.
    room_of: Vec<usize>,
}

impl Rooms {
    pub(crate) fn join(clients: &mut Clients, rooms: usize, size: usize) -> anyhow::Result<Self> {
        let seat = |room: usize, name: usize| Seat {
            room: format!("room-{room}"),
            name: format!("peer-{name}"),
        };
        let seats =
            (0..rooms).flat_map(|room| (0..size).map(move |name| seat(room, name))).collect();
        let members = join_all(clients, seats, Rush::Some)?;
        let mut room_of =
            vec![usize::MAX; members.iter().map(|member| member.id + 1).max().unwrap_or_default()];
        for (index, member) in members.iter().enumerate() {
            room_of[member.id] = index / size;
        }
        Ok(Self { members, size, room_of })
    }

    /// Runs the work, counted in deliveries.
    pub(crate) fn run(
        &self,
        clients: &mut Clients,
        server: &Server,
        work: Work,
        window: Window,
    ) -> anyhow::Result<Outcome> {
        let rooms = self.members.len() / self.size;
        let (missing, measurement) = (vec![0; rooms], Measurement::start(server)?);
        let mut running = Running { rooms: self, work, window, missing, busy: 0, measurement };
        for room in 0..rooms {
            running.begin(clients, room)?;
        }
        clients
            .run(&mut running, window.whole() + SLACK)
            .with_context(|| format!("{work:?} in rooms of {}", self.size))?;
        running.measurement.outcome()
    }
}

struct Running<'a> {
    rooms: &'a Rooms,
    work: Work,
    window: Window,
    /// Missing deliveries in each room.
    missing: Vec<usize>,
    /// Rooms with missing deliveries.
    busy: usize,
    measurement: Measurement<'a>,
}

impl Running<'_> {
    fn begin(&mut self, clients: &mut Clients, room: usize) -> anyhow::Result<()> {
        let size = self.rooms.size;
        let member = &self.rooms.members[room * size];
        let dialect = clients.dialect();
        match self.work {
            Work::Join => {
                clients.send_text(
                    member.id,
                    &dialect.leave(&member.room, None).context("rooms can be left")?,
                );
                clients.send_text(
                    member.id,
                    &dialect.join(&member.room).context("rooms can be joined")?,
                );
                self.missing[room] = 2 * (size - 1) + 1;
            }
            Work::Broadcast => {
                let body = body(CANDIDATE.kind, CANDIDATE.bytes);
                clients.send_text(
                    member.id,
                    &dialect.signal(CANDIDATE.kind, &member.room, None, &body),
                );
                self.missing[room] = size - 1;
            }
        }
        self.busy += 1;
        Ok(())
    }
}

impl Load for Running<'_> {
    fn due(&mut self, clients: &mut Clients, now: Instant) -> anyhow::Result<Due> {
        let next = self.measurement.advance(self.window, clients, now)?;
        if self.measurement.is_ending() && self.busy == 0 {
            return Ok(Due::Done);
        }
        Ok(next.map_or(Due::Nothing, Due::At))
    }

    fn received(
        &mut self,
        clients: &mut Clients,
        id: Id,
        message: Received,
        _: &[u8],
        _: Instant,
    ) -> anyhow::Result<()> {
        let is_expected = match self.work {
            // Some protocols repeat the id in the list.
            Work::Join => matches!(
                message,
                Received::PeerJoined
                    | Received::PeerLeft
                    | Received::JoinedRoom
                    | Received::Joined { .. }
            ),
            Work::Broadcast => message == Received::Signal,
        };
        ensure!(is_expected, "unexpected {message:?} during {:?}", self.work);
        let room = self.rooms.room_of[id];
        let missing = self.missing[room].checked_sub(1).context("more deliveries than expected")?;
        self.missing[room] = missing;
        self.measurement.count();
        if missing == 0 {
            self.busy -= 1;
            if !self.measurement.is_ending() {
                self.begin(clients, room)?;
            }
        }
        Ok(())
    }
}
