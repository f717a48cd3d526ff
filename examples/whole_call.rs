//! Times whole calls against a server in this process, one after the other, and prints the median.
//!
//! A call: two connects, two joins, offer, answer, ten candidates, leave.
//! `cargo run --release --example whole_call`

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use parlor::config;
use parlor::server::Server;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

const CALLS: usize = 500;
const CANDIDATES: usize = 10;

struct Client(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Client {
    async fn connect(url: &str) -> anyhow::Result<Self> {
        // Without Nagle's algorithm, as browsers do: with it, small frames wait for
        // acknowledgements.
        let mut client =
            Self(tokio_tungstenite::connect_async_with_config(url, None, true).await?.0);
        client.0.send(Message::text("40")).await?;
        client.until("40").await?;
        Ok(client)
    }

    async fn send(&mut self, event: &str, argument: Value) -> anyhow::Result<()> {
        Ok(self.0.send(Message::text(format!("42{}", json!([event, argument])))).await?)
    }

    /// Reads frames until one begins with this text.
    async fn until(&mut self, head: &str) -> anyhow::Result<()> {
        while let Some(frame) = self.0.next().await {
            match frame? {
                Message::Text(text) if text == "2" => self.0.send(Message::text("3")).await?,
                Message::Text(text) if text.starts_with(head) => return Ok(()),
                _ => {}
            }
        }
        anyhow::bail!("the connection ended before {head}")
    }
}

async fn call(url: &str, number: usize) -> anyhow::Result<Duration> {
    let sdp = "a=candidate\r\n".repeat(300);
    let room = format!("room {number}");
    let begin = Instant::now();
    let mut ann = Client::connect(url).await?;
    ann.send("join-room", json!({ "roomId": room, "userId": "ann" })).await?;
    ann.until(r#"42["room-users""#).await?;
    let mut bob = Client::connect(url).await?;
    bob.send("join-room", json!({ "roomId": room, "userId": "bob" })).await?;
    bob.until(r#"42["room-users""#).await?;
    bob.send("offer", json!({ "targetId": "ann", "offer": { "type": "offer", "sdp": sdp } }))
        .await?;
    ann.until(r#"42["offer""#).await?;
    ann.send("answer", json!({ "targetId": "bob", "answer": { "type": "answer", "sdp": sdp } }))
        .await?;
    bob.until(r#"42["answer""#).await?;
    for _ in 0..CANDIDATES {
        bob.send(
            "ice-candidate",
            json!({ "targetId": "ann", "candidate": { "candidate": "…", "sdpMid": "0" } }),
        )
        .await?;
    }
    for _ in 0..CANDIDATES {
        ann.until(r#"42["ice-candidate""#).await?;
    }
    bob.send("leave-room", json!({ "roomId": room })).await?;
    ann.until(r#"42["user-left""#).await?;
    Ok(begin.elapsed())
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let flags = ["--host=127.0.0.1", "--port=0"].map(Into::into);
    let loaded = config::load_from(flags, BTreeMap::new(), BTreeMap::new())
        .map_err(|wrong| anyhow::anyhow!(wrong.message))?;
    let server = Server::bind(loaded.config)?;
    let url = format!("ws://{}/socket.io/?EIO=4&transport=websocket", server.local_addr());
    let mut times = Vec::with_capacity(CALLS);
    for number in 0..CALLS {
        times.push(call(&url, number).await?);
    }
    times.sort_unstable();
    println!(
        "{CALLS} whole calls: median {:.2?}, p99 {:.2?}",
        times[CALLS / 2],
        times[CALLS * 99 / 100]
    );
    server.shutdown().await;
    Ok(())
}
