//! One client for every wire, so that one test runs over all of them.

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use super::TestServer;
use super::client::{WebSocket, goodbye};
use super::server::LIMIT;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wire {
    SocketIo,
    Envelope,
    Topic,
    Session,
}

pub(crate) const WIRES: [Wire; 4] = [Wire::SocketIo, Wire::Envelope, Wire::Topic, Wire::Session];

impl Wire {
    /// Whether its clients are told of others: who is there, who comes, who goes.
    pub(crate) fn speaks_of_peers(self) -> bool {
        self != Self::Session
    }
}

/// What a client is told, in the same words on every wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Heard {
    Joined(String),
    Left(String),
    /// Its connection dropped, and may come back.
    Away(String),
    /// It did.
    Back(String),
    Offer {
        from: String,
        sdp: String,
    },
    Answer {
        from: String,
        sdp: String,
    },
    /// `None` is the end of candidates.
    Candidate {
        from: String,
        candidate: Option<String>,
    },
    Error(String),
    Closed(u16),
}

/// What a session client calls the other, of whom it knows no name.
pub(crate) const NAMELESS: &str = "";

pub(crate) struct Peer {
    pub(crate) wire: Wire,
    room: String,
    /// As others are told it; a session client does not know its own.
    pub(crate) id: String,
    /// Who was there when it joined.
    pub(crate) list: Vec<String>,
    socket: WebSocket,
}

/// A plain WebSocket.
pub(crate) async fn open(server: &TestServer, path: &str) -> WebSocket {
    let url = server.websocket_url(path);
    let connecting = tokio_tungstenite::connect_async_tls_with_config(url, None, true, server.connector());
    connecting.await.unwrap_or_else(|error| panic!("{path}: {error}")).0
}

/// The next message of a plain WebSocket, heartbeats of Engine.IO answered; the code if it is a close.
pub(crate) async fn message(socket: &mut WebSocket) -> Result<String, u16> {
    let waiting = async {
        loop {
            match socket.next().await {
                Some(Ok(Message::Text(text))) if text == "2" => socket.send(Message::text("3")).await.unwrap(),
                Some(Ok(Message::Text(text))) => return Ok(text.to_string()),
                Some(Ok(Message::Close(frame))) => return Err(frame.map_or(1005, |frame| frame.code.into())),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Err(1006),
            }
        }
    };
    tokio::time::timeout(LIMIT, waiting).await.expect("something is told in time")
}

/// The next message as JSON.
pub(crate) async fn told(socket: &mut WebSocket) -> Value {
    let text = message(socket).await.unwrap_or_else(|code| panic!("closed with {code}"));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("a string, not {value}")).to_owned()
}

impl Peer {
    /// Where a client connects, and what it says to join: each after the server's answer to the one before.
    pub(crate) fn joining(wire: Wire, room: &str, name: &str) -> (String, Vec<String>) {
        match wire {
            Wire::SocketIo => {
                let join = json!(["join-room", { "roomId": room, "userId": name, "name": name }]);
                ("/socket.io/?EIO=4&transport=websocket".to_owned(), vec!["40".to_owned(), format!("42{join}")])
            }
            Wire::Envelope => {
                let payload = json!({ "roomId": room, "user": { "id": name, "displayName": name } });
                ("/ws".to_owned(), vec![json!({ "type": "room:join", "payload": payload }).to_string()])
            }
            Wire::Topic => (format!("/ws/{room}?metadata=%7B%22name%22%3A%22{name}%22%7D"), Vec::new()),
            Wire::Session => (format!("/signal?sessionId={room}"), Vec::new()),
        }
    }

    /// Says what joins: the first at once, each other after an answer.
    pub(crate) async fn say_all(socket: &mut WebSocket, words: Vec<String>) {
        for (index, word) in words.into_iter().enumerate() {
            if index > 0 {
                message(socket).await.unwrap();
            }
            socket.send(Message::text(word)).await.ok();
        }
    }

    pub(crate) async fn join(server: &TestServer, wire: Wire, room: &str, name: &str) -> Self {
        let (path, words) = Self::joining(wire, room, name);
        let mut socket = open(server, &path).await;
        // What is said first by a server that speaks first.
        let hello = match wire {
            Wire::SocketIo | Wire::Envelope | Wire::Topic => message(&mut socket).await.unwrap(),
            Wire::Session => String::new(),
        };
        Self::say_all(&mut socket, words).await;
        let (mut id, mut list) = (name.to_owned(), Vec::new());
        match wire {
            Wire::SocketIo => {
                let users = message(&mut socket).await.unwrap();
                let users: Value = serde_json::from_str(users.strip_prefix("42").unwrap()).unwrap();
                assert_eq!(users[0], "room-users");
                list = users[1].as_array().unwrap().iter().map(|user| text(&user["userId"])).collect();
            }
            Wire::Envelope => {
                let state = told(&mut socket).await;
                assert_eq!(state["type"], "room:state", "{state}");
                let participants = state["payload"]["participants"].as_array().unwrap();
                list = participants.iter().map(|one| text(&one["userId"])).filter(|one| one != name).collect();
            }
            Wire::Topic => {
                let welcome: Value = serde_json::from_str(&hello).unwrap();
                assert_eq!(welcome["type"], "welcome");
                id = text(&welcome["selfId"]);
                let peers = told(&mut socket).await;
                assert_eq!(peers["type"], "peer-list");
                list = peers["peers"].as_array().unwrap().iter().map(|peer| text(&peer["id"])).collect();
            }
            Wire::Session => NAMELESS.clone_into(&mut id),
        }
        Self { wire, room: room.to_owned(), id, list, socket }
    }

    /// The next message as it came.
    pub(crate) async fn read_raw(&mut self) -> String {
        message(&mut self.socket).await.unwrap_or_else(|code| panic!("closed with {code}"))
    }

    /// Waits until the server has ended the connection.
    pub(crate) async fn ended(mut socket: WebSocket) {
        let rest = async { while let Some(Ok(_)) = socket.next().await {} };
        tokio::time::timeout(LIMIT, rest).await.expect("the server ends the connection");
    }

    async fn send(&mut self, message: Value) {
        let text = if self.wire == Wire::SocketIo { format!("42{message}") } else { message.to_string() };
        self.socket.send(Message::text(text)).await.expect("the connection is open");
    }

    /// Sends something as it is.
    pub(crate) async fn send_raw(&mut self, message: Message) {
        // The server may have closed already.
        self.socket.send(message).await.ok();
    }

    pub(crate) async fn offer(&mut self, to: &str, sdp: &str) {
        self.describe("offer", to, sdp).await;
    }

    pub(crate) async fn answer(&mut self, to: &str, sdp: &str) {
        self.describe("answer", to, sdp).await;
    }

    async fn describe(&mut self, kind: &str, to: &str, sdp: &str) {
        let description = json!({ "type": kind, "sdp": sdp });
        let message = match self.wire {
            Wire::SocketIo => json!([kind, { "roomId": self.room, "targetId": to, kind: description }]),
            Wire::Envelope => {
                json!({ "type": format!("sdp:{kind}"), "payload": { "roomId": self.room, "targetUserId": to, "sdp": sdp, "type": kind } })
            }
            Wire::Topic => json!({ "type": kind, "to": to, "payload": description }),
            Wire::Session => json!({ "type": kind, "sessionId": self.room, "sdp": sdp }),
        };
        self.send(message).await;
    }

    pub(crate) async fn candidate(&mut self, to: &str, candidate: Option<&str>) {
        let init = candidate.map(|text| json!({ "candidate": text, "sdpMid": "0", "sdpMLineIndex": 0 }));
        let message = match self.wire {
            Wire::SocketIo => json!(["ice-candidate", { "roomId": self.room, "targetId": to, "candidate": init }]),
            Wire::Envelope => {
                let mut payload = init.unwrap_or_else(|| json!({ "candidate": null }));
                payload["roomId"] = json!(self.room);
                payload["targetUserId"] = json!(to);
                json!({ "type": "ice:candidate", "payload": payload })
            }
            Wire::Topic => json!({ "type": "ice-candidate", "to": to, "payload": init }),
            Wire::Session => json!({ "type": "candidate", "sessionId": self.room, "candidate": init }),
        };
        self.send(message).await;
    }

    /// The next thing that is told.
    pub(crate) async fn hear(&mut self) -> Heard {
        loop {
            let said = match message(&mut self.socket).await {
                Ok(said) => said,
                Err(code) => return Heard::Closed(code),
            };
            let heard = match self.wire {
                Wire::SocketIo => heard_on_socketio(&said),
                Wire::Envelope => heard_on_envelope(&said),
                Wire::Topic => Some(heard_on_topic(&said)),
                Wire::Session => Some(heard_on_session(&said)),
            };
            if let Some(heard) = heard {
                return heard;
            }
        }
    }

    /// The next thing that is told, if this wire has a word for what happened.
    pub(crate) async fn hear_of_peers(&mut self, expected: Heard) {
        if self.wire.speaks_of_peers() {
            assert_eq!(self.hear().await, expected, "{:?}", self.wire);
        }
    }

    /// Goes without closing the connection, on wires that can.
    pub(crate) async fn leave(mut self) {
        let message = match self.wire {
            Wire::SocketIo => json!(["leave-room", self.room]),
            Wire::Envelope => json!({ "type": "room:leave", "payload": { "roomId": self.room } }),
            Wire::Session => json!({ "type": "leave", "sessionId": self.room }),
            Wire::Topic => return self.close().await,
        };
        self.send(message).await;
        self.close().await;
    }

    pub(crate) async fn close(mut self) {
        self.socket.close(Some(goodbye())).await.ok();
        let rest = async { while let Some(Ok(_)) = self.socket.next().await {} };
        tokio::time::timeout(LIMIT, rest).await.expect("the server closes as well");
    }

    pub(crate) fn into_socket(self) -> WebSocket {
        self.socket
    }
}

/// An SDP that stands as text or as an object.
fn sdp(value: &Value) -> String {
    value.as_str().map_or_else(|| text(&value["sdp"]), str::to_owned)
}

fn candidate(value: &Value) -> Option<String> {
    if value.is_null() {
        return None;
    }
    Some(value.as_str().map_or_else(|| text(&value["candidate"]), str::to_owned))
}

pub(crate) fn heard_on_socketio(said: &str) -> Option<Heard> {
    let event: Value = serde_json::from_str(said.strip_prefix("42")?).unwrap();
    let (name, body) = (event[0].as_str().unwrap(), &event[1]);
    let from = || text(&body["from"]);
    Some(match name {
        "user-joined" => Heard::Joined(text(&body["userId"])),
        "user-left" => Heard::Left(text(&body["userId"])),
        "user-away" => Heard::Away(text(&body["userId"])),
        "user-back" => Heard::Back(text(&body["userId"])),
        "offer" => Heard::Offer { from: from(), sdp: sdp(&body["offer"]) },
        "answer" => Heard::Answer { from: from(), sdp: sdp(&body["answer"]) },
        "ice-candidate" => Heard::Candidate { from: from(), candidate: candidate(&body["candidate"]) },
        "error" => Heard::Error(text(&body["code"])),
        _ => panic!("{said}"),
    })
}

pub(crate) fn heard_on_envelope(said: &str) -> Option<Heard> {
    let message: Value = serde_json::from_str(said).unwrap();
    let payload = &message["payload"];
    let from = || text(&payload["fromUserId"]);
    Some(match message["type"].as_str().unwrap() {
        "room:participant-joined" => Heard::Joined(text(&payload["participant"]["userId"])),
        "room:participant-left" => Heard::Left(text(&payload["userId"])),
        "room:participant-away" => Heard::Away(text(&payload["userId"])),
        "room:participant-back" => Heard::Back(text(&payload["userId"])),
        "sdp:offer" => Heard::Offer { from: from(), sdp: text(&payload["sdp"]) },
        "sdp:answer" => Heard::Answer { from: from(), sdp: text(&payload["sdp"]) },
        "ice:candidate" => Heard::Candidate { from: from(), candidate: candidate(&payload["candidate"]) },
        "error" => Heard::Error(text(&payload["code"])),
        "room:state" => return None,
        _ => panic!("{said}"),
    })
}

fn heard_on_topic(said: &str) -> Heard {
    let message: Value = serde_json::from_str(said).unwrap();
    let (from, payload) = (|| text(&message["from"]), &message["payload"]);
    match message["type"].as_str().unwrap() {
        "peer-joined" => Heard::Joined(text(&message["peerId"])),
        "peer-left" => Heard::Left(text(&message["peerId"])),
        "offer" => Heard::Offer { from: from(), sdp: sdp(payload) },
        "answer" => Heard::Answer { from: from(), sdp: sdp(payload) },
        "ice-candidate" => Heard::Candidate { from: from(), candidate: candidate(payload) },
        "error" => Heard::Error(text(&message["code"])),
        _ => panic!("{said}"),
    }
}

fn heard_on_session(said: &str) -> Heard {
    let message: Value = serde_json::from_str(said).unwrap();
    let from = NAMELESS.to_owned();
    match message["type"].as_str().unwrap() {
        "offer" => Heard::Offer { from, sdp: sdp(&message["sdp"]) },
        "answer" => Heard::Answer { from, sdp: sdp(&message["sdp"]) },
        "candidate" => Heard::Candidate { from, candidate: candidate(&message["candidate"]) },
        "error" => Heard::Error(text(&message["code"])),
        _ => panic!("{said}"),
    }
}
