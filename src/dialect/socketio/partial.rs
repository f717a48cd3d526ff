//! A binary packet with missing attachments.

use bytes::Bytes;

use super::packet::Packet;
use crate::dialect::{DecodeError, RequestError};

/// A binary packet, and the attachments that have arrived.
#[derive(Debug)]
pub(super) struct Partial {
    /// The packet as text.
    text: String,
    /// Number of attachments that are missing.
    missing: usize,
    attachments: Vec<Bytes>,
    /// Length of the received data, in bytes.
    bytes: usize,
    /// The error with which the packet is refused once it is complete.
    refusal: Option<RequestError>,
}

/// The attachments exceed twice the maximum size of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Oversized;

impl Partial {
    /// Creates a packet that is valid as text, and whose attachments are all missing.
    pub(super) fn new(text: &str, missing: usize, refusal: Option<RequestError>) -> Self {
        Self { text: text.to_owned(), missing, attachments: Vec::new(), bytes: text.len(), refusal }
    }

    /// Adds an attachment. A message that becomes longer than `max` bytes is refused once it is
    /// complete.
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

    /// Returns whether all attachments have arrived.
    pub(super) fn is_complete(&self) -> bool {
        self.missing == 0
    }

    /// Returns the packet.
    pub(super) fn packet(&self) -> Packet<'_> {
        Packet::decode(&self.text).expect("the text was decoded before")
    }

    /// Returns the attachments that have arrived, in order.
    pub(super) fn attachments(&self) -> &[Bytes] {
        &self.attachments
    }

    /// Returns the error with which the packet is refused.
    pub(super) fn refusal(&self) -> Option<RequestError> {
        self.refusal.clone()
    }
}
