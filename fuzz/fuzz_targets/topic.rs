//! A conversation on `/ws/{topic}`: the topic and the query, then one message per line.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[allow(dead_code, reason = "each target checks one protocol")]
#[path = "../../tests/it/support/properties.rs"]
mod properties;

use properties::Protocol;

fuzz_target!(|data: &[u8]| Protocol::Topic.check(data));
