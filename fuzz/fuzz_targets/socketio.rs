//! One event of a Socket.IO client: the JSON array of its name and its arguments.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[allow(dead_code, reason = "each target checks one wire")]
#[path = "../../tests/it/support/properties.rs"]
mod properties;

use properties::Wire;

fuzz_target!(|data: &[u8]| Wire::SocketIo.check(data));
