//! The recorder: decodes a copy of what passes the proxy into a [`Trace`].

use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

use parking_lot::Mutex;
use serde_json::Value;

use super::trace::{
    Entry, MAX_CLIENTS, MAX_ENTRIES, MAX_EVENT_BYTES, MAX_TRACE_BYTES, Message, RecordedClient,
    Trace, What,
};
use crate::dialect::socketio::packet::{EnginePacket, Packet, PacketKind, ROOT, Revision};

/// Maximum number of Engine.IO sessions that are followed.
const MAX_SESSIONS: usize = 1_024;

/// Maximum number of different requests and omissions that are listed.
const MAX_LISTED: usize = 100;

/// The direction of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    /// From a client to the server.
    ToServer,
    /// From the server to a client.
    ToClient,
}

/// An Engine.IO session, by its position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SessionId(usize);

/// The handshake of an Engine.IO session.
#[derive(Debug, Clone)]
pub(super) struct Opening {
    pub(super) revision: Revision,
    pub(super) path: String,
    /// The application's query parameters.
    pub(super) query: BTreeMap<String, String>,
}

#[derive(Debug)]
struct Session {
    opening: Opening,
    /// The id by which the client's next requests name the session.
    sid: String,
    /// The members of `auth` in its latest CONNECT packet.
    auth: BTreeMap<String, String>,
    sockets: HashMap<String, Socket>,
}

/// A connection to a namespace.
#[derive(Debug)]
struct Socket {
    client: usize,
    is_connected: bool,
    /// Whether the server recovers connections, which adds an offset to the arguments of its
    /// events.
    has_offsets: bool,
}

#[derive(Debug)]
struct State {
    trace: Trace,
    sessions: Vec<Session>,
    bytes: usize,
    is_full: bool,
}

/// Decodes what passes the proxy.
#[derive(Debug)]
pub(super) struct Recorder {
    began: Instant,
    state: Mutex<State>,
}

impl Recorder {
    pub(super) fn new() -> Self {
        let state =
            State { trace: Trace::default(), sessions: Vec::new(), bytes: 0, is_full: false };
        Self { began: Instant::now(), state: Mutex::new(state) }
    }

    /// Opens a session; `None` once there are too many.
    pub(super) fn open(&self, opening: Opening) -> Option<SessionId> {
        let mut state = self.state.lock();
        if state.sessions.len() >= MAX_SESSIONS {
            state.omit(format!("more than {MAX_SESSIONS} connections"));
            return None;
        }
        let (sid, auth) = (String::new(), BTreeMap::new());
        state.sessions.push(Session { opening, sid, auth, sockets: HashMap::new() });
        Some(SessionId(state.sessions.len() - 1))
    }

    /// Finds the session that a request names.
    pub(super) fn find(&self, sid: &str) -> Option<SessionId> {
        self.state.lock().sessions.iter().position(|session| session.sid == sid).map(SessionId)
    }

    pub(super) fn revision(&self, session: SessionId) -> Revision {
        self.state.lock().sessions[session.0].opening.revision
    }

    /// Records a packet; returns whether it moves the session to the transport that it arrived on.
    pub(super) fn packet(&self, session: SessionId, direction: Direction, text: &str) -> bool {
        let at = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.state.lock().packet(session.0, direction, text, at)
    }

    /// Records that a session ended.
    pub(super) fn closed(&self, session: SessionId) {
        let at = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.state.lock().close(session.0, at);
    }

    /// Lists a request that does not belong to Socket.IO.
    pub(super) fn request(&self, method: &str, path: &str) {
        let mut state = self.state.lock();
        let request = format!("{method} {path}");
        if state.trace.requests.len() < MAX_LISTED && !state.trace.requests.contains(&request) {
            state.trace.requests.push(request);
        }
    }

    /// Lists a part that is not recorded.
    pub(super) fn omit(&self, what: String) {
        self.state.lock().omit(what);
    }

    /// Returns whether the trace has reached its maximum size.
    pub(super) fn is_full(&self) -> bool {
        self.state.lock().is_full
    }

    /// Shows the trace to `look`, without copying it.
    pub(super) fn look<T>(&self, look: impl FnOnce(&Trace) -> T) -> T {
        look(&self.state.lock().trace)
    }

    /// Takes the trace.
    pub(super) fn finish(&self) -> Trace {
        std::mem::take(&mut self.state.lock().trace)
    }
}

impl State {
    fn omit(&mut self, what: String) {
        if self.trace.omissions.len() < MAX_LISTED && !self.trace.omissions.contains(&what) {
            self.trace.omissions.push(what);
        }
    }

    fn packet(&mut self, session: usize, direction: Direction, text: &str, at: u64) -> bool {
        if direction == Direction::ToClient && text.starts_with('0') {
            let opened: Option<Value> = serde_json::from_str(&text[1..]).ok();
            if let Some(sid) = opened.as_ref().and_then(|opened| opened.get("sid")?.as_str()) {
                sid.clone_into(&mut self.sessions[session].sid);
            }
            return false;
        }
        match EnginePacket::decode(text) {
            Ok(EnginePacket::Message(text)) => self.message(session, direction, text, at),
            Ok(EnginePacket::Close) => self.close(session, at),
            Ok(EnginePacket::Upgrade) => return true,
            Ok(_) => {}
            Err(error) => self.omit(format!("a packet that is not Engine.IO: {error}")),
        }
        false
    }

    fn message(&mut self, session: usize, direction: Direction, text: &str, at: u64) {
        if direction == Direction::ToClient && text.starts_with('4') {
            self.omit(format!(
                "a connection that the server refused: {}",
                text.chars().skip(1).take(200).collect::<String>()
            ));
            return;
        }
        if text.len() > MAX_EVENT_BYTES {
            self.omit(format!(
                "an event of {} bytes; at most {MAX_EVENT_BYTES} are recorded",
                text.len()
            ));
            return;
        }
        let packet = match Packet::decode(text) {
            Ok(packet) => packet,
            Err(error) => return self.omit(format!("a packet that is not Socket.IO: {error}")),
        };
        match (packet.kind, direction) {
            (PacketKind::Connect, Direction::ToServer) => {
                self.sessions[session].auth = strings(packet.data);
            }
            (PacketKind::Connect, Direction::ToClient) => self.connect(session, &packet, at),
            (PacketKind::Disconnect, _) => self.disconnect(session, packet.namespace, at),
            (PacketKind::Event | PacketKind::BinaryEvent, _) => {
                self.event(session, direction, &packet, at);
            }
            (PacketKind::Ack | PacketKind::BinaryAck, Direction::ToClient) => {
                let Some(socket) = self.sessions[session].sockets.get(packet.namespace) else {
                    return;
                };
                let (client, args) = (socket.client, arguments(packet.data));
                if let (Some(args), Some(ack)) = (args, packet.id) {
                    self.push(client, What::Acknowledged { ack, args }, at, text.len());
                }
            }
            (PacketKind::Ack | PacketKind::BinaryAck, Direction::ToServer)
            | (PacketKind::ConnectError, _) => {}
        }
    }

    fn connect(&mut self, session: usize, packet: &Packet<'_>, at: u64) {
        if self.trace.clients.len() >= MAX_CLIENTS {
            self.is_full = true;
            return self.omit(format!("more than {MAX_CLIENTS} clients"));
        }
        let Session { opening, sid, auth, sockets } = &mut self.sessions[session];
        let reply: Option<Value> = serde_json::from_str(packet.data).ok();
        let text = |key: &str| reply.as_ref().and_then(|reply| reply.get(key)?.as_str());
        let id = match opening.revision {
            Revision::V3 if packet.namespace == ROOT => sid.clone(),
            Revision::V3 => format!("{}#{sid}", packet.namespace),
            Revision::V4 => text("sid").unwrap_or_default().to_owned(),
        };
        let mut handshake = opening.query.clone();
        handshake.extend(std::mem::take(auth));
        let client = self.trace.clients.len();
        let has_offsets = text("pid").is_some();
        sockets.insert(
            packet.namespace.to_owned(),
            Socket { client, is_connected: true, has_offsets },
        );
        let revision = if opening.revision == Revision::V3 { 3 } else { 4 };
        let (namespace, path) = (packet.namespace.to_owned(), opening.path.clone());
        self.trace.clients.push(RecordedClient { id, namespace, path, revision, handshake });
        self.push(client, What::Connected, at, 0);
    }

    fn event(&mut self, session: usize, direction: Direction, packet: &Packet<'_>, at: u64) {
        let Some(socket) = self.sessions[session].sockets.get(packet.namespace) else { return };
        let client = socket.client;
        let Some(mut args) = arguments(packet.data).filter(|args| !args.is_empty()) else {
            return self.omit("an event that is not JSON".to_owned());
        };
        let Value::String(event) = args.remove(0) else { return };
        let is_received = direction == Direction::ToClient;
        if is_received && socket.has_offsets && args.last().is_some_and(Value::is_string) {
            args.pop();
        }
        let message = Message { event, args, ack: packet.id, attachments: packet.attachments };
        let what = if is_received { What::Received(message) } else { What::Sent(message) };
        self.push(client, what, at, packet.data.len());
    }

    fn disconnect(&mut self, session: usize, namespace: &str, at: u64) {
        let socket =
            self.sessions[session].sockets.get_mut(namespace).filter(|socket| socket.is_connected);
        let Some(socket) = socket else { return };
        socket.is_connected = false;
        let client = socket.client;
        self.push(client, What::Disconnected, at, 0);
    }

    fn close(&mut self, session: usize, at: u64) {
        let mut namespaces: Vec<String> = self.sessions[session].sockets.keys().cloned().collect();
        namespaces.sort_unstable();
        for namespace in namespaces {
            self.disconnect(session, &namespace, at);
        }
    }

    fn push(&mut self, client: usize, what: What, at: u64, bytes: usize) {
        if self.is_full {
            return;
        }
        if self.trace.entries.len() >= MAX_ENTRIES || self.bytes + bytes > MAX_TRACE_BYTES {
            self.is_full = true;
            let megabytes = MAX_TRACE_BYTES / 1024 / 1024;
            return self.omit(format!("what came after {MAX_ENTRIES} events or {megabytes} MiB"));
        }
        self.bytes += bytes;
        self.trace.entries.push(Entry { at, client, what });
    }
}

fn arguments(data: &str) -> Option<Vec<Value>> {
    serde_json::from_str(data).ok()
}

/// Returns the members of an object that are strings.
fn strings(data: &str) -> BTreeMap<String, String> {
    let members: BTreeMap<String, Value> = serde_json::from_str(data).unwrap_or_default();
    let text = |value: &Value| value.as_str().map(str::to_owned);
    members.into_iter().filter_map(|(key, value)| Some((key, text(&value)?))).collect()
}
