//! One sender and many receivers: the cost of a forwarded packet and of idle receivers, of Parlor
//! and of Janus Gateway.
//!
//! The clients are the same for both servers, one transport and one socket each. After the warm-up,
//! all but two receivers have the kernel drop what they receive, so that they leave the load's core
//! to the sender; the two count.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use parlor_testing::media::{Media, Source};
use parlor_testing::requester::Requester;
use serde_json::{Value, json};
use str0m::media::MediaKind;
use tokio::runtime::{Builder, Runtime};

use super::Window;
use crate::conference::transport;
use crate::janus;
use crate::server::{Contestant, JANUS, Server};

/// A number of receivers, and the packets per second of the sender.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Case {
    pub(crate) receivers: usize,
    pub(crate) rate: f64,
}

/// Many packets to few receivers, and few packets to many.
pub(crate) const CASES: [Case; 2] =
    [Case { receivers: 50, rate: 500.0 }, Case { receivers: 200, rate: 40.0 }];

/// The payload size of a packet, in bytes.
const BYTES: usize = 1000;

/// How long the server is idle, with all receivers connected.
const IDLE: Duration = Duration::from_secs(3);

/// The number of receivers that count.
const COUNTING: usize = 2;

/// The smallest share of packets that must arrive at each receiver that counts.
const ARRIVE: f64 = 0.99;

/// Time for what is in flight, and for the server to settle.
const SETTLING: Duration = Duration::from_millis(500);

pub(crate) struct Figures {
    pub(crate) cpu_micros: f64,
    pub(crate) server_busy: f64,
    /// The busy share of the core while no media is sent.
    pub(crate) idle_busy: f64,
}

/// A connected sender and its receivers.
struct Clients {
    sender: Media,
    receivers: Vec<Media>,
    /// Keeps the peers in their room.
    _requesters: Vec<Requester>,
    _session: Option<janus::Session>,
}

impl Case {
    pub(crate) fn name(self) -> String {
        format!("{}x{}", self.receivers, self.rate)
    }

    fn source(self) -> Source {
        Source {
            interval: Duration::from_secs(1).div_f64(self.rate),
            packets: 1,
            bytes: BYTES,
            layers: 1,
        }
    }
}

/// Measures a server that has just been started.
pub(crate) fn forward(
    case: Case,
    contestant: &Contestant,
    server: &Server,
    window: Window,
) -> anyhow::Result<Figures> {
    let runtime: Runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let clients = runtime.block_on(async {
        if contestant.key == JANUS.key {
            connect_to_janus(case).await
        } else {
            connect(case, server.address).await
        }
    })?;
    let Clients { sender, receivers, .. } = &clients;
    std::thread::sleep(SETTLING);
    let (cpu, began) = (server.cpu()?, Instant::now());
    std::thread::sleep(IDLE);
    let idle_busy = server.cpu()?.saturating_sub(cpu).as_secs_f64() / began.elapsed().as_secs_f64();
    sender.pause(false);
    std::thread::sleep(window.warm_up);
    let (counting, discarding) = receivers.split_at(COUNTING);
    discarding.iter().try_for_each(Media::discard_packets)?;
    std::thread::sleep(SETTLING);
    let received = || counting.iter().map(Media::received).collect::<Vec<_>>();
    let (sent, before, cpu, began) = (sender.sent(), received(), server.cpu()?, Instant::now());
    std::thread::sleep(window.length);
    sender.pause(true);
    let sent = (sender.sent() - sent) as f64;
    std::thread::sleep(SETTLING);
    let (cpu, time) =
        (server.cpu()?.saturating_sub(cpu).as_secs_f64(), began.elapsed().as_secs_f64());
    for (number, (before, after)) in before.iter().zip(received()).enumerate() {
        let arrived = (after - before) as f64;
        ensure!(
            arrived >= ARRIVE * sent,
            "{arrived} of {sent} packets of {} arrived at receiver {number}",
            contestant.label
        );
    }
    let wanted = case.rate * window.length.as_secs_f64();
    ensure!(
        sent >= 0.9 * wanted,
        "{sent} packets were sent of {wanted}: the load's core is busy with something else"
    );
    let forwarded = sent * receivers.len() as f64;
    Ok(Figures { cpu_micros: cpu * 1e6 / forwarded, server_busy: cpu / time, idle_busy })
}

async fn connect(case: Case, server: SocketAddr) -> anyhow::Result<Clients> {
    let mut sending = Requester::join(server, "forwarding", "sender").await?;
    let capabilities =
        sending.request("router:capabilities", json!({})).await?["rtpCapabilities"].take();
    let sender = transport(&mut sending, "send", &capabilities, Some(case.source())).await?;
    sender.pause(true);
    let request = json!({ "transportId": sender.id, "kind": "video", "rtpParameters": sender.send(MediaKind::Video, 0) });
    let producer = sending.request("produce", request).await?["id"].take();
    sender.connected().await?;
    let (mut receivers, mut requesters) = (Vec::new(), vec![sending]);
    for number in 0..case.receivers {
        let mut requester =
            Requester::join(server, "forwarding", &format!("receiver-{number}")).await?;
        receivers.push(receive(&mut requester, &producer, &capabilities).await?);
        requesters.push(requester);
    }
    Ok(Clients { sender, receivers, _requesters: requesters, _session: None })
}

async fn receive(
    requester: &mut Requester,
    producer: &Value,
    capabilities: &Value,
) -> anyhow::Result<Media> {
    let media = transport(requester, "recv", capabilities, None).await?;
    let request =
        json!({ "transportId": media.id, "producerId": producer, "rtpCapabilities": capabilities });
    let consumer = requester.request("consume", request).await?;
    media.receive(&consumer)?;
    requester.request("consumer:resume", json!({ "consumerId": consumer["id"] })).await?;
    media.connected().await?;
    Ok(media)
}

async fn connect_to_janus(case: Case) -> anyhow::Result<Clients> {
    let mut session = janus::Session::create()?;
    let (sender, publisher) = session.publish(case.source()).await?;
    let mut receivers = Vec::new();
    for number in 0..case.receivers {
        let receiver = session.subscribe(publisher).await;
        receivers.push(receiver.with_context(|| format!("receiver {number}"))?);
    }
    for (number, receiver) in receivers.iter().enumerate() {
        receiver
            .connected()
            .await
            .with_context(|| format!("receiver {number} has no connection to Janus"))?;
    }
    Ok(Clients { sender, receivers, _requesters: Vec::new(), _session: Some(session) })
}
