//! An event profile as TOML, and after it events, one per line, that its rules match and encode.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/it/support/any_profile.rs"]
mod any_profile;

fuzz_target!(|data: &[u8]| any_profile::check_input(data));
