//! Rooms created, listed and closed over REST, with and without a peer in them.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use parlor_testing::connection::Route;
use parlor_testing::protocol::Event;
use parlor_testing::transport::Disconnect;
use rand::RngExt;
use rand::rngs::SmallRng;
use serde_json::{Value, json};

use crate::client::Peer;
use crate::tally::Count;
use crate::world::{Pace, Phase, World};

/// Minimum time between two rooms.
const INTERVAL: Duration = Duration::from_millis(300);

pub(crate) async fn run(world: Arc<World>, phase: Phase) {
    let who = format!("REST, {}", phase.name);
    let mut choices = world.choices(&who);
    let mut pace = Pace::new();
    while phase.has_time_for(INTERVAL) {
        let outcome = one_room(&world, &mut choices).await;
        world.check(&who, outcome).await;
        world.tally.add(Count::Rest);
        pace.keep(INTERVAL).await;
    }
}

async fn one_room(world: &Arc<World>, choices: &mut SmallRng) -> anyhow::Result<()> {
    let rooms = world.url("/api/rooms");
    let name = choices.random_bool(0.5).then(|| world.name("rest"));
    let mut body = json!({ "capacity": choices.random_range(2..=8) });
    if let Some(name) = &name {
        body["roomId"] = json!(name);
    }
    let made = world.http.post(&rooms).json(&body).send().await?;
    ensure!(made.status() == 201, "creating a room answers {}", made.status());
    let made: Value = made.json().await?;
    let id = made["roomId"].as_str().context("a room has an id")?;
    ensure!(name.as_deref().is_none_or(|name| name == id), "requested {name:?}, got {id}");
    if name.is_some() {
        let again = world.http.post(&rooms).json(&body).send().await?.status();
        ensure!(again == 409, "creating an existing room answers {again}");
    }
    let room = format!("{rooms}/{id}");
    let mut peer = None;
    if choices.random_bool(0.5) {
        let route = Route::GROUP[choices.random_range(0..Route::GROUP.len())];
        peer = Some(Peer::join(world, route, id, &world.name("guest")).await?);
    }
    let seen: Value = world.http.get(&room).send().await?.error_for_status()?.json().await?;
    let guests: Vec<&str> = peer.iter().map(|peer| peer.id.as_str()).collect();
    ensure!(seen["participants"] == json!(guests), "expected {guests:?}, not {seen}");
    let list = world.http.get(&rooms).query(&[("limit", 1000)]).send().await?;
    let total: usize = list.headers()["x-total-count"].to_str()?.parse()?;
    let list: Value = list.json().await?;
    let listed = list.as_array().context("a list of rooms")?;
    ensure!(listed.iter().any(|room| room["id"] == id) && total >= 1, "{id} is not listed");
    let closed = world.http.delete(&room).send().await?.status();
    ensure!(closed == 204, "closing a room answers {closed}");
    if let Some(mut peer) = peer {
        match peer.next().await?.1 {
            Event::Error(code) if code == "ROOM_CLOSED" => {}
            Event::Closed(1008) if peer.route == Route::Topic => {}
            other => bail!("{:?} received {other:?} when its room was closed", peer.route),
        }
        peer.finish(Disconnect::Close).await?;
    }
    let gone = world.http.get(&room).send().await?.status();
    ensure!(gone == 404, "a closed room answers {gone}");
    Ok(())
}
