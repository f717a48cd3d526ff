//! A Socket.IO client over WebSocket that exposes every frame.

use std::collections::VecDeque;
use std::net::SocketAddr;

use futures_util::{SinkExt, StreamExt};
use parlor_testing::protocol::{is_beside, offset_of};
pub(crate) use parlor_testing::transport::WebSocket;
use parlor_testing::transport::{connect, reset};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use super::TestServer;
use super::server::LIMIT;

pub(crate) struct Client {
    socket: WebSocket,
    /// Id that peers see.
    pub(crate) id: String,
    /// Session id of the Engine.IO handshake, which is secret.
    pub(crate) sid: String,
    /// The resume token, if the session has one.
    pub(crate) pid: Option<String>,
    /// The offset of the last event.
    pub(crate) offset: Option<String>,
    /// Content of the last `room-joined`.
    pub(crate) joined: Value,
    next_ack: u64,
    /// Events that arrived during another wait.
    early: VecDeque<Value>,
}

/// Opens a WebSocket to the endpoint without sending anything.
pub(crate) async fn websocket(server: &TestServer, query: &str) -> WebSocket {
    websocket_at(server.address(), query).await
}

async fn websocket_at(address: SocketAddr, query: &str) -> WebSocket {
    let path = format!("/socket.io/?transport=websocket&{query}");
    connect(address, &path).await.expect("the handshake is answered")
}

/// Receives the next text frame, answering heartbeats.
pub(crate) async fn text(socket: &mut WebSocket) -> String {
    let waiting = async {
        loop {
            match socket.next().await.expect("the connection is open").expect("a frame") {
                Message::Text(text) if text == "2" => {
                    socket.send(Message::text("3")).await.expect("the connection is open");
                }
                Message::Text(text) => return text.to_string(),
                Message::Close(frame) => panic!("closed: {frame:?}"),
                _ => {}
            }
        }
    };
    tokio::time::timeout(LIMIT, waiting).await.expect("a frame comes in time")
}

/// The close code of a closed tab.
pub(crate) fn normal_close() -> CloseFrame {
    CloseFrame { code: CloseCode::Away, reason: Utf8Bytes::default() }
}

impl Client {
    pub(crate) async fn connect(server: &TestServer) -> Self {
        Self::connect_at(server.address()).await
    }

    pub(crate) async fn connect_at(address: SocketAddr) -> Self {
        Self::connect_with(address, "").await
    }

    /// Resumes a session, as official clients from 4.6 on do.
    pub(crate) async fn resume(server: &TestServer, pid: &str, offset: Option<&str>) -> Self {
        let mut auth = json!({ "pid": pid });
        if let Some(offset) = offset {
            auth["offset"] = json!(offset);
        }
        Self::connect_with(server.address(), &auth.to_string()).await
    }

    async fn connect_with(address: SocketAddr, auth: &str) -> Self {
        let mut socket = websocket_at(address, "EIO=4").await;
        let open: Value = serde_json::from_str(&text(&mut socket).await[1..]).unwrap();
        socket.send(Message::text(format!("40{auth}"))).await.unwrap();
        let connected = text(&mut socket).await;
        let reply: Value = serde_json::from_str(
            connected.strip_prefix("40").unwrap_or_else(|| panic!("connected, not {connected}")),
        )
        .unwrap();
        Self {
            socket,
            id: reply["sid"].as_str().unwrap().to_owned(),
            sid: open["sid"].as_str().unwrap().to_owned(),
            pid: reply["pid"].as_str().map(str::to_owned),
            offset: None,
            joined: Value::Null,
            next_ack: 0,
            early: VecDeque::new(),
        }
    }

    /// Connects and joins under a name.
    pub(crate) async fn joined(server: &TestServer, room: &str, user: &str) -> Self {
        let mut client = Self::connect(server).await;
        let answer = client.ask("join-room", json!({ "roomId": room, "userId": user })).await;
        assert_eq!(answer["ok"], true, "{answer}");
        client
    }

    /// Sends a frame unchanged.
    pub(crate) async fn send(&mut self, frame: impl Into<String>) {
        self.socket.send(Message::text(frame.into())).await.expect("the connection is open");
    }

    /// Sends an event without an acknowledgement.
    pub(crate) async fn tell(&mut self, event: &str, argument: Value) {
        self.send(format!("42{}", json!([event, argument]))).await;
    }

    /// Sends an event and waits for its acknowledgement.
    pub(crate) async fn ask(&mut self, event: &str, argument: Value) -> Value {
        self.ask_raw(&json!([event, argument]).to_string()).await
    }

    /// Sends an event with an acknowledgement; `arguments` is its array as text.
    pub(crate) async fn ask_raw(&mut self, array: &str) -> Value {
        let id = self.next_ack;
        self.next_ack += 1;
        self.send(format!("42{id}{array}")).await;
        let head = format!("43{id}[");
        loop {
            let frame = text(&mut self.socket).await;
            if let Some(rest) = frame.strip_prefix(&head) {
                let answers: Vec<Value> = serde_json::from_str(&format!("[{rest}")).unwrap();
                return answers.into_iter().next().expect("an acknowledgement has an argument");
            }
            if let Some(event) = self.event_in(&frame) {
                self.early.push_back(event);
            }
        }
    }

    /// Returns the event in a frame, unless it is the offset of the previous event, `room-joined`
    /// after a list, or an additional event of a profile.
    fn event_in(&mut self, frame: &str) -> Option<Value> {
        let event = event_of(frame);
        if let Some(offset) = offset_of(&event) {
            self.offset = Some(offset.to_owned());
            return None;
        }
        if event[0] == "room-joined" {
            assert_eq!(event.as_array().map(Vec::len), Some(2), "{event}");
            self.joined = event[1].clone();
            return None;
        }
        if event[0].as_str().is_some_and(is_beside) {
            return None;
        }
        Some(event)
    }

    /// Returns the next event, its name first.
    pub(crate) async fn next(&mut self) -> Vec<Value> {
        let event = loop {
            if let Some(event) = self.early.pop_front() {
                break event;
            }
            let frame = text(&mut self.socket).await;
            let Some(event) = self.event_in(&frame) else { continue };
            if self.pid.is_some() && event[0] != "error" {
                // The offset is in the same write. A reply to a request has none.
                let follower = text(&mut self.socket).await;
                assert!(self.event_in(&follower).is_none(), "{follower} after {event}");
            }
            break event;
        };
        event.as_array().expect("an event is an array").clone()
    }

    /// Returns the arguments of the next event, which must have this name.
    pub(crate) async fn next_event(&mut self, name: &str) -> Vec<Value> {
        let mut event = self.next().await;
        assert_eq!(event.remove(0), name, "{event:?}");
        event
    }

    /// Asserts that no unread event has arrived: everything from the server precedes this reply.
    pub(crate) async fn nothing_more(&mut self) {
        self.ask("leave-room", json!("no such room")).await;
        assert!(self.early.is_empty(), "{:?}", self.early);
    }

    /// Asserts that no unread event with another name has arrived.
    pub(crate) async fn nothing_more_but(&mut self, name: &str) {
        self.ask("leave-room", json!("no such room")).await;
        self.early.retain(|event| event[0] != name && event[0] != "room-users");
        assert!(self.early.is_empty(), "{:?}", self.early);
    }

    /// Closes as a browser does whose tab is closed.
    pub(crate) async fn close(self) {
        self.close_with(Some(normal_close())).await;
    }

    /// Closes as the official client does when the browser reports `offline`.
    pub(crate) async fn abandon(self) {
        self.close_with(None).await;
    }

    async fn close_with(mut self, frame: Option<CloseFrame>) {
        self.socket.close(frame).await.ok();
        let rest = async { while let Some(Ok(_)) = self.socket.next().await {} };
        tokio::time::timeout(LIMIT, rest).await.expect("the server closes as well");
    }

    /// Loses the connection, as on a network failure.
    pub(crate) fn cut(self) {
        cut(self.socket);
    }

    /// Returns the socket.
    pub(crate) fn into_socket(self) -> WebSocket {
        self.socket
    }

    /// Waits until the server has ended the connection.
    pub(crate) async fn ended(mut self) {
        let rest = async { while let Some(Ok(_)) = self.socket.next().await {} };
        tokio::time::timeout(LIMIT, rest).await.expect("the server ends the connection");
    }
}

/// Ends a connection with a reset, without a close frame.
pub(crate) fn cut(socket: WebSocket) {
    reset(socket);
}

fn event_of(frame: &str) -> Value {
    let array = frame.strip_prefix("42").unwrap_or_else(|| panic!("an event, not {frame}"));
    serde_json::from_str(array).unwrap()
}
