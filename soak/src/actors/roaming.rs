//! Calls over a cluster: both peers send numbered bursts of signals, each of which the other
//! confirms. Their connections end at random and whenever a node restarts, and the clients resume
//! on another node, or join again where the protocol cannot resume.
//!
//! A burst is sent again only if the sender's own connection was lost, since it cannot know then
//! what the server has received, or if a signal was reported as not delivered. So of clients that
//! resume, every signal that was sent on a connection that lasted must arrive, once and in order, or
//! be reported, whatever happens to the other peer.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use anyhow::{Context, bail, ensure};
use parlor_testing::connection::Route;
use parlor_testing::protocol::{Event, SignalKind};
use parlor_testing::transport::Disconnect;
use rand::RngExt;
use rand::rngs::SmallRng;
use tokio::time::{Instant, sleep};

use crate::call::Label;
use crate::client::{LIMIT, Peer};
use crate::tally::Count;
use crate::world::{Phase, World};

/// The routes that can resume.
const ROUTES: [Route; 4] = [Route::WebSocket, Route::Polling, Route::Upgrade, Route::Envelope];

/// Maximum length of a call without the time in which its peers wait for something.
const CALL: Duration = Duration::from_secs(25);

/// Signals of a burst.
const BURST: u64 = 5;

/// Time between a confirmation and the next burst, in milliseconds.
const PAUSE_MS: std::ops::Range<u64> = 20..300;

/// One in so many bursts is cut by a reset of the connection.
const RESETS: u32 = 20;

/// Time after which a burst without confirmation is sent again, if the sender's connection was
/// lost.
const AGAIN: Duration = Duration::from_secs(2);

/// How often the end of a call is checked while nothing arrives.
const IDLE: Duration = Duration::from_millis(50);

pub(crate) async fn run(world: Arc<World>, phase: Phase, lane: usize, resumes: bool) {
    let who = format!("roaming {lane}, {}", phase.name);
    let mut choices = world.choices(&who);
    while phase.has_time_for(CALL) {
        let mut route =
            || if resumes { ROUTES[choices.random_range(0..ROUTES.len())] } else { Route::Topic };
        let (first, second) = (route(), route());
        let length = CALL.mul_f64(choices.random_range(0.3..1.0));
        let seeds = [choices.random(), choices.random()];
        let outcome = Box::pin(meet(&world, first, second, length, seeds)).await;
        world.check(format!("{who}, {first:?} and {second:?}"), outcome).await;
    }
}

async fn meet(
    world: &Arc<World>,
    first: Route,
    second: Route,
    length: Duration,
    seeds: [u64; 2],
) -> anyhow::Result<()> {
    let room = world.name("roaming");
    let (ann, ben) = (world.name("ann"), world.name("ben"));
    let one = join(world, first, &room, &ann).await?;
    let other = join(world, second, &room, &ben).await?;
    let (until, finished) = (Instant::now() + length, AtomicUsize::new(0));
    let ids = [one.id.clone(), other.id.clone()];
    let mut one = Side::new(world, one, &ann, &ids[1], seeds[0]);
    one.awaits_join = true;
    let other = Side::new(world, other, &ben, &ids[0], seeds[1]);
    let ended =
        tokio::try_join!(one.call(&ben, until, &finished), other.call(&ann, until, &finished),)?;
    for (side, across) in [(&ended.0, &ended.1), (&ended.1, &ended.0)] {
        ensure!(
            side.missing <= across.failed,
            "{} signals of {} are missing, {} were reported",
            side.missing,
            across.name,
            across.failed
        );
    }
    for side in [ended.0, ended.1] {
        world.tally.add_many(Count::Reported, side.failed);
        side.peer.context("connected")?.end(Disconnect::Leave).await?;
    }
    world.tally.add(Count::Calls);
    Ok(())
}

/// Joins a room through the load balancer, which may choose a node that is about to shut down.
async fn join(world: &Arc<World>, route: Route, room: &str, name: &str) -> anyhow::Result<Peer> {
    let until = Instant::now() + LIMIT;
    loop {
        match Peer::join(world, route, room, name).await {
            Err(_) if Instant::now() < until => sleep(IDLE).await,
            outcome => return outcome,
        }
    }
}

/// The place of a signal: burst, attempt, number.
type Place = (u64, u64, u64);

/// One side of a call.
struct Side<'a> {
    world: &'a Arc<World>,
    peer: Option<Peer>,
    name: &'a str,
    /// Whether the protocol can resume. Otherwise the id of the other changes.
    resumes: bool,
    /// The id of the other last, after those of its connections that have not left yet.
    others: Vec<String>,
    choices: SmallRng,
    /// The burst that is sent next, or waits for its confirmation since.
    burst: u64,
    attempt: u64,
    sent: Option<Instant>,
    /// When the burst was sent first.
    begun: Instant,
    /// Whether the connection was lost since the burst was sent.
    is_unsure: bool,
    next: Instant,
    received: Place,
    /// Signals of the attempt that is being received.
    complete: u64,
    /// Signals that were left out within an attempt.
    missing: u64,
    /// Signals that were reported as not delivered.
    failed: u64,
    /// Whether the join of the other is still to be announced.
    awaits_join: bool,
    confirmed: Option<u64>,
}

impl<'a> Side<'a> {
    fn new(world: &'a Arc<World>, peer: Peer, name: &'a str, to: &str, seed: u64) -> Self {
        let resumes = peer.route != Route::Topic;
        let others = if resumes { vec![to.to_owned()] } else { peer.list.clone() };
        Self {
            world,
            peer: Some(peer),
            name,
            resumes,
            others,
            choices: world.choices(&seed),
            burst: 1,
            attempt: 1,
            sent: None,
            begun: Instant::now(),
            is_unsure: false,
            next: Instant::now(),
            received: (0, 0, BURST),
            complete: BURST,
            missing: 0,
            failed: 0,
            awaits_join: false,
            confirmed: None,
        }
    }

    fn peer(&mut self) -> anyhow::Result<&mut Peer> {
        self.peer.as_mut().context("the call has ended")
    }

    /// Sends and receives until the other side has finished, too.
    async fn call(
        mut self,
        other: &str,
        until: Instant,
        finished: &AtomicUsize,
    ) -> anyhow::Result<Self> {
        let mut is_finished = false;
        loop {
            // The node of this client may learn of the other's join later than that of the other.
            let is_met = !self.awaits_join || !self.resumes;
            if is_met && self.sent.is_none() && Instant::now() >= self.next {
                if Instant::now() < until {
                    self.send_burst().await?;
                } else if !std::mem::replace(&mut is_finished, true) {
                    finished.fetch_add(1, Ordering::Relaxed);
                }
            }
            if finished.load(Ordering::Relaxed) >= 2 {
                return Ok(self);
            }
            self.check_overdue().await?;
            if let Some((_, event)) = self.peer()?.next_within(IDLE).await? {
                self.receive(other, event).await?;
            }
        }
    }

    async fn send_burst(&mut self) -> anyhow::Result<()> {
        let place = format!("{}/{}/{}", self.name, self.burst, self.attempt);
        let cut = self.choices.random_ratio(1, RESETS).then_some(BURST / 2);
        (self.sent, self.is_unsure) = (Some(Instant::now()), false);
        if self.attempt == 1 {
            self.begun = Instant::now();
        }
        for number in 1..=BURST {
            if cut == Some(number) && self.resumes {
                let peer = self.peer.take().context("connected")?;
                let dropped = peer.lose(Disconnect::Reset).await?;
                self.peer = Some(dropped.resume_anywhere().await?);
                return self.resumed().await;
            }
            let text = Label::new(place.as_str(), number).candidate();
            self.signal(SignalKind::Candidate, &text).await?;
        }
        Ok(())
    }

    async fn resumed(&mut self) -> anyhow::Result<()> {
        self.is_unsure = self.sent.is_some();
        self.sent = self.sent.map(|_| Instant::now());
        match self.confirmed {
            Some(burst) => self.confirm(burst).await,
            None => Ok(()),
        }
    }

    async fn confirm(&mut self, burst: u64) -> anyhow::Result<()> {
        let text = Label::new(format!("{}/confirms", self.name), burst).description(0);
        self.signal(SignalKind::Answer, &text).await
    }

    async fn signal(&mut self, kind: SignalKind, text: &str) -> anyhow::Result<()> {
        match self.others.last().cloned() {
            Some(to) => self.peer()?.signal(Some(&to), kind, text).await,
            None => Ok(()),
        }
    }

    async fn check_overdue(&mut self) -> anyhow::Result<()> {
        let Some(sent) = self.sent else { return Ok(()) };
        ensure!(
            self.begun.elapsed() < 2 * LIMIT,
            "burst {} of {} was not confirmed after {} attempts",
            self.burst,
            self.name,
            self.attempt
        );
        // Without sessions the other may have been out of the room.
        if sent.elapsed() >= AGAIN && (self.is_unsure || !self.resumes) {
            self.attempt += 1;
            return self.send_burst().await;
        }
        ensure!(
            sent.elapsed() < LIMIT,
            "burst {} of {} was not confirmed, although its connection lasted",
            self.burst,
            self.name
        );
        Ok(())
    }

    async fn receive(&mut self, other: &str, event: Event) -> anyhow::Result<()> {
        match event {
            Event::Candidate { candidate: Some(text), .. } => self.check(other, &text).await,
            Event::Answer { sdp, .. } => {
                let label = Label::read(&sdp)?;
                ensure!(label.stream == format!("{other}/confirms"), "{label:?} is for another");
                if self.sent.is_some() && label.sequence == self.burst {
                    self.burst += 1;
                    (self.attempt, self.sent) = (1, None);
                    let pause = Duration::from_millis(self.choices.random_range(PAUSE_MS));
                    self.next = Instant::now() + pause;
                }
                Ok(())
            }
            Event::Away(_) | Event::Back(_) => Ok(()),
            Event::Error(code) if code == "SHUTTING_DOWN" => Ok(()),
            // Sent to a node that had just ended the session's connection: it was not accepted.
            Event::Error(code) if code == "INTERNAL" => {
                self.is_unsure = self.sent.is_some();
                Ok(())
            }
            // Both sessions were moving: see `cluster/moving` of the server.
            Event::Error(code) if code == "DELIVERY_FAILED" && self.resumes => {
                self.failed += 1;
                self.is_unsure = self.sent.is_some();
                Ok(())
            }
            Event::Joined(id) if self.resumes => {
                ensure!(
                    std::mem::take(&mut self.awaits_join) && self.others.last() == Some(&id),
                    "{} received a join of {id}",
                    self.name
                );
                Ok(())
            }
            Event::Joined(id) => {
                self.others.push(id);
                Ok(())
            }
            Event::Left(id) if !self.resumes => {
                self.others.retain(|other| *other != id);
                Ok(())
            }
            Event::Error(_) if !self.resumes => Ok(()),
            Event::Closed(_) => self.reconnect().await,
            event => bail!("{} received {event:?}", self.name),
        }
    }

    async fn reconnect(&mut self) -> anyhow::Result<()> {
        let peer = self.peer.take().context("connected")?;
        self.peer = if self.resumes {
            Some(peer.cut_off(Disconnect::Drop).await?.resume_anywhere().await?)
        } else {
            let (route, room) = (peer.route, peer.room.clone());
            drop(peer);
            self.world.tally.add(Count::Rejoined);
            let peer = join(self.world, route, &room, self.name).await?;
            self.others.clone_from(&peer.list);
            Some(peer)
        };
        self.resumed().await
    }

    /// Notes signals that are missing before one, which may have been reported to their sender.
    fn miss(&mut self, count: u64, other: &str, before: Place) {
        self.missing += count;
        if count > 0 {
            let since = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
            let at = since.as_secs_f64();
            println!("soak: at {at:.3}: {count} missing before {before:?} of {other}");
        }
    }

    /// Checks the place of a signal, and confirms its burst when that is complete.
    async fn check(&mut self, other: &str, text: &str) -> anyhow::Result<()> {
        let Label { stream, sequence } = Label::read(text)?;
        let mut words = stream.split('/');
        ensure!(words.next() == Some(other), "{stream} is for another");
        let mut number = || anyhow::Ok(words.next().context("a number")?.parse::<u64>()?);
        let place: Place = (number()?, number()?, sequence);
        let (burst, attempt, last) = std::mem::replace(&mut self.received, place);
        let follows = place == (burst, attempt, last + 1);
        let skips = (place.0, place.1) == (burst, attempt) && place.2 > last + 1;
        if skips {
            self.miss(place.2 - last - 1, other, place);
        }
        let begins = if place.0 == burst {
            place.1 > attempt
        } else {
            // A confirmed burst is followed by the next.
            place.0 == burst + 1 && self.confirmed.unwrap_or_default() == burst
        };
        if begins {
            self.miss(place.2 - 1, other, place);
        }
        let is_in_order = follows || skips || begins;
        ensure!(
            is_in_order || (!self.resumes && place > (burst, attempt, last)),
            "{place:?} of {other} came after {:?}",
            (burst, attempt, last)
        );
        self.complete = if (place.0, place.1) == (burst, attempt) { self.complete + 1 } else { 1 };
        if self.complete == BURST {
            self.confirmed = Some(place.0);
            self.confirm(place.0).await?;
        }
        Ok(())
    }
}
