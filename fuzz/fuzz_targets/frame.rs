//! Bytes from the engine: log entries of rooms, and frames of other nodes.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/it/support/engine_messages.rs"]
mod engine_messages;

fuzz_target!(|data: &[u8]| engine_messages::check(data));
