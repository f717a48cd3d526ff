//! Floods: clients that say far more than they may, to somebody who listens, until they are thrown out.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{bail, ensure};
use rand::RngExt;
use tokio::time::Instant;

use crate::call::{self, Label};
use crate::client::{Ended, Goodbye, Heard, Kind, LIMIT, Peer, Wire};
use crate::tally::Count;
use crate::world::{Pace, Phase, World};

/// What a flood takes, about: the server bears it for ten seconds.
const FLOOD: Duration = Duration::from_secs(14);

/// Ten times what a client may say, in waves; the machine has others to serve.
const WAVE: u64 = 20;
const INTERVAL: Duration = Duration::from_millis(20);

pub(crate) async fn run(world: Arc<World>, phase: Phase) {
    let who = format!("floods, {}", phase.name);
    let mut choices = world.choices(&who);
    while phase.has_time_for(FLOOD) {
        let floods = Wire::ALL[choices.random_range(0..Wire::ALL.len())];
        let listens = Wire::GROUP[choices.random_range(0..Wire::GROUP.len())];
        let outcome = flood(&world, floods, listens).await;
        world.check(format!("{who}, {floods:?} to {listens:?}"), outcome).await;
    }
}

async fn flood(world: &Arc<World>, floods: Wire, listens: Wire) -> anyhow::Result<()> {
    let room = world.name("flood");
    let mut listener = Peer::join(world, listens, &room, &world.name("listener")).await?;
    let mut flooder = Peer::join(world, floods, &room, &world.name("flooder")).await?;
    call::acquaint(&mut listener, &mut flooder).await?;
    world.tally.add(Count::Floods);
    let (begin, mut pace) = (Instant::now(), Pace::new());
    let (mut sent, mut refused, mut last) = (0, 0, 0);
    let mut is_gone = false;
    let ended = 'flood: loop {
        ensure!(begin.elapsed() < LIMIT, "of {sent} messages {refused} were refused, and it is not thrown out");
        let wave = (sent + 1..=sent + WAVE).map(|sequence| {
            let text = Label::new(room.as_str(), sequence).candidate();
            floods.signal(&room, Some(&listener.id), Kind::Candidate, &text)
        });
        flooder.say(wave.collect()).await?;
        sent += WAVE;
        pace.keep(INTERVAL).await;
        while let Some((_, heard)) = flooder.hear_within(Duration::ZERO).await? {
            match heard {
                Heard::Refused(code) if code == "RATE_LIMITED" || code == "dropped" => refused += 1,
                Heard::Ended(ended) => break 'flood ended,
                other => bail!("the flood is told {other:?}"),
            }
        }
        while let Some((_, heard)) = listener.hear_within(Duration::ZERO).await? {
            is_gone |= listen(heard, &mut last)?;
        }
    };
    world.tally.add_many(Count::FloodSent, sent);
    world.tally.add_many(Count::FloodRefused, refused);
    world.tally.add(Count::ThrownOut);
    ensure!(refused > 0, "it was thrown out without a word");
    // Unread messages of its own may take a plain client's last word with them.
    if Wire::PLAIN.contains(&floods) {
        ensure!(matches!(ended, Ended::Closed(1008) | Ended::Lost), "it was thrown out with {ended:?}");
    }
    while !is_gone {
        is_gone = listen(listener.hear().await?.1, &mut last)?;
    }
    listener.finish(Goodbye::Close).await
}

/// What gets through comes in order, with gaps. Whether it is over.
fn listen(heard: Heard, last: &mut u64) -> anyhow::Result<bool> {
    match heard {
        Heard::Signal { text, .. } => {
            let sequence = Label::read(&text)?.sequence;
            ensure!(sequence > *last, "number {sequence} of a flood comes after {last}");
            *last = sequence;
            Ok(false)
        }
        // Who floods may have no time for its heartbeat, and is lost before it is thrown out.
        Heard::Away(_) => Ok(false),
        Heard::Left(_) => Ok(true),
        other => bail!("the one who listens is told {other:?}"),
    }
}
