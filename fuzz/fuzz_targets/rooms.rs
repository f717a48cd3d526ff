//! Any sequence of operations on rooms, compared with a naive model.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[allow(dead_code, unused_imports, reason = "the fuzzer generates the scenarios")]
#[path = "../../tests/it/support/model.rs"]
mod model;

fuzz_target!(|scenario: model::Scenario| model::play(&scenario));
