//! The tables, one for each work.

use super::{contestants, median, number, spread, table};
use crate::campaign::{CORES, Plan, RELAYS, ROOMS, ROOMS_EACH, SCALING, cores_case};
use crate::results::{Figure, Results};
use crate::server::{BUN, Contestant, ENVELOPE, EXPRESS, JANUS, PARLOR, PARLOR_FORWARDING};
use crate::work::forwarding::CASES;
use crate::work::media::MEETINGS;

pub(super) fn environment(results: &Results) -> String {
    table(
        &["what", "which"],
        results.environment.iter().map(|(name, value)| vec![name.clone(), value.clone()]),
    )
}

/// Returns the table of the README: Parlor and the servers that it replaces.
pub(super) fn headline(results: &Results) -> String {
    let lines = [
        (
            "CPU time to relay a candidate, 50 calls at once",
            "µs",
            ["relay", "candidate/50/1"],
            "cpu_us",
        ),
        (
            "CPU time of a whole call, from two connects to both leaving",
            "µs",
            ["call", "whole"],
            "cpu_us",
        ),
        (
            "99th percentile of the time that a call takes, at the same load",
            "ms",
            ["call", "whole"],
            "p99_us",
        ),
        ("resident memory of an idle connection", "KiB", ["idle", "all"], "each_kib"),
    ];
    let rows = lines.into_iter().map(|(what, unit, [work, case], name)| {
        let scale = if unit == "ms" { 1e-3 } else { 1.0 };
        let figure = |server: &str| {
            let figure =
                results.figure(work, case, server, name).map(|figure| figure.median * scale);
            figure.map_or_else(|| "–".to_owned(), |value| format!("{} {unit}", number(value)))
        };
        let times = |server: &str| {
            let times = results.ratio([work, case, server, name], [work, case, PARLOR.key, name]);
            times.map_or_else(|| "–".to_owned(), |times| format!("{:.1}", times.median))
        };
        let figures = [EXPRESS, BUN, PARLOR].map(|server| figure(server.key));
        let ratios = [EXPRESS, BUN].map(|server| times(server.key));
        [what.to_owned()].into_iter().chain(figures).chain(ratios).collect()
    });
    table(&["", EXPRESS.label, BUN.label, PARLOR.label, "Express : Parlor", "Bun : Parlor"], rows)
}

pub(super) fn relay(results: &Results, payload: &str) -> String {
    let mut rows = Vec::new();
    for (pairs, in_flight) in RELAYS {
        let case = format!("{payload}/{pairs}/{in_flight}");
        for contestant in contestants(results, "relay", &case) {
            let figure = |name: &str| results.figure("relay", &case, contestant.key, name);
            rows.push(vec![
                format!("{pairs} × {in_flight}"),
                contestant.label.to_owned(),
                spread(figure("cpu_us")),
                format!("{}{}", median(figure("per_second")), limited_by_load(figure("load_busy"))),
                median(figure("pace")),
                median(figure("paced_cpu_us")),
                median(figure("p50_us")),
                spread(figure("p99_us")),
                median(figure("p999_us")),
            ]);
        }
    }
    table(
        &[
            "pairs × in flight",
            "server",
            "CPU µs",
            "a second",
            "paced at",
            "CPU µs",
            "p50 µs",
            "p99 µs",
            "p99.9 µs",
        ],
        rows,
    )
}

pub(super) fn user(results: &Results) -> String {
    let rows = contestants(results, "user", "candidate/50/1").into_iter().map(|contestant| {
        let figure = |name: &str| results.figure("user", "candidate/50/1", contestant.key, name);
        vec![contestant.label.to_owned(), median(figure("user_us")), median(figure("cpu_us"))]
    });
    table(&["server", "user CPU µs", "CPU µs"], rows)
}

/// Returns a mark for a throughput that the load limits, not the server.
fn limited_by_load(busy: Option<Figure>) -> &'static str {
    if busy.is_some_and(|busy| busy.median > 0.9) { " ¹" } else { "" }
}

pub(super) fn calls(results: &Results) -> String {
    let rows = contestants(results, "call", "whole").into_iter().map(|contestant| {
        let figure = |name: &str| results.figure("call", "whole", contestant.key, name);
        vec![
            contestant.label.to_owned(),
            spread(figure("cpu_us")),
            spread(figure("per_second")),
            median(figure("pace")),
            median(figure("paced_cpu_us")),
            median(figure("p50_us")),
            spread(figure("p99_us")),
        ]
    });
    table(
        &["server", "CPU µs a call", "calls a second", "paced at", "CPU µs", "p50 µs", "p99 µs"],
        rows,
    )
}

pub(super) fn rooms(results: &Results) -> String {
    let mut rows = Vec::new();
    for (size, _) in ROOMS {
        for contestant in contestants(results, "rooms", &format!("join/{size}")) {
            let figure = |work: &str, name: &str| {
                results.figure("rooms", &format!("{work}/{size}"), contestant.key, name)
            };
            rows.push(vec![
                size.to_string(),
                contestant.label.to_owned(),
                spread(figure("join", "cpu_us")),
                median(figure("join", "per_second")),
                spread(figure("broadcast", "cpu_us")),
                median(figure("broadcast", "per_second")),
            ]);
        }
    }
    table(
        &[
            "peers",
            "server",
            "leave and join: CPU µs a delivery",
            "a second",
            "broadcast: CPU µs a delivery",
            "a second",
        ],
        rows,
    )
}

pub(super) fn idle(results: &Results) -> String {
    let rows = contestants(results, "idle", "all").into_iter().map(|contestant| {
        let figure = |name: &str| results.figure("idle", "all", contestant.key, name);
        let mebibytes = |name: &str| median(figure(name).map(|figure| figure.scaled(1.0 / 1024.0)));
        vec![
            contestant.label.to_owned(),
            spread(figure("each_kib")),
            mebibytes("before_kib"),
            mebibytes("all_kib"),
            mebibytes("after_kib"),
            spread(figure("entrance_us")),
            median(figure("idle_us")),
            spread(figure("rush_s")),
        ]
    });
    table(
        &[
            "server",
            "KiB a connection",
            "before, MiB",
            "connected, MiB",
            "after, MiB",
            "CPU µs to connect and join",
            "CPU µs per second when idle",
            "s to connect all at once",
        ],
        rows,
    )
}

pub(super) fn many_rooms(results: &Results) -> String {
    let rows = Plan::FULL.room_pairs.iter().flat_map(|pairs| {
        let case = pairs.to_string();
        contestants(results, "many-rooms", &case).into_iter().map(move |contestant| {
            let figure = |name: &str| results.figure("many-rooms", &case, contestant.key, name);
            let rooms = if contestant.key == crate::server::FLOOR.key {
                "–".to_owned()
            } else {
                number((pairs * ROOMS_EACH) as f64)
            };
            vec![
                rooms,
                number((pairs * 2) as f64),
                contestant.label.to_owned(),
                spread(figure("cpu_us")),
                median(figure("per_second")),
            ]
        })
    });
    table(&["rooms", "connections", "server", "CPU µs a candidate", "a second"], rows)
}

pub(super) fn cores(results: &Results) -> String {
    let rows = SCALING.iter().flat_map(|contestant| {
        CORES.into_iter().map(move |(in_flight, cores)| {
            let case = cores_case(in_flight, cores);
            let figure = |name: &str| results.figure("cores", &case, contestant.key, name);
            let growth = (cores == 2).then(|| growth(results, contestant, in_flight)).flatten();
            vec![
                contestant.label.to_owned(),
                in_flight.to_string(),
                cores.to_string(),
                spread(figure("per_second")),
                spread(figure("cpu_us")),
                median(figure("load_cpu_us")),
                median(figure("unused")),
                growth.map_or_else(String::new, |growth| format!("{growth:.2}")),
            ]
        })
    });
    table(
        &[
            "server",
            "in flight",
            "cores",
            "a second",
            "CPU µs",
            "load's CPU µs",
            "cores unused",
            "growth",
        ],
        rows,
    )
}

pub(super) fn media(results: &Results) -> String {
    let rows = MEETINGS.into_iter().map(|meeting| {
        let case = meeting.name();
        let figure = |name: &str| results.figure("media", &case, ENVELOPE.key, name);
        vec![
            meeting.rooms.to_string(),
            meeting.speakers.to_string(),
            (meeting.people - 1).to_string(),
            median(figure("per_second")),
            spread(figure("cpu_us")),
            median(figure("server_busy").map(|busy| busy.scaled(100.0))),
            number(meeting.transports() as f64),
            spread(figure("connected_kib")),
            spread(figure("spoken_kib")),
        ]
    });
    let head = [
        "rooms",
        "speakers per room",
        "receivers per speaker",
        "packets a second",
        "CPU µs a packet",
        "of a core, %",
        "transports",
        "KiB each, connected",
        "KiB each, in use",
    ];
    table(&head, rows)
}

pub(super) fn beside(results: &Results) -> String {
    let rows = ["silent", "forwarding"].into_iter().map(|case| {
        let figure = |name: &str| results.figure("media", case, PARLOR.key, name);
        let p99 = |case| ["media", case, PARLOR.key, "p99_us"];
        let times = results.ratio(p99(case), p99("silent"));
        vec![case.to_owned(), median(figure("p50_us")), spread(figure("p99_us")), spread(times)]
    });
    table(&["the meeting", "p50 µs", "p99 µs", "p99, relative to silent"], rows)
}

pub(super) fn forwarding(results: &Results) -> String {
    let rows = CASES.into_iter().flat_map(|case| {
        [PARLOR_FORWARDING, JANUS].map(|contestant| {
            let name = case.name();
            let figure = |figure: &str| results.figure("forwarding", &name, contestant.key, figure);
            let cpu = |server| ["forwarding", &*name, server, "cpu_us"];
            let percent = |figure: Option<Figure>| median(figure.map(|share| share.scaled(100.0)));
            let is_parlor = contestant.key == PARLOR_FORWARDING.key;
            vec![
                contestant.label.to_owned(),
                case.receivers.to_string(),
                case.rate.to_string(),
                spread(figure("cpu_us")),
                if is_parlor {
                    spread(results.ratio(cpu(contestant.key), cpu(JANUS.key)))
                } else {
                    String::new()
                },
                percent(figure("server_busy")),
                percent(figure("idle_busy")),
            ]
        })
    });
    let head = [
        "server",
        "receivers",
        "packets a second",
        "CPU µs a packet",
        "relative to Janus",
        "of a core, %",
        "of a core when idle, %",
    ];
    table(&head, rows)
}

/// Returns the environment in which media was measured, which may be at another time than the rest.
pub(super) fn media_environment(results: &Results) -> String {
    let telling = ["date", "machine", "its load before", "system", "Parlor"];
    let rows = results.environment.iter().filter(|(name, _)| telling.contains(&name.as_str()));
    table(&["what", "which"], rows.map(|(name, value)| vec![name.clone(), value.clone()]))
}

/// Returns the ratio of the throughput on two cores to that on one.
pub(super) fn growth(results: &Results, contestant: &Contestant, in_flight: usize) -> Option<f64> {
    let per_second = |cores: usize| {
        results
            .figure("cores", &cores_case(in_flight, cores), contestant.key, "per_second")
            .map(|figure| figure.median)
    };
    Some(per_second(2)? / per_second(1)?)
}
