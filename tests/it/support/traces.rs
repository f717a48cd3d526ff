//! Properties of arbitrary traces: inference does not panic, and writes a valid profile.

use parlor::dialect::socketio::profile::Profile;
use parlor::record::infer::infer;
use parlor::record::trace::{Entry, Message, RecordedClient, Trace, What};
use serde_json::{Value, json};

const EVENTS: [&str; 16] = [
    "join",
    "join-room",
    "leave",
    "offer",
    "answer",
    "candidate",
    "signal",
    "chat",
    "user-joined",
    "users",
    "ready",
    "error",
    "connect",
    "room-users",
    "odd \"name\"",
    "$event",
];
const CLIENTS: usize = 4;

/// Infers a profile from a trace that is derived from the bytes: four for each entry.
pub(crate) fn check(data: &[u8]) {
    let clients = (0..CLIENTS).map(|client| RecordedClient {
        id: id(client),
        revision: 4,
        ..RecordedClient::default()
    });
    let mut trace = Trace { clients: clients.collect(), ..Trace::default() };
    trace.entries = data.chunks_exact(4).map(entry).collect();
    let Ok(inferred) = infer(&trace) else { return };
    for unexplained in &inferred.unexplained {
        assert!(
            !unexplained.event.is_empty() && !unexplained.example.is_empty(),
            "{unexplained:?}"
        );
    }
    let text = inferred.to_toml("fuzzed", "made of bytes", "two\nlines \u{7}");
    if let Err(error) = Profile::read("fuzzed.toml", &text) {
        panic!("{error}\n{text}");
    }
}

fn id(client: usize) -> String {
    format!("id-of-{client}-0123456789")
}

fn entry(bytes: &[u8]) -> Entry {
    let [what, event, first, second] = bytes.try_into().expect("chunks of four");
    let client = usize::from(what) % CLIENTS;
    let args = match second % 4 {
        0 => vec![value(first, 2)],
        1 => vec![value(first, 2), value(second, 1)],
        2 => vec![value(first, 0), value(second, 2), value(first ^ second, 1)],
        _ => Vec::new(),
    };
    let ack = (second % 5 == 0).then_some(u64::from(first));
    let event = EVENTS[usize::from(event) % EVENTS.len()].to_owned();
    let message = Message { event, args, ack, attachments: 0 };
    let what = match what / 4 % 16 {
        0 => What::Connected,
        1 => What::Disconnected,
        2 => What::Acknowledged { ack: u64::from(first), args: message.args },
        3..9 => What::Sent(message),
        _ => What::Received(message),
    };
    Entry { at: 0, client, what }
}

/// Returns a value of a call: ids, rooms, bodies, times, flags, and objects and lists of them.
fn value(byte: u8, depth: u8) -> Value {
    let client = usize::from(byte / 16);
    match byte % 16 {
        0 | 1 => Value::from(id(client % CLIENTS)),
        2 => json!("room"),
        3 => json!({ "type": "offer", "sdp": format!("v=0 {client}") }),
        4 => json!({ "type": "answer", "sdp": format!("v=0 {client}") }),
        5 => json!({ "candidate": format!("candidate:{client} 1 udp"), "sdpMid": "0" }),
        6 => json!(format!("v=0 {client}")),
        7 => Value::Null,
        8 => json!(client % 2 == 0),
        9 => json!(client),
        10 => json!("2026-01-01T00:00:00Z"),
        11 => json!(format!("user-{}", client % CLIENTS)),
        12 if depth > 0 => json!([value(byte / 3, depth - 1), value(byte / 5, depth - 1)]),
        12 | 13 => json!("$text"),
        _ if depth == 0 => json!(1.5),
        14 => {
            json!({ "room": "room", "name": format!("name {client}"), "to": value(byte / 7, depth - 1) })
        }
        _ => {
            json!({ "target": id(client % CLIENTS), "data": value(byte / 16, depth - 1), "a key": value(byte / 2, 0) })
        }
    }
}
