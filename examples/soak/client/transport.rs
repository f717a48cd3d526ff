//! One connection to the server, whatever carries it.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::bail;
use futures_util::{SinkExt, StreamExt};
use socket2::SockRef;
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::polling::Polling;
use super::wire::Ended;

pub(crate) type WebSocket = WebSocketStream<TcpStream>;

/// A WebSocket, and what came for it by another way before.
pub(crate) struct Socket {
    pub(crate) stream: WebSocket,
    pub(crate) early: VecDeque<String>,
}

pub(crate) enum Transport {
    WebSocket(Box<Socket>),
    Polling(Box<Polling>),
}

/// How a client goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Goodbye {
    /// It leaves the room, then closes.
    Leave,
    /// It closes as the wire has it.
    Close,
    /// It ends its connections without a word: a crash of the program.
    Drop,
    /// It resets its connection: a crash of the machine, some time after.
    Reset,
}

/// How long the server has for its part of a close.
const CLOSE_LIMIT: Duration = Duration::from_secs(5);

/// A TCP connection. A small receive buffer makes one that does not read noticeable soon.
pub(crate) async fn dial(address: SocketAddr, receive_buffer: Option<u32>) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    if let Some(bytes) = receive_buffer {
        socket.set_recv_buffer_size(bytes)?;
    }
    let stream = socket.connect(address).await?;
    // As browsers do: otherwise small frames wait for acknowledgements.
    stream.set_nodelay(true)?;
    Ok(stream)
}

pub(crate) async fn connect(address: SocketAddr, path: &str, receive_buffer: Option<u32>) -> anyhow::Result<WebSocket> {
    let stream = dial(address, receive_buffer).await?;
    match tokio_tungstenite::client_async(format!("ws://{address}{path}"), stream).await {
        Ok((socket, _)) => Ok(socket),
        Err(Error::Http(refused)) => {
            let body = refused.body().as_deref().map(String::from_utf8_lossy).unwrap_or_default();
            bail!("{path} is refused with {}: {body}", refused.status())
        }
        Err(error) => Err(error.into()),
    }
}

/// Ends a TCP connection so that the other side gets a reset.
pub(crate) fn reset(stream: &TcpStream) {
    // If this fails the connection ends all the same, in the ordinary way.
    SockRef::from(stream).set_linger(Some(Duration::ZERO)).ok();
}

impl Transport {
    /// Sends messages: one after the other, or as one payload where the transport has that.
    pub(crate) async fn send(&mut self, texts: Vec<String>) -> anyhow::Result<()> {
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

    /// The next message. Nothing is lost when this is dropped before it is ready.
    pub(crate) async fn next(&mut self) -> Result<String, Ended> {
        let socket = match self {
            Self::WebSocket(socket) => socket,
            Self::Polling(polling) => return polling.next().await,
        };
        if let Some(text) = socket.early.pop_front() {
            return Ok(text);
        }
        loop {
            match socket.stream.next().await {
                Some(Ok(Message::Text(text))) if text == "1" => return Err(Ended::Closed(0)),
                Some(Ok(Message::Text(text))) => return Ok(text.to_string()),
                Some(Ok(Message::Close(frame))) => {
                    return Err(Ended::Closed(frame.map_or(1005, |frame| frame.code.into())));
                }
                // Pings are answered by the library.
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Err(Ended::Lost),
            }
        }
    }

    pub(crate) async fn end(self, goodbye: Goodbye) {
        match (self, goodbye) {
            (Self::Polling(mut polling), Goodbye::Leave | Goodbye::Close) => polling.close().await,
            // Whoever drops a poll under way hangs up.
            (Self::Polling(_), Goodbye::Drop | Goodbye::Reset) => {}
            (Self::WebSocket(mut socket), Goodbye::Leave | Goodbye::Close) => {
                let closing = async {
                    socket.stream.close(None).await.ok();
                    while let Some(Ok(_)) = socket.stream.next().await {}
                };
                tokio::time::timeout(CLOSE_LIMIT, closing).await.ok();
            }
            (Self::WebSocket(socket), Goodbye::Drop) => drop(socket),
            (Self::WebSocket(socket), Goodbye::Reset) => reset(&socket.stream.into_inner()),
        }
    }
}
