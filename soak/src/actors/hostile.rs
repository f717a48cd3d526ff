//! Invalid input and abandoned connections. Each gets the specified response, and none leaks
//! anything.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use futures_util::{SinkExt, StreamExt};
use parlor_testing::connection::Route;
use parlor_testing::polling::Polling;
use parlor_testing::transport::{WebSocket, connect, dial, reset};
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_tungstenite::MaybeTlsStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::hostile_media;
use crate::client::LIMIT;
use crate::tally::Count;
use crate::world::{Pace, Phase, World};

/// Minimum time between two acts.
const INTERVAL: Duration = Duration::from_millis(150);

/// Maximum number of concurrent acts.
const MOST: usize = 40;

/// Approximate length of an act that waits for a timeout of the server.
const PATIENCE: Duration = Duration::from_secs(8);

/// Acts that end at once.
const QUICK: [Act; 13] = [
    Act::Garbage,
    Act::GarbagePackets,
    Act::Binary,
    Act::TooLarge,
    Act::WrongPath,
    Act::ForeignOrigin,
    Act::AbandonedPolling,
    Act::AbandonedUpgrade,
    Act::BrokenFrames,
    Act::MadeUpKey,
    Act::MediaGarbage,
    Act::MediaLies,
    Act::MediaAbandoned,
];

/// Acts that wait for a timeout of the server.
const SLOW: [Act; 2] = [Act::HalfHead, Act::NoFirstMessage];

#[derive(Debug, Clone, Copy)]
enum Act {
    Garbage,
    GarbagePackets,
    Binary,
    TooLarge,
    WrongPath,
    ForeignOrigin,
    AbandonedPolling,
    AbandonedUpgrade,
    BrokenFrames,
    MadeUpKey,
    MediaGarbage,
    MediaLies,
    MediaAbandoned,
    HalfHead,
    NoFirstMessage,
}

pub(crate) async fn run(world: Arc<World>, phase: Phase) {
    let who = format!("hostile, {}", phase.name);
    let mut choices = world.choices(&who);
    let (mut acts, mut pace) = (JoinSet::new(), Pace::new());
    while phase.has_time_for(INTERVAL) {
        let is_slow = choices.random_bool(0.2) && phase.has_time_for(PATIENCE);
        let act = *if is_slow { SLOW.choose(&mut choices) } else { QUICK.choose(&mut choices) }
            .expect("there are acts");
        let (world, who) = (Arc::clone(&world), who.clone());
        let choices = SmallRng::seed_from_u64(choices.random());
        acts.spawn(async move {
            let outcome = timeout(LIMIT, perform(&world, act, choices))
                .await
                .context("not over in time")
                .flatten();
            world.check(format!("{who}, {act:?}"), outcome).await;
            world.tally.add(Count::Hostile);
        });
        if acts.len() >= MOST {
            acts.join_next().await;
        }
        while acts.try_join_next().is_some() {}
        pace.keep(INTERVAL).await;
    }
    while acts.join_next().await.is_some() {}
}

async fn perform(world: &World, act: Act, choices: SmallRng) -> anyhow::Result<()> {
    match act {
        Act::Garbage => garbage(world, choices).await,
        Act::GarbagePackets => garbage_packets(world, choices).await,
        Act::Binary => binary(world, choices).await,
        Act::TooLarge => too_large(world, choices).await,
        Act::WrongPath => wrong_path(world, choices).await,
        Act::ForeignOrigin => foreign_origin(world, choices).await,
        Act::AbandonedPolling => abandoned_polling(world, choices).await,
        Act::AbandonedUpgrade => abandoned_upgrade(world, choices).await,
        Act::BrokenFrames => broken_frames(world, choices).await,
        Act::MadeUpKey => made_up_key(world, choices).await,
        Act::MediaGarbage => hostile_media::garbage(world, choices).await,
        Act::MediaLies => hostile_media::lies(world, choices).await,
        Act::MediaAbandoned => hostile_media::abandoned(world, choices).await,
        Act::HalfHead => half_head(world, choices).await,
        Act::NoFirstMessage => no_first_message(world, choices).await,
    }
}

fn choose<T: Copy>(choices: &mut SmallRng, of: &[T]) -> T {
    *of.choose(choices).expect("there is something to choose from")
}

pub(super) fn noise(choices: &mut SmallRng, length: usize) -> Vec<u8> {
    (0..length).map(|_| choices.random()).collect()
}

/// Opens a WebSocket of a plain protocol, in a room of its own.
async fn plain(world: &World, choices: &mut SmallRng) -> anyhow::Result<(Route, WebSocket)> {
    let route = choose(choices, &Route::PLAIN);
    Ok((route, connect(world.address, &route.protocol().path(&world.name("hostile"))).await?))
}

/// Reads until a text contains `what`.
async fn until(socket: &mut WebSocket, what: &str) -> anyhow::Result<()> {
    loop {
        match socket
            .next()
            .await
            .with_context(|| format!("the connection ended before {what}"))??
        {
            Message::Text(text) if text.contains(what) => return Ok(()),
            Message::Close(frame) => bail!("closed before {what}: {frame:?}"),
            _ => {}
        }
    }
}

/// Reads to the end; returns the close code, if any.
async fn code(socket: &mut WebSocket) -> Option<u16> {
    while let Some(Ok(message)) = socket.next().await {
        if let Message::Close(frame) = message {
            return frame.map(|frame| frame.code.into());
        }
    }
    None
}

async fn ended(stream: &mut TcpStream) {
    let mut rest = [0; 1024];
    while stream.read(&mut rest).await.is_ok_and(|length| length > 0) {}
}

/// Invalid messages are answered with an error, and the connection stays open.
async fn garbage(world: &World, mut choices: SmallRng) -> anyhow::Result<()> {
    let (route, mut socket) = plain(world, &mut choices).await?;
    for _ in 0..3 {
        let noise = String::from_utf8_lossy(&noise(&mut choices, 40)).into_owned();
        let texts = [
            "",
            "{",
            "null",
            "[]",
            r#"{"type":5}"#,
            r#"{"type":"offer"}"#,
            r#"{"type":"sdp:offer","payload":[]}"#,
            &noise,
        ];
        socket.send(Message::text(choose(&mut choices, &texts))).await?;
        until(&mut socket, "\"error\"").await.with_context(|| format!("{route:?}"))?;
    }
    socket.close(None).await?;
    code(&mut socket).await;
    Ok(())
}

/// An invalid packet ends the connection, or is ignored and the connection still answers.
async fn garbage_packets(world: &World, mut choices: SmallRng) -> anyhow::Result<()> {
    let mut socket = connect(world.address, &Route::WebSocket.protocol().path("")).await?;
    socket.send(Message::text("40")).await?;
    until(&mut socket, "40{").await?;
    let noise = String::from_utf8_lossy(&noise(&mut choices, 40)).into_owned();
    let packets = [
        "",
        "4",
        "9",
        "42",
        "42[",
        "42{}",
        r#"42["offer""#,
        "451-[]",
        "44",
        "40/admin,",
        "6",
        "5",
        &noise,
    ];
    socket.send(Message::text(choose(&mut choices, &packets))).await?;
    // The connection may end before this is sent.
    socket.send(Message::text(r#"428["leave-room","x"]"#)).await.ok();
    while let Some(Ok(message)) = socket.next().await {
        if matches!(&message, Message::Text(text) if text.starts_with("438")) {
            break;
        }
    }
    Ok(())
}

async fn binary(world: &World, mut choices: SmallRng) -> anyhow::Result<()> {
    let (route, mut socket) = plain(world, &mut choices).await?;
    socket.send(Message::binary(noise(&mut choices, 100))).await?;
    let code = code(&mut socket).await;
    ensure!(code == Some(1003), "{route:?} closes with {code:?} after a binary message");
    Ok(())
}

async fn too_large(world: &World, mut choices: SmallRng) -> anyhow::Result<()> {
    let text = "x".repeat(choices.random_range(66_000..120_000));
    if choices.random_bool(0.3) {
        let mut socket = connect(world.address, &Route::WebSocket.protocol().path("")).await?;
        socket.send(Message::text("40")).await?;
        until(&mut socket, "40{").await?;
        socket.send(Message::text(format!(r#"42["offer",{{"offer":"{text}"}}]"#))).await?;
        return until(&mut socket, "PAYLOAD_TOO_LARGE").await;
    }
    let (route, mut socket) = plain(world, &mut choices).await?;
    // The server may close before all of it is sent.
    socket.send(Message::text(text)).await.ok();
    let code = code(&mut socket).await;
    ensure!(code == Some(1009), "{route:?} closes with {code:?} after a message that is too large");
    Ok(())
}

async fn wrong_path(world: &World, mut choices: SmallRng) -> anyhow::Result<()> {
    let (path, expected) = choose(
        &mut choices,
        &[
            ("/nowhere", 404),
            ("/api/nowhere", 404),
            ("/api/rooms/nowhere", 404),
            ("/socket.io/", 400),
            ("/socket.io/?EIO=9&transport=polling", 400),
            ("/socket.io/?EIO=4&transport=pigeon", 400),
            ("/socket.io/?EIO=4&transport=websocket", 400),
            ("/socket.io/?EIO=4&transport=polling&sid=AAAAAAAAAAAAAAAA", 400),
        ],
    );
    let status = world.http.get(world.url(path)).send().await?.status();
    ensure!(status == expected, "{path} answers {status}");
    let status = world.http.post(world.url("/health")).send().await?.status();
    ensure!(status == 405, "POST /health answers {status}");
    for route in Route::PLAIN {
        let status =
            world.http.get(world.url(&route.protocol().path("hostile"))).send().await?.status();
        ensure!(status.is_client_error(), "{route:?} without a handshake answers {status}");
    }
    Ok(())
}

async fn foreign_origin(world: &World, mut choices: SmallRng) -> anyhow::Result<()> {
    let route =
        choose(&mut choices, &[Route::WebSocket, Route::Envelope, Route::Topic, Route::Session]);
    let mut request = format!("ws://{}{}", world.address, route.protocol().path("hostile"))
        .into_client_request()?;
    request.headers_mut().insert("origin", HeaderValue::from_static("https://evil.example"));
    let stream = dial(world.address, None).await?;
    match tokio_tungstenite::client_async(request, stream).await {
        Err(Error::Http(response)) if response.status() == 403 => Ok(()),
        Err(error) => bail!("{route:?} answers a foreign origin with {error}"),
        Ok(_) => bail!("{route:?} lets a foreign origin in"),
    }
}

/// Opens a polling session and proceeds to a stage.
async fn some_polling(world: &World, stage: u32) -> anyhow::Result<Polling> {
    let mut polling = Polling::open(world.address).await?;
    if stage >= 1 {
        polling.send(&["40".to_owned()]).await?;
    }
    if stage >= 2 {
        // A heartbeat may come first; a client that sends more before the response to CONNECT is
        // disconnected.
        while !polling.next().await.ok().context("CONNECT is answered")?.starts_with("40") {}
    }
    if stage >= 3 {
        polling.send(&[format!(r#"42["join-room","{}"]"#, world.name("hostile"))]).await?;
    }
    Ok(polling)
}

async fn abandoned_polling(world: &World, mut choices: SmallRng) -> anyhow::Result<()> {
    some_polling(world, choices.random_range(0..=3)).await?;
    Ok(())
}

async fn abandoned_upgrade(world: &World, mut choices: SmallRng) -> anyhow::Result<()> {
    let stage = choices.random_range(0..=3);
    let polling = some_polling(world, stage).await?;
    let upgrade = connect(world.address, &polling.upgrade_path()).await;
    let mut socket = upgrade.with_context(|| format!("the upgrade, at stage {stage}"))?;
    if choices.random_bool(0.7) {
        socket.send(Message::text("2probe")).await?;
        until(&mut socket, "3probe")
            .await
            .with_context(|| format!("the probe, at stage {stage}"))?;
    }
    if choices.random_bool(0.5) {
        reset(socket);
    }
    Ok(())
}

/// A made-up resume token: the client gets a new session.
async fn made_up_key(world: &World, mut choices: SmallRng) -> anyhow::Result<()> {
    let key =
        format!("{:032x}.{}", choices.random::<u128>(), "Q".repeat(choices.random_range(23..=24)));
    let route = choose(&mut choices, &[Route::WebSocket, Route::Envelope]);
    let mut socket = connect(world.address, &route.protocol().path("")).await?;
    let (claim, answer) = if route == Route::Envelope {
        let payload = json!({ "resumeToken": key, "lastSequence": choices.random::<u32>() });
        (json!({ "type": "auth:request", "payload": payload }).to_string(), r#""recovered":false"#)
    } else {
        (format!("40{}", json!({ "pid": key, "offset": "000000-1" })), "40{")
    };
    socket.send(Message::text(claim)).await?;
    until(&mut socket, answer).await?;
    socket.close(None).await?;
    code(&mut socket).await;
    Ok(())
}

/// Invalid frames and invalid HTTP end the connection.
async fn broken_frames(world: &World, mut choices: SmallRng) -> anyhow::Result<()> {
    let route = choose(&mut choices, &Route::ALL);
    let mut stream = if choices.random_bool(0.3) {
        dial(world.address, None).await?
    } else {
        let socket = connect(world.address, &route.protocol().path(&world.name("hostile"))).await?;
        let MaybeTlsStream::Plain(stream) = socket.into_inner() else { bail!("TLS is not in use") };
        stream
    };
    // Reserved bits are set: neither a valid frame nor a valid request.
    let mut bytes = vec![0xff];
    bytes.extend(noise(&mut choices, 200));
    stream.write_all(&bytes).await?;
    ended(&mut stream).await;
    Ok(())
}

/// An incomplete or empty request head.
async fn half_head(world: &World, mut choices: SmallRng) -> anyhow::Result<()> {
    let mut stream = dial(world.address, None).await?;
    let head = format!("GET /ws HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\n", world.address);
    stream.write_all(&head.as_bytes()[..choices.random_range(0..=head.len())]).await?;
    ended(&mut stream).await;
    Ok(())
}

/// A handshake without a first message. (Topic clients need none.)
async fn no_first_message(world: &World, mut choices: SmallRng) -> anyhow::Result<()> {
    let path = choose(&mut choices, &["/socket.io/?EIO=4&transport=websocket", "/ws", "/signal"]);
    let mut socket = connect(world.address, path).await?;
    code(&mut socket).await;
    Ok(())
}
