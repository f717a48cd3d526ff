//! Conferences through the media server, in which peers join and leave and use every request on
//! transports, producers and consumers. Packets of each consumer that starts or resumes must
//! arrive.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use parlor_testing::media::{Media, Source};
use parlor_testing::requester::Requester;
use parlor_testing::transport::Disconnect;
use rand::RngExt;
use rand::rngs::SmallRng;
use serde_json::{Value, json};
use str0m::media::MediaKind;
use str0m::rtp::Ssrc;

use crate::tally::Count;
use crate::world::{Pace, Phase, World};

/// Minimum time between two steps of a conference.
const INTERVAL: Duration = Duration::from_millis(60);

/// Steps of a conference.
const STEPS: usize = 150;

/// Maximum number of peers in a conference, and of producers of each.
const MOST: usize = 4;
const MOST_SENT: usize = 3;

/// Packets that must arrive of a consumer.
const PACKETS: u64 = 3;

/// The packets of each producer.
const SOURCE: Source =
    Source { interval: Duration::from_millis(80), packets: 1, bytes: 600, layers: 2 };

pub(crate) async fn run(world: Arc<World>, phase: Phase, lane: usize) {
    let who = format!("media {lane}, {}", phase.name);
    let mut choices = world.choices(&who);
    while phase.has_time_for(INTERVAL) {
        let mut meeting = Meeting { room: world.name("meeting"), members: Vec::new() };
        let outcome = meeting.live(&world, &phase, &mut choices).await;
        world.check(&who, outcome).await;
        for member in meeting.members {
            world.check(&who, member.requester.end(Disconnect::Close).await).await;
        }
    }
}

struct Meeting {
    room: String,
    members: Vec<Member>,
}

struct Member {
    requester: Requester,
    capabilities: Value,
    sending: Media,
    receiving: Media,
    /// The number of producers ever created on its transport.
    sent: u32,
    producers: Vec<Producer>,
    consumers: Vec<Consumer>,
}

struct Producer {
    id: String,
    is_paused: bool,
}

struct Consumer {
    id: String,
    producer: String,
    stream: Ssrc,
}

/// The kind of a step.
#[derive(Debug, Clone, Copy)]
enum Step {
    Join,
    Produce,
    Consume,
    PauseConsumer,
    ResumeConsumer,
    Layers,
    CloseConsumer,
    PauseProducer,
    ResumeProducer,
    CloseProducer,
    RestartIce,
    CloseTransport,
    Go,
}

/// Weighted choices.
const CHOICES: [Step; 22] = [
    Step::Join,
    Step::Join,
    Step::Produce,
    Step::Produce,
    Step::Produce,
    Step::Consume,
    Step::Consume,
    Step::Consume,
    Step::Consume,
    Step::PauseConsumer,
    Step::PauseConsumer,
    Step::ResumeConsumer,
    Step::ResumeConsumer,
    Step::Layers,
    Step::Layers,
    Step::CloseConsumer,
    Step::PauseProducer,
    Step::ResumeProducer,
    Step::CloseProducer,
    Step::RestartIce,
    Step::CloseTransport,
    Step::Go,
];

impl Meeting {
    async fn live(
        &mut self,
        world: &World,
        phase: &Phase,
        choices: &mut SmallRng,
    ) -> anyhow::Result<()> {
        let mut pace = Pace::new();
        for number in 0..STEPS {
            if !phase.has_time_for(INTERVAL) {
                break;
            }
            let step = if self.members.len() < 2 { Step::Join } else { pick(choices, &CHOICES) };
            let done = self.step(world, step, choices).await;
            done.with_context(|| format!("{}, step {number}, {step:?}", self.room))?;
            world.tally.add(Count::MediaSteps);
            pace.keep(INTERVAL).await;
        }
        Ok(())
    }

    async fn step(
        &mut self,
        world: &World,
        step: Step,
        choices: &mut SmallRng,
    ) -> anyhow::Result<()> {
        match step {
            Step::Join if self.members.len() < MOST => {
                self.members.push(Member::join(world, &self.room).await?);
            }
            Step::Join => {}
            Step::Go => {
                let member = self.members.swap_remove(choices.random_range(0..self.members.len()));
                member.go(world, &self.room, choices).await?;
                self.forget();
            }
            Step::Consume => self.consume(world, choices).await?,
            Step::ResumeConsumer | Step::RestartIce => self.go_on(world, step, choices).await?,
            _ => {
                let index = choices.random_range(0..self.members.len());
                self.members[index].step(step, choices).await?;
                self.forget();
            }
        }
        Ok(())
    }

    /// Consumers end with their producers.
    fn forget(&mut self) {
        let there: Vec<String> = self.producers(None).map(|producer| producer.id.clone()).collect();
        for member in &mut self.members {
            member.consumers.retain(|consumer| there.contains(&consumer.producer));
        }
    }

    /// The producers of all members, or of all but one.
    fn producers(&self, but: Option<usize>) -> impl Iterator<Item = &Producer> {
        let members = self.members.iter().enumerate().filter(move |(index, _)| Some(*index) != but);
        members.flat_map(|(_, member)| &member.producers)
    }

    fn plays(&self, producer: &str) -> bool {
        self.producers(None).any(|one| one.id == producer && !one.is_paused)
    }

    async fn consume(&mut self, world: &World, choices: &mut SmallRng) -> anyhow::Result<()> {
        let index = choices.random_range(0..self.members.len());
        let has =
            |id: &str| self.members[index].consumers.iter().any(|consumer| consumer.producer == id);
        let wanted: Vec<String> =
            self.producers(Some(index)).map(|one| one.id.clone()).filter(|id| !has(id)).collect();
        if wanted.is_empty() {
            return Ok(());
        }
        let producer = wanted[choices.random_range(0..wanted.len())].clone();
        let plays = self.plays(&producer);
        let member = &mut self.members[index];
        member.consume(producer).await?;
        let last = member.consumers.len() - 1;
        member.resume(world, last, plays).await
    }

    /// Resumes a consumer, or restarts ICE: packets must arrive afterwards.
    async fn go_on(
        &mut self,
        world: &World,
        step: Step,
        choices: &mut SmallRng,
    ) -> anyhow::Result<()> {
        let index = choices.random_range(0..self.members.len());
        let member = &mut self.members[index];
        if let Step::RestartIce = step {
            let media = if choices.random() { &member.sending } else { &member.receiving };
            let restarted = member
                .requester
                .request("transport:restart-ice", json!({ "transportId": media.id }))
                .await?;
            media.restart(&restarted)?;
        }
        if member.consumers.is_empty() {
            return Ok(());
        }
        let consumer = choices.random_range(0..member.consumers.len());
        let producer = member.consumers[consumer].producer.clone();
        let plays = self.plays(&producer);
        self.members[index].resume(world, consumer, plays).await
    }
}

impl Member {
    async fn join(world: &World, room: &str) -> anyhow::Result<Self> {
        let mut requester = Requester::join(world.address, room, &world.name("member")).await?;
        let capabilities =
            requester.request("router:capabilities", json!({})).await?["rtpCapabilities"].take();
        let sending = connected(&mut requester, "send", &capabilities).await?;
        let receiving = connected(&mut requester, "recv", &capabilities).await?;
        Ok(Self {
            requester,
            capabilities,
            sending,
            receiving,
            sent: 0,
            producers: Vec::new(),
            consumers: Vec::new(),
        })
    }

    async fn go(mut self, world: &World, room: &str, choices: &mut SmallRng) -> anyhow::Result<()> {
        let disconnect = pick(
            choices,
            &[Disconnect::Leave, Disconnect::Close, Disconnect::Drop, Disconnect::Reset],
        );
        match disconnect {
            Disconnect::Leave => {
                self.requester.request("room:leave", json!({ "roomId": room })).await?;
            }
            Disconnect::Drop | Disconnect::Reset => world.tally.add(Count::Drops),
            Disconnect::Close => {}
        }
        self.requester.end(disconnect).await
    }

    async fn step(&mut self, step: Step, choices: &mut SmallRng) -> anyhow::Result<()> {
        match step {
            Step::Produce if self.producers.len() < MOST_SENT => self.produce(choices).await,
            Step::CloseTransport => self.replace(choices.random()).await,
            Step::PauseProducer | Step::ResumeProducer | Step::CloseProducer
                if !self.producers.is_empty() =>
            {
                let index = choices.random_range(0..self.producers.len());
                let about = json!({ "producerId": self.producers[index].id });
                match step {
                    Step::CloseProducer => {
                        self.requester.request("producer:close", about).await?;
                        self.producers.swap_remove(index);
                    }
                    Step::PauseProducer => {
                        self.requester.request("producer:pause", about).await?;
                        self.producers[index].is_paused = true;
                    }
                    _ => {
                        self.requester.request("producer:resume", about).await?;
                        self.producers[index].is_paused = false;
                    }
                }
                Ok(())
            }
            Step::PauseConsumer | Step::Layers | Step::CloseConsumer
                if !self.consumers.is_empty() =>
            {
                let index = choices.random_range(0..self.consumers.len());
                let mut about = json!({ "consumerId": self.consumers[index].id });
                match step {
                    Step::PauseConsumer => {
                        self.requester.request("consumer:pause", about).await?;
                    }
                    Step::CloseConsumer => {
                        self.requester.request("consumer:close", about).await?;
                        self.consumers.swap_remove(index);
                    }
                    _ => {
                        self.requester.request("consumer:keyframe", about.clone()).await?;
                        about["spatialLayer"] = json!(choices.random_range(0..2));
                        self.requester.request("consumer:layers", about).await?;
                    }
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    async fn produce(&mut self, choices: &mut SmallRng) -> anyhow::Result<()> {
        let (kind, name) = if choices.random() {
            (MediaKind::Audio, "audio")
        } else {
            (MediaKind::Video, "video")
        };
        let parameters = self.sending.send(kind, self.sent);
        self.sent += 1;
        let request =
            json!({ "transportId": self.sending.id, "kind": name, "rtpParameters": parameters });
        let id = text(&self.requester.request("produce", request).await?["id"])?;
        self.producers.push(Producer { id, is_paused: false });
        Ok(())
    }

    async fn consume(&mut self, producer: String) -> anyhow::Result<()> {
        let (transport, capabilities) = (&self.receiving.id, &self.capabilities);
        let request = json!({ "transportId": transport, "producerId": producer, "rtpCapabilities": capabilities });
        let created = self.requester.request("consume", request).await?;
        let stream = self.receiving.receive(&created)?;
        self.consumers.push(Consumer { id: text(&created["id"])?, producer, stream });
        Ok(())
    }

    async fn resume(&mut self, world: &World, index: usize, plays: bool) -> anyhow::Result<()> {
        let consumer = &self.consumers[index];
        self.requester.request("consumer:resume", json!({ "consumerId": consumer.id })).await?;
        if plays {
            self.receiving.receives(consumer.stream, PACKETS).await?;
            world.tally.add_many(Count::MediaReceived, PACKETS);
        }
        Ok(())
    }

    /// Closes a transport and creates another.
    async fn replace(&mut self, is_sending: bool) -> anyhow::Result<()> {
        let old = if is_sending { &self.sending } else { &self.receiving };
        self.requester.request("transport:close", json!({ "transportId": old.id })).await?;
        if is_sending {
            self.producers.clear();
            self.sent = 0;
            self.sending = connected(&mut self.requester, "send", &self.capabilities).await?;
        } else {
            self.consumers.clear();
            self.receiving = connected(&mut self.requester, "recv", &self.capabilities).await?;
        }
        Ok(())
    }
}

async fn connected(
    requester: &mut Requester,
    direction: &str,
    capabilities: &Value,
) -> anyhow::Result<Media> {
    let request = json!({ "direction": direction, "rtpCapabilities": capabilities });
    let created = requester.request("transport:create", request).await?;
    let media = Media::new(&created, Some(SOURCE)).await?;
    requester.request("transport:connect", media.connect_request()).await?;
    Ok(media)
}

fn pick<T: Copy>(choices: &mut SmallRng, of: &[T]) -> T {
    of[choices.random_range(0..of.len())]
}

fn text(value: &Value) -> anyhow::Result<String> {
    value.as_str().map(str::to_owned).with_context(|| format!("expected a string, not {value}"))
}
