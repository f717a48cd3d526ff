//! What each wire is told: JSON, the sender's fields the server's own, the rest as it was sent.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parlor::dialect::socketio::choice::Choice;
use parlor::dialect::socketio::packet::Revision;
use parlor::dialect::socketio::{Numbering, Offset};
use parlor::dialect::{Dialect, Frame, Framing, envelope, session, socketio, topic};
use parlor::id::{ConnectionId, PeerId, RoomId};
use parlor::room::{Code, Event, FoundBy, Metadata, Peer, Signal, SignalKind};

use super::meaning::{Meaning, Place, Sent};
use super::object::{Object, array, is_json, raw_string};
use super::{Wire, word};

/// What the server says of a Socket.IO peer.
pub(crate) const PEER_FIELDS: [&str; 6] = ["id", "userId", "socketId", "roomId", "joinedAt", "reason"];

/// What the server writes into a Socket.IO signal: the field, what it says, and the keys of the sender's beside which it
/// stands; none means always.
const SIGNAL_FIELDS: [(&str, Says, &[&str]); 9] = [
    ("from", Says::Reply, &[]),
    ("userId", Says::Peer, &[]),
    ("socketId", Says::Connection, &[]),
    ("roomId", Says::Room, &[]),
    ("fromId", Says::Reply, &["targetId"]),
    ("senderId", Says::Reply, &["targetId", "receiverId"]),
    ("fromSocketId", Says::Connection, &["targetSocketId"]),
    ("senderSocketId", Says::Connection, &["targetSocketId"]),
    ("fromUserId", Says::Peer, &["targetUserId"]),
];

/// The names of the sender that stand beside other names of the target, each in signals of these kinds. Where the sender
/// did not write that name of the target, they are the sender's own words.
const COUNTERPARTS: [(&str, &str, &[SignalKind]); 6] = [
    ("sender", "target", &[SignalKind::Offer, SignalKind::Answer, SignalKind::Candidate]),
    ("caller", "target", &[SignalKind::Offer]),
    ("responder", "target", &[SignalKind::Answer]),
    ("callerID", "userToSignal", &[SignalKind::Offer, SignalKind::Answer, SignalKind::Candidate]),
    ("callerId", "calleeId", &[SignalKind::Offer, SignalKind::Answer, SignalKind::Candidate]),
    ("peerID", "peerID", &[SignalKind::Offer, SignalKind::Answer, SignalKind::Candidate]),
];

#[derive(Clone, Copy)]
enum Says {
    Reply,
    Peer,
    Connection,
    Room,
}

const WIRES: [(Wire, &Dialect); 4] = [
    (Wire::SocketIo, &socketio::DIALECT),
    (Wire::Session, &session::DIALECT),
    (Wire::Envelope, &envelope::DIALECT),
    (Wire::Topic, &topic::DIALECT),
];

/// When everything happens.
pub(crate) fn when() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(1_767_323_045_678)
}

/// The text of a frame.
pub(crate) fn text(frame: Frame) -> String {
    match frame {
        Frame::Text(text) => text,
        Frame::WithToken(message) => message.text(),
        Frame::WithAttachments(text, _) => panic!("attachments: {text}"),
        Frame::Several(texts) => panic!("several messages: {texts:?}"),
        Frame::Close(code, reason) => panic!("closed with {code} {reason}"),
    }
}

/// What a wire says of an event first; `None` where it has no word for it.
pub(crate) fn written(dialect: &'static Dialect, event: &Event) -> Option<String> {
    all_written(dialect, event).into_iter().next()
}

/// All that a wire says of an event; on Socket.IO the JSON of each packet.
pub(crate) fn all_written(dialect: &'static Dialect, event: &Event) -> Vec<String> {
    let texts = match (dialect.encode)(event, when()) {
        None => Vec::new(),
        Some(Frame::Several(texts)) => texts,
        Some(frame) => vec![text(frame)],
    };
    let texts = texts.into_iter().map(|told| {
        let told = if dialect.name == socketio::DIALECT.name { packet(&told) } else { told };
        assert!(is_json(&told), "{told}");
        check_number(dialect, &told, 7);
        told
    });
    texts.collect()
}

/// The JSON of an event in the default namespace.
fn packet(told: &str) -> String {
    told.strip_prefix("42").unwrap_or_else(|| panic!("no event: {told}")).to_owned()
}

/// Numbers what is told, where the wire has numbers: the client reads the number, and everything else is as it was.
pub(crate) fn check_number(dialect: &Dialect, told: &str, number: u64) {
    let connection = ConnectionId::from_u128(0xfeed_beef);
    if dialect.name == socketio::DIALECT.name {
        for namespace in ["/", "/chat"] {
            let choice = Choice::new(Arc::default(), connection);
            let numbering = Numbering::new(namespace, Revision::V4, Arc::new(choice));
            let head = if namespace == "/" { "42" } else { "42/chat," };
            let mut event = format!("42{told}");
            numbering.complete(&mut event, number);
            assert_eq!(event, format!("{head}{told}"));
            let follower = numbering.follower(number).expect("an event is followed by its offset");
            let offset = follower.strip_prefix(head).unwrap_or_else(|| panic!("no event: {follower}"));
            let [offset] = array(offset)[..] else { panic!("more than an offset: {follower}") };
            let offset = raw_string(offset.get()).expect("an offset is a string");
            assert_eq!(Offset::seen(connection, Some(&offset)), Some(number), "{follower}");
            let another = ConnectionId::from_u128(0xfeed_bee0);
            assert_eq!(Offset::seen(another, Some(&offset)), Some(0), "who has seen another's has seen nothing");
        }
    } else if dialect.name == envelope::DIALECT.name {
        let mut numbered = told.to_owned();
        envelope::Sequence.complete(&mut numbered, number);
        let envelope = Object::read(&numbered).unwrap_or_else(|| panic!("no object: {numbered}"));
        assert_eq!((envelope.count("sequence"), envelope.get("sequence")), (1, Some(&*number.to_string())));
        assert_eq!(Some(envelope.less(|key| key == "sequence")), Object::read(told), "{numbered}");
    }
}

/// An error with this code, and a message under this key.
pub(crate) fn check_code(error: &Object, message: &str, code: Code) {
    error.assert_once("code", code.as_str());
    assert!(error.text(message).is_some_and(|text| !text.is_empty()), "{error:?}");
}

/// The names of the sender that a Socket.IO signal has because of the target's.
fn counterparts(sent: &Sent) -> impl Iterator<Item = &'static str> {
    let is_there = |(_, target, kinds): &(&str, &str, &[SignalKind])| {
        sent.wire == Wire::SocketIo && sent.object.has(target) && kinds.contains(&sent.kind)
    };
    COUNTERPARTS.into_iter().filter(is_there).map(|(field, ..)| field)
}

/// A sender in a room, whose ids must be escaped to be JSON and could hardly come from anywhere else.
pub(crate) struct Scene {
    wire: Wire,
    pub(crate) room: RoomId,
    pub(crate) sender: PeerId,
    pub(crate) connection: ConnectionId,
}

impl Scene {
    pub(crate) fn new(wire: Wire) -> Self {
        Self {
            wire,
            room: RoomId::new(r#"the "room" \ é"#).expect("a good id"),
            sender: PeerId::new(r#"the "sender" \ ü"#).expect("a good id"),
            connection: ConnectionId::from_u128(0x5e4d_e400_0000_0000_0000_0000_0000_0001),
        }
    }

    /// The sender, as one who says this of itself.
    pub(crate) fn peer(&self, metadata: &Metadata) -> Arc<Peer> {
        let (id, connection) = (self.sender.clone(), self.connection);
        Arc::new(Peer { id, connection, joined_at: when(), metadata: metadata.clone() })
    }

    /// Writes a signal for every wire.
    pub(crate) fn check_signal(&self, sent: &Sent, signal: &Signal) {
        assert_eq!((signal.origin, signal.kind), (self.wire.name(), sent.kind));
        let signal = Arc::new(signal.clone());
        for found_by in [FoundBy::PeerId, FoundBy::ConnectionId] {
            let from = self.peer(&Metadata::default());
            let event = Event::SignalRelayed { room: self.room.clone(), from, found_by, signal: Arc::clone(&signal) };
            for (wire, dialect) in WIRES {
                let told = written(dialect, &event).expect("every wire has signals");
                let body = match wire {
                    Wire::SocketIo => self.socketio_signal(sent, found_by, &told),
                    Wire::Session => self.session_signal(sent, &told),
                    Wire::Envelope => self.envelope_signal(sent, &told),
                    Wire::Topic => self.topic_signal(sent, &told),
                };
                if wire == sent.wire {
                    assert_eq!(body, as_sent(sent), "{told}");
                } else {
                    check_meaning(wire, sent, &body, &told);
                }
            }
        }
    }

    /// Writes an application message for every wire.
    pub(crate) fn check_message(&self, sent: &Sent, signal: &Signal) {
        assert_eq!((signal.origin, signal.kind), (self.wire.name(), SignalKind::Message));
        let name = signal.name.as_deref().expect("an application message has a name");
        let (from, found_by) = (self.peer(&Metadata::default()), FoundBy::PeerId);
        let event = Event::SignalRelayed { room: self.room.clone(), from, found_by, signal: Arc::new(signal.clone()) };
        assert_eq!(written(&session::DIALECT, &event), None, "no such message there");

        let told = written(&topic::DIALECT, &event).expect("this wire has such messages");
        let as_topic = self.topic_signal(sent, &told);
        let told = written(&envelope::DIALECT, &event).expect("this wire has such messages");
        let as_envelope = self.envelope_signal(sent, &told);
        let told = written(&socketio::DIALECT, &event).expect("nobody may send a reserved name");
        let values = array(&told);
        let [event_name, argument] = values[..] else { panic!("one argument: {told}") };
        assert_eq!(raw_string(event_name.get()).as_deref(), Some(name), "{told}");
        match (Object::read(argument.get()), Object::read(sent.data())) {
            (Some(argument), Some(data)) => {
                let is_the_servers = |key: &str| SIGNAL_FIELDS.iter().any(|(field, ..)| *field == key);
                assert_eq!(argument.less(is_the_servers), data.less(is_the_servers), "{told}");
                argument.assert_once("userId", self.sender.as_str());
                argument.assert_once("roomId", self.room.as_str());
                argument.assert_once("socketId", &self.connection.to_string());
                argument.assert_once("from", self.sender.as_str());
            }
            _ => assert_eq!(argument.get(), sent.data(), "{told}"),
        }

        if sent.wire == Wire::Topic {
            assert_eq!(as_topic, as_sent(sent));
            as_envelope.assert_once("topic", "message");
            assert_eq!(as_envelope.less(|key| key == "topic"), Object::default().with("data", sent.data()));
        } else {
            assert_eq!(as_envelope, as_sent(sent));
            assert_eq!(as_topic, Object::default().with("payload", sent.data()));
        }
    }

    /// Checks the sender fields; what remains is the sender's.
    fn socketio_signal(&self, sent: &Sent, found_by: FoundBy, told: &str) -> Object {
        let object = Object::of_event(told, word(sent.kind, "ice-candidate"));
        assert_eq!(array(told).len(), 2);
        let connection = self.connection.to_string();
        let reply = if found_by == FoundBy::PeerId { self.sender.as_str() } else { &connection };
        for (field, says, beside) in SIGNAL_FIELDS {
            let wrote = |key| sent.wire == Wire::SocketIo && sent.object.has(key);
            if !(beside.is_empty() || beside.iter().any(|key| wrote(key)) || wrote(field)) {
                assert_eq!(object.count(field), 0, "{field}: {told}");
                continue;
            }
            let expected = match says {
                Says::Reply => reply,
                Says::Peer => self.sender.as_str(),
                Says::Connection => &connection,
                Says::Room => self.room.as_str(),
            };
            object.assert_once(field, expected);
        }
        let counterparts: Vec<&str> = counterparts(sent).collect();
        for field in &counterparts {
            object.assert_once(field, reply);
        }
        object.less(|key| SIGNAL_FIELDS.iter().any(|(field, ..)| *field == key) || counterparts.contains(&key))
    }

    fn session_signal(&self, sent: &Sent, told: &str) -> Object {
        let object = Object::read(told).expect("an object");
        object.assert_once("type", word(sent.kind, "candidate"));
        object.assert_once("sessionId", self.room.as_str());
        // Nobody is spoken of here.
        let connection = self.connection.to_string();
        assert!(!told.contains("the \\\"sender") && !told.contains(&connection), "{told}");
        object.less(|key| key == "type" || key == "sessionId")
    }

    fn envelope_signal(&self, sent: &Sent, told: &str) -> Object {
        let kind = match sent.kind {
            SignalKind::Offer => "sdp:offer",
            SignalKind::Answer => "sdp:answer",
            SignalKind::Candidate => "ice:candidate",
            SignalKind::Message => "room:message",
        };
        let payload = payload(told, kind);
        payload.assert_once("fromUserId", self.sender.as_str());
        payload.assert_once("roomId", self.room.as_str());
        payload.less(|key| key == "fromUserId" || key == "roomId")
    }

    fn topic_signal(&self, sent: &Sent, told: &str) -> Object {
        let object = Object::read(told).expect("an object");
        object.assert_once("type", word(sent.kind, "ice-candidate"));
        object.assert_once("from", self.sender.as_str());
        object.less(|key| key == "type" || key == "from")
    }
}

/// The payload of an envelope of this type.
pub(crate) fn payload(told: &str, kind: &str) -> Object {
    let envelope = Object::read(told).unwrap_or_else(|| panic!("no object: {told}"));
    envelope.assert_once("type", kind);
    assert_eq!(envelope.count("payload"), 1, "{told}");
    assert!(envelope.get("timestamp").is_some_and(|timestamp| timestamp.parse::<u64>().is_ok()), "{told}");
    envelope.get("payload").and_then(Object::read).unwrap_or_else(|| panic!("no payload: {told}"))
}

/// What a client of the sender's own wire reads beside the server's fields: what the sender wrote.
fn as_sent(sent: &Sent) -> Object {
    let object = &sent.object;
    match sent.wire {
        Wire::SocketIo => object.less(|key| {
            SIGNAL_FIELDS.iter().any(|(field, ..)| *field == key) || counterparts(sent).any(|field| field == key)
        }),
        Wire::Session => object.less(|key| key == "type" || key == "sessionId"),
        Wire::Envelope => {
            let payload = object.less(|key| ["fromUserId", "roomId", "sentAt"].contains(&key));
            sent.timestamp.iter().fold(payload, |payload, timestamp| payload.with("sentAt", timestamp))
        }
        Wire::Topic if object.has("payload") => object.less(|key| key != "payload" && key != "msgId"),
        Wire::Topic => {
            let payload = Object::default().with("payload", "null");
            object.get("msgId").into_iter().fold(payload, |payload, id| payload.with("msgId", id))
        }
    }
}

/// What a client of another wire reads says what the sender said.
fn check_meaning(wire: Wire, sent: &Sent, body: &Object, told: &str) {
    let is_candidate = sent.kind == SignalKind::Candidate;
    let key = match (wire, sent.kind) {
        // An envelope's payload is the description or the candidate.
        (Wire::Envelope, _) => return check_typed(sent, body, told),
        (Wire::SocketIo, kind) => word(kind, "candidate"),
        (Wire::Session, _) => {
            if is_candidate {
                "candidate"
            } else {
                "sdp"
            }
        }
        (Wire::Topic, _) => "payload",
    };
    let value = body.get(key).unwrap_or_else(|| panic!("no {key}: {told}"));
    assert_eq!(body.less(|name| name == key), Object::default(), "nothing else: {told}");
    let object = Object::read(value);
    let member = |key| object.as_ref().and_then(|object| object.get(key));
    match sent.meaning() {
        Meaning::Description { sdp, kind } => {
            assert_eq!((member("sdp"), member("type")), (Some(&*sdp), Some(&*kind)), "{told}");
        }
        Meaning::Candidate { candidate, place } => {
            assert_eq!(member("candidate"), Some(&*candidate), "{told}");
            let Some(Place { media, index }) = place else { return };
            for (key, expected) in [("sdpMid", media), ("sdpMLineIndex", index)] {
                // What is not well formed is passed as it came.
                if let Some(expected) = expected {
                    assert_eq!(member(key), Some(&*expected), "{told}");
                }
            }
        }
        Meaning::EndOfCandidates => assert_eq!(value, "null", "{told}"),
        Meaning::Other => {}
    }
}

/// A client of a typed language is handed nothing but what its types hold.
fn check_typed(sent: &Sent, body: &Object, told: &str) {
    let is_text = |key| body.get(key).is_some_and(|value| value.starts_with('"'));
    if sent.kind == SignalKind::Candidate {
        assert!(is_text("candidate") || body.get("candidate") == Some("null"), "{told}");
        assert!(is_text("sdpMid") || body.get("sdpMid") == Some("null"), "{told}");
        let index = body.get("sdpMLineIndex").expect("an index");
        assert!(index == "null" || index.parse::<f64>().is_ok(), "{told}");
    } else {
        assert!(is_text("sdp") && is_text("type"), "{told}");
    }
    match sent.meaning() {
        Meaning::Description { sdp, kind } => {
            assert_eq!((body.get("sdp"), body.get("type")), (Some(&*sdp), Some(&*kind)), "{told}");
        }
        Meaning::Candidate { candidate, place } => {
            assert_eq!(body.get("candidate"), Some(&*candidate), "{told}");
            let Some(Place { media, index }) = place else { return };
            assert_eq!(body.get("sdpMid"), Some(media.as_deref().unwrap_or("null")), "{told}");
            assert_eq!(body.get("sdpMLineIndex"), Some(index.as_deref().unwrap_or("null")), "{told}");
        }
        Meaning::EndOfCandidates => assert_eq!(body.get("candidate"), Some("null"), "{told}"),
        Meaning::Other => {}
    }
}
