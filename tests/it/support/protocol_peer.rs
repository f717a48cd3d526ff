//! A client of any protocol that panics instead of returning errors, so that one test covers all
//! protocols.

use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio_tungstenite::MaybeTlsStream;
use tokio_tungstenite::tungstenite::Message;

use parlor_testing::connection::{Connection, Joined, Route};
pub(crate) use parlor_testing::protocol::{Event as Received, Protocol, UNNAMED};
use parlor_testing::protocol::{LOST, SignalKind};
use parlor_testing::transport::{Options, connect_with};

use super::TestServer;
use super::client::{WebSocket, normal_close};
use super::server::LIMIT;

pub(crate) const PROTOCOLS: [Protocol; 4] = Protocol::ALL;

pub(crate) struct Peer {
    pub(crate) protocol: Protocol,
    room: String,
    /// Id that other peers see; a `/signal` client does not know its own.
    pub(crate) id: String,
    /// Members of the room when it joined.
    pub(crate) list: Vec<String>,
    socket: WebSocket,
}

/// Opens a WebSocket.
pub(crate) async fn open(server: &TestServer, path: &str) -> WebSocket {
    let options = Options { tls: server.connector(), ..Options::default() };
    let connecting = connect_with(server.address(), path, options).await;
    connecting.unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Receives the next message of a WebSocket, answering Engine.IO heartbeats; the code if it is a
/// close.
pub(crate) async fn message(socket: &mut WebSocket) -> Result<String, u16> {
    let waiting = async {
        loop {
            match socket.next().await {
                Some(Ok(Message::Text(text))) if text == "2" => {
                    socket.send(Message::text("3")).await.unwrap();
                }
                Some(Ok(Message::Text(text))) => return Ok(text.to_string()),
                Some(Ok(Message::Close(frame))) => {
                    return Err(frame.map_or(1005, |frame| frame.code.into()));
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Err(LOST),
            }
        }
    };
    tokio::time::timeout(LIMIT, waiting).await.expect("a message arrives in time")
}

/// Receives the next message as JSON.
pub(crate) async fn next_json(socket: &mut WebSocket) -> Value {
    let text = message(socket).await.unwrap_or_else(|code| panic!("closed with {code}"));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

impl Peer {
    /// The path of a client, and the messages of its join: each is sent after the reply to the
    /// previous one.
    pub(crate) fn joining(protocol: Protocol, room: &str, name: &str) -> (String, Vec<String>) {
        let connect = (protocol == Protocol::SocketIo).then(|| "40".to_owned());
        (
            protocol.join_path(room, name),
            connect.into_iter().chain(protocol.join(room, name)).collect(),
        )
    }

    /// Sends the messages of the join: the first at once, each other one after a reply.
    pub(crate) async fn send_all(socket: &mut WebSocket, words: Vec<String>) {
        for (index, word) in words.into_iter().enumerate() {
            if index > 0 {
                message(socket).await.unwrap();
            }
            socket.send(Message::text(word)).await.ok();
        }
    }

    pub(crate) async fn join(
        server: &TestServer,
        protocol: Protocol,
        room: &str,
        name: &str,
    ) -> Self {
        let route = match protocol {
            Protocol::SocketIo => Route::WebSocket,
            Protocol::Envelope => Route::Envelope,
            Protocol::Topic => Route::Topic,
            Protocol::Session => Route::Session,
        };
        let options = Options { tls: server.connector(), ..Options::default() };
        let joining = Connection::join(server.address(), route, room, name, options);
        let joined = tokio::time::timeout(LIMIT, joining).await.expect("joined in time");
        let (connection, Joined { id, peers: list }) =
            joined.unwrap_or_else(|error| panic!("{protocol:?}: {error:#}"));
        let socket = connection.transport.into_websocket().expect("a WebSocket");
        Self { protocol, room: room.to_owned(), id, list, socket }
    }

    /// Receives the next message unchanged.
    pub(crate) async fn read_raw(&mut self) -> String {
        message(&mut self.socket).await.unwrap_or_else(|code| panic!("closed with {code}"))
    }

    /// Waits until the server has ended the connection.
    pub(crate) async fn ended(mut socket: WebSocket) {
        let rest = async { while let Some(Ok(_)) = socket.next().await {} };
        tokio::time::timeout(LIMIT, rest).await.expect("the server ends the connection");
    }

    async fn send(&mut self, message: String) {
        self.socket.send(Message::text(message)).await.expect("the connection is open");
    }

    /// Sends a text unchanged.
    pub(crate) async fn send_raw(&mut self, message: Message) {
        // The server may have closed already.
        self.socket.send(message).await.ok();
    }

    pub(crate) async fn offer(&mut self, to: &str, sdp: &str) {
        self.signal(SignalKind::Offer, to, Some(sdp)).await;
    }

    pub(crate) async fn answer(&mut self, to: &str, sdp: &str) {
        self.signal(SignalKind::Answer, to, Some(sdp)).await;
    }

    pub(crate) async fn candidate(&mut self, to: &str, candidate: Option<&str>) {
        self.signal(SignalKind::Candidate, to, candidate).await;
    }

    async fn signal(&mut self, kind: SignalKind, to: &str, content: Option<&str>) {
        self.send(self.protocol.signal(kind, &self.room, Some(to), content)).await;
    }

    /// Returns the next event.
    pub(crate) async fn next_event(&mut self) -> Received {
        loop {
            let reply = match message(&mut self.socket).await {
                Ok(reply) => reply,
                Err(code) => return Received::Closed(code),
            };
            let observed = self.protocol.decode(&reply).unwrap_or_else(|error| panic!("{error:#}"));
            if let Some(observed) = observed {
                return observed;
            }
        }
    }

    /// Asserts the next event, if the protocol announces peers.
    pub(crate) async fn expect_presence(&mut self, expected: Received) {
        if self.protocol.announces_peers() {
            assert_eq!(self.next_event().await, expected, "{:?}", self.protocol);
        }
    }

    /// Leaves without closing the connection, on protocols that can.
    pub(crate) async fn leave(mut self) {
        if let Some(message) = self.protocol.leave(&self.room) {
            self.send(message).await;
        }
        self.close().await;
    }

    pub(crate) async fn close(mut self) {
        self.socket.close(Some(normal_close())).await.ok();
        let rest = async { while let Some(Ok(_)) = self.socket.next().await {} };
        tokio::time::timeout(LIMIT, rest).await.expect("the server closes as well");
    }

    /// Makes the receive window small, so that unread data soon fills the send queue of the server.
    pub(crate) fn narrow(&self) {
        let stream = match self.socket.get_ref() {
            MaybeTlsStream::Plain(stream) => stream,
            MaybeTlsStream::Rustls(stream) => stream.get_ref().0,
            _ => panic!("neither plain nor rustls"),
        };
        socket2::SockRef::from(stream).set_recv_buffer_size(4096).unwrap();
    }

    pub(crate) fn into_socket(self) -> WebSocket {
        self.socket
    }
}
