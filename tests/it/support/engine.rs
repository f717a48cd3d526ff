//! A low-level Socket.IO client: either transport, either revision of Engine.IO, and arbitrary
//! bytes instead of packets.

use std::net::SocketAddr;

use serde_json::Value;

use super::raw::{Raw, Response, TEXT, frame};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    Polling,
    WebSocket,
}

/// Each transport in each revision.
pub(crate) const ENGINES: [(Transport, u8); 4] = [
    (Transport::WebSocket, 4),
    (Transport::Polling, 4),
    (Transport::WebSocket, 3),
    (Transport::Polling, 3),
];

pub(crate) struct Engine {
    address: SocketAddr,
    revision: u8,
    /// Session id; empty until the server has sent it.
    pub(crate) sid: String,
    /// The WebSocket, if there is one.
    socket: Option<Raw>,
}

impl Engine {
    /// Opens a connection, up to the OPEN packet.
    pub(crate) async fn open(address: SocketAddr, (transport, revision): (Transport, u8)) -> Self {
        let mut engine = Self { address, revision, sid: String::new(), socket: None };
        if transport == Transport::WebSocket {
            engine.socket = Some(Raw::websocket(address, &engine.path(Transport::WebSocket)).await);
        }
        let open = engine.next_event().await.expect("a connection is opened");
        let (_, open) = open.split_once('0').expect("an OPEN packet comes first");
        let open: Value = serde_json::from_str(open).expect("OPEN carries JSON");
        open["sid"].as_str().expect("a session id").clone_into(&mut engine.sid);
        engine
    }

    /// Opens a connection, up to the reply to CONNECT.
    pub(crate) async fn connect(address: SocketAddr, engine: (Transport, u8)) -> Self {
        let mut engine = Self::open(address, engine).await;
        // The older revision connects by itself.
        if engine.revision == 4 {
            engine.send("40").await;
        }
        assert!(engine.expect_event("40").await.is_some(), "connected");
        engine
    }

    /// Returns the path of requests with a transport.
    pub(crate) fn path(&self, transport: Transport) -> String {
        let name = if transport == Transport::Polling { "polling" } else { "websocket" };
        let sid = if self.sid.is_empty() { String::new() } else { format!("&sid={}", self.sid) };
        format!("/socket.io/?EIO={}&transport={name}{sid}", self.revision)
    }

    /// Polls, and returns the response.
    pub(crate) async fn poll(&self) -> Response {
        let head = format!(
            "GET {} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
            self.path(Transport::Polling)
        );
        Raw::sending(self.address, head).await.response().await.expect("a poll is answered")
    }

    /// Sends a request with an unchanged body, and returns the response.
    pub(crate) async fn post(&self, kind: &str, body: impl AsRef<[u8]>) -> Response {
        let body = body.as_ref();
        let path = self.path(Transport::Polling);
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\nConnection: close\r\n"
        );
        let mut raw =
            Raw::sending(self.address, format!("{head}Content-Length: {}\r\n\r\n", body.len()))
                .await;
        raw.send(body).await;
        raw.response().await.expect("a request is answered")
    }

    /// Sends one packet; returns whether the server has accepted it, as far as the client can tell.
    pub(crate) async fn send(&mut self, packet: impl AsRef<[u8]>) -> bool {
        let packet = packet.as_ref();
        match &mut self.socket {
            Some(socket) => socket.send(frame(TEXT, packet)).await,
            None => self.post("text/plain", payload(self.revision, &[packet])).await.status == 200,
        }
    }

    /// Returns the next packet, or several that were polled together; `None` when the connection
    /// has ended.
    pub(crate) async fn next_event(&mut self) -> Option<String> {
        if let Some(socket) = &mut self.socket {
            return socket.text().await.ok();
        }
        let response = self.poll().await;
        (response.status == 200 && !response.body.is_empty()).then(|| response.text().to_owned())
    }

    /// Returns the first of the next packets that contains this text; `None` if the connection ends
    /// before.
    pub(crate) async fn expect_event(&mut self, part: &str) -> Option<String> {
        loop {
            let observed = self.next_event().await?;
            if observed.contains(part) {
                return Some(observed);
            }
        }
    }

    /// Returns whether the connection still replies; otherwise it has ended: silence fails the
    /// test.
    pub(crate) async fn answers(&mut self) -> bool {
        self.send(r#"42801["leave-room"]"#).await && self.expect_event("43801[").await.is_some()
    }

    /// Switches to WebSocket without an upgrade.
    pub(crate) fn take(&mut self, socket: Raw) {
        self.socket = Some(socket);
    }

    /// Closes the connection, and waits until the server has ended it.
    pub(crate) async fn close(mut self) {
        self.send("1").await;
        match &mut self.socket {
            Some(socket) => drop(socket.rest().await),
            None => while self.poll().await.status == 200 {},
        }
    }
}

/// Returns packets in the form that a polling client posts.
pub(crate) fn payload(revision: u8, packets: &[&[u8]]) -> Vec<u8> {
    if revision == 4 {
        return packets.join(&0x1e);
    }
    let with_length = |packet: &&[u8]| {
        let length = String::from_utf8_lossy(packet).encode_utf16().count();
        [format!("{length}:").as_bytes(), packet].concat()
    };
    packets.iter().flat_map(with_length).collect()
}
