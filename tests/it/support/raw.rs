//! Bytes on a TCP connection, as no client library would send them.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use parlor_testing::frame::{self, FIN, read_head, write_masked};

use super::server::LIMIT;

/// End of a request head.
const BLANK_LINE: &[u8] = b"\r\n\r\n";

/// The first byte of a frame that is a message of its own: FIN and the opcode.
pub(crate) const TEXT: u8 = FIN | frame::TEXT;
pub(crate) const CLOSE: u8 = FIN | frame::CLOSE;
pub(crate) const PING: u8 = FIN | frame::PING;

const MASK: [u8; 4] = [0x5a, 0x17, 0xc3, 0x08];

pub(crate) struct Raw {
    stream: TcpStream,
    /// Read, and not looked at yet.
    early: Vec<u8>,
}

/// An answer over HTTP.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    /// In lower case.
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
    /// The code of a close; 1005 where it carries none.
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

    /// From another address of this machine: `127.0.0.2` and so on are there without being set up.
    pub(crate) async fn connect_from(from: IpAddr, address: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((from, 0).into()).unwrap();
        let stream = socket.connect(address).await.expect("the server accepts connections");
        Self { stream, early: Vec::new() }
    }

    /// Makes the receive window small, so that a client that does not read is detected soon. Not
    /// before a handshake: on a busy machine the kernel may find no room for the answer.
    pub(crate) fn narrow(&self) {
        socket2::SockRef::from(&self.stream).set_recv_buffer_size(4096).unwrap();
    }

    /// A connection on which so much has been sent.
    pub(crate) async fn sending(address: SocketAddr, bytes: impl AsRef<[u8]>) -> Self {
        let mut raw = Self::connect(address).await;
        raw.send(bytes).await;
        raw
    }

    /// Opens a WebSocket without sending a message.
    pub(crate) async fn websocket(address: SocketAddr, path: &str) -> Self {
        Self::connect(address).await.upgraded(path).await
    }

    /// Makes a WebSocket of the connection.
    pub(crate) async fn upgraded(mut self, path: &str) -> Self {
        self.send(handshake(path, "")).await;
        let response = self
            .response()
            .await
            .unwrap_or_else(|| panic!("the handshake at {path} is not answered"));
        assert_eq!(response.status, 101, "{path}: {response:?}");
        self
    }

    /// Sends, if the server has not closed yet: whether it has not.
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        let sending = self.stream.write_all(bytes.as_ref());
        tokio::time::timeout(LIMIT, sending).await.expect("the server reads, or closes").is_ok()
    }

    /// Sends what the server takes now; `false` once it has ended the connection.
    pub(crate) fn offer(&mut self, bytes: &[u8]) -> bool {
        self.stream
            .try_write(bytes)
            .map_or_else(|error| error.kind() == ErrorKind::WouldBlock, |_| true)
    }

    /// Sends part of it, whatever fits the kernel's buffer now: how much, or `None` if nothing
    /// does, or the connection has ended.
    pub(crate) fn send_some(&self, bytes: &[u8]) -> Option<usize> {
        self.stream.try_write(bytes).ok()
    }

    /// Whether the server's side of the connection is still open in the kernel, before this side
    /// can know.
    #[cfg(target_os = "linux")]
    pub(crate) async fn is_served(&self) -> bool {
        // State 1 is ESTABLISHED.
        self.server_side().await.is_some_and(|(state, _)| state == "01")
    }

    /// Waits until the server has read all that was sent.
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
    /// The kernel lists the sockets of all tests, which may take seconds: on a thread of its own,
    /// so that the other clients of a test go on.
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

    /// Ends as a crash does: RST, no FIN.
    pub(crate) fn reset(self) {
        socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).unwrap();
    }

    /// Reads a little more; `false` if nothing more comes.
    async fn more(&mut self) -> bool {
        let reading = self.stream.read_buf(&mut self.early);
        tokio::time::timeout(LIMIT, reading)
            .await
            .expect("the server answers, or closes")
            .is_ok_and(|length| length > 0)
    }

    /// Reads at most so much of what is there: how much that was, and `None` once the server has
    /// closed.
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

    /// All that comes until the server closes.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        while self.more().await {}
        std::mem::take(&mut self.early)
    }

    /// The next answer over HTTP; `None` if the server closes instead. Loses nothing if it is
    /// dropped half-way.
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

    /// The next frame; `None` if the server closes the connection instead.
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

    /// The next message; the code of the close if that comes instead, 1006 if the connection just
    /// ends.
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

    /// Reads to the end: the code of the close.
    pub(crate) async fn close_code(&mut self) -> u16 {
        loop {
            if let Err(code) = self.text().await {
                self.rest().await;
                return code;
            }
        }
    }
}

/// A WebSocket handshake with further headers, each with its line end.
pub(crate) fn handshake(path: &str, headers: &str) -> String {
    frame::handshake(path, "parlor", headers)
}

/// A frame as a client must send it: masked.
pub(crate) fn frame(first: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_masked(first, payload.as_ref(), MASK, &mut bytes);
    bytes
}

/// The head of a masked frame that claims to be so long.
pub(crate) fn frame_head(first: u8, length: u64) -> Vec<u8> {
    let mut head = Vec::new();
    frame::write_head(first, length, MASK, &mut head);
    head
}
