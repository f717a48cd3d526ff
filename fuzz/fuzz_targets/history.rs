//! Any sequence of events of a peer that drops and resumes, compared with a naive model of its
//! replay buffer.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[allow(dead_code, reason = "the fuzzer generates the scenarios")]
#[path = "../../tests/it/support/replay_buffer.rs"]
mod history;

fuzz_target!(|scenario: history::Scenario| history::play(&scenario));
