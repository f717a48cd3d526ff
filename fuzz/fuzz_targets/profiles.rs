//! An event profile as TOML, and after it events, one per line, that its rules match and encode.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/it/support/any_profile.rs"]
mod any_profile;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (rules, events) = text.split_once('\0').unwrap_or((text, ""));
    any_profile::check(rules, &events.lines().collect::<Vec<_>>());
});
