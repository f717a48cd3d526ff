//! One event of a Socket.IO client: the JSON array of its name and its arguments.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[allow(dead_code, reason = "each target checks one protocol")]
#[path = "../../tests/it/support/properties.rs"]
mod properties;

use properties::Protocol;

fuzz_target!(|data: &[u8]| Protocol::SocketIo.check(data));
