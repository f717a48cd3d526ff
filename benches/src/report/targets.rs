//! Where Parlor must get, and where it is.

use super::{number, tables};
use crate::campaign::CORES_IN_FLIGHT;
use crate::results::Results;
use crate::server::{ENVELOPE, EXPRESS, FLOOR, PARLOR, SESSION, TOPIC};
use crate::work::media::MEETINGS;

/// The most or the least that a figure may be.
enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

/// What is looked at, what it is, and what it may be.
type Line = (&'static str, Option<f64>, Bound);

pub(super) fn signaling(results: &Results) -> String {
    let one = ["relay", "candidate/50/1"];
    let eight = ["relay", "candidate/50/8"];
    let offer = ["relay", "offer/50/1"];
    let call = ["call", "whole"];
    let against = |server: &str, [work, case]: [&str; 2], name: &str| {
        results.ratio([work, case, PARLOR.key, name], [work, case, server, name]).map(|ratio| ratio.median)
    };
    let idle = |server: &str, name: &str| results.figure("idle", "all", server, name).map(|figure| figure.median);
    let raw = [TOPIC, SESSION, ENVELOPE].map(|wire| idle(wire.key, "each_kib"));
    let growth = CORES_IN_FLIGHT.map(|in_flight| tables::growth(results, &PARLOR, in_flight));
    table([
        (
            "CPU per candidate, 50 pairs, one in flight, against Express",
            against(EXPRESS.key, one, "cpu_us"),
            Bound::AtMost(1.0 / 3.5),
        ),
        ("the same, against the floor", against(FLOOR.key, one, "cpu_us"), Bound::AtMost(1.6)),
        (
            "CPU per candidate, 50 pairs, eight in flight, against Express",
            against(EXPRESS.key, eight, "cpu_us"),
            Bound::AtMost(1.0 / 5.0),
        ),
        (
            "CPU per offer, 50 pairs, one in flight, against Express",
            against(EXPRESS.key, offer, "cpu_us"),
            Bound::AtMost(1.0 / 5.0),
        ),
        ("CPU per whole call, against Express", against(EXPRESS.key, call, "cpu_us"), Bound::AtMost(1.0 / 8.0)),
        (
            "p99 of a whole call at the same load, against Express",
            against(EXPRESS.key, call, "p99_us"),
            Bound::AtMost(1.0 / 5.0),
        ),
        ("KiB per idle Socket.IO connection", idle(PARLOR.key, "each_kib"), Bound::AtMost(12.0)),
        ("the same, against Express", against(EXPRESS.key, ["idle", "all"], "each_kib"), Bound::AtMost(1.0)),
        ("KiB per idle plain connection, of the largest wire", most(&raw), Bound::AtMost(6.0)),
        ("memory after all have gone, against before", idle(PARLOR.key, "after_ratio"), Bound::AtMost(1.2)),
        ("throughput on two cores, against one", least(&growth), Bound::AtLeast(1.8)),
    ])
}

pub(super) fn media(results: &Results) -> String {
    let forwarding = MEETINGS
        .map(|meeting| results.figure("media", &meeting.name(), ENVELOPE.key, "cpu_us").map(|figure| figure.median));
    let p99 = |case| ["media", case, PARLOR.key, "p99_us"];
    let beside = results.ratio(p99("forwarding"), p99("silent")).map(|ratio| ratio.median);
    table([
        ("CPU µs to forward a packet of media, of the costliest meeting", most(&forwarding), Bound::AtMost(10.0)),
        ("p99 of a signal while a meeting is forwarded, against while it is silent", beside, Bound::AtMost(1.2)),
    ])
}

fn table<const LINES: usize>(lines: [Line; LINES]) -> String {
    let rows = lines.into_iter().map(|(what, is, bound)| {
        let (wanted, holds) = match bound {
            Bound::AtMost(most) => (format!("≤ {}", part(most)), is.map(|is| is <= most)),
            Bound::AtLeast(least) => (format!("≥ {}", part(least)), is.map(|is| is >= least)),
        };
        let verdict = match holds {
            Some(true) => "yes",
            Some(false) => "**no**",
            None => "not measured",
        };
        vec![what.to_owned(), wanted, is.map_or_else(|| "–".to_owned(), part), verdict.to_owned()]
    });
    super::table(&["what", "wanted", "is", ""], rows)
}

/// A part of a whole is told as one.
fn part(value: f64) -> String {
    if value < 1.0 { format!("1/{}", number(1.0 / value)) } else { number(value) }
}

fn most(values: &[Option<f64>]) -> Option<f64> {
    values.iter().flatten().copied().reduce(f64::max)
}

fn least(values: &[Option<f64>]) -> Option<f64> {
    values.iter().flatten().copied().reduce(f64::min)
}
