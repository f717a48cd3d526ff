//! Clients come in and take their seats before the work begins, and go when it is done.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::Context;

use crate::clients::{Clients, Due, Id, Load};
use crate::dialect::{Heard, Seat};

/// Somebody in a room.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub(crate) id: Id,
    pub(crate) room: String,
    /// By which others send to it; empty where nobody has a name.
    pub(crate) name: String,
}

/// How many come in at a time.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Rush {
    /// As people come: some at a time.
    Some,
    /// As they come back after a network was away.
    All,
}

/// How many handshakes are under way at a time, where not all are.
const AT_A_TIME: usize = 64;

/// How long all may take.
const LIMIT: Duration = Duration::from_secs(90);

struct Gathering {
    seats: Vec<Seat>,
    members: Vec<Option<Member>>,
    /// Which seat a connection is for.
    seat_of: HashMap<Id, usize>,
    at_a_time: usize,
    opened: usize,
    entered: usize,
    /// How often somebody is told of another, and how often that is to be.
    told: usize,
    to_be_told: usize,
}

/// Opens a connection for every seat, and waits until all are in their rooms and have been told of each other.
pub(crate) fn gather(clients: &mut Clients, seats: Vec<Seat>, rush: Rush) -> anyhow::Result<Vec<Member>> {
    let at_a_time = match rush {
        Rush::Some => AT_A_TIME,
        Rush::All => seats.len(),
    };
    let to_be_told = if clients.dialect().tells_who_comes() { acquaintances(&seats) } else { 0 };
    let (members, seat_of) = (vec![None; seats.len()], HashMap::new());
    let mut gathering = Gathering { seats, members, seat_of, at_a_time, opened: 0, entered: 0, told: 0, to_be_told };
    let done = clients.run(&mut gathering, LIMIT);
    let Gathering { members, entered, told, .. } = gathering;
    done.with_context(|| format!("{entered} of {} are in, {told} of {to_be_told} times told", members.len()))?;
    members.into_iter().collect::<Option<_>>().context("everyone has come in")
}

/// Each who comes is told to those who are in the room already.
fn acquaintances(seats: &[Seat]) -> usize {
    let mut present: HashMap<&str, usize> = HashMap::new();
    let mut met = 0;
    for seat in seats {
        let present = present.entry(&seat.room).or_default();
        met += *present;
        *present += 1;
    }
    met
}

/// All go, as pages do that are closed, and the server has ended every connection.
pub(crate) fn disperse(clients: &mut Clients) -> anyhow::Result<()> {
    struct Dispersing;

    impl Load for Dispersing {
        fn due(&mut self, clients: &mut Clients, _: Instant) -> anyhow::Result<Due> {
            Ok(if clients.is_empty() { Due::Done } else { Due::Nothing })
        }

        fn heard(&mut self, _: &mut Clients, _: Id, _: Heard, _: &[u8], _: Instant) -> anyhow::Result<()> {
            Ok(())
        }

        fn ended(&mut self, _: &mut Clients, _: Id) -> anyhow::Result<()> {
            Ok(())
        }
    }

    clients.close_all();
    clients.run(&mut Dispersing, LIMIT).context("not all could go")
}

impl Load for Gathering {
    fn due(&mut self, clients: &mut Clients, _: Instant) -> anyhow::Result<Due> {
        while self.opened < self.seats.len() && self.opened - self.entered < self.at_a_time {
            let id = clients.open(self.seats[self.opened].clone())?;
            self.seat_of.insert(id, self.opened);
            self.opened += 1;
        }
        let is_done = self.entered == self.seats.len() && self.told == self.to_be_told;
        Ok(if is_done { Due::Done } else { Due::Nothing })
    }

    fn heard(&mut self, _: &mut Clients, id: Id, heard: Heard, _: &[u8], _: Instant) -> anyhow::Result<()> {
        let (name, is_in) = match heard {
            Heard::Id { id, .. } => (id, false),
            Heard::Joined { id } => (id, true),
            Heard::Entered => (String::new(), true),
            Heard::Came => {
                self.told += 1;
                return Ok(());
            }
            _ => return Ok(()),
        };
        let index = *self.seat_of.get(&id).context("a seat for everyone")?;
        let room = self.seats[index].room.clone();
        self.members[index].get_or_insert(Member { id, room, name });
        self.entered += usize::from(is_in);
        Ok(())
    }
}
