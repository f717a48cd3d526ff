//! Meetings through the media server: what it costs to forward a packet and to hold a transport, and whether signaling
//! notices.
//!
//! Everyone has one transport to receive; who speaks has another, for sound (50 packets a second) and pictures (100). A
//! packet counts once for each who hears it, as it arrives there.

use std::time::Instant;

use super::relay::{CANDIDATE, Mode, Pairs};
use super::{Outcome, Window};
use crate::clients::{Clients, Waiting};
use crate::gathering::disperse;
use crate::hall::Meeting;
use crate::server::{Contestant, Server};

pub(crate) const MEETINGS: [Meeting; 4] = [
    Meeting { rooms: 1, people: 11, speakers: 1 },
    Meeting { rooms: 1, people: 51, speakers: 1 },
    Meeting { rooms: 1, people: 201, speakers: 1 },
    Meeting { rooms: 10, people: 5, speakers: 5 },
];

/// The one beside which signaling is looked at, how often both ways, the pairs that signal, and how many signals a second.
const BESIDE: Meeting = MEETINGS[1];
pub(crate) const TURNS: usize = 3;
const PAIRS: usize = 20;
const SIGNALS: f64 = 2000.0;

pub(crate) struct Figures {
    pub(crate) cpu_micros: f64,
    pub(crate) per_second: f64,
    pub(crate) server_busy: f64,
    /// Of resident memory, for each transport: when all are connected, and when one has spoken.
    pub(crate) connected_kib: f64,
    pub(crate) spoken_kib: f64,
}

/// Has people meet on a server that has just been started.
pub(crate) fn meet(meeting: Meeting, server: &Server, window: Window) -> anyhow::Result<Figures> {
    let guests = meeting.gather(server.address)?;
    let before = server.memory()?;
    let more = || anyhow::Ok(server.memory()?.saturating_sub(before) as f64 / meeting.transports() as f64);
    let hall = guests.seat()?;
    let connected_kib = more()?;
    hall.speak();
    std::thread::sleep(window.warm_up);
    let (heard, cpu, began) = (hall.heard(), server.cpu()?, Instant::now());
    std::thread::sleep(window.length);
    let time = began.elapsed().as_secs_f64();
    // What is late counts, and what it costs.
    hall.hush()?;
    let packets = (hall.heard() - heard) as f64;
    let cpu = server.cpu()?.saturating_sub(cpu).as_secs_f64();
    Ok(Figures {
        cpu_micros: cpu * 1e6 / packets,
        per_second: packets / time,
        server_busy: cpu / time,
        connected_kib,
        spoken_kib: more()?,
    })
}

/// How pairs signal by a timetable beside a meeting, turn by turn: while nobody speaks, and while it is forwarded.
pub(crate) fn beside(
    contestant: &Contestant,
    server: &Server,
    window: Window,
) -> anyhow::Result<Vec<(Outcome, Outcome)>> {
    let hall = BESIDE.gather(server.address)?.seat()?;
    // The load of both is on one core.
    let mut clients = Clients::new(contestant.dialect, server.address, Waiting::Sleeps)?;
    let mut pairs = Pairs::gather(&mut clients, PAIRS, CANDIDATE)?;
    let mut turns = Vec::new();
    for _ in 0..TURNS {
        let mode = Mode::Paced(window, SIGNALS);
        let silent = pairs.relay(&mut clients, server, 1, mode)?;
        hall.speak();
        let forwarding = pairs.relay(&mut clients, server, 1, mode)?;
        hall.hush()?;
        turns.push((silent, forwarding));
    }
    disperse(&mut clients)?;
    Ok(turns)
}
