//! A Socket.IO client over long-polling that panics instead of returning errors.

use std::net::SocketAddr;
use std::time::Duration;

use parlor_testing::polling;
use parlor_testing::protocol::LOST;
use tokio::time::timeout;

use super::raw::Raw;
use super::server::LIMIT;

pub(crate) struct Polling {
    session: polling::Polling,
    address: SocketAddr,
}

impl Polling {
    /// Opens a session, up to the OPEN packet.
    pub(crate) async fn open(address: SocketAddr) -> Self {
        let session = polling::Polling::open(address).await.expect("a session is opened");
        Self { session, address }
    }

    /// Returns the query of a WebSocket that upgrades this session.
    pub(crate) fn query(&self) -> String {
        let path = self.session.upgrade_path();
        path.split_once('?').expect("a query").1.replace("transport=websocket&", "")
    }

    /// Uses new connections from now on.
    pub(crate) fn forget_connections(&mut self) {
        self.session.reconnect().expect("a client is created");
    }

    /// Sends packets, if the server has not closed the session yet.
    pub(crate) async fn send(&mut self, packets: &str) {
        let packets = [packets.to_owned()];
        timeout(LIMIT, self.session.send(&packets))
            .await
            .expect("a payload is answered in time")
            .ok();
    }

    /// Receives the next packet, answering heartbeats; `None` once the server has closed the
    /// session.
    pub(crate) async fn next(&mut self) -> Option<String> {
        loop {
            match timeout(LIMIT, self.session.next()).await.expect("a poll is answered in time") {
                Ok(ping) if ping == "2" => self.send("3").await,
                Ok(packet) => return Some(packet),
                Err(LOST) => panic!("a poll is not answered"),
                Err(_) => return None,
            }
        }
    }

    /// Starts a poll on a separate connection, and waits until the server has read it. Packets that
    /// were received but not consumed are discarded.
    pub(crate) async fn poll(&self) -> Raw {
        let path = self.session.path();
        loop {
            let mut poll =
                Raw::sending(self.address, format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
            poll.until_read().await;
            // If packets are queued, the first poll is answered at once, and the next one waits.
            let Ok(response) = timeout(Duration::from_millis(100), poll.response()).await else {
                return poll;
            };
            let response = response.expect("the poll is answered");
            assert_eq!(response.status, 200, "{}", response.text());
        }
    }
}
