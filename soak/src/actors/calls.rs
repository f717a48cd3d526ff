//! Calls that end in every possible way, and start again.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use parlor_testing::connection::Route;
use parlor_testing::transport::Disconnect;
use rand::RngExt;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use tokio::time::{Instant, sleep};

use crate::call::{self, Parting, Talk};
use crate::client::Peer;
use crate::tally::Count;
use crate::world::{Phase, World};

/// Approximate length of a call.
const CALL: Duration = Duration::from_secs(4);

/// Time until the server detects a silent connection (two missed heartbeats) and its session
/// expires.
const FINDING: Duration = Duration::from_secs(19);

/// How one side of a call disconnects.
#[derive(Debug, Clone, Copy)]
enum Way {
    Says(Disconnect),
    Vanishes,
}

/// Weighted choices. Few clients vanish, since the server detects that late.
const WAYS: [Way; 9] = [
    Way::Says(Disconnect::Leave),
    Way::Says(Disconnect::Leave),
    Way::Says(Disconnect::Close),
    Way::Says(Disconnect::Close),
    Way::Says(Disconnect::Drop),
    Way::Says(Disconnect::Drop),
    Way::Says(Disconnect::Reset),
    Way::Says(Disconnect::Reset),
    Way::Vanishes,
];

pub(crate) async fn run(world: Arc<World>, phase: Phase, lane: usize) {
    let who = format!("calls {lane}, {}", phase.name);
    let mut choices = world.choices(&who);
    while phase.has_time_for(CALL) {
        let (first, second) = (choices.random_range(0..6), choices.random_range(0..6));
        let (first, second) = (Route::ALL[first], Route::ALL[second]);
        let outcome = meet(&world, &phase, &mut choices, first, second).await;
        world.check(format!("{who}, {first:?} and {second:?}"), outcome).await;
        sleep(Duration::from_millis(choices.random_range(200..800))).await;
    }
}

/// One peer waits in a room; another joins, calls, disconnects, and joins again.
async fn meet(
    world: &Arc<World>,
    phase: &Phase,
    choices: &mut SmallRng,
    first: Route,
    second: Route,
) -> anyhow::Result<()> {
    let room = world.name("call");
    let (answerer, offerer) = (world.name("answerer"), world.name("offerer"));
    let mut stays = Peer::join(world, first, &room, &answerer).await?;
    let calls = choices.random_range(1..=4);
    for call in 1..=calls {
        let (talk, way) = (Talk::choose(choices), *choose(choices, &WAYS));
        let mut comes = Peer::join(world, second, &room, &offerer).await?;
        call::await_joins(&mut stays, &mut comes)
            .await
            .with_context(|| format!("meeting for call {call}"))?;
        call::talk(&mut stays, &mut comes, talk).await.with_context(|| format!("call {call}"))?;
        let gone = comes.id.clone();
        let is_final = !second.protocol().resumes()
            || matches!(way, Way::Says(Disconnect::Leave | Disconnect::Close));
        let parting = if is_final { Parting::Final } else { Parting::Lost(Instant::now()) };
        // A vanished client keeps its connection until the other peer is notified.
        let vanished = match way {
            Way::Vanishes if phase.has_time_for(FINDING) => Some(comes.vanish().await?),
            Way::Vanishes => {
                comes.finish(Disconnect::Reset).await?;
                None
            }
            Way::Says(disconnect) => {
                comes.finish(disconnect).await?;
                None
            }
        };
        let outcome = call::expect_leave(world, &mut stays, &gone, parting).await;
        outcome.with_context(|| format!("after call {call}, {way:?}"))?;
        drop(vanished);
        world.tally.add(Count::Calls);
        if !phase.has_time_for(CALL) {
            break;
        }
    }
    stays.finish(Disconnect::Close).await
}

fn choose<'a, T>(choices: &mut SmallRng, of: &'a [T]) -> &'a T {
    of.choose(choices).expect("there is something to choose from")
}
