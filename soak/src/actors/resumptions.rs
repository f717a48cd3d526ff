//! Session resumption: clients lose their connection while a peer sends to them. Those that resume
//! in time miss nothing; those that resume too late or never have left.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use parlor_testing::connection::Route;
use parlor_testing::protocol::{Event, SignalKind};
use parlor_testing::transport::Disconnect;
use rand::RngExt;
use rand::rngs::SmallRng;
use tokio::time::{Instant, sleep};

use crate::call::{self, Label, Parting};
use crate::client::Peer;
use crate::server::RESUME_TIME;
use crate::tally::Count;
use crate::world::{Phase, World};

/// Approximate length, with some drops.
const TIME: Duration = Duration::from_secs(10);

/// The routes that can resume.
const ROAMERS: [Route; 4] = [Route::WebSocket, Route::Polling, Route::Upgrade, Route::Envelope];

/// Maximum absence of a client that resumes in time.
const SHORT: Duration = RESUME_TIME.checked_div(2).expect("two is not nothing");

/// Absence of a client that resumes too late.
const LONG: Duration =
    RESUME_TIME.checked_add(Duration::from_millis(700)).expect("not as long as that");

/// Time between two signals.
const PAUSE: Duration = Duration::from_millis(15);

const DESCRIPTION_BYTES: usize = 700;

pub(crate) async fn run(world: Arc<World>, phase: Phase, lane: usize) {
    let who = format!("resumptions {lane}, {}", phase.name);
    let mut choices = world.choices(&who);
    while phase.has_time_for(TIME) {
        let stays = Route::ALL[choices.random_range(0..Route::ALL.len())];
        let roams = ROAMERS[choices.random_range(0..ROAMERS.len())];
        let outcome = roam(&world, &mut choices, stays, roams).await;
        world.check(format!("{who}, {roams:?} to {stays:?}"), outcome).await;
    }
}

/// The peer that stays connected, and the number of signals it has sent.
struct Talker {
    peer: Peer,
    sent: u64,
}

impl Talker {
    async fn talk(&mut self, to: &str, length: u64) -> anyhow::Result<()> {
        for _ in 0..length {
            self.sent += 1;
            let text =
                Label::new(self.peer.room.as_str(), self.sent).description(DESCRIPTION_BYTES);
            self.peer.signal(Some(to), SignalKind::Offer, &text).await?;
            sleep(PAUSE).await;
        }
        Ok(())
    }

    /// Expects the next signal of the other peer; it may be away and back before the signal
    /// arrives.
    async fn expect_signal_of(&mut self, id: &str, next: &Label) -> anyhow::Result<()> {
        let mut is_away = false;
        loop {
            match self.peer.next().await?.1 {
                Event::Away(gone) if gone == id && !is_away => is_away = true,
                Event::Back(back) if back == id && is_away => is_away = false,
                Event::Offer { sdp: text, .. } if !is_away && Label::read(&text)? == *next => {
                    return Ok(());
                }
                event => bail!("the staying peer received {event:?} of {id}, away: {is_away}"),
            }
        }
    }
}

async fn roam(
    world: &Arc<World>,
    choices: &mut SmallRng,
    stays: Route,
    roams: Route,
) -> anyhow::Result<()> {
    let room = world.name("resumptions");
    let mut peer = Peer::join(world, stays, &room, &world.name("stays")).await?;
    let mut roamer = Peer::join(world, roams, &room, &world.name("roams")).await?;
    call::await_joins(&mut peer, &mut roamer).await?;
    let id = roamer.id.clone();
    let mut talker = Talker { peer, sent: 0 };
    let mut received = 0;
    for nth in 1..=choices.random_range(1..=4_u64) {
        // Some signals are in flight when the connection is lost.
        talker.talk(&id, choices.random_range(0..=6)).await?;
        let before = talker.sent;
        let (dropped, silent) = match choices.random_range(0..5) {
            0 => roamer.fall_silent().await.map(|(dropped, silent)| (dropped, Some(silent)))?,
            1 | 2 => (roamer.lose(Disconnect::Drop).await?, None),
            _ => (roamer.lose(Disconnect::Reset).await?, None),
        };
        talker.talk(&id, choices.random_range(0..=12)).await?;
        let missed = talker.sent - before;
        let is_late = choices.random_ratio(1, 8);
        sleep(if is_late { LONG } else { SHORT.mul_f64(choices.random()) }).await;
        let back =
            dropped.resume().await.with_context(|| format!("resumption {nth}, {stays:?} stays"))?;
        let Some(back) = back else { return is_gone(world, talker, &id, Parting::TooLate).await };
        roamer = back;
        drop(silent);
        talker.talk(&id, 1).await?;
        while received < talker.sent {
            received += 1;
            expect_signal(&mut roamer, &Label::new(room.as_str(), received))
                .await
                .with_context(|| format!("resumption {nth}"))?;
        }
        world.tally.add_many(Count::Missed, missed);
        let hello = Label::new(id.as_str(), nth);
        roamer.signal(Some(&talker.peer.id), SignalKind::Offer, &hello.description(0)).await?;
        talker.expect_signal_of(&id, &hello).await?;
    }
    if choices.random_bool(0.5) {
        roamer.finish(Disconnect::Close).await?;
        return is_gone(world, talker, &id, Parting::Final).await;
    }
    // It never resumes.
    let since = Instant::now();
    drop(roamer.lose(Disconnect::Reset).await?);
    is_gone(world, talker, &id, Parting::Lost(since)).await
}

/// Expects this signal next.
async fn expect_signal(roamer: &mut Peer, expected: &Label) -> anyhow::Result<()> {
    match roamer.next().await?.1 {
        Event::Offer { sdp: text, .. } => {
            let label = Label::read(&text)?;
            ensure!(
                label == *expected,
                "{:?} expects {expected:?} and received {label:?}",
                roamer.route
            );
            Ok(())
        }
        event => bail!("{:?} expects {expected:?} and received {event:?}", roamer.route),
    }
}

async fn is_gone(
    world: &World,
    mut talker: Talker,
    id: &str,
    parting: Parting,
) -> anyhow::Result<()> {
    call::expect_leave(world, &mut talker.peer, id, parting).await?;
    talker.peer.finish(Disconnect::Close).await
}
