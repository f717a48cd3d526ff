//! A Socket.IO client over long-polling (Engine.IO 4).

use std::collections::VecDeque;
use std::net::SocketAddr;

use serde_json::Value;

use super::raw::Raw;
use super::server::LIMIT;

pub(crate) struct Polling {
    http: reqwest::Client,
    address: SocketAddr,
    /// Of every request after the first.
    path: String,
    packets: VecDeque<String>,
}

fn client() -> reqwest::Client {
    reqwest::Client::builder().timeout(LIMIT).build().unwrap()
}

impl Polling {
    /// As far as the OPEN packet.
    pub(crate) async fn open(address: SocketAddr) -> Self {
        let http = client();
        let path = "/socket.io/?EIO=4&transport=polling";
        let open = http.get(format!("http://{address}{path}")).send().await.unwrap().text().await.unwrap();
        let open: Value = serde_json::from_str(&open[1..]).unwrap();
        let path = format!("{path}&sid={}", open["sid"].as_str().unwrap());
        let mut client = Self { http, address, path, packets: VecDeque::new() };
        // A heartbeat comes at once; from here on a poll waits, if nothing is to be told.
        client.fetch().await;
        assert_eq!(client.packets, ["2"]);
        client
    }

    /// Whether the connection is still there.
    async fn fetch(&mut self) -> bool {
        let answer = self.http.get(self.url()).send().await.expect("a poll is answered in time");
        if answer.status() != 200 {
            return false;
        }
        let packets = answer.text().await.expect("a whole answer");
        self.packets.extend(packets.split('\u{1e}').map(str::to_owned));
        true
    }

    fn url(&self) -> String {
        format!("http://{}{}", self.address, self.path)
    }

    /// What a WebSocket is upgraded by, beside the transport.
    pub(crate) fn query(&self) -> String {
        self.path.split_once('?').expect("a query").1.replace("transport=polling&", "")
    }

    /// Comes over another connection from now on.
    pub(crate) fn forget_connections(&mut self) {
        self.http = client();
    }

    /// Sends packets, if the server has not closed yet.
    pub(crate) async fn send(&mut self, packets: &str) {
        self.http.post(self.url()).body(packets.to_owned()).send().await.expect("an answer");
    }

    /// The next packet, heartbeats answered; `None` once the server has closed.
    pub(crate) async fn next(&mut self) -> Option<String> {
        loop {
            match self.packets.pop_front() {
                Some(ping) if ping == "2" => self.send("3").await,
                // What ends a poll that has nothing to tell.
                Some(noop) if noop == "6" => {}
                Some(close) if close == "1" => return None,
                Some(packet) => return Some(packet),
                None if self.fetch().await => {}
                None => return None,
            }
        }
    }

    /// A poll that waits for something to be told, on a connection of its own. What was told and not looked at is
    /// forgotten.
    pub(crate) async fn poll(&self) -> Raw {
        let poll = Raw::sending(self.address, format!("GET {} HTTP/1.1\r\nHost: x\r\n\r\n", self.path)).await;
        // One that is cut off before it is read is none.
        poll.until_read().await;
        poll
    }
}
