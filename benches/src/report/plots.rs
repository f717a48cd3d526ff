//! The plots: their figures and titles.

use super::contestants;
use super::plot::{Bar, Bars, Line, Lines, bars, lines};
use crate::campaign::{Plan, ROOMS_EACH};
use crate::results::Results;
use crate::server::{BUN, EXPRESS, FLOOR, PARLOR};

/// Returns the work, file name and content of each plot. Works without results have no plot.
pub(super) fn all(results: &Results) -> Vec<(&'static str, &'static str, String)> {
    let candidate = [("candidate/50/1", "one in flight"), ("candidate/50/8", "eight in flight")];
    let memory = "Resident memory of an idle connection, two to a room";
    vec![
        (
            "relay",
            "candidate.svg",
            of_relay(
                results,
                "CPU time to relay a candidate, 50 pairs",
                &candidate,
                "cpu_us",
                "µs",
            ),
        ),
        ("relay", "latency.svg", latency(results)),
        (
            "call",
            "call.svg",
            of_case(results, "CPU time of a whole call", ["call", "whole"], "cpu_us", "µs"),
        ),
        ("idle", "memory.svg", of_case(results, memory, ["idle", "all"], "each_kib", "KiB")),
        ("many-rooms", "many-rooms.svg", many_rooms(results)),
    ]
}

fn plain(label: &str) -> String {
    label.replace('`', "")
}

fn of_relay(
    results: &Results,
    title: &str,
    cases: &[(&str, &str)],
    name: &str,
    unit: &str,
) -> String {
    let servers = contestants(results, "relay", cases[0].0).into_iter().map(|contestant| {
        let figure = |(case, _): &(&str, &str)| results.figure("relay", case, contestant.key, name);
        Bar {
            label: plain(contestant.label),
            is_ours: contestant.label.starts_with(PARLOR.label),
            values: cases.iter().map(figure).collect(),
        }
    });
    let series = cases.iter().map(|(_, series)| (*series).to_owned()).collect();
    bars(&Bars {
        title: title.to_owned(),
        unit: unit.to_owned(),
        series,
        groups: servers.collect(),
    })
}

fn of_case(
    results: &Results,
    title: &str,
    [work, case]: [&str; 2],
    name: &str,
    unit: &str,
) -> String {
    let servers = contestants(results, work, case).into_iter().map(|contestant| Bar {
        label: plain(contestant.label),
        is_ours: contestant.label.starts_with(PARLOR.label),
        values: vec![results.figure(work, case, contestant.key, name)],
    });
    bars(&Bars {
        title: title.to_owned(),
        unit: unit.to_owned(),
        series: Vec::new(),
        groups: servers.collect(),
    })
}

fn latency(results: &Results) -> String {
    let servers =
        contestants(results, "relay", "candidate/50/1").into_iter().map(|contestant| Bar {
            label: plain(contestant.label),
            is_ours: contestant.label.starts_with(PARLOR.label),
            values: ["p50_us", "p99_us"]
                .map(|name| results.figure("relay", "candidate/50/1", contestant.key, name))
                .to_vec(),
        });
    let title =
        "Time that a candidate takes, 50 pairs, at what keeps Express + Socket.IO half busy"
            .to_owned();
    let series = vec!["p50".to_owned(), "p99".to_owned()];
    bars(&Bars { title, unit: "µs".to_owned(), series, groups: servers.collect() })
}

fn many_rooms(results: &Results) -> String {
    let servers = [EXPRESS, BUN, PARLOR, FLOOR].into_iter().map(|contestant| {
        let points = Plan::FULL.room_pairs.iter().filter_map(|pairs| {
            let figure =
                results.figure("many-rooms", &pairs.to_string(), contestant.key, "cpu_us")?;
            Some(((pairs * ROOMS_EACH) as f64, figure))
        });
        Line {
            label: plain(contestant.label),
            is_ours: contestant.key == PARLOR.key,
            points: points.collect(),
        }
    });
    lines(&Lines {
        title: "CPU time to relay a candidate, among how many rooms".to_owned(),
        unit: "µs".to_owned(),
        across: "rooms".to_owned(),
        servers: servers.filter(|line| !line.points.is_empty()).collect(),
    })
}
