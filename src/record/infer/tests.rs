//! Tests of inference, each from a short script of events.

mod rules;

use serde_json::Value;

use super::{InferError, Inferred, infer};
use crate::record::trace::{Entry, Message, RecordedClient, Trace, What};

const OFFER: &str = r#"{"type":"offer","sdp":"v=0 offer"}"#;
const ANSWER: &str = r#"{"type":"answer","sdp":"v=0 answer"}"#;

/// Reads a script, an entry a line: `A +` connects client A, whose id is `id-a`; `A -` disconnects
/// it; `A > event [args]` is sent by it and `A < event [args]` received. `OFFER`, `ANSWER` and
/// `CANDIDATE` stand for bodies.
fn trace(script: &str) -> Trace {
    let mut trace = Trace::default();
    let mut names: Vec<char> = Vec::new();
    for (index, line) in script.lines().map(str::trim).filter(|line| !line.is_empty()).enumerate() {
        let name = line.chars().next().unwrap();
        let client = names.iter().position(|known| *known == name).unwrap_or_else(|| {
            let id = format!("id-{}-0123456789", name.to_lowercase());
            trace.clients.push(RecordedClient {
                id,
                namespace: "/".into(),
                path: "/socket.io/".into(),
                revision: 4,
                ..RecordedClient::default()
            });
            names.push(name);
            names.len() - 1
        });
        let message = |rest: &str| {
            let (event, args) = rest
                .split_once(" [")
                .map_or((rest, String::new()), |(event, args)| (event, format!("[{args}")));
            let candidate = format!(r#"{{"candidate":"candidate:{index} 1 udp","sdpMid":"0"}}"#);
            let args = args
                .replace("OFFER", OFFER)
                .replace("ANSWER", ANSWER)
                .replace("CANDIDATE", &candidate);
            let args: Vec<Value> = if args.is_empty() {
                Vec::new()
            } else {
                serde_json::from_str(&args).expect(&args)
            };
            Message { event: event.trim().to_owned(), args, ..Message::default() }
        };
        let what = match line[1..].trim_start().split_at(1) {
            ("+", _) => What::Connected,
            ("-", _) => What::Disconnected,
            (">", rest) => What::Sent(message(rest.trim_start())),
            ("<", rest) => What::Received(message(rest.trim_start())),
            other => panic!("{other:?}"),
        };
        trace.entries.push(Entry { at: index as u64, client, what });
    }
    trace
}

fn inferred(script: &str) -> (Inferred, String) {
    let inferred = infer(&trace(script)).unwrap();
    let text = inferred.to_toml("test", "", "");
    let rules = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).skip(2);
    let rules: Vec<&str> = rules.collect();
    (inferred, format!("{}\n", rules.join("\n")))
}

/// Writes one candidate into both lines of a delivery.
fn delivery(sent: &str, received: &str) -> String {
    let candidate = r#"{"candidate":"candidate:1 1 udp","sdpMid":"0"}"#;
    format!(
        "{}\n{}\n",
        sent.replace("CANDIDATE", candidate),
        received.replace("CANDIDATE", candidate)
    )
}

#[test]
fn bare_strings_become_positions() {
    let script = format!(
        r#"
        A +
        A > join-room ["room-1","user-1"]
        B +
        B > join-room ["room-1","user-2"]
        A < user-connected ["user-2"]
        A > offer [OFFER,"user-2"]
        B < offer [OFFER,"user-1"]
        B > answer [ANSWER,"user-1"]
        A < answer [ANSWER,"user-2"]
        C +
        C > join-room ["room-1","user-3"]
        A < user-connected ["user-3"]
        B < user-connected ["user-3"]
        {}
        A > message ["hello"]
        B < createMessage ["hello"]
        C < createMessage ["hello"]
        A < createMessage ["hello"]
        B -
        A < user-disconnected ["user-2"]
        C < user-disconnected ["user-2"]
        "#,
        delivery(r#"A > ice [CANDIDATE,"user-3"]"#, r#"C < ice [CANDIDATE,"user-1"]"#)
    );
    let (inferred, rules) = inferred(&script);
    assert_eq!(
        rules,
        r#"[[in]]
event = "join-room"
does = "join"
args = ["$room", "$user"]
[[in]]
event = "offer"
does = "offer"
args = ["$body", "$target"]
[[in]]
event = "answer"
does = "answer"
args = ["$body", "$target"]
[[in]]
event = "ice"
does = "candidate"
args = ["$body", "$target"]
[[out]]
on = "offer"
event = "offer"
args = ["$body", "$from.userId"]
[[out]]
on = "answer"
event = "answer"
args = ["$body", "$from.userId"]
[[out]]
on = "candidate"
event = "ice"
args = ["$body", "$from.userId"]
[[out]]
on = "peer-joined"
event = "user-connected"
args = ["$peer.userId"]
[[out]]
on = "peer-left"
event = "user-disconnected"
args = ["$peer.userId"]
[[out]]
on = "joined"
"#
    );
    assert_eq!(inferred.relay_events.as_deref(), Some("all,message>createMessage!"));
    assert_eq!(inferred.unexplained, []);
}

#[test]
fn both_sides_are_notified_of_each_other() {
    let script = format!(
        r#"
        A +
        A > join [{{"room":"r"}}]
        B +
        B > join [{{"room":"r"}}]
        A < add-peer [{{"peerID":"id-b-0123456789","createOffer":false}}]
        B < add-peer [{{"peerID":"id-a-0123456789","createOffer":true}}]
        B > relay-sdp [{{"peerID":"id-a-0123456789","sessionDescription":OFFER}}]
        A < session-description [{{"peerID":"id-b-0123456789","sessionDescription":OFFER}}]
        A > relay-sdp [{{"peerID":"id-b-0123456789","sessionDescription":ANSWER}}]
        B < session-description [{{"peerID":"id-a-0123456789","sessionDescription":ANSWER}}]
        {}
        C +
        C > join [{{"room":"r"}}]
        A < add-peer [{{"peerID":"id-c-0123456789","createOffer":false}}]
        C < add-peer [{{"peerID":"id-a-0123456789","createOffer":true}}]
        B < add-peer [{{"peerID":"id-c-0123456789","createOffer":false}}]
        C < add-peer [{{"peerID":"id-b-0123456789","createOffer":true}}]
        A -
        B < remove-peer [{{"peerID":"id-a-0123456789"}}]
        C < remove-peer [{{"peerID":"id-a-0123456789"}}]
        "#,
        delivery(
            r#"A > relay-ice [{"peerID":"id-b-0123456789","iceCandidate":CANDIDATE}]"#,
            r#"B < ice-candidate [{"peerID":"id-a-0123456789","iceCandidate":CANDIDATE}]"#
        )
    );
    let (inferred, rules) = inferred(&script);
    assert_eq!(
        rules,
        r#"[[in]]
event = "join"
does = "join"
args = [{ room = "$room" }]
[[in]]
event = "relay-sdp"
does = "signal"
args = [{ peerID = "$target", sessionDescription = "$body" }]
[[in]]
event = "relay-ice"
does = "candidate"
args = [{ iceCandidate = "$body", peerID = "$target" }]
[[out]]
on = ["offer", "answer"]
event = "session-description"
args = [{ peerID = "$from.socketId", sessionDescription = "$body" }]
[[out]]
on = "candidate"
event = "ice-candidate"
args = [{ iceCandidate = "$body", peerID = "$from.socketId" }]
[[out]]
on = "joined"
event = "add-peer"
each = "peers"
args = [{ createOffer = true, peerID = "$peer.socketId" }]
[[out]]
on = "peer-joined"
event = "add-peer"
args = [{ createOffer = false, peerID = "$peer.socketId" }]
[[out]]
on = "peer-left"
event = "remove-peer"
args = [{ peerID = "$peer.socketId" }]
"#
    );
    assert_eq!((inferred.relay_events, inferred.unexplained), (None, vec![]));
}

#[test]
fn lists_to_all_become_users_changed() {
    let (inferred, rules) = inferred(
        r#"
        A +
        A > enter [{"roomName":"blue","username":"Ann"}]
        A < users [[{"id":"id-a-0123456789","name":"Ann"}],1]
        B +
        B > enter [{"roomName":"blue","username":"Bo"}]
        A < users [[{"id":"id-a-0123456789","name":"Ann"},{"id":"id-b-0123456789","name":"Bo"}],2]
        B < users [[{"id":"id-a-0123456789","name":"Ann"},{"id":"id-b-0123456789","name":"Bo"}],2]
        B > call [{"to":"id-a-0123456789","offer":OFFER}]
        A < called [{"from":"id-b-0123456789","by":"Bo","offer":OFFER}]
        A > accept [{"to":"id-b-0123456789","answer":ANSWER}]
        B < accepted [{"from":"id-a-0123456789","answer":ANSWER}]
        B > mute [{"muted":true}]
        A < mute [{"muted":true,"at":1700000000000}]
        B > leave-room []
        A < users [[{"id":"id-a-0123456789","name":"Ann"}],1]
        "#,
    );
    assert_eq!(
        rules,
        r#"[[in]]
event = "enter"
does = "join"
args = [{ roomName = "$room", username = "$meta.name" }]
[[in]]
event = "leave-room"
does = "leave"
[[in]]
event = "call"
does = "offer"
args = [{ offer = "$body", to = "$target" }]
[[in]]
event = "accept"
does = "answer"
args = [{ answer = "$body", to = "$target" }]
[[out]]
on = "offer"
event = "called"
args = [{ by = "$from.name", from = "$from.socketId", offer = "$body" }]
[[out]]
on = "answer"
event = "accepted"
args = [{ answer = "$body", from = "$from.socketId" }]
[[out]]
on = "users-changed"
event = "users"
args = ["$users", "$count"]
[[out]]
on = "relay"
of = "mute"
event = "mute"
args = [{ muted = "$data.muted" }]
[[out]]
on = ["joined", "peer-joined", "peer-left"]
"#
    );
    let unexplained: Vec<String> = inferred.unexplained.iter().map(ToString::to_string).collect();
    assert_eq!(unexplained, ["`mute: argument 1.at` (a time), for example 1700000000000"]);
}

#[test]
fn events_without_a_rule_are_listed_with_an_example() {
    let (inferred, rules) = inferred(
        r#"
        A +
        A < me ["id-a-0123456789"]
        A > join [{"room":"r"}]
        A < welcome [{"motd":"be kind","token":"3e1f0a3cfe4b4a4fb0a3cfe4b4a4fb0a"}]
        B +
        B < me ["id-b-0123456789"]
        B > join [{"room":"r"}]
        B < welcome [{"motd":"be kind","token":"b7d1c34a1fe94cbb8e4c34a1fe94cbb8"}]
        A > offer [{"offer":OFFER}]
        B < offer [{"offer":OFFER}]
        B > answer [{"answer":ANSWER}]
        A < answer [{"answer":ANSWER}]
        A > get-stats [{"room":"r"}]
        A < stats [{"people":2}]
        "#,
    );
    assert!(rules.contains("event = \"get-stats\"\ndoes = \"ignore\""), "{rules}");
    assert!(rules.contains("event = \"welcome\"\nargs = [{ motd = \"be kind\" }]"), "{rules}");
    assert!(!rules.contains("$target"), "{rules}");
    let events: Vec<&str> = inferred.unexplained.iter().map(|it| it.event.as_str()).collect();
    assert_eq!(events, ["welcome: argument 1.token", "stats", "me"]);
}

#[test]
fn text_descriptions_are_distinguished_by_their_type() {
    let (_, rules) = inferred(
        r#"
        A +
        A > join ["r"]
        B +
        B > join ["r"]
        A < ready ["r"]
        B < ready ["r"]
        A > signal [{"type":"offer","sdp":"v=0 one","room":"r"}]
        B < signal [{"type":"offer","sdp":"v=0 one","room":"r"}]
        B > signal [{"type":"answer","sdp":"v=0 two","room":"r"}]
        A < signal [{"type":"answer","sdp":"v=0 two","room":"r"}]
        "#,
    );
    // The whole object is a description.
    assert!(rules.contains("event = \"signal\"\ndoes = \"signal\"\nargs = [\"$body\"]"), "{rules}");
    assert!(
        rules.contains("on = \"full\"\nevent = \"ready\"\nsize = 2\nargs = [\"$room\"]"),
        "{rules}"
    );
}

#[test]
fn clients_that_name_no_room_share_one() {
    let (inferred, rules) = inferred(
        r#"
        A +
        A > register ["ann-1"]
        B +
        B > register ["bo-2"]
        A > call [{"callee":"bo-2","rtc":OFFER}]
        B < newCall [{"caller":"ann-1","rtc":OFFER}]
        B > accept [{"caller":"ann-1","rtc":ANSWER}]
        A < accepted [{"callee":"bo-2","rtc":ANSWER}]
        "#,
    );
    assert!(
        rules.contains(
            "event = \"register\"\ndoes = \"join\"\nroom = \"everyone\"\nargs = [\"$user\"]"
        ),
        "{rules}"
    );
    assert!(rules.contains("args = [{ callee = \"$target\", rtc = \"$body\" }]"), "{rules}");
    assert!(
        rules.contains(
            "event = \"newCall\"\nargs = [{ caller = \"$from.userId\", rtc = \"$body\" }]"
        ),
        "{rules}"
    );
    assert_eq!(inferred.unexplained, []);
}
