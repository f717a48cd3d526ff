//! The transport connection of a resuming client.

use std::net::SocketAddr;

use futures_util::{SinkExt, StreamExt};
use parlor_testing::transport::{connect, reset};
use tokio_tungstenite::tungstenite::Message;

use super::ClientKind;
use crate::support::client::{WebSocket, normal_close};
use crate::support::polling::Polling;
use crate::support::protocol_peer::message;
use crate::support::raw::Raw;
use crate::support::server::LIMIT;

/// Kinds of connection loss.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Loss {
    /// RST: a crash of the machine, or of a device on the path.
    Reset,
    /// FIN without a close frame, as in a crash of the program.
    End,
    /// The network fails: nothing is delivered any more, not even a close.
    Silence,
}

pub(super) enum Connection {
    WebSocket(Box<WebSocket>),
    Polling(Polling),
}

/// A connection that its client has lost while it is still open on the network, until this value is
/// dropped.
pub(crate) struct Lost {
    _line: Option<Connection>,
}

impl Connection {
    pub(super) async fn open(server: SocketAddr, kind: ClientKind) -> Self {
        let path = match kind {
            ClientKind::Polling => return Self::Polling(Polling::open(server).await),
            ClientKind::WebSocket => "/socket.io/?EIO=4&transport=websocket",
            ClientKind::Envelope => "/ws",
        };
        let mut socket = connect(server, path).await.expect("the handshake is answered");
        if kind == ClientKind::WebSocket {
            assert!(message(&mut socket).await.unwrap().starts_with("0{"));
        }
        Self::WebSocket(socket.into())
    }

    pub(super) async fn send(&mut self, text: String) {
        match self {
            Self::WebSocket(socket) => {
                socket.send(Message::text(text)).await.expect("the connection is open");
            }
            Self::Polling(polling) => polling.send(&text).await,
        }
    }

    /// Receives the next message, answering heartbeats; `None` once the server has ended the
    /// connection.
    pub(super) async fn next(&mut self) -> Option<String> {
        let next = async {
            match self {
                Self::WebSocket(socket) => message(socket).await.ok(),
                Self::Polling(polling) => polling.next().await,
            }
        };
        tokio::time::timeout(LIMIT, next).await.expect("a message arrives in time")
    }

    pub(super) async fn lose(self, how: Loss) -> Lost {
        let kept = match (self, how) {
            (connection, Loss::Silence) => Some(connection),
            (Self::WebSocket(socket), Loss::Reset) => {
                reset(*socket);
                None
            }
            (Self::WebSocket(_), Loss::End) => None,
            // The pending poll is dropped; there is nothing else to reset.
            (Self::Polling(polling), Loss::Reset) => {
                Raw::reset(polling.poll().await);
                None
            }
            (Self::Polling(polling), Loss::End) => {
                drop(polling.poll().await);
                None
            }
        };
        Lost { _line: kept }
    }

    /// Closes the connection, as its protocol does.
    pub(super) async fn close(&mut self) {
        match self {
            Self::WebSocket(socket) => _ = socket.as_mut().close(Some(normal_close())).await,
            Self::Polling(polling) => polling.send("41\u{1e}1").await,
        }
    }

    /// Waits until the server has ended the connection.
    pub(super) async fn ended(self) {
        let rest = async {
            match self {
                Self::WebSocket(mut socket) => while let Some(Ok(_)) = socket.next().await {},
                Self::Polling(mut polling) => while polling.next().await.is_some() {},
            }
        };
        tokio::time::timeout(LIMIT, rest).await.expect("the server ends the connection");
    }
}
