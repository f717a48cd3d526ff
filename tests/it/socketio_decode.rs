//! Decoding of Socket.IO messages: no input causes a panic, and relayed bodies are JSON.

use std::sync::Arc;
use std::time::SystemTime;

use parlor::dialect::Frame;
use parlor::dialect::socketio::interpret::Interpreted;
use parlor::dialect::socketio::{decode, encode};
use parlor::id::{ConnectionId, PeerId, RoomId};
use parlor::room::{Command, Event, FoundBy, Metadata, Peer};
use proptest::prelude::*;

use crate::support::frames::interpreted;

/// Returns arbitrary JSON with the keys of the protocol among its keys.
fn json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        ".*".prop_map(Into::into),
    ];
    let key = prop_oneof![
        prop::sample::select(vec![
            "roomId",
            "room",
            "userId",
            "peerId",
            "targetId",
            "target",
            "to",
            "targetSocketId",
            "offer",
            "answer",
            "candidate",
            "from",
            "senderId",
            "sdp",
            "id",
        ])
        .prop_map(str::to_owned),
        ".*",
    ];
    leaf.prop_recursive(4, 64, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Into::into),
            prop::collection::hash_map(key.clone(), inner, 0..8)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

fn event_name() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "join-room",
            "leave-room",
            "offer",
            "answer",
            "ice-candidate",
            "auth"
        ])
        .prop_map(str::to_owned),
        ".*",
    ]
}

/// Decodes a message, and encodes the result as if its sender were in the room `r`.
fn pass(text: &str) {
    _ = decode::token(text);
    let Some(Ok(Interpreted::Command(command))) = interpreted(text) else { return };
    let peer = |metadata| {
        let (id, connection) = (PeerId::new("ann").unwrap(), ConnectionId::from_u128(1));
        Arc::new(Peer { id, connection, joined_at: SystemTime::UNIX_EPOCH, metadata })
    };
    let room = RoomId::new("r").unwrap();
    let event = match command {
        Command::Join { metadata, .. } => Event::PeerJoined { room, peer: peer(metadata) },
        Command::Relay { signal, .. } => {
            let (from, signal) = (peer(Metadata::default()), Arc::new(signal));
            Event::SignalRelayed { room, from, found_by: FoundBy::PeerId, signal }
        }
        Command::Leave { .. }
        | Command::Inspect { .. }
        | Command::HangUp { .. }
        | Command::Update { .. } => return,
    };
    let Some(Frame::Text(frame)) = encode::event(&event) else { panic!("one event is one frame") };
    let array = frame.strip_prefix("42").expect("an event");
    let written: serde_json::Value =
        serde_json::from_str(array).unwrap_or_else(|error| panic!("{error}: {frame}"));
    if !written[1].is_object() {
        // An application event may have any arguments.
        return;
    }
    assert_eq!(written[1]["roomId"], "r");
    assert_eq!(written[1]["userId"], "ann");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn arbitrary_text_does_not_panic(text in ".*") {
        pass(&text);
    }

    #[test]
    fn arbitrary_events_do_not_panic(name in event_name(), arguments in prop::collection::vec(json(), 0..4)) {
        let mut event = vec![serde_json::Value::from(name)];
        event.extend(arguments);
        pass(&serde_json::Value::Array(event).to_string());
    }

    #[test]
    fn truncated_events_do_not_panic(name in event_name(), argument in json(), cut in any::<prop::sample::Index>()) {
        let text = serde_json::json!([name, argument]).to_string();
        let cut = (0..=cut.index(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        pass(&text[..cut]);
    }
}
