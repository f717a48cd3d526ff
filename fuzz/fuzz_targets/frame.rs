//! Bytes from the engine: log entries of rooms, and frames of other nodes.

#![no_main]

use libfuzzer_sys::fuzz_target;
use parlor::cluster::frame::{InboxMessage, decode, encode_entry, encode_frame};

fuzz_target!(|data: &[u8]| {
    let Ok(Some(message)) = decode(data) else { return };
    let encoded = match &message {
        InboxMessage::Entry(entry) => encode_entry(entry).into(),
        InboxMessage::Frame(frame) => encode_frame(frame),
    };
    assert_eq!(decode(&encoded), Ok(Some(message)));
});
