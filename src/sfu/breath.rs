//! How the media thread shares a core with signals.
//!
//! What arrives at once for a large room keeps the thread busy for milliseconds, and where there is no other core, signals
//! would wait for all of it: the kernel lets who wakes up wait until the slice of who runs has ended. So the thread offers
//! the core to others now and then.
//!
//! The guarantee that is easy to break: who computes without a pause does not get more than the kernel gives it anyway. It
//! would keep the core for a whole slice each time it is offered, and media would come to a standstill; a signal gives it
//! back after some ten microseconds. So after an offer that took long there is none for a while.

use std::time::{Duration, Instant};

/// For how long media has a core before it is offered to others.
const STRETCH: Duration = Duration::from_micros(100);

/// Who had the core for longer was not a signal.
const LONG: Duration = Duration::from_millis(1);

/// For how long the core is not offered after that.
const HOLD: Duration = Duration::from_millis(100);

/// When others may next have the core.
#[derive(Debug)]
pub(super) struct Breath {
    next: Instant,
}

impl Breath {
    pub(super) fn new(now: Instant) -> Self {
        Self { next: now + STRETCH }
    }

    /// Offers the core, if it is time to, and returns what time it is then.
    pub(super) fn take(&mut self) -> Instant {
        self.take_with(Instant::now, std::thread::yield_now)
    }

    fn take_with(&mut self, mut now: impl FnMut() -> Instant, offer: impl FnOnce()) -> Instant {
        let before = now();
        if before < self.next {
            return before;
        }
        offer();
        let after = now();
        self.next = after + if after.saturating_duration_since(before) > LONG { HOLD } else { STRETCH };
        after
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// Looks every 10 µs whether to offer the core, which takes so long; how often that was in 10 ms of its own.
    fn offers(breath: &mut Breath, clock: &Cell<Instant>, takes: Duration) -> u32 {
        let mut offers = 0;
        for _ in 0..1000 {
            breath.take_with(
                || clock.get(),
                || {
                    offers += 1;
                    clock.set(clock.get() + takes);
                },
            );
            clock.set(clock.get() + Duration::from_micros(10));
        }
        offers
    }

    #[test]
    fn the_core_is_offered_now_and_then_to_signals_and_hardly_ever_to_who_keeps_it() {
        let clock = Cell::new(Instant::now());
        let mut breath = Breath::new(clock.get());
        let to_signals = offers(&mut breath, &clock, Duration::from_micros(50));
        assert!((80..=100).contains(&to_signals), "{to_signals}");
        let to_others = offers(&mut breath, &clock, Duration::from_millis(3));
        assert_eq!(to_others, 1);
        clock.set(clock.get() + HOLD);
        assert_eq!(offers(&mut breath, &clock, Duration::ZERO), to_signals + 1);
    }
}
