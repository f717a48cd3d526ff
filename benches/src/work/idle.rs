//! Idle connections: their memory and CPU time, and what is left after they close.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::relay::seats;
use super::{Moment, SLACK};
use crate::clients::{Clients, Due, Id, Load};
use crate::dialect::Received;
use crate::joining::{Rush, disconnect_all, join_all};
use crate::server::Server;

pub(crate) struct Idle {
    /// Number of connections, two per room.
    pub(crate) connections: usize,
    /// How long they only answer heartbeats.
    pub(crate) rest: Duration,
    /// Time between the last close and reading the memory.
    pub(crate) settling: Duration,
}

pub(crate) struct Outcome {
    pub(crate) connections: usize,
    /// Resident memory in KiB: after a few clients have connected and disconnected, with all, and
    /// after all have disconnected.
    pub(crate) before: u64,
    pub(crate) with_all: u64,
    pub(crate) after: u64,
    /// The server's CPU time for all joins.
    pub(crate) join_cpu: Duration,
    /// The server's CPU time while all were idle, and the length of that phase.
    pub(crate) rest_cpu: Duration,
    pub(crate) rest: Duration,
    /// Time until all had joined that connected at once.
    pub(crate) rush: Duration,
}

/// Connections opened and closed first, so that one-time allocations do not count.
const FIRST: usize = 100;

/// Idle time before the memory is read.
const IDLE_BEFORE_READING: Duration = Duration::from_secs(1);

impl Idle {
    /// Runs the work. The server must have just been started.
    pub(crate) fn run(&self, clients: &mut Clients, server: &Server) -> anyhow::Result<Outcome> {
        join_all(clients, seats(FIRST / 2), Rush::Some)?;
        disconnect_all(clients)?;
        rest(clients, IDLE_BEFORE_READING)?;
        let before = server.memory()?;

        let start = Moment::now(server, clients)?;
        join_all(clients, seats(self.connections / 2), Rush::Some)?;
        let join_cpu = Moment::now(server, clients)?.since(start).cpu;
        rest(clients, IDLE_BEFORE_READING)?;
        let with_all = server.memory()?;
        let start = Moment::now(server, clients)?;
        rest(clients, self.rest)?;
        let resting = Moment::now(server, clients)?.since(start);

        disconnect_all(clients).context("closing all connections")?;
        rest(clients, self.settling)?;
        let after = server.memory()?;

        let begin = Instant::now();
        join_all(clients, seats(self.connections / 2), Rush::All)
            .context("connecting all at once")?;
        let rush = begin.elapsed();
        let connections = self.connections;
        Ok(Outcome {
            connections,
            before,
            with_all,
            after,
            join_cpu,
            rest_cpu: resting.cpu,
            rest: resting.time,
            rush,
        })
    }
}

/// Waits while clients only answer heartbeats.
fn rest(clients: &mut Clients, time: Duration) -> anyhow::Result<()> {
    struct Resting(Instant);

    impl Load for Resting {
        fn due(&mut self, _: &mut Clients, now: Instant) -> anyhow::Result<Due> {
            Ok(if now >= self.0 { Due::Done } else { Due::At(self.0) })
        }

        fn received(
            &mut self,
            _: &mut Clients,
            _: Id,
            message: Received,
            _: &[u8],
            _: Instant,
        ) -> anyhow::Result<()> {
            bail!("unexpected {message:?} while idle");
        }
    }

    clients.run(&mut Resting(Instant::now() + time), time + SLACK)
}
