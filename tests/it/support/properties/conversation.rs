//! A whole conversation on one of the plain WebSocket protocols, answered by real rooms.
//!
//! The first line of an input follows the endpoint in the URL (`r?metadata={}`, `?sessionId=s`),
//! each further line is a message. Before a message, `!` and a digit make the server refuse it:
//! which refusals a protocol must support does not depend on their cause.

use std::time::Duration;

use parlor::auth::Denial;
use parlor::clock::Moment;
use parlor::dialect::{
    Begin, Conversation, Frame, Hello, RequestError, Step, envelope, session, topic,
};
use parlor::id::{ConnectionId, MAX_ID_CHARS, PeerId, RoomId};
use parlor::room::{
    Answer, Code, Command, Metadata, RoomError, RoomKind, RoomLimits, Rooms, SignalKind, Target,
};
use parlor::sfu::{ErrorScope, SfuErrorKind};
use uuid::Uuid;

use super::encoded::{Scene, check_number, payload, text, when};
use super::meaning::Sent;
use super::object::Object;
use super::{Protocol, check_ids, id_text, peers};

/// The connection of the conversation; others have higher numbers.
const ME: ConnectionId = ConnectionId::from_u128(1);

/// The session that a client resumes, with its first and its current resume token.
const PLACE: ConnectionId = ConnectionId::from_u128(0x91ace);
const KEYS: [&str; 2] = ["the-first.key", "the-key.after-that"];

/// Maximum number of peers that join as targets of signals.
const MOST_GUESTS: u128 = 8;

const JOIN_REFUSALS: [RequestError; 5] = [
    RequestError::Room(RoomError::RoomFull { capacity: 2 }),
    RequestError::Room(RoomError::SessionEnded),
    RequestError::Room(RoomError::TooManyRooms { max: 7 }),
    RequestError::Room(RoomError::MetadataTooLarge { max: 7 }),
    RequestError::Room(RoomError::ConnectionEnded),
];

const REFUSALS: [RequestError; 6] = [
    RequestError::Room(RoomError::NotInRoom),
    RequestError::Room(RoomError::SessionEnded),
    RequestError::Room(RoomError::TargetNotFound),
    RequestError::Room(RoomError::SessionQueueFull),
    RequestError::Room(RoomError::AmbiguousRoom),
    RequestError::DeliveryFailed { failed: 1, recipients: 3 },
];

/// One conversation.
struct Talk {
    protocol: Protocol,
    conversation: Box<dyn Conversation>,
    rooms: Rooms,
    guests: u128,
    /// The current message, if it is an object.
    message: Option<Object>,
    /// The refusal that the server sends for it, if any.
    refusal: Option<usize>,
    /// The room and the role of `auth:request`, for joins without them.
    defaults: (Option<String>, Option<String>),
    /// Replies so far.
    received: Vec<String>,
    /// Whether the server has closed the connection.
    is_over: bool,
    /// Whether the type of the first message contained dots.
    has_dots: Option<bool>,
    /// Key of the resume token, and whether a list of members has contained it.
    key: &'static str,
    has_sent_token: bool,
    /// Number of messages so far.
    number: u64,
}

/// Checks a conversation.
pub(crate) fn check(protocol: Protocol, input: &str) {
    let mut lines = input.split('\n');
    let url = lines.next().unwrap_or_default();
    let (segment, query) = url.split_once('?').unwrap_or((url, ""));
    let Ok(query) = serde_urlencoded::from_str::<Vec<(String, String)>>(query) else { return };
    let begin: Begin = match protocol {
        Protocol::Session => session::begin,
        Protocol::Envelope => envelope::begin,
        Protocol::Topic => topic::begin,
        Protocol::SocketIo => panic!("no conversation"),
    };
    let (segment, heartbeat) =
        ((protocol == Protocol::Topic).then_some(segment), Duration::from_secs(30));
    let hello = Hello {
        connection: ME,
        segment,
        query: &query,
        languages: None,
        now: when(),
        heartbeat,
        needs_token: false,
        ice_servers: None,
    };
    let answered = begin(&hello);
    assert_eq!(answered.is_ok(), is_good_handshake(protocol, &hello), "{url}");
    let conversation = match answered {
        Ok(conversation) => conversation,
        Err(error) => return assert_eq!(error.code(), Code::InvalidMessage, "{error}"),
    };
    let rooms =
        Rooms::new(RoomLimits { room_size: 4, rooms_per_connection: 3, ..RoomLimits::default() });
    rooms.connect(ME);
    let mut talk = Talk {
        protocol,
        conversation,
        rooms,
        guests: 0,
        message: None,
        refusal: None,
        defaults: (None, None),
        received: Vec::new(),
        is_over: false,
        has_dots: None,
        key: KEYS[0],
        has_sent_token: false,
        number: 0,
    };
    talk.conversation.keep(Some(KEYS[0].to_owned()));
    talk.open(&hello);
    for line in lines {
        if talk.is_over {
            break;
        }
        talk.receive(line);
    }
}

/// Returns whether the contract accepts the handshake.
fn is_good_handshake(protocol: Protocol, hello: &Hello<'_>) -> bool {
    let is_id = |text: &str| {
        let text = text.trim();
        (1..=MAX_ID_CHARS).contains(&text.chars().count()) && !text.chars().any(char::is_control)
    };
    let value = |key: &str| {
        hello.query.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    };
    match protocol {
        Protocol::Session => value("sessionId").is_none_or(is_id),
        Protocol::Topic => {
            let metadata = value("metadata").filter(|text| !text.is_empty());
            hello.segment.is_some_and(is_id)
                && metadata.is_none_or(|text| Object::read(text).is_some())
        }
        Protocol::Envelope | Protocol::SocketIo => true,
    }
}

impl Talk {
    fn open(&mut self, hello: &Hello<'_>) {
        for step in self.conversation.open() {
            if let Step::Do(Command::Join { room, peer, metadata, .. }) = &step {
                let (named, reply) = match self.protocol {
                    Protocol::Topic => {
                        (hello.segment, hello.query("metadata").filter(|text| !text.is_empty()))
                    }
                    _ => (hello.query("sessionId"), None),
                };
                assert_eq!(Some(room.as_str()), named.map(str::trim));
                let is_ulid = |id: &PeerId| id.as_str().len() == 26;
                assert_eq!(peer.as_ref().is_some_and(is_ulid), self.protocol == Protocol::Topic);
                assert_eq!(
                    Object::of_members(metadata.as_str()),
                    reply.and_then(Object::read).unwrap_or_default()
                );
                peers::check(metadata);
            }
            self.execute(Some(step));
        }
        self.check_numbers();
        let opening: Vec<Object> = self
            .received
            .drain(..)
            .map(|received| Object::read(&received).expect("an object"))
            .collect();
        match (self.protocol, opening.as_slice()) {
            (Protocol::Envelope, [ack]) => ack.assert_once("type", "connection:ack"),
            (Protocol::Topic, [welcome]) => welcome.assert_once("type", "welcome"),
            (Protocol::Session, []) => {}
            _ => panic!("{opening:?}"),
        }
    }

    fn receive(&mut self, line: &str) {
        let (refusal, message) = match line.as_bytes() {
            [b'!', digit @ b'0'..=b'9', ..] => (Some(usize::from(*digit - b'0')), &line[2..]),
            _ => (None, line),
        };
        (self.refusal, self.message) = (refusal, Object::read(message));
        let kind =
            self.message.as_ref().and_then(|message| message.text("type")).unwrap_or_default();
        let style =
            if kind.contains(':') { Some(false) } else { kind.contains('.').then_some(true) };
        self.has_dots = self.has_dots.or(style);
        let step = self.conversation.receive(message, when());
        self.execute(step);
        self.check_numbers();
        let received = std::mem::take(&mut self.received);
        match self.protocol {
            Protocol::Session => {
                for received in &received {
                    self.check_session_answer(received);
                }
            }
            Protocol::Topic => {
                for received in &received {
                    self.check_topic_answer(received);
                }
            }
            _ => self.check_envelope_answers(&received),
        }
    }

    /// Executes a step and those that follow from it.
    fn execute(&mut self, mut next: Option<Step>) {
        let mut steps = 0;
        while let Some(step) = next.take() {
            steps += 1;
            assert!(steps <= 3, "a message is at most a join, a signal and a reply");
            match step {
                Step::Tell(Frame::Close(code, reason)) => self.end(code, reason),
                Step::Tell(frame) => self.received.push(text(frame)),
                Step::Resume { resume_token, seen } => self.resume(&resume_token, seen),
                // If no tokens are required, any token is accepted.
                Step::Authenticate(_) => {
                    let is_good = self.refusal.is_none_or(|digit| digit < 5);
                    if is_good {
                        let (asked, room) = self.request().expect("an object is asked");
                        let (last_room, last_role) = std::mem::take(&mut self.defaults);
                        self.defaults = (room.or(last_room), asked.text("role").or(last_role));
                    }
                    let result = if is_good { Ok(None) } else { Err(Denial::Unauthorized.into()) };
                    next = self.conversation.authenticated(result, when());
                }
                Step::Refuse(code, frame) => {
                    assert!([Code::InvalidMessage, Code::TargetNotFound].contains(&code));
                    self.received.push(text(frame));
                }
                // This test has no media server.
                Step::Media(..) => {
                    let error = SfuErrorKind::NotConfigured.in_scope(ErrorScope::Transport);
                    next = self.conversation.answer(Err(error.into()), when());
                }
                Step::Last(text, code, reason) => {
                    self.received.push(text);
                    self.end(code, reason);
                }
                Step::Answer(_)
                | Step::Connect { .. }
                | Step::Disconnect
                | Step::Reject(_)
                | Step::Ignore(_)
                | Step::End(_) => panic!("a step of Socket.IO: {step:?}"),
                Step::Do(command) => {
                    check_ids(&command);
                    self.check_command(&command);
                    let result = self.apply(command);
                    next = self.conversation.answer(result, when());
                }
            }
        }
    }

    fn end(&mut self, code: u16, reason: &str) {
        assert!(code == 1008 && !reason.is_empty(), "{code} {reason}");
        self.is_over = true;
    }

    /// Resumes the session, or opens a new one if that is refused.
    fn resume(&mut self, key: &str, seen: u64) {
        let (asked, _) = self.request().expect("an object is asked");
        assert_eq!(asked.text("resumeToken").as_deref(), Some(key));
        assert_eq!(asked.get("lastSequence").map_or(Ok(0), str::parse), Ok(seen));
        let place = self.refusal.is_none().then_some(PLACE);
        if place.is_some() {
            self.key = KEYS[1];
            self.conversation.keep(Some(KEYS[1].to_owned()));
        }
        let received = text(self.conversation.resumed(place, when()));
        let answer = Object::read(&received)
            .and_then(|answer| Object::read(answer.get("payload")?))
            .expect("a payload");
        assert_eq!(answer.get("success"), Some("true"), "{received}");
        assert_eq!(
            answer.get("recovered"),
            Some(if place.is_some() { "true" } else { "false" }),
            "{received}"
        );
        answer.assert_once("resumeToken", self.key);
        self.received.push(received);
    }

    /// Asserts that the new replies can be numbered.
    fn check_numbers(&mut self) {
        for received in &self.received {
            self.number += 1;
            check_number(self.conversation.current_dialect(), received, self.number);
        }
    }

    fn apply(&mut self, command: Command) -> Result<Answer, RequestError> {
        let refusals: &[RequestError] =
            if matches!(command, Command::Join { .. }) { &JOIN_REFUSALS } else { &REFUSALS };
        if let Some(index) = self.refusal {
            return Err(refusals[index % refusals.len()].clone());
        }
        if let Command::Relay { room, target: Some(target), .. } = &command {
            self.add_target(room.as_ref(), target);
        }
        let applied = self.rooms.apply(moment(), ME, command)?;
        for delivery in &applied.deliveries {
            if let Some(Frame::Text(received)) =
                (self.conversation.current_dialect().encode)(&delivery.event, when())
            {
                self.check_event(&received);
            }
        }
        if let Answer::Joined(snapshot) = &applied.answer
            && let Some(received) = self.conversation.welcome(snapshot, when()).map(text)
        {
            let state = Object::read(&received)
                .and_then(|state| Object::read(state.get("payload")?))
                .expect("a payload");
            let key = state.text("resumeToken");
            assert_eq!(
                key.as_deref(),
                (!self.has_sent_token).then_some(self.key),
                "the first list has it: {received}"
            );
            self.has_sent_token = true;
            self.received.push(received);
        }
        Ok(applied.answer)
    }

    /// Adds the target of a signal to the room, if there is space.
    fn add_target(&mut self, room: Option<&RoomId>, target: &Target) {
        let Some(room) = room.cloned().or_else(|| self.rooms.of(ME).pop()) else { return };
        if self.guests < MOST_GUESTS {
            self.guests += 1;
            let (guest, peer) =
                (ConnectionId::from_u128(1 + self.guests), PeerId::new(&target.to_string()).ok());
            let join =
                Command::Join { room, peer, metadata: Metadata::default(), kind: RoomKind::Group };
            self.rooms.connect(guest);
            // The room may be full, or the target may already be in it.
            drop(self.rooms.apply(moment(), guest, join));
        }
    }

    /// Returns the object with the keys of a signal or a request, and the room, in the client's
    /// spelling.
    fn request(&self) -> Option<(Object, Option<String>)> {
        let message = self.message.clone()?;
        let (object, room) = match self.protocol {
            Protocol::Envelope => (
                message.get("payload").map_or_else(|| Some(Object::default()), Object::read)?,
                "roomId",
            ),
            _ => (message, "sessionId"),
        };
        let room = object.get(room).map(id_text);
        Some((object, room))
    }

    fn check_command(&self, command: &Command) {
        let Some(message) = &self.message else { return };
        let (object, named) = self.request().expect("an object is asked");
        match command {
            Command::Join { room, peer, metadata, kind } => {
                let default = self.defaults.0.as_deref();
                assert_eq!(Some(room.as_str()), named.as_deref().or(default));
                if self.protocol == Protocol::Envelope {
                    let user = object.get("user").and_then(Object::read).unwrap_or_default();
                    assert_eq!(
                        peer.as_ref().map(PeerId::as_str),
                        user.get("id").map(id_text).as_deref()
                    );
                    check_metadata(&object, &user, self.defaults.1.as_deref(), metadata);
                    peers::check(metadata);
                } else {
                    let is_join = message.text("type").as_deref() == Some("join");
                    assert_eq!(
                        *kind,
                        if is_join { RoomKind::Pair } else { RoomKind::PairUnlessEnded }
                    );
                    assert_eq!((peer.as_ref(), metadata.as_str()), (None, ""));
                }
            }
            Command::Leave { room } | Command::HangUp { room } => {
                assert_eq!(room.as_ref().map(RoomId::as_str), named.as_deref());
            }
            Command::Inspect { room } => assert_eq!(Some(room.as_str()), named.as_deref()),
            Command::Update { room, patch } => {
                assert_eq!(room.as_ref().map(RoomId::as_str), named.as_deref());
                assert_eq!(
                    Object::of_members(&patch.text),
                    object.get("metadata").and_then(Object::read).unwrap()
                );
            }
            Command::Relay { room, target, signal } => {
                let target = target.as_ref().map(Target::to_string);
                let expected = match self.protocol {
                    // Null counts as absent.
                    Protocol::Topic => object.get("to").filter(|to| *to != "null").map(id_text),
                    Protocol::Envelope => object.get("targetUserId").map(id_text),
                    _ => None,
                };
                assert_eq!(target, expected);
                if self.protocol == Protocol::Topic {
                    assert_eq!(room.as_ref(), self.rooms.of(ME).first(), "the topic it is in");
                } else {
                    assert_eq!(room.as_ref().map(RoomId::as_str), named.as_deref());
                }
                assert_eq!(Some(signal.kind), kind(message), "{message:?}");
                let timestamp = message
                    .get("timestamp")
                    .filter(|timestamp| *timestamp != "null")
                    .map(str::to_owned);
                let sent = Sent::new(self.protocol, signal.kind, object, timestamp);
                if signal.kind == SignalKind::Message {
                    Scene::new(self.protocol).check_message(&sent, signal);
                } else {
                    Scene::new(self.protocol).check_signal(&sent, signal);
                }
            }
        }
    }

    /// Asserts that events are JSON, in the style that the client chose.
    fn check_event(&self, received: &str) {
        let event = Object::read(received).unwrap_or_else(|| panic!("no object: {received}"));
        let kind = event.text("type").unwrap_or_else(|| panic!("no type: {received}"));
        if self.protocol == Protocol::Envelope {
            self.check_style(&kind);
        }
    }

    fn check_style(&self, kind: &str) {
        let (other, ours) = if self.has_dots == Some(true) { (':', '.') } else { ('.', ':') };
        assert!(!kind.contains(other), "{kind}: the client writes with `{ours}`");
    }

    fn check_session_answer(&self, received: &str) {
        let error = Object::read(received).unwrap_or_else(|| panic!("no object: {received}"));
        error.assert_once("type", "error");
        assert!(
            error
                .text("code")
                .is_some_and(|code| code.chars().all(|c| c.is_ascii_uppercase() || c == '_')),
            "{received}"
        );
        assert!(error.text("message").is_some_and(|message| !message.is_empty()), "{received}");
        if let Some(session) = error.text("sessionId") {
            assert_eq!(Some(session), self.request().and_then(|(_, session)| session));
        }
    }

    fn check_topic_answer(&self, received: &str) {
        let error = Object::read(received).unwrap_or_else(|| panic!("no object: {received}"));
        error.assert_once("type", "error");
        let code = error.text("code").unwrap_or_default();
        assert!(
            ["invalid_type", "missing_target", "target_not_found", "dropped"].contains(&&*code),
            "{received}"
        );
        assert_eq!(
            error.get("msgId"),
            self.message.as_ref().and_then(|message| message.get("msgId")),
            "{received}"
        );
    }

    /// Asserts that a request with a correlation id has exactly one reply with this id, and that no
    /// other reply has it.
    fn check_envelope_answers(&self, received: &[String]) {
        let text = |key| self.message.as_ref().and_then(|message| message.text(key));
        let correlation = text("correlationId").filter(|id| Uuid::try_parse(id).is_ok());
        let mut correlated = 0;
        for received in received {
            let answer = Object::read(received).unwrap_or_else(|| panic!("no object: {received}"));
            let kind = answer.text("type").expect("a type");
            let written = kind.replace('.', ":");
            self.check_style(&kind);
            if written == "error" {
                let code = payload(received, "error").text("code").expect("a code");
                assert!(!code.is_empty(), "{received}");
            } else {
                assert!(
                    ["room:state", "auth:response", "pong", "ok"].contains(&&*written),
                    "{received}"
                );
            }
            assert_eq!(answer.text("correlationId"), correlation, "{received}");
            correlated += usize::from(answer.has("correlationId"));
        }
        assert_eq!(
            correlated,
            usize::from(correlation.is_some()),
            "{received:?} for {:?}",
            self.message
        );
    }
}

/// Returns the kind of signal of a message type.
fn kind(message: &Object) -> Option<SignalKind> {
    let kind = message.text("type")?.replace('.', ":");
    match &*kind {
        "offer" | "sdp:offer" => Some(SignalKind::Offer),
        "answer" | "sdp:answer" => Some(SignalKind::Answer),
        "candidate" | "ice-candidate" | "ice:candidate" => Some(SignalKind::Candidate),
        "message" | "room:message" => Some(SignalKind::Message),
        _ => None,
    }
}

/// Asserts the fields that a `/ws` peer determines: its metadata, its display name under two keys,
/// and its role.
fn check_metadata(
    payload: &Object,
    user: &Object,
    default_role: Option<&str>,
    metadata: &Metadata,
) {
    let reply = Object::of_members(metadata.as_str());
    let metadata = payload.get("metadata").and_then(Object::read).unwrap_or_default();
    let name = user.text("displayName").or_else(|| payload.text("displayName"));
    let default_role = default_role.filter(|_| !metadata.has("role")).map(str::to_owned);
    let role = user.text("role").or(default_role);
    let is_set = |key: &str| {
        (name.is_some() && ["displayName", "name"].contains(&key))
            || (role.is_some() && key == "role")
    };
    assert_eq!(reply.less(is_set), metadata.less(is_set));
    if let Some(name) = &name {
        reply.assert_once("displayName", name);
        reply.assert_once("name", name);
    }
    if let Some(role) = &role {
        reply.assert_once("role", role);
    }
}

/// Returns a time by both clocks.
fn moment() -> Moment {
    Moment { time: when(), ..Moment::now() }
}
