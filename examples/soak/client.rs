//! A client on any wire: it joins a room, says things there, and hears what it is told.
//!
//! Each has a task that carries its connection, which reads whether or not somebody listens, answers heartbeats, and
//! notes when each thing came. Dropping a [`Peer`] drops its connection without a word.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::tally::Count;
use crate::world::World;

pub(crate) mod polling;
pub(crate) mod transport;
pub(crate) mod wire;

pub(crate) use transport::Goodbye;
pub(crate) use wire::{Ended, Heard, Kind, Wire};

use polling::Polling;
use transport::{Socket, Transport, connect};

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
    /// The task of the connection, ended with the peer.
    connection: JoinSet<()>,
}

/// What the task of a connection is to do.
enum Order {
    Say(Vec<String>),
    /// Read no more, and answer nothing.
    Stall,
    End(Goodbye),
}

/// A client that is gone for itself and still connected for the network.
pub(crate) struct Vanished {
    _connection: JoinSet<()>,
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
        let joining = async {
            let mut transport = open(world, wire, room, receive_buffer).await?;
            let (id, list) = enter(&mut transport, wire, room, name).await?;
            anyhow::Ok((transport, id, list))
        };
        let (transport, id, list) = timeout(LIMIT, joining)
            .await
            .context("not in time")
            .flatten()
            .with_context(|| format!("{name} joins {room} by {wire:?}"))?;
        let (orders, received) = mpsc::channel(16);
        let (ears, told) = mpsc::channel(EARS);
        let mut connection = JoinSet::new();
        connection.spawn(carry(wire, transport, received, ears));
        let (room, world) = (room.to_owned(), Arc::clone(world));
        Ok(Self { wire, room, id, list, world, orders, told, connection })
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
        let Ok(told) = timeout(limit, self.told.recv()).await else { return Ok(None) };
        let told = told.context("the connection is over")?;
        if matches!(told.1, Heard::Signal { .. }) {
            self.world.tally.add(Count::Delivered);
        }
        Ok(Some(told))
    }

    /// Reads no more.
    pub(crate) async fn stall(&self) -> anyhow::Result<()> {
        self.order(Order::Stall).await
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
        let mut last = Vec::new();
        let rest = async {
            while let Some((_, heard)) = self.told.recv().await {
                last.push(heard);
            }
        };
        timeout(LIMIT, rest).await.context("the connection does not end")?;
        Ok(last)
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

async fn open(world: &World, wire: Wire, room: &str, receive_buffer: Option<u32>) -> anyhow::Result<Transport> {
    if !matches!(wire, Wire::Polling | Wire::Upgrade) {
        let stream = connect(world.address, &wire.path(room), receive_buffer).await?;
        let mut transport = Transport::WebSocket(Box::new(Socket { stream, early: [].into() }));
        if wire == Wire::WebSocket {
            let open = next(&mut transport).await?;
            ensure!(open.starts_with("0{"), "OPEN, not {open}");
            connect_namespace(&mut transport).await?;
        }
        return Ok(transport);
    }
    let mut transport = Transport::Polling(Box::new(Polling::open(world.address).await?));
    connect_namespace(&mut transport).await?;
    match transport {
        Transport::Polling(polling) if wire == Wire::Upgrade => {
            Ok(Transport::WebSocket(Box::new(polling.upgrade().await.context("the upgrade")?)))
        }
        transport => Ok(transport),
    }
}

async fn connect_namespace(transport: &mut Transport) -> anyhow::Result<()> {
    transport.send(vec!["40".to_owned()]).await?;
    let connected = next(transport).await?;
    ensure!(connected.starts_with("40{"), "CONNECT is answered, not with {connected}");
    Ok(())
}

/// The next message that is no heartbeat.
async fn next(transport: &mut Transport) -> anyhow::Result<String> {
    loop {
        match transport.next().await {
            Ok(ping) if ping == "2" => transport.send(vec!["3".to_owned()]).await?,
            Ok(text) => return Ok(text),
            Err(ended) => bail!("the connection ended: {ended:?}"),
        }
    }
}

async fn next_json(transport: &mut Transport) -> anyhow::Result<Value> {
    let text = next(transport).await?;
    serde_json::from_str(&text).with_context(|| format!("JSON, not {text}"))
}

/// Enters a room: the id there, and who else is in it.
async fn enter(transport: &mut Transport, wire: Wire, room: &str, name: &str) -> anyhow::Result<(String, Vec<String>)> {
    let ids = |peers: &Value, key: &str| -> Option<Vec<String>> {
        peers.as_array()?.iter().map(|peer| peer[key].as_str().map(str::to_owned)).collect()
    };
    match wire {
        Wire::WebSocket | Wire::Polling | Wire::Upgrade => {
            let join = json!(["join-room", { "roomId": room, "userId": name, "name": name }]);
            transport.send(vec![format!("42{join}")]).await?;
            let said = next(transport).await?;
            let users: Value = serde_json::from_str(said.strip_prefix("42").with_context(|| format!("told {said}"))?)?;
            ensure!(users[0] == "room-users", "the list comes first, not {said}");
            Ok((name.to_owned(), ids(&users[1], "userId").context("a list of users")?))
        }
        Wire::Envelope => {
            let acknowledged = next_json(transport).await?;
            ensure!(acknowledged["type"] == "connection:ack", "not acknowledged: {acknowledged}");
            let payload = json!({ "roomId": room, "user": { "id": name, "displayName": name } });
            transport.send(vec![json!({ "type": "room:join", "payload": payload }).to_string()]).await?;
            let state = next_json(transport).await?;
            ensure!(state["type"] == "room:state", "the state comes first, not {state}");
            let mut list = ids(&state["payload"]["participants"], "userId").context("a list of participants")?;
            list.retain(|id| id != name);
            Ok((name.to_owned(), list))
        }
        Wire::Topic => {
            let welcome = next_json(transport).await?;
            let id = welcome["selfId"].as_str().with_context(|| format!("welcome, not {welcome}"))?.to_owned();
            let peers = next_json(transport).await?;
            ensure!(peers["type"] == "peer-list", "the list comes second, not {peers}");
            Ok((id, ids(&peers["peers"], "id").context("a list of peers")?))
        }
        Wire::Session => Ok((String::new(), Vec::new())),
    }
}

/// Carries one connection until it is told to end it, or its peer is dropped.
async fn carry(
    wire: Wire,
    mut transport: Transport,
    mut orders: mpsc::Receiver<Order>,
    ears: mpsc::Sender<(Instant, Heard)>,
) {
    let mut is_reading = true;
    loop {
        let said = tokio::select! {
            order = orders.recv() => match order {
                Some(Order::Say(texts)) => {
                    // A connection that has failed is told of by its reading side.
                    transport.send(texts).await.ok();
                    continue;
                }
                Some(Order::Stall) => {
                    is_reading = false;
                    continue;
                }
                Some(Order::End(goodbye)) => return transport.end(goodbye).await,
                // Dropped while it stalls, it stays until its task is ended.
                None if !is_reading => return std::future::pending().await,
                None => return,
            },
            said = transport.next(), if is_reading => said,
        };
        let heard = match said {
            Ok(ping) if ping == "2" && wire.is_socketio() => {
                transport.send(vec!["3".to_owned()]).await.ok();
                continue;
            }
            Ok(text) => match wire.hear(&text) {
                Ok(Some(heard)) => heard,
                Ok(None) => continue,
                Err(error) => Heard::Garbled(format!("{error:#}")),
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
