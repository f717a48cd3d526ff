//! The checks after a phase.

use crate::server::Held;
use crate::tally::{Count, Tally};

/// Maximum growth of memory between two idle moments after the same load, in percent.
const GROWTH: u64 = 10;

/// Events that must have happened for the run to be meaningful.
pub(crate) const EXERCISED: [Count; 17] = [
    Count::Calls,
    Count::BystanderCalls,
    Count::RoomSteps,
    Count::Drops,
    Count::Resumed,
    Count::Missed,
    Count::Expired,
    Count::TooLate,
    Count::Stalls,
    Count::RefusedForStall,
    Count::Floods,
    Count::FloodRefused,
    Count::Evicted,
    Count::Hostile,
    Count::Rest,
    Count::MediaSteps,
    Count::MediaReceived,
];

/// The protocols, as the metrics name them.
const DIALECTS: [&str; 4] = ["socketio", "envelope", "topic", "session"];

/// Checks that the server holds no state after all clients have disconnected.
pub(crate) fn nothing_held(tally: &Tally, when: &str, start: &Held, held: &Held) {
    for difference in held.differences(start) {
        tally.violation(format!("{when}: {difference}"));
    }
    for dialect in DIALECTS {
        let label = format!("dialect=\"{dialect}\"");
        let opened = held.metrics.sum("parlor_connections_opened_total", &label);
        let closed = held.metrics.sum("parlor_connections_closed_total", &label);
        if opened.is_none_or(|opened| opened == 0.0) || opened != closed {
            tally.violation(format!(
                "{when}: of {dialect}, {opened:?} were opened and {closed:?} closed"
            ));
        }
    }
    match held.metrics.sum("parlor_panics_total", "") {
        Some(0.0) => {}
        panics => tally.violation(format!("{when}: parlor_panics_total is {panics:?}")),
    }
}

/// The metrics must agree with what the clients received.
pub(crate) fn noted(tally: &Tally, held: &Held) {
    for (name, label) in [
        ("parlor_queue_full_total", ""),
        ("parlor_limits_hit_total", ""),
        ("parlor_errors_total", "code=\"DELIVERY_FAILED\""),
        ("parlor_errors_total", "code=\"RATE_LIMITED\""),
        ("parlor_messages_received_total", ""),
        ("parlor_media_packets_forwarded_total", ""),
        ("parlor_media_lost_total", "reason=\"unknown_sender\""),
    ] {
        if held.metrics.sum(name, label).is_none_or(|sum| sum == 0.0) {
            tally.violation(format!("{name}{{{label}}} counts nothing"));
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "no run has 2^52 resumptions")]
    let (resumed, late) = (tally.of(Count::Resumed) as f64, tally.of(Count::TooLate) as f64);
    let resumptions =
        |outcome| held.metrics.sum("parlor_resumptions_total", &format!("outcome=\"{outcome}\""));
    if resumptions("recovered") != Some(resumed)
        || resumptions("refused").is_none_or(|refused| refused < late)
    {
        let (recovered, refused) = (resumptions("recovered"), resumptions("refused"));
        tally.violation(format!(
            "{resumed} resumed and {late} were too late, the metrics say {recovered:?} and {refused:?}"
        ));
    }
    let relayed = held.metrics.sum("parlor_messages_relayed_total", "");
    // Each received signal had been queued for its recipient.
    #[expect(clippy::cast_precision_loss, reason = "no run sends 2^52 messages")]
    let delivered = tally.of(Count::Delivered) as f64;
    if relayed.is_none_or(|relayed| relayed < delivered) {
        tally.violation(format!("{delivered} signals were delivered, the metrics say {relayed:?}"));
    }
}

/// Memory after the same load, in KiB, with a growth that is tolerated however small the plateau.
pub(crate) fn memory(tally: &Tally, plateau: u64, end: u64, tolerance: u64) {
    // Less memory is no leak.
    if end > plateau + tolerance.max(plateau * GROWTH / 100) {
        tally.violation(format!("memory has grown from {plateau} KiB to {end} KiB"));
    }
}

/// A run without some kind of traffic proves nothing.
pub(crate) fn exercised(tally: &Tally, expected: &[Count]) {
    for &count in expected {
        if tally.of(count) == 0 {
            tally.violation(format!("no {count:?} in this run: it was too short, or broken"));
        }
    }
}
