//! Engine.IO 4 over HTTP long-polling, and the upgrade to a WebSocket.

use std::collections::VecDeque;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use anyhow::{Context, ensure};
use futures_util::{FutureExt, SinkExt, StreamExt};
use serde_json::Value;
use tokio_tungstenite::tungstenite::Message;

use crate::protocol::{ENGINE_CLOSE, LOST};
use crate::transport::{Socket, Transport, connect};

/// The separator of packets in a payload.
const SEPARATOR: char = '\u{1e}';

/// The packet that ends an empty poll.
const NOOP: &str = "6";

/// How long an idle HTTP connection is kept: less than the server keeps it, so that no request
/// races with its close.
const KEEP_ALIVE: Duration = Duration::from_secs(2);

/// Maximum length of a request, longer than that of a poll, which ends with the next heartbeat.
const REQUEST_LIMIT: Duration = Duration::from_mins(1);

type Fetching = Pin<Box<dyn Future<Output = reqwest::Result<String>> + Send>>;

/// An Engine.IO session over long-polling.
pub struct Polling {
    http: reqwest::Client,
    address: SocketAddr,
    sid: String,
    /// The pending poll. It survives the future that waits for it, so that waiting is cancel-safe.
    fetching: Option<Fetching>,
    packets: VecDeque<String>,
}

/// Creates an HTTP client with connections of its own.
fn http() -> reqwest::Result<reqwest::Client> {
    let client = reqwest::Client::builder().no_proxy().tcp_nodelay(true);
    client.pool_idle_timeout(KEEP_ALIVE).timeout(REQUEST_LIMIT).build()
}

impl Polling {
    /// Opens a session: the first request, up to the OPEN packet.
    pub async fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let http = http()?;
        let url = format!("http://{address}/socket.io/?EIO=4&transport=polling");
        let open = http.get(url).send().await?.error_for_status()?.text().await?;
        let handshake: Value =
            serde_json::from_str(open.strip_prefix('0').context("expected an OPEN packet")?)?;
        let sid = handshake["sid"].as_str().context("expected a session id")?.to_owned();
        Ok(Self { http, address, sid, fetching: None, packets: VecDeque::new() })
    }

    /// The path and query of requests.
    pub fn path(&self) -> String {
        format!("/socket.io/?EIO=4&transport=polling&sid={}", self.sid)
    }

    fn url(&self) -> String {
        format!("http://{}{}", self.address, self.path())
    }

    /// Uses new HTTP connections from now on. A pending poll is aborted.
    pub fn reconnect(&mut self) -> anyhow::Result<()> {
        self.fetching = None;
        self.http = http()?;
        Ok(())
    }

    /// The path of a WebSocket that upgrades this session.
    pub fn upgrade_path(&self) -> String {
        format!("/socket.io/?EIO=4&transport=websocket&sid={}", self.sid)
    }

    /// Sends packets as one payload.
    pub async fn send(&mut self, packets: &[String]) -> anyhow::Result<()> {
        let body = packets.join(&SEPARATOR.to_string());
        let answer =
            self.http.post(self.url()).body(body).send().await?.error_for_status()?.text().await?;
        ensure!(answer == "ok", "expected `ok` for a payload, not {answer}");
        Ok(())
    }

    /// Receives the next packet, including heartbeats, or the close code: [`ENGINE_CLOSE`] also
    /// once the server does not know the session any more. Cancel-safe.
    pub async fn next(&mut self) -> Result<String, u16> {
        loop {
            match self.packets.pop_front().as_deref() {
                Some(NOOP) => {}
                Some("1") => return Err(ENGINE_CLOSE),
                Some(packet) => return Ok(packet.to_owned()),
                None => self
                    .fetch()
                    .await
                    .map_err(|error| if error.is_status() { ENGINE_CLOSE } else { LOST })?,
            }
        }
    }

    /// Waits for the pending poll, or for a new one.
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

    /// Upgrades to a WebSocket like the official client: it polls until the probe is answered,
    /// waits for the pending poll, then sends the upgrade packet.
    pub async fn upgrade(mut self) -> anyhow::Result<Transport> {
        let (address, path) = (self.address, self.upgrade_path());
        let probing = async move {
            let mut stream = connect(address, &path).await?;
            stream.send(Message::text("2probe")).await?;
            let answer = stream.next().await.context("the probe is not answered")??;
            ensure!(answer == Message::text("3probe"), "expected 3probe, not {answer}");
            anyhow::Ok(stream)
        };
        tokio::pin!(probing);
        let mut stream = loop {
            // The server ends the last poll with NOOP: another must not follow.
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
        Ok(Transport::WebSocket(Box::new(Socket { stream, early: self.packets })))
    }

    /// Closes like the official client. The session may have ended with the namespace already.
    pub async fn close(&mut self) {
        self.send(&["1".to_owned()]).await.ok();
    }
}
