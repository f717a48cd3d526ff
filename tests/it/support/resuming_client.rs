//! A client that loses its connection and resumes its session, over each transport.
//!
//! It counts messages: each numbered message must have the next number, across all connections.

mod connection;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering};

use parlor_testing::protocol::offset_of;
use serde_json::{Value, json};

use self::connection::Connection;
pub(crate) use self::connection::{Loss, Lost};
use super::TestServer;
use super::protocol_peer::{Protocol, Received};

/// The protocol and transport of a client that can resume its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClientKind {
    /// Socket.IO over WebSocket.
    WebSocket,
    /// Socket.IO over long-polling.
    Polling,
    /// `/ws`.
    Envelope,
}

pub(crate) const CLIENT_KINDS: [ClientKind; 3] =
    [ClientKind::WebSocket, ClientKind::Polling, ClientKind::Envelope];

/// Resume token and last received number of a client.
#[derive(Debug, Clone)]
pub(crate) struct ResumePoint {
    /// `pid`, or `resumeToken`.
    pub(crate) resume_token: String,
    /// Offset or number of the last received message, if there is one.
    pub(crate) seen: Option<String>,
}

impl ResumePoint {
    /// Returns the resume token with another offset or number.
    pub(crate) fn from(&self, seen: Option<&str>) -> Self {
        Self { resume_token: self.resume_token.clone(), seen: seen.map(str::to_owned) }
    }

    /// Returns the resume token with another number in its offset.
    pub(crate) fn at(&self, number: u64) -> Self {
        let seen = self.seen.as_deref().expect("a message was received");
        let tag = seen.rsplit_once('-').map(|(tag, _)| format!("{tag}-"));
        self.from(Some(&format!("{}{number}", tag.unwrap_or_default())))
    }

    /// Returns the number of the last received message.
    pub(crate) fn number(&self) -> u64 {
        self.seen.as_deref().map_or(0, number_in)
    }
}

pub(crate) struct ResumingClient {
    pub(crate) kind: ClientKind,
    connection: Connection,
    /// Connection id, which peers on Socket.IO see.
    pub(crate) id: String,
    /// `pid`, or `resumeToken`, if it has one.
    resume_token: Option<String>,
    /// Number of the last received message, and its text.
    number: u64,
    seen: Option<String>,
    /// Whether the session was resumed.
    pub(crate) is_resumed: bool,
    /// Messages that arrived before an awaited reply.
    early: VecDeque<String>,
}

/// Numbers requests, so that a replayed reply is not mistaken for another.
static ASKED: AtomicU32 = AtomicU32::new(0);

impl ClientKind {
    /// Returns the name that this protocol uses.
    fn word(self, on_socketio: &'static str, on_envelope: &'static str) -> &'static str {
        if self == Self::Envelope { on_envelope } else { on_socketio }
    }
}

impl ResumingClient {
    /// Connects, with an access token and a resume token if they are given; returns the reply if it
    /// is refused, and nothing if the connection is closed.
    pub(crate) async fn connect(
        server: impl Into<SocketAddr>,
        kind: ClientKind,
        resume_point: Option<&ResumePoint>,
        token: Option<&str>,
    ) -> Result<Self, String> {
        let mut connection = Connection::open(server.into(), kind).await;
        let words = Self::first_message(kind, resume_point, token);
        let mut client = match kind {
            ClientKind::WebSocket | ClientKind::Polling => {
                connection.send(words.expect("CONNECT")).await;
                let response = connection.next().await.ok_or_else(String::new)?;
                let Some(reply) = response.strip_prefix("40") else { return Err(response) };
                let reply = json_of(reply);
                let resume_token = reply["pid"].as_str();
                // A token begins with the id of the session. A move to another node changes the
                // token.
                let former = resume_point
                    .and_then(|resume_point| resume_point.resume_token.split('.').next());
                let is_resumed = former.is_some() && former == reply["sid"].as_str();
                Self::on(kind, connection, &reply["sid"], resume_token, is_resumed)
            }
            ClientKind::Envelope => {
                let acknowledged = json_of(&connection.next().await.expect("an acknowledgement"));
                let id = &acknowledged["payload"]["connectionId"];
                let Some(words) = words else {
                    return Ok(Self {
                        number: 1,
                        seen: Some("1".to_owned()),
                        ..Self::on(kind, connection, id, None, false)
                    });
                };
                connection.send(words).await;
                let response = connection.next().await.ok_or_else(String::new)?;
                let answer = json_of(&response);
                let payload = &answer["payload"];
                if payload["success"] != true {
                    return Err(response);
                }
                assert_eq!(payload["recovered"].is_boolean(), resume_point.is_some(), "{response}");
                let is_resumed = payload["recovered"] == true;
                let number =
                    if is_resumed { resume_point.map_or(0, ResumePoint::number) } else { 2 };
                assert_eq!(answer["sequence"], number, "{response}");
                let seen = Some(number.to_string());
                Self {
                    number,
                    seen,
                    ..Self::on(kind, connection, id, payload["resumeToken"].as_str(), is_resumed)
                }
            }
        };
        if let Some(resume_point) = resume_point.filter(|_| client.is_resumed) {
            (client.number, client.seen) = (resume_point.number(), resume_point.seen.clone());
        }
        Ok(client)
    }

    fn on(
        kind: ClientKind,
        connection: Connection,
        id: &Value,
        resume_token: Option<&str>,
        is_resumed: bool,
    ) -> Self {
        let id = id.as_str().expect("a connection has an id").to_owned();
        let (resume_token, early) = (resume_token.map(str::to_owned), VecDeque::new());
        Self { kind, connection, id, resume_token, number: 0, seen: None, is_resumed, early }
    }

    /// Returns the first message on a new connection.
    fn first_message(
        kind: ClientKind,
        resume_point: Option<&ResumePoint>,
        token: Option<&str>,
    ) -> Option<String> {
        let mut auth = json!({});
        if let Some(token) = token {
            auth["token"] = json!(token);
        }
        if let Some(ResumePoint { resume_token, seen }) = resume_point {
            auth[kind.word("pid", "resumeToken")] = json!(resume_token);
            if let Some(seen) = seen {
                let seen =
                    if kind == ClientKind::Envelope { seen.parse().unwrap() } else { json!(seen) };
                auth[kind.word("offset", "lastSequence")] = seen;
            }
        }
        match kind {
            ClientKind::WebSocket | ClientKind::Polling => Some(format!("40{auth}")),
            ClientKind::Envelope if resume_point.is_none() && token.is_none() => None,
            ClientKind::Envelope => {
                Some(json!({ "type": "auth:request", "payload": auth }).to_string())
            }
        }
    }

    /// Sends a resume token, and closes before it reads a reply. Over polling there is no pending
    /// reply.
    pub(crate) async fn connect_and_close(
        server: &TestServer,
        kind: ClientKind,
        resume_point: &ResumePoint,
    ) {
        let used = server.until("the resume token is used", |held| held.away == 0);
        Self::connect_until(server, kind, resume_point, used).await;
    }

    /// Sends a resume token, and loses the connection at some time before it reads a reply.
    pub(crate) async fn connect_until(
        server: &TestServer,
        kind: ClientKind,
        resume_point: &ResumePoint,
        end: impl Future<Output = ()>,
    ) {
        let mut connection = Connection::open(server.into(), kind).await;
        let words =
            Self::first_message(kind, Some(resume_point), None).expect("there is a resume token");
        connection.send(words).await;
        end.await;
        if kind != ClientKind::Polling {
            connection.lose(Loss::Reset).await;
        }
    }

    /// Connects with a resume token, which may be refused.
    pub(crate) async fn resume(
        server: impl Into<SocketAddr>,
        kind: ClientKind,
        resume_point: &ResumePoint,
    ) -> Self {
        Self::connect(server, kind, Some(resume_point), None)
            .await
            .unwrap_or_else(|response| panic!("{kind:?}: {response}"))
    }

    /// Joins a room with a peer id; returns the other peers.
    pub(crate) async fn join(&mut self, room: &str, name: &str) -> Vec<String> {
        let wish = match self.kind {
            ClientKind::Envelope => json!({ "roomId": room, "user": { "id": name } }),
            _ => json!({ "roomId": room, "userId": name }),
        };
        let answer = self.ask(self.kind.word("join-room", "room:join"), wish).await;
        let field = self.kind.word("users", "participants");
        let list = answer[field].as_array().unwrap_or_else(|| panic!("{answer}"));
        if let Some(resume_token) = answer["resumeToken"].as_str() {
            self.resume_token = Some(resume_token.to_owned());
        }
        if self.kind != ClientKind::Envelope {
            let list = self.next().await;
            assert!(
                list.starts_with(r#"42["room-users","#),
                "the list comes before anything else: {list}"
            );
            let joined = self.next().await;
            assert!(joined.starts_with(r#"42["room-joined","#), "{joined}");
        }
        let ids = list.iter().map(|user| user["userId"].as_str().unwrap().to_owned());
        ids.filter(|id| id != name).collect()
    }

    /// Connects and joins the room `r`.
    pub(crate) async fn joined(
        server: impl Into<SocketAddr>,
        kind: ClientKind,
        name: &str,
    ) -> Self {
        let mut client = Self::connect(server, kind, None, None).await.unwrap();
        client.join("r", name).await;
        client
    }

    /// Returns what is needed to resume the session.
    pub(crate) fn resume_point(&self) -> ResumePoint {
        ResumePoint {
            resume_token: self.resume_token.clone().expect("it can be resumed"),
            seen: self.seen.clone(),
        }
    }

    pub(crate) fn can_resume(&self) -> bool {
        self.resume_token.is_some()
    }

    /// Loses the connection; returns what is needed to resume.
    pub(crate) async fn lose(self, how: Loss) -> (ResumePoint, Lost) {
        let resume_point = self.resume_point();
        assert!(self.early.is_empty(), "unread: {:?}", self.early);
        (resume_point, self.connection.lose(how).await)
    }

    /// Loses the connection by a reset; returns what is needed to resume.
    pub(crate) async fn drop_connection(self) -> ResumePoint {
        self.lose(Loss::Reset).await.0
    }

    /// Loses the connection by a reset, with messages that it has not read.
    pub(crate) async fn reset(self) {
        self.connection.lose(Loss::Reset).await;
    }

    /// Receives the next message, and checks its number.
    pub(crate) async fn next(&mut self) -> String {
        match self.early.pop_front() {
            Some(response) => response,
            None => self.receive().await,
        }
    }

    async fn receive(&mut self) -> String {
        let response = self.connection.next().await.expect("the connection is open");
        match self.kind {
            ClientKind::Envelope => {
                self.count(json_of(&response)["sequence"].to_string(), &response);
            }
            // The offset of an event follows it directly.
            _ if response.starts_with("42") && self.resume_token.is_some() => {
                let follower = self.connection.next().await.expect("the connection is open");
                let event = json_of(
                    follower
                        .strip_prefix("42")
                        .unwrap_or_else(|| panic!("{follower} after {response}")),
                );
                let offset =
                    offset_of(&event).unwrap_or_else(|| panic!("{follower} after {response}"));
                self.count(offset.to_owned(), &response);
            }
            _ => {}
        }
        response
    }

    fn count(&mut self, seen: String, response: &str) {
        self.number += 1;
        assert_eq!(number_in(&seen), self.number, "{:?}: not the next: {response}", self.kind);
        self.seen = Some(seen);
    }

    /// Sends a request, and returns the reply.
    pub(crate) async fn ask(&mut self, name: &str, body: Value) -> Value {
        let id = ASKED.fetch_add(1, Ordering::Relaxed);
        let correlation = format!("00000000-0000-4000-8000-{id:012}");
        let is_envelope = self.kind == ClientKind::Envelope;
        let question = match self.kind {
            ClientKind::Envelope => {
                json!({ "type": name, "payload": body, "correlationId": correlation }).to_string()
            }
            _ => format!("42{id}{}", json!([name, body])),
        };
        self.connection.send(question).await;
        let head = format!("43{id}[");
        loop {
            let response = self.receive().await;
            if is_envelope && response.contains(&correlation) {
                return json_of(&response)["payload"].take();
            }
            if let Some(answer) = response.strip_prefix(&head) {
                return json_of(answer.strip_suffix(']').unwrap());
            }
            self.early.push_back(response);
        }
    }

    /// Sends a number to a peer in a room; returns the code if it is refused.
    pub(crate) async fn send_number_in(
        &mut self,
        room: &str,
        to: &str,
        number: usize,
    ) -> Result<(), String> {
        let mut body = json!({ "roomId": room, "candidate": number.to_string() });
        body[self.kind.word("targetId", "targetUserId")] = json!(to);
        let answer = self.ask(self.kind.word("ice-candidate", "ice:candidate"), body).await;
        answer["code"].as_str().map_or(Ok(()), |code| Err(code.to_owned()))
    }

    /// Sends a number to a peer in the room `r`, and asserts success.
    pub(crate) async fn send_number(&mut self, to: &str, number: usize) {
        assert_eq!(
            self.send_number_in("r", to, number).await,
            Ok(()),
            "{:?}: {number} to {to}",
            self.kind
        );
    }

    pub(crate) async fn send_numbers(&mut self, to: &str, numbers: Range<usize>) {
        for number in numbers {
            self.send_number(to, number).await;
        }
    }

    /// Returns the next event, with its text.
    pub(crate) async fn next_event(&mut self) -> (Received, String) {
        let response = self.next().await;
        let protocol =
            if self.kind == ClientKind::Envelope { Protocol::Envelope } else { Protocol::SocketIo };
        let observed = protocol.decode(&response).unwrap_or_else(|error| panic!("{error:#}"));
        (
            observed.unwrap_or_else(|| panic!("{:?}: unexpected reply {response}", self.kind)),
            response,
        )
    }

    pub(crate) async fn expect_event(&mut self, expected: Received) {
        let (observed, response) = self.next_event().await;
        assert_eq!(observed, expected, "{:?}: {response}", self.kind);
    }

    /// Asserts that a peer leaves for a reason.
    pub(crate) async fn expect_left(&mut self, id: &str, reason: &str) {
        let (observed, response) = self.next_event().await;
        assert_eq!(observed, Received::Left(id.to_owned()), "{:?}: {response}", self.kind);
        assert!(response.contains(&format!(r#""reason":"{reason}""#)), "{response}");
    }

    /// Asserts that exactly these numbers arrive next, in order.
    pub(crate) async fn expect_signals(&mut self, from: &str, numbers: Range<usize>) {
        for number in numbers {
            let candidate = Some(number.to_string());
            self.expect_event(Received::Candidate { from: from.to_owned(), candidate }).await;
        }
    }

    /// Expects all messages from the first on, regardless of what it has confirmed.
    pub(crate) fn restart_count(&mut self) {
        (self.number, self.seen) = (0, None);
    }

    /// Asserts the first message of the protocol, if it is repeated.
    pub(crate) async fn expect_first_message(&mut self) {
        let response = self.next().await;
        assert!(response.contains("connection:ack"), "{response}");
    }

    /// Asserts the list of members, if it is repeated.
    pub(crate) async fn expect_member_list(&mut self) {
        let response = self.next().await;
        assert!(response.contains(self.kind.word("room-users", "room:state")), "{response}");
        if self.kind != ClientKind::Envelope {
            let joined = self.next().await;
            assert!(joined.contains("room-joined"), "{joined}");
        }
    }

    /// Receives everything before a reply.
    pub(crate) async fn rest(&mut self) -> Vec<String> {
        match self.kind {
            ClientKind::Envelope => self.ask("ping", json!({})).await,
            _ => self.ask("leave-room", json!("no such room")).await,
        };
        self.early.drain(..).collect()
    }

    /// Asserts that no unread event has arrived: everything from the server precedes a reply.
    pub(crate) async fn expect_nothing(&mut self) {
        let rest = self.rest().await;
        assert!(rest.is_empty(), "{:?}: {rest:?}", self.kind);
    }

    /// Waits until the server has ended the connection.
    pub(crate) async fn ended(self) {
        self.connection.ended().await;
    }

    /// Closes the connection, as its protocol does.
    pub(crate) async fn close(mut self) {
        self.connection.close().await;
        self.connection.ended().await;
    }
}

/// Returns the number in an offset.
fn number_in(seen: &str) -> u64 {
    seen.rsplit('-')
        .next()
        .and_then(|number| number.parse().ok())
        .unwrap_or_else(|| panic!("no number: {seen}"))
}

fn json_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}
