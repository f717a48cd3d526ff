//! What happened: counts, times, and everything that should not have.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Count {
    Calls,
    BystanderCalls,
    /// Changes of a room of many.
    RoomSteps,
    /// Signals that clients sent, floods apart.
    Sent,
    /// Signals that clients heard.
    Delivered,
    /// Connections ended without a word.
    Drops,
    /// Connections that fell silent and stayed open.
    Vanished,
    /// Those that came back after a drop and had their place again.
    Resumed,
    /// Signals that they heard on a connection after the one that was open when the signal was sent.
    Missed,
    /// Those that did not come back in time, and were gone.
    Expired,
    /// Those that came back when their place was gone.
    TooLate,
    Stalls,
    /// Signals refused because their target did not read.
    RefusedForStall,
    Floods,
    /// Messages of floods.
    FloodSent,
    /// Those that were refused.
    FloodRefused,
    /// Connections that the server ended: stalls and floods.
    ThrownOut,
    Hostile,
    Rest,
    /// What was done in meetings through the media server.
    MediaSteps,
    /// Packets of media that somebody waited for, and heard.
    MediaHeard,
}

impl Count {
    const ALL: [(Self, &'static str); 21] = [
        (Self::Calls, "calls"),
        (Self::BystanderCalls, "bystander calls"),
        (Self::RoomSteps, "changes of rooms"),
        (Self::Sent, "signals sent"),
        (Self::Delivered, "signals delivered"),
        (Self::Drops, "drops"),
        (Self::Vanished, "silent ends"),
        (Self::Resumed, "places taken again"),
        (Self::Missed, "signals missed, told"),
        (Self::Expired, "places given up"),
        (Self::TooLate, "returns too late"),
        (Self::Stalls, "stalls"),
        (Self::RefusedForStall, "refused for a stall"),
        (Self::Floods, "floods"),
        (Self::FloodSent, "messages of floods"),
        (Self::FloodRefused, "refused of floods"),
        (Self::ThrownOut, "thrown out"),
        (Self::Hostile, "hostile acts"),
        (Self::Rest, "rooms by REST"),
        (Self::MediaSteps, "steps of meetings"),
        (Self::MediaHeard, "packets waited for"),
    ];
}

/// The most violations that are kept: what went wrong first matters most.
const KEPT: usize = 40;

#[derive(Default)]
pub(crate) struct Tally {
    counts: [AtomicU64; Count::ALL.len()],
    /// From sending a signal to hearing it, between bystanders.
    signals: Mutex<Vec<Duration>>,
    /// Of whole bystander calls.
    calls: Mutex<Vec<Duration>>,
    violations: Mutex<Vec<String>>,
    violated: AtomicU64,
}

impl Tally {
    pub(crate) fn add(&self, count: Count) {
        self.add_many(count, 1);
    }

    pub(crate) fn add_many(&self, count: Count, number: u64) {
        self.counts[count as usize].fetch_add(number, Ordering::Relaxed);
    }

    pub(crate) fn of(&self, count: Count) -> u64 {
        self.counts[count as usize].load(Ordering::Relaxed)
    }

    /// Notes how long a bystander call and its signals took.
    pub(crate) fn time(&self, call: Duration, signals: &[Duration]) {
        self.calls.lock().push(call);
        self.signals.lock().extend(signals);
    }

    /// Notes something that must not happen. It is printed at once too, in case the end is not waited for.
    pub(crate) fn violation(&self, what: impl Into<String>) {
        let what = what.into();
        self.violated.fetch_add(1, Ordering::Relaxed);
        let mut violations = self.violations.lock();
        if violations.len() < KEPT {
            eprintln!("violation: {what}");
            violations.push(what);
        }
    }

    pub(crate) fn violated(&self) -> u64 {
        self.violated.load(Ordering::Relaxed)
    }

    /// Everything in lines.
    pub(crate) fn report(&self) -> String {
        let mut out = String::new();
        for (count, name) in Count::ALL {
            _ = writeln!(out, "  {name:<22}{}", self.of(count));
        }
        _ = writeln!(out, "  bystander call        {}", percentiles(&self.calls));
        _ = writeln!(out, "  bystander signal      {}", percentiles(&self.signals));
        let violations = self.violations.lock();
        let violated = self.violated();
        _ = writeln!(out, "  violations            {violated}");
        for violation in violations.iter() {
            _ = writeln!(out, "    {violation}");
        }
        let unsaid = violated - violations.len() as u64;
        if unsaid > 0 {
            _ = writeln!(out, "    and {unsaid} more");
        }
        out
    }
}

fn percentiles(times: &Mutex<Vec<Duration>>) -> String {
    let mut times = times.lock().clone();
    times.sort_unstable();
    let Some(max) = times.last() else { return "none".to_owned() };
    let percentile = |hundredths: usize| times[(times.len() * hundredths / 100).min(times.len() - 1)];
    format!("p50 {:.2?}, p99 {:.2?}, max {max:.2?}, of {}", percentile(50), percentile(99), times.len())
}
