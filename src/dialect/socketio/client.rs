//! The conversation with one Socket.IO client.
//!
//! - WebSocket frames arrive through [`receive`](Conversation::receive) and
//!   [`receive_binary`](Conversation::receive_binary), and so do the packets of a polling client;
//! - each namespace that the client connects to is a session of its own, numbered by its channel;
//! - a binary event is handled once its attachments have arrived.
//!
//! Invariant: the confirmation of a CONNECT precedes all other packets of its namespace.

use std::any::Any;
use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use super::choice::{Choice, Profiles};
use super::decode::{ClientEvent, named_room};
use super::encode::{self, Asked};
use super::interpret::{Interpreted, interpret};
use super::namespaces::{ConnectError, Namespace, Namespaces};
use super::packet::{
    EnginePacket, HandshakeData, Packet, PacketKind, Revision, attachment, connected, open, refused,
};
use super::partial::Partial;
use super::{DIALECT, Numbering, Offset, session_id};
use crate::auth::{Denial, Grant};
use crate::dialect::json::{self, Arguments, Members};
use crate::dialect::{
    Connected, Conversation, DecodeError, Dialect, Ending, Failure, Frame, Framing, Heartbeat,
    RequestError, Step, WelcomeLater,
};
use crate::ice::IceServers;
use crate::id::{ConnectionId, RoomId};
use crate::room::{Answer, Snapshot};

/// Maximum number of attachments of one event.
const MAX_ATTACHMENTS: usize = 8;

/// The parameters of a conversation.
#[derive(Debug)]
pub struct Setup {
    /// The client's protocol revision.
    pub revision: Revision,
    /// The Engine.IO session id.
    pub sid: Box<str>,
    /// Whether the client has received the handshake packet, as a polling client has.
    pub is_opened: bool,
    /// The token of the handshake, for CONNECT packets without one.
    pub token: Option<String>,
    /// Time between two heartbeats.
    pub ping_interval: Duration,
    /// Time for the response to a heartbeat.
    pub ping_timeout: Duration,
    /// Maximum size of one message, in bytes.
    pub max_message_bytes: usize,
    /// The ICE servers for a joining peer.
    pub ice_servers: Option<Arc<IceServers>>,
    /// The event profiles that the client may use.
    pub profiles: Arc<Profiles>,
}

/// One Socket.IO client.
pub struct Client {
    setup: Setup,
    namespaces: Namespaces,
    asked: Pending,
    partial: Option<Box<Partial>>,
}

/// The data for the response to the current event.
#[derive(Debug, Default)]
struct Pending {
    id: Option<u64>,
    event: Option<Cow<'static, str>>,
    room: Option<RoomId>,
}

impl Client {
    /// Begins a conversation.
    pub fn new(setup: Setup) -> Self {
        Self { setup, namespaces: Namespaces::default(), asked: Pending::default(), partial: None }
    }

    fn message(&mut self, text: &str, refusal: Option<RequestError>) -> Option<Step> {
        let Ok(packet) = Packet::decode(text) else { return VIOLATION };
        if self.partial.is_some() {
            return VIOLATION;
        }
        match packet.kind {
            PacketKind::Connect => self.connect(&packet),
            PacketKind::Disconnect => self.disconnect(packet.namespace),
            PacketKind::Event => self.event(&packet, &[], refusal),
            PacketKind::BinaryEvent | PacketKind::BinaryAck
                if packet.attachments > MAX_ATTACHMENTS =>
            {
                VIOLATION
            }
            PacketKind::BinaryEvent if packet.attachments == 0 => self.event(&packet, &[], refusal),
            PacketKind::BinaryEvent | PacketKind::BinaryAck => {
                let missing = packet.attachments;
                self.partial =
                    (missing > 0).then(|| Box::new(Partial::new(text, missing, refusal)));
                None
            }
            // The server does not request acknowledgements.
            PacketKind::Ack => None,
            PacketKind::ConnectError => VIOLATION,
        }
    }

    fn connect(&mut self, packet: &Packet<'_>) -> Option<Step> {
        let namespace = packet.namespace;
        let is_served = self.setup.profiles.serves_namespace(namespace);
        match self.namespaces.begin_connect(namespace, is_served) {
            Ok(()) => {}
            Err(ConnectError::TooMany) => return Some(Step::End(Ending::TooManyConnects)),
            // The reference server ignores it, too.
            Err(ConnectError::Duplicate) => return None,
            Err(ConnectError::Refused(message)) => {
                return Some(Step::Answer(refused(namespace, &message)));
            }
        }
        // Applications send arbitrary data here: invalid values count as absent.
        let auth = Members::parse(packet.data).unwrap_or_default();
        let text = |key| auth.get(key).and_then(json::string).filter(|text| !text.is_empty());
        let token = text("token").map(Cow::into_owned);
        let resume = text("pid").and_then(|resume_token| {
            // A resume token begins with the id of the connection that it resumes.
            let connection = ConnectionId::parse(resume_token.split('.').next()?)?;
            Some((resume_token.into_owned(), Offset::seen(connection, text("offset").as_deref())?))
        });
        Some(Step::Connect { token: token.or_else(|| self.setup.token.clone()), resume })
    }

    fn disconnect(&mut self, namespace: &str) -> Option<Step> {
        self.namespaces.remove(namespace)?;
        Some(Step::Disconnect)
    }

    fn event(
        &mut self,
        packet: &Packet<'_>,
        attachments: &[Bytes],
        refusal: Option<RequestError>,
    ) -> Option<Step> {
        if !self.namespaces.select(packet.namespace) {
            // A client that has not connected to any namespace must not send events.
            return if self.namespaces.is_empty() { VIOLATION } else { None };
        }
        self.asked = Pending { id: packet.id, event: None, room: None };
        let Self { setup, namespaces, .. } = self;
        let Namespace { choice, join_key, .. } = namespaces.current_mut()?;
        let data = match setup.revision {
            // The client knows no other id of itself, and no other client may learn this one.
            Revision::V3 => session_id::replace(packet.data, &setup.sid, choice.connection()),
            Revision::V4 => Cow::Borrowed(packet.data),
        };
        let Some(arguments) = Arguments::read(&data) else { return VIOLATION };
        let max = setup.max_message_bytes;
        let outcome = if refusal.is_some() {
            Ok(Interpreted::Nothing)
        } else if data.len() > max {
            Err(DecodeError::TooLarge { max })
        } else {
            interpret(choice, &arguments, &data, join_key, attachments)
        };
        let name = || Some(event_name(&arguments.name));
        let room = || arguments.first.as_ref().and_then(named_room);
        match (refusal, outcome) {
            (Some(error), _) => {
                (self.asked.event, self.asked.room) = (name(), room());
                self.answer(Err(error), SystemTime::UNIX_EPOCH)
            }
            (None, Err(error)) => {
                (self.asked.event, self.asked.room) = (name(), room());
                Some(Step::Reject(error))
            }
            (None, Ok(Interpreted::Command(command))) => {
                (self.asked.event, self.asked.room) = (name(), command.room().cloned());
                Some(Step::Do(command))
            }
            (None, Ok(Interpreted::Renewal(token))) => {
                self.asked.event = name();
                Some(Step::Authenticate(Some(token)))
            }
            (None, Ok(Interpreted::Nothing)) => Some(
                self.asked().map_or(Step::Ignore(None), |asked| Step::Answer(encode::ack(asked))),
            ),
        }
    }

    /// Returns the acknowledgement that the current event requests, if any.
    fn asked(&mut self) -> Option<Asked<'_>> {
        let id = self.asked.id.take()?;
        Some(Asked { namespace: self.namespaces.current_name(), id })
    }

    /// Creates the undecided choice of a new session.
    fn choice(&self, connection: ConnectionId) -> Arc<Choice> {
        Arc::new(Choice::new(Arc::clone(&self.setup.profiles), connection))
    }

    fn ice_servers(&self, snapshot: &Snapshot, now: SystemTime) -> Option<String> {
        self.setup.ice_servers.as_ref().map(|servers| servers.for_peer(&snapshot.me.id, now))
    }
}

const VIOLATION: Option<Step> = Some(Step::End(Ending::Violation));

/// Returns the name of an event, without an allocation for standard names.
fn event_name(name: &str) -> Cow<'static, str> {
    ClientEvent::from_name(name)
        .map_or_else(|| Cow::Owned(name.to_owned()), |event| Cow::Borrowed(event.name()))
}

impl Conversation for Client {
    fn dialect(&self) -> &'static Dialect {
        &DIALECT
    }

    fn open(&mut self) -> Vec<Step> {
        let mut steps = Vec::new();
        let Setup { revision, ping_interval, ping_timeout, max_message_bytes: max_payload, .. } =
            self.setup;
        if !self.setup.is_opened {
            let sid = &self.setup.sid;
            steps.push(Step::Answer(open(&HandshakeData {
                sid,
                ping_interval,
                ping_timeout,
                max_payload,
            })));
        }
        if revision == Revision::V3 {
            // Clients of this revision are connected to the default namespace without a CONNECT.
            self.namespaces.connect_to_root();
            steps.push(Step::Connect { token: self.setup.token.clone(), resume: None });
        }
        steps
    }

    fn receive(&mut self, text: &str, _: SystemTime) -> Option<Step> {
        match EnginePacket::decode(text) {
            Ok(EnginePacket::Message(message)) => self.message(message, None),
            Ok(EnginePacket::Ping) if self.setup.revision == Revision::V3 => {
                Some(Step::Answer("3".to_owned()))
            }
            Ok(EnginePacket::Close) => Some(Step::End(Ending::Closed)),
            // A heartbeat needs no response.
            Ok(_) => None,
            Err(_) => VIOLATION,
        }
    }

    fn is_message(&self, text: &str) -> bool {
        // An event, with or without attachments.
        text.starts_with("42") || text.starts_with("45")
    }

    fn receive_binary(&mut self, frame: &[u8], _: SystemTime) -> Option<Step> {
        let (Some(attachment), Some(mut partial)) =
            (attachment(self.setup.revision, frame), self.partial.take())
        else {
            return VIOLATION;
        };
        if partial.add(attachment, self.setup.max_message_bytes).is_err() {
            return VIOLATION;
        }
        if !partial.is_complete() {
            self.partial = Some(partial);
            return None;
        }
        let packet = partial.packet();
        if packet.kind != PacketKind::BinaryEvent {
            return None;
        }
        self.event(&packet, partial.attachments(), partial.refusal())
    }

    fn refuse(&mut self, text: &str, error: RequestError, now: SystemTime) -> Option<Step> {
        match EnginePacket::decode(text) {
            Ok(EnginePacket::Message(message)) => self.message(message, Some(error)),
            _ => self.receive(text, now),
        }
    }

    fn channel(&self) -> usize {
        self.namespaces.channel()
    }

    fn connects_later(&self) -> bool {
        true
    }

    fn connected(&mut self, outcome: Result<Connected<'_>, Denial>) -> String {
        let (revision, namespace) = (self.setup.revision, self.namespaces.end_connect());
        match outcome {
            Ok(Connected { connection, resume_token, framing }) => {
                let reply = connected(revision, &namespace, &connection.to_string(), resume_token);
                // A resumed session keeps its profile.
                let numbering = (framing as &dyn Any).downcast_ref::<Numbering>();
                let choice = numbering.map(|numbering| Arc::clone(numbering.choice()));
                let choice = choice.unwrap_or_else(|| self.choice(connection));
                self.namespaces.insert(namespace, choice);
                reply
            }
            Err(denial) => refused(&namespace, &format!("{}: {denial}", denial.code().as_str())),
        }
    }

    fn framing(&self, connection: ConnectionId) -> Box<dyn Framing> {
        let namespace = self.namespaces.connecting_name();
        Box::new(Numbering::new(namespace, self.setup.revision, self.choice(connection)))
    }

    fn heartbeat(&self) -> Heartbeat {
        let Setup { revision, ping_interval: interval, ping_timeout: timeout, .. } = self.setup;
        match revision {
            Revision::V3 => Heartbeat::Client { limit: interval + timeout },
            Revision::V4 => Heartbeat::Server { ping: "2", interval, timeout },
        }
    }

    fn bare_close_is_leave(&self) -> bool {
        // Official clients close without a code when they miss a heartbeat, and reconnect; a closed
        // page sends a code.
        false
    }

    fn welcome(&self, snapshot: &Snapshot, now: SystemTime) -> Option<Frame> {
        let namespace = self.namespaces.current()?;
        Some(namespace.choice.profile().welcome(
            snapshot,
            self.ice_servers(snapshot, now).as_deref(),
            now,
        ))
    }

    fn welcome_later(&self) -> WelcomeLater {
        let choice = self.namespaces.current().map(|namespace| Arc::clone(&namespace.choice));
        let servers = self.setup.ice_servers.clone();
        Box::new(move |snapshot, now| {
            let servers = servers.map(|servers| servers.for_peer(&snapshot.me.id, now));
            Some(choice?.profile().welcome(snapshot, servers.as_deref(), now))
        })
    }

    fn answer(&mut self, result: Result<Answer, RequestError>, now: SystemTime) -> Option<Step> {
        let (event, room) = (self.asked.event.take(), self.asked.room.take());
        let text = match result {
            Ok(Answer::Joined(snapshot)) => {
                let ice_servers = self.ice_servers(&snapshot, now);
                encode::ack_joined(self.asked()?, &snapshot, ice_servers.as_deref())
            }
            Ok(Answer::Inspected(_) | Answer::Left | Answer::Relayed) => encode::ack(self.asked()?),
            Err(error) => {
                let failure = Failure::from(&error);
                if let Some(asked) = self.asked() {
                    return Some(Step::Answer(encode::ack_error(asked, &failure)));
                }
                let profile = self.namespaces.current().map(|namespace| namespace.choice.profile());
                if let Some(packets) = profile.and_then(|profile| {
                    profile.error(&failure, event.as_deref(), room.as_ref(), now)
                }) {
                    return Some(Step::Tell(Frame::Several(packets)));
                }
                encode::error(
                    self.namespaces.current_name(),
                    &failure,
                    event.as_deref(),
                    room.as_ref(),
                )
            }
        };
        Some(Step::Answer(text))
    }

    fn authenticated(
        &mut self,
        result: Result<Option<&Grant>, RequestError>,
        now: SystemTime,
    ) -> Option<Step> {
        match result {
            Ok(_) => Some(Step::Answer(encode::ack(self.asked()?))),
            Err(error) => self.answer(Err(error), now),
        }
    }

    fn is_settled(&self) -> bool {
        self.partial.is_none() && !self.namespaces.is_empty()
    }
}
