//! The actors, one kind per file, all at once.

use std::sync::Arc;

use tokio::task::JoinSet;

use crate::world::{Phase, World};

mod bystanders;
mod calls;
mod floods;
mod hostile;
mod hostile_media;
mod media;
mod rest;
mod resumptions;
mod roaming;
mod rooms;
mod stalls;

/// Concurrent calls, without those of bystanders.
const CALLS: usize = 12;

/// Concurrent group rooms.
const ROOMS: usize = 4;

/// Concurrent conferences through the media server.
const MEETINGS: usize = 2;

/// Concurrent pairs with a client that drops and resumes.
const RESUMPTIONS: usize = 4;

/// Concurrent slow consumers.
const STALLS: usize = 2;

/// Concurrent calls over a cluster, of clients that resume.
const ROAMING: usize = 12;

/// Concurrent calls over a cluster, of clients that join again.
const REJOINING: usize = 3;

/// Runs the actors of a cluster until the phase is over and all have disconnected.
pub(crate) async fn on_cluster(world: &Arc<World>, phase: &Phase) {
    let mut actors = JoinSet::new();
    for lane in 0..ROAMING + REJOINING {
        let resumes = lane < ROAMING;
        actors.spawn(roaming::run(Arc::clone(world), phase.clone(), lane, resumes));
    }
    finish(world, actors).await;
}

/// Runs all actors until the phase is over and all have disconnected.
pub(crate) async fn all(world: &Arc<World>, phase: &Phase) {
    let mut actors = JoinSet::new();
    actors.spawn(bystanders::run(Arc::clone(world), phase.clone()));
    for lane in 0..CALLS {
        actors.spawn(calls::run(Arc::clone(world), phase.clone(), lane));
    }
    for lane in 0..ROOMS {
        actors.spawn(rooms::run(Arc::clone(world), phase.clone(), lane));
    }
    for lane in 0..RESUMPTIONS {
        actors.spawn(resumptions::run(Arc::clone(world), phase.clone(), lane));
    }
    for lane in 0..STALLS {
        actors.spawn(stalls::run(Arc::clone(world), phase.clone(), lane));
    }
    for lane in 0..MEETINGS {
        actors.spawn(media::run(Arc::clone(world), phase.clone(), lane));
    }
    actors.spawn(floods::run(Arc::clone(world), phase.clone()));
    actors.spawn(hostile::run(Arc::clone(world), phase.clone()));
    actors.spawn(rest::run(Arc::clone(world), phase.clone()));
    finish(world, actors).await;
}

async fn finish(world: &World, mut actors: JoinSet<()>) {
    while let Some(ended) = actors.join_next().await {
        if let Err(error) = ended {
            world.tally.violation(format!("an actor failed: {error}"));
        }
    }
}
