//! A client that loses its connection and comes back, in each of the ways in which that can be done.
//!
//! It counts what it is told: each message that carries a number must be the next, across all connections.

mod line;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering};

use parlor_testing::protocol::offset_of;
use serde_json::{Value, json};

use self::line::Line;
pub(crate) use self::line::{Loss, Lost};
use super::TestServer;
use super::wire::{Heard, Wire};

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

/// What a client brings that wants its place again.
#[derive(Debug, Clone)]
pub(crate) struct Ticket {
    /// `pid`, or `resumeToken`.
    pub(crate) key: String,
    /// What it has seen last, if anything: an offset, or a number.
    pub(crate) seen: Option<String>,
}

impl Ticket {
    /// The same key with another place or number to go on from.
    pub(crate) fn from(&self, seen: Option<&str>) -> Self {
        Self { key: self.key.clone(), seen: seen.map(str::to_owned) }
    }

    /// The same with another number in it.
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

pub(crate) struct Roamer {
    pub(crate) way: Way,
    line: Line,
    /// The id of its connection, as peers on a Socket.IO wire know it.
    pub(crate) id: String,
    /// `pid`, or `resumeToken`, where it has one.
    key: Option<String>,
    /// The number of the last message that it was told, and how that says it.
    number: u64,
    seen: Option<String>,
    /// Whether it has the place that it came back to.
    pub(crate) is_back: bool,
    /// Messages that came while an answer was waited for.
    early: VecDeque<String>,
}

/// Numbers what is asked, so that an answer that is told again after a return is not taken for another.
static ASKED: AtomicU32 = AtomicU32::new(0);

impl Way {
    /// How this way's clients call one thing and another.
    fn word(self, on_socketio: &'static str, on_envelope: &'static str) -> &'static str {
        if self == Self::Envelope { on_envelope } else { on_socketio }
    }
}

impl Roamer {
    /// Connects, with a token where they are required and with a ticket where it has one; what it is told instead where
    /// it is refused.
    pub(crate) async fn come(
        server: impl Into<SocketAddr>,
        way: Way,
        ticket: Option<&Ticket>,
        token: Option<&str>,
    ) -> Result<Self, String> {
        let mut line = Line::open(server.into(), way).await;
        let words = Self::words_of_entry(way, ticket, token);
        let mut roamer = match way {
            Way::WebSocket | Way::Polling => {
                line.send(words.expect("CONNECT")).await;
                let said = line.next().await.expect("an answer to CONNECT");
                let Some(reply) = said.strip_prefix("40") else { return Err(said) };
                let reply = json_of(reply);
                let key = reply["pid"].as_str();
                let is_back = ticket.is_some_and(|ticket| key == Some(&*ticket.key));
                Self::on(way, line, &reply["sid"], key, is_back)
            }
            Way::Envelope => {
                let acknowledged = json_of(&line.next().await.expect("an acknowledgement"));
                let id = &acknowledged["payload"]["connectionId"];
                let Some(words) = words else {
                    return Ok(Self { number: 1, seen: Some("1".to_owned()), ..Self::on(way, line, id, None, false) });
                };
                line.send(words).await;
                let said = line.next().await.expect("an answer to the token");
                let answer = json_of(&said);
                let payload = &answer["payload"];
                if payload["success"] != true {
                    return Err(said);
                }
                assert_eq!(payload["recovered"].is_boolean(), ticket.is_some(), "{said}");
                let is_back = payload["recovered"] == true;
                let number = if is_back { ticket.map_or(0, Ticket::number) } else { 2 };
                assert_eq!(answer["sequence"], number, "{said}");
                let seen = Some(number.to_string());
                Self { number, seen, ..Self::on(way, line, id, payload["resumeToken"].as_str(), is_back) }
            }
        };
        if let Some(ticket) = ticket.filter(|_| roamer.is_back) {
            (roamer.number, roamer.seen) = (ticket.number(), ticket.seen.clone());
        }
        Ok(roamer)
    }

    fn on(way: Way, line: Line, id: &Value, key: Option<&str>, is_back: bool) -> Self {
        let id = id.as_str().expect("a connection has an id").to_owned();
        let (key, early) = (key.map(str::to_owned), VecDeque::new());
        Self { way, line, id, key, number: 0, seen: None, is_back, early }
    }

    /// What is said on a new connection before anything else.
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

    /// Brings a ticket, and is gone before it hears an answer. Over polling nobody can tell, since nothing is under way.
    pub(crate) async fn come_in_vain(server: &TestServer, way: Way, ticket: &Ticket) {
        let mut line = Line::open(server.into(), way).await;
        let words = Self::words_of_entry(way, Some(ticket), None).expect("a ticket is brought");
        line.send(words).await;
        server.until("the ticket is taken", |held| held.away == 0).await;
        if way != Way::Polling {
            line.lose(Loss::Reset).await;
        }
    }

    /// One that is back, or is not: it is connected in either case.
    pub(crate) async fn back(server: impl Into<SocketAddr>, way: Way, ticket: &Ticket) -> Self {
        Self::come(server, way, Some(ticket), None).await.unwrap_or_else(|said| panic!("{way:?}: {said}"))
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
        let mut roamer = Self::come(server, way, None, None).await.unwrap();
        roamer.join("r", name).await;
        roamer
    }

    /// What brings it back.
    pub(crate) fn ticket(&self) -> Ticket {
        Ticket { key: self.key.clone().expect("it can come back"), seen: self.seen.clone() }
    }

    pub(crate) fn can_come_back(&self) -> bool {
        self.key.is_some()
    }

    /// Loses its connection: what brings it back.
    pub(crate) async fn lose(self, how: Loss) -> (Ticket, Lost) {
        let ticket = self.ticket();
        assert!(self.early.is_empty(), "told, and not heard: {:?}", self.early);
        (ticket, self.line.lose(how).await)
    }

    /// Loses its connection by a reset: what brings it back.
    pub(crate) async fn drops(self) -> Ticket {
        self.lose(Loss::Reset).await.0
    }

    /// Loses its connection by a reset, whatever has come that it has not heard.
    pub(crate) async fn reset(self) {
        self.line.lose(Loss::Reset).await;
    }

    /// The next message, counted.
    pub(crate) async fn next(&mut self) -> String {
        match self.early.pop_front() {
            Some(said) => said,
            None => self.receive().await,
        }
    }

    async fn receive(&mut self) -> String {
        let said = self.line.next().await.expect("the connection is open");
        match self.way {
            Way::Envelope => self.count(json_of(&said)["sequence"].to_string(), &said),
            // The offset of an event comes right after it.
            _ if said.starts_with("42") && self.key.is_some() => {
                let follower = self.line.next().await.expect("the connection is open");
                let event = json_of(follower.strip_prefix("42").unwrap_or_else(|| panic!("{follower} after {said}")));
                let offset = offset_of(&event).unwrap_or_else(|| panic!("{follower} after {said}"));
                self.count(offset.to_owned(), &said);
            }
            _ => {}
        }
        said
    }

    fn count(&mut self, seen: String, said: &str) {
        self.number += 1;
        assert_eq!(number_in(&seen), self.number, "{:?}: not the next: {said}", self.way);
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
        self.line.send(question).await;
        let head = format!("43{id}[");
        loop {
            let said = self.receive().await;
            if is_envelope && said.contains(&correlation) {
                return json_of(&said)["payload"].take();
            }
            if let Some(answer) = said.strip_prefix(&head) {
                return json_of(answer.strip_suffix(']').unwrap());
            }
            self.early.push_back(said);
        }
    }

    /// Says a number to somebody in a room: the code where it is refused.
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

    pub(crate) async fn say_all(&mut self, to: &str, numbers: Range<usize>) {
        for number in numbers {
            self.say(to, number).await;
        }
    }

    /// The next that it is told unasked, and the message itself.
    pub(crate) async fn told(&mut self) -> (Heard, String) {
        let said = self.next().await;
        let protocol = if self.way == Way::Envelope { Wire::Envelope } else { Wire::SocketIo };
        let heard = protocol.decode(&said).unwrap_or_else(|error| panic!("{error:#}"));
        (heard.unwrap_or_else(|| panic!("{:?}: nobody asked for {said}", self.way)), said)
    }

    pub(crate) async fn hears(&mut self, expected: Heard) {
        let (heard, said) = self.told().await;
        assert_eq!(heard, expected, "{:?}: {said}", self.way);
    }

    /// Is told that somebody is gone, and why.
    pub(crate) async fn hears_left(&mut self, id: &str, reason: &str) {
        let (heard, said) = self.told().await;
        assert_eq!(heard, Heard::Left(id.to_owned()), "{:?}: {said}", self.way);
        assert!(said.contains(&format!(r#""reason":"{reason}""#)), "{said}");
    }

    /// Is told these numbers, in order and with nothing in between.
    pub(crate) async fn hears_all(&mut self, from: &str, numbers: Range<usize>) {
        for number in numbers {
            let candidate = Some(number.to_string());
            self.hears(Heard::Candidate { from: from.to_owned(), candidate }).await;
        }
    }

    /// Is told all from the first message on, whatever it has said that it has seen.
    pub(crate) fn begins_anew(&mut self) {
        (self.number, self.seen) = (0, None);
    }

    /// Is told the first word on its wire, where that is told again.
    pub(crate) async fn hears_hello(&mut self) {
        let said = self.next().await;
        assert!(said.contains("connection:ack"), "{said}");
    }

    /// Is told who is in a room, where that is told again.
    pub(crate) async fn hears_list(&mut self) {
        let said = self.next().await;
        assert!(said.contains(self.way.word("room-users", "room:state")), "{said}");
        if self.way != Way::Envelope {
            let joined = self.next().await;
            assert!(joined.contains("room-joined"), "{joined}");
        }
    }

    /// All that is told between now and an answer, as it came.
    pub(crate) async fn rest(&mut self) -> Vec<String> {
        match self.way {
            Way::Envelope => self.ask("ping", json!({})).await,
            _ => self.ask("leave-room", json!("no such room")).await,
        };
        self.early.drain(..).collect()
    }

    /// Whether nothing was told that has not been heard: all that the server had to say comes before an answer.
    pub(crate) async fn hears_nothing(&mut self) {
        let rest = self.rest().await;
        assert!(rest.is_empty(), "{:?}: {rest:?}", self.way);
    }

    /// Waits until the server has ended the connection.
    pub(crate) async fn ended(self) {
        self.line.ended().await;
    }

    /// Says goodbye, as its wire has it.
    pub(crate) async fn close(mut self) {
        self.line.close().await;
        self.line.ended().await;
    }
}

/// The number in what a client gives back.
fn number_in(seen: &str) -> u64 {
    seen.rsplit('-').next().and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("no number: {seen}"))
}

fn json_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}
