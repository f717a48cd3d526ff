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
        format!("v=0\r\ns=soak {} {}\r\n{}", self.stream, self.sequence, line.repeat(bytes / line.len()))
    }

    pub(crate) fn candidate(&self) -> String {
        format!("candidate:soak {} {} typ host", self.stream, self.sequence)
    }

    pub(crate) fn read(text: &str) -> anyhow::Result<Self> {
        let (_, label) = text.split_once("soak ").with_context(|| format!("a signal of ours, not {text}"))?;
        let mut words = label.split_whitespace();
        let stream = words.next().context("a stream")?.to_owned();
        Ok(Self { stream, sequence: words.next().context("a sequence number")?.parse()? })
    }
}

/// Both peers of a room learn about each other, as far as their protocols announce peers.
pub(crate) async fn acquaint(first: &mut Peer, second: &mut Peer) -> anyhow::Result<()> {
    if first.route.protocol().announces_peers() {
        let id = joined(first).await?;
        learn(&mut second.id, &id)?;
    }
    if second.route.protocol().announces_peers() {
        // A session client gets no confirmation of its join, and may join after a peer that connected later.
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
        heard => bail!("{:?} expected a join of the other peer, and received {heard:?}", peer.route),
    }
}

fn learn(id: &mut String, told: &str) -> anyhow::Result<()> {
    if id.is_empty() {
        told.clone_into(id);
    }
    ensure!(*id == told, "{id} is announced as {told}");
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
    async fn say(&mut self, kind: SignalKind, bytes: usize) -> anyhow::Result<()> {
        let label = Label::new(self.stream.as_str(), self.sent.len() as u64 + 1);
        let text = if kind == SignalKind::Candidate { label.candidate() } else { label.description(bytes) };
        self.sent.push(Instant::now());
        self.peer.signal(Some(&self.other), kind, &text).await
    }

    /// Expects this signal next; returns its latency.
    async fn hear(&mut self, said_by: &Side<'_>, kind: SignalKind, sequence: u64) -> anyhow::Result<Duration> {
        let (came, heard) = self.peer.next().await?;
        let Some((heard_kind, from, text)) = heard.signal() else {
            bail!("{:?} expected number {sequence} of {}, and received {heard:?}", self.peer.route, said_by.stream);
        };
        let label = Label::read(text)?;
        ensure!(
            (heard_kind, &label) == (kind, &Label::new(said_by.stream.as_str(), sequence)),
            "{:?} expected {kind:?} number {sequence} of {}, and received {heard_kind:?} {label:?}",
            self.peer.route,
            said_by.stream
        );
        let expected = if self.peer.route.protocol().announces_peers() { self.other.as_str() } else { "" };
        ensure!(from == expected, "{:?} received a signal of {expected} with the sender {from}", self.peer.route);
        Ok(came - said_by.sent[usize::try_from(sequence - 1)?])
    }
}

/// Exchanges offer, answer and candidates; returns the latency of each signal.
pub(crate) async fn talk(first: &mut Peer, second: &mut Peer, talk: Talk) -> anyhow::Result<Vec<Duration>> {
    let room = first.room.clone();
    let (first_id, second_id) = (first.id.clone(), second.id.clone());
    let mut answerer = Side { peer: first, other: second_id, stream: format!("{room}/answerer"), sent: Vec::new() };
    let mut offerer = Side { peer: second, other: first_id, stream: format!("{room}/offerer"), sent: Vec::new() };
    let mut times = Vec::new();
    offerer.say(SignalKind::Offer, talk.description_bytes).await?;
    times.push(answerer.hear(&offerer, SignalKind::Offer, 1).await?);
    answerer.say(SignalKind::Answer, talk.description_bytes).await?;
    times.push(offerer.hear(&answerer, SignalKind::Answer, 1).await?);
    for _ in 0..talk.candidates {
        answerer.say(SignalKind::Candidate, 0).await?;
        offerer.say(SignalKind::Candidate, 0).await?;
        sleep(talk.pause).await;
    }
    for sequence in 2..=talk.candidates + 1 {
        times.push(answerer.hear(&offerer, SignalKind::Candidate, sequence).await?);
        times.push(offerer.hear(&answerer, SignalKind::Candidate, sequence).await?);
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

/// Expects the announcement that the other peer has left: of one that could have resumed, first that it is away, then that
/// it left when its session expired.
pub(crate) async fn told_of_end(world: &World, stays: &mut Peer, gone: &str, parting: Parting) -> anyhow::Result<()> {
    let mut away = None;
    let left = if stays.route.protocol().announces_peers() {
        let (mut came, mut heard) = stays.next().await?;
        if stays.route.protocol().resumes() && parting != Parting::Final {
            match heard {
                Event::Away(id) if id == gone => {
                    away = Some(came);
                    (came, heard) = stays.next().await?;
                }
                Event::Left(_) if parting == Parting::TooLate => {}
                heard => bail!("{:?} expected that {gone} is away, and received {heard:?}", stays.route),
            }
        }
        ensure!(
            heard == Event::Left(gone.to_owned()),
            "{:?} expected that {gone} left, and received {heard:?}",
            stays.route
        );
        came
    } else {
        world.until_room_has(&stays.room, 1).await?;
        Instant::now()
    };
    if let Parting::Lost(since) = parting {
        ensure!(left - since >= RESUME_TIME, "{gone} lost its connection, and left {:?} after that", left - since);
    }
    if let Some(away) = away {
        ensure!(left - away <= RESUME_TIME + LATENESS, "{gone} was away for {:?} before it left", left - away);
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
    acquaint(&mut first, &mut second).await?;
    let times = talk(&mut first, &mut second, how_much).await?;
    let gone = second.id.clone();
    second.finish(Disconnect::Leave).await?;
    told_of_end(world, &mut first, &gone, Parting::Final).await?;
    first.finish(Disconnect::Close).await?;
    world.tally.add(Count::Calls);
    Ok(times)
}
