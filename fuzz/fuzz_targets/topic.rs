//! A conversation on `/ws/{topic}`: the topic and the query, then a message a line.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[allow(dead_code, reason = "each target checks one wire")]
#[path = "../../tests/it/support/properties.rs"]
mod properties;

use properties::Wire;

fuzz_target!(|data: &[u8]| Wire::Topic.check(data));
