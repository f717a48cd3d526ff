//! Group rooms, in which peers join and leave while others broadcast.
//!
//! A room changes in steps: some peers join, some leave, some drop and resume, and some broadcast
//! at the same time. Then the broadcasting peers send one more signal, and every peer must know who
//! is present and have received all broadcasts, in order and without a gap.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use futures_util::future::{join_all, try_join_all};
use parlor_testing::connection::Route;
use parlor_testing::protocol::{Event, SignalKind};
use parlor_testing::transport::Disconnect;
use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use tokio::time::sleep;

use crate::call::Label;
use crate::client::Peer;
use crate::tally::Count;
use crate::world::{Pace, Phase, World};

/// Minimum and maximum size of a room.
const FEWEST: usize = 5;
const MOST: usize = 20;

/// Minimum time between two steps.
const INTERVAL: Duration = Duration::from_millis(1500);

/// Steps of a room before the next.
const STEPS: usize = 20;

const DESCRIPTION_BYTES: usize = 1000;

/// Maximum number of peers that drop and resume in one step, and their maximum absence.
const ROAMERS: usize = 2;
const ABSENCE: Duration = Duration::from_millis(600);

/// Time between two signals of a peer.
const PAUSE: Duration = Duration::from_millis(20);

pub(crate) async fn run(world: Arc<World>, phase: Phase, lane: usize) {
    let who = format!("rooms {lane}, {}", phase.name);
    let mut choices = world.choices(&who);
    while phase.has_time_for(INTERVAL) {
        let mut room = Room { id: world.name("room"), members: Vec::new() };
        let outcome = room.live(&world, &phase, &mut choices).await;
        world.check(&who, outcome).await;
        join_all(room.members.into_iter().map(|member| member.peer.end(Disconnect::Close))).await;
    }
}

struct Room {
    id: String,
    members: Vec<Member>,
}

struct Member {
    peer: Peer,
    /// The number of its broadcasts.
    sent: Arc<AtomicU64>,
    /// The peers that it knows to be present.
    others: BTreeSet<String>,
    /// Those of them that are away.
    away: BTreeSet<String>,
    /// The number of the last broadcast received of each peer.
    received: HashMap<String, u64>,
    /// The number of broadcasts of each peer before this one had joined: later ones must arrive.
    missed_at_most: HashMap<String, u64>,
}

impl Room {
    async fn live(
        &mut self,
        world: &Arc<World>,
        phase: &Phase,
        choices: &mut SmallRng,
    ) -> anyhow::Result<()> {
        let mut pace = Pace::new();
        for step in 0..STEPS {
            if !phase.has_time_for(INTERVAL) {
                break;
            }
            self.step(world, choices).await.with_context(|| format!("{}, step {step}", self.id))?;
            world.tally.add(Count::RoomSteps);
            pace.keep(INTERVAL).await;
        }
        Ok(())
    }

    async fn step(&mut self, world: &Arc<World>, choices: &mut SmallRng) -> anyhow::Result<()> {
        let leaving: Vec<(Peer, Disconnect)> = {
            let most = self.members.len().saturating_sub(FEWEST).min(3);
            self.members.shuffle(choices);
            let leaving =
                self.members.split_off(self.members.len() - choices.random_range(0..=most));
            let ways = [Disconnect::Leave, Disconnect::Close, Disconnect::Drop, Disconnect::Reset];
            leaving
                .into_iter()
                .map(|member| (member.peer, ways[choices.random_range(0..ways.len())]))
                .collect()
        };
        let (roaming, staying): (Vec<Member>, Vec<Member>) = {
            let mut left = choices.random_range(0..=ROAMERS);
            std::mem::take(&mut self.members).into_iter().partition(|member| {
                let roams = left > 0 && member.peer.route.protocol().resumes();
                left -= usize::from(roams);
                roams
            })
        };
        self.members = staying;
        let there = self.members.len() + roaming.len();
        let fewest = FEWEST.saturating_sub(there);
        let joining = choices.random_range(fewest..=(fewest + 3).min(MOST - there));
        let joining: Vec<Route> = (0..joining)
            .map(|_| Route::GROUP[choices.random_range(0..Route::GROUP.len())])
            .collect();
        let mut talkers: Vec<&Member> = self
            .members
            .iter()
            .filter(|member| member.peer.route.protocol().broadcasts())
            .collect();
        talkers.truncate(choices.random_range(1..=3));
        let lengths: Vec<u64> = talkers.iter().map(|_| choices.random_range(1..=3)).collect();

        let sent_counts: Vec<(String, Arc<AtomicU64>)> = self
            .members
            .iter()
            .chain(&roaming)
            .map(|member| (member.peer.id.clone(), Arc::clone(&member.sent)))
            .collect();
        let talking = talkers.iter().zip(&lengths).map(|(member, length)| member.talk(*length));
        let coming =
            joining.into_iter().map(|route| Member::join(world, route, &self.id, &sent_counts));
        let going = leaving.into_iter().map(|(peer, disconnect)| peer.end(disconnect));
        let roaming: Vec<_> = roaming
            .into_iter()
            .map(|member| member.roam(SmallRng::seed_from_u64(choices.random())))
            .collect();
        let (talked, come, _, back) = tokio::join!(
            try_join_all(talking),
            try_join_all(coming),
            join_all(going),
            try_join_all(roaming)
        );
        talked?;
        let (come, back) = (come?, back?);
        try_join_all(talkers.iter().map(|member| member.talk(1))).await?;

        self.members.extend(back.into_iter().flatten().chain(come));
        let present: BTreeSet<String> =
            self.members.iter().map(|member| member.peer.id.clone()).collect();
        let sent: Vec<(String, u64)> = sent_counts
            .into_iter()
            .map(|(id, sent)| (id, sent.load(Ordering::SeqCst)))
            .filter(|(_, sent)| *sent > 0)
            .collect();
        try_join_all(self.members.iter_mut().map(|member| member.catch_up(&present, &sent)))
            .await?;
        Ok(())
    }
}

impl Member {
    async fn join(
        world: &Arc<World>,
        route: Route,
        room: &str,
        sent_counts: &[(String, Arc<AtomicU64>)],
    ) -> anyhow::Result<Self> {
        let peer = Peer::join(world, route, room, &world.name("member")).await?;
        let missed_at_most = sent_counts
            .iter()
            .map(|(id, sent)| (id.clone(), sent.load(Ordering::SeqCst)))
            .collect();
        let others = peer.list.iter().cloned().collect();
        Ok(Self {
            peer,
            sent: Arc::default(),
            others,
            away: BTreeSet::new(),
            received: HashMap::new(),
            missed_at_most,
        })
    }

    /// Loses its connection and resumes. `None` if the session had expired.
    async fn roam(self, mut choices: SmallRng) -> anyhow::Result<Option<Self>> {
        let Self { peer, sent, others, away, received, missed_at_most } = self;
        let dropped =
            peer.lose(if choices.random() { Disconnect::Drop } else { Disconnect::Reset }).await?;
        sleep(ABSENCE.mul_f64(choices.random())).await;
        let back = dropped.resume().await?;
        Ok(back.map(|peer| Self { peer, sent, others, away, received, missed_at_most }))
    }

    /// Broadcasts `length` signals.
    async fn talk(&self, length: u64) -> anyhow::Result<()> {
        for _ in 0..length {
            // Counted before sending: peers that join later need not receive it.
            let sequence = self.sent.fetch_add(1, Ordering::SeqCst) + 1;
            let text = Label::new(self.peer.id.as_str(), sequence).description(DESCRIPTION_BYTES);
            self.peer.signal(None, SignalKind::Offer, &text).await?;
            sleep(PAUSE).await;
        }
        Ok(())
    }

    /// Receives until it knows all present peers and has received all broadcasts.
    async fn catch_up(
        &mut self,
        present: &BTreeSet<String>,
        sent: &[(String, u64)],
    ) -> anyhow::Result<()> {
        let me = self.peer.id.clone();
        let mut expected = present.clone();
        expected.remove(&me);
        // It cannot have received anything from peers that have not sent since it joined.
        let is_behind = |received: &HashMap<String, u64>, missed: &HashMap<String, u64>| {
            let due = sent.iter().filter(|(id, sent)| {
                *id != me && missed.get(id).is_none_or(|missed| missed < sent)
            });
            due.into_iter().any(|(id, sent)| received.get(id) != Some(sent))
        };
        while self.others != expected || is_behind(&self.received, &self.missed_at_most) {
            let (_, event) = self.peer.next().await.with_context(|| {
                let (others, received) = (&self.others, &self.received);
                format!("{me} knows {others:?}, expected {expected:?}; received {received:?}, expected {sent:?}")
            })?;
            self.note(event)?;
        }
        Ok(())
    }

    fn note(&mut self, event: Event) -> anyhow::Result<()> {
        let route = self.peer.route;
        match event {
            Event::Joined(id) => {
                ensure!(
                    self.others.insert(id.clone()),
                    "{route:?} received twice that {id} joined"
                );
            }
            Event::Left(id) => {
                self.away.remove(&id);
                ensure!(
                    self.others.remove(&id),
                    "{route:?} received that {id} left, which was not present"
                );
            }
            Event::Away(id) => {
                ensure!(
                    self.others.contains(&id),
                    "{route:?} received that {id} is away, which was not present"
                );
                ensure!(self.away.insert(id.clone()), "{route:?} received twice that {id} is away");
            }
            // Joining peers do not learn which peers are away.
            Event::Back(id) => {
                self.away.remove(&id);
                ensure!(
                    self.others.contains(&id),
                    "{route:?} received that {id} is back, which was not present"
                );
            }
            Event::Offer { from, sdp: text } => {
                let Label { stream, sequence } = Label::read(&text)?;
                ensure!(
                    from == stream,
                    "{route:?} received a signal of {stream} with the sender {from}"
                );
                let missed = self.missed_at_most.get(&stream).copied().unwrap_or_default();
                let is_next = match self.received.get(&stream) {
                    Some(last) => sequence == last + 1,
                    None => sequence <= missed + 1,
                };
                let last = self.received.insert(stream, sequence);
                ensure!(
                    is_next,
                    "{route:?} received number {sequence} of {from} after {last:?}, {missed} before its join"
                );
            }
            other => bail!("{route:?} received {other:?}"),
        }
        Ok(())
    }
}
