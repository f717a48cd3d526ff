//! Many who are connected and say nothing: what they take of memory and time, and what is left when they are gone.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::relay::seats;
use super::{Moment, SLACK};
use crate::clients::{Clients, Due, Id, Load};
use crate::dialect::Heard;
use crate::gathering::{Rush, disperse, gather};
use crate::server::Server;

pub(crate) struct Idle {
    /// Two to a room.
    pub(crate) connections: usize,
    /// For how long they do nothing but answer heartbeats.
    pub(crate) rest: Duration,
    /// How long after the last has gone the memory is read.
    pub(crate) settling: Duration,
}

pub(crate) struct Outcome {
    pub(crate) connections: usize,
    /// Resident memory in KiB: after some clients had come and gone, with all, and when all were gone.
    pub(crate) before: u64,
    pub(crate) with_all: u64,
    pub(crate) after: u64,
    /// The server's CPU time for all to come in.
    pub(crate) entrance: Duration,
    /// The server's CPU time while nobody did anything, and how long that was.
    pub(crate) rest_cpu: Duration,
    pub(crate) rest: Duration,
    /// How long it took until all were in who came at once.
    pub(crate) rush: Duration,
}

/// How many come and go first: what a server allocates once is not theirs.
const FIRST: usize = 100;

/// How long nothing happens before memory is read.
const BREATH: Duration = Duration::from_secs(1);

impl Idle {
    /// Needs a server that has just been started.
    pub(crate) fn run(&self, clients: &mut Clients, server: &Server) -> anyhow::Result<Outcome> {
        gather(clients, seats(FIRST / 2), Rush::Some)?;
        disperse(clients)?;
        rest(clients, BREATH)?;
        let before = server.memory()?;

        let start = Moment::now(server, clients)?;
        gather(clients, seats(self.connections / 2), Rush::Some)?;
        let entrance = Moment::now(server, clients)?.since(start).cpu;
        rest(clients, BREATH)?;
        let with_all = server.memory()?;
        let start = Moment::now(server, clients)?;
        rest(clients, self.rest)?;
        let resting = Moment::now(server, clients)?.since(start);

        disperse(clients).context("all go")?;
        rest(clients, self.settling)?;
        let after = server.memory()?;

        let begin = Instant::now();
        gather(clients, seats(self.connections / 2), Rush::All).context("all come at once")?;
        let rush = begin.elapsed();
        let connections = self.connections;
        Ok(Outcome { connections, before, with_all, after, entrance, rest_cpu: resting.cpu, rest: resting.time, rush })
    }
}

/// Nothing happens, heartbeats apart.
fn rest(clients: &mut Clients, time: Duration) -> anyhow::Result<()> {
    struct Resting(Instant);

    impl Load for Resting {
        fn due(&mut self, _: &mut Clients, now: Instant) -> anyhow::Result<Due> {
            Ok(if now >= self.0 { Due::Done } else { Due::At(self.0) })
        }

        fn heard(&mut self, _: &mut Clients, _: Id, heard: Heard, _: &[u8], _: Instant) -> anyhow::Result<()> {
            bail!("{heard:?} is told to who does nothing");
        }
    }

    clients.run(&mut Resting(Instant::now() + time), time + SLACK)
}
