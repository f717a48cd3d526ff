//! A client of any protocol over any transport. It joins a room, tracks sequence numbers, and
//! resumes its session on a new connection.

use std::net::SocketAddr;

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};

use crate::polling::Polling;
use crate::protocol::{Event, Protocol, Sequence, UNNAMED};
use crate::transport::{Disconnect, Options, Transport, connect_with};

/// How a client reaches the server: a protocol over a transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// Socket.IO over WebSocket from the start.
    WebSocket,
    /// Socket.IO over long-polling only.
    Polling,
    /// Socket.IO over long-polling, upgraded to WebSocket.
    Upgrade,
    /// `/ws`
    Envelope,
    /// `/ws/{topic}`
    Topic,
    /// `/signal`
    Session,
}

impl Route {
    /// All routes.
    pub const ALL: [Self; 6] =
        [Self::WebSocket, Self::Polling, Self::Upgrade, Self::Envelope, Self::Topic, Self::Session];

    /// Those with rooms of more than two peers, which announce peers.
    pub const GROUP: [Self; 5] =
        [Self::WebSocket, Self::Polling, Self::Upgrade, Self::Envelope, Self::Topic];

    /// Those over a WebSocket without Socket.IO.
    pub const PLAIN: [Self; 3] = [Self::Envelope, Self::Topic, Self::Session];

    /// The protocol.
    pub fn protocol(self) -> Protocol {
        match self {
            Self::WebSocket | Self::Polling | Self::Upgrade => Protocol::SocketIo,
            Self::Envelope => Protocol::Envelope,
            Self::Topic => Protocol::Topic,
            Self::Session => Protocol::Session,
        }
    }

    fn starts_with_polling(self) -> bool {
        matches!(self, Self::Polling | Self::Upgrade)
    }
}

/// The state that a client needs to resume its session.
#[derive(Debug, Clone, Default)]
pub struct ResumeState {
    /// `pid`, or `resumeToken`.
    token: Option<String>,
    /// The last sequence number received, on whatever connection.
    last: Sequence,
    /// An event of Socket.IO whose recovery offset has not been received. If the connection ends
    /// now, the server must assume that the event was lost: it is the first to be sent after a
    /// resumption.
    unnumbered: Option<String>,
    /// Whether the next event is the first after a resumption.
    is_first: bool,
}

/// One connection of a client.
pub struct Connection {
    /// How it reaches the server.
    pub route: Route,
    /// The transport that carries messages.
    pub transport: Transport,
    /// The state for resuming.
    pub resume: ResumeState,
}

/// The result of joining a room.
#[derive(Debug)]
pub struct Joined {
    /// The client's own id, [`UNNAMED`] where the protocol has none.
    pub id: String,
    /// The ids of the peers that were in the room.
    pub peers: Vec<String>,
}

impl Connection {
    /// Connects and joins a room.
    pub async fn join(
        address: SocketAddr,
        route: Route,
        room: &str,
        name: &str,
        options: Options,
    ) -> anyhow::Result<(Self, Joined)> {
        let (mut connection, _) =
            Self::open(address, route, &route.protocol().join_path(room, name), options, None)
                .await?;
        let joined = connection.enter(room, name).await?;
        Ok((connection, joined))
    }

    /// Connects and resumes a session; returns whether the server accepted that. If not, the client
    /// has a new session without rooms.
    pub async fn resume(
        address: SocketAddr,
        route: Route,
        state: &ResumeState,
    ) -> anyhow::Result<(Self, bool)> {
        ensure!(route.protocol().resumes(), "{route:?} cannot resume");
        Self::open(address, route, &route.protocol().path(""), Options::default(), Some(state))
            .await
    }

    async fn open(
        address: SocketAddr,
        route: Route,
        path: &str,
        options: Options,
        state: Option<&ResumeState>,
    ) -> anyhow::Result<(Self, bool)> {
        let transport = if route.starts_with_polling() {
            Transport::Polling(Box::new(Polling::open(address).await?))
        } else {
            Transport::websocket(connect_with(address, path, options).await?)
        };
        let mut connection = Self { route, transport, resume: ResumeState::default() };
        let is_resumed = match route.protocol() {
            Protocol::SocketIo => connection.connect_socketio(state).await?,
            Protocol::Envelope => connection.connect_envelope(state).await?,
            Protocol::Topic | Protocol::Session => false,
        };
        if let Transport::Polling(polling) = connection.transport {
            connection.transport = match route {
                Route::Upgrade => polling.upgrade().await.context("the upgrade")?,
                _ => Transport::Polling(polling),
            };
        }
        Ok((connection, is_resumed))
    }

    /// Sends CONNECT and reads its response.
    async fn connect_socketio(&mut self, state: Option<&ResumeState>) -> anyhow::Result<bool> {
        if self.route == Route::WebSocket {
            let open = self.next().await?;
            ensure!(open.starts_with("0{"), "expected OPEN, not {open}");
        }
        let auth = state.map(|ResumeState { token, last, .. }| {
            json!({ "pid": token, "offset": last.offset }).to_string()
        });
        self.transport.send(vec![format!("40{}", auth.unwrap_or_default())]).await?;
        let connected = self.next().await?;
        let reply = connected
            .strip_prefix("40")
            .with_context(|| format!("the response to CONNECT is {connected}"))?;
        let reply: Value = serde_json::from_str(reply)?;
        self.resume.token = reply["pid"].as_str().map(str::to_owned);
        // A token begins with the id of the session, and is another one after a move to another
        // node.
        let session =
            |token: &Option<String>| Some(token.as_deref()?.split('.').next()?.to_owned());
        let is_resumed =
            state.is_some_and(|state| session(&state.token) == session(&self.resume.token));
        if let Some(state) = state.filter(|_| is_resumed) {
            self.resume =
                ResumeState { is_first: true, token: self.resume.token.take(), ..state.clone() };
        }
        Ok(is_resumed)
    }

    /// Reads the acknowledgement of `/ws`, and resumes.
    async fn connect_envelope(&mut self, state: Option<&ResumeState>) -> anyhow::Result<bool> {
        let acknowledgement = self.next_json().await?;
        ensure!(
            acknowledgement["type"] == "connection:ack",
            "expected connection:ack, not {acknowledgement}"
        );
        let Some(state) = state else { return Ok(false) };
        let payload = json!({ "resumeToken": state.token, "lastSequence": state.last.number });
        self.transport
            .send(vec![json!({ "type": "auth:request", "payload": payload }).to_string()])
            .await?;
        let text = self.next_uncounted().await?;
        let response: Value = serde_json::from_str(&text)?;
        ensure!(response["type"] == "auth:response", "the response to the token is {text}");
        let is_resumed = response["payload"]["recovered"] == true;
        if is_resumed {
            // The response repeats the last sequence number that the client received; the next
            // message continues from there.
            let last = &state.last;
            ensure!(
                response["sequence"] == last.number,
                "received {}, not {}",
                last.number,
                response["sequence"]
            );
            self.resume.last = last.clone();
        } else {
            self.resume.count(self.route.protocol(), &text)?;
        }
        self.resume.token = response["payload"]["resumeToken"].as_str().map(str::to_owned);
        Ok(is_resumed)
    }

    async fn enter(&mut self, room: &str, name: &str) -> anyhow::Result<Joined> {
        let ids = |peers: &Value, key: &str| -> Option<Vec<String>> {
            peers.as_array()?.iter().map(|peer| peer[key].as_str().map(str::to_owned)).collect()
        };
        if let Some(join) = self.route.protocol().join(room, name) {
            self.transport.send(vec![join]).await?;
        }
        let (id, peers) = match self.route.protocol() {
            Protocol::SocketIo => {
                let text = self.next().await?;
                let users = text
                    .strip_prefix("42")
                    .with_context(|| format!("expected an event, not {text}"))?;
                let users: Value = serde_json::from_str(users)?;
                ensure!(users[0] == "room-users", "expected room-users, not {text}");
                // Its offset may come before.
                while !self.next().await?.starts_with(r#"42["room-joined","#) {}
                (name.to_owned(), ids(&users[1], "userId").context("a list of users")?)
            }
            Protocol::Envelope => {
                let state = self.next_json().await?;
                ensure!(state["type"] == "room:state", "expected room:state, not {state}");
                self.resume.token = state["payload"]["resumeToken"].as_str().map(str::to_owned);
                let mut peers = ids(&state["payload"]["participants"], "userId")
                    .context("a list of participants")?;
                peers.retain(|id| id != name);
                (name.to_owned(), peers)
            }
            Protocol::Topic => {
                let welcome = self.next_json().await?;
                let id = welcome["selfId"]
                    .as_str()
                    .with_context(|| format!("expected welcome, not {welcome}"))?;
                let list = self.next_json().await?;
                ensure!(list["type"] == "peer-list", "expected peer-list, not {list}");
                (id.to_owned(), ids(&list["peers"], "id").context("a list of peers")?)
            }
            Protocol::Session => (UNNAMED.to_owned(), Vec::new()),
        };
        Ok(Joined { id, peers })
    }

    fn is_heartbeat(&self, text: &str) -> bool {
        text == "2" && self.route.protocol() == Protocol::SocketIo
    }

    /// Receives the next message, answering heartbeats.
    async fn next_uncounted(&mut self) -> anyhow::Result<String> {
        loop {
            match self.transport.next().await {
                Ok(text) if self.is_heartbeat(&text) => {
                    self.transport.send(vec!["3".to_owned()]).await?;
                }
                Ok(text) => return Ok(text),
                Err(code) => bail!("the connection closed with {code}"),
            }
        }
    }

    /// Returns the next message, and checks that its sequence number is the next.
    async fn next(&mut self) -> anyhow::Result<String> {
        let text = self.next_uncounted().await?;
        self.resume.count(self.route.protocol(), &text)?;
        Ok(text)
    }

    async fn next_json(&mut self) -> anyhow::Result<Value> {
        let text = self.next().await?;
        serde_json::from_str(&text).with_context(|| format!("expected JSON, not {text}"))
    }

    /// Handles a message from the transport: answers heartbeats, checks the sequence number,
    /// decodes the event. `None` for a message without an event, and for the one event that may be
    /// sent again after a resumption.
    pub async fn receive(&mut self, text: &str) -> Option<Event> {
        if self.is_heartbeat(text) {
            // The reading side reports a failed connection.
            self.transport.send(vec!["3".to_owned()]).await.ok();
            return None;
        }
        let protocol = self.route.protocol();
        if protocol == Protocol::SocketIo && self.resume.is_repetition(text) {
            return None;
        }
        let event = self.resume.count(protocol, text).and_then(|()| protocol.decode(text));
        event.unwrap_or_else(|error| Some(Event::Invalid(format!("{error:#}"))))
    }

    /// Disconnects; returns what the client would need to resume.
    pub async fn end(mut self, disconnect: Disconnect) -> ResumeState {
        if self.route.protocol() == Protocol::SocketIo
            && matches!(disconnect, Disconnect::Leave | Disconnect::Close)
        {
            // Without DISCONNECT, the session could be resumed. The server may have ended the
            // connection before.
            self.transport.send(vec!["41".to_owned()]).await.ok();
        }
        self.transport.end(disconnect).await;
        self.resume
    }
}

impl ResumeState {
    /// Whether the server gave the client a token.
    pub fn is_resumable(&self) -> bool {
        self.token.is_some()
    }

    /// Whether this message repeats the event whose offset the previous connection did not deliver.
    fn is_repetition(&mut self, text: &str) -> bool {
        text.starts_with("42")
            && std::mem::take(&mut self.is_first)
            && self.unnumbered.as_deref() == Some(text)
    }

    /// Checks that the sequence number of a message, if it has one, is the next.
    fn count(&mut self, protocol: Protocol, text: &str) -> anyhow::Result<()> {
        let Some(sequence) = protocol.sequence(text)? else {
            if protocol == Protocol::SocketIo && text.starts_with("42") {
                self.unnumbered = Some(text.to_owned());
            }
            return Ok(());
        };
        self.unnumbered = None;
        let last = std::mem::replace(&mut self.last, sequence).number;
        let number = self.last.number;
        ensure!(
            number == last + 1,
            "{protocol:?}: sequence number {number} follows {last}: {text}"
        );
        Ok(())
    }
}
