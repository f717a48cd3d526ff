//! Pairs that send each other signals.
//!
//! Closed: each pair keeps so many signals in flight; who hears one sends one back. That gives throughput, and CPU time
//! per signal at full load. Latency is not taken from it: a server that is slow is asked less often, and what would have
//! waited is never sent.
//!
//! Paced: signals are sent by a timetable, whatever has come back, in bursts as large as the number in flight. How long
//! one took is counted from when it was to be sent, so that whoever had to wait for others counts, too (coordinated
//! omission).
//!
//! Every signal has a number, and each must arrive, once, in order.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use hdrhistogram::Histogram;

use crate::clients::{Clients, Due, Id, Load};
use crate::dialect::{Heard, Kind, MARK, Seat, body, excerpt};
use crate::gathering::{Member, Rush, gather};
use crate::server::Server;
use crate::wire;

/// How much longer than its window a relay may take, until nothing is in flight.
const SLACK: Duration = Duration::from_secs(20);

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Mode {
    /// As fast as it goes.
    Closed,
    /// So many signals a second, of all pairs together.
    Paced(f64),
}

/// When what counts begins, and when it is over.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Window {
    Time {
        warm_up: Duration,
        length: Duration,
    },
    /// So many signals, and nothing before them.
    Signals(u64),
}

/// What was seen within the window.
pub(crate) struct Outcome {
    pub(crate) signals: u64,
    pub(crate) time: Duration,
    pub(crate) cpu: Duration,
    /// The part of the time in which the load had something to do.
    pub(crate) load_busy: f64,
    /// In nanoseconds; of a closed load, from sending to hearing.
    pub(crate) latency: Histogram<u64>,
}

/// One direction of a pair.
struct Lane {
    from: Id,
    frame: Vec<u8>,
    /// Where in the frame the digits of its number stand.
    digits: usize,
    sent: u64,
    heard: u64,
    /// Where in what is told the mark stands: the same in all.
    told_at: usize,
    /// When each that is in flight was sent, or was to be.
    in_flight: VecDeque<Instant>,
}

impl Lane {
    fn new(clients: &Clients, kind: Kind, bytes: usize, from: &Member, to: &Member) -> Self {
        let target = (!to.name.is_empty()).then_some(to.name.as_str());
        let text = clients.dialect().signal(kind, &from.room, target, &body(kind, bytes));
        let mut frame = Vec::new();
        wire::write_text(text.as_bytes(), &mut frame);
        let digits = memchr::memmem::find(&frame, MARK.as_bytes()).expect("a body has a mark") + 1;
        Self { from: from.id, frame, digits, sent: 0, heard: 0, told_at: 0, in_flight: VecDeque::new() }
    }

    fn send(&mut self, clients: &mut Clients, at: Instant) {
        self.sent += 1;
        write_digits(self.sent, &mut self.frame[self.digits..self.digits + MARK.len() - 1]);
        clients.send(self.from, &self.frame);
        self.in_flight.push_back(at);
    }

    /// A text came: when it was sent, if it is the next.
    fn hear(&mut self, text: &[u8]) -> anyhow::Result<Instant> {
        self.heard += 1;
        let mut mark = *MARK.as_bytes().first_chunk::<11>().expect("the length of a mark");
        write_digits(self.heard, &mut mark[1..]);
        if text.get(self.told_at..self.told_at + mark.len()) != Some(&mark) {
            let found = memchr::memmem::find(text, &mark);
            self.told_at = found.with_context(|| format!("number {} is next, not {}", self.heard, excerpt(text)))?;
        }
        self.in_flight.pop_front().context("nothing was sent")
    }
}

fn write_digits(mut number: u64, digits: &mut [u8]) {
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + u8::try_from(number % 10).expect("a digit");
        number /= 10;
    }
}

/// Pairs in rooms of their own, who can be given work again and again.
pub(crate) struct Pairs {
    /// Two a pair: there, and back.
    lanes: Vec<Lane>,
    /// Which lane ends at a connection.
    lane_to: Vec<usize>,
}

impl Pairs {
    pub(crate) fn gather(clients: &mut Clients, pairs: usize, kind: Kind, bytes: usize) -> anyhow::Result<Self> {
        let seat = |room: usize, name: &str| Seat { room: format!("room-{room}"), name: name.to_owned() };
        let seats = (0..pairs).flat_map(|room| [seat(room, "ann"), seat(room, "bob")]).collect();
        let members = gather(clients, seats, Rush::Some)?;
        let mut lane_to = vec![usize::MAX; members.iter().map(|member| member.id + 1).max().unwrap_or_default()];
        let mut lanes = Vec::new();
        for pair in members.chunks_exact(2) {
            for (from, to) in [(&pair[0], &pair[1]), (&pair[1], &pair[0])] {
                lane_to[to.id] = lanes.len();
                lanes.push(Lane::new(clients, kind, bytes, from, to));
            }
        }
        Ok(Self { lanes, lane_to })
    }

    /// Has them send each other signals.
    pub(crate) fn relay(
        &mut self,
        clients: &mut Clients,
        server: &Server,
        mode: Mode,
        in_flight: usize,
        window: Window,
    ) -> anyhow::Result<Outcome> {
        let begin = Instant::now();
        let limit = match window {
            Window::Time { warm_up, length } => warm_up + length + SLACK,
            Window::Signals(_) => Duration::from_secs(600),
        };
        let mut relay = Relay {
            pairs: self,
            server,
            mode,
            in_flight,
            window,
            begin,
            timetable: 0,
            heard: 0,
            stage: Stage::WarmUp,
            start: None,
            outcome: None,
            latency: histogram()?,
        };
        if mode == Mode::Closed {
            for lane in relay.pairs.lanes.iter_mut().step_by(2) {
                for _ in 0..in_flight {
                    lane.send(clients, begin);
                }
            }
        }
        clients.run(&mut relay, limit).with_context(|| format!("{} are in flight", relay.waiting()))?;
        let latency = relay.latency;
        let outcome = relay.outcome.context("a window that is over")?;
        Ok(Outcome { latency, ..outcome })
    }
}

/// Up to a minute, three digits.
fn histogram() -> anyhow::Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, 60_000_000_000, 3)?)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    WarmUp,
    Counting,
    /// What is in flight is heard, and nothing more is sent.
    Ending,
}

struct Relay<'a> {
    pairs: &'a mut Pairs,
    server: &'a Server,
    mode: Mode,
    in_flight: usize,
    window: Window,
    begin: Instant,
    /// How many bursts have been sent by the timetable.
    timetable: usize,
    heard: u64,
    stage: Stage,
    /// What it was when counting began.
    start: Option<Moment>,
    outcome: Option<Outcome>,
    latency: Histogram<u64>,
}

struct Moment {
    at: Instant,
    cpu: Duration,
    idle: Duration,
    heard: u64,
}

impl Relay<'_> {
    fn waiting(&self) -> usize {
        self.pairs.lanes.iter().map(|lane| lane.in_flight.len()).sum()
    }

    fn moment(&self, clients: &Clients) -> anyhow::Result<Moment> {
        Ok(Moment { at: Instant::now(), cpu: self.server.cpu()?, idle: clients.idle(), heard: self.heard })
    }

    fn count(&mut self, clients: &Clients) -> anyhow::Result<()> {
        let end = self.moment(clients)?;
        let start = self.start.take().context("a window that has begun")?;
        let time = end.at - start.at;
        self.outcome = Some(Outcome {
            signals: end.heard - start.heard,
            time,
            cpu: end.cpu - start.cpu,
            load_busy: 1.0 - (end.idle - start.idle).as_secs_f64() / time.as_secs_f64(),
            latency: histogram()?,
        });
        self.stage = Stage::Ending;
        Ok(())
    }

    /// Sends all that the timetable has until now; when the next is due.
    fn keep_timetable(&mut self, clients: &mut Clients, now: Instant, rate: f64) -> Instant {
        let pairs = self.pairs.lanes.len() / 2;
        loop {
            let burst = self.timetable;
            let due = self.begin + Duration::from_secs_f64(burst as f64 * self.in_flight as f64 / rate);
            if due > now {
                return due;
            }
            // There in one round of all pairs, back in the next.
            let lane = &mut self.pairs.lanes[burst % pairs * 2 + burst / pairs % 2];
            for _ in 0..self.in_flight {
                lane.send(clients, due);
            }
            self.timetable += 1;
        }
    }
}

impl Load for Relay<'_> {
    fn due(&mut self, clients: &mut Clients, now: Instant) -> anyhow::Result<Due> {
        let mut next = match (self.mode, self.stage) {
            (_, Stage::Ending) => return Ok(if self.waiting() == 0 { Due::Done } else { Due::Nothing }),
            (Mode::Paced(rate), _) => Some(self.keep_timetable(clients, now, rate)),
            (Mode::Closed, _) => None,
        };
        if self.stage == Stage::WarmUp {
            let begins = match self.window {
                Window::Time { warm_up, .. } => self.begin + warm_up,
                Window::Signals(_) => self.begin,
            };
            if now >= begins {
                self.start = Some(self.moment(clients)?);
                self.stage = Stage::Counting;
            }
            next = Some(next.map_or(begins, |next| next.min(begins)));
        }
        if self.stage == Stage::Counting {
            match self.window {
                Window::Time { warm_up, length } => {
                    let end = self.begin + warm_up + length;
                    if now >= end {
                        self.count(clients)?;
                    }
                    next = Some(next.map_or(end, |next| next.min(end)));
                }
                Window::Signals(signals) if self.heard >= signals => self.count(clients)?,
                Window::Signals(_) => {}
            }
        }
        Ok(next.map_or(Due::Nothing, Due::At))
    }

    fn heard(&mut self, clients: &mut Clients, id: Id, heard: Heard, text: &[u8], at: Instant) -> anyhow::Result<()> {
        ensure!(heard == Heard::Signal, "{heard:?} is told in the middle of the work");
        let index = self.pairs.lane_to[id];
        let Some(lane) = self.pairs.lanes.get_mut(index) else { bail!("a signal to nobody") };
        let sent = lane.hear(text)?;
        self.heard += 1;
        if self.stage == Stage::Counting {
            self.latency.saturating_record(u64::try_from((at - sent).as_nanos())?);
        }
        let goes_on = match self.window {
            Window::Time { .. } => self.stage != Stage::Ending,
            Window::Signals(signals) => self.heard < signals,
        };
        if self.mode == Mode::Closed && goes_on {
            self.pairs.lanes[index ^ 1].send(clients, at);
        }
        Ok(())
    }
}
