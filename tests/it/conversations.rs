//! The dialects of plain WebSocket protocols, without a socket: recorded frames in both directions,
//! and arbitrary input.

use std::sync::Arc;
use std::time::Duration;

use parlor::dialect::{
    Begin, Conversation, Dialect, Frame, Hello, Step, envelope, session, socketio, topic,
};
use parlor::id::{ConnectionId, PeerId, RoomId};
use parlor::room::{
    Answer, Command, Event, FoundBy, LeaveReason, Metadata, Peer, RemovalReason, Signal,
    SignalKind, Snapshot,
};
use proptest::prelude::*;

use crate::support::frames::{cases, line, when};

fn begin(begin: Begin) -> Box<dyn Conversation> {
    let connection = ConnectionId::from_u128(1);
    let hello = Hello {
        connection,
        segment: Some("r"),
        query: &[],
        languages: None,
        now: when(),
        heartbeat: Duration::from_secs(30),
        needs_token: false,
        ice_servers: None,
    };
    begin(&hello).unwrap_or_else(|error| panic!("{error}"))
}

fn frame(frame: Frame) -> String {
    match frame {
        Frame::Text(text) => text,
        Frame::WithToken(message) => message.text(),
        Frame::WithAttachments(text, _) => panic!("attachments: {text}"),
        Frame::Several(texts) => texts.join(" "),
        Frame::Close(code, reason) => format!("close {code} {reason}"),
    }
}

/// Decodes the first message of a new conversation.
fn first_step(open: Begin, text: &str) -> String {
    let mut conversation = begin(open);
    match conversation.receive(text, when()) {
        Some(Step::Tell(received) | Step::Refuse(_, received)) => {
            format!("tell {}", frame(received))
        }
        Some(Step::Do(command @ Command::Join { .. })) => {
            let joined = line(command);
            match conversation.answer(Ok(Answer::Joined(snapshot())), when()) {
                Some(Step::Do(next)) => format!("{joined}, then {}", line(next)),
                None => joined,
                other => panic!("{other:?}"),
            }
        }
        Some(Step::Do(command)) => line(command),
        Some(Step::Media(message)) => {
            format!("media {:?} {:?}", message.room, message.request)
        }
        Some(Step::Authenticate(_)) => match conversation.authenticated(Ok(None), when()) {
            Some(Step::Tell(received)) => format!("tell {}", frame(received)),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

#[test]
fn recorded_messages_are_decoded() {
    for (open, frames) in [
        (topic::begin as Begin, include_str!("../fixtures/topic/decode.txt")),
        (session::begin, include_str!("../fixtures/session/decode.txt")),
        (envelope::begin, include_str!("../fixtures/envelope/decode.txt")),
    ] {
        for (text, expected) in cases(frames, "< ", "= ") {
            assert_eq!(first_step(open, text), expected, "{text}");
        }
    }
}

fn peer(number: u128, id: &str, metadata: &str) -> Arc<Peer> {
    let connection = ConnectionId::from_u128(number);
    Arc::new(Peer {
        id: PeerId::new(id).unwrap(),
        connection,
        joined_at: when(),
        metadata: Metadata::new(metadata),
    })
}

fn ann() -> Arc<Peer> {
    peer(1, "ann", r#""name":"Ann","id":"hers""#)
}

fn room() -> RoomId {
    RoomId::new("r").unwrap()
}

fn snapshot() -> Arc<Snapshot> {
    let me = peer(2, "bob", "");
    Arc::new(Snapshot {
        room: room(),
        created_at: when(),
        capacity: 2,
        peers: vec![ann(), Arc::clone(&me)],
        me,
    })
}

fn relayed(kind: SignalKind, dialect: &Dialect, body: &str, content: &str) -> Event {
    let start = body.find(content).expect("the content is in the body");
    let content = start..start + content.len();
    let name = (kind == SignalKind::Message).then(|| "chat".into());
    let signal = Arc::new(Signal {
        kind,
        name,
        origin: dialect.name,
        body: body.into(),
        content,
        note: 0,
        echo: false,
        attachments: Vec::new(),
    });
    Event::SignalRelayed { room: room(), from: ann(), found_by: FoundBy::PeerId, signal }
}

fn event(case: &str, dialect: &Dialect) -> Event {
    match case {
        "joined" => Event::Joined(snapshot()),
        "joined an empty room" => {
            let me = ann();
            let peers = vec![Arc::clone(&me)];
            Event::Joined(Arc::new(Snapshot {
                room: room(),
                created_at: when(),
                capacity: 2,
                peers,
                me,
            }))
        }
        "peer joined" => Event::PeerJoined { room: room(), peer: ann() },
        "peer left" => Event::PeerLeft { room: room(), peer: ann(), reason: LeaveReason::TimedOut },
        "replaced" => Event::Removed { room: room(), reason: RemovalReason::Replaced },
        "room closed" => Event::Removed { room: room(), reason: RemovalReason::Closed },
        "hung up" => Event::Removed { room: room(), reason: RemovalReason::HungUp },
        "offer of its own" => {
            let body = match dialect.name {
                "topic" => r#"{"payload":{"type":"offer","sdp":"v=0"},"msgId":"m1"}"#,
                "session" => r#"{"sdp":"v=0","mine":{"a":1}}"#,
                _ => r#"{"sdp":"v=0","x":1,"sentAt":5}"#,
            };
            relayed(SignalKind::Offer, dialect, body, body)
        }
        "message of its own" => {
            let body = match dialect.name {
                "topic" => r#"{"payload":{"text":"hi"},"msgId":"m1"}"#,
                _ => r#"{"topic":"chat","data":{"text":"hi"},"mine":1}"#,
            };
            relayed(SignalKind::Message, dialect, body, r#"{"text":"hi"}"#)
        }
        "message of another" => {
            relayed(SignalKind::Message, &socketio::DIALECT, r#"["hi",5]"#, r#"["hi",5]"#)
        }
        "message without data" => relayed(SignalKind::Message, &socketio::DIALECT, "[]", ""),
        "peer updated" => Event::PeerUpdated { room: room(), peer: ann() },
        "offer of another" => {
            let body = r#"{"targetId":"bob","offer":{"type":"offer","sdp":"v=0\r\n"},"mine":1}"#;
            relayed(
                SignalKind::Offer,
                &socketio::DIALECT,
                body,
                r#"{"type":"offer","sdp":"v=0\r\n"}"#,
            )
        }
        "candidate of another" => {
            let body = r#"{"candidate":{"candidate":"c","sdpMid":"0","sdpMLineIndex":0}}"#;
            relayed(
                SignalKind::Candidate,
                &socketio::DIALECT,
                body,
                r#"{"candidate":"c","sdpMid":"0","sdpMLineIndex":0}"#,
            )
        }
        "end of candidates of another" => {
            relayed(SignalKind::Candidate, &socketio::DIALECT, r#"{"candidate":null}"#, "null")
        }
        other => panic!("no such case: {other}"),
    }
}

#[test]
fn events_are_encoded_as_recorded() {
    for (dialect, frames) in [
        (&topic::DIALECT, include_str!("../fixtures/topic/encode.txt")),
        (&session::DIALECT, include_str!("../fixtures/session/encode.txt")),
        (&envelope::DIALECT, include_str!("../fixtures/envelope/encode.txt")),
    ] {
        for (case, expected) in cases(frames, "= ", "> ") {
            let received =
                (dialect.encode)(&event(case, dialect), when()).map_or("nothing".to_owned(), frame);
            assert_eq!(received, expected, "{}: {case}", dialect.name);
        }
    }
}

#[test]
fn client_that_begins_with_dots_is_answered_with_dots() {
    let mut conversation = begin(envelope::begin);
    let Some(Step::Do(_)) =
        conversation.receive(r#"{"type":"room.join","payload":{"roomId":"r"}}"#, when())
    else {
        panic!()
    };
    let welcome = frame(conversation.welcome(&snapshot(), when()).unwrap());
    assert!(welcome.starts_with(r#"{"type":"room.state""#), "{welcome}");
    let received =
        (conversation.current_dialect().encode)(&event("peer joined", &envelope::DIALECT), when())
            .map(frame)
            .unwrap();
    assert!(received.starts_with(r#"{"type":"room.participant-joined""#), "{received}");
    // Later messages do not change the style.
    conversation.receive(r#"{"type":"room:state","payload":{"roomId":"r"}}"#, when());
    let Some(Step::Tell(received)) = conversation.answer(Ok(Answer::Inspected(snapshot())), when())
    else {
        panic!()
    };
    assert!(frame(received).starts_with(r#"{"type":"room.state""#));
}

/// The metadata of a Socket.IO peer cannot pass for fields of the server.
#[test]
fn topic_metadata_cannot_impersonate() {
    let event = Event::PeerJoined { room: room(), peer: ann() };
    let received = (socketio::DIALECT.encode)(&event, when()).map(frame).unwrap();
    assert!(received.contains(r#""id":"ann""#) && !received.contains("hers"), "{received}");
}

/// Clients in typed languages get text where text is documented, whatever a topic peer sent.
#[test]
fn unknown_descriptions_are_text_for_typed_clients() {
    for (kind, payload, expected) in [
        (SignalKind::Offer, "7", r#""sdp":"7","type":"offer""#),
        (SignalKind::Answer, r#"{"a":1}"#, r#""sdp":"{\"a\":1}","type":"answer""#),
        (SignalKind::Candidate, "7", r#""candidate":"7","sdpMid":null,"sdpMLineIndex":null"#),
        (
            SignalKind::Candidate,
            r#"{"candidate":"c","sdpMid":5,"sdpMLineIndex":"x"}"#,
            r#""candidate":"c","sdpMid":null,"sdpMLineIndex":null"#,
        ),
        (SignalKind::Candidate, r#""c""#, r#""candidate":"c","sdpMid":null,"sdpMLineIndex":0"#),
    ] {
        let event = relayed(kind, &topic::DIALECT, &format!(r#"{{"payload":{payload}}}"#), payload);
        let received = (envelope::DIALECT.encode)(&event, when()).map(frame).unwrap();
        assert!(received.contains(expected), "{received}");
    }
}

/// Keywords of the protocols between arbitrary text.
fn message() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec![
        "type",
        "payload",
        "to",
        "msgId",
        "sessionId",
        "sdp",
        "candidate",
        "roomId",
        "targetUserId",
        "correlationId",
        "user",
        "id",
        "metadata",
        "timestamp",
        "room:join",
        "room.state",
        "sdp:offer",
        "ice:candidate",
        "offer",
        "answer",
        "join",
        "hangup",
        "ping",
        "auth:request",
        "produce",
        "ice-candidate",
        "message",
        "room:message",
        "room:update",
        "topic",
        "data",
        "chat",
    ]);
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        word.clone().prop_map(Into::into),
        ".*".prop_map(Into::into),
    ];
    let json = leaf.prop_recursive(4, 48, 8, move |inner| {
        let key = prop_oneof![3 => word.clone().prop_map(str::to_owned), 1 => ".*"];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
            prop::collection::hash_map(key, inner, 0..8)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    });
    prop_oneof![4 => json.prop_map(|json| json.to_string()), 1 => ".*"]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// No message makes a conversation panic, and everything that is relayed is JSON on every
    /// protocol.
    #[test]
    fn arbitrary_messages_do_not_panic(text in message(), cut in any::<prop::sample::Index>()) {
        let cut = (0..=cut.index(text.len() + 1)).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        for open in [topic::begin as Begin, session::begin, envelope::begin] {
            for text in [&text[..], &text[..cut]] {
                let mut conversation = begin(open);
                let mut step = conversation.receive(text, when());
                if let Some(Step::Do(Command::Join { .. })) = step {
                    step = conversation.answer(Ok(Answer::Joined(snapshot())), when());
                }
                let Some(Step::Do(Command::Relay { signal, .. })) = step else { continue };
                let (signal, is_message) = (Arc::new(signal.clone()), signal.kind == SignalKind::Message);
                let event = Event::SignalRelayed { room: room(), from: ann(), found_by: FoundBy::PeerId, signal };
                for dialect in [&topic::DIALECT, &session::DIALECT, &envelope::DIALECT, &socketio::DIALECT] {
                    let Some(received) = (dialect.encode)(&event, when()).map(frame) else {
                        assert!(is_message && dialect.name == session::DIALECT.name, "only /signal has no messages");
                        continue;
                    };
                    let json = received.strip_prefix("42").unwrap_or(&received);
                    serde_json::from_str::<serde_json::Value>(json)
                        .unwrap_or_else(|error| panic!("{error}: {received} of {text}"));
                }
            }
        }
    }
}
