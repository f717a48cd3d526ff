//! A binary packet whose attachments are still to arrive.

use bytes::Bytes;

use super::packet::Packet;
use crate::dialect::{DecodeError, RequestError};

/// A binary packet, and those of its attachments that have arrived.
#[derive(Debug)]
pub(super) struct Partial {
    /// The packet as text.
    text: String,
    /// Number of attachments that are missing.
    missing: usize,
    attachments: Vec<Bytes>,
    /// Length of what has arrived, in bytes.
    bytes: usize,
    /// The error with which it is refused once it is complete.
    refusal: Option<RequestError>,
}

/// The attachments exceed twice the maximum size of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Oversized;

impl Partial {
    /// A packet that is valid as text, of which all attachments are missing.
    pub(super) fn new(text: &str, missing: usize, refusal: Option<RequestError>) -> Self {
        Self { text: text.to_owned(), missing, attachments: Vec::new(), bytes: text.len(), refusal }
    }

    /// Adds an attachment. If the message becomes longer than `max` bytes, it is going to be refused.
    pub(super) fn add(&mut self, attachment: &[u8], max: usize) -> Result<(), Oversized> {
        self.missing -= 1;
        self.bytes += attachment.len();
        if self.bytes > 2 * max {
            return Err(Oversized);
        }
        self.attachments.push(Bytes::copy_from_slice(attachment));
        if self.bytes > max {
            self.refusal.get_or_insert(RequestError::Decode(DecodeError::TooLarge { max }));
        }
        Ok(())
    }

    /// Whether all attachments have arrived.
    pub(super) fn is_complete(&self) -> bool {
        self.missing == 0
    }

    /// The packet.
    pub(super) fn packet(&self) -> Packet<'_> {
        Packet::decode(&self.text).expect("the text was decoded before")
    }

    /// The attachments that have arrived, in order.
    pub(super) fn attachments(&self) -> &[Bytes] {
        &self.attachments
    }

    /// The error with which the packet is refused.
    pub(super) fn refusal(&self) -> Option<RequestError> {
        self.refusal.clone()
    }
}
