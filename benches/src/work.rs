//! The kinds of work that servers are measured with, one per file, and their time and CPU time.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use nix::time::ClockId;

use crate::clients::Clients;
use crate::server::Server;

pub(crate) mod call;
pub(crate) mod cores;
pub(crate) mod forwarding;
pub(crate) mod idle;
pub(crate) mod joins;
pub(crate) mod many_rooms;
mod measurement;
pub(crate) mod media;
pub(crate) mod relay;
pub(crate) mod rooms;

/// The warm-up, and the measured time after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) warm_up: Duration,
    pub(crate) length: Duration,
}

impl Window {
    pub(crate) fn whole(self) -> Duration {
        self.warm_up + self.length
    }
}

/// Additional time of a work until everything in flight has arrived.
pub(crate) const SLACK: Duration = Duration::from_secs(30);

/// A reading of all clocks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    pub(crate) at: Instant,
    cpu: Duration,
    user: Duration,
    load_cpu: Duration,
    idle: Duration,
}

/// The difference between two readings.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Span {
    pub(crate) time: Duration,
    /// CPU time of the server.
    pub(crate) cpu: Duration,
    /// The user time of the server, in steps of 10 ms.
    pub(crate) user: Duration,
    pub(crate) load_cpu: Duration,
    /// Share of time in which the load was busy.
    pub(crate) load_busy: f64,
}

impl Moment {
    pub(crate) fn now(server: &Server, clients: &Clients) -> anyhow::Result<Self> {
        let load_cpu = ClockId::CLOCK_PROCESS_CPUTIME_ID.now()?.into();
        Ok(Self {
            at: Instant::now(),
            cpu: server.cpu()?,
            user: server.user_cpu()?,
            load_cpu,
            idle: clients.idle(),
        })
    }

    /// Returns the difference from an earlier reading.
    pub(crate) fn since(self, start: Self) -> Span {
        let time = self.at - start.at;
        let load_busy =
            1.0 - self.idle.saturating_sub(start.idle).as_secs_f64() / time.as_secs_f64();
        let (cpu, load_cpu) =
            (self.cpu.saturating_sub(start.cpu), self.load_cpu.saturating_sub(start.load_cpu));
        Span { time, cpu, user: self.user.saturating_sub(start.user), load_cpu, load_busy }
    }
}

/// The stage of a work.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Stage {
    WarmUp,
    /// Measuring, since this reading.
    Counting(Moment),
    /// Waiting for everything in flight.
    Ending(Span),
}

impl Stage {
    /// Advances the stage by the clock. Returns when the next one begins, unless this is the last.
    pub(crate) fn next(
        &mut self,
        began: Instant,
        window: Window,
        now: Instant,
        moment: impl FnOnce() -> anyhow::Result<Moment>,
    ) -> anyhow::Result<Option<Instant>> {
        // A window that begins late, since the load had to wait for its core, has the same length.
        match *self {
            Self::WarmUp if now >= began + window.warm_up => *self = Self::Counting(moment()?),
            Self::Counting(start) if now >= start.at + window.length => {
                *self = Self::Ending(moment()?.since(start));
            }
            _ => {}
        }
        Ok(match self {
            Self::WarmUp => Some(began + window.warm_up),
            Self::Counting(start) => Some(start.at + window.length),
            Self::Ending(_) => None,
        })
    }

    pub(crate) fn counts(&self) -> bool {
        matches!(self, Self::Counting(_))
    }
}

/// The result of a window.
pub(crate) struct Outcome {
    /// Number of units of work.
    pub(crate) count: u64,
    pub(crate) span: Span,
    /// Latencies in nanoseconds.
    pub(crate) latency: Histogram<u64>,
}

impl Outcome {
    pub(crate) fn cpu_micros(&self) -> f64 {
        self.span.cpu.as_secs_f64() * 1e6 / self.count as f64
    }

    pub(crate) fn per_second(&self) -> f64 {
        self.count as f64 / self.span.time.as_secs_f64()
    }

    pub(crate) fn latency_micros(&self, quantile: f64) -> f64 {
        self.latency.value_at_quantile(quantile) as f64 / 1000.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn late_window_has_full_length() {
        let (warm_up, length) = (Duration::from_secs(1), Duration::from_secs(2));
        let began = Instant::now();
        let after = |seconds: u64| began + Duration::from_secs(seconds);
        let at = |at: Instant| {
            Ok(Moment {
                at,
                cpu: at - began,
                user: Duration::ZERO,
                load_cpu: Duration::ZERO,
                idle: Duration::ZERO,
            })
        };
        let mut stage = Stage::WarmUp;
        let mut next = |now: Instant| {
            let next = stage.next(began, Window { warm_up, length }, now, || at(now)).unwrap();
            (next, stage)
        };
        assert_eq!(next(began).0, Some(after(1)));
        assert_eq!(next(after(10)).0, Some(after(12)));
        assert_eq!(next(after(11)).0, Some(after(12)));
        let (end, stage) = next(after(12));
        assert_eq!(end, None);
        let Stage::Ending(span) = stage else { panic!("not over") };
        assert_eq!((span.time, span.cpu, span.load_busy), (length, length, 1.0));
    }
}
