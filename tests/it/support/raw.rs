//! Raw bytes on a TCP connection, which client libraries would not send.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use parlor_testing::frame::{self, FIN, read_head, write_masked};

use super::server::LIMIT;

/// End of a request head.
const BLANK_LINE: &[u8] = b"\r\n\r\n";

/// First byte of an unfragmented frame: FIN and the opcode.
pub(crate) const TEXT: u8 = FIN | frame::TEXT;
pub(crate) const CLOSE: u8 = FIN | frame::CLOSE;
pub(crate) const PING: u8 = FIN | frame::PING;

const MASK: [u8; 4] = [0x5a, 0x17, 0xc3, 0x08];

pub(crate) struct Raw {
    stream: TcpStream,
    /// Received bytes that were not parsed yet.
    early: Vec<u8>,
}

/// An HTTP response.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    /// Header fields, in lower case.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Response {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let line = self.head.lines().find(|line| line.split(':').next() == Some(name))?;
        Some(line[name.len() + 1..].trim())
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the body is text")
    }
}

/// A frame of the server.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) opcode: u8,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    /// The code of a close frame; 1005 without a code.
    fn close_code(&self) -> u16 {
        self.payload.first_chunk().map_or(1005, |code| u16::from_be_bytes(*code))
    }
}

impl Raw {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("the server accepts connections");
        stream.set_nodelay(true).unwrap();
        Self { stream, early: Vec::new() }
    }

    /// Connects from another address of this machine: `127.0.0.2` and so on exist without
    /// configuration.
    pub(crate) async fn connect_from(from: IpAddr, address: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((from, 0).into()).unwrap();
        let stream = socket.connect(address).await.expect("the server accepts connections");
        Self { stream, early: Vec::new() }
    }

    /// Makes the receive window small, so that a stalled client is detected soon. Call it after the
    /// handshake: before it, the kernel of a busy machine may have no space for the response.
    pub(crate) fn narrow(&self) {
        self.limit_window(4096);
    }

    /// Limits the receive window to this number of bytes.
    pub(crate) fn limit_window(&self, bytes: usize) {
        socket2::SockRef::from(&self.stream).set_recv_buffer_size(bytes).unwrap();
    }

    /// Opens a connection, and sends these bytes.
    pub(crate) async fn sending(address: SocketAddr, bytes: impl AsRef<[u8]>) -> Self {
        let mut raw = Self::connect(address).await;
        raw.send(bytes).await;
        raw
    }

    /// Opens a WebSocket without sending a message.
    pub(crate) async fn websocket(address: SocketAddr, path: &str) -> Self {
        Self::connect(address).await.upgraded(path).await
    }

    /// Upgrades the connection to a WebSocket.
    pub(crate) async fn upgraded(mut self, path: &str) -> Self {
        self.send(handshake(path, "")).await;
        let response = self
            .response()
            .await
            .unwrap_or_else(|| panic!("the handshake at {path} is not answered"));
        assert_eq!(response.status, 101, "{path}: {response:?}");
        self
    }

    /// Sends bytes; returns false if the server has closed the connection.
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        let sending = self.stream.write_all(bytes.as_ref());
        tokio::time::timeout(LIMIT, sending).await.expect("the server reads, or closes").is_ok()
    }

    /// Sends as much as the server reads now; `false` once it has ended the connection.
    pub(crate) fn offer(&mut self, bytes: &[u8]) -> bool {
        self.stream
            .try_write(bytes)
            .map_or_else(|error| error.kind() == ErrorKind::WouldBlock, |_| true)
    }

    /// Sends as much as fits the kernel's buffer, and returns the length; `None` if nothing fits or
    /// the connection has ended.
    pub(crate) fn send_some(&self, bytes: &[u8]) -> Option<usize> {
        self.stream.try_write(bytes).ok()
    }

    /// Returns whether the server's side of the connection is still open in the kernel, before this
    /// side can detect its end.
    #[cfg(target_os = "linux")]
    pub(crate) async fn is_served(&self) -> bool {
        // State 1 is ESTABLISHED.
        self.server_side().await.is_some_and(|(state, _)| state == "01")
    }

    /// Waits until the server has read everything.
    #[cfg(target_os = "linux")]
    pub(crate) async fn until_read(&self) {
        let waiting = async {
            while self.server_side().await.is_some_and(|(_, queues)| !queues.ends_with(":00000000"))
            {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(LIMIT, waiting).await.expect("the server reads");
    }

    /// The state of the server's side of the connection, and the lengths of its queues,
    /// `sent:received`, as the kernel writes both (`proc_net_tcp` of the kernel's documentation).
    /// `None` if the connection is gone.
    ///
    /// The kernel lists the sockets of all tests, which may take seconds: it runs on a separate
    /// thread, so that the other clients of a test continue.
    #[cfg(target_os = "linux")]
    async fn server_side(&self) -> Option<(String, String)> {
        let (client, server) = (self.stream.local_addr().ok()?, self.stream.peer_addr().ok()?);
        let ports = [format!(":{:04X}", server.port()), format!(":{:04X}", client.port())];
        let read =
            || std::fs::read_to_string("/proc/net/tcp").expect("the kernel lists its sockets");
        let sockets = tokio::task::spawn_blocking(read).await.expect("reading does not panic");
        sockets.lines().find_map(|line| {
            let mut fields = line.split_whitespace().skip(1);
            let is_ours =
                ports.iter().all(|port| fields.next().is_some_and(|field| field.ends_with(port)));
            is_ours.then(|| {
                (fields.next().unwrap_or_default().into(), fields.next().unwrap_or_default().into())
            })
        })
    }

    /// Resets the connection, as a crash does: RST without FIN.
    pub(crate) fn reset(self) {
        socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).unwrap();
    }

    /// Reads more bytes; `false` at the end.
    async fn more(&mut self) -> bool {
        let reading = self.stream.read_buf(&mut self.early);
        tokio::time::timeout(LIMIT, reading)
            .await
            .expect("the server answers, or closes")
            .is_ok_and(|length| length > 0)
    }

    /// Reads at most this number of bytes; returns how many, or `None` once the server has closed.
    pub(crate) async fn sip(&mut self, most: usize) -> Option<usize> {
        let mut sip = vec![0; most];
        match tokio::time::timeout(LIMIT, self.stream.read(&mut sip))
            .await
            .expect("something comes")
        {
            Ok(0) | Err(_) => None,
            Ok(length) => Some(length),
        }
    }

    /// Reads everything until the server closes.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        while self.more().await {}
        std::mem::take(&mut self.early)
    }

    /// Receives the next HTTP response; `None` if the server closes instead. Cancel-safe.
    pub(crate) async fn response(&mut self) -> Option<Response> {
        loop {
            if let Some(response) = self.whole_response() {
                return Some(response);
            }
            if !self.more().await {
                assert!(
                    self.early.is_empty(),
                    "half an answer: {}",
                    String::from_utf8_lossy(&self.early)
                );
                return None;
            }
        }
    }

    fn whole_response(&mut self) -> Option<Response> {
        let end = self.early.windows(BLANK_LINE.len()).position(|window| window == BLANK_LINE)?
            + BLANK_LINE.len();
        let head =
            String::from_utf8(self.early[..end].to_vec()).expect("a head is text").to_lowercase();
        let status =
            head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        let mut response = Response { status, head, body: Vec::new() };
        let length =
            response.header("content-length").map_or(0, |length| length.parse().expect("a number"));
        if self.early.len() < end + length {
            return None;
        }
        response.body = self.early.drain(..end + length).skip(end).collect();
        Some(response)
    }

    /// Receives the next frame; `None` if the server closes the connection.
    pub(crate) async fn frame(&mut self) -> Option<Frame> {
        loop {
            if let Some(head) = read_head(&self.early)
                && self.early.len() >= head.length + head.payload
            {
                let payload =
                    self.early.drain(..head.length + head.payload).skip(head.length).collect();
                return Some(Frame { opcode: head.opcode(), payload });
            }
            if !self.more().await {
                return None;
            }
        }
    }

    /// Receives the next message, or the code of a close; 1006 if the connection ends without a
    /// close frame.
    pub(crate) async fn text(&mut self) -> Result<String, u16> {
        loop {
            match self.frame().await {
                Some(Frame { opcode: 1, payload }) => {
                    return Ok(String::from_utf8(payload).expect("UTF-8"));
                }
                Some(frame @ Frame { opcode: 8, .. }) => return Err(frame.close_code()),
                Some(_) => {}
                None => return Err(1006),
            }
        }
    }

    /// Reads to the end, and returns the close code.
    pub(crate) async fn close_code(&mut self) -> u16 {
        loop {
            if let Err(code) = self.text().await {
                self.rest().await;
                return code;
            }
        }
    }
}

/// Returns a WebSocket handshake with further headers, each with its line end.
pub(crate) fn handshake(path: &str, headers: &str) -> String {
    frame::handshake(path, "parlor", headers)
}

/// Returns a masked frame, as clients must send it.
pub(crate) fn frame(first: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_masked(first, payload.as_ref(), MASK, &mut bytes);
    bytes
}

/// Returns the head of a masked frame that claims this length.
pub(crate) fn frame_head(first: u8, length: u64) -> Vec<u8> {
    let mut head = Vec::new();
    frame::write_head(first, length, MASK, &mut head);
    head
}
