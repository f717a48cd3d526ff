//! A client on any route: it joins a room, signals, and receives events.
//!
//! Each has a task for its connection, which reads whether or not the events are consumed, answers
//! heartbeats, and notes when each event arrived. Dropping a [`Peer`] drops its connection without
//! a close frame.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use parlor_testing::connection::{Connection, Joined, ResumeState, Route};
use parlor_testing::protocol::{Event, LOST, SignalKind};
use parlor_testing::transport::{Disconnect, Options};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::server::RESUME_TIME;
use crate::tally::Count;
use crate::world::World;

/// The longest wait for an event. The server detects a silent connection within fifteen seconds.
pub(crate) const LIMIT: Duration = Duration::from_secs(25);

/// The capacity of the queue of events, more than a client receives between two reads.
const EVENTS: usize = 1024;

/// Time between two attempts to reach a node.
const RETRY: Duration = Duration::from_millis(50);

/// The receive buffer of a client that is going to stall, in bytes.
const SMALL_BUFFER: u32 = 4096;

pub(crate) struct Peer {
    pub(crate) route: Route,
    pub(crate) room: String,
    /// The id among peers. A session client does not know its own: empty until another peer learns
    /// it.
    pub(crate) id: String,
    /// The peers that were in the room when it joined.
    pub(crate) list: Vec<String>,
    world: Arc<World>,
    commands: mpsc::Sender<Command>,
    events: mpsc::Receiver<(Instant, Event)>,
    /// Events of earlier connections that have not been consumed.
    early: VecDeque<(Instant, Event)>,
    /// The task of the connection. It ends with the peer.
    connection: JoinSet<ResumeState>,
}

/// A command to the task of a connection.
enum Command {
    Send(Vec<String>),
    /// Stop reading and answering; return the state so far.
    Stall(oneshot::Sender<ResumeState>),
    End(Disconnect),
}

/// A client that has vanished while its connection is still open on the network.
pub(crate) struct Vanished {
    _connection: JoinSet<ResumeState>,
}

/// A client that has lost its connection and may resume.
pub(crate) struct Dropped {
    peer: Peer,
    state: ResumeState,
    since: Instant,
}

impl Peer {
    pub(crate) async fn join(
        world: &Arc<World>,
        route: Route,
        room: &str,
        name: &str,
    ) -> anyhow::Result<Self> {
        Self::join_with(world, route, room, name, Options::default()).await
    }

    /// Joins with a small receive buffer, to stall later.
    pub(crate) async fn join_to_stall(
        world: &Arc<World>,
        route: Route,
        room: &str,
        name: &str,
    ) -> anyhow::Result<Self> {
        let options = Options { receive_buffer: Some(SMALL_BUFFER), ..Options::default() };
        Self::join_with(world, route, room, name, options).await
    }

    async fn join_with(
        world: &Arc<World>,
        route: Route,
        room: &str,
        name: &str,
        options: Options,
    ) -> anyhow::Result<Self> {
        let joining = Connection::join(world.address, route, room, name, options);
        let (connection, Joined { id, peers }) = timeout(LIMIT, joining)
            .await
            .context("timed out")
            .flatten()
            .with_context(|| format!("{name} joins {room} by {route:?}"))?;
        let (commands, events, connection) = spawn(connection);
        let (room, world) = (room.to_owned(), Arc::clone(world));
        Ok(Self {
            route,
            room,
            id,
            list: peers,
            world,
            commands,
            events,
            early: VecDeque::new(),
            connection,
        })
    }

    /// Sends a signal to one peer, or to all others.
    pub(crate) async fn signal(
        &self,
        to: Option<&str>,
        kind: SignalKind,
        text: &str,
    ) -> anyhow::Result<()> {
        self.world.tally.add(Count::Sent);
        self.send(vec![self.route.protocol().signal(kind, &self.room, to, Some(text))]).await
    }

    /// Sends messages unchanged.
    pub(crate) async fn send(&self, texts: Vec<String>) -> anyhow::Result<()> {
        self.command(Command::Send(texts)).await
    }

    async fn command(&self, command: Command) -> anyhow::Result<()> {
        let sent = timeout(LIMIT, self.commands.send(command))
            .await
            .context("the connection accepts nothing more")?;
        sent.context("the connection is gone")
    }

    /// Returns the next event, and when it arrived.
    pub(crate) async fn next(&mut self) -> anyhow::Result<(Instant, Event)> {
        self.next_within(LIMIT)
            .await?
            .with_context(|| format!("{:?} received nothing in time", self.route))
    }

    /// Returns the next event, and when it arrived; `None` if there is none in that time.
    pub(crate) async fn next_within(
        &mut self,
        limit: Duration,
    ) -> anyhow::Result<Option<(Instant, Event)>> {
        let event = match self.early.pop_front() {
            Some(event) => event,
            None => match timeout(limit, self.events.recv()).await {
                Ok(event) => event.context("the connection is over")?,
                Err(_) => return Ok(None),
            },
        };
        if event.1.signal().is_some() {
            self.world.tally.add(Count::Delivered);
        }
        Ok(Some(event))
    }

    /// Stops reading.
    pub(crate) async fn stall(&self) -> anyhow::Result<ResumeState> {
        let (sender, state) = oneshot::channel();
        self.command(Command::Stall(sender)).await?;
        timeout(LIMIT, state)
            .await
            .context("the connection does not stall")?
            .context("the connection is gone")
    }

    /// Disconnects; returns the events that were not consumed.
    pub(crate) async fn end(mut self, disconnect: Disconnect) -> anyhow::Result<Vec<Event>> {
        if disconnect == Disconnect::Leave
            && let Some(leave) = self.route.protocol().leave(&self.room)
        {
            self.send(vec![leave]).await?;
        }
        if matches!(disconnect, Disconnect::Drop | Disconnect::Reset) {
            self.world.tally.add(Count::Drops);
        }
        self.command(Command::End(disconnect)).await?;
        self.drain().await?;
        Ok(self.early.into_iter().map(|(_, event)| event).collect())
    }

    /// Waits for the end of the connection and keeps the events until then.
    async fn drain(&mut self) -> anyhow::Result<()> {
        let rest = async {
            while let Some(event) = self.events.recv().await {
                self.early.push_back(event);
            }
        };
        timeout(LIMIT, rest).await.context("the connection does not end")
    }

    /// Loses its connection.
    pub(crate) async fn lose(self, how: Disconnect) -> anyhow::Result<Dropped> {
        ensure!(
            matches!(how, Disconnect::Drop | Disconnect::Reset),
            "{how:?} does not lose a connection"
        );
        self.world.tally.add(Count::Drops);
        self.cut_off(how).await
    }

    /// Ends the connection, if the server has not, without losing the session.
    pub(crate) async fn cut_off(mut self, how: Disconnect) -> anyhow::Result<Dropped> {
        let since = Instant::now();
        self.command(Command::End(how)).await?;
        self.drain().await?;
        let state = self.connection.join_next().await.context("the connection has a task")??;
        ensure!(state.is_resumable(), "{:?} has no resume token", self.route);
        Ok(Dropped { peer: self, state, since })
    }

    /// Falls silent: its connection stays open on the network.
    pub(crate) async fn fall_silent(mut self) -> anyhow::Result<(Dropped, Vanished)> {
        self.world.tally.add(Count::Vanished);
        let since = Instant::now();
        let state = self.stall().await?;
        while let Ok(event) = self.events.try_recv() {
            self.early.push_back(event);
        }
        let connection = std::mem::take(&mut self.connection);
        Ok((Dropped { peer: self, state, since }, Vanished { _connection: connection }))
    }

    /// Disconnects after all its events were consumed.
    pub(crate) async fn finish(self, disconnect: Disconnect) -> anyhow::Result<()> {
        let route = self.route;
        let rest = self.end(disconnect).await?;
        ensure!(rest.is_empty(), "{route:?} received more than it should: {rest:?}");
        Ok(())
    }

    /// Vanishes for good: its connection stays open on the network.
    pub(crate) async fn vanish(self) -> anyhow::Result<Vanished> {
        self.world.tally.add(Count::Vanished);
        self.stall().await?;
        Ok(Vanished { _connection: self.connection })
    }
}

impl Dropped {
    /// Resumes on a new connection. `None` if the session has expired, which it may after
    /// [`RESUME_TIME`].
    pub(crate) async fn resume(mut self) -> anyhow::Result<Option<Peer>> {
        let Self { peer, state, since } = &mut self;
        let resuming =
            timeout(LIMIT, Connection::resume(peer.world.address, peer.route, state)).await;
        let (connection, is_resumed) = resuming
            .context("timed out")
            .flatten()
            .with_context(|| format!("{} resumes", peer.id))?;
        if !is_resumed {
            ensure!(
                since.elapsed() >= RESUME_TIME,
                "{:?} lost its session in {:?}",
                peer.route,
                since.elapsed()
            );
            peer.world.tally.add(Count::TooLate);
            connection.end(Disconnect::Close).await;
            return Ok(None);
        }
        peer.world.tally.add(Count::Resumed);
        (peer.commands, peer.events, peer.connection) = spawn(connection);
        Ok(Some(self.peer))
    }
}

impl Dropped {
    /// Resumes on the first connection that succeeds, on whatever node of a cluster. Earlier
    /// attempts may be cut off.
    pub(crate) async fn resume_anywhere(mut self) -> anyhow::Result<Peer> {
        let until = Instant::now() + LIMIT;
        loop {
            let Self { peer, state, since } = &mut self;
            let resuming =
                timeout(LIMIT, Connection::resume(peer.world.address, peer.route, state)).await;
            match resuming.context("timed out").flatten() {
                Ok((connection, true)) => {
                    peer.world.tally.add(Count::Resumed);
                    (peer.commands, peer.events, peer.connection) = spawn(connection);
                    return Ok(self.peer);
                }
                Ok((connection, false)) => {
                    connection.end(Disconnect::Close).await;
                    bail!("lost its session in {:?}", since.elapsed());
                }
                Err(error) if Instant::now() >= until => {
                    return Err(error.context("does not reach a node"));
                }
                Err(_) => sleep(RETRY).await,
            }
        }
    }
}

/// The task of a connection, and its channels.
type Task = (mpsc::Sender<Command>, mpsc::Receiver<(Instant, Event)>, JoinSet<ResumeState>);

fn spawn(connection: Connection) -> Task {
    let (commands, received) = mpsc::channel(16);
    let (sender, events) = mpsc::channel(EVENTS);
    let mut task = JoinSet::new();
    task.spawn(run(connection, received, sender));
    (commands, events, task)
}

/// Runs one connection until a command ends it or its peer is dropped; returns what its client
/// needs to resume.
async fn run(
    mut connection: Connection,
    mut commands: mpsc::Receiver<Command>,
    events: mpsc::Sender<(Instant, Event)>,
) -> ResumeState {
    let mut is_reading = true;
    loop {
        let received = tokio::select! {
            command = commands.recv() => match command {
                // The connection has failed, whatever is left of it.
                Some(Command::Send(_)) if !is_reading => continue,
                Some(Command::Send(texts)) => match connection.transport.send(texts).await {
                    // Like the official client, it gives the connection up: a later request may
                    // succeed, and the signals of this one would be missing before its own.
                    Err(_) if connection.route == Route::Polling => Err(LOST),
                    // Otherwise the reading side reports a failed connection.
                    _ => continue,
                },
                Some(Command::Stall(sender)) => {
                    is_reading = false;
                    sender.send(connection.resume.clone()).ok();
                    continue;
                }
                Some(Command::End(disconnect)) => return connection.end(disconnect).await,
                // A stalled connection stays open until its task is dropped.
                None if !is_reading => return std::future::pending().await,
                None => return connection.resume,
            },
            received = connection.transport.next(), if is_reading => received,
        };
        let event = match received {
            Ok(text) => match connection.receive(&text).await {
                Some(event) => event,
                None => continue,
            },
            Err(code) => {
                is_reading = false;
                Event::Closed(code)
            }
        };
        // The peer may be gone.
        events.send((Instant::now(), event)).await.ok();
    }
}
