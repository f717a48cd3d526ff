//! Properties of arbitrary messages of the engine: log entries of rooms, and frames of other nodes with the requests to the
//! media server that they forward.

use parlor::cluster::frame::{Body, InboxMessage, LinkFrame, decode, encode_entry, encode_frame};
use parlor::dialect::forwarded_media;

/// Decodes a message. What is decoded is the same after it was encoded again.
pub(crate) fn check(data: &[u8]) {
    let Ok(Some(message)) = decode(data) else { return };
    if let InboxMessage::Frame(LinkFrame { body: Body::Media(request), .. }) = &message {
        for form in 0..3 {
            _ = forwarded_media(form, &request.text);
        }
    }
    let encoded = match &message {
        InboxMessage::Entry(entry) => encode_entry(entry).into(),
        InboxMessage::Frame(frame) => encode_frame(frame),
    };
    assert_eq!(decode(&encoded), Ok(Some(message)));
}
