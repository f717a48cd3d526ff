//! Slow consumers: a client stops reading while a peer sends to it, until the server refuses
//! signals and disconnects it.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{bail, ensure};
use parlor_testing::connection::Route;
use parlor_testing::protocol::{Event, SignalKind};
use parlor_testing::transport::Disconnect;
use rand::RngExt;
use tokio::time::Instant;

use crate::call::{self, Label};
use crate::client::{LIMIT, Peer};
use crate::tally::Count;
use crate::world::{Pace, Phase, World};

/// Approximate length of a stall.
const STALL: Duration = Duration::from_secs(14);

/// Time between two signals: within the rate limit, and short enough to fill every send queue in
/// seconds.
const INTERVAL: Duration = Duration::from_millis(12);

/// Time between two signals after the first refusal.
const SLOW_INTERVAL: Duration = Duration::from_millis(250);

const DESCRIPTION_BYTES: usize = 6000;

pub(crate) async fn run(world: Arc<World>, phase: Phase, lane: usize) {
    let who = format!("stalls {lane}, {}", phase.name);
    let mut choices = world.choices(&who);
    while phase.has_time_for(STALL) {
        let talks = Route::GROUP[choices.random_range(0..Route::GROUP.len())];
        let stalls = Route::ALL[choices.random_range(0..Route::ALL.len())];
        let outcome = stall(&world, talks, stalls).await;
        world.check(format!("{who}, {talks:?} to {stalls:?}"), outcome).await;
    }
}

async fn stall(world: &Arc<World>, talks: Route, stalls: Route) -> anyhow::Result<()> {
    let room = world.name("stall");
    let mut talker = Peer::join(world, talks, &room, &world.name("talker")).await?;
    let mut staller = Peer::join_to_stall(world, stalls, &room, &world.name("staller")).await?;
    call::await_joins(&mut talker, &mut staller).await?;
    staller.stall().await?;
    world.tally.add(Count::Stalls);
    let (begin, mut pace, mut interval) = (Instant::now(), Pace::new(), INTERVAL);
    let mut sequence = 0;
    loop {
        ensure!(begin.elapsed() < LIMIT, "the slow consumer is still connected");
        sequence += 1;
        let text = Label::new(room.as_str(), sequence).description(DESCRIPTION_BYTES);
        talker.signal(Some(&staller.id), SignalKind::Offer, &text).await?;
        pace.keep(interval).await;
        while let Some((_, event)) = talker.next_within(Duration::ZERO).await? {
            match event {
                Event::Error(code) if code == "DELIVERY_FAILED" || code == "dropped" => {
                    world.tally.add(Count::RefusedForStall);
                    interval = SLOW_INTERVAL;
                }
                // It could resume, but does not.
                Event::Away(id) if id == staller.id => {}
                Event::Left(id) if id == staller.id => {
                    world.tally.add(Count::Evicted);
                    drop(staller);
                    // Signals in flight at the disconnect have no target.
                    let late = talker.end(Disconnect::Close).await?;
                    let is_refusal = |event: &Event| matches!(event, Event::Error(code) if code.eq_ignore_ascii_case("target_not_found"));
                    ensure!(late.iter().all(is_refusal), "received at the end: {late:?}");
                    return Ok(());
                }
                other => bail!("the sender received {other:?}"),
            }
        }
    }
}
