//! Tests of profiles without a server: matching and encoding.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use super::{Context, Does, On, Profile, Recognized, SOURCES};
use crate::dialect::json::Arguments;
use crate::dialect::message;
use crate::id::{ConnectionId, PeerId, RoomId};
use crate::json::JsonText;
use crate::room::{Metadata, Peer};

fn profile(rules: &str) -> Profile {
    Profile::read("test.toml", &format!("name = \"test\"\n{rules}")).unwrap()
}

fn error(rules: &str) -> String {
    Profile::read("test.toml", &format!("name = \"test\"\n{rules}")).unwrap_err().to_string()
}

/// Returns the text of an event.
fn event(name: &str, values: &Value) -> String {
    let values = std::iter::once(json!(name)).chain(values.as_array().unwrap().clone());
    values.collect::<Value>().to_string()
}

/// Returns the values that a rule has bound, as JSON; `None` for a mismatch.
fn bound(profile: &Profile, name: &str, values: &Value) -> Option<(Does, Value)> {
    let text = event(name, values);
    match profile.recognize(&Arguments::read(&text).unwrap(), &text) {
        Recognized::Rule(rule, bindings) => {
            let value = |raw: Option<JsonText<'_>>| {
                raw.map(|raw| serde_json::from_str::<Value>(raw.get()).unwrap())
            };
            let meta: serde_json::Map<String, Value> = bindings
                .meta
                .iter()
                .map(|(key, raw)| (key.to_string(), value(Some(*raw)).unwrap()))
                .collect();
            let all = json!({
                "room": value(bindings.room), "user": value(bindings.user), "target": value(bindings.target),
                "body": value(bindings.body), "meta": meta,
            });
            let Value::Object(all) = all else { unreachable!() };
            let present =
                all.into_iter().filter(|(_, value)| !value.is_null() && *value != json!({}));
            Some((rule.does, Value::Object(present.collect())))
        }
        Recognized::Unknown | Recognized::Mismatch(_) => None,
    }
}

fn nothing() -> Context<'static> {
    Context::new(SystemTime::UNIX_EPOCH, Box::leak(Box::default()))
}

fn peer(number: u128, id: &str, metadata: &str) -> Arc<Peer> {
    Arc::new(Peer {
        id: PeerId::new(id).unwrap(),
        connection: ConnectionId::from_u128(number),
        joined_at: SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(number).unwrap()),
        metadata: Metadata::new(metadata),
    })
}

/// Returns the arrays of the events.
fn texts(profile: &Profile, on: On, context: &Context<'_>) -> Vec<String> {
    let (packets, _) = profile.expand(on, context).unwrap();
    packets.iter().map(|packet| packet.strip_prefix("42").unwrap().to_owned()).collect()
}

fn frames(profile: &Profile, on: On, context: &Context<'_>) -> Vec<Value> {
    texts(profile, on, context).iter().map(|frame| serde_json::from_str(frame).unwrap()).collect()
}

#[test]
fn every_builtin_profile_compiles_under_its_name() {
    assert_eq!(Profile::builtin().len(), SOURCES.len());
    for ((name, _), profile) in SOURCES.iter().zip(Profile::builtin()) {
        assert_eq!(*name, profile.name());
        assert!(!profile.about().is_empty(), "{name}");
    }
    assert_eq!(Profile::standard().name(), "standard");
}

#[test]
fn standard_events_are_reserved_for_all_protocols() {
    for name in Profile::standard().outgoing() {
        assert!(message::is_reserved(name), "{name}");
    }
}

#[test]
fn positional_and_object_arguments_bind() {
    let profile = profile(
        r#"
        [[in]]
        event = "join"
        does = "join"
        args = ["$room", "$user?", "$meta.name"]
        [[in]]
        event = "join"
        does = "join"
        args = [{ room = "$room", kind = "guest", "..." = "$meta" }]
        "#,
    );
    assert_eq!(
        bound(&profile, "join", &json!(["r", "u", "Ann"])),
        Some((Does::Join, json!({ "room": "r", "user": "u", "meta": { "name": "Ann" } })))
    );
    assert_eq!(
        bound(&profile, "join", &json!(["r", null, "Ann", 5])),
        Some((Does::Join, json!({ "room": "r", "meta": { "name": "Ann" } })))
    );
    assert_eq!(
        bound(&profile, "join", &json!([{ "room": 7, "kind": "guest", "age": 3 }])),
        Some((Does::Join, json!({ "room": 7, "meta": { "age": 3 } })))
    );
    for mismatch in [
        json!([]),
        json!(["r"]),
        json!([{ "room": "r" }]),
        json!([{ "room": {}, "kind": "guest" }]),
    ] {
        assert_eq!(bound(&profile, "join", &mismatch), None, "{mismatch}");
    }
}

#[test]
fn a_rule_without_args_matches_anything() {
    let profile = profile("[[in]]\nevent = \"bye\"\ndoes = \"leave\"");
    assert_eq!(bound(&profile, "bye", &json!([1, 2])), Some((Does::Leave, json!({}))));
    assert_eq!(bound(&profile, "other", &json!([])), None);
}

#[test]
fn templates_expand_to_the_documented_values() {
    let profile = profile(
        r#"
        [[out]]
        on = "joined"
        event = "init"
        args = ["$room", { me = "$me.userId", count = "$count", first = "$first", ids = "$peers.socketIds", at = "$now" }]
        [[out]]
        on = "joined"
        event = "peer"
        each = "peers"
        args = [["$peer.id", "$peer.name", "$peer.color?"], { color = "$peer.color?", name = "$peer.name" }]
        "#,
    );
    let ann = peer(1, "ann", r#""name":"Ann \"A\"","color":null"#);
    let bo = peer(2, "bo", "");
    let room = RoomId::new("r\"1").unwrap();
    let peers = [Arc::clone(&ann), Arc::clone(&bo)];
    let context = Context { room: Some(&room), me: Some(&bo), peers: &peers, ..nothing() };
    assert_eq!(
        frames(&profile, On::Joined, &context),
        [
            json!(["init", "r\"1", {
                "me": "bo", "count": 2, "first": false, "ids": [ann.connection.to_string()],
                "at": "1970-01-01T00:00:00.000Z",
            }]),
            json!(["peer", ["ann", "Ann \"A\"", null], { "name": "Ann \"A\"" }]),
        ]
    );
}

#[test]
fn bodies_are_copied_as_text() {
    let profile = profile(
        "[[out]]\non = [\"offer\", \"answer\"]\nevent = \"sdp\"\nargs = [\"$body\", \"$from.socketId\"]",
    );
    let ann = peer(1, "ann", "");
    let body = r#"{ "type" : "offer","sdp":"v=0\r\n","x":1e400 }"#;
    let context = Context { from: Some(&ann), body: Some(body), ..nothing() };
    let expected = format!(r#"["sdp",{body},"{}"]"#, ann.connection);
    assert_eq!(texts(&profile, On::Answer, &context), [expected]);
    assert_eq!(profile.expand(On::Candidate, &context), None);
}

#[test]
fn relayed_events_keep_name_and_arguments() {
    let profile = profile("[[out]]\non = \"relay\"\nevent = \"$event\"\nargs = [\"$args…\"]");
    let context = |arguments| Context { event: Some("chat"), arguments, ..nothing() };
    assert_eq!(texts(&profile, On::Relay, &context(Some("1,\"x\""))), [r#"["chat",1,"x"]"#]);
    assert_eq!(texts(&profile, On::Relay, &context(None)), [r#"["chat"]"#]);
}

#[test]
fn arguments_as_a_value_are_an_array() {
    let profile = profile(
        "[[out]]\non = \"relay\"\nevent = \"app\"\nargs = [{ name = \"$event\", args = \"$args…\" }]",
    );
    let context = |arguments| Context { event: Some("chat"), arguments, ..nothing() };
    let expected = |arguments: &str| format!(r#"["app",{{"name":"chat","args":[{arguments}]}}]"#);
    assert_eq!(texts(&profile, On::Relay, &context(Some("1,\"x\""))), [expected("1,\"x\"")]);
    assert_eq!(texts(&profile, On::Relay, &context(None)), [expected("")]);
}

#[test]
fn full_is_sent_at_its_size_only() {
    let profile = profile("[[out]]\non = \"full\"\nsize = 2\nevent = \"ready\"");
    let peers = [peer(1, "a", ""), peer(2, "b", ""), peer(3, "c", "")];
    let count = |number: usize| {
        let context = Context { peers: &peers[..number], ..nothing() };
        texts(&profile, On::Full, &context).len()
    };
    assert_eq!([count(1), count(2), count(3)], [0, 1, 0]);
}

#[test]
fn rule_for_a_name_takes_precedence() {
    let profile = profile(
        r#"
        [[out]]
        on = "offer"
        event = "any"
        [[out]]
        on = "offer"
        of = ["call", "invite"]
        event = "called"
        [[out]]
        on = "answer"
        of = "call"
        event = "called"
        "#,
    );
    let context = |name| Context { event: Some(name), ..nothing() };
    assert_eq!(texts(&profile, On::Offer, &context("call")), [r#"["called"]"#]);
    assert_eq!(texts(&profile, On::Offer, &context("offer")), [r#"["any"]"#]);
    assert_eq!(
        profile.expand(On::Answer, &context("answer")),
        None,
        "the event of standard is sent"
    );
}

#[test]
fn a_rule_without_an_event_sends_nothing() {
    let profile = profile("[[out]]\non = \"peer-joined\"");
    assert_eq!(profile.expand(On::PeerJoined, &nothing()), Some((Vec::new(), false)));
}

#[test]
fn server_events_are_reserved() {
    let profile = Profile::builtin().iter().find(|profile| profile.name() == "add-peer").unwrap();
    for name in ["add-peer", "remove-peer", "session-description", "error", "connect", "disconnect"]
    {
        assert!(profile.reserves(name), "{name}");
    }
    assert!(!profile.reserves("chat"));
}

#[test]
fn mistakes_are_reported_with_line_and_suggestion() {
    let cases = [
        (
            "[[in]]\nevnt = \"x\"\ndoes = \"join\"",
            "test.toml:3: unknown key `evnt`, did you mean `event`?",
        ),
        (
            "[[in]]\nevent = \"x\"\ndoes = \"jion\"",
            "test.toml:4: `does` does not know `jion`, did you mean `join`?",
        ),
        (
            "[[in]]\nevent = \"x\"\ndoes = \"join\"\nargs = [\"$rom\"]",
            "test.toml:5: unknown variable `$rom`, did you mean `$room`?",
        ),
        (
            "[[in]]\nevent = \"x\"\ndoes = \"join\"\nargs = [\"$user\"]",
            "test.toml:2: a rule with `does = \"join\"` must bind `$room`",
        ),
        (
            "[[in]]\nevent = \"x\"\ndoes = \"offer\"\nargs = [\"$target\"]",
            "test.toml:2: a rule with `does = \"offer\"` must bind `$body`",
        ),
        (
            "[[in]]\nevent = \"x\"\ndoes = \"join\"\n[[in]]\nevent = [\"y\", \"x\"]\ndoes = \"leave\"",
            "test.toml:5: this rule for `x` never matches",
        ),
        (
            "[[in]]\nevent = \"disconnect\"\ndoes = \"leave\"",
            "test.toml:2: `disconnect` is an event of Socket.IO itself",
        ),
        (
            "[[out]]\non = \"joind\"\nevent = \"x\"",
            "test.toml:3: `on` does not know `joind`, did you mean `joined`?",
        ),
        (
            "[[out]]\non = \"error\"\nevent = \"x\"\nargs = [\"$body\"]",
            "test.toml:5: `$body` has no value in a rule on `error`",
        ),
        ("[[out]]\non = \"full\"\nevent = \"x\"", "test.toml:2: `on = \"full\"` needs `size`"),
        (
            "[[out]]\non = \"offer\"\nevent = \"x\"\neach = \"peers\"",
            "test.toml:5: `each` takes \"peers\"",
        ),
        (
            "[[in]]\nevent = \"hi\"\ndoes = \"relay\"\n[[out]]\non = \"joined\"\nevent = \"hi\"",
            "test.toml:5: `hi` is sent by the server and relayed from clients",
        ),
        ("[[in]\n", "test.toml:2: "),
        (
            "[[out]]\non = \"error\"\nsize = 2\nevent = \"x\"",
            "test.toml:2: `size` goes with rules on joined",
        ),
        (
            "[[out]]\non = \"joined\"\nof = \"y\"\nevent = \"x\"",
            "test.toml:2: `of` goes with rules on offer",
        ),
        ("[[out]]\non = \"joined\"\nargs = []", "test.toml:2: `args` needs an `event`"),
        (
            "[[in]]\nevent = \"x\"\ndoes = \"relay\"\nrename = \"user-joined\"",
            "test.toml:5: rename: must be a name that is not reserved",
        ),
        (
            "[[in]]\nevent = \"x\"\ndoes = \"leave\"\nroom = \"r\"",
            "test.toml:2: `room` goes with `does = \"join\"`",
        ),
        (
            "[[in]]\nevent = \"x\"\ndoes = \"join\"\nroom = \"\"",
            "test.toml:5: `room` must not be empty",
        ),
    ];
    for (rules, expected) in cases {
        let error = error(rules);
        assert!(error.starts_with(expected), "{rules}\n{error}\n{expected}");
    }
}
