//! Inference of event profiles from any trace.

use proptest::prelude::*;

use crate::support::traces;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn every_inferred_profile_is_valid(data in proptest::collection::vec(any::<u8>(), 0..400)) {
        traces::check(&data);
    }
}
