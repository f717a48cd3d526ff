//! Any trace of events: inference must not panic, and must write a valid profile.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[allow(dead_code, reason = "each target checks one module")]
#[path = "../../tests/it/support/traces.rs"]
mod traces;

fuzz_target!(|data: &[u8]| traces::check(data));
