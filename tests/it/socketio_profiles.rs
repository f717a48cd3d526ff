//! Event profiles: arbitrary profiles with arbitrary events, and the files that the program
//! contains.

use std::fs;
use std::path::Path;

use parlor::dialect::socketio::profile::Profile;
use proptest::prelude::*;

use crate::support::any_profile::check;

fn event() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "join",
        "call",
        "offer",
        "chat",
        "$event",
        "user-joined",
        "ice-candidate",
        "😀",
    ])
    .prop_map(str::to_owned)
}

/// Returns a valid or invalid value of `args`.
fn value() -> impl Strategy<Value = String> {
    let variables = vec![
        "$room",
        "$user?",
        "$target",
        "$body",
        "$meta",
        "$meta.name",
        "$_",
        "$me",
        "$me.name?",
        "$peer.socketId",
        "$peers",
        "$peers.userIds",
        "$users",
        "$from.id",
        "$data",
        "$data.a",
        "$args…",
        "$event",
        "$count",
        "$first",
        "$now",
        "$reason",
        "$code",
        "$$x",
        "text",
    ];
    let leaf = prop_oneof![
        prop::sample::select(variables).prop_map(|text| format!("{text:?}")),
        any::<i32>().prop_map(|number| number.to_string()),
        any::<bool>().prop_map(|value| value.to_string()),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4)
                .prop_map(|values| format!("[{}]", values.join(", "))),
            prop::collection::btree_map("[a-z]{1,6}", inner, 0..4).prop_map(|map| {
                let members: Vec<String> =
                    map.iter().map(|(key, value)| format!("{key} = {value}")).collect();
                format!("{{ {} }}", members.join(", "))
            }),
        ]
    })
}

fn args() -> impl Strategy<Value = String> {
    prop::option::of(prop::collection::vec(value(), 0..4)).prop_map(|values| {
        values.map(|values| format!("args = [{}]\n", values.join(", "))).unwrap_or_default()
    })
}

fn rule() -> impl Strategy<Value = String> {
    let does = vec!["join", "leave", "offer", "answer", "candidate", "signal", "relay", "ignore"];
    let on = vec![
        "joined",
        "peer-joined",
        "peer-left",
        "peer-away",
        "users-changed",
        "full",
        "offer",
        "answer",
        "candidate",
        "relay",
        "error",
        "removed",
    ];
    prop_oneof![
        (event(), prop::sample::select(does), args()).prop_map(|(event, does, args)| format!(
            "[[in]]\nevent = {event:?}\ndoes = {does:?}\n{args}"
        )),
        (event(), prop::sample::select(on), args(), prop::option::of(1_usize..4), any::<bool>())
            .prop_map(|(event, on, args, size, keep)| {
                let size = size.map(|size| format!("size = {size}\n")).unwrap_or_default();
                format!("[[out]]\non = {on:?}\nevent = {event:?}\nkeep = {keep}\n{size}{args}")
            }),
    ]
}

fn json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<i64>().prop_map(Into::into),
        prop::sample::select(vec!["r", "bob", "offer", "all", "\"\\\u{7}é"]).prop_map(Into::into),
    ];
    let key = prop::sample::select(vec![
        "room",
        "roomId",
        "to",
        "target",
        "offer",
        "candidate",
        "type",
        "name",
        "a",
        "from",
    ]);
    leaf.prop_recursive(3, 16, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Into::into),
            prop::collection::hash_map(key.clone().prop_map(str::to_owned), inner, 0..5)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn arbitrary_profiles_accept_arbitrary_events(
        rules in prop::collection::vec(rule(), 0..6),
        events in prop::collection::vec((event(), prop::collection::vec(json(), 0..4)), 1..6),
    ) {
        let rules = format!("name = \"any\"\ndefault = true\n{}", rules.join("\n"));
        let text = |(name, arguments): (String, Vec<serde_json::Value>)| {
            std::iter::once(name.into()).chain(arguments).collect::<serde_json::Value>().to_string()
        };
        let events: Vec<String> = events.into_iter().map(text).collect();
        check(&rules, &events.iter().map(String::as_str).collect::<Vec<_>>());
    }

    #[test]
    fn arbitrary_text_as_a_profile_does_not_panic(text in ".{0,200}") {
        check(&text, &[r#"["join",{"room":"r"}]"#]);
    }
}

#[test]
fn example_files_are_valid_profiles() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/profiles");
    let mut count = 0;
    for file in fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let profile = Profile::read(&path.display().to_string(), &text)
            .unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(Some(profile.name()), path.file_stem().and_then(|stem| stem.to_str()));
        count += 1;
    }
    assert!(count >= 10);
}
