//! Opening of connections and joining of rooms before the measured work, and closing them
//! afterwards.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::clients::{Clients, Due, Id, Load};
use crate::dialect::{Received, Seat};

/// A member of a room.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub(crate) id: Id,
    pub(crate) room: String,
    /// The id that others send to; empty if the protocol has no ids.
    pub(crate) name: String,
    has_joined: bool,
}

/// How many connections are opened at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rush {
    /// Limited, like normal traffic.
    Some,
    /// All at once, like reconnections after a network failure.
    All,
}

/// Maximum number of concurrent handshakes if limited.
const AT_A_TIME: usize = 64;

/// Time until a failed client reconnects: the initial delay of the Socket.IO client.
const RECONNECT_DELAY: Duration = Duration::from_secs(1);

/// Time limit for all clients.
const LIMIT: Duration = Duration::from_mins(2);

struct Joining {
    seats: Vec<Seat>,
    members: Vec<Option<Member>>,
    /// The seat of each connection.
    slot_of: HashMap<Id, usize>,
    rush: Rush,
    opened: usize,
    entered: usize,
    /// Seats whose connections failed, and when to reconnect.
    reconnects: VecDeque<(Instant, usize)>,
    /// Received and expected join announcements.
    announced: usize,
    expected: usize,
}

/// Opens a connection for every seat, and waits until all have joined and received the
/// announcements of each other.
pub(crate) fn join_all(
    clients: &mut Clients,
    seats: Vec<Seat>,
    rush: Rush,
) -> anyhow::Result<Vec<Member>> {
    // If all connect at once, a client that fails after its announcement is announced again.
    let are_announced = rush == Rush::Some && clients.dialect().announces_peers();
    let expected = if are_announced { announcement_count(&seats) } else { 0 };
    let mut joining = Joining {
        members: vec![None; seats.len()],
        seats,
        slot_of: HashMap::new(),
        rush,
        opened: 0,
        entered: 0,
        reconnects: VecDeque::new(),
        announced: 0,
        expected,
    };
    let done = clients.run(&mut joining, LIMIT);
    let Joining { members, entered, announced, .. } = joining;
    done.with_context(|| {
        format!(
            "{entered} of {} have joined, {announced} of {expected} joins announced",
            members.len()
        )
    })?;
    members.into_iter().collect::<Option<_>>().context("all clients have joined")
}

/// Returns the number of announcements: each joining client is announced to those in its room.
fn announcement_count(seats: &[Seat]) -> usize {
    let mut present: HashMap<&str, usize> = HashMap::new();
    let mut count = 0;
    for seat in seats {
        let present = present.entry(&seat.room).or_default();
        count += *present;
        *present += 1;
    }
    count
}

/// Closes all connections like closed pages, and waits until the server has closed them too.
pub(crate) fn disconnect_all(clients: &mut Clients) -> anyhow::Result<()> {
    struct Disconnecting;

    impl Load for Disconnecting {
        fn due(&mut self, clients: &mut Clients, _: Instant) -> anyhow::Result<Due> {
            Ok(if clients.is_empty() { Due::Done } else { Due::Nothing })
        }

        fn received(
            &mut self,
            _: &mut Clients,
            _: Id,
            _: Received,
            _: &[u8],
            _: Instant,
        ) -> anyhow::Result<()> {
            Ok(())
        }

        fn ended(&mut self, _: &mut Clients, _: Id, _: Option<io::Error>) -> anyhow::Result<()> {
            Ok(())
        }
    }

    clients.close_all();
    clients.run(&mut Disconnecting, LIMIT).context("not all connections closed")
}

impl Load for Joining {
    fn due(&mut self, clients: &mut Clients, now: Instant) -> anyhow::Result<Due> {
        let at_a_time = if self.rush == Rush::All { usize::MAX } else { AT_A_TIME };
        while self.opened < self.seats.len() && self.opened - self.entered < at_a_time {
            self.open(clients, self.opened)?;
            self.opened += 1;
        }
        while let Some((time, seat)) = self.reconnects.front().copied() {
            if time > now {
                return Ok(Due::At(time));
            }
            self.reconnects.pop_front();
            self.open(clients, seat)?;
        }
        let is_done = self.entered == self.seats.len() && self.announced >= self.expected;
        Ok(if is_done { Due::Done } else { Due::Nothing })
    }

    /// If all connect at once, the kernel's accept queue may overflow. Clients reconnect.
    fn ended(&mut self, _: &mut Clients, id: Id, error: Option<io::Error>) -> anyhow::Result<()> {
        let seat = self.slot_of.remove(&id).context("every connection has a slot")?;
        if self.rush != Rush::All
            || self.members[seat].as_ref().is_some_and(|member| member.has_joined)
        {
            bail!("a connection ended: {error:?}");
        }
        self.members[seat] = None;
        self.reconnects.push_back((Instant::now() + RECONNECT_DELAY, seat));
        Ok(())
    }

    fn received(
        &mut self,
        _: &mut Clients,
        id: Id,
        message: Received,
        _: &[u8],
        _: Instant,
    ) -> anyhow::Result<()> {
        let (name, has_joined) = match message {
            Received::Id { id, .. } => (id, false),
            Received::Joined { id } => (id, true),
            Received::JoinedRoom => (String::new(), true),
            Received::PeerJoined => {
                self.announced += 1;
                return Ok(());
            }
            _ => return Ok(()),
        };
        let index = *self.slot_of.get(&id).context("every connection has a slot")?;
        let room = self.seats[index].room.clone();
        let member = self.members[index].get_or_insert(Member { id, room, name, has_joined });
        member.has_joined = has_joined;
        self.entered += usize::from(has_joined);
        Ok(())
    }
}

impl Joining {
    fn open(&mut self, clients: &mut Clients, seat: usize) -> anyhow::Result<()> {
        let id = clients.open(self.seats[seat].clone())?;
        self.slot_of.insert(id, seat);
        Ok(())
    }
}
