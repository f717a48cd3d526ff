//! A Socket.IO client over long-polling (Engine.IO 4).

use std::collections::VecDeque;
use std::time::Duration;

use serde_json::Value;

use super::TestServer;
use super::server::LIMIT;

/// How long a poll is left without an answer before it is hung up: long enough for the server to have read it.
const HANG_UP: Duration = Duration::from_millis(200);

pub(crate) struct Polling {
    http: reqwest::Client,
    url: String,
    /// What CONNECT was answered.
    pub(crate) reply: Value,
    early: VecDeque<String>,
}

impl Polling {
    /// Connects, with so much as credentials.
    pub(crate) async fn connect(server: &TestServer, auth: &str) -> Self {
        let http = reqwest::Client::builder().timeout(LIMIT).build().unwrap();
        let open = http.get(server.url("/socket.io/?EIO=4&transport=polling")).send().await.unwrap();
        let open: Value = serde_json::from_str(&open.text().await.unwrap()[1..]).unwrap();
        let sid = open["sid"].as_str().unwrap();
        let url = server.url(&format!("/socket.io/?EIO=4&transport=polling&sid={sid}"));
        let mut client = Self { http, url, reply: Value::Null, early: VecDeque::new() };
        client.post(&format!("40{auth}")).await;
        let reply = client.packet("40").await;
        client.reply = serde_json::from_str(&reply).unwrap();
        client
    }

    pub(crate) async fn post(&self, packet: &str) {
        let answer = self.http.post(&self.url).body(packet.to_owned()).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{packet}");
    }

    /// The next packet, which must begin so: the rest of it.
    async fn packet(&mut self, head: &str) -> String {
        loop {
            match self.early.pop_front() {
                Some(packet) if packet == "2" => self.post("3").await,
                Some(packet) => {
                    return packet.strip_prefix(head).unwrap_or_else(|| panic!("{head}, not {packet}")).to_owned();
                }
                None => {
                    let body = self.http.get(&self.url).send().await.unwrap().text().await.unwrap();
                    self.early.extend(body.split('\u{1e}').map(str::to_owned));
                }
            }
        }
    }

    /// The next event, which must have this name: its arguments.
    pub(crate) async fn event(&mut self, name: &str) -> Vec<Value> {
        let mut event: Vec<Value> = serde_json::from_str(&self.packet("42").await).unwrap();
        assert_eq!(event.remove(0), name);
        event
    }

    /// Loses the connection while a poll waits for its answer.
    pub(crate) async fn hang_up(self) {
        assert!(self.early.is_empty());
        let poll = self.http.get(&self.url).timeout(HANG_UP).send();
        assert!(poll.await.is_err_and(|error| error.is_timeout()), "nothing is told");
    }

    /// Says goodbye.
    pub(crate) async fn close(self) {
        self.post("41").await;
    }
}
