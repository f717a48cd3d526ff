//! A call between two well-behaved peers: every signal arrives once, in order, and nothing else.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use parlor_testing::protocol::{Event, SignalKind};
use parlor_testing::transport::Disconnect;
use rand::RngExt;
use rand::rngs::SmallRng;
use tokio::time::{Instant, sleep};

use crate::client::Peer;
use crate::server::RESUME_TIME;
use crate::tally::Count;
use crate::world::World;

/// Tolerance for the announcement that a peer has left, on a busy machine.
const LATENESS: Duration = Duration::from_secs(5);

/// The label of a signal: its stream (sender and room) and its number in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Label {
    pub(crate) stream: String,
    pub(crate) sequence: u64,
}

impl Label {
    pub(crate) fn new(stream: impl Into<String>, sequence: u64) -> Self {
        Self { stream: stream.into(), sequence }
    }

    /// A session description with the label, of about `bytes` bytes.
    pub(crate) fn description(&self, bytes: usize) -> String {
        let line = "a=candidate:1 1 udp 2113937151 192.0.2.1 54400 typ host \"é\"\r\n";
        format!(
            "v=0\r\ns=soak {} {}\r\n{}",
            self.stream,
            self.sequence,
            line.repeat(bytes / line.len())
        )
    }

    pub(crate) fn candidate(&self) -> String {
        format!("candidate:soak {} {} typ host", self.stream, self.sequence)
    }

    pub(crate) fn read(text: &str) -> anyhow::Result<Self> {
        let (_, label) =
            text.split_once("soak ").with_context(|| format!("a signal of ours, not {text}"))?;
        let mut words = label.split_whitespace();
        let stream = words.next().context("a stream")?.to_owned();
        Ok(Self { stream, sequence: words.next().context("a sequence number")?.parse()? })
    }
}

/// Waits until both peers of a room have received the join of each other, if their protocols
/// announce joins.
pub(crate) async fn await_joins(first: &mut Peer, second: &mut Peer) -> anyhow::Result<()> {
    if first.route.protocol().announces_peers() {
        let id = joined(first).await?;
        learn(&mut second.id, &id)?;
    }
    if second.route.protocol().announces_peers() {
        // A session client gets no confirmation of its join, and may join after a peer that
        // connected later.
        let id = match second.list.as_slice() {
            [] => joined(second).await?,
            [id] => id.clone(),
            more => bail!("{more:?} are in a room of two"),
        };
        learn(&mut first.id, &id)?;
    }
    Ok(())
}

async fn joined(peer: &mut Peer) -> anyhow::Result<String> {
    match peer.next().await?.1 {
        Event::Joined(id) => Ok(id),
        event => {
            bail!("{:?} expected a join of the other peer, and received {event:?}", peer.route)
        }
    }
}

fn learn(id: &mut String, announced: &str) -> anyhow::Result<()> {
    if id.is_empty() {
        announced.clone_into(id);
    }
    ensure!(*id == announced, "{id} is announced as {announced}");
    Ok(())
}

/// The amount and pace of signals in a call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Talk {
    pub(crate) candidates: u64,
    pub(crate) description_bytes: usize,
    /// Time between two candidates.
    pub(crate) pause: Duration,
}

impl Talk {
    pub(crate) fn choose(choices: &mut SmallRng) -> Self {
        Self {
            candidates: choices.random_range(10..=50),
            description_bytes: choices.random_range(500..=4000),
            pause: Duration::from_millis(choices.random_range(30..=100)),
        }
    }
}

/// One side of a call, and when it sent each signal.
struct Side<'a> {
    peer: &'a mut Peer,
    other: String,
    stream: String,
    sent: Vec<Instant>,
}

impl Side<'_> {
    async fn send(&mut self, kind: SignalKind, bytes: usize) -> anyhow::Result<()> {
        let label = Label::new(self.stream.as_str(), self.sent.len() as u64 + 1);
        let text = if kind == SignalKind::Candidate {
            label.candidate()
        } else {
            label.description(bytes)
        };
        self.sent.push(Instant::now());
        self.peer.signal(Some(&self.other), kind, &text).await
    }

    /// Expects this signal next; returns its latency.
    async fn expect(
        &mut self,
        sender: &Side<'_>,
        kind: SignalKind,
        sequence: u64,
    ) -> anyhow::Result<Duration> {
        let (came, event) = self.peer.next().await?;
        let Some((received_kind, from, text)) = event.signal() else {
            bail!(
                "{:?} expected number {sequence} of {}, and received {event:?}",
                self.peer.route,
                sender.stream
            );
        };
        let label = Label::read(text)?;
        ensure!(
            (received_kind, &label) == (kind, &Label::new(sender.stream.as_str(), sequence)),
            "{:?} expected {kind:?} number {sequence} of {}, and received {received_kind:?} {label:?}",
            self.peer.route,
            sender.stream
        );
        let expected =
            if self.peer.route.protocol().announces_peers() { self.other.as_str() } else { "" };
        ensure!(
            from == expected,
            "{:?} received a signal of {expected} with the sender {from}",
            self.peer.route
        );
        Ok(came - sender.sent[usize::try_from(sequence - 1)?])
    }
}

/// Exchanges offer, answer and candidates; returns the latency of each signal.
pub(crate) async fn talk(
    first: &mut Peer,
    second: &mut Peer,
    talk: Talk,
) -> anyhow::Result<Vec<Duration>> {
    let room = first.room.clone();
    let (first_id, second_id) = (first.id.clone(), second.id.clone());
    let mut answerer = Side {
        peer: first,
        other: second_id,
        stream: format!("{room}/answerer"),
        sent: Vec::new(),
    };
    let mut offerer =
        Side { peer: second, other: first_id, stream: format!("{room}/offerer"), sent: Vec::new() };
    let mut times = Vec::new();
    offerer.send(SignalKind::Offer, talk.description_bytes).await?;
    times.push(answerer.expect(&offerer, SignalKind::Offer, 1).await?);
    answerer.send(SignalKind::Answer, talk.description_bytes).await?;
    times.push(offerer.expect(&answerer, SignalKind::Answer, 1).await?);
    for _ in 0..talk.candidates {
        answerer.send(SignalKind::Candidate, 0).await?;
        offerer.send(SignalKind::Candidate, 0).await?;
        sleep(talk.pause).await;
    }
    for sequence in 2..=talk.candidates + 1 {
        times.push(answerer.expect(&offerer, SignalKind::Candidate, sequence).await?);
        times.push(offerer.expect(&answerer, SignalKind::Candidate, sequence).await?);
    }
    Ok(times)
}

/// How a peer has disconnected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Parting {
    /// With a close frame, or by a protocol that cannot resume.
    Final,
    /// Without one, not before this moment: its session can be resumed for a while.
    Lost(Instant),
    /// It was lost, and tried to resume too late. The server may not have noticed the loss before.
    TooLate,
}

/// Expects the announcement that the other peer has left. A peer that could have resumed is
/// announced as away first, and as left when its session expires.
pub(crate) async fn expect_leave(
    world: &World,
    stays: &mut Peer,
    gone: &str,
    parting: Parting,
) -> anyhow::Result<()> {
    let mut away = None;
    let left = if stays.route.protocol().announces_peers() {
        let (mut came, mut event) = stays.next().await?;
        if stays.route.protocol().resumes() && parting != Parting::Final {
            match event {
                Event::Away(id) if id == gone => {
                    away = Some(came);
                    (came, event) = stays.next().await?;
                }
                Event::Left(_) if parting == Parting::TooLate => {}
                event => {
                    bail!("{:?} expected that {gone} is away, and received {event:?}", stays.route)
                }
            }
        }
        ensure!(
            event == Event::Left(gone.to_owned()),
            "{:?} expected that {gone} left, and received {event:?}",
            stays.route
        );
        came
    } else {
        world.until_room_has(&stays.room, 1).await?;
        Instant::now()
    };
    if let Parting::Lost(since) = parting {
        ensure!(
            left - since >= RESUME_TIME,
            "{gone} lost its connection, and left {:?} after that",
            left - since
        );
    }
    if let Some(away) = away {
        ensure!(
            left - away <= RESUME_TIME + LATENESS,
            "{gone} was away for {:?} before it left",
            left - away
        );
    }
    world.tally.add_many(Count::Expired, u64::from(parting != Parting::Final));
    Ok(())
}

/// A whole call from join to leave; returns the latency of each signal.
pub(crate) async fn whole(
    world: &World,
    mut first: Peer,
    mut second: Peer,
    how_much: Talk,
) -> anyhow::Result<Vec<Duration>> {
    await_joins(&mut first, &mut second).await?;
    let times = talk(&mut first, &mut second, how_much).await?;
    let gone = second.id.clone();
    second.finish(Disconnect::Leave).await?;
    expect_leave(world, &mut first, &gone, Parting::Final).await?;
    first.finish(Disconnect::Close).await?;
    world.tally.add(Count::Calls);
    Ok(times)
}
