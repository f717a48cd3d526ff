//! Any sequence of what can happen to a peer that drops and comes back, against a naive model of what is held for it.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[allow(dead_code, reason = "here the fuzzer makes the scenarios")]
#[path = "../../tests/it/support/history.rs"]
mod history;

fuzz_target!(|scenario: history::Scenario| history::play(&scenario));
