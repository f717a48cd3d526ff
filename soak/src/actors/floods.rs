//! Floods: clients that exceed the rate limit until they are disconnected, and a peer that receives
//! their signals.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{bail, ensure};
use parlor_testing::connection::Route;
use parlor_testing::protocol::{Event, LOST, SignalKind};
use parlor_testing::transport::Disconnect;
use rand::RngExt;
use tokio::time::Instant;

use crate::call::{self, Label};
use crate::client::{LIMIT, Peer};
use crate::tally::Count;
use crate::world::{Pace, Phase, World};

/// Approximate length of a flood: the server disconnects after ten seconds.
const FLOOD: Duration = Duration::from_secs(14);

/// Ten times the rate limit, in bursts.
const WAVE: u64 = 20;
const INTERVAL: Duration = Duration::from_millis(20);

pub(crate) async fn run(world: Arc<World>, phase: Phase) {
    let who = format!("floods, {}", phase.name);
    let mut choices = world.choices(&who);
    while phase.has_time_for(FLOOD) {
        let floods = Route::ALL[choices.random_range(0..Route::ALL.len())];
        let listens = Route::GROUP[choices.random_range(0..Route::GROUP.len())];
        let outcome = flood(&world, floods, listens).await;
        world.check(format!("{who}, {floods:?} to {listens:?}"), outcome).await;
    }
}

async fn flood(world: &Arc<World>, floods: Route, listens: Route) -> anyhow::Result<()> {
    let room = world.name("flood");
    let mut listener = Peer::join(world, listens, &room, &world.name("listener")).await?;
    let mut flooder = Peer::join(world, floods, &room, &world.name("flooder")).await?;
    call::await_joins(&mut listener, &mut flooder).await?;
    world.tally.add(Count::Floods);
    let (begin, mut pace) = (Instant::now(), Pace::new());
    let (mut sent, mut refused, mut last) = (0, 0, 0);
    let mut is_gone = false;
    let code = 'flood: loop {
        ensure!(
            begin.elapsed() < LIMIT,
            "{refused} of {sent} messages were refused, and the client is still connected"
        );
        let wave = (sent + 1..=sent + WAVE).map(|sequence| {
            let text = Label::new(room.as_str(), sequence).candidate();
            floods.protocol().signal(SignalKind::Candidate, &room, Some(&listener.id), Some(&text))
        });
        flooder.send(wave.collect()).await?;
        sent += WAVE;
        pace.keep(INTERVAL).await;
        while let Some((_, event)) = flooder.next_within(Duration::ZERO).await? {
            match event {
                Event::Error(code) if code == "RATE_LIMITED" || code == "dropped" => refused += 1,
                Event::Closed(code) => break 'flood code,
                other => bail!("the flooding client received {other:?}"),
            }
        }
        while let Some((_, event)) = listener.next_within(Duration::ZERO).await? {
            is_gone |= listen(event, &mut last)?;
        }
    };
    world.tally.add_many(Count::FloodSent, sent);
    world.tally.add_many(Count::FloodRefused, refused);
    world.tally.add(Count::Evicted);
    ensure!(refused > 0, "no message was refused before the disconnect");
    // A close frame may be lost with unread messages of the client.
    if Route::PLAIN.contains(&floods) {
        ensure!(matches!(code, 1008 | LOST), "it was closed with {code}");
    }
    while !is_gone {
        is_gone = listen(listener.next().await?.1, &mut last)?;
    }
    listener.finish(Disconnect::Close).await
}

/// Checks that relayed signals arrive in order, with gaps. Returns whether the flooding client has
/// left.
fn listen(event: Event, last: &mut u64) -> anyhow::Result<bool> {
    match event {
        Event::Candidate { candidate: Some(text), .. } => {
            let sequence = Label::read(&text)?.sequence;
            ensure!(sequence > *last, "number {sequence} of a flood follows {last}");
            *last = sequence;
            Ok(false)
        }
        // A flooding client may miss its heartbeat, and is lost before it is disconnected.
        Event::Away(_) => Ok(false),
        Event::Left(_) => Ok(true),
        other => bail!("the receiver got {other:?}"),
    }
}
