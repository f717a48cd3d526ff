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

/// How a client is connected that may come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// Socket.IO over WebSocket.
    WebSocket,
    /// Socket.IO over long-polling.
    Polling,
    /// `/ws`.
    Envelope,
}

pub(crate) const WAYS: [Way; 3] = [Way::WebSocket, Way::Polling, Way::Envelope];

/// Resume token and last received number of a client.
#[derive(Debug, Clone)]
pub(crate) struct Ticket {
    /// `pid`, or `resumeToken`.
    pub(crate) key: String,
    /// Offset or number of the last received message, if there is one.
    pub(crate) seen: Option<String>,
}

impl Ticket {
    /// Returns the resume token with another offset or number.
    pub(crate) fn from(&self, seen: Option<&str>) -> Self {
        Self { key: self.key.clone(), seen: seen.map(str::to_owned) }
    }

    /// Returns the resume token with another number in its offset.
    pub(crate) fn at(&self, number: u64) -> Self {
        let seen = self.seen.as_deref().expect("something was seen");
        let tag = seen.rsplit_once('-').map(|(tag, _)| format!("{tag}-"));
        self.from(Some(&format!("{}{number}", tag.unwrap_or_default())))
    }

    /// The number of what it has seen last.
    pub(crate) fn number(&self) -> u64 {
        self.seen.as_deref().map_or(0, number_in)
    }
}

pub(crate) struct ResumingClient {
    pub(crate) way: Way,
    connection: Connection,
    /// Connection id, which peers on Socket.IO see.
    pub(crate) id: String,
    /// `pid`, or `resumeToken`, where it has one.
    key: Option<String>,
    /// Number of the last received message, and its text.
    number: u64,
    seen: Option<String>,
    /// Whether it has the place that it came back to.
    pub(crate) is_back: bool,
    /// Messages that came while an answer was waited for.
    early: VecDeque<String>,
}

/// Numbers requests, so that a replayed reply is not mistaken for another.
static ASKED: AtomicU32 = AtomicU32::new(0);

impl Way {
    /// How this way's clients call one thing and another.
    fn word(self, on_socketio: &'static str, on_envelope: &'static str) -> &'static str {
        if self == Self::Envelope { on_envelope } else { on_socketio }
    }
}

impl ResumingClient {
    /// Connects, with an access token and a resume token if they are given; returns the reply if it
    /// is refused.
    pub(crate) async fn come(
        server: impl Into<SocketAddr>,
        way: Way,
        ticket: Option<&Ticket>,
        token: Option<&str>,
    ) -> Result<Self, String> {
        let mut connection = Connection::open(server.into(), way).await;
        let words = Self::words_of_entry(way, ticket, token);
        let mut client = match way {
            Way::WebSocket | Way::Polling => {
                connection.send(words.expect("CONNECT")).await;
                let response = connection.next().await.expect("an answer to CONNECT");
                let Some(reply) = response.strip_prefix("40") else { return Err(response) };
                let reply = json_of(reply);
                let key = reply["pid"].as_str();
                let is_back = ticket.is_some_and(|ticket| key == Some(&*ticket.key));
                Self::on(way, connection, &reply["sid"], key, is_back)
            }
            Way::Envelope => {
                let acknowledged = json_of(&connection.next().await.expect("an acknowledgement"));
                let id = &acknowledged["payload"]["connectionId"];
                let Some(words) = words else {
                    return Ok(Self {
                        number: 1,
                        seen: Some("1".to_owned()),
                        ..Self::on(way, connection, id, None, false)
                    });
                };
                connection.send(words).await;
                let response = connection.next().await.expect("an answer to the token");
                let answer = json_of(&response);
                let payload = &answer["payload"];
                if payload["success"] != true {
                    return Err(response);
                }
                assert_eq!(payload["recovered"].is_boolean(), ticket.is_some(), "{response}");
                let is_back = payload["recovered"] == true;
                let number = if is_back { ticket.map_or(0, Ticket::number) } else { 2 };
                assert_eq!(answer["sequence"], number, "{response}");
                let seen = Some(number.to_string());
                Self { number, seen, ..Self::on(way, connection, id, payload["resumeToken"].as_str(), is_back) }
            }
        };
        if let Some(ticket) = ticket.filter(|_| client.is_back) {
            (client.number, client.seen) = (ticket.number(), ticket.seen.clone());
        }
        Ok(client)
    }

    fn on(way: Way, connection: Connection, id: &Value, key: Option<&str>, is_back: bool) -> Self {
        let id = id.as_str().expect("a connection has an id").to_owned();
        let (key, early) = (key.map(str::to_owned), VecDeque::new());
        Self { way, connection, id, key, number: 0, seen: None, is_back, early }
    }

    /// Returns the first message on a new connection.
    fn words_of_entry(way: Way, ticket: Option<&Ticket>, token: Option<&str>) -> Option<String> {
        let mut auth = json!({});
        if let Some(token) = token {
            auth["token"] = json!(token);
        }
        if let Some(Ticket { key, seen }) = ticket {
            auth[way.word("pid", "resumeToken")] = json!(key);
            if let Some(seen) = seen {
                let seen = if way == Way::Envelope { seen.parse().unwrap() } else { json!(seen) };
                auth[way.word("offset", "lastSequence")] = seen;
            }
        }
        match way {
            Way::WebSocket | Way::Polling => Some(format!("40{auth}")),
            Way::Envelope if ticket.is_none() && token.is_none() => None,
            Way::Envelope => Some(json!({ "type": "auth:request", "payload": auth }).to_string()),
        }
    }

    /// Sends a resume token, and closes before it reads a reply. Over polling there is no pending
    /// reply.
    pub(crate) async fn come_in_vain(server: &TestServer, way: Way, ticket: &Ticket) {
        let mut connection = Connection::open(server.into(), way).await;
        let words = Self::words_of_entry(way, Some(ticket), None).expect("a ticket is brought");
        connection.send(words).await;
        server.until("the ticket is taken", |held| held.away == 0).await;
        if way != Way::Polling {
            connection.lose(Loss::Reset).await;
        }
    }

    /// One that is back, or is not: it is connected in either case.
    pub(crate) async fn back(server: impl Into<SocketAddr>, way: Way, ticket: &Ticket) -> Self {
        Self::come(server, way, Some(ticket), None).await.unwrap_or_else(|response| panic!("{way:?}: {response}"))
    }

    /// Enters a room by a name: who is there.
    pub(crate) async fn join(&mut self, room: &str, name: &str) -> Vec<String> {
        let wish = match self.way {
            Way::Envelope => json!({ "roomId": room, "user": { "id": name } }),
            _ => json!({ "roomId": room, "userId": name }),
        };
        let answer = self.ask(self.way.word("join-room", "room:join"), wish).await;
        let key = self.way.word("users", "participants");
        let list = answer[key].as_array().unwrap_or_else(|| panic!("{answer}"));
        if let Some(key) = answer["resumeToken"].as_str() {
            self.key = Some(key.to_owned());
        }
        if self.way != Way::Envelope {
            let list = self.next().await;
            assert!(list.starts_with(r#"42["room-users","#), "the list comes before anything else: {list}");
            let joined = self.next().await;
            assert!(joined.starts_with(r#"42["room-joined","#), "{joined}");
        }
        let ids = list.iter().map(|user| user["userId"].as_str().unwrap().to_owned());
        ids.filter(|id| id != name).collect()
    }

    /// Connects and enters the room `r`.
    pub(crate) async fn joined(server: impl Into<SocketAddr>, way: Way, name: &str) -> Self {
        let mut client = Self::come(server, way, None, None).await.unwrap();
        client.join("r", name).await;
        client
    }

    /// Returns what is needed to resume the session.
    pub(crate) fn ticket(&self) -> Ticket {
        Ticket { key: self.key.clone().expect("it can come back"), seen: self.seen.clone() }
    }

    pub(crate) fn can_come_back(&self) -> bool {
        self.key.is_some()
    }

    /// Loses its connection: what brings it back.
    pub(crate) async fn lose(self, how: Loss) -> (Ticket, Lost) {
        let ticket = self.ticket();
        assert!(self.early.is_empty(), "unread: {:?}", self.early);
        (ticket, self.connection.lose(how).await)
    }

    /// Loses its connection by a reset: what brings it back.
    pub(crate) async fn drops(self) -> Ticket {
        self.lose(Loss::Reset).await.0
    }

    /// Loses the connection by a reset, with messages that it has not read.
    pub(crate) async fn reset(self) {
        self.connection.lose(Loss::Reset).await;
    }

    /// The next message, counted.
    pub(crate) async fn next(&mut self) -> String {
        match self.early.pop_front() {
            Some(response) => response,
            None => self.receive().await,
        }
    }

    async fn receive(&mut self) -> String {
        let response = self.connection.next().await.expect("the connection is open");
        match self.way {
            Way::Envelope => self.count(json_of(&response)["sequence"].to_string(), &response),
            // The offset of an event comes right after it.
            _ if response.starts_with("42") && self.key.is_some() => {
                let follower = self.connection.next().await.expect("the connection is open");
                let event =
                    json_of(follower.strip_prefix("42").unwrap_or_else(|| panic!("{follower} after {response}")));
                let offset = offset_of(&event).unwrap_or_else(|| panic!("{follower} after {response}"));
                self.count(offset.to_owned(), &response);
            }
            _ => {}
        }
        response
    }

    fn count(&mut self, seen: String, response: &str) {
        self.number += 1;
        assert_eq!(number_in(&seen), self.number, "{:?}: not the next: {response}", self.way);
        self.seen = Some(seen);
    }

    /// Asks for something: the answer.
    pub(crate) async fn ask(&mut self, name: &str, body: Value) -> Value {
        let id = ASKED.fetch_add(1, Ordering::Relaxed);
        let correlation = format!("00000000-0000-4000-8000-{id:012}");
        let is_envelope = self.way == Way::Envelope;
        let question = match self.way {
            Way::Envelope => json!({ "type": name, "payload": body, "correlationId": correlation }).to_string(),
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
    pub(crate) async fn say_in(&mut self, room: &str, to: &str, number: usize) -> Result<(), String> {
        let mut body = json!({ "roomId": room, "candidate": number.to_string() });
        body[self.way.word("targetId", "targetUserId")] = json!(to);
        let answer = self.ask(self.way.word("ice-candidate", "ice:candidate"), body).await;
        answer["code"].as_str().map_or(Ok(()), |code| Err(code.to_owned()))
    }

    /// Says a number in the room `r`, and is not refused.
    pub(crate) async fn say(&mut self, to: &str, number: usize) {
        assert_eq!(self.say_in("r", to, number).await, Ok(()), "{:?}: {number} to {to}", self.way);
    }

    pub(crate) async fn send_all(&mut self, to: &str, numbers: Range<usize>) {
        for number in numbers {
            self.say(to, number).await;
        }
    }

    /// Returns the next event, with its text.
    pub(crate) async fn next_event(&mut self) -> (Received, String) {
        let response = self.next().await;
        let protocol = if self.way == Way::Envelope { Protocol::Envelope } else { Protocol::SocketIo };
        let observed = protocol.decode(&response).unwrap_or_else(|error| panic!("{error:#}"));
        (observed.unwrap_or_else(|| panic!("{:?}: unexpected reply {response}", self.way)), response)
    }

    pub(crate) async fn hears(&mut self, expected: Received) {
        let (observed, response) = self.next_event().await;
        assert_eq!(observed, expected, "{:?}: {response}", self.way);
    }

    /// Asserts that a peer leaves for a reason.
    pub(crate) async fn hears_left(&mut self, id: &str, reason: &str) {
        let (observed, response) = self.next_event().await;
        assert_eq!(observed, Received::Left(id.to_owned()), "{:?}: {response}", self.way);
        assert!(response.contains(&format!(r#""reason":"{reason}""#)), "{response}");
    }

    /// Asserts that exactly these numbers arrive next, in order.
    pub(crate) async fn hears_all(&mut self, from: &str, numbers: Range<usize>) {
        for number in numbers {
            let candidate = Some(number.to_string());
            self.hears(Received::Candidate { from: from.to_owned(), candidate }).await;
        }
    }

    /// Expects all messages from the first on, regardless of what it has confirmed.
    pub(crate) fn begins_anew(&mut self) {
        (self.number, self.seen) = (0, None);
    }

    /// Asserts the first message of the protocol, if that is repeated.
    pub(crate) async fn hears_hello(&mut self) {
        let response = self.next().await;
        assert!(response.contains("connection:ack"), "{response}");
    }

    /// Asserts the list of members, if that is repeated.
    pub(crate) async fn hears_list(&mut self) {
        let response = self.next().await;
        assert!(response.contains(self.way.word("room-users", "room:state")), "{response}");
        if self.way != Way::Envelope {
            let joined = self.next().await;
            assert!(joined.contains("room-joined"), "{joined}");
        }
    }

    /// Returns everything that arrives before a reply.
    pub(crate) async fn rest(&mut self) -> Vec<String> {
        match self.way {
            Way::Envelope => self.ask("ping", json!({})).await,
            _ => self.ask("leave-room", json!("no such room")).await,
        };
        self.early.drain(..).collect()
    }

    /// Asserts that no unread event has arrived: everything from the server precedes a reply.
    pub(crate) async fn hears_nothing(&mut self) {
        let rest = self.rest().await;
        assert!(rest.is_empty(), "{:?}: {rest:?}", self.way);
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

/// The number in what a client gives back.
fn number_in(seen: &str) -> u64 {
    seen.rsplit('-').next().and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("no number: {seen}"))
}

fn json_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}
