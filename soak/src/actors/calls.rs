//! Calls that end in every way there is, and begin again.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use parlor_testing::connection::Route;
use parlor_testing::transport::Goodbye;
use rand::RngExt;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use tokio::time::{Instant, sleep};

use crate::call::{self, Parting, Talk};
use crate::client::Peer;
use crate::tally::Count;
use crate::world::{Phase, World};

/// What a call takes, about.
const CALL: Duration = Duration::from_secs(4);

/// What it takes the server to find one that vanished, two heartbeats that are missed, and to give its place up.
const FINDING: Duration = Duration::from_secs(19);

/// How one side of a call goes.
#[derive(Debug, Clone, Copy)]
enum Way {
    Says(Goodbye),
    Vanishes,
}

/// As often as each is here. To find one that vanished takes the server long, so few do.
const WAYS: [Way; 9] = [
    Way::Says(Goodbye::Leave),
    Way::Says(Goodbye::Leave),
    Way::Says(Goodbye::Close),
    Way::Says(Goodbye::Close),
    Way::Says(Goodbye::Drop),
    Way::Says(Goodbye::Drop),
    Way::Says(Goodbye::Reset),
    Way::Says(Goodbye::Reset),
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

/// One waits in a room; the other comes, calls, goes, and comes again.
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
        call::acquaint(&mut stays, &mut comes).await.with_context(|| format!("meeting for call {call}"))?;
        call::talk(&mut stays, &mut comes, talk).await.with_context(|| format!("call {call}"))?;
        let gone = comes.id.clone();
        let is_final = !second.protocol().resumes() || matches!(way, Way::Says(Goodbye::Leave | Goodbye::Close));
        let parting = if is_final { Parting::Final } else { Parting::Lost(Instant::now()) };
        // Until the other is told, and no longer, one that vanished is held.
        let vanished = match way {
            Way::Vanishes if phase.has_time_for(FINDING) => Some(comes.vanish().await?),
            Way::Vanishes => {
                comes.finish(Goodbye::Reset).await?;
                None
            }
            Way::Says(goodbye) => {
                comes.finish(goodbye).await?;
                None
            }
        };
        let told = call::told_of_end(world, &mut stays, &gone, parting).await;
        told.with_context(|| format!("after call {call}, {way:?}"))?;
        drop(vanished);
        world.tally.add(Count::Calls);
        if !phase.has_time_for(CALL) {
            break;
        }
    }
    stays.finish(Goodbye::Close).await
}

fn choose<'a, T>(choices: &mut SmallRng, of: &'a [T]) -> &'a T {
    of.choose(choices).expect("there is something to choose from")
}
