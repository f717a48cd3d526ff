//! Arbitrary sequences of operations on rooms: the results equal those of a naive model, and no
//! state is left at the end.

use proptest::prelude::*;

use crate::support::model::{Scenario, play, scenario};

fn scenarios() -> impl Strategy<Value = Scenario> {
    prop::collection::vec(any::<u8>(), 0..1_500)
        .prop_filter_map("too few bytes", |data| scenario(&data))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn rooms_agree_with_their_model(scenario in scenarios()) {
        play(&scenario);
    }
}
