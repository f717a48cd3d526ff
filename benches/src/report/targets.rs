//! Performance targets, and the results for them.

use super::{number, tables};
use crate::campaign::CORES_IN_FLIGHT;
use crate::results::Results;
use crate::server::{
    BUN, ENVELOPE, EXPRESS, FLOOR, JANUS, PARLOR, PARLOR_FORWARDING, SESSION, TOPIC,
};
use crate::work::forwarding::CASES;
use crate::work::media::MEETINGS;

/// A bound of a figure.
enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

/// The description of a figure, its value, and its bound.
type Line = (String, Option<f64>, Bound);

pub(super) fn signaling(results: &Results) -> String {
    let ratio = |numerator: [&str; 4], denominator: [&str; 4]| {
        results.ratio(numerator, denominator).map(|ratio| ratio.median)
    };
    let idle = |server: &str, name: &str| {
        results.figure("idle", "all", server, name).map(|figure| figure.median)
    };
    let plain = [TOPIC, SESSION, ENVELOPE].map(|protocol| idle(protocol.key, "each_kib"));
    let growth = CORES_IN_FLIGHT.map(|in_flight| tables::growth(results, &PARLOR, in_flight));
    let one = ["relay", "candidate/50/1", "cpu_us"];
    let peers = [
        (one, "CPU per candidate, 50 pairs, one in flight", 3.5, 1.5),
        (
            ["relay", "candidate/50/8", "cpu_us"],
            "CPU per candidate, 50 pairs, eight in flight",
            5.0,
            3.5,
        ),
        (["relay", "offer/50/1", "cpu_us"], "CPU per offer, 50 pairs, one in flight", 4.5, 2.5),
        (["call", "whole", "cpu_us"], "CPU per whole call", 8.0, 3.0),
        (["call", "whole", "p99_us"], "p99 of a whole call at the same load", 5.0, 3.0),
    ];
    let mut lines: Vec<Line> = Vec::new();
    for ([work, case, name], what, to_express, to_bun) in peers {
        for (server, bound) in [(EXPRESS, to_express), (BUN, to_bun)] {
            let is = ratio([work, case, PARLOR.key, name], [work, case, server.key, name]);
            lines.push((format!("{what}, to {}", server.label), is, Bound::AtMost(1.0 / bound)));
        }
    }
    let [work, case, name] = one;
    let to = |server: &str| ratio([work, case, PARLOR.key, name], [work, case, server, name]);
    let user = |server: &'static str| ["user", "candidate/50/1", server, "user_us"];
    lines.extend([
        (
            format!("user CPU per candidate, 50 pairs, one in flight, to {}", BUN.label),
            ratio(user(PARLOR.key), user(BUN.key)),
            Bound::AtMost(1.0 / 4.0),
        ),
        (
            "CPU per candidate, 50 pairs, one in flight, to `/ws`".to_owned(),
            to(ENVELOPE.key),
            Bound::AtMost(1.1),
        ),
        ("the same, to the floor".to_owned(), to(FLOOR.key), Bound::AtMost(1.6)),
        (
            "KiB per idle Socket.IO connection".to_owned(),
            idle(PARLOR.key, "each_kib"),
            Bound::AtMost(7.0),
        ),
        (
            "KiB per idle connection of the plain protocols, at most".to_owned(),
            most(&plain),
            Bound::AtMost(6.0),
        ),
        (
            "memory after all have closed, to before".to_owned(),
            idle(PARLOR.key, "after_ratio"),
            Bound::AtMost(1.2),
        ),
        ("throughput on two cores, to one".to_owned(), least(&growth), Bound::AtLeast(1.8)),
    ]);
    table(lines)
}

pub(super) fn media(results: &Results) -> String {
    let forwarding = MEETINGS.map(|meeting| {
        results.figure("media", &meeting.name(), ENVELOPE.key, "cpu_us").map(|figure| figure.median)
    });
    let p99 = |case| ["media", case, PARLOR.key, "p99_us"];
    let beside = results.ratio(p99("forwarding"), p99("silent")).map(|ratio| ratio.median);
    let to_janus = |case: usize| {
        let name = CASES[case].name();
        let figure = |server| ["forwarding", &*name, server, "cpu_us"];
        results.ratio(figure(PARLOR_FORWARDING.key), figure(JANUS.key)).map(|ratio| ratio.median)
    };
    let idle = results.figure("forwarding", &CASES[1].name(), PARLOR_FORWARDING.key, "idle_busy");
    table([
        (
            "CPU per forwarded packet, 50 receivers and 500 packets a second, to Janus".to_owned(),
            to_janus(0),
            Bound::AtMost(0.55),
        ),
        (
            "the same, 200 receivers and 40 packets a second".to_owned(),
            to_janus(1),
            Bound::AtMost(0.4),
        ),
        (
            "of a core for 200 idle receivers, %".to_owned(),
            idle.map(|idle| idle.median * 100.0),
            Bound::AtMost(4.0),
        ),
        (
            "CPU µs to forward a packet of media, of the costliest meeting".to_owned(),
            most(&forwarding),
            Bound::AtMost(10.0),
        ),
        (
            "p99 of a signal while a meeting is forwarded, to while it is silent".to_owned(),
            beside,
            Bound::AtMost(1.2),
        ),
    ])
}

fn table(lines: impl IntoIterator<Item = Line>) -> String {
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
        vec![what, wanted, is.map_or_else(|| "–".to_owned(), part), verdict.to_owned()]
    });
    super::table(&["what", "wanted", "is", ""], rows)
}

/// Formats a value below one as a fraction.
fn part(value: f64) -> String {
    if value < 1.0 { format!("1/{}", number(1.0 / value)) } else { number(value) }
}

fn most(values: &[Option<f64>]) -> Option<f64> {
    values.iter().flatten().copied().reduce(f64::max)
}

fn least(values: &[Option<f64>]) -> Option<f64> {
    values.iter().flatten().copied().reduce(f64::min)
}
