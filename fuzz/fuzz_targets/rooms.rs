//! Any sequence of what can happen to rooms, against a naive model of them.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[allow(dead_code, unused_imports, reason = "here the fuzzer makes the scenarios")]
#[path = "../../tests/it/support/model.rs"]
mod model;

fuzz_target!(|scenario: model::Scenario| model::play(&scenario));
