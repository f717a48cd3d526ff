//! One frame of a Socket.IO client: the packets of Engine.IO and Socket.IO.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[allow(dead_code, reason = "each target checks one protocol")]
#[path = "../../tests/it/support/packets.rs"]
mod packets;

fuzz_target!(|data: &[u8]| packets::check(data));
