//! Engine.IO by long-polling, and the upgrade from it to a WebSocket.

use std::collections::VecDeque;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use anyhow::{Context, ensure};
use futures_util::{FutureExt, SinkExt, StreamExt};
use serde_json::Value;
use tokio_tungstenite::tungstenite::Message;

use super::transport::{Socket, connect};
use super::wire::Ended;

/// Separates the packets of a payload.
pub(crate) const SEPARATOR: char = '\u{1e}';

/// The packet that ends a poll which has nothing to tell.
const NOOP: &str = "6";

/// How long an idle HTTP connection is kept: less than the server keeps it, so that no request meets its end.
const KEEP_ALIVE: Duration = Duration::from_secs(2);

type Fetching = Pin<Box<dyn Future<Output = reqwest::Result<String>> + Send>>;

pub(crate) struct Polling {
    http: reqwest::Client,
    address: SocketAddr,
    sid: String,
    /// The poll under way. It outlives whoever waits for it, so that waiting can be given up.
    fetching: Option<Fetching>,
    packets: VecDeque<String>,
}

/// HTTP as one client has it: connections of its own.
pub(crate) fn http() -> reqwest::Result<reqwest::Client> {
    reqwest::Client::builder().no_proxy().tcp_nodelay(true).pool_idle_timeout(KEEP_ALIVE).build()
}

impl Polling {
    /// The first request of a connection.
    pub(crate) async fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let http = http()?;
        let url = format!("http://{address}/socket.io/?EIO=4&transport=polling");
        let open = http.get(url).send().await?.error_for_status()?.text().await?;
        let handshake: Value = serde_json::from_str(open.strip_prefix('0').context("the first packet is OPEN")?)?;
        let sid = handshake["sid"].as_str().context("OPEN has a session id")?.to_owned();
        Ok(Self { http, address, sid, fetching: None, packets: VecDeque::new() })
    }

    fn url(&self) -> String {
        format!("http://{}/socket.io/?EIO=4&transport=polling&sid={}", self.address, self.sid)
    }

    /// The path of a WebSocket that takes this connection over.
    pub(crate) fn upgrade_path(&self) -> String {
        format!("/socket.io/?EIO=4&transport=websocket&sid={}", self.sid)
    }

    pub(crate) async fn send(&mut self, packets: &[String]) -> anyhow::Result<()> {
        let body = packets.join(&SEPARATOR.to_string());
        let answer = self.http.post(self.url()).body(body).send().await?.error_for_status()?.text().await?;
        ensure!(answer == "ok", "a payload is answered with ok, not {answer}");
        Ok(())
    }

    /// The next packet. Nothing is lost when this is dropped before it is ready.
    pub(crate) async fn next(&mut self) -> Result<String, Ended> {
        loop {
            match self.packets.pop_front().as_deref() {
                Some(NOOP) => {}
                Some("1") => return Err(Ended::Closed(0)),
                Some(packet) => return Ok(packet.to_owned()),
                None => self.fetch().await.map_err(|_| Ended::Lost)?,
            }
        }
    }

    /// Waits for the poll under way, or for a new one.
    async fn fetch(&mut self) -> reqwest::Result<()> {
        let (http, url) = (&self.http, self.url());
        let fetching = self.fetching.get_or_insert_with(|| {
            let request = http.get(url);
            async move { request.send().await?.error_for_status()?.text().await }.boxed()
        });
        let body = fetching.await;
        self.fetching = None;
        self.packets.extend(body?.split(SEPARATOR).map(str::to_owned));
        Ok(())
    }

    /// Goes on by WebSocket, as the official client does: polling on until the probe is answered, then waiting for the
    /// poll under way, then saying so.
    pub(crate) async fn upgrade(mut self) -> anyhow::Result<Socket> {
        let (address, path) = (self.address, self.upgrade_path());
        let probing = async move {
            let mut stream = connect(address, &path, None).await?;
            stream.send(Message::text("2probe")).await?;
            let answer = stream.next().await.context("the probe is answered")??;
            ensure!(answer == Message::text("3probe"), "the probe is answered with 3probe, not {answer}");
            anyhow::Ok(stream)
        };
        tokio::pin!(probing);
        let mut stream = loop {
            // The server ends the last poll with nothing: no other is to be begun.
            let is_over = self.packets.iter().any(|packet| packet == NOOP);
            tokio::select! {
                biased;
                fetched = self.fetch(), if !is_over => fetched?,
                stream = &mut probing => break stream?,
            }
        };
        if self.fetching.is_some() {
            self.fetch().await?;
        }
        stream.send(Message::text("5")).await?;
        self.packets.retain(|packet| packet != NOOP);
        Ok(Socket { stream, early: self.packets })
    }

    /// Closes as the official client does. The connection may be gone already, where the namespace was left before.
    pub(crate) async fn close(&mut self) {
        self.send(&["1".to_owned()]).await.ok();
    }
}
