//! Conferences through the media server: the cost of forwarding a packet and of a transport, and
//! the effect on signaling.
//!
//! Each peer has a receiving transport; senders have another, for audio (50 packets per second) and
//! video (100). A packet counts once per receiver, on arrival.

use std::time::Instant;

use super::relay::{CANDIDATE, Mode, Pairs};
use super::{Outcome, Window};
use crate::clients::{Clients, Waiting};
use crate::conference::Meeting;
use crate::joining::disconnect_all;
use crate::server::{Contestant, Server};

pub(crate) const MEETINGS: [Meeting; 4] = [
    Meeting { rooms: 1, people: 11, speakers: 1 },
    Meeting { rooms: 1, people: 51, speakers: 1 },
    Meeting { rooms: 1, people: 201, speakers: 1 },
    Meeting { rooms: 10, people: 5, speakers: 5 },
];

/// The conference beside which signaling is measured, the number of rounds, the signaling pairs,
/// and signals per second.
const BESIDE: Meeting = MEETINGS[1];
pub(crate) const TURNS: usize = 3;
const PAIRS: usize = 20;
const SIGNALS: f64 = 2000.0;

pub(crate) struct Figures {
    pub(crate) cpu_micros: f64,
    pub(crate) per_second: f64,
    pub(crate) server_busy: f64,
    /// Resident memory per transport: when all are connected, and after media was sent.
    pub(crate) connected_kib: f64,
    pub(crate) spoken_kib: f64,
}

/// Measures a conference on a server that has just been started.
pub(crate) fn meet(meeting: Meeting, server: &Server, window: Window) -> anyhow::Result<Figures> {
    let participants = meeting.join(server.address)?;
    let before = server.memory()?;
    let more =
        || anyhow::Ok(server.memory()?.saturating_sub(before) as f64 / meeting.transports() as f64);
    let conference = participants.connect()?;
    let connected_kib = more()?;
    conference.start();
    std::thread::sleep(window.warm_up);
    let (received, cpu, began) = (conference.received(), server.cpu()?, Instant::now());
    std::thread::sleep(window.length);
    let time = began.elapsed().as_secs_f64();
    // Late packets count, and their cost.
    conference.stop()?;
    let packets = (conference.received() - received) as f64;
    let cpu = server.cpu()?.saturating_sub(cpu).as_secs_f64();
    Ok(Figures {
        cpu_micros: cpu * 1e6 / packets,
        per_second: packets / time,
        server_busy: cpu / time,
        connected_kib,
        spoken_kib: more()?,
    })
}

/// Measures paced signaling beside a conference, in turns: while no media is sent, and while it is
/// forwarded.
pub(crate) fn beside(
    contestant: &Contestant,
    server: &Server,
    window: Window,
) -> anyhow::Result<Vec<(Outcome, Outcome)>> {
    let conference = BESIDE.join(server.address)?.connect()?;
    // Both loads share one core.
    let mut clients = Clients::new(contestant.dialect, server.address, Waiting::Sleeps)?;
    let mut pairs = Pairs::join(&mut clients, PAIRS, CANDIDATE)?;
    let mut turns = Vec::new();
    for _ in 0..TURNS {
        let mode = Mode::Paced(window, SIGNALS);
        let silent = pairs.relay(&mut clients, server, 1, mode)?;
        conference.start();
        let forwarding = pairs.relay(&mut clients, server, 1, mode)?;
        conference.stop()?;
        turns.push((silent, forwarding));
    }
    disconnect_all(&mut clients)?;
    Ok(turns)
}
