//! A client on any wire: it joins a room, says things there, and hears what it is told.
//!
//! Each has a task that carries its connection, which reads whether or not somebody listens, answers heartbeats, and
//! notes when each thing came. Dropping a [`Peer`] drops its connection without a word.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::server::RESUME_TIME;
use crate::tally::Count;
use crate::world::World;

pub(crate) mod envelope;
pub(crate) mod line;
#[expect(dead_code, reason = "tests and benchmarks count and pause what it plays")]
pub(crate) mod media;
pub(crate) mod polling;
pub(crate) mod transport;
pub(crate) mod wire;

pub(crate) use transport::Goodbye;
pub(crate) use wire::{Ended, Heard, Kind, Wire};

use line::{Line, Place};

/// How long anything may take that is waited for. A connection that vanished silently is found in up to fifteen seconds.
pub(crate) const LIMIT: Duration = Duration::from_secs(25);

/// What may wait to be listened to, more than anyone is told in a breath.
const EARS: usize = 1024;

/// The receive buffer of a client that is to stall, in bytes.
const SMALL_BUFFER: u32 = 4096;

pub(crate) struct Peer {
    pub(crate) wire: Wire,
    pub(crate) room: String,
    /// As others are told it. A session client does not know its own: empty until somebody tells.
    pub(crate) id: String,
    /// Who was there when it joined.
    pub(crate) list: Vec<String>,
    world: Arc<World>,
    orders: mpsc::Sender<Order>,
    told: mpsc::Receiver<(Instant, Heard)>,
    /// What it was told by connections before this one, and has not listened to.
    early: VecDeque<(Instant, Heard)>,
    /// The task of the connection, ended with the peer.
    connection: JoinSet<Place>,
}

/// What the task of a connection is to do.
enum Order {
    Say(Vec<String>),
    /// Read no more, and answer nothing; say what has come so far.
    Stall(oneshot::Sender<Place>),
    End(Goodbye),
}

/// A client that is gone for itself and still connected for the network.
pub(crate) struct Vanished {
    _connection: JoinSet<Place>,
}

/// A client that has lost its connection and may come back.
pub(crate) struct Dropped {
    peer: Peer,
    place: Place,
    since: Instant,
}

impl Peer {
    pub(crate) async fn join(world: &Arc<World>, wire: Wire, room: &str, name: &str) -> anyhow::Result<Self> {
        Self::join_with(world, wire, room, name, None).await
    }

    /// One that is going to stall.
    pub(crate) async fn join_to_stall(world: &Arc<World>, wire: Wire, room: &str, name: &str) -> anyhow::Result<Self> {
        Self::join_with(world, wire, room, name, Some(SMALL_BUFFER)).await
    }

    async fn join_with(
        world: &Arc<World>,
        wire: Wire,
        room: &str,
        name: &str,
        receive_buffer: Option<u32>,
    ) -> anyhow::Result<Self> {
        let entering = Line::enter(world.address, wire, room, name, receive_buffer);
        let (line, id, list) = timeout(LIMIT, entering)
            .await
            .context("not in time")
            .flatten()
            .with_context(|| format!("{name} joins {room} by {wire:?}"))?;
        let (orders, told, connection) = carried(line);
        let (room, world) = (room.to_owned(), Arc::clone(world));
        Ok(Self { wire, room, id, list, world, orders, told, early: VecDeque::new(), connection })
    }

    /// Sends a signal to one, or to everyone else.
    pub(crate) async fn signal(&self, to: Option<&str>, kind: Kind, text: &str) -> anyhow::Result<()> {
        self.world.tally.add(Count::Sent);
        self.say(vec![self.wire.signal(&self.room, to, kind, text)]).await
    }

    /// Sends messages as they are.
    pub(crate) async fn say(&self, texts: Vec<String>) -> anyhow::Result<()> {
        self.order(Order::Say(texts)).await
    }

    async fn order(&self, order: Order) -> anyhow::Result<()> {
        let sent = timeout(LIMIT, self.orders.send(order)).await.context("the connection takes nothing any more")?;
        sent.context("the connection is gone")
    }

    /// The next thing that is told, and when it came.
    pub(crate) async fn hear(&mut self) -> anyhow::Result<(Instant, Heard)> {
        self.hear_within(LIMIT).await?.with_context(|| format!("{:?} was told nothing in time", self.wire))
    }

    /// The same, or nothing in that time.
    pub(crate) async fn hear_within(&mut self, limit: Duration) -> anyhow::Result<Option<(Instant, Heard)>> {
        let told = match self.early.pop_front() {
            Some(told) => told,
            None => match timeout(limit, self.told.recv()).await {
                Ok(told) => told.context("the connection is over")?,
                Err(_) => return Ok(None),
            },
        };
        if matches!(told.1, Heard::Signal { .. }) {
            self.world.tally.add(Count::Delivered);
        }
        Ok(Some(told))
    }

    /// Reads no more: what it has come to.
    pub(crate) async fn stall(&self) -> anyhow::Result<Place> {
        let (asks, place) = oneshot::channel();
        self.order(Order::Stall(asks)).await?;
        timeout(LIMIT, place).await.context("the connection does not stall")?.context("the connection is gone")
    }

    /// Goes: what it was told before the end.
    pub(crate) async fn end(mut self, goodbye: Goodbye) -> anyhow::Result<Vec<Heard>> {
        if goodbye == Goodbye::Leave
            && let Some(leave) = self.wire.leave(&self.room)
        {
            self.say(vec![leave]).await?;
        }
        if matches!(goodbye, Goodbye::Drop | Goodbye::Reset) {
            self.world.tally.add(Count::Drops);
        }
        self.order(Order::End(goodbye)).await?;
        self.hear_the_rest().await?;
        Ok(self.early.into_iter().map(|(_, heard)| heard).collect())
    }

    /// Waits for the end of the connection; what it was told until then is kept.
    async fn hear_the_rest(&mut self) -> anyhow::Result<()> {
        let rest = async {
            while let Some(told) = self.told.recv().await {
                self.early.push_back(told);
            }
        };
        timeout(LIMIT, rest).await.context("the connection does not end")
    }

    /// Loses its connection, without a word.
    pub(crate) async fn lose(mut self, how: Goodbye) -> anyhow::Result<Dropped> {
        ensure!(matches!(how, Goodbye::Drop | Goodbye::Reset), "{how:?} is a word");
        self.world.tally.add(Count::Drops);
        let since = Instant::now();
        self.order(Order::End(how)).await?;
        self.hear_the_rest().await?;
        let place = self.connection.join_next().await.context("a connection was carried")??;
        ensure!(place.can_be_taken_again(), "{:?} was not told how to come back", self.wire);
        Ok(Dropped { peer: self, place, since })
    }

    /// Loses its connection, which the network still holds.
    pub(crate) async fn fall_silent(mut self) -> anyhow::Result<(Dropped, Vanished)> {
        self.world.tally.add(Count::Vanished);
        let since = Instant::now();
        let place = self.stall().await?;
        while let Ok(told) = self.told.try_recv() {
            self.early.push_back(told);
        }
        let connection = std::mem::take(&mut self.connection);
        Ok((Dropped { peer: self, place, since }, Vanished { _connection: connection }))
    }

    /// Goes, having heard all there was to hear.
    pub(crate) async fn finish(self, goodbye: Goodbye) -> anyhow::Result<()> {
        let wire = self.wire;
        let last = self.end(goodbye).await?;
        ensure!(last.is_empty(), "{wire:?} was told more than it should: {last:?}");
        Ok(())
    }

    /// Vanishes: the network still holds its connection.
    pub(crate) async fn vanish(self) -> anyhow::Result<Vanished> {
        self.world.tally.add(Count::Vanished);
        self.stall().await?;
        Ok(Vanished { _connection: self.connection })
    }
}

impl Dropped {
    /// Comes back on a new connection. `None` where the server has given its place up, which it may once it has been away
    /// for as long as that.
    pub(crate) async fn come_back(mut self) -> anyhow::Result<Option<Peer>> {
        let Self { peer, place, since } = &mut self;
        let coming = timeout(LIMIT, Line::come_back(peer.world.address, peer.wire, place)).await;
        let (line, is_back) =
            coming.context("not in time").flatten().with_context(|| format!("{} comes back", peer.id))?;
        if !is_back {
            ensure!(since.elapsed() >= RESUME_TIME, "{:?} lost its place in {:?}", peer.wire, since.elapsed());
            peer.world.tally.add(Count::TooLate);
            line.end(Goodbye::Close).await;
            return Ok(None);
        }
        peer.world.tally.add(Count::Resumed);
        (peer.orders, peer.told, peer.connection) = carried(line);
        Ok(Some(self.peer))
    }
}

/// What a connection is told to do, what is heard on it, and the task that carries it.
type Carried = (mpsc::Sender<Order>, mpsc::Receiver<(Instant, Heard)>, JoinSet<Place>);

fn carried(line: Line) -> Carried {
    let (orders, received) = mpsc::channel(16);
    let (ears, told) = mpsc::channel(EARS);
    let mut connection = JoinSet::new();
    connection.spawn(carry(line, received, ears));
    (orders, told, connection)
}

/// Carries one connection until it is told to end it, or its peer is dropped: what its client needs to come back.
async fn carry(mut line: Line, mut orders: mpsc::Receiver<Order>, ears: mpsc::Sender<(Instant, Heard)>) -> Place {
    let mut is_reading = true;
    loop {
        let said = tokio::select! {
            order = orders.recv() => match order {
                Some(Order::Say(texts)) => {
                    // A connection that has failed is told of by its reading side.
                    line.transport.send(texts).await.ok();
                    continue;
                }
                Some(Order::Stall(asks)) => {
                    is_reading = false;
                    asks.send(line.place.clone()).ok();
                    continue;
                }
                Some(Order::End(goodbye)) => return line.end(goodbye).await,
                // Dropped while it stalls, it stays until its task is ended.
                None if !is_reading => return std::future::pending().await,
                None => return line.place,
            },
            said = line.transport.next(), if is_reading => said,
        };
        let heard = match said {
            Ok(text) => match line.take(&text).await {
                Some(heard) => heard,
                None => continue,
            },
            Err(ended) => {
                is_reading = false;
                Heard::Ended(ended)
            }
        };
        // Nobody may be listening any more.
        ears.send((Instant::now(), heard)).await.ok();
    }
}
