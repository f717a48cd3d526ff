//! One connection to the server, by WebSocket or by polling.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::bail;
use futures_util::{SinkExt, StreamExt};
use socket2::SockRef;
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{Connector, MaybeTlsStream, WebSocketStream, client_async_tls_with_config};

use crate::polling::Polling;
use crate::protocol::{ENGINE_CLOSE, LOST};

/// A WebSocket client.
pub type WebSocket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// A WebSocket, and the packets that arrived by polling before the upgrade to it.
pub struct Socket {
    pub(crate) stream: WebSocket,
    pub(crate) early: VecDeque<String>,
}

/// The transport that carries messages.
pub enum Transport {
    /// A WebSocket.
    WebSocket(Box<Socket>),
    /// Engine.IO long-polling.
    Polling(Box<Polling>),
}

/// How a client disconnects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disconnect {
    /// It leaves the room, then closes.
    Leave,
    /// It closes as the protocol defines.
    Close,
    /// It closes its TCP connections without a close frame (FIN): a crash of the program.
    Drop,
    /// It resets its TCP connection (RST): a crash of the machine, some time after.
    Reset,
}

/// How a client connects.
#[derive(Clone, Default)]
pub struct Options {
    /// The size of the receive buffer. A small one makes a slow consumer noticeable soon.
    pub receive_buffer: Option<u32>,
    /// TLS, if the server speaks it.
    pub tls: Option<Connector>,
}

/// How long the server may take to answer a close frame.
const CLOSE_LIMIT: Duration = Duration::from_secs(5);

/// Opens a TCP connection without Nagle's algorithm, like browsers: otherwise small frames wait for
/// acknowledgements.
pub async fn dial(address: SocketAddr, receive_buffer: Option<u32>) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    if let Some(bytes) = receive_buffer {
        socket.set_recv_buffer_size(bytes)?;
    }
    let stream = socket.connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Opens a WebSocket.
pub async fn connect(address: SocketAddr, path: &str) -> anyhow::Result<WebSocket> {
    connect_with(address, path, Options::default()).await
}

/// Opens a WebSocket with options.
pub async fn connect_with(
    address: SocketAddr,
    path: &str,
    options: Options,
) -> anyhow::Result<WebSocket> {
    let stream = dial(address, options.receive_buffer).await?;
    let scheme = if options.tls.is_some() { "wss" } else { "ws" };
    let url = format!("{scheme}://{address}{path}");
    match client_async_tls_with_config(url, stream, None, options.tls).await {
        Ok((socket, _)) => Ok(socket),
        Err(Error::Http(response)) => {
            let body = response.body().as_deref().map(String::from_utf8_lossy).unwrap_or_default();
            bail!("the handshake at {path} is refused with {}: {body}", response.status())
        }
        Err(error) => Err(error.into()),
    }
}

/// Makes the connection end with a reset (RST) when it is dropped.
pub fn set_reset(stream: &TcpStream) {
    // If this fails, the connection still ends, with FIN.
    SockRef::from(stream).set_linger(Some(Duration::ZERO)).ok();
}

/// Ends a WebSocket with a reset. One over TLS ends with FIN.
pub fn reset(socket: WebSocket) {
    if let MaybeTlsStream::Plain(stream) = socket.into_inner() {
        set_reset(&stream);
    }
}

impl Transport {
    /// Wraps a WebSocket.
    pub fn websocket(stream: WebSocket) -> Self {
        Self::WebSocket(Box::new(Socket { stream, early: VecDeque::new() }))
    }

    /// Returns the WebSocket, if it is one. Packets that arrived by polling are discarded.
    pub fn into_websocket(self) -> Option<WebSocket> {
        match self {
            Self::WebSocket(socket) => Some(socket.stream),
            Self::Polling(_) => None,
        }
    }

    /// Sends messages: one by one, or as one payload where the transport is polling.
    pub async fn send(&mut self, texts: Vec<String>) -> anyhow::Result<()> {
        match self {
            Self::WebSocket(socket) => {
                for text in texts {
                    socket.stream.feed(Message::text(text)).await?;
                }
                Ok(socket.stream.flush().await?)
            }
            Self::Polling(polling) => polling.send(&texts).await,
        }
    }

    /// Receives the next message, or the close code. Cancel-safe.
    pub async fn next(&mut self) -> Result<String, u16> {
        let socket = match self {
            Self::WebSocket(socket) => socket,
            Self::Polling(polling) => return polling.next().await,
        };
        if let Some(text) = socket.early.pop_front() {
            return Ok(text);
        }
        loop {
            match socket.stream.next().await {
                Some(Ok(Message::Text(text))) if text == "1" => return Err(ENGINE_CLOSE),
                Some(Ok(Message::Text(text))) => return Ok(text.to_string()),
                Some(Ok(Message::Close(frame))) => {
                    return Err(frame.map_or(1005, |frame| frame.code.into()));
                }
                // The library answers pings.
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Err(LOST),
            }
        }
    }

    /// Ends the connection.
    pub async fn end(self, disconnect: Disconnect) {
        match (self, disconnect) {
            (Self::Polling(mut polling), Disconnect::Leave | Disconnect::Close) => {
                polling.close().await;
            }
            // Dropping a pending poll closes its connection.
            (Self::Polling(_), Disconnect::Drop | Disconnect::Reset) => {}
            (Self::WebSocket(mut socket), Disconnect::Leave | Disconnect::Close) => {
                let closing = async {
                    socket.stream.close(None).await.ok();
                    while let Some(Ok(_)) = socket.stream.next().await {}
                };
                tokio::time::timeout(CLOSE_LIMIT, closing).await.ok();
            }
            (Self::WebSocket(socket), Disconnect::Drop) => drop(socket),
            (Self::WebSocket(socket), Disconnect::Reset) => reset(socket.stream),
        }
    }
}
