//! The kinds of work that servers are given, each in a file, and how long and what they take.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use nix::time::ClockId;

use crate::clients::Clients;
use crate::server::Server;

pub(crate) mod call;
pub(crate) mod cores;
pub(crate) mod crowd;
pub(crate) mod idle;
pub(crate) mod media;
pub(crate) mod relay;
pub(crate) mod rooms;

/// The warm-up, and what counts after it.
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

/// How much more time than it was given a work may take, until all that is under way has come to its end.
pub(crate) const SLACK: Duration = Duration::from_secs(30);

/// The clocks, at one moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    pub(crate) at: Instant,
    cpu: Duration,
    user: Duration,
    load_cpu: Duration,
    idle: Duration,
}

/// What went by between two moments.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Span {
    pub(crate) time: Duration,
    /// Of the server.
    pub(crate) cpu: Duration,
    /// The part of it outside the kernel, in steps of 10 ms.
    pub(crate) user: Duration,
    pub(crate) load_cpu: Duration,
    /// The part of the time in which the load had something to do.
    pub(crate) load_busy: f64,
}

impl Moment {
    pub(crate) fn now(server: &Server, clients: &Clients) -> anyhow::Result<Self> {
        let load_cpu = ClockId::CLOCK_PROCESS_CPUTIME_ID.now()?.into();
        Ok(Self { at: Instant::now(), cpu: server.cpu()?, user: server.user_cpu()?, load_cpu, idle: clients.idle() })
    }

    /// From an earlier moment to this one.
    pub(crate) fn since(self, start: Self) -> Span {
        let time = self.at - start.at;
        let load_busy = 1.0 - self.idle.saturating_sub(start.idle).as_secs_f64() / time.as_secs_f64();
        let (cpu, load_cpu) = (self.cpu.saturating_sub(start.cpu), self.load_cpu.saturating_sub(start.load_cpu));
        Span { time, cpu, user: self.user.saturating_sub(start.user), load_cpu, load_busy }
    }
}

/// Where a work is with its window.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Stage {
    WarmUp,
    /// It counts, since then.
    Counting(Moment),
    /// What is under way comes to its end, and nothing new begins.
    Ending(Span),
}

impl Stage {
    /// What it is now, by the clock. When the next begins, unless this is the last.
    pub(crate) fn next(
        &mut self,
        began: Instant,
        window: Window,
        now: Instant,
        moment: impl FnOnce() -> anyhow::Result<Moment>,
    ) -> anyhow::Result<Option<Instant>> {
        // A window that begins late, since the load had to wait for its core, is as long all the same.
        match *self {
            Self::WarmUp if now >= began + window.warm_up => *self = Self::Counting(moment()?),
            Self::Counting(start) if now >= start.at + window.length => *self = Self::Ending(moment()?.since(start)),
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

    pub(crate) fn is_ending(&self) -> bool {
        matches!(self, Self::Ending(_))
    }
}

/// What was done within a window.
pub(crate) struct Outcome {
    /// How many of what the work is counted in.
    pub(crate) count: u64,
    pub(crate) span: Span,
    /// In nanoseconds.
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

/// Latencies up to a minute, to three digits.
pub(crate) fn latencies() -> anyhow::Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, 60_000_000_000, 3)?)
}

/// Notes how long something took that began then, or was to begin then.
pub(crate) fn note(latency: &mut Histogram<u64>, began: Instant, now: Instant) {
    let nanos = now.saturating_duration_since(began).as_nanos();
    latency.saturating_record(u64::try_from(nanos).unwrap_or(u64::MAX));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_as_long_as_it_should_be_even_if_it_begins_late() {
        let (warm_up, length) = (Duration::from_secs(1), Duration::from_secs(2));
        let began = Instant::now();
        let after = |seconds: u64| began + Duration::from_secs(seconds);
        let at = |at: Instant| {
            Ok(Moment { at, cpu: at - began, user: Duration::ZERO, load_cpu: Duration::ZERO, idle: Duration::ZERO })
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
