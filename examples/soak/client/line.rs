//! One connection of a client: how it is opened, what is said on it first, and what it counts so that it can come back.

use std::net::SocketAddr;

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};

use super::polling::Polling;
use super::transport::{Goodbye, Socket, Transport, connect};
use super::wire::{Heard, Number, Wire};

/// What a client needs to come back after a drop, on wires that have that.
#[derive(Debug, Clone, Default)]
pub(crate) struct Place {
    /// `pid`, or `resumeToken`.
    key: Option<String>,
    /// The last that it was told: each has the number after the one before, whatever connection it came by.
    last: Number,
}

impl Place {
    pub(crate) fn can_be_taken_again(&self) -> bool {
        self.key.is_some()
    }
}

pub(crate) struct Line {
    pub(crate) wire: Wire,
    pub(crate) transport: Transport,
    pub(crate) place: Place,
}

impl Line {
    /// Connects and enters a room: the id there, and who else is in it.
    pub(crate) async fn enter(
        address: SocketAddr,
        wire: Wire,
        room: &str,
        name: &str,
        receive_buffer: Option<u32>,
    ) -> anyhow::Result<(Self, String, Vec<String>)> {
        let (mut line, _) = Self::open(address, wire, room, receive_buffer, None).await?;
        let (id, list) = line.join(room, name).await?;
        Ok((line, id, list))
    }

    /// Connects and takes a place again; whether the server gave it. If not, the client is somebody new, and nowhere.
    pub(crate) async fn come_back(address: SocketAddr, wire: Wire, place: &Place) -> anyhow::Result<(Self, bool)> {
        ensure!(wire.comes_back(), "{wire:?} has no way back");
        Self::open(address, wire, "", None, Some(place)).await
    }

    async fn open(
        address: SocketAddr,
        wire: Wire,
        room: &str,
        receive_buffer: Option<u32>,
        place: Option<&Place>,
    ) -> anyhow::Result<(Self, bool)> {
        let transport = if wire.begins_with_polling() {
            Transport::Polling(Box::new(Polling::open(address).await?))
        } else {
            let stream = connect(address, &wire.path(room), receive_buffer).await?;
            Transport::WebSocket(Box::new(Socket { stream, early: [].into() }))
        };
        let mut line = Self { wire, transport, place: Place::default() };
        let is_back = match wire {
            Wire::WebSocket | Wire::Polling | Wire::Upgrade => line.connect(place).await?,
            Wire::Envelope => line.acknowledged(place).await?,
            Wire::Topic | Wire::Session => false,
        };
        if let Transport::Polling(polling) = line.transport {
            line.transport = match wire {
                Wire::Upgrade => Transport::WebSocket(Box::new(polling.upgrade().await.context("the upgrade")?)),
                _ => Transport::Polling(polling),
            };
        }
        Ok((line, is_back))
    }

    /// CONNECT, and its answer.
    async fn connect(&mut self, place: Option<&Place>) -> anyhow::Result<bool> {
        if self.wire == Wire::WebSocket {
            let open = self.next().await?;
            ensure!(open.starts_with("0{"), "OPEN, not {open}");
        }
        let auth = place.map(|Place { key, last }| json!({ "pid": key, "offset": last.text }).to_string());
        self.transport.send(vec![format!("40{}", auth.unwrap_or_default())]).await?;
        let connected = self.next().await?;
        let reply = connected.strip_prefix("40").with_context(|| format!("CONNECT is answered with {connected}"))?;
        let reply: Value = serde_json::from_str(reply)?;
        self.place.key = reply["pid"].as_str().map(str::to_owned);
        let is_back = place.is_some_and(|place| place.key == self.place.key);
        if let Some(place) = place.filter(|_| is_back) {
            self.place = place.clone();
        }
        Ok(is_back)
    }

    /// The first word of `/ws`, and the place where one is asked for.
    async fn acknowledged(&mut self, place: Option<&Place>) -> anyhow::Result<bool> {
        let acknowledged = self.next_json().await?;
        ensure!(acknowledged["type"] == "connection:ack", "not acknowledged: {acknowledged}");
        let Some(place) = place else { return Ok(false) };
        let payload = json!({ "resumeToken": place.key, "lastSequence": place.last.value });
        self.transport.send(vec![json!({ "type": "auth:request", "payload": payload }).to_string()]).await?;
        let answer = self.answer().await?;
        let answer: Value = serde_json::from_str(&answer)?;
        ensure!(answer["type"] == "auth:response", "the token is answered with {answer}");
        let is_back = answer["payload"]["recovered"] == true;
        if is_back {
            // The answer says up to where the client has it all; what follows goes on from there.
            ensure!(
                answer["sequence"] == place.last.value,
                "{} was seen, not {}",
                place.last.value,
                answer["sequence"]
            );
            self.place.last = place.last.clone();
        } else {
            self.place.note(self.wire, &answer.to_string())?;
        }
        self.place.key = answer["payload"]["resumeToken"].as_str().map(str::to_owned);
        Ok(is_back)
    }

    async fn join(&mut self, room: &str, name: &str) -> anyhow::Result<(String, Vec<String>)> {
        let ids = |peers: &Value, key: &str| -> Option<Vec<String>> {
            peers.as_array()?.iter().map(|peer| peer[key].as_str().map(str::to_owned)).collect()
        };
        match self.wire {
            Wire::WebSocket | Wire::Polling | Wire::Upgrade => {
                let join = json!(["join-room", { "roomId": room, "userId": name, "name": name }]);
                self.transport.send(vec![format!("42{join}")]).await?;
                let said = self.next().await?;
                let users = said.strip_prefix("42").with_context(|| format!("told {said}"))?;
                let users: Value = serde_json::from_str(users)?;
                ensure!(users[0] == "room-users", "the list comes first, not {said}");
                Ok((name.to_owned(), ids(&users[1], "userId").context("a list of users")?))
            }
            Wire::Envelope => {
                let payload = json!({ "roomId": room, "user": { "id": name, "displayName": name } });
                self.transport.send(vec![json!({ "type": "room:join", "payload": payload }).to_string()]).await?;
                let state = self.next_json().await?;
                ensure!(state["type"] == "room:state", "the state comes first, not {state}");
                self.place.key = state["payload"]["resumeToken"].as_str().map(str::to_owned);
                let mut list = ids(&state["payload"]["participants"], "userId").context("a list of participants")?;
                list.retain(|id| id != name);
                Ok((name.to_owned(), list))
            }
            Wire::Topic => {
                let welcome = self.next_json().await?;
                let id = welcome["selfId"].as_str().with_context(|| format!("welcome, not {welcome}"))?.to_owned();
                let peers = self.next_json().await?;
                ensure!(peers["type"] == "peer-list", "the list comes second, not {peers}");
                Ok((id, ids(&peers["peers"], "id").context("a list of peers")?))
            }
            Wire::Session => Ok((String::new(), Vec::new())),
        }
    }

    /// The next message that is no heartbeat.
    async fn answer(&mut self) -> anyhow::Result<String> {
        loop {
            match self.transport.next().await {
                Ok(ping) if ping == "2" && self.wire.is_socketio() => {
                    self.transport.send(vec!["3".to_owned()]).await?;
                }
                Ok(text) => return Ok(text),
                Err(ended) => bail!("the connection ended: {ended:?}"),
            }
        }
    }

    /// The same, counted.
    async fn next(&mut self) -> anyhow::Result<String> {
        let text = self.answer().await?;
        self.place.note(self.wire, &text)?;
        Ok(text)
    }

    async fn next_json(&mut self) -> anyhow::Result<Value> {
        let text = self.next().await?;
        serde_json::from_str(&text).with_context(|| format!("JSON, not {text}"))
    }

    /// Takes a message: what is told by it, if it is of interest. Heartbeats are answered.
    pub(crate) async fn take(&mut self, text: &str) -> Option<Heard> {
        if text == "2" && self.wire.is_socketio() {
            // A connection that has failed is told of by its reading side.
            self.transport.send(vec!["3".to_owned()]).await.ok();
            return None;
        }
        let heard = self.place.note(self.wire, text).and_then(|()| self.wire.hear(text));
        heard.unwrap_or_else(|error| Some(Heard::Garbled(format!("{error:#}"))))
    }

    /// Goes: what it would need to come back.
    pub(crate) async fn end(mut self, goodbye: Goodbye) -> Place {
        if self.wire.is_socketio() && matches!(goodbye, Goodbye::Leave | Goodbye::Close) {
            // Who closes without this may come back. The server may have ended the connection before.
            self.transport.send(vec!["41".to_owned()]).await.ok();
        }
        self.transport.end(goodbye).await;
        self.place
    }
}

impl Place {
    /// Counts a message, where it has a number: it must be the next.
    fn note(&mut self, wire: Wire, text: &str) -> anyhow::Result<()> {
        let Some(number) = wire.number(text)? else { return Ok(()) };
        let last = std::mem::replace(&mut self.last, number);
        ensure!(
            self.last.value == last.value + 1,
            "{wire:?} is told number {} after {}: {text}",
            self.last.value,
            last.value
        );
        Ok(())
    }
}
