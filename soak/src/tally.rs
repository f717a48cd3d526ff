//! Counts, latencies and violations.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

/// A counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Count {
    Calls,
    BystanderCalls,
    /// Steps of group rooms.
    RoomSteps,
    /// Signals that clients sent, without floods.
    Sent,
    /// Signals that clients received.
    Delivered,
    /// Connections ended without a close frame.
    Drops,
    /// Connections that fell silent and stayed open.
    Vanished,
    /// Sessions resumed.
    Resumed,
    /// Signals replayed after a resumption.
    Missed,
    /// Sessions that expired.
    Expired,
    /// Attempts to resume an expired session.
    TooLate,
    Stalls,
    /// Signals refused because the target's send queue was full.
    RefusedForStall,
    Floods,
    /// Messages of floods.
    FloodSent,
    /// Messages of floods that were refused.
    FloodRefused,
    /// Connections that the server closed: slow consumers and floods.
    Evicted,
    Hostile,
    Rest,
    /// Steps of conferences through the media server.
    MediaSteps,
    /// Media packets that a consumer waited for, and received.
    MediaReceived,
    /// Restarts of nodes.
    Restarts,
    /// Clients that joined again after their connection had ended.
    Rejoined,
    /// Signals between moving sessions that were reported as not delivered.
    Reported,
}

impl Count {
    const ALL: [(Self, &'static str); 24] = [
        (Self::Calls, "calls"),
        (Self::BystanderCalls, "bystander calls"),
        (Self::RoomSteps, "room steps"),
        (Self::Sent, "signals sent"),
        (Self::Delivered, "signals delivered"),
        (Self::Drops, "drops"),
        (Self::Vanished, "silent connections"),
        (Self::Resumed, "sessions resumed"),
        (Self::Missed, "signals replayed"),
        (Self::Expired, "sessions expired"),
        (Self::TooLate, "resumptions too late"),
        (Self::Stalls, "stalls"),
        (Self::RefusedForStall, "signals refused for a full queue"),
        (Self::Floods, "floods"),
        (Self::FloodSent, "flood messages sent"),
        (Self::FloodRefused, "flood messages refused"),
        (Self::Evicted, "clients disconnected by the server"),
        (Self::Hostile, "hostile clients"),
        (Self::Rest, "rooms over REST"),
        (Self::MediaSteps, "conference steps"),
        (Self::MediaReceived, "media packets received"),
        (Self::Restarts, "restarts of nodes"),
        (Self::Rejoined, "joins after a restart"),
        (Self::Reported, "signals reported as not delivered"),
    ];
}

/// Maximum number of violations that are kept: the first matter most.
const KEPT: usize = 40;

#[derive(Default)]
pub(crate) struct Tally {
    counts: [AtomicU64; Count::ALL.len()],
    /// Latency of signals between bystanders.
    signals: Mutex<Vec<Duration>>,
    /// Length of whole bystander calls.
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

    /// Records the latencies of a bystander call and its signals.
    pub(crate) fn time(&self, call: Duration, signals: &[Duration]) {
        self.calls.lock().push(call);
        self.signals.lock().extend(signals);
    }

    /// Records a violation, and prints it at once.
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

    /// Formats everything.
    pub(crate) fn report(&self) -> String {
        let mut out = String::new();
        for (count, name) in Count::ALL.into_iter().filter(|(count, _)| self.of(*count) > 0) {
            _ = writeln!(out, "  {name:<22}{}", self.of(count));
        }
        for (what, times) in [("bystander call", &self.calls), ("bystander signal", &self.signals)]
        {
            if !times.lock().is_empty() {
                _ = writeln!(out, "  {what:<22}{}", percentiles(times));
            }
        }
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
    let percentile =
        |hundredths: usize| times[(times.len() * hundredths / 100).min(times.len() - 1)];
    format!(
        "p50 {:.2?}, p99 {:.2?}, max {max:.2?}, of {}",
        percentile(50),
        percentile(99),
        times.len()
    )
}
