//! People who meet at the media server: whole clients, with ICE, DTLS and SRTP, each transport with a socket of its own.
//!
//! A thread carries all transports; requests are made one after the other, before the work. What is said must be heard:
//! [`Hall::hush`] compares.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use rustix::process::setpriority_process;
use serde_json::{Value, json};
use str0m::media::MediaKind;
use tokio::runtime::{Builder, Runtime};

use crate::asker::Asker;

#[expect(dead_code, reason = "a hall never restarts ICE, nor waits for one stream")]
#[path = "../../examples/soak/client/media.rs"]
mod media;

use media::{Media, Score};

/// Fifty packets of sound a second, and a hundred of pictures.
const SCORE: Score = Score { interval: Duration::from_millis(20), packets: 2, bytes: 1000, layers: 1 };

/// One of so many packets may be lost.
const LOST: u64 = 1000;

/// By how much the thread of a hall gives way to others of the load.
const NICENESS: i32 = 10;

/// Nothing more is under way when nothing came for so long.
const STILL: Duration = Duration::from_millis(500);

/// Who meets.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Meeting {
    pub(crate) rooms: usize,
    pub(crate) people: usize,
    /// How many of those in a room speak: all others get that.
    pub(crate) speakers: usize,
}

/// All of them, in their rooms, without transports: room by room, those who speak first.
pub(crate) struct Guests {
    meeting: Meeting,
    askers: Vec<Asker>,
}

/// All of them, connected, and silent until they are to speak.
pub(crate) struct Hall {
    speakers: Vec<Media>,
    listeners: Vec<Media>,
    /// How many hear each who speaks.
    audience: u64,
    /// They stay in their rooms.
    _guests: Guests,
    _runtime: Runtime,
}

impl Meeting {
    pub(crate) fn name(self) -> String {
        let Self { rooms, people, speakers } = self;
        if people == speakers { format!("{rooms}x{people}") } else { format!("{speakers}+{}", people - speakers) }
    }

    pub(crate) fn transports(self) -> usize {
        self.rooms * (self.people + self.speakers)
    }

    pub(crate) fn gather(self, server: SocketAddr) -> anyhow::Result<Guests> {
        let seats = (0..self.rooms).flat_map(|room| (0..self.people).map(move |person| (room, person)));
        let join = |(room, person)| Asker::join(server, &format!("hall-{room}"), &format!("guest-{person}"));
        Ok(Guests { meeting: self, askers: seats.map(join).collect::<anyhow::Result<_>>()? })
    }
}

impl Guests {
    /// Gives everyone a transport to receive, and another to those who speak.
    pub(crate) fn seat(mut self) -> anyhow::Result<Hall> {
        let mut runtime = Builder::new_multi_thread();
        // Signals that are measured beside it are not to wait for it.
        runtime.worker_threads(1).enable_all().on_thread_start(|| _ = setpriority_process(None, NICENESS));
        let runtime = runtime.build()?;
        let (mut speakers, mut listeners) = (Vec::new(), Vec::new());
        let Meeting { people, speakers: speaking, .. } = self.meeting;
        let capabilities = self.askers[0].ask("router:capabilities", &json!({}))?["rtpCapabilities"].take();
        for room in self.askers.chunks_mut(people) {
            let mut producers = Vec::new();
            for (person, asker) in room.iter_mut().enumerate().take(speaking) {
                let media = open(&runtime, asker, "send", &capabilities)?;
                media.hush(true);
                for (number, kind, name) in [(0, MediaKind::Audio, "audio"), (1, MediaKind::Video, "video")] {
                    let parameters = media.send(kind, number);
                    let about = json!({ "transportId": media.id, "kind": name, "rtpParameters": parameters });
                    producers.push((person, asker.ask("produce", &about)?["id"].take()));
                }
                speakers.push(media);
            }
            for (person, asker) in room.iter_mut().enumerate() {
                let media = open(&runtime, asker, "recv", &capabilities)?;
                for (_, producer) in producers.iter().filter(|(speaker, _)| *speaker != person) {
                    let about =
                        json!({ "transportId": media.id, "producerId": producer, "rtpCapabilities": capabilities });
                    let consumer = asker.ask("consume", &about)?;
                    media.receive(&consumer)?;
                    asker.ask("consumer:resume", &json!({ "consumerId": consumer["id"] }))?;
                }
                listeners.push(media);
            }
        }
        for media in speakers.iter().chain(&listeners) {
            runtime.block_on(media.connected())?;
        }
        Ok(Hall { speakers, listeners, audience: people as u64 - 1, _guests: self, _runtime: runtime })
    }
}

impl Hall {
    /// Those speak who can.
    pub(crate) fn speak(&self) {
        self.speakers.iter().for_each(|media| media.hush(false));
    }

    /// Nobody speaks any more. What was ever said must have been heard, once it all has come.
    pub(crate) fn hush(&self) -> anyhow::Result<()> {
        self.speakers.iter().for_each(|media| media.hush(true));
        let wanted = self.wanted();
        let (mut heard, mut since) = (self.heard(), Instant::now());
        while heard < wanted && since.elapsed() < STILL {
            std::thread::sleep(STILL / 10);
            let now = self.heard();
            if now > heard {
                (heard, since) = (now, Instant::now());
            }
        }
        ensure!(wanted > 0, "nobody said anything");
        ensure!(heard <= wanted && wanted - heard <= wanted / LOST, "{heard} packets were heard of {wanted}");
        Ok(())
    }

    /// How many packets were heard, by all together.
    pub(crate) fn heard(&self) -> u64 {
        self.listeners.iter().map(Media::heard).sum()
    }

    /// How many are to be heard, of what was ever said.
    fn wanted(&self) -> u64 {
        self.speakers.iter().map(Media::played).sum::<u64>() * self.audience
    }
}

/// A transport that connects. One to send does with what is first produced on it, not before.
fn open(runtime: &Runtime, asker: &mut Asker, direction: &str, capabilities: &Value) -> anyhow::Result<Media> {
    let request = json!({ "direction": direction, "rtpCapabilities": capabilities });
    let created = asker.ask("transport:create", &request)?;
    let score = (direction == "send").then_some(SCORE);
    let media = runtime.block_on(Media::new(&created, score)).with_context(|| format!("a transport of {created}"))?;
    asker.ask("transport:connect", &media.connecting())?;
    Ok(media)
}
