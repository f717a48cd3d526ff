//! Whole calls: two clients connect and join one after the other; the second sends an offer, the
//! first an answer; ten candidates follow in turn, each after the last has arrived; both leave and
//! close.
//!
//! - [`Mode::Closed`]: a number of concurrent calls, each followed by another.
//! - [`Mode::Paced`]: calls start on a schedule. The time of one counts from its scheduled start
//!   (coordinated omission) until the first client receives the leave of the second.

use std::io;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use slab::Slab;

use super::measurement::Measurement;
use super::{Outcome, SLACK, Window};
use crate::clients::{Clients, Due, Id, Load};
use crate::dialect::{Kind, MARK, Received, Seat, body, excerpt};
use crate::server::Server;

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Mode {
    /// Number of concurrent calls.
    Closed(usize),
    /// Calls per second.
    Paced(f64),
}

const DESCRIPTION_BYTES: usize = 4096;
const CANDIDATE_BYTES: usize = 200;
const CANDIDATES: usize = 10;

/// Runs calls, and counts them.
pub(crate) fn run(
    clients: &mut Clients,
    server: &Server,
    mode: Mode,
    window: Window,
) -> anyhow::Result<Outcome> {
    let mut hops = vec![(Kind::Offer, DESCRIPTION_BYTES), (Kind::Answer, DESCRIPTION_BYTES)];
    hops.extend([(Kind::Candidate, CANDIDATE_BYTES); CANDIDATES]);
    let numbered = |(hop, (kind, bytes)): (usize, &(Kind, usize))| {
        (*kind, body(*kind, *bytes).replace(MARK, &mark(hop)))
    };
    let mut calls = Calls {
        mode,
        window,
        script: hops.iter().enumerate().map(numbered).collect(),
        begun: 0,
        pending: Slab::new(),
        sides: Vec::new(),
        measurement: Measurement::start(server)?,
    };
    clients
        .run(&mut calls, window.whole() + SLACK)
        .with_context(|| format!("{} calls are pending", calls.pending.len()))?;
    calls.measurement.outcome()
}

fn mark(hop: usize) -> String {
    format!("#{hop:010}")
}

struct Calls<'a> {
    mode: Mode,
    window: Window,
    /// The signals, alternating, starting with the second client.
    script: Vec<(Kind, String)>,
    /// Number of calls started.
    begun: u64,
    pending: Slab<Call>,
    /// The call and side of each connection.
    sides: Vec<Option<(usize, usize)>>,
    measurement: Measurement<'a>,
}

struct Call {
    began: Instant,
    room: String,
    ids: [Option<Id>; 2],
    names: [String; 2],
    is_in: [bool; 2],
    /// Whether the first client has received the join of the second.
    has_met: bool,
    /// Number of signals that have arrived.
    hops: usize,
    is_over: bool,
}

const FIRST: usize = 0;
const SECOND: usize = 1;

impl Calls<'_> {
    fn begin(&mut self, clients: &mut Clients, at: Instant) -> anyhow::Result<()> {
        let room = format!("call-{}", self.begun);
        self.begun += 1;
        let has_met = !clients.dialect().announces_peers();
        let call = self.pending.insert(Call {
            began: at,
            room,
            ids: [None; 2],
            names: [String::new(), String::new()],
            is_in: [false; 2],
            has_met,
            hops: 0,
            is_over: false,
        });
        self.connect(clients, call, FIRST)
    }

    fn connect(&mut self, clients: &mut Clients, call: usize, side: usize) -> anyhow::Result<()> {
        let room = self.pending[call].room.clone();
        let id = clients.open(Seat { room, name: ["ann", "bob"][side].to_owned() })?;
        self.pending[call].ids[side] = Some(id);
        if self.sides.len() <= id {
            self.sides.resize(id + 1, None);
        }
        self.sides[id] = Some((call, side));
        Ok(())
    }

    /// Sends the next signal: from the second client if an even number has arrived.
    fn send(&self, clients: &mut Clients, call: &Call) -> anyhow::Result<()> {
        let from = if call.hops.is_multiple_of(2) { SECOND } else { FIRST };
        let (kind, body) = &self.script[call.hops];
        let to = call.names[1 - from].as_str();
        let text =
            clients.dialect().signal(*kind, &call.room, (!to.is_empty()).then_some(to), body);
        clients.send_text(call.ids[from].context("both are connected")?, &text);
        Ok(())
    }

    fn leave(&mut self, clients: &mut Clients, call: usize, side: usize) -> anyhow::Result<()> {
        let call = &mut self.pending[call];
        let id = call.ids[side].context("a leaving client is connected")?;
        if let Some(leave) = clients.dialect().leave(&call.room, Some(&call.names[1 - side])) {
            clients.send_text(id, &leave);
        }
        clients.close(id);
        Ok(())
    }

    fn signal_arrived(
        &mut self,
        clients: &mut Clients,
        call: usize,
        side: usize,
        text: &[u8],
    ) -> anyhow::Result<()> {
        let hops = self.pending[call].hops;
        ensure!(side == hops % 2, "a signal reached its sender");
        let mark = mark(hops);
        ensure!(
            memchr::memmem::find(text, mark.as_bytes()).is_some(),
            "{mark} is next, not {}",
            excerpt(text)
        );
        self.pending[call].hops += 1;
        if self.pending[call].hops < self.script.len() {
            return self.send(clients, &self.pending[call]);
        }
        self.leave(clients, call, SECOND)
    }

    fn over(&mut self, clients: &mut Clients, call: usize, at: Instant) -> anyhow::Result<()> {
        self.pending[call].is_over = true;
        self.measurement.count_since(self.pending[call].began, at);
        self.leave(clients, call, FIRST)
    }
}

impl Load for Calls<'_> {
    fn due(&mut self, clients: &mut Clients, now: Instant) -> anyhow::Result<Due> {
        let next = self.measurement.advance(self.window, clients, now)?;
        let Some(mut next) = next else {
            return Ok(if self.pending.is_empty() { Due::Done } else { Due::Nothing });
        };
        match self.mode {
            Mode::Closed(at_a_time) => {
                while self.pending.len() < at_a_time {
                    self.begin(clients, now)?;
                }
            }
            Mode::Paced(rate) => loop {
                let due =
                    self.measurement.began + Duration::from_secs_f64(self.begun as f64 / rate);
                if due > now {
                    next = next.min(due);
                    break;
                }
                self.begin(clients, due)?;
            },
        }
        Ok(Due::At(next))
    }

    fn received(
        &mut self,
        clients: &mut Clients,
        id: Id,
        message: Received,
        text: &[u8],
        at: Instant,
    ) -> anyhow::Result<()> {
        let (index, side) = self.sides[id].context("everyone is in a call")?;
        let call = &mut self.pending[index];
        match message {
            Received::Signal => return self.signal_arrived(clients, index, side, text),
            Received::PeerLeft => {
                ensure!(
                    side == FIRST && call.hops == self.script.len(),
                    "the second leaves after the last signal"
                );
                return self.over(clients, index, at);
            }
            Received::Id { id, .. } => call.names[side] = id,
            Received::Joined { id } => {
                call.names[side] = id;
                call.is_in[side] = true;
            }
            Received::JoinedRoom => call.is_in[side] = true,
            Received::PeerJoined => call.has_met = true,
            Received::Expects(_) | Received::Other => return Ok(()),
        }
        let is_new = call.hops == 0;
        if call.is_in == [true, false] && call.ids[SECOND].is_none() {
            self.connect(clients, index, SECOND)
        } else if is_new && call.is_in == [true, true] && call.has_met {
            self.send(clients, &self.pending[index])
        } else {
            Ok(())
        }
    }

    fn ended(&mut self, _: &mut Clients, id: Id, error: Option<io::Error>) -> anyhow::Result<()> {
        let (index, side) = self.sides[id].take().context("everyone is in a call")?;
        let call = &mut self.pending[index];
        call.ids[side] = None;
        ensure!(
            call.hops == self.script.len(),
            "a connection ended in the middle of a call: {error:?}"
        );
        if call.is_over && call.ids == [None, None] {
            self.pending.remove(index);
        }
        Ok(())
    }
}
