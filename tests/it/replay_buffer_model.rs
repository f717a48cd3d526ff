//! Compares the replay buffer with a naive model, over arbitrary sequences of drops and
//! resumptions.

use parlor::dialect::socketio::Offset;
use parlor::id::ConnectionId;
use parlor::session::ResumeToken;
use proptest::prelude::*;

use crate::support::replay_buffer::{Scenario, play, scenario};

fn scenarios() -> impl Strategy<Value = Scenario> {
    prop::collection::vec(any::<u8>(), 0..600)
        .prop_filter_map("too few bytes", |data| scenario(&data))
}

/// Returns texts that resemble resume tokens.
fn arbitrary_tokens() -> impl Strategy<Value = String> {
    prop_oneof![".*", "[0-9a-f]{0,8}-[0-9]{0,22}", "[0-9a-f]{30,34}\\.[-_A-Za-z0-9]{20,28}"]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn replay_buffer_agrees_with_its_model(scenario in scenarios()) {
        play(&scenario);
    }

    #[test]
    fn arbitrary_resume_tokens_do_not_panic(text in arbitrary_tokens(), connection in any::<u128>(), number in any::<u64>()) {
        let connection = ConnectionId::from_u128(connection);
        if let Some(key) = ResumeToken::parse(&text) {
            prop_assert_eq!(ResumeToken::parse(&key.expose()).map(|key| key.id()), Some(key.id()));
        }
        _ = Offset::seen(connection, Some(&text));
        let offset = Offset { connection, number }.to_string();
        prop_assert_eq!(Offset::seen(connection, Some(&offset)), Some(number));
    }
}
