//! Encoded messages of each protocol: JSON with the server's sender fields, and the rest as it was
//! sent.

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
use super::{Protocol, word};

/// Fields of the server in a Socket.IO peer.
pub(crate) const PEER_FIELDS: [&str; 6] =
    ["id", "userId", "socketId", "roomId", "joinedAt", "reason"];

/// Fields of the server in a Socket.IO signal: the key, the value, and the keys of the sender that
/// cause it; none means always.
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

/// Sender fields that correspond to names of the target, in signals of these kinds. If the sender
/// did not use that name of the target, the field is its own.
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

const PROTOCOLS: [(Protocol, &Dialect); 4] = [
    (Protocol::SocketIo, &socketio::DIALECT),
    (Protocol::Session, &session::DIALECT),
    (Protocol::Envelope, &envelope::DIALECT),
    (Protocol::Topic, &topic::DIALECT),
];

/// Returns a time by both clocks.
pub(crate) fn when() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(1_767_323_045_678)
}

/// Returns the text of a frame.
pub(crate) fn text(frame: Frame) -> String {
    match frame {
        Frame::Text(text) => text,
        Frame::WithToken(message) => message.text(),
        Frame::WithAttachments(text, _) => panic!("attachments: {text}"),
        Frame::Several(texts) => panic!("several messages: {texts:?}"),
        Frame::Close(code, reason) => panic!("closed with {code} {reason}"),
    }
}

/// Returns the first message that a protocol writes for an event; `None` if it cannot express it.
pub(crate) fn written(dialect: &'static Dialect, event: &Event) -> Option<String> {
    all_written(dialect, event).into_iter().next()
}

/// Returns all messages that a protocol writes for an event; on Socket.IO the JSON of each packet.
pub(crate) fn all_written(dialect: &'static Dialect, event: &Event) -> Vec<String> {
    let texts = match (dialect.encode)(event, when()) {
        None => Vec::new(),
        Some(Frame::Several(texts)) => texts,
        Some(frame) => vec![text(frame)],
    };
    let texts = texts.into_iter().map(|received| {
        let received =
            if dialect.name == socketio::DIALECT.name { packet(&received) } else { received };
        assert!(is_json(&received), "{received}");
        check_number(dialect, &received, 7);
        received
    });
    texts.collect()
}

/// Returns the JSON of an event in the default namespace.
fn packet(received: &str) -> String {
    received.strip_prefix("42").unwrap_or_else(|| panic!("no event: {received}")).to_owned()
}

/// Numbers a message, if the protocol has numbers; asserts that the client can read the number and
/// that the rest is unchanged.
pub(crate) fn check_number(dialect: &Dialect, received: &str, number: u64) {
    let connection = ConnectionId::from_u128(0xfeed_beef);
    if dialect.name == socketio::DIALECT.name {
        for namespace in ["/", "/chat"] {
            let choice = Choice::new(Arc::default(), connection);
            let numbering = Numbering::new(namespace, Revision::V4, Arc::new(choice));
            let head = if namespace == "/" { "42" } else { "42/chat," };
            let mut event = format!("42{received}");
            numbering.complete(&mut event, number);
            assert_eq!(event, format!("{head}{received}"));
            let mut follower = String::new();
            numbering.push_follower(number, &mut follower);
            let offset =
                follower.strip_prefix(head).unwrap_or_else(|| panic!("no event: {follower}"));
            let [offset] = array(offset)[..] else { panic!("more than an offset: {follower}") };
            let offset = raw_string(offset.get()).expect("an offset is a string");
            assert_eq!(Offset::seen(connection, Some(&offset)), Some(number), "{follower}");
            let another = ConnectionId::from_u128(0xfeed_bee0);
            assert_eq!(
                Offset::seen(another, Some(&offset)),
                Some(0),
                "an offset of another session counts as none"
            );
        }
    } else if dialect.name == envelope::DIALECT.name {
        let mut numbered = received.to_owned();
        envelope::Sequence.complete(&mut numbered, number);
        let envelope = Object::read(&numbered).unwrap_or_else(|| panic!("no object: {numbered}"));
        assert_eq!(
            (envelope.count("sequence"), envelope.get("sequence")),
            (1, Some(&*number.to_string()))
        );
        assert_eq!(
            Some(envelope.less(|key| key == "sequence")),
            Object::read(received),
            "{numbered}"
        );
    }
}

/// Asserts an error with this code, and a message under this key.
pub(crate) fn check_code(error: &Object, message: &str, code: Code) {
    error.assert_once("code", code.as_str());
    assert!(error.text(message).is_some_and(|text| !text.is_empty()), "{error:?}");
}

/// Returns the names of the sender that a Socket.IO signal has because of the target's.
fn counterparts(sent: &Sent) -> impl Iterator<Item = &'static str> {
    let is_there = |(_, target, kinds): &(&str, &str, &[SignalKind])| {
        sent.protocol == Protocol::SocketIo && sent.object.has(target) && kinds.contains(&sent.kind)
    };
    COUNTERPARTS.into_iter().filter(is_there).map(|(field, ..)| field)
}

/// A sender in a room, with ids that must be escaped in JSON and are unlikely elsewhere.
pub(crate) struct Scene {
    protocol: Protocol,
    pub(crate) room: RoomId,
    pub(crate) sender: PeerId,
    pub(crate) connection: ConnectionId,
}

impl Scene {
    pub(crate) fn new(protocol: Protocol) -> Self {
        Self {
            protocol,
            room: RoomId::new(r#"the "room" \ é"#).expect("a good id"),
            sender: PeerId::new(r#"the "sender" \ ü"#).expect("a good id"),
            connection: ConnectionId::from_u128(0x5e4d_e400_0000_0000_0000_0000_0000_0001),
        }
    }

    /// A sender with this metadata.
    pub(crate) fn peer(&self, metadata: &Metadata) -> Arc<Peer> {
        let (id, connection) = (self.sender.clone(), self.connection);
        Arc::new(Peer { id, connection, joined_at: when(), metadata: metadata.clone() })
    }

    /// Checks the encoding of a signal on every protocol.
    pub(crate) fn check_signal(&self, sent: &Sent, signal: &Signal) {
        assert_eq!((signal.origin, signal.kind), (self.protocol.name(), sent.kind));
        let signal = Arc::new(signal.clone());
        for found_by in [FoundBy::PeerId, FoundBy::ConnectionId] {
            let from = self.peer(&Metadata::default());
            let event = Event::SignalRelayed {
                room: self.room.clone(),
                from,
                found_by,
                signal: Arc::clone(&signal),
            };
            for (protocol, dialect) in PROTOCOLS {
                let received = written(dialect, &event).expect("every protocol has signals");
                let body = match protocol {
                    Protocol::SocketIo => self.socketio_signal(sent, found_by, &received),
                    Protocol::Session => self.session_signal(sent, &received),
                    Protocol::Envelope => self.envelope_signal(sent, &received),
                    Protocol::Topic => self.topic_signal(sent, &received),
                };
                if protocol == sent.protocol {
                    assert_eq!(body, as_sent(sent), "{received}");
                } else {
                    check_meaning(protocol, sent, &body, &received);
                }
            }
        }
    }

    /// Checks the encoding of an application message on every protocol.
    pub(crate) fn check_message(&self, sent: &Sent, signal: &Signal) {
        assert_eq!((signal.origin, signal.kind), (self.protocol.name(), SignalKind::Message));
        let name = signal.name.as_deref().expect("an application message has a name");
        let (from, found_by) = (self.peer(&Metadata::default()), FoundBy::PeerId);
        let event = Event::SignalRelayed {
            room: self.room.clone(),
            from,
            found_by,
            signal: Arc::new(signal.clone()),
        };
        assert_eq!(written(&session::DIALECT, &event), None, "no such message there");

        let received =
            written(&topic::DIALECT, &event).expect("the protocol has application messages");
        let as_topic = self.topic_signal(sent, &received);
        let received =
            written(&envelope::DIALECT, &event).expect("the protocol has application messages");
        let as_envelope = self.envelope_signal(sent, &received);
        let received =
            written(&socketio::DIALECT, &event).expect("reserved names are refused earlier");
        let values = array(&received);
        let [event_name, argument] = values[..] else { panic!("one argument: {received}") };
        assert_eq!(raw_string(event_name.get()).as_deref(), Some(name), "{received}");
        match (Object::read(argument.get()), Object::read(sent.data())) {
            (Some(argument), Some(data)) => {
                let is_the_servers =
                    |key: &str| SIGNAL_FIELDS.iter().any(|(field, ..)| *field == key);
                assert_eq!(argument.less(is_the_servers), data.less(is_the_servers), "{received}");
                argument.assert_once("userId", self.sender.as_str());
                argument.assert_once("roomId", self.room.as_str());
                argument.assert_once("socketId", &self.connection.to_string());
                argument.assert_once("from", self.sender.as_str());
            }
            _ => assert_eq!(argument.get(), sent.data(), "{received}"),
        }

        if sent.protocol == Protocol::Topic {
            assert_eq!(as_topic, as_sent(sent));
            as_envelope.assert_once("topic", "message");
            assert_eq!(
                as_envelope.less(|key| key == "topic"),
                Object::default().with("data", sent.data())
            );
        } else {
            assert_eq!(as_envelope, as_sent(sent));
            assert_eq!(as_topic, Object::default().with("payload", sent.data()));
        }
    }

    /// Checks the sender fields; the rest is the sender's.
    fn socketio_signal(&self, sent: &Sent, found_by: FoundBy, received: &str) -> Object {
        let object = Object::of_event(received, word(sent.kind, "ice-candidate"));
        assert_eq!(array(received).len(), 2);
        let connection = self.connection.to_string();
        let reply = if found_by == FoundBy::PeerId { self.sender.as_str() } else { &connection };
        for (field, says, beside) in SIGNAL_FIELDS {
            let wrote = |key| sent.protocol == Protocol::SocketIo && sent.object.has(key);
            if !(beside.is_empty() || beside.iter().any(|key| wrote(key)) || wrote(field)) {
                assert_eq!(object.count(field), 0, "{field}: {received}");
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
        object.less(|key| {
            SIGNAL_FIELDS.iter().any(|(field, ..)| *field == key) || counterparts.contains(&key)
        })
    }

    fn session_signal(&self, sent: &Sent, received: &str) -> Object {
        let object = Object::read(received).expect("an object");
        object.assert_once("type", word(sent.kind, "candidate"));
        object.assert_once("sessionId", self.room.as_str());
        // Peers are anonymous in this protocol.
        let connection = self.connection.to_string();
        assert!(
            !received.contains("the \\\"sender") && !received.contains(&connection),
            "{received}"
        );
        object.less(|key| key == "type" || key == "sessionId")
    }

    fn envelope_signal(&self, sent: &Sent, received: &str) -> Object {
        let kind = match sent.kind {
            SignalKind::Offer => "sdp:offer",
            SignalKind::Answer => "sdp:answer",
            SignalKind::Candidate => "ice:candidate",
            SignalKind::Message => "room:message",
        };
        let payload = payload(received, kind);
        payload.assert_once("fromUserId", self.sender.as_str());
        payload.assert_once("roomId", self.room.as_str());
        payload.less(|key| key == "fromUserId" || key == "roomId")
    }

    fn topic_signal(&self, sent: &Sent, received: &str) -> Object {
        let object = Object::read(received).expect("an object");
        object.assert_once("type", word(sent.kind, "ice-candidate"));
        object.assert_once("from", self.sender.as_str());
        object.less(|key| key == "type" || key == "from")
    }
}

/// Returns the payload of an envelope of this type.
pub(crate) fn payload(received: &str, kind: &str) -> Object {
    let envelope = Object::read(received).unwrap_or_else(|| panic!("no object: {received}"));
    envelope.assert_once("type", kind);
    assert_eq!(envelope.count("payload"), 1, "{received}");
    assert!(
        envelope.get("timestamp").is_some_and(|timestamp| timestamp.parse::<u64>().is_ok()),
        "{received}"
    );
    envelope
        .get("payload")
        .and_then(Object::read)
        .unwrap_or_else(|| panic!("no payload: {received}"))
}

/// Returns the fields that a client on the sender's protocol reads in addition to the server's:
/// those that the sender sent.
fn as_sent(sent: &Sent) -> Object {
    let object = &sent.object;
    match sent.protocol {
        Protocol::SocketIo => object.less(|key| {
            SIGNAL_FIELDS.iter().any(|(field, ..)| *field == key)
                || counterparts(sent).any(|field| field == key)
        }),
        Protocol::Session => object.less(|key| key == "type" || key == "sessionId"),
        Protocol::Envelope => {
            let payload = object.less(|key| ["fromUserId", "roomId", "sentAt"].contains(&key));
            sent.timestamp
                .iter()
                .fold(payload, |payload, timestamp| payload.with("sentAt", timestamp))
        }
        Protocol::Topic if object.has("payload") => {
            object.less(|key| key != "payload" && key != "msgId")
        }
        Protocol::Topic => {
            let payload = Object::default().with("payload", "null");
            object.get("msgId").into_iter().fold(payload, |payload, id| payload.with("msgId", id))
        }
    }
}

/// Asserts that a client on another protocol reads the meaning of the sender's message.
fn check_meaning(protocol: Protocol, sent: &Sent, body: &Object, received: &str) {
    let is_candidate = sent.kind == SignalKind::Candidate;
    let key = match (protocol, sent.kind) {
        // An envelope's payload is the description or the candidate.
        (Protocol::Envelope, _) => return check_typed(sent, body, received),
        (Protocol::SocketIo, kind) => word(kind, "candidate"),
        (Protocol::Session, _) => {
            if is_candidate {
                "candidate"
            } else {
                "sdp"
            }
        }
        (Protocol::Topic, _) => "payload",
    };
    let value = body.get(key).unwrap_or_else(|| panic!("no {key}: {received}"));
    assert_eq!(body.less(|name| name == key), Object::default(), "nothing else: {received}");
    let object = Object::read(value);
    let member = |key| object.as_ref().and_then(|object| object.get(key));
    match sent.meaning() {
        Meaning::Description { sdp, kind } => {
            assert_eq!((member("sdp"), member("type")), (Some(&*sdp), Some(&*kind)), "{received}");
        }
        Meaning::Candidate { candidate, place } => {
            assert_eq!(member("candidate"), Some(&*candidate), "{received}");
            let Some(Place { media, index }) = place else { return };
            for (key, expected) in [("sdpMid", media), ("sdpMLineIndex", index)] {
                // Malformed fields are relayed unchanged.
                if let Some(expected) = expected {
                    assert_eq!(member(key), Some(&*expected), "{received}");
                }
            }
        }
        Meaning::EndOfCandidates => assert_eq!(value, "null", "{received}"),
        Meaning::Other => {}
    }
}

/// Checks that the fields have the documented types, for clients in typed languages.
fn check_typed(sent: &Sent, body: &Object, received: &str) {
    let is_text = |key| body.get(key).is_some_and(|value| value.starts_with('"'));
    if sent.kind == SignalKind::Candidate {
        assert!(is_text("candidate") || body.get("candidate") == Some("null"), "{received}");
        assert!(is_text("sdpMid") || body.get("sdpMid") == Some("null"), "{received}");
        let index = body.get("sdpMLineIndex").expect("an index");
        assert!(index == "null" || index.parse::<f64>().is_ok(), "{received}");
    } else {
        assert!(is_text("sdp") && is_text("type"), "{received}");
    }
    match sent.meaning() {
        Meaning::Description { sdp, kind } => {
            assert_eq!(
                (body.get("sdp"), body.get("type")),
                (Some(&*sdp), Some(&*kind)),
                "{received}"
            );
        }
        Meaning::Candidate { candidate, place } => {
            assert_eq!(body.get("candidate"), Some(&*candidate), "{received}");
            let Some(Place { media, index }) = place else { return };
            assert_eq!(body.get("sdpMid"), Some(media.as_deref().unwrap_or("null")), "{received}");
            assert_eq!(
                body.get("sdpMLineIndex"),
                Some(index.as_deref().unwrap_or("null")),
                "{received}"
            );
        }
        Meaning::EndOfCandidates => assert_eq!(body.get("candidate"), Some("null"), "{received}"),
        Meaning::Other => {}
    }
}
