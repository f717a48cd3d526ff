//! An envelope client (`/ws`) that waits for the response to each request. It discards all other
//! messages.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

use crate::transport::{Disconnect, WebSocket, connect, reset};

/// The longest wait for a response.
const LIMIT: Duration = Duration::from_secs(25);

type Waiting = Arc<Mutex<HashMap<String, oneshot::Sender<Value>>>>;

/// A client in a room.
pub struct Requester {
    sink: SplitSink<WebSocket, Message>,
    waiting: Waiting,
    requests: u64,
    /// Reads until the connection ends, or returns the stream on request.
    reading: JoinSet<anyhow::Result<SplitStream<WebSocket>>>,
    stop: Option<oneshot::Sender<()>>,
}

impl Requester {
    /// Connects and joins a room.
    pub async fn join(address: SocketAddr, room: &str, name: &str) -> anyhow::Result<Self> {
        let socket =
            timeout(LIMIT, connect(address, "/ws")).await.context("the handshake timed out")??;
        let (sink, stream) = socket.split();
        let waiting = Waiting::default();
        let (stop, stopped) = oneshot::channel();
        let mut reading = JoinSet::new();
        reading.spawn(read(stream, Arc::clone(&waiting), stopped));
        let mut requester = Self { sink, waiting, requests: 0, reading, stop: Some(stop) };
        requester.request("room:join", json!({ "roomId": room, "user": { "id": name } })).await?;
        Ok(requester)
    }

    /// Sends a request; returns the whole response, which may be an `error`.
    pub async fn exchange(&mut self, kind: &str, payload: Value) -> anyhow::Result<Value> {
        self.requests += 1;
        let id = format!("00000000-0000-4000-8000-{:012x}", self.requests);
        let (answers, answer) = oneshot::channel();
        self.waiting.lock().insert(id.clone(), answers);
        let request = json!({ "type": kind, "payload": payload, "correlationId": id });
        self.sink.send(Message::text(request.to_string())).await?;
        let answer =
            timeout(LIMIT, answer).await.with_context(|| format!("{kind} is not answered"))?;
        answer.with_context(|| format!("the connection ended before {kind} was answered"))
    }

    /// Sends a request that must succeed; returns the payload of the response.
    pub async fn request(&mut self, kind: &str, payload: Value) -> anyhow::Result<Value> {
        let mut answer = self.exchange(kind, payload).await?;
        ensure!(answer["type"] != "error", "{kind} is answered with {answer}");
        Ok(answer["payload"].take())
    }

    /// Sends a request that must fail with one of these codes.
    pub async fn fail(&mut self, kind: &str, payload: Value, codes: &[&str]) -> anyhow::Result<()> {
        let answer = self.exchange(kind, payload).await?;
        let code = answer["payload"]["code"].as_str().unwrap_or_default();
        ensure!(
            answer["type"] == "error" && codes.contains(&code),
            "{kind} is answered with {answer}"
        );
        Ok(())
    }

    /// Disconnects.
    pub async fn end(mut self, disconnect: Disconnect) -> anyhow::Result<()> {
        if let Some(stop) = self.stop.take() {
            stop.send(()).ok();
        }
        let stream = self.reading.join_next().await.context("the connection is read")???;
        let mut socket = self.sink.reunite(stream).context("both halves are of one socket")?;
        if disconnect == Disconnect::Reset {
            reset(socket);
        } else if disconnect != Disconnect::Drop {
            let closing = async {
                socket.close(None).await.ok();
                while let Some(Ok(_)) = socket.next().await {}
            };
            timeout(LIMIT, closing).await.context("the server does not close the connection")?;
        }
        Ok(())
    }
}

/// Reads, so that heartbeats are answered. Sequence numbers must be consecutive.
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
                let message: Value = serde_json::from_str(&text)?;
                last += 1;
                ensure!(
                    message["sequence"] == last,
                    "sequence number {} follows {}",
                    message["sequence"],
                    last - 1
                );
                let request = message["correlationId"].as_str().map(str::to_owned);
                if let Some(answers) = request.and_then(|id| waiting.lock().remove(&id)) {
                    answers.send(message).ok();
                }
            }
            Message::Close(frame) => bail!("the server closed the connection: {frame:?}"),
            _ => {}
        }
    }
}
