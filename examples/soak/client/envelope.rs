//! A client of `/ws` that asks: each request has one answer, and what is told besides is let go.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::{Context, bail, ensure};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

use super::LIMIT;
use super::transport::{Goodbye, WebSocket, connect, reset};
use crate::world::World;

type Waiting = Arc<Mutex<HashMap<String, oneshot::Sender<Value>>>>;

/// One that is in a room.
pub(crate) struct Asker {
    sink: SplitSink<WebSocket, Message>,
    waiting: Waiting,
    asked: u64,
    /// Reads until the connection ends, or gives it back where it is to end.
    reading: JoinSet<anyhow::Result<SplitStream<WebSocket>>>,
    stop: Option<oneshot::Sender<()>>,
}

impl Asker {
    pub(crate) async fn join(world: &World, room: &str, name: &str) -> anyhow::Result<Self> {
        let socket = timeout(LIMIT, connect(world.address, "/ws", None)).await.context("not in time")??;
        let (sink, stream) = socket.split();
        let waiting = Waiting::default();
        let (stop, stopped) = oneshot::channel();
        let mut reading = JoinSet::new();
        reading.spawn(read(stream, Arc::clone(&waiting), stopped));
        let mut asker = Self { sink, waiting, asked: 0, reading, stop: Some(stop) };
        asker.ask("room:join", json!({ "roomId": room, "user": { "id": name } })).await?;
        Ok(asker)
    }

    /// Asks: what is answered, an `error` included.
    pub(crate) async fn answer(&mut self, kind: &str, payload: Value) -> anyhow::Result<Value> {
        self.asked += 1;
        let id = format!("00000000-0000-4000-8000-{:012x}", self.asked);
        let (answers, answer) = oneshot::channel();
        self.waiting.lock().insert(id.clone(), answers);
        let request = json!({ "type": kind, "payload": payload, "correlationId": id });
        self.sink.send(Message::text(request.to_string())).await?;
        let answer = timeout(LIMIT, answer).await.with_context(|| format!("{kind} is not answered"))?;
        answer.with_context(|| format!("the connection ended before {kind} was answered"))
    }

    /// Asks for what must be given: the payload of the answer.
    pub(crate) async fn ask(&mut self, kind: &str, payload: Value) -> anyhow::Result<Value> {
        let mut answer = self.answer(kind, payload).await?;
        ensure!(answer["type"] != "error", "{kind} is answered with {answer}");
        Ok(answer["payload"].take())
    }

    /// Asks for what must be refused, with one of these codes.
    pub(crate) async fn refused(&mut self, kind: &str, payload: Value, codes: &[&str]) -> anyhow::Result<()> {
        let answer = self.answer(kind, payload).await?;
        let code = answer["payload"]["code"].as_str().unwrap_or_default();
        ensure!(answer["type"] == "error" && codes.contains(&code), "{kind} is answered with {answer}");
        Ok(())
    }

    pub(crate) async fn end(mut self, goodbye: Goodbye) -> anyhow::Result<()> {
        if let Some(stop) = self.stop.take() {
            stop.send(()).ok();
        }
        let stream = self.reading.join_next().await.context("the connection was read")???;
        let mut socket = self.sink.reunite(stream).context("two halves of one")?;
        if goodbye == Goodbye::Reset {
            reset(socket.get_ref() as &TcpStream);
        } else if goodbye != Goodbye::Drop {
            let closing = async {
                socket.close(None).await.ok();
                while let Some(Ok(_)) = socket.next().await {}
            };
            timeout(LIMIT, closing).await.context("the server does not close")?;
        }
        Ok(())
    }
}

/// Reads, so that heartbeats are answered: each message has the number after the one before.
async fn read(
    mut stream: SplitStream<WebSocket>,
    waiting: Waiting,
    mut stopped: oneshot::Receiver<()>,
) -> anyhow::Result<SplitStream<WebSocket>> {
    let mut last = 0;
    loop {
        let message = tokio::select! {
            message = stream.next() => message.context("the server ended the connection")??,
            _ = &mut stopped => return Ok(stream),
        };
        match message {
            Message::Text(text) => {
                let said: Value = serde_json::from_str(&text)?;
                last += 1;
                ensure!(said["sequence"] == last, "number {} comes after {}", said["sequence"], last - 1);
                let asked = said["correlationId"].as_str().map(str::to_owned);
                if let Some(answers) = asked.and_then(|id| waiting.lock().remove(&id)) {
                    answers.send(said).ok();
                }
            }
            Message::Close(frame) => bail!("the server closed the connection: {frame:?}"),
            _ => {}
        }
    }
}
