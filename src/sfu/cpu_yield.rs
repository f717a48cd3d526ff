//! Sharing the media thread's core with signaling.
//!
//! A burst of datagrams for a large room keeps the thread busy for milliseconds. On a single core,
//! signaling would wait for all of it, since the kernel does not preempt a thread before its time
//! slice ends. So the thread yields now and then.
//!
//! Invariant: a CPU-bound process does not get more than its fair share. It would keep the core for
//! a whole time slice at each yield and media would stall, whereas signaling gives the core back
//! after some ten microseconds. So after a yield that took long, the thread does not yield for a
//! while.

use std::time::{Duration, Instant};

/// Time between two yields.
const INTERVAL: Duration = Duration::from_micros(100);

/// A yield that takes longer went to a CPU-bound process, not to signaling.
const LONG_YIELD: Duration = Duration::from_millis(1);

/// Time until the next yield after a long one.
const BACKOFF: Duration = Duration::from_millis(100);

/// Decides when the media thread yields.
#[derive(Debug)]
pub(super) struct CpuYield {
    next: Instant,
}

impl CpuYield {
    pub(super) fn new(now: Instant) -> Self {
        Self { next: now + INTERVAL }
    }

    /// Yields if it is time to, and returns the current time.
    pub(super) fn yield_if_due(&mut self) -> Instant {
        self.yield_with(Instant::now, std::thread::yield_now)
    }

    fn yield_with(
        &mut self,
        mut now: impl FnMut() -> Instant,
        yield_now: impl FnOnce(),
    ) -> Instant {
        let before = now();
        if before < self.next {
            return before;
        }
        yield_now();
        let after = now();
        self.next = after
            + if after.saturating_duration_since(before) > LONG_YIELD { BACKOFF } else { INTERVAL };
        after
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// Runs for 10 ms and checks every 10 µs whether to yield, where a yield takes `takes`. Returns
    /// the number of yields.
    fn count_yields(cpu_yield: &mut CpuYield, clock: &Cell<Instant>, takes: Duration) -> u32 {
        let mut yields = 0;
        for _ in 0..1000 {
            cpu_yield.yield_with(
                || clock.get(),
                || {
                    yields += 1;
                    clock.set(clock.get() + takes);
                },
            );
            clock.set(clock.get() + Duration::from_micros(10));
        }
        yields
    }

    #[test]
    fn thread_yields_often_to_signaling_and_rarely_to_cpu_bound_processes() {
        let clock = Cell::new(Instant::now());
        let mut cpu_yield = CpuYield::new(clock.get());
        let to_signaling = count_yields(&mut cpu_yield, &clock, Duration::from_micros(50));
        assert!((80..=100).contains(&to_signaling), "{to_signaling}");
        let to_cpu_bound = count_yields(&mut cpu_yield, &clock, Duration::from_millis(3));
        assert_eq!(to_cpu_bound, 1);
        clock.set(clock.get() + BACKOFF);
        assert_eq!(count_yields(&mut cpu_yield, &clock, Duration::ZERO), to_signaling + 1);
    }
}
