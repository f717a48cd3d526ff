//! Tests of inferred rules with conditions, and of traces that are refused.

use serde_json::json;

use super::*;

#[test]
fn names_that_follow_the_senders_become_rules_with_of() {
    let script = format!(
        r#"
        A +
        A > join room ["r"]
        B +
        B > join room ["r"]
        B < all users [["id-a-0123456789"]]
        B > sending signal [{{"userToSignal":"id-a-0123456789","callerID":"id-b-0123456789","signal":OFFER}}]
        A < user joined [{{"signal":OFFER,"callerID":"id-b-0123456789"}}]
        A > returning signal [{{"signal":ANSWER,"callerID":"id-b-0123456789"}}]
        B < receiving returned signal [{{"signal":ANSWER,"id":"id-a-0123456789"}}]
        {}{}
        "#,
        delivery(
            r#"B > sending signal [{"userToSignal":"id-a-0123456789","callerID":"id-b-0123456789","signal":CANDIDATE}]"#,
            r#"A < user joined [{"signal":CANDIDATE,"callerID":"id-b-0123456789"}]"#
        ),
        delivery(
            r#"A > returning signal [{"signal":CANDIDATE,"callerID":"id-b-0123456789"}]"#,
            r#"B < receiving returned signal [{"signal":CANDIDATE,"id":"id-a-0123456789"}]"#
        )
        .replace("candidate:1", "candidate:2")
    );
    let (inferred, rules) = inferred(&script);
    assert!(rules.contains("of = \"sending signal\"\nevent = \"user joined\""), "{rules}");
    assert!(
        rules.contains("of = \"returning signal\"\nevent = \"receiving returned signal\""),
        "{rules}"
    );
    assert!(rules.contains("args = [{ callerID = \"$target\", signal = \"$body\" }]"), "{rules}");
    assert_eq!(
        inferred.unexplained.len(),
        1,
        "the first joiner gets no list: {:?}",
        inferred.unexplained
    );
}

#[test]
fn answers_that_depend_on_the_room_size_become_rules_with_a_size() {
    let (inferred, rules) = inferred(
        r#"
        A +
        A > create or join ["r"]
        A < created ["r","id-a-0123456789"]
        B +
        B > create or join ["r"]
        A < join ["r"]
        B < joined ["r","id-b-0123456789"]
        A > offer [OFFER]
        B < offer [OFFER]
        B > answer [ANSWER]
        A < answer [ANSWER]
        C +
        C > create or join ["r"]
        C < full ["r"]
        "#,
    );
    for rule in [
        "on = \"joined\"\nevent = \"created\"\nsize = 1\nargs = [\"$room\", \"$me.socketId\"]\n",
        "on = \"joined\"\nevent = \"joined\"\nsize = 2\nargs = [\"$room\", \"$me.socketId\"]\n",
        "on = \"joined\"\nevent = \"full\"\nsize = 3\nargs = [\"$room\"]\n",
        "on = \"peer-joined\"\nevent = \"join\"\nsize = 2\nargs = [\"$room\"]\n",
    ] {
        assert!(rules.contains(rule), "{rule}\n{rules}");
    }
    assert_eq!(inferred.unexplained, []);
    let text = inferred.to_toml("test", "", "");
    assert!(text.contains("# No larger room was recorded"), "{text}");
    assert_eq!(text.matches("# No larger room was recorded").count(), 1, "{text}");
}

#[test]
fn an_event_for_the_first_of_several_peers_is_sent_for_each() {
    let (inferred, rules) = inferred(
        r#"
        A +
        A > join room ["r"]
        B +
        B > join room ["r"]
        B < other user ["id-a-0123456789"]
        A < user joined ["id-b-0123456789"]
        B > offer [{"target":"id-a-0123456789","sdp":OFFER}]
        A < offer [{"target":"id-a-0123456789","sdp":OFFER}]
        C +
        C > join room ["r"]
        C < other user ["id-a-0123456789"]
        A < user joined ["id-c-0123456789"]
        "#,
    );
    assert!(
        rules.contains("event = \"other user\"\neach = \"peers\"\nargs = [\"$peer.socketId\"]"),
        "no recorded id is a constant: {rules}"
    );
    let events: Vec<&str> = inferred.unexplained.iter().map(|it| it.event.as_str()).collect();
    assert_eq!(events, ["other user", "user joined"]);
}

#[test]
fn id_of_a_recorded_client_is_not_a_constant() {
    let (inferred, rules) = inferred(
        r#"
        A +
        A > join ["r"]
        B +
        B > join ["r"]
        B < host [{"id":"id-a-0123456789","quality":"high"}]
        B > offer [OFFER]
        A < offer [OFFER]
        C +
        C > join ["r"]
        C < host [{"id":"id-a-0123456789","quality":"high"}]
        A < host [{"id":"id-a-0123456789","quality":"high"}]
        B < host [{"id":"id-a-0123456789","quality":"high"}]
        "#,
    );
    assert!(!rules.contains("id-a-0123456789"), "{rules}");
    assert!(
        inferred.unexplained.iter().any(|it| it.event.starts_with("host")),
        "{:?}",
        inferred.unexplained
    );
}

#[test]
fn event_that_no_rule_can_fill_is_omitted() {
    let (inferred, rules) = inferred(
        r#"
        A +
        A > join ["r"]
        A < log ["a long text about the first client that joined"]
        B +
        B > join ["r"]
        B < log ["a long text about the second client that joined"]
        B > offer [OFFER]
        A < offer [OFFER]
        "#,
    );
    assert!(!rules.contains("log"), "{rules}");
    let unexplained: Vec<_> =
        inferred.unexplained.iter().map(|it| (it.event.as_str(), it.count)).collect();
    assert_eq!(unexplained, [("log", 2)]);
}

#[test]
fn a_relayed_event_is_attributed_across_a_burst_of_others() {
    let burst = (0..12)
        .map(|number| format!("B > draw [{{\"x\":{number}}}]"))
        .collect::<Vec<_>>()
        .join("\n");
    let script = format!(
        r#"
        A +
        A > join ["r"]
        B +
        B > join ["r"]
        A < new ["id-b-0123456789"]
        B > offer [OFFER]
        A < offer [OFFER]
        B > say [{{"text":"one"}}]
        {burst}
        A < say [{{"text":"one"}}]
        A > say [{{"text":"two"}}]
        {burst}
        B < say [{{"text":"two"}}]
        "#
    );
    let (inferred, rules) = inferred(&script);
    assert!(!rules.contains("event = \"say\""), "relayed as it is: {rules}");
    assert!(!inferred.unexplained.iter().any(|it| it.event == "say"), "{:?}", inferred.unexplained);
}

#[test]
fn traces_without_a_call_of_two_are_refused() {
    let refusal = |script: &str| infer(&trace(script)).unwrap_err();
    assert_eq!(refusal("A +"), InferError::Empty);
    assert_eq!(refusal("A +\nA > join [\"r\"]"), InferError::Alone);
    assert_eq!(refusal("A +\nA > join [\"r\"]\nB +\nB > join [\"r\"]"), InferError::NoCall);
    assert_eq!(refusal("A +\nA > hi []\nB +\nB > offer [OFFER]"), InferError::NoRoom);
}

#[test]
fn time_grows_with_the_number_of_events_and_not_with_its_square() {
    let joins = ["A", "B", "C"]
        .map(|name| format!("{name} +\n{name} > join [{{\"room\":\"r\",\"name\":\"{name}\"}}]"));
    let mut trace = trace(&format!(
        "{}\nA > offer [OFFER]\nB < offer [OFFER]\nC < offer [OFFER]\n",
        joins.join("\n")
    ));
    while trace.entries.len() < crate::record::trace::MAX_ENTRIES - 2 {
        let number = trace.entries.len();
        let body = json!({ "candidate": { "candidate": format!("candidate:{number} 1 udp"), "sdpMid": "0" }, "n": number });
        let event = if number.is_multiple_of(2) { "candidate" } else { "draw" };
        let message = Message { event: event.to_owned(), args: vec![body], ..Message::default() };
        let client = number % 3;
        let whats = [
            (client, What::Sent(message.clone())),
            ((client + 1) % 3, What::Received(message.clone())),
            ((client + 2) % 3, What::Received(message)),
        ];
        trace.entries.extend(whats.into_iter().map(|(client, what)| Entry {
            at: number as u64,
            client,
            what,
        }));
    }
    let time = |trace: &Trace| {
        let began = std::time::Instant::now();
        infer(trace).unwrap();
        began.elapsed()
    };
    let all = time(&trace);
    trace.entries.truncate(trace.entries.len() / 10);
    let tenth = time(&trace);
    // A slow machine takes longer for both; a square would be a hundred times the tenth.
    assert!(all < std::time::Duration::from_secs(2) || all < tenth * 40, "{all:?}, {tenth:?}");
}
