//! Meetings through the media server: what it costs to forward a packet and to hold a transport, and whether signaling
//! notices.
//!
//! Everyone has one transport to receive; who speaks has another, for sound (50 packets a second) and pictures (100).
//! Packets are counted by the server: one for each consumer that it was sent on to. All of them must reach the clients.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use super::relay::{CANDIDATE, Mode, Pairs};
use super::{Outcome, Window};
use crate::asker::Asker;
use crate::clients::{Clients, Waiting};
use crate::gathering::disperse;
use crate::hall::Hall;
use crate::server::{Contestant, Server};

/// Who meets.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Meeting {
    pub(crate) rooms: usize,
    pub(crate) people: usize,
    /// How many of those in a room speak: all others get that.
    pub(crate) speakers: usize,
}

pub(crate) const MEETINGS: [Meeting; 4] = [
    Meeting { rooms: 1, people: 11, speakers: 1 },
    Meeting { rooms: 1, people: 51, speakers: 1 },
    Meeting { rooms: 1, people: 201, speakers: 1 },
    Meeting { rooms: 10, people: 5, speakers: 5 },
];

/// The one beside which signaling is looked at, the pairs that signal, and how many signals a second.
const BESIDE: Meeting = MEETINGS[1];
const PAIRS: usize = 20;
const SIGNALS: f64 = 2000.0;

/// What part of the packets that the server counted must have come.
const ARRIVED: f64 = 0.98;

pub(crate) struct Figures {
    pub(crate) cpu_micros: f64,
    pub(crate) per_second: f64,
    /// Of resident memory, for each transport.
    pub(crate) transport_kib: f64,
    pub(crate) server_busy: f64,
}

impl Meeting {
    pub(crate) fn name(self) -> String {
        let Self { rooms, people, speakers } = self;
        if people == speakers { format!("{rooms}x{people}") } else { format!("{speakers}+{}", people - speakers) }
    }

    fn transports(self) -> usize {
        self.rooms * (self.people + self.speakers)
    }

    /// Has them meet on a server that has just been started.
    pub(crate) fn run(self, server: &Server, window: Window) -> anyhow::Result<Figures> {
        let mut askers = self.gather(server)?;
        let before = server.memory()?;
        let mut hall = self.seat(&mut askers)?;
        hall.is_speaking = true;
        hall.run(window.warm_up)?;
        let (forwarded, received, cpu, began) = (forwarded(server)?, hall.received, server.cpu()?, Instant::now());
        hall.run(window.length)?;
        let (cpu, time) = (server.cpu()?.saturating_sub(cpu), began.elapsed());
        let packets = self::forwarded(server)? - forwarded;
        let came = (hall.received - received) as f64;
        ensure!(packets > 0.0 && came >= packets * ARRIVED, "{came} packets came of {packets}");
        let memory = server.memory()?.saturating_sub(before);
        Ok(Figures {
            cpu_micros: cpu.as_secs_f64() * 1e6 / packets,
            per_second: packets / time.as_secs_f64(),
            transport_kib: memory as f64 / self.transports() as f64,
            server_busy: cpu.as_secs_f64() / time.as_secs_f64(),
        })
    }

    /// All are in their rooms: room by room, those who speak first.
    fn gather(self, server: &Server) -> anyhow::Result<Vec<Asker>> {
        let seats = (0..self.rooms).flat_map(|room| (0..self.people).map(move |person| (room, person)));
        let join = |(room, person)| Asker::join(server.address, &format!("hall-{room}"), &format!("guest-{person}"));
        seats.map(join).collect()
    }

    /// All are connected, and get what the others say.
    fn seat(self, askers: &mut [Asker]) -> anyhow::Result<Hall> {
        let mut hall = Hall::new()?;
        let capabilities = askers[0].ask("router:capabilities", &json!({}))?["rtpCapabilities"].take();
        for room in askers.chunks_mut(self.people) {
            let mut producers: Vec<(usize, Value)> = Vec::new();
            for (person, asker) in room.iter_mut().enumerate().take(self.speakers) {
                let (end, transport) = open(&mut hall, asker, "send", &capabilities)?;
                for (kind, parameters) in hall.speak(end) {
                    let request = json!({ "transportId": transport, "kind": kind, "rtpParameters": parameters });
                    producers.push((person, asker.ask("produce", &request)?["id"].take()));
                }
            }
            for (person, asker) in room.iter_mut().enumerate() {
                let (end, transport) = open(&mut hall, asker, "recv", &capabilities)?;
                for (_, producer) in producers.iter().filter(|(speaker, _)| *speaker != person) {
                    let about = json!({
                        "transportId": transport, "producerId": producer, "rtpCapabilities": capabilities,
                    });
                    let consumer = asker.ask("consume", &about)?;
                    hall.listen(end, &consumer)?;
                    asker.ask("consumer:resume", &json!({ "consumerId": consumer["id"] }))?;
                }
            }
        }
        hall.connect()?;
        Ok(hall)
    }
}

fn open(hall: &mut Hall, asker: &mut Asker, direction: &str, capabilities: &Value) -> anyhow::Result<(usize, Value)> {
    let request = json!({ "direction": direction, "rtpCapabilities": capabilities });
    let mut created = asker.ask("transport:create", &request)?;
    let (end, connecting) = hall.open(&created)?;
    asker.ask("transport:connect", &connecting)?;
    Ok((end, created["id"].take()))
}

/// How pairs signal by a timetable beside a meeting: while nobody speaks, and while it is forwarded.
pub(crate) fn beside(contestant: &Contestant, server: &Server, window: Window) -> anyhow::Result<[Outcome; 2]> {
    let mut askers = BESIDE.gather(server)?;
    let mut hall = BESIDE.seat(&mut askers)?;
    // The load of both is on one core.
    let mut clients = Clients::new(contestant.dialect, server.address, Waiting::Sleeps)?;
    let mut pairs = Pairs::gather(&mut clients, PAIRS, CANDIDATE)?;
    let mut signal = |hall: &mut Hall| {
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let media = scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    hall.run(Duration::from_millis(50))?;
                }
                anyhow::Ok(())
            });
            let outcome = pairs.relay(&mut clients, server, 1, Mode::Paced(window, SIGNALS));
            is_over.store(true, Ordering::Relaxed);
            media.join().ok().context("the meeting has a defect")??;
            outcome
        })
    };
    let quiet = signal(&mut hall)?;
    hall.is_speaking = true;
    let before = forwarded(server)?;
    let forwarding = signal(&mut hall)?;
    ensure!(forwarded(server)? > before, "nothing was forwarded");
    disperse(&mut clients)?;
    Ok([quiet, forwarding])
}

/// How many packets the server has ever forwarded.
fn forwarded(server: &Server) -> anyhow::Result<f64> {
    let figures = server.metrics()?;
    let line = figures.lines().find_map(|line| line.strip_prefix("parlor_media_packets_forwarded_total "));
    Ok(line.context("the server counts what it forwards")?.parse()?)
}
