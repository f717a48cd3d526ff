//! The measurement of one work: its stages by the clock, and what is counted meanwhile.

use std::time::Instant;

use anyhow::bail;
use hdrhistogram::Histogram;

use super::{Moment, Outcome, Stage, Window};
use crate::clients::Clients;
use crate::server::Server;

/// Counts units of work and their latencies, in a window after a warm-up.
pub(crate) struct Measurement<'a> {
    server: &'a Server,
    pub(crate) began: Instant,
    stage: Stage,
    count: u64,
    latency: Histogram<u64>,
}

impl<'a> Measurement<'a> {
    /// Starts with the warm-up.
    pub(crate) fn start(server: &'a Server) -> anyhow::Result<Self> {
        Self::at(server, Stage::WarmUp)
    }

    /// Starts without a warm-up.
    pub(crate) fn start_counting(server: &'a Server, clients: &Clients) -> anyhow::Result<Self> {
        Self::at(server, Stage::Counting(Moment::now(server, clients)?))
    }

    fn at(server: &'a Server, stage: Stage) -> anyhow::Result<Self> {
        // Latencies up to a minute, with three digits.
        let latency = Histogram::new_with_bounds(1, 60_000_000_000, 3)?;
        Ok(Self { server, began: Instant::now(), stage, count: 0, latency })
    }

    /// Advances the stage by the clock. Returns when the next one begins, unless this is the last.
    pub(crate) fn advance(
        &mut self,
        window: Window,
        clients: &Clients,
        now: Instant,
    ) -> anyhow::Result<Option<Instant>> {
        self.stage.next(self.began, window, now, || Moment::now(self.server, clients))
    }

    /// Ends the counting.
    pub(crate) fn stop(&mut self, clients: &Clients) -> anyhow::Result<()> {
        if let Stage::Counting(start) = self.stage {
            self.stage = Stage::Ending(Moment::now(self.server, clients)?.since(start));
        }
        Ok(())
    }

    /// Returns whether only what is in flight is awaited.
    pub(crate) fn is_ending(&self) -> bool {
        matches!(self.stage, Stage::Ending(_))
    }

    /// Counts a unit of work.
    pub(crate) fn count(&mut self) {
        self.count += u64::from(self.stage.counts());
    }

    /// Counts a unit of work with its latency, since it began or was scheduled.
    pub(crate) fn count_since(&mut self, began: Instant, now: Instant) {
        self.count();
        if self.stage.counts() {
            let nanos = now.saturating_duration_since(began).as_nanos();
            self.latency.saturating_record(u64::try_from(nanos).unwrap_or(u64::MAX));
        }
    }

    /// Returns the result.
    pub(crate) fn outcome(self) -> anyhow::Result<Outcome> {
        let Stage::Ending(span) = self.stage else { bail!("the work did not end in time") };
        Ok(Outcome { count: self.count, span, latency: self.latency })
    }
}
