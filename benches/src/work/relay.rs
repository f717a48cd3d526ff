//! Pairs that send each other signals.
//!
//! - [`Mode::Closed`]: each pair keeps a number of signals in flight; the receiver of one sends one
//!   back. This measures throughput, and CPU time per signal at full load. Latency is not taken
//!   from it: a slow server gets fewer signals, so those that would have waited are never sent.
//! - [`Mode::Paced`]: signals are sent on a schedule, in bursts as large as the number in flight.
//!   Latency counts from the scheduled time, which avoids coordinated omission.
//! - [`Mode::Counted`]: closed, with a fixed number of signals.
//!
//! Every signal has a number, and must arrive once and in order.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use super::measurement::Measurement;
use super::{Outcome, SLACK, Window};
use crate::clients::{Clients, Due, Id, Load};
use crate::dialect::{Kind, Received, Seat};
use crate::joining::{Rush, join_all};
use crate::lane::Lane;
use crate::server::Server;

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Mode {
    /// As fast as possible.
    Closed(Window),
    /// Signals per second, of all pairs together.
    Paced(Window, f64),
    /// As fast as possible, until this many signals. All of them count.
    Counted(u64),
}

/// The kind and size of a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Payload {
    pub(crate) kind: Kind,
    pub(crate) bytes: usize,
}

pub(crate) const CANDIDATE: Payload = Payload { kind: Kind::Candidate, bytes: 200 };
pub(crate) const OFFER: Payload = Payload { kind: Kind::Offer, bytes: 4096 };

/// Pairs in rooms of their own, for any number of runs.
pub(crate) struct Pairs {
    /// Two per pair, one for each direction.
    lanes: Vec<Lane>,
    /// The lane that ends at each connection.
    lane_to: Vec<usize>,
}

/// Returns the seats of pairs, each pair in a room of its own.
pub(crate) fn seats(pairs: usize) -> Vec<Seat> {
    let seat =
        |room: usize, name: &str| Seat { room: format!("room-{room:07}"), name: name.to_owned() };
    (0..pairs).flat_map(|room| [seat(room, "ann"), seat(room, "bob")]).collect()
}

impl Pairs {
    pub(crate) fn join(
        clients: &mut Clients,
        pairs: usize,
        payload: Payload,
    ) -> anyhow::Result<Self> {
        let members = join_all(clients, seats(pairs), Rush::Some)?;
        let mut lane_to =
            vec![usize::MAX; members.iter().map(|member| member.id + 1).max().unwrap_or_default()];
        let mut lanes = Vec::new();
        for pair in members.chunks_exact(2) {
            for (from, to) in [(&pair[0], &pair[1]), (&pair[1], &pair[0])] {
                lane_to[to.id] = lanes.len();
                lanes.push(Lane::new(clients.dialect(), payload, from, to));
            }
        }
        Ok(Self { lanes, lane_to })
    }

    /// Relays signals between the pairs.
    pub(crate) fn relay(
        &mut self,
        clients: &mut Clients,
        server: &Server,
        in_flight: usize,
        mode: Mode,
    ) -> anyhow::Result<Outcome> {
        let (measurement, limit) = match mode {
            Mode::Closed(window) | Mode::Paced(window, _) => {
                (Measurement::start(server)?, window.whole() + SLACK)
            }
            Mode::Counted(_) => {
                (Measurement::start_counting(server, clients)?, Duration::from_mins(10))
            }
        };
        if !matches!(mode, Mode::Paced(..)) {
            for lane in self.lanes.iter_mut().step_by(2) {
                for _ in 0..in_flight {
                    lane.send(clients, measurement.began);
                }
            }
        }
        let mut relay = Relay { pairs: self, in_flight, mode, bursts: 0, received: 0, measurement };
        clients
            .run(&mut relay, limit)
            .with_context(|| format!("{} are in flight", relay.in_flight()))?;
        relay.measurement.outcome()
    }
}

struct Relay<'a> {
    pairs: &'a mut Pairs,
    in_flight: usize,
    mode: Mode,
    /// Number of scheduled bursts that were sent.
    bursts: usize,
    received: u64,
    measurement: Measurement<'a>,
}

impl Relay<'_> {
    fn in_flight(&self) -> usize {
        self.pairs.lanes.iter().map(Lane::in_flight).sum()
    }

    /// Sends all bursts that are due, and returns when the next one is.
    fn send_due_bursts(&mut self, clients: &mut Clients, now: Instant, rate: f64) -> Instant {
        let pairs = self.pairs.lanes.len() / 2;
        loop {
            let burst = self.bursts;
            let due = self.measurement.began
                + Duration::from_secs_f64(burst as f64 * self.in_flight as f64 / rate);
            if due > now {
                return due;
            }
            // One direction in one round of all pairs, the other in the next.
            let lane = &mut self.pairs.lanes[burst % pairs * 2 + burst / pairs % 2];
            for _ in 0..self.in_flight {
                lane.send(clients, due);
            }
            self.bursts += 1;
        }
    }
}

impl Load for Relay<'_> {
    fn due(&mut self, clients: &mut Clients, now: Instant) -> anyhow::Result<Due> {
        let mut next = match self.mode {
            Mode::Closed(window) | Mode::Paced(window, _) => {
                self.measurement.advance(window, clients, now)?
            }
            Mode::Counted(signals) => {
                if self.received >= signals {
                    self.measurement.stop(clients)?;
                }
                None
            }
        };
        if self.measurement.is_ending() && self.in_flight() == 0 {
            return Ok(Due::Done);
        }
        if let Mode::Paced(_, rate) = self.mode
            && !self.measurement.is_ending()
        {
            let due = self.send_due_bursts(clients, now, rate);
            next = next.map(|next| next.min(due));
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
        let index = self.pairs.lane_to[id];
        let sent = self.pairs.lanes[index].check(text)?;
        self.received += 1;
        self.measurement.count_since(sent, at);
        let goes_on = match self.mode {
            Mode::Closed(_) => !self.measurement.is_ending(),
            Mode::Paced(..) => false,
            // Signals in flight will arrive, too.
            Mode::Counted(signals) => self.received + (self.in_flight() as u64) < signals,
        };
        if goes_on {
            self.pairs.lanes[index ^ 1].send(clients, at);
        }
        Ok(())
    }
}
