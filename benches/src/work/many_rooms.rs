//! Signals among many rooms: whether the cost of one grows with the number of rooms and
//! connections.
//!
//! Each pair is in several rooms. A fixed number of signals is in flight; each next one goes
//! through another pair and another room, so that no room is busier than another and none stays in
//! a cache.

use std::time::Instant;

use anyhow::{Context, bail, ensure};

use super::measurement::Measurement;
use super::relay::{Payload, seats};
use super::{Outcome, SLACK, Window};
use crate::clients::{Clients, Due, Id, Load};
use crate::dialect::Received;
use crate::joining::{Member, Rush, join_all};
use crate::lane::Lane;
use crate::server::Server;

/// Number of digits of a room number in its id.
const DIGITS: usize = 7;

pub(crate) struct ManyRooms {
    lanes: Vec<Lane>,
    lane_to: Vec<usize>,
    /// Offset of the room number in each lane's frame.
    room_at: Vec<Option<usize>>,
    rooms_each: usize,
}

impl ManyRooms {
    /// Joins pairs to their rooms, `rooms_each` per pair.
    pub(crate) fn join(
        clients: &mut Clients,
        pairs: usize,
        rooms_each: usize,
        payload: Payload,
    ) -> anyhow::Result<Self> {
        let members = join_all(clients, seats(pairs), Rush::Some)?;
        if rooms_each > 1 {
            let mut further = Further::new(members.clone(), pairs, rooms_each);
            clients.run(&mut further, SLACK * 3).context("joining further rooms")?;
        }
        let mut lane_to =
            vec![usize::MAX; members.iter().map(|member| member.id + 1).max().unwrap_or_default()];
        let (mut lanes, mut room_at) = (Vec::new(), Vec::new());
        for pair in members.chunks_exact(2) {
            for (from, to) in [(&pair[0], &pair[1]), (&pair[1], &pair[0])] {
                lane_to[to.id] = lanes.len();
                let lane = Lane::new(clients.dialect(), payload, from, to);
                room_at.push(lane.find("room-").map(|at| at + "room-".len()));
                lanes.push(lane);
            }
        }
        Ok(Self { lanes, lane_to, room_at, rooms_each })
    }

    /// Relays signals, `in_flight` at a time.
    pub(crate) fn relay(
        &mut self,
        clients: &mut Clients,
        server: &Server,
        in_flight: usize,
        window: Window,
    ) -> anyhow::Result<Outcome> {
        let measurement = Measurement::start(server)?;
        let began = measurement.began;
        let mut relay = Relay { many_rooms: self, window, turn: 0, in_flight: 0, measurement };
        for _ in 0..in_flight {
            relay.send(clients, began)?;
        }
        clients.run(&mut relay, window.whole() + SLACK)?;
        relay.measurement.outcome()
    }
}

/// Returns the number of a pair's room; index 0 is the one it joined first.
fn room(pair: usize, pairs: usize, index: usize) -> usize {
    index * pairs + pair
}

/// Joins members to the rest of their rooms, one at a time each.
struct Further {
    members: Vec<Member>,
    pairs: usize,
    rooms_each: usize,
    /// The member of each connection.
    member_of: Vec<usize>,
    /// Number of rooms of each member.
    joined: Vec<usize>,
    started: bool,
    /// Received confirmations and announcements of joins.
    entered: usize,
    came: usize,
}

impl Further {
    fn new(members: Vec<Member>, pairs: usize, rooms_each: usize) -> Self {
        let mut member_of =
            vec![usize::MAX; members.iter().map(|member| member.id + 1).max().unwrap_or_default()];
        for (index, member) in members.iter().enumerate() {
            member_of[member.id] = index;
        }
        let joined = vec![1; members.len()];
        Self { members, pairs, rooms_each, member_of, joined, started: false, entered: 0, came: 0 }
    }

    fn join(&mut self, clients: &mut Clients, member: usize) -> anyhow::Result<()> {
        if self.joined[member] < self.rooms_each {
            let room =
                format!("room-{:0DIGITS$}", room(member / 2, self.pairs, self.joined[member]));
            let join = clients
                .dialect()
                .join(&room)
                .context("this protocol allows one room per connection")?;
            clients.send_text(self.members[member].id, &join);
            self.joined[member] += 1;
        }
        Ok(())
    }
}

impl Load for Further {
    fn due(&mut self, clients: &mut Clients, _: Instant) -> anyhow::Result<Due> {
        if !std::mem::replace(&mut self.started, true) {
            for member in 0..self.members.len() {
                self.join(clients, member)?;
            }
        }
        let rooms = self.pairs * (self.rooms_each - 1);
        Ok(if self.entered == 2 * rooms && self.came == rooms { Due::Done } else { Due::Nothing })
    }

    fn received(
        &mut self,
        clients: &mut Clients,
        id: Id,
        message: Received,
        _: &[u8],
        _: Instant,
    ) -> anyhow::Result<()> {
        match message {
            Received::JoinedRoom => {
                self.entered += 1;
                self.join(clients, self.member_of[id])
            }
            Received::PeerJoined => {
                self.came += 1;
                Ok(())
            }
            message => bail!("unexpected {message:?} while joining a room"),
        }
    }
}

struct Relay<'a> {
    many_rooms: &'a mut ManyRooms,
    window: Window,
    turn: usize,
    in_flight: usize,
    measurement: Measurement<'a>,
}

impl Relay<'_> {
    /// Sends through the next pair; after all pairs through their next room, then in the other
    /// direction.
    fn send(&mut self, clients: &mut Clients, at: Instant) -> anyhow::Result<()> {
        let (pairs, rooms_each) = (self.many_rooms.lanes.len() / 2, self.many_rooms.rooms_each);
        let (pair, index, way) =
            (self.turn % pairs, self.turn / pairs % rooms_each, self.turn / pairs / rooms_each % 2);
        let lane = &mut self.many_rooms.lanes[pair * 2 + way];
        if rooms_each > 1 {
            let at = self.many_rooms.room_at[pair * 2 + way].context("signals name their room")?;
            lane.write(at, u64::try_from(room(pair, pairs, index))?, DIGITS);
        }
        lane.send(clients, at);
        self.turn += 1;
        self.in_flight += 1;
        Ok(())
    }
}

impl Load for Relay<'_> {
    fn due(&mut self, clients: &mut Clients, now: Instant) -> anyhow::Result<Due> {
        let next = self.measurement.advance(self.window, clients, now)?;
        if self.measurement.is_ending() && self.in_flight == 0 {
            return Ok(Due::Done);
        }
        Ok(next.map_or(Due::Nothing, Due::At))
    }

    fn received(
        &mut self,
        clients: &mut Clients,
        id: Id,
        message: Received,
        text: &[u8],
        at: Instant,
    ) -> anyhow::Result<()> {
        ensure!(message == Received::Signal, "unexpected {message:?} during the work");
        self.many_rooms.lanes[self.many_rooms.lane_to[id]].check(text)?;
        self.in_flight -= 1;
        self.measurement.count();
        if !self.measurement.is_ending() {
            self.send(clients, at)?;
        }
        Ok(())
    }
}
