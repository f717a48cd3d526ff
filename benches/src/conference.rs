//! Conferences through the media server: complete clients with ICE, DTLS and SRTP, one socket per
//! transport.
//!
//! One thread runs all clients; requests are made one by one, before the measurement. Sent packets
//! must arrive: [`Conference::stop`] compares.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use parlor_testing::media::{Media, Source};
use parlor_testing::requester::Requester;
use rustix::process::setpriority_process;
use serde_json::{Value, json};
use str0m::media::MediaKind;
use tokio::runtime::{Builder, Runtime};

/// 50 audio packets and 100 video packets per second.
const SOURCE: Source =
    Source { interval: Duration::from_millis(20), packets: 2, bytes: 1000, layers: 1 };

/// One of this many packets may be lost.
const LOST: u64 = 1000;

/// The niceness of the thread, so that it yields to the rest of the load.
const NICENESS: i32 = 10;

/// No packet is in flight once none arrived for this long.
const QUIET: Duration = Duration::from_millis(500);

/// The size of a conference.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Meeting {
    pub(crate) rooms: usize,
    pub(crate) people: usize,
    /// The number of senders in each room. All others in it receive them.
    pub(crate) speakers: usize,
}

/// Peers in their rooms without transports: room by room, senders first.
pub(crate) struct Participants {
    meeting: Meeting,
    requesters: Vec<Requester>,
    runtime: Runtime,
}

/// Connected peers, paused until [`Conference::start`].
pub(crate) struct Conference {
    senders: Vec<Media>,
    receivers: Vec<Media>,
    /// The number of receivers of each sender.
    audience: u64,
    /// Keeps the peers in their rooms.
    _participants: Participants,
}

impl Meeting {
    pub(crate) fn name(self) -> String {
        let Self { rooms, people, speakers } = self;
        if people == speakers {
            format!("{rooms}x{people}")
        } else {
            format!("{speakers}+{}", people - speakers)
        }
    }

    pub(crate) fn transports(self) -> usize {
        self.rooms * (self.people + self.speakers)
    }

    /// Joins the rooms.
    pub(crate) fn join(self, server: SocketAddr) -> anyhow::Result<Participants> {
        let mut runtime = Builder::new_multi_thread();
        // Signals that are measured at the same time must not wait for media.
        runtime
            .worker_threads(1)
            .enable_all()
            .on_thread_start(|| _ = setpriority_process(None, NICENESS));
        let runtime = runtime.build()?;
        let requesters = runtime.block_on(async {
            let mut requesters = Vec::new();
            for room in 0..self.rooms {
                for person in 0..self.people {
                    let (room, name) =
                        (format!("conference-{room}"), format!("participant-{person}"));
                    requesters.push(Requester::join(server, &room, &name).await?);
                }
            }
            anyhow::Ok(requesters)
        })?;
        Ok(Participants { meeting: self, requesters, runtime })
    }
}

impl Participants {
    /// Connects a receiving transport per peer, and a sending one per sender.
    pub(crate) fn connect(mut self) -> anyhow::Result<Conference> {
        let (senders, receivers) =
            self.runtime.block_on(connect(self.meeting, &mut self.requesters))?;
        Ok(Conference {
            senders,
            receivers,
            audience: self.meeting.people as u64 - 1,
            _participants: self,
        })
    }
}

async fn connect(
    meeting: Meeting,
    requesters: &mut [Requester],
) -> anyhow::Result<(Vec<Media>, Vec<Media>)> {
    let (mut senders, mut receivers) = (Vec::new(), Vec::new());
    let capabilities =
        requesters[0].request("router:capabilities", json!({})).await?["rtpCapabilities"].take();
    for room in requesters.chunks_mut(meeting.people) {
        let mut producers = Vec::new();
        for (person, requester) in room.iter_mut().enumerate().take(meeting.speakers) {
            let media = transport(requester, "send", &capabilities, Some(SOURCE)).await?;
            media.pause(true);
            for (number, kind, name) in
                [(0, MediaKind::Audio, "audio"), (1, MediaKind::Video, "video")]
            {
                let parameters = media.send(kind, number);
                let request =
                    json!({ "transportId": media.id, "kind": name, "rtpParameters": parameters });
                producers.push((person, requester.request("produce", request).await?["id"].take()));
            }
            senders.push(media);
        }
        for (person, requester) in room.iter_mut().enumerate() {
            let media = transport(requester, "recv", &capabilities, None).await?;
            for (_, producer) in producers.iter().filter(|(sender, _)| *sender != person) {
                let request = json!({ "transportId": media.id, "producerId": producer, "rtpCapabilities": capabilities });
                let consumer = requester.request("consume", request).await?;
                media.receive(&consumer)?;
                requester
                    .request("consumer:resume", json!({ "consumerId": consumer["id"] }))
                    .await?;
            }
            receivers.push(media);
        }
    }
    for media in senders.iter().chain(&receivers) {
        media.connected().await?;
    }
    Ok((senders, receivers))
}

/// Creates and connects a transport.
pub(crate) async fn transport(
    requester: &mut Requester,
    direction: &str,
    capabilities: &Value,
    source: Option<Source>,
) -> anyhow::Result<Media> {
    let request = json!({ "direction": direction, "rtpCapabilities": capabilities });
    let created = requester.request("transport:create", request).await?;
    let media =
        Media::new(&created, source).await.with_context(|| format!("a transport of {created}"))?;
    requester.request("transport:connect", media.connect_request()).await?;
    Ok(media)
}

impl Conference {
    /// Starts sending.
    pub(crate) fn start(&self) {
        self.senders.iter().for_each(|media| media.pause(false));
    }

    /// Stops sending. All packets ever sent must have arrived, once none is in flight.
    pub(crate) fn stop(&self) -> anyhow::Result<()> {
        self.senders.iter().for_each(|media| media.pause(true));
        let expected = self.senders.iter().map(Media::sent).sum::<u64>() * self.audience;
        let (mut received, mut since) = (self.received(), Instant::now());
        while received < expected && since.elapsed() < QUIET {
            std::thread::sleep(QUIET / 10);
            let now = self.received();
            if now > received {
                (received, since) = (now, Instant::now());
            }
        }
        ensure!(expected > 0, "no packet was sent");
        ensure!(
            received <= expected && expected - received <= expected / LOST,
            "{received} packets arrived of {expected}"
        );
        Ok(())
    }

    /// The number of packets received, by all peers together.
    pub(crate) fn received(&self) -> u64 {
        self.receivers.iter().map(Media::received).sum()
    }
}
