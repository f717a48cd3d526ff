//! Bystanders: calls between each pair of routes, one after the other, which must not notice the
//! other traffic.

use std::sync::Arc;
use std::time::Duration;

use parlor_testing::connection::Route;
use tokio::time::Instant;

use crate::call::{self, Talk};
use crate::client::Peer;
use crate::tally::Count;
use crate::world::{Pace, Phase, World};

/// Minimum time between the starts of two calls.
const INTERVAL: Duration = Duration::from_millis(150);

const TALK: Talk = Talk { candidates: 10, description_bytes: 2000, pause: Duration::ZERO };

pub(crate) async fn run(world: Arc<World>, phase: Phase) {
    let pairs = Route::ALL.into_iter().flat_map(|first| Route::ALL.map(|second| (first, second)));
    let mut pace = Pace::new();
    for (first, second) in pairs.cycle() {
        if !phase.has_time_for(INTERVAL) {
            return;
        }
        let outcome = bystand(&world, first, second).await;
        world.check(format!("bystanders, {first:?} and {second:?}"), outcome).await;
        pace.keep(INTERVAL).await;
    }
}

async fn bystand(world: &Arc<World>, first: Route, second: Route) -> anyhow::Result<()> {
    let room = world.name("bystanders");
    let begin = Instant::now();
    let answerer = Peer::join(world, first, &room, &world.name("answerer")).await?;
    let offerer = Peer::join(world, second, &room, &world.name("offerer")).await?;
    let times = call::whole(world, answerer, offerer, TALK).await?;
    world.tally.time(begin.elapsed(), &times);
    world.tally.add(Count::BystanderCalls);
    Ok(())
}
